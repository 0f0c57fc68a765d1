#include "db/queues.h"

#include "db/messages.h"

#include <assert.h>

/* X(column, member): the configuration's integers, in the order of struct queue_config. */
#define CONFIG_TABLE(X)                                                                            \
    X(lease_ms)                                                                                    \
    X(max_attempts)                                                                                \
    X(retention_ms)                                                                                \
    X(delay_ms)                                                                                    \
    X(dedup_window_ms)                                                                             \
    X(max_depth)                                                                                   \
    X(backoff_base_ms)                                                                             \
    X(backoff_factor_milli)                                                                        \
    X(backoff_max_ms)                                                                              \
    X(rate_per_s)                                                                                  \
    X(rate_burst)                                                                                  \
    X(group_concurrency)                                                                           \
    X(paused)                                                                                      \
    X(shards)                                                                                      \
    X(routing)
#define CONFIG_AS_COLUMN(name) #name ","
#define CONFIG_AS_SET(name) #name " = ?,"

/* ---- loading ------------------------------------------------------------------------------------------------------ */

static int64_t due_or_never(int64_t column)
{
    return column == ABSENT ? INT64_MAX : column;
}

/* What both queries below select, in the order that `load` reads. */
#define QUEUE_COLUMNS                                                                              \
    "id, born, version, sequence, ready, delayed, leased, dead, rate_tokens_milli,"                \
    " rate_filled_ms, wall_due_ms, lease_due_ms, regroup_id, config_version, created_ms,"          \
    " shard, spread, home_version, home_born, keyed,"                                              \
    " " CONFIG_TABLE(CONFIG_AS_COLUMN) " dead_letter"

/* Returns the column behind them. */
static int load(struct txn *txn, const struct query *q, struct queue *queue)
{
    *queue = (struct queue){.id = col_int(q, 0),
                            .born = col_int(q, 1),
                            .version = col_int(q, 2),
                            .sequence = col_int(q, 3),
                            .depths = {col_int(q, 4), col_int(q, 5), col_int(q, 6), col_int(q, 7)},
                            .tokens_milli = col_int(q, 8),
                            .filled_ms = col_int(q, 9),
                            .due = {due_or_never(col_int(q, 10)), due_or_never(col_int(q, 11))},
                            .regroup_id = col_int(q, 12),
                            .config_version = col_int(q, 13),
                            .created_ms = col_int(q, 14),
                            .shard = col_int(q, 15),
                            .spread = col_int(q, 16),
                            .home_version = col_int(q, 17),
                            .home_born = col_int(q, 18),
                            .keyed = col_int(q, 19) != 0};
    int column = 20;
#define CONFIG_LOAD(name) queue->config.name = col_int(q, column++);
    CONFIG_TABLE(CONFIG_LOAD)
#undef CONFIG_LOAD
    queue->config.dead_letter = col_text(q, column++, txn->arena);
    queue->stored_depths = queue->depths;
    queue->stored_due = queue->due;
    queue->stored_regroup_id = queue->regroup_id;
    queue->stored_keyed = queue->keyed;
    return column;
}

bool queue_find(struct txn *txn, struct text name, struct queue *ret)
{
    static const char FIND[] = "SELECT " QUEUE_COLUMNS " FROM queues WHERE name = ?1";
    QUERY(q, txn->sql, FIND);
    bind_text(&q, name);
    if (!query_row(&q)) {
        return false;
    }
    load(txn, &q, ret);
    ret->name = name;
    return true;
}

bool queue_find_id(struct txn *txn, int64_t id, struct queue *ret)
{
    static const char FIND[] =
        "SELECT " QUEUE_COLUMNS ", name FROM queues WHERE id = ?1 AND name IS NOT NULL";
    QUERY(q, txn->sql, FIND);
    bind_int(&q, id);
    if (!query_row(&q)) {
        return false;
    }
    int column = load(txn, &q, ret);
    ret->name = col_text(&q, column, txn->arena);
    return true;
}

/* ---- making ------------------------------------------------------------------------------------------------------- */

struct queue_config queue_config_default(void)
{
    return (struct queue_config){.lease_ms = MESSAGE_LEASE_MS_DEFAULT,
                                 .max_attempts = MAX_ATTEMPTS_DEFAULT,
                                 .retention_ms = RETENTION_MS_DEFAULT,
                                 .dedup_window_ms = DEDUP_WINDOW_MS_DEFAULT,
                                 .backoff_factor_milli = 2000,
                                 .backoff_max_ms = HOUR_MS,
                                 .group_concurrency = 1,
                                 .dead_letter = TEXT(""),
                                 .shards = 1,
                                 .routing = ROUTING_HASH};
}

int64_t queue_burst(const struct queue_config *config)
{
    return config->rate_burst > 0 ? config->rate_burst : config->rate_per_s;
}

int64_t queue_share(const struct queue *queue, int64_t total)
{
    return total / queue->spread + (queue->shard < total % queue->spread);
}

void queue_fill_bucket(struct txn *txn, struct queue *queue)
{
    queue->tokens_milli = queue_share(queue, queue_burst(&queue->config)) * TOKEN_PARTS(queue);
    queue->filled_ms = txn->now.now_ms;
}

/* An id that no queue has, nor one whose messages are still being deleted. 0: there is none left. */
static int64_t free_id(struct txn *txn)
{
    static const char LAST[] = "SELECT coalesce(max(id), 0) FROM queues";
    /* The first gap: walks no further than there are queues without one. */
    static const char GAP[] = "SELECT id + 1 FROM queues AS a WHERE id < ?1 AND NOT EXISTS"
                              " (SELECT 1 FROM queues AS b WHERE b.id = a.id + 1) LIMIT 1";
    QUERY(last, txn->sql, LAST);
    int64_t id = query_row(&last) ? col_int(&last, 0) : QUEUE_ID_MAX;
    if (id < QUEUE_ID_MAX) {
        return id + 1;
    }
    QUERY(gap, txn->sql, GAP);
    bind_int(&gap, QUEUE_ID_MAX);
    return query_row(&gap) ? col_int(&gap, 0) : 0;
}

static void insert(struct txn *txn, const struct queue *queue)
{
    static const char INSERT[] =
        "INSERT INTO queues (id, name, born, version, sequence, ready, delayed, leased, dead,"
        " rate_tokens_milli, rate_filled_ms, config_version, created_ms,"
        " shard, spread, home_version, home_born, keyed,"
        " " CONFIG_TABLE(CONFIG_AS_COLUMN) " dead_letter)"
                                           " VALUES (?, ?, ?, ?, ?, 0, 0, 0, 0, ?, ?, ?, ?,"
                                           " ?, ?, ?, ?, ?,"
                                           " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    QUERY(q, txn->sql, INSERT);
    bind_int(&q, queue->id);
    bind_text(&q, queue->name);
    bind_int(&q, queue->born);
    bind_int(&q, queue->version);
    bind_int(&q, queue->sequence);
    bind_int(&q, queue->tokens_milli);
    bind_int(&q, queue->filled_ms);
    bind_int(&q, queue->config_version);
    bind_int(&q, queue->created_ms);
    bind_int(&q, queue->shard);
    bind_int(&q, queue->spread);
    bind_int(&q, queue->home_version);
    bind_int(&q, queue->home_born);
    bind_int(&q, queue->keyed);
#define CONFIG_BIND(name) bind_int(&q, queue->config.name);
    CONFIG_TABLE(CONFIG_BIND)
    bind_text(&q, queue->config.dead_letter);
    query_run(&q);
}

bool queue_make(struct txn *txn, struct text name, const struct queue_config *config,
                struct shard_mark mark, struct queue *ret)
{
    int64_t id = free_id(txn);
    if (id == 0) {
        return false;
    }
    int64_t version = txn_next_revision(txn);
    *ret = (struct queue){.id = id,
                          .name = name,
                          .born = version,
                          .version = version,
                          .config_version = version,
                          .created_ms = txn->now.now_ms,
                          .config = *config,
                          .shard = mark.shard,
                          .spread = mark.spread,
                          .home_version = mark.home_version,
                          .home_born = mark.home_born,
                          .regroup_id = ABSENT,
                          .stored_regroup_id = ABSENT,
                          .due = DUE_NEVER,
                          .stored_due = DUE_NEVER};
    queue_fill_bucket(txn, ret);
    insert(txn, ret);
    txn->counters->queues += mark.shard == 0;
    txn_emit(txn, EVENT_QUEUE, name, TEXT_ABSENT, 1);
    return true;
}

void queue_drop_name(struct txn *txn, const struct queue *queue)
{
    static const char DROP[] =
        "UPDATE queues SET name = NULL, ready = 0, delayed = 0, leased = 0, dead = 0,"
        " wall_due_ms = NULL, lease_due_ms = NULL, regroup_id = NULL WHERE id = ?1";
    QUERY(q, txn->sql, DROP);
    bind_int(&q, queue->id);
    query_run(&q);
    txn_due_wall(txn, txn->now.now_ms);
}

bool queue_renumber(struct txn *txn, struct queue *queue)
{
    int64_t id = free_id(txn);
    if (id == 0) {
        return false;
    }
    queue_drop_name(txn, queue);
    queue->id = id;
    insert(txn, queue);
    queue->depths = (struct depths){0, 0, 0, 0};
    queue->due = queue->stored_due = DUE_NEVER; /* as inserted */
    queue->regroup_id = queue->stored_regroup_id = ABSENT;
    queue->changed = true;
    return true;
}

struct queue *queue_dead_letter(struct txn *txn, struct queue *queue)
{
    struct text name = queue->config.dead_letter;
    if (name.len == 0 || queue->dead_letter != NULL) {
        return queue->dead_letter;
    }
    struct queue *target = arena_alloc(txn->arena, sizeof *target);
    struct queue_config config = queue_config_default();
    config.shards = queue->config.shards;
    struct shard_mark mark = {.shard = queue->shard, .spread = queue->spread};
    if (target != NULL &&
        (queue_find(txn, name, target) || queue_make(txn, name, &config, mark, target))) {
        queue->dead_letter = target;
    }
    return queue->dead_letter;
}

/* ---- storing ------------------------------------------------------------------------------------------------------ */

static void store_due(struct txn *txn, const struct queue *queue)
{
    static const char STORE[] =
        "UPDATE queues SET wall_due_ms = ?2, lease_due_ms = ?3, regroup_id = ?4 WHERE id = ?1";
    QUERY(q, txn->sql, STORE);
    bind_int(&q, queue->id);
    bind_int(&q, queue->due.wall_ms == INT64_MAX ? ABSENT : queue->due.wall_ms);
    bind_int(&q, queue->due.lease_ms == INT64_MAX ? ABSENT : queue->due.lease_ms);
    bind_int(&q, queue->regroup_id);
    query_run(&q);
}

static void store_change(struct txn *txn, const struct queue *queue)
{
    static const char STORE[] =
        "UPDATE queues SET version = ?2, sequence = ?3, ready = ?4, delayed = ?5, leased = ?6,"
        " dead = ?7, rate_tokens_milli = ?8, rate_filled_ms = ?9, keyed = ?10 WHERE id = ?1";
    QUERY(q, txn->sql, STORE);
    bind_int(&q, queue->id);
    bind_int(&q, queue->version);
    bind_int(&q, queue->sequence);
    bind_int(&q, queue->depths.ready);
    bind_int(&q, queue->depths.delayed);
    bind_int(&q, queue->depths.leased);
    bind_int(&q, queue->depths.dead);
    bind_int(&q, queue->tokens_milli);
    bind_int(&q, queue->filled_ms);
    bind_int(&q, queue->keyed);
    query_run(&q);
}

static void count_change(struct counters *counters, const struct queue *queue)
{
    const struct depths *now = &queue->depths, *then = &queue->stored_depths;
    counters->ready += now->ready - then->ready;
    counters->delayed += now->delayed - then->delayed;
    counters->leased += now->leased - then->leased;
    counters->dead += now->dead - then->dead;
}

void queue_store(struct txn *txn, struct queue *queue)
{
    if (queue->dead_letter != NULL) {
        queue_store(txn, queue->dead_letter);
    }
    if (queue->due.wall_ms != queue->stored_due.wall_ms ||
        queue->due.lease_ms != queue->stored_due.lease_ms ||
        queue->regroup_id != queue->stored_regroup_id) {
        store_due(txn, queue);
        queue->stored_due = queue->due;
        queue->stored_regroup_id = queue->regroup_id;
    }
    if (queue->changed) {
        queue->version = txn_next_revision(txn);
        store_change(txn, queue);
        count_change(txn->counters, queue);
        queue->stored_depths = queue->depths;
        txn_emit(txn, EVENT_QUEUE, queue->name, TEXT_ABSENT, 1);
    }
    if (queue->woken > 0 && queue->config.paused == 0) {
        txn_emit(txn, EVENT_READY, queue->name, TEXT_ABSENT, queue->woken);
    }
    txn_due_wall(txn, queue->due.wall_ms);
    txn_due_lease(txn, queue->due.lease_ms);
    queue->changed = false;
    queue->woken = 0;
}

void queue_store_config(struct txn *txn, struct queue *queue)
{
    static const char STORE[] =
        "UPDATE queues SET " CONFIG_TABLE(CONFIG_AS_SET) " dead_letter = ?, config_version = ?,"
                                                         " spread = ?, home_version = ?,"
                                                         " home_born = ? WHERE id = ?";
    queue->changed = true;
    queue_store(txn, queue);
    queue->config_version = queue->version;
    QUERY(q, txn->sql, STORE);
    CONFIG_TABLE(CONFIG_BIND)
#undef CONFIG_BIND
    bind_text(&q, queue->config.dead_letter);
    bind_int(&q, queue->config_version);
    bind_int(&q, queue->spread);
    bind_int(&q, queue->home_version);
    bind_int(&q, queue->home_born);
    bind_int(&q, queue->id);
    query_run(&q);
}

void queue_due_wall(struct queue *queue, int64_t wall_ms)
{
    if (wall_ms < queue->due.wall_ms) {
        queue->due.wall_ms = wall_ms;
    }
}

void queue_due_lease(struct queue *queue, int64_t lease_ms)
{
    if (lease_ms < queue->due.lease_ms) {
        queue->due.lease_ms = lease_ms;
    }
}

int64_t queue_depth(const struct queue *queue)
{
    return queue->depths.ready + queue->depths.delayed + queue->depths.leased;
}
