#include "service/cluster/identity.h"

#include "handlers/digest.h"
#include "service/whole_file.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 1400 };

static void path_of(const char *data_dir, const char *name, char ret[PATH_BYTES])
{
    snprintf(ret, PATH_BYTES, "%.1300s/%s", data_dir, name);
}

static bool scan_hex(FILE *file, const char *name, unsigned char *ret, size_t count)
{
    char word[32];
    if (fscanf(file, "%31s", word) != 1 || strcmp(word, name) != 0 || fgetc(file) != ' ') {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        unsigned byte;
        if (fscanf(file, "%2x", &byte) != 1) {
            return false;
        }
        ret[i] = (unsigned char)byte;
    }
    return true;
}

static struct text hex_of(const unsigned char *bytes, size_t count, struct arena *arena)
{
    return digest_hex(arena, (struct text){(const char *)bytes, count});
}

enum identity_found identity_read(const char *data_dir, struct identity *ret, char *ret_why)
{
    char path[PATH_BYTES];
    int founder = 0;
    path_of(data_dir, "cluster", path);
    FILE *file = fopen(path, "re");
    if (file == NULL && errno == ENOENT) {
        return IDENTITY_NONE;
    }
    bool whole = file != NULL && scan_hex(file, "cluster", ret->uuid, sizeof ret->uuid) &&
                 scan_hex(file, "seed", ret->seed, sizeof ret->seed) &&
                 fscanf(file, " partitions %u replicas %u founder %d", &ret->partitions,
                        &ret->replicas, &founder) == 3 &&
                 ret->partitions >= 1 && ret->partitions <= PARTITIONS_MAX &&
                 (ret->partitions & (ret->partitions - 1)) == 0;
    ret->founder = founder == 1;
    if (file != NULL) {
        fclose(file);
    }
    if (!whole) {
        snprintf(ret_why, CLUSTER_WHY_BYTES,
                 "%.300s cannot be read; take the data directory out of the way and join anew",
                 path);
    }
    return whole ? IDENTITY_THERE : IDENTITY_BROKEN;
}

bool identity_write(const char *data_dir, const struct identity *identity, char *ret_why)
{
    char path[PATH_BYTES];
    struct arena arena = ARENA_EMPTY;
    struct text cluster = hex_of(identity->uuid, sizeof identity->uuid, &arena);
    struct text seed = hex_of(identity->seed, sizeof identity->seed, &arena);
    struct text lines =
        arena_format(&arena, "cluster %.*s\nseed %.*s\npartitions %u\nreplicas %u\nfounder %d\n",
                     (int)cluster.len, cluster.at, (int)seed.len, seed.at, identity->partitions,
                     identity->replicas, identity->founder);
    path_of(data_dir, "cluster", path);
    bool written = !arena.exhausted && whole_file_replace(path, lines, true);
    if (!written) {
        snprintf(ret_why, CLUSTER_WHY_BYTES, "cannot write %.300s: %s", path, strerror(errno));
    }
    arena_free(&arena);
    return written;
}

static void mark_path(const char *data_dir, enum identity_mark mark, char ret[PATH_BYTES])
{
    path_of(data_dir, mark == MARK_LEFT ? "left" : "recovering", ret);
}

bool identity_mark(const char *data_dir, enum identity_mark mark, bool set, char *ret_why)
{
    char path[PATH_BYTES];
    mark_path(data_dir, mark, path);
    bool done = set ? whole_file_replace(path, TEXT(""), true)
                    : (unlink(path) == 0 || errno == ENOENT) && whole_file_sync_place(path);
    if (!done) {
        snprintf(ret_why, CLUSTER_WHY_BYTES, "cannot %s %.300s: %s", set ? "write" : "remove", path,
                 strerror(errno));
    }
    return done;
}

bool identity_marked(const char *data_dir, enum identity_mark mark)
{
    char path[PATH_BYTES];
    mark_path(data_dir, mark, path);
    return access(path, F_OK) == 0;
}

/* The number of a file that is made with the directory and never again. */
static bool place_of(const char *data_dir, char ret[32], char *why)
{
    char path[PATH_BYTES];
    struct stat status;
    path_of(data_dir, "node", path);
    bool known = stat(path, &status) == 0;
    if (known) {
        snprintf(ret, 32, "%llu\n", (unsigned long long)status.st_ino);
    } else {
        snprintf(why, CLUSTER_WHY_BYTES, "cannot look at %.300s: %s", path, strerror(errno));
    }
    return known;
}

bool identity_keep_place(const char *data_dir, char *ret_why)
{
    char path[PATH_BYTES], place[32];
    path_of(data_dir, "place", path);
    if (!place_of(data_dir, place, ret_why)) {
        return false;
    }
    bool kept = whole_file_replace(path, text_of(place), true);
    if (!kept) {
        snprintf(ret_why, CLUSTER_WHY_BYTES, "cannot write %.300s: %s", path, strerror(errno));
    }
    return kept;
}

bool identity_check_place(const char *data_dir, char *ret_why)
{
    char path[PATH_BYTES], place[32];
    void *kept = NULL;
    size_t len;
    path_of(data_dir, "place", path);
    if (!place_of(data_dir, place, ret_why)) {
        return false;
    }
    if (!whole_file_read(path, &kept, &len)) {
        return identity_keep_place(data_dir, ret_why);
    }
    bool same = text_equal((struct text){kept, len}, text_of(place));
    free(kept);
    if (!same) {
        snprintf(ret_why, CLUSTER_WHY_BYTES,
                 "%.150s is a copy of a member's data directory, and has forgotten what the member "
                 "promised the others since: pass an empty one with --data, and --join HOST:PORT. "
                 "Only if it was copied while the member was stopped, and the member has not run "
                 "since, remove the file named place in it",
                 data_dir);
    }
    return same;
}

bool identity_make(unsigned char uuid[CLUSTER_UUID_BYTES], unsigned char seed[CLUSTER_SEED_BYTES],
                   char *ret_why)
{
    bool made = getrandom(uuid, CLUSTER_UUID_BYTES, 0) == CLUSTER_UUID_BYTES &&
                getrandom(seed, CLUSTER_SEED_BYTES, 0) == CLUSTER_SEED_BYTES;
    if (!made) {
        snprintf(ret_why, CLUSTER_WHY_BYTES, "the kernel gives no random bytes");
    }
    return made;
}

bool identity_secret(const char *path, char *ret, size_t *ret_len, char *ret_why)
{
    FILE *file = path[0] == '\0' ? NULL : fopen(path, "re");
    if (file == NULL) {
        snprintf(ret_why, CLUSTER_WHY_BYTES,
                 "a member of a cluster needs --cluster-secret-file, a file that holds the same "
                 "secret on each member%s%.200s",
                 path[0] == '\0' ? "" : "; cannot read ", path);
        return false;
    }
    size_t len = fread(ret, 1, PEER_SECRET_BYTES_MAX + 1, file);
    fclose(file);
    while (len > 0 && isspace((unsigned char)ret[len - 1])) {
        len--;
    }
    if (len < PEER_SECRET_BYTES_MIN || len > PEER_SECRET_BYTES_MAX) {
        snprintf(ret_why, CLUSTER_WHY_BYTES,
                 "%.200s must hold %d to %d bytes; `openssl rand -hex 32` makes a good one", path,
                 PEER_SECRET_BYTES_MIN, PEER_SECRET_BYTES_MAX);
        return false;
    }
    *ret_len = len;
    return true;
}
