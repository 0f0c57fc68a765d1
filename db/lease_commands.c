/*
 * The commands about one lease: acquiring, collecting, abandoning, looking at, patching, renewing, releasing it.
 * leases.h has the table of what each does in each state.
 */
#include "db/aggregates.h"
#include "db/lease_answers.h"

#include <xxhash.h>

/* ---- acquiring ---------------------------------------------------------------------------------------------------- */

/* What makes two requests for one lease the same: all but how long they wait. The session is compared by itself, as a
   rotation changes it. */
static int64_t request_hash(const struct lease_acquire *c)
{
    const int64_t numbers[] = {c->mode, c->permits, c->ttl_ms, c->lock_delay_ms};
    XXH64_hash_t hash = XXH3_64bits(c->owner.at, c->owner.len);
    hash = XXH3_64bits_withSeed(c->metadata.at, c->metadata.len, hash);
    return (int64_t)XXH3_64bits_withSeed(numbers, sizeof numbers, hash);
}

static void replay(struct lock_work *work, struct lock *lock, struct lease *lease,
                   const struct lease_acquire *c, struct result *result)
{
    if (lease->request_hash != request_hash(c) || !text_equal(lease->session, c->session)) {
        result->status = STATUS_LEASE_MISMATCH;
        return;
    }
    if (lease->state == LEASE_WAITING && c->wait_ms == 0 && !c->async) {
        answer_held(work->txn, lock, result); /* it would not wait; its place stays */
        result->refusal.position = line_position(work->txn, lock, lease->seq);
        return;
    }
    if (lease->state == LEASE_WAITING) {
        result->status = STATUS_WAITING;
        lease_wait_longer(work, lock, lease, lease_wait_until(work->txn, c->wait_ms, c->async),
                          c->async);
    }
    lease_collect_now(work, lease);
    answer_lease(work->txn, lock, lease, result);
}

static struct lease lease_from(struct txn *txn, const struct lease_acquire *c)
{
    return (struct lease){.id = arena_copy(txn->arena, c->lease),
                          .owner = arena_copy(txn->arena, c->owner),
                          .session = arena_copy(txn->arena, c->session),
                          .metadata = arena_copy(txn->arena, c->metadata),
                          .mode = c->mode,
                          .permits = c->permits,
                          .ttl_ms = c->ttl_ms,
                          .lock_delay_ms = c->lock_delay_ms,
                          .request_hash = request_hash(c),
                          .async = c->async};
}

static bool may_ask(struct lock_work *work, const struct lock *lock, const struct lease_acquire *c,
                    struct result *result)
{
    if (c->mode == LEASE_EXCLUSIVE && c->permits > lock->limit) {
        result->status = STATUS_PERMITS_EXCEED_LIMIT;
        result->field = TEXT("permits");
        return false;
    }
    return answer_session(work->txn, c->session, lock->name, result);
}

/* Who is back in an old place may stand before others, and even be the next. */
static void answer_back(struct lock_work *work, struct lock *lock, struct lease *lease,
                        struct result *result)
{
    lock->look = true;
    line_finish(work);
    if (lease_find(work, lock, lease->id, lease) && lease_collect_now(work, lease)) {
        result->status = STATUS_CREATED;
    }
    answer_lease(work->txn, lock, lease, result);
}

/* Stands the lease in line, unless there is a reason not to. */
static void stand_in_line(struct lock_work *work, struct lock *lock, struct lease *lease,
                          const struct lease_acquire *c, const struct place *left,
                          struct result *result)
{
    struct wish wish = {lock, c->mode, c->permits};
    if (!wishes_may_wait(work, c->owner, &wish, 1, c->wait_ms > 0 || c->async, result)) {
        return;
    }
    lease->state = LEASE_WAITING;
    lease->due_ms = lease_wait_until(work->txn, c->wait_ms, c->async);
    lease->seq = lease_return(work->txn, lock, lease->id, left, lease->request_hash);
    bool is_back = lease->seq != 0;
    lease_insert(work, lock, lease);
    result->status = STATUS_WAITING;
    result->shape = SHAPE_LEASE;
    result->lease = lease_view_of(lease, lock, lock->waiters - 1);
    if (is_back) {
        answer_back(work, lock, lease, result);
    }
}

static void acquire_anew(struct lock_work *work, struct lock *lock, const struct lease_acquire *c,
                         const struct place *left, struct result *result)
{
    if (!may_ask(work, lock, c, result)) {
        return;
    }
    struct lease lease = lease_from(work->txn, c);
    if (!wish_is_free(work, &(struct wish){lock, c->mode, c->permits})) {
        stand_in_line(work, lock, &lease, c, left, result);
        return;
    }
    lease.state = LEASE_HELD;
    lease.collected = true;
    lease.due_ms = work->txn->now.lease_now_ms + c->ttl_ms;
    lease_return(work->txn, lock, lease.id, left, lease.request_hash);
    lease_insert(work, lock, &lease);
    result->status = STATUS_CREATED;
    answer_lease(work->txn, lock, &lease, result);
}

void lease_acquire(struct txn *txn, const struct lease_acquire *command, struct result *result)
{
    struct lock_work work = lock_work_begin(txn, LINE_STEPS_MAX);
    struct lock *lock = lock_load(&work, command->name);
    struct lease lease;
    line_settle(&work, lock);
    if (lease_find(&work, lock, command->lease, &lease)) {
        if (txn_check(&command->condition, true, lease.version, result) == STATUS_OK) {
            replay(&work, lock, &lease, command, result);
        }
        line_finish(&work);
        return;
    }
    line_finish(&work); /* if it was found, and ended by that */
    struct place left;
    if (lease_ended_or_left(txn, lock, command->lease, result, &left)) {
        result->status = STATUS_LEASE_ENDED;
    } else if (txn_check(&command->condition, false, 0, result) == STATUS_OK) {
        acquire_anew(&work, lock, command, &left, result);
        line_finish(&work);
    }
}

/* ---- waiting ------------------------------------------------------------------------------------------------------ */

void lease_collect(struct txn *txn, const struct lease_key *command, struct result *result)
{
    struct lock_work work = lock_work_begin(txn, LINE_STEPS_MAX);
    struct lock *lock = lock_load(&work, command->name);
    struct lease lease;
    line_settle(&work, lock);
    bool there = lease_find(&work, lock, command->lease, &lease);
    line_finish(&work);
    if (there) {
        bool first_time = lease_collect_now(&work, &lease);
        result->status = lease.state == LEASE_WAITING ? STATUS_WAITING
                         : first_time                 ? STATUS_CREATED
                                                      : STATUS_OK;
        answer_lease(txn, lock, &lease, result);
    } else if (lease_ended(txn, lock, command->lease, result)) {
        result->status = STATUS_LEASE_ENDED;
    } else {
        answer_held(txn, lock, result); /* the wait is over, and left no trace */
    }
}

void lease_abandon(struct txn *txn, const struct lease_abandon *command, struct result *result)
{
    (void)result; /* nobody is there to be told */
    struct lock_work work = lock_work_begin(txn, LINE_STEPS_MAX);
    struct lock *lock = lock_load(&work, command->name);
    struct lease lease;
    line_settle(&work, lock);
    if (lease_find(&work, lock, command->lease, &lease)) {
        lease_drop_abandoned(&work, lock, &lease, command->ticket);
    }
    line_finish(&work);
}

/* ---- looking, changing -------------------------------------------------------------------------------------------- */

void lease_get(struct txn *txn, const struct lease_key *command, struct result *result)
{
    struct lock_work work = lock_work_begin(txn, 0);
    const struct lock *lock = lock_load(&work, command->name);
    struct lease lease;
    result->status = lease_look(txn, lock, command->lease, &lease, result);
    if (result->status == STATUS_OK) {
        answer_lease(txn, lock, &lease, result);
    }
}

/* The live lease that a command changes, with the lock brought up to now; else the refusal is in the result. */
static bool find_to_change(struct lock_work *work, struct lock *lock, struct text id,
                           struct lease *ret, struct result *result)
{
    line_settle(work, lock);
    bool there = lease_find(work, lock, id, ret);
    line_finish(work);
    if (!there) {
        result->status =
            lease_ended(work->txn, lock, id, result) ? STATUS_LEASE_ENDED : STATUS_LEASE_NOT_FOUND;
    }
    return there;
}

/* Whether the lease may get that mode. */
static bool may_become(struct txn *txn, const struct lock *lock, const struct lease *lease,
                       int64_t mode, struct result *result)
{
    if (mode == ABSENT || mode == lease->mode) {
        return true;
    }
    if (lease->state == LEASE_WAITING) {
        result->status = STATUS_LEASE_NOT_HELD;
    } else if (mode == LEASE_EXCLUSIVE) {
        result->status = STATUS_MODE_CONFLICT;
    } else if (lock->holders > 1) {
        answer_held(txn, lock, result); /* a shared lease stands beside shared ones only */
    }
    return result->status == STATUS_OK;
}

/* The metadata after the patch. */
static bool merge_metadata(struct txn *txn, const struct lease_patch *c, struct lease *lease,
                           struct result *result)
{
    static const char MERGE[] = "SELECT json_patch(?1, ?2)";
    struct text base = c->clear_metadata ? TEXT("{}") : lease->metadata;
    if (!text_given(c->metadata_patch)) {
        lease->metadata = base;
        return true;
    }
    QUERY(q, txn->sql, MERGE);
    bind_text(&q, base);
    bind_text(&q, c->metadata_patch);
    if (query_row(&q)) {
        lease->metadata = col_text(&q, 0, txn->arena);
    }
    if (lease->metadata.len > LEASE_METADATA_BYTES_MAX) {
        result->status = STATUS_BODY_TOO_LARGE;
        result->field = TEXT("metadata");
        return false;
    }
    return true;
}

static void store_patch(struct lock_work *work, struct lock *lock, struct lease *lease,
                        int64_t mode)
{
    static const char UPDATE[] = "UPDATE leases SET metadata = ?4, mode = ?5, version = ?6"
                                 " WHERE lock = ?1 AND state = ?2 AND lease = ?3";
    struct txn *txn = work->txn;
    if (mode != ABSENT && mode != lease->mode) {
        lease->mode = mode;
        lock->permits_held -= lease->permits;
        lock->look = true;
    }
    lease->version = txn_next_revision(txn);
    QUERY(q, txn->sql, UPDATE);
    bind_int(&q, lock->id);
    bind_int(&q, lease->state);
    bind_text(&q, lease->id);
    bind_text(&q, lease->metadata);
    bind_int(&q, lease->mode);
    bind_int(&q, lease->version);
    query_run(&q);
    lock->changed = true;
    txn_emit(txn, EVENT_LEASE, lock->name, lease->id, 0);
}

void lease_patch(struct txn *txn, const struct lease_patch *command, struct result *result)
{
    struct lock_work work = lock_work_begin(txn, LINE_STEPS_MAX);
    struct lock *lock = lock_load(&work, command->name);
    struct lease lease;
    if (!find_to_change(&work, lock, command->lease, &lease, result) ||
        txn_check(&command->condition, true, lease.version, result) != STATUS_OK ||
        !may_become(txn, lock, &lease, command->mode, result) ||
        !merge_metadata(txn, command, &lease, result)) {
        return;
    }
    bool says_something = text_given(command->metadata_patch) || command->clear_metadata ||
                          (command->mode != ABSENT && command->mode != lease.mode);
    lease_collect_now(&work, &lease);
    if (says_something) {
        store_patch(&work, lock, &lease, command->mode);
        line_finish(&work);
    }
    answer_lease(txn, lock, &lease, result);
}

/* The ttl begins anew. That alone is no change of the lease, as time passing is none: heartbeats wake nobody. Another
   ttl is one. */
static void start_ttl(struct txn *txn, const struct lock *lock, struct lease *lease, int64_t ttl_ms)
{
    static const char RENEW[] = "UPDATE leases SET due_ms = ?3, ttl_ms = ?4, version = ?5"
                                " WHERE lock = ?1 AND state = 1 AND lease = ?2";
    if (ttl_ms != lease->ttl_ms) {
        lease->ttl_ms = ttl_ms;
        lease->version = txn_next_revision(txn);
        txn_emit(txn, EVENT_LEASE, lock->name, lease->id, 0);
    }
    lease->due_ms = txn->now.lease_now_ms + ttl_ms;
    QUERY(q, txn->sql, RENEW);
    bind_int(&q, lock->id);
    bind_text(&q, lease->id);
    bind_int(&q, lease->due_ms);
    bind_int(&q, lease->ttl_ms);
    bind_int(&q, lease->version);
    query_run(&q);
    txn_due_lease(txn, lease->due_ms);
}

void lease_renew(struct txn *txn, const struct lease_renew *command, struct result *result)
{
    struct lock_work work = lock_work_begin(txn, LINE_STEPS_MAX);
    struct lock *lock = lock_load(&work, command->name);
    struct lease lease;
    if (!find_to_change(&work, lock, command->lease, &lease, result) ||
        txn_check(&command->condition, true, lease.version, result) != STATUS_OK) {
        return;
    }
    if (lease.state == LEASE_WAITING) {
        result->status = STATUS_LEASE_NOT_HELD;
        return;
    }
    lease_collect_now(&work, &lease);
    start_ttl(txn, lock, &lease, command->ttl_ms != ABSENT ? command->ttl_ms : lease.ttl_ms);
    answer_lease(txn, lock, &lease, result);
}

/* A condition is about a lease that is there: one that is gone is released already, and 204 whatever it asks. */
void lease_release(struct txn *txn, const struct lease_release *command, struct result *result)
{
    struct lock_work work = lock_work_begin(txn, LINE_STEPS_MAX);
    struct lock *lock = lock_load(&work, command->name);
    struct lease lease;
    struct place left;
    line_settle(&work, lock);
    if (lease_find(&work, lock, command->lease, &lease)) {
        if (txn_check(&command->condition, true, lease.version, result) == STATUS_OK) {
            lease_end(&work, lock, &lease, &(struct ending){.reason = REASON_RELEASED});
        }
    } else if (!lease_ended_or_left(txn, lock, command->lease, result, &left)) {
        lease_return(txn, lock, command->lease, &left, 0); /* it wants the place no more */
    } else if (result->reason != REASON_RELEASED) {
        result->status = STATUS_LEASE_ENDED;
    }
    line_finish(&work);
}
