/* JSON Merge Patch on compact texts. */
#include "db/merge_patch.h"

#include <criterion/criterion.h>
#include <stdio.h>

static void expect(const char *target, const char *patch, const char *outcome)
{
    struct arena arena = ARENA_EMPTY;
    struct text got = TEXT_ABSENT;
    bool merged = merge_patch(&arena, text_of(target), text_of(patch), &got);
    cr_expect_eq(merged, outcome != NULL, "%s with %s", target, patch);
    cr_expect(outcome == NULL || text_equal(got, text_of(outcome)), "%s with %s: got %.*s", target,
              patch, (int)got.len, got.at == NULL ? "" : got.at);
    arena_free(&arena);
}

/* RFC 7396, appendix A, as far as both are objects. */
Test(merge_patch, does_what_the_rfc_lists)
{
    expect("{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}");
    expect("{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}");
    expect("{\"a\":\"b\"}", "{\"a\":null}", "{}");
    expect("{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}");
    expect("{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}");
    expect("{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}");
    expect("{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}");
    expect("{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}");
    expect("{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}");
    expect("{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}");
}

Test(merge_patch, keeps_the_order_and_the_spelling_of_what_it_leaves_alone)
{
    expect("{\"b\":1.50,\"a\":1e999,\"c\":-0}", "{\"d\":[{\"x\":null}],\"a\":2,\"b\":null}",
           "{\"a\":2,\"c\":-0,\"d\":[{\"x\":null}]}");
    expect("{\"a\":7}", "{\"a\":{\"y\":null,\"z\":1}}", "{\"a\":{\"z\":1}}");
    expect("{\"]\\\"}\":[\"]\",{\"}\":\"\\\\\"}]}", "{\"k\":\"{,\"}",
           "{\"]\\\"}\":[\"]\",{\"}\":\"\\\\\"}],\"k\":\"{,\"}");
    expect("{}", "{}", "{}");
    expect("{\"a\":{},\"\":0}", "{\"a\":{}}", "{\"a\":{},\"\":0}");
}

Test(merge_patch, refuses_what_is_no_object)
{
    static const char *const BROKEN[] = {
        "",           "[]",           "1",           "null",       "{",
        "{\"a\"",     "{\"a\":",      "{\"a\":1",    "{\"a\":}",   "{\"a\":[}",
        "{\"a\":[",   "{\"a\":\"",    "{\"a\":\"\\", "{\"a\":1,}", "{a:1}",
        "{\"a\":1}x", "{\"a\":[\"]}", "{\"a\":{}}}", "{,}"};
    for (size_t i = 0; i < sizeof BROKEN / sizeof BROKEN[0]; i++) {
        expect(BROKEN[i], "{}", NULL);
        expect("{}", BROKEN[i], NULL);
    }
    expect(NULL, "{}", NULL);
    expect("{}", NULL, NULL);
}

/* "{"PREFIX0":V,"PREFIX1":V, …}" */
static struct text many(struct arena *arena, size_t count, const char *prefix, const char *value)
{
    char *begin = arena_alloc(arena, count * 32 + 2), *at = begin;
    *at++ = '{';
    for (size_t i = 0; i < count; i++) {
        at += sprintf(at, "%s\"%s%zu\":%s", i == 0 ? "" : ",", prefix, i, value);
    }
    *at++ = '}';
    return (struct text){begin, (size_t)(at - begin)};
}

/* Each with each would be ten thousand million comparisons. */
Test(merge_patch, takes_objects_of_many_members, .timeout = 10)
{
    enum { MEMBERS = 100000 };
    struct arena arena = ARENA_EMPTY;
    struct text ones = many(&arena, MEMBERS, "a", "1"), others = many(&arena, MEMBERS, "b", "2");
    struct text twos = many(&arena, MEMBERS, "a", "2"), nulls = many(&arena, MEMBERS, "a", "null");
    struct text got;
    cr_assert(merge_patch(&arena, ones, twos, &got));
    cr_expect(text_equal(got, twos));
    cr_assert(merge_patch(&arena, ones, others, &got));
    cr_expect_eq(got.len, ones.len + others.len - 1);
    cr_assert(merge_patch(&arena, ones, nulls, &got));
    cr_expect(text_equal(got, TEXT("{}")));
    arena_free(&arena);
}
