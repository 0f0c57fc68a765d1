#include "handlers/json_in.h"

#include "handlers/spelling.h"
#include "handlers/text_parse.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

enum { KEY_SHOWN_MAX = 80 };

/* ---- the object --------------------------------------------------------------------------------------------------- */

static const struct json *parse(struct exchange *x, enum status *ret)
{
    static const struct json NO_MEMBERS = {
        .source = "{}", .source_len = 2, .kind = JSON_KIND_OBJECT};
    const struct json *object = &NO_MEMBERS;
    struct json_error error;
    if (x->request.body.len > 0) {
        *ret = json_read(x->arena, x->request.body, &object, &error);
    }
    if (*ret == STATUS_OK && !json_is(object, JSON_KIND_OBJECT)) {
        *ret = exchange_refuse(x, STATUS_BAD_JSON, NULL, "The body must be a JSON object.");
    } else if (*ret != STATUS_OK && *ret != STATUS_OUT_OF_MEMORY) {
        exchange_refuse(x, *ret, NULL, "Line %zu, column %zu: %s", error.line, error.column,
                        error.sentence);
    }
    return *ret == STATUS_OK ? object : NULL;
}

struct fields fields_of_body(struct exchange *x)
{
    struct fields fields = {.x = x, .status = STATUS_OK};
    fields.object = parse(x, &fields.status);
    return fields;
}

struct fields fields_of_item(const struct fields *parent, const char *name, long index,
                             const struct json *value)
{
    struct fields fields = {.x = parent->x, .status = parent->status};
    if (index >= 0) {
        snprintf(fields.path, sizeof fields.path, "%.40s%s[%ld].", parent->path, name, index);
    } else {
        snprintf(fields.path, sizeof fields.path, "%.40s%s.", parent->path, name);
    }
    if (fields.status == STATUS_OK && json_is(value, JSON_KIND_OBJECT)) {
        fields.object = value;
    } else if (fields.status == STATUS_OK) {
        size_t len = strlen(fields.path) - 1;
        fields.path[len] = '\0';
        fields.status = exchange_refuse(fields.x, STATUS_INVALID_FIELD, fields.path,
                                        "%s must be an object.", fields.path);
    }
    return fields;
}

static bool was_taken(const struct fields *fields, const struct json *member)
{
    for (size_t i = 0; i < fields->taken_count; i++) {
        if (fields->taken[i] == member) {
            return true;
        }
    }
    return false;
}

static void refuse_unknown(struct fields *fields)
{
    const struct json *member = json_first(fields->object);
    while (member != NULL && was_taken(fields, member)) {
        member = json_next(member);
    }
    if (member != NULL) {
        struct text key = spelling_cut(json_key(member), KEY_SHOWN_MAX);
        char name[KEY_SHOWN_MAX + 1];
        snprintf(name, sizeof name, "%.*s", (int)key.len, key.at);
        field_refuse(fields, STATUS_UNKNOWN_FIELD, name, "is not a field of this operation.");
    }
}

enum status fields_end(struct fields *fields)
{
    if (fields->status == STATUS_OK && fields->object != NULL &&
        fields->taken_count < json_count(fields->object)) {
        refuse_unknown(fields);
    }
    fields->object = NULL;
    return fields->status;
}

void fields_absorb(struct fields *parent, enum status status)
{
    if (parent->status == STATUS_OK) {
        parent->status = status;
    }
}

/* ---- members ------------------------------------------------------------------------------------------------------ */

void field_refuse(struct fields *fields, enum status status, const char *name, const char *format,
                  ...)
{
    char words[256], path[FIELD_PATH_MAX * 2];
    va_list list;
    if (fields->status != STATUS_OK) {
        return;
    }
    va_start(list, format);
    vsnprintf(words, sizeof words, format, list);
    va_end(list);
    snprintf(path, sizeof path, "%s%.90s", fields->path, name);
    fields->status = exchange_refuse(fields->x, status, path, "%s %s", path, words);
}

/* The member. NULL where it is missing, and after a failure. */
static const struct json *peek(const struct fields *fields, const char *name)
{
    return fields->status == STATUS_OK ? json_member(fields->object, text_of(name)) : NULL;
}

/* The same, noted as taken. */
static const struct json *take(struct fields *fields, const char *name)
{
    const struct json *value = peek(fields, name);
    if (value != NULL && !was_taken(fields, value) && fields->taken_count < FIELDS_MAX) {
        fields->taken[fields->taken_count++] = value;
    }
    return value;
}

static const struct json *take_required(struct fields *fields, const char *name, bool required)
{
    const struct json *value = take(fields, name);
    if (value == NULL && required) {
        field_refuse(fields, STATUS_MISSING_FIELD, name, "is required.");
    }
    return value;
}

bool field_given(struct fields *fields, const char *name)
{
    return peek(fields, name) != NULL;
}

bool field_is_text(const struct fields *fields, const char *name)
{
    return json_is(peek(fields, name), JSON_KIND_STRING);
}

bool field_null(struct fields *fields, const char *name)
{
    return json_is(peek(fields, name), JSON_KIND_NULL) && take(fields, name) != NULL;
}

int64_t field_int(struct fields *fields, const char *name, int64_t min, int64_t max,
                  int64_t otherwise)
{
    const struct json *value = take_required(fields, name, otherwise == REQUIRED);
    if (value == NULL) {
        return otherwise;
    }
    int64_t n;
    if (!json_int(value, &n) || n < min || n > max) {
        field_refuse(fields, STATUS_INVALID_FIELD, name,
                     "must be an integer between %lld and %lld.", (long long)min, (long long)max);
        return otherwise;
    }
    return n;
}

int64_t field_milli(struct fields *fields, const char *name, int64_t min, int64_t max,
                    int64_t otherwise)
{
    const struct json *value = take(fields, name);
    if (value == NULL) {
        return otherwise;
    }
    double n;
    if (!json_number(value, &n) || n < (double)min || n > (double)max) {
        field_refuse(fields, STATUS_INVALID_FIELD, name, "must be a number between %lld and %lld.",
                     (long long)min, (long long)max);
        return otherwise;
    }
    return (int64_t)llround(n * 1000);
}

bool field_flag(struct fields *fields, const char *name, bool otherwise)
{
    const struct json *value = take(fields, name);
    if (value != NULL && !json_is(value, JSON_KIND_TRUE) && !json_is(value, JSON_KIND_FALSE)) {
        field_refuse(fields, STATUS_INVALID_FIELD, name, "must be true or false.");
    }
    return value == NULL ? otherwise : json_is(value, JSON_KIND_TRUE);
}

struct text field_text(struct fields *fields, const char *name, size_t min, size_t max,
                       bool required)
{
    const struct json *value = take_required(fields, name, required);
    if (value == NULL) {
        return TEXT_ABSENT;
    }
    struct text said = json_text(value);
    /* These texts go to where a NUL would end them. */
    bool whole = said.len == 0 || memchr(said.at, '\0', said.len) == NULL;
    if (!text_given(said) || said.len < min || said.len > max || !whole) {
        field_refuse(fields, STATUS_INVALID_FIELD, name,
                     "must be a string of %zu to %zu bytes, none of them NUL.", min, max);
        return TEXT_ABSENT;
    }
    return said;
}

struct text field_name(struct fields *fields, const char *name, bool required)
{
    const struct json *value = take_required(fields, name, required);
    if (value == NULL) {
        return TEXT_ABSENT;
    }
    struct text said = json_text(value);
    if (!text_given(said)) {
        field_refuse(fields, STATUS_INVALID_FIELD, name, "must be a string.");
        return TEXT_ABSENT;
    }
    if (!name_valid(said)) {
        field_refuse(fields, STATUS_INVALID_NAME, name,
                     "must be 1 to 255 bytes of A-Z a-z 0-9 . _ - ~ : @ + = ,");
        return TEXT_ABSENT;
    }
    return said;
}

int64_t field_choice(struct fields *fields, const char *name, const char *const *choices,
                     int64_t otherwise)
{
    const struct json *value = take(fields, name);
    char list[128] = "";
    if (value == NULL) {
        return otherwise;
    }
    for (int64_t i = 0; choices[i] != NULL; i++) {
        if (text_equal(json_text(value), text_of(choices[i]))) {
            return i;
        }
        size_t len = strlen(list);
        snprintf(list + len, sizeof list - len, "%s%s", i == 0 ? "" : ", ", choices[i]);
    }
    field_refuse(fields, STATUS_INVALID_FIELD, name, "must be one of: %s.", list);
    return otherwise;
}

int64_t field_instant(struct fields *fields, const char *name)
{
    const struct json *value = take(fields, name);
    int64_t at_ms = ABSENT;
    if (value != NULL && !parse_instant(json_text(value), &at_ms)) {
        field_refuse(fields, STATUS_INVALID_FIELD, name,
                     "must be an RFC 3339 instant such as 2026-01-31T08:15:00.000Z.");
    }
    return at_ms;
}

static struct text bounded(struct fields *fields, const char *name, const struct json *value,
                           size_t max)
{
    struct text compact = json_compact(fields->x->arena, value);
    if (compact.len > max) {
        field_refuse(fields, STATUS_BODY_TOO_LARGE, name,
                     "takes %zu bytes as compact JSON; at most %zu are allowed.", compact.len, max);
    }
    return compact;
}

struct text field_object(struct fields *fields, const char *name, size_t max, bool required)
{
    const struct json *value = take_required(fields, name, required);
    if (value == NULL) {
        return TEXT_ABSENT;
    }
    if (!json_is(value, JSON_KIND_OBJECT)) {
        field_refuse(fields, STATUS_INVALID_FIELD, name, "must be an object.");
        return TEXT_ABSENT;
    }
    return bounded(fields, name, value, max);
}

struct text field_any(struct fields *fields, const char *name, size_t max, bool required)
{
    const struct json *value = take_required(fields, name, required);
    return value == NULL ? TEXT_ABSENT : bounded(fields, name, value, max);
}

const struct json *field_list(struct fields *fields, const char *name, size_t min, size_t max,
                              bool required)
{
    const struct json *value = take_required(fields, name, required);
    if (value == NULL) {
        return NULL;
    }
    size_t count = json_count(value);
    if (!json_is(value, JSON_KIND_LIST) || count < min || count > max) {
        field_refuse(fields, STATUS_INVALID_FIELD, name, "must be a list of %zu to %zu elements.",
                     min, max);
        return NULL;
    }
    return value;
}

const struct json *field_nested(struct fields *fields, const char *name)
{
    return take(fields, name);
}
