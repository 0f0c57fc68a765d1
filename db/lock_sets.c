/*
 * Lock-sets: leases on several locks under one id, granted together or not at all. The members share one place (seq)
 * in all lines; while they wait, and until the grant is collected, they stand and fall together (leases.h: in_set).
 * Afterwards each is a lease of its lock like any other.
 */
#include "db/aggregates.h"
#include "db/lease_answers.h"

#include <xxhash.h>

/* The members of a set as they are found. */
struct set {
    struct lock_work work;
    struct text lease;
    size_t count;
    struct lock *locks[LOCK_SET_MAX];
    struct lease leases[LOCK_SET_MAX]; /* those of them that are `there` */
    bool there[LOCK_SET_MAX];
    size_t found; /* how many are */
};

static void look_for_members(struct set *set)
{
    set->found = 0;
    for (size_t i = 0; i < set->count; i++) {
        set->there[i] = lease_find(&set->work, set->locks[i], set->lease, &set->leases[i]);
        set->found += set->there[i];
    }
}

/* Takes one more lock into the set. False if it is one too many, or in it already: a lease cannot stand on a lock
   twice. */
static bool add_lock(struct set *set, struct text name)
{
    if (set->count == LOCK_SET_MAX) {
        return false;
    }
    struct lock *lock = lock_load(&set->work, name);
    for (size_t i = 0; i < set->count; i++) {
        if (set->locks[i] == lock) {
            return false;
        }
    }
    set->locks[set->count++] = lock;
    return true;
}

static void refuse_locks(struct result *result)
{
    result->status = STATUS_INVALID_FIELD;
    result->field = TEXT("locks");
}

static bool load_members(struct set *set, const struct lock_set_members *members)
{
    for (size_t i = 0; i < members->count; i++) {
        if (!add_lock(set, members->at[i].name)) {
            return false;
        }
    }
    return set->count > 0;
}

static bool load_names(struct set *set, const struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        if (!add_lock(set, names->at[i])) {
            return false;
        }
    }
    return set->count > 0;
}

/* Finds the members of a set whose locks are loaded. Looks twice: what the first look brings up to now may grant or end
   members it has already seen. */
static void find_members(struct set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        line_settle(&set->work, set->locks[i]);
    }
    look_for_members(set);
    line_finish(&set->work);
    look_for_members(set);
}

static void answer_set(struct set *set, struct result *result)
{
    struct lease_view *views = arena_zalloc(set->work.txn->arena, set->count, sizeof *views);
    if (views == NULL) {
        return;
    }
    for (size_t i = 0; i < set->count; i++) {
        const struct lease *lease = &set->leases[i];
        int64_t position = lease->state == LEASE_WAITING
                               ? line_position(set->work.txn, set->locks[i], lease->seq)
                               : 0;
        views[i] = lease_view_of(lease, set->locks[i], position);
    }
    result->shape = SHAPE_LOCK_SET;
    result->lock_set.members = (struct lease_views){views, set->count};
}

/* A set is as new as the newest of its members. */
static int64_t version_of(const struct set *set)
{
    int64_t newest = 0;
    for (size_t i = 0; i < set->count; i++) {
        bool newer = set->there[i] && set->leases[i].version > newest;
        newest = newer ? set->leases[i].version : newest;
    }
    return newest;
}

/* Not all members are alive. True if that is because the set has ended; the result then says how. */
static bool answer_ended(struct set *set, struct result *result)
{
    for (size_t i = 0; i < set->count; i++) {
        if (!set->there[i] && lease_ended(set->work.txn, set->locks[i], set->lease, result)) {
            result->status = STATUS_LEASE_ENDED;
            result->field = set->locks[i]->name;
            return true;
        }
    }
    if (set->found > 0) {
        result->status = STATUS_LEASE_ENDED; /* how, is no longer remembered */
        result->reason = REASON_EXPIRED;
        return true;
    }
    return false;
}

/* LOCK_HELD, with a lock that is in the way. */
static void answer_busy(struct set *set, struct result *result)
{
    const struct lock *busy = set->locks[0];
    for (size_t i = set->count; i-- > 0;) {
        busy = set->locks[i]->holders > 0 ? set->locks[i] : busy;
    }
    answer_held(set->work.txn, busy, result);
}

/* True if the grant was not known before. */
static bool collect_members(struct set *set)
{
    bool first_time = false;
    for (size_t i = 0; i < set->count; i++) {
        first_time = lease_collect_now(&set->work, &set->leases[i]) || first_time;
    }
    return first_time;
}

/* ---- acquiring ---------------------------------------------------------------------------------------------------- */

/* As in lease_acquire. The order of the members does not matter. */
static int64_t request_hash(const struct lock_set_acquire *c)
{
    const int64_t numbers[] = {c->ttl_ms, c->lock_delay_ms, (int64_t)c->locks.count};
    XXH64_hash_t hash =
        XXH3_64bits_withSeed(numbers, sizeof numbers, XXH3_64bits(c->owner.at, c->owner.len));
    hash = XXH3_64bits_withSeed(c->metadata.at, c->metadata.len, hash);
    for (size_t i = 0; i < c->locks.count; i++) {
        const struct lock_set_member *member = &c->locks.at[i];
        const int64_t wish[] = {member->mode, member->permits};
        hash +=
            XXH3_64bits_withSeed(wish, sizeof wish, XXH3_64bits(member->name.at, member->name.len));
    }
    return (int64_t)hash;
}

static bool is_other_request(const struct set *set, const struct lock_set_acquire *c, int64_t hash)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->there[i] && (set->leases[i].request_hash != hash ||
                              !text_equal(set->leases[i].session, c->session))) {
            return true;
        }
    }
    return false;
}

/* Until it is collected a set is held or waits as a whole; afterwards it is held. */
static bool waits(const struct set *set)
{
    return set->leases[0].state == LEASE_WAITING;
}

static void replay(struct set *set, const struct lock_set_acquire *c, struct result *result)
{
    if (waits(set) && c->wait_ms == 0 && !c->async) {
        answer_busy(set, result); /* it would not wait; its place stays */
        return;
    }
    for (size_t i = 0; i < set->count && waits(set); i++) {
        result->status = STATUS_WAITING;
        lease_wait_longer(&set->work, set->locks[i], &set->leases[i],
                          lease_wait_until(set->work.txn, c->wait_ms, c->async), c->async);
    }
    collect_members(set);
    answer_set(set, result);
}

/* The place that the set left, if all members left one and the same; forgets it. 0: there is none. */
static int64_t return_members(struct set *set, int64_t hash)
{
    int64_t seq = 0;
    for (size_t i = 0; i < set->count; i++) {
        struct txn *txn = set->work.txn;
        struct result ended;
        struct place left;
        lease_ended_or_left(txn, set->locks[i], set->lease, &ended, &left);
        int64_t its = lease_return(txn, set->locks[i], set->lease, &left, hash);
        seq = i == 0 || its == seq ? its : 0;
    }
    return seq;
}

/* Writes all members, in that state. True: in the place that they had left. */
static bool insert_members(struct set *set, const struct lock_set_acquire *c,
                           enum lease_state state)
{
    struct txn *txn = set->work.txn;
    bool in_line = state == LEASE_WAITING;
    struct lease common = {.state = state,
                           .id = arena_copy(txn->arena, c->lease),
                           .owner = arena_copy(txn->arena, c->owner),
                           .session = arena_copy(txn->arena, c->session),
                           .metadata = arena_copy(txn->arena, c->metadata),
                           .ttl_ms = c->ttl_ms,
                           .lock_delay_ms = c->lock_delay_ms,
                           .request_hash = request_hash(c),
                           .due_ms = in_line ? lease_wait_until(txn, c->wait_ms, c->async)
                                             : txn->now.lease_now_ms + c->ttl_ms,
                           .collected = !in_line,
                           .async = c->async,
                           .in_set = in_line};
    int64_t seq = return_members(set, common.request_hash);
    common.seq = in_line ? seq : 0;
    for (size_t i = 0; i < set->count; i++) {
        set->leases[i] = common;
        set->leases[i].mode = c->locks.at[i].mode;
        set->leases[i].permits = c->locks.at[i].permits;
        lease_insert(&set->work, set->locks[i], &set->leases[i]);
        common.seq = set->leases[0].seq;
    }
    return in_line && seq != 0;
}

/* As answer_back of lease_commands.c: back in its old place, the set may stand before others, and even be the next. */
static void run_lines(struct set *set, struct result *result)
{
    for (size_t i = 0; i < set->count; i++) {
        set->locks[i]->look = true;
    }
    line_finish(&set->work);
    look_for_members(set);
    if (collect_members(set)) {
        result->status = STATUS_CREATED;
    }
}

static bool may_ask(struct set *set, const struct lock_set_acquire *c, struct result *result)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct lock *lock = set->locks[i];
        if (!text_equal(text_routing_key(lock->name), text_routing_key(set->locks[0]->name))) {
            result->status = STATUS_CROSS_PARTITION;
            result->field = TEXT("locks");
            return false;
        }
        if (c->locks.at[i].mode == LEASE_EXCLUSIVE && c->locks.at[i].permits > lock->limit) {
            result->status = STATUS_PERMITS_EXCEED_LIMIT;
            result->field = lock->name;
            return false;
        }
    }
    return answer_session(set->work.txn, c->session, set->locks[0]->name, result);
}

static void acquire_anew(struct set *set, const struct lock_set_acquire *c, struct result *result)
{
    struct wish wishes[LOCK_SET_MAX];
    bool free = true;
    if (!may_ask(set, c, result)) {
        return;
    }
    for (size_t i = 0; i < set->count; i++) {
        wishes[i] = (struct wish){set->locks[i], c->locks.at[i].mode, c->locks.at[i].permits};
        free = free && wish_is_free(&set->work, &wishes[i]);
    }
    if (free) {
        insert_members(set, c, LEASE_HELD);
        result->status = STATUS_CREATED;
    } else if (wishes_may_wait(&set->work, c->owner, wishes, set->count, c->wait_ms > 0 || c->async,
                               result)) {
        result->status = STATUS_WAITING;
        if (insert_members(set, c, LEASE_WAITING)) {
            run_lines(set, result);
        }
    } else {
        return;
    }
    answer_set(set, result);
}

/* What a request for a set whose members were looked for comes to. */
static void acquire_found(struct set *set, const struct lock_set_acquire *c, struct result *result)
{
    bool there = set->found > 0;
    if (!there && answer_ended(set, result)) {
        return;
    }
    if (txn_check(&c->condition, there, version_of(set), result) != STATUS_OK) {
        return;
    }
    if (is_other_request(set, c, request_hash(c))) {
        result->status = STATUS_LEASE_MISMATCH;
    } else if (set->found == set->count) {
        replay(set, c, result);
    } else if (!answer_ended(set, result)) {
        acquire_anew(set, c, result);
    }
}

void lock_set_acquire(struct txn *txn, const struct lock_set_acquire *command,
                      struct result *result)
{
    struct set set = {.work = lock_work_begin(txn, LINE_STEPS_MAX), .lease = command->lease};
    if (!load_members(&set, &command->locks)) {
        refuse_locks(result);
        return;
    }
    find_members(&set);
    acquire_found(&set, command, result);
    line_finish(&set.work);
}

/* ---- waiting ------------------------------------------------------------------------------------------------------ */

void lock_set_collect(struct txn *txn, const struct lock_set_key *command, struct result *result)
{
    struct set set = {.work = lock_work_begin(txn, LINE_STEPS_MAX), .lease = command->lease};
    if (!load_names(&set, &command->names)) {
        refuse_locks(result);
        return;
    }
    find_members(&set);
    if (set.found == set.count) {
        bool first_time = collect_members(&set);
        result->status = waits(&set) ? STATUS_WAITING : first_time ? STATUS_CREATED : STATUS_OK;
        answer_set(&set, result);
    } else if (!answer_ended(&set, result)) {
        answer_busy(&set, result); /* the wait is over, and left no trace */
    }
    line_finish(&set.work);
}

/* The ticket is that of the first member; the others fall with it. */
void lock_set_abandon(struct txn *txn, const struct lock_set_abandon *command,
                      struct result *result)
{
    if (command->names.count == 0) {
        refuse_locks(result);
        return;
    }
    struct lease_abandon first = {
        .name = command->names.at[0], .lease = command->lease, .ticket = command->ticket};
    lease_abandon(txn, &first, result);
}
