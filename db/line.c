#include "db/line.h"

#include "db/aggregates.h"

/* ---- looking ------------------------------------------------------------------------------------------------------ */

/* How many of those before `seq` have a session that has ended. */
static int64_t orphans_before(struct txn *txn, const struct lock *lock, int64_t seq)
{
    static const char BOUND[] = "SELECT session FROM leases WHERE lock = ?1 AND state = 0"
                                " AND seq < ?2 AND due_ms > ?3 AND session IS NOT NULL";
    int64_t orphans = 0;
    QUERY(q, txn->sql, BOUND);
    bind_int(&q, lock->id);
    bind_int(&q, seq);
    bind_int(&q, txn->now.lease_now_ms);
    while (query_row(&q)) {
        orphans += !lease_session_alive(txn, col_borrow(&q, 0));
    }
    return orphans;
}

static int64_t count_before(struct txn *txn, const struct lock *lock, int64_t seq)
{
    static const char COUNT[] = "SELECT count(*), count(session) FROM leases"
                                " WHERE lock = ?1 AND state = 0 AND seq < ?2 AND due_ms > ?3";
    QUERY(q, txn->sql, COUNT);
    bind_int(&q, lock->id);
    bind_int(&q, seq);
    bind_int(&q, txn->now.lease_now_ms);
    if (!query_row(&q)) {
        return 0;
    }
    return col_int(&q, 0) - (col_int(&q, 1) > 0 ? orphans_before(txn, lock, seq) : 0);
}

static bool stands_last(struct txn *txn, const struct lock *lock, int64_t seq)
{
    static const char BEHIND[] =
        "SELECT 1 FROM leases WHERE lock = ?1 AND state = 0 AND seq > ?2 LIMIT 1";
    QUERY(q, txn->sql, BEHIND);
    bind_int(&q, lock->id);
    bind_int(&q, seq);
    return !query_row(&q);
}

/* Whoever has just joined the line asks this, and the line may be long: counting it for each would take minutes for the
   first ten thousand. Where no time is over, all in the line are alive, and their number is known. */
int64_t line_position(struct txn *txn, const struct lock *lock, int64_t seq)
{
    bool all_alive =
        txn->now.lease_now_ms < txn->due->lease_ms && txn->now.now_ms < txn->due->wall_ms;
    return all_alive && stands_last(txn, lock, seq) ? lock->waiters - 1
                                                    : count_before(txn, lock, seq);
}

/* ---- granting ----------------------------------------------------------------------------------------------------- */

/* Why a waiting lease is no longer to be served: its deadline is over, or the lock's limit has become too small for
   it ever to be granted. */
static bool is_past(const struct lock_work *work, const struct lock *lock,
                    const struct lease *lease)
{
    bool impossible = lease->mode == LEASE_EXCLUSIVE && lease->permits > lock->limit;
    return impossible || lease->due_ms <= work->txn->now.lease_now_ms;
}

static bool has_room(const struct lock_work *work, const struct lock *lock,
                     const struct lease *lease)
{
    return !lock_is_delayed(work, lock) && lock_admits(lock, lease->mode, lease->permits);
}

static bool stands_first(struct txn *txn, const struct lock *lock, int64_t seq)
{
    static const char FIRST[] =
        "SELECT seq FROM leases WHERE lock = ?1 AND state = 0 ORDER BY seq LIMIT 1";
    QUERY(q, txn->sql, FIRST);
    bind_int(&q, lock->id);
    return query_row(&q) && col_int(&q, 0) == seq;
}

static bool grant_set(struct lock_work *work, const struct lease *first)
{
    struct lease members[LOCK_SET_MAX];
    size_t count = lease_siblings(work->txn, first->seq, members);
    for (size_t i = 0; i < count; i++) {
        struct lock *lock = lock_load_id(work, members[i].lock);
        if (!has_room(work, lock, &members[i]) || !stands_first(work->txn, lock, members[i].seq)) {
            return false;
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct lock *lock = lock_load_id(work, members[i].lock);
        lease_grant(work, lock, &members[i]);
        lock->look = true; /* who stands behind it there may go with it */
    }
    return true;
}

/* Serves the first in line. False: it must wait. */
static bool serve(struct lock_work *work, struct lock *lock, struct lease *first)
{
    if (is_past(work, lock, first)) {
        lease_expire(work, lock, first);
        return true;
    }
    if (!lease_session_alive(work->txn, first->session)) {
        lease_end(work, lock, first,
                  &(struct ending){.reason = REASON_SESSION_ENDED, .lock_delay_ms = ABSENT});
        return true;
    }
    if (first->in_set) {
        return grant_set(work, first);
    }
    if (!has_room(work, lock, first)) {
        return false;
    }
    lease_grant(work, lock, first);
    return true;
}

static void run_line(struct lock_work *work, struct lock *lock)
{
    struct lease first;
    lock->look = false;
    while (lock->waiters > 0 && !lock_is_delayed(work, lock) &&
           lease_first_in_line(work->txn, lock, &first)) {
        if (work->steps <= 0) {
            int64_t now = work->txn->now.lease_now_ms;
            lock_delay_until(lock, now > 0 ? now : 1); /* 0 would mean none */
            return;
        }
        work->steps--;
        if (!serve(work, lock, &first)) {
            return;
        }
    }
}

static struct lock *next_to_look_at(struct lock_work *work)
{
    for (struct lock *lock = work->locks; lock != NULL; lock = lock->next) {
        if (lock->look) {
            return lock;
        }
    }
    return NULL;
}

void line_finish(struct lock_work *work)
{
    struct lock *lock;
    while ((lock = next_to_look_at(work)) != NULL) {
        run_line(work, lock);
    }
    lock_work_end(work);
}

/* ---- time --------------------------------------------------------------------------------------------------------- */

static void end_delay(const struct lock_work *work, struct lock *lock)
{
    if (lock->delayed_until_ms > 0 && !lock_is_delayed(work, lock)) {
        lock->delayed_until_ms = 0;
        lock->reconfigured = lock->changed = lock->look = true;
    }
}

static void expire_overdue(struct lock_work *work, struct lock *lock)
{
    struct lease lease;
    while (work->steps > 0 && lock->holders + lock->waiters > 0 &&
           lease_overdue(work->txn, lock, &lease)) {
        work->steps--;
        lease_expire(work, lock, &lease);
    }
}

static void end_with_session(struct lock_work *work, struct lock *lock, const struct lease *lease)
{
    if (lease->due_ms <= work->txn->now.lease_now_ms) {
        lease_expire(work, lock, lease); /* it had ended before, and was seen as expired */
        return;
    }
    lease_end(work, lock, lease,
              &(struct ending){.reason = REASON_SESSION_ENDED,
                               .lock_delay_ms = ABSENT,
                               .at_ms = work->txn->now.lease_now_ms});
}

/* Leases whose session time has ended, and no TICK has come to yet. */
static void end_orphans(struct lock_work *work, struct lock *lock)
{
    struct lease lease;
    while (work->steps > 0 && lock->holders + lock->waiters > 0 &&
           lease_orphaned(work->txn, lock, &lease)) {
        work->steps--;
        end_with_session(work, lock, &lease);
    }
}

void line_settle(struct lock_work *work, struct lock *lock)
{
    const struct txn *txn = work->txn;
    bool lease_time = txn->now.lease_now_ms >= txn->due->lease_ms;
    bool wall_time = txn->now.now_ms >= txn->due->wall_ms;
    if (!lease_time && !wall_time) {
        return; /* nothing at all is due */
    }
    if (lease_time) {
        expire_overdue(work, lock);
    }
    if (wall_time) {
        end_orphans(work, lock);
    }
    end_delay(work, lock);
    line_finish(work);
}

static int64_t expire_leases(struct txn *txn, int64_t steps)
{
    int64_t left = steps;
    struct lease lease;
    while (left > 0 && lease_next_due(txn, &lease)) {
        struct lock_work work = lock_work_begin(txn, --left);
        lease_expire(&work, lock_load_id(&work, lease.lock), &lease);
        line_finish(&work);
        left = work.steps;
    }
    return steps - left;
}

static bool next_delay(struct txn *txn, int64_t *ret_lock, int64_t *ret_until_ms)
{
    static const char FIND[] = "SELECT id, delayed_until_ms FROM locks WHERE delayed_until_ms > 0"
                               " ORDER BY delayed_until_ms LIMIT 1";
    QUERY(q, txn->sql, FIND);
    if (!query_row(&q)) {
        return false;
    }
    *ret_lock = col_int(&q, 0);
    *ret_until_ms = col_int(&q, 1);
    return true;
}

static int64_t end_delays(struct txn *txn, int64_t steps)
{
    int64_t left = steps, id, until_ms;
    while (left > 0 && next_delay(txn, &id, &until_ms) && until_ms <= txn->now.lease_now_ms) {
        struct lock_work work = lock_work_begin(txn, --left);
        end_delay(&work, lock_load_id(&work, id));
        line_finish(&work);
        left = work.steps;
    }
    return steps - left;
}

static void tell_when_due(struct txn *txn)
{
    static const char NEXT[] = "SELECT min(due_ms) FROM leases";
    int64_t id, until_ms;
    QUERY(q, txn->sql, NEXT);
    if (query_row(&q) && col_int(&q, 0) != ABSENT) {
        txn_due_lease(txn, col_int(&q, 0));
    }
    if (next_delay(txn, &id, &until_ms)) {
        txn_due_lease(txn, until_ms);
    }
}

int64_t leases_tick(struct txn *txn, int64_t steps)
{
    int64_t done = expire_leases(txn, steps);
    done += end_delays(txn, steps - done);
    done += leases_forget(txn, steps - done);
    done += locks_sweep(txn, steps - done);
    tell_when_due(txn);
    return done;
}

/* ---- the end of a session ----------------------------------------------------------------------------------------- */

void leases_end_for_session(struct txn *txn, struct text session)
{
    struct lock_work work = lock_work_begin(txn, LINE_STEPS_MAX);
    struct lease lease;
    while (lease_of_session(txn, session, &lease)) {
        end_with_session(&work, lock_load_id(&work, lease.lock), &lease);
    }
    line_finish(&work);
}

void leases_move_session(struct txn *txn, struct text from, struct text to)
{
    struct lock_work work = lock_work_begin(txn, LINE_STEPS_MAX);
    struct lease lease;
    while (!text_equal(from, to) && lease_of_session(txn, from, &lease)) {
        lease_rebind(&work, lock_load_id(&work, lease.lock), &lease, to);
    }
    line_finish(&work);
}
