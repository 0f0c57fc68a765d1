/*
 * What handlers may know of the process they run in. The service fills it in; the functions may be called from any
 * thread.
 */
#ifndef RINGHOLD_HANDLERS_PROCESS_H
#define RINGHOLD_HANDLERS_PROCESS_H

#include "db/arena.h"
#include "db/txn.h"

#include <stdint.h>

struct process_status {
    int64_t uptime_ms;
    int64_t started_at_ms;
    int64_t connections;
    int64_t parked;
    bool ready;
    bool draining;
    bool storage_ok; /* the last commit went through */
    struct counters counters;
};

struct process {
    struct text version;    /* "0.1.0" */
    struct text node;       /* this instance's name */
    struct text node_id;    /* its random identity, made with the data directory */
    struct text url;        /* where it is reached: http://ADDR:PORT */
    struct text durability; /* "full" or "relaxed" */
    struct text secret;     /* machine_secret: what receipts are signed with */
    void (*status)(const struct process *process, struct process_status *ret);
    struct text (*metrics)(const struct process *process, struct arena *arena);
    void *service;
};

#endif
