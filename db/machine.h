/*
 * The state machine of one partition: commands in, results and events out, all state in one SQLite file. It reads no
 * clock, draws no random number and knows no thread: the same commands in the same order give the same state, which
 * machine_hash makes testable.
 *
 *     machine_begin ─► machine_apply × n ─► machine_commit      one batch: one transaction, one fsync
 *
 * One thread at a time uses a machine (the committer). Reads run beside it on readers, each of one thread at a time.
 */
#ifndef RINGHOLD_DB_MACHINE_H
#define RINGHOLD_DB_MACHINE_H

#include "db/txn.h"

struct machine;
struct reader;

/*
 * Opens the partition stored at `path`, making or migrating it as needed, and checks its integrity when
 * `check_integrity`. `seed`, 32 random bytes, becomes the store's secret when the file is new and is ignored otherwise.
 * Fails with STORAGE_UNAVAILABLE; ret_why (256 bytes) then says why in words for the operator.
 */
MUST_CHECK enum status machine_open(const char *path, enum storage storage, bool check_integrity,
                                    const unsigned char seed[32], struct machine **ret,
                                    char ret_why[256]);
/* Writes the WAL back into the file and closes. NULL-safe. */
void machine_close(struct machine *machine);

/* Begins a batch; its events are collected in `arena`. */
void machine_begin(struct machine *machine, struct arena *arena);
/* Carries out one command. The result's memory is of `arena`, which may differ from the batch's. */
void machine_apply(struct machine *machine, const struct command *command, struct arena *arena,
                   struct result *result);
/*
 * Ends the batch. OK: it is stored as machine_open was told, and `ret_events` (of the batch's arena) says what changed.
 * STORAGE_UNAVAILABLE: nothing of the batch happened, and every result of it is void.
 */
MUST_CHECK enum status machine_commit(struct machine *machine, struct events *ret_events);
/* Gives the open batch up: nothing of it happened. */
void machine_abandon(struct machine *machine);
/* Why the last commit failed, in SQLite's words. */
const char *machine_failure(const struct machine *machine);

/*
 * Where batches come from a replicated log: the open batch is the entry of this index and term. Stored with the batch,
 * so that after any crash the file says how far the log is in it. Call between machine_begin and machine_commit.
 */
void machine_note_entry(struct machine *machine, int64_t index, int64_t term);

/* When the next TICK has something to do. */
struct due machine_due(const struct machine *machine);
/* The counters as of the last batch. */
struct counters machine_counters(const struct machine *machine);

/*
 * Makes the state that of the partition's copy at `path` (db/snapshot.h), in one step: until it is over, readers beside
 * see the old state; after a failure, STORAGE_UNAVAILABLE, it still is. Not within a batch. ret_why as machine_open's.
 */
MUST_CHECK enum status machine_install(struct machine *machine, const char *path,
                                       char ret_why[256]);

/* A hash of the whole state, equal on equal states. */
uint64_t machine_hash(struct machine *machine);
/* Checks that the counters and denormalised columns agree with the rows. NULL, or what does not. */
const char *machine_sanity(struct machine *machine, struct arena *arena);

/* Writes the WAL back into the database file as far as readers allow, without waiting for them.
   Returns the pages that are left in the WAL, negative on error. */
int64_t machine_checkpoint(struct machine *machine);
/* After a batch, so that the WAL stays within some 32 MiB: it begins anew only when all of it is in the database, which it
   never is beside batches that follow each other. Once it is long, writes back what is left after a reader has just
   written back the most of it. */
void machine_tidy(struct machine *machine);
/* Pages that were written to the WAL since it last began anew, as of the last commit; after machine_checkpoint, those it
   has left. 0 too when nothing was committed since the machine was opened. Any thread. */
int64_t machine_wal_pages(const struct machine *machine);

/* 32 secret bytes, random, made with the store: what receipts are signed with. */
struct text machine_secret(const struct machine *machine);

/* A read-only connection to the same file; with the machine, it shares what the machine keeps in memory for readers.
   `machine` may be NULL, and must live as long as the reader. */
MUST_CHECK enum status reader_open(const char *path, struct machine *machine, struct reader **ret,
                                   char ret_why[256]);
void reader_close(struct reader *reader);
/* machine_checkpoint from beside, while the machine goes on committing. */
int64_t reader_checkpoint(struct reader *reader);
/* Reads the hot part of the file (indexes first, then the newest sessions and messages) into memory, at most about
   `bytes_max`, and no longer than `enough` says no. Returns the bytes that were read. */
int64_t reader_warm(struct reader *reader, int64_t bytes_max, bool (*enough)(void *context),
                    void *context);
/* Carries out a reading command (command_reads). On a storage error the status is STORAGE_UNAVAILABLE. */
void reader_read(struct reader *reader, const struct command *command, struct arena *arena,
                 struct result *result);

#endif
