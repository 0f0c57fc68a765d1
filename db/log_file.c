#include "db/log_file.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* Format 1 had no sums. */
enum { FORMAT = 2 };

/* ---- sums --------------------------------------------------------------------------------------------------------- */

static void log_sum(sqlite3_context *context, int count, sqlite3_value **values)
{
    uint64_t sum = 0;
    for (int i = 0; i < count; i++) {
        int64_t head[2] = {sqlite3_value_type(values[i]), 0}; /* and the number, or the length */
        const void *bytes = NULL;
        if (head[0] == SQLITE_INTEGER) {
            head[1] = sqlite3_value_int64(values[i]);
        } else {
            bytes = sqlite3_value_blob(values[i]);
            head[1] = sqlite3_value_bytes(values[i]);
        }
        sum = XXH3_64bits_withSeed(head, sizeof head, sum);
        if (bytes != NULL) {
            sum = XXH3_64bits_withSeed(bytes, (size_t)head[1], sum);
        } else if (head[0] != SQLITE_INTEGER && head[1] != 0) {
            sqlite3_result_error_nomem(context);
            return;
        }
    }
    sqlite3_result_int64(context, (sqlite3_int64)sum);
}

static void define_sum(struct sql *sql)
{
    if (sqlite3_create_function(sql_handle(sql), "log_sum", -1, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                NULL, log_sum, NULL, NULL) != SQLITE_OK) {
        sql_fail(sql, "out of memory");
    }
}

/* ---- formats ------------------------------------------------------------------------------------------------------ */

static int64_t format_of(struct sql *sql)
{
    QUERY(q, sql, "PRAGMA user_version");
    return query_row(&q) ? col_int(&q, 0) : -1;
}

static int64_t tables_of(struct sql *sql)
{
    QUERY(q, sql, "SELECT count(*) FROM sqlite_schema");
    return query_row(&q) ? col_int(&q, 0) : -1;
}

static void make_tables(struct sql *sql)
{
    (void)sql_exec(sql,
                   "BEGIN IMMEDIATE;"
                   "CREATE TABLE entries(key INTEGER PRIMARY KEY, term INTEGER NOT NULL,"
                   "  type INTEGER NOT NULL, data BLOB NOT NULL, sum INTEGER NOT NULL);"
                   "CREATE TABLE groups(grp INTEGER PRIMARY KEY, term INTEGER NOT NULL,"
                   "  vote INTEGER NOT NULL, first INTEGER NOT NULL, mark_index INTEGER NOT NULL,"
                   "  mark_term INTEGER NOT NULL, members_index INTEGER NOT NULL,"
                   "  members BLOB, data BLOB,"
                   "  vote_sum INTEGER NOT NULL, mark_sum INTEGER NOT NULL);"
                   "PRAGMA user_version = 2;"
                   "COMMIT");
}

/* All of the WAL is written back then: it would keep the length that it took. */
static void add_sums(struct sql *sql)
{
    (void)sql_exec(sql, "BEGIN IMMEDIATE;"
                        "ALTER TABLE entries ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;"
                        "ALTER TABLE groups ADD COLUMN vote_sum INTEGER NOT NULL DEFAULT 0;"
                        "ALTER TABLE groups ADD COLUMN mark_sum INTEGER NOT NULL DEFAULT 0;"
                        "UPDATE entries SET sum = log_sum(key, term, type, data);"
                        "UPDATE groups SET vote_sum = log_sum(grp, term, vote),"
                        "  mark_sum = log_sum(grp, first, mark_index, mark_term, members_index,"
                        "  members, data);"
                        "PRAGMA user_version = 2;"
                        "COMMIT");
    if (!sql_failed(sql)) {
        sqlite3_wal_checkpoint_v2(sql_handle(sql), NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    }
}

/* ---- whether it is sound ------------------------------------------------------------------------------------------ */

/* The check takes a page that the disk does not give for a bad one. By its words, as it leaves no code. */
static bool is_unread(struct text words)
{
    return memmem(words.at, words.len, "get page", 8) != NULL ||
           memmem(words.at, words.len, "get the page", 12) != NULL;
}

/* Pages that are not what they should be, which the sums of what can be read say nothing of. */
static bool check_pages(struct sql *sql, char ret_why[256])
{
    QUERY(q, sql, "PRAGMA quick_check(1)");
    if (!query_row(&q)) {
        return true; /* a failure */
    }
    struct text words = col_borrow(&q, 0);
    if (text_equal(words, TEXT("ok"))) {
        return true;
    }
    for (size_t i = words.len; i > 0; i--) { /* the first line says of which database */
        if (words.at[i - 1] == '\n') {
            words = (struct text){words.at + i, words.len - i};
            break;
        }
    }
    snprintf(ret_why, 256, "%.*s", (int)words.len, words.at);
    if (is_unread(words)) {
        sql_fail(sql, ret_why);
        return true; /* a failure, too */
    }
    return false;
}

static bool check_groups(struct sql *sql, char ret_why[256])
{
    QUERY(q, sql,
          "SELECT grp FROM groups WHERE vote_sum IS NOT log_sum(grp, term, vote)"
          " OR mark_sum IS NOT log_sum(grp, first, mark_index, mark_term, members_index, members,"
          " data) LIMIT 1");
    bool sound = !query_row(&q);
    if (!sound) {
        snprintf(ret_why, 256, "what it says of group %" PRId64 " is not what was written",
                 col_int(&q, 0));
    }
    return sound;
}

static bool check_entries(struct sql *sql, char ret_why[256])
{
    int64_t last = -1;
    QUERY(q, sql,
          "SELECT key, sum IS log_sum(key, entries.term, type, entries.data), coalesce(first, 1)"
          " FROM entries LEFT JOIN groups ON grp = key >> 44 ORDER BY key");
    while (query_row(&q)) {
        int64_t key = col_int(&q, 0), group = key >> LOG_INDEX_BITS;
        int64_t index = key - (group << LOG_INDEX_BITS), first = col_int(&q, 2);
        bool follows = key == last + 1 || index <= first;
        if (col_int(&q, 1) == 0 || !follows) {
            snprintf(ret_why, 256, "entry %" PRId64 " of group %" PRId64 " is not %s", index, group,
                     follows ? "what was written" : "where it was written");
            return false;
        }
        last = key;
    }
    return true;
}

/* By SQLite's words: where the file could not even be opened there is no code left to ask for. */
enum log_file log_file_failed(const char *failure)
{
    bool damaged = strstr(failure, sqlite3_errstr(SQLITE_CORRUPT)) != NULL ||
                   strstr(failure, sqlite3_errstr(SQLITE_NOTADB)) != NULL;
    return damaged ? LOG_FILE_DAMAGED : LOG_FILE_UNUSABLE;
}

enum log_file log_file_prepare(struct sql *sql, char ret_why[256])
{
    define_sum(sql);
    int64_t format = format_of(sql);
    bool empty = format == 0 && tables_of(sql) == 0;
    bool known = empty || (format >= 1 && format <= FORMAT);
    if (!sql_failed(sql) && !known) {
        sql_fail(sql, "it is not a log of this version of Ringhold");
    }
    bool sound = check_pages(sql, ret_why);
    if (sound && empty) {
        make_tables(sql);
    } else if (sound && format == 1) {
        add_sums(sql);
    }
    sound = sound && check_groups(sql, ret_why) && check_entries(sql, ret_why);
    if (!sql_failed(sql)) {
        return sound ? LOG_FILE_SOUND : LOG_FILE_DAMAGED;
    }
    snprintf(ret_why, 256, "%s", sql_failure(sql));
    return log_file_failed(ret_why);
}
