/*
 * Jobs: commands on their way into the state, and the queue they wait in. Both who owns a partition alone (committer.h) and
 * who leads its group (cluster/hosted.h) take them from such a queue, batch by batch. A queue has no lock of its own.
 */
#ifndef RINGHOLD_SERVICE_JOBS_H
#define RINGHOLD_SERVICE_JOBS_H

#include "db/arena.h"
#include "db/result.h"

/* A command on its way. Its maker owns it, and neither it nor what it points at may be touched from submit to done. */
struct job {
    const struct command *command;
    struct arena *arena;           /* what the result is made in */
    struct result *result;         /* out */
    void (*done)(struct job *job); /* called on the owner's thread once the outcome is durable */
    struct job *next;
};

struct jobs {
    struct job *first;
    struct job **last; /* where the next one is hung */
    size_t count;
};

void jobs_make(struct jobs *jobs);
void jobs_add(struct jobs *jobs, struct job *job);
/* Takes the head of the queue, at most so many, in their order; NULL when it is empty. */
struct job *jobs_take(struct jobs *jobs, size_t count_max, size_t *ret_count);
/* Puts `count` jobs back at the front, in their order. */
void jobs_put_back(struct jobs *jobs, struct job *taken, size_t count);

/* These are of jobs that were taken: hand each back to its maker, whose it is again at once. */
void jobs_finish(struct job *taken);
/* Gives each that outcome first, without a result. */
void jobs_refuse(struct job *taken, enum status status);

#endif
