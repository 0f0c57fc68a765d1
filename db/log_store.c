#include "db/log_store.h"

#include "db/sql.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

enum { TRIM_ENTRIES = 128 }; /* in one transaction */

/* Entries to be deleted: of the group, before an index. */
struct trim {
    struct trim *next;
    uint64_t group, before;
};
struct log_store {
    struct sql *sql;
    struct sql *beside; /* for log_store_write_back_beside */
    struct trim *trims;
    int wal_pages, stuck_pages; /* in the WAL; when it could not be written back */
    char failure[256];
};

static int64_t end_of(uint64_t group)
{
    return log_key(group, 0) + ((int64_t)1 << LOG_INDEX_BITS);
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static int on_wal(void *context, sqlite3 *handle, const char *name, int pages)
{
    struct log_store *store = context;
    (void)handle;
    (void)name;
    store->stuck_pages = pages < store->wal_pages ? 0 : store->stuck_pages; /* it has begun anew */
    store->wal_pages = pages;
    return SQLITE_OK;
}

/*
 * Gives the WAL the length that it may come to, and the file as many free pages, so that terms, votes and what was
 * promised can be stored on a disk that has become full. On one that is full already it has to do without.
 */
static void make_room(struct log_store *store)
{
    struct sql *sql = store->sql;
    if (!sql_exec(sql, "BEGIN IMMEDIATE;"
                       "CREATE TABLE IF NOT EXISTS ballast(data BLOB);"
                       "INSERT INTO ballast VALUES(zeroblob(4718592));"
                       "COMMIT;"
                       "DROP TABLE ballast")) {
        sql_undo(sql);
    }
    log_store_write_back(store);
}

/* What is read once, to be checked, is not worth being kept. */
static enum log_file open_file(struct log_store *store, const char *path, char ret_why[256])
{
    enum status status = sql_open(path, STORAGE_SYNCED, &store->sql, ret_why);
    if (status != STATUS_OK) {
        return log_file_failed(ret_why);
    }
    (void)sql_exec(store->sql, "PRAGMA cache_size = -2048");
    enum log_file file = log_file_prepare(store->sql, ret_why);
    if (file == LOG_FILE_SOUND && sql_open_reader(path, &store->beside, ret_why) != STATUS_OK) {
        file = LOG_FILE_UNUSABLE;
    }
    return file;
}

enum log_file log_store_open(const char *path, struct log_store **ret, char ret_why[256])
{
    struct log_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        snprintf(ret_why, 256, "out of memory");
        return LOG_FILE_UNUSABLE;
    }
    enum log_file file = open_file(store, path, ret_why);
    if (file != LOG_FILE_SOUND) {
        log_store_close(store);
        return file;
    }
    make_room(store);
    sqlite3_wal_hook(sql_handle(store->sql), on_wal, store);
    *ret = store;
    return file;
}

void log_store_close(struct log_store *store)
{
    if (store == NULL) {
        return;
    }
    while (store->trims != NULL) {
        struct trim *trim = store->trims;
        store->trims = trim->next;
        free(trim);
    }
    sql_close(store->beside);
    sql_close(store->sql);
    free(store);
}

/* ---- transactions ------------------------------------------------------------------------------------------------- */

void log_store_begin(struct log_store *store)
{
    sql_run(store->sql, "BEGIN IMMEDIATE");
}

bool log_store_commit(struct log_store *store)
{
    sql_run(store->sql, "COMMIT");
    if (!sql_failed(store->sql)) {
        return true;
    }
    snprintf(store->failure, sizeof store->failure, "%s", sql_failure(store->sql));
    sql_undo(store->sql);
    return false;
}

const char *log_store_failure(const struct log_store *store)
{
    return store->failure;
}

int log_store_wal_pages(const struct log_store *store)
{
    return store->wal_pages - store->stuck_pages;
}

void log_store_write_back(struct log_store *store)
{
    if (sql_checkpoint(store->sql) == 0) {
        store->wal_pages = store->stuck_pages = 0;
    } else {
        store->stuck_pages = store->wal_pages; /* tried again when as much more has been written */
    }
}

void log_store_write_back_beside(struct log_store *store)
{
    (void)sql_checkpoint(store->beside);
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

void log_store_add(struct log_store *store, uint64_t group, const struct log_entry *entry)
{
    QUERY(q, store->sql,
          "INSERT OR REPLACE INTO entries(key, term, type, data, sum)"
          " VALUES(?1, ?2, ?3, ?4, log_sum(?1, ?2, ?3, ?4))");
    bind_int(&q, log_key(group, entry->index));
    bind_int(&q, (int64_t)entry->term);
    bind_int(&q, entry->type);
    bind_blob(&q, entry->data);
    query_run(&q);
}

static void delete_between(struct log_store *store, int64_t from, int64_t to)
{
    QUERY(q, store->sql, "DELETE FROM entries WHERE key >= ? AND key < ?");
    bind_int(&q, from);
    bind_int(&q, to);
    query_run(&q);
}

void log_store_drop_from(struct log_store *store, uint64_t group, uint64_t index)
{
    delete_between(store, log_key(group, index), end_of(group));
}

void log_store_set_vote(struct log_store *store, uint64_t group, uint64_t term, uint64_t vote)
{
    QUERY(q, store->sql,
          "INSERT INTO groups(grp, term, vote, vote_sum,"
          "  first, mark_index, mark_term, members_index, mark_sum)"
          " VALUES(?1, ?2, ?3, log_sum(?1, ?2, ?3),"
          "  1, 0, 0, 0, log_sum(?1, 1, 0, 0, 0, NULL, NULL))"
          " ON CONFLICT(grp) DO UPDATE SET term = excluded.term, vote = excluded.vote,"
          " vote_sum = excluded.vote_sum");
    bind_int(&q, (int64_t)group);
    bind_int(&q, (int64_t)term);
    bind_int(&q, (int64_t)vote);
    query_run(&q);
}

static void trim_later(struct log_store *store, uint64_t group, uint64_t before)
{
    struct trim *trim = store->trims;
    while (trim != NULL && trim->group != group) {
        trim = trim->next;
    }
    if (trim == NULL) {
        trim = calloc(1, sizeof *trim);
        if (trim == NULL) {
            return; /* the next cut deletes them, too */
        }
        trim->next = store->trims;
        trim->group = group;
        store->trims = trim;
    }
    trim->before = before;
}

void log_store_set_mark(struct log_store *store, uint64_t group, const struct log_mark *mark,
                        uint64_t first)
{
    QUERY(q, store->sql,
          "INSERT INTO groups(grp, first, mark_index, mark_term, members_index, members, data,"
          "  mark_sum, term, vote, vote_sum)"
          " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, log_sum(?1, ?2, ?3, ?4, ?5, ?6, ?7),"
          "  0, 0, log_sum(?1, 0, 0))"
          " ON CONFLICT(grp) DO UPDATE SET first = excluded.first,"
          " mark_index = excluded.mark_index, mark_term = excluded.mark_term,"
          " members_index = excluded.members_index, members = excluded.members,"
          " data = excluded.data, mark_sum = excluded.mark_sum");
    bind_int(&q, (int64_t)group);
    bind_int(&q, (int64_t)first);
    bind_int(&q, (int64_t)mark->index);
    bind_int(&q, (int64_t)mark->term);
    bind_int(&q, (int64_t)mark->members_index);
    bind_blob(&q, mark->members);
    bind_blob(&q, mark->data);
    query_run(&q);
    trim_later(store, group, first);
}

static void forget_trim(struct log_store *store, uint64_t group)
{
    for (struct trim **at = &store->trims; *at != NULL; at = &(*at)->next) {
        if ((*at)->group == group) {
            struct trim *gone = *at;
            *at = gone->next;
            free(gone);
            return;
        }
    }
}

void log_store_forget(struct log_store *store, uint64_t group)
{
    forget_trim(store, group);
    delete_between(store, log_key(group, 0), end_of(group));
    QUERY(q, store->sql, "DELETE FROM groups WHERE grp = ?");
    bind_int(&q, (int64_t)group);
    query_run(&q);
}

/* What the file says, not what was asked: the transaction that moved the beginning may have been undone. */
bool log_store_trim(struct log_store *store)
{
    struct trim *trim = store->trims;
    if (trim == NULL) {
        return false;
    }
    QUERY(q, store->sql,
          "DELETE FROM entries WHERE key IN (SELECT key FROM entries WHERE key >= ?1 AND key <"
          " ?1 + (SELECT first FROM groups WHERE grp = ?2) ORDER BY key LIMIT ?3)");
    bind_int(&q, log_key(trim->group, 0));
    bind_int(&q, (int64_t)trim->group);
    bind_int(&q, TRIM_ENTRIES);
    if (query_run(&q) < TRIM_ENTRIES) {
        forget_trim(store, trim->group);
    }
    return store->trims != NULL;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

bool log_store_head(struct log_store *store, uint64_t group, struct arena *arena,
                    struct log_head *ret)
{
    QUERY(q, store->sql,
          "SELECT term, vote, first, mark_index, mark_term, members_index, members, data,"
          " vote_sum IS log_sum(grp, term, vote) AND mark_sum IS log_sum(grp, first, mark_index,"
          " mark_term, members_index, members, data) FROM groups WHERE grp = ?");
    bind_int(&q, (int64_t)group);
    if (!query_row(&q)) {
        return false;
    }
    *ret = (struct log_head){.term = (uint64_t)col_int(&q, 0),
                             .vote = (uint64_t)col_int(&q, 1),
                             .first = (uint64_t)col_int(&q, 2),
                             .mark = {.index = (uint64_t)col_int(&q, 3),
                                      .term = (uint64_t)col_int(&q, 4),
                                      .members_index = (uint64_t)col_int(&q, 5),
                                      .members = col_text(&q, 6, arena),
                                      .data = col_text(&q, 7, arena)},
                             .altered = col_int(&q, 8) == 0};
    return true;
}

void log_store_measure(struct log_store *store, uint64_t group, uint64_t first, size_t *ret_count,
                       size_t *ret_bytes)
{
    QUERY(q, store->sql,
          "SELECT count(*), total((length(data) + 7) / 8 * 8) FROM entries"
          " WHERE key >= ? AND key < ?");
    bind_int(&q, log_key(group, first));
    bind_int(&q, end_of(group));
    bool found = query_row(&q);
    *ret_count = found ? (size_t)col_int(&q, 0) : 0;
    *ret_bytes = found ? (size_t)col_int(&q, 1) : 0;
}

bool log_store_each(struct log_store *store, uint64_t group, uint64_t first,
                    void (*see)(void *context, const struct log_entry *entry), void *context)
{
    QUERY(q, store->sql,
          "SELECT key, term, type, data, sum IS log_sum(key, term, type, data) FROM entries"
          " WHERE key >= ? AND key < ? ORDER BY key");
    bind_int(&q, log_key(group, first));
    bind_int(&q, end_of(group));
    while (query_row(&q)) {
        if (col_int(&q, 4) == 0) {
            return false;
        }
        struct log_entry entry = {.index = (uint64_t)(col_int(&q, 0) - log_key(group, 0)),
                                  .term = (uint64_t)col_int(&q, 1),
                                  .type = (int)col_int(&q, 2),
                                  .data = col_borrow(&q, 3)};
        see(context, &entry);
    }
    return true;
}
