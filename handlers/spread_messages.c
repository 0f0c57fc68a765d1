/* Messages of a queue that is spread: sending, receiving, settling, one message, the list. */
#include "handlers/json_in.h"
#include "handlers/spread_state.h"
#include "handlers/text_parse.h"

#include <stdio.h>

enum { FAR_FIRST_EVERY = 4 };

/* ---- sending ------------------------------------------------------------------------------------------------------ */

/* A number that is different each time, or the same for the same Idempotency-Key. */
static uint64_t number_of(const struct spread *s)
{
    struct text key = s->x->command.idempotency.key_hash;
    uint64_t number = s->hints.turn * UINT64_C(0x9e3779b97f4a7c15);
    if (key.len >= sizeof number) {
        memcpy(&number, key.at, sizeof number);
    }
    return number;
}

static int64_t shortest(const struct spread *s)
{
    int64_t first = (int64_t)(s->hints.turn % (uint64_t)s->count), best = first;
    for (int64_t i = 1; i < s->count; i++) {
        int64_t shard = (first + i) % s->count;
        best = s->hints.depths[shard] < s->hints.depths[best] ? shard : best;
    }
    return best;
}

/* The shard for messages that any can take. */
static int64_t choose(const struct spread *s)
{
    if (!text_given(s->x->command.idempotency.key_hash)) {
        if (s->home.config.routing == ROUTING_ROUND_ROBIN) {
            return (int64_t)(s->hints.turn % (uint64_t)s->count);
        }
        if (s->home.config.routing == ROUTING_LEAST_LOADED) {
            return shortest(s);
        }
    }
    return shard_of_hash(number_of(s), s->count);
}

static void begin_send(struct spread *s)
{
    const struct message_send *send = &s->x->command.message_send;
    size_t count = send->messages.count;
    struct text key;
    int64_t common = ABSENT; /* where those go that have a key */
    bool several = false;
    s->places = arena_zalloc(s->x->arena, count, sizeof *s->places);
    s->result.sent.at = arena_zalloc(s->x->arena, count, sizeof *s->result.sent.at);
    if (s->places == NULL || s->result.sent.at == NULL) {
        spread_fail(s, STATUS_OUT_OF_MEMORY);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        bool keyed = shard_key(&send->messages.at[i], &key);
        s->places[i] = keyed ? shard_of(key, s->count) : ABSENT;
        several |= keyed && common != ABSENT && common != s->places[i];
        common = keyed ? s->places[i] : common;
    }
    if (send->atomic && several) {
        spread_fail(
            s, exchange_refuse(s->x, STATUS_CROSS_PARTITION, "messages",
                               "The messages' groups and dedup_ids lead to several shards of the "
                               "queue, which have no transaction in common: send them apart, or "
                               "with atomic false."));
        return;
    }
    int64_t free = common != ABSENT && send->atomic ? common : choose(s);
    for (size_t i = 0; i < count; i++) {
        s->places[i] = s->places[i] == ABSENT ? free : s->places[i];
    }
    s->tries = common == ABSENT && send->atomic ? s->count : 1;
    s->result.status = STATUS_CREATED;
    s->result.shape = SHAPE_SENT;
    s->result.sent.count = count;
}

/* The shard from s->at on that has something to get; false: none. */
static bool next_place(struct spread *s, size_t items)
{
    for (; s->at < s->count; s->at++) {
        for (size_t i = 0; i < items; i++) {
            if (s->places[i] == s->at) {
                s->shard = s->at;
                return true;
            }
        }
    }
    return false;
}

static bool next_send(struct spread *s, struct command *operation)
{
    const struct message_send *send = &s->x->command.message_send;
    size_t count = send->messages.count, taken = 0;
    struct message_new *messages = arena_zalloc(s->x->arena, count, sizeof *messages);
    if (messages == NULL || !next_place(s, count)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (s->places[i] == s->shard) {
            messages[taken++] = send->messages.at[i];
        }
    }
    operation->kind = COMMAND_MESSAGE_SEND;
    operation->message_send = (struct message_send){
        .queue = send->queue, .messages = {messages, taken}, .atomic = send->atomic};
    return true;
}

/* Gives those of this shard to the next one. False: all have been tried, or these must go there. */
static bool try_another(struct spread *s)
{
    if (s->tries <= 1) {
        return false;
    }
    s->tries--;
    int64_t next = (s->shard + 1) % s->count;
    for (size_t i = 0; i < s->result.sent.count; i++) {
        s->places[i] = next;
    }
    s->at = next;
    return true;
}

static void take_sent(struct spread *s, const struct result *result)
{
    size_t taken = 0;
    if (!status_is_ok(result->status)) {
        bool room = result->status == STATUS_QUEUE_FULL || result->status == STATUS_RATE_LIMITED;
        if (!room || !try_another(s)) {
            spread_answer(s, result);
        }
        return;
    }
    for (size_t i = 0; i < s->result.sent.count && taken < result->sent.count; i++) {
        if (s->places[i] == s->shard) {
            s->result.sent.at[i] = result->sent.at[taken++];
            s->result.sent.at[i].message = shard_message(s->shard, s->result.sent.at[i].message);
        }
    }
    s->at++;
}

/* What is no unit is answered message by message. */
static void miss_sent(struct spread *s, enum status why)
{
    if (why == STATUS_NO_LEADER && try_another(s)) {
        return;
    }
    if (s->x->command.message_send.atomic) {
        spread_fail(s, why);
        return;
    }
    for (size_t i = 0; i < s->result.sent.count; i++) {
        if (s->places[i] == s->shard) {
            s->result.sent.at[i] = (struct sent_message){.status = why};
        }
    }
    s->at++;
}

const struct spread_kind spread_send = {begin_send, next_send, take_sent, miss_sent};

/* ---- receiving ---------------------------------------------------------------------------------------------------- */

static int64_t append_order(const struct spread *s, bool near, int64_t from, int64_t *order)
{
    int64_t count = 0;
    for (int64_t i = 0; i < s->count; i++) {
        int64_t shard = (from + i) % s->count;
        if (s->hints.near[shard] == near) {
            order[count++] = shard;
        }
    }
    return count;
}

/* A receive that is repeated with its Idempotency-Key must come by the same shards in the same order. */
static void order_shards(struct spread *s)
{
    int64_t from = (int64_t)(number_of(s) % (uint64_t)s->count);
    if (text_given(s->x->command.idempotency.key_hash)) {
        for (int64_t i = 0; i < s->count; i++) {
            s->order[i] = (from + i) % s->count;
        }
        return;
    }
    bool near = s->hints.turn % FAR_FIRST_EVERY != 0;
    int64_t first = append_order(s, near, from, s->order);
    append_order(s, !near, from, s->order + first);
}

static void begin_receive(struct spread *s)
{
    s->left = s->x->command.message_receive.max;
    s->result.shape = SHAPE_MESSAGES;
    s->result.received.at =
        arena_zalloc(s->x->arena, (size_t)s->left, sizeof *s->result.received.at);
    if (s->result.received.at == NULL) {
        spread_fail(s, STATUS_OUT_OF_MEMORY);
        return;
    }
    order_shards(s);
}

static bool next_receive(struct spread *s, struct command *operation)
{
    const struct exchange *x = s->x;
    if (s->at < s->count && s->left > 0 && s->bytes < RECEIVE_BYTES_MAX) {
        s->shard = s->order[s->at];
        operation->kind = COMMAND_MESSAGE_RECEIVE;
        operation->message_receive = x->command.message_receive;
        operation->message_receive.max = s->left;
        return true;
    }
    if (s->result.received.count == 0 && s->misses == s->count) {
        spread_fail(s, STATUS_NO_LEADER);
    } else {
        s->waits = s->result.received.count == 0 && x->now.lease_now_ms < x->waits_until;
    }
    return false;
}

/* Adds messages of a shard: by their public ids, and their leases by the clock of the answer. */
static void append(struct spread *s, struct message_views *to, const struct message_views *from,
                   struct stamp stamp)
{
    for (size_t i = 0; i < from->count && s->left > 0; i++) {
        struct message_view *view = &to->at[to->count++];
        *view = from->at[i];
        view->message = shard_message(s->shard, view->message);
        view->lease_expires_ms += s->result.stamp.lease_now_ms - stamp.lease_now_ms;
        s->bytes += (view->body_bytes > 0 ? (size_t)view->body_bytes : view->body.len) +
                    view->attributes.len;
        s->left--;
    }
}

static void take_received(struct spread *s, const struct result *result)
{
    if (!status_is_ok(result->status) && s->result.received.count == 0) {
        spread_answer(s, result);
        return;
    }
    if (status_is_ok(result->status)) {
        append(s, &s->result.received, &result->received, result->stamp);
    }
    s->at++;
}

/* Others may have some. What a shard has leased and nobody knows of comes back when the lease is over. */
static void miss_received(struct spread *s, enum status why)
{
    (void)why;
    s->at++;
}

const struct spread_kind spread_receive = {begin_receive, next_receive, take_received,
                                           miss_received};

/* ---- settling ----------------------------------------------------------------------------------------------------- */

static void begin_settle(struct spread *s)
{
    const struct message_settle *settle = &s->x->command.message_settle;
    size_t count = settle->items.count;
    bool several = false;
    s->places = arena_zalloc(s->x->arena, count, sizeof *s->places);
    s->result.outcomes.at = arena_zalloc(s->x->arena, count, sizeof *s->result.outcomes.at);
    if (s->places == NULL || s->result.outcomes.at == NULL) {
        spread_fail(s, STATUS_OUT_OF_MEMORY);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        s->places[i] = shard_of_message(settle->items.at[i].message);
        s->result.outcomes.at[i] = OUTCOME_GONE; /* unless its shard says otherwise */
        several |= s->places[i] != s->places[0];
    }
    if (settle->atomic && several) {
        spread_fail(
            s, exchange_refuse(s->x, STATUS_CROSS_PARTITION, "atomic",
                               "The receipts are of several shards of the queue, which have no "
                               "transaction in common: settle them apart, or with atomic false."));
        return;
    }
    s->result.shape = SHAPE_OUTCOMES;
    s->result.outcomes.count = count;
}

static bool next_settle(struct spread *s, struct command *operation)
{
    const struct message_settle *settle = &s->x->command.message_settle;
    size_t count = settle->items.count, taken = 0;
    struct settlement *items = arena_zalloc(s->x->arena, count, sizeof *items);
    if (items == NULL || !next_place(s, count)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (s->places[i] == s->shard) {
            items[taken] = settle->items.at[i];
            items[taken].message = shard_sequence(items[taken].message);
            taken++;
        }
    }
    operation->kind = COMMAND_MESSAGE_SETTLE;
    operation->message_settle = (struct message_settle){
        .queue = settle->queue, .items = {items, taken}, .atomic = settle->atomic};
    return true;
}

static void take_settled(struct spread *s, const struct result *result)
{
    size_t taken = 0;
    if (!status_is_ok(result->status)) {
        spread_answer(s, result); /* where it is a unit, it is this shard's alone */
        return;
    }
    for (size_t i = 0; i < s->result.outcomes.count && taken < result->outcomes.count; i++) {
        if (s->places[i] == s->shard) {
            s->result.outcomes.at[i] = result->outcomes.at[taken++];
        }
    }
    s->at++;
}

const struct spread_kind spread_settle = {begin_settle, next_settle, take_settled, NULL};

/* ---- one message -------------------------------------------------------------------------------------------------- */

static int64_t *message_of(struct command *command)
{
    return command->kind == COMMAND_MESSAGE_GET ? &command->message_get.message
                                                : &command->message_delete.message;
}

static void begin_message(struct spread *s)
{
    s->shard = shard_of_message(*message_of(&s->x->command));
    if (s->shard >= s->count) {
        spread_fail(s, STATUS_MESSAGE_NOT_FOUND);
    }
}

static bool next_message(struct spread *s, struct command *operation)
{
    *operation = s->x->command;
    operation->idempotency = (struct idempotency){.key_hash = TEXT_ABSENT};
    int64_t *message = message_of(operation);
    *message = shard_sequence(*message);
    return true;
}

static void take_message(struct spread *s, const struct result *result)
{
    spread_answer(s, result);
    if (result->shape == SHAPE_MESSAGE) {
        s->result.message.message = shard_message(s->shard, result->message.message);
    }
    if (result->status == STATUS_QUEUE_NOT_FOUND && s->shard != 0) {
        s->result.status = STATUS_MESSAGE_NOT_FOUND; /* nothing was ever sent there */
    }
}

const struct spread_kind spread_message = {begin_message, next_message, take_message, NULL};

/* ---- the list: one shard after the other -------------------------------------------------------------------------- */

/* The key of a page is the shard, and where in it: "3:1200". Without a shard it is home's, from before there were more. */
static bool read_place(struct spread *s, struct text *ret_after)
{
    struct text key = s->x->command.message_list.page.after;
    const char *colon = text_given(key) ? memchr(key.at, ':', key.len) : NULL;
    *ret_after = key;
    if (colon == NULL) {
        return true;
    }
    struct text shard = {key.at, (size_t)(colon - key.at)};
    size_t rest = key.len - shard.len - 1;
    *ret_after = rest > 0 ? (struct text){colon + 1, rest} : TEXT_ABSENT;
    return parse_decimal(shard, &s->at) && s->at < s->count;
}

static void begin_list(struct spread *s)
{
    struct message_list *list = &s->x->command.message_list;
    s->left = list->page.limit;
    s->result.shape = SHAPE_MESSAGE_PAGE;
    s->result.messages.items.at =
        arena_zalloc(s->x->arena, (size_t)s->left, sizeof *s->result.messages.items.at);
    if (s->result.messages.items.at == NULL) {
        spread_fail(s, STATUS_OUT_OF_MEMORY);
    } else if (!read_place(s, &list->page.after)) {
        spread_fail(s, STATUS_INVALID_CURSOR);
    }
}

static bool next_list(struct spread *s, struct command *operation)
{
    if (s->at >= s->count) {
        return false;
    }
    if (s->left == 0 || s->bytes > PAGE_BYTES_MAX) {
        s->result.messages.next = arena_format(s->x->arena, "%lld:", (long long)s->at);
        return false;
    }
    s->shard = s->at;
    operation->kind = COMMAND_MESSAGE_LIST;
    operation->message_list = s->x->command.message_list;
    operation->message_list.page.limit = s->left;
    return true;
}

static void take_list(struct spread *s, const struct result *result)
{
    bool empty = result->status == STATUS_QUEUE_NOT_FOUND && s->shard != 0;
    if (!status_is_ok(result->status) && !empty) {
        spread_answer(s, result);
        return;
    }
    if (!empty) {
        append(s, &s->result.messages.items, &result->messages.items, result->stamp);
    }
    if (!empty && text_given(result->messages.next)) {
        struct text next = result->messages.next;
        s->result.messages.next =
            arena_format(s->x->arena, "%lld:%.*s", (long long)s->at, (int)next.len, next.at);
        s->over = true;
    }
    s->x->command.message_list.page.after = TEXT_ABSENT;
    s->at++;
}

const struct spread_kind spread_list = {begin_list, next_list, take_list, NULL};
