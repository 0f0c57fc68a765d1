/*
 * A partition of a cluster on this node: its state machine behind a replica of its group and, while this node leads the
 * group, the batches of what was submitted. It is to a partition in a cluster what the committer is to one alone.
 *
 *     submit ─► queue ─► batch ─► replica_propose ─► a majority has it ─► apply ─► done × n ─► batch_done(events)
 *
 * Every replica applies the same entries in the same order, so all have the same state; only the leader has somebody to
 * answer. Submitting and asking is for any thread; everything else runs on the loop's.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_HOSTED_H
#define RINGHOLD_SERVICE_CLUSTER_HOSTED_H

#include "service/cluster/freshness.h"
#include "service/cluster/replica.h"
#include "service/cluster/uvloop.h"
#include "service/committer.h"

struct hosted;

struct hosted_hooks {
    /* After a batch, with what it changed; also after jobs were refused, with nothing. */
    void (*batch_done)(void *context, const struct events *events);
    /* Another node leads, by what is known here; 0: none is known. */
    void (*leader)(void *context, int64_t partition, uint64_t leader);
    /* It begins to lead, or does so no longer. */
    void (*led)(void *context, int64_t partition, bool leads);
    /* It cannot go on, and is to be closed; it may be opened again. */
    void (*stopped)(void *context, int64_t partition, const char *why);
    void *context;
};

/* What it is opened on. All but the path and `founders` must outlive it. */
struct hosted_place {
    int64_t partition;
    uint64_t node;
    const char *database; /* the machine's file */
    struct member_log *log;
    struct machine *machine;
    struct clock *clock; /* started anew whenever it begins to lead */
    bool founds;         /* makes the group, with this node as its only member */
    bool alone;          /* makes this node the only member, whatever the log says (replica.h) */
};

/* False, with a sentence in ret_why, when it cannot be opened. */
MUST_CHECK bool hosted_open(struct uvloop *loop, struct transport *transport,
                            const struct hosted_place *place, struct hosted_hooks hooks,
                            struct hosted **ret, char ret_why[256]);
/* Ends the replica; what was submitted is answered. `closed` is called when nothing of it is left. */
void hosted_close(struct hosted *hosted, void (*closed)(void *context), void *context);

/*
 * Hands a job over. OK: done will be called, and where the command was not carried out the result says
 *   NOT_OWNER         another node leads now; it surely was not carried out;
 *   OUTCOME_UNKNOWN   this node ceased to lead while it was on its way;
 *   OVERLOADED, STORAGE_UNAVAILABLE.
 * Else NOT_OWNER or OVERLOADED, and done will not be called.
 */
MUST_CHECK enum status hosted_submit(struct hosted *hosted, struct job *job);

/* Whether this node leads, and has all that was committed before it did. */
bool hosted_leads(struct hosted *hosted);
/* The same, and it has looked since then at what the others sent, not longer ago than they wait before they elect another:
   its state may be read. A process that was stopped does not know what has happened meanwhile. */
bool hosted_serves(struct hosted *hosted);
/* The node that leads, as far as is known here; 0: none. */
uint64_t hosted_leader(struct hosted *hosted);
/* What reads that may be old need to know of the replica here. */
struct hosted_copy {
    bool serves; /* no older than what any other read here is answered from */
    bool known;  /* since when, at most, the leader has been ahead of it: */
    int64_t as_of_us;
    bool votes;       /* it had caught up with the group when it last heard of it */
    struct stamp now; /* the time to read it by */
};
struct hosted_copy hosted_copy(struct hosted *hosted);
/* What this node says of it as its leader. False: it does not lead. */
bool hosted_pulse(struct hosted *hosted, struct pulse *ret);
/* What the node `from` answered when it was asked at that time; passed over unless that is who leads, as known here. */
void hosted_hear(struct hosted *hosted, uint64_t from, const struct pulse *pulse, int64_t asked_us);

struct counters hosted_counters(struct hosted *hosted);
size_t hosted_queued(struct hosted *hosted);
bool hosted_storage_ok(struct hosted *hosted);

/* The replica, for who steers its membership. Loop's thread. */
struct replica *hosted_replica(struct hosted *hosted);

#endif
