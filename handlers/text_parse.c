#include "handlers/text_parse.h"

#include "db/limits.h"

#include <nettle/base64.h>
#include <strings.h>
#include <time.h>

bool parse_decimal(struct text t, int64_t *ret)
{
    int64_t n = 0;
    if (t.len == 0 || t.len > 19 || (t.len > 1 && t.at[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < t.len; i++) {
        if (t.at[i] < '0' || t.at[i] > '9' || __builtin_mul_overflow(n, (int64_t)10, &n) ||
            __builtin_add_overflow(n, (int64_t)(t.at[i] - '0'), &n)) {
            return false;
        }
    }
    *ret = n;
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool parse_percent(struct text t, bool plus_is_space, struct arena *arena, struct text *ret)
{
    char *out = arena_alloc(arena, t.len + 1);
    size_t len = 0;
    if (out == NULL) {
        return false;
    }
    for (size_t i = 0; i < t.len; i++) {
        if (t.at[i] == '%') {
            int high = i + 2 < t.len ? hex_digit(t.at[i + 1]) : -1;
            int low = i + 2 < t.len ? hex_digit(t.at[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            out[len++] = (char)(high * 16 + low);
            i += 2;
        } else {
            out[len++] = plus_is_space && t.at[i] == '+' ? ' ' : t.at[i];
        }
    }
    out[len] = '\0';
    *ret = (struct text){out, len};
    return true;
}

/* Exactly `digits` digits at *at; moves on. */
static bool digits(struct text t, size_t *at, size_t count, int *ret)
{
    int n = 0;
    if (t.len - *at < count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        char c = t.at[(*at)++];
        if (c < '0' || c > '9') {
            return false;
        }
        n = n * 10 + (c - '0');
    }
    *ret = n;
    return true;
}

static bool one_of(struct text t, size_t *at, const char *allowed, char *ret)
{
    if (*at >= t.len || t.at[*at] == '\0' || strchr(allowed, t.at[*at]) == NULL) {
        return false;
    }
    *ret = t.at[(*at)++];
    return true;
}

/* ".123456": as milliseconds; nothing there is 0. */
static bool fraction(struct text t, size_t *at, int *ret_ms)
{
    int ms = 0, scale = 100;
    *ret_ms = 0;
    if (*at >= t.len || t.at[*at] != '.') {
        return true;
    }
    size_t first = ++*at;
    while (*at < t.len && t.at[*at] >= '0' && t.at[*at] <= '9') {
        ms += (t.at[(*at)++] - '0') * scale;
        scale /= 10;
    }
    *ret_ms = ms;
    return *at > first;
}

/* "Z" or "+hh:mm", as minutes east. */
static bool zone(struct text t, size_t *at, int *ret_minutes)
{
    char sign, colon;
    int hours, minutes;
    *ret_minutes = 0;
    if (one_of(t, at, "Zz", &sign)) {
        return *at == t.len;
    }
    if (!one_of(t, at, "+-", &sign) || !digits(t, at, 2, &hours) || !one_of(t, at, ":", &colon) ||
        !digits(t, at, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    *ret_minutes = (sign == '-' ? -1 : 1) * (hours * 60 + minutes);
    return *at == t.len;
}

bool parse_instant(struct text t, int64_t *ret)
{
    struct tm tm = {0};
    size_t at = 0;
    char mark;
    int year, month, ms, east;
    if (!digits(t, &at, 4, &year) || !one_of(t, &at, "-", &mark) || !digits(t, &at, 2, &month) ||
        !one_of(t, &at, "-", &mark) || !digits(t, &at, 2, &tm.tm_mday) ||
        !one_of(t, &at, "Tt ", &mark) || !digits(t, &at, 2, &tm.tm_hour) ||
        !one_of(t, &at, ":", &mark) || !digits(t, &at, 2, &tm.tm_min) ||
        !one_of(t, &at, ":", &mark) || !digits(t, &at, 2, &tm.tm_sec) || !fraction(t, &at, &ms) ||
        !zone(t, &at, &east)) {
        return false;
    }
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    struct tm given = tm;
    time_t seconds = timegm(&tm);
    /* timegm mends 31 February into March; a leap second is the only mending RFC 3339 allows. */
    bool mended = given.tm_mday != tm.tm_mday || given.tm_mon != tm.tm_mon ||
                  given.tm_hour != tm.tm_hour || given.tm_min != tm.tm_min;
    if (year < 1970 || (mended && given.tm_sec != 60)) {
        return false;
    }
    int64_t at_ms = ((int64_t)seconds - east * 60) * 1000 + ms;
    if (at_ms < 0) {
        return false;
    }
    *ret = at_ms;
    return true;
}

static struct text text_from(struct text t, size_t at)
{
    return (struct text){t.at + at, t.len - at};
}

bool parse_next_etag(struct text *list, bool *ret_weak, struct text *ret_opaque)
{
    while (list->len > 0 && list->at[0] != '\0' && strchr(" \t,", list->at[0]) != NULL) {
        *list = text_from(*list, 1); /* a list may have empty elements */
    }
    bool weak = list->len > 2 && memcmp(list->at, "W/", 2) == 0;
    struct text tag = text_from(*list, weak ? 2 : 0);
    size_t len = 1;
    if (tag.len < 2 || tag.at[0] != '"') {
        return false;
    }
    while (len < tag.len && (unsigned char)tag.at[len] > ' ' && tag.at[len] != '"') {
        len++;
    }
    struct text rest = len == tag.len ? tag : text_trim(text_from(tag, len + 1));
    if (len == tag.len || tag.at[len] != '"' || (rest.len > 0 && rest.at[0] != ',')) {
        return false;
    }
    *ret_weak = weak;
    *ret_opaque = (struct text){tag.at + 1, len - 1};
    *list = rest;
    return true;
}

bool text_equal_nocase(struct text a, const char *b)
{
    return a.len == strlen(b) && strncasecmp(a.at, b, a.len) == 0;
}

struct text text_trim(struct text t)
{
    while (t.len > 0 && (t.at[0] == ' ' || t.at[0] == '\t')) {
        t.at++;
        t.len--;
    }
    while (t.len > 0 && (t.at[t.len - 1] == ' ' || t.at[t.len - 1] == '\t')) {
        t.len--;
    }
    return t;
}

/* `t` up to the first `mark` in it. */
static struct text text_before(struct text t, char mark)
{
    const char *at = t.len == 0 ? NULL : memchr(t.at, mark, t.len);
    return at == NULL ? t : (struct text){t.at, (size_t)(at - t.at)};
}

static struct text without_quotes(struct text t)
{
    bool quoted = t.len >= 2 && t.at[0] == '"' && t.at[t.len - 1] == '"';
    return quoted ? (struct text){t.at + 1, t.len - 2} : t;
}

struct text parse_preference(struct text header, const char *name)
{
    while (header.len > 0) {
        struct text element = text_before(header, ',');
        struct text one = text_before(element, ';'), key = text_before(one, '=');
        if (text_equal_nocase(text_trim(key), name)) {
            return key.len == one.len ? TEXT("")
                                      : without_quotes(text_trim(text_from(one, key.len + 1)));
        }
        header = text_from(header, element.len + (element.len < header.len));
    }
    return TEXT_ABSENT;
}

struct text base64url_encode(struct text bytes, struct arena *arena)
{
    struct base64_encode_ctx context;
    char *out = arena_alloc(arena, BASE64_ENCODE_LENGTH(bytes.len) + BASE64_ENCODE_FINAL_LENGTH);
    if (out == NULL) {
        return TEXT_ABSENT;
    }
    base64url_encode_init(&context);
    size_t len = base64_encode_update(&context, out, bytes.len, (const uint8_t *)bytes.at);
    len += base64_encode_final(&context, out + len);
    while (len > 0 && out[len - 1] == '=') {
        len--;
    }
    return (struct text){out, len};
}

/* nettle also reads padding and skips white space: then one text would have many spellings. */
static bool is_base64url(struct text t)
{
    for (size_t i = 0; i < t.len; i++) {
        char c = t.at[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_')) {
            return false;
        }
    }
    return true;
}

bool base64url_decode(struct text t, struct arena *arena, struct text *ret)
{
    struct base64_decode_ctx context;
    uint8_t *out = arena_alloc(arena, BASE64_DECODE_LENGTH(t.len) + 1);
    size_t len = 0;
    /* Without its padding a text's length is never 1 more than a multiple of 4. nettle wants the padding. */
    if (out == NULL || t.len % 4 == 1 || !is_base64url(t)) {
        return false;
    }
    base64url_decode_init(&context);
    if (!base64_decode_update(&context, &len, out, t.len, t.at)) {
        return false;
    }
    size_t padding = (4 - t.len % 4) % 4, more = 0;
    if (!base64_decode_update(&context, &more, out + len, padding, "==") ||
        !base64_decode_final(&context)) {
        return false;
    }
    *ret = (struct text){(const char *)out, len + more};
    return true;
}

size_t utf8_length(struct text t)
{
    const unsigned char *at = (const unsigned char *)t.at;
    if (t.len == 0 || at[0] < 0x80) {
        return t.len == 0 ? 0 : 1;
    }
    size_t len = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || t.len < len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* What is left are characters in too many bytes, surrogates, and what lies past U+10FFFF. */
    bool bad = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
               (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f);
    return bad ? 0 : len;
}

bool utf8_valid(struct text t)
{
    while (t.len > 0) {
        size_t len = utf8_length(t);
        if (len == 0) {
            return false;
        }
        t = (struct text){t.at + len, t.len - len};
    }
    return true;
}

static bool all_of(struct text t, const char *allowed)
{
    size_t len = 0;
    while (len < t.len && t.at[len] != '\0' && strchr(allowed, t.at[len]) != NULL) {
        len++;
    }
    return len == t.len;
}

bool traceparent_valid(struct text t)
{
    enum {
        LEN = 55
    }; /* 00-<32 digits>-<16 digits>-<2 digits>; a later version may go on behind a dash */
    static const char DIGITS[] = "0123456789abcdef";
    if (t.len < LEN || t.at[2] != '-' || t.at[35] != '-' || t.at[52] != '-') {
        return false;
    }
    struct text version = {t.at, 2}, trace = {t.at + 3, 32}, span = {t.at + 36, 16};
    bool whole = t.len == LEN || (!text_equal(version, TEXT("00")) && t.at[LEN] == '-');
    return whole && all_of(version, DIGITS) && !text_equal(version, TEXT("ff")) &&
           all_of(trace, DIGITS) && !all_of(trace, "0") && all_of(span, DIGITS) &&
           !all_of(span, "0") && all_of((struct text){t.at + 53, 2}, DIGITS);
}

bool traceparent_sampled(struct text t)
{
    enum { FLAGS_AT = 53, SAMPLED = 1 };
    return (hex_digit(t.at[FLAGS_AT + 1]) & SAMPLED) != 0;
}

bool name_valid(struct text name)
{
    static const char ALLOWED[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-~:@+=,";
    if (name.len == 0 || name.len > NAME_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        if (name.at[i] == '\0' || strchr(ALLOWED, name.at[i]) == NULL) {
            return false;
        }
    }
    return true;
}
