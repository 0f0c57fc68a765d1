/* What reads take to say what they may be answered from, and where a client is sent that asks for it. */
#include "handlers/redirect.h"
#include "tests/unit/client.h"

#include <criterion/criterion.h>

#define NONE ((char *)NULL)

static void target_is(const char *target, const char *want)
{
    struct arena arena = ARENA_EMPTY;
    struct text got = redirect_target(text_of(target), &arena);
    cr_expect(text_equal(got, text_of(want)), "%s instead of %s", got.at, want);
    cr_expect_eq(got.at[got.len], '\0');
    arena_free(&arena);
}

Test(reads, a_read_takes_each_consistency_by_its_name)
{
    struct fixture f;
    fixture_open(&f);
    static const char *const WORDS[] = {"leader", "strong", "stale"};
    for (int i = 0; i <= CONSISTENCY_STALE; i++) {
        const char *line = arena_format(&f.arena, "GET /v1/locks/l?consistency=%s", WORDS[i]).at;
        struct reply reply = client_ask(&f, line, NULL, NONE);
        cr_expect_eq(reply.status, 200);
        cr_expect_eq(reply.x->consistency, (enum consistency)i);
    }
    cr_expect_eq(client_ask(&f, "GET /v1/locks/l", NULL, NONE).x->consistency, CONSISTENCY_LEADER);
    struct reply coded = client_ask(&f, "GET /v1/locks/l?consistency=%73tale", NULL, NONE);
    cr_expect_eq(coded.x->consistency, CONSISTENCY_STALE);
    fixture_close(&f);
}

Test(reads, a_consistency_that_there_is_not_is_refused)
{
    struct fixture f;
    fixture_open(&f);
    static const char *const WRONG[] = {
        "GET /v1/locks/l?consistency=", "GET /v1/locks/l?consistency=Stale",
        "GET /v1/locks?consistency=stale%00", "GET /v1/sessions/s?consistency=linearizable",
        "GET /v1/queues/q/messages?consistency=stale&consistency=stale"};
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        struct reply reply = client_ask(&f, WRONG[i], NULL, NONE);
        expect_problem(&f, reply, STATUS_INVALID_PARAMETER);
        expect_member(&f, reply, "field", "\"consistency\"");
    }
    fixture_close(&f);
}

Test(reads, what_is_no_read_of_a_partition_takes_no_consistency)
{
    struct fixture f;
    fixture_open(&f);
    static const char *const LINES[] = {"PUT /v1/locks/l?consistency=strong",
                                        "DELETE /v1/sessions/s?consistency=stale",
                                        "GET /v1/status?consistency=stale"};
    for (size_t i = 0; i < sizeof LINES / sizeof LINES[0]; i++) {
        expect_problem(&f, client_ask(&f, LINES[i], i == 0 ? "{}" : NULL, NONE),
                       STATUS_INVALID_PARAMETER);
    }
    fixture_close(&f);
}

Test(reads, a_stale_look_does_not_collect_a_lease)
{
    struct fixture f;
    fixture_open(&f);
    static const char PUT_X[] = "PUT /v1/locks/l/leases/x", PUT_Y[] = "PUT /v1/locks/l/leases/y";
    static const char LATE[] = "{\"owner\":\"y\",\"wait_ms\":60000}";
    client_ask(&f, PUT_X, "{\"owner\":\"x\"}", NONE);
    cr_expect_eq(client_ask(&f, PUT_Y, LATE, "Prefer: respond-async", NONE).status, 202);
    client_ask(&f, "DELETE /v1/locks/l/leases/x", NULL, NONE);
    struct reply stale = client_ask(&f, "GET /v1/locks/l/leases/y?consistency=stale", NULL, NONE);
    expect_member(&f, stale, "state", "\"held\"");
    expect_member(&f, stale, "expires_in_ms", "5000");
    struct reply read = client_ask(&f, "GET /v1/locks/l/leases/y?consistency=strong", NULL, NONE);
    expect_member(&f, read, "expires_in_ms", "30000");
    fixture_close(&f);
}

Test(reads, a_target_is_spelt_for_a_location_so_that_it_means_the_same)
{
    target_is("/v1/locks/a~b:@+=,?prefix=x&limit=1", "/v1/locks/a~b:@+=,?prefix=x&limit=1");
    target_is("/v1/locks/a%2Fb?x=%zz", "/v1/locks/a%2Fb?x=%zz");
    target_is("/v1/locks?prefix=a#b", "/v1/locks?prefix=a%23b");
    target_is("/v1/\"<>\\^`{|}[]", "/v1/%22%3C%3E%5C%5E%60%7B%7C%7D%5B%5D");
    target_is("/\r\nSet-Cookie: a\x7f\xc3\xa9\xff", "/%0D%0ASet-Cookie:%20a%7F%C3%A9%FF");
}

Test(reads, a_client_that_prefers_it_is_sent_to_the_owner)
{
    struct fixture f;
    fixture_open(&f);
    struct reply reply =
        client_ask(&f, "GET /v1/locks/l?wait_ms=1", NULL, "Prefer: wait=1, Redirect; x=y", NONE);
    cr_expect(redirect_preferred(reply.x));
    redirect_respond(reply.x, TEXT("http://10.0.0.2:7480"));
    cr_expect_eq(reply.x->response.status, 307);
    cr_expect_not(text_given(reply.x->response.body));
    cr_expect_str_eq(reply_header(&f, reply, "Location"),
                     "http://10.0.0.2:7480/v1/locks/l?wait_ms=1");
    cr_expect_str_eq(reply_header(&f, reply, "Preference-Applied"), "redirect");
    cr_expect_eq(reply.x->response.header_count, 2);
    static const char *const OTHERS[] = {"Prefer: redirects", "Prefer: wait=1",
                                         "Prefer: x=redirect"};
    for (size_t i = 0; i < sizeof OTHERS / sizeof OTHERS[0]; i++) {
        cr_expect_not(
            redirect_preferred(client_ask(&f, "GET /v1/locks/l", NULL, OTHERS[i], NONE).x));
    }
    fixture_close(&f);
}
