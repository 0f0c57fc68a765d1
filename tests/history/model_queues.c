/*
 * Queues, as API.md §4 and db/messages.h promise them. All messages stand in one array in the order they were sent, the
 * dead among the living: a message is in one place as long as it is there at all.
 */
#include "tests/history/model.h"

#include <stdio.h>

/* ---- looking -------------------------------------------------------------------------------------------------- */

struct m_queue *model_queue_named(struct model *model, struct text name)
{
    for (size_t i = 0; i < model->queue_count; i++) {
        if (text_equal(model->queues[i].name, name)) {
            return &model->queues[i];
        }
    }
    size_t at = model_append(model, &model->queue_count, M_QUEUES);
    model->queues[at] = (struct m_queue){.name = name};
    return &model->queues[at];
}

static size_t index_of(const struct model *model, const struct m_queue *queue)
{
    return (size_t)(queue - model->queues);
}

/* The queue of that name, NULL with the refusal in `want` where there is none. */
static struct m_queue *find(struct model *model, struct text name, struct result *want)
{
    struct m_queue *queue = model_queue_named(model, name);
    if (!queue->there) {
        want->status = STATUS_QUEUE_NOT_FOUND;
        return NULL;
    }
    return queue;
}

static bool is_of(const struct model *model, const struct m_message *m, const struct m_queue *queue)
{
    return m->queue == index_of(model, queue);
}

static struct m_message *message_of(struct model *model, const struct m_queue *queue, int64_t id)
{
    for (size_t i = 0; i < model->message_count; i++) {
        struct m_message *m = &model->messages[i];
        if (is_of(model, m, queue) && m->sequence == id) {
            return m;
        }
    }
    return NULL;
}

static int64_t ends_ms(const struct model *model, const struct m_message *m)
{
    int64_t kept_ms = m->enqueued_ms + model->queues[m->queue].config.retention_ms;
    return m->expires_ms != ABSENT && m->expires_ms < kept_ms ? m->expires_ms : kept_ms;
}

static bool is_held(const struct model *model, const struct m_message *m)
{
    return m->state == M_LEASED && m->due_ms > model->now.lease_now_ms;
}

static bool is_over(const struct model *model, const struct m_message *m)
{
    return ends_ms(model, m) <= model->now.now_ms;
}

/* Nobody receives it any more; who holds it may finish. */
static bool is_expired(const struct model *model, const struct m_message *m)
{
    return !is_held(model, m) && is_over(model, m);
}

static int64_t count(const struct model *model, const struct m_queue *queue, enum m_state a,
                     enum m_state b)
{
    int64_t n = 0;
    for (size_t i = 0; i < model->message_count; i++) {
        const struct m_message *m = &model->messages[i];
        n += is_of(model, m, queue) && (m->state == a || m->state == b);
    }
    return n;
}

static int64_t depth(const struct model *model, const struct m_queue *queue)
{
    return count(model, queue, M_READY, M_BLOCKED) + count(model, queue, M_DELAYED, M_LEASED);
}

/* ---- views ---------------------------------------------------------------------------------------------------- */

static int64_t oldest_age_ms(const struct model *model, const struct m_queue *queue)
{
    for (size_t i = 0; i < model->message_count; i++) {
        const struct m_message *m = &model->messages[i];
        if (is_of(model, m, queue) && m->state != M_DEAD && !is_expired(model, m)) {
            return model->now.now_ms - m->enqueued_ms;
        }
    }
    return 0;
}

/* What a client sees: what time has changed has changed, whether or not it was put right. */
static enum message_filter filter_of(const struct model *model, const struct m_message *m)
{
    bool delayed = m->state == M_DELAYED && m->due_ms > model->now.now_ms;
    return m->state == M_DEAD  ? MESSAGE_DEAD
           : is_held(model, m) ? MESSAGE_LEASED
           : delayed           ? MESSAGE_DELAYED
                               : MESSAGE_READY;
}

/* As many messages as a list of that state shows. */
static int64_t shown(const struct model *model, const struct m_queue *queue,
                     enum message_filter state)
{
    int64_t n = 0;
    for (size_t i = 0; i < model->message_count; i++) {
        const struct m_message *m = &model->messages[i];
        n += is_of(model, m, queue) && !is_expired(model, m) && filter_of(model, m) == state;
    }
    return n;
}

static struct queue_view view(const struct model *model, const struct m_queue *queue)
{
    return (struct queue_view){.name = queue->name,
                               .config = queue->config,
                               .version = grown_want(&queue->version),
                               .created_at_ms = queue->created_ms,
                               .ready = shown(model, queue, MESSAGE_READY),
                               .delayed = shown(model, queue, MESSAGE_DELAYED),
                               .leased = shown(model, queue, MESSAGE_LEASED),
                               .dead = shown(model, queue, MESSAGE_DEAD),
                               .oldest_age_ms = oldest_age_ms(model, queue)};
}

static struct message_view message_view(const struct model *model, const struct m_message *m)
{
    enum message_filter state = filter_of(model, m);
    return (struct message_view){.message = m->sequence,
                                 .fence = m->fence,
                                 .attempt = m->attempt,
                                 .failures = m->failures,
                                 .state = state,
                                 .priority = m->priority,
                                 .body_bytes = m->body_bytes,
                                 .body = m->body,
                                 .attributes = m->attributes,
                                 .group = m->group,
                                 .reason = m->reason,
                                 .consumer = state == MESSAGE_LEASED ? m->consumer : TEXT_ABSENT,
                                 .enqueued_at_ms = m->enqueued_ms,
                                 .expires_at_ms = ends_ms(model, m),
                                 .due_at_ms = state == MESSAGE_DELAYED ? m->due_ms : 0,
                                 .lease_expires_ms = state == MESSAGE_LEASED ? m->due_ms : 0};
}

static void answer(const struct model *model, const struct m_queue *queue, struct result *want)
{
    want->shape = SHAPE_QUEUE;
    want->queue = view(model, queue);
}

/* ---- learning ------------------------------------------------------------------------------------------------- */

void learn_queue(struct model *model, const struct queue_view *seen)
{
    struct m_queue *queue = model_queue_named(model, seen->name);
    grown_learn(model, &queue->version, seen->version, "the queue's version");
    model->revision_floor =
        seen->version > model->revision_floor ? seen->version : model->revision_floor;
    if (queue->config_version == UNKNOWN) {
        queue->config_version = seen->version;
    }
}

/* Each delivery has a fence above all that were given before. */
void learn_received(struct model *model, struct text queue, const struct message_views *seen)
{
    const struct m_queue *q = model_queue_named(model, queue);
    for (size_t i = 0; i < seen->count; i++) {
        struct m_message *m = message_of(model, q, seen->at[i].message);
        if (seen->at[i].fence <= model->fence_floor) {
            model_complain(model, "the delivery's fence is %lld, and had to grow above %lld",
                           (long long)seen->at[i].fence, (long long)model->fence_floor);
        }
        m->fence = model->fence_floor = seen->at[i].fence;
        model->receipts[model->receipt_count++ % M_RECEIPTS] =
            (struct m_receipt){index_of(model, q), m->sequence, m->fence};
    }
}

/* ---- changing ------------------------------------------------------------------------------------------------- */

/* At the end of a command: queues that changed have a new version. */
static void finish(struct model *model)
{
    for (size_t i = 0; i < model->queue_count; i++) {
        struct m_queue *queue = &model->queues[i];
        if (queue->changed) {
            queue->changed = false;
            grown_change(&queue->version, model->revision_floor);
            model_tell(model, EVENT_QUEUE, queue->name, TEXT_ABSENT);
        }
    }
}

static struct queue_config config_default(void)
{
    return (struct queue_config){.lease_ms = 30000,
                                 .shards = 1,
                                 .max_attempts = 16,
                                 .retention_ms = 1209600000,
                                 .dedup_window_ms = 300000,
                                 .backoff_factor_milli = 2000,
                                 .backoff_max_ms = 3600000,
                                 .group_concurrency = 1,
                                 .dead_letter = TEXT("")};
}

/* A burst of 0 is one of as many as per_s. */
static int64_t burst(const struct queue_config *config)
{
    return config->rate_burst > 0 ? config->rate_burst : config->rate_per_s;
}

static struct m_queue *make(struct model *model, struct text name,
                            const struct queue_config *config)
{
    struct m_queue *queue = model_queue_named(model, name);
    *queue = (struct m_queue){.name = name,
                              .there = true,
                              .born = ++model->births,
                              .config = *config,
                              .created_ms = model->now.now_ms,
                              .tokens_milli = burst(config) * 1000,
                              .filled_ms = model->now.now_ms,
                              .changed = true,
                              .version = queue->version,
                              .config_version = UNKNOWN};
    return queue;
}

/* Nobody need be told of one that nobody can have any more. */
static void now_ready(struct model *model, const struct m_message *m)
{
    const struct m_queue *queue = &model->queues[m->queue];
    if (queue->config.paused == 0 && !is_over(model, m)) {
        model_tell(model, EVENT_READY, queue->name, TEXT_ABSENT);
    }
}

static bool waits_for_turn(const struct m_message *m)
{
    return text_given(m->group) && !m->turn;
}

/* It waits to be delivered: for its delay (or ABSENT) first, then for its group's turn. */
static void stand(struct model *model, struct m_message *m, int64_t due_ms)
{
    bool delayed = due_ms != ABSENT && due_ms > model->now.now_ms;
    m->state = delayed ? M_DELAYED : waits_for_turn(m) ? M_BLOCKED : M_READY;
    m->due_ms = delayed ? due_ms : ABSENT;
    model->queues[m->queue].changed = true;
    if (m->state == M_READY) {
        now_ready(model, m);
    }
}

static bool same_group(const struct m_message *m, size_t queue, struct text group)
{
    return m->queue == queue && m->state != M_DEAD && text_given(m->group) &&
           text_equal(m->group, group);
}

/* Of a group's living messages no more than group_concurrency have the turn. */
static bool has_room(const struct model *model, size_t queue, struct text group)
{
    int64_t turns = 0;
    for (size_t i = 0; i < model->message_count; i++) {
        turns += same_group(&model->messages[i], queue, group) && model->messages[i].turn;
    }
    return turns < model->queues[queue].config.group_concurrency;
}

static struct m_message *first_without_turn(struct model *model, size_t queue, struct text group)
{
    for (size_t i = 0; i < model->message_count; i++) {
        struct m_message *m = &model->messages[i];
        if (same_group(m, queue, group) && !m->turn) {
            return m;
        }
    }
    return NULL;
}

/* The first that waits for a turn gets it, if there is room. */
static bool next_turn(struct model *model, size_t queue, struct text group)
{
    struct m_message *next = first_without_turn(model, queue, group);
    if (next == NULL || !has_room(model, queue, group)) {
        return false;
    }
    next->turn = true;
    stand(model, next, next->due_ms);
    return true;
}

/* It has left the line of its group. */
static void leave(struct model *model, size_t queue, struct text group, bool had_turn)
{
    if (text_given(group) && had_turn) {
        next_turn(model, queue, group);
    }
}

static void take_out(struct model *model, struct m_message *m)
{
    struct m_message gone = *m;
    size_t at = (size_t)(m - model->messages);
    model->queues[m->queue].changed = true;
    memmove(m, m + 1, (--model->message_count - at) * sizeof *m);
    leave(model, gone.queue, gone.group, gone.turn && gone.state != M_DEAD);
}

static void enter(struct model *model, struct m_queue *queue, struct m_message fresh)
{
    size_t q = index_of(model, queue);
    fresh.queue = q;
    fresh.sequence = ++queue->sequence;
    fresh.enqueued_ms = model->now.now_ms;
    fresh.turn = text_given(fresh.group) && first_without_turn(model, q, fresh.group) == NULL &&
                 has_room(model, q, fresh.group);
    size_t at = model_append(model, &model->message_count, M_MESSAGES);
    model->messages[at] = fresh;
    stand(model, &model->messages[at], fresh.due_ms);
}

static void send_dead_letter(struct model *model, struct m_message *m, struct text reason)
{
    struct m_queue *queue = &model->queues[m->queue];
    struct m_queue *target = model_queue_named(model, queue->config.dead_letter);
    struct queue_config config = config_default();
    if (!target->there) {
        target = make(model, queue->config.dead_letter, &config);
    }
    char more[700];
    snprintf(more, sizeof more, "{\"dead_letter_reason\":\"%.*s\",\"dead_letter_source\":\"%.*s\"}",
             (int)reason.len, reason.at, (int)queue->name.len, queue->name.at);
    struct m_message letter = {
        .body = m->body,
        .body_bytes = m->body_bytes,
        .attributes = model_merge(model, text_given(m->attributes) ? m->attributes : TEXT("{}"),
                                  text_of(more)),
        .group = m->group,
        .priority = m->priority,
        .due_ms = ABSENT,
        .expires_ms = ABSENT};
    take_out(model, m);
    enter(model, target, letter);
}

static void die(struct model *model, struct m_message *m, struct text reason)
{
    if (model->queues[m->queue].config.dead_letter.len > 0) {
        send_dead_letter(model, m, reason);
        return;
    }
    bool had_turn = m->turn;
    m->state = M_DEAD;
    m->turn = false;
    m->reason = reason;
    m->due_ms = ABSENT;
    m->expires_ms = ABSENT; /* the ttl is about delivery; what is dead is kept as the queue says */
    model->queues[m->queue].changed = true;
    leave(model, m->queue, m->group, had_turn);
}

static int64_t backoff_ms(const struct queue_config *config, int64_t failures)
{
    double ms = (double)config->backoff_base_ms;
    for (int64_t n = 1; n < failures; n++) {
        ms = (double)((int64_t)(ms * (double)config->backoff_factor_milli / 1000));
        ms = ms > 1e15 ? 1e15 : ms;
    }
    return ms < (double)config->backoff_max_ms ? (int64_t)ms : config->backoff_max_ms;
}

/* A delivery has failed: nacked, or its lease ran out. */
static void fail(struct model *model, struct m_message *m, int64_t delay_ms, struct text reason)
{
    const struct queue_config *config = &model->queues[m->queue].config;
    if (is_over(model, m)) {
        take_out(model, m);
        model->expired++;
        return;
    }
    m->failures++;
    m->reason = text_given(reason) ? reason : m->reason;
    if (config->max_attempts > 0 && m->failures >= config->max_attempts) {
        die(model, m, text_given(m->reason) ? m->reason : TEXT("max_attempts"));
        return;
    }
    int64_t wait_ms = delay_ms == ABSENT ? backoff_ms(config, m->failures) : delay_ms;
    stand(model, m, model->now.now_ms + wait_ms);
}

/* The first by priority, then in the order sent. */
static struct m_message *next_ready(struct model *model, const struct m_queue *queue)
{
    struct m_message *best = NULL;
    for (size_t i = 0; i < model->message_count; i++) {
        struct m_message *m = &model->messages[i];
        if (is_of(model, m, queue) && m->state == M_READY &&
            (best == NULL || m->priority > best->priority)) {
            best = m;
        }
    }
    return best;
}

/* ---- what is due ---------------------------------------------------------------------------------------------- */

static struct m_message *next_lapsed(struct model *model, const struct m_queue *queue)
{
    struct m_message *first = NULL;
    for (size_t i = 0; i < model->message_count; i++) {
        struct m_message *m = &model->messages[i];
        if (is_of(model, m, queue) && m->state == M_LEASED && !is_held(model, m) &&
            (first == NULL || m->due_ms < first->due_ms)) {
            first = m;
        }
    }
    return first;
}

/* Brings the queue up to now: leases that ran out, oldest first, delays, expiries, turns. */
static void advance(struct model *model, struct m_queue *queue)
{
    struct m_message *m;
    while ((m = next_lapsed(model, queue)) != NULL) {
        fail(model, m, ABSENT, TEXT_ABSENT);
    }
    for (size_t i = 0; i < model->message_count; i++) {
        m = &model->messages[i];
        if (is_of(model, m, queue) && m->state == M_DELAYED && m->due_ms <= model->now.now_ms) {
            stand(model, m, ABSENT);
        }
    }
    for (size_t i = 0; i < model->message_count; i++) {
        m = &model->messages[i];
        if (is_of(model, m, queue) && is_expired(model, m)) {
            take_out(model, m);
            model->expired++;
            i--;
        }
    }
    for (size_t i = 0; queue->regroup && i < model->message_count; i++) {
        m = &model->messages[i];
        if (is_of(model, m, queue) && m->state != M_DEAD && waits_for_turn(m)) {
            next_turn(model, m->queue, m->group);
        }
    }
    queue->regroup = false;
}

/* ---- configuring ---------------------------------------------------------------------------------------------- */

static bool holds(const struct condition *condition, const struct m_queue *queue,
                  struct result *want)
{
    /* If-Match holds from the configuration's version on: what came since were messages. */
    int64_t asked = condition->if_match;
    bool since = queue->there && !condition->create_only && asked >= 0 &&
                 queue->config_version != UNKNOWN && asked >= queue->config_version &&
                 asked <= queue->version.known;
    return since || model_condition(condition, queue->there, &queue->version, want);
}

static enum status check_dead_letter(struct model *model, struct text name, struct text target)
{
    if (target.len == 0) {
        return STATUS_OK;
    }
    if (!text_equal(text_routing_key(name), text_routing_key(target))) {
        return STATUS_CROSS_PARTITION;
    }
    for (int hops = 0; target.len > 0; hops++) {
        if (hops == DEAD_LETTER_CHAIN_MAX || text_equal(name, target)) {
            return STATUS_INVALID_DEAD_LETTER;
        }
        const struct m_queue *queue = model_queue_named(model, target);
        target = queue->there ? queue->config.dead_letter : TEXT("");
    }
    return STATUS_OK;
}

static int64_t or_old(int64_t given, int64_t old)
{
    return given == ABSENT ? old : given;
}

static struct queue_config patched(const struct queue_config *old, const struct queue_config *c)
{
    bool limited = or_old(c->rate_per_s, old->rate_per_s) > 0;
    return (struct queue_config){
        .lease_ms = or_old(c->lease_ms, old->lease_ms),
        .max_attempts = or_old(c->max_attempts, old->max_attempts),
        .retention_ms = or_old(c->retention_ms, old->retention_ms),
        .delay_ms = or_old(c->delay_ms, old->delay_ms),
        .dedup_window_ms = or_old(c->dedup_window_ms, old->dedup_window_ms),
        .max_depth = or_old(c->max_depth, old->max_depth),
        .backoff_base_ms = or_old(c->backoff_base_ms, old->backoff_base_ms),
        .backoff_factor_milli = or_old(c->backoff_factor_milli, old->backoff_factor_milli),
        .backoff_max_ms = or_old(c->backoff_max_ms, old->backoff_max_ms),
        .rate_per_s = or_old(c->rate_per_s, old->rate_per_s),
        .rate_burst = limited ? or_old(c->rate_burst, old->rate_burst) : 0,
        .group_concurrency = or_old(c->group_concurrency, old->group_concurrency),
        .paused = or_old(c->paused, old->paused),
        .shards = or_old(c->shards, old->shards),
        .routing = or_old(c->routing, old->routing),
        .dead_letter = text_given(c->dead_letter) ? c->dead_letter : old->dead_letter};
}

static bool same_config(const struct queue_config *a, const struct queue_config *b)
{
    struct queue_config x = *a, y = *b;
    x.dead_letter = y.dead_letter = TEXT("");
    return memcmp(&x, &y, sizeof x) == 0 && text_equal(a->dead_letter, b->dead_letter);
}

static void reconfigure(struct model *model, struct m_queue *queue,
                        const struct queue_config *config)
{
    const struct queue_config old = queue->config;
    queue->config = *config;
    queue->changed = true;
    queue->config_version = UNKNOWN;
    if (config->rate_per_s != old.rate_per_s || config->rate_burst != old.rate_burst) {
        queue->tokens_milli = burst(config) * 1000;
        queue->filled_ms = model->now.now_ms;
    }
    queue->regroup |= config->group_concurrency > old.group_concurrency;
    if (old.paused != 0 && config->paused == 0 && next_ready(model, queue) != NULL) {
        model_tell(model, EVENT_READY, queue->name, TEXT_ABSENT);
    }
}

static void put(struct model *model, const struct queue_put *c, bool patch, struct result *want)
{
    struct m_queue *queue = model_queue_named(model, c->name);
    if ((patch && find(model, c->name, want) == NULL) || !holds(&c->condition, queue, want)) {
        return;
    }
    const struct queue_config standard = config_default();
    struct queue_config config = patched(patch ? &queue->config : &standard, &c->config);
    if (patch && config.rate_per_s == 0 && c->config.rate_burst > 0) {
        want->status = STATUS_MISSING_FIELD;
        want->field = TEXT("rate.per_s");
        return;
    }
    enum status refused = check_dead_letter(model, c->name, config.dead_letter);
    if (refused != STATUS_OK) {
        want->status = refused;
        want->field = TEXT("dead_letter");
        return;
    }
    if (!queue->there) {
        queue = make(model, c->name, &config);
        want->status = STATUS_CREATED;
    } else if (!same_config(&queue->config, &config)) {
        reconfigure(model, queue, &config);
    }
    finish(model);
    answer(model, queue, want);
}

static void drop_messages(struct model *model, const struct m_queue *queue)
{
    size_t kept = 0;
    for (size_t i = 0; i < model->message_count; i++) {
        if (!is_of(model, &model->messages[i], queue)) {
            model->messages[kept++] = model->messages[i];
        }
    }
    model->message_count = kept;
}

static void delete_queue(struct model *model, const struct queue_delete *c, struct result *want)
{
    struct m_queue *queue = model_queue_named(model, c->name);
    if (!holds(&c->condition, queue, want) || !queue->there) {
        return;
    }
    if (c->if_empty) {
        advance(model, queue);
        finish(model);
        if (depth(model, queue) + count(model, queue, M_DEAD, M_DEAD) > 0) {
            want->status = STATUS_QUEUE_NOT_EMPTY;
            return;
        }
    }
    drop_messages(model, queue);
    model_tell(model, EVENT_QUEUE, queue->name, TEXT_ABSENT);
    model_tell(model, EVENT_READY, queue->name, TEXT_ABSENT);
    *queue = (struct m_queue){.name = queue->name, .version = queue->version};
}

/* Histories ask for pages that hold all. */
static void list(struct model *model, const struct queue_list *c, struct result *want)
{
    struct queue_view *found = arena_zalloc(model->scratch, M_QUEUES, sizeof *found);
    size_t n = 0;
    for (size_t i = 0; i < model->queue_count; i++) {
        struct text name = model->queues[i].name;
        if (!model->queues[i].there || !model_begins(name, c->prefix)) {
            continue;
        }
        size_t at = n++;
        for (; at > 0 && text_compare(found[at - 1].name, name) > 0; at--) {
            found[at] = found[at - 1];
        }
        found[at] = view(model, &model->queues[i]);
    }
    want->shape = SHAPE_QUEUE_PAGE;
    want->queues.items = (struct queue_views){found, n};
}

/* ---- sending -------------------------------------------------------------------------------------------------- */

static struct m_dedup *dedup_of(struct model *model, const struct m_queue *queue, struct text id)
{
    for (size_t i = 0; i < model->dedup_count; i++) {
        struct m_dedup *dedup = &model->dedups[i];
        if (dedup->born == queue->born && text_equal(dedup->id, id)) {
            return dedup;
        }
    }
    return NULL;
}

static void note_dedup(struct model *model, const struct m_queue *queue, struct text id)
{
    struct m_dedup *dedup = dedup_of(model, queue, id);
    if (dedup == NULL) {
        dedup = &model->dedups[model_append(model, &model->dedup_count, M_DEDUPS)];
    }
    *dedup = (struct m_dedup){queue->born, id, queue->sequence,
                              model->now.now_ms + queue->config.dedup_window_ms};
}

static bool has_space(const struct model *model, const struct m_queue *queue, int64_t messages)
{
    int64_t max = queue->config.max_depth;
    return max == 0 || depth(model, queue) + messages <= max;
}

static struct sent_message send_one(struct model *model, struct m_queue *queue,
                                    const struct message_new *fresh)
{
    bool dedup = text_given(fresh->dedup_id) && queue->config.dedup_window_ms > 0;
    const struct m_dedup *first = dedup ? dedup_of(model, queue, fresh->dedup_id) : NULL;
    if (first != NULL && first->drop_ms > model->now.now_ms) {
        return (struct sent_message){STATUS_CREATED, first->sequence, 0, true};
    }
    if (!has_space(model, queue, 1)) {
        return (struct sent_message){.status = STATUS_QUEUE_FULL};
    }
    int64_t now_ms = model->now.now_ms;
    int64_t due_ms = fresh->deliver_at_ms != ABSENT ? fresh->deliver_at_ms
                     : fresh->delay_ms != ABSENT    ? now_ms + fresh->delay_ms
                                                    : now_ms + queue->config.delay_ms;
    enter(model, queue,
          (struct m_message){.body = fresh->body,
                             .body_bytes = fresh->body_bytes,
                             .attributes = fresh->attributes,
                             .group = fresh->group,
                             .priority = fresh->priority,
                             .due_ms = due_ms > now_ms ? due_ms : ABSENT,
                             .expires_ms =
                                 fresh->ttl_ms == ABSENT ? ABSENT : now_ms + fresh->ttl_ms});
    if (dedup) {
        note_dedup(model, queue, fresh->dedup_id);
    }
    return (struct sent_message){STATUS_CREATED, queue->sequence, 0, false};
}

/* The rate's bucket gains per_s tokens a second up to burst; a message that is taken takes one. */
static void fill_bucket(const struct model *model, struct m_queue *queue)
{
    int64_t passed_ms = model->now.now_ms - queue->filled_ms;
    int64_t full = burst(&queue->config) * 1000;
    int64_t tokens = queue->tokens_milli + passed_ms * queue->config.rate_per_s;
    queue->tokens_milli = tokens < full ? tokens : full;
    queue->filled_ms = model->now.now_ms;
}

static bool rate_allows(const struct m_queue *queue, int64_t messages, int64_t *ret_retry_after_ms)
{
    int64_t missing = messages * 1000 - queue->tokens_milli, per_s = queue->config.rate_per_s;
    if (per_s == 0 || missing <= 0) {
        return true;
    }
    bool ever = messages <= burst(&queue->config);
    *ret_retry_after_ms = ever ? (missing + per_s - 1) / per_s : 0;
    return false;
}

static void take_tokens(struct m_queue *queue, int64_t messages)
{
    if (queue->config.rate_per_s > 0) {
        queue->tokens_milli -= messages * 1000;
        queue->changed |= messages > 0;
    }
}

/* All or none. */
static enum status send_all(struct model *model, struct m_queue *queue,
                            const struct message_send *c, struct result *want)
{
    size_t q = index_of(model, queue), news = model->news_count;
    struct m_queue before = *queue;
    size_t messages = model->message_count;
    if (!rate_allows(queue, (int64_t)c->messages.count, &want->retry_after_ms)) {
        return STATUS_RATE_LIMITED;
    }
    /* A refused one takes back those before it: they stand at the end of the arrays, and touched nothing else. */
    struct m_dedup dedups[M_DEDUPS];
    size_t dedup_count = model->dedup_count;
    memcpy(dedups, model->dedups, sizeof dedups);
    for (size_t i = 0; i < c->messages.count; i++) {
        want->sent.at[i] = send_one(model, queue, &c->messages.at[i]);
        if (want->sent.at[i].status != STATUS_CREATED) {
            model->queues[q] = before;
            model->message_count = messages;
            model->news_count = news;
            model->dedup_count = dedup_count;
            memcpy(model->dedups, dedups, sizeof dedups);
            return STATUS_QUEUE_FULL;
        }
    }
    take_tokens(queue, (int64_t)c->messages.count);
    return STATUS_CREATED;
}

static void send_each(struct model *model, struct m_queue *queue, const struct message_send *c,
                      struct result *want)
{
    for (size_t i = 0; i < c->messages.count; i++) {
        struct sent_message *one = &want->sent.at[i];
        *one = (struct sent_message){.status = STATUS_RATE_LIMITED};
        if (rate_allows(queue, 1, &one->retry_after_ms)) {
            *one = send_one(model, queue, &c->messages.at[i]);
            take_tokens(queue, one->status == STATUS_CREATED ? 1 : 0);
        }
    }
}

static void send_messages(struct model *model, const struct message_send *c, struct result *want)
{
    struct m_queue *queue = model_queue_named(model, c->queue);
    struct queue_config config = config_default();
    if (!queue->there) {
        queue = make(model, c->queue, &config);
    }
    fill_bucket(model, queue);
    if (!has_space(model, queue, (int64_t)c->messages.count)) {
        advance(model, queue); /* what has expired takes no room */
        finish(model);
    }
    want->sent = (struct sent_messages){
        arena_zalloc(model->scratch, c->messages.count, sizeof *want->sent.at), c->messages.count};
    want->status = STATUS_CREATED;
    if (c->atomic) {
        want->status = send_all(model, queue, c, want);
    } else {
        send_each(model, queue, c, want);
    }
    want->shape = want->status == STATUS_CREATED ? SHAPE_SENT : SHAPE_NONE;
    finish(model);
}

/* ---- receiving ------------------------------------------------------------------------------------------------ */

static void receive(struct model *model, const struct message_receive *c, struct result *want)
{
    struct m_queue *queue = find(model, c->queue, want);
    if (queue == NULL) {
        return;
    }
    want->shape = SHAPE_MESSAGES;
    want->received.at = arena_zalloc(model->scratch, (size_t)c->max, sizeof *want->received.at);
    if (queue->config.paused != 0) {
        return;
    }
    advance(model, queue);
    int64_t lease_ms = or_old(c->lease_ms, queue->config.lease_ms);
    struct m_message *m;
    while ((int64_t)want->received.count < c->max && (m = next_ready(model, queue)) != NULL) {
        m->state = M_LEASED;
        m->due_ms = model->now.lease_now_ms + lease_ms;
        m->consumer = c->consumer;
        m->attempt++;
        m->fence = UNKNOWN;
        struct message_view *seen = &want->received.at[want->received.count++];
        *seen = message_view(model, m);
        queue->changed = true;
    }
    finish(model);
}

/* ---- settling ------------------------------------------------------------------------------------------------- */

/* 1: it was acknowledged and is remembered; 0: never; -1: it was, but may have been forgotten by now. */
static int was_acked(const struct model *model, int64_t fence)
{
    for (size_t i = 0; i < model->ack_count; i++) {
        if (model->acks[i].fence == fence) {
            return model->now.now_ms - model->acks[i].at_ms < ACK_MEMORY_MS ? 1 : -1;
        }
    }
    return 0;
}

static enum settle_outcome stale(const struct model *model, const struct m_message *m,
                                 const struct settlement *item, int64_t got)
{
    if (m != NULL && !is_expired(model, m)) {
        return OUTCOME_LEASE_LOST;
    }
    int acked = item->action == SETTLE_ACK ? was_acked(model, item->fence) : 0;
    bool remembered = acked == 1 || (acked == -1 && got == OUTCOME_ALREADY_ACKED);
    return remembered ? OUTCOME_ALREADY_ACKED : OUTCOME_GONE;
}

static void note_ack(struct model *model, int64_t fence)
{
    size_t at = model_append(model, &model->ack_count, M_ACKS);
    model->acks[at] = (struct m_ack){fence, model->now.now_ms};
}

static enum settle_outcome settle_one(struct model *model, const struct m_queue *queue,
                                      const struct settlement *item, int64_t got)
{
    struct m_message *m = message_of(model, queue, item->message);
    if (m == NULL || !is_held(model, m) || m->fence != item->fence) {
        return stale(model, m, item, got);
    }
    switch ((enum settle_action)item->action) {
    case SETTLE_ACK:
        note_ack(model, item->fence);
        take_out(model, m);
        return OUTCOME_ACKED;
    case SETTLE_NACK:
        fail(model, m, item->delay_ms, item->reason);
        return OUTCOME_NACKED;
    case SETTLE_EXTEND:
        m->due_ms = model->now.lease_now_ms + item->lease_ms;
        model->queues[m->queue].changed = true;
        return OUTCOME_EXTENDED;
    case SETTLE_REJECT:
        die(model, m, text_given(item->reason) ? item->reason : TEXT("rejected"));
        return OUTCOME_REJECTED;
    }
    return OUTCOME_GONE;
}

static bool settle_all(struct model *model, const struct m_queue *queue,
                       const struct message_settle *c, const struct result *got,
                       struct outcomes *outcomes)
{
    bool good = true;
    for (size_t i = 0; i < outcomes->count; i++) {
        bool seen = got != NULL && got->shape == SHAPE_OUTCOMES && i < got->outcomes.count;
        int64_t hint = seen ? got->outcomes.at[i] : (int64_t)OUTCOME_ALREADY_ACKED;
        outcomes->at[i] = settle_one(model, queue, &c->items.at[i], hint);
        good &= outcomes->at[i] != OUTCOME_LEASE_LOST && outcomes->at[i] != OUTCOME_GONE;
    }
    return good;
}

static void settle(struct model *model, const struct message_settle *c, const struct result *got,
                   struct result *want)
{
    struct m_queue *queue = find(model, c->queue, want);
    if (queue == NULL) {
        return;
    }
    want->shape = SHAPE_OUTCOMES;
    want->outcomes = (struct outcomes){
        arena_zalloc(model->scratch, c->items.count + 1, sizeof(int64_t)), c->items.count};
    struct model *before = c->atomic ? model_snapshot(model) : NULL;
    if (!settle_all(model, queue, c, got, &want->outcomes) && c->atomic) {
        model_restore(model, before);
        want->status = STATUS_SETTLE_FAILED;
    }
    model_discard(before);
    finish(model);
}

static void ack_or_cancel(struct model *model, const struct message_delete *c,
                          const struct result *got, struct result *want)
{
    struct m_queue *queue = find(model, c->queue, want);
    if (queue == NULL) {
        return;
    }
    if (c->fence != ABSENT) {
        struct settlement item = {.action = SETTLE_ACK, .message = c->message, .fence = c->fence};
        bool gone = got != NULL && got->status == STATUS_MESSAGE_GONE;
        int64_t outcome =
            settle_one(model, queue, &item, gone ? OUTCOME_GONE : OUTCOME_ALREADY_ACKED);
        want->status = outcome == OUTCOME_LEASE_LOST ? STATUS_LEASE_LOST
                       : outcome == OUTCOME_GONE     ? STATUS_MESSAGE_GONE
                                                     : STATUS_OK;
    } else {
        struct m_message *m = message_of(model, queue, c->message);
        if (c->message < 1 || c->message > queue->sequence) {
            want->status = STATUS_MESSAGE_NOT_FOUND;
        } else if (m == NULL || is_expired(model, m)) {
            want->status = STATUS_MESSAGE_GONE;
        } else if (is_held(model, m)) {
            want->status = STATUS_MESSAGE_LEASED;
        } else {
            take_out(model, m);
        }
    }
    finish(model);
}

/* ---- looking at messages -------------------------------------------------------------------------------------- */

static void get_message(struct model *model, const struct message_key *c, struct result *want)
{
    struct m_queue *queue = find(model, c->queue, want);
    const struct m_message *m = queue == NULL ? NULL : message_of(model, queue, c->message);
    if (m != NULL && !is_expired(model, m)) {
        want->shape = SHAPE_MESSAGE;
        want->message = message_view(model, m);
    } else if (queue != NULL) {
        want->status = STATUS_MESSAGE_NOT_FOUND;
    }
}

/* The living in the order sent, then the dead. Histories ask for pages that hold all. */
static void list_messages(struct model *model, const struct message_list *c, struct result *want)
{
    struct m_queue *queue = find(model, c->queue, want);
    if (queue == NULL) {
        return;
    }
    struct message_view *found =
        arena_zalloc(model->scratch, model->message_count + 1, sizeof *found);
    size_t n = 0;
    for (size_t i = 0; i < 2 * model->message_count; i++) {
        bool dead = i >= model->message_count;
        const struct m_message *m = &model->messages[i % model->message_count];
        bool wanted =
            (m->state == M_DEAD) == dead && is_of(model, m, queue) && !is_expired(model, m) &&
            (c->state == MESSAGE_ANY || c->state == (int64_t)filter_of(model, m)) &&
            (!text_given(c->group) || (text_given(m->group) && text_equal(c->group, m->group)));
        if (wanted) {
            found[n++] = message_view(model, m);
        }
    }
    want->shape = SHAPE_MESSAGE_PAGE;
    want->messages.items = (struct message_views){found, n};
}

/* ---- purge and redrive ---------------------------------------------------------------------------------------- */

/* The order in which messages of a state are purged, where not all are: as they would be delivered. */
static bool is_before(const struct m_message *a, const struct m_message *b)
{
    return a->priority != b->priority && a->state == M_READY ? a->priority > b->priority
           : a->due_ms != b->due_ms                          ? a->due_ms < b->due_ms
                                                             : a->sequence < b->sequence;
}

/* Those that are in the state now, not those that only get there because others leave. */
static int64_t purge_state(struct model *model, const struct m_queue *queue, enum m_state state,
                           int64_t max)
{
    int64_t chosen[M_MESSAGES], n = 0;
    bool taken[M_MESSAGES] = {false};
    for (;;) {
        size_t best = SIZE_MAX;
        for (size_t i = 0; i < model->message_count; i++) {
            const struct m_message *m = &model->messages[i];
            if (is_of(model, m, queue) && m->state == state && !taken[i] &&
                (best == SIZE_MAX || is_before(m, &model->messages[best]))) {
                best = i;
            }
        }
        if (best == SIZE_MAX || n == max) {
            break;
        }
        taken[best] = true;
        chosen[n++] = model->messages[best].sequence;
    }
    for (int64_t i = 0; i < n; i++) {
        take_out(model, message_of(model, queue, chosen[i]));
    }
    return n;
}

/* Of what clients call ready, those that wait for a turn go first, so that none gets a turn only to be purged. */
static int64_t purge_ready(struct model *model, const struct m_queue *queue, int64_t max)
{
    int64_t blocked = purge_state(model, queue, M_BLOCKED, max);
    return blocked + purge_state(model, queue, M_READY, max - blocked);
}

static void purge(struct model *model, const struct queue_purge *c, struct result *want)
{
    struct m_queue *queue = find(model, c->queue, want);
    if (queue == NULL) {
        return;
    }
    if (c->state == MESSAGE_ANY) {
        want->count = depth(model, queue) + count(model, queue, M_DEAD, M_DEAD);
        queue->changed |= want->count > 0;
        queue->regroup &= want->count == 0;
        drop_messages(model, queue);
        finish(model);
        return;
    }
    advance(model, queue);
    int64_t max = c->max == ABSENT ? M_MESSAGES : c->max;
    want->count = c->state == MESSAGE_READY     ? purge_ready(model, queue, max)
                  : c->state == MESSAGE_DELAYED ? purge_state(model, queue, M_DELAYED, max)
                  : c->state == MESSAGE_LEASED  ? purge_state(model, queue, M_LEASED, max)
                                                : purge_state(model, queue, M_DEAD, max);
    finish(model);
}

/* A message that comes back to its old place gets the turn if nobody of its group waits before it, from a later one
   that has it and is not being worked on if need be. */
static void come_back(struct model *model, struct m_message *m)
{
    struct m_message *later = NULL;
    bool waits_before = false;
    for (size_t i = 0; i < model->message_count; i++) {
        struct m_message *other = &model->messages[i];
        if (other == m || !same_group(other, m->queue, m->group)) {
            continue;
        }
        waits_before |= other < m && !other->turn;
        if (other > m && other->turn && other->state != M_LEASED) {
            later = other;
        }
    }
    if (waits_before) {
        return;
    }
    m->turn = has_room(model, m->queue, m->group);
    if (!m->turn && later != NULL) {
        later->turn = false;
        later->state = later->state == M_READY ? M_BLOCKED : later->state;
        m->turn = true;
    }
}

static void revive(struct model *model, struct m_message *m)
{
    if (text_given(m->group)) {
        come_back(model, m); /* while it is still dead: it does not count itself */
    }
    m->state = waits_for_turn(m) ? M_BLOCKED : M_READY;
    m->attempt = m->failures = 0;
    m->reason = TEXT_ABSENT;
    model->queues[m->queue].changed = true;
    if (m->state == M_READY) {
        now_ready(model, m);
    }
}

static bool is_redriven(const struct queue_redrive *c, int64_t sequence)
{
    for (size_t i = 0; c->by_id && i < c->ids.count; i++) {
        if (c->ids.at[i] == sequence) {
            return true;
        }
    }
    return !c->by_id;
}

static void redrive(struct model *model, const struct queue_redrive *c, struct result *want)
{
    struct m_queue *queue = find(model, c->queue, want);
    if (queue == NULL) {
        return;
    }
    advance(model, queue);
    for (size_t i = 0; i < model->message_count; i++) {
        struct m_message *m = &model->messages[i];
        bool more = c->max == ABSENT || want->count < c->max;
        if (more && is_of(model, m, queue) && m->state == M_DEAD && !is_expired(model, m) &&
            is_redriven(c, m->sequence)) {
            revive(model, m);
            want->count++;
        }
    }
    finish(model);
}

/* ---- all ------------------------------------------------------------------------------------------------------ */

void model_queue(struct model *model, const struct command *command, const struct result *got,
                 struct result *want)
{
    switch ((int)command->kind) {
    case COMMAND_QUEUE_PUT:
        put(model, &command->queue_put, false, want);
        break;
    case COMMAND_QUEUE_PATCH:
        put(model, &command->queue_patch, true, want);
        break;
    case COMMAND_QUEUE_GET: {
        const struct m_queue *queue = find(model, command->queue_get.name, want);
        if (queue != NULL) {
            answer(model, queue, want);
        }
        break;
    }
    case COMMAND_QUEUE_LIST:
        list(model, &command->queue_list, want);
        break;
    case COMMAND_QUEUE_DELETE:
        delete_queue(model, &command->queue_delete, want);
        break;
    case COMMAND_MESSAGE_SEND:
        send_messages(model, &command->message_send, want);
        break;
    case COMMAND_MESSAGE_RECEIVE:
        receive(model, &command->message_receive, want);
        break;
    case COMMAND_MESSAGE_SETTLE:
        settle(model, &command->message_settle, got, want);
        break;
    case COMMAND_MESSAGE_DELETE:
        ack_or_cancel(model, &command->message_delete, got, want);
        break;
    case COMMAND_MESSAGE_GET:
        get_message(model, &command->message_get, want);
        break;
    case COMMAND_MESSAGE_LIST:
        list_messages(model, &command->message_list, want);
        break;
    case COMMAND_QUEUE_PURGE:
        purge(model, &command->queue_purge, want);
        break;
    case COMMAND_QUEUE_REDRIVE:
        redrive(model, &command->queue_redrive, want);
        break;
    }
}

void queues_pass(struct model *model)
{
    for (size_t i = 0; i < model->queue_count; i++) {
        if (model->queues[i].there) {
            advance(model, &model->queues[i]);
        }
    }
    finish(model);
    size_t kept = 0;
    for (size_t i = 0; i < model->dedup_count; i++) {
        if (model->dedups[i].drop_ms > model->now.now_ms) {
            model->dedups[kept++] = model->dedups[i];
        }
    }
    model->dedup_count = kept;
}
