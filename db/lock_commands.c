/*
 * The commands about a lock as a whole: looking at it, configuring it, breaking it, listing all.
 */
#include "db/aggregates.h"
#include "db/line.h"

/* ---- showing ------------------------------------------------------------------------------------------------------ */

/* The views of the lock's holders or of its line. Those whose session has ended are left out and counted. */
static struct lease_views views_of(struct txn *txn, const struct lock *lock, int64_t state,
                                   int64_t there, int64_t *ret_dead)
{
    size_t limit = (size_t)(there < LOCK_HOLDERS_SHOWN ? there : LOCK_HOLDERS_SHOWN);
    struct lease *leases = arena_zalloc(txn->arena, limit, sizeof *leases);
    struct lease_views views = {arena_zalloc(txn->arena, limit, sizeof *views.at), 0};
    *ret_dead = 0;
    if (leases == NULL || views.at == NULL || limit == 0) {
        return (struct lease_views){NULL, 0};
    }
    size_t found = lease_page(txn, lock, state, limit, leases);
    for (size_t i = 0; i < found; i++) {
        if (lease_session_alive(txn, leases[i].session)) {
            int64_t position = state == LEASE_WAITING ? (int64_t)views.count : 0;
            views.at[views.count++] = lease_view_of(&leases[i], lock, position);
        } else {
            ++*ret_dead;
        }
    }
    return views;
}

struct lock_view lock_view_of(struct txn *txn, const struct lock *lock)
{
    int64_t dead_holders, dead_waiters;
    struct overdue over = {0, 0, 0};
    if (lock->holders + lock->waiters > 0) {
        over = lease_count_overdue(txn, lock);
    }
    int64_t until_ms = over.delayed_until_ms > lock->delayed_until_ms ? over.delayed_until_ms
                                                                      : lock->delayed_until_ms;
    int64_t delayed_ms = until_ms - txn->now.lease_now_ms;
    struct lease_views holders = views_of(txn, lock, LEASE_HELD, lock->holders, &dead_holders);
    struct lease_views waiters = views_of(txn, lock, LEASE_WAITING, lock->waiters, &dead_waiters);
    return (struct lock_view){.name = lock->name,
                              .limit = lock->limit,
                              .lock_delay_ms = lock->lock_delay_ms,
                              .version = lock->version,
                              .fence = lock->fence,
                              .delayed_for_ms = delayed_ms > 0 ? delayed_ms : 0,
                              .holders = holders,
                              .waiters = waiters,
                              .holder_count = lock->holders - over.holders - dead_holders,
                              .waiter_count = lock->waiters - over.waiters - dead_waiters};
}

void lock_get(struct txn *txn, const struct lock_key *command, struct result *result)
{
    struct lock_work work = lock_work_begin(txn, 0);
    result->shape = SHAPE_LOCK;
    result->lock = lock_view_of(txn, lock_load(&work, command->name));
}

void fence_check(struct txn *txn, const struct fence_check *command, struct result *result)
{
    struct lock_work work = lock_work_begin(txn, 0);
    const struct lock *lock = lock_load(&work, command->name);
    if (lock->fence != command->fence) {
        result->status = STATUS_STALE_FENCE;
        result->version = lock->fence;
    }
}

/* ---- configuring and breaking ------------------------------------------------------------------------------------- */

/* A lock exists by being named, at version 0 before it is first used; so `exists` matters to those conditions only
   that ask for no particular version. */
static enum status check(const struct condition *condition, const struct lock *lock, bool exists,
                         struct result *result)
{
    bool numbered = !condition->create_only && condition->if_match >= 0;
    return txn_check(condition, numbered || exists, lock->version, result);
}

void lock_put(struct txn *txn, const struct lock_put *command, struct result *result)
{
    struct lock_work work = lock_work_begin(txn, LINE_STEPS_MAX);
    struct lock *lock = lock_load(&work, command->name);
    line_settle(&work, lock);
    bool exists = command->condition.create_only ? lock->configured : lock->id != 0;
    if (check(&command->condition, lock, exists, result) != STATUS_OK) {
        return;
    }
    result->status = lock->configured ? STATUS_OK : STATUS_CREATED;
    if (!lock->configured || lock->limit != command->limit ||
        lock->lock_delay_ms != command->lock_delay_ms) {
        lock_make(&work, lock);
        lock->limit = command->limit;
        lock->lock_delay_ms = command->lock_delay_ms;
        lock->configured = true;
        lock->sweep_ms = ABSENT;
        lock->changed = lock->reconfigured = lock->look = true;
        line_finish(&work);
    }
    result->shape = SHAPE_LOCK;
    result->lock = lock_view_of(txn, lock);
}

void lock_break(struct txn *txn, const struct lock_break *command, struct result *result)
{
    struct lock_work work = lock_work_begin(txn, LINE_STEPS_MAX);
    struct lock *lock = lock_load(&work, command->name);
    line_settle(&work, lock);
    if (check(&command->condition, lock, lock->id != 0, result) != STATUS_OK) {
        return;
    }
    struct ending ending = {.reason = REASON_REVOKED,
                            .reason_text = command->reason,
                            .lock_delay_ms = command->lock_delay_ms,
                            .at_ms = txn->now.lease_now_ms};
    struct lease lease;
    while (lock->holders > 0 && lease_first_holder(txn, lock, &lease)) {
        lease_end(&work, lock, &lease, &ending);
        result->count++;
    }
    /* A delay that is asked for holds whoever had the lock, and if it was lost a moment ago. */
    if (command->lock_delay_ms > 0 && lock->id != 0) {
        lock_delay_until(lock, txn->now.lease_now_ms + command->lock_delay_ms);
    }
    line_finish(&work);
}

/* ---- listing ------------------------------------------------------------------------------------------------------ */

static bool owner_is_there(struct txn *txn, const struct lock *lock, struct text owner)
{
    static const char FIND[] =
        "SELECT 1 FROM leases WHERE lock = ?1 AND owner = ?2 AND due_ms > ?3 LIMIT 1";
    if (!text_given(owner)) {
        return true;
    }
    QUERY(q, txn->sql, FIND);
    bind_int(&q, lock->id);
    bind_text(&q, owner);
    bind_int(&q, txn->now.lease_now_ms);
    return query_row(&q);
}

static size_t bytes_of_leases(const struct lease_views *views)
{
    size_t sum = 0;
    for (size_t i = 0; i < views->count; i++) {
        const struct lease_view *view = &views->at[i];
        sum += view->lease.len + view->owner.len + view->metadata.len + 256;
    }
    return sum;
}

/* About what the lock takes in an answer. */
static size_t bytes_of(const struct lock_view *view)
{
    return view->name.len + 256 + bytes_of_leases(&view->holders) + bytes_of_leases(&view->waiters);
}

/* Names hold no byte below ' ' and none above '~', so these stand right behind a name, and behind all that begin with
   a prefix. */
static struct text behind_name(struct txn *txn, struct text name)
{
    return arena_format(txn->arena, "%.*s\x01", (int)name.len, name.at);
}
static struct text behind_prefix(struct txn *txn, struct text prefix)
{
    return arena_format(txn->arena, "%.*s\x7f", (int)prefix.len, prefix.at);
}

/* One listing under way. */
struct listing {
    const struct lock_list *command;
    struct lock_views items;
    size_t bytes;
    int64_t scanned;
    struct text last; /* the last name looked at */
};

static bool page_is_full(const struct listing *listing)
{
    return (int64_t)listing->items.count >= listing->command->page.limit ||
           listing->bytes >= PAGE_BYTES_MAX;
}

/* Looks at one lock. False: the page ends before it. A full page is looked past to the next lock that matches, so that
   a cursor is given only where something stands behind it, or where too many were looked at to know. */
static bool list_one(struct txn *txn, struct listing *listing, const struct lock *lock)
{
    if (listing->scanned >= LOCKS_SCANNED_MAX) {
        return false;
    }
    if (owner_is_there(txn, lock, listing->command->owner)) {
        if (page_is_full(listing)) {
            return false;
        }
        struct lock_view view = lock_view_of(txn, lock);
        listing->bytes += bytes_of(&view);
        listing->items.at[listing->items.count++] = view;
    }
    listing->scanned++;
    listing->last = lock->name;
    return true;
}

/* Lists from `from` on. True: there is more behind listing->last. */
static bool list_all(struct txn *txn, struct listing *listing, struct text from, struct text until)
{
    enum { CHUNK = 64 };
    struct lock locks[CHUNK];
    size_t count;
    do {
        count = locks_page(txn, from, until, CHUNK, locks);
        for (size_t i = 0; i < count; i++) {
            if (!list_one(txn, listing, &locks[i])) {
                return true;
            }
        }
        from = count > 0 ? behind_name(txn, listing->last) : from;
    } while (count == CHUNK);
    return false;
}

void lock_list(struct txn *txn, const struct lock_list *command, struct result *result)
{
    struct text prefix = text_given(command->prefix) ? command->prefix : TEXT("");
    struct text until = behind_prefix(txn, prefix), from = prefix;
    if (text_given(command->page.after) && text_compare(command->page.after, prefix) >= 0) {
        from = behind_name(txn, command->page.after);
    }
    struct listing listing = {.command = command};
    listing.items.at =
        arena_zalloc(txn->arena, (size_t)command->page.limit, sizeof *listing.items.at);
    if (listing.items.at == NULL) {
        return;
    }
    bool more = list_all(txn, &listing, from, until);
    result->shape = SHAPE_LOCK_PAGE;
    result->locks.items = listing.items;
    result->locks.next = more ? listing.last : TEXT_ABSENT;
}
