#include "db/shards.h"

#include "db/aggregates.h"
#include "db/dedups.h"
#include "db/dispatch.h"
#include "db/messages.h"

#include <xxhash.h>

/* ---- which shard -------------------------------------------------------------------------------------------------- */

bool shard_key(const struct message_new *message, struct text *ret)
{
    *ret = text_given(message->group) ? message->group : message->dedup_id;
    return text_given(*ret);
}

int64_t shard_of_hash(uint64_t hash, int64_t count)
{
    int64_t shard = 0, next = 0;
    while (next < count) {
        shard = next;
        hash = hash * UINT64_C(2862933555777941757) + 1;
        next = (int64_t)((double)(shard + 1) *
                         ((double)(INT64_C(1) << 31) / (double)((hash >> 33) + 1)));
    }
    return shard;
}

int64_t shard_of(struct text key, int64_t count)
{
    return count == 1 ? 0 : shard_of_hash(XXH3_64bits(key.at, key.len), count);
}

int64_t shard_count(int64_t shards, int64_t partitions)
{
    return partitions < 1 ? 1 : shards < partitions ? shards : partitions;
}

/* ---- who may have the queue --------------------------------------------------------------------------------------- */

enum status queue_enter(struct txn *txn, struct text name, enum entry entry, struct queue *ret)
{
    if (!queue_find(txn, name, ret)) {
        return STATUS_QUEUE_NOT_FOUND;
    }
    bool whole = ret->spread == 1 && ret->shard == 0;
    if (whole || txn->scope == SCOPE_SHARD) {
        return STATUS_OK;
    }
    if (txn->scope == SCOPE_QUEUE) {
        return STATUS_NOT_OWNER;
    }
    return entry == ENTER_HOME ? STATUS_OK : STATUS_CROSS_PARTITION;
}

enum status queue_enter_message(struct txn *txn, struct text name, int64_t message,
                                struct queue *ret)
{
    enum status status = queue_enter(txn, name, ENTER_HOME, ret);
    bool elsewhere = status == STATUS_OK && ret->spread > 1 && txn->scope == SCOPE_TRANSACTION &&
                     shard_of_message(message) != 0;
    return elsewhere ? STATUS_CROSS_PARTITION : status;
}

bool queue_is_empty(struct txn *txn, struct queue *queue)
{
    queue_advance(txn, queue, RECEIVE_STEPS_MAX); /* what has expired does not count */
    return queue_depth(queue) + queue->depths.dead == 0;
}

bool queue_may_move(struct txn *txn, struct queue *queue)
{
    if (queue->keyed && queue_is_empty(txn, queue) && !dedups_any(txn, queue)) {
        queue->keyed = false;
        queue->changed = true;
    }
    return !queue->keyed;
}

/* ---- what is asked of a shard ------------------------------------------------------------------------------------- */

static bool make_shard(struct txn *txn, const struct shard_request *request, struct queue *ret)
{
    struct shard_mark mark = {.shard = request->shard,
                              .spread = request->count,
                              .home_version = request->version,
                              .home_born = request->born};
    return queue_make(txn, request->queue, &request->config, mark, ret);
}

/* All that the row has goes; the row too, by and by. */
static void drop(struct txn *txn, struct queue *queue)
{
    queue->depths = (struct depths){0, 0, 0, 0};
    queue->due = DUE_NEVER;
    queue->changed = true;
    queue_store(txn, queue);
    queue_drop_name(txn, queue);
    txn->counters->queues -= queue->shard == 0;
}

static void take_over(struct txn *txn, const struct shard_request *request, struct queue *queue)
{
    queue->home_version = request->version;
    queue->home_born = request->born;
    queue_configure(txn, queue, &request->config, request->count);
    queue_store_config(txn, queue);
}

static enum status refuse_older(struct result *result, int64_t version)
{
    result->version = version;
    return STATUS_NOT_OWNER;
}

static enum status enter_home(struct txn *txn, const struct shard_request *request,
                              struct queue *queue, struct result *result)
{
    if (!queue_find(txn, request->queue, queue)) {
        return STATUS_QUEUE_NOT_FOUND;
    }
    return queue->config_version == request->version && queue->shard == 0
               ? STATUS_OK
               : refuse_older(result, queue->config_version);
}

/* Loads the shard, as the request's configuration has it. */
static enum status enter_shard(struct txn *txn, const struct shard_request *request,
                               struct queue *queue, struct result *result)
{
    if (request->shard == 0) {
        return enter_home(txn, request, queue, result);
    }
    bool there = queue_find(txn, request->queue, queue);
    if (there && (queue->home_version > request->version || queue->home_born > request->born)) {
        return refuse_older(result, queue->home_version);
    }
    if (there && queue->home_born != 0 && queue->home_born < request->born) {
        drop(txn, queue);
        there = false;
    }
    if (!there) {
        return make_shard(txn, request, queue) ? STATUS_OK : STATUS_OVERLOADED;
    }
    if (queue->home_version < request->version) {
        take_over(txn, request, queue);
    }
    return STATUS_OK;
}

static void run(struct txn *txn, const struct shard_request *request, struct result *result)
{
    enum scope scope = txn->scope;
    if (request->operations.count == 0) {
        return;
    }
    txn->scope = SCOPE_SHARD;
    dispatch(txn, &request->operations.at[0], result);
    txn->scope = scope;
}

/* From now on it takes nothing that comes by this version of the configuration. */
static void seal(struct txn *txn, const struct shard_request *request, struct queue *queue,
                 struct result *result)
{
    bool may =
        request->act == SHARD_SEAL_EMPTY ? queue_is_empty(txn, queue) : queue_may_move(txn, queue);
    if (may) {
        queue->home_version = request->version + 1;
        queue_store_config(txn, queue);
    } else {
        queue_store(txn, queue);
        result->status = STATUS_QUEUE_NOT_EMPTY;
    }
}

/* What stays is a row without messages that refuses whoever has not heard of the queue's end: made anew by such a one, the
   shard would take messages that nobody ever finds. */
static void drop_shard(struct txn *txn, const struct shard_request *request)
{
    struct queue queue;
    bool there = queue_find(txn, request->queue, &queue);
    if (request->shard == 0 || (there && (queue.shard == 0 || queue.home_born > request->born))) {
        return;
    }
    if (there) {
        drop(txn, &queue);
    }
    if (make_shard(txn, request, &queue)) {
        queue.home_version = request->version + 1;
        queue_store_config(txn, &queue);
    }
}

/* By this very version already. */
static bool is_sealed(struct txn *txn, const struct shard_request *request)
{
    struct queue queue;
    return queue_find(txn, request->queue, &queue) && queue.shard != 0 &&
           queue.home_born == request->born && queue.home_version == request->version + 1;
}

void shard_write(struct txn *txn, const struct shard_request *request, struct result *result)
{
    struct queue queue;
    if (request->act == SHARD_DROP) {
        drop_shard(txn, request);
        return;
    }
    if (request->act != SHARD_RUN && is_sealed(txn, request)) {
        return;
    }
    result->status = enter_shard(txn, request, &queue, result);
    if (result->status != STATUS_OK) {
        return;
    }
    if (request->act != SHARD_RUN) {
        seal(txn, request, &queue, result);
        return;
    }
    run(txn, request, result);
    if (queue_find(txn, request->queue, &queue)) {
        result->depth = queue_depth(&queue);
        result->due_in_ms = due_in_ms(queue.due, txn->now);
    }
}

/* A shard that is not there, or is an earlier queue's, has nothing: QUEUE_NOT_FOUND. One that is ahead is read all the
   same; what it has is what it has. */
void shard_read(struct txn *txn, const struct shard_request *request, struct result *result)
{
    struct queue queue;
    bool there =
        queue_find(txn, request->queue, &queue) && (queue.shard != 0) == (request->shard != 0);
    bool earlier =
        there && queue.shard != 0 && queue.home_born != 0 && queue.home_born < request->born;
    if (!there || earlier) {
        result->status = STATUS_QUEUE_NOT_FOUND;
        return;
    }
    run(txn, request, result);
}
