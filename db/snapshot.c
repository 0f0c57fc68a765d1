#include "db/snapshot.h"

#include "db/schema.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>

static enum status __attribute__((format(printf, 2, 3))) refuse(char *why, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, SNAPSHOT_WHY_BYTES, format, arguments);
    va_end(arguments);
    return STATUS_STORAGE_UNAVAILABLE;
}

/* ---- copying ------------------------------------------------------------------------------------------------------ */

static enum status copy_pages(sqlite3 *from, sqlite3 *to, char *why)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    if (backup == NULL) {
        return refuse(why, "%s", sqlite3_errmsg(to));
    }
    /* All in one step, in one read transaction: in several, each commit in between would begin the copy anew. */
    int rc = sqlite3_backup_step(backup, -1);
    sqlite3_backup_finish(backup);
    return rc == SQLITE_DONE ? STATUS_OK : refuse(why, "%s", sqlite3_errstr(rc));
}

static enum status copy_between(sqlite3 *from, sqlite3 *to, char *why)
{
    sqlite3_busy_timeout(from, 10000);
    /* The copy is synced by who asked for it, once, at its end. */
    if (sqlite3_exec(to, "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF", NULL, NULL, NULL) !=
        SQLITE_OK) {
        return refuse(why, "%s", sqlite3_errmsg(to));
    }
    enum status status = copy_pages(from, to, why);
    if (status == STATUS_OK &&
        sqlite3_exec(to, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL) != SQLITE_OK) {
        status = refuse(why, "%s", sqlite3_errmsg(to));
    }
    return status;
}

enum status snapshot_copy(const char *from, const char *to, char ret_why[SNAPSHOT_WHY_BYTES])
{
    sqlite3 *source = NULL, *target = NULL;
    enum status status = STATUS_OK;
    if (sqlite3_open_v2(from, &source, SQLITE_OPEN_READONLY, wal_vfs_reader_name()) != SQLITE_OK) {
        status = refuse(ret_why, "%s", sqlite3_errmsg(source));
    } else if (sqlite3_open_v2(to, &target, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) !=
               SQLITE_OK) {
        status = refuse(ret_why, "%s", sqlite3_errmsg(target));
    } else {
        status = copy_between(source, target, ret_why);
    }
    sqlite3_close(source);
    sqlite3_close(target);
    return status;
}

enum status snapshot_copy_into(const char *from, struct sqlite3 *to,
                               char ret_why[SNAPSHOT_WHY_BYTES])
{
    sqlite3 *source = NULL;
    enum status status = STATUS_OK;
    if (sqlite3_open_v2(from, &source, SQLITE_OPEN_READONLY, wal_vfs_reader_name()) != SQLITE_OK) {
        status = refuse(ret_why, "%s", sqlite3_errmsg(source));
    } else {
        status = copy_pages(source, to, ret_why);
    }
    sqlite3_close(source);
    return status;
}

/* ---- looking ------------------------------------------------------------------------------------------------------ */

static int64_t first_int(struct sql *sql, const char *text)
{
    QUERY(q, sql, text);
    return query_row(&q) ? col_int(&q, 0) : -1;
}

static bool has_table(struct sql *sql, const char *name)
{
    static const char FIND[] =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    QUERY(q, sql, FIND);
    bind_text(&q, text_of(name));
    return query_row(&q) && col_int(&q, 0) == 1;
}

static enum status look_at_schema(struct sql *sql, int64_t version, char *why)
{
    bool tables = has_table(sql, "state");
    if (sql_failed(sql) || version < 1 || !tables) {
        return refuse(why, "it is not a Ringhold database%s%s", sql_failed(sql) ? ": " : "",
                      sql_failed(sql) ? sql_failure(sql) : "");
    }
    if (version > SCHEMA_VERSION) {
        return refuse(why,
                      "it was written by a newer Ringhold (schema %lld, this one knows %d); use "
                      "that version",
                      (long long)version, SCHEMA_VERSION);
    }
    /* No migration has added a table yet: an older file has them all. */
    for (size_t i = 0; schema_tables[i] != NULL; i++) {
        if (!has_table(sql, schema_tables[i])) {
            return refuse(why, "it is not a Ringhold database: the table %s is missing",
                          schema_tables[i]);
        }
    }
    return STATUS_OK;
}

static enum status look_at_pages(struct sql *sql, char *why)
{
    static const char CHECK[] = "PRAGMA quick_check(1)";
    QUERY(q, sql, CHECK);
    if (query_row(&q) && text_equal(col_borrow(&q, 0), TEXT("ok"))) {
        return STATUS_OK;
    }
    struct text found = sql_failed(sql) ? text_of(sql_failure(sql)) : col_borrow(&q, 0);
    return refuse(why, "it is damaged (%.*s)", (int)(found.len < 150 ? found.len : 150), found.at);
}

static void look_at_applied(struct sql *sql, struct snapshot_info *ret)
{
    static const char GET[] = "SELECT applied_index, applied_term FROM state";
    QUERY(q, sql, GET);
    if (query_row(&q)) {
        ret->applied_index = col_int(&q, 0);
        ret->applied_term = col_int(&q, 1);
    }
}

static enum status look_at_state(struct sql *sql, int64_t version, struct snapshot_info *ret,
                                 char *why)
{
    static const char GET[] = "SELECT wall_ms, fence, revision FROM state";
    QUERY(q, sql, GET);
    if (!query_row(&q)) {
        return refuse(why, "it has no state%s%s", sql_failed(sql) ? ": " : "",
                      sql_failed(sql) ? sql_failure(sql) : "");
    }
    *ret = (struct snapshot_info){
        .wall_ms = col_int(&q, 0), .fence = col_int(&q, 1), .revision = col_int(&q, 2)};
    if (version >= 2) {
        look_at_applied(sql, ret);
    }
    return STATUS_OK;
}

enum status snapshot_look(const char *path, bool check_integrity, struct snapshot_info *ret,
                          char ret_why[SNAPSHOT_WHY_BYTES])
{
    struct sql *sql = NULL;
    char because[SNAPSHOT_WHY_BYTES];
    if (sql_open_reader(path, &sql, because) != STATUS_OK) {
        return refuse(ret_why, "it is not a Ringhold database: %.200s", because);
    }
    static const char VERSION[] = "PRAGMA user_version";
    int64_t version = first_int(sql, VERSION);
    enum status status = look_at_schema(sql, version, ret_why);
    if (status == STATUS_OK && check_integrity) {
        status = look_at_pages(sql, ret_why);
    }
    if (status == STATUS_OK) {
        status = look_at_state(sql, version, ret, ret_why);
    }
    sql_close(sql);
    return status;
}
