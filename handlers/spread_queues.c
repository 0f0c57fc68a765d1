/* A queue that is spread, as a whole: its counts, its configuration, its end, and what concerns all of its messages. */
#include "handlers/messages.h"
#include "handlers/process.h"
#include "handlers/route.h"
#include "handlers/spread_state.h"

#include <stdio.h>

/* ---- counts ------------------------------------------------------------------------------------------------------- */

static void add_counts(struct queue_view *sum, const struct result *result)
{
    if (result->shape != SHAPE_QUEUE) {
        return; /* a shard that nothing was ever sent to */
    }
    const struct queue_view *one = &result->queue;
    sum->ready += one->ready;
    sum->delayed += one->delayed;
    sum->leased += one->leased;
    sum->dead += one->dead;
    sum->oldest_age_ms =
        one->oldest_age_ms > sum->oldest_age_ms ? one->oldest_age_ms : sum->oldest_age_ms;
}

static bool ask_counts(struct spread *s, struct command *operation)
{
    s->shard = spread_to_ask(s, 0);
    operation->kind = COMMAND_QUEUE_GET;
    operation->queue_get.name = s->home.name;
    return s->shard < s->count;
}

/* Who watches the queue is woken by its configuration: its version is that one's. */
static void begin_get(struct spread *s)
{
    spread_ask_from(s, 0, true);
    s->result.shape = SHAPE_QUEUE;
    s->result.queue = s->home;
    s->x->result = s->result;
    s->waits = watch_after(s->x, s->home.version) == NEXT_PARK;
    s->over = s->x->response.status != 0;
}

static void take_counts(struct spread *s, const struct result *result)
{
    if (!status_is_ok(result->status) &&
        (s->shard == 0 || result->status != STATUS_QUEUE_NOT_FOUND)) {
        spread_answer(s, result);
        return;
    }
    add_counts(&s->result.queue, result);
}

const struct spread_kind spread_get = {begin_get, ask_counts, take_counts, NULL};

/* ---- configuring -------------------------------------------------------------------------------------------------- */

enum { SEAL_TRIES = 5 };

static void begin_at_home(struct spread *s)
{
    s->phase = PHASE_HOME;
}

static bool ask_home(struct spread *s, struct command *operation)
{
    *operation = s->x->command;
    s->shard = 0;
    s->plain = true;
    return true;
}

static bool ask_seal(struct spread *s, int64_t kept, struct command *operation)
{
    s->act = s->shard < kept ? SHARD_SEAL : SHARD_SEAL_EMPTY;
    operation->kind = COMMAND_QUEUE_GET;
    return true;
}

static bool next_put(struct spread *s, struct command *operation)
{
    struct queue_put *put = &s->x->command.queue_put;
    s->shard = spread_to_ask(s, 0);
    if (s->phase == PHASE_SEAL && s->shard < s->count) {
        return ask_seal(s, shard_count(put->config.shards, put->partitions), operation);
    }
    if (s->phase == PHASE_SEAL) {
        put->sealed = s->home.version;
        s->phase = PHASE_HOME;
        s->sealing = false;
    }
    return s->phase == PHASE_HOME ? ask_home(s, operation) : ask_counts(s, operation);
}

static void take_home(struct spread *s, const struct result *result)
{
    if (result->status == STATUS_NOT_OWNER && s->tries++ < SEAL_TRIES) {
        s->phase = PHASE_SEAL;
        s->sealing = true;
        spread_ask_from(s, 1, false);
        return;
    }
    if (!status_is_ok(result->status)) {
        spread_answer(s, result);
        s->result.status = result->status == STATUS_NOT_OWNER ? STATUS_NO_LEADER : result->status;
        return;
    }
    s->result = *result;
    s->home = result->queue;
    s->count = result->queue.spread;
    s->phase = PHASE_TELL;
    spread_ask_from(s, 1, true);
}

static void take_put(struct spread *s, const struct result *result)
{
    if (s->phase == PHASE_HOME) {
        take_home(s, result);
    } else if (s->phase == PHASE_TELL) {
        take_counts(s, result);
    } else if (!status_is_ok(result->status)) {
        spread_answer(s, result);
    }
}

/* The configuration is true when home has it; who could not be told is told by the next request. */
static void miss_put(struct spread *s, enum status why)
{
    if (s->phase != PHASE_TELL) {
        spread_fail(s, why);
        return;
    }
    if (s->misses == 1) {
        exchange_header(s->x, "Ringhold-Shards-Missing",
                        arena_format(s->x->arena, "%lld", (long long)s->shard));
    }
}

const struct spread_kind spread_put = {begin_at_home, next_put, take_put, miss_put};

/* ---- deleting ----------------------------------------------------------------------------------------------------- */

static void begin_delete(struct spread *s)
{
    s->sealing = s->x->command.queue_delete.if_empty;
    s->phase = s->sealing ? PHASE_SEAL : PHASE_HOME;
    spread_ask_from(s, 1, false);
}

static bool next_delete(struct spread *s, struct command *operation)
{
    struct queue_delete *delete = &s->x->command.queue_delete;
    s->shard = spread_to_ask(s, 0);
    if (s->phase == PHASE_SEAL && s->shard < s->count) {
        return ask_seal(s, 0, operation);
    }
    if (s->phase == PHASE_SEAL) {
        delete->sealed = s->home.version;
        s->phase = PHASE_HOME;
        s->sealing = false;
    }
    if (s->phase == PHASE_HOME) {
        return ask_home(s, operation);
    }
    s->act = SHARD_DROP;
    operation->kind = COMMAND_QUEUE_GET;
    return s->shard < s->count;
}

static void take_delete(struct spread *s, const struct result *result)
{
    if (s->phase == PHASE_HOME && status_is_ok(result->status)) {
        s->result = *result;
        s->phase = PHASE_TELL;
        spread_ask_from(s, 1, true);
    } else if (s->phase != PHASE_TELL && !status_is_ok(result->status)) {
        spread_answer(s, result);
        s->result.status = result->status == STATUS_NOT_OWNER ? STATUS_NO_LEADER : result->status;
    }
}

/* The queue is gone when home's row is: nobody asks a shard that could not be told any more, and its messages end with
   their retention, or with the next queue of the name. */
static void miss_delete(struct spread *s, enum status why)
{
    if (s->phase != PHASE_TELL) {
        spread_fail(s, why);
    }
}

const struct spread_kind spread_delete = {begin_delete, next_delete, take_delete, miss_delete};

/* ---- purge and redrive -------------------------------------------------------------------------------------------- */

static void begin_bulk(struct spread *s)
{
    s->left = bulk_max(s->x);
    spread_ask_from(
        s, 0, s->left == ABSENT); /* how many the others may take is known after the one before */
}

/* Those of the ids that are this shard's. */
static struct message_ids ids_of(struct spread *s, const struct message_ids *all)
{
    int64_t *ids = arena_zalloc(s->x->arena, all->count, sizeof *ids);
    size_t count = 0;
    for (size_t i = 0; ids != NULL && i < all->count; i++) {
        if (shard_of_message(all->at[i]) == s->shard) {
            ids[count++] = shard_sequence(all->at[i]);
        }
    }
    return (struct message_ids){ids, count};
}

/* In steps of the size that they have on a queue that is not spread; where the answer is kept, in one. */
static int64_t step_of(const struct spread *s)
{
    bool whole = text_given(s->x->command.idempotency.key_hash);
    bool bounded = s->left != ABSENT && (whole || s->left < QUEUE_STEPS_MAX);
    return bounded ? s->left : whole ? ABSENT : QUEUE_STEPS_MAX;
}

static bool next_bulk(struct spread *s, struct command *operation)
{
    s->shard = spread_to_ask(s, 0);
    if (s->shard == s->count || s->left == 0) {
        return false;
    }
    *operation = s->x->command;
    operation->idempotency = (struct idempotency){.key_hash = TEXT_ABSENT};
    if (operation->kind == COMMAND_QUEUE_PURGE) {
        operation->queue_purge.max = step_of(s);
    } else {
        struct queue_redrive *redrive = &operation->queue_redrive;
        redrive->max = redrive->by_id ? s->left : step_of(s);
        redrive->ids = ids_of(s, &s->x->command.queue_redrive.ids);
    }
    return true;
}

/* Whether this shard may have more. */
static bool is_cut(const struct spread *s, const struct result *result)
{
    const struct command *command = &s->x->command;
    bool steps = command->kind == COMMAND_QUEUE_PURGE ? command->queue_purge.state != MESSAGE_ANY
                                                      : !command->queue_redrive.by_id;
    return steps && result->count > 0 && result->count == step_of(s);
}

static void take_bulk(struct spread *s, const struct result *result)
{
    if (!status_is_ok(result->status)) {
        spread_answer(s, result);
        return;
    }
    if (is_cut(s, result)) {
        s->progress[s->shard] = SHARD_TO_ASK;
    }
    s->result.count += result->count;
    s->left -= s->left == ABSENT ? 0 : result->count;
}

const struct spread_kind spread_bulk = {begin_bulk, next_bulk, take_bulk, NULL};
