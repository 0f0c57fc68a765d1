#include "handlers/json_out.h"

#include "handlers/spelling.h"

enum { FIRST_ROOM = 512 };

struct json_out out_begin(struct arena *arena)
{
    struct json_out out = {.arena = arena, .room = FIRST_ROOM};
    out.at = arena_alloc(arena, out.room);
    out.failed = out.at == NULL;
    return out;
}

struct text out_end(struct json_out *out)
{
    return out->failed ? TEXT_ABSENT : (struct text){out->at, out->len};
}

static bool make_room(struct json_out *out, size_t bytes)
{
    if (out->failed || out->room - out->len >= bytes) {
        return !out->failed;
    }
    size_t room = (out->len + bytes) * 2;
    char *larger = arena_alloc(out->arena, room);
    if (larger == NULL) {
        out->failed = true;
        return false;
    }
    memcpy(larger, out->at, out->len);
    out->at = larger;
    out->room = room;
    return true;
}

static void put(struct json_out *out, const char *bytes, size_t len)
{
    if (make_room(out, len)) {
        memcpy(out->at + out->len, bytes, len);
        out->len += len;
    }
}

/* What comes before a value; after it, the next one needs a comma. */
static void begin_value(struct json_out *out)
{
    if (out->comma) {
        put(out, ",", 1);
    }
    out->comma = true;
}

void out_open(struct json_out *out, char bracket)
{
    begin_value(out);
    put(out, &bracket, 1);
    out->comma = false;
}

void out_close(struct json_out *out, char bracket)
{
    put(out, &bracket, 1);
    out->comma = true;
}

static void put_escape(struct json_out *out, unsigned char c)
{
    char escape[SPELLING_ESCAPE_BYTES_MAX];
    size_t len = spelling_escape(escape, c);
    put(out, escape, len);
}

/* The first byte of eight that must be escaped: below 0x20, '"' or '\\'; by the usual tricks with a word's bytes
   (H. S. Warren, Hacker's Delight, 6-1). 0: none of them. */
static uint64_t special_bytes(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');
    return (((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) |
            ((word - ones * 0x20) & ~word)) &
           highs;
}

/* How many bytes from `at` need no escape. */
static size_t plain_run(const char *at, size_t len)
{
    size_t i = 0;
    uint64_t word;
    while (len - i >= sizeof word) {
        memcpy(&word, at + i, sizeof word);
        if (special_bytes(word) != 0) {
            break;
        }
        i += sizeof word;
    }
    while (i < len && (unsigned char)at[i] >= 0x20 && at[i] != '"' && at[i] != '\\') {
        i++;
    }
    return i;
}

static void put_string(struct json_out *out, struct text t)
{
    put(out, "\"", 1);
    while (t.len > 0) {
        size_t run = plain_run(t.at, t.len);
        put(out, t.at, run);
        t = (struct text){t.at + run, t.len - run};
        if (t.len > 0) {
            put_escape(out, (unsigned char)t.at[0]);
            t = (struct text){t.at + 1, t.len - 1};
        }
    }
    put(out, "\"", 1);
}

/* Keys are names of our own: there is nothing to escape in them. */
void out_key(struct json_out *out, const char *key)
{
    size_t len = strlen(key);
    if (!make_room(out, len + 4)) {
        return;
    }
    char *at = out->at + out->len;
    if (out->comma) {
        *at++ = ',';
    }
    *at++ = '"';
    memcpy(at, key, len);
    memcpy(at + len, "\":", 2);
    out->len = (size_t)(at + len + 2 - out->at);
    out->comma = false;
}

void out_text(struct json_out *out, struct text t)
{
    if (!text_given(t)) {
        out_null(out);
        return;
    }
    begin_value(out);
    put_string(out, t);
}

void out_int(struct json_out *out, int64_t n)
{
    char digits[DECIMAL_BYTES];
    out_raw(out, text_decimal(n, digits));
}

void out_bool(struct json_out *out, bool b)
{
    out_raw(out, b ? TEXT("true") : TEXT("false"));
}

void out_null(struct json_out *out)
{
    out_raw(out, TEXT("null"));
}

void out_raw(struct json_out *out, struct text json)
{
    begin_value(out);
    put(out, json.at, json.len);
}

/* Two or more decimal digits, at the front of `at`. */
static void put_digits(char *at, int count, int64_t n)
{
    while (count > 0) {
        at[--count] = (char)('0' + n % 10);
        n /= 10;
    }
}

/*
 * The civil date of a day number since 1970, by the arithmetic of H. Hinnant, "chrono-Compatible Low-Level Date
 * Algorithms", civil_from_days: years begin in March, eras have 400 years. gmtime_r and strftime took a tenth of the
 * instructions of a request.
 */
static void put_date(char *at, int64_t days)
{
    int64_t shifted = days + 719468; /* since 0000-03-01 */
    int64_t era = shifted / 146097, day_of_era = shifted % 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    put_digits(at, 4, year_of_era + era * 400 + (month <= 2));
    put_digits(at + 5, 2, month);
    put_digits(at + 8, 2, day_of_year - (153 * month_from_march + 2) / 5 + 1);
}

void out_instant(struct json_out *out, int64_t at_ms)
{
    char instant[] = "\"0000-00-00T00:00:00.000Z\"";
    int64_t seconds = at_ms / 1000, of_day = seconds % 86400;
    put_date(instant + 1, seconds / 86400);
    put_digits(instant + 12, 2, of_day / 3600);
    put_digits(instant + 15, 2, of_day / 60 % 60);
    put_digits(instant + 18, 2, of_day % 60);
    put_digits(instant + 21, 3, at_ms % 1000);
    out_raw(out, (struct text){instant, sizeof instant - 1});
}

void out_member_text(struct json_out *out, const char *key, struct text t)
{
    out_key(out, key);
    out_text(out, t);
}

void out_member_int(struct json_out *out, const char *key, int64_t n)
{
    out_key(out, key);
    out_int(out, n);
}

void out_member_bool(struct json_out *out, const char *key, bool b)
{
    out_key(out, key);
    out_bool(out, b);
}

void out_member_raw(struct json_out *out, const char *key, struct text json)
{
    out_key(out, key);
    out_raw(out, json);
}

void out_member_instant(struct json_out *out, const char *key, int64_t at_ms)
{
    out_key(out, key);
    out_instant(out, at_ms);
}

void out_member_text_if(struct json_out *out, const char *key, struct text t)
{
    if (text_given(t)) {
        out_member_text(out, key, t);
    }
}
