/*
 * What a hosted partition is made of, for its two files: hosted.c, what is submitted and becomes batches; hosted_machine.c,
 * what is committed and becomes state.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_HOSTED_STATE_H
#define RINGHOLD_SERVICE_CLUSTER_HOSTED_STATE_H

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
    struct arena applying;   /* of an entry that came from elsewhere */
    bool closing;
    void (*closed)(void *context);
    void *closed_context;

    pthread_mutex_t mu;
    struct jobs queue;        /* guarded by mu: submitted, in no batch yet */
    bool posted;              /* guarded by mu: the task is on its way */
    bool refusing;            /* guarded by mu */
    struct counters counters; /* guarded by mu: a copy for others to read */

    atomic_bool leads;
    atomic_bool storage_ok;
    _Atomic uint64_t leader;
};

/* For replica_open. */
struct replica_machine hosted_machine(struct hosted *hosted);

#endif
