/*
 * A replica is one node's share in one group: it keeps a state machine in step with the group's other replicas. What is
 * proposed to the leader becomes an entry of the group's log; once a majority has it on disk it is committed, and every
 * replica applies it, in the same order.
 *
 *     propose ─► log ─► majority ─► machine.apply ─► done(COMMITTED)
 *
 * The log is the engine's (libraft) and durable by itself. The machine is durable when it is told to be: after a crash it
 * may have gone back a little, and gets the entries since then again.
 *
 * The log is cut by noting how far the machine is durable, not by storing a copy of it. Only a member that has fallen
 * behind the log gets a whole image, made when it is asked for.
 *
 * Everything here belongs to the loop's thread, and callbacks come from the loop, never from within a call, unless it
 * says otherwise. A member's name in the engine is its node id; where it is, the transport knows.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_REPLICA_H
#define RINGHOLD_SERVICE_CLUSTER_REPLICA_H

#include "db/text.h"

#include <stdbool.h>
#include <stdint.h>

struct member_log;
struct replica;
struct transport;
struct uv_loop_s;

/*
 * The state machine. It knows by itself, in the same transaction as its state, up to which entry it has applied, so that
 * nothing is applied twice whatever the log says.
 *
 * Who follows has nobody to answer, and applies several entries in one transaction:
 *
 *     leader     apply (stores) ─► done
 *     follower   apply (later) × n ─► settle (stores), within about REPLICA_SETTLE_MS
 */
struct replica_machine {
    void *context;
    /*
     * Carries out one committed entry, on the loop's thread. Entries come in the order of `index`, not every index
     * comes (some entries are the engine's own), and none that is already applied. Index and term are to be stored with
     * what the entry changes. `proposal` is what replica_propose was given when the entry was proposed here and its
     * proposer still waits, so that results can be put where they are wanted; else NULL. `later`: it may be stored
     * together with those that follow it, up to `settle`.
     * False: it could not be stored, and nothing of it is, nor of those before it since the last that was stored. The
     * replica then stops (replica_hooks.stopped); opened again it gets the entries again.
     */
    bool (*apply)(void *context, struct text entry, uint64_t index, uint64_t term, void *proposal,
                  bool later);
    /* Stores what was applied since the last that was; false as of apply. Loop's thread. NULL: nothing is ever stored
       later. */
    bool (*settle)(void *context);
    /* The last entry that is stored, 0 and 0 when there is none. Loop's thread. */
    void (*applied)(void *context, uint64_t *ret_index, uint64_t *ret_term);
    /* Makes durable all that was stored before the call. On a thread of its own, beside apply. */
    bool (*sync)(void *context);
    /*
     * The whole state, as of some moment during the call, in memory of malloc that is the caller's. On a thread of its
     * own, beside apply. It must not begin with REPLICA_MARK.
     */
    bool (*image)(void *context, void **ret_bytes, size_t *ret_count);
    /*
     * Puts an image in the place of the state, durably, if the image has applied more; if not, keeps the state. On a
     * thread of its own; nothing else is called meanwhile.
     */
    bool (*install)(void *context, struct text image);
};
#define REPLICA_MARK "RHMARK1"

/* What became of a proposal. */
enum replica_outcome {
    REPLICA_PENDING,    /* it is on its way, and will be told */
    REPLICA_COMMITTED,  /* applied here */
    REPLICA_NOT_LEADER, /* surely not carried out; replica_leader may know who would */
    REPLICA_BUSY,       /* surely not carried out: too much is on its way */
    REPLICA_NO_SPACE,   /* surely not carried out: disks are full */
    REPLICA_STOPPED,    /* surely not carried out: this replica has stopped or is closing */
    REPLICA_UNKNOWN     /* it may have been carried out, or may still be */
};
typedef void replica_done(void *proposal, enum replica_outcome outcome);

enum replica_role { REPLICA_OUTSIDE, REPLICA_SPARE, REPLICA_STANDBY, REPLICA_VOTER };

struct replica_status {
    uint64_t term;
    uint64_t leader; /* 0: not known */
    bool leads;
    bool ready; /* leads, and has applied all that was committed before it did */
    enum replica_role role;
    uint64_t last, committed, applied; /* indexes of the log */
    int uncommitted;                   /* proposals that have no outcome yet */
    bool changing, transferring;
};

struct replica_hooks {
    /* Leader, term, role or readiness are not what they were when it was last called. */
    void (*changed)(void *context, const struct replica_status *status);
    /*
     * The replica cannot go on: its disk failed it, or what it stores contradicts the log. It takes part no longer, and
     * is to be closed; when the cause may have passed it may be opened again.
     */
    void (*stopped)(void *context, const char *why);
    void *context;
};

struct replica_config {
    uint64_t group, node;
    struct member_log *log; /* outlives the replica */
    struct replica_machine machine;
    struct replica_hooks hooks;
    /* The first members, all voters, when the group is being founded: the same on each. Without effect when there is a
       log already. */
    const uint64_t *founders;
    int founder_count;
    /* Makes this node the only member, whatever the log says of others: for a lost majority, and with its losses. */
    bool alone;
    unsigned election_ms, heartbeat_ms; /* 0: the defaults of limits.h */
    size_t log_bytes;                   /* 0: the default */
    unsigned log_entries;               /* 0: the default */
};

/*
 * Opens it; the config may go afterwards, but for what its pointers' contexts mean. False, with a sentence in ret_why,
 * when it cannot; the loop must turn on, for what is being closed again. The transport must outlive it.
 */
bool replica_open(struct uv_loop_s *loop, struct transport *transport,
                  const struct replica_config *config, struct replica **ret, char ret_why[256]);
/*
 * Stops taking part. Outcomes that are still open become UNKNOWN, or what they surely are; then `closed` is called and
 * the replica is gone.
 */
void replica_close(struct replica *replica, void (*closed)(void *context), void *context);

struct replica_status replica_status(const struct replica *replica);
/* Whom to turn to; 0 when that is not known. */
uint64_t replica_leader(const struct replica *replica);

/* The node's process seems to have ended: if it led here, and is not heard of again at once, another leader is elected
   without waiting for the time that a silent one is given. */
void replica_lost(struct replica *replica, uint64_t node);

/*
 * Proposes an entry of at most REPLICA_ENTRY_BYTES_MAX bytes, which are copied. PENDING, and `done` will be called with
 * `proposal`, after machine.apply when COMMITTED; or one of the sure refusals, and it will not. At most
 * REPLICA_UNCOMMITTED_MAX are pending at a time.
 */
enum replica_outcome replica_propose(struct replica *replica, struct text entry, void *proposal,
                                     replica_done *done);

/*
 * Calls `done` with COMMITTED once this replica was certainly the leader at some moment after the call, and has applied
 * everything that was committed before it: a read is linearizable then. Otherwise as replica_propose.
 */
enum replica_outcome replica_confirm(struct replica *replica, void *context, replica_done *done);

/* ---- members ------------------------------------------------------------------------------------------------------ */

struct replica_member {
    uint64_t node;
    enum replica_role role;
    uint64_t match;       /* how much of the leader's log it has; 0 unless this replica leads */
    uint64_t image_bytes; /* of the image that is on its way to it; 0: none is */
    uint64_t image_sent;  /* how much of that the system has taken */
};
/* The members as this replica knows them; returns how many. */
int replica_members(const struct replica *replica, struct replica_member ret[]);

/* One step at a time, by the leader. Each may be asked for again when its outcome was not told. */
enum replica_change {
    REPLICA_ADD,     /* a new member, as a stand-by: it gets the log, but does not count */
    REPLICA_PROMOTE, /* a stand-by that has caught up: a voter */
    REPLICA_DEMOTE,  /* a voter other than the leader: a stand-by */
    REPLICA_REMOVE   /* any member but the leader */
};
enum replica_changed {
    REPLICA_CHANGED,
    REPLICA_CHANGE_NOT_LEADER, /* nothing happened */
    REPLICA_CHANGE_BUSY,       /* nothing happened: another step, or no quiet moment; ask again */
    REPLICA_CHANGE_BEHIND,     /* nothing happened: it has not caught up */
    REPLICA_CHANGE_INVALID, /* nothing happened, and will not: no such member, or not in that role */
    REPLICA_CHANGE_UNKNOWN  /* look at the members */
};
typedef void replica_change_done(void *context, enum replica_changed outcome);
/* `done` is told; from within the call when another step is under way. */
void replica_change(struct replica *replica, enum replica_change change, uint64_t node,
                    replica_change_done *done, void *context);

/* Hands the leadership to a voter, 0: to whoever is best. `done` is told whether it went there. Proposals that come
   meanwhile wait for how it ends. False when this replica does not lead, `to` is no other voter or has not answered
   this leader yet, or something of the kind is under way. */
bool replica_transfer(struct replica *replica, uint64_t to, void (*done)(void *context, bool moved),
                      void *context);

#endif
