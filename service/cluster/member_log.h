/*
 * The one log of a member, for all its groups (db/log_store.h), and the thread that writes it. What is asked for in one
 * turn of the loop is written in one transaction, with all that was asked for while the last one was being synced, in the
 * order in which it was asked.
 *
 *     loop: member_log_ask ─► queue ─► writer: begin, run × n, commit ─► loop: done × n       one wake-up for all of them
 *
 * What cannot be stored (a full disk) stays in the queue and is tried again, every REPLICA_DISK_RETRY_MS, until its group
 * is given up. Everything here is for the loop's thread, unless it says otherwise.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_MEMBER_LOG_H
#define RINGHOLD_SERVICE_CLUSTER_MEMBER_LOG_H

#include "db/log_store.h"

struct member_log;
struct uv_loop_s;

/* What to do about a log that does not say any more what was promised. */
#define MEMBER_LOG_DAMAGED                                                                         \
    "take this member out, and have it join again with an empty directory (docs/operations.md)"

/* Something to be done in a transaction. Its maker owns it, from ask until `done`. */
struct log_task {
    void (*run)(struct log_task *task,
                struct log_store *store);             /* writer's thread; perhaps again */
    void (*done)(struct log_task *task, bool stored); /* NULL for member_log_do */
    uint64_t group;
    struct log_task *next;
    bool awaited, given_up, stored, over; /* guarded by the log's lock */
};

/* Opens log.db in the directory, which it makes. False, with a sentence in ret_why. The log's thread runs from then on. */
bool member_log_open(struct uv_loop_s *loop, const char *data_dir, struct member_log **ret,
                     char ret_why[256]);
/* When no group uses it any more and nothing is asked. `closed` is called when nothing of it is left. */
void member_log_close(struct member_log *log, void (*closed)(void *context), void *context);

void member_log_ask(struct member_log *log, struct log_task *task);
/* Waits for it. False: it was not stored, and will not be. Any thread but the writer's. */
bool member_log_do(struct member_log *log, struct log_task *task);
/* Has `done` called from the loop, with `stored` false and nothing run. */
void member_log_call(struct member_log *log, struct log_task *task);
/* What was asked need not be stored any more: if it cannot be it is told so, and not tried again. */
void member_log_give_up(struct member_log *log, struct log_task *task);
/* Asks that the group be made one that was never heard of. The task says which, and its `done`. */
void member_log_forget(struct member_log *log, struct log_task *task);
/* Whether anything was ever stored of the group. Any thread but the writer's. */
bool member_log_begun(struct member_log *log, uint64_t group);

/* Bytes that there certainly are on the disk, at most 60 MiB; 0 while it cannot be written. */
size_t member_log_room(struct member_log *log);

#endif
