/*
 * What is remembered of leases that are no more: how they ended, and which place in line was left by a client that hung
 * up (leases.h: struct place). Both are rows of ended_leases; a place is written into reason_text, since it is needed
 * seldom and must not cost the other rows columns.
 */
#include "db/leases.h"

#include <stdio.h>

/* ---- leaving the line, and coming back ---------------------------------------------------------------------------- */

static struct text format_place(struct txn *txn, const struct lease *lease)
{
    return arena_format(txn->arena, "%lld %lld %lld", (long long)lease->seq,
                        (long long)lease->request_hash, (long long)lease->due_ms);
}

static struct place parse_place(struct text words)
{
    long long seq, hash, until_ms;
    if (!text_given(words) || sscanf(words.at, "%lld %lld %lld", &seq, &hash, &until_ms) != 3) {
        return (struct place){0, 0, 0};
    }
    return (struct place){seq, hash, until_ms};
}

void lease_leave(struct lock_work *work, struct lock *lock, const struct lease *lease)
{
    lease_end(
        work, lock, lease,
        &(struct ending){.reason = REASON_LEFT, .reason_text = format_place(work->txn, lease)});
}

int64_t lease_return(struct txn *txn, const struct lock *lock, struct text id,
                     const struct place *left, int64_t request_hash)
{
    static const char FORGET[] = "DELETE FROM ended_leases WHERE lock = ?1 AND lease = ?2";
    if (left->seq == 0) {
        return 0;
    }
    QUERY(q, txn->sql, FORGET);
    bind_int(&q, lock->id);
    bind_text(&q, id);
    txn->counters->ended_leases -= query_run(&q);
    bool same = left->request_hash == request_hash && left->until_ms > txn->now.lease_now_ms;
    return same ? left->seq : 0;
}

/* ---- finding ------------------------------------------------------------------------------------------------------ */

bool lease_ended_or_left(struct txn *txn, const struct lock *lock, struct text id,
                         struct result *result, struct place *ret_left)
{
    static const char FIND[] =
        "SELECT reason, reason_text FROM ended_leases WHERE lock = ?1 AND lease = ?2";
    *ret_left = (struct place){0, 0, 0};
    if (lock->id == 0) {
        return false;
    }
    QUERY(q, txn->sql, FIND);
    bind_int(&q, lock->id);
    bind_text(&q, id);
    if (!query_row(&q)) {
        return false;
    }
    struct text reason_text = col_text(&q, 1, txn->arena);
    if (col_int(&q, 0) == REASON_LEFT) {
        *ret_left = parse_place(reason_text);
        return false;
    }
    result->reason = col_int(&q, 0);
    result->reason_text = reason_text;
    return true;
}

bool lease_ended(struct txn *txn, const struct lock *lock, struct text id, struct result *result)
{
    struct place left;
    return lease_ended_or_left(txn, lock, id, result, &left);
}
