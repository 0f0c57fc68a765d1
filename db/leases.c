#include "db/leases.h"

#include "db/sessions.h"

#define LEASE_COLUMNS                                                                              \
    "lock, state, lease, seq, owner, session, metadata, mode, permits, ttl_ms, lock_delay_ms,"     \
    " request_hash, fence, due_ms, collected, async, in_set, ticket, version"

/* ---- rows --------------------------------------------------------------------------------------------------------- */

static void read_row(const struct query *q, struct arena *arena, struct lease *ret)
{
    *ret = (struct lease){.lock = col_int(q, 0),
                          .state = col_int(q, 1),
                          .id = col_text(q, 2, arena),
                          .seq = col_int(q, 3),
                          .owner = col_text(q, 4, arena),
                          .session = col_text(q, 5, arena),
                          .metadata = col_text(q, 6, arena),
                          .mode = col_int(q, 7),
                          .permits = col_int(q, 8),
                          .ttl_ms = col_int(q, 9),
                          .lock_delay_ms = col_int(q, 10),
                          .request_hash = col_int(q, 11),
                          .fence = col_int(q, 12),
                          .due_ms = col_int(q, 13),
                          .collected = col_int(q, 14) != 0,
                          .async = col_int(q, 15) != 0,
                          .in_set = col_int(q, 16) != 0,
                          .ticket = col_int(q, 17),
                          .version = col_int(q, 18)};
}

static bool read_one(struct query *q, struct arena *arena, struct lease *ret)
{
    if (!query_row(q)) {
        return false;
    }
    read_row(q, arena, ret);
    query_end(q);
    return true;
}

static bool find_row_as(struct txn *txn, const struct lock *lock, int64_t state, struct text id,
                        struct lease *ret)
{
    static const char FIND[] =
        "SELECT " LEASE_COLUMNS " FROM leases WHERE lock = ?1 AND state = ?2 AND lease = ?3";
    QUERY(q, txn->sql, FIND);
    bind_int(&q, lock->id);
    bind_int(&q, state);
    bind_text(&q, id);
    return read_one(&q, txn->arena, ret);
}

/* Two simple searches, the second seldom needed, are cheaper than one with IN, for which SQLite builds a table. */
static bool find_row(struct txn *txn, const struct lock *lock, struct text id, struct lease *ret)
{
    return (lock->holders > 0 && find_row_as(txn, lock, LEASE_HELD, id, ret)) ||
           (lock->waiters > 0 && find_row_as(txn, lock, LEASE_WAITING, id, ret));
}

static void insert_row(struct txn *txn, const struct lease *lease)
{
    static const char INSERT[] = "INSERT INTO leases (" LEASE_COLUMNS ") VALUES (?1, ?2, ?3, ?4,"
                                 " ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,"
                                 " ?18, ?19)";
    QUERY(q, txn->sql, INSERT);
    bind_int(&q, lease->lock);
    bind_int(&q, lease->state);
    bind_text(&q, lease->id);
    bind_int(&q, lease->seq);
    bind_text(&q, lease->owner);
    bind_text(&q, lease->session);
    bind_text(&q, lease->metadata);
    bind_int(&q, lease->mode);
    bind_int(&q, lease->permits);
    bind_int(&q, lease->ttl_ms);
    bind_int(&q, lease->lock_delay_ms);
    bind_int(&q, lease->request_hash);
    bind_int(&q, lease->fence);
    bind_int(&q, lease->due_ms);
    bind_int(&q, lease->collected);
    bind_int(&q, lease->async);
    bind_int(&q, lease->in_set);
    bind_int(&q, lease->ticket);
    bind_int(&q, lease->version);
    query_run(&q);
}

static void delete_row(struct txn *txn, const struct lease *lease)
{
    static const char DELETE[] = "DELETE FROM leases WHERE lock = ?1 AND state = ?2 AND lease = ?3";
    QUERY(q, txn->sql, DELETE);
    bind_int(&q, lease->lock);
    bind_int(&q, lease->state);
    bind_text(&q, lease->id);
    query_run(&q);
}

/* ---- beginning ---------------------------------------------------------------------------------------------------- */

static void emit(struct txn *txn, const struct lock *lock, const struct lease *lease)
{
    txn_emit(txn, EVENT_LEASE, lock->name, lease->id, 0);
}

static void join_holders(struct lock_work *work, struct lock *lock, const struct lease *lease)
{
    lock->holders++;
    lock->permits_held += lease->mode == LEASE_EXCLUSIVE ? lease->permits : 0;
    lock->fence = lease->fence;
    work->txn->counters->held++;
}

void lease_insert(struct lock_work *work, struct lock *lock, struct lease *lease)
{
    struct txn *txn = work->txn;
    lock_make(work, lock);
    lease->lock = lock->id;
    lease->version = lease->ticket = txn_next_revision(txn);
    lease->seq = lease->seq != 0 ? lease->seq : lease->version;
    if (lease->state == LEASE_HELD) {
        lease->fence = txn_next_fence(txn);
        join_holders(work, lock, lease);
    } else {
        lock->waiters++;
        txn->counters->waiting++;
    }
    lock->changed = true;
    insert_row(txn, lease);
    txn_due_lease(txn, lease->due_ms);
    if (lease->state == LEASE_HELD) {
        emit(txn, lock,
             lease); /* nobody waits for a place in line to be there, but for what becomes of it */
    }
}

void lease_grant(struct lock_work *work, struct lock *lock, struct lease *lease)
{
    static const char GRANT[] = "UPDATE leases SET state = 1, fence = ?3, due_ms = ?4, version = ?5"
                                " WHERE lock = ?1 AND state = 0 AND lease = ?2";
    struct txn *txn = work->txn;
    int64_t claim_ms = lease->ttl_ms < CLAIM_MS ? lease->ttl_ms : CLAIM_MS;
    lease->state = LEASE_HELD;
    lease->fence = txn_next_fence(txn);
    lease->due_ms = txn->now.lease_now_ms + claim_ms;
    lease->version = txn_next_revision(txn);
    QUERY(q, txn->sql, GRANT);
    bind_int(&q, lease->lock);
    bind_text(&q, lease->id);
    bind_int(&q, lease->fence);
    bind_int(&q, lease->due_ms);
    bind_int(&q, lease->version);
    query_run(&q);
    lock->waiters--;
    txn->counters->waiting--;
    join_holders(work, lock, lease);
    lock->changed = true;
    txn_due_lease(txn, lease->due_ms);
    emit(txn, lock, lease);
}

/* ---- while it lives ----------------------------------------------------------------------------------------------- */

static void collect_set(struct txn *txn, int64_t seq)
{
    static const char COLLECT[] =
        "UPDATE leases SET collected = 1, in_set = 0, due_ms = ?2 + ttl_ms"
        " WHERE seq = ?1 AND in_set = 1";
    QUERY(q, txn->sql, COLLECT);
    bind_int(&q, seq);
    bind_int(&q, txn->now.lease_now_ms);
    query_run(&q);
}

static void collect_one(struct txn *txn, const struct lease *lease)
{
    static const char COLLECT[] = "UPDATE leases SET collected = 1, due_ms = ?3"
                                  " WHERE lock = ?1 AND state = 1 AND lease = ?2";
    QUERY(q, txn->sql, COLLECT);
    bind_int(&q, lease->lock);
    bind_text(&q, lease->id);
    bind_int(&q, lease->due_ms);
    query_run(&q);
}

bool lease_collect_now(struct lock_work *work, struct lease *lease)
{
    struct txn *txn = work->txn;
    if (lease->state != LEASE_HELD || lease->collected) {
        return false;
    }
    lease->collected = true;
    lease->due_ms = txn->now.lease_now_ms + lease->ttl_ms;
    if (lease->in_set) {
        lease->in_set = false;
        collect_set(txn, lease->seq);
    } else {
        collect_one(txn, lease);
    }
    return true;
}

void lease_wait_longer(struct lock_work *work, struct lock *lock, struct lease *lease,
                       int64_t until_ms, bool async)
{
    static const char UPDATE[] = "UPDATE leases SET due_ms = ?3, async = ?4, ticket = ?5"
                                 " WHERE lock = ?1 AND state = 0 AND lease = ?2";
    struct txn *txn = work->txn;
    if (until_ms > lease->due_ms) {
        lease->due_ms = until_ms;
    }
    lease->async = lease->async || async;
    lease->ticket = txn_next_revision(txn);
    QUERY(q, txn->sql, UPDATE);
    bind_int(&q, lock->id);
    bind_text(&q, lease->id);
    bind_int(&q, lease->due_ms);
    bind_int(&q, lease->async);
    bind_int(&q, lease->ticket);
    query_run(&q);
}

void lease_rebind(struct lock_work *work, struct lock *lock, const struct lease *lease,
                  struct text session)
{
    static const char UPDATE[] = "UPDATE leases SET session = ?4, version = ?5"
                                 " WHERE lock = ?1 AND state = ?2 AND lease = ?3";
    struct txn *txn = work->txn;
    QUERY(q, txn->sql, UPDATE);
    bind_int(&q, lease->lock);
    bind_int(&q, lease->state);
    bind_text(&q, lease->id);
    bind_text(&q, session);
    bind_int(&q, txn_next_revision(txn));
    query_run(&q);
    lock->changed = true;
    emit(txn, lock, lease);
}

/* ---- ending ------------------------------------------------------------------------------------------------------- */

static void remember(struct txn *txn, const struct lease *lease, const struct ending *ending)
{
    static const char INSERT[] =
        "INSERT INTO ended_leases (lock, lease, reason, reason_text, drop_ms)"
        " VALUES (?1, ?2, ?3, ?4, ?5)";
    QUERY(q, txn->sql, INSERT);
    bind_int(&q, lease->lock);
    bind_text(&q, lease->id);
    bind_int(&q, ending->reason);
    bind_text(&q, ending->reason_text);
    bind_int(&q, txn->now.now_ms + LEASE_TOMBSTONE_MS);
    query_run(&q);
    txn->counters->ended_leases++;
    bool too_many = txn->counters->ended_leases > LEASES_REMEMBERED_MAX;
    txn_due_wall(txn, txn->now.now_ms + (too_many ? 0 : LEASE_TOMBSTONE_MS));
}

/* The lock-delay that its end starts: 0 where its holder lets go, or never knew that it held. */
static int64_t delay_of(const struct lock *lock, const struct lease *lease,
                        const struct ending *ending)
{
    bool lost = ending->reason == REASON_EXPIRED || ending->reason == REASON_REVOKED ||
                ending->reason == REASON_SESSION_ENDED;
    if (!lost || !lease->collected) {
        return 0;
    }
    return ending->lock_delay_ms != ABSENT  ? ending->lock_delay_ms
           : lease->lock_delay_ms != ABSENT ? lease->lock_delay_ms
                                            : lock->lock_delay_ms;
}

static void end_one(struct lock_work *work, struct lock *lock, const struct lease *lease,
                    const struct ending *ending)
{
    struct txn *txn = work->txn;
    delete_row(txn, lease);
    if (lease->state == LEASE_HELD) {
        lock->holders--;
        lock->permits_held -= lease->mode == LEASE_EXCLUSIVE ? lease->permits : 0;
        txn->counters->held--;
        int64_t until_ms = ending->at_ms + delay_of(lock, lease, ending);
        if (until_ms > txn->now.lease_now_ms) {
            lock_delay_until(lock, until_ms);
        }
    } else {
        lock->waiters--;
        txn->counters->waiting--;
    }
    if (ending->reason != REASON_NONE) {
        remember(txn, lease, ending);
    }
    txn->counters->expired += ending->reason == REASON_EXPIRED;
    lock->changed = lock->look = true;
    emit(txn, lock, lease);
}

void lease_end(struct lock_work *work, struct lock *lock, const struct lease *lease,
               const struct ending *ending)
{
    if (!lease->in_set) {
        end_one(work, lock, lease, ending);
        return;
    }
    struct lease members[LOCK_SET_MAX];
    size_t count = lease_siblings(work->txn, lease->seq, members);
    for (size_t i = 0; i < count; i++) {
        end_one(work, lock_load_id(work, members[i].lock), &members[i], ending);
    }
}

void lease_expire(struct lock_work *work, struct lock *lock, const struct lease *lease)
{
    bool heard = lease->state == LEASE_WAITING && !lease->async; /* the client is told by 409 */
    struct ending ending = {.reason = heard ? REASON_NONE : REASON_EXPIRED,
                            .lock_delay_ms = ABSENT,
                            .at_ms = lease->due_ms};
    lease_end(work, lock, lease, &ending);
}

/* ---- finding ------------------------------------------------------------------------------------------------------ */

bool lease_session_alive(struct txn *txn, struct text session)
{
    return !text_given(session) || session_is_alive(txn, session);
}

bool lease_find(struct lock_work *work, struct lock *lock, struct text id, struct lease *ret)
{
    struct txn *txn = work->txn;
    if (!find_row(txn, lock, id, ret)) {
        return false;
    }
    if (ret->due_ms <= txn->now.lease_now_ms) {
        lease_expire(work, lock, ret);
        return false;
    }
    if (!lease_session_alive(txn, ret->session)) {
        lease_end(work, lock, ret,
                  &(struct ending){.reason = REASON_SESSION_ENDED,
                                   .lock_delay_ms = ABSENT,
                                   .at_ms = txn->now.lease_now_ms});
        return false;
    }
    return true;
}

enum status lease_look(struct txn *txn, const struct lock *lock, struct text id, struct lease *ret,
                       struct result *result)
{
    if (!find_row(txn, lock, id, ret)) {
        return lease_ended(txn, lock, id, result) ? STATUS_LEASE_ENDED : STATUS_LEASE_NOT_FOUND;
    }
    if (ret->due_ms <= txn->now.lease_now_ms) {
        bool no_trace = ret->state == LEASE_WAITING && !ret->async;
        result->reason = no_trace ? REASON_NONE : REASON_EXPIRED;
        return no_trace ? STATUS_LEASE_NOT_FOUND : STATUS_LEASE_ENDED;
    }
    if (!lease_session_alive(txn, ret->session)) {
        result->reason = REASON_SESSION_ENDED;
        return STATUS_LEASE_ENDED;
    }
    return STATUS_OK;
}

bool lease_first_holder(struct txn *txn, const struct lock *lock, struct lease *ret)
{
    static const char FIRST[] =
        "SELECT " LEASE_COLUMNS " FROM leases WHERE lock = ?1 AND state = 1 LIMIT 1";
    QUERY(q, txn->sql, FIRST);
    bind_int(&q, lock->id);
    return read_one(&q, txn->arena, ret);
}

bool lease_first_in_line(struct txn *txn, const struct lock *lock, struct lease *ret)
{
    static const char FIRST[] = "SELECT " LEASE_COLUMNS " FROM leases"
                                " WHERE lock = ?1 AND state = 0 ORDER BY seq LIMIT 1";
    QUERY(q, txn->sql, FIRST);
    bind_int(&q, lock->id);
    return read_one(&q, txn->arena, ret);
}

size_t lease_siblings(struct txn *txn, int64_t seq, struct lease ret[LOCK_SET_MAX])
{
    static const char ALL[] = "SELECT " LEASE_COLUMNS " FROM leases"
                              " WHERE seq = ?1 AND in_set = 1 ORDER BY lock LIMIT ?2";
    size_t count = 0;
    QUERY(q, txn->sql, ALL);
    bind_int(&q, seq);
    bind_int(&q, LOCK_SET_MAX);
    while (query_row(&q)) {
        read_row(&q, txn->arena, &ret[count++]);
    }
    return count;
}

/* By the index of what is due, which is short where the TICKs keep up, rather than by the lock's leases, which may be
   many. */
bool lease_overdue(struct txn *txn, const struct lock *lock, struct lease *ret)
{
    static const char FIND[] = "SELECT " LEASE_COLUMNS " FROM leases"
                               " WHERE due_ms <= ?1 AND +lock = ?2 ORDER BY due_ms LIMIT 1";
    QUERY(q, txn->sql, FIND);
    bind_int(&q, txn->now.lease_now_ms);
    bind_int(&q, lock->id);
    return read_one(&q, txn->arena, ret);
}

bool lease_orphaned(struct txn *txn, const struct lock *lock, struct lease *ret)
{
    static const char BOUND[] =
        "SELECT " LEASE_COLUMNS " FROM leases WHERE lock = ?1 AND session IS NOT NULL";
    QUERY(q, txn->sql, BOUND);
    bind_int(&q, lock->id);
    while (query_row(&q)) {
        read_row(&q, txn->arena, ret);
        if (!lease_session_alive(txn, ret->session)) {
            return true;
        }
    }
    return false;
}

bool lease_of_session(struct txn *txn, struct text session, struct lease *ret)
{
    static const char FIND[] = "SELECT " LEASE_COLUMNS " FROM leases WHERE session = ?1 LIMIT 1";
    QUERY(q, txn->sql, FIND);
    bind_text(&q, session);
    return read_one(&q, txn->arena, ret);
}

bool lease_next_due(struct txn *txn, struct lease *ret)
{
    static const char FIND[] =
        "SELECT " LEASE_COLUMNS " FROM leases WHERE due_ms <= ?1 ORDER BY due_ms LIMIT 1";
    QUERY(q, txn->sql, FIND);
    bind_int(&q, txn->now.lease_now_ms);
    return read_one(&q, txn->arena, ret);
}

size_t lease_page(struct txn *txn, const struct lock *lock, int64_t state, size_t limit,
                  struct lease *ret)
{
    static const char HOLDERS[] = "SELECT " LEASE_COLUMNS " FROM leases"
                                  " WHERE lock = ?1 AND state = 1 AND due_ms > ?2 LIMIT ?3";
    static const char LINE[] = "SELECT " LEASE_COLUMNS " FROM leases WHERE lock = ?1 AND state = 0"
                               " AND due_ms > ?2 ORDER BY seq LIMIT ?3";
    size_t count = 0;
    QUERY(q, txn->sql, state == LEASE_HELD ? HOLDERS : LINE);
    bind_int(&q, lock->id);
    bind_int(&q, txn->now.lease_now_ms);
    bind_int(&q, (int64_t)limit);
    while (query_row(&q)) {
        read_row(&q, txn->arena, &ret[count++]);
    }
    return count;
}

struct overdue lease_count_overdue(struct txn *txn, const struct lock *lock)
{
    static const char COUNT[] =
        "SELECT sum(state = 1), sum(state = 0), max(CASE WHEN state = 1 AND collected = 1"
        " THEN due_ms + ifnull(lock_delay_ms, ?3) ELSE 0 END) FROM leases"
        " WHERE due_ms <= ?1 AND +lock = ?2";
    QUERY(q, txn->sql, COUNT);
    bind_int(&q, txn->now.lease_now_ms);
    bind_int(&q, lock->id);
    bind_int(&q, lock->lock_delay_ms);
    if (!query_row(&q) || col_int(&q, 2) == ABSENT) {
        return (struct overdue){0, 0, 0};
    }
    return (struct overdue){col_int(&q, 0), col_int(&q, 1), col_int(&q, 2)};
}

/* ---- showing ------------------------------------------------------------------------------------------------------ */

struct lease_view lease_view_of(const struct lease *lease, const struct lock *lock,
                                int64_t position)
{
    return (struct lease_view){.lease = lease->id,
                               .name = lock->name,
                               .owner = lease->owner,
                               .session = lease->session,
                               .metadata = lease->metadata,
                               .mode = lease->mode,
                               .permits = lease->permits,
                               .state = lease->state,
                               .fence = lease->fence,
                               .ttl_ms = lease->ttl_ms,
                               .lease_expires_ms = lease->due_ms,
                               .position = position,
                               .ticket = lease->ticket,
                               .version = lease->version,
                               .uncollected = lease->state == LEASE_HELD && !lease->collected};
}

/* ---- forgetting --------------------------------------------------------------------------------------------------- */

/* Rows lie in the order they ended, and all are kept equally long: the first are the first to be forgotten. */
static int64_t forget_first(struct txn *txn, int64_t until_ms, int64_t limit)
{
    static const char FORGET[] = "DELETE FROM ended_leases WHERE n IN"
                                 " (SELECT n FROM ended_leases ORDER BY n LIMIT ?2)"
                                 " AND drop_ms <= ?1";
    if (limit <= 0) {
        return 0;
    }
    QUERY(q, txn->sql, FORGET);
    bind_int(&q, until_ms);
    bind_int(&q, limit);
    int64_t forgotten = query_run(&q);
    txn->counters->ended_leases -= forgotten;
    return forgotten;
}

/* When the first is to be forgotten; INT64_MAX: there is none. */
static int64_t first_drop_ms(struct txn *txn)
{
    static const char FIRST[] = "SELECT drop_ms FROM ended_leases ORDER BY n LIMIT 1";
    QUERY(q, txn->sql, FIRST);
    return query_row(&q) ? col_int(&q, 0) : INT64_MAX;
}

int64_t leases_forget(struct txn *txn, int64_t limit)
{
    int64_t too_many = txn->counters->ended_leases - LEASES_REMEMBERED_MAX;
    int64_t forgotten = forget_first(txn, INT64_MAX, too_many < limit ? too_many : limit);
    if (first_drop_ms(txn) <= txn->now.now_ms) {
        forgotten += forget_first(txn, txn->now.now_ms, limit - forgotten);
    }
    bool still_too_many = txn->counters->ended_leases > LEASES_REMEMBERED_MAX;
    txn_due_wall(txn, still_too_many ? txn->now.now_ms : first_drop_ms(txn));
    return forgotten;
}
