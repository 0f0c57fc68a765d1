/*
 * The model: what Ringhold promises, kept in plain arrays and decided by plain loops, with no SQL, no index and no
 * counter that could be forgotten. The random histories run beside it (run.h).
 *
 * It takes each command together with the machine's answer, says what the answer should have been, and compares. What
 * the promise leaves open (which number a fence or a version is) it learns from the answer, and holds the machine to
 * what must be true of it: fences and versions only grow, and change when something changes, and only then.
 *
 * Time does things at its own pace here as there: what is due takes effect when a command comes to it, or with a TICK.
 * The model keeps to the rule of the headers: a command brings what it works on up to now, and a TICK everything.
 *
 * Texts are borrowed from the commands and from the model's arena, which live as long as the model. A copy of the
 * struct is a snapshot.
 */
#ifndef RINGHOLD_TESTS_HISTORY_MODEL_H
#define RINGHOLD_TESTS_HISTORY_MODEL_H

#include "db/arena.h"
#include "db/result.h"
#include "db/txn.h"

/* An integer the model does not foretell. */
#define UNKNOWN (INT64_MIN + 1)

/* A number that only grows: a version, a fence. */
struct grown {
    int64_t known;  /* as it was last seen, 0: never */
    int64_t before; /* what was seen before that */
    int64_t floor;  /* of one that has changed: it is now above this */
    bool changed;   /* since it was seen */
};

struct m_session {
    struct text id, subject, token_hash, successor, data;
    int64_t version, created_ms, last_seen_ms, idle_ttl_ms, max_ttl_ms;
    enum end_reason ended; /* written down; NONE although its time is over: nobody came by since */
    int64_t ended_ms;      /* when its tombstone began to count */
    int64_t grace_until_ms;
};

struct m_lock {
    struct text name;
    bool there;      /* used or configured, and not forgotten since */
    bool configured; /* by LOCK_PUT */
    int64_t limit, lock_delay_ms;
    int64_t delayed_until_ms; /* lease time; 0: no lock-delay to wait for */
    int64_t idle_since_ms;    /* wall time */
    struct grown version, fence;
    bool changed; /* within this command */
    bool look;    /* its line may move */
};

struct m_lease {
    size_t lock; /* index in locks */
    enum lease_state state;
    struct text id, owner, session, metadata;
    struct text request; /* all that a replay must repeat, as one text */
    int64_t mode, permits, ttl_ms, lock_delay_ms, due_ms;
    int64_t set;     /* members that stand and fall together; 0: alone */
    int64_t place;   /* in line: the n-th to come, of all; the members of a set have one */
    int64_t granted; /* the n-th grant of all */
    bool collected, async;
    struct grown version, ticket, fence;
};

struct m_ended {
    size_t lock;
    struct text lease, reason_text;
    enum end_reason reason;
    int64_t drop_ms;
    struct m_lease left; /* as it was: a place that was left is found again by its request */
};

struct m_queue {
    struct text name;
    bool there;
    int64_t born; /* tells it from an earlier queue of the same name */
    struct queue_config config;
    int64_t created_ms, sequence, tokens_milli, filled_ms;
    bool regroup; /* group_concurrency was raised, and nobody came by since */
    bool changed; /* within this command */
    struct grown version;
    int64_t config_version; /* UNKNOWN: not seen yet */
};

enum m_state { M_READY, M_BLOCKED, M_DELAYED, M_LEASED, M_DEAD };

struct m_message {
    size_t queue;
    int64_t sequence;
    enum m_state state;
    struct text body, attributes, group, reason, consumer;
    int64_t priority, body_bytes, due_ms, enqueued_ms, expires_ms, fence, attempt, failures;
    bool turn; /* of those with a group */
};

struct m_dedup {
    int64_t born; /* of the queue */
    struct text id;
    int64_t sequence, drop_ms;
};
struct m_ack {
    int64_t fence, at_ms;
};
struct m_receipt {
    size_t queue;
    int64_t sequence, fence;
};
struct m_record { /* of idempotency */
    struct text key_hash, request_hash, sealed;
    struct text answer; /* encoded */
    int64_t drop_ms;
};

enum {
    M_SESSIONS = 600,
    M_LOCKS = 32,
    M_LEASES = 300,
    M_ENDED = 1200,
    M_QUEUES = 16,
    M_MESSAGES = 900,
    M_DEDUPS = 600,
    M_ACKS = 1200,
    M_RECEIPTS = 128,
    M_RECORDS = 300,
    M_NEWS = 400
};

/* Arrays keep the order in which things came. */
struct model {
    struct arena *arena;   /* of what the model keeps */
    struct arena *scratch; /* of one step; whoever steps may clear it between */
    struct stamp now;
    struct m_session sessions[M_SESSIONS];
    struct m_lock locks[M_LOCKS];
    struct m_lease leases[M_LEASES];
    struct m_ended ended[M_ENDED];
    struct m_queue queues[M_QUEUES];
    struct m_message messages[M_MESSAGES];
    struct m_dedup dedups[M_DEDUPS];
    struct m_ack acks[M_ACKS];
    struct m_receipt receipts[M_RECEIPTS]; /* the latest deliveries, a ring */
    struct m_record records[M_RECORDS];
    struct event news[M_NEWS]; /* what whoever waits must be told of this batch */
    size_t session_count, lock_count, lease_count, ended_count, queue_count, message_count;
    size_t dedup_count, ack_count, receipt_count, record_count, news_count;
    int64_t grants, sets, births, places; /* numbers given */
    int64_t expired;                      /* ended by time */
    int64_t fence_floor;                  /* no fence given from now on is this one or below */
    int64_t revision_floor;               /* no version of a lock, lease or queue, either */
    const struct m_lease *asked; /* the wishes that were refused last, because of a deadlock */
    size_t asked_count;
    bool full;       /* something did not fit: the history ends here */
    char wrong[600]; /* the first disagreement; empty: none */
};

/* A model of a new partition. */
void model_begin(struct model *model, struct arena *arena, struct arena *scratch);

/*
 * Carries the command out on the model, as the machine has done, and compares. `got` is NULL for an operation of a
 * transaction that was undone later: it succeeded, more is not known. Returns NULL, or the disagreement.
 */
const char *model_step(struct model *model, const struct command *command,
                       const struct result *got);

/* A TICK, and as many more as it takes until nothing is due. */
void model_tick(struct model *model);

/* The instants at which time alone changes something, so that the machine must plan a TICK no later than the first. */
enum { M_INSTANTS = 6000 };
struct instants {
    int64_t wall_ms[M_INSTANTS], lease_ms[M_INSTANTS];
    size_t wall_count, lease_count;
};
void model_instants(const struct model *model, struct instants *ret);

/* The counters as they must be; fence and revision are not foretold. */
struct counters model_counters(const struct model *model);

/* ---- between the model's files -------------------------------------------------------------------------------- */

/* Notes a disagreement, unless one is noted. */
void model_complain(struct model *model, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A copy to go back to. Going back keeps the clocks and what was complained of. */
struct model *model_snapshot(const struct model *model);
void model_restore(struct model *model, const struct model *before);
void model_discard(struct model *before);
/* Room for one more at the end of an array of `max`; else the model is full, and the last one is given again. */
size_t model_append(struct model *model, size_t *count, size_t max);

/* It has changed: now above all that was seen. */
void grown_change(struct grown *number, int64_t floor);
int64_t grown_want(const struct grown *number);
/* It was seen; complains where it has not grown as it should. */
void grown_learn(struct model *model, struct grown *number, int64_t seen, const char *what);

/* Whether the name begins so; as every name does where the prefix is absent. */
bool model_begins(struct text name, struct text prefix);
/* Somebody may wait for this, and must be told. */
void model_tell(struct model *model, enum event_kind kind, struct text name, struct text detail);

/* RFC 7396, in the model's arena. */
struct text model_merge(struct model *model, struct text base, struct text patch);

/* Checks a condition; false, with VERSION_MISMATCH in `want`, where it fails. */
bool model_condition(const struct condition *condition, bool exists, const struct grown *version,
                     struct result *want);

/* Sessions. */
void model_session(struct model *model, const struct command *command, struct result *want);
void sessions_pass(struct model *model);
bool session_lives(const struct model *model, struct text id);

/* Locks. A session has ended, or goes on under another id. */
void model_lock(struct model *model, const struct command *command, struct result *want);
void learn_lease(struct model *model, const struct lease_view *seen);
void learn_lock(struct model *model, const struct lock_view *seen);
void locks_pass(struct model *model);
void locks_end_session(struct model *model, struct text session);
void locks_move_session(struct model *model, struct text from, struct text to);
/* Each owner must wait for the lock, which the next is in the way of. */
void learn_cycle(struct model *model, const struct cycle *seen);

/* Queues. `got` settles what is left open: whether an old ack is still remembered. */
void model_queue(struct model *model, const struct command *command, const struct result *got,
                 struct result *want);
void learn_queue(struct model *model, const struct queue_view *seen);
void learn_received(struct model *model, struct text queue, const struct message_views *seen);
void queues_pass(struct model *model);

/* Helpers of the generator. */
struct m_lock *model_lock_named(struct model *model, struct text name);
struct m_queue *model_queue_named(struct model *model, struct text name);

#endif
