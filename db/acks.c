#include "db/acks.h"

enum { BLOCK_BITS = 5, BLOCK_MASK = 31 };

void acks_flush(struct txn *txn, struct acks *acks)
{
    static const char REMEMBER[] =
        "INSERT INTO acks (block, bits, at_ms) VALUES (?1, ?2, ?3)"
        " ON CONFLICT DO UPDATE SET bits = bits | excluded.bits, at_ms = excluded.at_ms";
    if (acks->bits == 0) {
        return;
    }
    QUERY(q, txn->sql, REMEMBER);
    bind_int(&q, acks->block);
    bind_int(&q, acks->bits);
    bind_int(&q, txn->now.now_ms);
    query_run(&q);
    acks->bits = 0;
    txn_due_wall(txn, txn->now.now_ms + ACK_MEMORY_MS);
}

void acks_add(struct txn *txn, struct acks *acks, int64_t fence)
{
    if (acks->block != fence >> BLOCK_BITS) {
        acks_flush(txn, acks);
        acks->block = fence >> BLOCK_BITS;
    }
    acks->bits |= INT64_C(1) << (fence & BLOCK_MASK);
}

bool acks_know(struct txn *txn, const struct acks *acks, int64_t fence)
{
    static const char FIND[] = "SELECT bits FROM acks WHERE block = ?1 AND at_ms > ?2";
    int64_t bit = INT64_C(1) << (fence & BLOCK_MASK);
    if (acks->block == fence >> BLOCK_BITS && (acks->bits & bit) != 0) {
        return true;
    }
    QUERY(q, txn->sql, FIND);
    bind_int(&q, fence >> BLOCK_BITS);
    bind_int(&q, txn->now.now_ms - ACK_MEMORY_MS);
    return query_row(&q) && (col_int(&q, 0) & bit) != 0;
}

/*
 * Goes by the fence, not by time, for want of an index that every ack would have to write: a row of an old fence that
 * was acknowledged late keeps those behind it for as long as it is remembered itself, but no more than ACK_BLOCKS_MAX
 * in all.
 */
int64_t acks_tick(struct txn *txn, int64_t steps)
{
    static const char FORGET[] =
        "DELETE FROM acks WHERE block < coalesce((SELECT min(block) FROM (SELECT block, at_ms FROM"
        " acks ORDER BY block LIMIT ?1) WHERE at_ms > ?2 AND block > ?3),"
        " (SELECT max(block) + 1 FROM (SELECT block FROM acks ORDER BY block LIMIT ?1)))";
    static const char NEXT[] = "SELECT at_ms, block FROM acks ORDER BY block LIMIT 1";
    int64_t too_old = (txn->counters->fence >> BLOCK_BITS) - ACK_BLOCKS_MAX;
    QUERY(forget, txn->sql, FORGET);
    bind_int(&forget, steps);
    bind_int(&forget, txn->now.now_ms - ACK_MEMORY_MS);
    bind_int(&forget, too_old);
    int64_t forgotten = query_run(&forget);
    QUERY(next, txn->sql, NEXT);
    if (query_row(&next)) {
        txn_due_wall(txn, col_int(&next, 1) <= too_old ? txn->now.now_ms
                                                       : col_int(&next, 0) + ACK_MEMORY_MS);
    }
    return forgotten;
}
