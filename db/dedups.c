#include "db/dedups.h"

int64_t dedup_find(struct txn *txn, const struct queue *queue, struct text dedup_id)
{
    static const char FIND[] =
        "SELECT sequence FROM dedups WHERE queue = ?1 AND dedup_id = ?2 AND drop_ms > ?3";
    QUERY(q, txn->sql, FIND);
    bind_int(&q, queue->born);
    bind_text(&q, dedup_id);
    bind_int(&q, txn->now.now_ms);
    return query_row(&q) ? col_int(&q, 0) : 0;
}

bool dedup_claim(struct txn *txn, const struct queue *queue, struct text dedup_id, int64_t sequence)
{
    static const char CLAIM[] =
        "INSERT INTO dedups (queue, dedup_id, sequence, drop_ms) VALUES (?1, ?2, ?3, ?4)"
        " ON CONFLICT DO UPDATE SET sequence = excluded.sequence, drop_ms = excluded.drop_ms"
        " WHERE drop_ms <= ?5";
    int64_t drop_ms = txn->now.now_ms + queue->config.dedup_window_ms;
    QUERY(q, txn->sql, CLAIM);
    bind_int(&q, queue->born);
    bind_text(&q, dedup_id);
    bind_int(&q, sequence);
    bind_int(&q, drop_ms);
    bind_int(&q, txn->now.now_ms);
    txn_due_wall(txn, drop_ms);
    return query_run(&q) > 0;
}

bool dedups_any(struct txn *txn, const struct queue *queue)
{
    static const char ANY[] = "SELECT 1 FROM dedups WHERE queue = ?1 AND drop_ms > ?2 LIMIT 1";
    QUERY(q, txn->sql, ANY);
    bind_int(&q, queue->born);
    bind_int(&q, txn->now.now_ms);
    return query_row(&q);
}

int64_t dedups_tick(struct txn *txn, int64_t steps)
{
    static const char DROP[] =
        "DELETE FROM dedups WHERE (queue, dedup_id) IN (SELECT queue,"
        " dedup_id FROM dedups WHERE drop_ms <= ?1 ORDER BY drop_ms LIMIT ?2)";
    static const char NEXT[] = "SELECT min(drop_ms) FROM dedups";
    QUERY(drop, txn->sql, DROP);
    bind_int(&drop, txn->now.now_ms);
    bind_int(&drop, steps);
    int64_t dropped = query_run(&drop);
    QUERY(next, txn->sql, NEXT);
    if (query_row(&next) && col_int(&next, 0) != ABSENT) {
        txn_due_wall(txn, col_int(&next, 0));
    }
    return dropped;
}
