/*
 * An exchange: one request, what it asks of the state machine, and the answer. Handlers work on it step by step and
 * know neither sockets nor threads; after each step they say what must happen next, and whoever runs the process does
 * it:
 *
 *        exchange_route ──► exchange_begin ──┬─► READ    run x->command on a reader          ─┐
 *                                            ├─► COMMIT  hand x->command to the committer    ─┼─► exchange_continue
 *                                            ├─► PARK    until an event on x->topic, or time ─┼─► exchange_wake
 *                                            └─► ANSWER  x->response is complete              │        │
 *                                                  ▲                                          │        │
 *                                                  └──────────────────────────────────────────┴────────┘
 *
 * One thread at a time works on an exchange. Everything in it lives in its arena, which its maker owns.
 */
#ifndef RINGHOLD_HANDLERS_EXCHANGE_H
#define RINGHOLD_HANDLERS_EXCHANGE_H

#include "db/result.h"

#include "db/arena.h"

enum method { METHOD_GET, METHOD_PUT, METHOD_POST, METHOD_PATCH, METHOD_DELETE, METHOD_OTHER };

enum next { NEXT_READ, NEXT_COMMIT, NEXT_PARK, NEXT_ANSWER };

/* Why a parked exchange goes on. */
enum wake { WAKE_EVENT, WAKE_TIME_OVER, WAKE_HUNG_UP, WAKE_DRAINING };

/* What a read may be answered from (docs/API.md, "In a cluster"): the leader's state, the same after the group's other
   members have confirmed that it leads, or any replica's. */
enum consistency { CONSISTENCY_LEADER, CONSISTENCY_STRONG, CONSISTENCY_STALE };

/* What a parked exchange waits for: an event of that kind, name and detail (detail only for EVENT_LEASE). */
struct topic {
    enum event_kind kind;
    struct text name;
    struct text detail;
};

enum { PARAMS_MAX = 3, QUERY_NAMES_MAX = 8, RESPONSE_HEADERS_MAX = 12 };

struct request {
    enum method method;
    struct text target; /* as it came, path and query, not decoded */
    struct text path;   /* the part of target before '?' */
    struct text query;  /* behind it, or absent */
    struct text body;   /* empty where there was none */
    /* A header's value, absent where it is missing. Names are compared without case. */
    struct text (*header)(const void *source, const char *name);
    const void *source;
    struct text
        routing_key; /* what the member who forwards this took as its routing key; else absent */
};

struct header {
    const char *name;  /* lives as long as the exchange */
    struct text value; /* NUL-terminated behind its length */
};

struct response {
    int status;
    const char *content_type; /* lives as long as the exchange; NULL: there is no body */
    struct text body;
    struct header headers[RESPONSE_HEADERS_MAX];
    size_t header_count;
};

/* What a refusal adds to its status: filled by exchange_refuse. */
struct refusal_detail {
    struct text field;  /* what it is about, or absent */
    struct text detail; /* the sentence, or absent: the status's own advice */
};

/* The versions that an entity-tag list names; a tag that is none of ours names none. */
enum { VERSIONS_MAX = 8 };
struct versions {
    int64_t at[VERSIONS_MAX]; /* rising */
    size_t count;
    bool any; /* the list was * */
};

struct route;
struct process;

struct exchange {
    struct arena *arena;           /* everything of the exchange lives here */
    const struct process *process; /* handlers/process.h */
    struct request request;

    const struct route *route;      /* after exchange_route; NULL: none matched */
    struct text params[PARAMS_MAX]; /* the {names} of the route's template, decoded and checked */
    struct refusal_detail refused;
    const char *asked[QUERY_NAMES_MAX]; /* query parameters the route has asked for */
    size_t asked_count;

    struct stamp now;             /* set by the process before each step */
    enum consistency consistency; /* of a read */
    struct command command;
    struct result result;
    struct text
        routing_key; /* whose partition it is for; prepare takes it from the path unless parse set it */
    int64_t partition;  /* that partition; set by the process once the key is known */
    void *scratch;      /* what a route keeps between its steps */
    struct text secret; /* a token this exchange made, shown in its answer only */

    /* Waiting. */
    int64_t wait_ms;       /* how long the client lets the request wait in all; 0: not at all */
    int64_t waits_until;   /* PARK: lease time at which the wait is over */
    struct topic topic;    /* PARK: what wakes it */
    bool async;            /* Prefer: respond-async */
    bool in_transaction;   /* an operation of POST /v1/transactions: one command, and no `after` */
    struct versions known; /* If-None-Match: what the client has */

    /* An If-Match that names several versions is tried with one after the other. */
    size_t match_at;   /* which one's turn it is */
    size_t match_left; /* how many come behind it */

    struct response response;
};

/* An exchange for a request that is still being read. */
struct exchange exchange_make(const struct process *process, struct arena *arena);

/*
 * Splits the target, finds the route and decodes the names. OK, or NOT_FOUND, METHOD_NOT_ALLOWED, INVALID_NAME,
 * URI_TOO_LONG, with the response ready. Needs request.method and request.target, which must outlive the exchange.
 */
MUST_CHECK enum status exchange_route(struct exchange *x);

/* Whether it is for a partition's state, and not answered by the process itself. Once x->command is there. */
bool exchange_asks_partition(const struct exchange *x);
/* Reads the request into x->command, without beginning. Needs a route, the body, and x->now. */
MUST_CHECK enum status exchange_prepare(struct exchange *x);
/* Begins, after a prepare that was OK. Needs x->now and x->partition, of x->routing_key's partition. */
enum next exchange_begin(struct exchange *x);
/* Goes on after READ or COMMIT: x->result is there. */
enum next exchange_continue(struct exchange *x);
/* Goes on after PARK. */
enum next exchange_wake(struct exchange *x, enum wake why);

/* Answers with x->result, whatever the route would ask for more. */
enum next exchange_answer(struct exchange *x);

/* Makes the response a problem document of this status. */
enum next exchange_problem(struct exchange *x, enum status status);

/* Notes what is wrong with the request, for the problem document; returns `status`. `field` may be NULL. */
enum status exchange_refuse(struct exchange *x, enum status status, const char *field,
                            const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Adds a header to the response; nothing when the value is absent. The value must be NUL-terminated behind its length, as
   the arena's copies and formatted texts are. */
void exchange_header(struct exchange *x, const char *name, struct text value);
/* ETag: "<version>" */
void exchange_etag(struct exchange *x, int64_t version);
/* Ends the response: a JSON body, or none (204) when `body` is absent. */
void exchange_respond(struct exchange *x, int http_status, struct text body);

/* A query parameter, decoded; absent where it is missing. `name` is of static storage. */
struct text exchange_parameter(struct exchange *x, const char *name);
/* Refuses query parameters that nobody asked for, or that come twice: a misspelt one must not be passed over. */
MUST_CHECK enum status exchange_parameters_end(struct exchange *x);

/*
 * The parts of a request that many routes share; each returns a refusal when the client got it wrong.
 */
enum status exchange_condition(struct exchange *x,
                               struct condition *ret);           /* If-Match, If-None-Match: * */
enum status exchange_page(struct exchange *x, struct page *ret); /* limit, cursor */
/* The `next_cursor` for a page that ends at this key. */
struct text exchange_cursor(struct exchange *x, struct text after);
/* Reads `consistency` into the exchange, of a read that a partition answers. */
enum status exchange_consistency(struct exchange *x);
/* Reads Prefer: wait (RFC 7240) into the exchange; it wins over what is there. */
void exchange_prefer_wait(struct exchange *x);
/* Reads wait_ms, Prefer: wait, respond-async and If-None-Match into the exchange. */
enum status exchange_watch(struct exchange *x);
/* A query parameter as an integer between the bounds; `absent` where it is missing. */
enum status exchange_parameter_int(struct exchange *x, const char *name, int64_t min, int64_t max,
                                   int64_t absent, int64_t *ret);

#endif
