#include "tests/history/model.h"

#include "db/codec.h"
#include "tests/history/expect.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void model_begin(struct model *model, struct arena *arena, struct arena *scratch)
{
    memset(model, 0, sizeof *model);
    model->arena = arena;
    model->scratch = scratch;
}

/* ---- between the model's files -------------------------------------------------------------------------------- */

void model_complain(struct model *model, const char *format, ...)
{
    va_list args;
    if (model->wrong[0] != '\0') {
        return;
    }
    va_start(args, format);
    vsnprintf(model->wrong, sizeof model->wrong, format, args);
    va_end(args);
}

size_t model_append(struct model *model, size_t *count, size_t max)
{
    if (*count == max) {
        model->full = true;
        return max - 1;
    }
    return (*count)++;
}

void grown_change(struct grown *number, int64_t floor)
{
    number->floor = number->changed && number->floor > floor ? number->floor : floor;
    number->changed = true;
}

int64_t grown_want(const struct grown *number)
{
    return number->changed ? UNKNOWN : number->known;
}

void grown_learn(struct model *model, struct grown *number, int64_t seen, const char *what)
{
    if (number->changed && (seen <= number->known || seen <= number->floor)) {
        model_complain(model, "%s is %lld, and had to grow above %lld", what, (long long)seen,
                       (long long)(number->known > number->floor ? number->known : number->floor));
    } else if (!number->changed && seen != number->known) {
        model_complain(model, "%s is %lld, and had to stay %lld", what, (long long)seen,
                       (long long)number->known);
    }
    number->before = number->changed ? number->known : number->before;
    number->known = seen;
    number->changed = false;
}

bool model_begins(struct text name, struct text prefix)
{
    return prefix.len == 0 ||
           (name.len >= prefix.len && memcmp(name.at, prefix.at, prefix.len) == 0);
}

void model_tell(struct model *model, enum event_kind kind, struct text name, struct text detail)
{
    size_t at = model_append(model, &model->news_count, M_NEWS);
    model->news[at] = (struct event){kind, name, detail, 0};
}

static json_t *merged(json_t *base, json_t *patch)
{
    const char *key;
    json_t *value;
    json_t *result = json_is_object(base) ? json_copy(base) : json_object();
    json_object_foreach(patch, key, value)
    {
        if (json_is_null(value)) {
            json_object_del(result, key);
        } else if (json_is_object(value)) {
            json_object_set_new(result, key, merged(json_object_get(result, key), value));
        } else {
            json_object_set(result, key, value);
        }
    }
    return result;
}

struct text model_merge(struct model *model, struct text base, struct text patch)
{
    json_auto_t *to = json_loadb(base.at, base.len, 0, NULL);
    json_auto_t *with = json_loadb(patch.at, patch.len, 0, NULL);
    json_auto_t *result = merged(to, with);
    char *dumped = json_dumps(result, JSON_COMPACT);
    struct text text = arena_copy(model->arena, text_of(dumped));
    free(dumped);
    return text;
}

bool model_condition(const struct condition *condition, bool exists, const struct grown *version,
                     struct result *want)
{
    /* Nobody can know a version that has not been seen. */
    bool same = exists && !version->changed && condition->if_match == version->known;
    bool holds = condition->create_only                ? !exists
                 : condition->if_match == IF_MATCH_ANY ? exists
                                                       : condition->if_match == ABSENT || same;
    if (!holds) {
        want->status = STATUS_VERSION_MISMATCH;
        want->version = exists ? grown_want(version) : 0;
    }
    return holds;
}

/* ---- one command ---------------------------------------------------------------------------------------------- */

static void learn_leases(struct model *model, const struct lease_views *views)
{
    for (size_t i = 0; i < views->count; i++) {
        learn_lease(model, &views->at[i]);
    }
}

/* Takes from the answer what could not be foretold. */
static void learn(struct model *model, const struct command *command, const struct result *got)
{
    switch (got->shape) {
    case SHAPE_LEASE:
        learn_lease(model, &got->lease);
        break;
    case SHAPE_LOCK:
        learn_lock(model, &got->lock);
        break;
    case SHAPE_REFUSAL:
        learn_lock(model, &got->refusal.lock);
        break;
    case SHAPE_CYCLE:
        learn_cycle(model, &got->cycle);
        break;
    case SHAPE_LOCK_SET:
        learn_leases(model, &got->lock_set.members);
        break;
    case SHAPE_QUEUE:
        learn_queue(model, &got->queue);
        break;
    case SHAPE_MESSAGES:
        learn_received(model, command->message_receive.queue, &got->received);
        break;
    case SHAPE_LOCK_PAGE:
        for (size_t i = 0; i < got->locks.items.count; i++) {
            learn_lock(model, &got->locks.items.at[i]);
        }
        break;
    case SHAPE_QUEUE_PAGE:
        for (size_t i = 0; i < got->queues.items.count; i++) {
            learn_queue(model, &got->queues.items.at[i]);
        }
        break;
    case SHAPE_NONE:
    case SHAPE_SESSION:
    case SHAPE_SESSION_PAGE:
    case SHAPE_SENT:
    case SHAPE_MESSAGE:
    case SHAPE_MESSAGE_PAGE:
    case SHAPE_OUTCOMES:
    case SHAPE_RESULTS:
    case SHAPE_TRANSACTION_FAILURE:
    case SHAPE_TOTALS:
    case SHAPE_PARCEL:
    case SHAPE_COUNT:
        break;
    }
}

static void compare(struct model *model, const struct command *command, const struct result *want,
                    const struct result *got)
{
    char wrong[400];
    if (model->wrong[0] != '\0' || got == NULL) {
        return;
    }
    if (!expect_result(want, got, wrong, sizeof wrong)) {
        model_complain(model, "%s: %s", command_name(command->kind), wrong);
        return;
    }
    learn(model, command, got);
}

static void transaction_step(struct model *model, const struct command *command,
                             const struct result *got, struct result *want);

/* Does it and compares; returns what the status had to be. */
static enum status carry_out(struct model *model, const struct command *command,
                             const struct result *got)
{
    struct result want = {.status = STATUS_OK, .stamp = model->now};
    enum command_kind kind = command->kind;
    if (kind == COMMAND_TRANSACTION) {
        transaction_step(model, command, got, &want);
    } else if (kind == COMMAND_TICK || kind == COMMAND_FENCE_STEP) {
        want.count = UNKNOWN;
    } else if (kind <= COMMAND_SUBJECT_REVOKE) {
        model_session(model, command, &want);
    } else if (kind <= COMMAND_LOCK_SET_ABANDON) {
        model_lock(model, command, &want);
    } else {
        model_queue(model, command, got, &want);
    }
    compare(model, command, &want, got);
    return want.status;
}

/* ---- transactions --------------------------------------------------------------------------------------------- */

struct model *model_snapshot(const struct model *model)
{
    struct model *before = malloc(sizeof *before);
    if (before == NULL) {
        abort();
    }
    *before = *model;
    return before;
}

void model_discard(struct model *before)
{
    free(before);
}

void model_restore(struct model *model, const struct model *before)
{
    struct stamp now = model->now;
    bool full = model->full;
    char wrong[sizeof model->wrong];
    memcpy(wrong, model->wrong, sizeof wrong);
    *model = *before;
    model->now = now;
    model->full = full;
    memcpy(model->wrong, wrong, sizeof wrong);
}

static const struct result *got_of(const struct result *got, size_t operation)
{
    if (got->shape == SHAPE_RESULTS && operation < got->results.count) {
        return &got->results.at[operation];
    }
    bool failed =
        got->shape == SHAPE_TRANSACTION_FAILURE && got->failure.index == (int64_t)operation;
    return failed ? &got->failure.failed.at[0] : NULL;
}

static void transaction_step(struct model *model, const struct command *command,
                             const struct result *got, struct result *want)
{
    const struct commands *operations = &command->transaction.operations;
    struct model *before = model_snapshot(model);
    want->shape = SHAPE_RESULTS;
    for (size_t i = 0; i < operations->count; i++) {
        enum status status = carry_out(model, &operations->at[i], got_of(got, i));
        if (!status_is_ok(status)) {
            want->status = STATUS_TRANSACTION_FAILED;
            want->shape = SHAPE_TRANSACTION_FAILURE;
            want->failure.index = (int64_t)i;
            model_restore(model, before);
            break;
        }
    }
    model_discard(before);
}

/* ---- idempotency ---------------------------------------------------------------------------------------------- */

static struct m_record *record_of(struct model *model, struct text key_hash)
{
    for (size_t i = 0; i < model->record_count; i++) {
        if (text_equal(model->records[i].key_hash, key_hash)) {
            return &model->records[i];
        }
    }
    return NULL;
}

/* The same answer as the first time, byte for byte. */
static void compare_replay(struct model *model, const struct m_record *record,
                           const struct result *got)
{
    struct result first = *got;
    first.replayed = false;
    first.sealed = TEXT_ABSENT;
    if (!got->replayed || !text_equal(got->sealed, record->sealed) ||
        !text_equal(result_encode(&first, model->scratch), record->answer)) {
        model_complain(model, "the Idempotency-Key's record gives another answer than the first");
    }
}

/* Whether repeating the request cannot lead to another answer. */
static bool is_final(const struct command *command, const struct result *got)
{
    if (command->kind == COMMAND_LEASE_ABANDON || command->kind == COMMAND_LOCK_SET_ABANDON) {
        return false; /* the client hung up, and was answered nothing */
    }
    if (got->status == STATUS_WAITING) {
        return command->kind == COMMAND_LEASE_ACQUIRE ? command->lease_acquire.async
                                                      : command->lock_set_acquire.async;
    }
    if (command->kind == COMMAND_MESSAGE_RECEIVE && got->status == STATUS_OK) {
        return got->received.count > 0;
    }
    return !status_info(got->status)->retryable;
}

static void keep(struct model *model, const struct command *command, const struct result *got)
{
    struct m_record *record = record_of(model, command->idempotency.key_hash);
    if (record == NULL) {
        record = &model->records[model_append(model, &model->record_count, M_RECORDS)];
    }
    *record = (struct m_record){.key_hash = command->idempotency.key_hash,
                                .request_hash = command->idempotency.request_hash,
                                .sealed = command->idempotency.sealed,
                                .answer = result_encode(got, model->arena),
                                .drop_ms = model->now.now_ms + IDEMPOTENCY_MS};
}

static void step(struct model *model, const struct command *command, const struct result *got)
{
    struct text key = command->idempotency.key_hash;
    const struct m_record *record = text_given(key) ? record_of(model, key) : NULL;
    if (record != NULL && record->drop_ms > model->now.now_ms) {
        struct result reused = {.status = STATUS_IDEMPOTENCY_KEY_REUSED, .stamp = model->now};
        if (text_equal(record->request_hash, command->idempotency.request_hash)) {
            compare_replay(model, record, got);
        } else {
            compare(model, command, &reused, got);
        }
        return;
    }
    carry_out(model, command, got);
    if (text_given(key) && is_final(command, got)) {
        keep(model, command, got);
    }
}

const char *model_step(struct model *model, const struct command *command, const struct result *got)
{
    struct stamp *now = &model->now;
    model->wrong[0] = '\0';
    now->now_ms = command->stamp.now_ms > now->now_ms ? command->stamp.now_ms : now->now_ms;
    now->lease_now_ms = command->stamp.lease_now_ms > now->lease_now_ms
                            ? command->stamp.lease_now_ms
                            : now->lease_now_ms;
    step(model, command, got);
    return model->wrong[0] == '\0' ? NULL : model->wrong;
}

/* ---- time ----------------------------------------------------------------------------------------------------- */

void model_tick(struct model *model)
{
    sessions_pass(model);
    locks_pass(model);
    queues_pass(model);
    size_t kept = 0;
    for (size_t i = 0; i < model->record_count; i++) {
        if (model->records[i].drop_ms > model->now.now_ms) {
            model->records[kept++] = model->records[i];
        }
    }
    model->record_count = kept;
}

static void wall(struct instants *instants, int64_t at_ms)
{
    instants->wall_ms[instants->wall_count++] = at_ms;
}
static void lease(struct instants *instants, int64_t at_ms)
{
    instants->lease_ms[instants->lease_count++] = at_ms;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void instants_of_session(const struct m_session *s, int64_t now_ms, struct instants *ret)
{
    int64_t over_ms = earlier(s->last_seen_ms + s->idle_ttl_ms, s->created_ms + s->max_ttl_ms);
    wall(ret, s->ended == REASON_NONE ? over_ms : s->ended_ms + SESSION_TOMBSTONE_MS);
    if (s->ended == REASON_ROTATED && s->grace_until_ms > now_ms) {
        wall(ret, s->grace_until_ms);
    }
}

static void instants_of_message(const struct model *model, const struct m_message *m,
                                struct instants *ret)
{
    int64_t ends_ms = m->enqueued_ms + model->queues[m->queue].config.retention_ms;
    if (m->state == M_LEASED) {
        lease(ret, m->due_ms);
        return;
    }
    wall(ret, m->expires_ms == ABSENT ? ends_ms : earlier(ends_ms, m->expires_ms));
    if (m->state == M_DELAYED) {
        wall(ret, m->due_ms);
    }
}

void model_instants(const struct model *model, struct instants *ret)
{
    ret->wall_count = ret->lease_count = 0;
    for (size_t i = 0; i < model->session_count; i++) {
        instants_of_session(&model->sessions[i], model->now.now_ms, ret);
    }
    for (size_t i = 0; i < model->lease_count; i++) {
        lease(ret, model->leases[i].due_ms);
    }
    for (size_t i = 0; i < model->lock_count; i++) {
        const struct m_lock *lock = &model->locks[i];
        if (lock->delayed_until_ms > 0) {
            lease(ret, lock->delayed_until_ms);
        }
    }
    for (size_t i = 0; i < model->ended_count; i++) {
        wall(ret, model->ended[i].drop_ms);
    }
    for (size_t i = 0; i < model->message_count; i++) {
        instants_of_message(model, &model->messages[i], ret);
    }
    for (size_t i = 0; i < model->dedup_count; i++) {
        wall(ret, model->dedups[i].drop_ms);
    }
    for (size_t i = 0; i < model->record_count; i++) {
        wall(ret, model->records[i].drop_ms);
    }
}

/* ---- counters ------------------------------------------------------------------------------------------------- */

static void count_locks(const struct model *model, struct counters *ret)
{
    for (size_t i = 0; i < model->lock_count; i++) {
        ret->locks += model->locks[i].there;
    }
    for (size_t i = 0; i < model->lease_count; i++) {
        ret->held += model->leases[i].state == LEASE_HELD;
        ret->waiting += model->leases[i].state == LEASE_WAITING;
    }
    ret->ended_leases = (int64_t)model->ended_count;
}

static void count_queues(const struct model *model, struct counters *ret)
{
    for (size_t i = 0; i < model->queue_count; i++) {
        ret->queues += model->queues[i].there;
    }
    for (size_t i = 0; i < model->message_count; i++) {
        enum m_state state = model->messages[i].state;
        ret->ready += state == M_READY || state == M_BLOCKED;
        ret->delayed += state == M_DELAYED;
        ret->leased += state == M_LEASED;
        ret->dead += state == M_DEAD;
    }
}

struct counters model_counters(const struct model *model)
{
    struct counters counters = {.wall_ms = model->now.now_ms,
                                .lease_ms = model->now.lease_now_ms,
                                .idempotency_records = (int64_t)model->record_count,
                                .expired = model->expired};
    for (size_t i = 0; i < model->session_count; i++) {
        counters.sessions += model->sessions[i].ended == REASON_NONE;
    }
    count_locks(model, &counters);
    count_queues(model, &counters);
    return counters;
}
