#include "db/acks.h"
#include "db/aggregates.h"
#include "db/messages.h"
#include "db/shards.h"

/* The outcome of a receipt that does not hold the message it names. */
static int64_t outcome_of_stale(struct txn *txn, const struct queue *queue, const struct acks *acks,
                                const struct settlement *item)
{
    struct message message;
    if (message_find(txn, queue, item->message, &message) &&
        !message_expired(txn, queue, &message)) {
        return OUTCOME_LEASE_LOST;
    }
    return item->action == SETTLE_ACK && acks_know(txn, acks, item->fence) ? OUTCOME_ALREADY_ACKED
                                                                           : OUTCOME_GONE;
}

/* The common case in one statement: the ack of a message that has no group to tell and no body elsewhere. */
static bool ack_plain(struct txn *txn, struct queue *queue, const struct settlement *item)
{
    static const char ACK[] = "DELETE FROM messages WHERE id = ?1 AND fence = ?2 AND lane = ?3"
                              " AND due_ms > ?4 AND turn IS NULL AND body IS NOT NULL";
    QUERY(q, txn->sql, ACK);
    bind_int(&q, message_id(queue, item->message));
    bind_int(&q, item->fence);
    bind_int(&q, message_lane(queue, STATE_LEASED, 0));
    bind_int(&q, txn->now.lease_now_ms);
    if (query_run(&q) == 0) {
        return false;
    }
    queue->depths.leased--;
    queue->changed = true;
    return true;
}

static void extend(struct txn *txn, struct queue *queue, const struct message *message,
                   int64_t lease_ms)
{
    struct message to = *message;
    to.due_ms = txn->now.lease_now_ms + lease_ms;
    message_change(txn, queue, message, &to);
    queue_due_lease(queue, to.due_ms);
}

/* Settles what the receipt holds. */
static int64_t settle_held(struct txn *txn, struct queue *queue, const struct message *message,
                           const struct settlement *item)
{
    switch ((enum settle_action)item->action) {
    case SETTLE_ACK:
        message_remove(txn, queue, message);
        return OUTCOME_ACKED;
    case SETTLE_NACK:
        message_fail(txn, queue, message, item->delay_ms, item->reason);
        return OUTCOME_NACKED;
    case SETTLE_EXTEND:
        extend(txn, queue, message, item->lease_ms);
        return OUTCOME_EXTENDED;
    case SETTLE_REJECT:
        message_die(txn, queue, message,
                    text_given(item->reason) ? item->reason : TEXT("rejected"));
        return OUTCOME_REJECTED;
    }
    return OUTCOME_GONE;
}

static int64_t settle_one(struct txn *txn, struct queue *queue, struct acks *acks,
                          const struct settlement *item)
{
    bool known = item->message >= 1 && item->message <= queue->sequence;
    if (known && item->action == SETTLE_ACK && ack_plain(txn, queue, item)) {
        acks_add(txn, acks, item->fence);
        return OUTCOME_ACKED;
    }
    struct message message;
    if (!known || !message_load(txn, message_id(queue, item->message), &message) ||
        message.fence != item->fence || !message_is_held(txn, &message)) {
        return outcome_of_stale(txn, queue, acks, item);
    }
    int64_t outcome = settle_held(txn, queue, &message, item);
    if (outcome == OUTCOME_ACKED) {
        acks_add(txn, acks, item->fence);
    }
    return outcome;
}

static bool settle_all(struct txn *txn, struct queue *queue, const struct message_settle *command,
                       struct outcomes *outcomes)
{
    struct acks acks = {0, 0};
    bool all_good = true;
    for (size_t i = 0; i < outcomes->count; i++) {
        int64_t outcome = settle_one(txn, queue, &acks, &command->items.at[i]);
        outcomes->at[i] = outcome;
        all_good = all_good && outcome != OUTCOME_LEASE_LOST && outcome != OUTCOME_GONE;
    }
    acks_flush(txn, &acks);
    return all_good;
}

static bool names_other_shards(const struct message_settle *command)
{
    bool other = false;
    for (size_t i = 0; i < command->items.count; i++) {
        other |= shard_of_message(command->items.at[i].message) != 0;
    }
    return other;
}

void message_settle(struct txn *txn, const struct message_settle *command, struct result *result)
{
    struct queue queue;
    struct outcomes outcomes = {arena_zalloc(txn->arena, command->items.count, sizeof *outcomes.at),
                                command->items.count};
    if (outcomes.at == NULL) {
        return;
    }
    result->status = queue_enter(txn, command->queue, ENTER_HOME, &queue);
    if (result->status != STATUS_OK) {
        return;
    }
    if (queue.spread > 1 && txn->scope == SCOPE_TRANSACTION && names_other_shards(command)) {
        result->status = STATUS_CROSS_PARTITION;
        return;
    }
    result->shape = SHAPE_OUTCOMES;
    result->outcomes = outcomes;
    if (!command->atomic) {
        settle_all(txn, &queue, command, &outcomes);
        queue_store(txn, &queue);
        return;
    }
    struct savepoint start = txn_savepoint(txn);
    if (settle_all(txn, &queue, command, &outcomes)) {
        queue_store(txn, &queue);
        txn_keep(txn);
    } else {
        txn_undo(txn, &start);
        result->status = STATUS_SETTLE_FAILED;
    }
}

/* ---- one message -------------------------------------------------------------------------------------------------- */

static enum status ack_one(struct txn *txn, struct queue *queue,
                           const struct message_delete *command)
{
    struct acks acks = {0, 0};
    struct settlement item = {
        .action = SETTLE_ACK, .message = command->message, .fence = command->fence};
    int64_t outcome = settle_one(txn, queue, &acks, &item);
    acks_flush(txn, &acks);
    return outcome == OUTCOME_LEASE_LOST ? STATUS_LEASE_LOST
           : outcome == OUTCOME_GONE     ? STATUS_MESSAGE_GONE
                                         : STATUS_OK;
}

static enum status cancel(struct txn *txn, struct queue *queue,
                          const struct message_delete *command)
{
    struct message message;
    if (!message_find(txn, queue, command->message, &message) ||
        message_expired(txn, queue, &message)) {
        /* Not the same to who cancels: of one that was there, it may be too late. */
        bool was_here = command->message >= 1 && command->message <= queue->sequence;
        return was_here ? STATUS_MESSAGE_GONE : STATUS_MESSAGE_NOT_FOUND;
    }
    if (message_is_held(txn, &message)) {
        return STATUS_MESSAGE_LEASED;
    }
    message_remove(txn, queue, &message);
    return STATUS_OK;
}

void message_delete(struct txn *txn, const struct message_delete *command, struct result *result)
{
    struct queue queue;
    result->status = queue_enter_message(txn, command->queue, command->message, &queue);
    if (result->status != STATUS_OK) {
        return;
    }
    result->status =
        command->fence == ABSENT ? cancel(txn, &queue, command) : ack_one(txn, &queue, command);
    queue_store(txn, &queue);
}
