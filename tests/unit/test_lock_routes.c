/* Locks, leases and lock-sets over HTTP: what the routes read, what they answer, and how a request waits. */
#include "tests/unit/client.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define NONE ((char *)NULL)
#define ASYNC "Prefer: respond-async"

static const char *fill(struct fixture *f, const char *format, const char *value)
{
    const char *mark = strchr(format, '$');
    return arena_format(&f->arena, "%.*s%s%s", (int)(mark - format), format, value, mark + 1).at;
}

/* PUT of a lease of the lock l~1, by an owner of the same name, waiting 10 s where asked to. */
static struct reply put(struct fixture *f, const char *lease)
{
    return client_ask(f, fill(f, "PUT /v1/locks/l~1/leases/$", lease),
                      fill(f, "{\"owner\":\"$\"}", lease), NONE);
}
static struct reply put_waiting(struct fixture *f, const char *lease)
{
    return client_ask(f, fill(f, "PUT /v1/locks/l~1/leases/$", lease),
                      fill(f, "{\"owner\":\"$\",\"wait_ms\":10000}", lease), NONE);
}
static struct reply put_async(struct fixture *f, const char *lease)
{
    return client_ask(f, fill(f, "PUT /v1/locks/l~1/leases/$", lease),
                      fill(f, "{\"owner\":\"$\"}", lease), ASYNC, NONE);
}
static struct reply get(struct fixture *f, const char *lease)
{
    return client_ask(f, fill(f, "GET /v1/locks/l~1/leases/$", lease), NULL, NONE);
}
static struct reply release(struct fixture *f, const char *lease)
{
    return client_ask(f, fill(f, "DELETE /v1/locks/l~1/leases/$", lease), NULL, NONE);
}
static struct reply lock(struct fixture *f)
{
    return client_ask(f, "GET /v1/locks/l~1", NULL, NONE);
}

/* ---- one lease ---------------------------------------------------------------------------------------------------- */

Test(lock_routes, a_grant_answers_all_its_members)
{
    struct fixture f;
    fixture_open(&f);
    struct reply made =
        client_ask(&f, "PUT /v1/locks/l~1/leases/a",
                   "{\"owner\":\"ada\",\"ttl_ms\":9000,\"metadata\":{\"url\":\"u\"}}", NONE);
    cr_expect_eq(made.status, 201);
    expect_member(&f, made, "lease", "\"a\"");
    expect_member(&f, made, "name", "\"l~1\"");
    expect_member(&f, made, "owner", "\"ada\"");
    expect_member(&f, made, "mode", "\"exclusive\"");
    expect_member(&f, made, "permits", "1");
    expect_member(&f, made, "state", "\"held\"");
    expect_member(&f, made, "fence", "1");
    expect_member(&f, made, "ttl_ms", "9000");
    expect_member(&f, made, "expires_in_ms", "9000");
    expect_member(&f, made, "renew_after_ms", "3000");
    expect_member(&f, made, "metadata", "{\"url\":\"u\"}");
    expect_member(&f, made, "position", NULL);
    expect_member(&f, made, "session", NULL);
    cr_expect_str_eq(reply_header(&f, made, "Location"), "/v1/locks/l~1/leases/a");
    cr_expect_str_eq(reply_header(&f, made, "ETag"),
                     fill(&f, "\"$\"", reply_member(&f, made, "version")));
    cr_expect(text_equal(made.x->routing_key, TEXT("l")));

    fixture_pass(&f, 4000);
    struct reply read = get(&f, "a");
    cr_expect_eq(read.status, 200);
    expect_member(&f, read, "expires_in_ms", "5000");
    expect_member(&f, read, "renew_after_ms", "0");
    cr_expect_null(reply_header(&f, read, "Location"));
    fixture_close(&f);
}

Test(lock_routes, a_replay_is_a_200_without_location)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    struct reply again = put(&f, "a");
    cr_expect_eq(again.status, 200);
    expect_member(&f, again, "fence", "1");
    cr_expect_null(reply_header(&f, again, "Location"));
    fixture_close(&f);
}

Test(lock_routes, what_is_wrong_with_a_request_is_named)
{
    static const struct {
        const char *body;
        enum status status;
        const char *field;
    } WRONG[] = {
        {"{}", STATUS_MISSING_FIELD, "\"owner\""},
        {"{\"owner\":\"\"}", STATUS_INVALID_FIELD, "\"owner\""},
        {"{\"owner\":\"a\",\"ttl_ms\":0}", STATUS_INVALID_FIELD, "\"ttl_ms\""},
        {"{\"owner\":\"a\",\"ttl_ms\":86400001}", STATUS_INVALID_FIELD, "\"ttl_ms\""},
        {"{\"owner\":\"a\",\"mode\":\"mine\"}", STATUS_INVALID_FIELD, "\"mode\""},
        {"{\"owner\":\"a\",\"permits\":0}", STATUS_INVALID_FIELD, "\"permits\""},
        {"{\"owner\":\"a\",\"wait_ms\":60001}", STATUS_INVALID_FIELD, "\"wait_ms\""},
        {"{\"owner\":\"a\",\"lock_delay_ms\":-1}", STATUS_INVALID_FIELD, "\"lock_delay_ms\""},
        {"{\"owner\":\"a\",\"session\":\"a b\"}", STATUS_INVALID_NAME, "\"session\""},
        {"{\"owner\":\"a\",\"metadata\":[]}", STATUS_INVALID_FIELD, "\"metadata\""},
        {"{\"owner\":\"a\",\"colour\":1}", STATUS_UNKNOWN_FIELD, "\"colour\""},
        {"{\"owner\":\"a\",\"session\":\"m~s\"}", STATUS_CROSS_PARTITION, "\"session\""},
        {"{\"owner\":\"a\",\"permits\":2}", STATUS_PERMITS_EXCEED_LIMIT, "\"permits\""},
    };
    struct fixture f;
    fixture_open(&f);
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        struct reply reply = client_ask(&f, "PUT /v1/locks/l~1/leases/a", WRONG[i].body, NONE);
        expect_problem(&f, reply, WRONG[i].status);
        expect_member(&f, reply, "field", WRONG[i].field);
    }
    fixture_close(&f);
}

Test(lock_routes, a_refusal_carries_holders_position_and_retry_after)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    put_async(&f, "b");
    fixture_pass(&f, 500);
    struct reply refused = put(&f, "c");
    expect_problem(&f, refused, STATUS_LOCK_HELD);
    expect_member(&f, refused, "retryable", "true");
    expect_member(&f, refused, "name", "\"l~1\"");
    expect_member(&f, refused, "detail", "\"a holds the lock for another 29500 ms.\"");
    expect_member(&f, refused, "holders",
                  "[{\"lease\":\"a\",\"owner\":\"a\",\"mode\":\"exclusive\",\"permits\":1,"
                  "\"fence\":1,\"expires_in_ms\":29500,\"metadata\":{}}]");
    expect_member(&f, refused, "position", "1");
    expect_member(&f, refused, "delayed_for_ms", "0");
    cr_expect_str_eq(reply_header(&f, refused, "Retry-After"), "30");
    fixture_close(&f);
}

Test(lock_routes, an_ended_lease_is_told_with_its_reason)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    client_ask(&f, "DELETE /v1/locks/l~1/leases?reason=stuck%20again", NULL, NONE);
    struct reply renewed = client_ask(&f, "POST /v1/locks/l~1/leases/a/renew", NULL, NONE);
    expect_problem(&f, renewed, STATUS_LEASE_ENDED);
    expect_member(&f, renewed, "reason", "\"revoked\"");
    expect_member(&f, renewed, "reason_text", "\"stuck again\"");
    expect_problem(&f, release(&f, "a"), STATUS_LEASE_ENDED);
    fixture_close(&f);
}

Test(lock_routes, releasing_is_a_204_however_often_and_whether_or_not_it_was_there)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    cr_expect_eq(release(&f, "a").status, 204);
    cr_expect_eq(release(&f, "a").status, 204);
    cr_expect_eq(release(&f, "never").status, 204);
    expect_problem(&f, get(&f, "a"), STATUS_LEASE_ENDED);
    fixture_close(&f);
}

Test(lock_routes, renewing_takes_a_ttl_or_none)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    struct reply renewed =
        client_ask(&f, "POST /v1/locks/l~1/leases/a/renew", "{\"ttl_ms\":60000}", NONE);
    cr_expect_eq(renewed.status, 200);
    expect_member(&f, renewed, "expires_in_ms", "60000");
    expect_member(&f, client_ask(&f, "POST /v1/locks/l~1/leases/a/renew", NULL, NONE), "ttl_ms",
                  "60000");
    fixture_close(&f);
}

Test(lock_routes, patching_merges_and_obeys_if_match)
{
    struct fixture f;
    fixture_open(&f);
    struct reply made = put(&f, "a");
    const char *etag = reply_header(&f, made, "ETag");
    struct reply patched = client_ask(&f, "PATCH /v1/locks/l~1/leases/a",
                                      "{\"metadata\":{\"k\":1}}", fill(&f, "If-Match: $", etag),
                                      "Content-Type: application/merge-patch+json", NONE);
    cr_expect_eq(patched.status, 200);
    expect_member(&f, patched, "metadata", "{\"k\":1}");
    struct reply stale = client_ask(&f, "PATCH /v1/locks/l~1/leases/a", "{\"metadata\":{}}",
                                    fill(&f, "If-Match: $", etag), NONE);
    expect_problem(&f, stale, STATUS_VERSION_MISMATCH);
    expect_member(&f, stale, "current_version", reply_member(&f, patched, "version"));
    struct reply cleared =
        client_ask(&f, "PATCH /v1/locks/l~1/leases/a", "{\"metadata\":null}", NONE);
    expect_member(&f, cleared, "metadata", "{}");
    expect_member(&f, client_ask(&f, "PATCH /v1/locks/l~1/leases/a", "{\"mode\":\"shared\"}", NONE),
                  "mode", "\"shared\"");
    expect_problem(&f,
                   client_ask(&f, "PATCH /v1/locks/l~1/leases/a", "{\"mode\":\"exclusive\"}", NONE),
                   STATUS_MODE_CONFLICT);
    fixture_close(&f);
}

/* ---- waiting ------------------------------------------------------------------------------------------------------ */

Test(lock_routes, a_request_that_waits_is_parked_and_granted_in_its_turn)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    struct reply parked = put_waiting(&f, "b");
    cr_assert_eq(parked.status, 0);
    cr_expect_eq(parked.x->waits_until, f.now.lease_now_ms + 10000);
    release(&f, "a");
    cr_expect(fixture_event(&f, parked.x->topic.kind, "l~1", "b"));
    struct reply granted = client_wake(&f, parked, WAKE_EVENT);
    cr_expect_eq(granted.status, 201);
    expect_member(&f, granted, "fence", "2");
    expect_member(&f, granted, "expires_in_ms", "30000");
    cr_expect_str_eq(reply_header(&f, granted, "Location"), "/v1/locks/l~1/leases/b");
    fixture_close(&f);
}

Test(lock_routes, a_parked_request_that_is_woken_too_early_waits_on)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    struct reply parked = put_waiting(&f, "b");
    parked = client_wake(&f, parked, WAKE_EVENT);
    cr_expect_eq(parked.status, 0);
    fixture_pass(&f, 9999);
    parked = client_wake(&f, parked, WAKE_TIME_OVER);
    cr_expect_eq(parked.status, 0);
    fixture_close(&f);
}

Test(lock_routes, a_wait_that_is_over_is_a_lock_held_and_leaves_nothing_behind)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    struct reply parked = put_waiting(&f, "b");
    fixture_pass(&f, 10000);
    struct reply over = client_wake(&f, parked, WAKE_TIME_OVER);
    expect_problem(&f, over, STATUS_LOCK_HELD);
    expect_member(&f, over, "position", "0");
    expect_problem(&f, get(&f, "b"), STATUS_LEASE_NOT_FOUND);
    fixture_close(&f);
}

Test(lock_routes, a_client_that_hangs_up_gives_up_its_place_unless_it_has_come_again)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    struct reply first = put_waiting(&f, "b");
    struct reply second = put_waiting(&f, "b");
    client_wake(&f, first, WAKE_HUNG_UP);
    expect_member(&f, lock(&f), "waiter_count", "1");
    client_wake(&f, second, WAKE_HUNG_UP);
    expect_member(&f, lock(&f), "waiter_count", "0");
    fixture_close(&f);
}

Test(lock_routes, an_instance_that_shuts_down_keeps_the_place_of_who_can_name_it)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    struct reply named = put_waiting(&f, "b");
    struct reply nameless =
        client_ask(&f, "POST /v1/locks/l~1/leases", "{\"owner\":\"cyd\",\"wait_ms\":10000}", NONE);
    struct reply keyed =
        client_ask(&f, "POST /v1/locks/l~1/leases", "{\"owner\":\"dan\",\"wait_ms\":10000}",
                   "Idempotency-Key: k1", NONE);
    expect_problem(&f, client_wake(&f, named, WAKE_DRAINING), STATUS_DRAINING);
    expect_problem(&f, client_wake(&f, nameless, WAKE_DRAINING), STATUS_DRAINING);
    expect_problem(&f, client_wake(&f, keyed, WAKE_DRAINING), STATUS_DRAINING);
    struct reply seen = lock(&f);
    expect_member(&f, seen, "waiter_count", "2");
    expect_member(&f, seen, "waiters.0.owner", "\"b\"");
    expect_member(&f, seen, "waiters.1.owner", "\"dan\"");

    struct reply again =
        client_ask(&f, "POST /v1/locks/l~1/leases", "{\"owner\":\"dan\",\"wait_ms\":10000}",
                   "Idempotency-Key: k1", NONE);
    cr_expect_eq(again.status, 0);
    expect_member(&f, lock(&f), "waiter_count", "2");
    fixture_close(&f);
}

Test(lock_routes, an_async_request_is_answered_at_once_and_collected_by_looking)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    struct reply waiting = put_async(&f, "b");
    cr_expect_eq(waiting.status, 202);
    expect_member(&f, waiting, "state", "\"waiting\"");
    expect_member(&f, waiting, "position", "0");
    expect_member(&f, waiting, "expires_in_ms", "60000");
    expect_member(&f, waiting, "fence", NULL);
    expect_member(&f, waiting, "renew_after_ms", NULL);
    cr_expect_str_eq(reply_header(&f, waiting, "Preference-Applied"), "respond-async");
    cr_expect_str_eq(reply_header(&f, waiting, "Location"), "/v1/locks/l~1/leases/b");

    release(&f, "a");
    fixture_pass(&f, 4999);
    struct reply looked = get(&f, "b");
    cr_expect_eq(looked.status, 200);
    expect_member(&f, looked, "expires_in_ms", "30000");
    fixture_pass(&f, 20000);
    expect_member(&f, get(&f, "b"), "state", "\"held\"");
    fixture_close(&f);
}

Test(lock_routes, async_makes_no_difference_where_the_lock_is_free)
{
    struct fixture f;
    fixture_open(&f);
    struct reply granted = put_async(&f, "a");
    cr_expect_eq(granted.status, 201);
    cr_expect_null(reply_header(&f, granted, "Preference-Applied"));
    fixture_close(&f);
}

Test(lock_routes, a_waiter_that_asks_without_waiting_is_refused_and_keeps_its_place)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    put_async(&f, "z");
    put_async(&f, "b");
    struct reply refused = put(&f, "b");
    expect_problem(&f, refused, STATUS_LOCK_HELD);
    expect_member(&f, refused, "position", "1");
    expect_member(&f, get(&f, "b"), "position", "1");
    fixture_close(&f);
}

Test(lock_routes, a_deadlock_is_told_with_its_cycle)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    client_ask(&f, "PUT /v1/locks/l~2/leases/b", "{\"owner\":\"b\"}", NONE);
    put_async(&f, "b");
    struct reply refused =
        client_ask(&f, "PUT /v1/locks/l~2/leases/a", "{\"owner\":\"a\",\"wait_ms\":1}", NONE);
    expect_problem(&f, refused, STATUS_DEADLOCK);
    expect_member(&f, refused, "cycle",
                  "[{\"owner\":\"a\",\"lock\":\"l~2\"},{\"owner\":\"b\",\"lock\":\"l~1\"}]");
    expect_member(&f, refused, "detail",
                  "\"a would wait for l~2; that leads to b, who waits for l~1, where a is in the "
                  "way.\"");
    fixture_close(&f);
}

/* ---- ids that the server makes ------------------------------------------------------------------------------------ */

Test(lock_routes, the_server_makes_ids_that_differ_and_grow)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/locks/l~1", "{\"limit\":9}", NONE);
    struct reply first = client_ask(&f, "POST /v1/locks/l~1/leases", "{\"owner\":\"a\"}", NONE);
    fixture_pass(&f, 1);
    struct reply second = client_ask(&f, "POST /v1/locks/l~1/leases", "{\"owner\":\"a\"}", NONE);
    cr_expect_eq(first.status, 201);
    cr_expect_eq(second.status, 201);
    const char *one = reply_string(&f, first, "lease"), *two = reply_string(&f, second, "lease");
    cr_expect_lt(strcmp(one, two), 0);
    cr_expect_str_eq(reply_header(&f, first, "Location"), fill(&f, "/v1/locks/l~1/leases/$", one));
    cr_expect_eq(get(&f, one).status, 200);
    fixture_close(&f);
}

Test(lock_routes, an_idempotency_key_makes_a_post_the_same_lease_even_after_a_wait)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    static const char BODY[] = "{\"owner\":\"b\",\"wait_ms\":10000}";
    struct reply parked =
        client_ask(&f, "POST /v1/locks/l~1/leases", BODY, "Idempotency-Key: k", NONE);
    release(&f, "a");
    struct reply granted = client_wake(&f, parked, WAKE_EVENT);
    cr_expect_eq(granted.status, 201);
    struct reply again =
        client_ask(&f, "POST /v1/locks/l~1/leases", BODY, "Idempotency-Key: k", NONE);
    cr_expect_eq(again.status, 201);
    cr_expect_str_eq(reply_header(&f, again, "Idempotent-Replayed"), "true");
    cr_expect_str_eq(reply_header(&f, again, "Location"), reply_header(&f, granted, "Location"));
    cr_expect_str_eq(reply_member(&f, again, "fence"), reply_member(&f, granted, "fence"));
    fixture_close(&f);
}

Test(lock_routes, a_request_whose_client_hung_up_is_not_remembered_under_its_key)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    static const char BODY[] = "{\"owner\":\"b\",\"wait_ms\":10000}";
    struct reply parked =
        client_ask(&f, "POST /v1/locks/l~1/leases", BODY, "Idempotency-Key: k", NONE);
    client_wake(&f, parked, WAKE_HUNG_UP);
    release(&f, "a");
    struct reply again =
        client_ask(&f, "POST /v1/locks/l~1/leases", BODY, "Idempotency-Key: k", NONE);
    cr_expect_eq(again.status, 201);
    cr_expect_null(reply_header(&f, again, "Idempotent-Replayed"));
    fixture_close(&f);
}

/* ---- watching ----------------------------------------------------------------------------------------------------- */

Test(lock_routes, a_watcher_of_a_lock_sees_each_change_of_leader)
{
    struct fixture f;
    fixture_open(&f);
    struct reply parked =
        client_ask(&f, "GET /v1/locks/l~1?wait_ms=5000", NULL, "If-None-Match: \"0\"", NONE);
    cr_assert_eq(parked.status, 0);
    put(&f, "a");
    cr_expect(fixture_event(&f, parked.x->topic.kind, "l~1", NULL));
    struct reply seen = client_wake(&f, parked, WAKE_EVENT);
    cr_expect_eq(seen.status, 200);
    expect_member(&f, seen, "holders.0.lease", "\"a\"");
    struct reply same =
        client_ask(&f, "GET /v1/locks/l~1", NULL,
                   fill(&f, "If-None-Match: $", reply_header(&f, seen, "ETag")), NONE);
    cr_expect_eq(same.status, 304);
    fixture_close(&f);
}

Test(lock_routes, a_watcher_of_a_waiting_lease_wakes_with_the_grant_and_collects_it)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    struct reply waiting = put_async(&f, "b");
    struct reply parked =
        client_ask(&f, "GET /v1/locks/l~1/leases/b?wait_ms=5000", NULL,
                   fill(&f, "If-None-Match: $", reply_header(&f, waiting, "ETag")), NONE);
    cr_assert_eq(parked.status, 0);
    release(&f, "a");
    struct reply seen = client_wake(&f, parked, WAKE_EVENT);
    cr_expect_eq(seen.status, 200);
    expect_member(&f, seen, "state", "\"held\"");
    expect_member(&f, seen, "expires_in_ms", "30000");
    fixture_close(&f);
}

Test(lock_routes, a_watcher_that_collected_a_grant_it_knew_of_waits_on)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    put_async(&f, "b");
    release(&f, "a");
    /* A reader sees the version of the grant before anybody has collected it. */
    const char *version =
        arena_format(
            &f.arena, "%lld",
            (long long)fixture_read(&f, (struct command){.kind = COMMAND_LEASE_GET,
                                                         .lease_get = {TEXT("l~1"), TEXT("b")}})
                .lease.version)
            .at;
    struct reply parked = client_ask(&f, "GET /v1/locks/l~1/leases/b?wait_ms=5000", NULL,
                                     fill(&f, "If-None-Match: \"$\"", version), NONE);
    cr_expect_eq(parked.status, 0);
    fixture_pass(&f, 5000);
    fixture_tick(&f);
    struct reply over = client_wake(&f, parked, WAKE_TIME_OVER);
    cr_expect_eq(over.status, 304);
    fixture_close(&f);
}

/* ---- the lock ----------------------------------------------------------------------------------------------------- */

Test(lock_routes, a_lock_answers_all_its_members)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    put_async(&f, "b");
    struct reply seen = lock(&f);
    cr_expect_eq(seen.status, 200);
    expect_member(&f, seen, "name", "\"l~1\"");
    expect_member(&f, seen, "limit", "1");
    expect_member(&f, seen, "lock_delay_ms", "0");
    expect_member(&f, seen, "fence", "1");
    expect_member(&f, seen, "holder_count", "1");
    expect_member(&f, seen, "waiter_count", "1");
    expect_member(&f, seen, "waiters",
                  "[{\"lease\":\"b\",\"owner\":\"b\",\"mode\":\"exclusive\",\"permits\":1,"
                  "\"position\":0,\"expires_in_ms\":60000,\"metadata\":{}}]");
    expect_member(&f, seen, "delayed_for_ms", "0");
    fixture_close(&f);
}

Test(lock_routes, configuring_makes_and_changes_a_lock)
{
    struct fixture f;
    fixture_open(&f);
    struct reply made =
        client_ask(&f, "PUT /v1/locks/l~1", "{\"limit\":3,\"lock_delay_ms\":50}", NONE);
    cr_expect_eq(made.status, 201);
    cr_expect_str_eq(reply_header(&f, made, "Location"), "/v1/locks/l~1");
    expect_member(&f, made, "limit", "3");
    expect_member(&f, made, "lock_delay_ms", "50");
    struct reply reset = client_ask(&f, "PUT /v1/locks/l~1", NULL,
                                    fill(&f, "If-Match: $", reply_header(&f, made, "ETag")), NONE);
    cr_expect_eq(reset.status, 200);
    expect_member(&f, reset, "limit", "1");
    expect_problem(&f, client_ask(&f, "PUT /v1/locks/l~1", NULL, "If-None-Match: *", NONE),
                   STATUS_VERSION_MISMATCH);
    expect_problem(&f, client_ask(&f, "PUT /v1/locks/l~1", "{\"limit\":0}", NONE),
                   STATUS_INVALID_FIELD);
    fixture_close(&f);
}

Test(lock_routes, breaking_counts_what_it_released_and_reads_its_parameters)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    struct reply broken =
        client_ask(&f, "DELETE /v1/locks/l~1/leases?lock_delay_ms=4000", NULL, NONE);
    cr_expect_eq(broken.status, 200);
    expect_member(&f, broken, "released", "1");
    expect_member(&f, lock(&f), "delayed_for_ms", "4000");
    struct reply refused = put(&f, "b");
    expect_member(&f, refused, "detail",
                  "\"A holder was lost, and the lock stays shut for another 4000 ms.\"");
    static const char *const WRONG[] = {"lock_delay_ms=-1", "lock_delay_ms=3600001",
                                        "reason=", "reason=%ff", "why=x"};
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        expect_problem(
            &f, client_ask(&f, fill(&f, "DELETE /v1/locks/l~1/leases?$", WRONG[i]), NULL, NONE),
            STATUS_INVALID_PARAMETER);
    }
    fixture_close(&f);
}

Test(lock_routes, a_fence_is_checked)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    cr_expect_eq(client_ask(&f, "GET /v1/locks/l~1/fences/1", NULL, NONE).status, 204);
    struct reply stale = client_ask(&f, "GET /v1/locks/l~1/fences/2", NULL, NONE);
    expect_problem(&f, stale, STATUS_STALE_FENCE);
    expect_member(&f, stale, "current", "1");
    expect_member(&f, stale, "detail", "\"The newest fence of the lock is 1.\"");
    expect_problem(&f, client_ask(&f, "GET /v1/locks/l~1/fences/0", NULL, NONE),
                   STATUS_INVALID_PARAMETER);
    expect_problem(&f, client_ask(&f, "GET /v1/locks/l~1/fences/x", NULL, NONE),
                   STATUS_INVALID_PARAMETER);
    fixture_close(&f);
}

Test(lock_routes, listing_goes_by_pages_and_filters)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    client_ask(&f, "PUT /v1/locks/l~2/leases/b", "{\"owner\":\"bob\"}", NONE);
    client_ask(&f, "PUT /v1/locks/m/leases/b", "{\"owner\":\"bob\"}", NONE);
    struct reply page = client_ask(&f, "GET /v1/locks?prefix=l~&limit=1", NULL, NONE);
    expect_member(&f, page, "items.0.name", "\"l~1\"");
    expect_member(&f, page, "items.1", NULL);
    struct reply next = client_ask(
        &f,
        fill(&f, "GET /v1/locks?prefix=l~&limit=1&cursor=$", reply_string(&f, page, "next_cursor")),
        NULL, NONE);
    expect_member(&f, next, "items.0.name", "\"l~2\"");
    expect_member(&f, next, "next_cursor", NULL);
    struct reply bobs = client_ask(&f, "GET /v1/locks?owner=bob&prefix=m", NULL, NONE);
    expect_member(&f, bobs, "items.0.name", "\"m\"");
    expect_member(&f, bobs, "items.1", NULL);
    expect_problem(&f, client_ask(&f, "GET /v1/locks?prefix=%2F", NULL, NONE),
                   STATUS_INVALID_PARAMETER);
    expect_problem(&f, client_ask(&f, "GET /v1/locks?owner=", NULL, NONE),
                   STATUS_INVALID_PARAMETER);
    fixture_close(&f);
}

/* ---- sets --------------------------------------------------------------------------------------------------------- */

#define SET_OF_TWO                                                                                 \
    "{\"owner\":\"ada\",\"wait_ms\":10000,\"locks\":[{\"name\":\"l~2\"},"                          \
    "{\"name\":\"l~1\",\"mode\":\"shared\"}]}"

Test(lock_routes, a_set_answers_its_members_in_the_order_asked)
{
    struct fixture f;
    fixture_open(&f);
    struct reply made = client_ask(&f, "PUT /v1/lock-sets/s", SET_OF_TWO, NONE);
    cr_expect_eq(made.status, 201);
    expect_member(&f, made, "lease", "\"s\"");
    expect_member(&f, made, "owner", "\"ada\"");
    expect_member(&f, made, "state", "\"held\"");
    expect_member(&f, made, "expires_in_ms", "30000");
    expect_member(&f, made, "renew_after_ms", "10000");
    expect_member(&f, made, "metadata", "{}");
    expect_member(&f, made, "locks.0.name", "\"l~2\"");
    expect_member(&f, made, "locks.0.mode", "\"exclusive\"");
    expect_member(&f, made, "locks.0.fence", "1");
    expect_member(&f, made, "locks.1.name", "\"l~1\"");
    expect_member(&f, made, "locks.1.mode", "\"shared\"");
    cr_expect(text_equal(made.x->routing_key, TEXT("l")));
    cr_expect_eq(get(&f, "s").status, 200);

    fixture_pass(&f, 1000);
    client_ask(&f, "POST /v1/locks/l~2/leases/s/renew", NULL, NONE);
    struct reply again = client_ask(&f, "PUT /v1/lock-sets/s", SET_OF_TWO, NONE);
    cr_expect_eq(again.status, 200);
    expect_member(&f, again, "expires_in_ms", "29000");
    fixture_close(&f);
}

Test(lock_routes, a_set_waits_and_is_granted_as_one)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    struct reply parked = client_ask(&f, "PUT /v1/lock-sets/s", SET_OF_TWO, NONE);
    cr_assert_eq(parked.status, 0);
    release(&f, "a");
    cr_expect(fixture_event(&f, parked.x->topic.kind, "l~2", "s"));
    struct reply granted = client_ask(&f, "GET /v1/locks/l~2", NULL, NONE);
    expect_member(&f, granted, "holder_count", "1");
    granted = client_wake(&f, parked, WAKE_EVENT);
    cr_expect_eq(granted.status, 201);
    expect_member(&f, granted, "state", "\"held\"");
    fixture_close(&f);
}

Test(lock_routes, a_waiting_set_can_be_left_in_each_way)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    struct reply parked = client_ask(&f, "PUT /v1/lock-sets/s", SET_OF_TWO, NONE);
    client_wake(&f, parked, WAKE_HUNG_UP);
    expect_member(&f, lock(&f), "waiter_count", "0");
    parked = client_ask(&f, "PUT /v1/lock-sets/s", SET_OF_TWO, NONE);
    expect_problem(&f, client_wake(&f, parked, WAKE_DRAINING), STATUS_DRAINING);
    expect_member(&f, lock(&f), "waiter_count", "1");
    parked = client_ask(&f, "PUT /v1/lock-sets/s", SET_OF_TWO, NONE);
    fixture_pass(&f, 10000);
    struct reply over = client_wake(&f, parked, WAKE_TIME_OVER);
    expect_problem(&f, over, STATUS_LOCK_HELD);
    expect_member(&f, over, "name", "\"l~1\"");
    fixture_close(&f);
}

Test(lock_routes, an_async_set_waits_in_all_lines)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    struct reply waiting = client_ask(&f, "PUT /v1/lock-sets/s", SET_OF_TWO, ASYNC, NONE);
    cr_expect_eq(waiting.status, 202);
    expect_member(&f, waiting, "state", "\"waiting\"");
    expect_member(&f, waiting, "renew_after_ms", NULL);
    expect_member(&f, waiting, "locks.0.position", "0");
    expect_member(&f, waiting, "locks.0.fence", NULL);
    fixture_close(&f);
}

Test(lock_routes, what_is_wrong_with_a_set_is_named)
{
    static const struct {
        const char *locks;
        enum status status;
        const char *field;
    } WRONG[] = {
        {"[]", STATUS_INVALID_FIELD, "\"locks\""},
        {"[{}]", STATUS_MISSING_FIELD, "\"locks[0].name\""},
        {"[{\"name\":\"l~1\",\"permits\":0}]", STATUS_INVALID_FIELD, "\"locks[0].permits\""},
        {"[{\"name\":\"l~1\",\"wait\":0}]", STATUS_UNKNOWN_FIELD, "\"locks[0].wait\""},
        {"[{\"name\":\"l~1\"},{\"name\":\"m~1\"}]", STATUS_CROSS_PARTITION, "\"locks\""},
        {"[{\"name\":\"l~1\"},{\"name\":\"l~1\"}]", STATUS_INVALID_FIELD, "\"locks\""},
        {"7", STATUS_INVALID_FIELD, "\"locks\""},
    };
    struct fixture f;
    fixture_open(&f);
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        struct reply reply =
            client_ask(&f, "PUT /v1/lock-sets/s",
                       fill(&f, "{\"owner\":\"a\",\"locks\":$}", WRONG[i].locks), NONE);
        expect_problem(&f, reply, WRONG[i].status);
        expect_member(&f, reply, "field", WRONG[i].field);
    }
    expect_problem(&f, client_ask(&f, "PUT /v1/lock-sets/s", "{\"owner\":\"a\"}", NONE),
                   STATUS_MISSING_FIELD);
    fixture_close(&f);
}

/* ---- in transactions ---------------------------------------------------------------------------------------------- */

Test(lock_routes, a_transaction_is_guarded_by_a_fence_and_releases_at_its_end)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a");
    static const char OPERATIONS[] =
        "{\"operations\":["
        "{\"method\":\"GET\",\"path\":\"/v1/locks/l~1/fences/$\"},"
        "{\"method\":\"PUT\",\"path\":\"/v1/sessions/l~s\",\"body\":{}},"
        "{\"method\":\"DELETE\",\"path\":\"/v1/locks/l~1/leases/a\"}]}";
    struct reply stale = client_ask(&f, "POST /v1/transactions", fill(&f, OPERATIONS, "9"), NONE);
    expect_problem(&f, stale, STATUS_TRANSACTION_FAILED);
    expect_member(&f, stale, "index", "0");
    expect_member(&f, stale, "problem.code", "\"stale-fence\"");
    struct reply done = client_ask(&f, "POST /v1/transactions", fill(&f, OPERATIONS, "1"), NONE);
    cr_expect_eq(done.status, 200);
    expect_member(&f, done, "results.0.status", "204");
    expect_member(&f, done, "results.2.status", "204");
    expect_problem(&f, get(&f, "a"), STATUS_LEASE_ENDED);
    fixture_close(&f);
}

Test(lock_routes, in_a_transaction_nothing_waits)
{
    struct fixture f;
    fixture_open(&f);
    struct reply refused =
        client_ask(&f, "POST /v1/transactions",
                   "{\"operations\":[{\"method\":\"PUT\",\"path\":\"/v1/locks/l~1/leases/a\","
                   "\"body\":{\"owner\":\"a\",\"wait_ms\":1}}]}",
                   NONE);
    expect_problem(&f, refused, STATUS_NOT_TRANSACTIONAL);
    put(&f, "z");
    struct reply held =
        client_ask(&f, "POST /v1/transactions",
                   "{\"operations\":[{\"method\":\"PUT\",\"path\":\"/v1/locks/l~1/leases/a\","
                   "\"body\":{\"owner\":\"a\"}}]}",
                   NONE);
    expect_problem(&f, held, STATUS_TRANSACTION_FAILED);
    expect_member(&f, held, "problem.code", "\"lock-held\"");
    expect_member(&f, held, "problem.holders.0.owner", "\"z\"");
    fixture_close(&f);
}
