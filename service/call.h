/*
 * A call: one request on one connection, from its first byte to its answer. It carries the exchange through its steps:
 * reads are run at once, commands go to the committer, waits are parked, and in the end the answer is there to be sent.
 *
 * A call belongs to one HTTP loop. Its state says who may touch it:
 *
 *     READING ─► STEPPING ─┬─► COMMITTING ─► STEPPING     the committer has it, then gives it back to the loop
 *                          ├─► PARKED     ─► STEPPING     the parked table has it, then gives it back
 *                          │                              (and, where another member is asked, the proxy: forwarding.h;
 *                          │                              for a queue's shards the committer too: sharding.h)
 *                          └─► ANSWERED                   the response is the loop's to send
 *
 * All but the hand-overs run on the loop's thread.
 */
#ifndef RINGHOLD_SERVICE_CALL_H
#define RINGHOLD_SERVICE_CALL_H

#include "handlers/process.h"
#include "handlers/route.h"
#include "service/inflight.h"
#include "service/parked.h"
#include "service/partition.h"
#include "service/reading.h"

#include <stdatomic.h>

/* What calls are carried out with; the same for all of a process. */
struct engine {
    struct process process;
    struct clock *clock; /* of parked requests, and of requests whose partition is not known yet */
    struct partitions partitions;
    struct parked *parked;
    struct inflight *inflight;           /* Idempotency-Keys */
    struct inflight *moves;              /* ids of sessions on their way to another partition */
    struct cluster *cluster;             /* NULL: alone */
    struct shard_notes *shard_notes;     /* in a cluster */
    struct shard_watches *shard_watches; /* in a cluster */
    atomic_bool draining;                /* nothing parks any more */
    _Atomic int64_t asked_us; /* when a member last forwarded something here; monotonic */
};

enum call_state { CALL_READING, CALL_STEPPING, CALL_COMMITTING, CALL_PARKED, CALL_ANSWERED };

struct requests; /* service/requests.h */

struct call {
    struct engine *engine;
    struct reader_slot *readers;   /* the loop's own, one of each partition */
    struct partition *partition;   /* once it is known */
    struct gather *gather;         /* of a list over all partitions */
    unsigned gathered;             /* partitions that are in it */
    struct sharding *sharding;     /* of a queue over several partitions */
    int64_t sharding_until_us;     /* how long that may wait, however often it begins; monotonic */
    bool at_home;                  /* only who leads the queue's home can answer it */
    struct forwarding *forwarding; /* once another member is asked */
    struct reading reading;        /* what it is answered from */
    struct moving *moving;         /* of a session, to another partition */
    bool held;                     /* parked until the session has moved */
    int holds;                     /* how often that was */
    struct text moved_to;   /* the routing key where what it is for has moved to; or absent */
    bool errand;            /* handlers/errand.h */
    bool forwarded;         /* a member asks: who does not own the partition says so */
    struct text request_id; /* once it was asked for */
    int socket;

    enum call_state state;
    struct arena arena;
    struct exchange x;
    char *body; /* malloc'd while the request is read */
    size_t body_len, body_room;
    size_t body_seen; /* dropped bytes too */
    bool body_too_large;
    bool closes;  /* the connection ends with this answer */
    bool guarded; /* the head has been judged */
    bool is_back; /* given back, and not yet gone on with */
    bool gone;    /* the client is gone: free it when the committer gives it back */
    struct inflight_note *inflight; /* of its Idempotency-Key */
    enum status overrides;          /* the answer, whatever the exchange says; OK: none */
    int64_t begun_us;

    struct job job;             /* while COMMITTING */
    uint64_t ticket;            /* of x.topic, taken before the last look at the state */
    struct parked_entry parked; /* while PARKED */

    /* The loop's. `back` puts the call into the loop's inbox when the committer or the parked table is done with it. */
    void (*back)(struct call *call);
    struct requests *requests;
    void *connection;
    struct call *next;
};

/*
 * A new call; NULL when memory ran out. `spare`, when not NULL, is a call that has ended, to be used again: its
 * arena's block saves a malloc of 4 KiB a request.
 */
struct call *call_make(struct call *spare, struct engine *engine, struct reader_slot *readers,
                       int socket);
/* Ends the call: gives back all it holds but its memory. */
void call_end(struct call *call);
/* Frees a call that has ended. */
void call_free(struct call *call);

/* Makes the answer a problem of this status, whatever was there. */
void call_end_with(struct call *call, enum status status);
/* Whether the client has left. */
bool call_hung_up(const struct call *call);

/* Whether it can be carried out here, and by whom else, as far as is known; that one may be this node, not ready yet. */
bool call_serves(const struct call *call);
struct cluster_owner;
bool call_owner(const struct call *call, struct cluster_owner *ret);

/* Begins, or begins anew: nothing of it has been carried out. Once its partition is known. */
void call_begin(struct call *call);
/* The same, for a call that had begun here. */
void call_begin_again(struct call *call);
/* What it is for has moved to that routing key, which is copied: begins again, there. */
void call_follow(struct call *call, struct text routing_key);
/* Parks it for what happens to the topic, by a ticket that was taken before the look at the state, for at most so long.
   PARKED, and call_go_on when it is over; else it is STEPPING as before. Not a call whose client is gone. */
MUST_CHECK enum parking call_park(struct call *call, const struct topic *topic, uint64_t ticket,
                                  int64_t wait_ms);
/* Makes call->job of them, and the call COMMITTING: once the job is done, call_go_on. */
void call_job(struct call *call, const struct command *command, struct result *result);
/* Notes the request's Idempotency-Key. False when another request with it is still running. */
bool call_note_inflight(struct call *call);
/* The response is there: it is to be sent. */
void call_answered(struct call *call);
/* What woke a parked call, as its handler must see it. */
enum wake call_reason_to_wake(struct call *call);
/* The result of its command is there: goes on. */
void call_look_at_result(struct call *call);

/* The head is there, and sound: notes whether a member asks. */
void call_note_head(struct call *call);
/* How long its body may be. */
size_t call_body_bytes_max(const struct call *call);
/* Adds bytes to the body. Past the limit they are dropped, and the call will be refused. */
void call_body(struct call *call, const char *bytes, size_t len);
/* Refuses the request without looking at it further. */
void call_refuse(struct call *call, enum status status, const char *why);

/* The request is whole: begins. Afterwards the state is COMMITTING, PARKED or ANSWERED. */
void call_start(struct call *call);
/* The call is back from the committer or from the parked table: goes on, to the same three. */
void call_go_on(struct call *call);

/* Hands the command to the partition; the result will be in x->result. True: the call's state says what it does next, and
   COMMITTING it will come back. False: it is to be answered, as call->overrides says. */
bool call_submit(struct call *call, const struct command *command);
/* The partition is another member's, now or since a moment ago, and nothing of the request has been carried out: goes
   there, or says where that is. */
void call_elsewhere(struct call *call);

/* For parked_start: the entry's call is back. */
void call_woken(struct parked_entry *entry);

#endif
