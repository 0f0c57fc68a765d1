/*
 * What handlers may know of the process they run in. The service fills it in; the functions may be called from any
 * thread.
 */
#ifndef RINGHOLD_HANDLERS_PROCESS_H
#define RINGHOLD_HANDLERS_PROCESS_H

#include "db/arena.h"
#include "db/txn.h"

#include <stddef.h>
#include <stdint.h>

struct process_status {
    int64_t uptime_ms;
    int64_t started_at_ms;
    int64_t connections;
    int64_t parked;
    bool ready;
    bool draining;
    bool storage_ok;     /* the last commit went through */
    unsigned partitions; /* of the ring */
    struct counters counters;
};

/* The ring as this process knows it (API.md §6). Texts and lists live in the arena that it was asked for with. */
struct ring_member {
    struct text id;
    struct text name;
    struct text url;
    int64_t weight;
    struct text state; /* "active" */
};
struct ring_place {
    size_t owner;           /* the index of a member */
    const size_t *replicas; /* indexes of members, the owner among them */
    size_t replica_count;
};
struct ring_view {
    int64_t epoch; /* grows with every change */
    int64_t replica_count;
    const struct ring_member *members;
    size_t member_count;
    const struct ring_place *partitions; /* in order of their arcs */
    unsigned partition_count;            /* a power of two */
};

struct process {
    struct text version;    /* "0.1.0" */
    struct text node;       /* this instance's name */
    struct text node_id;    /* its random identity, made with the data directory */
    struct text url;        /* where it is reached: http://ADDR:PORT */
    struct text durability; /* "full" or "relaxed" */
    int64_t partitions;     /* of the ring, for good */
    struct text secret;     /* machine_secret: what receipts are signed with */
    /* False when memory ran out. */
    bool (*ring)(const struct process *process, struct arena *arena, struct ring_view *ret);
    void (*status)(const struct process *process, struct process_status *ret);
    struct text (*metrics)(const struct process *process, struct arena *arena);
    void *service;
};

#endif
