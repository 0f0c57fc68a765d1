/*
 * Results: what a command led to. A result is plain data, in the arena that was given with the command; handlers make
 * JSON from it, and the same bytes each time, which is what lets an idempotency record keep the result instead of the
 * answer's text.
 *
 * `shape` says which member of the union holds; records.c's tables encode by it. A shape of NONE has no member.
 */
#ifndef RINGHOLD_DB_RESULT_H
#define RINGHOLD_DB_RESULT_H

#include "db/command.h"
#include "db/status.h"

struct session_view {
    struct text id;
    struct text subject; /* or absent */
    struct text data;    /* a JSON object */
    int64_t version;
    int64_t created_at_ms;
    int64_t last_seen_at_ms;
    int64_t idle_ttl_ms;
    int64_t max_ttl_ms;
    int64_t expires_at_ms;     /* the earlier of the idle and the absolute end */
    int64_t max_expires_at_ms; /* the absolute end */
};
struct session_views {
    struct session_view *at;
    size_t count;
};
struct session_page {
    struct session_views items;
    struct text next; /* the key to go on after; absent on the last page */
};

enum lease_state { LEASE_WAITING = 0, LEASE_HELD = 1 };

struct lease_view {
    struct text lease;
    struct text name;
    struct text owner;
    struct text session; /* or absent */
    struct text metadata;
    int64_t mode; /* enum lease_mode */
    int64_t permits;
    int64_t state; /* enum lease_state */
    int64_t fence; /* of a held lease */
    int64_t ttl_ms;
    int64_t lease_expires_ms; /* lease time: end of the hold, or of the wait */
    int64_t position;         /* of a waiting one: how many stand before it */
    int64_t ticket;           /* what LEASE_ABANDON must bring */
    int64_t version;
    bool
        uncollected; /* granted from the line, and whoever waited has not been seen since: LEASE_COLLECT it */
};
struct lease_views {
    struct lease_view *at;
    size_t count;
};
/* The answer to a lock-set: one view a member, in the order asked. */
struct lock_set_view {
    struct lease_views members;
};
struct lock_view {
    struct text name;
    int64_t limit;
    int64_t lock_delay_ms;
    int64_t version;
    int64_t fence;
    int64_t delayed_for_ms;
    struct lease_views holders; /* the first LOCK_HOLDERS_SHOWN */
    struct lease_views waiters; /* the first LOCK_HOLDERS_SHOWN, in line */
    int64_t holder_count;
    int64_t waiter_count;
};
struct lock_views {
    struct lock_view *at;
    size_t count;
};
struct lock_page {
    struct lock_views items;
    struct text next;
};
/* 409 lock-held: the lock as it stands, and where the caller would stand in line. */
struct refusal {
    struct lock_view lock;
    int64_t position;
};
struct cycle_edge {
    struct text owner;
    struct text lock; /* what it waits for */
};
struct cycle {
    struct cycle_edge *at;
    size_t count;
};

struct queue_view {
    struct text name;
    struct queue_config config;
    int64_t version;
    int64_t created_at_ms;
    int64_t ready;
    int64_t delayed;
    int64_t leased;
    int64_t dead;
    int64_t oldest_age_ms; /* of the oldest message that is not dead; 0 where there is none */
};
struct queue_views {
    struct queue_view *at;
    size_t count;
};
struct queue_page {
    struct queue_views items;
    struct text next;
};
struct sent_message {
    int64_t status; /* enum status: CREATED, or why this one was refused */
    int64_t message;
    int64_t retry_after_ms; /* of a refused one */
    bool deduplicated;
};
struct sent_messages {
    struct sent_message *at;
    size_t count;
};
struct message_view {
    int64_t message;
    int64_t fence; /* of its last delivery, 0 if never delivered */
    int64_t attempt;
    int64_t failures;
    int64_t state; /* enum message_filter, never ANY */
    int64_t priority;
    int64_t body_bytes; /* of the JSON; 0: body is not compressed */
    struct text body;
    struct text attributes; /* a JSON object, or absent: {} */
    struct text group;
    struct text reason;   /* of its last failure, or absent */
    struct text consumer; /* who holds it, or absent */
    int64_t enqueued_at_ms;
    int64_t expires_at_ms;
    int64_t due_at_ms;        /* of a delayed one: wall time */
    int64_t lease_expires_ms; /* of a leased one: lease time */
};
struct message_views {
    struct message_view *at;
    size_t count;
};
struct message_page {
    struct message_views items;
    struct text next;
};
enum settle_outcome {
    OUTCOME_ACKED,
    OUTCOME_ALREADY_ACKED,
    OUTCOME_NACKED,
    OUTCOME_EXTENDED,
    OUTCOME_REJECTED,
    OUTCOME_LEASE_LOST,
    OUTCOME_GONE
};
struct outcomes {
    int64_t *at; /* enum settle_outcome, in the order of the settlements */
    size_t count;
};
struct results {
    struct result *at;
    size_t count;
};
/* 409 transaction-failed: which operation, and its result. */
struct transaction_failure {
    int64_t index;
    struct results failed; /* one */
};
struct totals_view {
    int64_t sessions;
    int64_t held;
    int64_t waiting;
    int64_t locks;
    int64_t queues;
    int64_t ready, delayed, leased, dead;
    int64_t idempotency_records;
    int64_t fence;
    int64_t revision;
};

enum end_reason {
    REASON_NONE,
    REASON_IDLE,
    REASON_ABSOLUTE,
    REASON_REVOKED,
    REASON_ROTATED,
    REASON_RELEASED,
    REASON_EXPIRED,
    REASON_SESSION_ENDED,
    REASON_LEFT /* of a place in line: its client hung up, and may come back. No client is told of it */
};

enum result_shape {
    SHAPE_NONE,
    SHAPE_SESSION,
    SHAPE_SESSION_PAGE,
    SHAPE_LEASE,
    SHAPE_LOCK,
    SHAPE_LOCK_PAGE,
    SHAPE_LOCK_SET,
    SHAPE_REFUSAL,
    SHAPE_CYCLE,
    SHAPE_QUEUE,
    SHAPE_QUEUE_PAGE,
    SHAPE_SENT,
    SHAPE_MESSAGES, /* received */
    SHAPE_MESSAGE,
    SHAPE_MESSAGE_PAGE,
    SHAPE_OUTCOMES,
    SHAPE_RESULTS,
    SHAPE_TRANSACTION_FAILURE,
    SHAPE_TOTALS,
    SHAPE_PARCEL, /* a session on its way to another partition */
    SHAPE_COUNT
};

struct result {
    enum status status;
    enum result_shape shape;
    struct stamp
        stamp; /* the state's clocks when the command was carried out: relative times count from here */
    bool replayed;           /* this came from an idempotency record */
    struct text sealed;      /* of the record, on a replay; else absent */
    int64_t version;         /* 412: the version it is at. 409 stale-fence: the newest fence */
    int64_t count;           /* purged, redriven, revoked, released */
    int64_t retry_after_ms;  /* of a 429 or lock-held, 0 where none is known */
    int64_t reason;          /* enum end_reason: of a 410 */
    struct text reason_text; /* what an operator said on breaking the lock; or absent */
    struct text field;       /* the name or field an error is about, or absent */
    struct text moved; /* of a 410: the id, on another partition, that it leads on to; or absent */
    union {
        struct session_view session;
        struct session_page sessions;
        struct lease_view lease;
        struct lock_view lock;
        struct lock_page locks;
        struct lock_set_view lock_set;
        struct refusal refusal;
        struct cycle cycle;
        struct queue_view queue;
        struct queue_page queues;
        struct sent_messages sent;
        struct message_views received;
        struct message_view message;
        struct message_page messages;
        struct outcomes outcomes;
        struct results results;
        struct transaction_failure failure;
        struct totals_view totals;
        struct session_arrive parcel;
    };
};

/*
 * Events: what a command changed that somebody may be waiting for. `name` lives in the arena of the batch.
 */
enum event_kind {
    EVENT_RENEWED, /* the idle clock of the session of that id was renewed, and nothing else of it changed */
    EVENT_SESSION, /* the session of that id changed or ended */
    EVENT_LOCK,    /* the lock of that name changed: holders, line, configuration */
    EVENT_LEASE,   /* the lease `detail` of the lock `name` changed: granted, ended, patched */
    EVENT_QUEUE,   /* the queue of that name changed: depth or configuration */
    EVENT_RING,    /* the members or the partition table changed */
    EVENT_READY    /* `count` messages of the queue became ready to be received */
};
struct event {
    enum event_kind kind;
    struct text name;
    struct text detail;
    int64_t count;
};

#endif
