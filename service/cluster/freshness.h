/*
 * How fresh a replica is that does not lead: since when, at most, the leader has been ahead of it, and what time it is
 * for it. The leader says, asked four times a second on a control connection, how far its state is; what it says of:
 *
 *     asked ──────────► the leader: "my state is at entry 70, and it is 12:00 by my clocks"
 *       ╎                  ╎
 *       t0 ◄─ answered ────╯        once entry 70 is applied here, the state is no older than t0
 *
 * The bound counts from when it was asked, so that nothing that is slow (the network, either process) makes a state look
 * fresher than it is. What the engine's own heartbeats say could not be dated so: they may have lain anywhere.
 *
 * Pure. Times are microseconds of this node's monotonic clock.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_FRESHNESS_H
#define RINGHOLD_SERVICE_CLUSTER_FRESHNESS_H

#include "db/arena.h"
#include "db/txn.h"

/* What a leader says of a group: its pulse. */
struct pulse {
    unsigned partition;
    int64_t applied; /* the last entry in its state */
    struct stamp now;
};
struct pulses {
    size_t count;
    const struct pulse *at;
};

/* In the arena; absent when memory ran out. */
struct text pulses_encode(const struct pulses *pulses, struct arena *arena);
/* Trusts nothing: any bytes give values within their bounds, or false. */
MUST_CHECK bool pulses_decode(struct text bytes, struct arena *arena, struct pulses *ret);

/* Zeroed at first: it knows nothing. */
struct freshness {
    bool known;
    int64_t as_of_us;   /* the state holds all that a leader's held then */
    struct stamp clock; /* that leader's, when it was asked; zero after this node has led itself */
    bool waits;         /* for the entry of a pulse: */
    struct pulse pulse;
    int64_t asked_us;
};

/* The leader, asked at that time, said this; the state here is at entry `applied`. */
void freshness_hear(struct freshness *freshness, const struct pulse *pulse, int64_t asked_us,
                    int64_t applied);
/* The state here is at entry `applied` now. */
void freshness_apply(struct freshness *freshness, int64_t applied);
/* This node itself was certainly the leader at some moment after that time, and its state holds all from before. */
void freshness_lead(struct freshness *freshness, int64_t at_us);

/*
 * The time to read the state by. `seen` is what the state has seen, `due` when it has the next TICK to do. It is the
 * leader's as far as that is known, but never so late that something would be over which is not over in the state:
 * that is the leader's to say, by an entry. A leader that dies first would have its successor say otherwise.
 */
struct stamp freshness_clock(const struct freshness *freshness, struct stamp seen, struct due due);

#endif
