/*
 * The replicated logs of all groups of a member, in one SQLite file: what any of them writes while the last transaction
 * is being synced shares the next one, and its fsync.
 *
 *     log_store_begin ─► add, drop_from, set_vote, set_mark, ... ─► log_store_commit      one transaction, one fsync
 *
 * A log has a beginning, after which its entries follow one another; what lies before it is deleted little by little.
 * Errors are sticky until the commit, which then undoes the transaction (db/sql.h). One thread at a time, unless it says
 * otherwise.
 */
#ifndef RINGHOLD_DB_LOG_STORE_H
#define RINGHOLD_DB_LOG_STORE_H

#include "db/arena.h"
#include "db/log_file.h"
#include "db/text.h"

#include <stdint.h>

struct log_store;

/* What is kept of a group beside its entries. */
struct log_head {
    bool altered; /* the file does not say what was written: nothing here means anything */
    uint64_t term, vote;
    uint64_t first;                /* index of the first entry of the log; 1 at first */
    struct log_mark {              /* up to where the state is durable */
        uint64_t index, term;      /* 0: there is none */
        uint64_t members_index;    /* the entry that made the members those: */
        struct text members, data; /* encoded by who wrote them */
    } mark;
};
struct log_entry {
    uint64_t index, term;
    int type;
    struct text data;
};

/* Makes the file where it is missing, and reads all of it. Unless it is sound ret_why says what is wrong. */
MUST_CHECK enum log_file log_store_open(const char *path, struct log_store **ret,
                                        char ret_why[256]);
/* NULL-safe. */
void log_store_close(struct log_store *store);

void log_store_begin(struct log_store *store);
/* False: nothing of the transaction happened, and log_store_failure says why. */
MUST_CHECK bool log_store_commit(struct log_store *store);
const char *log_store_failure(const struct log_store *store);
/* Pages (of PAGE_BYTES) in the WAL; of one that could not be written back, those that have come since. */
int log_store_wal_pages(const struct log_store *store);
/* Writes the WAL back into the file; the next transaction begins it anew, if all of it was. Between transactions. */
void log_store_write_back(struct log_store *store);
/* The same by another thread, while the store's goes on, but with log_store_write_back; what has come meanwhile is left. */
void log_store_write_back_beside(struct log_store *store);

/* Of the transaction. An entry takes the place of one that is there. */
void log_store_add(struct log_store *store, uint64_t group, const struct log_entry *entry);
void log_store_drop_from(struct log_store *store, uint64_t group, uint64_t index);
void log_store_set_vote(struct log_store *store, uint64_t group, uint64_t term, uint64_t vote);
/* The log begins at `first` from then on, with the mark before it. */
void log_store_set_mark(struct log_store *store, uint64_t group, const struct log_mark *mark,
                        uint64_t first);
/* All of the group. */
void log_store_forget(struct log_store *store, uint64_t group);
/* Deletes a bounded number of entries that lie before their log's beginning. Whether there may be more. */
bool log_store_trim(struct log_store *store);

/* Reads, within a transaction. False: the group was never heard of. Texts are of the arena. */
bool log_store_head(struct log_store *store, uint64_t group, struct arena *arena,
                    struct log_head *ret);
/* How many entries the log has, and their bytes, each rounded up to a multiple of 8. */
void log_store_measure(struct log_store *store, uint64_t group, uint64_t first, size_t *ret_count,
                       size_t *ret_bytes);
/* Each entry from `first` on, in order; its data is valid during the call. False, and no further: the next one is not what
   was written. */
bool log_store_each(struct log_store *store, uint64_t group, uint64_t first,
                    void (*see)(void *context, const struct log_entry *entry), void *context);

#endif
