/* The cache of sessions: what it may say, and when it must say nothing. */
#include "db/session_cache.h"
#include "tests/unit/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct arena arena;
static struct session_cache *cache;

static void begin(void)
{
    cache = session_cache_make(64 * 1024);
    cr_assert_not_null(cache);
}

static void end(void)
{
    session_cache_free(cache);
    arena_free(&arena);
}

TestSuite(session_cache, .init = begin, .fini = end);

static bool get(const char *id, struct session_view *ret, uint64_t *ret_ticket)
{
    return session_cache_get(cache, text_of(id), &arena, ret, ret_ticket);
}

static bool has(const char *id)
{
    struct session_view view;
    uint64_t ticket;
    return get(id, &view, &ticket);
}

static uint64_t miss(const char *id)
{
    struct session_view view;
    uint64_t ticket;
    cr_assert_not(get(id, &view, &ticket));
    return ticket;
}

static void put(const char *id, int64_t version, uint64_t ticket)
{
    struct session_view view = {.id = text_of(id), .data = TEXT("{\"a\":1}"), .version = version};
    session_cache_put(cache, &view, ticket);
}

Test(session_cache, gives_back_what_was_put)
{
    struct session_view view;
    uint64_t ticket = miss("s");
    put("s", 7, ticket);
    cr_assert(get("s", &view, &ticket));
    cr_expect_eq(view.version, 7);
    cr_expect(text_equal(view.data, TEXT("{\"a\":1}")));
    cr_expect_not(text_given(view.subject));
}

Test(session_cache, a_closed_session_is_neither_got_nor_put)
{
    put("s", 1, miss("s"));
    session_cache_close(cache, TEXT("s"));
    uint64_t ticket = miss("s");
    put("s", 1, ticket);
    cr_expect_not(has("s"));
    session_cache_open(cache, TEXT("s"));
    cr_expect_not(has("s"));
}

Test(session_cache, what_was_read_before_a_commit_is_not_kept_after_it)
{
    uint64_t before = miss("s");
    session_cache_close(cache, TEXT("s"));
    uint64_t during = miss("s");
    session_cache_open(cache, TEXT("s"));
    put("s", 1, before);
    cr_expect_not(has("s"));
    put("s", 1, during);
    cr_expect_not(has("s"));
    put("s", 2, miss("s"));
    cr_expect(has("s"));
}

Test(session_cache, closed_twice_must_be_opened_twice)
{
    session_cache_close(cache, TEXT("s"));
    session_cache_close(cache, TEXT("s"));
    session_cache_open(cache, TEXT("s"));
    put("s", 1, miss("s"));
    cr_expect_not(has("s"));
    session_cache_open(cache, TEXT("s"));
    put("s", 1, miss("s"));
    cr_expect(has("s"));
}

Test(session_cache, a_full_cache_keeps_what_is_used)
{
    put("used", 1, miss("used"));
    for (int i = 0; i < 2000; i++) {
        char id[16];
        snprintf(id, sizeof id, "s-%d", i);
        put(id, 1, miss(id));
        cr_assert(has("used"), "it went after %d others", i);
    }
    cr_expect_not(has("s-0"));
}

/* ---- through the machine ------------------------------------------------------------------------------------------ */

static struct command put_command(const char *data)
{
    return (struct command){.kind = COMMAND_SESSION_PUT,
                            .session_put = {.id = TEXT("s"),
                                            .data = text_of(data),
                                            .idle_ttl_ms = 1000,
                                            .max_ttl_ms = 5000,
                                            .condition = UNCONDITIONAL}};
}

static const struct command GET = {.kind = COMMAND_SESSION_GET,
                                   .session_get = {.id = TEXT("s"), .condition = UNCONDITIONAL}};

/* Twice: the first read fills the cache, the second is answered from it. */
static struct result read_twice(struct fixture *f)
{
    fixture_read(f, GET);
    return fixture_read(f, GET);
}

Test(session_cache, a_read_after_each_kind_of_write_sees_it)
{
    struct fixture f;
    fixture_open(&f);
    fixture_do(&f, put_command("{\"a\":1}"));
    cr_expect(text_equal(read_twice(&f).session.data, TEXT("{\"a\":1}")));
    fixture_do(&f, put_command("{\"a\":2}"));
    cr_expect(text_equal(read_twice(&f).session.data, TEXT("{\"a\":2}")));
    fixture_pass(&f, 500);
    struct command touch = {.kind = COMMAND_SESSION_TOUCH,
                            .session_touch = {.id = TEXT("s"), .condition = UNCONDITIONAL}};
    fixture_do(&f, touch);
    cr_expect_eq(read_twice(&f).session.last_seen_at_ms, f.now.now_ms);
    struct command delete = {.kind = COMMAND_SESSION_DELETE,
                             .session_delete = {.id = TEXT("s"), .condition = UNCONDITIONAL}};
    fixture_do(&f, delete);
    cr_expect_eq(read_twice(&f).status, STATUS_SESSION_ENDED);
    fixture_close(&f);
}

Test(session_cache, a_cached_session_ends_on_time_without_a_tick)
{
    struct fixture f;
    fixture_open(&f);
    fixture_do(&f, put_command("{}"));
    cr_expect_eq(read_twice(&f).status, STATUS_OK);
    fixture_pass(&f, 999);
    cr_expect_eq(read_twice(&f).status, STATUS_OK);
    fixture_pass(&f, 1);
    cr_expect_eq(read_twice(&f).status, STATUS_SESSION_ENDED);
    fixture_close(&f);
}
