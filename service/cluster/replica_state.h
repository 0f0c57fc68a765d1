/*
 * What a replica is made of, for the files that make it up (and for the tests that put messages into it by hand):
 *
 *     replica.c         its life, and its turn once in each turn of the loop
 *     replica_log.c     proposals and entries
 *     replica_members.c steps of membership, transfers
 *     replica_lost.c    followers whose leader is gone
 *     replica_io.c      the engine's disk and network, with what has to stand between it and them
 *     replica_images.c  cutting the log, making and installing images
 *     replica_guard.c   the arithmetic of what stands between
 *     replica_uv.c      what all of it stands on: libuv (replica_ground.h)
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_REPLICA_STATE_H
#define RINGHOLD_SERVICE_CLUSTER_REPLICA_STATE_H

#include "db/limits.h"
#include "service/cluster/replica_ground.h"
#include "service/cluster/transport.h"

#include <raft.h>

enum { REPLICA_WHY_BYTES = 192 };

/* A proposal, from propose to its outcome; or a barrier, which has no entry of ours. */
struct proposal {
    struct proposal *next;
    struct replica *replica;
    void *context;
    replica_done *done;
    bool barrier;
    struct raft_buffer entry; /* until it is submitted */
    uint64_t held_until;      /* while it waits to be submitted */
    bool submitted;
    uint64_t index, term; /* once it is */
    bool lost; /* its leader has lost the leadership; what becomes of it is open until: */
    uint64_t lost_until;
    enum replica_outcome outcome; /* PENDING until it is known */
    bool with_engine;             /* the engine has not called back yet */
    struct raft_apply apply;
    struct raft_barrier confirm;
};

/* An image on its way to a member, between the engine's question and its answer. */
struct image_get {
    struct image_get *next; /* of those that wait */
    struct replica *replica;
    struct raft_io_snapshot_get inner, *outer;
    raft_io_snapshot_get_cb cb;
    struct raft_snapshot *snapshot;
    struct replica_work work;
    void *bytes;
    size_t count;
    bool good;
};

/* A cut of the log, or an image being installed. */
struct image_put {
    struct replica *replica;
    struct raft_io_snapshot_put inner, *outer;
    raft_io_snapshot_put_cb cb;
    const struct raft_snapshot *given;
    struct raft_snapshot stored; /* the given one, of an image with a mark for its content */
    struct raft_buffer mark;     /* of an image that was installed */
    unsigned trailing;           /* 0: an image being installed */
    size_t log_bytes;            /* of the log when it began */
    unsigned log_entries;
    struct replica_work work;
    bool good;
};

enum change_step { CHANGE_NONE, CHANGE_DRAINING, CHANGE_SUBMITTED, CHANGE_ANSWERED, CHANGE_OVER };

enum transfer_step {
    TRANSFER_NONE,
    TRANSFER_SOUGHT,
    TRANSFER_DRAINING,
    TRANSFER_STARTED,
    TRANSFER_OVER
};

struct replica {
    struct raft raft;
    struct raft_io io;    /* the engine's disk and network, as the engine sees them */
    struct raft_io inner; /* the functions behind it */
    struct raft_fsm fsm;
    struct replica_ground *ground;
    struct replica_machine machine;
    struct replica_hooks hooks;
    uint64_t group, node;

    /* life */
    bool failed, failure_told;
    char why[REPLICA_WHY_BYTES];
    bool closing, engine_closed;
    bool engine_closing; /* raft_close was called */
    int works;           /* on threads of their own */
    void (*closed)(void *context);
    void *closed_context;
    struct replica_status told; /* what hooks.changed was told last */

    /* leading: the term in which its own barrier was committed last, and the one that is under way */
    uint64_t confirmed_term, own_barrier_term;
    struct raft_barrier own_barrier;
    bool own_barrier_out; /* the engine has it */

    /* a leader that may be gone; 0: none */
    uint64_t lost;
    raft_time lost_at;
    raft_io_tick_cb engine_tick;

    /* proposals in the order they came; at most REPLICA_UNCOMMITTED_MAX without an outcome */
    struct proposal *first, **last;
    int open;

    /* what was applied and is not stored yet (replica_machine.settle) */
    unsigned unsettled;
    size_t unsettled_bytes;
    uint64_t settled_at;

    /* members */
    enum change_step step;
    enum replica_change change;
    enum replica_changed changed;
    uint64_t change_node, change_until;
    int change_status;
    replica_change_done *change_done;
    void *change_context;
    struct raft_change change_request;
    enum transfer_step transfer;
    bool transfer_moved;
    uint64_t transfer_to, transfer_until;
    uint64_t transfer_from; /* the log's last entry when it was sought */
    void (*transfer_done)(void *context, bool moved);
    void *transfer_context;
    struct raft_transfer transfer_request;

    /* the log's size, since it was cut */
    size_t log_bytes, log_bytes_max;
    unsigned log_entries, log_entries_max;
    bool cutting;
    uint64_t cut_not_before;

    /* images */
    struct image_get *gets; /* that wait for the one under way */
    bool imaging;
    uint64_t installed;  /* the last entry of the last image that was installed here */
    bool image_dropped;  /* the image that is handed to the engine now is not to be sent */
    uint64_t image_term; /* the term of its last entry */
    struct {
        uint64_t node, index; /* whom it was sent to, and the entry it reaches to by its name */
        size_t bytes;
    } images_sent[REPLICA_MEMBERS_MAX]; /* the last to each member; bytes 0: a place that is free */
    raft_io_recv_cb recv;
    struct raft_message *deferred; /* an install that came while the log was being cut */

    /* entries on their way to each member, in bytes */
    struct {
        uint64_t node;
        size_t bytes;
    } sending[REPLICA_MEMBERS_MAX];
};

static inline struct replica *replica_of_io(const struct raft_io *io)
{
    const struct raft *raft = io->data;
    return raft->data;
}

static inline uint64_t replica_now(const struct replica *replica)
{
    return replica->ground->calls->now(replica->ground);
}

/* replica.c: the replica cannot go on. Told from the next turn. */
void replica_fail(struct replica *replica, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Whether it leads, and has committed an entry of its own term. */
bool replica_confirmed(const struct replica *replica);
/* A work on a thread of its own has ended; a close may have waited for it. */
void replica_work_ended(struct replica *replica);

/* replica_log.c */
void replica_log_init(struct replica *replica);
/* Submits what waits and may go, and tells outcomes. Part of the turn. */
void replica_log_turn(struct replica *replica);
/* Stores what was applied. A failure fails the replica. */
void replica_settle(struct replica *replica);
/* The same when it has waited for long enough, or this replica follows no longer. Part of the turn. */
void replica_settle_turn(struct replica *replica);
/* Whether nothing of ours is in flight: all that is in the log is committed and applied. */
bool replica_quiet(const struct replica *replica);
/* Gives every proposal its last outcome. */
void replica_log_end(struct replica *replica);

/* replica_members.c */
void replica_members_turn(struct replica *replica);
void replica_members_end(struct replica *replica);
/*
 * A leader that had to stop has the voter with most of its log ask for votes at once: its process goes on, and the others
 * would notice by nothing but its silence.
 */
void replica_abdicate(struct replica *replica);
/* Whether proposals are to wait for a change or a transfer. */
bool replica_members_hold(const struct replica *replica);
static inline bool replica_transferring(const struct replica *replica)
{
    return replica->transfer != TRANSFER_NONE;
}

/* replica_lost.c: the engine has taken a message in, and drawn anew how long it waits for the next */
void replica_heard(struct replica *replica);
/* It has taken that request for its vote in. Before replica_heard. */
void replica_asked(struct replica *replica, const struct raft_request_vote *request);
/* Part of the turn. */
void replica_lost_turn(struct replica *replica);

/* replica_io.c: puts ours around the engine's functions. After the ground has opened. */
void replica_io_wrap(struct replica *replica);
/* What the clock does to the engine, and what the network hands to it, once it is started. */
void replica_tick(struct raft_io *io);
void replica_receive(struct raft_io *io, struct raft_message *message);
/* Delivers a message that was put off, when its time has come. */
void replica_io_turn(struct replica *replica);
void replica_io_end(struct replica *replica);

/* replica_images.c */
int replica_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs);
int replica_restore(struct raft_fsm *fsm, struct raft_buffer *buffer);
int replica_image_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *request,
                      const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb);
int replica_image_get(struct raft_io *io, struct raft_io_snapshot_get *request,
                      raft_io_snapshot_get_cb cb);
/* Notes an image that goes to the member. */
void replica_image_goes(struct replica *replica, const struct raft_message *message);
/* What is on its way to a member that has the leader's log up to `match`. */
void replica_image_on_way(const struct replica *replica, uint64_t node, uint64_t match,
                          uint64_t *ret_bytes, uint64_t *ret_sent);
/* Notes entries that are being appended, so that the log is cut in time. */
void replica_log_grew(struct replica *replica, const struct raft_entry entries[], unsigned n);

#endif
