/*
 * The proxy: sends requests to other instances over HTTP/1.1 and hands their answers back, on connections that are kept
 * alive. It says honestly what became of a request, and never sends one twice: whether to try again is the caller's.
 *
 *     proxy_submit ─► bounds, deadline ─► a connection: kept or new ─► sent ─► answer ─► done
 *                      │                   │ refused, no route          │ reset, cut off, deadline
 *                      └─► NOT_SENT ◄──────┘                            └─► UNKNOWN         proxy_cancel ─► CANCELLED
 *
 * Redirects are not followed, nothing is decompressed, no proxy of the environment is asked. What belongs to one
 * connection is dropped from the request's and the answer's headers (proxy_headers.h). Against requests that go round in
 * circles the caller sends a header of its own. Bounds: db/limits.h, PROXY_….
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_PROXY_H
#define RINGHOLD_SERVICE_CLUSTER_PROXY_H

#include "service/cluster/proxy_answer.h"
#include "service/cluster/uvloop.h"

enum forward_outcome {
    FORWARD_ANSWERED, /* the answer is complete */
    FORWARD_NOT_SENT, /* not a byte went out: the other side has surely not begun on it */
    FORWARD_UNKNOWN, /* bytes went out, and no complete answer came: it may have been carried out, or not */
    FORWARD_CANCELLED, /* as was asked; the connection is closed. It may have been carried out, or not */
};

struct lane;
struct transfer;

/* A request on its way. Its maker owns it and all that it points at, zeroes what it does not set, and touches nothing of
   it from proxy_submit until done is called. */
struct forward {
    const char *base;   /* "http://10.0.0.2:7480", without a path */
    const char *method; /* as it came */
    struct text target; /* as it came: path and query, sent byte for byte */
    const struct proxy_header *headers;
    size_t header_count;
    struct text body;
    int64_t deadline_us; /* by clock_monotonic_us */
    int64_t partition;   /* whose leader is meant, for proxy_forsake */
    struct arena *arena; /* for the answer, and for what it takes to send the request */
    /* Called once, on the loop's thread; the forward is its maker's again. */
    void (*done)(struct forward *forward);

    /* out, set before done */
    enum forward_outcome outcome;
    struct proxy_answer answer; /* ANSWERED */
    const char *failure;        /* otherwise: what happened, of static storage */

    /* the proxy's own */
    int64_t submitted_us;
    struct lane *lane;         /* the loop's thread alone */
    struct transfer *transfer; /* the loop's thread alone */
    struct forward *next;      /* guarded by the proxy's mu: the next arrival */
    struct forward *cancelled_next,
        **cancelled_link; /* guarded by mu: among those to be cancelled */
    bool in_flight;       /* guarded by mu: submitted and not done */
    bool cancelled;       /* guarded by mu */
};

struct proxy_limits {
    size_t forwards;      /* at a time; more are not sent */
    size_t peer_forwards; /* at a time to one base */
};
#define PROXY_LIMITS_DEFAULT ((struct proxy_limits){PROXY_FORWARDS_MAX, PROXY_PEER_FORWARDS_MAX})

struct proxy;

/* A proxy on this loop. uvloop_stop stops it: what is under way then is CANCELLED. */
MUST_CHECK enum status proxy_start(struct uvloop *loop, struct proxy_limits limits,
                                   struct proxy **ret);
/* After uvloop_stop. NULL-safe. */
void proxy_free(struct proxy *proxy);

/* Sends the request; done will be called in every case. Any thread, until uvloop_stop is called. */
void proxy_submit(struct proxy *proxy, struct forward *forward);
/* Closes the forward's connection, so that the other side sees its client hang up. done is called all the same, once:
   with CANCELLED, unless the outcome was there before. Does nothing to a forward that is done. Any thread; the forward
   must not be freed meanwhile. */
void proxy_cancel(struct proxy *proxy, struct forward *forward);

/* Nobody should wait for `base` as leader of the partition any longer: what was submitted to it as such before that time
   (clock_monotonic_us), and has no answer, is UNKNOWN. The loop's thread. */
void proxy_forsake(struct proxy *proxy, const char *base, int64_t partition, int64_t before_us);

/* Forwards that are submitted and not done. Any thread. */
size_t proxy_in_flight(struct proxy *proxy);

#endif
