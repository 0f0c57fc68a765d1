/* Queues as resources: configuration, versions and conditions, lists, deletion, purge and redrive. */
#include "tests/unit/queue_fixture.h"

#include "db/messages.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>

#define NOTHING ((struct queue_config){0})

/* ---- configuration ------------------------------------------------------------------------------------------------ */

Test(queues, a_put_makes_a_queue_and_a_second_one_replaces_its_whole_configuration)
{
    struct fixture f;
    fixture_open(&f);
    struct result made = put_queue(&f, "q", (struct queue_config){.lease_ms = 5, .max_depth = 9});
    expect_status(made, STATUS_CREATED);
    cr_expect_eq(made.queue.config.lease_ms, 5);
    cr_expect_eq(made.queue.created_at_ms, f.now.now_ms);
    fixture_pass(&f, 10);
    struct result put = put_queue(&f, "q", (struct queue_config){.max_attempts = 3});
    expect_status(put, STATUS_OK);
    cr_expect_eq(put.queue.config.max_attempts, 3);
    cr_expect_eq(put.queue.config.lease_ms, MESSAGE_LEASE_MS_DEFAULT);
    cr_expect_eq(put.queue.config.max_depth, 0);
    cr_expect_eq(put.queue.created_at_ms, f.now.now_ms - 10);
    cr_expect_gt(put.queue.version, made.queue.version);
    cr_expect(fixture_event(&f, EVENT_QUEUE, "q", NULL));
    fixture_close(&f);
}

Test(queues, a_put_of_what_is_there_already_changes_nothing)
{
    struct fixture f;
    fixture_open(&f);
    struct result made = put_queue(&f, "q", (struct queue_config){.lease_ms = 5});
    struct result again = put_queue(&f, "q", (struct queue_config){.lease_ms = 5});
    expect_status(again, STATUS_OK);
    cr_expect_eq(again.queue.version, made.queue.version);
    cr_expect_not(fixture_event(&f, EVENT_QUEUE, "q", NULL));
    fixture_close(&f);
}

Test(queues, a_patch_changes_only_what_it_names)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.lease_ms = 5, .max_depth = 9});
    struct queue_config patch = no_change();
    patch.max_depth = 10;
    patch.dead_letter = TEXT("q~dead");
    struct result patched = patch_queue(&f, "q", patch);
    expect_status(patched, STATUS_OK);
    cr_expect_eq(patched.queue.config.lease_ms, 5);
    cr_expect_eq(patched.queue.config.max_depth, 10);
    expect_text(patched.queue.config.dead_letter, "q~dead");
    expect_text(get_queue(&f, "q").queue.config.dead_letter, "q~dead");
    fixture_close(&f);
}

Test(queues, each_field_of_the_configuration_is_kept_and_patched)
{
    struct fixture f;
    fixture_open(&f);
    const struct queue_config all = {
        11,      12, 13, 14, 15, 16,          17, 18,
        HOUR_MS, 20, 21, 22, 1,  TEXT("q~d"), 7,  ROUTING_LEAST_LOADED};
    struct result made = put_queue(&f, "q", NOTHING);
    struct result patched = patch_queue(&f, "q", all);
    struct result put = put_queue(&f, "q~2", all);
    const struct queue_config *seen[] = {&patched.queue.config, &put.queue.config};
    struct queue_config stored[] = {get_queue(&f, "q").queue.config,
                                    get_queue(&f, "q~2").queue.config};
    for (size_t i = 0; i < 2; i++) {
        cr_expect_arr_eq(seen[i], &all, offsetof(struct queue_config, dead_letter));
        cr_expect_arr_eq(&stored[i], &all, offsetof(struct queue_config, dead_letter));
        expect_text(stored[i].dead_letter, "q~d");
        cr_expect_eq(stored[i].shards, 7);
        cr_expect_eq(stored[i].routing, ROUTING_LEAST_LOADED);
    }
    cr_expect_neq(made.queue.config.lease_ms, all.lease_ms);
    fixture_close(&f);
}

Test(queues, an_unknown_queue_is_not_found_by_any_command_but_put_send_and_delete)
{
    struct fixture f;
    fixture_open(&f);
    struct message_view message = {.message = 1, .fence = 1};
    struct settlement item = settlement_of(SETTLE_ACK, message);
    expect_status(get_queue(&f, "q"), STATUS_QUEUE_NOT_FOUND);
    expect_status(patch_queue(&f, "q", no_change()), STATUS_QUEUE_NOT_FOUND);
    expect_status(receive(&f, "q", 1), STATUS_QUEUE_NOT_FOUND);
    expect_status(settle_many(&f, "q", &item, 1, false), STATUS_QUEUE_NOT_FOUND);
    expect_status(delete_message(&f, "q", 1, ABSENT), STATUS_QUEUE_NOT_FOUND);
    expect_status(get_message(&f, "q", 1), STATUS_QUEUE_NOT_FOUND);
    expect_status(list_messages(&f, "q", MESSAGE_ANY, NULL, NULL, 10), STATUS_QUEUE_NOT_FOUND);
    expect_status(purge(&f, "q", MESSAGE_ANY, ABSENT), STATUS_QUEUE_NOT_FOUND);
    expect_status(redrive(&f, "q", ABSENT), STATUS_QUEUE_NOT_FOUND);
    expect_status(delete_queue(&f, "q", false), STATUS_OK);
    cr_expect_eq(machine_counters(f.machine).queues, 0);
    fixture_close(&f);
}

Test(queues, a_first_send_makes_the_queue_with_defaults)
{
    struct fixture f;
    fixture_open(&f);
    expect_status(send_count(&f, "q", 2, true), STATUS_CREATED);
    struct result got = get_queue(&f, "q");
    cr_expect_eq(got.queue.config.max_attempts, MAX_ATTEMPTS_DEFAULT);
    cr_expect_eq(got.queue.config.group_concurrency, 1);
    expect_depths(&f, "q", .ready = 2);
    cr_expect_eq(machine_counters(f.machine).queues, 1);
    fixture_close(&f);
}

/* ---- versions ----------------------------------------------------------------------------------------------------- */

static struct result put_at(struct fixture *f, int64_t if_match, int64_t lease_ms)
{
    return put_queue_if(f, "q", (struct queue_config){.lease_ms = lease_ms},
                        (struct condition){if_match, false});
}

Test(queues, the_version_grows_with_each_message_that_comes_moves_or_goes)
{
    struct fixture f;
    fixture_open(&f);
    int64_t version = put_queue(&f, "q", NOTHING).queue.version;
    SEND(&f, "q");
    int64_t sent = get_queue(&f, "q").queue.version;
    cr_expect_gt(sent, version);
    struct message_view message = receive_one(&f, "q");
    int64_t received = get_queue(&f, "q").queue.version;
    cr_expect_gt(received, sent);
    ack(&f, "q", message);
    int64_t acked = get_queue(&f, "q").queue.version;
    cr_expect_gt(acked, received);
    receive(&f, "q", 1);
    cr_expect_eq(get_queue(&f, "q").queue.version, acked, "an empty receive is no change");
    fixture_close(&f);
}

Test(queues, if_match_holds_as_long_as_the_configuration_is_what_it_was)
{
    struct fixture f;
    fixture_open(&f);
    int64_t first = put_queue(&f, "q", NOTHING).queue.version;
    send_count(&f, "q", 3, true);
    struct result put = put_at(&f, first, 7);
    expect_status(put, STATUS_OK);
    send_count(&f, "q", 3, true);
    struct result late = put_at(&f, first, 8);
    expect_status(late, STATUS_VERSION_MISMATCH);
    cr_expect_eq(late.version, get_queue(&f, "q").queue.version);
    expect_status(put_at(&f, late.version + 1, 8), STATUS_VERSION_MISMATCH);
    expect_status(put_at(&f, late.version, 8), STATUS_OK);
    fixture_close(&f);
}

Test(queues, conditions_hold_for_put_patch_and_delete)
{
    struct fixture f;
    fixture_open(&f);
    expect_status(put_at(&f, IF_MATCH_ANY, 5), STATUS_VERSION_MISMATCH);
    expect_status(put_queue_if(&f, "q", NOTHING, (struct condition){ABSENT, true}), STATUS_CREATED);
    expect_status(put_queue_if(&f, "q", NOTHING, (struct condition){ABSENT, true}),
                  STATUS_VERSION_MISMATCH);
    expect_status(put_at(&f, IF_MATCH_ANY, 5), STATUS_OK);
    struct command patch = {
        .kind = COMMAND_QUEUE_PATCH,
        .queue_put = {.name = TEXT("q"), .config = no_change(), .condition = {1, false}}};
    expect_status(fixture_do(&f, patch), STATUS_VERSION_MISMATCH);
    struct command end = {.kind = COMMAND_QUEUE_DELETE,
                          .queue_delete = {.name = TEXT("q"), .condition = {1, false}}};
    expect_status(fixture_do(&f, end), STATUS_VERSION_MISMATCH);
    end.queue_delete.condition.if_match = get_queue(&f, "q").queue.version;
    expect_status(fixture_do(&f, end), STATUS_OK);
    expect_status(fixture_do(&f, end), STATUS_VERSION_MISMATCH);
    fixture_close(&f);
}

Test(queues, a_queue_made_again_repeats_no_version)
{
    struct fixture f;
    fixture_open(&f);
    SEND(&f, "q");
    int64_t version = get_queue(&f, "q").queue.version;
    delete_queue(&f, "q", false);
    cr_expect_gt(put_queue(&f, "q", NOTHING).queue.version, version);
    fixture_close(&f);
}

/* ---- dead-letter queues as configuration -------------------------------------------------------------------------- */

static struct result put_dead_letter(struct fixture *f, const char *name, const char *target)
{
    return put_queue(f, name, (struct queue_config){.dead_letter = text_of(target)});
}

Test(queues, a_dead_letter_queue_must_be_another_one_of_the_same_routing_key)
{
    struct fixture f;
    fixture_open(&f);
    expect_status(put_dead_letter(&f, "q", "q"), STATUS_INVALID_DEAD_LETTER);
    expect_status(get_queue(&f, "q"), STATUS_QUEUE_NOT_FOUND);
    struct result crossed = put_dead_letter(&f, "q", "r");
    expect_status(crossed, STATUS_CROSS_PARTITION);
    expect_text(crossed.field, "dead_letter");
    expect_status(put_dead_letter(&f, "q", "q~dead"), STATUS_CREATED);
    struct queue_config patch = no_change();
    patch.dead_letter = TEXT("r");
    expect_status(patch_queue(&f, "q", patch), STATUS_CROSS_PARTITION);
    expect_text(get_queue(&f, "q").queue.config.dead_letter, "q~dead");
    fixture_close(&f);
}

Test(queues, dead_letters_never_lead_back_to_where_they_came_from)
{
    struct fixture f;
    fixture_open(&f);
    expect_status(put_dead_letter(&f, "q", "q~2"), STATUS_CREATED);
    expect_status(put_dead_letter(&f, "q~2", "q~3"), STATUS_CREATED);
    struct result ring = put_dead_letter(&f, "q~3", "q");
    expect_status(ring, STATUS_INVALID_DEAD_LETTER);
    expect_text(ring.field, "dead_letter");
    expect_status(put_dead_letter(&f, "q~3", "q~4"), STATUS_CREATED);
    fixture_close(&f);
}

Test(queues, a_chain_of_dead_letter_queues_may_not_be_longer_than_its_bound)
{
    struct fixture f;
    fixture_open(&f);
    char name[16], next[16];
    for (int i = 0; i < DEAD_LETTER_CHAIN_MAX; i++) {
        snprintf(name, sizeof name, "q~%d", i);
        snprintf(next, sizeof next, "q~%d", i + 1);
        expect_status(put_dead_letter(&f, name, next), STATUS_CREATED);
    }
    expect_status(put_dead_letter(&f, "q", "q~0"), STATUS_INVALID_DEAD_LETTER);
    expect_status(put_dead_letter(&f, "q", "q~1"), STATUS_CREATED);
    fixture_close(&f);
}

/* ---- listing ------------------------------------------------------------------------------------------------------ */

static struct result list_queues(struct fixture *f, const char *prefix, const char *after,
                                 int64_t limit)
{
    return fixture_read(f,
                        (struct command){.kind = COMMAND_QUEUE_LIST,
                                         .queue_list = {text_of(prefix), {text_of(after), limit}}});
}

Test(queues, the_list_goes_by_name_in_pages)
{
    struct fixture f;
    fixture_open(&f);
    static const char *const NAMES[] = {"b~2", "a", "b", "c", "b~1", "b~~"};
    for (size_t i = 0; i < 6; i++) {
        put_queue(&f, NAMES[i], NOTHING);
    }
    SEND(&f, "b~1");
    delete_queue(&f, "c", false);
    struct result all = list_queues(&f, NULL, NULL, 10);
    cr_assert_eq(all.queues.items.count, 5);
    expect_text(all.queues.items.at[0].name, "a");
    expect_text(all.queues.items.at[4].name, "b~~");
    cr_expect_not(text_given(all.queues.next));

    struct result first = list_queues(&f, "b", NULL, 2);
    cr_assert_eq(first.queues.items.count, 2);
    expect_text(first.queues.items.at[1].name, "b~1");
    cr_expect_eq(first.queues.items.at[1].ready, 1);
    expect_text(first.queues.next, "b~1");
    struct result second = list_queues(&f, "b", "b~1", 2);
    cr_assert_eq(second.queues.items.count, 2);
    expect_text(second.queues.items.at[0].name, "b~2");
    cr_expect_not(text_given(second.queues.next));
    cr_expect_eq(list_queues(&f, "zz", NULL, 2).queues.items.count, 0);
    fixture_close(&f);
}

Test(queues, the_oldest_age_is_that_of_the_first_message_that_is_neither_dead_nor_expired)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", NOTHING);
    cr_expect_eq(get_queue(&f, "q").queue.oldest_age_ms, 0);
    make_dead(&f, "q", (struct send){0});
    fixture_pass(&f, 100);
    SEND(&f, "q", .ttl_ms = 50);
    fixture_pass(&f, 10);
    SEND(&f, "q", .delay_ms = HOUR_MS);
    fixture_pass(&f, 7);
    cr_expect_eq(get_queue(&f, "q").queue.oldest_age_ms, 17);
    fixture_pass(&f, 40);
    cr_expect_eq(get_queue(&f, "q").queue.oldest_age_ms, 47);
    fixture_close(&f);
}

Test(queues, the_depths_are_right_at_the_instant_before_any_tick)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.retention_ms = HOUR_MS});
    SEND(&f, "q", .ttl_ms = 20);
    receive_one(&f, "q"); /* its lease is over long after its ttl */
    SEND(&f, "q", .delay_ms = 10);
    SEND(&f, "q", .delay_ms = 10, .ttl_ms = 20);
    SEND(&f, "q", .ttl_ms = 20);
    SEND(&f, "q", .delay_ms = HOUR_MS);
    expect_depths(&f, "q", .ready = 1, .delayed = 3, .leased = 1);
    fixture_pass(&f, 10);
    expect_depths(&f, "q", .ready = 3, .delayed = 1, .leased = 1);
    fixture_pass(&f, 10);
    expect_depths(&f, "q", .ready = 1, .delayed = 1, .leased = 1);
    fixture_pass(&f, LEASE_MS);
    expect_depths(&f, "q", .ready = 1, .delayed = 1);
    cr_expect_eq(list_queues(&f, "q", NULL, 1).queues.items.at[0].ready, 1);
    fixture_pass(&f, HOUR_MS - LEASE_MS - 21);
    expect_depths(&f, "q", .ready = 1, .delayed = 1);
    fixture_pass(&f, 1);
    expect_depths(&f, "q", 0);
    fixture_tick(&f);
    expect_depths(&f, "q", 0);
    fixture_close(&f);
}

Test(queues, a_lease_that_ran_out_counts_as_ready_and_the_dead_go_with_the_retention)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.retention_ms = HOUR_MS});
    make_dead(&f, "q", (struct send){0});
    SEND(&f, "q");
    receive_one(&f, "q");
    fixture_pass(&f, LEASE_MS - 1);
    expect_depths(&f, "q", .leased = 1, .dead = 1);
    fixture_pass(&f, 1);
    expect_depths(&f, "q", .ready = 1, .dead = 1);
    fixture_pass(&f, HOUR_MS);
    expect_depths(&f, "q", 0);
    fixture_close(&f);
}

/* ---- deletion ----------------------------------------------------------------------------------------------------- */

Test(queues, a_deleted_queue_is_gone_at_once_with_all_it_held)
{
    struct fixture f;
    fixture_open(&f);
    make_dead(&f, "q", (struct send){0});
    send_count(&f, "q", 3, true);
    struct message_view held = receive_one(&f, "q");
    expect_status(delete_queue(&f, "q", false), STATUS_OK);
    cr_expect(fixture_event(&f, EVENT_QUEUE, "q", NULL));
    cr_expect(fixture_event(&f, EVENT_READY, "q", NULL), "who waits must learn of it");
    struct counters counters = machine_counters(f.machine);
    cr_expect_eq(counters.ready + counters.leased + counters.dead + counters.queues, 0);
    expect_status(receive(&f, "q", 1), STATUS_QUEUE_NOT_FOUND);

    /* The name is free, and the new queue has nothing of the old one, swept or not. */
    put_queue(&f, "q", NOTHING);
    expect_depths(&f, "q", 0);
    cr_expect_eq(receive(&f, "q", 10).received.count, 0);
    cr_expect_eq(list_messages(&f, "q", MESSAGE_ANY, NULL, NULL, 10).messages.items.count, 0);
    cr_expect_eq(ack(&f, "q", held), OUTCOME_GONE);
    fixture_tick(&f);
    expect_depths(&f, "q", 0);
    fixture_close(&f);
}

static int64_t count_rows(struct fixture *f, const char *table)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    char sql[64];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", table);
    cr_assert_eq(sqlite3_open(f->path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_step(stmt), SQLITE_ROW);
    int64_t count = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return count;
}

static void send_large(struct fixture *f, const char *queue)
{
    static char large[2000];
    memset(large, '7', sizeof large - 1);
    SEND(f, queue, .body = large);
}

Test(queues, ticks_delete_what_a_deleted_queue_held_in_bounded_steps)
{
    struct fixture f;
    fixture_open(&f);
    for (int i = 0; i < 3; i++) {
        send_count(&f, "q", 300, true);
    }
    send_large(&f, "q");
    delete_queue(&f, "q", false);
    cr_expect_eq(count_rows(&f, "messages"), 901);
    struct command tick = {.kind = COMMAND_TICK, .tick = {.steps_max = 100}};
    fixture_do(&f, tick);
    cr_expect_eq(count_rows(&f, "messages"), 801);
    cr_expect_leq(machine_due(f.machine).wall_ms, f.now.now_ms);
    fixture_tick(&f);
    cr_expect_eq(count_rows(&f, "messages") + count_rows(&f, "bodies") + count_rows(&f, "queues"),
                 0);
    cr_expect_eq(machine_due(f.machine).wall_ms, INT64_MAX);
    fixture_close(&f);
}

Test(queues, delete_if_empty_refuses_a_queue_with_any_message)
{
    struct fixture f;
    fixture_open(&f);
    make_dead(&f, "q", (struct send){0});
    expect_status(delete_queue(&f, "q", true), STATUS_QUEUE_NOT_EMPTY);
    purge(&f, "q", MESSAGE_ANY, ABSENT);
    SEND(&f, "q", .ttl_ms = 10);
    expect_status(delete_queue(&f, "q", true), STATUS_QUEUE_NOT_EMPTY);
    fixture_pass(&f, 10);
    expect_status(delete_queue(&f, "q", true), STATUS_OK);
    expect_status(get_queue(&f, "q"), STATUS_QUEUE_NOT_FOUND);
    fixture_close(&f);
}

Test(queues, a_numbering_that_is_used_up_falls_back_on_gaps)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "a", NOTHING);
    put_queue(&f, "b", NOTHING);
    sqlite3 *db = NULL;
    char sql[96];
    snprintf(sql, sizeof sql, "UPDATE queues SET id = %lld WHERE name = 'b'",
             (long long)QUEUE_ID_MAX);
    cr_assert_eq(sqlite3_open(f.path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    expect_status(put_queue(&f, "c", NOTHING), STATUS_CREATED);
    SEND(&f, "b");
    SEND(&f, "c");
    cr_expect_eq(receive_only(&f, "b").message, 1);
    cr_expect_eq(receive_only(&f, "c").message, 1);
    fixture_close(&f);
}

/* ---- purge -------------------------------------------------------------------------------------------------------- */

/* One message of each kind: ready, delayed, leased, dead. */
static struct message_view fill(struct fixture *f)
{
    make_dead(f, "q", (struct send){0});
    SEND(f, "q");
    struct message_view held = receive_one(f, "q");
    SEND(f, "q");
    SEND(f, "q", .delay_ms = 1000);
    return held;
}

Test(queues, a_purge_of_all_counts_exactly_and_leaves_nothing)
{
    struct fixture f;
    fixture_open(&f);
    struct message_view held = fill(&f);
    struct result purged = purge(&f, "q", MESSAGE_ANY, ABSENT);
    expect_status(purged, STATUS_OK);
    cr_expect_eq(purged.count, 4);
    expect_depths(&f, "q", 0);
    cr_expect_eq(ack(&f, "q", held), OUTCOME_GONE);
    cr_expect_eq(purge(&f, "q", MESSAGE_ANY, ABSENT).count, 0);
    int64_t next = SEND(&f, "q");
    cr_expect_eq(next, 5, "ids go on: %lld", (long long)next);
    fixture_tick(&f);
    cr_expect_eq(count_rows(&f, "messages"), 1);
    cr_expect_eq(receive_only(&f, "q").message, 5);
    fixture_close(&f);
}

Test(queues, a_purge_of_one_state_leaves_the_others)
{
    static const enum message_filter STATES[] = {MESSAGE_READY, MESSAGE_DELAYED, MESSAGE_LEASED,
                                                 MESSAGE_DEAD};
    for (size_t i = 0; i < 4; i++) {
        struct fixture f;
        fixture_open(&f);
        fill(&f);
        cr_expect_eq(purge(&f, "q", STATES[i], ABSENT).count, 1);
        expect_depths(&f, "q", i != 0, i != 1, i != 2, i != 3);
        fixture_close(&f);
    }
}

Test(queues, a_purge_of_one_state_goes_in_steps_whose_counts_add_up)
{
    struct fixture f;
    fixture_open(&f);
    send_count(&f, "q", 25, true);
    send_large(&f, "q");
    cr_expect_eq(purge(&f, "q", MESSAGE_READY, 10).count, 10);
    cr_expect_eq(purge(&f, "q", MESSAGE_READY, 10).count, 10);
    cr_expect_eq(purge(&f, "q", MESSAGE_READY, 10).count, 6);
    expect_depths(&f, "q", 0);
    cr_expect_eq(count_rows(&f, "bodies"), 0);
    fixture_close(&f);
}

Test(queues, a_purge_of_what_is_ready_takes_those_that_wait_for_their_turn_too)
{
    struct fixture f;
    fixture_open(&f);
    for (int i = 0; i < 5; i++) {
        SEND(&f, "q", .group = "g");
    }
    receive_one(&f, "q");
    cr_expect_eq(purge(&f, "q", MESSAGE_READY, 3).count, 3);
    cr_expect_eq(purge(&f, "q", MESSAGE_READY, 3).count, 1);
    expect_depths(&f, "q", .leased = 1);
    fixture_close(&f);
}

Test(queues, a_dedup_id_outlives_a_purge_but_not_the_queue)
{
    struct fixture f;
    fixture_open(&f);
    int64_t first = SEND(&f, "q", .dedup_id = "d");
    purge(&f, "q", MESSAGE_ANY, ABSENT);
    cr_expect_eq(SEND(&f, "q", .dedup_id = "d"), first);
    expect_depths(&f, "q", 0);
    delete_queue(&f, "q", false);
    SEND(&f, "q", .dedup_id = "d");
    expect_depths(&f, "q", .ready = 1);
    fixture_close(&f);
}

/* ---- redrive ------------------------------------------------------------------------------------------------------ */

Test(queues, a_redrive_brings_the_dead_back_in_their_order_with_their_counts_reset)
{
    struct fixture f;
    fixture_open(&f);
    int64_t first = make_dead(&f, "q", (struct send){.body = "\"a\""});
    int64_t second = make_dead(&f, "q", (struct send){.body = "\"b\""});
    SEND(&f, "q");
    struct result redriven = redrive(&f, "q", ABSENT);
    expect_status(redriven, STATUS_OK);
    cr_expect_eq(redriven.count, 2);
    cr_expect(fixture_event(&f, EVENT_READY, "q", NULL));
    expect_depths(&f, "q", .ready = 3);
    struct message_view message = receive_one(&f, "q");
    cr_expect_eq(message.message, first);
    expect_text(message.body, "\"a\"");
    cr_expect_eq(message.attempt, 1);
    cr_expect_eq(message.failures, 0);
    cr_expect_not(text_given(message.reason));
    cr_expect_eq(receive_one(&f, "q").message, second);
    fixture_close(&f);
}

Test(queues, a_redrive_takes_no_more_than_it_may_from_the_oldest_on)
{
    struct fixture f;
    fixture_open(&f);
    for (int i = 0; i < 5; i++) {
        make_dead(&f, "q", (struct send){0});
    }
    cr_expect_eq(redrive(&f, "q", 2).count, 2);
    expect_depths(&f, "q", .ready = 2, .dead = 3);
    cr_expect_eq(receive(&f, "q", 9).received.at[1].message, 2);
    fixture_close(&f);
}

Test(queues, a_redrive_by_id_takes_only_dead_ones_of_those_ids)
{
    struct fixture f;
    fixture_open(&f);
    for (int i = 0; i < 3; i++) {
        make_dead(&f, "q", (struct send){0});
    }
    int64_t living = SEND(&f, "q");
    const int64_t ids[] = {3, living, 99, 0, -5, 1, 3};
    struct result redriven = fixture_do(
        &f,
        (struct command){
            .kind = COMMAND_QUEUE_REDRIVE,
            .queue_redrive = {.queue = TEXT("q"), .max = ABSENT, .by_id = true, .ids = {ids, 7}}});
    cr_expect_eq(redriven.count, 2);
    expect_depths(&f, "q", .ready = 3, .dead = 1);
    fixture_close(&f);
}

Test(queues, a_redrive_keeps_a_large_body_with_its_message)
{
    struct fixture f;
    fixture_open(&f);
    send_large(&f, "q");
    reject(&f, "q", receive_one(&f, "q"), NULL);
    cr_expect_eq(get_message(&f, "q", 1).message.body.len, 1999);
    redrive(&f, "q", ABSENT);
    struct message_view message = receive_one(&f, "q");
    cr_expect_eq(message.body.len, 1999);
    ack(&f, "q", message);
    cr_expect_eq(count_rows(&f, "bodies"), 0);
    fixture_close(&f);
}

Test(queues, the_oldest_age_forgets_a_message_whose_lease_and_ttl_have_both_run_out)
{
    struct fixture f;
    fixture_open(&f);
    SEND(&f, "q", .ttl_ms = SECOND_MS);
    receive_one(&f, "q");
    fixture_pass(&f, 2 * SECOND_MS);
    cr_expect_eq(get_queue(&f, "q").queue.oldest_age_ms, 2 * SECOND_MS);
    fixture_pass(&f, LEASE_MS);
    cr_expect_eq(get_queue(&f, "q").queue.oldest_age_ms, 0);
    fixture_close(&f);
}
