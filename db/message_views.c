#include "db/aggregates.h"
#include "db/messages.h"
#include "db/shards.h"

#include <stdio.h>
#include <stdlib.h>

/* What `view` reads, in its order. */
#define VIEW_COLUMNS                                                                               \
    "id, lane, due_ms, turn, fence, attempt, failures, priority, enqueued_ms, expires_ms, grp,"    \
    " reason, consumer, attributes, body_bytes, body"

/* A lease that ran out, or a delay that is over, is ready for a client even before that is put right. */
static int64_t filter_of(const struct txn *txn, const struct message *message)
{
    switch (message->state) {
    case STATE_DEAD:
        return MESSAGE_DEAD;
    case STATE_LEASED:
        return message_is_held(txn, message) ? MESSAGE_LEASED : MESSAGE_READY;
    case STATE_DELAYED:
        return message->due_ms > txn->now.now_ms ? MESSAGE_DELAYED : MESSAGE_READY;
    case STATE_READY:
    case STATE_BLOCKED:
        break;
    }
    return MESSAGE_READY;
}

static struct message row(const struct query *q)
{
    return (struct message){.id = col_int(q, 0),
                            .state = message_state(col_int(q, 1)),
                            .due_ms = col_int(q, 2),
                            .turn = col_int(q, 3),
                            .fence = col_int(q, 4),
                            .attempt = col_int(q, 5),
                            .failures = col_int(q, 6),
                            .priority = col_int(q, 7),
                            .enqueued_ms = col_int(q, 8),
                            .expires_ms = col_int(q, 9)};
}

static struct message_view view(struct txn *txn, const struct queue *queue, const struct query *q,
                                const struct message *message)
{
    int64_t state = filter_of(txn, message);
    struct text body = col_text(q, 15, txn->arena);
    return (struct message_view){
        .message = message_sequence(message->id),
        .fence = message->fence,
        .attempt = message->attempt,
        .failures = message->failures,
        .state = state,
        .priority = message->priority,
        .body_bytes = col_int(q, 14),
        .body = text_given(body) ? body : message_body_apart(txn, message->id),
        .attributes = col_text(q, 13, txn->arena),
        .group = col_text(q, 10, txn->arena),
        .reason = col_text(q, 11, txn->arena),
        .consumer = state == MESSAGE_LEASED ? col_text(q, 12, txn->arena) : TEXT_ABSENT,
        .enqueued_at_ms = message->enqueued_ms,
        .expires_at_ms = message_ends_ms(queue, message->enqueued_ms, message->expires_ms),
        .due_at_ms = state == MESSAGE_DELAYED ? message->due_ms : 0,
        .lease_expires_ms = state == MESSAGE_LEASED ? message->due_ms : 0};
}

void message_get(struct txn *txn, const struct message_key *command, struct result *result)
{
    /* The one id or the other: a message is living or dead. */
    static const char GET[] = "SELECT " VIEW_COLUMNS " FROM messages WHERE id IN (?1, ?2)";
    struct queue queue;
    result->status = queue_enter_message(txn, command->queue, command->message, &queue);
    if (result->status != STATUS_OK) {
        return;
    }
    result->status = STATUS_MESSAGE_NOT_FOUND;
    if (command->message < 1 || command->message > queue.sequence) {
        return;
    }
    int64_t id = message_id(&queue, command->message);
    QUERY(q, txn->sql, GET);
    bind_int(&q, id);
    bind_int(&q, id | MESSAGE_SHELF);
    if (!query_row(&q)) {
        return;
    }
    struct message message = row(&q);
    if (!message_expired(txn, &queue, &message)) {
        result->status = STATUS_OK;
        result->shape = SHAPE_MESSAGE;
        result->message = view(txn, &queue, &q, &message);
    }
}

/* ---- the list ----------------------------------------------------------------------------------------------------- */

/* The key of a page: the row's place in its queue, which a purge does not change. False: it is none. */
static bool place_of(struct text key, int64_t *ret)
{
    int64_t place = 0;
    bool digits = key.len >= 1 && key.len <= 13; /* 2^41 has 13 */
    for (size_t i = 0; digits && i < key.len; i++) {
        digits = key.at[i] >= '0' && key.at[i] <= '9';
        place = place * 10 + (key.at[i] - '0');
    }
    *ret = place;
    return digits;
}

static bool wanted(struct txn *txn, const struct queue *queue, const struct message_list *command,
                   const struct query *q, const struct message *message)
{
    return (command->state == MESSAGE_ANY || command->state == filter_of(txn, message)) &&
           (!text_given(command->group) || text_equal(command->group, col_borrow(q, 10))) &&
           !message_expired(txn, queue, message);
}

/* Fills the page from the rows, until it is full or enough rows were looked at; what is left is for the next page. */
static void fill_page(struct txn *txn, const struct queue *queue,
                      const struct message_list *command, struct query *q,
                      struct message_page *page)
{
    size_t bytes = 0;
    int64_t rows = 0, place = 0;
    while (query_row(q)) {
        if (page->items.count == (size_t)command->page.limit || bytes > PAGE_BYTES_MAX ||
            rows == LIST_ROWS_MAX) {
            page->next = arena_format(txn->arena, "%lld", (long long)place);
            return;
        }
        struct message message = row(q);
        place = message.id & (MESSAGE_SHELF | MESSAGE_SEQUENCE_MAX);
        rows++;
        if (wanted(txn, queue, command, q, &message)) {
            struct message_view *item = &page->items.at[page->items.count++];
            *item = view(txn, queue, q, &message);
            bytes += (item->body_bytes > 0 ? (size_t)item->body_bytes : item->body.len) +
                     item->attributes.len;
        }
    }
}

/* Living messages in the order they were sent, then the dead ones. */
void message_list(struct txn *txn, const struct message_list *command, struct result *result)
{
    static const char LIST[] =
        "SELECT " VIEW_COLUMNS " FROM messages WHERE id > ?1 AND id <= ?2 ORDER BY id";
    struct queue queue;
    int64_t after = command->state == MESSAGE_DEAD ? MESSAGE_SHELF : 0;
    if (text_given(command->page.after) && !place_of(command->page.after, &after)) {
        result->status = STATUS_INVALID_CURSOR;
        return;
    }
    result->status = queue_enter(txn, command->queue, ENTER_WHOLE, &queue);
    if (result->status != STATUS_OK) {
        return;
    }
    struct message_page page = {
        .items.at = arena_zalloc(txn->arena, (size_t)command->page.limit, sizeof *page.items.at)};
    if (page.items.at == NULL) {
        return;
    }
    bool living_only = command->state != MESSAGE_ANY && command->state != MESSAGE_DEAD;
    QUERY(q, txn->sql, LIST);
    bind_int(&q, message_id(&queue, 0) + after);
    bind_int(&q, message_id(&queue, (living_only ? 0 : MESSAGE_SHELF) | MESSAGE_SEQUENCE_MAX));
    fill_page(txn, &queue, command, &q, &page);
    result->shape = SHAPE_MESSAGE_PAGE;
    result->messages = page;
}
