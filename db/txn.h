/*
 * What a command runs in: the open SQLite transaction of its partition, the instant it is, the partition's counters,
 * and the list of what it changed. Aggregates (sessions, locks, queues …) take a txn and nothing else from around them.
 *
 * A read runs in a txn too, on a read-only connection, with counters it may look at and must not change.
 */
#ifndef RINGHOLD_DB_TXN_H
#define RINGHOLD_DB_TXN_H

#include "db/result.h"
#include "db/sql.h"

/*
 * The partition's counters: one row of table `state`, in memory while the partition is open, written with each batch.
 * X(name). fence and revision only grow; the rest count rows, so that nobody has to.
 */
#define COUNTER_TABLE(X)                                                                           \
    X(wall_ms)  /* the latest wall time the state has seen */                                      \
    X(lease_ms) /* the latest lease time the state has seen */                                     \
    X(fence)    /* the last fence given: by a grant or a delivery */                               \
    X(revision) /* the last version given to a lock, a lease or a queue */                         \
    X(sessions) /* live ones, those expired but not yet swept among them */                        \
    X(locks)                                                                                       \
    X(held)    /* leases that hold */                                                              \
    X(waiting) /* leases in line */                                                                \
    X(ended_leases)                                                                                \
    X(queues)                                                                                      \
    X(ready)                                                                                       \
    X(delayed)                                                                                     \
    X(leased)                                                                                      \
    X(dead)                                                                                        \
    X(idempotency_records)                                                                         \
    X(expired)       /* ended by time since the partition was made: sessions, leases, messages */  \
    X(applied_index) /* of the last entry of the replicated log in it; 0 where there is no log */  \
    X(applied_term)

struct counters {
#define COUNTER_AS_MEMBER(name) int64_t name;
    COUNTER_TABLE(COUNTER_AS_MEMBER)
#undef COUNTER_AS_MEMBER
};

/* The earliest instants at which a TICK has something to do; INT64_MAX: none. */
struct due {
    int64_t wall_ms;
    int64_t lease_ms;
};
#define DUE_NEVER ((struct due){INT64_MAX, INT64_MAX})
/* How long until then, negative when it is past; INT64_MAX: there is none. */
int64_t due_in_ms(struct due due, struct stamp now);

struct events {
    struct event *at;
    size_t count;
    size_t room;
};

/* Whom a command on a queue that is spread over several partitions speaks for (db/shards.h). */
enum scope {
    SCOPE_QUEUE, /* for all of the queue: such a queue has more than this partition can tell */
    SCOPE_TRANSACTION, /* for what the partition has of it: nothing else can be in the transaction */
    SCOPE_SHARD        /* for this shard, by one who asks the others too */
};

struct session_memo;

struct txn {
    struct sql *sql;
    struct session_memo *memo; /* NULL for who only reads */
    struct arena *arena;       /* what results and events are made in */
    struct stamp now;          /* both clocks, never behind what the state has seen */
    struct counters *counters;
    struct due *due;
    struct events *events;
    enum scope scope;
    struct arena *events_arena; /* events outlive the request: they are the batch's */
};

/* The next fence; grows with every call, never goes back. */
int64_t txn_next_fence(struct txn *txn);
/* The next version for a lock, a lease or a queue. */
int64_t txn_next_revision(struct txn *txn);

/* Something becomes due then: the next TICK runs no later. */
void txn_due_wall(struct txn *txn, int64_t wall_ms);
void txn_due_lease(struct txn *txn, int64_t lease_ms);

/* Tells whoever waits for it that something changed. The texts are copied. */
void txn_emit(struct txn *txn, enum event_kind kind, struct text name, struct text detail,
              int64_t count);

/*
 * A point to return to, for commands that turn out to fail after they have written. Savepoints nest; each ends by
 * exactly one of keep and undo.
 */
struct savepoint {
    struct counters counters;
    size_t events;
};
struct savepoint txn_savepoint(struct txn *txn);
void txn_keep(struct txn *txn);
void txn_undo(struct txn *txn, const struct savepoint *savepoint);

/*
 * Checks a condition against a resource: `exists`, and if so at `version`. OK when it holds; else VERSION_MISMATCH,
 * with the version in the result.
 */
enum status txn_check(const struct condition *condition, bool exists, int64_t version,
                      struct result *result);

#endif
