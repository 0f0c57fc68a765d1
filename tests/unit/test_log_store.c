/* The file of a member's log: what the disk gives back altered is found out, and the format before becomes this one. */
#include "tests/crash/copies.h"
#include "tests/crash/log_play.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

enum { TRANSACTIONS = 12 };

static char dir[COPIES_DIR_BYTES], path[COPIES_PATH_BYTES], original[COPIES_PATH_BYTES];
static char words[LOG_PLAY_WORDS_BYTES], found[LOG_PLAY_WORDS_BYTES];

static void run_sql(const char *file, const char *sql)
{
    sqlite3 *handle;
    cr_assert_eq(sqlite3_open(file, &handle), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK, "%s: %s", sql,
                 sqlite3_errmsg(handle));
    sqlite3_close(handle);
}

static struct log_store *open_sound(void)
{
    struct log_store *store;
    char why[256];
    cr_assert_eq(log_store_open(path, &store, why), LOG_FILE_SOUND, "%s", why);
    return store;
}

static void expect_words(struct log_store *store)
{
    const char *now = log_play_read(store, found);
    cr_assert_not_null(now);
    cr_assert_str_eq(now, words);
}

/* A history's end in `path` and in `original`, without a WAL. */
static void set_up(void)
{
    static struct log_play play;
    copies_set_up("log.db", dir, path, original);
    struct log_store *store = open_sound();
    log_play_begin(&play, 3);
    for (int i = 0; i < TRANSACTIONS; i++) {
        log_play_next(&play);
        cr_assert(log_play_try(&play, store, false));
    }
    log_play_words(&play.after, words);
    expect_words(store);
    log_store_close(store);
    copies_after_kill(path, original);
}

static void tear_down(void)
{
    copies_tear_down(dir, path, original);
}

TestSuite(log_store, .init = set_up, .fini = tear_down, .timeout = 300);

/* ---- what is altered ---------------------------------------------------------------------------------------------- */

/* One row each, which is there. */
#define AN_ENTRY " WHERE key = (SELECT max(key) FROM entries WHERE length(data) > 10)"
#define A_GROUP " WHERE grp = (SELECT max(grp) FROM groups WHERE mark_index > 0)"
#define FLIPPED(blob) "CAST(substr(" blob ", 1, 3) || char(1) || substr(" blob ", 5) AS BLOB)"

static const struct {
    const char *sql, *words;
} ALTERATIONS[] = {
    {"UPDATE entries SET key = key + 1000" AN_ENTRY, "entry"},
    {"UPDATE entries SET term = term + 1" AN_ENTRY, "entry"},
    {"UPDATE entries SET term = CAST(term AS REAL) + 0.5" AN_ENTRY, "entry"},
    {"UPDATE entries SET type = 3 - type" AN_ENTRY, "entry"},
    {"UPDATE entries SET data = " FLIPPED("data") AN_ENTRY, "entry"},
    {"UPDATE entries SET data = CAST(data AS TEXT)" AN_ENTRY, "entry"},
    {"UPDATE entries SET data = substr(data, 2)" AN_ENTRY, "entry"},
    {"UPDATE entries SET sum = sum + 1" AN_ENTRY, "entry"},
    {"UPDATE groups SET grp = grp + 1" A_GROUP, "of group"},
    {"UPDATE groups SET term = term + 1" A_GROUP, "of group"},
    {"UPDATE groups SET vote = vote + 1" A_GROUP, "of group"},
    {"UPDATE groups SET first = first + 1" A_GROUP, "of group"},
    {"UPDATE groups SET mark_index = mark_index + 1" A_GROUP, "of group"},
    {"UPDATE groups SET mark_term = mark_term + 1" A_GROUP, "of group"},
    {"UPDATE groups SET members_index = members_index + 1" A_GROUP, "of group"},
    {"UPDATE groups SET members = " FLIPPED("members") A_GROUP, "of group"},
    {"UPDATE groups SET members = NULL" A_GROUP, "of group"},
    {"UPDATE groups SET data = " FLIPPED("data") A_GROUP, "of group"},
    {"UPDATE groups SET members = data, data = members" A_GROUP, "of group"},
    {"UPDATE groups SET vote_sum = vote_sum + 1" A_GROUP, "of group"},
    {"UPDATE groups SET mark_sum = mark_sum + 1" A_GROUP, "of group"},
};

Test(log_store, an_altered_value_of_any_column_is_found_out_when_it_is_opened)
{
    for (size_t i = 0; i < sizeof ALTERATIONS / sizeof ALTERATIONS[0]; i++) {
        struct log_store *store;
        char why[256] = "";
        copies_after_kill(original, path);
        run_sql(path, ALTERATIONS[i].sql);
        cr_expect_eq(log_store_open(path, &store, why), LOG_FILE_DAMAGED, "%s", ALTERATIONS[i].sql);
        cr_expect_not_null(strstr(why, ALTERATIONS[i].words), "%s: %s", ALTERATIONS[i].sql, why);
    }
}

Test(log_store, an_altered_value_of_any_column_is_not_given_out_by_a_store_that_is_open)
{
    for (size_t i = 0; i < sizeof ALTERATIONS / sizeof ALTERATIONS[0]; i++) {
        copies_after_kill(original, path);
        struct log_store *store = open_sound();
        run_sql(path, ALTERATIONS[i].sql);
        const char *now = log_play_read(store, found);
        /* A row that has another key now is missed by who knows of it; these are the replica's gaps. */
        cr_expect(now == NULL || strcmp(now, words) != 0, "%s", ALTERATIONS[i].sql);
        log_store_close(store);
    }
}

Test(log_store, a_missing_entry_is_found_out)
{
    struct log_store *store;
    char why[256];
    run_sql(path, "DELETE FROM entries WHERE key = (SELECT max(key) - 1 FROM entries)");
    cr_assert_eq(log_store_open(path, &store, why), LOG_FILE_DAMAGED);
    cr_assert_not_null(strstr(why, "not where it was written"), "%s", why);
}

static void flip(const char *file, long at, int bit)
{
    FILE *bytes = fopen(file, "r+b");
    cr_assert_eq(fseek(bytes, at, SEEK_SET), 0);
    int byte = fgetc(bytes);
    cr_assert_eq(fseek(bytes, at, SEEK_SET), 0);
    fputc(byte ^ 1 << bit, bytes);
    cr_assert_eq(fclose(bytes), 0);
}

/* Whatever bit it is, if the file opens it says what was written. Whether it was refused. */
static bool is_refused_with(long at, int bit)
{
    struct log_store *store;
    char why[256] = "";
    flip(path, at, bit);
    if (log_store_open(path, &store, why) != LOG_FILE_SOUND) {
        cr_assert_neq(why[0], '\0');
        flip(path, at, bit);
        return true;
    }
    const char *now = log_play_read(store, found);
    cr_assert(now != NULL && strcmp(now, words) == 0, "byte %ld is believed", at);
    log_store_close(store);
    copies_after_kill(original, path);
    return false;
}

Test(log_store, any_byte_of_the_file_may_be_altered)
{
    long bytes, refused = 0;
    run_sql(original, "VACUUM"); /* but for what lies free */
    FILE *file = fopen(original, "rb");
    fseek(file, 0, SEEK_END);
    bytes = ftell(file);
    fclose(file);
    copies_after_kill(original, path);
    for (long at = 0; at < bytes; at += copies_stride(bytes, 400)) {
        refused += is_refused_with(at, (int)(at % 8));
    }
    for (long page = PAGE_BYTES; page < bytes; page += PAGE_BYTES) {
        for (int bit = 0; bit < 3; bit++) { /* how many rows it has: those at its end may vanish */
            refused += is_refused_with(page + 4, bit);
        }
    }
    cr_assert_gt(refused, 100, "%ld of %ld", refused, bytes);
}

/* ---- the format before -------------------------------------------------------------------------------------------- */

/* As it was made then. */
static void make_old(const char *file)
{
    run_sql(file, "ALTER TABLE entries RENAME TO entries2; ALTER TABLE groups RENAME TO groups2;"
                  "CREATE TABLE entries(key INTEGER PRIMARY KEY, term INTEGER NOT NULL,"
                  "  type INTEGER NOT NULL, data BLOB NOT NULL);"
                  "CREATE TABLE groups(grp INTEGER PRIMARY KEY, term INTEGER NOT NULL,"
                  "  vote INTEGER NOT NULL, first INTEGER NOT NULL DEFAULT 1,"
                  "  mark_index INTEGER NOT NULL DEFAULT 0,"
                  "  mark_term INTEGER NOT NULL DEFAULT 0,"
                  "  members_index INTEGER NOT NULL DEFAULT 0, members BLOB, data BLOB);"
                  "INSERT INTO entries SELECT key, term, type, data FROM entries2;"
                  "INSERT INTO groups SELECT grp, term, vote, first, mark_index, mark_term,"
                  "  members_index, members, data FROM groups2;"
                  "DROP TABLE entries2; DROP TABLE groups2;"
                  "PRAGMA user_version = 1");
}

Test(log_store, a_file_of_the_format_before_is_brought_to_this_one)
{
    make_old(path);
    for (int i = 0; i < 2; i++) { /* the sums are right the second time, too */
        struct log_store *store = open_sound();
        expect_words(store);
        log_store_close(store);
    }
    struct log_store *store;
    char why[256];
    run_sql(path, ALTERATIONS[1].sql);
    cr_assert_eq(log_store_open(path, &store, why), LOG_FILE_DAMAGED);
}

Test(log_store, a_file_of_a_later_format_is_refused)
{
    struct log_store *store;
    char why[256];
    run_sql(path, "PRAGMA user_version = 3");
    cr_assert_eq(log_store_open(path, &store, why), LOG_FILE_UNUSABLE);
    cr_assert_not_null(strstr(why, "this version"), "%s", why);
}

/* ---- writing back ------------------------------------------------------------------------------------------------- */

static void store_vote(struct log_store *store, uint64_t term)
{
    log_store_begin(store);
    log_store_set_vote(store, 1, term, 1);
    cr_assert(log_store_commit(store));
}

Test(log_store, what_could_not_be_written_back_once_is_not_counted_when_the_wal_has_begun_anew)
{
    sqlite3 *reader;
    struct log_store *store = open_sound();
    store_vote(store, 1000);
    cr_assert_eq(sqlite3_open(path, &reader), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(reader, "BEGIN; SELECT * FROM groups", NULL, NULL, NULL), SQLITE_OK);
    for (uint64_t term = 1001; term <= 1020; term++) {
        store_vote(store, term);
    }
    cr_assert_gt(log_store_wal_pages(store), 20);
    log_store_write_back(store); /* not what the reader does not see yet */
    cr_expect_eq(log_store_wal_pages(store), 0);
    sqlite3_close(reader);
    log_store_write_back_beside(store);
    store_vote(store, 1021);
    cr_expect_gt(log_store_wal_pages(store), 0);
    cr_expect_lt(log_store_wal_pages(store), 10);
    log_store_close(store);
}
