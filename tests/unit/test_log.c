#include "service/log.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>

static const struct log_field END = {LOG_FIELD_END, NULL, {NULL, 0}, 0};

/* The line of one field, without its newline, as a C string. */
static const char *line_of(struct log_field field)
{
    static char line[LOG_LINE_MAX];
    const struct log_field fields[] = {field, END};
    size_t len = log_format(line, INT64_C(1700000000123), LOG_WARN, "something", fields);
    cr_assert_eq(line[len - 1], '\n');
    line[len - 1] = '\0';
    return line;
}

Test(log, a_line_is_one_json_object_with_time_level_event_and_fields)
{
    cr_expect_str_eq(line_of(LOG_INT("port", -7)),
                     "{\"time\":\"2023-11-14T22:13:20.123Z\",\"level\":\"warn\","
                     "\"event\":\"something\",\"port\":-7}");
}

Test(log, an_absent_text_is_left_out)
{
    cr_expect_null(strstr(line_of(LOG_STRING("why", NULL)), "why"));
    cr_expect_not_null(strstr(line_of(LOG_STRING("why", "")), "\"why\":\"\""));
}

Test(log, what_would_break_the_json_is_escaped)
{
    cr_expect_not_null(
        strstr(line_of(LOG_STRING("k", "a\"b\\c\nd\x01")), "\"k\":\"a\\\"b\\\\c\\u000ad\\u0001\""));
    cr_expect_not_null(strstr(line_of(LOG_TEXT_FIELD("k", TEXT("a\0b"))), "\"a\\u0000b\""));
}

Test(log, bytes_that_are_not_utf8_never_make_the_line_invalid)
{
    static const char *const BYTES[] = {"\x80",         "\xC0\x80",         "\xED\xA0\x80",
                                        "\xF5\x80\x80", "\xE2\x82",         "\xF0\x80\x80\x80",
                                        "\xFF",         "\xF4\x90\x80\x80", "\xE0\x80\x80"};
    for (size_t i = 0; i < sizeof BYTES / sizeof BYTES[0]; i++) {
        json_t *line = json_loads(line_of(LOG_STRING("k", BYTES[i])), 0, NULL);
        cr_expect_not_null(line, "case %zu", i);
        json_decref(line);
    }
    cr_expect_not_null(strstr(line_of(LOG_STRING("k", "\xC3\xA9\xF0\x9F\x94\x92")),
                              "\"k\":\"\xC3\xA9\xF0\x9F\x94\x92\""));
}

Test(log, a_field_too_long_is_left_out_and_the_line_says_so)
{
    static char big[2 * LOG_LINE_MAX];
    char line[LOG_LINE_MAX];
    memset(big, '"', sizeof big - 1);
    const struct log_field fields[] = {LOG_INT("a", 1), LOG_STRING("big", big), LOG_INT("b", 2),
                                       END};
    size_t len = log_format(line, 0, LOG_ERROR, "e", fields);
    json_t *object = json_loadb(line, len, 0, NULL);
    cr_assert_not_null(object);
    cr_expect_null(json_object_get(object, "big"));
    cr_expect_eq(json_integer_value(json_object_get(object, "b")), 2);
    cr_expect(json_is_true(json_object_get(object, "truncated")));
    json_decref(object);
}

Test(log, a_line_never_outgrows_its_bound)
{
    static char text[LOG_LINE_MAX];
    char line[LOG_LINE_MAX];
    for (size_t size = LOG_LINE_MAX - 200; size < sizeof text; size++) {
        memset(text, 'x', size);
        const struct log_field fields[] = {LOG_TEXT_FIELD("k", ((struct text){text, size})),
                                           LOG_INT("n", 1), END};
        size_t len = log_format(line, 0, LOG_ERROR, "e", fields);
        cr_assert_leq(len, LOG_LINE_MAX);
        json_t *object = json_loadb(line, len, 0, NULL);
        cr_assert_not_null(object, "%zu", size);
        json_decref(object);
    }
}

static int evaluations;
static int64_t evaluated(void)
{
    return ++evaluations;
}

Test(log, a_level_that_is_not_wanted_costs_nothing)
{
    log_set_level(LOG_WARN);
    cr_expect(log_wants(LOG_ERROR));
    cr_expect_not(log_wants(LOG_INFO));
    LOG(LOG_INFO, "never", LOG_INT("n", evaluated()));
    cr_expect_eq(evaluations, 0);
    log_set_level(LOG_INFO);
}

Test(log, levels_are_read_by_name)
{
    enum log_level level = LOG_INFO;
    cr_expect(log_level_from("debug", &level));
    cr_expect_eq(level, LOG_DEBUG);
    cr_expect_not(log_level_from("Debug", &level));
    cr_expect_not(log_level_from("", &level));
    cr_expect_eq(level, LOG_DEBUG);
}
