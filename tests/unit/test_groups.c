/* Order within a group: turns, what holds them, and how they pass on. fixture_close checks the turns each time. */
#include "tests/unit/queue_fixture.h"

#include <criterion/criterion.h>

#define NOTHING ((struct queue_config){0})

static void send_group(struct fixture *f, const char *group, int count)
{
    for (int i = 0; i < count; i++) {
        SEND(f, "q", .group = group);
    }
}

static void set_concurrency(struct fixture *f, int64_t turns)
{
    struct queue_config patch = no_change();
    patch.group_concurrency = turns;
    expect_status(patch_queue(f, "q", patch), STATUS_OK);
}

/* How many are ready, and which comes first. */
static void expect_ready(struct fixture *f, size_t count, int64_t first)
{
    struct result got = receive(f, "q", 100);
    cr_expect_eq(got.received.count, count, "%zu were ready", got.received.count);
    cr_expect(count == 0 || got.received.at[0].message == first, "%lld was first",
              got.received.count == 0 ? 0 : (long long)got.received.at[0].message);
}

Test(groups, one_message_of_a_group_is_leased_at_a_time_in_order)
{
    struct fixture f;
    fixture_open(&f);
    send_group(&f, "g", 3);
    for (int64_t id = 1; id <= 3; id++) {
        struct message_view message = receive_only(&f, "q");
        cr_expect_eq(message.message, id);
        cr_expect_eq(receive_one(&f, "q").message, 0);
        ack(&f, "q", message);
    }
    fixture_close(&f);
}

Test(groups, never_hold_back_one_another_nor_those_without_a_group)
{
    struct fixture f;
    fixture_open(&f);
    send_group(&f, "g", 2);
    send_group(&f, "h", 2);
    SEND(&f, "q");
    send_group(&f, "", 2);
    expect_ready(&f, 4, 1);
    expect_depths(&f, "q", .ready = 3, .leased = 4);
    fixture_close(&f);
}

Test(groups, of_the_same_name_in_two_queues_have_nothing_to_do_with_each_other)
{
    struct fixture f;
    fixture_open(&f);
    send_group(&f, "g", 1);
    SEND(&f, "r", .group = "g");
    cr_expect_eq(receive_only(&f, "q").message, 1);
    cr_expect_eq(receive_only(&f, "r").message, 1);
    fixture_close(&f);
}

Test(groups, as_many_as_their_concurrency_are_leased_at_once)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.group_concurrency = 2});
    send_group(&f, "g", 5);
    struct result got = receive(&f, "q", 10);
    cr_assert_eq(got.received.count, 2);
    ack(&f, "q", got.received.at[1]);
    cr_expect_eq(receive_only(&f, "q").message, 3);
    ack(&f, "q", got.received.at[0]);
    cr_expect_eq(receive_only(&f, "q").message, 4);
    fixture_close(&f);
}

Test(groups, a_message_that_failed_keeps_its_place_and_holds_back_its_successors)
{
    struct fixture f;
    fixture_open(&f);
    send_group(&f, "g", 2);
    nack(&f, "q", receive_only(&f, "q"));
    struct message_view again = receive_only(&f, "q");
    cr_expect_eq(again.message, 1);
    nack_with(&f, "q", again, 50, NULL);
    expect_ready(&f, 0, 0);
    fixture_pass(&f, 50);
    expect_ready(&f, 1, 1);
    fixture_pass(&f, LEASE_MS);
    expect_ready(&f, 1, 1);
    fixture_close(&f);
}

Test(groups, a_delayed_message_holds_back_its_successors_and_a_successors_delay_runs_meanwhile)
{
    struct fixture f;
    fixture_open(&f);
    SEND(&f, "q", .group = "g", .delay_ms = 50);
    SEND(&f, "q", .group = "g", .delay_ms = 80);
    SEND(&f, "q", .group = "g", .delay_ms = 10);
    expect_depths(&f, "q", .delayed = 3);
    fixture_pass(&f, 50);
    ack(&f, "q", receive_only(&f, "q"));
    expect_depths(&f, "q", .ready = 1, .delayed = 1);
    fixture_pass(&f, 29);
    expect_ready(&f, 0, 0);
    fixture_pass(&f, 1);
    struct message_view second = receive_only(&f, "q");
    cr_expect_eq(second.message, 2);
    ack(&f, "q", second);
    cr_expect_eq(receive_only(&f, "q").message, 3);
    fixture_close(&f);
}

/* The ways in which the head of a group leaves; each passes its turn on. */
static void leave_by_ack(struct fixture *f)
{
    ack(f, "q", receive_one(f, "q"));
}
static void leave_by_delete(struct fixture *f)
{
    struct message_view message = receive_one(f, "q");
    delete_message(f, "q", message.message, message.fence);
}
static void leave_by_reject(struct fixture *f)
{
    reject(f, "q", receive_one(f, "q"), NULL);
}
static void leave_by_cancel(struct fixture *f)
{
    delete_message(f, "q", 1, ABSENT);
}
static void leave_by_expiry(struct fixture *f)
{
    fixture_pass(f, 1000);
}
static void leave_by_expiry_on_a_tick(struct fixture *f)
{
    fixture_pass(f, 1000);
    fixture_tick(f);
}
static void leave_by_failing(struct fixture *f)
{
    for (int i = 0; i < MAX_ATTEMPTS_DEFAULT; i++) {
        nack(f, "q", receive_one(f, "q"));
    }
}
static void leave_by_dead_letter(struct fixture *f)
{
    put_queue(f, "q", (struct queue_config){.dead_letter = TEXT("q~dead")});
    reject(f, "q", receive_one(f, "q"), NULL);
}
static void leave_by_purge(struct fixture *f)
{
    receive_one(f, "q");
    purge(f, "q", MESSAGE_LEASED, ABSENT);
}

Test(groups, the_turn_passes_on_however_a_message_leaves)
{
    static void (*const LEAVE[])(struct fixture *) = {
        leave_by_ack,     leave_by_delete,      leave_by_reject,
        leave_by_cancel,  leave_by_expiry,      leave_by_expiry_on_a_tick,
        leave_by_failing, leave_by_dead_letter, leave_by_purge};
    for (size_t i = 0; i < sizeof LEAVE / sizeof *LEAVE; i++) {
        struct fixture f;
        fixture_open(&f);
        SEND(&f, "q", .group = "g", .ttl_ms = 1000);
        send_group(&f, "g", 2);
        LEAVE[i](&f);
        cr_expect_eq(receive_only(&f, "q").message, 2, "way %zu", i);
        fixture_close(&f);
    }
}

Test(groups, a_message_that_leaves_while_it_waits_takes_no_turn_with_it)
{
    struct fixture f;
    fixture_open(&f);
    send_group(&f, "g", 1);
    SEND(&f, "q", .group = "g", .ttl_ms = 10);
    send_group(&f, "g", 2);
    struct message_view head = receive_only(&f, "q");
    fixture_pass(&f, 10);
    fixture_tick(&f);
    delete_message(&f, "q", 3, ABSENT);
    expect_ready(&f, 0, 0);
    ack(&f, "q", head);
    expect_ready(&f, 1, 4);
    fixture_close(&f);
}

Test(groups, a_higher_priority_does_not_overtake_within_a_group)
{
    struct fixture f;
    fixture_open(&f);
    SEND(&f, "q", .group = "g", .priority = 1);
    SEND(&f, "q", .group = "g", .priority = 9);
    SEND(&f, "q", .priority = 5);
    struct result got = receive(&f, "q", 10);
    cr_assert_eq(got.received.count, 2);
    cr_expect_eq(got.received.at[0].message, 3);
    cr_expect_eq(got.received.at[1].message, 1);
    fixture_close(&f);
}

/* ---- coming back from the dead ------------------------------------------------------------------------------------ */

Test(groups, a_redriven_message_takes_its_place_in_order_again)
{
    struct fixture f;
    fixture_open(&f);
    send_group(&f, "g", 3);
    reject(&f, "q", receive_only(&f, "q"), NULL);
    redrive(&f, "q", ABSENT);
    for (int64_t id = 1; id <= 3; id++) {
        struct message_view message = receive_only(&f, "q");
        cr_expect_eq(message.message, id);
        ack(&f, "q", message);
    }
    fixture_close(&f);
}

Test(groups, a_redriven_message_waits_for_a_later_one_that_is_leased)
{
    struct fixture f;
    fixture_open(&f);
    send_group(&f, "g", 3);
    reject(&f, "q", receive_only(&f, "q"), NULL);
    struct message_view second = receive_only(&f, "q");
    redrive(&f, "q", ABSENT);
    expect_ready(&f, 0, 0);
    nack(&f, "q", second); /* it has the turn, and keeps it */
    second = receive_only(&f, "q");
    cr_expect_eq(second.message, 2);
    ack(&f, "q", second);
    expect_ready(&f, 1, 1);
    fixture_close(&f);
}

Test(groups, a_redriven_message_takes_the_turn_of_a_later_delayed_one_which_keeps_its_delay)
{
    struct fixture f;
    fixture_open(&f);
    send_group(&f, "g", 1);
    SEND(&f, "q", .group = "g", .delay_ms = 50);
    reject(&f, "q", receive_only(&f, "q"), NULL);
    expect_depths(&f, "q", .delayed = 1, .dead = 1);
    redrive(&f, "q", ABSENT);
    expect_depths(&f, "q", .ready = 1, .delayed = 1);
    ack(&f, "q", receive_only(&f, "q"));
    expect_depths(&f, "q", .delayed = 1);
    fixture_pass(&f, 50);
    expect_ready(&f, 1, 2);
    fixture_close(&f);
}

Test(groups, a_redriven_message_queues_behind_earlier_ones_that_wait)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.group_concurrency = 1});
    send_group(&f, "g", 4);
    struct message_view first = receive_only(&f, "q");
    reject(&f, "q", first, NULL);
    struct message_view second = receive_only(&f, "q");
    reject(&f, "q", second, NULL);
    struct message_view third = receive_only(&f, "q");
    redrive(&f, "q", ABSENT);
    expect_depths(&f, "q", .ready = 3, .leased = 1);
    ack(&f, "q", third);
    for (int64_t id = 1; id <= 4; id += id == 2 ? 2 : 1) {
        struct message_view message = receive_only(&f, "q");
        cr_expect_eq(message.message, id);
        ack(&f, "q", message);
    }
    fixture_close(&f);
}

/* ---- changing the concurrency ------------------------------------------------------------------------------------- */

Test(groups, a_raised_concurrency_gives_turns_to_those_that_wait)
{
    struct fixture f;
    fixture_open(&f);
    send_group(&f, "g", 4);
    send_group(&f, "h", 1);
    receive(&f, "q", 10);
    set_concurrency(&f, 3);
    expect_ready(&f, 2, 2);
    fixture_tick(&f);
    expect_ready(&f, 0, 0);
    cr_expect_gt(machine_due(f.machine).wall_ms, f.now.now_ms);
    fixture_close(&f);
}

Test(groups, a_raised_concurrency_reaches_every_group_in_bounded_steps)
{
    struct fixture f;
    fixture_open(&f);
    char group[] = "g00";
    for (int i = 0; i < 100; i++) {
        group[1] = (char)('0' + i / 10);
        group[2] = (char)('0' + i % 10);
        send_group(&f, group, 3);
    }
    set_concurrency(&f, 2);
    struct command tick = {.kind = COMMAND_TICK, .tick = {.steps_max = 50}};
    fixture_do(&f, tick);
    cr_expect_leq(machine_due(f.machine).wall_ms, f.now.now_ms);
    cr_expect_eq(machine_sanity(f.machine, &f.arena), NULL);
    /* What is sent meanwhile stands behind those that still wait. */
    SEND(&f, "q", .group = "g99");
    fixture_tick(&f);
    struct result got = receive(&f, "q", 1000);
    cr_expect_eq(got.received.count, 200);
    fixture_close(&f);
}

Test(groups, a_lowered_concurrency_holds_once_those_that_have_the_turn_have_left)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.group_concurrency = 3});
    send_group(&f, "g", 5);
    struct result got = receive(&f, "q", 10);
    cr_assert_eq(got.received.count, 3);
    set_concurrency(&f, 1);
    ack(&f, "q", got.received.at[0]);
    ack(&f, "q", got.received.at[1]);
    expect_ready(&f, 0, 0);
    ack(&f, "q", got.received.at[2]);
    expect_ready(&f, 1, 4);
    fixture_close(&f);
}

Test(groups, in_a_dead_letter_queue_are_groups_again)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.dead_letter = TEXT("q~dead")});
    send_group(&f, "g", 2);
    for (int i = 0; i < 2; i++) {
        reject(&f, "q", receive_only(&f, "q"), NULL);
    }
    ack(&f, "q~dead", receive_only(&f, "q~dead"));
    cr_expect_eq(receive_only(&f, "q~dead").message, 2);
    fixture_close(&f);
}
