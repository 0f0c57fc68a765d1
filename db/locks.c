#include "db/locks.h"

#define LOCK_COLUMNS                                                                               \
    "id, name, permit_limit, lock_delay_ms, configured, version, fence, delayed_until_ms,"         \
    " permits_held, holders, waiters, idle_since_ms, sweep_ms"

/* ---- rows --------------------------------------------------------------------------------------------------------- */

static void read_row(const struct query *q, struct arena *arena, struct lock *lock)
{
    *lock = (struct lock){.id = col_int(q, 0),
                          .name = text_given(lock->name) ? lock->name : col_text(q, 1, arena),
                          .limit = col_int(q, 2),
                          .lock_delay_ms = col_int(q, 3),
                          .configured = col_int(q, 4) != 0,
                          .version = col_int(q, 5),
                          .fence = col_int(q, 6),
                          .delayed_until_ms = col_int(q, 7),
                          .permits_held = col_int(q, 8),
                          .holders = col_int(q, 9),
                          .waiters = col_int(q, 10),
                          .idle_since_ms = col_int(q, 11),
                          .sweep_ms = col_int(q, 12),
                          .next = lock->next};
}

static void insert_row(struct txn *txn, const struct lock *lock)
{
    static const char INSERT[] = "INSERT INTO locks (" LOCK_COLUMNS ")"
                                 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    QUERY(q, txn->sql, INSERT);
    bind_int(&q, lock->id);
    bind_text(&q, lock->name);
    bind_int(&q, lock->limit);
    bind_int(&q, lock->lock_delay_ms);
    bind_int(&q, lock->configured);
    bind_int(&q, lock->version);
    bind_int(&q, lock->fence);
    bind_int(&q, lock->delayed_until_ms);
    bind_int(&q, lock->permits_held);
    bind_int(&q, lock->holders);
    bind_int(&q, lock->waiters);
    bind_int(&q, lock->idle_since_ms);
    bind_int(&q, lock->sweep_ms);
    query_run(&q);
}

/* What each grant and each end changes: no column of an index among it. */
static void update_use(struct txn *txn, const struct lock *lock)
{
    static const char UPDATE[] = "UPDATE locks SET version = ?2, fence = ?3, permits_held = ?4,"
                                 " holders = ?5, waiters = ?6, idle_since_ms = ?7 WHERE id = ?1";
    QUERY(q, txn->sql, UPDATE);
    bind_int(&q, lock->id);
    bind_int(&q, lock->version);
    bind_int(&q, lock->fence);
    bind_int(&q, lock->permits_held);
    bind_int(&q, lock->holders);
    bind_int(&q, lock->waiters);
    bind_int(&q, lock->idle_since_ms);
    query_run(&q);
}

static void update_rest(struct txn *txn, const struct lock *lock)
{
    static const char UPDATE[] = "UPDATE locks SET permit_limit = ?2, lock_delay_ms = ?3,"
                                 " configured = ?4, delayed_until_ms = ?5, sweep_ms = ?6"
                                 " WHERE id = ?1";
    QUERY(q, txn->sql, UPDATE);
    bind_int(&q, lock->id);
    bind_int(&q, lock->limit);
    bind_int(&q, lock->lock_delay_ms);
    bind_int(&q, lock->configured);
    bind_int(&q, lock->delayed_until_ms);
    bind_int(&q, lock->sweep_ms);
    query_run(&q);
}

/* ---- in hand ------------------------------------------------------------------------------------------------------ */

struct lock_work lock_work_begin(struct txn *txn, int64_t steps)
{
    return (struct lock_work){.txn = txn, .steps = steps};
}

static struct lock *take_in_hand(struct lock_work *work)
{
    struct lock *lock = arena_zalloc(work->txn->arena, 1, sizeof *lock);
    if (lock == NULL) {
        work->spare = (struct lock){.limit = 1};
        return &work->spare;
    }
    lock->limit = 1;
    lock->next = work->locks;
    work->locks = lock;
    return lock;
}

struct lock *lock_load(struct lock_work *work, struct text name)
{
    static const char FIND[] = "SELECT " LOCK_COLUMNS " FROM locks WHERE name = ?1";
    for (struct lock *lock = work->locks; lock != NULL; lock = lock->next) {
        if (text_equal(lock->name, name)) {
            return lock;
        }
    }
    struct lock *lock = take_in_hand(work);
    lock->name = arena_copy(work->txn->arena, name);
    QUERY(q, work->txn->sql, FIND);
    bind_text(&q, name);
    if (query_row(&q)) {
        read_row(&q, work->txn->arena, lock);
    }
    return lock;
}

struct lock *lock_load_id(struct lock_work *work, int64_t id)
{
    static const char FIND[] = "SELECT " LOCK_COLUMNS " FROM locks WHERE id = ?1";
    for (struct lock *lock = work->locks; lock != NULL; lock = lock->next) {
        if (lock->id == id) {
            return lock;
        }
    }
    struct lock *lock = take_in_hand(work);
    QUERY(q, work->txn->sql, FIND);
    bind_int(&q, id);
    if (query_row(&q)) {
        read_row(&q, work->txn->arena, lock);
    }
    return lock;
}

size_t locks_page(struct txn *txn, struct text from, struct text until, size_t limit,
                  struct lock *ret)
{
    static const char PAGE[] = "SELECT " LOCK_COLUMNS " FROM locks"
                               " WHERE name >= ?1 AND name < ?2 ORDER BY name LIMIT ?3";
    size_t count = 0;
    QUERY(q, txn->sql, PAGE);
    bind_text(&q, from);
    bind_text(&q, until);
    bind_int(&q, (int64_t)limit);
    while (query_row(&q)) {
        ret[count] = (struct lock){.limit = 1};
        read_row(&q, txn->arena, &ret[count++]);
    }
    return count;
}

void lock_make(struct lock_work *work, struct lock *lock)
{
    if (lock->id == 0) {
        lock->id = txn_next_revision(work->txn);
        lock->made = true;
        lock->sweep_ms = work->txn->now.now_ms + IDLE_LOCK_MS;
    }
}

static void store(struct txn *txn, struct lock *lock)
{
    lock->version = txn_next_revision(txn);
    if (lock->holders + lock->waiters == 0) {
        lock->idle_since_ms = txn->now.now_ms;
    }
    if (lock->made) {
        insert_row(txn, lock);
        txn->counters->locks++;
    } else {
        update_use(txn, lock);
        if (lock->reconfigured) {
            update_rest(txn, lock);
        }
    }
    if (lock->sweep_ms != ABSENT && (lock->made || lock->reconfigured)) {
        txn_due_wall(txn, lock->sweep_ms);
    }
    if (lock->delayed_until_ms > 0) {
        txn_due_lease(txn, lock->delayed_until_ms);
    }
    lock->made = lock->reconfigured = lock->changed = false;
    txn_emit(txn, EVENT_LOCK, lock->name, TEXT_ABSENT, 0);
}

void lock_work_end(struct lock_work *work)
{
    for (struct lock *lock = work->locks; lock != NULL; lock = lock->next) {
        if (lock->changed) {
            store(work->txn, lock);
        }
    }
}

/* ---- what a lock allows ------------------------------------------------------------------------------------------- */

bool lock_is_delayed(const struct lock_work *work, const struct lock *lock)
{
    return lock->delayed_until_ms > work->txn->now.lease_now_ms;
}

bool lock_admits(const struct lock *lock, int64_t mode, int64_t permits)
{
    bool exclusive_held = lock->permits_held > 0;
    if (mode == LEASE_SHARED) {
        return !exclusive_held;
    }
    return (exclusive_held || lock->holders == 0) && lock->permits_held + permits <= lock->limit;
}

void lock_delay_until(struct lock *lock, int64_t lease_ms)
{
    if (lease_ms > lock->delayed_until_ms) {
        lock->delayed_until_ms = lease_ms;
        lock->reconfigured = true;
        lock->changed = true;
    }
}

/* ---- sweeping ----------------------------------------------------------------------------------------------------- */

static void drop_row(struct txn *txn, const struct lock *lock)
{
    static const char DROP[] = "DELETE FROM locks WHERE id = ?1";
    QUERY(q, txn->sql, DROP);
    bind_int(&q, lock->id);
    query_run(&q);
    txn->counters->locks--;
    txn_emit(txn, EVENT_LOCK, lock->name, TEXT_ABSENT, 0);
}

/* A lock that is in use, or was of late, is only looked at again later; its version stays. */
static void sweep_one(struct txn *txn, struct lock *lock)
{
    bool idle = lock->holders + lock->waiters == 0 && lock->delayed_until_ms == 0;
    int64_t since_ms = idle ? lock->idle_since_ms : txn->now.now_ms;
    if (since_ms + IDLE_LOCK_MS <= txn->now.now_ms) {
        drop_row(txn, lock);
        return;
    }
    lock->sweep_ms = since_ms + IDLE_LOCK_MS;
    update_rest(txn, lock);
}

int64_t locks_sweep(struct txn *txn, int64_t limit)
{
    static const char DUE[] = "SELECT " LOCK_COLUMNS " FROM locks"
                              " WHERE sweep_ms <= ?1 ORDER BY sweep_ms LIMIT 1";
    static const char NEXT[] = "SELECT min(sweep_ms) FROM locks WHERE sweep_ms IS NOT NULL";
    int64_t swept = 0;
    for (; swept < limit; swept++) {
        struct lock lock = {.limit = 1};
        QUERY(q, txn->sql, DUE);
        bind_int(&q, txn->now.now_ms);
        if (!query_row(&q)) {
            break;
        }
        read_row(&q, txn->arena, &lock);
        query_end(&q);
        sweep_one(txn, &lock);
    }
    QUERY(next, txn->sql, NEXT);
    if (query_row(&next) && col_int(&next, 0) != ABSENT) {
        txn_due_wall(txn, col_int(&next, 0));
    }
    return swept;
}
