/*
 * The JSON reader held to its header: what it takes and refuses, what it keeps as it was, where it says it stopped; and
 * jansson beside it on random and mutated documents, as the oracle.
 */
#include "db/limits.h"
#include "handlers/json.h"
#include "handlers/json_out.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
/* A literal that may hold NULs. */
#define BYTES(literal) {literal, sizeof(literal) - 1}

/* One reading; the text is copied to memory of its very size, so that a sanitizer sees a byte read past it. */
struct reading {
    struct arena arena;
    char *bytes;
    enum status status;
    const struct json *root; /* NULL after a refusal */
    struct json_error error;
};

static struct reading read_text(struct text t)
{
    struct reading r = {.arena = ARENA_EMPTY, .bytes = malloc(t.len + (t.len == 0))};
    cr_assert_not_null(r.bytes);
    memcpy(r.bytes, t.at, t.len);
    r.status = json_read(&r.arena, (struct text){r.bytes, t.len}, &r.root, &r.error);
    return r;
}

static struct reading read_json(const char *json)
{
    return read_text(text_of(json));
}

static void forget(struct reading *r)
{
    arena_free(&r->arena);
    free(r->bytes);
}

/* ---- the grammar -------------------------------------------------------------------------------------------------- */

static void all_read_as(const struct text *cases, size_t count, enum status status)
{
    for (size_t i = 0; i < count; i++) {
        struct reading r = read_text(cases[i]);
        cr_expect_eq(r.status, status, "case %zu, %.*s: %s, %s", i, (int)cases[i].len, cases[i].at,
                     status_info(r.status)->code, r.status == STATUS_OK ? "" : r.error.sentence);
        forget(&r);
    }
}

Test(json_reader, values_of_every_kind_are_taken)
{
    static const struct text CASES[] = {BYTES("null"),
                                        BYTES("true"),
                                        BYTES("false"),
                                        BYTES("0"),
                                        BYTES("\"\""),
                                        BYTES("[]"),
                                        BYTES("{}"),
                                        BYTES("[null,true,false,1,\"a\",[],{}]"),
                                        BYTES("{\"\":0}"),
                                        BYTES("{\"a\":{\"a\":{\"a\":[{\"a\":1}]}}}"),
                                        BYTES(" \t\r\n{ \n} \r\n\t "),
                                        BYTES("[ 1 , 2 ]"),
                                        BYTES("{ \"a\" : 1 , \"b\" : 2 }")};
    all_read_as(CASES, COUNT(CASES), STATUS_OK);
}

Test(json_reader, numbers_follow_the_grammar)
{
    static const struct text GOOD[] = {BYTES("-0"),      BYTES("-1"),
                                       BYTES("10"),      BYTES("0.0"),
                                       BYTES("-0.10"),   BYTES("1e1"),
                                       BYTES("1E1"),     BYTES("1e+1"),
                                       BYTES("1e-1"),    BYTES("0e0"),
                                       BYTES("1.5e007"), BYTES("1e999"),
                                       BYTES("-1e-999"), BYTES("123456789012345678901234567890"),
                                       BYTES("[1]"),     BYTES("[0,0]")};
    static const struct text BAD[] = {
        BYTES("-"),         BYTES("+1"),    BYTES("01"),   BYTES("-01"),          BYTES("00"),
        BYTES("1."),        BYTES(".5"),    BYTES("-.5"),  BYTES("1.e1"),         BYTES("1e"),
        BYTES("1e+"),       BYTES("1e-"),   BYTES("1ee1"), BYTES("1.2.3"),        BYTES("0x10"),
        BYTES("1_000"),     BYTES("1 000"), BYTES("NaN"),  BYTES("nan"),          BYTES("Infinity"),
        BYTES("-Infinity"), BYTES("1,5"),   BYTES("--1"),  BYTES("-a"),           BYTES("1a"),
        BYTES("[1.]"),      BYTES("[-]"),   BYTES("[1e]"), BYTES("\xEF\xBC\x91"), BYTES("0e"),
        BYTES("0.")};
    all_read_as(GOOD, COUNT(GOOD), STATUS_OK);
    all_read_as(BAD, COUNT(BAD), STATUS_BAD_JSON);
}

Test(json_reader, structure_must_be_complete_and_nothing_more)
{
    static const struct text CASES[] = {BYTES(""),
                                        BYTES(" "),
                                        BYTES("{"),
                                        BYTES("["),
                                        BYTES("}"),
                                        BYTES("]"),
                                        BYTES("[1"),
                                        BYTES("[1,"),
                                        BYTES("[,1]"),
                                        BYTES("[1,]"),
                                        BYTES("[1,,2]"),
                                        BYTES("[1 2]"),
                                        BYTES("[1}"),
                                        BYTES("{\"a\""),
                                        BYTES("{\"a\":"),
                                        BYTES("{\"a\":1"),
                                        BYTES("{\"a\":1,"),
                                        BYTES("{\"a\":1]"),
                                        BYTES("{\"a\":1,}"),
                                        BYTES("{,\"a\":1}"),
                                        BYTES("{\"a\",1}"),
                                        BYTES("{\"a\"}"),
                                        BYTES("{\"a\" 1}"),
                                        BYTES("{\"a\"::1}"),
                                        BYTES("{\"a\":}"),
                                        BYTES("{a:1}"),
                                        BYTES("{'a':1}"),
                                        BYTES("{1:1}"),
                                        BYTES("{null:1}"),
                                        BYTES("{\"a\":1 \"b\":2}"),
                                        BYTES("[]]"),
                                        BYTES("{}}"),
                                        BYTES("[] []"),
                                        BYTES("1 2"),
                                        BYTES("nullx"),
                                        BYTES("nul"),
                                        BYTES("tru"),
                                        BYTES("falsE"),
                                        BYTES("True"),
                                        BYTES("undefined"),
                                        BYTES("'a'"),
                                        BYTES("// a\n1"),
                                        BYTES("1 // a"),
                                        BYTES("/**/1"),
                                        BYTES("[1]\f"),
                                        BYTES("\v1"),
                                        BYTES("\xC2\xA0"),
                                        BYTES("1\xC2\xA0"),
                                        BYTES("\0"),
                                        BYTES("1\0"),
                                        BYTES("[1\0]"),
                                        BYTES("[\0]"),
                                        BYTES("{\0}"),
                                        BYTES("\\u0031"),
                                        BYTES("\xEF\xBB\xBF{}"),
                                        BYTES("\xFF\xFE{\0}\0"),
                                        BYTES("{\"a\":1,\"b\"")};
    all_read_as(CASES, COUNT(CASES), STATUS_BAD_JSON);
}

Test(json_reader, strings_hold_what_utf_8_and_escapes_can_say)
{
    static const struct text GOOD[] = {BYTES("\"\x7F\""),
                                       BYTES("\"\xC2\x80\""),
                                       BYTES("\"\xDF\xBF\""),
                                       BYTES("\"\xE0\xA0\x80\""),
                                       BYTES("\"\xED\x9F\xBF\""),
                                       BYTES("\"\xEE\x80\x80\""),
                                       BYTES("\"\xEF\xBF\xBF\""),
                                       BYTES("\"\xF0\x90\x80\x80\""),
                                       BYTES("\"\xF4\x8F\xBF\xBF\""),
                                       BYTES("\"\xEF\xBB\xBF\""),
                                       BYTES("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
                                       BYTES("\"\\u0001\\uFFFF\\uaBcD\""),
                                       BYTES("\"\\uD800\\uDC00\\uDBFF\\uDFFF\""),
                                       BYTES("\"\\\\u0000\""),
                                       BYTES("\"\\u0000\""),
                                       BYTES("\"a\\u0000b\""),
                                       BYTES("\"\\\\\""),
                                       BYTES("\"1234567\\n\""),
                                       BYTES("\"12345678\\n\""),
                                       BYTES("\"{[,:]}\"")};
    static const struct text BAD[] = {BYTES("\""),
                                      BYTES("\"a"),
                                      BYTES("\"\\"),
                                      BYTES("\"\\\""),
                                      BYTES("\"\\u"),
                                      BYTES("\"\\u00"),
                                      BYTES("\"\\u0\""),
                                      BYTES("\"\\u004\""),
                                      BYTES("\"\\u00g0\""),
                                      BYTES("\"\\u+041\""),
                                      BYTES("\"\\U0041\""),
                                      BYTES("\"\\a\""),
                                      BYTES("\"\\x41\""),
                                      BYTES("\"\\'\""),
                                      BYTES("\"\\ \""),
                                      BYTES("\"\\\n\""),
                                      BYTES("\"\\0\""),
                                      BYTES("\"\\\0\""),
                                      BYTES("\"\\\xC3\xA9\""),
                                      BYTES("\"\n\""),
                                      BYTES("\"\t\""),
                                      BYTES("\"\x1F\""),
                                      BYTES("\"\0\""),
                                      BYTES("\"1234567\n\""),
                                      BYTES("\"12345678\x01\""),
                                      BYTES("\"\\uD800\""),
                                      BYTES("\"\\uDC00\""),
                                      BYTES("\"\\uD800\\uD800\""),
                                      BYTES("\"\\uDC00\\uD800\""),
                                      BYTES("\"\\uD800x\""),
                                      BYTES("\"\\uD800\\n\""),
                                      BYTES("\"\\uD800\\u0041\""),
                                      BYTES("\"\\uD800\\u\""),
                                      BYTES("\"\\uD800\\uDC0\""),
                                      BYTES("\"\x80\""),
                                      BYTES("\"\xBF\""),
                                      BYTES("\"\xC0\x80\""),
                                      BYTES("\"\xC1\xBF\""),
                                      BYTES("\"\xC3\""),
                                      BYTES("\"\xC3"),
                                      BYTES("\"\xC3x\""),
                                      BYTES("\"\xE0\x9F\xBF\""),
                                      BYTES("\"\xE2\x82\""),
                                      BYTES("\"\xE2\x82"),
                                      BYTES("\"\xE2x\x82\""),
                                      BYTES("\"\xED\xA0\x80\""),
                                      BYTES("\"\xED\xBF\xBF\""),
                                      BYTES("\"\xF0\x8F\xBF\xBF\""),
                                      BYTES("\"\xF0\x9F\x98\""),
                                      BYTES("\"\xF0\x9F\x98"),
                                      BYTES("\"\xF4\x90\x80\x80\""),
                                      BYTES("\"\xF5\x80\x80\x80\""),
                                      BYTES("\"\xF8\x88\x80\x80\x80\""),
                                      BYTES("\"\xFE\""),
                                      BYTES("\"\xFF\""),
                                      BYTES("\"1234567\xFF\"")};
    all_read_as(GOOD, COUNT(GOOD), STATUS_OK);
    all_read_as(BAD, COUNT(BAD), STATUS_BAD_JSON);
}

Test(json_reader, a_string_may_end_at_any_distance_from_the_end_of_the_text)
{
    char json[64];
    for (size_t len = 0; len < 40; len++) {
        memset(json, 'x', sizeof json);
        json[0] = '"';
        struct reading cut = read_text((struct text){json, len + 1});
        cr_expect_eq(cut.status, STATUS_BAD_JSON);
        cr_expect_eq(cut.error.column, len + 2);
        json[len + 1] = '"';
        struct reading whole = read_text((struct text){json, len + 2});
        cr_assert_eq(whole.status, STATUS_OK);
        cr_expect_eq(json_text(whole.root).len, len);
        forget(&cut);
        forget(&whole);
    }
}

Test(json_reader, every_byte_that_is_not_plain_is_met_at_every_place_in_a_string)
{
    static const char ODD[] = "\x01\x1F\n\x80\xFF";
    char json[32];
    for (size_t place = 1; place < 20; place++) {
        for (size_t i = 0; i < sizeof ODD - 1; i++) {
            memset(json, 'x', sizeof json);
            json[0] = json[21] = '"';
            json[place] = ODD[i];
            struct reading r = read_text((struct text){json, 22});
            cr_expect_eq(r.status, STATUS_BAD_JSON, "byte %zu at %zu", i, place);
            cr_expect_eq(r.error.column, place + 1, "byte %zu at %zu: %zu", i, place,
                         r.error.column);
            forget(&r);
        }
    }
}

Test(json_reader, depth_is_bounded_for_lists_and_objects_alike)
{
    char json[8 * JSON_DEPTH_MAX];
    for (int extra = 0; extra < 2; extra++) {
        size_t len = 0;
        for (int i = 0; i < JSON_DEPTH_MAX + extra; i++) {
            len += (size_t)sprintf(json + len, "%s", i % 2 == 0 ? "[" : "{\"\":");
        }
        struct reading cut = read_text((struct text){json, len});
        cr_expect_eq(cut.status, extra == 0 ? STATUS_BAD_JSON : STATUS_NESTING_TOO_DEEP);
        forget(&cut);
        len += extra == 0 ? 0 : (size_t)sprintf(json + len, "1");
        for (int i = JSON_DEPTH_MAX + extra - 1; i >= 0; i--) {
            bool empty = i == JSON_DEPTH_MAX - 1 && extra == 0;
            len += (size_t)sprintf(json + len, "%s", i % 2 == 0 ? "]" : empty ? "1}" : "}");
        }
        struct reading r = read_text((struct text){json, len});
        cr_expect_eq(r.status, extra == 0 ? STATUS_OK : STATUS_NESTING_TOO_DEEP, "%s",
                     status_info(r.status)->code);
        forget(&r);
    }
}

Test(json_reader, breadth_is_not_depth)
{
    char json[5 * JSON_DEPTH_MAX] = "[[]";
    for (int i = 0; i < JSON_DEPTH_MAX; i++) {
        strcat(json, ",[]");
    }
    struct reading r = read_json(strcat(json, "]"));
    cr_assert_eq(r.status, STATUS_OK);
    cr_expect_eq(json_count(r.root), JSON_DEPTH_MAX + 1);
    forget(&r);
}

Test(json_reader, a_text_past_the_limit_of_bodies_is_refused)
{
    char *spaces = malloc(BODY_BYTES_MAX + 1);
    cr_assert_not_null(spaces);
    memset(spaces, ' ', BODY_BYTES_MAX + 1);
    spaces[7] = '1';
    struct reading fits = read_text((struct text){spaces, BODY_BYTES_MAX});
    struct reading larger = read_text((struct text){spaces, BODY_BYTES_MAX + 1});
    cr_expect_eq(fits.status, STATUS_OK);
    cr_expect_eq(larger.status, STATUS_BODY_TOO_LARGE);
    forget(&fits);
    forget(&larger);
    free(spaces);
}

/* ---- where and why ------------------------------------------------------------------------------------------------ */

Test(json_reader, an_error_says_where_and_what)
{
    static const struct {
        const char *json;
        size_t line, column;
        const char *sentence;
    } CASES[] = {
        {"", 1, 1, "the JSON ends where a value must stand."},
        {"{", 1, 2, "the JSON ends where a key in double quotes or } must stand."},
        {"{\"a\":1,}", 1, 8, "a key in double quotes must stand here."},
        {"{\"a\":", 1, 6, "the JSON ends where a value must stand."},
        {"{\"a\" 1}", 1, 6, "a colon must stand here."},
        {"{\"a\":1 1}", 1, 8, "a comma or } must stand here."},
        {"[1\n,\r\n 2}", 3, 3, "a comma or ] must stand here."},
        {"[1,2", 1, 5, "the JSON ends where a comma or ] must stand."},
        {"[\n\n  tru]", 3, 3, "a value must stand here."},
        {"[\"\xC3\xA9\xF0\x9F\x98\x80\", x]", 1, 8, "a value must stand here."},
        {"[007]", 1, 2, "a number must not begin with a zero too many."},
        {"[1.x]", 1, 4, "a digit must stand here."},
        {"[1e", 1, 4, "the JSON ends where a digit must stand."},
        {"1 1", 1, 3, "only white space may follow the JSON value."},
        {"\"ab", 1, 4, "the JSON ends inside a string."},
        {"\"a\nb\"", 1, 3, "a control character in a string must be escaped."},
        {"\"ab\\x\"", 1, 4,
         "a backslash in a string must come before one of \" \\ / b f n r t, or before u and four "
         "hexadecimal digits."},
        {"\"a\\uD801\"", 1, 3,
         "the \\u escape is half of a surrogate pair; its other half is missing."},
        {"\"a\xFF\"", 1, 3, "the bytes here are not UTF-8."},
        {"\xEF\xBB\xBF{}", 1, 1, "the JSON must begin without a byte order mark."},
        {"{\"a\":1,\n\"a\":2}", 2, 1, "the key \"a\" is in this object already."},
        {"{\"\\u00e9\":1, \"\xC3\xA9\":2}", 1, 14,
         "the key \"\xC3\xA9\" is in this object already."},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        struct reading r = read_json(CASES[i].json);
        cr_assert_neq(r.status, STATUS_OK, "%s", CASES[i].json);
        cr_expect(r.error.line == CASES[i].line && r.error.column == CASES[i].column,
                  "%s: line %zu, column %zu", CASES[i].json, r.error.line, r.error.column);
        cr_expect_str_eq(r.error.sentence, CASES[i].sentence);
        forget(&r);
    }
}

Test(json_reader, a_long_key_is_cut_between_characters_in_the_sentence)
{
    /* 39 bytes and then characters of two: the 40th byte is half of one. */
    char json[640], key[256];
    memset(key, 'k', 39);
    key[39] = '\0';
    for (int i = 0; i < 50; i++) {
        strcat(key, "\xC3\xA9");
    }
    snprintf(json, sizeof json, "{\"%s\":1,\"%s\":2}", key, key);
    struct reading r = read_json(json);
    cr_expect_eq(r.status, STATUS_DUPLICATE_KEY);
    key[39] = '\0';
    char expected[512];
    snprintf(expected, sizeof expected, "the key \"%s...\" is in this object already.", key);
    cr_expect_str_eq(r.error.sentence, expected);
    forget(&r);
}

/* ---- duplicate keys ----------------------------------------------------------------------------------------------- */

Test(json_reader, a_key_twice_is_refused_however_it_is_spelled)
{
    static const struct text SAME[] = {BYTES("{\"a\":1,\"a\":1}"),
                                       BYTES("{\"a\":1,\"\\u0061\":2}"),
                                       BYTES("{\"\":1,\"\":2}"),
                                       BYTES("{\"a\\/b\":1,\"a/b\":2}"),
                                       BYTES("{\"\\ud83d\\ude00\":1,\"\xF0\x9F\x98\x80\":2}"),
                                       BYTES("{\"\\n\":1,\"\\u000a\":2}"),
                                       BYTES("{\"\\u000A\":1,\"\\u000a\":2}"),
                                       BYTES("[{\"b\":{\"a\":1,\"c\":2,\"a\":3}}]"),
                                       BYTES("{\"a\":1,\"b\":2,\"c\":{},\"a\":[]}")};
    static const struct text DIFFERENT[] = {BYTES("{\"a\":1,\"A\":2}"),
                                            BYTES("{\"a\":1,\"a \":2}"),
                                            BYTES("{\"a\":{\"a\":1},\"b\":{\"a\":1}}"),
                                            BYTES("{\"\xC3\xA9\":1,\"e\xCC\x81\":2}"),
                                            BYTES("{\"ab\":1,\"ba\":2,\"aab\":3,\"abb\":4}"),
                                            BYTES("{\"\\\\u0061\":1,\"a\":2}"),
                                            BYTES("[{\"a\":1},{\"a\":1}]")};
    all_read_as(SAME, COUNT(SAME), STATUS_DUPLICATE_KEY);
    all_read_as(DIFFERENT, COUNT(DIFFERENT), STATUS_OK);
}

/* {"k0":0,"k1":0,…}, where the member `twice` has the key of `once`; no member of its own when both are equal. */
static struct text object_of(char *room, int members, int once, int twice)
{
    size_t len = 0;
    for (int i = 0; i < members; i++) {
        len +=
            (size_t)sprintf(room + len, "%c\"k%d\":0", i == 0 ? '{' : ',', i == twice ? once : i);
    }
    len += (size_t)sprintf(room + len, "}");
    return (struct text){room, len};
}

Test(json_reader, a_duplicate_is_found_among_any_number_of_members)
{
    static char room[4096];
    for (int members = 2; members < 60; members++) {
        for (int once = 0; once < members; once += 1 + once / 2) {
            for (int twice = once; twice < members; twice += 1 + (twice - once) / 2) {
                struct text json = object_of(room, members, once, twice);
                struct reading r = read_text(json);
                cr_expect_eq(r.status, once == twice ? STATUS_OK : STATUS_DUPLICATE_KEY,
                             "%d members, %d as %d", members, twice, once);
                forget(&r);
            }
        }
    }
}

Test(json_reader, the_first_duplicate_of_a_large_object_is_the_one_told)
{
    static char room[4096];
    struct text json = object_of(room, 50, 7, 31);
    memcpy(strstr(room, "\"k45\""), "\"k44\"", 5);
    struct reading r = read_text(json);
    cr_expect_eq(r.status, STATUS_DUPLICATE_KEY);
    cr_expect_str_eq(r.error.sentence, "the key \"k7\" is in this object already.");
    size_t offset = (size_t)(strstr(strstr(room, "\"k30\""), "\"k7\"") - room);
    cr_expect_eq(r.error.column, offset + 1);
    forget(&r);
}

Test(json_reader, as_many_members_as_fit_in_a_body_are_read_in_no_time, .timeout = 20)
{
    enum { MEMBERS = 90000 };
    char *room = malloc(BODY_BYTES_MAX * 2);
    cr_assert_not_null(room);
    struct text json = object_of(room, MEMBERS, 0, 0);
    cr_assert_leq(json.len, BODY_BYTES_MAX);
    struct reading r = read_text(json);
    cr_expect_eq(r.status, STATUS_OK, "%s", status_info(r.status)->code);
    forget(&r);
    r = read_text(object_of(room, MEMBERS - 1, MEMBERS / 2, MEMBERS - 2));
    cr_expect_eq(r.status, STATUS_DUPLICATE_KEY);
    forget(&r);
    free(room);
}

/* ---- what is kept ------------------------------------------------------------------------------------------------- */

/* The compact form of `json`; `borrowed`: it must be the text itself, not a copy. */
static void compacts(const char *json, const char *expected, bool borrowed)
{
    struct reading r = read_json(json);
    cr_assert_eq(r.status, STATUS_OK, "%s: %s", json, r.error.sentence);
    struct text compact = json_compact(&r.arena, r.root);
    cr_expect(text_equal(compact, text_of(expected)), "%s became %.*s", json, (int)compact.len,
              compact.at);
    cr_expect_eq(compact.at >= r.bytes && compact.at <= r.bytes + strlen(json), borrowed, "%s",
                 json);
    forget(&r);
}

Test(json_reader, numbers_stay_as_they_were_written)
{
    static const char *const NUMBERS[] = {"0.1",
                                          "1e3",
                                          "1E+3",
                                          "-0",
                                          "-0.0",
                                          "0.10",
                                          "1.0",
                                          "9223372036854775808",
                                          "123456789012345678901234567890.000000000000000000001",
                                          "1e999",
                                          "5e-324"};
    char spaced[128], compact[128];
    for (size_t i = 0; i < COUNT(NUMBERS); i++) {
        compacts(NUMBERS[i], NUMBERS[i], true);
        snprintf(spaced, sizeof spaced, "{ \"n\" : [ %s ] }", NUMBERS[i]);
        snprintf(compact, sizeof compact, "{\"n\":[%s]}", NUMBERS[i]);
        compacts(spaced, compact, false);
    }
}

Test(json_reader, what_is_compact_already_is_borrowed_from_the_text)
{
    compacts("{\"a\":[1,\"x\",{\"b\":null}],\"c\":true}",
             "{\"a\":[1,\"x\",{\"b\":null}],\"c\":true}", true);
    compacts("  [1,2]\n", "[1,2]", true);
    compacts("\"\xC3\xA9 \\\" \\\\ \\b\\f\\n\\r\\t \\u0001 \\u001f \x7F /\"",
             "\"\xC3\xA9 \\\" \\\\ \\b\\f\\n\\r\\t \\u0001 \\u001f \x7F /\"", true);
}

Test(json_reader, white_space_goes_only_where_it_says_nothing)
{
    compacts("[ 1,2]", "[1,2]", false);
    compacts("[1 ,2]", "[1,2]", false);
    compacts("[1, 2]", "[1,2]", false);
    compacts("[1,2\n]", "[1,2]", false);
    compacts("[ ]", "[]", false);
    compacts("{\t}", "{}", false);
    compacts("{ \"a b\" : \" c \\\" d \" }", "{\"a b\":\" c \\\" d \"}", false);
    compacts("{\"b\": 1, \"a\": [true , null]}", "{\"b\":1,\"a\":[true,null]}", false);
}

Test(json_reader, strings_and_keys_come_in_one_spelling)
{
    compacts("\"\\u0061\\/\\u00e9\\u20AC\\ud83d\\uDE00\"",
             "\"a/\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"", false);
    compacts("\"\\u000a\\u0008\\u000C\\u000D\\u0009\\u0022\\u005c\"", "\"\\n\\b\\f\\r\\t\\\"\\\\\"",
             false);
    compacts("\"\\u001F\\u000B\"", "\"\\u001f\\u000b\"", false);
    compacts("{\"\\u0061\":\"\\u0062\"}", "{\"a\":\"b\"}", false);
    compacts("\"\\u007f\"", "\"\x7F\"", false);
    compacts("\"a\xC3\xA9\\/\xC3\xA9z\"", "\"a\xC3\xA9/\xC3\xA9z\"", false);
}

Test(json_reader, the_one_spelling_is_that_of_the_writer)
{
    for (int c = 1; c < 0x300; c++) {
        char spelled[16];
        snprintf(spelled, sizeof spelled, "\"\\u%04X\"", (unsigned)c);
        struct reading r = read_json(spelled);
        cr_assert_eq(r.status, STATUS_OK);
        struct json_out out = out_begin(&r.arena);
        out_text(&out, json_text(r.root));
        struct text written = out_end(&out), compact = json_compact(&r.arena, r.root);
        cr_expect(text_equal(written, compact), "%s: %.*s and %.*s", spelled, (int)written.len,
                  written.at, (int)compact.len, compact.at);
        struct reading again = read_text(written);
        cr_expect(again.root->compact, "%s", spelled);
        forget(&again);
        forget(&r);
    }
}

Test(json_reader, a_compact_part_of_a_text_that_is_not_is_borrowed_too)
{
    struct reading r = read_json("{ \"data\" : {\"a\":[1]}, \"b\":[ 2 ]}");
    const struct json *data = json_member(r.root, TEXT("data"));
    const struct json *b = json_member(r.root, TEXT("b"));
    cr_expect_eq(json_compact(&r.arena, data).at, strstr(r.bytes, "{\"a\""));
    cr_expect(text_equal(json_compact(&r.arena, b), TEXT("[2]")));
    forget(&r);
}

/* ---- looking ------------------------------------------------------------------------------------------------------ */

Test(json_reader, children_come_in_their_order)
{
    struct reading r = read_json(
        "{\"l\":[10,\"x\",null],\"\\u0061\":\"\\u0062c\",\"o\":{},\"t\":true,\"f\":false}");
    const struct json *member = json_first(r.root);
    cr_expect_eq(json_count(r.root), 5);
    cr_expect(text_equal(json_key(member), TEXT("l")));
    cr_expect_eq(json_count(member), 3);
    cr_expect(json_is(json_first(member), JSON_KIND_NUMBER));
    cr_expect_not(text_given(json_key(json_first(member))));
    cr_expect(text_equal(json_text(json_next(json_first(member))), TEXT("x")));
    cr_expect(json_is(json_next(json_next(json_first(member))), JSON_KIND_NULL));
    cr_expect_null(json_next(json_next(json_next(json_first(member)))));
    member = json_next(member);
    cr_expect(text_equal(json_key(member), TEXT("a")));
    cr_expect(text_equal(json_text(member), TEXT("bc")));
    cr_expect_null(json_first(member));
    cr_expect_eq(json_count(member), 0);
    member = json_next(member);
    cr_expect(json_is(member, JSON_KIND_OBJECT));
    cr_expect_null(json_first(member));
    cr_expect_eq(json_member(r.root, TEXT("o")), member);
    cr_expect(json_is(json_member(r.root, TEXT("t")), JSON_KIND_TRUE));
    cr_expect(json_is(json_member(r.root, TEXT("f")), JSON_KIND_FALSE));
    cr_expect_null(json_member(r.root, TEXT("x")));
    cr_expect_null(json_member(json_first(r.root), TEXT("x")), "a list has no members");
    forget(&r);
}

Test(json_reader, no_value_is_of_no_kind_and_holds_nothing)
{
    cr_expect_not(json_is(NULL, JSON_KIND_NULL));
    cr_expect_eq(json_count(NULL), 0);
    cr_expect_null(json_first(NULL));
    cr_expect_not(text_given(json_text(NULL)));
    cr_expect_null(json_member(NULL, TEXT("a")));
}

Test(json_reader, integers_reach_from_end_to_end_and_no_further)
{
    static const struct {
        const char *json;
        int64_t n;
    } GOOD[] = {{"0", 0},
                {"-0", 0},
                {"-1", -1},
                {"42", 42},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775807", -INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    static const char *const BAD[] = {"9223372036854775808",
                                      "-9223372036854775809",
                                      "9999999999999999999",
                                      "18446744073709551616",
                                      "10000000000000000000",
                                      "1.0",
                                      "1e0",
                                      "0.0",
                                      "-0.5",
                                      "\"1\"",
                                      "true",
                                      "null",
                                      "[]",
                                      "{}"};
    for (size_t i = 0; i < COUNT(GOOD); i++) {
        struct reading r = read_json(GOOD[i].json);
        int64_t n = 5;
        cr_expect(json_int(r.root, &n), "%s", GOOD[i].json);
        cr_expect_eq(n, GOOD[i].n, "%s", GOOD[i].json);
        forget(&r);
    }
    for (size_t i = 0; i < COUNT(BAD); i++) {
        struct reading r = read_json(BAD[i]);
        int64_t n = 5;
        cr_expect_not(json_int(r.root, &n), "%s", BAD[i]);
        cr_expect_eq(n, 5, "left as it was");
        forget(&r);
    }
}

Test(json_reader, doubles_are_read_from_numbers_of_a_sane_length)
{
    char digits[JSON_NUMBER_BYTES_MAX + 2];
    memset(digits, '1', sizeof digits);
    struct reading half = read_json("-2.5e-1"), text = read_json("\"1\"");
    struct reading long_one = read_text((struct text){digits, JSON_NUMBER_BYTES_MAX});
    struct reading longer = read_text((struct text){digits, JSON_NUMBER_BYTES_MAX + 1});
    double n = 5;
    cr_expect_not(json_number(text.root, &n));
    cr_expect_not(json_number(longer.root, &n));
    cr_expect_eq(n, 5, "left as it was");
    cr_expect(json_number(half.root, &n));
    cr_expect_eq(n, -0.25);
    cr_expect(json_number(long_one.root, &n));
    cr_expect_gt(n, 1e127);
    forget(&half);
    forget(&text);
    forget(&long_one);
    forget(&longer);
}

/* ---- beside jansson ----------------------------------------------------------------------------------------------- */

static uint64_t chance_state;

/* xorshift64* */
static unsigned chance(unsigned below)
{
    chance_state ^= chance_state >> 12;
    chance_state ^= chance_state << 25;
    chance_state ^= chance_state >> 27;
    return (unsigned)((chance_state * UINT64_C(2685821657736338717)) >> 33) % below;
}

struct draft {
    char at[8192];
    size_t len;
};

static void add(struct draft *d, const char *s)
{
    size_t len = strlen(s);
    if (d->len + len < sizeof d->at) {
        memcpy(d->at + d->len, s, len);
        d->len += len;
    }
}

static void add_one_of(struct draft *d, const char *const *pieces, unsigned count)
{
    add(d, pieces[chance(count)]);
}

static void add_space(struct draft *d)
{
    static const char *const SPACES[] = {" ", "\n", "\t", "\r\n", "  "};
    if (chance(4) == 0) {
        add_one_of(d, SPACES, COUNT(SPACES));
    }
}

static void add_string(struct draft *d)
{
    static const char *const PIECES[] = {"a",
                                         "b",
                                         "c",
                                         "key",
                                         "longer than eight bytes",
                                         "\\n",
                                         "\\\"",
                                         "\\\\",
                                         "\\/",
                                         "\\u0061",
                                         "\\u00e9",
                                         "\xC3\xA9",
                                         "\\ud83d\\ude00",
                                         "\xF0\x9F\x98\x80",
                                         "\\u001f",
                                         "\\u001F",
                                         " ",
                                         "\x7F",
                                         "\xE2\x82\xAC",
                                         "{",
                                         "]",
                                         ":",
                                         ",",
                                         "1"};
    add(d, "\"");
    for (unsigned i = chance(5); i > 0; i--) {
        add_one_of(d, PIECES, COUNT(PIECES));
    }
    add(d, "\"");
}

static void add_value(struct draft *d, unsigned depth)
{
    static const char *const LEAVES[] = {"null",
                                         "true",
                                         "false",
                                         "0",
                                         "-0",
                                         "1",
                                         "-17",
                                         "1234567890123",
                                         "9223372036854775807",
                                         "-9223372036854775808",
                                         "9223372036854775808",
                                         "0.1",
                                         "-2.5",
                                         "1e3",
                                         "1E-3",
                                         "1e400",
                                         "3.141592653589793238462643383279",
                                         "1e-400"};
    unsigned kind = chance(depth < 6 ? 5 : 3);
    if (kind < 2) {
        add_one_of(d, LEAVES, COUNT(LEAVES));
        return;
    }
    if (kind == 2) {
        add_string(d);
        return;
    }
    add(d, kind == 3 ? "[" : "{");
    add_space(d);
    for (unsigned i = chance(chance(8) == 0 ? 30 : 5); i > 0; i--) {
        if (kind == 4) {
            add_string(d);
            add_space(d);
            add(d, ":");
            add_space(d);
        }
        add_value(d, depth + 1);
        add_space(d);
        add(d, i > 1 ? "," : "");
        add_space(d);
    }
    add(d, kind == 3 ? "]" : "}");
}

/* Changes, drops or repeats a few bytes. Puts in no NUL: jansson overlooks one behind a number. */
static void mutate(struct draft *d)
{
    static const char BYTES_OFTEN_ODD[] = "\"\\{}[],:0123456789eE+-.u \n\t\x01\x80\xC3\xE2\xFF/tfn";
    for (unsigned i = 1 + chance(3); i > 0 && d->len > 1; i--) {
        size_t at = chance((unsigned)d->len), run = 1 + chance(4);
        run = run < d->len - at ? run : d->len - at;
        switch (chance(3)) {
        case 0:
            d->at[at] = chance(4) == 0 ? (char)(1 + chance(255))
                                       : BYTES_OFTEN_ODD[chance(sizeof BYTES_OFTEN_ODD - 1)];
            break;
        case 1:
            memmove(d->at + at, d->at + at + run, d->len - at - run);
            d->len -= run;
            break;
        default:
            if (d->len + run <= sizeof d->at) {
                memmove(d->at + at + run, d->at + at, d->len - at);
                d->len += run;
            }
            break;
        }
    }
}

static bool same_value(struct arena *arena, const struct json *ours, json_t *theirs);

static bool same_members(struct arena *arena, const struct json *ours, json_t *theirs)
{
    if (json_count(ours) != json_object_size(theirs)) {
        return false;
    }
    void *iter = json_object_iter(theirs);
    for (const struct json *m = json_first(ours); m != NULL; m = json_next(m)) {
        if (!text_equal(json_key(m), text_of(json_object_iter_key(iter))) ||
            !same_value(arena, m, json_object_iter_value(iter))) {
            return false;
        }
        iter = json_object_iter_next(theirs, iter);
    }
    return true;
}

static bool same_elements(struct arena *arena, const struct json *ours, json_t *theirs)
{
    size_t i = 0;
    for (const struct json *e = json_first(ours); e != NULL; e = json_next(e)) {
        if (!same_value(arena, e, json_array_get(theirs, i++))) {
            return false;
        }
    }
    return i == json_count(ours) && i == json_array_size(theirs);
}

static bool same_value(struct arena *arena, const struct json *ours, json_t *theirs)
{
    int64_t n;
    double x;
    switch (json_typeof(theirs)) {
    case JSON_OBJECT:
        return json_is(ours, JSON_KIND_OBJECT) && same_members(arena, ours, theirs);
    case JSON_ARRAY:
        return json_is(ours, JSON_KIND_LIST) && same_elements(arena, ours, theirs);
    case JSON_STRING:
        return text_equal(json_text(ours),
                          (struct text){json_string_value(theirs), json_string_length(theirs)});
    case JSON_INTEGER:
        return json_int(ours, &n) && n == json_integer_value(theirs);
    case JSON_REAL:
        return !json_int(ours, &n) && json_number(ours, &x) && x == json_real_value(theirs);
    case JSON_TRUE:
        return json_is(ours, JSON_KIND_TRUE);
    case JSON_FALSE:
        return json_is(ours, JSON_KIND_FALSE);
    case JSON_NULL:
        return json_is(ours, JSON_KIND_NULL);
    }
    return false;
}

enum { ORACLE = JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL };

/* What compact JSON says is what the document said, and there is one way to write it. */
static void compare_compact(struct reading *r, json_t *theirs)
{
    struct text compact = json_compact(&r->arena, r->root);
    json_t *again = json_loadb(compact.at, compact.len, ORACLE, NULL);
    cr_assert(json_equal(theirs, again), "%.*s", (int)compact.len, compact.at);
    json_decref(again);
    struct reading second = read_text(compact);
    cr_assert(second.status == STATUS_OK && second.root->compact, "%.*s", (int)compact.len,
              compact.at);
    forget(&second);
}

struct tally {
    size_t taken, refused, duplicates, numbers;
};

/* Where the two may differ: jansson refuses numbers that no int64_t or double holds and NULs in keys, and nests deeper. */
static void compare(const struct draft *d, struct tally *tally)
{
    json_error_t error;
    struct reading r = read_text((struct text){d->at, d->len});
    json_t *theirs = json_loadb(d->at, d->len, ORACLE, &error);
    if (theirs != NULL) {
        cr_assert_eq(r.status, STATUS_OK, "%.*s: refused, %zu: %s", (int)d->len, d->at,
                     r.error.column, r.error.sentence);
        cr_assert(same_value(&r.arena, r.root, theirs), "%.*s", (int)d->len, d->at);
        compare_compact(&r, theirs);
        tally->taken++;
    } else if (json_error_code(&error) == json_error_numeric_overflow ||
               json_error_code(&error) == json_error_null_byte_in_key) {
        tally->numbers++;
    } else {
        cr_assert_neq(r.status, STATUS_OK, "%.*s: taken; jansson: %s", (int)d->len, d->at,
                      error.text);
        tally->refused++;
        tally->duplicates += r.status == STATUS_DUPLICATE_KEY;
    }
    json_decref(theirs);
    forget(&r);
}

Test(json_reader, jansson_takes_and_refuses_the_same_documents_and_reads_the_same_in_them,
     .timeout = 120)
{
    static struct draft d;
    struct tally tally = {0};
    chance_state = UINT64_C(0x9E3779B97F4A7C15);
    for (int i = 0; i < 20000; i++) {
        d.len = 0;
        add_space(&d);
        add_value(&d, chance(5));
        add_space(&d);
        compare(&d, &tally);
        for (int j = 0; j < 2; j++) {
            mutate(&d);
            compare(&d, &tally);
        }
    }
    cr_expect(
        tally.taken > 10000 && tally.refused > 10000 && tally.duplicates > 100 &&
            tally.numbers > 1000,
        "the documents were too much alike: %zu taken, %zu refused, %zu duplicates, %zu numbers",
        tally.taken, tally.refused, tally.duplicates, tally.numbers);
}
