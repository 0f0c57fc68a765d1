#include "db/sql.h"

#include "db/command.h"
#include "db/library.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

/* Prepared statements, in an open hash table keyed by the address of their text. */
enum { STATEMENTS_MAX = 512 };

struct statement {
    const char *text;
    sqlite3_stmt *stmt;
};
struct sql {
    sqlite3 *handle;
    bool failed;
    unsigned count;
    struct statement statements[STATEMENTS_MAX];
    char failure[256];
};

static void fail(struct sql *sql)
{
    if (!sql->failed) {
        sql->failed = true;
        snprintf(sql->failure, sizeof sql->failure, "%s (%d)", sqlite3_errmsg(sql->handle),
                 sqlite3_extended_errcode(sql->handle));
    }
}

static const char READER[] = "PRAGMA query_only = 1; PRAGMA cache_size = -2048";
/* secure_delete zeroes what is deleted, at the price of touching more pages; tokens are only kept as hashes.
   Checkpoints are timed by the committer, off the commit path. What FULL asks for, is the VFS's affair. */
static const char WRITER[] = "PRAGMA page_size = 1024; PRAGMA journal_mode = WAL;"
                             "PRAGMA wal_autocheckpoint = 0; PRAGMA secure_delete = 0;"
                             "PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY;"
                             "PRAGMA synchronous = FULL";

static bool configure(struct sql *sql, const char *pragmas)
{
    sqlite3_extended_result_codes(sql->handle, 1);
    sqlite3_busy_timeout(sql->handle, 10000); /* only a backup or a checkpoint can be in the way */
    return sql_exec(sql, pragmas);
}

static enum status open_with(const char *path, int flags, const char *vfs, const char *pragmas,
                             struct sql **ret, char ret_why[256])
{
    struct sql *sql = calloc(1, sizeof *sql);
    if (sql == NULL) {
        snprintf(ret_why, 256, "out of memory");
        return STATUS_OUT_OF_MEMORY;
    }
    int rc = sqlite3_open_v2(path, &sql->handle, flags | SQLITE_OPEN_NOMUTEX, vfs);
    if (rc != SQLITE_OK) {
        fail(sql);
    }
    if (sql->failed || !configure(sql, pragmas)) {
        snprintf(ret_why, 256, "%s", sql->failure);
        sql_close(sql);
        return STATUS_STORAGE_UNAVAILABLE;
    }
    *ret = sql;
    return STATUS_OK;
}

enum status sql_open(const char *path, enum storage storage, struct sql **ret, char ret_why[256])
{
    library_configure();
    return open_with(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, wal_vfs_name(storage),
                     WRITER, ret, ret_why);
}

enum status sql_open_reader(const char *path, struct sql **ret, char ret_why[256])
{
    library_configure();
    return open_with(path, SQLITE_OPEN_READWRITE, wal_vfs_reader_name(), READER, ret, ret_why);
}

void sql_close(struct sql *sql)
{
    if (sql == NULL) {
        return;
    }
    for (unsigned i = 0; i < STATEMENTS_MAX; i++) {
        sqlite3_finalize(sql->statements[i].stmt);
    }
    int rc = sqlite3_close(sql->handle);
    assert(rc == SQLITE_OK);
    (void)rc;
    free(sql);
}

bool sql_exec(struct sql *sql, const char *statements)
{
    if (!sql->failed && sqlite3_exec(sql->handle, statements, NULL, NULL, NULL) != SQLITE_OK) {
        fail(sql);
    }
    return !sql->failed;
}

bool sql_failed(const struct sql *sql)
{
    return sql->failed;
}

const char *sql_failure(const struct sql *sql)
{
    return sql->failure;
}

void sql_fail(struct sql *sql, const char *why)
{
    if (!sql->failed) {
        sql->failed = true;
        snprintf(sql->failure, sizeof sql->failure, "%s", why);
    }
}

void sql_clear_failure(struct sql *sql)
{
    sql->failed = false;
    sql->failure[0] = '\0';
}

void sql_undo(struct sql *sql)
{
    sql_clear_failure(sql);
    if (sqlite3_get_autocommit(sql->handle) == 0) {
        sql_exec(sql, "ROLLBACK");
    }
    sql_clear_failure(sql);
}

int64_t sql_checkpoint(struct sql *sql)
{
    int in_wal = 0, moved = 0;
    int rc =
        sqlite3_wal_checkpoint_v2(sql->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, &in_wal, &moved);
    return rc == SQLITE_OK ? in_wal - moved : -1;
}

struct sqlite3 *sql_handle(struct sql *sql)
{
    return sql->handle;
}

static struct statement *statement_slot(struct sql *sql, const char *text)
{
    size_t i = ((size_t)(uintptr_t)text * 0x9E3779B97F4A7C15u) >> 32;
    while (sql->statements[i % STATEMENTS_MAX].text != NULL &&
           sql->statements[i % STATEMENTS_MAX].text != text) {
        i++;
    }
    return &sql->statements[i % STATEMENTS_MAX];
}

static sqlite3_stmt *prepared(struct sql *sql, const char *text)
{
    struct statement *slot = statement_slot(sql, text);
    if (slot->text == NULL) {
        assert(sql->count < STATEMENTS_MAX * 3 / 4);
        if (sqlite3_prepare_v3(sql->handle, text, -1, SQLITE_PREPARE_PERSISTENT, &slot->stmt,
                               NULL) != SQLITE_OK) {
            fail(sql);
            return NULL;
        }
        slot->text = text;
        sql->count++;
    }
    return slot->stmt;
}

struct query query_begin(struct sql *sql, const char *text)
{
    sqlite3_stmt *stmt = sql->failed ? NULL : prepared(sql, text);
    assert(stmt == NULL || !sqlite3_stmt_busy(stmt));
    return (struct query){.sql = sql, .stmt = stmt, .bound = 0};
}

void query_end(struct query *query)
{
    if (query->stmt != NULL) {
        sqlite3_reset(query->stmt);
        query->stmt = NULL;
    }
}

static void bound(struct query *query, int rc)
{
    if (rc != SQLITE_OK) {
        fail(query->sql);
        query_end(query);
    }
}

/* sqlite3_bind_* takes an int length; every text of ours is bounded far below it. */
static int bind_length(struct text t)
{
    assert(t.len <= 0x7fffffff);
    return (int)t.len;
}

void bind_text(struct query *query, struct text t)
{
    int i = ++query->bound;
    if (query->stmt != NULL) {
        bound(query, sqlite3_bind_text(query->stmt, i, t.at, bind_length(t), SQLITE_STATIC));
    }
}

void bind_blob(struct query *query, struct text t)
{
    int i = ++query->bound;
    if (query->stmt != NULL) {
        bound(query, sqlite3_bind_blob(query->stmt, i, t.at, bind_length(t), SQLITE_STATIC));
    }
}

void bind_int(struct query *query, int64_t n)
{
    int i = ++query->bound;
    if (query->stmt != NULL) {
        bound(query, n == ABSENT ? sqlite3_bind_null(query->stmt, i)
                                 : sqlite3_bind_int64(query->stmt, i, n));
    }
}

bool query_row(struct query *query)
{
    if (query->stmt == NULL) {
        return false;
    }
    int rc = sqlite3_step(query->stmt);
    if (rc == SQLITE_ROW) {
        return true;
    }
    if (rc != SQLITE_DONE) {
        fail(query->sql);
    }
    query_end(query);
    return false;
}

int64_t query_run(struct query *query)
{
    while (query_row(query)) {
    }
    return query->sql->failed ? 0 : sqlite3_changes64(query->sql->handle);
}

void sql_run(struct sql *sql, const char *text)
{
    QUERY(q, sql, text);
    query_run(&q);
}

int64_t col_int(const struct query *query, int column)
{
    int64_t n = sqlite3_column_int64(query->stmt, column); /* NULL reads as 0 */
    return n == 0 && sqlite3_column_type(query->stmt, column) == SQLITE_NULL ? ABSENT : n;
}

struct text col_borrow(const struct query *query, int column)
{
    if (sqlite3_column_type(query->stmt, column) == SQLITE_NULL) {
        return TEXT_ABSENT;
    }
    const void *at = sqlite3_column_blob(query->stmt, column);
    size_t len = (size_t)sqlite3_column_bytes(query->stmt, column);
    return at == NULL ? TEXT("") : (struct text){at, len};
}

struct text col_text(const struct query *query, int column, struct arena *arena)
{
    return arena_copy(arena, col_borrow(query, column));
}
