/* A request for a queue with shards: which is asked for what, in which order, and what the answers are together. */
#include "db/queues.h"
#include "db/shards.h"
#include "handlers/process.h"
#include "handlers/route.h"
#include "handlers/spread.h"
#include "tests/unit/fixture.h"

#include <criterion/criterion.h>

enum { SHARDS = 4 };

static struct arena arena;
static struct exchange x;
static const bool NEAR[SHARDS] = {false, true, false, true};
static const int64_t DEPTHS[SHARDS] = {5, 2, 9, 3};
static int64_t ready[SHARDS];

static struct text no_header(const void *source, const char *name)
{
    (void)source;
    (void)name;
    return TEXT_ABSENT;
}

static struct spread *ask(const char *path, const char *body, enum routing routing, uint64_t turn)
{
    static const struct process PROCESS = {.secret = {"a secret of the tests", 21}};
    static struct queue_view plan;
    plan = (struct queue_view){.name = TEXT("q"),
                               .config = queue_config_default(),
                               .version = 7,
                               .born = 3,
                               .spread = SHARDS};
    plan.config.routing = routing;
    x = exchange_make(&PROCESS, &arena);
    x.request.method = METHOD_POST;
    x.request.target = text_of(path);
    x.request.body = text_of(body);
    x.request.header = no_header;
    cr_assert_eq(exchange_route(&x), STATUS_OK);
    cr_assert_eq(exchange_prepare(&x), STATUS_OK);
    return spread_begin(&x, &plan, (struct spread_hints){turn, NEAR, DEPTHS, ready});
}

/* The next task. Its operation is wrapped with the plan. */
static const struct command *next(struct spread *spread, struct spread_task *ret)
{
    cr_assert_eq(spread_next(spread, ret), SPREAD_ASK);
    bool reads = ret->command.kind == COMMAND_SHARD_READ;
    const struct shard_request *request =
        reads ? &ret->command.shard_read : &ret->command.shard_write;
    cr_expect_eq(request->version, 7);
    cr_expect_eq(request->count, SHARDS);
    return &request->operations.at[0];
}

static bool done(struct spread *spread)
{
    struct spread_task task;
    return spread_next(spread, &task) == SPREAD_DONE;
}

static void know(int64_t a, int64_t b, int64_t c, int64_t d)
{
    memcpy(ready, (int64_t[]){a, b, c, d}, sizeof ready);
}

/* A round of a receive: asks what it wants, and has each shard answer with what it holds. */
static size_t round_of(struct spread *spread, int64_t holds[SHARDS], int64_t *ret_asked)
{
    static const struct message_view VIEWS[16] = {{.message = 1, .body = {"1", 1}}};
    struct spread_task tasks[SHARDS];
    size_t count = 0;
    *ret_asked = 0;
    while (count < SHARDS && spread_next(spread, &tasks[count]) == SPREAD_ASK) {
        count++;
    }
    for (size_t i = 0; i < count; i++) {
        struct result result = {.shape = SHAPE_QUEUE, .queue = {.ready = holds[tasks[i].shard]}};
        if (tasks[i].command.kind == COMMAND_SHARD_WRITE) {
            int64_t *held = &holds[tasks[i].shard];
            int64_t max = tasks[i].command.shard_write.operations.at[0].message_receive.max;
            int64_t got = max < *held ? max : *held;
            *ret_asked += max;
            *held -= got;
            result = (struct result){.shape = SHAPE_MESSAGES};
            result.received.at = (struct message_view *)(uintptr_t)VIEWS;
            result.received.count = (size_t)got;
        }
        spread_take(spread, &tasks[i], &result);
    }
    return count;
}

Test(spread, a_receive_asks_near_shards_first_and_all_together_for_no_more_than_it_wants)
{
    know(2, 2, 2, 2);
    for (uint64_t turn = 1; turn < 8; turn++) {
        struct spread_task one, other, more;
        struct spread *spread = ask("/v1/queues/q/receive", "{\"max\":3}", ROUTING_HASH, turn);
        if (turn % 4 == 0) {
            continue;
        }
        cr_expect_eq(next(spread, &one)->message_receive.max, 2);
        cr_expect_eq(next(spread, &other)->message_receive.max, 1);
        cr_expect(NEAR[one.shard] && NEAR[other.shard] && one.shard != other.shard);
        cr_expect_eq(spread_next(spread, &more), SPREAD_HOLD);
        struct message_view view = {.message = 1, .body = TEXT("1")};
        struct message_view two[] = {view, view};
        struct result first = {.shape = SHAPE_MESSAGES, .received = {two, 2}};
        struct result second = {.shape = SHAPE_MESSAGES, .received = {&view, 1}};
        spread_take(spread, &one, &first);
        cr_expect_eq(spread_next(spread, &more), SPREAD_HOLD);
        spread_take(spread, &other, &second);
        cr_expect(done(spread));
        spread_end(spread);
        cr_expect_eq(x.result.received.count, 3);
        cr_expect_eq(x.result.received.at[2].message, shard_message(other.shard, 1));
        arena_free(&arena);
    }
}

Test(spread, every_fourth_receive_asks_all_what_they_have_and_takes_from_far_ones_first)
{
    know(2, 2, 2, 2);
    struct spread *spread = ask("/v1/queues/q/receive", "{\"max\":2}", ROUTING_HASH, 4);
    int64_t holds[SHARDS] = {3, 3, 3, 3}, asked;
    cr_expect_eq(round_of(spread, holds, &asked), SHARDS);
    cr_expect_eq(asked, 0);
    cr_expect_eq(round_of(spread, holds, &asked), 1);
    cr_expect_eq(asked, 2);
    cr_expect(holds[0] == 1 || holds[2] == 1);
    cr_expect(done(spread));
    arena_free(&arena);
}

Test(spread, a_receive_goes_on_until_it_has_what_it_wants_or_all_are_empty)
{
    know(1, 0, 0, 0);
    struct spread *spread = ask("/v1/queues/q/receive", "{\"max\":10}", ROUTING_HASH, 1);
    int64_t holds[SHARDS] = {2, 3, 0, 1}, asked;
    for (int64_t left = 10; round_of(spread, holds, &asked) > 0;) {
        cr_expect_leq(asked, left);
        left = 10 - (6 - holds[0] - holds[1] - holds[2] - holds[3]);
    }
    spread_end(spread);
    cr_expect_eq(x.result.received.count, 6);
    arena_free(&arena);
}

Test(spread, a_receive_that_others_were_quicker_than_looks_again)
{
    know(0, 0, 0, 0);
    struct spread *spread = ask("/v1/queues/q/receive", "{}", ROUTING_HASH, 1);
    int64_t holds[SHARDS] = {0, 1, 0, 0}, asked;
    cr_expect_eq(round_of(spread, holds, &asked), SHARDS);
    holds[1] = 0;
    holds[0] = 1; /* sent meanwhile, when that had been looked at */
    cr_expect_eq(round_of(spread, holds, &asked), 1);
    cr_expect_eq(round_of(spread, holds, &asked), SHARDS);
    cr_expect_eq(round_of(spread, holds, &asked), 1);
    cr_expect(done(spread));
    spread_end(spread);
    cr_expect_eq(x.result.received.count, 1);
    arena_free(&arena);
}

/* A shard whose groups are at work counts messages as ready that nobody can have. */
Test(spread, a_receive_does_not_ask_again_for_what_cannot_be_had)
{
    know(0, 0, 0, 0);
    struct spread *spread = ask("/v1/queues/q/receive", "{}", ROUTING_HASH, 1);
    struct spread_task task;
    size_t tried = 0;
    enum spread_next what;
    while ((what = spread_next(spread, &task)) != SPREAD_DONE) {
        struct spread_task tasks[SHARDS] = {task};
        size_t count = 1;
        while (count < SHARDS && spread_next(spread, &tasks[count]) == SPREAD_ASK) {
            count++;
        }
        for (size_t i = 0; i < count; i++) {
            struct result result = {.shape = SHAPE_QUEUE,
                                    .queue = {.ready = tasks[i].shard == 2 ? 5 : 0}};
            if (tasks[i].command.kind == COMMAND_SHARD_WRITE) {
                result = (struct result){.shape = SHAPE_MESSAGES};
                tried++;
            }
            spread_take(spread, &tasks[i], &result);
        }
    }
    cr_expect_eq(tried, 1);
    arena_free(&arena);
}

Test(spread, a_receive_goes_on_without_a_shard_that_has_no_leader)
{
    know(0, 0, 0, 0);
    struct spread *spread = ask("/v1/queues/q/receive", "{}", ROUTING_HASH, 1);
    struct spread_task tasks[SHARDS];
    struct result none = {.shape = SHAPE_QUEUE};
    for (size_t i = 0; i < SHARDS; i++) {
        cr_expect_eq(next(spread, &tasks[i])->kind, COMMAND_QUEUE_GET);
    }
    for (size_t i = 0; i < SHARDS - 1; i++) {
        spread_miss(spread, &tasks[i], STATUS_NO_LEADER);
    }
    spread_take(spread, &tasks[SHARDS - 1], &none);
    cr_expect(done(spread));
    spread_end(spread);
    cr_expect_eq(x.response.status, 200);
    arena_free(&arena);
}

/* So that one that meets a sealed shard can still go to who knows why. */
Test(spread, a_receive_that_got_nothing_has_done_nothing)
{
    know(1, 1, 0, 0);
    struct spread *spread = ask("/v1/queues/q/receive", "{\"max\":2}", ROUTING_HASH, 1);
    struct spread_task one, other;
    struct message_view view = {.message = 1, .body = TEXT("1")};
    next(spread, &one);
    next(spread, &other);
    spread_take(spread, &one, &(struct result){.shape = SHAPE_MESSAGES});
    cr_expect(spread_untouched(spread));
    spread_take(spread, &other, &(struct result){.shape = SHAPE_MESSAGES, .received = {&view, 1}});
    cr_expect(!spread_untouched(spread));
    arena_free(&arena);
}

Test(spread, what_was_not_carried_out_is_asked_for_again_and_the_rest_is_not)
{
    know(1, 1, 1, 1);
    struct spread *spread = ask("/v1/queues/q/receive", "{\"max\":2}", ROUTING_HASH, 1);
    struct spread_task one, other, again;
    next(spread, &one);
    next(spread, &other);
    struct message_view view = {.message = 1, .body = TEXT("1")};
    struct result got = {.shape = SHAPE_MESSAGES, .received = {&view, 1}};
    spread_return(spread, &one);
    spread_take(spread, &other, &got);
    cr_expect_eq(next(spread, &again)->message_receive.max, 1);
    cr_expect_eq(again.shard, one.shard);
    spread_take(spread, &again, &got);
    cr_expect(done(spread));
    arena_free(&arena);
}

Test(spread, messages_without_a_key_go_where_routing_says_and_on_when_that_is_full)
{
    static const char BODY[] = "{\"messages\":[{\"body\":1},{\"body\":2}]}";
    struct spread_task task;
    next(ask("/v1/queues/q/messages", BODY, ROUTING_LEAST_LOADED, 0), &task);
    cr_expect_eq(task.shard, 1);
    struct spread *spread = ask("/v1/queues/q/messages", BODY, ROUTING_ROUND_ROBIN, 6);
    for (int64_t i = 0; i < SHARDS; i++) {
        cr_expect_eq(next(spread, &task)->message_send.messages.count, 2);
        cr_expect_eq(task.shard, (6 + i) % SHARDS);
        spread_take(spread, &task, &(struct result){.status = STATUS_QUEUE_FULL});
    }
    cr_expect(done(spread));
    spread_end(spread);
    cr_expect_eq(x.response.status, 429);
    arena_free(&arena);
}

Test(spread, a_unit_that_several_shards_would_share_is_refused_and_parts_go_each_to_its_own)
{
    struct text all =
        TEXT("{\"messages\":[{\"body\":1,\"group\":\"a\"},{\"body\":2,\"group\":\"b\"},"
             "{\"body\":3,\"group\":\"c\"},{\"body\":4,\"group\":\"d\"}]}");
    struct spread *spread = ask("/v1/queues/q/messages", all.at, ROUTING_HASH, 0);
    cr_expect(done(spread));
    spread_end(spread);
    cr_expect_eq(x.response.status, 422);
    const char *parts = arena_format(&arena, "%.*s,\"atomic\":false}", (int)all.len - 1, all.at).at;
    spread = ask("/v1/queues/q/messages", parts, ROUTING_HASH, 0);
    struct spread_task task;
    size_t asked = 0;
    while (spread_next(spread, &task) == SPREAD_ASK) {
        const struct message_send *send = &task.command.shard_write.operations.at[0].message_send;
        for (size_t i = 0; i < send->messages.count; i++) {
            cr_expect_eq(shard_of(send->messages.at[i].group, SHARDS), task.shard);
        }
        asked += send->messages.count;
        spread_miss(spread, &task, STATUS_NO_LEADER);
    }
    cr_expect_eq(asked, 4);
    spread_end(spread);
    cr_expect_eq(x.response.status, 201);
    cr_expect(strstr(x.response.body.at, "no-leader") != NULL, "%s", x.response.body.at);
    arena_free(&arena);
}
