#include "service/backup.h"

#include "db/machine.h"
#include "db/snapshot.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const int64_t NOW_MS = INT64_C(1700000000000);

static char root[64]; /* of the test; emptied by clean_up */
static char data[128], file[128], database[160];
static char why[BACKUP_WHY_BYTES];
static struct backup_restored restored;

static void set_up(void)
{
    strcpy(root, "/tmp/ringhold-backup-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    snprintf(data, sizeof data, "%s/data", root);
    snprintf(file, sizeof file, "%s/copy.db", root);
    snprintf(database, sizeof database, "%s/partition-0.db", data);
}

static void clean_up(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    cr_assert_eq(system(command), 0);
}
TestSuite(backup, .init = set_up, .fini = clean_up);
TestSuite(restore, .init = set_up, .fini = clean_up);

static struct machine *open_state(void)
{
    static const unsigned char SEED[32] = "a test's seed, always the same.";
    struct machine *machine = NULL;
    char because[256];
    mkdir(data, 0700);
    cr_assert_eq(machine_open(database, STORAGE_SYNCED, true, SEED, &machine, because), STATUS_OK,
                 "%s", because);
    return machine;
}

/* Hands out `count` fences, at that time. */
static void give_fences(struct machine *machine, int64_t count, int64_t now_ms)
{
    struct arena arena = ARENA_EMPTY;
    struct events events;
    struct result result;
    const struct command command = {
        .kind = COMMAND_FENCE_STEP, .stamp = {now_ms, 0}, .fence_step = {.by = count}};
    machine_begin(machine, &arena);
    machine_apply(machine, &command, &arena, &result);
    cr_assert_eq(machine_commit(machine, &events), STATUS_OK);
    arena_free(&arena);
}

/* A state that has given `fences`, and that nobody uses. */
static void make_state(int64_t fences)
{
    struct machine *machine = open_state();
    give_fences(machine, fences, NOW_MS);
    machine_close(machine);
}

static int64_t fence_in(const char *path)
{
    struct snapshot_info info = {0};
    char because[SNAPSHOT_WHY_BYTES];
    cr_assert_eq(snapshot_look(path, true, &info, because), STATUS_OK, "%s", because);
    return info.fence;
}

static void backed_up(void)
{
    cr_assert(backup_make(data, file, why), "%s", why);
}

static void restore_at(int64_t now_ms)
{
    cr_assert(backup_restore(data, file, now_ms, &restored, why), "%s", why);
}

static void restore_refused(const char *because)
{
    cr_expect_not(backup_restore(data, file, NOW_MS, &restored, why));
    cr_expect_not_null(strstr(why, because), "it says: %s", why);
    char left[192];
    snprintf(left, sizeof left, "%s.restoring", database);
    cr_expect_neq(access(left, F_OK), 0, "something was left behind");
}

static void write_bytes(const char *path, long at, const char *bytes, size_t count)
{
    FILE *out = fopen(path, access(path, F_OK) == 0 ? "r+" : "w");
    cr_assert_not_null(out);
    fseek(out, at, SEEK_SET);
    cr_assert_eq(fwrite(bytes, 1, count, out), count);
    fclose(out);
}

static void run_sql(const char *path, const char *statements)
{
    sqlite3 *handle = NULL;
    cr_assert_eq(sqlite3_open(path, &handle), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(handle, statements, NULL, NULL, NULL), SQLITE_OK, "%s",
                 sqlite3_errmsg(handle));
    sqlite3_close(handle);
}

Test(backup, of_a_state_in_use_holds_all_that_was_committed)
{
    struct machine *machine = open_state();
    give_fences(machine, 41, NOW_MS);
    backed_up();
    give_fences(machine, 1, NOW_MS);
    cr_expect_eq(fence_in(file), 41);
    machine_close(machine);
    cr_expect_eq(fence_in(database), 42);
}

Test(backup, of_a_state_not_in_use_is_the_same)
{
    make_state(7);
    backed_up();
    cr_expect_eq(fence_in(file), 7);
}

Test(backup, is_one_file_for_its_owner_alone)
{
    make_state(1);
    backed_up();
    struct stat status;
    cr_assert_eq(stat(file, &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0600);
    static const char *const SUFFIX[] = {"-wal", "-shm", "-journal", ".tmp"};
    for (size_t i = 0; i < sizeof SUFFIX / sizeof SUFFIX[0]; i++) {
        char path[160];
        snprintf(path, sizeof path, "%s%s", file, SUFFIX[i]);
        cr_expect_neq(access(path, F_OK), 0, "%s is there", path);
    }
}

Test(backup, replaces_an_older_one)
{
    make_state(1);
    backed_up();
    make_state(1);
    backed_up();
    cr_expect_eq(fence_in(file), 2);
}

Test(backup, of_nothing_is_refused)
{
    cr_expect_not(backup_make(data, file, why));
    cr_expect_not_null(strstr(why, "There is no database"), "%s", why);
    cr_expect_neq(access(file, F_OK), 0);
}

Test(backup, that_cannot_be_written_leaves_the_older_one)
{
    make_state(1);
    backed_up();
    write_bytes(database, 4096 * 2 + 100, "damaged, surely", 15);
    write_bytes(database, 4096 * 3, "damaged, surely", 15);
    cr_expect_not(backup_make(data, file, why));
    cr_expect_eq(fence_in(file), 1);
    snprintf(file, sizeof file, "%s/no/such/place", root);
    cr_expect_not(backup_make(data, file, why));
    cr_expect_not_null(strstr(why, "Cannot make"), "%s", why);
}

Test(restore, into_an_empty_directory_steps_the_fence)
{
    make_state(10);
    backed_up();
    snprintf(data, sizeof data, "%s/new", root);
    snprintf(database, sizeof database, "%s/partition-0.db", data);
    restore_at(NOW_MS);
    cr_expect_str_eq(restored.kept, "");
    cr_expect_eq(restored.fence, 10 + RESTORE_FENCE_STEP);
    cr_expect_eq(fence_in(database), restored.fence);
}

Test(restore, keeps_what_it_replaces)
{
    make_state(10);
    backed_up();
    make_state(5);
    restore_at(NOW_MS);
    cr_expect_eq(fence_in(restored.kept), 15);
    cr_expect_gt(fence_in(database), 15 + RESTORE_FENCE_STEP - 1);
}

Test(restore, goes_past_the_fences_of_what_it_replaces_however_many_they_are)
{
    make_state(10);
    backed_up();
    make_state(RESTORE_FENCE_STEP * 3);
    restore_at(NOW_MS);
    cr_expect_gt(restored.fence, RESTORE_FENCE_STEP * 3 + 10);
}

Test(restore, of_the_same_backup_again_repeats_no_fence)
{
    make_state(10);
    backed_up();
    restore_at(NOW_MS);
    int64_t first = restored.fence;
    restore_at(NOW_MS + 1000);
    cr_expect_gt(restored.fence, first, "with the state before it still there");
    int64_t second = restored.fence;
    unlink(database);
    restore_at(NOW_MS + DAY_MS);
    cr_expect_gt(restored.fence, second + 100 * 1000 * 1000, "with that lost, a busy day later");
}

Test(restore, marks_the_directory_as_in_order)
{
    make_state(10);
    backed_up();
    restore_at(NOW_MS);
    struct datadir *datadir = NULL;
    cr_assert(datadir_open(data, &datadir, why), "%s", why);
    cr_expect(datadir_was_clean(datadir));
    datadir_close(datadir, true);
}

Test(restore, is_refused_while_a_process_uses_the_directory)
{
    make_state(10);
    backed_up();
    struct datadir *datadir = NULL;
    cr_assert(datadir_open(data, &datadir, why), "%s", why);
    restore_refused("is in use by another Ringhold process");
    datadir_close(datadir, true);
    cr_expect_eq(fence_in(database), 10);
}

Test(restore, is_refused_while_another_process_has_the_database_open)
{
    make_state(10);
    backed_up();
    struct reader *reader = NULL;
    struct machine *machine = open_state();
    cr_assert_eq(reader_open(database, NULL, &reader, why), STATUS_OK, "%s", why);
    give_fences(machine, 1, NOW_MS);
    restore_refused("is open in another process");
    reader_close(reader);
    machine_close(machine);
    cr_expect_eq(fence_in(database), 11);
}

Test(restore, refuses_files_that_are_no_backups)
{
    make_state(10);
    restore_refused("Cannot read");
    write_bytes(file, 0, "", 0);
    restore_refused("it is not a Ringhold database");
    write_bytes(file, 0, "this is a text and nothing but a text", 37);
    restore_refused("it is not a Ringhold database");
    unlink(file);
    run_sql(file, "CREATE TABLE state (id); PRAGMA user_version = 1");
    restore_refused("is missing");
    cr_expect_eq(fence_in(database), 10);
}

Test(restore, refuses_a_backup_of_a_newer_version)
{
    make_state(10);
    backed_up();
    run_sql(file, "PRAGMA user_version = 1000000");
    restore_refused("it was written by a newer Ringhold");
}

Test(restore, refuses_a_damaged_backup)
{
    make_state(10);
    backed_up();
    write_bytes(file, 4096 * 3, "damaged, surely", 15);
    restore_refused("it is damaged");
    cr_expect_eq(fence_in(database), 10);
}

Test(restore, refuses_the_file_of_a_live_database)
{
    make_state(10);
    backed_up();
    char wal[160];
    snprintf(wal, sizeof wal, "%s-wal", file);
    write_bytes(wal, 0, "log", 3);
    restore_refused("has a write-ahead log beside it");
}

Test(restore, replaces_a_state_that_cannot_be_read)
{
    make_state(10);
    backed_up();
    write_bytes(database, 0, "damaged, surely, at its very head", 33);
    char wal[DATADIR_PATH_BYTES + 8];
    snprintf(wal, sizeof wal, "%s-wal", database);
    write_bytes(wal, 0, "log", 3);
    restore_at(NOW_MS + 1000);
    cr_expect_gt(fence_in(database), 10 + RESTORE_FENCE_STEP);
    cr_expect_neq(access(wal, F_OK), 0, "its log would be read as the new one's");
    cr_expect_eq(access(restored.kept, F_OK), 0, "it was not kept");
}
