#include "db/lease_answers.h"

#include "db/aggregates.h"

bool wish_is_free(const struct lock_work *work, const struct wish *wish)
{
    const struct lock *lock = wish->lock;
    return lock->waiters == 0 && !lock_is_delayed(work, lock) &&
           lock_admits(lock, wish->mode, wish->permits);
}

bool wishes_may_wait(struct lock_work *work, struct text owner, const struct wish *wishes,
                     size_t count, bool wants_to, struct result *result)
{
    for (size_t i = 0; i < count && !wants_to; i++) {
        if (!wish_is_free(work, &wishes[i])) {
            answer_held(work->txn, wishes[i].lock, result);
            return false;
        }
    }
    struct cycle cycle;
    if (deadlock_find(work->txn, owner, wishes, count, &cycle)) {
        result->status = STATUS_DEADLOCK;
        result->shape = SHAPE_CYCLE;
        result->cycle = cycle;
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (wishes[i].lock->waiters >= LOCK_WAITERS_MAX) {
            result->status = STATUS_TOO_MANY_WAITERS;
            result->field = wishes[i].lock->name;
            return false;
        }
    }
    return true;
}

int64_t lease_wait_until(const struct txn *txn, int64_t wait_ms, bool async)
{
    return txn->now.lease_now_ms + (wait_ms <= 0 && async ? WAIT_MS_MAX : wait_ms);
}

void lease_drop_abandoned(struct lock_work *work, struct lock *lock, const struct lease *lease,
                          int64_t ticket)
{
    bool known = lease->state == LEASE_HELD && lease->collected;
    if (!known && !lease->async && lease->ticket == ticket) {
        lease_leave(work, lock, lease);
    }
}

/* Why the session cannot hold a lease, in the words of its own problem. */
static void refuse_session(struct txn *txn, struct text session, struct result *result)
{
    struct session_key key = {.id = session, .condition = UNCONDITIONAL};
    struct result found = {.status = STATUS_OK, .stamp = txn->now};
    session_get(txn, &key, &found);
    result->status = STATUS_SESSION_ENDED;
    result->reason = REASON_ROTATED; /* it leads on to another session, but is none any more */
    result->field = TEXT("session");
    if (found.status != STATUS_OK) {
        result->status = found.status;
        result->reason = found.reason;
    }
}

bool answer_session(struct txn *txn, struct text session, struct text name, struct result *result)
{
    if (!text_given(session)) {
        return true;
    }
    if (!text_equal(text_routing_key(session), text_routing_key(name))) {
        result->status = STATUS_CROSS_PARTITION;
        result->field = TEXT("session");
        return false;
    }
    if (!lease_session_alive(txn, session)) {
        refuse_session(txn, session, result);
        return false;
    }
    return true;
}

void answer_lease(struct txn *txn, const struct lock *lock, const struct lease *lease,
                  struct result *result)
{
    int64_t position = lease->state == LEASE_WAITING ? line_position(txn, lock, lease->seq) : 0;
    result->shape = SHAPE_LEASE;
    result->lease = lease_view_of(lease, lock, position);
}

/* When it makes sense to ask again: the soonest that a holder's time or a lock-delay is over. */
static int64_t retry_after_ms(const struct txn *txn, const struct lock_view *lock)
{
    int64_t soonest = lock->delayed_for_ms > 0 ? lock->delayed_for_ms : INT64_MAX;
    for (size_t i = 0; i < lock->holders.count; i++) {
        int64_t left_ms = lock->holders.at[i].lease_expires_ms - txn->now.lease_now_ms;
        soonest = left_ms < soonest ? left_ms : soonest;
    }
    return soonest < 1 || soonest == INT64_MAX ? 1 : soonest;
}

void answer_held(struct txn *txn, const struct lock *lock, struct result *result)
{
    result->status = STATUS_LOCK_HELD;
    result->shape = SHAPE_REFUSAL;
    result->refusal.lock = lock_view_of(txn, lock);
    result->refusal.position = result->refusal.lock.waiter_count;
    result->retry_after_ms = retry_after_ms(txn, &result->refusal.lock);
}
