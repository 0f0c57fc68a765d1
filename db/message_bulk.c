/* Purge and redrive: many messages of a queue at once. */
#include "db/aggregates.h"
#include "db/messages.h"
#include "db/shards.h"

/* ---- purge -------------------------------------------------------------------------------------------------------- */

/* All of them, in one step whatever their number: the queue goes on under a new id, and TICKs delete what it had. */
static void purge_all(struct txn *txn, struct queue *queue, struct result *result)
{
    int64_t count = queue_depth(queue) + queue->depths.dead;
    if (count > 0 && !queue_renumber(txn, queue)) {
        result->status = STATUS_OVERLOADED;
        return;
    }
    result->count = count;
}

static int64_t remove_all(struct txn *txn, struct queue *queue, struct query *q, int64_t max)
{
    struct message_ids ids = messages_collect(txn, q, max);
    int64_t removed = 0;
    struct message message;
    for (size_t i = 0; i < ids.count; i++) {
        if (message_load(txn, ids.at[i], &message)) {
            message_remove(txn, queue, &message);
            removed++;
        }
    }
    return removed;
}

static int64_t purge_lanes(struct txn *txn, struct queue *queue, int64_t from, int64_t to,
                           int64_t max)
{
    static const char IN_LANES[] =
        "SELECT id FROM messages WHERE lane BETWEEN ?1 AND ?2 ORDER BY lane, due_ms, id LIMIT ?3";
    QUERY(q, txn->sql, IN_LANES);
    bind_int(&q, from);
    bind_int(&q, to);
    bind_int(&q, max);
    return remove_all(txn, queue, &q, max);
}

static int64_t purge_dead(struct txn *txn, struct queue *queue, int64_t max)
{
    static const char ON_SHELF[] =
        "SELECT id FROM messages WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3";
    QUERY(q, txn->sql, ON_SHELF);
    bind_int(&q, message_id(queue, MESSAGE_SHELF));
    bind_int(&q, message_id(queue, MESSAGE_SHELF | MESSAGE_SEQUENCE_MAX));
    bind_int(&q, max);
    return remove_all(txn, queue, &q, max);
}

/* What a client calls ready: the BLOCKED first, so that none of them gets a turn only to be purged with it. */
static int64_t purge_ready(struct txn *txn, struct queue *queue, int64_t max)
{
    int64_t blocked = message_lane(queue, STATE_BLOCKED, 0);
    int64_t purged = purge_lanes(txn, queue, blocked, blocked, max);
    return purged + purge_lanes(txn, queue, message_lane(queue, STATE_READY, MESSAGE_PRIORITY_MAX),
                                message_lane(queue, STATE_READY, 0), max - purged);
}

static int64_t purge_state(struct txn *txn, struct queue *queue, int64_t state, int64_t max)
{
    int64_t lane = 0;
    switch ((enum message_filter)state) {
    case MESSAGE_READY:
        return purge_ready(txn, queue, max);
    case MESSAGE_DEAD:
        return purge_dead(txn, queue, max);
    case MESSAGE_DELAYED:
        lane = message_lane(queue, STATE_DELAYED, 0);
        break;
    case MESSAGE_LEASED:
    case MESSAGE_ANY:
        lane = message_lane(queue, STATE_LEASED, 0);
        break;
    }
    return purge_lanes(txn, queue, lane, lane, max);
}

/*
 * One state is purged message by message, because each leaves a group and the rest stay: `max` bounds what one command
 * does, and whoever wants more repeats it until a command purges less than that; the sum is exact.
 */
void queue_purge(struct txn *txn, const struct queue_purge *command, struct result *result)
{
    struct queue queue;
    result->status = queue_enter(txn, command->queue, ENTER_WHOLE, &queue);
    if (result->status != STATUS_OK) {
        return;
    }
    if (command->state == MESSAGE_ANY) {
        purge_all(txn, &queue, result);
    } else {
        int64_t max = command->max == ABSENT ? INT64_MAX : command->max;
        queue_advance(txn, &queue, QUEUE_STEPS_MAX);
        result->count = purge_state(txn, &queue, command->state, max);
    }
    queue_store(txn, &queue);
}

/* ---- redrive ------------------------------------------------------------------------------------------------------ */

static bool redrive_one(struct txn *txn, struct queue *queue, int64_t id)
{
    struct message message;
    if (!message_load(txn, id, &message) || message_expired(txn, queue, &message)) {
        return false;
    }
    message_revive(txn, queue, &message);
    return true;
}

static int64_t redrive_ids(struct txn *txn, struct queue *queue, const struct message_ids *ids,
                           int64_t max)
{
    int64_t redriven = 0;
    for (size_t i = 0; i < ids->count && redriven < max; i++) {
        int64_t sequence = ids->at[i];
        if (sequence >= 1 && sequence <= queue->sequence) {
            redriven += redrive_one(txn, queue, message_id(queue, sequence | MESSAGE_SHELF));
        }
    }
    return redriven;
}

/* The first of the shelf; what has expired is taken off it before. */
static int64_t redrive_first(struct txn *txn, struct queue *queue, int64_t max)
{
    static const char ON_SHELF[] = "SELECT id FROM messages WHERE id BETWEEN ?1 AND ?2"
                                   " AND enqueued_ms > ?3 ORDER BY id LIMIT ?4";
    QUERY(q, txn->sql, ON_SHELF);
    bind_int(&q, message_id(queue, MESSAGE_SHELF));
    bind_int(&q, message_id(queue, MESSAGE_SHELF | MESSAGE_SEQUENCE_MAX));
    bind_int(&q, txn->now.now_ms - queue->config.retention_ms);
    bind_int(&q, max);
    struct message_ids ids = messages_collect(txn, &q, max);
    int64_t redriven = 0;
    for (size_t i = 0; i < ids.count; i++) {
        redriven += redrive_one(txn, queue, ids.at[i]);
    }
    return redriven;
}

void queue_redrive(struct txn *txn, const struct queue_redrive *command, struct result *result)
{
    struct queue queue;
    result->status = queue_enter(txn, command->queue, ENTER_WHOLE, &queue);
    if (result->status != STATUS_OK) {
        return;
    }
    int64_t max = command->max == ABSENT ? INT64_MAX : command->max;
    queue_advance(txn, &queue, RECEIVE_STEPS_MAX);
    result->count = command->by_id ? redrive_ids(txn, &queue, &command->ids, max)
                                   : redrive_first(txn, &queue, max);
    queue_store(txn, &queue);
}
