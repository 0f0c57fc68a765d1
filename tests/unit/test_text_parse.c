/* The readers of small texts: each takes exactly its form, and says no to everything else. */
#include "db/limits.h"
#include "handlers/text_parse.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- decimals ----------------------------------------------------------------------------------------------------- */

Test(text_parse, a_decimal_is_digits_without_sign_or_leading_zero)
{
    struct decimal {
        const char *text;
        int64_t n;
    };
    static const struct decimal GOOD[] = {
        {"0", 0}, {"7", 7}, {"10", 10}, {"9223372036854775807", INT64_MAX}};
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++) {
        int64_t n = -1;
        cr_expect(parse_decimal(text_of(GOOD[i].text), &n), "%s", GOOD[i].text);
        cr_expect_eq(n, GOOD[i].n, "%s", GOOD[i].text);
    }
    static const char *const BAD[] = {"",
                                      "-1",
                                      "+1",
                                      "01",
                                      "00",
                                      " 1",
                                      "1 ",
                                      "1a",
                                      "0x1",
                                      "1.0",
                                      "9223372036854775808",
                                      "10000000000000000000",
                                      "00000000000000000001"};
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        int64_t n = 42;
        cr_expect_not(parse_decimal(text_of(BAD[i]), &n), "%s", BAD[i]);
        cr_expect_eq(n, 42, "a failure leaves the output alone: %s", BAD[i]);
    }
    int64_t n;
    cr_expect_not(parse_decimal((struct text){"1\0", 2}, &n));
    cr_expect_not(parse_decimal(TEXT_ABSENT, &n));
}

/* ---- percent-encoding --------------------------------------------------------------------------------------------- */

static bool percent(const char *encoded, bool plus_is_space, const char *decoded)
{
    struct arena arena = ARENA_EMPTY;
    struct text got;
    /* The input stands at the very end of its memory, so that reading past it is seen. */
    size_t len = strlen(encoded);
    char *exact = malloc(len == 0 ? 1 : len);
    memcpy(exact, encoded, len);
    bool good = parse_percent((struct text){exact, len}, plus_is_space, &arena, &got);
    if (good && decoded != NULL) {
        cr_expect(text_equal(got, text_of(decoded)), "%s became %.*s", encoded, (int)got.len,
                  got.at);
        cr_expect_eq(got.at[got.len], '\0', "the decoded text is terminated");
    }
    free(exact);
    arena_free(&arena);
    return good;
}

Test(text_parse, percent_decoding_knows_both_cases_of_hex)
{
    cr_expect(percent("a%2Fb%2fc", false, "a/b/c"));
    cr_expect(percent("", false, ""));
    cr_expect(percent("%c3%A9", false, "\xc3\xa9"));
    cr_expect(percent("%2525", false, "%25"), "nothing is decoded twice");
}

Test(text_parse, a_plus_is_a_space_only_in_a_query)
{
    cr_expect(percent("a+b%2B", true, "a b+"));
    cr_expect(percent("a+b", false, "a+b"));
}

Test(text_parse, a_broken_escape_is_refused)
{
    static const char *const BAD[] = {"%", "%2", "a%", "a%2", "%zz", "%2g", "%%41", "% 41", "%-1"};
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        cr_expect_not(percent(BAD[i], false, NULL), "%s", BAD[i]);
    }
}

Test(text_parse, percent_00_decodes_to_a_nul_byte_that_no_name_has)
{
    struct arena arena = ARENA_EMPTY;
    struct text got;
    cr_assert(parse_percent(TEXT("a%00b"), false, &arena, &got));
    cr_expect_eq(got.len, 3);
    cr_expect_not(name_valid(got));
    arena_free(&arena);
}

/* ---- instants ----------------------------------------------------------------------------------------------------- */

struct instant {
    const char *text;
    int64_t at_ms;
};

Test(text_parse, instants_are_rfc_3339)
{
    static const struct instant GOOD[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.001Z", 1},
        {"1970-01-01t00:00:00.5z", 500},
        {"2026-01-31T08:15:00.123Z", 1769847300123},
        {"2026-01-31 08:15:00.123456789Z", 1769847300123},
        {"2026-01-31T09:15:00.123+01:00", 1769847300123},
        {"2026-01-31T00:15:00.123-08:00", 1769847300123},
        {"2024-02-29T12:00:00Z", 1709208000000},
        {"2016-12-31T23:59:60Z", 1483228800000},
        {"1970-01-01T01:00:00+01:00", 0},
        {"9999-12-31T23:59:59.999Z", 253402300799999},
    };
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++) {
        int64_t at_ms = -1;
        cr_expect(parse_instant(text_of(GOOD[i].text), &at_ms), "%s", GOOD[i].text);
        cr_expect_eq(at_ms, GOOD[i].at_ms, "%s: %lld", GOOD[i].text, (long long)at_ms);
    }
}

Test(text_parse, what_is_no_instant_is_refused)
{
    static const char *const BAD[] = {
        "",
        "2026",
        "2026-01-31",
        "2026-01-31T08:15:00",
        "2026-01-31T08:15:00.Z",
        "2026-01-31T08:15:00.123",
        "2026-02-30T08:15:00Z",
        "2023-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-10T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T08:60:00Z",
        "2026-01-31T08:15:61Z",
        "2026-01-31T08:15:00+0100",
        "2026-01-31T08:15:00+24:00",
        "2026-01-31T08:15:00+01:60",
        "2026-01-31T08:15:00Zx",
        "2026-01-31T08:15:00Z ",
        " 2026-01-31T08:15:00Z",
        "2026-1-31T08:15:00Z",
        "26-01-31T08:15:00Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "2026/01/31T08:15:00Z",
        "2026-01-31T08.15.00Z",
        "+026-01-31T08:15:00Z",
        "2026-01-31T-8:15:00Z",
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        int64_t at_ms = 42;
        cr_expect_not(parse_instant(text_of(BAD[i]), &at_ms), "%s: %lld", BAD[i], (long long)at_ms);
        cr_expect_eq(at_ms, 42, "a failure leaves the output alone: %s", BAD[i]);
    }
}

/* ---- entity tags and preferences ---------------------------------------------------------------------------------- */

/* The tags that are taken off the list, as "W7 8 ", and what is left at its front when none can be. */
static const char *tags_of(const char *list, struct text *ret_rest)
{
    static char said[128];
    struct text opaque;
    bool weak;
    *ret_rest = text_of(list);
    said[0] = '\0';
    while (parse_next_etag(ret_rest, &weak, &opaque)) {
        size_t len = strlen(said);
        snprintf(said + len, sizeof said - len, "%s%.*s ", weak ? "W" : "", (int)opaque.len,
                 opaque.at);
    }
    return said;
}

Test(text_parse, entity_tags_come_off_their_list_one_by_one)
{
    static const struct {
        const char *list, *tags, *rest;
    } LISTS[] = {{"\"7\"", "7 ", ""},
                 {"W/\"7\"", "W7 ", ""},
                 {"\"7\", W/\"8\"\t,\"\"", "7 W8  ", ""},
                 {" ,, \"a,b\" ,", "a,b ", ""},
                 {"", "", ""},
                 {"*", "", "*"},
                 {"7", "", "7"},
                 {"\"", "", "\""},
                 {"\"7", "", "\"7"},
                 {"7\"", "", "7\""},
                 {"w/\"7\"", "", "w/\"7\""},
                 {"W/", "", "W/"},
                 {"W/7", "", "W/7"},
                 {"\"7 8\"", "", "\"7 8\""},
                 {"\"7\" \"8\"", "", "\"7\" \"8\""},
                 {"\"7\", 8", "7 ", "8"}};
    for (size_t i = 0; i < sizeof LISTS / sizeof LISTS[0]; i++) {
        struct text rest;
        cr_expect_str_eq(tags_of(LISTS[i].list, &rest), LISTS[i].tags, "%s", LISTS[i].list);
        cr_expect(text_equal(rest, text_of(LISTS[i].rest)), "%s: %.*s", LISTS[i].list,
                  (int)rest.len, rest.at);
    }
}

Test(text_parse, a_traceparent_is_of_its_form)
{
#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"
    cr_expect(traceparent_valid(TEXT("00-" TRACE "-" SPAN "-01")));
    cr_expect(traceparent_sampled(TEXT("00-" TRACE "-" SPAN "-01")));
    cr_expect(traceparent_sampled(TEXT("00-" TRACE "-" SPAN "-0b")));
    cr_expect_not(traceparent_sampled(TEXT("00-" TRACE "-" SPAN "-10")));
    cr_expect(traceparent_valid(TEXT("cc-" TRACE "-" SPAN "-01-and-more")), "a later version");
    static const char *const BAD[] = {"",
                                      "00-" TRACE "-" SPAN,
                                      "00-" TRACE "-" SPAN "-0",
                                      "00-" TRACE "-" SPAN "-01-and-more",
                                      "cc-" TRACE "-" SPAN "-01and-more",
                                      "ff-" TRACE "-" SPAN "-01",
                                      "00-00000000000000000000000000000000-" SPAN "-01",
                                      "00-" TRACE "-0000000000000000-01",
                                      "00-" TRACE "-" SPAN "-0G",
                                      "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01",
                                      "00_" TRACE "-" SPAN "-01"};
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        cr_expect_not(traceparent_valid(text_of(BAD[i])), "%s", BAD[i]);
    }
#undef TRACE
#undef SPAN
}

Test(text_parse, a_preference_is_found_in_its_list)
{
    cr_expect(text_equal(parse_preference(TEXT("wait=10"), "wait"), TEXT("10")));
    cr_expect(text_equal(parse_preference(TEXT("respond-async, wait = 10"), "wait"), TEXT("10")));
    cr_expect(text_equal(parse_preference(TEXT("WAIT=3,wait=4"), "wait"), TEXT("3")),
              "the first one counts");
    cr_expect(text_equal(parse_preference(TEXT("wait=\"5\"; x=1,a"), "wait"), TEXT("5")));
    cr_expect(text_equal(parse_preference(TEXT("a;wait=1, wait;wait=2"), "wait"), TEXT("")));
    struct text async = parse_preference(TEXT(" a ,respond-async"), "respond-async");
    cr_expect(text_given(async) && async.len == 0);
    cr_expect_not(text_given(parse_preference(TEXT("waiting=1"), "wait")));
    cr_expect_not(text_given(parse_preference(TEXT(",,="), "wait")));
    cr_expect_not(text_given(parse_preference(TEXT(""), "wait")));
}

/* ---- base64url ---------------------------------------------------------------------------------------------------- */

Test(text_parse, base64url_gives_back_what_it_took)
{
    struct arena arena = ARENA_EMPTY;
    char bytes[67];
    for (size_t len = 0; len <= sizeof bytes; len++) {
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (char)(i * 37 + len);
        }
        struct text back, encoded = base64url_encode((struct text){bytes, len}, &arena);
        cr_assert_eq(encoded.len, (len * 4 + 2) / 3);
        cr_expect_null(memchr(encoded.at, '=', encoded.len), "there is no padding");
        cr_assert(base64url_decode(encoded, &arena, &back));
        cr_expect(text_equal(back, (struct text){bytes, len}));
    }
    arena_free(&arena);
}

Test(text_parse, base64url_takes_one_spelling_of_each_text)
{
    struct arena arena = ARENA_EMPTY;
    struct text ret;
    /* "aR" would be the byte of "aQ", and bits that nobody reads. */
    static const char *const BAD[] = {"a",    "aaaaa",    "aQ==", "aQ=",         "a+b/",
                                      "a b=", "aQ\n",     "%41",  "aR",          "ab",
                                      "aaB",  "AAAA    ", "AA A", "AAAA\n\n\n\n"};
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        cr_expect_not(base64url_decode(text_of(BAD[i]), &arena, &ret), "%s", BAD[i]);
    }
    cr_expect(base64url_decode(TEXT("-_-_"), &arena, &ret));
    cr_expect(base64url_decode(TEXT(""), &arena, &ret));
    arena_free(&arena);
}

/* ---- UTF-8 -------------------------------------------------------------------------------------------------------- */

Test(text_parse, utf_8_is_told_from_what_only_looks_like_it)
{
    static const char *const GOOD[] = {"", "a\x7f", "\xc2\x80\xdf\xbf",
                                       "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"};
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++) {
        cr_expect(utf8_valid(text_of(GOOD[i])), "number %zu", i);
    }
    static const char *const BAD[] = {"\x80",
                                      "\xbf",
                                      "\xc0\xaf",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x41",
                                      "\xe0\x80\x80",
                                      "\xe0\x9f\xbf",
                                      "\xe1\x80",
                                      "\xed\xa0\x80",
                                      "\xf0\x80\x80\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "a\xe2\x82"};
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        cr_expect_not(utf8_valid(text_of(BAD[i])), "number %zu", i);
    }
}

/* ---- names and small helpers -------------------------------------------------------------------------------------- */

Test(text_parse, trimming_takes_spaces_and_tabs_only)
{
    cr_expect(text_equal(text_trim(TEXT(" \ta b\t ")), TEXT("a b")));
    cr_expect(text_equal(text_trim(TEXT(" \t ")), TEXT("")));
    cr_expect(text_equal(text_trim(TEXT("\na\r")), TEXT("\na\r")));
}

Test(text_parse, header_names_are_compared_without_case)
{
    cr_expect(text_equal_nocase(TEXT("hOsT"), "Host"));
    cr_expect_not(text_equal_nocase(TEXT("Host "), "Host"));
    cr_expect_not(text_equal_nocase(TEXT("Hos"), "Host"));
}

Test(text_parse, a_name_has_the_bytes_of_the_contract_and_no_others)
{
    static const char ALLOWED[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-~:@+=,";
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        bool allowed = memchr(ALLOWED, c, sizeof ALLOWED - 1) != NULL;
        cr_expect_eq(name_valid((struct text){&byte, 1}), allowed, "byte %d", c);
    }
}

Test(text_parse, a_name_has_1_to_255_bytes)
{
    char bytes[NAME_BYTES_MAX + 1];
    memset(bytes, 'n', sizeof bytes);
    cr_expect(name_valid((struct text){bytes, NAME_BYTES_MAX}));
    cr_expect_not(name_valid((struct text){bytes, NAME_BYTES_MAX + 1}));
    cr_expect_not(name_valid(TEXT("")));
    cr_expect_not(name_valid(TEXT_ABSENT));
}

Test(text_parse, the_routing_key_ends_at_the_first_tilde)
{
    cr_expect(text_equal(text_routing_key(TEXT("order-17~pay~x")), TEXT("order-17")));
    cr_expect(text_equal(text_routing_key(TEXT("order-17")), TEXT("order-17")));
    cr_expect(text_equal(text_routing_key(TEXT("~x")), TEXT("")));
}
