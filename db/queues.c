#include "db/queues.h"

#include "db/aggregates.h"
#include "db/messages.h"

/* ---- views -------------------------------------------------------------------------------------------------------- */

/* Age of the first living message that has not expired: messages lie in the order they were sent in. */
static int64_t oldest_age_ms(struct txn *txn, const struct queue *queue)
{
    static const char OLDEST[] = "SELECT enqueued_ms FROM messages WHERE id BETWEEN ?1 AND ?2"
                                 " AND ((lane = ?3 AND due_ms > ?6) OR (enqueued_ms > ?4"
                                 " AND (expires_ms IS NULL OR expires_ms > ?5)))"
                                 " ORDER BY id LIMIT 1";
    QUERY(q, txn->sql, OLDEST);
    bind_int(&q, message_id(queue, 0));
    bind_int(&q, message_id(queue, MESSAGE_SEQUENCE_MAX));
    bind_int(&q, message_lane(queue, STATE_LEASED, 0));
    bind_int(&q, txn->now.now_ms - queue->config.retention_ms);
    bind_int(&q, txn->now.now_ms);
    bind_int(&q, txn->now.lease_now_ms);
    int64_t age_ms = query_row(&q) ? txn->now.now_ms - col_int(&q, 0) : 0;
    return age_ms > 0 ? age_ms : 0; /* a reader's clock may be behind the state's */
}

static struct queue_view view(struct txn *txn, const struct queue *queue)
{
    struct depths depths = queue_depths_now(txn, queue);
    return (struct queue_view){.name = queue->name,
                               .config = queue->config,
                               .version = queue->version,
                               .created_at_ms = queue->created_ms,
                               .ready = depths.ready,
                               .delayed = depths.delayed,
                               .leased = depths.leased,
                               .dead = depths.dead,
                               .oldest_age_ms = oldest_age_ms(txn, queue)};
}

static void answer(struct txn *txn, const struct queue *queue, struct result *result)
{
    result->shape = SHAPE_QUEUE;
    result->queue = view(txn, queue);
}

void queue_get(struct txn *txn, const struct queue_key *command, struct result *result)
{
    struct queue queue;
    if (!queue_find(txn, command->name, &queue)) {
        result->status = STATUS_QUEUE_NOT_FOUND;
        return;
    }
    answer(txn, &queue, result);
}

void queue_list(struct txn *txn, const struct queue_list *command, struct result *result)
{
    /* No byte of a name is past '~', so that the prefix and one byte more bound what begins with it. */
    static const char LIST[] = "SELECT id FROM queues WHERE name > ?1 AND name >= ?2"
                               " AND name < ?2 || char(127) ORDER BY name LIMIT ?3";
    int64_t limit = command->page.limit;
    QUERY(q, txn->sql, LIST);
    bind_text(&q, text_given(command->page.after) ? command->page.after : TEXT(""));
    bind_text(&q, text_given(command->prefix) ? command->prefix : TEXT(""));
    bind_int(&q, limit + 1);
    struct message_ids ids = messages_collect(txn, &q, limit + 1);
    struct queue_page page = {.items.at =
                                  arena_zalloc(txn->arena, ids.count + 1, sizeof *page.items.at)};
    if (page.items.at == NULL) {
        return;
    }
    struct queue queue;
    for (size_t i = 0; i < ids.count && (int64_t)i < limit; i++) {
        if (queue_find_id(txn, ids.at[i], &queue)) {
            page.items.at[page.items.count++] = view(txn, &queue);
        }
    }
    if ((int64_t)ids.count > limit) {
        page.next = queue.name;
    }
    result->shape = SHAPE_QUEUE_PAGE;
    result->queues = page;
}

/* ---- the configuration -------------------------------------------------------------------------------------------- */

/*
 * A queue's version grows with every message, its configuration changes rarely: If-Match holds as long as the
 * configuration is what it was at that version.
 */
static enum status check(const struct condition *condition, bool exists, const struct queue *queue,
                         struct result *result)
{
    struct condition asked = *condition;
    if (exists && asked.if_match >= queue->config_version && asked.if_match < queue->version) {
        asked.if_match = queue->version;
    }
    return txn_check(&asked, exists, exists ? queue->version : 0, result);
}

/* A dead-letter queue is another queue with the same routing key, and dead letters never come back on a ring. */
static enum status check_dead_letter(struct txn *txn, struct text name, struct text target)
{
    static const char NEXT[] = "SELECT dead_letter FROM queues WHERE name = ?1";
    if (target.len == 0) {
        return STATUS_OK;
    }
    if (!text_equal(text_routing_key(name), text_routing_key(target))) {
        return STATUS_CROSS_PARTITION;
    }
    for (int hops = 0; target.len > 0; hops++) {
        if (hops == DEAD_LETTER_CHAIN_MAX || text_equal(target, name)) {
            return STATUS_INVALID_DEAD_LETTER;
        }
        QUERY(q, txn->sql, NEXT);
        bind_text(&q, target);
        target = query_row(&q) ? col_text(&q, 0, txn->arena) : TEXT("");
    }
    return STATUS_OK;
}

static void patch(int64_t given, int64_t *field)
{
    if (given != ABSENT) {
        *field = given;
    }
}

static struct queue_config patched(const struct queue_config *old, const struct queue_config *given)
{
    struct queue_config config = *old;
    patch(given->lease_ms, &config.lease_ms);
    patch(given->max_attempts, &config.max_attempts);
    patch(given->retention_ms, &config.retention_ms);
    patch(given->delay_ms, &config.delay_ms);
    patch(given->dedup_window_ms, &config.dedup_window_ms);
    patch(given->max_depth, &config.max_depth);
    patch(given->backoff_base_ms, &config.backoff_base_ms);
    patch(given->backoff_factor_milli, &config.backoff_factor_milli);
    patch(given->backoff_max_ms, &config.backoff_max_ms);
    patch(given->rate_per_s, &config.rate_per_s);
    patch(given->rate_burst, &config.rate_burst);
    patch(given->group_concurrency, &config.group_concurrency);
    patch(given->paused, &config.paused);
    config.rate_burst = config.rate_per_s == 0 ? 0 : config.rate_burst;
    config.dead_letter = text_given(given->dead_letter) ? given->dead_letter : old->dead_letter;
    return config;
}

static bool same_config(const struct queue_config *a, const struct queue_config *b)
{
    return a->lease_ms == b->lease_ms && a->max_attempts == b->max_attempts &&
           a->retention_ms == b->retention_ms && a->delay_ms == b->delay_ms &&
           a->dedup_window_ms == b->dedup_window_ms && a->max_depth == b->max_depth &&
           a->backoff_base_ms == b->backoff_base_ms &&
           a->backoff_factor_milli == b->backoff_factor_milli &&
           a->backoff_max_ms == b->backoff_max_ms && a->rate_per_s == b->rate_per_s &&
           a->rate_burst == b->rate_burst && a->group_concurrency == b->group_concurrency &&
           a->paused == b->paused && text_equal(a->dead_letter, b->dead_letter);
}

/* What follows from a new configuration for the messages that are there. */
static void reconfigure(struct txn *txn, struct queue *queue, const struct queue_config *config)
{
    const struct queue_config old = queue->config;
    queue->config = *config;
    if (config->rate_per_s != old.rate_per_s || config->rate_burst != old.rate_burst) {
        queue->tokens_milli = queue_burst(config) * 1000;
        queue->filled_ms = txn->now.now_ms;
    }
    if (config->group_concurrency > old.group_concurrency) {
        queue->regroup_id = message_id(queue, 0);
    }
    if (config->group_concurrency > old.group_concurrency ||
        config->retention_ms != old.retention_ms) {
        queue_due_wall(queue, txn->now.now_ms);
    }
    if (old.paused != 0 && config->paused == 0) {
        queue->woken += queue->depths.ready;
    }
}

static void configure(struct txn *txn, struct queue *queue, const struct queue_config *config,
                      struct result *result)
{
    enum status status = check_dead_letter(txn, queue->name, config->dead_letter);
    if (status != STATUS_OK) {
        result->status = status;
        result->field = TEXT("dead_letter");
        return;
    }
    if (!same_config(&queue->config, config)) {
        reconfigure(txn, queue, config);
        queue_store_config(txn, queue);
    }
    answer(txn, queue, result);
}

static void create(struct txn *txn, struct text name, const struct queue_config *config,
                   struct result *result)
{
    struct queue queue;
    enum status status = check_dead_letter(txn, name, config->dead_letter);
    if (status != STATUS_OK) {
        result->field = TEXT("dead_letter");
    } else if (!queue_make(txn, name, config, &queue)) {
        status = STATUS_OVERLOADED;
    } else {
        status = STATUS_CREATED;
        answer(txn, &queue, result);
    }
    result->status = status;
}

void queue_put(struct txn *txn, const struct queue_put *command, struct result *result)
{
    struct queue queue;
    bool exists = queue_find(txn, command->name, &queue);
    if (check(&command->condition, exists, &queue, result) != STATUS_OK) {
        return;
    }
    const struct queue_config standard = queue_config_default();
    struct queue_config config = patched(&standard, &command->config);
    if (exists) {
        configure(txn, &queue, &config, result);
    } else {
        create(txn, command->name, &config, result);
    }
}

void queue_patch(struct txn *txn, const struct queue_put *command, struct result *result)
{
    struct queue queue;
    if (!queue_find(txn, command->name, &queue)) {
        result->status = STATUS_QUEUE_NOT_FOUND;
        return;
    }
    if (check(&command->condition, true, &queue, result) != STATUS_OK) {
        return;
    }
    struct queue_config config = patched(&queue.config, &command->config);
    if (config.rate_per_s == 0 && command->config.rate_burst > 0) {
        result->status = STATUS_MISSING_FIELD;
        result->field = TEXT("rate.per_s");
        return;
    }
    configure(txn, &queue, &config, result);
}

/* ---- deleting ----------------------------------------------------------------------------------------------------- */

void queue_delete(struct txn *txn, const struct queue_delete *command, struct result *result)
{
    struct queue queue;
    bool exists = queue_find(txn, command->name, &queue);
    if (check(&command->condition, exists, &queue, result) != STATUS_OK || !exists) {
        return;
    }
    if (command->if_empty) {
        queue_advance(txn, &queue, RECEIVE_STEPS_MAX); /* what has expired does not count */
        if (queue_depth(&queue) + queue.depths.dead > 0) {
            queue_store(txn, &queue);
            result->status = STATUS_QUEUE_NOT_EMPTY;
            return;
        }
    }
    queue.depths = (struct depths){0, 0, 0, 0};
    queue.due = DUE_NEVER;
    queue.changed = true;
    queue_store(txn, &queue);
    queue_drop_name(txn, &queue);
    txn->counters->queues--;
    /* Whoever waits to receive learns that there is nothing to wait for. */
    txn_emit(txn, EVENT_READY, command->name, TEXT_ABSENT, INT64_MAX);
}
