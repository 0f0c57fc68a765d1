#include "db/aggregates.h"
#include "db/dedups.h"
#include "db/messages.h"
#include "db/shards.h"

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- rate: a bucket of `burst` tokens, filled by per_s a second; a message takes one ------------------------------ */

static void fill_bucket(struct txn *txn, struct queue *queue)
{
    const struct queue_config *config = &queue->config;
    int64_t full = queue_share(queue, queue_burst(config)) * TOKEN_PARTS(queue);
    int64_t passed_ms = least(txn->now.now_ms - queue->filled_ms, DAY_MS);
    /* per_s tokens a second are per_s thousandths a millisecond, and per_s parts of a token in each of the shards. */
    queue->tokens_milli = least(full, queue->tokens_milli + passed_ms * config->rate_per_s);
    queue->filled_ms = txn->now.now_ms;
}

/* Whether the bucket has tokens for so many messages; else when it will, 0 where it is too small ever to have. */
static bool rate_allows(const struct queue *queue, int64_t messages, int64_t *ret_retry_after_ms)
{
    int64_t missing = messages * TOKEN_PARTS(queue) - queue->tokens_milli;
    if (queue->config.rate_per_s == 0 || missing <= 0) {
        return true;
    }
    bool never = messages > queue_share(queue, queue_burst(&queue->config));
    *ret_retry_after_ms =
        never ? 0 : (missing + queue->config.rate_per_s - 1) / queue->config.rate_per_s;
    return false;
}

static void take_tokens(struct queue *queue, int64_t messages)
{
    if (queue->config.rate_per_s > 0) {
        queue->tokens_milli -= messages * TOKEN_PARTS(queue);
        queue->changed = true;
    }
}

/* ---- room --------------------------------------------------------------------------------------------------------- */

static bool has_room(const struct queue *queue, int64_t messages)
{
    return queue->sequence + messages <= MESSAGE_SEQUENCE_MAX &&
           (queue->config.max_depth == 0 ||
            queue_depth(queue) + messages <= queue_share(queue, queue->config.max_depth));
}

/* What has expired takes no room: where room is short, that is put right first. It stays so even if the command is
   refused then, for time has passed anyway. */
static void make_room(struct txn *txn, struct queue *queue, int64_t messages)
{
    bool due =
        queue->due.wall_ms <= txn->now.now_ms || queue->due.lease_ms <= txn->now.lease_now_ms;
    if (due && !has_room(queue, messages)) {
        queue_advance(txn, queue, RECEIVE_STEPS_MAX);
        queue_store(txn, queue);
    }
}

/* ---- one message -------------------------------------------------------------------------------------------------- */

/* When it may be delivered; ABSENT: at once. */
static int64_t deliver_ms(const struct txn *txn, const struct queue *queue,
                          const struct message_new *fresh)
{
    int64_t now_ms = txn->now.now_ms;
    int64_t at_ms = fresh->deliver_at_ms != ABSENT ? fresh->deliver_at_ms
                    : fresh->delay_ms != ABSENT    ? now_ms + fresh->delay_ms
                                                   : now_ms + queue->config.delay_ms;
    return at_ms > now_ms ? at_ms : ABSENT;
}

static struct sent_message send_one(struct txn *txn, struct queue *queue,
                                    const struct message_new *fresh)
{
    bool dedup = text_given(fresh->dedup_id) && queue->config.dedup_window_ms > 0;
    bool room = has_room(queue, 1);
    if (dedup && !(room && dedup_claim(txn, queue, fresh->dedup_id, queue->sequence + 1))) {
        int64_t first = dedup_find(txn, queue, fresh->dedup_id);
        if (first != 0) {
            return (struct sent_message){STATUS_CREATED, first, 0, true};
        }
    }
    if (!room) {
        return (struct sent_message){.status = STATUS_QUEUE_FULL};
    }
    int64_t sequence = message_insert(txn, queue, fresh, deliver_ms(txn, queue, fresh));
    return (struct sent_message){STATUS_CREATED, sequence, 0, false};
}

/* ---- the queue ---------------------------------------------------------------------------------------------------- */

/* Finds the queue, or makes it for its first message. Where the queue is spread, what follows from a message's group or
   dedup_id is only right on the shard that they lead to. */
static enum status enter(struct txn *txn, const struct message_send *command, struct queue *queue)
{
    struct queue_config config = queue_config_default();
    enum status status = queue_enter(txn, command->queue, ENTER_HOME, queue);
    if (status == STATUS_QUEUE_NOT_FOUND) {
        bool made = queue_make(txn, command->queue, &config, WHOLE_QUEUE, queue);
        return made ? STATUS_OK : STATUS_OVERLOADED;
    }
    struct text key;
    for (size_t i = 0; status == STATUS_OK && i < command->messages.count; i++) {
        if (shard_key(&command->messages.at[i], &key)) {
            bool here = shard_of(key, queue->spread) == queue->shard;
            status = here ? STATUS_OK : STATUS_CROSS_PARTITION;
            queue->keyed = true;
        }
    }
    return status;
}

/* ---- all of them -------------------------------------------------------------------------------------------------- */

/* All or none. The savepoint is paid for only where one may turn out to be refused. */
static enum status send_all(struct txn *txn, struct queue *queue,
                            const struct message_send *command, struct sent_messages *sent,
                            int64_t *ret_retry_after_ms)
{
    int64_t count = (int64_t)sent->count;
    if (!rate_allows(queue, count, ret_retry_after_ms)) {
        return STATUS_RATE_LIMITED;
    }
    bool guarded = !has_room(queue, count);
    struct savepoint start;
    if (guarded) {
        start = txn_savepoint(txn);
    }
    for (size_t i = 0; i < sent->count; i++) {
        sent->at[i] = send_one(txn, queue, &command->messages.at[i]);
        if (guarded && sent->at[i].status != STATUS_CREATED) {
            txn_undo(txn, &start);
            return STATUS_QUEUE_FULL;
        }
    }
    if (guarded) {
        txn_keep(txn);
    }
    take_tokens(queue, count);
    return STATUS_CREATED;
}

/* Each for itself. */
static void send_each(struct txn *txn, struct queue *queue, const struct message_send *command,
                      struct sent_messages *sent)
{
    for (size_t i = 0; i < sent->count; i++) {
        struct sent_message *one = &sent->at[i];
        *one = (struct sent_message){.status = STATUS_RATE_LIMITED};
        if (rate_allows(queue, 1, &one->retry_after_ms)) {
            *one = send_one(txn, queue, &command->messages.at[i]);
            if (one->status == STATUS_CREATED) {
                take_tokens(queue, 1);
            }
        }
    }
}

void message_send(struct txn *txn, const struct message_send *command, struct result *result)
{
    struct queue queue;
    struct sent_messages sent = {arena_zalloc(txn->arena, command->messages.count, sizeof *sent.at),
                                 command->messages.count};
    if (sent.at == NULL) {
        return;
    }
    result->status = enter(txn, command, &queue);
    if (result->status != STATUS_OK) {
        return;
    }
    fill_bucket(txn, &queue);
    make_room(txn, &queue, (int64_t)sent.count);
    result->status = STATUS_CREATED;
    if (command->atomic) {
        result->status = send_all(txn, &queue, command, &sent, &result->retry_after_ms);
    } else {
        send_each(txn, &queue, command, &sent);
    }
    if (result->status == STATUS_CREATED) {
        queue_store(txn, &queue);
        result->shape = SHAPE_SENT;
        result->sent = sent;
    }
}
