/*
 * Locks, as API.md §3 and db/leases.h promise them. The leases stand in one array in the order they came, which is the
 * order of every line.
 */
#include "tests/history/model.h"

#include <stdlib.h>

/* ---- looking -------------------------------------------------------------------------------------------------- */

static size_t lock_index(struct model *model, struct text name)
{
    for (size_t i = 0; i < model->lock_count; i++) {
        if (text_equal(model->locks[i].name, name)) {
            return i;
        }
    }
    size_t at = model_append(model, &model->lock_count, M_LOCKS);
    model->locks[at] = (struct m_lock){.name = name, .limit = 1};
    return at;
}

struct m_lock *model_lock_named(struct model *model, struct text name)
{
    return &model->locks[lock_index(model, name)];
}

static struct m_lease *find(struct model *model, size_t lock, struct text id)
{
    for (size_t i = 0; i < model->lease_count; i++) {
        struct m_lease *lease = &model->leases[i];
        if (lease->lock == lock && text_equal(lease->id, id)) {
            return lease;
        }
    }
    return NULL;
}

static bool is_overdue(const struct model *model, const struct m_lease *lease)
{
    return lease->due_ms <= model->now.lease_now_ms;
}

static bool has_session(const struct model *model, const struct m_lease *lease)
{
    return !text_given(lease->session) || session_lives(model, lease->session);
}

static bool is_alive(const struct model *model, const struct m_lease *lease)
{
    return !is_overdue(model, lease) && has_session(model, lease);
}

static bool is_delayed(const struct model *model, const struct m_lock *lock)
{
    return lock->delayed_until_ms > model->now.lease_now_ms;
}

static int64_t count(const struct model *model, size_t lock, enum lease_state state)
{
    int64_t n = 0;
    for (size_t i = 0; i < model->lease_count; i++) {
        n += model->leases[i].lock == lock && model->leases[i].state == state;
    }
    return n;
}

/* Whether the holders leave room. Shared ones stand beside shared ones only, exclusive ones share the limit. */
static bool admits(const struct model *model, size_t lock, int64_t mode, int64_t permits)
{
    int64_t taken = 0, shared = 0, exclusive = 0;
    for (size_t i = 0; i < model->lease_count; i++) {
        const struct m_lease *lease = &model->leases[i];
        if (lease->lock == lock && lease->state == LEASE_HELD) {
            shared += lease->mode == LEASE_SHARED;
            exclusive += lease->mode == LEASE_EXCLUSIVE;
            taken += lease->mode == LEASE_EXCLUSIVE ? lease->permits : 0;
        }
    }
    return mode == LEASE_SHARED ? exclusive == 0
                                : shared == 0 && taken + permits <= model->locks[lock].limit;
}

static bool is_free(const struct model *model, size_t lock, int64_t mode, int64_t permits)
{
    return count(model, lock, LEASE_WAITING) == 0 && !is_delayed(model, &model->locks[lock]) &&
           admits(model, lock, mode, permits);
}

static struct m_lease *first(struct model *model, size_t lock, enum lease_state state)
{
    for (size_t i = 0; i < model->lease_count; i++) {
        struct m_lease *lease = &model->leases[i];
        if (lease->lock == lock && lease->state == state) {
            return lease;
        }
    }
    return NULL;
}
static struct m_lease *first_in_line(struct model *model, size_t lock)
{
    return first(model, lock, LEASE_WAITING);
}
static struct m_lease *first_holder(struct model *model, size_t lock)
{
    return first(model, lock, LEASE_HELD);
}

/* ---- views ---------------------------------------------------------------------------------------------------- */

/* How many stand in line before it. */
static int64_t position(const struct model *model, const struct m_lease *lease)
{
    int64_t n = 0;
    for (const struct m_lease *l = model->leases; l < lease; l++) {
        n += l->lock == lease->lock && l->state == LEASE_WAITING && is_alive(model, l);
    }
    return n;
}

static struct lease_view view(const struct model *model, const struct m_lease *lease)
{
    bool held = lease->state == LEASE_HELD;
    return (struct lease_view){.lease = lease->id,
                               .name = model->locks[lease->lock].name,
                               .owner = lease->owner,
                               .session = lease->session,
                               .metadata = lease->metadata,
                               .mode = lease->mode,
                               .permits = lease->permits,
                               .state = lease->state,
                               .fence = held ? grown_want(&lease->fence) : 0,
                               .ttl_ms = lease->ttl_ms,
                               .lease_expires_ms = lease->due_ms,
                               .position = held ? 0 : position(model, lease),
                               .ticket = grown_want(&lease->ticket),
                               .version = grown_want(&lease->version),
                               .uncollected = held && !lease->collected};
}

static struct lease_views views(const struct model *model, size_t lock, enum lease_state state)
{
    struct lease_views ret = {
        arena_zalloc(model->scratch, model->lease_count + 1, sizeof(struct lease_view)), 0};
    for (size_t i = 0; i < model->lease_count; i++) {
        const struct m_lease *lease = &model->leases[i];
        if (lease->lock == lock && lease->state == state && is_alive(model, lease)) {
            ret.at[ret.count++] = view(model, lease);
        }
    }
    return ret;
}

static int64_t delay_of(const struct m_lock *lock, const struct m_lease *lease)
{
    return lease->lock_delay_ms != ABSENT ? lease->lock_delay_ms : lock->lock_delay_ms;
}

static int64_t delayed_for_ms(const struct model *model, size_t at)
{
    const struct m_lock *lock = &model->locks[at];
    int64_t until_ms = lock->delayed_until_ms;
    for (size_t i = 0; i < model->lease_count; i++) {
        const struct m_lease *lease = &model->leases[i];
        if (lease->lock == at && lease->state == LEASE_HELD && lease->collected &&
            is_overdue(model, lease) && lease->due_ms + delay_of(lock, lease) > until_ms) {
            until_ms = lease->due_ms + delay_of(lock, lease);
        }
    }
    int64_t left_ms = until_ms - model->now.lease_now_ms;
    return left_ms > 0 ? left_ms : 0;
}

static struct lock_view lock_view(const struct model *model, size_t at)
{
    const struct m_lock *lock = &model->locks[at];
    struct lock_view ret = {.name = lock->name,
                            .limit = lock->limit,
                            .lock_delay_ms = lock->lock_delay_ms,
                            .version = grown_want(&lock->version),
                            .fence = grown_want(&lock->fence),
                            .delayed_for_ms = delayed_for_ms(model, at),
                            .holders = views(model, at, LEASE_HELD),
                            .waiters = views(model, at, LEASE_WAITING)};
    ret.holder_count = (int64_t)ret.holders.count;
    ret.waiter_count = (int64_t)ret.waiters.count;
    return ret;
}

static void answer_lease(const struct model *model, const struct m_lease *lease,
                         struct result *want)
{
    want->shape = SHAPE_LEASE;
    want->lease = view(model, lease);
}

/* The refusal says when it makes sense to ask again: when the first holder's time or the lock-delay is over. */
static void answer_held(const struct model *model, size_t lock, struct result *want)
{
    want->status = STATUS_LOCK_HELD;
    want->shape = SHAPE_REFUSAL;
    want->refusal.lock = lock_view(model, lock);
    want->refusal.position = want->refusal.lock.waiter_count;
    int64_t soonest_ms = want->refusal.lock.delayed_for_ms;
    for (size_t i = 0; i < want->refusal.lock.holders.count; i++) {
        int64_t left_ms =
            want->refusal.lock.holders.at[i].lease_expires_ms - model->now.lease_now_ms;
        soonest_ms = soonest_ms == 0 || left_ms < soonest_ms ? left_ms : soonest_ms;
    }
    want->retry_after_ms = soonest_ms > 0 ? soonest_ms : 1;
}

/* ---- learning ------------------------------------------------------------------------------------------------- */

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Who was granted later has the larger fence. */
static void check_fence_order(struct model *model, const struct m_lease *lease)
{
    for (size_t i = 0; i < model->lease_count; i++) {
        const struct m_lease *other = &model->leases[i];
        if (other != lease && other->state == LEASE_HELD && !other->fence.changed &&
            (other->granted < lease->granted) != (other->fence.known < lease->fence.known) &&
            (other->lock == lease->lock || other->fence.known == lease->fence.known)) {
            model_complain(model,
                           "the fences %lld of %.*s and %lld of %.*s are not in the order of"
                           " the grants",
                           (long long)lease->fence.known, (int)lease->id.len, lease->id.at,
                           (long long)other->fence.known, (int)other->id.len, other->id.at);
        }
    }
}

void learn_lease(struct model *model, const struct lease_view *seen)
{
    struct m_lease *lease = find(model, lock_index(model, seen->name), seen->lease);
    if (lease == NULL) {
        return;
    }
    grown_learn(model, &lease->version, seen->version, "the lease's version");
    grown_learn(model, &lease->ticket, seen->ticket, "the lease's ticket");
    model->revision_floor = larger(model->revision_floor, larger(seen->version, seen->ticket));
    if (seen->state == LEASE_HELD) {
        grown_learn(model, &lease->fence, seen->fence, "the lease's fence");
        model->fence_floor = larger(model->fence_floor, seen->fence);
        check_fence_order(model, lease);
    }
}

void learn_lock(struct model *model, const struct lock_view *seen)
{
    size_t at = lock_index(model, seen->name);
    struct m_lock *lock = &model->locks[at];
    for (size_t i = 0; i < seen->holders.count; i++) {
        learn_lease(model, &seen->holders.at[i]);
        if (seen->holders.at[i].fence > seen->fence) {
            model_complain(model, "the lock's fence is below a holder's");
        }
    }
    for (size_t i = 0; i < seen->waiters.count; i++) {
        learn_lease(model, &seen->waiters.at[i]);
    }
    if (lock->there) {
        grown_learn(model, &lock->version, seen->version, "the lock's version");
        grown_learn(model, &lock->fence, seen->fence, "the lock's fence");
        model->revision_floor = larger(model->revision_floor, seen->version);
        model->fence_floor = larger(model->fence_floor, seen->fence);
    }
}

/* ---- changing ------------------------------------------------------------------------------------------------- */

static void tell_lease(struct model *model, const struct m_lease *lease)
{
    model_tell(model, EVENT_LEASE, model->locks[lease->lock].name, lease->id);
}

static void renumber(struct model *model, struct m_lease *lease)
{
    grown_change(&lease->version, model->revision_floor);
    model->locks[lease->lock].changed = true;
}

static void change_lease(struct model *model, struct m_lease *lease)
{
    renumber(model, lease);
    tell_lease(model, lease);
}

static void hold(struct model *model, struct m_lease *lease)
{
    lease->state = LEASE_HELD;
    lease->granted = ++model->grants;
    grown_change(&lease->fence, model->fence_floor);
    grown_change(&model->locks[lease->lock].fence, model->fence_floor);
}

static void insert(struct model *model, struct m_lease lease)
{
    model_append(model, &model->lease_count, M_LEASES);
    size_t at = 0; /* those in line stand in the order of their places */
    while (at + 1 < model->lease_count && model->leases[at].place <= lease.place) {
        at++;
    }
    memmove(&model->leases[at + 1], &model->leases[at],
            (model->lease_count - 1 - at) * sizeof lease);
    model->leases[at] = lease;
    model->locks[lease.lock].there = true;
    renumber(model, &model->leases[at]);
    grown_change(&model->leases[at].ticket, model->revision_floor);
    if (lease.state == LEASE_HELD) {
        tell_lease(model, &model->leases[at]); /* nobody waits for a place in line to be there */
        hold(model, &model->leases[at]);
    }
}

static void grant(struct model *model, struct m_lease *lease)
{
    hold(model, lease);
    lease->due_ms = model->now.lease_now_ms + (lease->ttl_ms < CLAIM_MS ? lease->ttl_ms : CLAIM_MS);
    change_lease(model, lease);
}

struct m_ending {
    enum end_reason reason; /* NONE: nothing is remembered */
    struct text text;
    int64_t lock_delay_ms; /* ABSENT: the lease's or the lock's */
    int64_t at_ms;
};

static void remember(struct model *model, const struct m_lease *lease,
                     const struct m_ending *ending)
{
    size_t at = model_append(model, &model->ended_count, M_ENDED);
    model->ended[at] = (struct m_ended){.lock = lease->lock,
                                        .lease = lease->id,
                                        .reason = ending->reason,
                                        .reason_text = ending->text,
                                        .drop_ms = model->now.now_ms + LEASE_TOMBSTONE_MS,
                                        .left = *lease};
    model->expired += ending->reason == REASON_EXPIRED;
}

static void end_one(struct model *model, struct m_lease *lease, const struct m_ending *ending)
{
    struct m_lock *lock = &model->locks[lease->lock];
    bool lost = ending->reason != REASON_NONE && ending->reason != REASON_RELEASED &&
                ending->reason != REASON_LEFT;
    if (lease->state == LEASE_HELD && lease->collected && lost) {
        int64_t delay_ms =
            ending->lock_delay_ms != ABSENT ? ending->lock_delay_ms : delay_of(lock, lease);
        int64_t until_ms = ending->at_ms + delay_ms;
        if (until_ms > model->now.lease_now_ms && until_ms > lock->delayed_until_ms) {
            lock->delayed_until_ms = until_ms;
        }
    }
    if (ending->reason != REASON_NONE) {
        remember(model, lease, ending);
    }
    lock->changed = lock->look = true;
    tell_lease(model, lease);
    size_t at = (size_t)(lease - model->leases);
    memmove(lease, lease + 1, (--model->lease_count - at) * sizeof *lease);
}

/* A member of a set takes the others with it until the grant was collected. */
static void end(struct model *model, struct m_lease *lease, struct m_ending ending)
{
    int64_t set = lease->set;
    if (set == 0) {
        end_one(model, lease, &ending);
        return;
    }
    for (size_t i = model->lease_count; i-- > 0;) {
        if (model->leases[i].set == set) {
            end_one(model, &model->leases[i], &ending);
        }
    }
}

static void expire(struct model *model, struct m_lease *lease)
{
    bool heard = lease->state == LEASE_WAITING && !lease->async; /* told by 409, no trace stays */
    end(model, lease,
        (struct m_ending){.reason = heard ? REASON_NONE : REASON_EXPIRED,
                          .lock_delay_ms = ABSENT,
                          .at_ms = lease->due_ms});
}

static void end_with_session(struct model *model, struct m_lease *lease)
{
    if (is_overdue(model, lease)) {
        expire(model, lease); /* it had ended before */
        return;
    }
    end(model, lease,
        (struct m_ending){.reason = REASON_SESSION_ENDED,
                          .lock_delay_ms = ABSENT,
                          .at_ms = model->now.lease_now_ms});
}

/* ---- the line ------------------------------------------------------------------------------------------------- */

static bool grant_set(struct model *model, int64_t set)
{
    for (size_t i = 0; i < model->lease_count; i++) {
        const struct m_lease *m = &model->leases[i];
        if (m->set == set &&
            (is_delayed(model, &model->locks[m->lock]) || first_in_line(model, m->lock) != m ||
             !admits(model, m->lock, m->mode, m->permits))) {
            return false;
        }
    }
    for (size_t i = 0; i < model->lease_count; i++) {
        if (model->leases[i].set == set) {
            grant(model, &model->leases[i]);
            model->locks[model->leases[i].lock].look = true;
        }
    }
    return true;
}

/* Serves the first in line; false where it must go on waiting. */
static bool serve(struct model *model, size_t lock)
{
    struct m_lease *head = first_in_line(model, lock);
    if (head == NULL || is_delayed(model, &model->locks[lock])) {
        return false;
    }
    bool impossible = head->mode == LEASE_EXCLUSIVE && head->permits > model->locks[lock].limit;
    if (impossible || is_overdue(model, head)) {
        expire(model, head);
        return true;
    }
    if (!has_session(model, head)) {
        end_with_session(model, head);
        return true;
    }
    if (head->set != 0) {
        return grant_set(model, head->set);
    }
    if (!admits(model, lock, head->mode, head->permits)) {
        return false;
    }
    grant(model, head);
    return true;
}

/* Ends a command: lines move until nothing does, and what changed has a new version. */
static void finish(struct model *model)
{
    for (size_t i = 0; i < model->lock_count; i++) {
        if (model->locks[i].look) {
            model->locks[i].look = false;
            while (serve(model, i)) {
            }
            i = SIZE_MAX; /* from the first lock again: a set moves other lines */
        }
    }
    for (size_t i = 0; i < model->lock_count; i++) {
        struct m_lock *lock = &model->locks[i];
        if (lock->changed) {
            lock->changed = false;
            grown_change(&lock->version, model->revision_floor);
            model_tell(model, EVENT_LOCK, lock->name, TEXT_ABSENT);
            if (count(model, i, LEASE_HELD) + count(model, i, LEASE_WAITING) == 0) {
                lock->idle_since_ms = model->now.now_ms;
            }
        }
    }
}

static struct m_lease *first_due(struct model *model, size_t lock)
{
    struct m_lease *due = NULL;
    for (size_t i = 0; i < model->lease_count; i++) {
        struct m_lease *lease = &model->leases[i];
        if ((lock == SIZE_MAX || lease->lock == lock) && is_overdue(model, lease) &&
            (due == NULL || lease->due_ms < due->due_ms)) {
            due = lease;
        }
    }
    return due;
}

static struct m_lease *first_without_session(struct model *model, size_t lock)
{
    for (size_t i = 0; i < model->lease_count; i++) {
        if (model->leases[i].lock == lock && !has_session(model, &model->leases[i])) {
            return &model->leases[i];
        }
    }
    return NULL;
}

static void end_delay(struct model *model, struct m_lock *lock)
{
    if (lock->delayed_until_ms > 0 && !is_delayed(model, lock)) {
        lock->delayed_until_ms = 0;
        lock->changed = lock->look = true;
    }
}

/* Brings the lock up to now, before a command works on it. */
static void settle(struct model *model, size_t lock)
{
    struct m_lease *lease;
    while ((lease = first_due(model, lock)) != NULL) {
        expire(model, lease);
    }
    while ((lease = first_without_session(model, lock)) != NULL) {
        end_with_session(model, lease);
    }
    end_delay(model, &model->locks[lock]);
    finish(model);
}

/* ---- deadlocks ------------------------------------------------------------------------------------------------ */

/*
 * Whether `place` (a lease in line, or a wish, which stands behind all) cannot be served before `owner` lets go of
 * something: `owner` stands before it in line, or holds what leaves no room for it or for those before it.
 */
static bool is_in_the_way(const struct model *model, const struct m_lease *place,
                          const struct m_lease *end_of_line, struct text owner)
{
    bool exclusive = place->mode == LEASE_EXCLUSIVE, shared = !exclusive;
    int64_t permits = exclusive ? place->permits : 0, held = 0;
    bool holds = false, holds_shared = false;
    for (const struct m_lease *l = model->leases; l < end_of_line; l++) {
        if (l->lock != place->lock || l->state != LEASE_WAITING || is_overdue(model, l)) {
            continue;
        }
        if (text_equal(l->owner, owner)) {
            return true;
        }
        exclusive |= l->mode == LEASE_EXCLUSIVE;
        shared |= l->mode == LEASE_SHARED;
        permits = l->mode == LEASE_EXCLUSIVE ? larger(permits, l->permits) : permits;
    }
    for (size_t i = 0; i < model->lease_count; i++) {
        const struct m_lease *l = &model->leases[i];
        if (l->lock == place->lock && l->state == LEASE_HELD && !is_overdue(model, l) &&
            text_equal(l->owner, owner)) {
            holds = true;
            holds_shared |= l->mode == LEASE_SHARED;
            held += l->permits;
        }
    }
    if (!holds || holds_shared) {
        return holds && exclusive;
    }
    return shared || model->locks[place->lock].limit - held < permits;
}

/* Whether `from` waits for `to`, by its leases in line. Lines of the locks that are wished for do not count: the asker
   stands behind all of them anyway, and to wait there for itself is no cycle. */
static bool waits_for(const struct model *model, struct text from, struct text to,
                      const struct m_lease *wishes, size_t n, struct text lock)
{
    for (size_t i = 0; i < model->lease_count; i++) {
        const struct m_lease *l = &model->leases[i];
        bool skip = l->state != LEASE_WAITING || is_overdue(model, l) ||
                    !text_equal(l->owner, from) ||
                    (text_given(lock) && !text_equal(model->locks[l->lock].name, lock));
        for (size_t j = 0; j < n; j++) {
            skip |= wishes[j].lock == l->lock;
        }
        if (!skip && is_in_the_way(model, l, l, to)) {
            return true;
        }
    }
    return false;
}

static bool wishes_wait_for(const struct model *model, const struct m_lease *wishes, size_t n,
                            struct text to, struct text lock)
{
    for (size_t i = 0; i < n; i++) {
        bool asked = !text_given(lock) || text_equal(model->locks[wishes[i].lock].name, lock);
        if (asked && is_in_the_way(model, &wishes[i], model->leases + model->lease_count, to)) {
            return true;
        }
    }
    return false;
}

/* Every owner that the asker waits for, near or far, is marked until no more are found. */
static bool would_deadlock(const struct model *model, struct text owner,
                           const struct m_lease *wishes, size_t n)
{
    bool marked[M_LEASES] = {false};
    bool more = true;
    for (size_t i = 0; i < model->lease_count; i++) {
        struct text other = model->leases[i].owner;
        marked[i] =
            !text_equal(other, owner) && wishes_wait_for(model, wishes, n, other, TEXT_ABSENT);
    }
    while (more) {
        more = false;
        for (size_t i = 0; i < model->lease_count; i++) {
            for (size_t j = 0; marked[i] && j < model->lease_count; j++) {
                struct text to = model->leases[j].owner;
                if (!marked[j] &&
                    waits_for(model, model->leases[i].owner, to, wishes, n, TEXT_ABSENT)) {
                    if (text_equal(to, owner)) {
                        return true;
                    }
                    marked[j] = more = true;
                }
            }
        }
    }
    return false;
}

void learn_cycle(struct model *model, const struct cycle *seen)
{
    const struct m_lease *wishes = model->asked;
    size_t n = model->asked_count;
    if (seen->count < 2 || !text_equal(seen->at[0].owner, wishes[0].owner)) {
        model_complain(model, "the cycle is not one of the asker and others");
        return;
    }
    for (size_t i = 0; i < seen->count; i++) {
        const struct cycle_edge *edge = &seen->at[i];
        struct text next = seen->at[(i + 1) % seen->count].owner;
        if (!(i == 0 ? wishes_wait_for(model, wishes, n, next, edge->lock)
                     : waits_for(model, edge->owner, next, wishes, n, edge->lock))) {
            model_complain(model, "in the cycle, %.*s does not wait for %.*s by %.*s",
                           (int)edge->owner.len, edge->owner.at, (int)next.len, next.at,
                           (int)edge->lock.len, edge->lock.at);
        }
    }
}

/* ---- acquiring ------------------------------------------------------------------------------------------------ */

static bool find_ended(const struct model *model, size_t lock, struct text id, struct result *want)
{
    for (size_t i = 0; i < model->ended_count; i++) {
        const struct m_ended *ended = &model->ended[i];
        if (ended->lock == lock && text_equal(ended->lease, id) && ended->reason != REASON_LEFT) {
            want->reason = ended->reason;
            want->reason_text = ended->reason_text;
            return true;
        }
    }
    return false;
}

/* A wish has the form of a lease that is not there yet. */
static bool may_wish(struct model *model, const struct m_lease *wish, bool alone,
                     struct result *want)
{
    const struct m_lock *lock = &model->locks[wish->lock];
    if (wish->mode == LEASE_EXCLUSIVE && wish->permits > lock->limit) {
        want->status = STATUS_PERMITS_EXCEED_LIMIT;
        want->field = alone ? TEXT("permits") : lock->name;
        return false;
    }
    return true;
}

static bool may_bind(struct model *model, struct text session, struct text name,
                     struct result *want)
{
    if (!text_given(session) || (text_equal(text_routing_key(session), text_routing_key(name)) &&
                                 session_lives(model, session))) {
        return true;
    }
    want->field = TEXT("session");
    if (!text_equal(text_routing_key(session), text_routing_key(name))) {
        want->status = STATUS_CROSS_PARTITION;
        return false;
    }
    struct result found = {.status = STATUS_OK, .stamp = model->now};
    struct command look = {.kind = COMMAND_SESSION_GET,
                           .session_get = {.id = session, .condition = UNCONDITIONAL}};
    model_session(model, &look, &found);
    want->status = found.status;
    want->reason = found.reason;
    if (found.status == STATUS_OK) { /* it leads on to another session, but is none any more */
        want->status = STATUS_SESSION_ENDED;
        want->reason = REASON_ROTATED;
    }
    if (found.status == STATUS_SESSION_NOT_FOUND) {
        want->reason = REASON_NONE;
    }
    return false;
}

static int64_t wait_until_ms(const struct model *model, int64_t wait_ms, bool async)
{
    return model->now.lease_now_ms + (async && wait_ms <= 0 ? WAIT_MS_MAX : wait_ms);
}

/* Whether the wishes can be granted at once (true), or may stand in line; else the refusal is in `want`. */
enum turn { TURN_NOW, TURN_LATER, TURN_REFUSED };

static enum turn turn_of(struct model *model, const struct m_lease *wishes, size_t n, bool waits,
                         struct text owner, struct result *want)
{
    enum turn turn = TURN_NOW;
    for (size_t i = 0; i < n && turn == TURN_NOW; i++) {
        if (!is_free(model, wishes[i].lock, wishes[i].mode, wishes[i].permits)) {
            turn = TURN_LATER;
            if (!waits) {
                answer_held(model, wishes[i].lock, want);
                return TURN_REFUSED;
            }
        }
    }
    if (turn == TURN_LATER && would_deadlock(model, owner, wishes, n)) {
        want->status = STATUS_DEADLOCK;
        want->shape = SHAPE_CYCLE; /* any cycle will do: learn_cycle looks at it */
        struct m_lease *asked = arena_alloc(model->scratch, n * sizeof *asked);
        memcpy(asked, wishes, n * sizeof *asked);
        model->asked = asked;
        model->asked_count = n;
        return TURN_REFUSED;
    }
    return turn;
}

static void wait_longer(struct model *model, struct m_lease *lease, int64_t wait_ms, bool async)
{
    int64_t until_ms = wait_until_ms(model, wait_ms, async);
    lease->due_ms = until_ms > lease->due_ms ? until_ms : lease->due_ms;
    lease->async = lease->async || async;
    grown_change(&lease->ticket, model->revision_floor);
}

/* Whoever waited knows of the grant now: its ttl begins. True the first time. */
static bool collect(struct model *model, struct m_lease *lease)
{
    if (lease->state != LEASE_HELD || lease->collected) {
        return false;
    }
    int64_t set = lease->set;
    for (size_t i = 0; i < model->lease_count; i++) {
        struct m_lease *m = &model->leases[i];
        if (m == lease || (set != 0 && m->set == set)) {
            m->collected = true;
            m->set = 0;
            m->due_ms = model->now.lease_now_ms + m->ttl_ms;
        }
    }
    return true;
}

static struct m_lease wish_of(const struct lease_acquire *c, size_t lock, struct arena *arena)
{
    struct text request =
        arena_format(arena, "%.*s %lld %lld %lld %lld %.*s", (int)c->owner.len, c->owner.at,
                     (long long)c->mode, (long long)c->permits, (long long)c->ttl_ms,
                     (long long)c->lock_delay_ms, (int)c->metadata.len, c->metadata.at);
    return (struct m_lease){.lock = lock,
                            .id = c->lease,
                            .owner = c->owner,
                            .session = c->session,
                            .metadata = c->metadata,
                            .request = request,
                            .mode = c->mode,
                            .permits = c->permits,
                            .ttl_ms = c->ttl_ms,
                            .lock_delay_ms = c->lock_delay_ms,
                            .async = c->async};
}

static bool same_request(const struct m_lease *lease, const struct m_lease *wish)
{
    return text_equal(lease->request, wish->request) &&
           text_given(lease->session) == text_given(wish->session) &&
           text_equal(lease->session, wish->session);
}

/* The place that the request had left, 0 for none; forgotten either way. */
static int64_t place_left(struct model *model, const struct m_lease *wish)
{
    for (size_t i = 0; i < model->ended_count; i++) {
        struct m_ended left = model->ended[i];
        if (left.reason == REASON_LEFT && left.lock == wish->lock &&
            text_equal(left.lease, wish->id)) {
            memmove(&model->ended[i], &model->ended[i + 1],
                    (--model->ended_count - i) * sizeof left);
            bool same = text_equal(left.left.request, wish->request) &&
                        left.left.due_ms > model->now.lease_now_ms;
            return same ? left.left.place : 0;
        }
    }
    return 0;
}

/* Where the wishes stand: in the place that all of them had left, or at the end. */
static int64_t place_for(struct model *model, const struct m_lease *wishes, size_t n,
                         bool *ret_back)
{
    int64_t place = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t left = place_left(model, &wishes[i]);
        place = i == 0 || left == place ? left : 0;
    }
    *ret_back = place != 0;
    return place != 0 ? place : ++model->places;
}

/* The wishes become leases, in line or held. */
static void insert_all(struct model *model, struct m_lease *wishes, size_t n, bool waits,
                       int64_t wait_ms)
{
    int64_t set = waits && n > 1 ? ++model->sets : 0;
    bool is_back;
    int64_t place = place_for(model, wishes, n, &is_back);
    for (size_t i = 0; i < n; i++) {
        wishes[i].place = waits ? place : ++model->places;
        model->locks[wishes[i].lock].look |= waits && is_back;
        wishes[i].state = waits ? LEASE_WAITING : LEASE_HELD;
        wishes[i].collected = !waits;
        wishes[i].set = set;
        wishes[i].due_ms = waits ? wait_until_ms(model, wait_ms, wishes[i].async)
                                 : model->now.lease_now_ms + wishes[i].ttl_ms;
        insert(model, wishes[i]);
    }
}

static void acquire(struct model *model, const struct lease_acquire *c, struct result *want)
{
    size_t lock = lock_index(model, c->name);
    settle(model, lock);
    struct m_lease wish = wish_of(c, lock, model->arena);
    struct m_lease *lease = find(model, lock, c->lease);
    if (lease != NULL && !model_condition(&c->condition, true, &lease->version, want)) {
        return;
    }
    if (lease != NULL && !same_request(lease, &wish)) {
        want->status = STATUS_LEASE_MISMATCH;
        return;
    }
    if (lease != NULL && lease->state == LEASE_WAITING && c->wait_ms == 0 && !c->async) {
        answer_held(model, lock, want); /* it would not wait; its place stays */
        want->refusal.position = position(model, lease);
        return;
    }
    if (lease != NULL) {
        if (lease->state == LEASE_WAITING) {
            want->status = STATUS_WAITING;
            wait_longer(model, lease, c->wait_ms, c->async);
        }
        collect(model, lease);
        answer_lease(model, lease, want);
        return;
    }
    if (find_ended(model, lock, c->lease, want)) {
        want->status = STATUS_LEASE_ENDED;
        return;
    }
    static const struct grown NONE = {.known = 0};
    if (!model_condition(&c->condition, false, &NONE, want)) {
        return;
    }
    if (!may_wish(model, &wish, true, want) || !may_bind(model, c->session, c->name, want)) {
        return;
    }
    enum turn turn = turn_of(model, &wish, 1, c->wait_ms > 0 || c->async, c->owner, want);
    if (turn == TURN_REFUSED) {
        return;
    }
    insert_all(model, &wish, 1, turn == TURN_LATER, c->wait_ms);
    finish(model);
    lease = find(model, lock, c->lease);
    collect(model, lease); /* back in its old place, it may have been the next */
    want->status = lease->state == LEASE_WAITING ? STATUS_WAITING : STATUS_CREATED;
    answer_lease(model, lease, want);
}

/* ---- lock-sets ------------------------------------------------------------------------------------------------ */

static int by_text(const void *a, const void *b)
{
    return text_compare(*(const struct text *)a, *(const struct text *)b);
}

/* All that makes two requests for a set the same, whatever the order of the members. */
static struct text set_request(struct arena *arena, const struct lock_set_acquire *c)
{
    struct text parts[LOCK_SET_MAX];
    struct text all = arena_format(arena, "set of %.*s %lld %lld %.*s", (int)c->owner.len,
                                   c->owner.at, (long long)c->ttl_ms, (long long)c->lock_delay_ms,
                                   (int)c->metadata.len, c->metadata.at);
    for (size_t i = 0; i < c->locks.count; i++) {
        const struct lock_set_member *m = &c->locks.at[i];
        parts[i] = arena_format(arena, "%.*s %lld %lld", (int)m->name.len, m->name.at,
                                (long long)m->mode, (long long)m->permits);
    }
    qsort(parts, c->locks.count, sizeof *parts, by_text);
    for (size_t i = 0; i < c->locks.count; i++) {
        all =
            arena_format(arena, "%.*s, %.*s", (int)all.len, all.at, (int)parts[i].len, parts[i].at);
    }
    return all;
}

static void answer_set(struct model *model, const struct m_lease *wishes, size_t n,
                       struct result *want)
{
    want->shape = SHAPE_LOCK_SET;
    want->lock_set.members =
        (struct lease_views){arena_zalloc(model->scratch, n, sizeof(struct lease_view)), n};
    for (size_t i = 0; i < n; i++) {
        want->lock_set.members.at[i] = view(model, find(model, wishes[i].lock, wishes[i].id));
    }
}

/* Of a set whose members are not all there: whether, and how, it has ended. */
static bool set_has_ended(struct model *model, const struct m_lease *wishes, size_t n, size_t found,
                          struct result *want)
{
    for (size_t i = 0; i < n; i++) {
        if (find(model, wishes[i].lock, wishes[i].id) == NULL &&
            find_ended(model, wishes[i].lock, wishes[i].id, want)) {
            want->status = STATUS_LEASE_ENDED;
            want->field = model->locks[wishes[i].lock].name;
            return true;
        }
    }
    if (found > 0) {
        want->status = STATUS_LEASE_ENDED;
        want->reason = REASON_EXPIRED; /* how, is no longer remembered */
    }
    return found > 0;
}

/* A set is as new as the newest of its members. */
static struct grown set_version(struct model *model, const struct m_lease *wishes, size_t n)
{
    struct grown newest = {.known = 0};
    for (size_t i = 0; i < n; i++) {
        const struct m_lease *lease = find(model, wishes[i].lock, wishes[i].id);
        if (lease != NULL) {
            newest.changed |= lease->version.changed;
            newest.known =
                lease->version.known > newest.known ? lease->version.known : newest.known;
        }
    }
    return newest;
}

static size_t count_found(struct model *model, const struct m_lease *wishes, size_t n)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        found += find(model, wishes[i].lock, wishes[i].id) != NULL;
    }
    return found;
}

/* Refused, with a lock that is in the way: the first that somebody holds. */
static void answer_busy(struct model *model, const struct m_lease *wishes, size_t n,
                        struct result *want)
{
    size_t busy = wishes[0].lock;
    for (size_t i = n; i-- > 0;) {
        busy = first_holder(model, wishes[i].lock) != NULL ? wishes[i].lock : busy;
    }
    answer_held(model, busy, want);
}

static void replay_set(struct model *model, const struct lock_set_acquire *c,
                       const struct m_lease *wishes, size_t n, struct result *want)
{
    const struct m_lease *member = find(model, wishes[0].lock, wishes[0].id);
    if (member->state == LEASE_WAITING && c->wait_ms == 0 && !c->async) {
        answer_busy(model, wishes, n, want); /* it would not wait; its place stays */
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct m_lease *lease = find(model, wishes[i].lock, wishes[i].id);
        if (lease->state == LEASE_WAITING) {
            want->status = STATUS_WAITING;
            wait_longer(model, lease, c->wait_ms, c->async);
        }
        collect(model, lease);
    }
    answer_set(model, wishes, n, want);
}

static bool may_wish_all(struct model *model, const struct m_lease *wishes, size_t n,
                         struct result *want)
{
    struct text first = model->locks[wishes[0].lock].name;
    for (size_t i = 0; i < n; i++) {
        if (!text_equal(text_routing_key(model->locks[wishes[i].lock].name),
                        text_routing_key(first))) {
            want->status = STATUS_CROSS_PARTITION;
            want->field = TEXT("locks");
            return false;
        }
        if (!may_wish(model, &wishes[i], false, want)) {
            return false;
        }
    }
    return may_bind(model, wishes[0].session, first, want);
}

static void acquire_set(struct model *model, const struct lock_set_acquire *c, struct result *want)
{
    struct m_lease wishes[LOCK_SET_MAX];
    size_t n = c->locks.count;
    struct lease_acquire common = {.lease = c->lease,
                                   .owner = c->owner,
                                   .session = c->session,
                                   .metadata = c->metadata,
                                   .ttl_ms = c->ttl_ms,
                                   .lock_delay_ms = c->lock_delay_ms,
                                   .async = c->async};
    struct text request = set_request(model->arena, c);
    for (size_t i = 0; i < n; i++) {
        wishes[i] = wish_of(&common, lock_index(model, c->locks.at[i].name), model->arena);
        wishes[i].mode = c->locks.at[i].mode;
        wishes[i].permits = c->locks.at[i].permits;
        wishes[i].request = request;
        for (size_t j = 0; j < i; j++) {
            if (wishes[j].lock == wishes[i].lock) {
                want->status = STATUS_INVALID_FIELD;
                want->field = TEXT("locks");
                return;
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        settle(model, wishes[i].lock);
    }
    size_t found = count_found(model, wishes, n);
    struct grown version = set_version(model, wishes, n);
    if ((found == 0 && set_has_ended(model, wishes, n, found, want)) ||
        !model_condition(&c->condition, found > 0, &version, want)) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const struct m_lease *lease = find(model, wishes[i].lock, c->lease);
        if (lease != NULL && !same_request(lease, &wishes[i])) {
            want->status = STATUS_LEASE_MISMATCH;
            return;
        }
    }
    if (found == n) {
        replay_set(model, c, wishes, n, want);
        return;
    }
    if (set_has_ended(model, wishes, n, found, want) || !may_wish_all(model, wishes, n, want)) {
        return;
    }
    enum turn turn = turn_of(model, wishes, n, c->wait_ms > 0 || c->async, c->owner, want);
    if (turn == TURN_REFUSED) {
        return;
    }
    insert_all(model, wishes, n, turn == TURN_LATER, c->wait_ms);
    finish(model);
    struct m_lease *member = find(model, wishes[0].lock, c->lease);
    collect(model, member); /* as in acquire */
    want->status = member->state == LEASE_WAITING ? STATUS_WAITING : STATUS_CREATED;
    answer_set(model, wishes, n, want);
}

static void collect_set(struct model *model, const struct lock_set_key *c, struct result *want)
{
    struct m_lease members[LOCK_SET_MAX];
    size_t n = c->names.count;
    for (size_t i = 0; i < n; i++) {
        members[i] = (struct m_lease){.lock = lock_index(model, c->names.at[i]), .id = c->lease};
        settle(model, members[i].lock);
    }
    size_t found = count_found(model, members, n);
    if (found == n) {
        bool first_time = false;
        for (size_t i = 0; i < n; i++) {
            first_time |= collect(model, find(model, members[i].lock, c->lease));
        }
        bool waits = find(model, members[0].lock, c->lease)->state == LEASE_WAITING;
        want->status = waits ? STATUS_WAITING : first_time ? STATUS_CREATED : STATUS_OK;
        answer_set(model, members, n, want);
    } else if (!set_has_ended(model, members, n, found, want)) {
        answer_busy(model, members, n, want); /* the wait left no trace */
    }
}

/* ---- one lease ------------------------------------------------------------------------------------------------ */

/* The live lease that a command works on, with its lock brought up to now; else the refusal is in `want`. */
static struct m_lease *find_settled(struct model *model, struct text name, struct text id,
                                    struct result *want)
{
    size_t lock = lock_index(model, name);
    settle(model, lock);
    struct m_lease *lease = find(model, lock, id);
    if (lease == NULL) {
        want->status =
            find_ended(model, lock, id, want) ? STATUS_LEASE_ENDED : STATUS_LEASE_NOT_FOUND;
    }
    return lease;
}

static void collect_one(struct model *model, const struct lease_key *c, struct result *want)
{
    struct m_lease *lease = find_settled(model, c->name, c->lease, want);
    if (lease != NULL) {
        bool first_time = collect(model, lease);
        want->status = lease->state == LEASE_WAITING ? STATUS_WAITING
                       : first_time                  ? STATUS_CREATED
                                                     : STATUS_OK;
        answer_lease(model, lease, want);
    } else if (want->status == STATUS_LEASE_NOT_FOUND) {
        answer_held(model, lock_index(model, c->name), want); /* the wait left no trace */
    }
}

/* Only who holds the newest ticket can give the place up, and only while nobody has come for the grant. */
static void abandon(struct model *model, struct text name, struct text id, int64_t ticket)
{
    struct result nobody;
    struct m_lease *lease = find_settled(model, name, id, &nobody);
    if (lease != NULL && !lease->async && !lease->ticket.changed && lease->ticket.known == ticket &&
        !(lease->state == LEASE_HELD && lease->collected)) {
        end(model, lease, (struct m_ending){.reason = REASON_LEFT, .lock_delay_ms = ABSENT});
        finish(model);
    }
}

static void get(struct model *model, const struct lease_key *c, struct result *want)
{
    size_t lock = lock_index(model, c->name);
    const struct m_lease *lease = find(model, lock, c->lease);
    want->status = STATUS_LEASE_ENDED;
    if (lease == NULL) {
        bool ended = find_ended(model, lock, c->lease, want);
        want->status = ended ? STATUS_LEASE_ENDED : STATUS_LEASE_NOT_FOUND;
    } else if (is_overdue(model, lease)) {
        bool no_trace = lease->state == LEASE_WAITING && !lease->async;
        want->status = no_trace ? STATUS_LEASE_NOT_FOUND : STATUS_LEASE_ENDED;
        want->reason = no_trace ? REASON_NONE : REASON_EXPIRED;
    } else if (!has_session(model, lease)) {
        want->reason = REASON_SESSION_ENDED;
    } else {
        want->status = STATUS_OK;
        answer_lease(model, lease, want);
    }
}

static bool may_become(struct model *model, const struct m_lease *lease, int64_t mode,
                       struct result *want)
{
    if (mode == ABSENT || mode == lease->mode) {
        return true;
    }
    if (lease->state == LEASE_WAITING) {
        want->status = STATUS_LEASE_NOT_HELD;
    } else if (mode == LEASE_EXCLUSIVE) {
        want->status = STATUS_MODE_CONFLICT;
    } else if (count(model, lease->lock, LEASE_HELD) > 1) {
        answer_held(model, lease->lock, want); /* others hold the semaphore too */
    }
    return want->status == STATUS_OK;
}

static void patch(struct model *model, const struct lease_patch *c, struct result *want)
{
    struct m_lease *lease = find_settled(model, c->name, c->lease, want);
    if (lease == NULL || !model_condition(&c->condition, true, &lease->version, want) ||
        !may_become(model, lease, c->mode, want)) {
        return;
    }
    bool says_something = text_given(c->metadata_patch) || c->clear_metadata ||
                          (c->mode != ABSENT && c->mode != lease->mode);
    collect(model, lease);
    if (says_something) {
        lease->metadata = c->clear_metadata ? TEXT("{}") : lease->metadata;
        if (text_given(c->metadata_patch)) {
            lease->metadata = model_merge(model, lease->metadata, c->metadata_patch);
        }
        if (c->mode != ABSENT && c->mode != lease->mode) {
            lease->mode = c->mode;
            model->locks[lease->lock].look = true; /* shared ones may join it */
        }
        change_lease(model, lease);
        finish(model);
    }
    answer_lease(model, find(model, lock_index(model, c->name), c->lease), want);
}

static void renew(struct model *model, const struct lease_renew *c, struct result *want)
{
    struct m_lease *lease = find_settled(model, c->name, c->lease, want);
    if (lease == NULL || !model_condition(&c->condition, true, &lease->version, want)) {
        return;
    }
    if (lease->state == LEASE_WAITING) {
        want->status = STATUS_LEASE_NOT_HELD;
        return;
    }
    collect(model, lease);
    if (c->ttl_ms != ABSENT && c->ttl_ms != lease->ttl_ms) {
        lease->ttl_ms = c->ttl_ms;
        grown_change(&lease->version, model->revision_floor);
        tell_lease(model, lease);
    }
    lease->due_ms = model->now.lease_now_ms + lease->ttl_ms;
    answer_lease(model, lease, want);
}

static void release(struct model *model, const struct lease_release *c, struct result *want)
{
    struct m_lease *lease = find_settled(model, c->name, c->lease, want);
    if (lease != NULL && !model_condition(&c->condition, true, &lease->version, want)) {
        return;
    }
    if (lease != NULL) {
        end(model, lease, (struct m_ending){.reason = REASON_RELEASED, .lock_delay_ms = ABSENT});
        finish(model);
    } else if (want->status == STATUS_LEASE_NOT_FOUND || want->reason == REASON_RELEASED) {
        place_left(model, &(struct m_lease){.lock = lock_index(model, c->name), .id = c->lease});
        want->status = STATUS_OK; /* gone is gone */
    }
}

/* ---- one lock ------------------------------------------------------------------------------------------------- */

/* A lock exists by being named, at version 0 before its first use: a version can be asked for before. */
static bool holds(const struct condition *condition, const struct m_lock *lock, bool exists,
                  struct result *want)
{
    bool numbered = !condition->create_only && condition->if_match >= 0;
    return model_condition(condition, exists || numbered, &lock->version, want);
}

static void put(struct model *model, const struct lock_put *c, struct result *want)
{
    size_t at = lock_index(model, c->name);
    settle(model, at);
    struct m_lock *lock = &model->locks[at];
    if (!holds(&c->condition, lock, c->condition.create_only ? lock->configured : lock->there,
               want)) {
        return;
    }
    want->status = lock->configured ? STATUS_OK : STATUS_CREATED;
    if (!lock->configured || lock->limit != c->limit || lock->lock_delay_ms != c->lock_delay_ms) {
        lock->there = lock->configured = lock->changed = lock->look = true;
        lock->limit = c->limit;
        lock->lock_delay_ms = c->lock_delay_ms;
        finish(model);
    }
    want->shape = SHAPE_LOCK;
    want->lock = lock_view(model, at);
}

static void break_lock(struct model *model, const struct lock_break *c, struct result *want)
{
    size_t at = lock_index(model, c->name);
    settle(model, at);
    if (!holds(&c->condition, &model->locks[at], model->locks[at].there, want)) {
        return;
    }
    struct m_lease *holder;
    while ((holder = first_holder(model, at)) != NULL) {
        end(model, holder,
            (struct m_ending){.reason = REASON_REVOKED,
                              .text = c->reason,
                              .lock_delay_ms = c->lock_delay_ms,
                              .at_ms = model->now.lease_now_ms});
        want->count++;
    }
    /* A delay that is asked for holds whoever had the lock, or has it. */
    struct m_lock *lock = &model->locks[at];
    int64_t until_ms = model->now.lease_now_ms + c->lock_delay_ms;
    if (c->lock_delay_ms > 0 && lock->there && until_ms > lock->delayed_until_ms) {
        lock->delayed_until_ms = until_ms;
        lock->changed = true;
    }
    finish(model);
}

static bool has_owner(const struct model *model, size_t lock, struct text owner)
{
    for (size_t i = 0; i < model->lease_count; i++) {
        const struct m_lease *lease = &model->leases[i];
        if (lease->lock == lock && text_equal(lease->owner, owner) && is_alive(model, lease)) {
            return true;
        }
    }
    return false;
}

/* Histories ask for pages that hold all. */
static void list(struct model *model, const struct lock_list *c, struct result *want)
{
    struct lock_view *found = arena_zalloc(model->scratch, M_LOCKS, sizeof *found);
    size_t n = 0;
    for (size_t i = 0; i < model->lock_count; i++) {
        struct text name = model->locks[i].name;
        bool wanted = model->locks[i].there && model_begins(name, c->prefix) &&
                      (!text_given(c->owner) || has_owner(model, i, c->owner));
        if (!wanted) {
            continue;
        }
        size_t at = n++;
        for (; at > 0 && text_compare(found[at - 1].name, name) > 0; at--) {
            found[at] = found[at - 1];
        }
        found[at] = lock_view(model, i);
    }
    want->shape = SHAPE_LOCK_PAGE;
    want->locks.items = (struct lock_views){found, n};
}

static void check_fence(struct model *model, const struct fence_check *c, struct result *want)
{
    const struct m_lock *lock = &model->locks[lock_index(model, c->name)];
    if (lock->fence.changed || lock->fence.known != c->fence) {
        want->status = STATUS_STALE_FENCE;
        want->version = grown_want(&lock->fence);
    }
}

void model_lock(struct model *model, const struct command *command, struct result *want)
{
    switch ((int)command->kind) {
    case COMMAND_LEASE_ACQUIRE:
        acquire(model, &command->lease_acquire, want);
        break;
    case COMMAND_LEASE_COLLECT:
        collect_one(model, &command->lease_collect, want);
        break;
    case COMMAND_LEASE_ABANDON:
        abandon(model, command->lease_abandon.name, command->lease_abandon.lease,
                command->lease_abandon.ticket);
        break;
    case COMMAND_LEASE_GET:
        get(model, &command->lease_get, want);
        break;
    case COMMAND_LEASE_PATCH:
        patch(model, &command->lease_patch, want);
        break;
    case COMMAND_LEASE_RENEW:
        renew(model, &command->lease_renew, want);
        break;
    case COMMAND_LEASE_RELEASE:
        release(model, &command->lease_release, want);
        break;
    case COMMAND_LOCK_GET:
        want->shape = SHAPE_LOCK;
        want->lock = lock_view(model, lock_index(model, command->lock_get.name));
        break;
    case COMMAND_LOCK_PUT:
        put(model, &command->lock_put, want);
        break;
    case COMMAND_FENCE_CHECK:
        check_fence(model, &command->fence_check, want);
        break;
    case COMMAND_LOCK_BREAK:
        break_lock(model, &command->lock_break, want);
        break;
    case COMMAND_LOCK_LIST:
        list(model, &command->lock_list, want);
        break;
    case COMMAND_LOCK_SET_ACQUIRE:
        acquire_set(model, &command->lock_set_acquire, want);
        break;
    case COMMAND_LOCK_SET_COLLECT:
        collect_set(model, &command->lock_set_collect, want);
        break;
    case COMMAND_LOCK_SET_ABANDON: /* the first member's ticket; the others fall with it */
        abandon(model, command->lock_set_abandon.names.at[0], command->lock_set_abandon.lease,
                command->lock_set_abandon.ticket);
        break;
    }
}

/* ---- a session's end ------------------------------------------------------------------------------------------ */

void locks_end_session(struct model *model, struct text session)
{
    for (size_t i = 0; i < model->lease_count; i++) {
        struct m_lease *lease = &model->leases[i];
        if (text_given(lease->session) && text_equal(lease->session, session)) {
            end_with_session(model, lease);
            i = SIZE_MAX; /* a set's end moves the others */
        }
    }
    finish(model);
}

void locks_move_session(struct model *model, struct text from, struct text to)
{
    for (size_t i = 0; i < model->lease_count; i++) {
        struct m_lease *lease = &model->leases[i];
        if (text_given(lease->session) && text_equal(lease->session, from)) {
            lease->session = to;
            change_lease(model, lease);
        }
    }
    finish(model);
}

/* ---- time ----------------------------------------------------------------------------------------------------- */

static void forget(struct model *model)
{
    size_t kept = 0;
    for (size_t i = 0; i < model->ended_count; i++) {
        if (model->ended[i].drop_ms > model->now.now_ms) {
            model->ended[kept++] = model->ended[i];
        }
    }
    model->ended_count = kept;
    for (size_t i = 0; i < model->lock_count; i++) {
        struct m_lock *lock = &model->locks[i];
        bool used = count(model, i, LEASE_HELD) + count(model, i, LEASE_WAITING) > 0;
        if (lock->there && !lock->configured && !used && lock->delayed_until_ms == 0 &&
            lock->idle_since_ms + IDLE_LOCK_MS <= model->now.now_ms) {
            model_tell(model, EVENT_LOCK, lock->name, TEXT_ABSENT);
            *lock = (struct m_lock){.name = lock->name, .limit = 1};
        }
    }
}

void locks_pass(struct model *model)
{
    struct m_lease *lease;
    while ((lease = first_due(model, SIZE_MAX)) != NULL) {
        expire(model, lease);
        finish(model);
    }
    for (size_t i = 0; i < model->lock_count; i++) {
        end_delay(model, &model->locks[i]);
        finish(model);
    }
    forget(model);
}
