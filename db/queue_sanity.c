#include "db/groups.h"

struct count {
    const char *sql;
    const char *wrong;
};

/* Each query gives a row only where something is wrong. */
static const char *first_wrong(struct txn *txn, const struct count *checks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        QUERY(q, txn->sql, checks[i].sql);
        if (query_row(&q)) {
            return checks[i].wrong;
        }
    }
    return NULL;
}

static const char DEPTHS[] =
    "SELECT 1 FROM queues AS q WHERE name IS NOT NULL AND (ready, delayed, leased, dead) IS NOT"
    " (SELECT total((lane & 31) < 16 OR (lane & 31) = 18), total((lane & 31) = 16),"
    "  total((lane & 31) = 17), total(lane IS NULL) FROM messages WHERE id >> 41 = q.id)";
static const char LANES[] = "SELECT 1 FROM messages WHERE lane >> 5 <> id >> 41"
                            " OR (lane IS NULL) <> ((id >> 40) & 1)"
                            " OR ((lane & 31) < 16 AND (lane & 31) <> 9 - priority)";
static const char DUES[] = "SELECT 1 FROM messages"
                           " WHERE coalesce((lane & 31) IN (16, 17), 0) <> (due_ms IS NOT NULL)";
/* A bound that has come already is as good as any before it. */
static const char BOUNDS[] =
    "SELECT 1 FROM queues AS q, messages AS m, state AS s"
    " WHERE name IS NOT NULL AND m.id >> 41 = q.id AND"
    " ((lane = (q.id << 5 | 16) AND coalesce(wall_due_ms > max(due_ms, s.wall_ms), 1))"
    "  OR (lane = (q.id << 5 | 17) AND coalesce(lease_due_ms > max(due_ms, s.lease_ms), 1))"
    "  OR (lane IS NOT (q.id << 5 | 17) AND coalesce(wall_due_ms > max(s.wall_ms,"
    "      min(enqueued_ms + retention_ms, ifnull(expires_ms, enqueued_ms + retention_ms))), 1)))";
static const char ORPHANS[] =
    "SELECT 1 FROM messages WHERE id >> 41 NOT IN (SELECT id FROM queues)";
static const char BODIES[] =
    "SELECT 1 FROM bodies WHERE id NOT IN (SELECT id & ~(1 << 40) FROM messages WHERE body IS NULL)"
    " AND id >> 41 IN (SELECT id FROM queues WHERE name IS NOT NULL)"
    " UNION ALL SELECT 1 FROM messages WHERE body IS NULL AND"
    " id & ~(1 << 40) NOT IN (SELECT id FROM bodies)"
    " AND id >> 41 IN (SELECT id FROM queues WHERE name IS NOT NULL)";
static const char SEQUENCES[] =
    "SELECT 1 FROM messages JOIN queues ON queues.id = messages.id >> 41"
    " WHERE (messages.id & ((1 << 40) - 1)) NOT BETWEEN 1 AND sequence"
    " UNION ALL SELECT 1 FROM messages AS m JOIN messages AS d ON d.id = m.id | (1 << 40)"
    " WHERE m.lane IS NOT NULL";

static const char *wrong_totals(struct txn *txn)
{
    static const char TOTALS[] =
        "SELECT total(shard = 0), total(ready), total(delayed), total(leased),"
        " total(dead) FROM queues WHERE name IS NOT NULL";
    const struct counters *c = txn->counters;
    QUERY(q, txn->sql, TOTALS);
    return query_row(&q) && col_int(&q, 0) == c->queues && col_int(&q, 1) == c->ready &&
                   col_int(&q, 2) == c->delayed && col_int(&q, 3) == c->leased &&
                   col_int(&q, 4) == c->dead
               ? NULL
               : "the partition's counters differ from the sums over its queues";
}

const char *queues_sanity(struct txn *txn)
{
    static const struct count CHECKS[] = {
        {DEPTHS, "a queue's counters differ from its messages"},
        {LANES, "a message stands in a lane that is not of its queue, state or priority"},
        {DUES, "a message is due that should not be, or the other way"},
        {BOUNDS, "a message is due before its queue's bound"},
        {ORPHANS, "a message is of no queue"},
        {BODIES, "a body has no message, or a message no body"},
        {SEQUENCES, "a message is beyond its queue's sequence, or living and dead at once"}};
    const char *wrong = first_wrong(txn, CHECKS, sizeof CHECKS / sizeof *CHECKS);
    wrong = wrong == NULL ? groups_sanity(txn) : wrong;
    return wrong == NULL ? wrong_totals(txn) : wrong;
}

static const char TURNS[] =
    "SELECT 1 FROM messages WHERE (turn IS NOT NULL) <>"
    " (lane IS NOT NULL AND grp IS NOT NULL)"
    " OR (turn IS NOT NULL AND (lane & 31) <> 16 AND turn <> ((lane & 31) <> 18))"
    " OR (turn IS NULL AND (lane & 31) = 18)";
/* Somebody waits although there is room, and nobody is about to look. */
static const char WAITING[] =
    "SELECT 1 FROM messages AS m JOIN queues AS q ON q.id = m.id >> 41"
    " WHERE name IS NOT NULL AND turn IS NOT NULL AND regroup_id IS NULL"
    " GROUP BY q.id, grp HAVING total(turn = 0) > 0 AND total(turn = 1) < group_concurrency";

const char *groups_sanity(struct txn *txn)
{
    static const struct count CHECKS[] = {
        {TURNS, "a message has a turn that is not of its state"},
        {WAITING, "a message waits for its turn although its group has room"}};
    return first_wrong(txn, CHECKS, sizeof CHECKS / sizeof *CHECKS);
}
