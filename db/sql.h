/*
 * A connection to a partition's SQLite file, and queries on it. This is the only file pair that calls SQLite for rows;
 * the aggregates above it read as SQL texts and the columns they take.
 *
 * Errors are sticky: once a call fails (disk full, I/O error, out of memory), the connection is failed, every further
 * query yields nothing, and whoever runs the transaction finds it out once, at the end, and rolls back. So the
 * aggregates need no error branch of their own for storage.
 *
 * A connection belongs to one thread at a time.
 */
#ifndef RINGHOLD_DB_SQL_H
#define RINGHOLD_DB_SQL_H

#include "db/arena.h"
#include "db/status.h"
#include "db/text.h"
#include "db/wal_vfs.h"

#include <stdint.h>

struct sql;
struct sqlite3;
struct sqlite3_stmt;

/* Of a database that is made anew. The WAL holds every touched page whole, and a command touches a few rows here and
   there: small pages make small commits (docs/benchmarks.md). */
enum { PAGE_BYTES = 1024 };

/* Opens the file at `path` to write in it, and makes it where it is missing. STORAGE_UNAVAILABLE when SQLite cannot;
   `ret_why`, of at least 256 bytes, then says why. */
MUST_CHECK enum status sql_open(const char *path, enum storage storage, struct sql **ret,
                                char ret_why[256]);
/* The same to read it alone; it must be there. */
MUST_CHECK enum status sql_open_reader(const char *path, struct sql **ret, char ret_why[256]);
/* NULL-safe. */
void sql_close(struct sql *sql);

/* Runs statements that give no rows, as for schema and transactions. A failure is sticky. */
bool sql_exec(struct sql *sql, const char *statements);

bool sql_failed(const struct sql *sql);
/* SQLite's own words on the first failure; valid until the failure is cleared. */
const char *sql_failure(const struct sql *sql);
/* Declares the connection failed, for a reason of the caller's. */
void sql_fail(struct sql *sql, const char *why);
/* Forgets the failure, after the transaction was rolled back. */
void sql_clear_failure(struct sql *sql);
/* Undoes the transaction, if there is one, and forgets the failure. */
void sql_undo(struct sql *sql);

/* Writes the WAL back into the file as far as readers allow, without waiting for them. Returns the pages that are left,
   negative on error. */
int64_t sql_checkpoint(struct sql *sql);

/* SQLite's handle, for backup, checkpoint and hooks. */
struct sqlite3 *sql_handle(struct sql *sql);

/*
 * A query in use. `text` must be a constant with static storage: its address is the key under which the connection
 * keeps the prepared statement. A text can be in use once at a time.
 */
struct query {
    struct sql *sql;
    struct sqlite3_stmt *stmt; /* NULL when the connection is failed */
    int bound;
};
struct query query_begin(struct sql *sql, const char *text);
/* Ends the query so that its text can be used again. Safe to call twice. */
void query_end(struct query *query);
/* Declares a query that ends with the enclosing block. */
#define QUERY(name, sql, text)                                                                     \
    __attribute__((cleanup(query_end))) struct query name = query_begin(sql, text)

/* A query without parameters or rows, such as COMMIT. */
void sql_run(struct sql *sql, const char *text);

/* These bind the next parameter: the first call ?1, the second ?2, and so on. The text must live until query_end. */
void bind_text(struct query *query, struct text t); /* absent binds NULL */
void bind_blob(struct query *query, struct text t); /* absent binds NULL */
void bind_int(struct query *query, int64_t n);      /* ABSENT binds NULL */

/* Goes to the next row. False at the end, and when the connection failed. */
bool query_row(struct query *query);
/* Runs a query that gives no rows (or whose rows do not matter), ends it, and returns how many rows it changed. */
int64_t query_run(struct query *query);

/* Columns of the present row, from 0. NULL reads as ABSENT, or as the absent text. */
int64_t col_int(const struct query *query, int column);
/* A copy in the arena, of a text or a blob. */
struct text col_text(const struct query *query, int column, struct arena *arena);
/* Borrowed: valid until the query moves on. */
struct text col_borrow(const struct query *query, int column);

#endif
