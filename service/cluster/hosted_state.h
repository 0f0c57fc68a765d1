/*
 * What a hosted partition is made of, for its two files: hosted.c, what is submitted and becomes batches; hosted_machine.c,
 * what is committed and becomes state.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_HOSTED_STATE_H
#define RINGHOLD_SERVICE_CLUSTER_HOSTED_STATE_H

#include "service/cluster/freshness.h"
#include "service/cluster/hosted.h"

#include <pthread.h>
#include <stdatomic.h>

enum { HOSTED_PATH_BYTES = 1400 };

struct batch {
    struct hosted *hosted;
    struct job *jobs;
    size_t count;
    bool ticks; /* a TICK comes behind the jobs' commands */
    struct command tick;
    struct arena arena;   /* of the entry, then of the TICK's result and the events */
    struct events events; /* once it is applied; told when it is done */
    int64_t begun_us;
};

struct hosted {
    struct hosted_place place;
    struct hosted_hooks hooks;
    struct uvloop *loop;
    struct replica *replica;
    char database[HOSTED_PATH_BYTES];
    uv_timer_t timer;        /* the next TICK */
    struct uvloop_task task; /* looks at the queue */
    bool under_way;          /* a batch is */
    int64_t confirming_us;   /* since when it leads, without knowing yet what is committed */
    bool open;               /* entries are applied that are not stored yet */
    struct arena applying;   /* of entries that came from elsewhere, until they are stored */
    bool closing;
    void (*closed)(void *context);
    void *closed_context;

    pthread_mutex_t mu;
    struct jobs queue;          /* guarded by mu: submitted, in no batch yet */
    bool posted;                /* guarded by mu: the task is on its way */
    bool refusing;              /* guarded by mu */
    struct counters counters;   /* guarded by mu: a copy for others to read */
    struct due due;             /* guarded by mu: the machine's, beside the counters */
    struct freshness freshness; /* guarded by mu */

    atomic_bool leads;
    atomic_bool votes;
    atomic_bool storage_ok;
    _Atomic uint64_t leader;
};

/* hosted.c: the machine's state is another one: what is copied of it is copied again. */
void hosted_note_state(struct hosted *hosted);

/* hosted_machine.c: what is applied and not stored is not: the log has it. */
void hosted_give_up(struct hosted *hosted);

/* For replica_open. */
struct replica_machine hosted_machine(struct hosted *hosted);

#endif
