/*
 * Queues under random histories, with a model beside them that does the same by plain loops over arrays: every answer
 * and every counter must agree, and db/queue_sanity.c must find nothing wrong. In the end, the same commands give a
 * second machine the same state.
 */
#include "tests/unit/queue_fixture.h"

#include "db/codec.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    HISTORIES = 8,
    STEPS = 500,
    ROOM = 2048,   /* messages of one queue, over a history */
    RECEIPTS = 64, /* remembered to be used again, good or stale */
    FENCES = 8192,
    GROUPS = 3,
    DEDUP_IDS = 4,
    QUEUES = 2
};

/* ---- the model ---------------------------------------------------------------------------------------------------- */

struct item {
    int64_t sequence, fence, attempt, failures, priority, enqueued_ms, ends_ms, due_ms, lease_ms;
    int group; /* -1: none */
    bool gone, dead, leased, turn;
};
struct noted {
    int64_t sequence, until_ms;
};
struct line {
    struct item items[ROOM];
    struct noted dedups[DEDUP_IDS];
    int64_t sequence, concurrency;
    bool paused;
};
struct model {
    struct line lines[QUEUES]; /* queue 0 sends its dead letters to queue 1, which keeps its own */
    bool acked[FENCES];
    int64_t fence;
};
struct stale {
    int queue;
    struct message_view view;
};
struct world {
    struct fixture f;
    struct model model, before;
    struct stale receipts[RECEIPTS];
    struct commands log;
    struct command commands[STEPS * 4];
};

static const char *const NAME[QUEUES] = {"m", "m~dead"};
static const char *const GROUP[GROUPS] = {"a", "b", "c"};
static const char *const DEDUP[DEDUP_IDS] = {"w", "x", "y", "z"};
enum { CONFIG_LEASE_MS = 100, RETENTION_MS = 1500, WINDOW_MS = 200, DEPTH = 15, ATTEMPTS = 3 };

static struct queue_config config_at(int queue)
{
    return (struct queue_config){.lease_ms = CONFIG_LEASE_MS,
                                 .max_attempts = ATTEMPTS,
                                 .retention_ms = RETENTION_MS,
                                 .dedup_window_ms = WINDOW_MS,
                                 .max_depth = queue == 0 ? DEPTH : 0,
                                 .backoff_base_ms = 10,
                                 .backoff_max_ms = 15,
                                 .dead_letter = queue == 0 ? TEXT("m~dead") : TEXT("")};
}

static int64_t below(int n)
{
    return rand() % n;
}

static struct item *at(struct line *line, int64_t sequence)
{
    static struct item none = {.gone = true};
    return sequence >= 1 && sequence <= line->sequence ? &line->items[sequence - 1] : &none;
}

static bool living(const struct item *item)
{
    return !item->gone && !item->dead;
}

static int64_t turns(struct line *line, int group)
{
    int64_t count = 0;
    for (int64_t s = 1; s <= line->sequence; s++) {
        count += living(at(line, s)) && at(line, s)->group == group && at(line, s)->turn;
    }
    return count;
}

static void pass_turns(struct line *line, int group)
{
    for (int64_t s = 1; s <= line->sequence && group >= 0; s++) {
        if (living(at(line, s)) && at(line, s)->group == group && !at(line, s)->turn &&
            turns(line, group) < line->concurrency) {
            at(line, s)->turn = true;
        }
    }
}

static void leave(struct line *line, struct item *item)
{
    item->turn = false;
    pass_turns(line, item->group);
}

static void come_back(struct line *line, struct item *item)
{
    struct item *later = NULL;
    bool waits = false;
    for (int64_t s = 1; s <= line->sequence && item->group >= 0; s++) {
        struct item *other = at(line, s);
        if (other == item || !living(other) || other->group != item->group) {
            continue;
        }
        waits = waits || (s < item->sequence && !other->turn);
        later = s > item->sequence && other->turn && !other->leased ? other : later;
    }
    bool room = turns(line, item->group) < line->concurrency;
    item->dead = false;
    item->turn = item->group < 0 || (!waits && (room || later != NULL));
    if (item->group >= 0 && !waits && !room && later != NULL) {
        later->turn = false;
    }
}

static struct item *add(struct model *model, int queue, const struct item *like, int64_t now_ms)
{
    struct line *line = &model->lines[queue];
    cr_assert_lt(line->sequence, ROOM);
    struct item *item = &line->items[line->sequence++];
    *item = (struct item){.sequence = line->sequence,
                          .priority = like->priority,
                          .group = like->group,
                          .enqueued_ms = now_ms,
                          .ends_ms = now_ms + RETENTION_MS,
                          .turn = like->group < 0};
    pass_turns(line, like->group);
    return item;
}

static void die(struct model *model, int queue, struct item *item, int64_t now_ms)
{
    struct line *line = &model->lines[queue];
    item->leased = false;
    if (queue == 0) {
        item->gone = true;
        add(model, 1, item, now_ms);
    } else {
        item->dead = true;
        item->due_ms = 0;
        item->ends_ms = item->enqueued_ms + RETENTION_MS;
    }
    leave(line, item);
}

static void fail(struct model *model, int queue, struct item *item, int64_t delay_ms,
                 struct stamp now)
{
    item->leased = false;
    if (item->ends_ms <= now.now_ms) {
        item->gone = true;
        leave(&model->lines[queue], item);
    } else if (++item->failures == ATTEMPTS) {
        die(model, queue, item, now.now_ms);
    } else {
        int64_t wait_ms = delay_ms == ABSENT ? (item->failures == 1 ? 10 : 15) : delay_ms;
        item->due_ms = wait_ms > 0 ? now.now_ms + wait_ms : 0;
    }
}

/* The lease that ran out first, and of those the earliest message. */
static struct item *first_run_out(struct line *line, struct stamp now)
{
    struct item *first = NULL;
    for (int64_t s = 1; s <= line->sequence; s++) {
        struct item *item = at(line, s);
        if (living(item) && item->leased && item->lease_ms <= now.lease_now_ms &&
            (first == NULL || item->lease_ms < first->lease_ms)) {
            first = item;
        }
    }
    return first;
}

static void let_time_pass(struct model *model, struct stamp now)
{
    for (int q = 0; q < QUEUES; q++) {
        struct line *line = &model->lines[q];
        for (struct item *item; (item = first_run_out(line, now)) != NULL;) {
            fail(model, q, item, ABSENT, now);
        }
        for (int64_t s = 1; s <= line->sequence; s++) {
            struct item *item = at(line, s);
            item->due_ms = item->due_ms <= now.now_ms ? 0 : item->due_ms;
            if (!item->gone && !item->leased && item->ends_ms <= now.now_ms) {
                item->gone = true;
                leave(line, item);
            }
        }
    }
}

static struct depths count(struct line *line)
{
    struct depths depths = {0, 0, 0, 0};
    for (int64_t s = 1; s <= line->sequence; s++) {
        const struct item *item = at(line, s);
        depths.dead += !item->gone && item->dead;
        depths.leased += living(item) && item->leased;
        depths.delayed += living(item) && !item->leased && item->due_ms > 0;
        depths.ready += living(item) && !item->leased && item->due_ms == 0;
    }
    return depths;
}

/* ---- one step: the machine and the model do the same ---------------------------------------------------------------- */

/* Carries a command out, and notes it for the second machine. */
static struct result run(struct world *w, struct command command)
{
    command.stamp = w->f.now;
    w->commands[w->log.count++] = command;
    return fixture_do(&w->f, command);
}

static void tick(struct world *w)
{
    struct due due;
    do {
        run(w, (struct command){.kind = COMMAND_TICK, .tick = {.steps_max = 50}});
        due = machine_due(w->f.machine);
    } while (due.wall_ms <= w->f.now.now_ms || due.lease_ms <= w->f.now.lease_now_ms);
}

static void step_time(struct world *w)
{
    fixture_pass(&w->f, below(4) == 0 ? below(400) : below(30));
    let_time_pass(&w->model, w->f.now);
    tick(w);
}

struct wish {
    struct message_new message;
    struct item like;
    int dedup; /* -1: none */
};

static struct wish any_wish(struct world *w)
{
    struct wish wish = {.like.group = (int)below(GROUPS + 2) - 2, .dedup = (int)below(12) - 8};
    wish.like.group = wish.like.group < 0 ? -1 : wish.like.group;
    wish.dedup = wish.dedup < 0 ? -1 : wish.dedup;
    wish.like.priority = below(3);
    wish.message =
        message_of((struct send){.group = wish.like.group < 0 ? NULL : GROUP[wish.like.group],
                                 .dedup_id = wish.dedup < 0 ? NULL : DEDUP[wish.dedup],
                                 .delay_ms = below(4) == 0 ? 1 + below(100) : 0,
                                 .ttl_ms = below(4) == 0 ? 1 + below(300) : 0});
    wish.message.priority = wish.like.priority;
    (void)w;
    return wish;
}

/* What becomes of one message in the model. */
static struct sent_message model_send(struct world *w, int queue, const struct wish *wish)
{
    struct line *line = &w->model.lines[queue];
    int64_t now_ms = w->f.now.now_ms;
    struct noted *noted = wish->dedup < 0 ? NULL : &line->dedups[wish->dedup];
    if (noted != NULL && noted->until_ms > now_ms) {
        return (struct sent_message){STATUS_CREATED, noted->sequence, 0, true};
    }
    struct depths depths = count(line);
    if (queue == 0 && depths.ready + depths.delayed + depths.leased == DEPTH) {
        return (struct sent_message){STATUS_QUEUE_FULL, 0, 0, false};
    }
    struct item *item = add(&w->model, queue, &wish->like, now_ms);
    item->due_ms = wish->message.delay_ms == ABSENT ? 0 : now_ms + wish->message.delay_ms;
    if (wish->message.ttl_ms != ABSENT) {
        item->ends_ms = now_ms + wish->message.ttl_ms;
    }
    if (noted != NULL) {
        *noted = (struct noted){item->sequence, now_ms + WINDOW_MS};
    }
    return (struct sent_message){STATUS_CREATED, item->sequence, 0, false};
}

static void step_send(struct world *w, int queue)
{
    size_t n = (size_t)(1 + below(3));
    struct message_new *messages = arena_zalloc(&w->f.arena, n, sizeof *messages);
    struct sent_message want[3];
    bool atomic = below(2) == 0, refused = false;
    w->before = w->model;
    for (size_t i = 0; i < n; i++) {
        struct wish wish = any_wish(w);
        messages[i] = wish.message;
        want[i] = model_send(w, queue, &wish);
        refused = refused || want[i].status != STATUS_CREATED;
    }
    struct result got =
        run(w, (struct command){.kind = COMMAND_MESSAGE_SEND,
                                .message_send = {text_of(NAME[queue]), {messages, n}, atomic}});
    if (atomic && refused) {
        w->model = w->before;
        expect_status(got, STATUS_QUEUE_FULL);
        return;
    }
    expect_status(got, STATUS_CREATED);
    for (size_t i = 0; i < n; i++) {
        const struct sent_message *one = &got.sent.at[i];
        cr_assert(one->status == want[i].status && one->message == want[i].message &&
                      one->deduplicated == want[i].deduplicated,
                  "message %zu: %lld, not %lld", i, (long long)one->message,
                  (long long)want[i].message);
    }
}

static struct item *first_ready(struct line *line)
{
    struct item *first = NULL;
    for (int64_t s = 1; s <= line->sequence && !line->paused; s++) {
        struct item *item = at(line, s);
        if (living(item) && !item->leased && item->due_ms == 0 && item->turn &&
            (first == NULL || item->priority > first->priority)) {
            first = item;
        }
    }
    return first;
}

static void step_receive(struct world *w, int queue)
{
    struct line *line = &w->model.lines[queue];
    int64_t max = 1 + below(4);
    struct result got = run(
        w, (struct command){
               .kind = COMMAND_MESSAGE_RECEIVE,
               .message_receive = {.queue = text_of(NAME[queue]), .max = max, .lease_ms = ABSENT}});
    expect_status(got, STATUS_OK);
    for (size_t i = 0; i < got.received.count; i++) {
        const struct message_view *view = &got.received.at[i];
        struct item *item = first_ready(line);
        cr_assert(item != NULL && item->sequence == view->message, "%lld was received, not %lld",
                  (long long)view->message, item == NULL ? 0 : (long long)item->sequence);
        cr_assert_gt(view->fence, w->model.fence);
        cr_assert_eq(view->attempt, ++item->attempt);
        cr_assert_eq(view->failures, item->failures);
        item->leased = true;
        item->lease_ms = w->f.now.lease_now_ms + CONFIG_LEASE_MS;
        item->fence = w->model.fence = view->fence;
        w->receipts[below(RECEIPTS)] = (struct stale){queue, *view};
    }
    cr_assert((int64_t)got.received.count == max || first_ready(line) == NULL,
              "%lld could have been received", (long long)first_ready(line)->sequence);
}

static int64_t model_settle(struct world *w, int queue, const struct settlement *s)
{
    struct line *line = &w->model.lines[queue];
    struct item *item = at(line, s->message);
    if (item->gone || !item->leased || item->fence != s->fence) {
        return !item->gone                                           ? OUTCOME_LEASE_LOST
               : s->action == SETTLE_ACK && w->model.acked[s->fence] ? OUTCOME_ALREADY_ACKED
                                                                     : OUTCOME_GONE;
    }
    switch ((enum settle_action)s->action) {
    case SETTLE_ACK:
        item->gone = true;
        item->leased = false;
        w->model.acked[s->fence] = true;
        leave(line, item);
        return OUTCOME_ACKED;
    case SETTLE_NACK:
        fail(&w->model, queue, item, s->delay_ms, w->f.now);
        return OUTCOME_NACKED;
    case SETTLE_EXTEND:
        item->lease_ms = w->f.now.lease_now_ms + s->lease_ms;
        return OUTCOME_EXTENDED;
    case SETTLE_REJECT:
        die(&w->model, queue, item, w->f.now.now_ms);
        return OUTCOME_REJECTED;
    }
    return -1;
}

static void step_settle(struct world *w, int queue)
{
    size_t n = (size_t)(1 + below(3));
    struct settlement *items = arena_zalloc(&w->f.arena, n, sizeof *items);
    int64_t want[3];
    bool atomic = below(3) == 0, bad = false;
    w->before = w->model;
    for (size_t i = 0; i < n; i++) {
        const struct stale *receipt = &w->receipts[below(RECEIPTS)];
        items[i] = settlement_of((enum settle_action)below(4), receipt->view);
        items[i].action = below(2) == 0 ? SETTLE_ACK : items[i].action;
        items[i].delay_ms = below(2) == 0 ? ABSENT : below(40);
        items[i].lease_ms = 1 + below(200);
        items[i].fence = receipt->queue == queue ? items[i].fence : 0;
        want[i] = model_settle(w, queue, &items[i]);
        bad = bad || want[i] == OUTCOME_LEASE_LOST || want[i] == OUTCOME_GONE;
    }
    struct result got =
        run(w, (struct command){.kind = COMMAND_MESSAGE_SETTLE,
                                .message_settle = {text_of(NAME[queue]), {items, n}, atomic}});
    expect_status(got, atomic && bad ? STATUS_SETTLE_FAILED : STATUS_OK);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(got.outcomes.at[i], want[i], "item %zu: outcome %lld, not %lld", i,
                     (long long)got.outcomes.at[i], (long long)want[i]);
    }
    if (atomic && bad) {
        w->model = w->before;
    }
}

static void step_cancel(struct world *w, int queue)
{
    struct line *line = &w->model.lines[queue];
    struct item *item = at(line, 1 + below((int)line->sequence + 1));
    enum status want = item->gone     ? STATUS_MESSAGE_NOT_FOUND
                       : item->leased ? STATUS_MESSAGE_LEASED
                                      : STATUS_OK;
    expect_status(
        run(w, (struct command){.kind = COMMAND_MESSAGE_DELETE,
                                .message_delete = {text_of(NAME[queue]),
                                                   item->gone ? ROOM : item->sequence, ABSENT}}),
        want);
    if (want == STATUS_OK) {
        item->gone = true;
        leave(line, item);
    }
}

static bool in_state(const struct item *item, int64_t state)
{
    return !item->gone &&
           (state == MESSAGE_ANY || (state == MESSAGE_DEAD && item->dead) ||
            (!item->dead && state == MESSAGE_LEASED && item->leased) ||
            (!item->dead && state == MESSAGE_DELAYED && !item->leased && item->due_ms > 0) ||
            (!item->dead && state == MESSAGE_READY && !item->leased && item->due_ms == 0));
}

static void step_purge(struct world *w, int queue)
{
    struct line *line = &w->model.lines[queue];
    int64_t state = below(5), purged = 0;
    struct result got =
        run(w, (struct command){.kind = COMMAND_QUEUE_PURGE,
                                .queue_purge = {text_of(NAME[queue]), state, ABSENT}});
    for (int64_t s = 1; s <= line->sequence; s++) {
        struct item *item = at(line, s);
        if (in_state(item, state)) {
            item->gone = true;
            item->leased = item->turn = false;
            purged++;
        }
    }
    for (int g = 0; g < GROUPS; g++) {
        pass_turns(line, g);
    }
    cr_assert_eq(got.count, purged, "%lld purged, not %lld", (long long)got.count,
                 (long long)purged);
}

static void step_redrive(struct world *w, int queue)
{
    struct line *line = &w->model.lines[queue];
    int64_t max = 1 + below(3), redriven = 0;
    struct result got =
        run(w, (struct command){.kind = COMMAND_QUEUE_REDRIVE,
                                .queue_redrive = {.queue = text_of(NAME[queue]), .max = max}});
    for (int64_t s = 1; s <= line->sequence && redriven < max; s++) {
        struct item *item = at(line, s);
        if (!item->gone && item->dead) {
            item->attempt = item->failures = 0;
            come_back(line, item);
            redriven++;
        }
    }
    cr_assert_eq(got.count, redriven);
}

static void step_configure(struct world *w, int queue)
{
    struct line *line = &w->model.lines[queue];
    struct queue_config patch = no_change();
    line->paused = below(4) == 0;
    line->concurrency = 1 + below(3);
    patch.paused = line->paused;
    patch.group_concurrency = line->concurrency;
    run(w, (struct command){.kind = COMMAND_QUEUE_PATCH,
                            .queue_put = {.name = text_of(NAME[queue]),
                                          .config = patch,
                                          .condition = UNCONDITIONAL}});
    tick(w);
    for (int g = 0; g < GROUPS; g++) {
        pass_turns(line, g);
    }
}

static void step_make(struct world *w, int queue)
{
    memset(&w->model.lines[queue], 0, sizeof w->model.lines[queue]);
    w->model.lines[queue].concurrency = 1;
    run(w, (struct command){
               .kind = COMMAND_QUEUE_DELETE,
               .queue_delete = {.name = text_of(NAME[queue]), .condition = UNCONDITIONAL}});
    run(w, (struct command){.kind = COMMAND_QUEUE_PUT,
                            .queue_put = {.name = text_of(NAME[queue]),
                                          .config = config_of(config_at(queue)),
                                          .condition = UNCONDITIONAL}});
}

/* ---- histories ---------------------------------------------------------------------------------------------------- */

static void step(struct world *w)
{
    static void (*const OFTEN[])(struct world *, int) = {step_send, step_send, step_receive,
                                                         step_receive, step_settle};
    static void (*const SELDOM[])(struct world *, int) = {
        step_cancel, step_cancel, step_redrive, step_redrive, step_configure, step_purge};
    int queue = below(3) == 0;
    int64_t what = below(100);
    if (what < 15) {
        step_time(w);
    } else if (what < 90) {
        OFTEN[below(5)](w, queue);
    } else if (what < 99 || below(5) > 0) {
        SELDOM[below(6)](w, queue);
    } else {
        step_make(w, queue);
    }
}

static void compare(struct world *w, int number)
{
    for (int q = 0; q < QUEUES; q++) {
        expect_depths_at(&w->f, NAME[q], count(&w->model.lines[q]), number);
    }
    if (number % 10 == 0) {
        const char *wrong = machine_sanity(w->f.machine, &w->f.arena);
        cr_assert_null(wrong, "step %d: %s", number, wrong);
    }
}

/* Lives the commands again on a second machine, encoded and decoded on the way. */
static uint64_t live_again(struct world *w)
{
    struct fixture again;
    fixture_open(&again);
    for (size_t i = 0; i < w->log.count; i++) {
        struct command command;
        cr_assert(
            command_decode(command_encode(&w->commands[i], &again.arena), &again.arena, &command));
        again.now = command.stamp;
        fixture_do(&again, command);
    }
    uint64_t hash = machine_hash(again.machine);
    fixture_close(&again);
    return hash;
}

Test(queue_model, agrees_with_the_queues_over_random_histories, .timeout = 120)
{
    struct world *w = malloc(sizeof *w);
    cr_assert_not_null(w);
    for (int history = 0; history < HISTORIES; history++) {
        srand((unsigned)history + 1);
        memset(w, 0, sizeof *w);
        fixture_open(&w->f);
        step_make(w, 0);
        step_make(w, 1);
        for (int number = 1; number <= STEPS; number++) {
            step(w);
            compare(w, history * 10000 + number);
        }
        cr_expect_eq(live_again(w), machine_hash(w->f.machine), "history %d", history);
        fixture_close(&w->f);
    }
    free(w);
}

/* Without ticks, what is due is put right by the commands themselves; nothing may be lost or doubled by that. */
Test(queue_model, stays_sane_where_no_tick_ever_runs, .timeout = 120)
{
    struct world *w = malloc(sizeof *w);
    cr_assert_not_null(w);
    srand(99);
    memset(w, 0, sizeof *w);
    fixture_open(&w->f);
    step_make(w, 0);
    for (int number = 1; number <= 600; number++) {
        struct message_view view = receive_one(&w->f, NAME[0]);
        if (view.message != 0 && below(2) == 0) {
            (void)(below(2) == 0 ? ack(&w->f, NAME[0], view) : nack(&w->f, NAME[0], view));
        }
        struct wish wish = any_wish(w);
        send_many(&w->f, NAME[0], &wish.message, 1, true);
        fixture_pass(&w->f, below(60));
        if (number % 20 == 0) {
            const char *wrong = machine_sanity(w->f.machine, &w->f.arena);
            cr_assert_null(wrong, "step %d: %s", number, wrong);
        }
    }
    fixture_pass(&w->f, RETENTION_MS + CONFIG_LEASE_MS);
    fixture_tick(&w->f);
    expect_depths(&w->f, NAME[0], 0);
    cr_expect_eq(machine_due(w->f.machine).lease_ms, INT64_MAX);
    fixture_close(&w->f);
    free(w);
}
