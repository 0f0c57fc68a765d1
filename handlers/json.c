#include "handlers/json.h"

#include "db/limits.h"
#include "handlers/spelling.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Up to so many members, each new key is compared with those before it; beyond, all are sorted at the end. */
enum { MEMBERS_COMPARED_MAX = 16, KEY_SHOWN_MAX = 40 };

struct reader {
    const char *begin, *at, *end;
    struct arena *arena;
    int depth;
    size_t loose; /* runs of white space and spellings so far that json_compact would change */
    enum status status;
    struct json_error *error;
};

/* ---- refusing ----------------------------------------------------------------------------------------------------- */

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

static void locate(const struct reader *r, const char *at, struct json_error *error)
{
    error->line = 1;
    error->column = 1;
    for (const char *c = r->begin; c < at; c++) {
        if (*c == '\n') {
            error->line++;
            error->column = 1;
        } else if (!is_continuation(*c)) {
            error->column++;
        }
    }
}

/* Always false, for the caller to return. */
static bool __attribute__((format(printf, 4, 5), cold))
fail(struct reader *r, enum status status, const char *at, const char *format, ...)
{
    va_list list;
    r->status = status;
    locate(r, at, r->error);
    va_start(list, format);
    vsnprintf(r->error->sentence, sizeof r->error->sentence, format, list);
    va_end(list);
    return false;
}

static bool __attribute__((cold)) fail_expected(struct reader *r, const char *what)
{
    return r->at == r->end
               ? fail(r, STATUS_BAD_JSON, r->at, "the JSON ends where %s must stand.", what)
               : fail(r, STATUS_BAD_JSON, r->at, "%s must stand here.", what);
}

static bool __attribute__((cold)) fail_duplicate(struct reader *r, const char *at, struct text key)
{
    struct text shown = spelling_cut(key, KEY_SHOWN_MAX);
    return fail(r, STATUS_DUPLICATE_KEY, at, "the key \"%.*s%s\" is in this object already.",
                (int)shown.len, shown.at, shown.len < key.len ? "..." : "");
}

static bool out_of_memory(struct reader *r)
{
    r->status = STATUS_OUT_OF_MEMORY;
    return false;
}

/* ---- characters --------------------------------------------------------------------------------------------------- */

/* The byte that is next; NUL, which belongs nowhere, at the end. */
static char peek(const struct reader *r)
{
    return r->at < r->end ? *r->at : '\0';
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Passes white space, of which there most often is none; returns the byte behind it, as peek does. */
static inline char skip_space(struct reader *r)
{
    char c = peek(r);
    if ((unsigned char)c > ' ') {
        return c;
    }
    r->loose += is_space(c);
    while (is_space(peek(r))) {
        r->at++;
    }
    return peek(r);
}

/* ---- strings ------------------------------------------------------------------------------------------------------ */

static bool is_surrogate(int32_t c)
{
    return c >= 0xD800 && c <= 0xDFFF;
}

/* Passes the escape at the front. */
static bool check_escape(struct reader *r)
{
    char spelled[SPELLING_ESCAPE_BYTES_MAX];
    size_t len;
    int32_t c = spelling_read_escape(r->at, r->end, &len);
    if (c == SPELLING_BROKEN) {
        return fail(r, STATUS_BAD_JSON, r->at,
                    "a backslash in a string must come before one of \" \\ / b f n r t, or before "
                    "u and four hexadecimal digits.");
    }
    if (is_surrogate(c)) {
        return fail(r, STATUS_BAD_JSON, r->at,
                    "the \\u escape is half of a surrogate pair; its other half is missing.");
    }
    r->loose += spelling_write(spelled, (uint32_t)c) != len || memcmp(spelled, r->at, len) != 0;
    r->at += len;
    return true;
}

static bool check_utf8(struct reader *r)
{
    while (r->at < r->end && (unsigned char)*r->at >= 0x80) {
        size_t len = spelling_utf8_length(r->at, (size_t)(r->end - r->at));
        if (len == 0) {
            return fail(r, STATUS_BAD_JSON, r->at, "the bytes here are not UTF-8.");
        }
        r->at += len;
    }
    return true;
}

/* What a checked string with escapes says. */
static bool unescape(struct reader *r, struct text raw, struct text *ret)
{
    char *to = arena_alloc(r->arena, raw.len);
    if (to == NULL) {
        return out_of_memory(r);
    }
    *ret = (struct text){to, spelling_decode(to, raw)};
    return true;
}

/* The rest of a string that began at `first`, from something that is not plain. */
static bool read_odd_string(struct reader *r, const char *first, struct text *ret)
{
    bool escaped = false;
    while (peek(r) != '"') {
        char c = peek(r);
        if (c == '\\') {
            escaped = true;
            if (!check_escape(r)) {
                return false;
            }
        } else if ((unsigned char)c < 0x80) {
            return r->at == r->end
                       ? fail(r, STATUS_BAD_JSON, r->at, "the JSON ends inside a string.")
                       : fail(r, STATUS_BAD_JSON, r->at,
                              "a control character in a string must be escaped.");
        } else if (!check_utf8(r)) {
            return false;
        }
        r->at = spelling_skip_plain(r->at, r->end);
    }
    *ret = (struct text){first, (size_t)(r->at - first)};
    r->at++;
    return !escaped || unescape(r, *ret, ret);
}

/* The string at the front, from quote to quote. */
static bool read_string(struct reader *r, struct text *ret)
{
    const char *first = r->at + 1, *at = spelling_skip_plain(first, r->end);
    if (at < r->end && *at == '"') {
        *ret = (struct text){first, (size_t)(at - first)};
        r->at = at + 1;
        return true;
    }
    r->at = at;
    return read_odd_string(r, first, ret);
}

/* ---- duplicate keys ----------------------------------------------------------------------------------------------- */

/* Different for most keys that differ. */
static uint64_t key_bit(struct text key)
{
    size_t mixed = key.len;
    if (key.len > 0) {
        mixed += (size_t)(unsigned char)key.at[0] * 7 + (unsigned char)key.at[key.len - 1];
    }
    return UINT64_C(1) << (mixed & 63);
}

/* By key, equal ones in the order of the text. */
static int compare_members(const void *one, const void *other)
{
    const struct json *a = *(const struct json *const *)one;
    const struct json *b = *(const struct json *const *)other;
    if (a->key_len != b->key_len) {
        return a->key_len < b->key_len ? -1 : 1;
    }
    int order = memcmp(a->key, b->key, a->key_len);
    return order != 0 ? order : (a->source > b->source) - (a->source < b->source);
}

/* The first member of the text whose key came before; NULL if there is none. */
static const struct json *find_duplicate(const struct json **members, size_t count)
{
    const struct json *found = NULL;
    qsort(members, count, sizeof *members, compare_members);
    for (size_t i = 1; i < count; i++) {
        if (text_equal(json_key(members[i - 1]), json_key(members[i])) &&
            (found == NULL || members[i]->source < found->source)) {
            found = members[i];
        }
    }
    return found;
}

/* Where the member behind `before` begins. */
static const char *member_begins(const struct json *before)
{
    const char *at = before->source + before->source_len;
    while (*at != '"') {
        at++;
    }
    return at;
}

/*
 * Of an object of many members. Sorted and not hashed, for a hash without a secret can be made to collide, and a
 * comparison of each with each takes minutes for the 150,000 members that fit in a body.
 */
static bool check_many_keys(struct reader *r, const struct json *object)
{
    const struct json **members = arena_alloc(r->arena, object->size * sizeof *members);
    size_t count = 0;
    if (members == NULL) {
        return out_of_memory(r);
    }
    for (const struct json *m = object->first; m != NULL; m = m->next) {
        members[count++] = m;
    }
    const struct json *found = find_duplicate(members, count), *before = object->first;
    if (found == NULL) {
        return true;
    }
    while (before->next != found) {
        before = before->next;
    }
    return fail_duplicate(r, member_begins(before), json_key(found));
}

/* Whether the key is new to the object. `seen` has a bit of each key so far: most often that is all it takes. */
static bool check_key(struct reader *r, const struct json *object, struct text key, const char *at,
                      uint64_t *seen)
{
    uint64_t bit = key_bit(key);
    if ((*seen & bit) == 0 || object->size > MEMBERS_COMPARED_MAX) {
        *seen |= bit;
        return true;
    }
    return json_member(object, key) == NULL || fail_duplicate(r, at, key);
}

/* ---- values ------------------------------------------------------------------------------------------------------- */

static bool read_value(struct reader *r, struct json *node);

static struct json *new_node(struct reader *r)
{
    struct json *node = arena_alloc(r->arena, sizeof *node);
    if (node == NULL) {
        out_of_memory(r);
        return NULL;
    }
    node->next = NULL;
    node->key = NULL;
    node->key_len = 0;
    return node;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool skip_digits(struct reader *r)
{
    const char *at = r->at;
    if (!is_digit(peek(r))) {
        return fail_expected(r, "a digit");
    }
    do {
        at++;
    } while (at < r->end && is_digit(*at));
    r->at = at;
    return true;
}

static bool read_number(struct reader *r, struct json *node)
{
    node->kind = JSON_KIND_NUMBER;
    r->at += peek(r) == '-';
    const char *first = r->at;
    if (!skip_digits(r)) {
        return false;
    }
    if (*first == '0' && r->at - first > 1) {
        return fail(r, STATUS_BAD_JSON, first, "a number must not begin with a zero too many.");
    }
    if (peek(r) == '.') {
        r->at++;
        if (!skip_digits(r)) {
            return false;
        }
    }
    if (peek(r) == 'e' || peek(r) == 'E') {
        r->at++;
        r->at += peek(r) == '+' || peek(r) == '-';
        return skip_digits(r);
    }
    return true;
}

static bool read_word(struct reader *r, struct json *node, enum json_kind kind, struct text word)
{
    node->kind = (uint8_t)kind;
    if ((size_t)(r->end - r->at) < word.len || memcmp(r->at, word.at, word.len) != 0) {
        return fail_expected(r, "a value");
    }
    r->at += word.len;
    return true;
}

/* An element of a list. NULL after a failure. */
static struct json *read_element(struct reader *r)
{
    struct json *element = new_node(r);
    return element != NULL && read_value(r, element) ? element : NULL;
}

static bool read_colon(struct reader *r)
{
    if (skip_space(r) != ':') {
        return fail_expected(r, "a colon");
    }
    r->at++;
    skip_space(r);
    return true;
}

/* A member of an object. NULL after a failure. */
static struct json *read_member(struct reader *r, const struct json *object, uint64_t *seen)
{
    const char *at = r->at;
    struct text key;
    if (peek(r) != '"') {
        fail_expected(r,
                      object->size == 0 ? "a key in double quotes or }" : "a key in double quotes");
        return NULL;
    }
    if (!read_string(r, &key) || !check_key(r, object, key, at, seen) || !read_colon(r)) {
        return NULL;
    }
    struct json *member = new_node(r);
    if (member == NULL) {
        return NULL;
    }
    member->key = key.at;
    member->key_len = (uint32_t)key.len;
    return read_value(r, member) ? member : NULL;
}

/* What stands between the brackets, up to the closing one. */
static bool read_children(struct reader *r, struct json *node, char close)
{
    struct json *last = NULL;
    uint64_t seen = 0;
    if (skip_space(r) == close) {
        return true;
    }
    for (;;) {
        struct json *child = close == ']' ? read_element(r) : read_member(r, node, &seen);
        if (child == NULL) {
            return false;
        }
        if (last == NULL) {
            node->first = child;
        } else {
            last->next = child;
        }
        last = child;
        node->size++;
        char c = skip_space(r);
        if (c == close) {
            return true;
        }
        if (c != ',') {
            return fail_expected(r, close == ']' ? "a comma or ]" : "a comma or }");
        }
        r->at++;
        skip_space(r);
    }
}

static bool read_container(struct reader *r, struct json *node, enum json_kind kind, char close)
{
    node->kind = (uint8_t)kind;
    node->first = NULL;
    node->size = 0;
    if (r->depth == JSON_DEPTH_MAX) {
        return fail(r, STATUS_NESTING_TOO_DEEP, r->at, "the JSON is nested deeper than %d levels.",
                    JSON_DEPTH_MAX);
    }
    r->depth++;
    r->at++;
    if (!read_children(r, node, close)) {
        return false;
    }
    r->at++;
    r->depth--;
    return kind == JSON_KIND_LIST || node->size <= MEMBERS_COMPARED_MAX || check_many_keys(r, node);
}

static bool read_string_value(struct reader *r, struct json *node)
{
    struct text said;
    if (!read_string(r, &said)) {
        return false;
    }
    node->kind = JSON_KIND_STRING;
    node->string = said.at;
    node->size = (uint32_t)said.len;
    return true;
}

static bool read_any(struct reader *r, struct json *node)
{
    switch (peek(r)) {
    case '{':
        return read_container(r, node, JSON_KIND_OBJECT, '}');
    case '[':
        return read_container(r, node, JSON_KIND_LIST, ']');
    case '"':
        return read_string_value(r, node);
    case 't':
        return read_word(r, node, JSON_KIND_TRUE, TEXT("true"));
    case 'f':
        return read_word(r, node, JSON_KIND_FALSE, TEXT("false"));
    case 'n':
        return read_word(r, node, JSON_KIND_NULL, TEXT("null"));
    default:
        if (peek(r) == '-' || is_digit(peek(r))) {
            return read_number(r, node);
        }
        return fail_expected(r, "a value");
    }
}

static bool read_value(struct reader *r, struct json *node)
{
    const char *source = r->at;
    size_t loose = r->loose;
    if (!read_any(r, node)) {
        return false;
    }
    node->source = source;
    node->source_len = (uint32_t)(r->at - source);
    node->compact = r->loose == loose;
    return true;
}

static bool read_text(struct reader *r, struct json *node)
{
    if (r->end - r->begin > BODY_BYTES_MAX) {
        return fail(r, STATUS_BODY_TOO_LARGE, r->begin, "the JSON is longer than %d bytes.",
                    BODY_BYTES_MAX);
    }
    if (r->end - r->begin >= 3 && memcmp(r->begin, "\xEF\xBB\xBF", 3) == 0) {
        return fail(r, STATUS_BAD_JSON, r->begin, "the JSON must begin without a byte order mark.");
    }
    skip_space(r);
    if (!read_value(r, node)) {
        return false;
    }
    skip_space(r);
    return r->at == r->end ||
           fail(r, STATUS_BAD_JSON, r->at, "only white space may follow the JSON value.");
}

enum status json_read(struct arena *arena, struct text text, const struct json **ret,
                      struct json_error *ret_error)
{
    const char *begin = text_given(text) ? text.at : "";
    struct reader r = {.begin = begin,
                       .at = begin,
                       .end = begin + text.len,
                       .arena = arena,
                       .status = STATUS_OK,
                       .error = ret_error};
    struct json *node = new_node(&r);
    if (node != NULL && read_text(&r, node)) {
        *ret = node;
    }
    return r.status;
}

/* ---- looking ------------------------------------------------------------------------------------------------------ */

const struct json *json_member(const struct json *object, struct text key)
{
    const struct json *member = json_is(object, JSON_KIND_OBJECT) ? object->first : NULL;
    while (member != NULL && !text_equal(json_key(member), key)) {
        member = member->next;
    }
    return member;
}

bool json_int(const struct json *json, int64_t *ret)
{
    enum { DIGITS_MAX = 19 };
    const char *at = json->source, *end = at + json->source_len;
    bool negative = json->kind == JSON_KIND_NUMBER && *at == '-';
    uint64_t n = 0, largest = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    at += negative;
    if (json->kind != JSON_KIND_NUMBER || end - at > DIGITS_MAX) {
        return false;
    }
    for (; at < end; at++) {
        if (*at < '0' || *at > '9') {
            return false;
        }
        n = n * 10 + (uint64_t)(*at - '0');
    }
    if (n > largest) {
        return false;
    }
    *ret = negative ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

bool json_number(const struct json *json, double *ret)
{
    char digits[JSON_NUMBER_BYTES_MAX + 1];
    if (json->kind != JSON_KIND_NUMBER || json->source_len > JSON_NUMBER_BYTES_MAX) {
        return false;
    }
    memcpy(digits, json->source, json->source_len);
    digits[json->source_len] = '\0';
    *ret = strtod(digits, NULL);
    return true;
}

/* ---- writing compact ---------------------------------------------------------------------------------------------- */

struct text json_compact(struct arena *arena, const struct json *json)
{
    const char *at = json->source, *end = at + json->source_len;
    if (json->compact) {
        return (struct text){at, json->source_len};
    }
    char *begin = arena_alloc(arena, json->source_len), *to = begin;
    if (begin == NULL) {
        return TEXT_ABSENT;
    }
    while (at < end) {
        if (*at == '"') {
            to = spelling_copy(to, &at, end);
        } else {
            *to = *at++;
            to += !is_space(*to);
        }
    }
    return (struct text){begin, (size_t)(to - begin)};
}
