/* A partition's file that is one process's own: who is kept out, and that who is let in sees what it would otherwise. */
#include "db/machine.h"
#include "db/snapshot.h"
#include "tests/unit/fixture.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const unsigned char SEED[32] = "a test's seed, always the same.";

static struct machine *open_own(const struct fixture *f)
{
    struct machine *machine;
    char why[256];
    cr_assert_eq(machine_open(f->path, STORAGE_OWN, false, SEED, &machine, why), STATUS_OK, "%s",
                 why);
    return machine;
}

static struct command getting(const char *id)
{
    return (struct command){.kind = COMMAND_SESSION_GET,
                            .session_get = {.id = text_of(id), .condition = UNCONDITIONAL}};
}

/* A fixture whose machine owns the file. */
static void open_fixture(struct fixture *f)
{
    fixture_open(f);
    machine_close(f->machine);
    f->machine = open_own(f);
}

/* ---- other processes ---------------------------------------------------------------------------------------------- */

/* SQLite's locks on a WAL's index: so many bytes from there on of the file that has it. */
enum { LOCKS_AT = 120, LOCKS = 8 };

/* The locks of the index, as bits, that another process could not take alone. */
static int locks_kept_from_others(const struct fixture *f)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        char path[128];
        snprintf(path, sizeof path, "%s-shm", f->path);
        int fd = open(path, O_RDWR), kept = 0;
        for (int i = 0; i < LOCKS && fd >= 0; i++) {
            struct flock lock = {
                .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCKS_AT + i, .l_len = 1};
            kept |= (fcntl(fd, F_SETLK, &lock) != 0) << i;
        }
        _exit(fd < 0 ? 0 : kept);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WEXITSTATUS(status);
}

Test(shm_locks, while_a_file_is_owned_another_process_gets_no_lock)
{
    struct fixture f;
    open_fixture(&f);
    cr_expect_eq(locks_kept_from_others(&f), 0xff);
    fixture_do(&f, fixture_putting("s"));
    cr_expect_eq(locks_kept_from_others(&f), 0xff, "nor after a commit");
    cr_expect_eq(fixture_read(&f, getting("s")).status, STATUS_OK);
    cr_expect_geq(machine_checkpoint(f.machine), 0);
    cr_expect_eq(locks_kept_from_others(&f), 0xff, "nor after a read and a checkpoint");
    fixture_reopen(&f);
    cr_expect_eq(locks_kept_from_others(&f), 0, "a file that is not owned is anybody's");
    fixture_close(&f);
}

static int64_t first_int(sqlite3 *db, const char *query)
{
    sqlite3_stmt *stmt = NULL;
    int64_t n = -1;
    if (sqlite3_prepare_v2(db, query, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        n = sqlite3_column_int64(stmt, 0);
    }
    sqlite3_finalize(stmt);
    return n;
}

static const char COUNT[] = "SELECT count(*) FROM sessions";

/* What the other process does: reads in one transaction, before and after it is told to. Its exit code: what it saw. */
static void read_twice(const char *path, int told, int tell)
{
    sqlite3 *db = NULL;
    char byte = 0;
    bool opened = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
                  sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK;
    int64_t before = first_int(db, COUNT);
    bool heard = write(tell, &byte, 1) == 1 && read(told, &byte, 1) == 1;
    int64_t after = first_int(db, COUNT);
    sqlite3_close(db);
    _exit(opened && heard && before == after ? (int)after : 99);
}

Test(shm_locks, a_file_that_another_process_reads_is_not_owned_and_both_are_right)
{
    struct fixture f;
    int to[2], from[2], status;
    char byte = 0;
    fixture_open(&f);
    fixture_do(&f, fixture_putting("s"));
    cr_assert_eq(pipe(to) | pipe(from), 0);
    machine_close(f.machine); /* a process that is forked must not know of open files */
    pid_t child = fork();
    if (child == 0) {
        read_twice(f.path, to[0], from[1]);
    }
    cr_assert_eq(read(from[0], &byte, 1), 1);
    f.machine = open_own(&f);
    fixture_do(&f, fixture_putting("t"));
    fixture_do(&f, fixture_putting("u"));
    cr_expect_gt(machine_checkpoint(f.machine), 0, "what the other does not see yet stays back");
    cr_expect_neq(locks_kept_from_others(&f), 0xff);
    cr_assert_eq(write(to[1], &byte, 1), 1);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(WEXITSTATUS(status), 1, "it sees what it saw when its transaction began");
    cr_expect_eq(machine_checkpoint(f.machine), 0);
    fixture_close(&f);
}

/* ---- readers of the same process ---------------------------------------------------------------------------------- */

static sqlite3 *open_reader(const struct fixture *f)
{
    sqlite3 *db = NULL;
    cr_assert_eq(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READWRITE, wal_vfs_reader_name()),
                 SQLITE_OK);
    return db;
}

Test(shm_locks, a_checkpoint_and_a_new_log_leave_a_reader_what_it_sees)
{
    struct fixture f;
    open_fixture(&f);
    fixture_do(&f, fixture_putting("a"));
    sqlite3 *early = open_reader(&f), *late = open_reader(&f);
    cr_assert_eq(sqlite3_exec(early, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
    cr_expect_eq(first_int(early, COUNT), 1);
    fixture_do(&f, fixture_putting("b"));
    cr_expect_gt(machine_checkpoint(f.machine), 0);
    cr_assert_eq(sqlite3_exec(late, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
    cr_expect_eq(first_int(late, COUNT), 2);
    for (int i = 0; i < 20; i++) {
        char id[8];
        snprintf(id, sizeof id, "c%d", i);
        fixture_do(&f, fixture_putting(id));
        machine_checkpoint(f.machine);
    }
    cr_expect_eq(first_int(early, COUNT), 1);
    cr_expect_eq(first_int(late, COUNT), 2);
    cr_assert_eq(sqlite3_exec(early, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(late, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    cr_expect_eq(first_int(early, COUNT), 22);
    cr_expect_eq(machine_checkpoint(f.machine), 0, "nobody is in its way any more");
    fixture_do(&f, fixture_putting("d")); /* at the beginning of the log */
    cr_expect_eq(first_int(late, COUNT), 23);
    sqlite3_close(early);
    sqlite3_close(late);
    fixture_close(&f);
}

Test(shm_locks, a_file_is_owned_again_although_a_reader_of_before_is_still_open)
{
    struct fixture f;
    open_fixture(&f);
    fixture_do(&f, fixture_putting("a"));
    sqlite3 *left = open_reader(&f);
    cr_expect_eq(first_int(left, COUNT), 1);
    machine_close(f.machine);
    f.machine = open_own(&f);
    cr_expect_eq(locks_kept_from_others(&f), 0xff);
    fixture_do(&f, fixture_putting("b"));
    sqlite3 *now = open_reader(&f);
    cr_expect_eq(first_int(now, COUNT), 2);
    sqlite3_close(left);
    cr_expect_eq(locks_kept_from_others(&f), 0xff, "it takes nothing along");
    sqlite3_close(now);
    fixture_close(&f);
}

Test(shm_locks, a_copy_is_made_of_a_file_that_is_owned)
{
    struct fixture f;
    struct snapshot_info info;
    char copy[128], why[SNAPSHOT_WHY_BYTES];
    open_fixture(&f);
    fixture_do(&f, fixture_putting("a"));
    snprintf(copy, sizeof copy, "%s/copy.db", f.dir);
    cr_assert_eq(snapshot_copy(f.path, copy, why), STATUS_OK, "%s", why);
    cr_expect_eq(snapshot_look(copy, true, &info, why), STATUS_OK, "%s", why);
    cr_expect_eq(info.wall_ms, f.now.now_ms);
    unlink(copy);
    fixture_close(&f);
}

/* ---- side by side ------------------------------------------------------------------------------------------------- */

struct watcher {
    const struct fixture *fixture;
    atomic_bool *over;
    bool checkpoints;
    int64_t looks, wrong;
};

/* Each batch puts two sessions, with the same version. */
static void *watch(void *argument)
{
    static const char SPREAD[] = "SELECT max(version) - min(version) FROM sessions";
    struct watcher *watcher = argument;
    sqlite3 *db = open_reader(watcher->fixture);
    while (!atomic_load(watcher->over)) {
        if (watcher->checkpoints) {
            sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        } else {
            watcher->wrong += first_int(db, SPREAD) != 0;
        }
        watcher->looks++;
    }
    sqlite3_close(db);
    return NULL;
}

static void put_both(struct fixture *f)
{
    struct result result;
    struct command commands[] = {fixture_putting("a"), fixture_putting("b")};
    machine_begin(f->machine, &f->arena);
    for (int i = 0; i < 2; i++) {
        commands[i].stamp = f->now;
        machine_apply(f->machine, &commands[i], &f->arena, &result);
    }
    cr_assert_eq(machine_commit(f->machine, &f->events), STATUS_OK, "%s",
                 machine_failure(f->machine));
    arena_clear(&f->arena);
}

Test(shm_locks, readers_see_whole_batches_while_others_write_and_checkpoint, .timeout = 120)
{
    enum { BATCHES = 3000, WATCHERS = 3 };
    struct fixture f;
    atomic_bool over = false;
    struct watcher watchers[WATCHERS];
    pthread_t threads[WATCHERS];
    open_fixture(&f);
    put_both(&f);
    for (int i = 0; i < WATCHERS; i++) {
        watchers[i] = (struct watcher){.fixture = &f, .over = &over, .checkpoints = i == 0};
        cr_assert_eq(pthread_create(&threads[i], NULL, watch, &watchers[i]), 0);
    }
    for (int i = 0; i < BATCHES; i++) {
        put_both(&f);
    }
    atomic_store(&over, true);
    for (int i = 0; i < WATCHERS; i++) {
        pthread_join(threads[i], NULL);
        cr_expect_gt(watchers[i].looks, 0);
        cr_expect_eq(watchers[i].wrong, 0, "%lld of %lld", (long long)watchers[i].wrong,
                     (long long)watchers[i].looks);
    }
    cr_expect_eq(fixture_read(&f, getting("a")).session.version, BATCHES + 1);
    fixture_close(&f);
}
