#include "db/queues.h"

#include "db/aggregates.h"
#include "db/messages.h"
#include "db/shards.h"

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

/* No version of one partition grows with what happens on another: that of a queue which is spread is its
   configuration's. */
static struct queue_view view_config(const struct queue *queue)
{
    return (struct queue_view){.name = queue->name,
                               .config = queue->config,
                               .version =
                                   queue->spread > 1 ? queue->config_version : queue->version,
                               .created_at_ms = queue->created_ms,
                               .spread = queue->spread,
                               .shard = queue->shard,
                               .born = queue->shard == 0 ? queue->born : queue->home_born};
}

static struct queue_view view(struct txn *txn, const struct queue *queue)
{
    struct depths depths = queue_depths_now(txn, queue);
    struct queue_view view = view_config(queue);
    view.ready = depths.ready;
    view.delayed = depths.delayed;
    view.leased = depths.leased;
    view.dead = depths.dead;
    view.oldest_age_ms = oldest_age_ms(txn, queue);
    return view;
}

static void answer(struct txn *txn, const struct queue *queue, struct result *result)
{
    result->shape = SHAPE_QUEUE;
    result->queue = view(txn, queue);
}

void queue_get(struct txn *txn, const struct queue_key *command, struct result *result)
{
    struct queue queue;
    result->status = queue_enter(txn, command->name, ENTER_WHOLE, &queue);
    if (result->status == STATUS_OK) {
        answer(txn, &queue, result);
    }
}

void queue_plan(struct txn *txn, const struct queue_key *command, struct result *result)
{
    struct queue queue;
    if (!queue_find(txn, command->name, &queue)) {
        result->status = STATUS_QUEUE_NOT_FOUND;
        return;
    }
    result->shape = SHAPE_QUEUE;
    result->queue = view_config(&queue);
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

/* Dead letters stay on the shard's partition, and on the shard that their group leads to: the dead-letter queue is spread
   as the queue is, and made so if it is not there. */
static enum status match_dead_letter(struct txn *txn, const struct queue_config *config,
                                     int64_t spread)
{
    struct queue target;
    if (config->dead_letter.len == 0) {
        return STATUS_OK;
    }
    if (queue_find(txn, config->dead_letter, &target)) {
        return target.spread == spread ? STATUS_OK : STATUS_INVALID_DEAD_LETTER;
    }
    struct queue_config standard = queue_config_default();
    standard.shards = config->shards;
    bool made = spread == 1 || queue_make(txn, config->dead_letter, &standard,
                                          (struct shard_mark){.spread = spread}, &target);
    return made ? STATUS_OK : STATUS_OVERLOADED;
}

/* Whether a queue that is spread, otherwise than `spread`, has this one as its dead-letter queue. */
static bool takes_dead_letters(struct txn *txn, struct text name, int64_t spread)
{
    static const char FROM[] = "SELECT 1 FROM queues WHERE dead_letter = ?1 AND name IS NOT NULL"
                               " AND max(spread, ?2) > 1 AND spread <> ?2 LIMIT 1";
    QUERY(q, txn->sql, FROM);
    bind_text(&q, name);
    bind_int(&q, spread);
    return query_row(&q);
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
    patch(given->shards, &config.shards);
    patch(given->routing, &config.routing);
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
           a->paused == b->paused && a->shards == b->shards && a->routing == b->routing &&
           text_equal(a->dead_letter, b->dead_letter);
}

void queue_configure(struct txn *txn, struct queue *queue, const struct queue_config *config,
                     int64_t spread)
{
    const struct queue_config old = queue->config;
    bool same = queue->spread == spread;
    queue->config = *config;
    queue->spread = spread;
    if (!same || config->rate_per_s != old.rate_per_s || config->rate_burst != old.rate_burst) {
        queue_fill_bucket(txn, queue);
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

static enum status refuse(struct result *result, enum status status, const char *field)
{
    result->status = status;
    result->field = text_of(field);
    return status;
}

/* Each shard has its share of these, and one of nothing could never be sent to. */
static enum status check_shares(const struct queue_config *config, struct result *result)
{
    bool depth = config->max_depth > 0 && config->max_depth < config->shards;
    bool rate = config->rate_per_s > 0 && queue_burst(config) < config->shards;
    return depth  ? refuse(result, STATUS_INVALID_FIELD, "max_depth")
           : rate ? refuse(result, STATUS_INVALID_FIELD, "rate.burst")
                  : STATUS_OK;
}

/* The number of shards is to change (shards.h): of those that are there, `queue` is home. */
static enum status check_move(struct txn *txn, struct queue *queue, int64_t sealed, int64_t spread,
                              struct result *result)
{
    if (spread == queue->spread) {
        return STATUS_OK;
    }
    if (takes_dead_letters(txn, queue->name, spread)) {
        return refuse(result, STATUS_INVALID_DEAD_LETTER, "shards");
    }
    if (queue->spread > 1 && txn->scope == SCOPE_TRANSACTION) {
        return refuse(result, STATUS_CROSS_PARTITION, "shards");
    }
    if (queue->spread > 1 && sealed != queue->config_version) {
        result->version = queue->config_version;
        return refuse(result, STATUS_NOT_OWNER, "shards");
    }
    return queue_may_move(txn, queue) ? STATUS_OK
                                      : refuse(result, STATUS_QUEUE_NOT_EMPTY, "shards");
}

static enum status check_config(struct txn *txn, struct text name,
                                const struct queue_config *config, int64_t spread,
                                struct result *result)
{
    enum status status = check_shares(config, result);
    if (status == STATUS_OK) {
        status = check_dead_letter(txn, name, config->dead_letter);
        status = status == STATUS_OK ? match_dead_letter(txn, config, spread) : status;
        return status == STATUS_OK ? status : refuse(result, status, "dead_letter");
    }
    return status;
}

static void configure(struct txn *txn, struct queue *queue, const struct queue_put *command,
                      const struct queue_config *config, struct result *result)
{
    int64_t spread = shard_count(config->shards, command->partitions);
    bool same = same_config(&queue->config, config);
    bool good = same || (check_move(txn, queue, command->sealed, spread, result) == STATUS_OK &&
                         check_config(txn, queue->name, config, spread, result) == STATUS_OK);
    if (good && !same) {
        if (spread != queue->spread) { /* not the version that the others were sealed at */
            (void)txn_next_revision(txn);
        }
        queue_configure(txn, queue, config, spread);
        queue_store_config(txn, queue);
    }
    if (good) {
        answer(txn, queue, result);
    }
}

static void create(struct txn *txn, const struct queue_put *command,
                   const struct queue_config *config, struct result *result)
{
    struct queue queue;
    struct shard_mark mark = {.spread = shard_count(config->shards, command->partitions)};
    if (mark.spread > 1 && takes_dead_letters(txn, command->name, mark.spread)) {
        refuse(result, STATUS_INVALID_DEAD_LETTER, "shards");
    } else if (check_config(txn, command->name, config, mark.spread, result) != STATUS_OK) {
        return;
    } else if (!queue_make(txn, command->name, config, mark, &queue)) {
        result->status = STATUS_OVERLOADED;
    } else {
        result->status = STATUS_CREATED;
        answer(txn, &queue, result);
    }
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
        configure(txn, &queue, command, &config, result);
    } else {
        create(txn, command, &config, result);
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
    configure(txn, &queue, command, &config, result);
}

void queue_renew(struct txn *txn, const struct queue_renew *command, struct result *result)
{
    struct queue queue;
    if (!queue_find(txn, command->name, &queue) || queue.shard != 0) {
        result->status = STATUS_QUEUE_NOT_FOUND;
    } else if (queue.config_version < command->version) {
        queue_store_config(txn, &queue);
    }
}

/* ---- deleting ----------------------------------------------------------------------------------------------------- */

/* Whether a queue that is spread may be deleted by this command, as far as its other shards go. */
static enum status check_delete(struct txn *txn, const struct queue *queue,
                                const struct queue_delete *command, struct result *result)
{
    if (queue->spread == 1) {
        return STATUS_OK;
    }
    if (txn->scope == SCOPE_TRANSACTION) {
        return refuse(result, STATUS_CROSS_PARTITION, NULL);
    }
    if (takes_dead_letters(txn, queue->name, 0)) {
        return refuse(result, STATUS_INVALID_DEAD_LETTER, NULL);
    }
    if (command->if_empty && command->sealed != queue->config_version) {
        result->version = queue->config_version;
        return refuse(result, STATUS_NOT_OWNER, NULL);
    }
    return STATUS_OK;
}

void queue_delete(struct txn *txn, const struct queue_delete *command, struct result *result)
{
    struct queue queue;
    bool exists = queue_find(txn, command->name, &queue);
    if (check(&command->condition, exists, &queue, result) != STATUS_OK || !exists ||
        check_delete(txn, &queue, command, result) != STATUS_OK) {
        return;
    }
    if (command->if_empty && !queue_is_empty(txn, &queue)) {
        queue_store(txn, &queue);
        result->status = STATUS_QUEUE_NOT_EMPTY;
        return;
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
