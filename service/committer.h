/*
 * The committer: one thread that owns the partition's state machine. Everything that was submitted while the last
 * batch was being synced becomes the next one: one transaction, one fsync, then all of it is answered. It also submits
 * a TICK whenever the machine says that one is due, and keeps the WAL short.
 *
 *     submit ─► queue ─► batch ─► machine_apply × n ─► machine_commit ─► done × n ─► batch_done(events)
 */
#ifndef RINGHOLD_SERVICE_COMMITTER_H
#define RINGHOLD_SERVICE_COMMITTER_H

#include "db/machine.h"
#include "service/clock.h"
#include "service/jobs.h"

struct committer_hooks {
    /* After the last done of a batch: what it changed. */
    void (*batch_done)(void *context, const struct events *events);
    void *context;
};

struct committer;

/* Starts the thread. The machine is the committer's until committer_stop. */
MUST_CHECK enum status committer_start(struct machine *machine, struct clock *clock,
                                       struct committer_hooks hooks, struct committer **ret);
/* Carries out what was submitted, then ends the thread; what is submitted afterwards is refused. NULL-safe. */
void committer_stop(struct committer *committer);
/* After committer_stop, when nobody submits any more. NULL-safe. */
void committer_free(struct committer *committer);

/* Hands the job over. OK, and done will be called; or OVERLOADED, and it will not. Any thread. */
MUST_CHECK enum status committer_submit(struct committer *committer, struct job *job);

/* The state's counters as of the last batch, and whether that batch could be stored. Any thread. */
struct counters committer_counters(struct committer *committer);
/* Commands that wait for their batch. */
size_t committer_queued(struct committer *committer);
bool committer_storage_ok(struct committer *committer);

#endif
