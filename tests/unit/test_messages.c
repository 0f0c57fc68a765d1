/* Messages: every state against every command, sending, leases, failures, dead letters, expiry, limits. */
#include "tests/unit/queue_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define NOTHING ((struct queue_config){0})

/* ---- every state against every command ---------------------------------------------------------------------------- */

/* States as a client can bring them about. The message under test is number 1 of queue "q"; `view` is its last
   delivery, made up where there was none. RUN_OUT: leased, the lease is over, and no tick has run. */
enum place { READY, BLOCKED, DELAYED, LEASED, RUN_OUT, DEAD, ACKED, NEVER, PLACES };
static const char *const PLACE_NAMES[] = {"ready",   "blocked", "delayed", "leased",
                                          "run out", "dead",    "acked",   "never sent"};

static struct message_view bring_about(struct fixture *f, enum place place)
{
    struct message_view view = {.message = 1, .fence = 1000};
    put_queue(f, "q", NOTHING);
    switch (place) {
    case READY:
        SEND(f, "q");
        break;
    case BLOCKED: /* number 1 goes to the shelf and back, behind number 2, which is leased */
        make_dead(f, "q", (struct send){.group = "g"});
        SEND(f, "q", .group = "g");
        receive_one(f, "q");
        redrive(f, "q", ABSENT);
        break;
    case DELAYED:
        SEND(f, "q", .delay_ms = HOUR_MS);
        break;
    case LEASED:
    case RUN_OUT:
    case ACKED:
        SEND(f, "q");
        view = receive_one(f, "q");
        if (place == RUN_OUT) {
            fixture_pass(f, LEASE_MS);
        } else if (place == ACKED) {
            ack(f, "q", view);
        }
        break;
    case DEAD:
        make_dead(f, "q", (struct send){0});
        break;
    case NEVER:
    case PLACES:
        break;
    }
    return view;
}

typedef int64_t trial(struct fixture *f, struct message_view view);

static int64_t try_receive(struct fixture *f, struct message_view view)
{
    return receive_one(f, "q").message == view.message;
}
static int64_t try_ack(struct fixture *f, struct message_view view)
{
    return ack(f, "q", view);
}
static int64_t try_nack(struct fixture *f, struct message_view view)
{
    return nack(f, "q", view);
}
static int64_t try_extend(struct fixture *f, struct message_view view)
{
    return extend(f, "q", view, LEASE_MS);
}
static int64_t try_reject(struct fixture *f, struct message_view view)
{
    return reject(f, "q", view, NULL);
}
static int64_t try_delete_acked(struct fixture *f, struct message_view view)
{
    return delete_message(f, "q", view.message, view.fence).status;
}
static int64_t try_cancel(struct fixture *f, struct message_view view)
{
    return delete_message(f, "q", view.message, ABSENT).status;
}
static int64_t try_get(struct fixture *f, struct message_view view)
{
    struct result result = get_message(f, "q", view.message);
    return result.status == STATUS_OK ? result.message.state : -1;
}
static int64_t try_redrive(struct fixture *f, struct message_view view)
{
    (void)view;
    return redrive(f, "q", ABSENT).count;
}

static void expect_row(const char *what, trial *try_it, const int64_t want[PLACES])
{
    for (enum place place = 0; place < PLACES; place++) {
        struct fixture f;
        fixture_open(&f);
        struct message_view view = bring_about(&f, place);
        int64_t got = try_it(&f, view);
        cr_expect_eq(got, want[place], "%s a message that is %s: got %lld, not %lld", what,
                     PLACE_NAMES[place], (long long)got, (long long)want[place]);
        fixture_close(&f);
    }
}

enum { LOST = OUTCOME_LEASE_LOST, GONE = OUTCOME_GONE };

Test(messages, only_what_is_ready_is_received)
{
    expect_row("receive", try_receive, (int64_t[]){1, 0, 0, 0, 1, 0, 0, 0});
}
Test(messages, only_what_is_leased_is_acked_and_a_repeated_ack_is_known)
{
    expect_row(
        "ack", try_ack,
        (int64_t[]){LOST, LOST, LOST, OUTCOME_ACKED, LOST, LOST, OUTCOME_ALREADY_ACKED, GONE});
}
Test(messages, only_what_is_leased_is_nacked)
{
    expect_row("nack", try_nack,
               (int64_t[]){LOST, LOST, LOST, OUTCOME_NACKED, LOST, LOST, GONE, GONE});
}
Test(messages, only_what_is_leased_is_extended)
{
    expect_row("extend", try_extend,
               (int64_t[]){LOST, LOST, LOST, OUTCOME_EXTENDED, LOST, LOST, GONE, GONE});
}
Test(messages, only_what_is_leased_is_rejected)
{
    expect_row("reject", try_reject,
               (int64_t[]){LOST, LOST, LOST, OUTCOME_REJECTED, LOST, LOST, GONE, GONE});
}
Test(messages, deleting_with_a_receipt_acks)
{
    expect_row("delete with the receipt of", try_delete_acked,
               (int64_t[]){STATUS_LEASE_LOST, STATUS_LEASE_LOST, STATUS_LEASE_LOST, STATUS_OK,
                           STATUS_LEASE_LOST, STATUS_LEASE_LOST, STATUS_OK, STATUS_MESSAGE_GONE});
}
Test(messages, deleting_without_a_receipt_cancels_what_nobody_holds)
{
    expect_row("cancel", try_cancel,
               (int64_t[]){STATUS_OK, STATUS_OK, STATUS_OK, STATUS_MESSAGE_LEASED, STATUS_OK,
                           STATUS_OK, STATUS_MESSAGE_GONE, STATUS_MESSAGE_NOT_FOUND});
}
Test(messages, a_get_tells_the_state_as_a_client_sees_it)
{
    expect_row("get", try_get,
               (int64_t[]){MESSAGE_READY, MESSAGE_READY, MESSAGE_DELAYED, MESSAGE_LEASED,
                           MESSAGE_READY, MESSAGE_DEAD, -1, -1});
}
Test(messages, only_what_is_dead_is_redriven)
{
    expect_row("redrive", try_redrive, (int64_t[]){0, 0, 0, 0, 0, 1, 0, 0});
}

Test(messages, a_cancelled_message_is_gone_from_every_state)
{
    for (enum place place = 0; place < PLACES; place++) {
        struct fixture f;
        fixture_open(&f);
        struct message_view view = bring_about(&f, place);
        if (delete_message(&f, "q", view.message, ABSENT).status == STATUS_OK) {
            expect_status(get_message(&f, "q", 1), STATUS_MESSAGE_NOT_FOUND);
            cr_expect_eq(redrive(&f, "q", ABSENT).count, 0);
            fixture_pass(&f, 2 * HOUR_MS);
            while (receive_one(&f, "q").message > 1) {
            }
            cr_expect_neq(receive_one(&f, "q").message, 1, "%s", PLACE_NAMES[place]);
        }
        fixture_close(&f);
    }
}

/* ---- sending ------------------------------------------------------------------------------------------------------ */

Test(messages, what_is_sent_is_what_is_received)
{
    struct fixture f;
    fixture_open(&f);
    struct message_new sent = message_of((struct send){.body = "{\"n\":1}",
                                                       .attributes = "{\"a\":\"b\"}",
                                                       .group = "g",
                                                       .priority = 7,
                                                       .ttl_ms = 500});
    sent.body_bytes = 4096;
    send_many(&f, "q", &sent, 1, true);
    fixture_pass(&f, 20);
    struct message_view got = receive_only(&f, "q");
    expect_text(got.body, "{\"n\":1}");
    expect_text(got.attributes, "{\"a\":\"b\"}");
    expect_text(got.group, "g");
    expect_text(got.consumer, "worker");
    cr_expect_eq(got.message, 1);
    cr_expect_eq(got.body_bytes, 4096);
    cr_expect_eq(got.priority, 7);
    cr_expect_eq(got.attempt, 1);
    cr_expect_eq(got.failures, 0);
    cr_expect_eq(got.enqueued_at_ms, f.now.now_ms - 20);
    cr_expect_eq(got.expires_at_ms, f.now.now_ms + 480);
    cr_expect_eq(got.lease_expires_ms, f.now.lease_now_ms + LEASE_MS);

    struct message_view seen = get_message(&f, "q", 1).message;
    expect_text(seen.body, "{\"n\":1}");
    expect_text(seen.attributes, "{\"a\":\"b\"}");
    expect_text(seen.group, "g");
    expect_text(seen.consumer, "worker");
    cr_expect_eq(seen.fence, got.fence);
    cr_expect_eq(seen.body_bytes, 4096);
    cr_expect_eq(seen.priority, 7);
    cr_expect_eq(seen.lease_expires_ms, got.lease_expires_ms);
    cr_expect_eq(seen.expires_at_ms, got.expires_at_ms);
    fixture_close(&f);
}

Test(messages, large_and_empty_bodies_come_back_whole)
{
    struct fixture f;
    fixture_open(&f);
    static char large[BODY_BYTES_MAX + 1];
    memset(large, 'x', BODY_BYTES_MAX);
    static const size_t LENGTHS[] = {BODY_INLINE_MAX, BODY_INLINE_MAX + 1, BODY_BYTES_MAX};
    for (size_t i = 0; i < 3; i++) {
        struct message_new message = message_of((struct send){0});
        message.body = (struct text){large, LENGTHS[i]};
        send_many(&f, "q", &message, 1, true);
        struct message_view got = receive_only(&f, "q");
        cr_expect(text_equal(got.body, message.body), "%zu bytes", LENGTHS[i]);
        ack(&f, "q", got);
    }
    fixture_close(&f);
}

Test(messages, are_delivered_by_priority_and_then_in_the_order_they_were_sent)
{
    struct fixture f;
    fixture_open(&f);
    SEND(&f, "q", .priority = ZERO);
    SEND(&f, "q", .priority = 5);
    SEND(&f, "q", .priority = 9);
    SEND(&f, "q", .priority = 5);
    struct result got = receive(&f, "q", 10);
    static const int64_t ORDER[] = {3, 2, 4, 1};
    cr_assert_eq(got.received.count, 4);
    for (size_t i = 0; i < 4; i++) {
        cr_expect_eq(got.received.at[i].message, ORDER[i]);
    }
    fixture_close(&f);
}

Test(messages, a_delay_is_the_messages_own_or_the_queues)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.delay_ms = 100});
    SEND(&f, "q");
    SEND(&f, "q", .delay_ms = 50);
    SEND(&f, "q", .delay_ms = ZERO);
    SEND(&f, "q", .deliver_at_ms = f.now.now_ms + 70);
    SEND(&f, "q", .deliver_at_ms = f.now.now_ms - 70);
    expect_depths(&f, "q", .ready = 2, .delayed = 3);
    cr_expect_eq(get_message(&f, "q", 2).message.due_at_ms, f.now.now_ms + 50);
    struct result got = receive(&f, "q", 9);
    cr_assert_eq(got.received.count, 2);
    cr_expect_eq(got.received.at[0].message, 3);
    cr_expect_eq(got.received.at[1].message, 5);
    fixture_pass(&f, 49);
    cr_expect_eq(receive_one(&f, "q").message, 0);
    fixture_pass(&f, 1);
    cr_expect_eq(receive_only(&f, "q").message, 2);
    fixture_pass(&f, 20);
    cr_expect_eq(receive_only(&f, "q").message, 4);
    fixture_pass(&f, 30);
    cr_expect_eq(receive_only(&f, "q").message, 1);
    fixture_close(&f);
}

Test(messages, a_tick_says_when_a_delay_is_over)
{
    struct fixture f;
    fixture_open(&f);
    SEND(&f, "q", .delay_ms = 50);
    cr_expect_eq(machine_due(f.machine).wall_ms, 0, "nothing is known before the first tick");
    fixture_tick(&f);
    cr_expect_eq(machine_due(f.machine).wall_ms, f.now.now_ms + 50);
    fixture_pass(&f, 50);
    fixture_tick(&f);
    expect_depths(&f, "q", .ready = 1);
    cr_expect_eq(machine_due(f.machine).wall_ms, f.now.now_ms - 50 + RETENTION_MS_DEFAULT);
    fixture_close(&f);
}

static int64_t ready_events(const struct fixture *f, const char *queue)
{
    int64_t count = 0;
    for (size_t i = 0; i < f->events.count; i++) {
        if (f->events.at[i].kind == EVENT_READY &&
            text_equal(f->events.at[i].name, text_of(queue))) {
            count += f->events.at[i].count;
        }
    }
    return count;
}

Test(messages, whoever_waits_is_told_how_many_messages_became_ready)
{
    struct fixture f;
    fixture_open(&f);
    struct command tick = {.kind = COMMAND_TICK, .tick = {.steps_max = TICK_STEPS_MAX}};
    send_count(&f, "q", 3, true);
    cr_expect_eq(ready_events(&f, "q"), 3, "a send");
    SEND(&f, "q", .delay_ms = 50);
    cr_expect_eq(ready_events(&f, "q"), 0, "a delayed send");
    fixture_pass(&f, 50);
    fixture_do(&f, tick);
    cr_expect_eq(ready_events(&f, "q"), 1, "a delay that is over");
    struct result got = receive(&f, "q", 4);
    cr_expect_eq(ready_events(&f, "q"), 0, "a receive");
    nack(&f, "q", got.received.at[0]);
    cr_expect_eq(ready_events(&f, "q"), 1, "a nack");
    nack_with(&f, "q", got.received.at[1], 10, NULL);
    cr_expect_eq(ready_events(&f, "q"), 0, "a nack with a delay");
    fixture_pass(&f, LEASE_MS);
    fixture_do(&f, tick);
    cr_expect_eq(ready_events(&f, "q"), 3, "two leases that ran out, and the delay");
    fixture_close(&f);
}

Test(messages, a_paused_queue_hands_out_nothing_until_it_goes_on)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.paused = 1});
    SEND(&f, "q");
    cr_expect_eq(ready_events(&f, "q"), 0);
    struct result got = receive(&f, "q", 1);
    expect_status(got, STATUS_OK);
    cr_expect_eq(got.received.count, 0);
    struct queue_config go_on = no_change();
    go_on.paused = 0;
    patch_queue(&f, "q", go_on);
    cr_expect_eq(ready_events(&f, "q"), 1);
    cr_expect_eq(receive_only(&f, "q").message, 1);
    fixture_close(&f);
}

/* ---- dedup -------------------------------------------------------------------------------------------------------- */

Test(messages, a_dedup_id_answers_the_first_message_within_its_window)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.dedup_window_ms = 100});
    int64_t first = SEND(&f, "q", .dedup_id = "d");
    ack(&f, "q", receive_only(&f, "q"));
    fixture_pass(&f, 99);
    struct message_new again = message_of((struct send){.dedup_id = "d"});
    struct result result = send_many(&f, "q", &again, 1, true);
    cr_expect_eq(result.sent.at[0].message, first);
    cr_expect(result.sent.at[0].deduplicated);
    expect_depths(&f, "q", 0);
    fixture_pass(&f, 1);
    cr_expect_neq(SEND(&f, "q", .dedup_id = "d"), first);
    fixture_close(&f);
}

Test(messages, a_dedup_id_counts_within_one_request_and_one_queue_only)
{
    struct fixture f;
    fixture_open(&f);
    struct message_new twice[] = {message_of((struct send){.dedup_id = "d"}),
                                  message_of((struct send){.dedup_id = "e"}),
                                  message_of((struct send){.dedup_id = "d"})};
    struct result result = send_many(&f, "q", twice, 3, true);
    cr_expect_not(result.sent.at[0].deduplicated);
    cr_expect_not(result.sent.at[1].deduplicated);
    cr_expect(result.sent.at[2].deduplicated);
    cr_expect_eq(result.sent.at[2].message, result.sent.at[0].message);
    SEND(&f, "r", .dedup_id = "d");
    expect_depths(&f, "q", .ready = 2);
    expect_depths(&f, "r", .ready = 1);
    fixture_close(&f);
}

Test(messages, a_window_of_zero_turns_dedup_off_and_ticks_forget_what_is_over)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.dedup_window_ms = ZERO});
    SEND(&f, "q", .dedup_id = "d");
    SEND(&f, "q", .dedup_id = "d");
    expect_depths(&f, "q", .ready = 2);
    SEND(&f, "r", .dedup_id = "d");
    fixture_tick(&f);
    cr_expect_eq(machine_due(f.machine).wall_ms, f.now.now_ms + DEDUP_WINDOW_MS_DEFAULT);
    fixture_pass(&f, DEDUP_WINDOW_MS_DEFAULT);
    fixture_tick(&f);
    cr_expect_gt(machine_due(f.machine).wall_ms, f.now.now_ms + DEDUP_WINDOW_MS_DEFAULT);
    fixture_close(&f);
}

/* ---- depth and rate ----------------------------------------------------------------------------------------------- */

Test(messages, past_max_depth_a_send_is_refused_whole_or_one_by_one)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.max_depth = 4});
    send_count(&f, "q", 2, true);
    struct result all = send_count(&f, "q", 3, true);
    expect_status(all, STATUS_QUEUE_FULL);
    cr_expect_not(fixture_event(&f, EVENT_QUEUE, "q", NULL));
    expect_depths(&f, "q", .ready = 2);
    struct result each = send_count(&f, "q", 3, false);
    expect_status(each, STATUS_CREATED);
    cr_expect_eq(each.sent.at[1].status, STATUS_CREATED);
    cr_expect_eq(each.sent.at[2].status, STATUS_QUEUE_FULL);
    expect_depths(&f, "q", .ready = 4);
    fixture_close(&f);
}

Test(messages, leased_and_delayed_take_room_and_dead_and_expired_do_not)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.max_depth = 3});
    make_dead(&f, "q", (struct send){0});
    SEND(&f, "q");
    receive_one(&f, "q");
    SEND(&f, "q", .delay_ms = HOUR_MS);
    SEND(&f, "q", .ttl_ms = 10);
    expect_status(send_count(&f, "q", 1, true), STATUS_QUEUE_FULL);
    fixture_pass(&f, 10);
    expect_status(send_count(&f, "q", 1, true), STATUS_CREATED);
    expect_depths(&f, "q", .ready = 1, .delayed = 1, .leased = 1, .dead = 1);
    fixture_close(&f);
}

Test(messages, a_full_queue_still_answers_duplicates)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.max_depth = 1});
    int64_t first = SEND(&f, "q", .dedup_id = "d");
    cr_expect_eq(SEND(&f, "q", .dedup_id = "d"), first);
    struct message_new fresh = message_of((struct send){.dedup_id = "e"});
    expect_status(send_many(&f, "q", &fresh, 1, true), STATUS_QUEUE_FULL);
    ack(&f, "q", receive_only(&f, "q"));
    cr_expect_neq(SEND(&f, "q", .dedup_id = "e"), first, "the refused id was not noted");
    fixture_close(&f);
}

Test(messages, the_rate_lets_a_burst_through_and_then_so_many_a_second)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.rate_per_s = 10, .rate_burst = 5});
    expect_status(send_count(&f, "q", 4, true), STATUS_CREATED);
    struct result over = send_count(&f, "q", 2, true);
    expect_status(over, STATUS_RATE_LIMITED);
    cr_expect_eq(over.retry_after_ms, 100);
    fixture_pass(&f, 99);
    expect_status(send_count(&f, "q", 2, true), STATUS_RATE_LIMITED);
    fixture_pass(&f, 1);
    expect_status(send_count(&f, "q", 2, true), STATUS_CREATED);
    fixture_pass(&f, HOUR_MS);
    expect_status(send_count(&f, "q", 6, true), STATUS_RATE_LIMITED);
    expect_status(send_count(&f, "q", 5, true), STATUS_CREATED);
    fixture_close(&f);
}

Test(messages, the_rate_refuses_one_by_one_where_the_send_is_not_atomic)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.rate_per_s = 10, .rate_burst = 2});
    struct result each = send_count(&f, "q", 3, false);
    expect_status(each, STATUS_CREATED);
    cr_expect_eq(each.sent.at[1].status, STATUS_CREATED);
    cr_expect_eq(each.sent.at[2].status, STATUS_RATE_LIMITED);
    cr_expect_eq(each.sent.at[2].retry_after_ms, 100);
    expect_depths(&f, "q", .ready = 2);
    fixture_close(&f);
}

/* ---- receiving ---------------------------------------------------------------------------------------------------- */

Test(messages, each_delivery_has_a_fence_of_its_own_that_grows)
{
    struct fixture f;
    fixture_open(&f);
    send_count(&f, "q", 3, true);
    struct result got = receive(&f, "q", 2);
    cr_expect_lt(got.received.at[0].fence, got.received.at[1].fence);
    nack(&f, "q", got.received.at[0]);
    struct message_view again = receive_one(&f, "q");
    cr_expect_eq(again.message, got.received.at[0].message);
    cr_expect_gt(again.fence, got.received.at[1].fence);
    cr_expect_eq(again.attempt, 2);
    cr_expect_eq(again.failures, 1);
    fixture_close(&f);
}

Test(messages, a_receive_stops_at_its_bytes_but_takes_at_least_one)
{
    struct fixture f;
    fixture_open(&f);
    struct message_new messages[3];
    for (size_t i = 0; i < 3; i++) {
        messages[i] = message_of((struct send){0});
        messages[i].body_bytes = RECEIVE_BYTES_MAX / 2; /* as if it was compressed that well */
    }
    messages[2].body_bytes = RECEIVE_BYTES_MAX + 1;
    send_many(&f, "q", messages, 3, true);
    cr_expect_eq(receive(&f, "q", 10).received.count, 2);
    cr_expect_eq(receive(&f, "q", 10).received.count, 1);
    fixture_close(&f);
}

Test(messages, the_lease_is_the_requests_or_the_queues)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.lease_ms = 100});
    send_count(&f, "q", 2, true);
    cr_expect_eq(receive_one(&f, "q").lease_expires_ms, f.now.lease_now_ms + 100);
    struct command command = {.kind = COMMAND_MESSAGE_RECEIVE,
                              .message_receive = {.queue = TEXT("q"), .max = 1, .lease_ms = 7}};
    struct result got = fixture_do(&f, command);
    cr_expect_eq(got.received.at[0].lease_expires_ms, f.now.lease_now_ms + 7);
    fixture_tick(&f);
    cr_expect_eq(machine_due(f.machine).lease_ms, f.now.lease_now_ms + 7);
    fixture_close(&f);
}

Test(messages, a_lease_that_ran_out_is_a_failure_and_the_old_receipt_is_stale)
{
    struct fixture f;
    fixture_open(&f);
    SEND(&f, "q");
    struct message_view first = receive_one(&f, "q");
    fixture_pass(&f, LEASE_MS - 1);
    cr_expect_eq(receive_one(&f, "q").message, 0);
    fixture_pass(&f, 1);
    struct message_view second = receive_only(&f, "q");
    cr_expect_eq(second.message, first.message);
    cr_expect_eq(second.failures, 1);
    cr_expect_eq(ack(&f, "q", first), OUTCOME_LEASE_LOST);
    cr_expect_eq(ack(&f, "q", second), OUTCOME_ACKED);
    cr_expect_eq(ack(&f, "q", first), OUTCOME_GONE);
    fixture_close(&f);
}

Test(messages, an_extended_lease_runs_from_the_extension_on)
{
    struct fixture f;
    fixture_open(&f);
    SEND(&f, "q");
    struct message_view message = receive_one(&f, "q");
    fixture_pass(&f, LEASE_MS - 1);
    cr_expect_eq(extend(&f, "q", message, LEASE_MS), OUTCOME_EXTENDED);
    fixture_pass(&f, LEASE_MS - 1);
    cr_expect_eq(receive_one(&f, "q").message, 0);
    cr_expect_eq(extend(&f, "q", message, 5), OUTCOME_EXTENDED, "a lease may be shortened too");
    fixture_pass(&f, 5);
    fixture_tick(&f);
    expect_depths(&f, "q", .ready = 1);
    fixture_close(&f);
}

Test(messages, leases_run_on_lease_time_only)
{
    struct fixture f;
    fixture_open(&f);
    SEND(&f, "q");
    struct message_view message = receive_one(&f, "q");
    f.now.now_ms += DAY_MS; /* the wall clock jumps */
    fixture_tick(&f);
    expect_depths(&f, "q", .leased = 1);
    cr_expect_eq(ack(&f, "q", message), OUTCOME_ACKED);
    fixture_close(&f);
}

/* ---- failures and death ------------------------------------------------------------------------------------------- */

Test(messages, past_max_attempts_a_message_is_dead_with_the_last_reason_given)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.max_attempts = 2});
    SEND(&f, "q");
    nack_with(&f, "q", receive_one(&f, "q"), ABSENT, "no disk");
    expect_depths(&f, "q", .ready = 1);
    expect_text(get_message(&f, "q", 1).message.reason, "no disk");
    receive_one(&f, "q");
    fixture_pass(&f, LEASE_MS);
    fixture_tick(&f);
    expect_depths(&f, "q", .dead = 1);
    struct message_view dead = get_message(&f, "q", 1).message;
    cr_expect_eq(dead.state, MESSAGE_DEAD);
    cr_expect_eq(dead.attempt, 2);
    cr_expect_eq(dead.failures, 2);
    expect_text(dead.reason, "no disk");
    fixture_close(&f);
}

Test(messages, a_message_that_died_without_a_reason_says_max_attempts)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.max_attempts = 1});
    SEND(&f, "q");
    nack(&f, "q", receive_one(&f, "q"));
    expect_text(get_message(&f, "q", 1).message.reason, "max_attempts");
    fixture_close(&f);
}

Test(messages, max_attempts_of_zero_is_no_limit)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.max_attempts = ZERO});
    SEND(&f, "q");
    for (int i = 0; i < 50; i++) {
        cr_expect_eq(nack(&f, "q", receive_one(&f, "q")), OUTCOME_NACKED);
    }
    expect_depths(&f, "q", .ready = 1);
    fixture_close(&f);
}

Test(messages, a_rejected_message_is_dead_at_once_and_keeps_its_failures)
{
    struct fixture f;
    fixture_open(&f);
    SEND(&f, "q");
    reject(&f, "q", receive_one(&f, "q"), "bad order");
    struct message_view dead = get_message(&f, "q", 1).message;
    expect_text(dead.reason, "bad order");
    cr_expect_eq(dead.failures, 0);
    make_dead(&f, "q", (struct send){0});
    expect_text(get_message(&f, "q", 2).message.reason, "rejected");
    fixture_close(&f);
}

Test(messages, the_backoff_grows_with_each_failure_up_to_its_bound)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q",
              (struct queue_config){
                  .backoff_base_ms = 100, .backoff_factor_milli = 2500, .backoff_max_ms = 1000});
    SEND(&f, "q");
    static const int64_t DELAYS[] = {100, 250, 625, 1000, 1000};
    for (size_t i = 0; i < 5; i++) {
        nack(&f, "q", receive_only(&f, "q"));
        cr_expect_eq(get_message(&f, "q", 1).message.due_at_ms, f.now.now_ms + DELAYS[i]);
        fixture_pass(&f, DELAYS[i]);
    }
    nack_with(&f, "q", receive_only(&f, "q"), 7, NULL);
    cr_expect_eq(get_message(&f, "q", 1).message.due_at_ms, f.now.now_ms + 7);
    fixture_pass(&f, 7);
    nack_with(&f, "q", receive_only(&f, "q"), 0, NULL);
    expect_depths(&f, "q", .ready = 1);
    fixture_close(&f);
}

/* ---- dead letters ------------------------------------------------------------------------------------------------- */

Test(messages, a_dead_letter_moves_as_a_new_message_in_the_same_step)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.max_attempts = 1, .dead_letter = TEXT("q~dead")});
    SEND(&f, "q", .body = "\"b\"", .attributes = "{\"a\":\"b\"}", .group = "g", .priority = 8,
         .ttl_ms = HOUR_MS);
    fixture_pass(&f, 10);
    nack_with(&f, "q", receive_one(&f, "q"), ABSENT, "say \"no\"");
    cr_expect_eq(ready_events(&f, "q~dead"), 1);
    cr_expect(fixture_event(&f, EVENT_QUEUE, "q", NULL));
    expect_depths(&f, "q", 0);
    expect_depths(&f, "q~dead", .ready = 1);
    struct message_view letter = receive_only(&f, "q~dead");
    expect_text(letter.body, "\"b\"");
    expect_text(letter.attributes, "{\"a\":\"b\",\"dead_letter_reason\":\"say \\\"no\\\"\","
                                   "\"dead_letter_source\":\"q\"}");
    expect_text(letter.group, "g");
    cr_expect_eq(letter.priority, 8);
    cr_expect_eq(letter.attempt, 1);
    cr_expect_eq(letter.failures, 0);
    cr_expect_eq(letter.enqueued_at_ms, f.now.now_ms);
    cr_expect_eq(letter.expires_at_ms, f.now.now_ms + RETENTION_MS_DEFAULT);
    fixture_close(&f);
}

Test(messages, dead_letters_wander_along_the_chain_and_take_large_bodies_with_them)
{
    struct fixture f;
    fixture_open(&f);
    static char large[3000];
    memset(large, '1', sizeof large - 1);
    put_queue(&f, "q", (struct queue_config){.dead_letter = TEXT("q~2")});
    put_queue(&f, "q~2", (struct queue_config){.dead_letter = TEXT("q~3")});
    SEND(&f, "q", .body = large);
    reject(&f, "q", receive_one(&f, "q"), "first");
    reject(&f, "q~2", receive_one(&f, "q~2"), "second");
    struct message_view letter = receive_only(&f, "q~3");
    cr_expect_eq(letter.body.len, sizeof large - 1);
    expect_text(letter.attributes,
                "{\"dead_letter_reason\":\"second\",\"dead_letter_source\":\"q~2\"}");
    cr_expect_eq(ack(&f, "q~3", letter), OUTCOME_ACKED);
    fixture_close(&f);
}

Test(messages, a_lease_that_ran_out_for_the_last_time_leads_to_the_dead_letter_queue)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.max_attempts = 1, .dead_letter = TEXT("q~2")});
    SEND(&f, "q");
    receive_one(&f, "q");
    fixture_pass(&f, LEASE_MS);
    fixture_tick(&f);
    expect_depths(&f, "q~2", .ready = 1);
    expect_text(get_message(&f, "q~2", 1).message.attributes,
                "{\"dead_letter_reason\":\"max_attempts\",\"dead_letter_source\":\"q\"}");
    fixture_close(&f);
}

/* ---- settling several --------------------------------------------------------------------------------------------- */

Test(messages, one_settlement_may_do_all_kinds_at_once)
{
    struct fixture f;
    fixture_open(&f);
    send_count(&f, "q", 5, true);
    struct result got = receive(&f, "q", 4);
    struct settlement items[6] = {settlement_of(SETTLE_ACK, got.received.at[0]),
                                  settlement_of(SETTLE_NACK, got.received.at[1]),
                                  settlement_of(SETTLE_EXTEND, got.received.at[2]),
                                  settlement_of(SETTLE_REJECT, got.received.at[3]),
                                  settlement_of(SETTLE_ACK, got.received.at[0]),
                                  settlement_of(SETTLE_NACK, got.received.at[1])};
    struct result result = settle_many(&f, "q", items, 6, false);
    static const int64_t WANT[] = {OUTCOME_ACKED,    OUTCOME_NACKED,        OUTCOME_EXTENDED,
                                   OUTCOME_REJECTED, OUTCOME_ALREADY_ACKED, OUTCOME_LEASE_LOST};
    expect_status(result, STATUS_OK);
    for (size_t i = 0; i < 6; i++) {
        cr_expect_eq(result.outcomes.at[i], WANT[i], "item %zu", i);
    }
    expect_depths(&f, "q", .ready = 2, .leased = 1, .dead = 1);
    fixture_close(&f);
}

Test(messages, an_atomic_settlement_does_nothing_when_one_fails_and_says_what_would_have_been)
{
    struct fixture f;
    fixture_open(&f);
    send_count(&f, "q", 2, true);
    struct result got = receive(&f, "q", 2);
    struct message_view stale = got.received.at[1];
    stale.fence--;
    struct settlement items[] = {settlement_of(SETTLE_ACK, got.received.at[0]),
                                 settlement_of(SETTLE_ACK, stale)};
    struct result result = settle_many(&f, "q", items, 2, true);
    expect_status(result, STATUS_SETTLE_FAILED);
    cr_assert_eq(result.shape, SHAPE_OUTCOMES);
    cr_expect_eq(result.outcomes.at[0], OUTCOME_ACKED);
    cr_expect_eq(result.outcomes.at[1], OUTCOME_LEASE_LOST);
    cr_expect_not(fixture_event(&f, EVENT_QUEUE, "q", NULL));
    expect_depths(&f, "q", .leased = 2);
    items[1] = settlement_of(SETTLE_NACK, got.received.at[1]);
    expect_status(settle_many(&f, "q", items, 2, true), STATUS_OK);
    expect_depths(&f, "q", .ready = 1);
    fixture_close(&f);
}

Test(messages, an_ack_repeated_atomically_is_no_failure)
{
    struct fixture f;
    fixture_open(&f);
    SEND(&f, "q");
    struct settlement item = settlement_of(SETTLE_ACK, receive_one(&f, "q"));
    expect_status(settle_many(&f, "q", &item, 1, true), STATUS_OK);
    struct result again = settle_many(&f, "q", &item, 1, true);
    expect_status(again, STATUS_OK);
    cr_expect_eq(again.outcomes.at[0], OUTCOME_ALREADY_ACKED);
    fixture_close(&f);
}

Test(messages, acks_are_remembered_for_their_time_and_then_forgotten)
{
    struct fixture f;
    fixture_open(&f);
    send_count(&f, "q", 100, true);
    struct result got = receive(&f, "q", 100);
    for (size_t i = 0; i < 100; i++) {
        ack(&f, "q", got.received.at[i]);
    }
    fixture_pass(&f, ACK_MEMORY_MS - 1);
    fixture_tick(&f);
    for (size_t i = 0; i < 100; i++) {
        cr_expect_eq(ack(&f, "q", got.received.at[i]), OUTCOME_ALREADY_ACKED);
    }
    cr_expect_eq(machine_due(f.machine).wall_ms, f.now.now_ms + 1);
    fixture_pass(&f, 1);
    cr_expect_eq(ack(&f, "q", got.received.at[7]), OUTCOME_GONE);
    fixture_tick(&f);
    cr_expect_eq(machine_due(f.machine).wall_ms,
                 f.now.now_ms - ACK_MEMORY_MS + RETENTION_MS_DEFAULT);
    cr_expect_eq(ack(&f, "q", got.received.at[7]), OUTCOME_GONE);
    fixture_close(&f);
}

/* ---- expiry ------------------------------------------------------------------------------------------------------- */

Test(messages, an_expired_message_is_never_delivered_nor_shown)
{
    struct fixture f;
    fixture_open(&f);
    SEND(&f, "q", .ttl_ms = 10);
    SEND(&f, "q", .ttl_ms = 11);
    SEND(&f, "q", .ttl_ms = 10, .delay_ms = 5);
    fixture_pass(&f, 10);
    expect_status(get_message(&f, "q", 1), STATUS_MESSAGE_NOT_FOUND);
    cr_expect_eq(list_messages(&f, "q", MESSAGE_ANY, NULL, NULL, 9).messages.items.count, 1);
    expect_status(delete_message(&f, "q", 1, ABSENT), STATUS_MESSAGE_GONE);
    cr_expect_eq(receive_only(&f, "q").message, 2);
    expect_depths(&f, "q", .leased = 1);
    cr_expect_eq(machine_counters(f.machine).expired, 2);
    fixture_close(&f);
}

Test(messages, a_message_that_is_held_does_not_expire_until_it_is_put_back)
{
    struct fixture f;
    fixture_open(&f);
    SEND(&f, "q", .ttl_ms = 10);
    SEND(&f, "q", .ttl_ms = 10);
    struct message_view first = receive_one(&f, "q"), second = receive_one(&f, "q");
    fixture_pass(&f, 10);
    fixture_tick(&f);
    expect_depths(&f, "q", .leased = 2);
    cr_expect_eq(ack(&f, "q", first), OUTCOME_ACKED);
    cr_expect_eq(nack(&f, "q", second), OUTCOME_NACKED);
    expect_depths(&f, "q", 0);
    cr_expect_eq(machine_counters(f.machine).expired, 1);
    fixture_close(&f);
}

Test(messages, the_retention_ends_living_and_dead_alike_and_a_longer_ttl_does_not_help)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.retention_ms = 100});
    make_dead(&f, "q", (struct send){0});
    SEND(&f, "q", .ttl_ms = HOUR_MS);
    fixture_pass(&f, 99);
    fixture_tick(&f);
    expect_depths(&f, "q", .ready = 1, .dead = 1);
    cr_expect_eq(machine_due(f.machine).wall_ms, f.now.now_ms + 1);
    fixture_pass(&f, 1);
    expect_status(get_message(&f, "q", 1), STATUS_MESSAGE_NOT_FOUND);
    cr_expect_eq(redrive(&f, "q", ABSENT).count, 0);
    fixture_tick(&f);
    expect_depths(&f, "q", 0);
    cr_expect_eq(machine_due(f.machine).wall_ms, INT64_MAX);
    fixture_close(&f);
}

Test(messages, a_ttl_is_over_for_the_dead)
{
    struct fixture f;
    fixture_open(&f);
    make_dead(&f, "q", (struct send){.ttl_ms = 10});
    fixture_pass(&f, 10);
    fixture_tick(&f);
    expect_depths(&f, "q", .dead = 1);
    cr_expect_eq(redrive(&f, "q", ABSENT).count, 1);
    cr_expect_eq(receive_only(&f, "q").message, 1);
    fixture_close(&f);
}

Test(messages, a_shorter_retention_holds_for_what_was_sent_before)
{
    struct fixture f;
    fixture_open(&f);
    send_count(&f, "q", 3, true);
    fixture_pass(&f, 50);
    struct queue_config shorter = no_change();
    shorter.retention_ms = 20;
    patch_queue(&f, "q", shorter);
    cr_expect_eq(receive(&f, "q", 9).received.count, 0);
    fixture_tick(&f);
    expect_depths(&f, "q", 0);
    fixture_close(&f);
}

Test(messages, retention_steps_over_what_is_held_at_the_head_of_the_queue)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.retention_ms = 100});
    send_count(&f, "q", 2, true);
    struct message_view head = receive_one(&f, "q");
    fixture_pass(&f, 100);
    fixture_tick(&f);
    expect_depths(&f, "q", .leased = 1);
    cr_expect_eq(machine_due(f.machine).wall_ms, INT64_MAX);
    cr_expect_eq(ack(&f, "q", head), OUTCOME_ACKED);
    fixture_close(&f);
}

/* ---- the list ----------------------------------------------------------------------------------------------------- */

Test(messages, the_list_filters_by_state_and_group_and_goes_in_pages)
{
    struct fixture f;
    fixture_open(&f);
    make_dead(&f, "q", (struct send){.group = "g"});
    SEND(&f, "q", .group = "g");
    receive_one(&f, "q");
    SEND(&f, "q", .group = "g");
    SEND(&f, "q", .delay_ms = 10);
    SEND(&f, "q");
    static const struct {
        enum message_filter state;
        const char *group;
        size_t count;
        int64_t first;
    } CASES[] = {
        {MESSAGE_ANY, NULL, 5, 2},    {MESSAGE_READY, NULL, 2, 3}, {MESSAGE_DELAYED, NULL, 1, 4},
        {MESSAGE_LEASED, NULL, 1, 2}, {MESSAGE_DEAD, NULL, 1, 1},  {MESSAGE_ANY, "g", 3, 2},
        {MESSAGE_READY, "g", 1, 3},   {MESSAGE_DEAD, "g", 1, 1},   {MESSAGE_ANY, "h", 0, 0}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct result r = list_messages(&f, "q", CASES[i].state, CASES[i].group, NULL, 9);
        cr_assert_eq(r.messages.items.count, CASES[i].count, "case %zu", i);
        cr_expect(CASES[i].count == 0 || r.messages.items.at[0].message == CASES[i].first,
                  "case %zu", i);
        cr_expect_not(text_given(r.messages.next));
    }
    struct result first = list_messages(&f, "q", MESSAGE_ANY, NULL, NULL, 4);
    cr_assert_eq(first.messages.items.count, 4);
    cr_assert(text_given(first.messages.next));
    struct result second = list_messages(&f, "q", MESSAGE_ANY, NULL, first.messages.next.at, 4);
    cr_assert_eq(second.messages.items.count, 1);
    cr_expect_eq(second.messages.items.at[0].message, 1, "the dead come last");
    expect_depths(&f, "q", .ready = 2, .delayed = 1, .leased = 1, .dead = 1);
    fixture_close(&f);
}

Test(messages, a_cursor_that_is_none_is_refused)
{
    struct fixture f;
    fixture_open(&f);
    SEND(&f, "q");
    expect_status(list_messages(&f, "q", MESSAGE_ANY, NULL, "12a", 9), STATUS_INVALID_CURSOR);
    expect_status(list_messages(&f, "q", MESSAGE_ANY, NULL, "", 9), STATUS_INVALID_CURSOR);
    expect_status(list_messages(&f, "q", MESSAGE_ANY, NULL, "99999999999999", 9),
                  STATUS_INVALID_CURSOR);
    fixture_close(&f);
}

Test(messages, a_page_ends_early_rather_than_look_at_too_many_rows)
{
    struct fixture f;
    fixture_open(&f);
    for (int i = 0; i < LIST_ROWS_MAX / 1000; i++) {
        send_count(&f, "q", 1000, true);
    }
    SEND(&f, "q", .delay_ms = 10);
    struct result first = list_messages(&f, "q", MESSAGE_DELAYED, NULL, NULL, 9);
    cr_expect_eq(first.messages.items.count, 0);
    cr_assert(text_given(first.messages.next));
    struct result second = list_messages(&f, "q", MESSAGE_DELAYED, NULL, first.messages.next.at, 9);
    cr_expect_eq(second.messages.items.count, 1);
    cr_expect_not(text_given(second.messages.next));
    fixture_close(&f);
}

Test(messages, a_send_that_is_refused_leaves_the_version_as_it_was)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.max_depth = 1, .rate_per_s = 10, .rate_burst = 10});
    SEND(&f, "q");
    int64_t version = get_queue(&f, "q").queue.version;
    struct result sent = send_count(&f, "q", 1, false);
    cr_assert_eq(sent.status, STATUS_CREATED);
    cr_expect_eq(sent.sent.at[0].status, STATUS_QUEUE_FULL);
    cr_expect_eq(get_queue(&f, "q").queue.version, version);
    fixture_close(&f);
}

Test(messages, one_whose_lease_and_ttl_have_both_run_out_takes_no_room)
{
    struct fixture f;
    fixture_open(&f);
    put_queue(&f, "q", (struct queue_config){.max_depth = 1});
    SEND(&f, "q", .ttl_ms = SECOND_MS);
    fixture_tick(&f);
    receive_one(&f, "q");
    fixture_pass(&f, SECOND_MS);
    fixture_tick(&f);
    fixture_pass(&f, LEASE_MS - SECOND_MS);
    expect_status(send_count(&f, "q", 1, true), STATUS_CREATED);
    fixture_close(&f);
}
