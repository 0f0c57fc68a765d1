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

/*
 * How the ring is doing, as the member knows it that leads the table's group: it hears of all the others. Any other knows
 * the ring alone. What is not known is ABSENT.
 */
enum { RING_NOBODY = SIZE_MAX };
struct ring_replica_status {
    size_t member;
    struct text role;    /* "voter", "learner", "retiring", "standby" */
    int64_t behind;      /* entries of its leader's log that it lacks, or ABSENT */
    int64_t permille;    /* of a learner: how much of the state it has, or ABSENT */
    int64_t image_bytes; /* of the image that is on its way to it, or ABSENT */
    int64_t image_sent;
};
struct ring_group_status {
    size_t leader; /* a member, or RING_NOBODY */
    const struct ring_replica_status *replicas;
    size_t replica_count;
};
struct ring_member_status {
    int64_t unseen_ms; /* since it was last heard of, or ABSENT */
    size_t successor;  /* of one that leaves, or RING_NOBODY */
};
struct ring_status {
    struct ring_view ring;
    const struct ring_member_status *members;   /* as ring.members */
    struct ring_group_status table;             /* the group that keeps the ring */
    const struct ring_group_status *partitions; /* as ring.partitions */
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
    bool (*ring_status)(const struct process *process, struct arena *arena,
                        struct ring_status *ret);
    void (*status)(const struct process *process, struct process_status *ret);
    struct text (*metrics)(const struct process *process, struct arena *arena);
    void *service;
};

#endif
