/* Sessions over HTTP: what the routes read, what they answer, and how long polls and replays behave. */
#include "tests/unit/client.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define NONE ((char *)NULL)

static const char *format(struct fixture *f, const char *template, const char *value)
{
    const char *mark = strchr(template, '$');
    return arena_format(&f->arena, "%.*s%s%s", (int)(mark - template), template, value, mark + 1)
        .at;
}

/* POST /v1/sessions/resolve with this token. */
static struct reply resolve(struct fixture *f, const char *token)
{
    return client_ask(f, "POST /v1/sessions/resolve", format(f, "{\"token\":\"$\"}", token), NONE);
}

static struct reply get(struct fixture *f, const char *id)
{
    return client_ask(f, format(f, "GET /v1/sessions/$", id), NULL, NONE);
}

/* ---- creating and resolving --------------------------------------------------------------------------------------- */

Test(session_routes, creating_one_answers_all_its_members_and_a_token_once)
{
    struct fixture f;
    fixture_open(&f);
    struct reply made = client_ask(&f, "POST /v1/sessions",
                                   "{\"data\":{\"cart\":[1,2]},\"subject\":\"ada\"}", NONE);
    cr_expect_eq(made.status, 201);
    const char *id = reply_string(&f, made, "id");
    expect_member(&f, made, "subject", "\"ada\"");
    expect_member(&f, made, "data", "{\"cart\":[1,2]}");
    expect_member(&f, made, "version", "1");
    expect_member(&f, made, "created_at", "\"1970-01-01T00:16:40.000Z\"");
    expect_member(&f, made, "last_seen_at", "\"1970-01-01T00:16:40.000Z\"");
    expect_member(&f, made, "idle_ttl_ms", "1800000");
    expect_member(&f, made, "max_ttl_ms", "86400000");
    expect_member(&f, made, "expires_in_ms", "1800000");
    expect_member(&f, made, "expires_at", "\"1970-01-01T00:46:40.000Z\"");
    expect_member(&f, made, "max_expires_at", "\"1970-01-02T00:16:40.000Z\"");
    cr_expect_str_eq(reply_header(&f, made, "ETag"), "\"1\"");
    cr_expect_str_eq(reply_header(&f, made, "Location"), format(&f, "/v1/sessions/$", id));
    cr_expect_str_eq(reply_header(&f, made, "Cache-Control"), "no-store");

    struct reply read = get(&f, id);
    cr_expect_eq(read.status, 200);
    expect_member(&f, read, "token", NULL);
    cr_expect_str_eq(reply_header(&f, read, "ETag"), "\"1\"");
    cr_expect_null(reply_header(&f, read, "Location"));
    fixture_close(&f);
}

Test(session_routes, ids_of_one_subject_share_its_tag_and_others_do_not)
{
    struct fixture f;
    fixture_open(&f);
    char tags[4][32];
    static const char *const BODIES[] = {"{\"subject\":\"ada\"}", "{\"subject\":\"ada\"}", "", ""};
    for (int i = 0; i < 4; i++) {
        struct reply made = client_ask(&f, "POST /v1/sessions", BODIES[i], NONE);
        const char *id = reply_string(&f, made, "id");
        cr_assert_eq(strcspn(id, "~"), 16, "%s", id);
        cr_assert_geq(strlen(id), 16 + 1 + 26, "%s", id);
        snprintf(tags[i], sizeof tags[i], "%.16s", id);
    }
    /* SHA-256 of "ada" begins like this. */
    cr_expect_str_eq(tags[0], "fdee430d40bd57de");
    cr_expect_str_eq(tags[0], tags[1]);
    cr_expect_str_neq(tags[2], tags[3]);
    fixture_close(&f);
}

Test(session_routes, a_token_resolves_and_touches_unless_told_not_to)
{
    struct fixture f;
    fixture_open(&f);
    struct reply made = client_ask(&f, "POST /v1/sessions", NULL, NONE);
    const char *token = reply_string(&f, made, "token");
    fixture_pass(&f, 1000);
    struct reply looked = client_ask(&f, "POST /v1/sessions/resolve",
                                     format(&f, "{\"token\":\"$\",\"touch\":false}", token), NONE);
    cr_expect_eq(looked.status, 200);
    expect_member(&f, looked, "expires_in_ms", "1799000");
    expect_member(&f, looked, "token", NULL);
    struct reply touched = resolve(&f, token);
    expect_member(&f, touched, "expires_in_ms", "1800000");
    cr_expect_str_eq(reply_header(&f, touched, "ETag"), "\"1\"");
    fixture_close(&f);
}

Test(session_routes, what_is_no_token_of_ours_is_the_token_of_no_session)
{
    struct fixture f;
    fixture_open(&f);
    struct reply made = client_ask(&f, "POST /v1/sessions", NULL, NONE);
    const char *id = reply_string(&f, made, "id");
    expect_problem(&f, resolve(&f, "nodot"), STATUS_SESSION_NOT_FOUND);
    expect_problem(&f, resolve(&f, "."), STATUS_SESSION_NOT_FOUND);
    expect_problem(&f, resolve(&f, "a/b.c"), STATUS_SESSION_NOT_FOUND);
    expect_problem(&f, resolve(&f, format(&f, "$.", id)), STATUS_SESSION_NOT_FOUND);
    expect_problem(&f, resolve(&f, format(&f, "$.AAAAAAAA", id)), STATUS_SESSION_NOT_FOUND);
    expect_problem(&f, resolve(&f, ""), STATUS_INVALID_FIELD);
    expect_problem(&f, client_ask(&f, "POST /v1/sessions/resolve", "{}", NONE),
                   STATUS_MISSING_FIELD);
    fixture_close(&f);
}

Test(session_routes, an_id_with_dots_keeps_them_in_its_token)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/sessions/www.example.org", NULL, NONE);
    struct reply rotated = client_ask(&f, "POST /v1/sessions/www.example.org/rotate", NULL, NONE);
    cr_expect_eq(rotated.status, 200);
    cr_expect_eq(resolve(&f, reply_string(&f, rotated, "token")).status, 200);
    fixture_close(&f);
}

Test(session_routes, an_ended_session_says_how_it_ended)
{
    struct fixture f;
    fixture_open(&f);
    struct reply made = client_ask(&f, "POST /v1/sessions", "{\"idle_ttl_ms\":1000}", NONE);
    const char *token = reply_string(&f, made, "token");
    fixture_pass(&f, 1000);
    struct reply ended = resolve(&f, token);
    expect_problem(&f, ended, STATUS_SESSION_ENDED);
    expect_member(&f, ended, "reason", "\"idle\"");
    fixture_close(&f);
}

Test(session_routes, creating_obeys_the_subject_s_limit)
{
    struct fixture f;
    fixture_open(&f);
    static const char REJECT[] = "{\"subject\":\"ada\",\"subject_limit\":1}";
    static const char EVICT[] =
        "{\"subject\":\"ada\",\"subject_limit\":1,\"on_limit\":\"evict_oldest\"}";
    struct reply first = client_ask(&f, "POST /v1/sessions", REJECT, NONE);
    cr_expect_eq(first.status, 201);
    expect_problem(&f, client_ask(&f, "POST /v1/sessions", REJECT, NONE), STATUS_SUBJECT_LIMIT);
    cr_expect_eq(client_ask(&f, "POST /v1/sessions", EVICT, NONE).status, 201);
    struct reply evicted = get(&f, reply_string(&f, first, "id"));
    expect_problem(&f, evicted, STATUS_SESSION_ENDED);
    expect_member(&f, evicted, "reason", "\"revoked\"");
    fixture_close(&f);
}

/* ---- refusals of what was sent ------------------------------------------------------------------------------------ */

Test(session_routes, each_wrong_field_is_refused_by_name)
{
    static const struct {
        const char *line, *body;
        enum status status;
        const char *field;
    } WRONG[] = {
        {"POST /v1/sessions", "{\"data\":[]}", STATUS_INVALID_FIELD, "data"},
        {"POST /v1/sessions", "{\"data\":null}", STATUS_INVALID_FIELD, "data"},
        {"POST /v1/sessions", "{\"subject\":\"a b\"}", STATUS_INVALID_NAME, "subject"},
        {"POST /v1/sessions", "{\"idle_ttl_ms\":0}", STATUS_INVALID_FIELD, "idle_ttl_ms"},
        {"POST /v1/sessions", "{\"max_ttl_ms\":31536000001}", STATUS_INVALID_FIELD, "max_ttl_ms"},
        {"POST /v1/sessions", "{\"subject_limit\":1}", STATUS_INVALID_FIELD, "subject_limit"},
        {"POST /v1/sessions", "{\"subject\":\"a\",\"subject_limit\":0}", STATUS_INVALID_FIELD,
         "subject_limit"},
        {"POST /v1/sessions", "{\"on_limit\":\"wait\"}", STATUS_INVALID_FIELD, "on_limit"},
        {"POST /v1/sessions", "{\"ttl\":1}", STATUS_UNKNOWN_FIELD, "ttl"},
        {"POST /v1/sessions/resolve", "{\"token\":1}", STATUS_INVALID_FIELD, "token"},
        {"POST /v1/sessions/resolve", "{\"token\":\"a.b\",\"touch\":1}", STATUS_INVALID_FIELD,
         "touch"},
        {"PUT /v1/sessions/mine", "{\"subject\":\"ada\"}", STATUS_INVALID_SUBJECT, "subject"},
        {"PUT /v1/sessions/mine", "{\"idle_ttl_ms\":null}", STATUS_INVALID_FIELD, "idle_ttl_ms"},
        {"PATCH /v1/sessions/mine", "{\"subject\":\"ada\"}", STATUS_INVALID_SUBJECT, "subject"},
        {"PATCH /v1/sessions/mine", "{\"data\":1}", STATUS_INVALID_FIELD, "data"},
        {"PATCH /v1/sessions/mine", "{\"version\":1}", STATUS_UNKNOWN_FIELD, "version"},
        {"POST /v1/sessions/mine/touch", "{\"a\":1}", STATUS_UNKNOWN_FIELD, "a"},
        {"POST /v1/sessions/mine/rotate", "{\"grace_ms\":3600001}", STATUS_INVALID_FIELD,
         "grace_ms"},
        {"POST /v1/sessions/mine/rotate", "{\"subject\":\"\"}", STATUS_INVALID_NAME, "subject"},
        {"GET /v1/subjects/ada/sessions?limit=0", NULL, STATUS_INVALID_PARAMETER, "limit"},
        {"GET /v1/subjects/ada/sessions?cursor=x", NULL, STATUS_INVALID_CURSOR, "cursor"},
        {"DELETE /v1/subjects/ada/sessions?except=a%20b", NULL, STATUS_INVALID_PARAMETER, "except"},
    };
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/sessions/mine", NULL, NONE);
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        struct reply refused = client_ask(&f, WRONG[i].line, WRONG[i].body, NONE);
        expect_problem(&f, refused, WRONG[i].status);
        expect_member(&f, refused, "field", format(&f, "\"$\"", WRONG[i].field));
    }
    expect_member(&f, get(&f, "mine"), "version", "1");
    fixture_close(&f);
}

Test(session_routes, a_cursor_of_ours_with_a_wrong_key_inside_is_refused_as_well)
{
    struct fixture f;
    fixture_open(&f);
    struct text cursor = client_cursor(&f, "/v1/subjects/ada/sessions", TEXT("not a key"));
    struct reply refused =
        client_ask(&f,
                   arena_format(&f.arena, "GET /v1/subjects/ada/sessions?cursor=%.*s",
                                (int)cursor.len, cursor.at)
                       .at,
                   NULL, NONE);
    expect_problem(&f, refused, STATUS_INVALID_CURSOR);
    fixture_close(&f);
}

Test(session_routes, a_patch_that_makes_data_too_large_is_told_the_bound)
{
    struct fixture f;
    fixture_open(&f);
    char *fill = arena_alloc(&f.arena, 600 * 1024);
    memset(fill, 'x', 600 * 1024);
    fill[600 * 1024 - 1] = '\0';
    client_ask(&f, "PUT /v1/sessions/mine", format(&f, "{\"data\":{\"a\":\"$\"}}", fill), NONE);
    struct reply refused = client_ask(&f, "PATCH /v1/sessions/mine",
                                      format(&f, "{\"data\":{\"b\":\"$\"}}", fill), NONE);
    expect_problem(&f, refused, STATUS_BODY_TOO_LARGE);
    cr_expect_not_null(strstr(reply_string(&f, refused, "detail"), "1048576"));
    fixture_close(&f);
}

/* ---- one session -------------------------------------------------------------------------------------------------- */

Test(session_routes, putting_creates_with_a_location_and_then_replaces_without)
{
    struct fixture f;
    fixture_open(&f);
    struct reply made = client_ask(&f, "PUT /v1/sessions/order-17~s", "{\"data\":{\"a\":1}}",
                                   "If-None-Match: *", NONE);
    cr_expect_eq(made.status, 201);
    cr_expect_str_eq(reply_header(&f, made, "Location"), "/v1/sessions/order-17~s");
    expect_member(&f, made, "token", NULL);
    expect_member(&f, made, "subject", NULL);
    expect_problem(&f,
                   client_ask(&f, "PUT /v1/sessions/order-17~s", NULL, "If-None-Match: *", NONE),
                   STATUS_VERSION_MISMATCH);
    struct reply over = client_ask(&f, "PUT /v1/sessions/order-17~s", "{\"max_ttl_ms\":5000}",
                                   "If-Match: \"1\"", NONE);
    cr_expect_eq(over.status, 200);
    expect_member(&f, over, "data", "{}");
    expect_member(&f, over, "expires_in_ms", "5000");
    cr_expect_str_eq(reply_header(&f, over, "ETag"), "\"2\"");
    cr_expect_null(reply_header(&f, over, "Location"));
    struct reply stale =
        client_ask(&f, "PUT /v1/sessions/order-17~s", NULL, "If-Match: \"1\"", NONE);
    expect_problem(&f, stale, STATUS_VERSION_MISMATCH);
    expect_member(&f, stale, "current_version", "2");
    fixture_close(&f);
}

/* Whether the answer's data is this text: a parser between would show its own numbers. */
static void expect_data(struct reply reply, const char *data)
{
    struct text body = reply.x->response.body;
    const char *at = memmem(body.at, body.len, "\"data\":", 7);
    cr_assert_not_null(at);
    size_t left = body.len - (size_t)(at + 7 - body.at);
    cr_expect(left > strlen(data) && memcmp(at + 7, data, strlen(data)) == 0, "%.*s", (int)body.len,
              body.at);
}

Test(session_routes, data_comes_back_with_its_numbers_as_they_were_written)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/sessions/mine",
               "{\"data\": {\"a\": 0.1, \"b\": 1e3, \"c\": 123456789012345678901, \"d\": 1.50}}",
               NONE);
    expect_data(get(&f, "mine"), "{\"a\":0.1,\"b\":1e3,\"c\":123456789012345678901,\"d\":1.50}");
    client_ask(&f, "PATCH /v1/sessions/mine", "{\"data\":{\"\\u0061\":-0.0,\"e\":1E999}}", NONE);
    expect_data(get(&f, "mine"),
                "{\"a\":-0.0,\"b\":1e3,\"c\":123456789012345678901,\"d\":1.50,\"e\":1E999}");
    fixture_close(&f);
}

Test(session_routes, a_patch_merges_and_null_puts_defaults_back)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/sessions/mine",
               "{\"data\":{\"a\":1,\"b\":2},\"idle_ttl_ms\":5000,\"max_ttl_ms\":6000}", NONE);
    struct reply merged =
        client_ask(&f, "PATCH /v1/sessions/mine", "{\"data\":{\"a\":null,\"c\":3}}", NONE);
    cr_expect_eq(merged.status, 200);
    expect_member(&f, merged, "data", "{\"b\":2,\"c\":3}");
    expect_member(&f, merged, "idle_ttl_ms", "5000");
    expect_member(&f, merged, "max_ttl_ms", "6000");
    struct reply cleared = client_ask(&f, "PATCH /v1/sessions/mine",
                                      "{\"data\":null,\"idle_ttl_ms\":null,\"max_ttl_ms\":null}",
                                      "Content-Type: application/merge-patch+json", NONE);
    expect_member(&f, cleared, "data", "{}");
    expect_member(&f, cleared, "idle_ttl_ms", "1800000");
    expect_member(&f, cleared, "max_ttl_ms", "86400000");
    expect_problem(&f, client_ask(&f, "PATCH /v1/sessions/mine", "{}", "If-Match: \"1\"", NONE),
                   STATUS_VERSION_MISMATCH);
    expect_problem(&f, client_ask(&f, "PATCH /v1/sessions/other", "{}", NONE),
                   STATUS_SESSION_NOT_FOUND);
    fixture_close(&f);
}

Test(session_routes, deleting_is_the_same_again_and_of_what_never_was)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/sessions/mine", NULL, NONE);
    expect_problem(&f, client_ask(&f, "DELETE /v1/sessions/mine", NULL, "If-Match: \"9\"", NONE),
                   STATUS_VERSION_MISMATCH);
    static const char *const LINES[] = {"DELETE /v1/sessions/mine", "DELETE /v1/sessions/mine",
                                        "DELETE /v1/sessions/never"};
    for (size_t i = 0; i < 3; i++) {
        struct reply gone = client_ask(&f, LINES[i], NULL, NONE);
        cr_expect_eq(gone.status, 204);
        cr_expect_null(gone.x->response.content_type);
    }
    expect_problem(&f, get(&f, "mine"), STATUS_SESSION_ENDED);
    fixture_close(&f);
}

Test(session_routes, touching_answers_what_is_left_and_nothing_else)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/sessions/mine", NULL, NONE);
    fixture_pass(&f, 1000);
    struct reply touched = client_ask(&f, "POST /v1/sessions/mine/touch", NULL, NONE);
    cr_expect_eq(touched.status, 200);
    cr_expect_str_eq(reply_member(&f, touched, ""),
                     "{\"expires_in_ms\":1800000,\"expires_at\":\"1970-01-01T00:46:41.000Z\"}");
    fixture_close(&f);
}

Test(session_routes, a_session_put_to_an_end_in_the_past_has_nothing_left)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/sessions/mine", NULL, NONE);
    fixture_pass(&f, 1000);
    struct reply put = client_ask(&f, "PUT /v1/sessions/mine", "{\"max_ttl_ms\":1}", NONE);
    expect_member(&f, put, "expires_in_ms", "0");
    expect_problem(&f, get(&f, "mine"), STATUS_SESSION_ENDED);
    fixture_close(&f);
}

Test(session_routes, rotating_answers_a_new_token_and_moves_to_a_subject)
{
    struct fixture f;
    fixture_open(&f);
    struct reply made = client_ask(&f, "POST /v1/sessions", "{\"data\":{\"a\":1}}", NONE);
    const char *id = reply_string(&f, made, "id");
    struct reply rotated = client_ask(&f, format(&f, "POST /v1/sessions/$/rotate", id),
                                      "{\"grace_ms\":1000,\"subject\":\"ada\"}", NONE);
    cr_expect_eq(rotated.status, 200);
    cr_expect_str_eq(reply_header(&f, rotated, "Cache-Control"), "no-store");
    cr_expect_str_eq(reply_header(&f, rotated, "ETag"), "\"2\"");
    expect_member(&f, rotated, "subject", "\"ada\"");
    expect_member(&f, rotated, "data", "{\"a\":1}");
    const char *new_id = reply_string(&f, rotated, "id");
    cr_expect_eq(strncmp(new_id, "fdee430d40bd57de~", 17), 0, "%s", new_id);
    cr_expect_str_eq(reply_string(&f, resolve(&f, reply_string(&f, rotated, "token")), "id"),
                     new_id);
    cr_expect_str_eq(reply_string(&f, resolve(&f, reply_string(&f, made, "token")), "id"), new_id);
    fixture_pass(&f, 1000);
    struct reply late = resolve(&f, reply_string(&f, made, "token"));
    expect_problem(&f, late, STATUS_SESSION_ENDED);
    expect_member(&f, late, "reason", "\"rotated\"");
    fixture_close(&f);
}

/* ---- replays ------------------------------------------------------------------------------------------------------ */

Test(session_routes, a_replay_shows_the_same_token_again)
{
    struct fixture f;
    fixture_open(&f);
    static const char KEY[] = "Idempotency-Key: k-1";
    struct reply first = client_ask(&f, "POST /v1/sessions", "{}", KEY, NONE);
    fixture_pass(&f, 5000);
    struct reply again = client_ask(&f, "POST /v1/sessions", "{}", KEY, NONE);
    cr_expect_eq(again.status, 201);
    cr_expect_str_eq(reply_header(&f, again, "Idempotent-Replayed"), "true");
    cr_expect_str_eq(reply_member(&f, again, ""), reply_member(&f, first, ""));
    cr_expect_eq(resolve(&f, reply_string(&f, again, "token")).status, 200);

    const char *rotate = format(&f, "POST /v1/sessions/$/rotate", reply_string(&f, first, "id"));
    struct reply rotated = client_ask(&f, rotate, NULL, KEY, NONE);
    struct reply rotated_again = client_ask(&f, rotate, NULL, KEY, NONE);
    cr_expect_eq(rotated_again.status, 200);
    cr_expect_str_eq(reply_member(&f, rotated_again, ""), reply_member(&f, rotated, ""));
    expect_problem(&f, client_ask(&f, "POST /v1/sessions", "{\"data\":{}}", KEY, NONE),
                   STATUS_IDEMPOTENCY_KEY_REUSED);
    fixture_close(&f);
}

Test(session_routes, a_replayed_refusal_is_the_first_one_word_for_word)
{
    struct fixture f;
    fixture_open(&f);
    static const char BODY[] = "{\"subject\":\"ada\",\"subject_limit\":1}";
    client_ask(&f, "POST /v1/sessions", BODY, NONE);
    struct reply first = client_ask(&f, "POST /v1/sessions", BODY, "Idempotency-Key: \"k\"", NONE);
    client_ask(&f, "DELETE /v1/subjects/ada/sessions", NULL, NONE);
    struct reply again = client_ask(&f, "POST /v1/sessions", BODY, "Idempotency-Key: \"k\"", NONE);
    expect_problem(&f, again, STATUS_SUBJECT_LIMIT);
    cr_expect_str_eq(reply_member(&f, again, ""), reply_member(&f, first, ""));
    fixture_close(&f);
}

Test(session_routes, a_resolve_that_only_looks_is_replayed_too)
{
    struct fixture f;
    fixture_open(&f);
    struct reply made = client_ask(&f, "POST /v1/sessions", NULL, NONE);
    const char *body =
        format(&f, "{\"token\":\"$\",\"touch\":false}", reply_string(&f, made, "token"));
    client_ask(&f, "POST /v1/sessions/resolve", body, "Idempotency-Key: k", NONE);
    client_ask(&f, format(&f, "DELETE /v1/sessions/$", reply_string(&f, made, "id")), NULL, NONE);
    struct reply again =
        client_ask(&f, "POST /v1/sessions/resolve", body, "Idempotency-Key: k", NONE);
    cr_expect_eq(again.status, 200);
    cr_expect_str_eq(reply_header(&f, again, "Idempotent-Replayed"), "true");
    fixture_close(&f);
}

/* ---- long polls --------------------------------------------------------------------------------------------------- */

static struct reply watch(struct fixture *f, const char *id, const char *header)
{
    return client_ask(f, format(f, "GET /v1/sessions/$?wait_ms=20000", id), NULL, header, NONE);
}

Test(session_routes, a_watcher_is_parked_until_the_version_differs)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/sessions/mine", NULL, NONE);
    cr_expect_eq(watch(&f, "mine", "If-None-Match: \"7\"").status, 200);
    struct reply parked = watch(&f, "mine", "If-None-Match: \"1\"");
    cr_assert_eq(parked.status, 0);
    client_ask(&f, "PATCH /v1/sessions/mine", "{}", NONE);
    cr_expect(fixture_event(&f, parked.x->topic.kind, "mine", NULL));
    struct reply woken = client_wake(&f, parked, WAKE_EVENT);
    cr_expect_eq(woken.status, 200);
    expect_member(&f, woken, "version", "2");
    fixture_close(&f);
}

Test(session_routes, a_watcher_whose_time_is_over_is_told_that_nothing_changed)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/sessions/mine", NULL, NONE);
    struct reply parked = watch(&f, "mine", "If-None-Match: \"1\"");
    fixture_pass(&f, 20000);
    struct reply over = client_wake(&f, parked, WAKE_TIME_OVER);
    cr_expect_eq(over.status, 304);
    cr_expect_str_eq(reply_header(&f, over, "ETag"), "\"1\"");
    fixture_close(&f);
}

Test(session_routes, a_watcher_learns_of_the_end_by_time)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/sessions/mine", "{\"idle_ttl_ms\":500}", NONE);
    struct reply parked = watch(&f, "mine", "If-None-Match: \"1\"");
    fixture_pass(&f, 500);
    fixture_do(&f, (struct command){.kind = COMMAND_TICK, .tick = {.steps_max = 10}});
    cr_expect(fixture_event(&f, EVENT_SESSION, "mine", NULL));
    struct reply woken = client_wake(&f, parked, WAKE_EVENT);
    expect_problem(&f, woken, STATUS_SESSION_ENDED);
    expect_member(&f, woken, "reason", "\"idle\"");
    fixture_close(&f);
}

Test(session_routes, a_watcher_of_an_old_id_waits_for_its_successor_and_for_the_end_of_the_grace)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/sessions/mine", NULL, NONE);
    struct reply rotated =
        client_ask(&f, "POST /v1/sessions/mine/rotate", "{\"grace_ms\":3000}", NONE);
    const char *id = reply_string(&f, rotated, "id");
    struct reply parked = watch(&f, "mine", "If-None-Match: \"2\"");
    cr_assert_eq(parked.status, 0);
    cr_expect(text_equal(parked.x->topic.name, text_of(id)));
    fixture_pass(&f, 3000);
    fixture_do(&f, (struct command){.kind = COMMAND_TICK, .tick = {.steps_max = 10}});
    cr_expect(fixture_event(&f, EVENT_SESSION, id, NULL));
    struct reply woken = client_wake(&f, parked, WAKE_EVENT);
    expect_problem(&f, woken, STATUS_SESSION_ENDED);
    expect_member(&f, woken, "reason", "\"rotated\"");
    fixture_close(&f);
}

Test(session_routes, a_watcher_follows_when_its_session_is_rotated)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/sessions/mine", NULL, NONE);
    struct reply parked = watch(&f, "mine", "If-None-Match: \"1\"");
    struct reply rotated =
        client_ask(&f, "POST /v1/sessions/mine/rotate", "{\"grace_ms\":3000}", NONE);
    cr_expect(fixture_event(&f, EVENT_SESSION, "mine", NULL));
    struct reply woken = client_wake(&f, parked, WAKE_EVENT);
    cr_expect_eq(woken.status, 200);
    cr_expect_str_eq(reply_string(&f, woken, "id"), reply_string(&f, rotated, "id"));
    fixture_close(&f);
}

/* ---- a subject's sessions ----------------------------------------------------------------------------------------- */

Test(session_routes, a_subject_s_sessions_are_paged_without_tokens)
{
    struct fixture f;
    fixture_open(&f);
    const char *ids[5];
    for (int i = 0; i < 5; i++) {
        ids[i] = reply_string(
            &f, client_ask(&f, "POST /v1/sessions", "{\"subject\":\"ada\"}", NONE), "id");
    }
    const char *line = "GET /v1/subjects/ada/sessions?limit=2";
    for (int i = 0; i < 5; i += 2) {
        struct reply page = client_ask(&f, line, NULL, NONE);
        cr_assert_eq(page.status, 200);
        cr_expect_str_eq(reply_string(&f, page, "items.0.id"), ids[i]);
        expect_member(&f, page, "items.0.token", NULL);
        expect_member(&f, page, "items.2", NULL);
        if (i == 4) {
            expect_member(&f, page, "next_cursor", NULL);
        } else {
            line = format(&f, "GET /v1/subjects/ada/sessions?limit=2&cursor=$",
                          reply_string(&f, page, "next_cursor"));
        }
    }
    fixture_close(&f);
}

Test(session_routes, revoking_a_subject_spares_the_one_excepted)
{
    struct fixture f;
    fixture_open(&f);
    const char *id = NULL;
    for (int i = 0; i < 3; i++) {
        id = reply_string(&f, client_ask(&f, "POST /v1/sessions", "{\"subject\":\"ada\"}", NONE),
                          "id");
    }
    struct reply revoked =
        client_ask(&f, format(&f, "DELETE /v1/subjects/ada/sessions?except=$", id), NULL, NONE);
    cr_expect_eq(revoked.status, 200);
    cr_expect_str_eq(reply_member(&f, revoked, ""), "{\"revoked\":2}");
    cr_expect_eq(get(&f, id).status, 200);
    fixture_close(&f);
}

/* ---- in transactions ---------------------------------------------------------------------------------------------- */

Test(session_routes, sessions_take_part_in_transactions_but_for_those_that_show_a_token)
{
    struct fixture f;
    fixture_open(&f);
    client_ask(&f, "PUT /v1/sessions/a~1", NULL, NONE);
    struct reply done = client_ask(&f, "POST /v1/transactions",
                                   "{\"operations\":["
                                   "{\"method\":\"PUT\",\"path\":\"/v1/sessions/"
                                   "a~1\",\"body\":{\"data\":{\"n\":1}},\"if_match\":1},"
                                   "{\"method\":\"POST\",\"path\":\"/v1/sessions/a~1/touch\"},"
                                   "{\"method\":\"GET\",\"path\":\"/v1/sessions/a~1\"},"
                                   "{\"method\":\"DELETE\",\"path\":\"/v1/sessions/a~1\"}]}",
                                   NONE);
    cr_expect_eq(done.status, 200);
    expect_member(&f, done, "results.0.status", "200");
    expect_member(&f, done, "results.2.body.data", "{\"n\":1}");
    expect_member(&f, done, "results.3", "{\"status\":204}");
    static const char *const TOKENS[] = {"/v1/sessions", "/v1/sessions/a~1/rotate"};
    for (size_t i = 0; i < 2; i++) {
        struct reply refused = client_ask(
            &f, "POST /v1/transactions",
            format(&f, "{\"operations\":[{\"method\":\"POST\",\"path\":\"$\"}]}", TOKENS[i]), NONE);
        expect_problem(&f, refused, STATUS_NOT_TRANSACTIONAL);
    }
    fixture_close(&f);
}
