/* Shards of a queue: what a row does with requests by an older, its own and a newer configuration, and who may have what. */
#include "db/shards.h"
#include "tests/unit/queue_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { PARTITIONS = 8 };

/* A partition that a queue's home is on, and one that its shard 3 is on. */
static struct fixture home, other;

static void setup(void)
{
    fixture_open(&home);
    fixture_open(&other);
}

static void teardown(void)
{
    fixture_close(&home);
    fixture_close(&other);
}

TestSuite(shards, .init = setup, .fini = teardown);

static struct result put_shards(const char *name, int64_t shards, int64_t sealed)
{
    struct queue_put put = {.name = text_of(name),
                            .config = config_of((struct queue_config){.shards = shards}),
                            .condition = UNCONDITIONAL,
                            .partitions = PARTITIONS,
                            .sealed = sealed};
    return fixture_do(&home, (struct command){.kind = COMMAND_QUEUE_PUT, .queue_put = put});
}

static struct shard_request request_to(const struct queue_view *plan, int64_t shard,
                                       const struct command *operation)
{
    return (struct shard_request){.queue = plan->name,
                                  .shard = shard,
                                  .count = plan->spread,
                                  .version = plan->version,
                                  .born = plan->born,
                                  .config = plan->config,
                                  .act = SHARD_RUN,
                                  .operations = {operation, operation != NULL}};
}

static struct result ask_shard(struct fixture *f, struct shard_request request)
{
    return fixture_do(f, (struct command){.kind = COMMAND_SHARD_WRITE, .shard_write = request});
}

static struct command sending(const char *queue, const struct message_new *message)
{
    return (struct command){
        .kind = COMMAND_MESSAGE_SEND,
        .message_send = {.queue = text_of(queue), .messages = {message, 1}, .atomic = true}};
}

static struct result send_to(struct fixture *f, const struct queue_view *plan, int64_t shard,
                             struct send send)
{
    struct message_new message = message_of(send);
    struct command operation = sending("q", &message);
    return ask_shard(f, request_to(plan, shard, &operation));
}

static struct queue_view plan_of(const char *name)
{
    struct result result = fixture_read(
        &home, (struct command){.kind = COMMAND_QUEUE_PLAN, .queue_plan = {text_of(name)}});
    cr_assert_eq(result.status, STATUS_OK);
    return result.queue;
}

static struct queue_view made(int64_t shards)
{
    expect_status(put_shards("q", shards, ABSENT), STATUS_CREATED);
    return plan_of("q");
}

/* A group whose shard it is. */
static const char *group_of(int64_t shard, int64_t count)
{
    static char name[16];
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "g%d", i);
        if (shard_of(text_of(name), count) == shard) {
            return name;
        }
    }
    cr_assert(false, "there is a group for each shard");
    return NULL;
}

Test(shards, a_key_stays_or_moves_to_a_new_shard_when_there_are_more)
{
    int64_t counts[64] = {0};
    for (int i = 0; i < 6400; i++) {
        char name[16];
        snprintf(name, sizeof name, "k%d", i);
        for (int64_t n = 1; n < 64; n++) {
            int64_t before = shard_of(text_of(name), n), after = shard_of(text_of(name), n + 1);
            cr_assert(after == before || after == n, "%s: %d to %d of %d", name, (int)before,
                      (int)after, (int)n);
        }
        counts[shard_of(text_of(name), 64)]++;
    }
    for (int i = 0; i < 64; i++) {
        cr_expect(counts[i] > 50 && counts[i] < 160, "shard %d has %d of 100", i, (int)counts[i]);
    }
}

Test(shards, there_are_no_more_than_partitions)
{
    cr_expect_eq(shard_count(64, 16), 16);
    cr_expect_eq(shard_count(3, 16), 3);
    cr_expect_eq(shard_count(64, 1), 1);
    cr_expect_eq(shard_count(64, ABSENT), 1);
}

Test(shards, on_one_partition_every_number_is_one_queue)
{
    expect_status(put_queue(&home, "q", (struct queue_config){.shards = 64}), STATUS_CREATED);
    SEND(&home, "q", .group = "g");
    cr_expect_eq(receive_only(&home, "q").message, 1);
    expect_status(put_queue(&home, "q", (struct queue_config){.shards = 2}), STATUS_OK);
}

Test(shards, what_is_meant_for_the_whole_queue_is_refused)
{
    made(4);
    struct message_new message = message_of((struct send){.body = "1"});
    expect_status(fixture_do(&home, sending("q", &message)), STATUS_NOT_OWNER);
    expect_status(receive(&home, "q", 1), STATUS_NOT_OWNER);
    expect_status(get_queue(&home, "q"), STATUS_NOT_OWNER);
    expect_status(purge(&home, "q", MESSAGE_ANY, ABSENT), STATUS_NOT_OWNER);
    expect_status(redrive(&home, "q", ABSENT), STATUS_NOT_OWNER);
    expect_status(delete_message(&home, "q", 1, ABSENT), STATUS_NOT_OWNER);
    expect_status(list_messages(&home, "q", MESSAGE_ANY, NULL, NULL, 10), STATUS_NOT_OWNER);
    expect_status(delete_queue(&home, "q", true), STATUS_NOT_OWNER);
}

Test(shards, a_shard_is_made_by_the_first_request_and_follows_newer_ones)
{
    struct queue_view plan = made(4);
    expect_status(send_to(&other, &plan, 3, (struct send){.body = "1"}), STATUS_CREATED);
    struct queue_view newer = plan;
    newer.version = plan.version + 5;
    newer.config.paused = 1;
    expect_status(ask_shard(&other, request_to(&newer, 3, NULL)), STATUS_OK);
    struct command receiving = {
        .kind = COMMAND_MESSAGE_RECEIVE,
        .message_receive = {.queue = TEXT("q"), .max = 1, .lease_ms = ABSENT}};
    struct result result = ask_shard(&other, request_to(&newer, 3, &receiving));
    expect_status(result, STATUS_OK);
    cr_expect_eq(result.received.count, 0, "it is paused");
    cr_expect_eq(result.depth, 1);
}

Test(shards, a_request_by_an_older_configuration_is_refused_with_the_newer_ones_version)
{
    struct queue_view plan = made(4), newer = plan;
    newer.version = plan.version + 5;
    expect_status(ask_shard(&other, request_to(&newer, 3, NULL)), STATUS_OK);
    struct result result = send_to(&other, &plan, 3, (struct send){.body = "1"});
    expect_status(result, STATUS_NOT_OWNER);
    cr_expect_eq(result.version, newer.version);
    result = send_to(&home, &newer, 0, (struct send){.body = "1"});
    expect_status(result, STATUS_NOT_OWNER);
    cr_expect_eq(result.version, plan.version);
}

Test(shards, a_new_queue_of_the_name_has_nothing_of_the_old_one)
{
    struct queue_view plan = made(4);
    expect_status(send_to(&other, &plan, 3, (struct send){.dedup_id = "d"}),
                  STATUS_CROSS_PARTITION);
    expect_status(send_to(&other, &plan, 3, (struct send){.body = "1"}), STATUS_CREATED);
    expect_status(delete_queue(&home, "q", false), STATUS_OK);
    struct queue_view again = made(4);
    cr_assert_gt(again.born, plan.born);
    struct command looking = {.kind = COMMAND_QUEUE_GET, .queue_get = {TEXT("q")}};
    struct command read = {.kind = COMMAND_SHARD_READ,
                           .shard_read = request_to(&again, 3, &looking)};
    expect_status(fixture_read(&other, read), STATUS_QUEUE_NOT_FOUND);
    struct result result = ask_shard(&other, request_to(&again, 3, &looking));
    expect_status(result, STATUS_OK);
    cr_expect_eq(result.queue.ready, 0);
    expect_status(send_to(&other, &plan, 3, (struct send){.body = "1"}), STATUS_NOT_OWNER);
}

Test(shards, a_shard_of_a_queue_that_was_deleted_takes_nothing_from_who_has_not_heard_of_it)
{
    struct queue_view plan = made(4);
    expect_status(send_to(&other, &plan, 3, (struct send){.body = "1"}), STATUS_CREATED);
    struct shard_request dropping = request_to(&plan, 3, NULL), never = request_to(&plan, 2, NULL);
    dropping.act = never.act = SHARD_DROP;
    expect_status(ask_shard(&other, dropping), STATUS_OK);
    expect_status(send_to(&other, &plan, 3, (struct send){.body = "2"}), STATUS_NOT_OWNER);
    expect_status(delete_queue(&home, "q", false), STATUS_OK);
    struct queue_view again = made(4);
    expect_status(send_to(&other, &again, 3, (struct send){.body = "3"}), STATUS_CREATED);
    expect_status(ask_shard(&other, dropping), STATUS_OK); /* late: it is not meant */
    struct command looking = {.kind = COMMAND_QUEUE_GET, .queue_get = {TEXT("q")}};
    cr_expect_eq(ask_shard(&other, request_to(&again, 3, &looking)).queue.ready, 1);
    /* Nothing was ever sent there. */
    fixture_close(&other);
    fixture_open(&other);
    expect_status(ask_shard(&other, never), STATUS_OK);
    expect_status(send_to(&other, &plan, 2, (struct send){.body = "4"}), STATUS_NOT_OWNER);
}

Test(shards, a_message_is_only_taken_where_its_group_leads)
{
    struct queue_view plan = made(4);
    expect_status(send_to(&other, &plan, 3, (struct send){.group = group_of(3, 4)}),
                  STATUS_CREATED);
    expect_status(send_to(&other, &plan, 3, (struct send){.group = group_of(0, 4)}),
                  STATUS_CROSS_PARTITION);
    expect_status(send_to(&other, &plan, 3, (struct send){.dedup_id = group_of(1, 4)}),
                  STATUS_CROSS_PARTITION);
}

Test(shards, a_share_of_the_depth_and_of_the_rate_is_each_ones)
{
    expect_status(put_queue(&home, "no", (struct queue_config){.shards = 4, .max_depth = 3}),
                  STATUS_INVALID_FIELD);
    struct queue_view plan = made(4);
    plan.version++;
    plan.config.max_depth = 7; /* 2, 2, 2 and 1 */
    expect_status(send_to(&other, &plan, 3, (struct send){.body = "1"}), STATUS_CREATED);
    expect_status(send_to(&other, &plan, 3, (struct send){.body = "1"}), STATUS_QUEUE_FULL);
    plan.version++;
    plan.config.max_depth = 0;
    plan.config.rate_per_s = 1; /* a message in four seconds */
    plan.config.rate_burst = 4;
    expect_status(send_to(&other, &plan, 3, (struct send){.body = "1"}), STATUS_CREATED);
    struct result result = send_to(&other, &plan, 3, (struct send){.body = "1"});
    expect_status(result, STATUS_RATE_LIMITED);
    cr_expect_eq(result.retry_after_ms, 4000);
}

static struct result seal(const struct queue_view *plan, enum shard_act act)
{
    struct shard_request request = request_to(plan, 3, NULL);
    request.act = act;
    return ask_shard(&other, request);
}

Test(shards, a_sealed_shard_takes_nothing_more_until_home_is_renewed)
{
    struct queue_view plan = made(4);
    expect_status(send_to(&other, &plan, 3, (struct send){.body = "1"}), STATUS_CREATED);
    expect_status(seal(&plan, SHARD_SEAL_EMPTY), STATUS_QUEUE_NOT_EMPTY);
    expect_status(seal(&plan, SHARD_SEAL), STATUS_OK);
    expect_status(seal(&plan, SHARD_SEAL), STATUS_OK);
    struct result result = send_to(&other, &plan, 3, (struct send){.body = "1"});
    expect_status(result, STATUS_NOT_OWNER);
    struct command renew = {.kind = COMMAND_QUEUE_RENEW,
                            .queue_renew = {TEXT("q"), result.version}};
    expect_status(fixture_do(&home, renew), STATUS_OK);
    plan = plan_of("q");
    cr_expect_geq(plan.version, result.version);
    expect_status(send_to(&other, &plan, 3, (struct send){.body = "1"}), STATUS_CREATED);
}

Test(shards, a_sealed_shard_takes_the_next_configuration_over_though_nothing_else_happens_at_home)
{
    struct queue_view plan = made(4);
    expect_status(send_to(&other, &plan, 3, (struct send){.body = "1"}), STATUS_CREATED);
    expect_status(seal(&plan, SHARD_SEAL), STATUS_OK);
    expect_status(put_shards("q", 6, plan.version), STATUS_OK);
    plan = plan_of("q");
    for (int64_t shard = 0; shard < 6; shard++) {
        enum status wanted = shard == 3 ? STATUS_CREATED : STATUS_CROSS_PARTITION;
        expect_status(send_to(&other, &plan, 3, (struct send){.group = group_of(shard, 6)}),
                      wanted);
    }
}

Test(shards, a_group_or_a_dedup_id_that_is_remembered_keeps_the_number_of_shards)
{
    struct queue_view plan = made(4);
    expect_status(send_to(&other, &plan, 3, (struct send){.dedup_id = group_of(3, 4)}),
                  STATUS_CREATED);
    expect_status(seal(&plan, SHARD_SEAL), STATUS_QUEUE_NOT_EMPTY);
    struct shard_request purging = request_to(&plan, 3, NULL);
    struct command all = {.kind = COMMAND_QUEUE_PURGE,
                          .queue_purge = {TEXT("q"), MESSAGE_ANY, ABSENT}};
    purging.operations = (struct commands){&all, 1};
    expect_status(ask_shard(&other, purging), STATUS_OK);
    expect_status(seal(&plan, SHARD_SEAL), STATUS_QUEUE_NOT_EMPTY);
    fixture_pass(&other, DEDUP_WINDOW_MS_DEFAULT + 1);
    expect_status(seal(&plan, SHARD_SEAL), STATUS_OK);
}

Test(shards, home_changes_their_number_only_by_the_version_that_the_others_are_sealed_at)
{
    struct queue_view plan = made(4);
    struct result result = put_shards("q", 6, ABSENT);
    expect_status(result, STATUS_NOT_OWNER);
    cr_expect_eq(result.version, plan.version);
    expect_status(put_shards("q", 6, plan.version - 1), STATUS_NOT_OWNER);
    expect_status(put_shards("q", 6, plan.version), STATUS_OK);
    cr_expect_eq(plan_of("q").spread, 6);
    plan = plan_of("q");
    expect_status(send_to(&home, &plan, 0, (struct send){.group = group_of(0, 6)}), STATUS_CREATED);
    expect_status(put_shards("q", 2, plan.version), STATUS_QUEUE_NOT_EMPTY);
}

Test(shards, a_dead_letter_queue_is_spread_alike)
{
    struct queue_config config = {.shards = 4, .dead_letter = TEXT("q~dead")};
    struct queue_put put = {.name = TEXT("q"),
                            .config = config_of(config),
                            .condition = UNCONDITIONAL,
                            .partitions = PARTITIONS,
                            .sealed = ABSENT};
    struct command command = {.kind = COMMAND_QUEUE_PUT, .queue_put = put};
    expect_status(fixture_do(&home, command), STATUS_CREATED);
    cr_expect_eq(plan_of("q~dead").spread, 4);
    expect_status(put_shards("q~dead", 2, plan_of("q~dead").version), STATUS_INVALID_DEAD_LETTER);
    expect_status(delete_queue(&home, "q~dead", false), STATUS_INVALID_DEAD_LETTER);
    expect_status(put_shards("q~two", 2, ABSENT), STATUS_CREATED);
    command.queue_put.config.dead_letter = TEXT("q~two");
    expect_status(fixture_do(&home, command), STATUS_INVALID_DEAD_LETTER);
}

static struct result in_transaction(const struct command *operation)
{
    struct result result =
        fixture_do(&home, (struct command){.kind = COMMAND_TRANSACTION,
                                           .transaction = {.operations = {operation, 1}}});
    return result.status == STATUS_OK ? result : result.failure.failed.at[0];
}

Test(shards, a_transaction_has_home_and_nothing_else)
{
    made(4);
    struct message_new free = message_of((struct send){.body = "1"});
    struct message_new far = message_of((struct send){.group = group_of(2, 4)});
    struct command operation = sending("q", &free);
    expect_status(in_transaction(&operation), STATUS_OK);
    operation = sending("q", &far);
    expect_status(in_transaction(&operation), STATUS_CROSS_PARTITION);
    struct settlement item = {
        .action = SETTLE_ACK, .message = shard_message(2, 1), .fence = 1, .delay_ms = ABSENT};
    operation = (struct command){.kind = COMMAND_MESSAGE_SETTLE,
                                 .message_settle = {TEXT("q"), {&item, 1}, false}};
    expect_status(in_transaction(&operation), STATUS_CROSS_PARTITION);
    operation = (struct command){.kind = COMMAND_QUEUE_DELETE,
                                 .queue_delete = {.name = TEXT("q"), .condition = UNCONDITIONAL}};
    expect_status(in_transaction(&operation), STATUS_CROSS_PARTITION);
}
