#include "service/backup.h"

#include "db/machine.h"
#include "db/snapshot.h"
#include "service/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool __attribute__((format(printf, 2, 3))) refuse(char *why, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, BACKUP_WHY_BYTES, format, arguments);
    va_end(arguments);
    return false;
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static void with_suffix(const char *path, const char *suffix, char ret[DATADIR_PATH_BYTES])
{
    /* Paths come from the configuration, which bounds them; the bounds here tell the compiler. */
    snprintf(ret, DATADIR_PATH_BYTES, "%.*s%.60s", DATADIR_PATH_BYTES - 64, path, suffix);
}

/* ---- backup ------------------------------------------------------------------------------------------------------- */

/* An empty file that nobody else may read, which SQLite then fills. */
static bool make_private(const char *path)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd >= 0 && close(fd) == 0;
}

static bool fill_backup(const char *database, const char *made, char *why)
{
    char because[SNAPSHOT_WHY_BYTES];
    struct snapshot_info info;
    if (!make_private(made)) {
        return refuse(why, "Cannot make %s: %s.", made, strerror(errno));
    }
    if (snapshot_copy(database, made, because) != STATUS_OK) {
        return refuse(why, "Cannot copy %s to %s: %s.", database, made, because);
    }
    if (snapshot_look(made, true, &info, because) != STATUS_OK) {
        return refuse(why, "The copy of %s is of no use: %s.", database, because);
    }
    return whole_file_sync(made) || refuse(why, "Cannot sync %s: %s.", made, strerror(errno));
}

/* One member's replicas are no state of their own: what is committed is so with the others'. */
static bool check_no_member(const char *data_dir, char *why)
{
    char member[DATADIR_PATH_BYTES];
    with_suffix(data_dir, "/cluster", member);
    return !is_there(member) ||
           refuse(why,
                  "The data directory %s is a cluster member's, whose replicas are kept by the "
                  "others: backup and restore are for an instance alone. Join another member, or, "
                  "when most of them are lost, use ringhold recover.",
                  data_dir);
}

bool backup_make(const char *data_dir, const char *file, char ret_why[BACKUP_WHY_BYTES])
{
    char database[DATADIR_PATH_BYTES], made[DATADIR_PATH_BYTES];
    datadir_database_of(data_dir, database);
    with_suffix(file, ".tmp", made);
    if (!check_no_member(data_dir, ret_why)) {
        return false;
    }
    if (!is_there(database)) {
        return refuse(ret_why,
                      "There is no database in the data directory %s; name it with --data.",
                      data_dir);
    }
    if (!fill_backup(database, made, ret_why)) {
        unlink(made);
        return false;
    }
    if (rename(made, file) != 0) {
        refuse(ret_why, "Cannot rename %s to %s: %s.", made, file, strerror(errno));
        unlink(made);
        return false;
    }
    return whole_file_sync_place(file) ||
           refuse(ret_why, "Cannot sync the directory of %s: %s.", file, strerror(errno));
}

/* ---- restore: the copy -------------------------------------------------------------------------------------------- */

struct restore {
    const char *file;
    const char *database;
    char made[DATADIR_PATH_BYTES]; /* the new state, until it takes the old one's place */
    char kept[DATADIR_PATH_BYTES]; /* the old one, afterwards */
    bool has_old, old_is_sound;
    struct snapshot_info old, new;
    char *why; /* BACKUP_WHY_BYTES */
};

static bool copy_bytes(int from, int to)
{
    char buffer[65536];
    for (;;) {
        ssize_t len = read(from, buffer, sizeof buffer);
        if (len <= 0) {
            return len == 0;
        }
        for (ssize_t done = 0; done < len;) {
            ssize_t written = write(to, buffer + done, (size_t)(len - done));
            if (written <= 0) {
                return false;
            }
            done += written;
        }
    }
}

static bool copy_file(const struct restore *restore)
{
    unlink(restore->made);
    int from = open(restore->file, O_RDONLY | O_CLOEXEC);
    if (from < 0) {
        return refuse(restore->why, "Cannot read %s: %s.", restore->file, strerror(errno));
    }
    int to = open(restore->made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool copied = to >= 0 && copy_bytes(from, to);
    int failure = errno;
    copied = (to < 0 || close(to) == 0) && copied;
    close(from);
    return copied || refuse(restore->why, "Cannot copy %s to %s: %s.", restore->file, restore->made,
                            strerror(failure));
}

/* Somebody copied the files of a database in use: what is in the log beside it would be lost. */
static bool check_alone(const struct restore *restore)
{
    char wal[DATADIR_PATH_BYTES];
    with_suffix(restore->file, "-wal", wal);
    return !is_there(wal) ||
           refuse(
               restore->why,
               "%s has a write-ahead log beside it (%s), so it is the file of a live database and "
               "not a backup; make one with: ringhold backup FILE.",
               restore->file, wal);
}

static bool check_copy(struct restore *restore)
{
    char because[SNAPSHOT_WHY_BYTES];
    return snapshot_look(restore->made, true, &restore->new, because) == STATUS_OK ||
           refuse(restore->why, "%s cannot be restored: %s.", restore->file, because);
}

int64_t backup_fence_step(int64_t now_ms, int64_t wall_ms)
{
    enum { FENCES_PER_MS = 128 };
    int64_t age_ms = now_ms > wall_ms ? now_ms - wall_ms : 0;
    return RESTORE_FENCE_STEP + age_ms * FENCES_PER_MS;
}

/* ---- restore: the fence ------------------------------------------------------------------------------------------- */

/*
 * How far fences and versions must go up, so that none handed out since the backup was taken comes again. Where the
 * replaced state can be read it says how far it had come. Where it cannot (a lost disk), the backup's age bounds it:
 * no partition gives 128 fences a millisecond. So even the same backup, restored twice, onto empty disks, gives no
 * fence twice.
 */
static int64_t step_of(const struct restore *restore, int64_t now_ms)
{
    int64_t sure_ms = restore->new.wall_ms > 0 ? restore->new.wall_ms : now_ms;
    int64_t step = backup_fence_step(now_ms, sure_ms);
    int64_t behind = 0;
    if (restore->old_is_sound) {
        int64_t fences = restore->old.fence - restore->new.fence;
        int64_t revisions = restore->old.revision - restore->new.revision;
        behind = fences > revisions ? fences : revisions;
    }
    return step + (behind > 0 ? behind : 0);
}

static bool step_fence(const struct restore *restore, struct machine *machine, int64_t by)
{
    struct arena arena = ARENA_EMPTY;
    struct events events;
    struct result result;
    /* No reading of the clocks: they go on from where the backup has them. */
    const struct command command = {.kind = COMMAND_FENCE_STEP, .fence_step = {.by = by}};
    machine_begin(machine, &arena);
    machine_apply(machine, &command, &arena, &result);
    bool stepped = machine_commit(machine, &events) == STATUS_OK && status_is_ok(result.status);
    arena_free(&arena);
    return stepped || refuse(restore->why, "Cannot step the fence in %s: %s.", restore->made,
                             machine_failure(machine));
}

/* Done before the copy takes the old state's place, so that no state is ever there whose fence is behind. */
static bool bring_up(struct restore *restore, int64_t now_ms, int64_t *ret_fence)
{
    static const unsigned char NO_SEED[32]; /* the copy has a secret of its own */
    char because[256];
    struct machine *machine = NULL;
    if (machine_open(restore->made, STORAGE_SYNCED, false, NO_SEED, &machine, because) !=
        STATUS_OK) {
        return refuse(restore->why, "%s cannot be restored: %s.", restore->file, because);
    }
    bool stepped = step_fence(restore, machine, step_of(restore, now_ms));
    *ret_fence = machine_counters(machine).fence;
    machine_close(machine);
    if (!stepped) {
        return false;
    }
    char wal[DATADIR_PATH_BYTES];
    with_suffix(restore->made, "-wal", wal);
    return (!is_there(wal) && whole_file_sync(restore->made)) ||
           refuse(restore->why, "Cannot write %s back into its file.", restore->made);
}

/* ---- restore: the exchange ---------------------------------------------------------------------------------------- */

static bool look_at_old(struct restore *restore)
{
    char because[SNAPSHOT_WHY_BYTES], wal[DATADIR_PATH_BYTES];
    restore->has_old = is_there(restore->database);
    if (!restore->has_old) {
        return true;
    }
    restore->old_is_sound =
        snapshot_look(restore->database, false, &restore->old, because) == STATUS_OK;
    with_suffix(restore->database, "-wal", wal);
    return !restore->old_is_sound || !is_there(wal) ||
           refuse(restore->why,
                  "%s is open in another process (a backup, or a shell of SQLite's); let it end, "
                  "then restore again.",
                  restore->database);
}

static void name_kept(struct restore *restore, int64_t now_ms)
{
    char stamp[32], suffix[64];
    time_t now = (time_t)(now_ms / 1000);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc);
    snprintf(suffix, sizeof suffix, ".before-restore-%s", stamp);
    with_suffix(restore->database, suffix, restore->kept);
}

/* Moves what SQLite keeps beside a file along with it. A sound one has nothing left there. */
static bool move_companion(const struct restore *restore, const char *suffix)
{
    char from[DATADIR_PATH_BYTES], to[DATADIR_PATH_BYTES];
    with_suffix(restore->database, suffix, from);
    with_suffix(restore->kept, suffix, to);
    return rename(from, to) == 0 || errno == ENOENT;
}

/* The old state gets a second name; its first one goes over to the new state in one step. So there is no moment, also
   not for a crash, in which the directory has no state and a server would begin from nothing. */
static bool keep_old(struct restore *restore, int64_t now_ms)
{
    if (!restore->has_old) {
        restore->kept[0] = '\0';
        return true;
    }
    name_kept(restore, now_ms);
    return (link(restore->database, restore->kept) == 0 && move_companion(restore, "-wal") &&
            move_companion(restore, "-shm")) ||
           refuse(restore->why, "Cannot keep %s as %s: %s.", restore->database, restore->kept,
                  strerror(errno));
}

static bool put_in_place(struct restore *restore, int64_t now_ms)
{
    if (!keep_old(restore, now_ms)) {
        return false;
    }
    return (rename(restore->made, restore->database) == 0 &&
            whole_file_sync_place(restore->database)) ||
           refuse(restore->why, "Cannot put %s in place: %s.", restore->made, strerror(errno));
}

static bool restore_into(struct restore *restore, int64_t now_ms, int64_t *ret_fence)
{
    with_suffix(restore->database, ".restoring", restore->made);
    bool done = check_alone(restore) && look_at_old(restore) && copy_file(restore) &&
                check_copy(restore) && bring_up(restore, now_ms, ret_fence) &&
                put_in_place(restore, now_ms);
    if (!done) {
        unlink(restore->made);
    }
    return done;
}

bool backup_restore(const char *data_dir, const char *file, int64_t now_ms,
                    struct backup_restored *ret, char ret_why[BACKUP_WHY_BYTES])
{
    struct datadir *datadir = NULL;
    if (!check_no_member(data_dir, ret_why) || !datadir_open(data_dir, &datadir, ret_why)) {
        return false;
    }
    struct restore restore = {.file = file, .database = datadir_database(datadir), .why = ret_why};
    bool done = restore_into(&restore, now_ms, &ret->fence);
    memcpy(ret->kept, restore.kept, sizeof ret->kept);
    /* What is in place now was checked, whole. A failed restore leaves what was there, and its mark. */
    datadir_close(datadir, done || datadir_was_clean(datadir));
    return done;
}
