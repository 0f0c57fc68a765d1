#include "service/datadir.h"

#include "service/whole_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

struct datadir {
    char path[DATADIR_PATH_BYTES - 64];
    char database[DATADIR_PATH_BYTES];
    char node_id[DATADIR_NODE_DIGITS + 1];
    int lock; /* the descriptor that holds the flock */
    bool was_clean;
};

static bool __attribute__((format(printf, 2, 3))) refuse(char *why, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, DATADIR_WHY_BYTES, format, arguments);
    va_end(arguments);
    return false;
}

static void path_of(const struct datadir *datadir, const char *name, char ret[DATADIR_PATH_BYTES])
{
    snprintf(ret, DATADIR_PATH_BYTES, "%s/%s", datadir->path, name);
}

void datadir_database_of(const char *path, char ret[DATADIR_PATH_BYTES])
{
    snprintf(ret, DATADIR_PATH_BYTES, "%.*s/partition-0.db", DATADIR_PATH_BYTES - 64, path);
}

/* Puts a small file in the directory, whole or not at all, also when the power goes. */
static bool put_file(const struct datadir *datadir, const char *name, const char *text)
{
    char path[DATADIR_PATH_BYTES];
    path_of(datadir, name, path);
    return whole_file_replace(path, text_of(text), true);
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static bool make_directory(const char *path, char *why)
{
    struct stat status;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return refuse(why, "Cannot make the data directory %s: %s.", path, strerror(errno));
    }
    if (stat(path, &status) != 0) {
        return refuse(why, "Cannot look at the data directory %s: %s.", path, strerror(errno));
    }
    return S_ISDIR(status.st_mode) || refuse(why, "%s is not a directory.", path);
}

/* Somebody else has the lock: says who, if the file tells. */
static bool refuse_second(const struct datadir *datadir, char *why)
{
    char pid[16] = "";
    ssize_t len = pread(datadir->lock, pid, sizeof pid - 1, 0);
    pid[len > 0 ? len : 0] = '\0';
    pid[strspn(pid, "0123456789")] = '\0';
    return refuse(why,
                  "The data directory %s is in use by another Ringhold process%s%s%s; stop it, or "
                  "give this one another directory with --data.",
                  datadir->path, pid[0] == '\0' ? "" : " (pid ", pid, pid[0] == '\0' ? "" : ")");
}

static bool take_lock(struct datadir *datadir, char *why)
{
    char path[DATADIR_PATH_BYTES], pid[16];
    path_of(datadir, "lock", path);
    datadir->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (datadir->lock < 0) {
        return refuse(why, "Cannot write in the data directory %s: %s.", datadir->path,
                      strerror(errno));
    }
    if (flock(datadir->lock, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? refuse_second(datadir, why)
                                    : refuse(why, "Cannot lock %s: %s.", path, strerror(errno));
    }
    snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(datadir->lock, 0) != 0 || !whole_file_write_to(datadir->lock, text_of(pid))) {
        return refuse(why, "Cannot write in the data directory %s: %s.", datadir->path,
                      strerror(errno));
    }
    return true;
}

static bool read_node_id(struct datadir *datadir, char *why)
{
    char path[DATADIR_PATH_BYTES], text[DATADIR_NODE_DIGITS + 2] = "";
    path_of(datadir, "node", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    if (len < DATADIR_NODE_DIGITS ||
        strspn(text, "0123456789abcdef") != (size_t)DATADIR_NODE_DIGITS) {
        return refuse(why, "%s does not hold the 16 hexadecimal digits that were written there.",
                      path);
    }
    memcpy(datadir->node_id, text, DATADIR_NODE_DIGITS);
    return true;
}

static bool make_node_id(struct datadir *datadir, char *why)
{
    unsigned char random[DATADIR_NODE_DIGITS / 2];
    char line[DATADIR_NODE_DIGITS + 2];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return refuse(why, "The kernel gave no random numbers: %s.", strerror(errno));
    }
    for (size_t i = 0; i < sizeof random; i++) {
        snprintf(datadir->node_id + 2 * i, 3, "%02x", random[i]);
    }
    snprintf(line, sizeof line, "%s\n", datadir->node_id);
    return put_file(datadir, "node", line) ||
           refuse(why, "Cannot write in the data directory %s: %s.", datadir->path,
                  strerror(errno));
}

static bool find_node_id(struct datadir *datadir, char *why)
{
    why[0] = '\0';
    if (read_node_id(datadir, why)) {
        return true;
    }
    if (why[0] != '\0') {
        return false;
    }
    return errno == ENOENT
               ? make_node_id(datadir, why)
               : refuse(why, "Cannot read %s/node: %s.", datadir->path, strerror(errno));
}

/* Takes the mark of a clean stop away; durably, before anything else is written. */
static bool take_mark(struct datadir *datadir, char *why)
{
    char mark[DATADIR_PATH_BYTES];
    path_of(datadir, "clean", mark);
    bool marked = unlink(mark) == 0;
    if (!marked && errno != ENOENT) {
        return refuse(why, "Cannot remove %s: %s.", mark, strerror(errno));
    }
    datadir->was_clean = marked || access(datadir->database, F_OK) != 0;
    return whole_file_sync(datadir->path) ||
           refuse(why, "Cannot sync the data directory %s: %s.", datadir->path, strerror(errno));
}

bool datadir_open(const char *path, struct datadir **ret, char ret_why[DATADIR_WHY_BYTES])
{
    struct datadir *datadir = calloc(1, sizeof *datadir);
    if (datadir == NULL || strlen(path) >= sizeof datadir->path) {
        free(datadir);
        return refuse(ret_why, datadir == NULL ? "Memory ran out."
                                               : "The path of the data directory is too long.");
    }
    datadir->lock = -1;
    strcpy(datadir->path, path);
    datadir_database_of(path, datadir->database);
    if (!make_directory(path, ret_why) || !take_lock(datadir, ret_why) ||
        !find_node_id(datadir, ret_why) || !take_mark(datadir, ret_why)) {
        datadir_close(datadir, false);
        return false;
    }
    *ret = datadir;
    return true;
}

void datadir_close(struct datadir *datadir, bool clean)
{
    if (datadir == NULL) {
        return;
    }
    if (clean) {
        /* Where the mark cannot be made, the next start checks the state once more than it had to. */
        (void)put_file(datadir, "clean", "");
    }
    if (datadir->lock >= 0) {
        close(datadir->lock);
    }
    free(datadir);
}

const char *datadir_database(const struct datadir *datadir)
{
    return datadir->database;
}

const char *datadir_node_id(const struct datadir *datadir)
{
    return datadir->node_id;
}

bool datadir_was_clean(const struct datadir *datadir)
{
    return datadir->was_clean;
}
