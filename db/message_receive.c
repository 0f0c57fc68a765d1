#include "db/aggregates.h"
#include "db/messages.h"
#include "db/shards.h"

enum { ROUNDS_MAX = 8 }; /* how often a receive looks again when it met expired messages */

/* What a receive takes, and what it finds expired on its way. */
struct haul {
    struct message_views views; /* room for the command's max */
    int64_t *expired;           /* the same */
    size_t expired_count;
    size_t bytes;
    bool full; /* a message stays behind because the answer is long enough */
};

static void take(struct txn *txn, const struct queue *queue, const struct query *q,
                 struct haul *haul)
{
    int64_t ends = message_ends_ms(queue, col_int(q, 10), col_int(q, 11));
    if (ends <= txn->now.now_ms) {
        haul->expired[haul->expired_count++] = col_int(q, 0);
        return;
    }
    struct text body = col_text(q, 6, txn->arena);
    struct message_view view = {.message = col_int(q, 0),
                                .attempt = col_int(q, 2),
                                .failures = col_int(q, 3),
                                .state = MESSAGE_LEASED,
                                .priority = col_int(q, 4),
                                .body_bytes = col_int(q, 5),
                                .body = text_given(body) ? body
                                                         : message_body_apart(txn, col_int(q, 0)),
                                .attributes = col_text(q, 7, txn->arena),
                                .group = col_text(q, 8, txn->arena),
                                .reason = col_text(q, 9, txn->arena),
                                .enqueued_at_ms = col_int(q, 10),
                                .expires_at_ms = ends};
    haul->bytes +=
        (view.body_bytes > 0 ? (size_t)view.body_bytes : view.body.len) + view.attributes.len;
    haul->full = haul->bytes > RECEIVE_BYTES_MAX && haul->views.count > 0;
    if (!haul->full) {
        haul->views.at[haul->views.count++] = view;
    }
}

static void look(struct txn *txn, const struct queue *queue, int64_t max, struct haul *haul)
{
    /* ?1 to ?2 are the lanes of READY, by priority; in each, messages lie in the order they were sent in. */
    static const char LOOK[] =
        "SELECT id, fence, attempt, failures, priority, body_bytes, body, attributes, grp, reason,"
        " enqueued_ms, expires_ms FROM messages WHERE lane BETWEEN ?1 AND ?2"
        " ORDER BY lane, due_ms, id LIMIT ?3";
    QUERY(q, txn->sql, LOOK);
    bind_int(&q, message_lane(queue, STATE_READY, MESSAGE_PRIORITY_MAX));
    bind_int(&q, message_lane(queue, STATE_READY, 0));
    bind_int(&q, max);
    while (!haul->full && query_row(&q)) {
        take(txn, queue, &q, haul);
    }
}

static void lease(struct txn *txn, struct queue *queue, struct message_view *view)
{
    static const char LEASE[] = "UPDATE messages SET lane = ?2, due_ms = ?3, fence = ?4,"
                                " attempt = ?5, consumer = ?6 WHERE id = ?1";
    view->fence = txn_next_fence(txn);
    view->attempt++;
    QUERY(q, txn->sql, LEASE);
    bind_int(&q, view->message);
    bind_int(&q, message_lane(queue, STATE_LEASED, 0));
    bind_int(&q, view->lease_expires_ms);
    bind_int(&q, view->fence);
    bind_int(&q, view->attempt);
    bind_text(&q, view->consumer);
    query_run(&q);
    view->message = message_sequence(view->message);
    queue->depths.ready--;
    queue->depths.leased++;
    queue->changed = true;
}

static void drop_expired(struct txn *txn, struct queue *queue, struct haul *haul)
{
    struct message message;
    for (size_t i = 0; i < haul->expired_count; i++) {
        if (message_load(txn, haul->expired[i], &message)) {
            message_remove(txn, queue, &message);
            txn->counters->expired++;
        }
    }
    haul->expired_count = 0;
}

/* Looks, leases what it found, and looks again only where what it met had expired. */
static void claim(struct txn *txn, struct queue *queue, const struct message_receive *command,
                  int64_t max, struct haul *haul)
{
    int64_t lease_ms = command->lease_ms == ABSENT ? queue->config.lease_ms : command->lease_ms;
    int64_t due_ms = txn->now.lease_now_ms + lease_ms;
    bool again = true;
    for (int round = 0; again && round < ROUNDS_MAX; round++) {
        size_t from = haul->views.count;
        look(txn, queue, max - (int64_t)from, haul);
        for (size_t i = from; i < haul->views.count; i++) {
            haul->views.at[i].consumer = command->consumer;
            haul->views.at[i].lease_expires_ms = due_ms;
            lease(txn, queue, &haul->views.at[i]);
        }
        again = haul->expired_count > 0 && !haul->full;
        drop_expired(txn, queue, haul);
    }
    if (haul->views.count > 0) {
        queue_due_lease(queue, due_ms);
    }
}

void message_receive(struct txn *txn, const struct message_receive *command, struct result *result)
{
    struct queue queue;
    result->status = queue_enter(txn, command->queue, ENTER_HOME, &queue);
    if (result->status != STATUS_OK) {
        return;
    }
    result->shape = SHAPE_MESSAGES;
    if (queue.config.paused != 0) {
        return;
    }
    queue_advance(txn, &queue, RECEIVE_STEPS_MAX);
    int64_t ready = queue.depths.ready;
    int64_t max = command->max < ready ? command->max : ready;
    if (max > 0) {
        struct haul haul = {.views.at =
                                arena_zalloc(txn->arena, (size_t)max, sizeof *haul.views.at),
                            .expired = arena_zalloc(txn->arena, (size_t)max, sizeof *haul.expired)};
        if (haul.views.at == NULL || haul.expired == NULL) {
            return;
        }
        claim(txn, &queue, command, max, &haul);
        result->received = haul.views;
    }
    queue_store(txn, &queue);
}
