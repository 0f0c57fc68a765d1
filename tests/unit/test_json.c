/* JSON in: one object read field by field, the first thing that is wrong told. JSON out: the bytes that were asked for. */
#include "db/limits.h"
#include "handlers/json_in.h"
#include "handlers/json_out.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- reading ------------------------------------------------------------------------------------------------------ */

struct reading {
    struct arena arena;
    struct exchange x;
    struct fields fields;
};

static struct reading *read_bytes(struct text body)
{
    struct reading *r = calloc(1, sizeof *r);
    cr_assert_not_null(r);
    r->arena = ARENA_EMPTY;
    r->x = exchange_make(NULL, &r->arena);
    r->x.request.body = body;
    r->fields = fields_of_body(&r->x);
    return r;
}

static struct reading *read_body(const char *body)
{
    return read_bytes(text_of(body));
}

/* Ends the reading and expects its outcome, told of this field and with these words (NULL: any). */
static void ends(struct reading *r, enum status status, const char *field, const char *words)
{
    enum status got = fields_end(&r->fields);
    struct text told = r->x.refused.detail;
    cr_expect_eq(got, status, "expected %s, got %s: %.*s", status_info(status)->code,
                 status_info(got)->code, (int)told.len, told.at == NULL ? "" : told.at);
    if (field != NULL) {
        cr_expect(text_equal(r->x.refused.field, text_of(field)), "the field is %.*s, not %s",
                  (int)r->x.refused.field.len, r->x.refused.field.at, field);
    }
    if (words != NULL) {
        cr_expect(text_given(told) && strstr(told.at, words) != NULL, "\"%.*s\" lacks \"%s\"",
                  (int)told.len, told.at == NULL ? "" : told.at, words);
    }
    arena_free(&r->arena);
    free(r);
}

Test(json_in, an_empty_body_is_an_empty_object)
{
    struct reading *r = read_body("");
    cr_expect_eq(field_int(&r->fields, "n", 0, 9, 5), 5);
    cr_expect_not(text_given(field_text(&r->fields, "t", 0, 9, false)));
    ends(r, STATUS_OK, NULL, NULL);
}

Test(json_in, what_is_not_one_json_object_is_told_with_line_and_column)
{
    ends(read_body("{\"a\":"), STATUS_BAD_JSON, NULL,
         "Line 1, column 6: the JSON ends where a value");
    ends(read_body("{\n\"a\": tru}"), STATUS_BAD_JSON, NULL, "Line 2, column 6: a value");
    ends(read_body("{} {}"), STATUS_BAD_JSON, NULL, NULL);
    ends(read_body("{\"a\":1}x"), STATUS_BAD_JSON, NULL, NULL);
    ends(read_body(" "), STATUS_BAD_JSON, NULL, NULL);
    ends(read_body("{\"a\":01}"), STATUS_BAD_JSON, NULL, NULL);
    ends(read_body("{\"a\":NaN}"), STATUS_BAD_JSON, NULL, NULL);
    ends(read_body("{'a':1}"), STATUS_BAD_JSON, NULL, NULL);
    ends(read_body("{\"a\":1,}"), STATUS_BAD_JSON, NULL, NULL);
    ends(read_body("[1]"), STATUS_BAD_JSON, NULL, "must be a JSON object");
    ends(read_body("null"), STATUS_BAD_JSON, NULL, NULL);
    ends(read_body("\"a\""), STATUS_BAD_JSON, NULL, NULL);
}

Test(json_in, bytes_that_are_not_utf_8_are_refused)
{
    ends(read_body("{\"a\":\"\xff\"}"), STATUS_BAD_JSON, NULL, NULL);
    ends(read_body("{\"a\":\"\xc0\xaf\"}"), STATUS_BAD_JSON, NULL, NULL);
    ends(read_body("{\"a\":\"\\ud800\"}"), STATUS_BAD_JSON, NULL, NULL);
    ends(read_body("\xef\xbb\xbf{}"), STATUS_BAD_JSON, NULL, NULL);
    ends(read_bytes((struct text){"{\"a\":\"b\0\"}", 10}), STATUS_BAD_JSON, NULL, NULL);
    ends(read_bytes((struct text){"{}\0", 3}), STATUS_BAD_JSON, NULL, NULL);
}

Test(json_in, an_escaped_nul_is_kept_in_json_and_refused_in_a_field)
{
    struct reading *r = read_body("{\"d\":{\"a\\u0000b\":\"\\u0000\"},\"t\":\"x\\u0000\"}");
    cr_expect(
        text_equal(field_object(&r->fields, "d", 1000, true), TEXT("{\"a\\u0000b\":\"\\u0000\"}")));
    field_text(&r->fields, "t", 0, 10, true);
    ends(r, STATUS_INVALID_FIELD, "t", "NUL");
    ends(read_body("{\"a\\u0000b\":1,\"a\\u0000b\":1}"), STATUS_DUPLICATE_KEY, NULL, NULL);
}

Test(json_in, a_key_twice_is_refused_at_any_depth)
{
    ends(read_body("{\"a\":1,\"a\":2}"), STATUS_DUPLICATE_KEY, NULL, "\"a\"");
    ends(read_body("{\"d\":{\"b\":[{\"a\":1,\"\\u0061\":2}]}}"), STATUS_DUPLICATE_KEY, NULL, NULL);
}

/* An object that holds `depth` levels in all, itself among them. */
static char *nested(int depth, char open, char close)
{
    char *json = calloc(1, 16 + 2 * (size_t)depth);
    cr_assert_not_null(json);
    strcpy(json, "{\"d\":");
    size_t at = strlen(json);
    memset(json + at, open, (size_t)depth - 1);
    at += (size_t)depth - 1;
    memset(json + at, close, (size_t)depth - 1);
    json[at + (size_t)depth - 1] = '}';
    return json;
}

Test(json_in, nesting_is_bounded)
{
    char *fits = nested(JSON_DEPTH_MAX, '[', ']'), *deep = nested(JSON_DEPTH_MAX + 1, '[', ']');
    char *abyss = nested(100000, '[', ']');
    struct reading *r = read_body(fits);
    cr_expect(text_given(field_any(&r->fields, "d", 1000, true)));
    ends(r, STATUS_OK, NULL, NULL);
    ends(read_body(deep), STATUS_NESTING_TOO_DEEP, NULL, "256");
    ends(read_body(abyss), STATUS_NESTING_TOO_DEEP, NULL, NULL);
    free(fits);
    free(deep);
    free(abyss);
}

Test(json_in, brackets_in_strings_do_not_nest)
{
    char body[512] = "{\"d\":\"\\\"";
    memset(body + strlen(body), '[', 300);
    strcat(body, "\"}");
    struct reading *r = read_body(body);
    cr_expect_eq(field_text(&r->fields, "d", 0, 1000, true).len, 301);
    ends(r, STATUS_OK, NULL, NULL);
}

Test(json_in, an_unknown_field_is_named)
{
    struct reading *r = read_body("{\"a\":1,\"ttl\":5}");
    field_int(&r->fields, "a", 0, 9, 0);
    ends(r, STATUS_UNKNOWN_FIELD, "ttl", "ttl is not a field");
}

Test(json_in, the_first_thing_that_is_wrong_sticks)
{
    struct reading *r = read_body("{\"a\":-1,\"b\":\"x\",\"c\":1}");
    cr_expect_eq(field_int(&r->fields, "a", 0, 9, 7), 7);
    cr_expect_eq(field_int(&r->fields, "b", 0, 9, 7), 7);
    ends(r, STATUS_INVALID_FIELD, "a", "a must be an integer between 0 and 9");
}

Test(json_in, integers_are_integers_within_bounds)
{
    static const char *const BAD[] = {"-1",
                                      "10",
                                      "1.0",
                                      "1e0",
                                      "\"1\"",
                                      "true",
                                      "null",
                                      "[]",
                                      "{}",
                                      "9223372036854775807",
                                      "-9223372036854775808",
                                      "92233720368547758080",
                                      "1e999"};
    char body[64];
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        snprintf(body, sizeof body, "{\"n\":%s}", BAD[i]);
        struct reading *r = read_body(body);
        cr_expect_eq(field_int(&r->fields, "n", 0, 9, 5), 5, "%s", body);
        ends(r, STATUS_INVALID_FIELD, "n", "between 0 and 9");
    }
    struct reading *r = read_body("{\"low\":0,\"high\":9}");
    cr_expect_eq(field_int(&r->fields, "low", 0, 9, REQUIRED), 0);
    cr_expect_eq(field_int(&r->fields, "high", 0, 9, REQUIRED), 9);
    ends(r, STATUS_OK, NULL, NULL);
}

Test(json_in, a_required_field_that_is_missing_is_named)
{
    struct reading *r = read_body("{}");
    field_int(&r->fields, "n", 0, 9, REQUIRED);
    ends(r, STATUS_MISSING_FIELD, "n", "n is required");
    r = read_body("{}");
    field_text(&r->fields, "t", 0, 9, true);
    ends(r, STATUS_MISSING_FIELD, "t", NULL);
    r = read_body("{}");
    field_name(&r->fields, "t", true);
    ends(r, STATUS_MISSING_FIELD, "t", NULL);
    r = read_body("{}");
    field_list(&r->fields, "l", 0, 9, true);
    ends(r, STATUS_MISSING_FIELD, "l", NULL);
    r = read_body("{}");
    field_object(&r->fields, "o", 9, true);
    ends(r, STATUS_MISSING_FIELD, "o", NULL);
    r = read_body("{}");
    field_any(&r->fields, "v", 9, true);
    ends(r, STATUS_MISSING_FIELD, "v", NULL);
}

Test(json_in, numbers_become_thousandths)
{
    struct reading *r = read_body("{\"a\":1.5,\"b\":2,\"c\":1.0004,\"d\":1.0006}");
    cr_expect_eq(field_milli(&r->fields, "a", 1, 10, 0), 1500);
    cr_expect_eq(field_milli(&r->fields, "b", 1, 10, 0), 2000);
    cr_expect_eq(field_milli(&r->fields, "c", 1, 10, 0), 1000);
    cr_expect_eq(field_milli(&r->fields, "d", 1, 10, 0), 1001);
    cr_expect_eq(field_milli(&r->fields, "e", 1, 10, 2000), 2000, "the default is in thousandths");
    ends(r, STATUS_OK, NULL, NULL);
    r = read_body("{\"a\":0.999}");
    field_milli(&r->fields, "a", 1, 10, 0);
    ends(r, STATUS_INVALID_FIELD, "a", NULL);
    r = read_body("{\"a\":\"2\"}");
    field_milli(&r->fields, "a", 1, 10, 0);
    ends(r, STATUS_INVALID_FIELD, "a", NULL);
}

Test(json_in, flags_are_true_or_false)
{
    struct reading *r = read_body("{\"a\":true,\"b\":false}");
    cr_expect(field_flag(&r->fields, "a", false));
    cr_expect_not(field_flag(&r->fields, "b", true));
    cr_expect(field_flag(&r->fields, "c", true));
    ends(r, STATUS_OK, NULL, NULL);
    r = read_body("{\"a\":1}");
    field_flag(&r->fields, "a", false);
    ends(r, STATUS_INVALID_FIELD, "a", "true or false");
}

Test(json_in, strings_are_measured_in_bytes)
{
    struct reading *r = read_body("{\"t\":\"\\u00e9\"}");
    cr_expect_eq(field_text(&r->fields, "t", 2, 2, true).len, 2);
    ends(r, STATUS_OK, NULL, NULL);
    r = read_body("{\"t\":\"abc\"}");
    field_text(&r->fields, "t", 1, 2, true);
    ends(r, STATUS_INVALID_FIELD, "t", "1 to 2 bytes");
    r = read_body("{\"t\":\"\"}");
    field_text(&r->fields, "t", 1, 2, true);
    ends(r, STATUS_INVALID_FIELD, "t", NULL);
    r = read_body("{\"t\":1}");
    field_text(&r->fields, "t", 0, 2, false);
    ends(r, STATUS_INVALID_FIELD, "t", NULL);
}

Test(json_in, names_follow_the_contract)
{
    struct reading *r = read_body("{\"t\":\"a~b:c@d+e=f,g\"}");
    cr_expect(text_equal(field_name(&r->fields, "t", true), TEXT("a~b:c@d+e=f,g")));
    ends(r, STATUS_OK, NULL, NULL);
    r = read_body("{\"t\":\"a b\"}");
    field_name(&r->fields, "t", true);
    ends(r, STATUS_INVALID_NAME, "t", NULL);
    r = read_body("{\"t\":\"\"}");
    field_name(&r->fields, "t", false);
    ends(r, STATUS_INVALID_NAME, "t", NULL);
    r = read_body("{\"t\":7}");
    field_name(&r->fields, "t", false);
    ends(r, STATUS_INVALID_FIELD, "t", NULL);
}

Test(json_in, a_choice_lists_what_may_be_chosen)
{
    static const char *const MODES[] = {"exclusive", "shared", NULL};
    struct reading *r = read_body("{\"m\":\"shared\"}");
    cr_expect_eq(field_choice(&r->fields, "m", MODES, 0), 1);
    cr_expect_eq(field_choice(&r->fields, "n", MODES, 7), 7);
    ends(r, STATUS_OK, NULL, NULL);
    r = read_body("{\"m\":\"Shared\"}");
    field_choice(&r->fields, "m", MODES, 0);
    ends(r, STATUS_INVALID_FIELD, "m", "exclusive, shared");
    r = read_body("{\"m\":1}");
    field_choice(&r->fields, "m", MODES, 0);
    ends(r, STATUS_INVALID_FIELD, "m", NULL);
}

Test(json_in, instants_are_read_as_milliseconds)
{
    struct reading *r = read_body("{\"at\":\"2026-01-31T08:15:00.123Z\"}");
    cr_expect_eq(field_instant(&r->fields, "at"), 1769847300123);
    cr_expect_eq(field_instant(&r->fields, "other"), ABSENT);
    ends(r, STATUS_OK, NULL, NULL);
    r = read_body("{\"at\":1769847300}");
    field_instant(&r->fields, "at");
    ends(r, STATUS_INVALID_FIELD, "at", "RFC 3339");
}

Test(json_in, json_inside_is_kept_compact_and_bounded)
{
    struct reading *r =
        read_body("{ \"o\" : { \"b\" : [ 1 , 2.5 ] , \"a\" : null } , \"v\": [ ] }");
    cr_expect(
        text_equal(field_object(&r->fields, "o", 24, true), TEXT("{\"b\":[1,2.5],\"a\":null}")));
    cr_expect(text_equal(field_any(&r->fields, "v", 2, true), TEXT("[]")));
    ends(r, STATUS_OK, NULL, NULL);
    r = read_body("{\"o\":{\"a\":1}}");
    field_object(&r->fields, "o", 6, true);
    ends(r, STATUS_BODY_TOO_LARGE, "o", "takes 7 bytes");
    r = read_body("{\"o\":[]}");
    field_object(&r->fields, "o", 6, true);
    ends(r, STATUS_INVALID_FIELD, "o", "must be an object");
}

Test(json_in, null_is_told_from_missing)
{
    struct reading *r = read_body("{\"a\":null,\"b\":1}");
    cr_expect(field_given(&r->fields, "a"));
    cr_expect(field_null(&r->fields, "a"));
    cr_expect_not(field_null(&r->fields, "b"));
    cr_expect_not(field_given(&r->fields, "c"));
    field_int(&r->fields, "b", 0, 9, 0);
    ends(r, STATUS_OK, NULL, NULL);
}

Test(json_in, lists_are_measured_and_their_elements_named)
{
    struct reading *r = read_body("{\"l\":[1,2,3]}");
    field_list(&r->fields, "l", 1, 2, true);
    ends(r, STATUS_INVALID_FIELD, "l", "1 to 2 elements");

    r = read_body("{\"l\":[{\"n\":1},{\"n\":\"x\"}]}");
    const struct json *list = field_list(&r->fields, "l", 1, 2, true);
    cr_assert_not_null(list);
    long i = 0;
    for (const struct json *value = json_first(list); value != NULL; value = json_next(value)) {
        struct fields item = fields_of_item(&r->fields, "l", i++, value);
        field_int(&item, "n", 0, 9, 0);
        fields_absorb(&r->fields, fields_end(&item));
    }
    ends(r, STATUS_INVALID_FIELD, "l[1].n", "l[1].n must be");

    r = read_body("{\"l\":[7]}");
    list = field_list(&r->fields, "l", 1, 2, true);
    struct fields item = fields_of_item(&r->fields, "l", 0, json_first(list));
    fields_absorb(&r->fields, fields_end(&item));
    ends(r, STATUS_INVALID_FIELD, "l[0]", "must be an object");

    r = read_body("{\"o\":{\"m\":1}}");
    struct fields inner = fields_of_item(&r->fields, "o", -1, field_nested(&r->fields, "o"));
    fields_absorb(&r->fields, fields_end(&inner));
    ends(r, STATUS_UNKNOWN_FIELD, "o.m", NULL);
}

Test(json_in, a_very_long_field_name_is_cut_between_characters_in_the_sentence)
{
    char body[4096] = "{\"k", name[128] = "k";
    for (int i = 0; i < 1000; i++) {
        strcat(body, "\xC3\xA9");
    }
    strcat(body, "\":1}");
    for (int i = 0; i < 39; i++) {
        strcat(name, "\xC3\xA9");
    }
    ends(read_body(body), STATUS_UNKNOWN_FIELD, name, "\xC3\xA9 is not a field");
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

static void writes(struct json_out *out, struct arena *arena, const char *expected)
{
    struct text got = out_end(out);
    cr_expect(text_equal(got, text_of(expected)), "wrote %.*s, not %s", (int)got.len, got.at,
              expected);
    arena_free(arena);
}

Test(json_out, members_and_elements_come_in_order_with_commas_between)
{
    struct arena arena = ARENA_EMPTY;
    struct json_out out = out_begin(&arena);
    out_open(&out, '{');
    out_member_int(&out, "n", 1);
    out_member_bool(&out, "b", true);
    out_key(&out, "l");
    out_open(&out, '[');
    out_open(&out, '[');
    out_close(&out, ']');
    out_int(&out, 2);
    out_null(&out);
    out_open(&out, '{');
    out_close(&out, '}');
    out_close(&out, ']');
    out_member_text(&out, "absent", TEXT_ABSENT);
    out_member_text_if(&out, "left_out", TEXT_ABSENT);
    out_member_text_if(&out, "t", TEXT(""));
    out_member_raw(&out, "r", TEXT("[1]"));
    out_close(&out, '}');
    writes(&out, &arena,
           "{\"n\":1,\"b\":true,\"l\":[[],2,null,{}],\"absent\":null,\"t\":\"\",\"r\":[1]}");
}

Test(json_out, integers_reach_from_end_to_end)
{
    struct arena arena = ARENA_EMPTY;
    struct json_out out = out_begin(&arena);
    out_open(&out, '[');
    out_int(&out, 0);
    out_int(&out, -1);
    out_int(&out, INT64_MAX);
    out_int(&out, INT64_MIN);
    out_close(&out, ']');
    writes(&out, &arena, "[0,-1,9223372036854775807,-9223372036854775808]");
}

Test(json_out, strings_are_escaped_where_they_must_be)
{
    struct arena arena = ARENA_EMPTY;
    struct json_out out = out_begin(&arena);
    out_text(&out, (struct text){"\"\\/\b\f\n\r\t\0\x1f\x7f\xc3\xa9", 13});
    writes(&out, &arena, "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\xc3\xa9\"");
}

Test(json_out, every_byte_of_a_string_comes_back_through_a_parser)
{
    struct arena arena = ARENA_EMPTY;
    struct json_out out = out_begin(&arena);
    char bytes[127];
    for (int c = 0; c < 127; c++) {
        bytes[c] = (char)(c + 1);
    }
    out_text(&out, (struct text){bytes, sizeof bytes});
    struct text json = out_end(&out);
    json_t *value = json_loadb(json.at, json.len, JSON_DECODE_ANY, NULL);
    cr_assert_not_null(value);
    cr_expect(text_equal((struct text){json_string_value(value), json_string_length(value)},
                         (struct text){bytes, sizeof bytes}));
    json_decref(value);
    arena_free(&arena);
}

Test(json_out, instants_are_rfc_3339_with_milliseconds)
{
    struct arena arena = ARENA_EMPTY;
    struct json_out out = out_begin(&arena);
    out_open(&out, '{');
    out_member_instant(&out, "a", 0);
    out_member_instant(&out, "b", 1769847300123);
    out_member_instant(&out, "c", 253402300799999);
    out_close(&out, '}');
    writes(&out, &arena,
           "{\"a\":\"1970-01-01T00:00:00.000Z\",\"b\":\"2026-01-31T08:15:00.123Z\","
           "\"c\":\"9999-12-31T23:59:59.999Z\"}");
}

Test(json_out, grows_past_its_first_room)
{
    struct arena arena = ARENA_EMPTY;
    struct json_out out = out_begin(&arena);
    out_open(&out, '[');
    for (int i = 0; i < 10000; i++) {
        out_int(&out, i);
    }
    out_close(&out, ']');
    struct text json = out_end(&out);
    json_t *value = json_loadb(json.at, json.len, 0, NULL);
    cr_assert_not_null(value);
    cr_expect_eq(json_array_size(value), 10000);
    cr_expect_eq(json_integer_value(json_array_get(value, 9999)), 9999);
    json_decref(value);
    arena_free(&arena);
}
