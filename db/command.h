/*
 * Commands: everything a client, or time, can ask of a partition. A command carries all that its execution needs
 * (the clocks' readings, ids, hashes of secrets), because the state machine reads no clock and draws no random number:
 * the same commands in the same order give the same state on every replica.
 *
 * A command borrows its texts; who makes it keeps them alive until the result is there. Ints that were not given are
 * ABSENT; texts that were not given have at == NULL. Durations are milliseconds; instants `*_at_ms` are milliseconds
 * since 1970 on the wall clock; `lease_*` instants are milliseconds of lease time (API.md §1: two clocks).
 *
 * records.c holds, for each struct here, the table of its fields that codec.c encodes by. A field added here must be
 * added there; a test counts the bytes.
 */
#ifndef RINGHOLD_DB_COMMAND_H
#define RINGHOLD_DB_COMMAND_H

#include "db/limits.h"
#include "db/text.h"

#include <stdint.h>

#define ABSENT INT64_MIN

/* The condition of a conditional write. */
#define IF_MATCH_ANY INT64_C(-1) /* If-Match: * — the resource must exist */
#define IF_MATCH_NONE INT64_MAX  /* If-Match: what is no version of ours — never holds */
struct condition {
    int64_t if_match; /* the version it must be at, IF_MATCH_ANY, or ABSENT */
    bool create_only; /* If-None-Match: * — it must not exist */
};
#define UNCONDITIONAL ((struct condition){ABSENT, false})

struct page {
    struct text after; /* the key of the last item seen; absent: from the start */
    int64_t limit;     /* 1 to PAGE_ITEMS_MAX */
};

/* ---- sessions ------------------------------------------------------------------------------------------------ */

struct session_create {
    struct text id;         /* made by the server: <tag>~<random> */
    struct text token_hash; /* SHA-256 of the token's secret, 32 bytes */
    struct text subject;    /* or absent */
    struct text data;       /* a JSON object */
    int64_t idle_ttl_ms;
    int64_t max_ttl_ms;
    int64_t subject_limit; /* or ABSENT */
    bool evict_oldest;     /* what happens at the limit: evict, else refuse */
};
struct session_resolve {
    struct text id;
    struct text token_hash;
};
struct session_key {
    struct text id;
    struct condition condition;
};
struct session_put {
    struct text id;
    struct text data;
    int64_t idle_ttl_ms;
    int64_t max_ttl_ms;
    struct condition condition;
};
struct session_patch {
    struct text id;
    struct text data_patch; /* RFC 7396 merge patch for data; absent: data stays */
    bool clear_data;        /* data starts from {} before data_patch is merged ("data": null) */
    int64_t idle_ttl_ms;    /* or ABSENT */
    int64_t max_ttl_ms;     /* or ABSENT */
    struct condition condition;
};
struct session_rotate {
    struct text id;
    struct text new_random;     /* the part of the new id behind its tag */
    struct text new_token_hash; /* SHA-256, 32 bytes */
    struct text subject;        /* the new subject; absent: the old one stays */
    struct text subject_tag;    /* the tag of that subject; absent as subject is */
    int64_t grace_ms;
    int64_t
        departs_at; /* the successor has arrived on another partition, made of this version; else ABSENT */
};
/* The successor of a session of another partition, and what of that one leads on to it. */
struct session_arrive {
    struct text id;
    struct text token_hash;
    struct text subject;
    struct text data;
    int64_t version;
    int64_t created_ms;
    int64_t last_seen_ms;
    int64_t idle_ttl_ms;
    int64_t max_ttl_ms;
    struct text from;            /* the id that it had */
    struct text from_token_hash; /* or absent: no token led there */
    int64_t grace_ms;            /* how long they lead on; 0: not at all */
};
struct subject_list {
    struct text subject;
    struct page page;
};
struct subject_revoke {
    struct text subject;
    struct text except; /* a session's id, or absent */
};

/* ---- locks --------------------------------------------------------------------------------------------------- */

enum lease_mode { LEASE_EXCLUSIVE = 0, LEASE_SHARED = 1 };

struct lease_acquire {
    struct text name;
    struct text lease;
    struct text owner;
    struct text session;  /* or absent */
    struct text metadata; /* a JSON object */
    int64_t ttl_ms;
    int64_t mode; /* enum lease_mode */
    int64_t permits;
    int64_t wait_ms;
    int64_t lock_delay_ms; /* or ABSENT: the lock's own */
    bool async;            /* Prefer: respond-async: nobody stays on the line for the grant */
    struct condition condition;
};
struct lease_key {
    struct text name;
    struct text lease;
};
/* ticket: of the view that the client who hung up was waiting with. Who has asked again since holds a newer one, and
   keeps the place. */
struct lease_abandon {
    struct text name;
    struct text lease;
    int64_t ticket;
};
struct lease_patch {
    struct text name;
    struct text lease;
    struct text metadata_patch; /* RFC 7396; absent: metadata stays */
    bool clear_metadata;        /* metadata starts from {} ("metadata": null) */
    int64_t mode;               /* or ABSENT */
    struct condition condition;
};
struct lease_renew {
    struct text name;
    struct text lease;
    int64_t ttl_ms; /* or ABSENT: as it was acquired */
    struct condition condition;
};
struct lease_release {
    struct text name;
    struct text lease;
    struct condition condition;
};
struct lock_key {
    struct text name;
};
struct lock_put {
    struct text name;
    int64_t limit;
    int64_t lock_delay_ms;
    struct condition condition;
};
struct fence_check {
    struct text name;
    int64_t fence;
};
struct lock_break {
    struct text name;
    struct text reason;    /* or absent */
    int64_t lock_delay_ms; /* or ABSENT: each lease's own */
    struct condition condition;
};
struct lock_list {
    struct text prefix; /* or absent */
    struct text owner;  /* or absent: locks where this owner holds or waits */
    struct page page;
};
struct lock_set_member {
    struct text name;
    int64_t mode; /* enum lease_mode */
    int64_t permits;
};
struct lock_set_members {
    const struct lock_set_member *at;
    size_t count;
};
struct lock_set_acquire {
    struct text lease;
    struct text owner;
    struct text session;
    struct text metadata;
    int64_t ttl_ms;
    int64_t wait_ms;
    int64_t lock_delay_ms;
    struct lock_set_members locks;
    bool async;
    struct condition condition; /* of the set's version: the newest of its members' */
};
struct names {
    const struct text *at;
    size_t count;
};
struct lock_set_key {
    struct text lease;
    struct names names;
};
struct lock_set_abandon {
    struct text lease;
    struct names names;
    int64_t ticket; /* as in lease_abandon */
};

/* ---- queues -------------------------------------------------------------------------------------------------- */

/* A queue's configuration. A field that is ABSENT has its default in QUEUE_PUT, and stays in QUEUE_PATCH. */
struct queue_config {
    int64_t lease_ms;
    int64_t max_attempts; /* 0: no limit */
    int64_t retention_ms;
    int64_t delay_ms;
    int64_t dedup_window_ms;
    int64_t max_depth; /* 0: none */
    int64_t backoff_base_ms;
    int64_t backoff_factor_milli; /* 2000 is a factor of 2 */
    int64_t backoff_max_ms;
    int64_t rate_per_s; /* 0: none */
    int64_t rate_burst; /* 0: as many as rate_per_s */
    int64_t group_concurrency;
    int64_t paused;          /* 0 or 1 */
    struct text dead_letter; /* a queue's name; empty: none */
    int64_t shards;          /* partitions it is spread over, where there are as many */
    int64_t routing;         /* enum routing */
};
/* Which shard takes messages that have neither group nor dedup_id. */
enum routing { ROUTING_HASH, ROUTING_ROUND_ROBIN, ROUTING_LEAST_LOADED };

/* sealed: the configuration's version at which all other shards were sealed (db/shards.h), or ABSENT. */
struct queue_put {
    struct text name;
    struct queue_config config;
    struct condition condition;
    int64_t partitions; /* of the ring; ABSENT: one */
    int64_t sealed;
};
struct queue_key {
    struct text name;
};
struct queue_list {
    struct text prefix; /* or absent */
    struct page page;
};
struct queue_delete {
    struct text name;
    bool if_empty;
    struct condition condition;
    int64_t sealed; /* as in queue_put */
};

struct message_new {
    struct text body;       /* JSON, as encoded says */
    struct text attributes; /* a JSON object of strings; absent: {} */
    struct text group;      /* or absent */
    struct text dedup_id;   /* or absent */
    int64_t priority;       /* 0 to 9 */
    int64_t delay_ms;       /* or ABSENT: the queue's */
    int64_t deliver_at_ms;  /* or ABSENT */
    int64_t ttl_ms;         /* or ABSENT: the queue's retention */
    int64_t body_bytes;     /* of the JSON before compression; 0: body is not compressed */
};
struct messages_new {
    const struct message_new *at;
    size_t count;
};
struct message_send {
    struct text queue;
    struct messages_new messages;
    bool atomic;
};
struct message_receive {
    struct text queue;
    struct text consumer; /* or absent */
    int64_t max;
    int64_t lease_ms; /* or ABSENT: the queue's */
};

enum settle_action { SETTLE_ACK, SETTLE_NACK, SETTLE_EXTEND, SETTLE_REJECT };

/* One settlement. message and fence are what the receipt said, once its MAC was found right. */
struct settlement {
    int64_t action; /* enum settle_action */
    int64_t message;
    int64_t fence;
    int64_t delay_ms;   /* NACK; or ABSENT: the queue's backoff */
    int64_t lease_ms;   /* EXTEND */
    struct text reason; /* NACK, REJECT; or absent */
};
struct settlements {
    const struct settlement *at;
    size_t count;
};
struct message_settle {
    struct text queue;
    struct settlements items;
    bool atomic;
};
/* ack: fence is given; cancel: ABSENT. */
struct message_delete {
    struct text queue;
    int64_t message;
    int64_t fence;
};
struct message_key {
    struct text queue;
    int64_t message;
};

/* What a client sees of a message's state; MESSAGE_ANY where a filter is open. */
enum message_filter { MESSAGE_ANY, MESSAGE_READY, MESSAGE_DELAYED, MESSAGE_LEASED, MESSAGE_DEAD };

struct message_list {
    struct text queue;
    struct text group; /* or absent */
    int64_t state;     /* enum message_filter */
    struct page page;
};
struct queue_purge {
    struct text queue;
    int64_t state; /* enum message_filter */
    int64_t max;   /* messages at most where a state is asked for, or ABSENT: all */
};
struct message_ids {
    const int64_t *at;
    size_t count;
};
struct queue_redrive {
    struct text queue;
    int64_t max; /* or ABSENT: all */
    bool by_id;  /* only those in ids */
    struct message_ids ids;
};

struct commands {
    const struct command *at;
    size_t count;
};

/* What is asked of one shard of a queue (db/shards.h). */
enum shard_act {
    SHARD_RUN, /* the operation, if there is one; else only that it know the configuration */
    SHARD_SEAL, /* take nothing more under this version, if it may be left as it is by other shards */
    SHARD_SEAL_EMPTY, /* the same, if it is empty */
    SHARD_DROP        /* be empty, and take nothing for this queue any more */
};
struct shard_request {
    struct text queue;
    int64_t shard;   /* 0 to count - 1; 0 is home */
    int64_t count;   /* over how many partitions the queue is spread */
    int64_t version; /* the configuration's, at home */
    int64_t born;    /* of the queue, at home */
    struct queue_config config;
    int64_t act;                /* enum shard_act */
    struct commands operations; /* RUN: one, or none */
};
struct queue_renew {
    struct text name;
    int64_t version; /* the configuration's version must come to be this or a later one */
};

/* ---- all ----------------------------------------------------------------------------------------------------- */

struct transaction {
    struct commands operations;
};
struct tick {
    int64_t steps_max; /* rows it may touch */
};
struct fence_step {
    int64_t by;
};
struct nothing {
    int64_t unused;
};

/*
 * X(KIND, struct, member, reads): reads says that the command changes nothing and may run on a read-only connection.
 * The order is the log format: add at the end, never reorder.
 */
/* clang-format off */
#define COMMAND_TABLE(X) \
  X(SESSION_CREATE,   session_create,   session_create,   false) \
  X(SESSION_RESOLVE,  session_resolve,  session_resolve,  false) /* touches */ \
  X(SESSION_LOOKUP,   session_resolve,  session_lookup,   true)  /* resolves without touching */ \
  X(SESSION_GET,      session_key,      session_get,      true) \
  X(SESSION_PUT,      session_put,      session_put,      false) \
  X(SESSION_PATCH,    session_patch,    session_patch,    false) \
  X(SESSION_TOUCH,    session_key,      session_touch,    false) \
  X(SESSION_ROTATE,   session_rotate,   session_rotate,   false) \
  X(SESSION_DELETE,   session_key,      session_delete,   false) \
  X(SUBJECT_LIST,     subject_list,     subject_list,     true) \
  X(SUBJECT_REVOKE,   subject_revoke,   subject_revoke,   false) \
  X(LEASE_ACQUIRE,    lease_acquire,    lease_acquire,    false) \
  X(LEASE_COLLECT,    lease_key,        lease_collect,    false) /* the waiter looks whether it is its turn */ \
  X(LEASE_ABANDON,    lease_abandon,    lease_abandon,    false) /* the waiter's client has hung up */ \
  X(LEASE_GET,        lease_key,        lease_get,        true) \
  X(LEASE_PATCH,      lease_patch,      lease_patch,      false) \
  X(LEASE_RENEW,      lease_renew,      lease_renew,      false) \
  X(LEASE_RELEASE,    lease_release,    lease_release,    false) \
  X(LOCK_GET,         lock_key,         lock_get,         true) \
  X(LOCK_PUT,         lock_put,         lock_put,         false) \
  X(FENCE_CHECK,      fence_check,      fence_check,      true) \
  X(LOCK_BREAK,       lock_break,       lock_break,       false) \
  X(LOCK_LIST,        lock_list,        lock_list,        true) \
  X(LOCK_SET_ACQUIRE, lock_set_acquire, lock_set_acquire, false) \
  X(LOCK_SET_COLLECT, lock_set_key,     lock_set_collect, false) \
  X(LOCK_SET_ABANDON, lock_set_abandon, lock_set_abandon, false) \
  X(QUEUE_PUT,        queue_put,        queue_put,        false) \
  X(QUEUE_PATCH,      queue_put,        queue_patch,      false) \
  X(QUEUE_GET,        queue_key,        queue_get,        true) \
  X(QUEUE_LIST,       queue_list,       queue_list,       true) \
  X(QUEUE_DELETE,     queue_delete,     queue_delete,     false) \
  X(MESSAGE_SEND,     message_send,     message_send,     false) \
  X(MESSAGE_RECEIVE,  message_receive,  message_receive,  false) \
  X(MESSAGE_SETTLE,   message_settle,   message_settle,   false) \
  X(MESSAGE_DELETE,   message_delete,   message_delete,   false) \
  X(MESSAGE_GET,      message_key,      message_get,      true) \
  X(MESSAGE_LIST,     message_list,     message_list,     true) \
  X(QUEUE_PURGE,      queue_purge,      queue_purge,      false) \
  X(QUEUE_REDRIVE,    queue_redrive,    queue_redrive,    false) \
  X(TRANSACTION,      transaction,      transaction,      false) \
  X(TICK,             tick,             tick,             false) /* time has passed: do what is due */ \
  X(FENCE_STEP,       fence_step,       fence_step,       false) /* a restore lifts the fence */ \
  X(TOTALS,           nothing,          totals,           true)  /* counts for /v1/status and /metrics */ \
  X(SESSION_PACK,     session_rotate,   session_pack,     true)  /* what would arrive, were it rotated */ \
  X(SESSION_ARRIVE,   session_arrive,   session_arrive,   false) \
  X(SHARD_WRITE,      shard_request,    shard_write,      false) \
  X(SHARD_READ,       shard_request,    shard_read,       true) \
  X(QUEUE_PLAN,       queue_key,        queue_plan,       true)  /* over how many partitions it is spread */ \
  X(QUEUE_RENEW,      queue_renew,      queue_renew,      false)
/* clang-format on */

#define COMMAND_AS_ENUM(kind, type, member, reads) COMMAND_##kind,
enum command_kind { COMMAND_TABLE(COMMAND_AS_ENUM) COMMAND_KIND_COUNT };
#undef COMMAND_AS_ENUM

/* When it is, as the owner's clocks say. The machine never lets either go back. */
struct stamp {
    int64_t now_ms;       /* wall time */
    int64_t lease_now_ms; /* lease time */
};

/* What makes a POST safe to repeat (API.md §1). absent key_hash: no Idempotency-Key. */
struct idempotency {
    struct text key_hash;     /* SHA-256 of method, path and key */
    struct text request_hash; /* SHA-256 of the body */
    struct text
        sealed; /* bytes stored with the answer and given back on a replay (a sealed token), or absent */
};

struct command {
    enum command_kind kind;
    struct stamp stamp;
    struct idempotency idempotency;
#define COMMAND_AS_MEMBER(kind, type, member, reads) struct type member;
    union {
        COMMAND_TABLE(COMMAND_AS_MEMBER)
    };
#undef COMMAND_AS_MEMBER
};

/* Whether a command of this kind changes nothing. */
bool command_reads(enum command_kind kind);
/* The kind's name in lower case, as tests print it. */
const char *command_name(enum command_kind kind);

#endif
