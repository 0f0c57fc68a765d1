/* Queues and messages over HTTP: what the routes read, what they answer, waiting, and work in several commands. */
#include "tests/unit/client.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define NONE ((char *)NULL)

/* `template` with its one $ replaced. */
static const char *format(struct fixture *f, const char *template, const char *value)
{
    const char *mark = strchr(template, '$');
    return arena_format(&f->arena, "%.*s%s%s", (int)(mark - template), template, value, mark + 1)
        .at;
}

static struct reply send(struct fixture *f, const char *messages)
{
    return client_ask(f, "POST /v1/queues/q/messages", format(f, "{\"messages\":[$]}", messages),
                      NONE);
}

static struct reply receive(struct fixture *f, const char *body)
{
    return client_ask(f, "POST /v1/queues/q/receive", body, NONE);
}

static struct reply settle(struct fixture *f, const char *body, const char *receipt)
{
    return client_ask(f, "POST /v1/queues/q/settle", format(f, body, receipt), NONE);
}

/* Sends one message and receives it; its receipt. */
static const char *deliver(struct fixture *f)
{
    send(f, "{\"body\":1}");
    return reply_string(f, receive(f, NULL), "messages.0.receipt");
}

/* ---- queues ------------------------------------------------------------------------------------------------------- */

Test(queue_routes, putting_one_answers_all_its_members)
{
    struct fixture f;
    fixture_open(&f);
    struct reply made = client_ask(&f, "PUT /v1/queues/q", NULL, NONE);
    cr_expect_eq(made.status, 201);
    cr_expect_str_eq(reply_header(&f, made, "Location"), "/v1/queues/q");
    static const char *const MEMBERS[][2] = {{"name", "\"q\""},
                                             {"created_at", "\"1970-01-01T00:16:40.000Z\""},
                                             {"lease_ms", "30000"},
                                             {"max_attempts", "16"},
                                             {"retention_ms", "1209600000"},
                                             {"delay_ms", "0"},
                                             {"dedup_window_ms", "300000"},
                                             {"max_depth", NULL},
                                             {"backoff.base_ms", "0"},
                                             {"backoff.factor", "2"},
                                             {"backoff.max_ms", "3600000"},
                                             {"rate", NULL},
                                             {"group_concurrency", "1"},
                                             {"dead_letter", NULL},
                                             {"paused", "false"},
                                             {"shards", "1"},
                                             {"routing", "\"hash\""},
                                             {"ready", "0"},
                                             {"delayed", "0"},
                                             {"leased", "0"},
                                             {"dead", "0"},
                                             {"oldest_age_ms", "0"}};
    for (size_t i = 0; i < sizeof MEMBERS / sizeof MEMBERS[0]; i++) {
        expect_member(&f, made, MEMBERS[i][0], MEMBERS[i][1]);
    }
    struct reply again =
        client_ask(&f, "PUT /v1/queues/q",
                   "{\"max_depth\":7,\"rate\":{\"per_s\":5},\"backoff\":{\"factor\":1.125},"
                   "\"dead_letter\":\"q~dead\",\"paused\":true}",
                   NONE);
    cr_expect_eq(again.status, 200);
    cr_expect_null(reply_header(&f, again, "Location"));
    expect_member(&f, again, "max_depth", "7");
    expect_member(&f, again, "rate.burst", "5");
    expect_member(&f, again, "backoff.factor", "1.125");
    expect_member(&f, again, "dead_letter", "\"q~dead\"");
    expect_member(&f, again, "paused", "true");
    cr_expect_str_eq(reply_header(&f, again, "ETag"),
                     format(&f, "\"$\"", reply_member(&f, again, "version")));
    fixture_close(&f);
}

Test(queue_routes, a_patch_merges_and_null_puts_defaults_back)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/queues/q",
               "{\"lease_ms\":5,\"max_depth\":7,\"rate\":{\"per_s\":5,\"burst\":9},"
               "\"backoff\":{\"base_ms\":3,\"max_ms\":4},\"paused\":true,\"dead_letter\":\"q~d\"}",
               NONE);
    struct reply merged =
        client_ask(&f, "PATCH /v1/queues/q",
                   "{\"rate\":{\"per_s\":6},\"backoff\":{\"base_ms\":null,\"factor\":3}}", NONE);
    cr_expect_eq(merged.status, 200);
    expect_member(&f, merged, "lease_ms", "5");
    expect_member(&f, merged, "rate.per_s", "6");
    expect_member(&f, merged, "rate.burst", "9");
    expect_member(&f, merged, "backoff.base_ms", "0");
    expect_member(&f, merged, "backoff.factor", "3");
    expect_member(&f, merged, "backoff.max_ms", "4");
    expect_member(&f, merged, "paused", "true");
    expect_member(&f, merged, "dead_letter", "\"q~d\"");
    struct reply one = client_ask(&f, "PATCH /v1/queues/q", "{\"rate\":{\"burst\":null}}", NONE);
    expect_member(&f, one, "rate.burst", "6");
    struct reply back = client_ask(&f, "PATCH /v1/queues/q",
                                   "{\"lease_ms\":null,\"max_depth\":null,\"rate\":null,"
                                   "\"backoff\":null,\"paused\":null,\"dead_letter\":null}",
                                   NONE);
    expect_member(&f, back, "lease_ms", "30000");
    expect_member(&f, back, "max_depth", NULL);
    expect_member(&f, back, "rate", NULL);
    expect_member(&f, back, "backoff.max_ms", "3600000");
    expect_member(&f, back, "paused", "false");
    expect_member(&f, back, "dead_letter", NULL);
    struct reply burst = client_ask(&f, "PATCH /v1/queues/q", "{\"rate\":{\"burst\":5}}", NONE);
    expect_problem(&f, burst, STATUS_MISSING_FIELD);
    expect_member(&f, burst, "field", "\"rate.per_s\"");
    fixture_close(&f);
}

Test(queue_routes, each_wrong_field_is_refused_by_name)
{
    static const struct {
        const char *line, *body;
        enum status status;
        const char *field;
    } WRONG[] = {
        {"PUT /v1/queues/q", "{\"lease_ms\":0}", STATUS_INVALID_FIELD, "lease_ms"},
        {"PUT /v1/queues/q", "{\"lease_ms\":null}", STATUS_INVALID_FIELD, "lease_ms"},
        {"PUT /v1/queues/q", "{\"retention_ms\":0}", STATUS_INVALID_FIELD, "retention_ms"},
        {"PUT /v1/queues/q", "{\"max_depth\":0}", STATUS_INVALID_FIELD, "max_depth"},
        {"PUT /v1/queues/q", "{\"backoff\":{\"factor\":0.5}}", STATUS_INVALID_FIELD,
         "backoff.factor"},
        {"PUT /v1/queues/q", "{\"backoff\":1}", STATUS_INVALID_FIELD, "backoff"},
        {"PUT /v1/queues/q", "{\"rate\":{}}", STATUS_MISSING_FIELD, "rate.per_s"},
        {"PUT /v1/queues/q", "{\"rate\":{\"per_s\":1,\"x\":1}}", STATUS_UNKNOWN_FIELD, "rate.x"},
        {"PUT /v1/queues/q", "{\"paused\":1}", STATUS_INVALID_FIELD, "paused"},
        {"PUT /v1/queues/q", "{\"dead_letter\":\"\"}", STATUS_INVALID_NAME, "dead_letter"},
        {"PUT /v1/queues/q", "{\"dead_letter\":\"r\"}", STATUS_CROSS_PARTITION, "dead_letter"},
        {"PUT /v1/queues/q", "{\"dead_letter\":\"q\"}", STATUS_INVALID_DEAD_LETTER, "dead_letter"},
        {"PUT /v1/queues/q", "{\"ready\":1}", STATUS_UNKNOWN_FIELD, "ready"},
        {"DELETE /v1/queues/q?if_empty=yes", NULL, STATUS_INVALID_PARAMETER, "if_empty"},
        {"GET /v1/queues?prefix=a%20", NULL, STATUS_INVALID_PARAMETER, "prefix"},
        {"POST /v1/queues/q/purge", "{\"state\":\"old\"}", STATUS_INVALID_FIELD, "state"},
        {"POST /v1/queues/q/redrive", "{\"max\":0}", STATUS_INVALID_FIELD, "max"},
        {"POST /v1/queues/q/redrive", "{\"ids\":[1]}", STATUS_INVALID_FIELD, "ids"},
        {"POST /v1/queues/q/redrive", "{\"ids\":[]}", STATUS_INVALID_FIELD, "ids"},
        {"POST /v1/queues/q/messages", "{}", STATUS_MISSING_FIELD, "messages"},
        {"POST /v1/queues/q/messages", "{\"messages\":[]}", STATUS_INVALID_FIELD, "messages"},
        {"POST /v1/queues/q/messages", "{\"messages\":[1]}", STATUS_INVALID_FIELD, "messages[0]"},
        {"POST /v1/queues/q/messages", "{\"messages\":[{\"body\":1},{}]}", STATUS_MISSING_FIELD,
         "messages[1].body"},
        {"POST /v1/queues/q/messages", "{\"messages\":[{\"body\":1,\"priority\":10}]}",
         STATUS_INVALID_FIELD, "messages[0].priority"},
        {"POST /v1/queues/q/messages", "{\"messages\":[{\"body\":1,\"group\":\"\"}]}",
         STATUS_INVALID_FIELD, "messages[0].group"},
        {"POST /v1/queues/q/messages", "{\"messages\":[{\"body\":1,\"attributes\":[]}]}",
         STATUS_INVALID_FIELD, "messages[0].attributes"},
        {"POST /v1/queues/q/messages", "{\"messages\":[{\"body\":1,\"group\":\"a\\u0000\"}]}",
         STATUS_INVALID_FIELD, "messages[0].group"},
        {"POST /v1/queues/q/messages", "{\"messages\":[{\"body\":1,\"attributes\":{\"\":\"\"}}]}",
         STATUS_INVALID_FIELD, "messages[0].attributes"},
        {"POST /v1/queues/q/messages",
         "{\"messages\":[{\"body\":1,\"delay_ms\":1,\"deliver_at\":\"1970-01-01T00:00:00Z\"}]}",
         STATUS_INVALID_FIELD, "messages[0].deliver_at"},
        {"POST /v1/queues/q/messages",
         "{\"messages\":[{\"body\":1,\"deliver_at\":\"1970-04-02T00:00:00Z\"}]}",
         STATUS_INVALID_FIELD, "messages[0].deliver_at"},
        {"POST /v1/queues/q/receive", "{\"max\":1001}", STATUS_INVALID_FIELD, "max"},
        {"POST /v1/queues/q/receive", "{\"wait_ms\":60001}", STATUS_INVALID_FIELD, "wait_ms"},
        {"POST /v1/queues/q/settle", "{\"acks\":[1]}", STATUS_INVALID_FIELD, "acks[0]"},
        {"POST /v1/queues/q/settle", "{\"acks\":[\"x\"]}", STATUS_INVALID_FIELD, "acks[0]"},
        {"POST /v1/queues/q/settle", "{\"nacks\":[{}]}", STATUS_MISSING_FIELD, "nacks[0].receipt"},
        {"POST /v1/queues/q/settle", "{\"rejects\":[{\"receipt\":\"x\"}]}", STATUS_INVALID_FIELD,
         "rejects[0].receipt"},
        {"GET /v1/queues/q/messages?state=any", NULL, STATUS_INVALID_PARAMETER, "state"},
        {"GET /v1/queues/q/messages?group=", NULL, STATUS_INVALID_PARAMETER, "group"},
    };
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/queues/q", NULL, NONE);
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        struct reply refused = client_ask(&f, WRONG[i].line, WRONG[i].body, NONE);
        expect_problem(&f, refused, WRONG[i].status);
        expect_member(&f, refused, "field", format(&f, "\"$\"", WRONG[i].field));
    }
    expect_member(&f, client_ask(&f, "GET /v1/queues/q", NULL, NONE), "ready", "0");
    fixture_close(&f);
}

Test(queue_routes, a_get_waits_for_the_next_version)
{
    struct fixture f;
    fixture_open(&f);
    struct reply made = client_ask(&f, "PUT /v1/queues/q", NULL, NONE);
    const char *known = format(&f, "If-None-Match: $", reply_header(&f, made, "ETag"));
    struct reply parked = client_ask(&f, "GET /v1/queues/q?wait_ms=1000", NULL, known, NONE);
    cr_assert_eq(parked.status, 0);
    cr_expect_eq(parked.x->topic.kind, EVENT_QUEUE);
    send(&f, "{\"body\":1}");
    struct reply woken = client_wake(&f, parked, WAKE_EVENT);
    cr_expect_eq(woken.status, 200);
    expect_member(&f, woken, "ready", "1");
    fixture_close(&f);
}

Test(queue_routes, the_list_goes_in_pages)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/queues/a~1", NULL, NONE);
    client_ask(&f, "PUT /v1/queues/a~2", NULL, NONE);
    client_ask(&f, "PUT /v1/queues/b", NULL, NONE);
    struct reply first = client_ask(&f, "GET /v1/queues?prefix=a&limit=1", NULL, NONE);
    expect_member(&f, first, "items.0.name", "\"a~1\"");
    const char *cursor = reply_string(&f, first, "next_cursor");
    struct reply second =
        client_ask(&f, format(&f, "GET /v1/queues?prefix=a&limit=1&cursor=$", cursor), NULL, NONE);
    expect_member(&f, second, "items.0.name", "\"a~2\"");
    expect_member(&f, second, "next_cursor", NULL);
    fixture_close(&f);
}

Test(queue_routes, a_delete_says_nothing_however_often)
{
    struct fixture f;
    fixture_open(&f);
    send(&f, "{\"body\":1}");
    expect_problem(&f, client_ask(&f, "DELETE /v1/queues/q?if_empty=true", NULL, NONE),
                   STATUS_QUEUE_NOT_EMPTY);
    cr_expect_eq(client_ask(&f, "DELETE /v1/queues/q", NULL, NONE).status, 204);
    cr_expect_eq(client_ask(&f, "DELETE /v1/queues/q?if_empty=false", NULL, NONE).status, 204);
    fixture_close(&f);
}

/* ---- work in several commands ------------------------------------------------------------------------------------- */

/* Fills queue q with as many messages. */
static void fill(struct fixture *f, int64_t count)
{
    struct message_new *messages = arena_zalloc(&f->arena, 1000, sizeof *messages);
    for (size_t i = 0; i < 1000; i++) {
        messages[i] = (struct message_new){
            .body = TEXT("1"), .delay_ms = ABSENT, .deliver_at_ms = ABSENT, .ttl_ms = ABSENT};
    }
    for (int64_t left = count; left > 0; left -= 1000) {
        fixture_do(f, (struct command){
                          .kind = COMMAND_MESSAGE_SEND,
                          .message_send = {
                              TEXT("q"), {messages, left < 1000 ? (size_t)left : 1000}, true}});
    }
}

Test(queue_routes, a_purge_of_one_state_goes_in_steps_and_answers_their_sum)
{
    struct fixture f;
    fixture_open(&f);
    fill(&f, QUEUE_STEPS_MAX + 500);
    struct reply purged = client_ask(&f, "POST /v1/queues/q/purge", "{\"state\":\"ready\"}", NONE);
    cr_expect_eq(purged.status, 200);
    expect_member(&f, purged, "purged", "10500");
    expect_member(&f, client_ask(&f, "POST /v1/queues/q/purge", NULL, NONE), "purged", "0");
    fixture_close(&f);
}

Test(queue_routes, a_purge_that_must_be_one_command_is_one)
{
    struct fixture f;
    fixture_open(&f);
    fill(&f, QUEUE_STEPS_MAX + 1);
    struct reply purged = client_ask(&f, "POST /v1/queues/q/purge", "{\"state\":\"ready\"}",
                                     "Idempotency-Key: k", NONE);
    expect_member(&f, purged, "purged", "10001");
    struct reply again = client_ask(&f, "POST /v1/queues/q/purge", "{\"state\":\"ready\"}",
                                    "Idempotency-Key: k", NONE);
    expect_member(&f, again, "purged", "10001");
    fill(&f, QUEUE_STEPS_MAX + 2);
    struct reply transaction =
        client_ask(&f, "POST /v1/transactions",
                   "{\"operations\":[{\"method\":\"POST\",\"path\":\"/v1/queues/q/purge\","
                   "\"body\":{\"state\":\"ready\"}}]}",
                   NONE);
    expect_member(&f, transaction, "results.0.body.purged", "10002");
    fixture_close(&f);
}

Test(queue_routes, a_redrive_goes_in_steps_up_to_what_it_may)
{
    struct fixture f;
    fixture_open(&f);
    fill(&f, QUEUE_STEPS_MAX + 500);
    client_ask(&f, "PATCH /v1/queues/q", "{\"max_attempts\":1}", NONE);
    for (int i = 0; i < 11; i++) {
        receive(&f, "{\"max\":1000,\"lease_ms\":1}");
    }
    fixture_pass(&f, 1);
    fixture_tick(&f);
    expect_member(&f, client_ask(&f, "GET /v1/queues/q", NULL, NONE), "dead", "10500");
    struct reply some = client_ask(&f, "POST /v1/queues/q/redrive", "{\"max\":10001}", NONE);
    expect_member(&f, some, "redriven", "10001");
    struct reply rest = client_ask(&f, "POST /v1/queues/q/redrive", NULL, NONE);
    expect_member(&f, rest, "redriven", "499");
    fixture_close(&f);
}

Test(queue_routes, a_redrive_passes_over_ids_of_no_dead_message)
{
    struct fixture f;
    fixture_open(&f);
    const char *receipt = deliver(&f);
    settle(&f, "{\"rejects\":[{\"receipt\":\"$\"}]}", receipt);
    struct reply redriven =
        client_ask(&f, "POST /v1/queues/q/redrive", "{\"ids\":[\"x\",\"01\",\"7\",\"1\"]}", NONE);
    expect_member(&f, redriven, "redriven", "1");
    fixture_close(&f);
}

/* ---- messages ----------------------------------------------------------------------------------------------------- */

Test(message_routes, a_receive_prefers_to_wait_as_a_get_does)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/queues/q", NULL, NONE);
    struct reply parked = client_ask(&f, "POST /v1/queues/q/receive", NULL, "Prefer: wait=2", NONE);
    cr_assert_eq(parked.status, 0);
    cr_expect_eq(parked.x->waits_until, f.now.lease_now_ms + 2000);
    fixture_close(&f);
}

Test(message_routes, a_message_without_a_group_says_so)
{
    struct fixture f;
    fixture_open(&f);
    send(&f, "{\"body\":1}");
    expect_member(&f, receive(&f, NULL), "messages.0.group", "null");
    fixture_close(&f);
}

Test(message_routes, what_is_sent_is_what_is_received)
{
    struct fixture f;
    fixture_open(&f);
    struct reply sent = send(&f, "{\"body\": {\"n\": 1.50} ,\"attributes\":{\"a\":\"b\"},"
                                 "\"priority\":3,\"group\":\"g\",\"ttl_ms\":60000}");
    cr_expect_eq(sent.status, 201);
    expect_member(&f, sent, "messages.0.id", "\"1\"");
    expect_member(&f, sent, "messages.0.deduplicated", "false");
    struct reply got = receive(&f, "{\"consumer\":\"c\",\"lease_ms\":5000}");
    cr_expect_eq(got.status, 200);
    expect_member(&f, got, "messages.0.id", "\"1\"");
    cr_expect_not_null(strstr(got.x->response.body.at, "\"body\":{\"n\":1.50}"));
    expect_member(&f, got, "messages.0.attributes.a", "\"b\"");
    expect_member(&f, got, "messages.0.group", "\"g\"");
    expect_member(&f, got, "messages.0.priority", "3");
    expect_member(&f, got, "messages.0.fence", "1");
    expect_member(&f, got, "messages.0.attempt", "1");
    expect_member(&f, got, "messages.0.failures", "0");
    expect_member(&f, got, "messages.0.enqueued_at", "\"1970-01-01T00:16:40.000Z\"");
    expect_member(&f, got, "messages.0.lease_expires_in_ms", "5000");
    fixture_pass(&f, 1000);
    struct reply read = client_ask(&f, "GET /v1/queues/q/messages/1", NULL, NONE);
    expect_member(&f, read, "state", "\"leased\"");
    expect_member(&f, read, "consumer", "\"c\"");
    expect_member(&f, read, "lease_expires_in_ms", "4000");
    expect_member(&f, read, "expires_at", "\"1970-01-01T00:17:40.000Z\"");
    expect_member(&f, read, "receipt", NULL);
    fixture_close(&f);
}

Test(message_routes, a_large_body_is_stored_compressed_and_answered_whole)
{
    struct fixture f;
    fixture_open(&f);
    char *fill_with = arena_alloc(&f.arena, 20001);
    memset(fill_with, 'x', 20000);
    fill_with[20000] = '\0';
    send(&f, format(&f, "{\"body\":\"$\"}", fill_with));
    struct result stored = fixture_read(
        &f, (struct command){.kind = COMMAND_MESSAGE_GET, .message_get = {TEXT("q"), 1}});
    cr_expect_eq(stored.message.body_bytes, 20002);
    cr_expect_lt(stored.message.body.len, 200);
    cr_expect_str_eq(reply_string(&f, receive(&f, NULL), "messages.0.body"), fill_with);
    cr_expect_str_eq(
        reply_string(&f, client_ask(&f, "GET /v1/queues/q/messages", NULL, NONE), "items.0.body"),
        fill_with);
    fixture_close(&f);
}

Test(message_routes, a_send_that_is_not_atomic_tells_the_refused_apart)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/queues/q", "{\"max_depth\":1}", NONE);
    struct reply sent =
        client_ask(&f, "POST /v1/queues/q/messages",
                   "{\"messages\":[{\"body\":1},{\"body\":2}],\"atomic\":false}", NONE);
    cr_expect_eq(sent.status, 201);
    expect_member(&f, sent, "messages.0.id", "\"1\"");
    expect_member(&f, sent, "messages.1.id", NULL);
    expect_member(&f, sent, "messages.1.code", "\"queue-full\"");
    cr_expect_not_null(reply_string(&f, sent, "messages.1.detail"));
    struct reply full = send(&f, "{\"body\":3}");
    expect_problem(&f, full, STATUS_QUEUE_FULL);
    cr_expect_str_eq(reply_header(&f, full, "Retry-After"), "1");
    fixture_close(&f);
}

Test(message_routes, past_the_rate_a_send_is_told_when_to_come_again)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/queues/q", "{\"rate\":{\"per_s\":1,\"burst\":3}}", NONE);
    send(&f, "{\"body\":1},{\"body\":1},{\"body\":1}");
    struct reply refused = send(&f, "{\"body\":1},{\"body\":1},{\"body\":1}");
    expect_problem(&f, refused, STATUS_RATE_LIMITED);
    cr_expect_str_eq(reply_header(&f, refused, "Retry-After"), "3");
    struct reply never = send(&f, "{\"body\":1},{\"body\":1},{\"body\":1},{\"body\":1}");
    expect_problem(&f, never, STATUS_RATE_LIMITED);
    cr_expect_not_null(strstr(reply_string(&f, never, "detail"), "burst"));
    fixture_close(&f);
}

Test(message_routes, a_receive_parks_until_a_message_is_there)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/queues/q", NULL, NONE);
    struct reply parked = receive(&f, "{\"wait_ms\":1000}");
    cr_assert_eq(parked.status, 0);
    cr_expect_eq(parked.x->topic.kind, EVENT_READY);
    cr_expect_eq(parked.x->waits_until, f.now.lease_now_ms + 1000);
    struct reply still = client_wake(&f, parked, WAKE_EVENT);
    cr_assert_eq(still.status, 0, "somebody else was quicker");
    send(&f, "{\"body\":1}");
    struct reply woken = client_wake(&f, still, WAKE_EVENT);
    cr_expect_eq(woken.status, 200);
    expect_member(&f, woken, "messages.0.id", "\"1\"");
    fixture_close(&f);
}

Test(message_routes, a_receive_whose_wait_ends_answers_an_empty_list_and_takes_nothing)
{
    static const enum wake WHY[] = {WAKE_TIME_OVER, WAKE_HUNG_UP, WAKE_DRAINING};
    for (size_t i = 0; i < 3; i++) {
        struct fixture f;
        fixture_open(&f);
        client_ask(&f, "PUT /v1/queues/q", NULL, NONE);
        struct reply parked = receive(&f, "{\"wait_ms\":1000}");
        send(&f, "{\"body\":1}");
        struct reply ended = client_wake(&f, parked, WHY[i]);
        cr_expect_eq(ended.status, 200);
        cr_expect_str_eq(reply_member(&f, ended, "messages"), "[]");
        expect_member(&f, client_ask(&f, "GET /v1/queues/q", NULL, NONE), "ready", "1");
        fixture_close(&f);
    }
}

Test(message_routes, a_receive_that_waits_learns_that_its_queue_is_deleted)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/queues/q", NULL, NONE);
    struct reply parked = receive(&f, "{\"wait_ms\":1000}");
    client_ask(&f, "DELETE /v1/queues/q", NULL, NONE);
    cr_expect(fixture_event(&f, EVENT_READY, "q", NULL));
    expect_problem(&f, client_wake(&f, parked, WAKE_EVENT), STATUS_QUEUE_NOT_FOUND);
    fixture_close(&f);
}

Test(message_routes, settling_answers_each_receipt_with_its_outcome_in_order)
{
    struct fixture f;
    fixture_open(&f);
    const char *receipt = deliver(&f);
    struct reply nacked = settle(
        &f, "{\"nacks\":[{\"receipt\":\"$\",\"delay_ms\":50,\"reason\":\"busy\"}]}", receipt);
    expect_member(&f, nacked, "results.0.outcome", "\"nacked\"");
    cr_expect_str_eq(reply_string(&f, nacked, "results.0.receipt"), receipt);
    struct reply read = client_ask(&f, "GET /v1/queues/q/messages/1", NULL, NONE);
    expect_member(&f, read, "state", "\"delayed\"");
    expect_member(&f, read, "deliver_at", "\"1970-01-01T00:16:40.050Z\"");
    expect_member(&f, read, "reason", "\"busy\"");
    expect_member(&f, settle(&f, "{\"acks\":[\"$\"]}", receipt), "results.0.outcome",
                  "\"lease_lost\"");
    struct reply failed = settle(&f, "{\"acks\":[\"$\"],\"atomic\":true}", receipt);
    expect_problem(&f, failed, STATUS_SETTLE_FAILED);
    expect_member(&f, failed, "results.0.outcome", "\"lease_lost\"");
    struct reply nothing = client_ask(&f, "POST /v1/queues/q/settle", NULL, NONE);
    cr_expect_str_eq(reply_member(&f, nothing, "results"), "[]");
    fixture_close(&f);
}

Test(message_routes, more_receipts_than_one_request_may_bring_are_refused)
{
    struct fixture f;
    fixture_open(&f);
    const char *receipt = deliver(&f);
    char *list = arena_alloc(&f.arena, 1001 * 50);
    size_t len = 0;
    for (int i = 0; i < 1001; i++) {
        len += (size_t)sprintf(list + len, "%s\"%s\"", i == 0 || i == 600 ? "" : ",", receipt);
        len += i == 599 ? (size_t)sprintf(list + len, "],\"nacks\":[") : 0;
    }
    expect_problem(&f, settle(&f, "{\"acks\":[$]}", list), STATUS_INVALID_FIELD);
    expect_member(&f, client_ask(&f, "GET /v1/queues/q", NULL, NONE), "leased", "1");
    fixture_close(&f);
}

Test(message_routes, deleting_with_the_receipt_acks_and_without_cancels)
{
    struct fixture f;
    fixture_open(&f);
    const char *receipt = deliver(&f);
    const char *header = format(&f, "Receipt: $", receipt);
    send(&f, "{\"body\":2}");
    expect_problem(&f, client_ask(&f, "DELETE /v1/queues/q/messages/1", NULL, NONE),
                   STATUS_MESSAGE_LEASED);
    struct reply other = client_ask(&f, "DELETE /v1/queues/q/messages/2", NULL, header, NONE);
    expect_problem(&f, other, STATUS_INVALID_HEADER);
    expect_member(&f, other, "field", "\"Receipt\"");
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(client_ask(&f, "DELETE /v1/queues/q/messages/1", NULL, header, NONE).status,
                     204);
    }
    cr_expect_eq(client_ask(&f, "DELETE /v1/queues/q/messages/2", NULL, NONE).status, 204);
    expect_problem(&f, client_ask(&f, "DELETE /v1/queues/q/messages/2", NULL, NONE),
                   STATUS_MESSAGE_GONE);
    expect_problem(&f, client_ask(&f, "DELETE /v1/queues/q/messages/3", NULL, NONE),
                   STATUS_MESSAGE_NOT_FOUND);
    expect_problem(&f, client_ask(&f, "DELETE /v1/queues/q/messages/x", NULL, header, NONE),
                   STATUS_MESSAGE_NOT_FOUND);
    fixture_close(&f);
}

Test(message_routes, a_receipt_of_another_queue_is_no_receipt)
{
    struct fixture f;
    fixture_open(&f);
    const char *receipt = deliver(&f);
    client_ask(&f, "PUT /v1/queues/r", NULL, NONE);
    struct reply refused =
        client_ask(&f, "POST /v1/queues/r/settle", format(&f, "{\"acks\":[\"$\"]}", receipt), NONE);
    expect_problem(&f, refused, STATUS_INVALID_FIELD);
    fixture_close(&f);
}

Test(message_routes, the_list_filters_and_goes_in_pages)
{
    struct fixture f;
    fixture_open(&f);
    send(&f, "{\"body\":1},{\"body\":2,\"group\":\"a b\"},{\"body\":3,\"delay_ms\":5}");
    struct reply group = client_ask(&f, "GET /v1/queues/q/messages?group=a%20b", NULL, NONE);
    expect_member(&f, group, "items.0.body", "2");
    expect_member(&f, group, "items.1", NULL);
    struct reply delayed = client_ask(&f, "GET /v1/queues/q/messages?state=delayed", NULL, NONE);
    expect_member(&f, delayed, "items.0.body", "3");
    struct reply first = client_ask(&f, "GET /v1/queues/q/messages?limit=2", NULL, NONE);
    const char *cursor = reply_string(&f, first, "next_cursor");
    struct reply second = client_ask(
        &f, format(&f, "GET /v1/queues/q/messages?limit=2&cursor=$", cursor), NULL, NONE);
    expect_member(&f, second, "items.0.body", "3");
    expect_member(&f, second, "next_cursor", NULL);
    struct text wrong = client_cursor(&f, "/v1/queues/q/messages", TEXT("no key"));
    expect_problem(
        &f, client_ask(&f, format(&f, "GET /v1/queues/q/messages?cursor=$", wrong.at), NULL, NONE),
        STATUS_INVALID_CURSOR);
    fixture_close(&f);
}

Test(message_routes, one_transaction_acks_and_sends_on)
{
    struct fixture f;
    fixture_open(&f);
    const char *receipt = deliver(&f);
    struct reply done = client_ask(
        &f, "POST /v1/transactions",
        format(&f,
               "{\"operations\":[{\"method\":\"POST\",\"path\":\"/v1/queues/q/settle\","
               "\"body\":{\"acks\":[\"$\"],\"atomic\":true}},{\"method\":\"POST\","
               "\"path\":\"/v1/queues/q~next/messages\",\"body\":{\"messages\":[{\"body\":2}]}},"
               "{\"method\":\"POST\",\"path\":\"/v1/queues/q~next/receive\"}]}",
               receipt),
        NONE);
    cr_expect_eq(done.status, 200);
    expect_member(&f, done, "results.0.body.results.0.outcome", "\"acked\"");
    expect_member(&f, done, "results.1.status", "201");
    expect_member(&f, done, "results.2.body.messages.0.body", "2");
    fixture_close(&f);
}

Test(message_routes, a_receive_with_an_idempotency_key_gives_the_same_delivery_again)
{
    struct fixture f;
    fixture_open(&f);
    send(&f, "{\"body\":1},{\"body\":2}");
    struct reply first =
        client_ask(&f, "POST /v1/queues/q/receive", NULL, "Idempotency-Key: k", NONE);
    struct reply again =
        client_ask(&f, "POST /v1/queues/q/receive", NULL, "Idempotency-Key: k", NONE);
    cr_expect_str_eq(reply_header(&f, again, "Idempotent-Replayed"), "true");
    cr_expect_str_eq(reply_string(&f, again, "messages.0.receipt"),
                     reply_string(&f, first, "messages.0.receipt"));
    expect_member(&f, client_ask(&f, "GET /v1/queues/q", NULL, NONE), "leased", "1");
    fixture_close(&f);
}
