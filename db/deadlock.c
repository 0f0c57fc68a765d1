#include "db/deadlock.h"

/*
 * A breadth-first search over owners. The owners found lie in a list in the order they were found; each is looked into
 * once, by the rows with which it waits.
 */
struct waiter {
    struct text owner;
    struct text lock;        /* what `by` waits for, and this owner is in the way of */
    const struct waiter *by; /* NULL: the asker */
    size_t depth;
    struct waiter *next;
};

struct search {
    struct txn *txn;
    struct text asker;
    const struct wish *wishes;
    size_t wish_count;
    struct waiter *first, *last;
    const struct waiter *closing; /* the waiter that is found to wait for the asker */
    struct text closing_lock;     /* by this lock */
    int64_t steps;
};

/* One place in a line, or one that is asked for: whom does it wait for? */
struct place {
    int64_t lock;
    struct text name;
    int64_t limit;
    int64_t seq; /* INT64_MAX: at the end of the line */
    /* The most demanding of this place and those before it, since they must all be served first. */
    int64_t permits;
    bool exclusive, shared;
};

static bool is_known(const struct search *search, struct text owner)
{
    for (const struct waiter *waiter = search->first; waiter != NULL; waiter = waiter->next) {
        if (text_equal(waiter->owner, owner)) {
            return true;
        }
    }
    return false;
}

/* `by` waits for this owner, because of that lock. */
static void found(struct search *search, const struct waiter *by, const struct place *place,
                  struct text owner)
{
    if (text_equal(owner, search->asker)) {
        if (by != NULL && search->closing == NULL) {
            search->closing = by;
            search->closing_lock = place->name;
        }
        return;
    }
    struct waiter *waiter =
        is_known(search, owner) ? NULL : arena_zalloc(search->txn->arena, 1, sizeof *waiter);
    if (waiter == NULL) {
        return;
    }
    *waiter = (struct waiter){.owner = arena_copy(search->txn->arena, owner),
                              .lock = place->name,
                              .by = by,
                              .depth = by == NULL ? 1 : by->depth + 1};
    if (search->last == NULL) {
        search->first = waiter;
    } else {
        search->last->next = waiter;
    }
    search->last = waiter;
}

/* Of those in the way, only these can lead further: the asker, who waits for another lock, and who waits for this one
   again, behind the place; before it, one would lead to those who are found anyhow. Three ranges of one index, because an
   owner may stand very often in one line. */
#define WAITS_WHERE(condition)                                                                     \
    "EXISTS (SELECT 1 FROM leases AS w WHERE w.owner = o.owner AND w.state = 0 AND " condition ")"
#define LEADS_ON                                                                                   \
    "CASE WHEN o.owner = ?3 THEN 1"                                                                \
    " WHEN " WAITS_WHERE(                                                                          \
        "w.lock < ?1") " THEN 1"                                                                   \
                       " WHEN " WAITS_WHERE(                                                       \
                           "w.lock > ?1") " THEN 1"                                                \
                                          " ELSE " WAITS_WHERE(                                    \
                                              "w.lock = ?1 AND w.seq > ?4") " END"

static void look_ahead_in_line(struct search *search, const struct waiter *by, struct place *place)
{
    static const char AHEAD[] = "SELECT owner, mode, permits, " LEADS_ON " FROM leases AS o"
                                " WHERE lock = ?1 AND state = 0 AND seq < ?4 AND due_ms > ?2"
                                " ORDER BY seq LIMIT ?5";
    QUERY(q, search->txn->sql, AHEAD);
    bind_int(&q, place->lock);
    bind_int(&q, search->txn->now.lease_now_ms);
    bind_text(&q, search->asker);
    bind_int(&q, place->seq);
    bind_int(&q, search->steps);
    while (query_row(&q)) {
        search->steps--;
        bool shared = col_int(&q, 1) == LEASE_SHARED;
        place->shared = place->shared || shared;
        place->exclusive = place->exclusive || !shared;
        if (!shared && col_int(&q, 2) > place->permits) {
            place->permits = col_int(&q, 2);
        }
        if (col_int(&q, 3) != 0) {
            found(search, by, place, col_borrow(&q, 0));
        }
    }
}

/* Whether nothing can be granted there unless this owner lets go. */
static bool is_in_the_way(const struct place *place, bool holds_shared, int64_t permits_held)
{
    if (holds_shared) {
        return place->exclusive;
    }
    return place->shared || place->limit - permits_held < place->permits;
}

static void look_at_holders(struct search *search, const struct waiter *by,
                            const struct place *place)
{
    static const char HOLDERS[] =
        "SELECT owner, max(mode), sum(permits), " LEADS_ON ", count(*) FROM"
        " (SELECT owner, mode, permits FROM leases"
        "   WHERE lock = ?1 AND state = 1 AND due_ms > ?2 LIMIT ?5) AS o GROUP BY owner";
    QUERY(q, search->txn->sql, HOLDERS);
    bind_int(&q, place->lock);
    bind_int(&q, search->txn->now.lease_now_ms);
    bind_text(&q, search->asker);
    bind_int(&q, place->seq);
    bind_int(&q, search->steps);
    while (query_row(&q)) {
        search->steps -= col_int(&q, 4);
        if (col_int(&q, 3) != 0 &&
            is_in_the_way(place, col_int(&q, 1) == LEASE_SHARED, col_int(&q, 2))) {
            found(search, by, place, col_borrow(&q, 0));
        }
    }
}

static void look_at_place(struct search *search, const struct waiter *by, struct place *place)
{
    look_ahead_in_line(search, by, place);
    look_at_holders(search, by, place);
}

/* Those in the way on a lock that is asked for are all known already: the asker would stand behind them. */
static bool is_wished(const struct search *search, int64_t lock)
{
    for (size_t i = 0; i < search->wish_count; i++) {
        if (search->wishes[i].lock->id == lock) {
            return true;
        }
    }
    return false;
}

/* Whom the waiter waits for, on all locks it waits for. */
static void look_into(struct search *search, const struct waiter *waiter)
{
    static const char PLACES[] =
        "SELECT l.lock, k.name, k.permit_limit, l.seq, l.permits, l.mode FROM leases AS l"
        " JOIN locks AS k ON k.id = l.lock WHERE l.owner = ?1 AND l.state = 0 AND l.due_ms > ?2";
    QUERY(q, search->txn->sql, PLACES);
    bind_text(&q, waiter->owner);
    bind_int(&q, search->txn->now.lease_now_ms);
    while (search->steps > 0 && search->closing == NULL && query_row(&q)) {
        search->steps--;
        bool shared = col_int(&q, 5) == LEASE_SHARED;
        struct place place = {.lock = col_int(&q, 0),
                              .name = col_text(&q, 1, search->txn->arena),
                              .limit = col_int(&q, 2),
                              .seq = col_int(&q, 3),
                              .permits = shared ? 0 : col_int(&q, 4),
                              .exclusive = !shared,
                              .shared = shared};
        if (!is_wished(search, place.lock)) {
            look_at_place(search, waiter, &place);
        }
    }
}

static void look_at_wish(struct search *search, const struct wish *wish)
{
    bool shared = wish->mode == LEASE_SHARED;
    struct place place = {.lock = wish->lock->id,
                          .name = wish->lock->name,
                          .limit = wish->lock->limit,
                          .seq = INT64_MAX,
                          .permits = shared ? 0 : wish->permits,
                          .exclusive = !shared,
                          .shared = shared};
    if (wish->lock->holders + wish->lock->waiters > 0) {
        look_at_place(search, NULL, &place);
    }
}

/* Writes the cycle from its end to its beginning: each owner waits for the lock that the next is in the way of. */
static struct cycle cycle_of(const struct search *search)
{
    size_t count = search->closing->depth + 1;
    struct cycle cycle = {arena_zalloc(search->txn->arena, count, sizeof *cycle.at), count};
    if (cycle.at == NULL) {
        return (struct cycle){NULL, 0};
    }
    struct text lock = search->closing_lock;
    for (const struct waiter *w = search->closing; w != NULL; w = w->by) {
        cycle.at[w->depth] = (struct cycle_edge){w->owner, lock};
        lock = w->lock;
    }
    cycle.at[0] = (struct cycle_edge){arena_copy(search->txn->arena, search->asker), lock};
    return cycle;
}

/* A cycle takes somebody who waits for a lock that is not asked for. Mostly there is nobody. */
static bool others_wait(const struct txn *txn, const struct wish *wishes, size_t count)
{
    int64_t here = 0;
    for (size_t i = 0; i < count; i++) {
        here += wishes[i].lock->waiters;
    }
    return txn->counters->waiting > here;
}

bool deadlock_find(struct txn *txn, struct text owner, const struct wish *wishes, size_t count,
                   struct cycle *ret_cycle)
{
    struct search search = {.txn = txn,
                            .asker = owner,
                            .wishes = wishes,
                            .wish_count = count,
                            .steps = DEADLOCK_SEARCH_MAX};
    if (!others_wait(txn, wishes, count)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        look_at_wish(&search, &wishes[i]);
    }
    const struct waiter *waiter = search.first;
    for (; waiter != NULL && search.closing == NULL; waiter = waiter->next) {
        look_into(&search, waiter);
    }
    if (search.closing != NULL) {
        *ret_cycle = cycle_of(&search);
    }
    return search.closing != NULL;
}
