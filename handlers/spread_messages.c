/* Messages of a queue that is spread: sending, receiving, settling, one message, the list. */
#include "handlers/json_in.h"
#include "handlers/spread_state.h"
#include "handlers/text_parse.h"

#include <stdio.h>

enum {
    FAR_FIRST_EVERY = 4,
    SHARES_MAX =
        4, /* shards that are asked for messages at once: each may give RECEIVE_BYTES_MAX */
    SWEEPS_MAX = 5,
    PEEK = -1
};

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
    s->together = true;
    s->result.status = STATUS_CREATED;
    s->result.shape = SHAPE_SENT;
    s->result.sent.count = count;
}

/* The next shard that has something to get; false: none. */
static bool next_place(struct spread *s, size_t items)
{
    for (int64_t shard = spread_to_ask(s, 0); shard < s->count;
         shard = spread_to_ask(s, shard + 1)) {
        for (size_t i = 0; i < items; i++) {
            if (s->places[i] == shard) {
                s->shard = shard;
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
static bool comes_as_before(const struct spread *s)
{
    return text_given(s->x->command.idempotency.key_hash);
}

static void order_shards(struct spread *s)
{
    int64_t from = (int64_t)(number_of(s) % (uint64_t)s->count);
    bool far_first = s->hints.turn % FAR_FIRST_EVERY == 0;
    for (int64_t i = 0; i < s->count; i++) {
        s->order[i] = (from + i) % s->count;
        s->ready[i] = far_first || comes_as_before(s) ? 0 : s->hints.ready[i];
    }
    if (!comes_as_before(s)) {
        int64_t first = append_order(s, !far_first, from, s->order);
        append_order(s, far_first, from, s->order + first);
    }
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
    s->sweeps = 0;
    s->raced = false;
    s->refusal = (struct result){.status = STATUS_OK};
    memset(s->vain, 0, sizeof s->vain);
    spread_ask_from(s, 0, !comes_as_before(s));
    order_shards(s);
}

/* Has the next shard in order asked for all that is left. */
static void share_in_turn(struct spread *s)
{
    for (int64_t i = 0; i < s->count; i++) {
        if (s->progress[s->order[i]] == SHARD_TO_ASK) {
            s->share[s->order[i]] = s->left;
            return;
        }
    }
}

/*
 * Shares what is left out among shards that are known to have some: never more, or a consumer would be given more than
 * it asked for. Where those have less, each is asked for more than is known of it, and the others whether they have any.
 */
static void share_out(struct spread *s)
{
    int64_t sum = 0, count = 0;
    for (int64_t i = 0; i < s->count && count < SHARES_MAX && sum < s->left; i++) {
        int64_t shard = s->order[i];
        if (s->progress[shard] == SHARD_TO_ASK && s->ready[shard] > 0) {
            int64_t left = s->left - sum;
            s->share[shard] = s->ready[shard] < left ? s->ready[shard] : left;
            sum += s->share[shard];
            count++;
        }
    }
    int64_t more = count > 0 ? (s->left - sum) / count : 0;
    for (int64_t i = 0; i < s->count; i++) {
        bool unknown = s->progress[i] == SHARD_TO_ASK && s->ready[i] == 0;
        s->share[i] += s->share[i] > 0 ? more : unknown && sum < s->left ? PEEK : 0;
    }
}

static void begin_round(struct spread *s)
{
    memset(s->share, 0, sizeof s->share);
    if (s->together) {
        share_out(s);
    } else {
        share_in_turn(s);
    }
}

/* The next in order that has a share of this round; ABSENT: none. */
static int64_t next_share(const struct spread *s)
{
    for (int64_t i = 0; i < s->count; i++) {
        int64_t shard = s->order[i];
        if (s->progress[shard] == SHARD_TO_ASK && s->share[shard] != 0) {
            return shard;
        }
    }
    return ABSENT;
}

/* Others were quicker at a shard that had some: there may be some elsewhere by now. */
static bool sweeps_again(struct spread *s)
{
    bool again = s->result.received.count == 0 && s->raced && ++s->sweeps < SWEEPS_MAX;
    if (again) {
        s->raced = false;
        s->misses = 0;
        memset(s->ready, 0, sizeof s->ready);
        spread_ask_from(s, 0, true);
    }
    return again;
}

/* All have been asked, or what was wanted is here. */
static void end_receive(struct spread *s)
{
    const struct exchange *x = s->x;
    if (s->result.received.count > 0) {
        return;
    }
    if (s->misses == s->count) {
        spread_fail(s, STATUS_NO_LEADER);
    } else if (!status_is_ok(s->refusal.status)) {
        spread_answer(s, &s->refusal);
    } else {
        s->waits = x->now.lease_now_ms < x->waits_until;
    }
}

static bool next_receive(struct spread *s, struct command *operation)
{
    const struct exchange *x = s->x;
    bool goes_on = s->left > 0 && s->bytes < RECEIVE_BYTES_MAX;
    if (s->out == 0 && goes_on) {
        begin_round(s);
    }
    s->shard = goes_on ? next_share(s) : ABSENT;
    if (s->shard == ABSENT && s->out == 0 && goes_on && sweeps_again(s)) {
        begin_round(s);
        s->shard = next_share(s);
    }
    if (s->shard == ABSENT) {
        if (s->out == 0) {
            end_receive(s);
        }
        return false;
    }
    if (s->share[s->shard] == PEEK) {
        operation->kind = COMMAND_QUEUE_GET;
        operation->queue_get.name = s->home.name;
    } else {
        operation->kind = COMMAND_MESSAGE_RECEIVE;
        operation->message_receive = x->command.message_receive;
        operation->message_receive.max = s->share[s->shard];
    }
    return true;
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

/* Whether the shard is worth to be asked for messages, and for how many. */
static void take_look(struct spread *s, const struct result *result)
{
    /* As many as before, and none could be had: their groups are at work. */
    bool some = status_is_ok(result->status) && result->queue.config.paused == 0 &&
                result->queue.ready > 0 && result->queue.ready + 1 != s->vain[s->shard];
    s->ready[s->shard] = some ? result->queue.ready : 0;
    s->progress[s->shard] = some ? SHARD_TO_ASK : SHARD_ASKED;
    bool other = !status_is_ok(result->status) && result->status != STATUS_QUEUE_NOT_FOUND;
    if (other || (result->status == STATUS_QUEUE_NOT_FOUND && s->shard == 0)) {
        s->refusal = *result;
    }
}

static void take_received(struct spread *s, const struct result *result)
{
    int64_t share = s->share[s->shard];
    s->share[s->shard] = 0;
    if (share == PEEK) {
        take_look(s, result);
    } else if (!status_is_ok(result->status)) {
        s->refusal = *result;
    } else {
        if (result->received.count == 0) {
            s->raced = s->raced || s->together;
            s->vain[s->shard] = s->ready[s->shard] + 1;
        }
        append(s, &s->result.received, &result->received, result->stamp);
        if (s->together && result->received.count == (size_t)share) {
            s->ready[s->shard] = 0; /* it may have more */
            s->progress[s->shard] = SHARD_TO_ASK;
        }
    }
}

/* Others may have some. What a shard has leased and nobody knows of comes back when the lease is over. */
static void miss_received(struct spread *s, enum status why)
{
    (void)s;
    (void)why;
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
    s->together = true;
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
