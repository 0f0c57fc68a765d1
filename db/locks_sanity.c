/*
 * The invariants of locks and leases, as queries that find what breaks them.
 */
#include "db/locks.h"

#define NOW                                                                                        \
    "WITH now (lease_ms, held, waiting, locks, ended, fence)"                                      \
    " AS (VALUES (?1, ?2, ?3, ?4, ?5, ?6)) "
#define COUNTS(column, rows)                                                                       \
    NOW "SELECT 1 FROM now WHERE now." column " <> (SELECT count(*) FROM " rows ")"

struct invariant {
    const char *broken; /* what is wrong when the query gives a row */
    const char *query;  /* of the tables and of `now`: lease time and counters */
};

#define PER_LOCK                                                                                   \
    NOW "SELECT 1 FROM locks AS k LEFT JOIN (SELECT lock, sum(state = 1) AS held,"                 \
        " sum(state = 0) AS waiting, sum(CASE WHEN state = 1 AND mode = 0 THEN permits ELSE 0 "    \
        "END)"                                                                                     \
        " AS permits, sum(state = 1 AND mode = 1) AS shared, max(fence) AS fence"                  \
        " FROM leases GROUP BY lock) AS l ON l.lock = k.id WHERE "

/* A lease that stands first in line although it could be granted, with no mark for the TICK. */
#define FORGOTTEN_HEAD                                                                             \
    NOW "SELECT 1 FROM now, locks AS k JOIN leases AS l ON l.lock = k.id AND l.state = 0"          \
        " WHERE k.delayed_until_ms = 0 AND l.in_set = 0 AND l.due_ms > now.lease_ms"               \
        " AND l.seq = (SELECT min(seq) FROM leases WHERE lock = k.id AND state = 0)"               \
        " AND CASE l.mode WHEN 1 THEN k.permits_held = 0 ELSE (k.permits_held > 0 OR k.holders = " \
        "0)"                                                                                       \
        " AND k.permits_held + l.permits <= k.permit_limit END"

static const struct invariant INVARIANTS[] = {
    {"the counter held is not their number", COUNTS("held", "leases WHERE state = 1")},
    {"the counter waiting is not their number", COUNTS("waiting", "leases WHERE state = 0")},
    {"the counter locks is not their number", COUNTS("locks", "locks")},
    {"the counter ended_leases is not their number", COUNTS("ended", "ended_leases")},
    {"a lock's holders are not its leases that hold", PER_LOCK "k.holders <> ifnull(l.held, 0)"},
    {"a lock's waiters are not its leases in line", PER_LOCK "k.waiters <> ifnull(l.waiting, 0)"},
    {"a lock's permits_held are not those held", PER_LOCK "k.permits_held <> ifnull(l.permits, 0)"},
    {"an exclusive and a shared lease hold one lock", PER_LOCK "l.permits > 0 AND l.shared > 0"},
    {"a lock's fence is behind a holder's", PER_LOCK "l.fence > k.fence"},
    {"a lock's fence is before the partition's",
     NOW "SELECT 1 FROM now, locks AS k WHERE k.fence > now.fence"},
    {"a lease's lock is not there",
     NOW "SELECT 1 FROM leases WHERE lock NOT IN (SELECT id FROM locks)"},
    {"a lease is both alive and ended", NOW
     "SELECT 1 FROM leases AS l JOIN ended_leases AS e ON e.lock = l.lock AND e.lease = l.lease"},
    {"a lease id is on a lock twice",
     NOW "SELECT 1 FROM leases GROUP BY lock, lease HAVING count(*) > 1"},
    {"two leases have one place in a line",
     NOW "SELECT 1 FROM leases GROUP BY lock, seq HAVING count(*) > 1"},
    {"a set is granted in part",
     NOW "SELECT 1 FROM leases WHERE in_set = 1 GROUP BY seq HAVING min(state) <> max(state)"},
    {"a collected lease is still tied to its set",
     NOW "SELECT 1 FROM leases WHERE in_set = 1 AND collected = 1"},
    {"a waiting lease is collected", NOW "SELECT 1 FROM leases WHERE state = 0 AND collected = 1"},
    {"the head of a line waits for nothing", FORGOTTEN_HEAD},
    {"a configured lock would be swept, or another would not",
     NOW "SELECT 1 FROM locks WHERE configured = (sweep_ms IS NOT NULL)"},
};

const char *locks_sanity(struct txn *txn)
{
    const struct counters *c = txn->counters;
    const int64_t bound[] = {txn->now.lease_now_ms, c->held, c->waiting, c->locks,
                             c->ended_leases,       c->fence};
    for (size_t i = 0; i < sizeof INVARIANTS / sizeof INVARIANTS[0]; i++) {
        QUERY(q, txn->sql, INVARIANTS[i].query);
        for (size_t n = 0; n < sizeof bound / sizeof bound[0]; n++) {
            bind_int(&q, bound[n]);
        }
        if (query_row(&q)) {
            return INVARIANTS[i].broken;
        }
    }
    return NULL;
}
