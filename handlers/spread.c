#include "handlers/route.h"
#include "handlers/spread_state.h"

static const struct spread_kind *kind_of(enum command_kind kind)
{
    static const struct {
        enum command_kind command;
        const struct spread_kind *kind;
    } KINDS[] = {
        {COMMAND_MESSAGE_SEND, &spread_send},     {COMMAND_MESSAGE_RECEIVE, &spread_receive},
        {COMMAND_MESSAGE_SETTLE, &spread_settle}, {COMMAND_MESSAGE_DELETE, &spread_message},
        {COMMAND_MESSAGE_GET, &spread_message},   {COMMAND_MESSAGE_LIST, &spread_list},
        {COMMAND_QUEUE_GET, &spread_get},         {COMMAND_QUEUE_PUT, &spread_put},
        {COMMAND_QUEUE_PATCH, &spread_put},       {COMMAND_QUEUE_DELETE, &spread_delete},
        {COMMAND_QUEUE_PURGE, &spread_bulk},      {COMMAND_QUEUE_REDRIVE, &spread_bulk}};
    for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++) {
        if (KINDS[i].command == kind) {
            return KINDS[i].kind;
        }
    }
    return NULL;
}

bool spread_concerns(const struct exchange *x, struct text *ret_queue)
{
    *ret_queue = x->params[0];
    return kind_of(x->command.kind) != NULL;
}

void spread_fail(struct spread *s, enum status status)
{
    bool partly = s->touched && status == STATUS_NO_LEADER;
    s->result =
        (struct result){.status = partly ? STATUS_OUTCOME_UNKNOWN : status, .stamp = s->x->now};
    s->over = true;
}

void spread_answer(struct spread *s, const struct result *result)
{
    s->result = *result;
    s->over = true;
}

int64_t spread_to_ask(const struct spread *s, int64_t from)
{
    while (from < s->count && s->progress[from] != SHARD_TO_ASK) {
        from++;
    }
    return from;
}

void spread_ask_from(struct spread *s, int64_t from, bool together)
{
    s->together = together;
    for (int64_t i = 0; i < s->count; i++) {
        s->progress[i] = i < from ? SHARD_ASKED : SHARD_TO_ASK;
    }
}

struct spread *spread_begin(struct exchange *x, const struct queue_view *plan,
                            struct spread_hints hints)
{
    struct spread *s = arena_zalloc(x->arena, 1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->x = x;
    s->kind = kind_of(x->command.kind);
    s->home = *plan;
    s->count = plan->spread;
    s->hints = hints;
    s->replayed = true;
    s->result = (struct result){.status = STATUS_OK, .stamp = x->now};
    s->kind->begin(s);
    return s;
}

static void wrap(struct spread *s, struct command *operation, struct command *ret)
{
    /* A strong read is one that is committed. */
    bool reads = s->act == SHARD_RUN && command_reads(operation->kind) && s->kind != &spread_put &&
                 s->x->consistency != CONSISTENCY_STRONG;
    struct shard_request request = {.queue = s->home.name,
                                    .shard = s->shard,
                                    .count = s->count,
                                    .version = s->home.version,
                                    .born = s->home.born,
                                    .config = s->home.config,
                                    .act = s->act,
                                    .operations = {operation, s->act == SHARD_RUN}};
    *ret = (struct command){.kind = reads ? COMMAND_SHARD_READ : COMMAND_SHARD_WRITE};
    if (reads) {
        ret->shard_read = request;
    } else {
        ret->idempotency = s->x->command.idempotency;
        ret->shard_write = request;
    }
}

enum spread_next spread_next(struct spread *s, struct spread_task *ret)
{
    if (s->out > 0 && (s->over || !s->together)) {
        return SPREAD_HOLD;
    }
    struct command *operation = arena_zalloc(s->x->arena, 1, sizeof *operation);
    if (operation == NULL) {
        spread_fail(s, STATUS_OUT_OF_MEMORY);
    }
    s->act = SHARD_RUN;
    s->plain = false;
    if (s->waits) {
        return SPREAD_WAIT;
    }
    if (s->over || !s->kind->next(s, operation)) {
        bool holds = s->out > 0;
        s->over |= !s->waits && !holds;
        return holds ? SPREAD_HOLD : s->waits ? SPREAD_WAIT : SPREAD_DONE;
    }
    s->progress[s->shard] = SHARD_OUT;
    s->out++;
    ret->shard = s->shard;
    ret->plain = s->plain;
    if (s->plain) {
        ret->command = *operation;
    } else {
        wrap(s, operation, &ret->command);
    }
    return SPREAD_ASK;
}

/* The task is back. */
static void back(struct spread *s, const struct spread_task *task, enum shard_progress progress)
{
    s->out--;
    s->task = task;
    s->shard = task->shard;
    s->progress[task->shard] = progress;
}

void spread_take(struct spread *s, const struct spread_task *task, const struct result *result)
{
    back(s, task, SHARD_ASKED);
    bool nothing =
        task->command.kind == COMMAND_SHARD_READ ||
        (result->shape == SHAPE_MESSAGES && result->received.count == 0 && !result->replayed);
    s->touched |= status_is_ok(result->status) && !nothing;
    s->replayed &= result->replayed;
    if (!s->over) {
        s->kind->take(s, result);
    }
}

void spread_miss(struct spread *s, const struct spread_task *task, enum status why)
{
    back(s, task, SHARD_ASKED);
    s->misses++;
    s->replayed = false;
    s->touched |= why == STATUS_OUTCOME_UNKNOWN && task->command.kind != COMMAND_SHARD_READ;
    if (s->over) {
        return;
    }
    if (s->kind->miss != NULL) {
        s->kind->miss(s, why);
    } else {
        spread_fail(s, why);
    }
}

void spread_return(struct spread *s, const struct spread_task *task)
{
    back(s, task, SHARD_TO_ASK);
}

bool spread_follow(struct spread *s, const struct queue_view *plan)
{
    bool same = plan->spread == s->count && plan->born == s->home.born;
    if (same) {
        s->home = *plan;
        if (s->sealing) { /* what was sealed was so at another version */
            spread_ask_from(s, 1, false);
        }
    }
    return same;
}

bool spread_fits(const struct spread *s)
{
    const struct command *command = &s->x->command;
    size_t count = command->kind == COMMAND_MESSAGE_SETTLE && s->places != NULL
                       ? command->message_settle.items.count
                       : 0;
    for (size_t i = 0; i < count; i++) {
        if (s->places[i] >= s->count) {
            return false;
        }
    }
    return true;
}

bool spread_untouched(const struct spread *s)
{
    return !s->touched;
}

void spread_end_unknown(struct spread *s)
{
    if (s->result.shape == SHAPE_MESSAGES && s->result.received.count > 0) {
        s->over = true; /* what is here is the consumer's, and an answer */
    } else {
        spread_fail(s, STATUS_OUTCOME_UNKNOWN);
    }
}

bool spread_patient(const struct spread *s)
{
    bool others = s->kind == &spread_receive || (s->kind == &spread_send && s->tries > 1);
    return !others && s->phase != PHASE_TELL;
}

void spread_again(struct spread *s)
{
    s->waits = s->over = false;
    s->misses = 0;
    s->kind->begin(s);
}

enum next spread_end(struct spread *s)
{
    struct exchange *x = s->x;
    bool kept = text_given(x->command.idempotency.key_hash);
    if (x->response.status != 0) {
        return NEXT_ANSWER; /* 304 */
    }
    x->result = s->result;
    x->result.replayed = kept && s->touched && s->replayed;
    if (!status_is_ok(x->result.status) && x->route->after != NULL) {
        (void)x->route->after(x); /* says more about a refusal */
    }
    return exchange_answer(x);
}
