/* A list over all partitions: the pages become one, in the order of names, and nothing is passed over. */
#include "handlers/gather.h"
#include "handlers/process.h"
#include "handlers/route.h"
#include "tests/unit/fixture.h"

#include <criterion/criterion.h>

static struct arena arena;
static struct exchange x;

static struct text no_header(const void *source, const char *name)
{
    (void)source;
    (void)name;
    return TEXT_ABSENT;
}

/* A request for a page of that many. */
static struct gather *ask(int limit)
{
    static const struct process PROCESS = {.secret = {"a secret of the tests", 21}};
    x = exchange_make(&PROCESS, &arena);
    x.request.method = METHOD_GET;
    x.request.target = arena_format(&arena, "/v1/queues?limit=%d", limit);
    x.request.header = no_header;
    cr_assert_eq(exchange_route(&x), STATUS_OK);
    cr_assert_eq(exchange_prepare(&x), STATUS_OK);
    cr_assert(gather_wanted(&x));
    return gather_begin(&x);
}

static void gives(struct gather *gather, const char *start, bool more)
{
    gather_end(gather);
    struct text body = x.response.body; /* no NUL behind it */
    bool begins = body.len >= strlen(start) && memcmp(body.at, start, strlen(start)) == 0;
    bool goes_on = memmem(body.at, body.len, "next_cursor", strlen("next_cursor")) != NULL;
    cr_expect_eq(x.response.status, 200);
    cr_expect(begins, "%.*s", (int)body.len, body.at);
    cr_expect_eq(goes_on, more, "%.*s", (int)body.len, body.at);
    arena_free(&arena);
}

Test(gather, pages_become_one_in_the_order_of_names)
{
    struct gather *gather = ask(100);
    cr_expect(gather_add(gather, TEXT("{\"items\":[{\"name\":\"b\"},{\"name\":\"d\"}]}")));
    cr_expect(gather_add(gather, TEXT("{\"items\":[]}")));
    cr_expect(gather_add(gather, TEXT("{\"items\":[{\"name\":\"a\"},{\"name\":\"c\"}]}")));
    gives(gather,
          "{\"items\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"},{\"name\":\"d\"}]}",
          false);
}

Test(gather, a_page_is_no_longer_than_it_may_be)
{
    struct gather *gather = ask(2);
    cr_expect(gather_add(gather, TEXT("{\"items\":[{\"name\":\"b\"},{\"name\":\"d\"}]}")));
    cr_expect(gather_add(gather, TEXT("{\"items\":[{\"name\":\"a\"},{\"name\":\"c\"}]}")));
    gives(gather, "{\"items\":[{\"name\":\"a\"},{\"name\":\"b\"}],", true);
}

Test(gather, what_lies_behind_a_page_that_goes_on_waits_for_the_next)
{
    struct gather *gather = ask(100);
    cr_expect(gather_add(gather, TEXT("{\"items\":[{\"name\":\"a\"},{\"name\":\"c\"}],"
                                      "\"next_cursor\":\"x\"}")));
    cr_expect(gather_add(gather, TEXT("{\"items\":[{\"name\":\"b\"},{\"name\":\"e\"}]}")));
    gives(gather, "{\"items\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}],", true);
}

Test(gather, nothing_anywhere_is_an_empty_list)
{
    struct gather *gather = ask(100);
    cr_expect(gather_add(gather, TEXT("{\"items\":[]}")));
    gives(gather, "{\"items\":[]}", false);
}

Test(gather, what_is_no_page_is_refused)
{
    struct gather *gather = ask(100);
    cr_expect_not(gather_add(gather, TEXT("{\"items\":")));
    cr_expect_not(gather_add(gather, TEXT("{}")));
    cr_expect_not(gather_add(gather, TEXT("{\"items\":[{}]}")));
    arena_free(&arena);
}

Test(gather, the_shards_of_a_queue_become_one_with_their_home)
{
    struct gather *gather = ask(100);
    cr_expect(gather_add(gather, TEXT("{\"items\":[{\"name\":\"q\",\"ready\":2,\"oldest_age_ms\":9,"
                                      "\"shard\":1,\"born\":7},{\"name\":\"z\",\"ready\":1,"
                                      "\"shard\":1,\"born\":3}]}")));
    cr_expect(gather_add(gather, TEXT("{\"items\":[{\"name\":\"q\",\"ready\":1,\"oldest_age_ms\":4,"
                                      "\"paused\":false,\"shard\":0,\"born\":7}]}")));
    cr_expect(
        gather_add(gather, TEXT("{\"items\":[{\"name\":\"q\",\"ready\":5,\"oldest_age_ms\":99,"
                                "\"shard\":2,\"born\":6}]}")));
    gives(gather, "{\"items\":[{\"name\":\"q\",\"ready\":3,\"oldest_age_ms\":9,\"paused\":false}]}",
          false);
}

Test(gather, a_page_of_nothing_but_what_a_deleted_queue_has_left_leads_on)
{
    struct gather *gather = ask(1);
    cr_expect(gather_add(gather, TEXT("{\"items\":[{\"name\":\"a\",\"shard\":1,\"born\":7}],"
                                      "\"next_cursor\":\"x\"}")));
    gives(gather, "{\"items\":[],", true);
}
