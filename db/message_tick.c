#include "db/acks.h"
#include "db/aggregates.h"
#include "db/dedups.h"
#include "db/groups.h"

struct message_ids messages_collect(struct txn *txn, struct query *query, int64_t max)
{
    int64_t *at = NULL;
    size_t count = 0, room = 0;
    while ((int64_t)count < max && query_row(query)) {
        if (count == room) {
            room = room == 0 ? 64 : room * 2;
            int64_t *larger = arena_alloc(txn->arena, room * sizeof *larger);
            if (larger == NULL) {
                break; /* the command answers out-of-memory, and is rolled back */
            }
            if (count > 0) {
                memcpy(larger, at, count * sizeof *larger);
            }
            at = larger;
        }
        at[count++] = col_int(query, 0);
    }
    query_end(query);
    return (struct message_ids){at, count};
}

/* ---- one queue: what is due ----------------------------------------------------------------------------------------- */

/* The messages of a lane that are due. */
static struct message_ids due_in_lane(struct txn *txn, int64_t lane, int64_t now_ms, int64_t steps)
{
    static const char DUE[] =
        "SELECT id FROM messages WHERE lane = ?1 AND due_ms <= ?2 ORDER BY due_ms, id LIMIT ?3";
    QUERY(q, txn->sql, DUE);
    bind_int(&q, lane);
    bind_int(&q, now_ms);
    bind_int(&q, steps);
    return messages_collect(txn, &q, steps);
}

static int64_t reclaim_leases(struct txn *txn, struct queue *queue, int64_t steps)
{
    struct message_ids ids =
        due_in_lane(txn, message_lane(queue, STATE_LEASED, 0), txn->now.lease_now_ms, steps);
    struct message message;
    for (size_t i = 0; i < ids.count; i++) {
        if (message_load(txn, ids.at[i], &message)) {
            message_fail(txn, queue, &message, ABSENT, TEXT_ABSENT);
        }
    }
    return (int64_t)ids.count;
}

static int64_t end_delays(struct txn *txn, struct queue *queue, int64_t steps)
{
    struct message_ids ids =
        due_in_lane(txn, message_lane(queue, STATE_DELAYED, 0), txn->now.now_ms, steps);
    struct message message;
    for (size_t i = 0; i < ids.count; i++) {
        if (message_load(txn, ids.at[i], &message)) {
            message_stand(txn, queue, &message, message, ABSENT);
        }
    }
    return (int64_t)ids.count;
}

/* ---- one queue: what has expired ------------------------------------------------------------------------------------ */

static void expire(struct txn *txn, struct queue *queue, const struct message_ids *ids)
{
    struct message message;
    for (size_t i = 0; i < ids->count; i++) {
        if (message_load(txn, ids->at[i], &message) && message_expired(txn, queue, &message)) {
            message_remove(txn, queue, &message);
            txn->counters->expired++;
        }
    }
}

/* Messages whose own ttl is over; those that are leased are not in that index. */
static int64_t expire_ttls(struct txn *txn, struct queue *queue, int64_t steps)
{
    static const char OVER[] = "SELECT id FROM messages WHERE id >> 41 = ?1 AND expires_ms <= ?2"
                               " AND (lane & 31) <> 17 ORDER BY expires_ms, id LIMIT ?3";
    QUERY(q, txn->sql, OVER);
    bind_int(&q, queue->id);
    bind_int(&q, txn->now.now_ms);
    bind_int(&q, steps);
    struct message_ids ids = messages_collect(txn, &q, steps);
    expire(txn, queue, &ids);
    return (int64_t)ids.count;
}

/* Messages the queue has kept for as long as it does: they lie in the order they were sent in, so that they are the
   first, among the living and on the shelf. Those that are leased stay, and are stepped over. */
static int64_t expire_kept(struct txn *txn, struct queue *queue, int64_t shelf, int64_t steps)
{
    static const char FIRST[] = "SELECT id, enqueued_ms FROM messages WHERE id BETWEEN ?1 AND ?2"
                                " ORDER BY id LIMIT ?3";
    int64_t until_ms = txn->now.now_ms - queue->config.retention_ms;
    struct message_ids ids = {NULL, 0};
    QUERY(q, txn->sql, FIRST);
    bind_int(&q, message_id(queue, shelf));
    bind_int(&q, message_id(queue, shelf | MESSAGE_SEQUENCE_MAX));
    bind_int(&q, steps);
    int64_t *at = arena_alloc(txn->arena, (size_t)steps * sizeof *at);
    while (at != NULL && query_row(&q) && col_int(&q, 1) <= until_ms) {
        at[ids.count++] = col_int(&q, 0);
    }
    query_end(&q);
    ids.at = at;
    expire(txn, queue, &ids);
    return (int64_t)ids.count;
}

/* ---- one queue: groups after group_concurrency was raised --------------------------------------------------------- */

/* Goes through the queue in order and gives the turns there is room for now; the queue remembers how far it got. */
static int64_t regroup(struct txn *txn, struct queue *queue, int64_t steps)
{
    static const char ON[] =
        "SELECT id FROM messages WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3";
    if (queue->regroup_id == ABSENT) {
        return 0;
    }
    QUERY(q, txn->sql, ON);
    bind_int(&q, queue->regroup_id);
    bind_int(&q, message_id(queue, MESSAGE_SEQUENCE_MAX));
    bind_int(&q, steps);
    struct message_ids ids = messages_collect(txn, &q, steps);
    struct message message;
    for (size_t i = 0; i < ids.count; i++) {
        if (message_load(txn, ids.at[i], &message) && message.turn == 0) {
            group_next(txn, queue, message.group);
        }
        queue->regroup_id = ids.at[i];
    }
    if ((int64_t)ids.count < steps) {
        queue->regroup_id = ABSENT;
    }
    return (int64_t)ids.count;
}

/* ---- one queue: when it is next due ------------------------------------------------------------------------------- */

static int64_t first_of_lane(struct txn *txn, int64_t lane)
{
    static const char FIRST[] = "SELECT due_ms FROM messages WHERE lane = ?1"
                                " ORDER BY due_ms LIMIT 1";
    QUERY(q, txn->sql, FIRST);
    bind_int(&q, lane);
    return query_row(&q) ? col_int(&q, 0) : INT64_MAX;
}

static int64_t first_ttl(struct txn *txn, const struct queue *queue)
{
    static const char FIRST[] = "SELECT expires_ms FROM messages WHERE id >> 41 = ?1"
                                " AND expires_ms IS NOT NULL AND (lane & 31) <> 17"
                                " ORDER BY expires_ms LIMIT 1";
    QUERY(q, txn->sql, FIRST);
    bind_int(&q, queue->id);
    return query_row(&q) ? col_int(&q, 0) : INT64_MAX;
}

/*
 * Of the first message that nobody holds; one that is held sets the bound anew when it is put back. Where very many are
 * held at the head, those behind are as old at least as the last we looked at, and we look again soon.
 */
static int64_t first_kept(struct txn *txn, const struct queue *queue, int64_t shelf)
{
    static const char FIRST[] = "SELECT enqueued_ms, lane FROM messages WHERE id BETWEEN ?1 AND ?2"
                                " ORDER BY id";
    int64_t rows = 0, over_ms = INT64_MAX;
    QUERY(q, txn->sql, FIRST);
    bind_int(&q, message_id(queue, shelf));
    bind_int(&q, message_id(queue, shelf | MESSAGE_SEQUENCE_MAX));
    while (query_row(&q)) {
        over_ms = col_int(&q, 0) + queue->config.retention_ms;
        if (message_state(col_int(&q, 1)) != STATE_LEASED) {
            return over_ms;
        }
        if (++rows == RECEIVE_STEPS_MAX) {
            return over_ms > txn->now.now_ms ? over_ms : txn->now.now_ms + SECOND_MS;
        }
    }
    return INT64_MAX;
}

static int64_t next_wall_ms(struct txn *txn, const struct queue *queue)
{
    if (queue->regroup_id != ABSENT) {
        return txn->now.now_ms;
    }
    int64_t next_ms[] = {first_of_lane(txn, message_lane(queue, STATE_DELAYED, 0)),
                         first_ttl(txn, queue), first_kept(txn, queue, 0),
                         first_kept(txn, queue, MESSAGE_SHELF)};
    int64_t first_ms = INT64_MAX;
    for (size_t i = 0; i < sizeof next_ms / sizeof *next_ms; i++) {
        first_ms = next_ms[i] < first_ms ? next_ms[i] : first_ms;
    }
    return first_ms;
}

int64_t queue_advance(struct txn *txn, struct queue *queue, int64_t steps)
{
    int64_t left = steps;
    bool lease = queue->due.lease_ms <= txn->now.lease_now_ms;
    bool wall = queue->due.wall_ms <= txn->now.now_ms;
    if (lease) {
        left -= reclaim_leases(txn, queue, left);
    }
    if (wall) {
        left -= end_delays(txn, queue, left);
        left -= expire_ttls(txn, queue, left);
        left -= expire_kept(txn, queue, 0, left);
        left -= expire_kept(txn, queue, MESSAGE_SHELF, left);
        left -= regroup(txn, queue, left);
    }
    if (lease) {
        queue->due.lease_ms = first_of_lane(txn, message_lane(queue, STATE_LEASED, 0));
    }
    if (wall) {
        queue->due.wall_ms = next_wall_ms(txn, queue);
    }
    return steps - left;
}

/* ---- all queues --------------------------------------------------------------------------------------------------- */

/* Advances the queues a query names, those due first; a step is at least counted for each. */
static int64_t advance_those(struct txn *txn, struct query *due, int64_t steps)
{
    struct message_ids ids = messages_collect(txn, due, steps);
    int64_t left = steps;
    struct queue queue;
    for (size_t i = 0; i < ids.count && left > 0; i++) {
        if (queue_find_id(txn, ids.at[i], &queue)) {
            left -= queue_advance(txn, &queue, left) + 1;
            queue_store(txn, &queue);
        }
    }
    return steps - left;
}

static int64_t advance_queues(struct txn *txn, int64_t steps)
{
    static const char BY_LEASE[] = "SELECT id FROM queues WHERE lease_due_ms <= ?1"
                                   " ORDER BY lease_due_ms, id LIMIT ?2";
    static const char BY_WALL[] = "SELECT id FROM queues WHERE wall_due_ms <= ?1"
                                  " ORDER BY wall_due_ms, id LIMIT ?2";
    QUERY(lease, txn->sql, BY_LEASE);
    bind_int(&lease, txn->now.lease_now_ms);
    bind_int(&lease, steps);
    int64_t done = advance_those(txn, &lease, steps);
    QUERY(wall, txn->sql, BY_WALL);
    bind_int(&wall, txn->now.now_ms);
    bind_int(&wall, steps);
    return done + (done < steps ? advance_those(txn, &wall, steps - done) : 0);
}

static void note_next_due(struct txn *txn)
{
    static const char NEXT[] =
        "SELECT (SELECT min(wall_due_ms) FROM queues), (SELECT min(lease_due_ms) FROM queues)";
    QUERY(q, txn->sql, NEXT);
    if (!query_row(&q)) {
        return;
    }
    if (col_int(&q, 0) != ABSENT) {
        txn_due_wall(txn, col_int(&q, 0));
    }
    if (col_int(&q, 1) != ABSENT) {
        txn_due_lease(txn, col_int(&q, 1));
    }
}

/* Deletes messages of queues that were deleted or purged, and in the end what was left of the queue's row. */
static int64_t clear_nameless(struct txn *txn, int64_t steps)
{
    static const char FIND[] = "SELECT id FROM queues WHERE name IS NULL LIMIT 1";
    static const char CLEAR[] = "DELETE FROM messages WHERE id IN (SELECT id FROM messages"
                                " WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3)";
    static const char CLEAR_BODIES[] = "DELETE FROM bodies WHERE id IN (SELECT id FROM bodies"
                                       " WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3)";
    static const char DROP[] = "DELETE FROM queues WHERE id = ?1";
    QUERY(find, txn->sql, FIND);
    if (!query_row(&find)) {
        return 0;
    }
    struct queue gone = {.id = col_int(&find, 0)};
    query_end(&find);
    const char *const texts[] = {CLEAR, CLEAR_BODIES};
    int64_t cleared = 0;
    for (size_t i = 0; i < 2 && cleared < steps; i++) {
        QUERY(clear, txn->sql, texts[i]);
        bind_int(&clear, message_id(&gone, 0));
        bind_int(&clear, message_id(&gone, MESSAGE_SHELF | MESSAGE_SEQUENCE_MAX));
        bind_int(&clear, steps - cleared);
        cleared += query_run(&clear);
    }
    txn_due_wall(txn, txn->now.now_ms); /* there may be more, or another such queue */
    if (cleared == steps) {
        return cleared;
    }
    QUERY(drop, txn->sql, DROP);
    bind_int(&drop, gone.id);
    return cleared + query_run(&drop);
}

int64_t messages_tick(struct txn *txn, int64_t steps)
{
    int64_t done = advance_queues(txn, steps);
    done += clear_nameless(txn, steps);
    done += dedups_tick(txn, steps);
    done += acks_tick(txn, steps);
    note_next_due(txn);
    return done;
}
