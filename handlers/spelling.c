#include "handlers/spelling.h"

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

size_t spelling_utf8_length(const char *at, size_t left)
{
    unsigned char first = (unsigned char)at[0], second = left > 1 ? (unsigned char)at[1] : 0;
    size_t len = first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (len > left || second < low || second > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if (!is_continuation(at[i])) {
            return 0;
        }
    }
    return len;
}

struct text spelling_cut(struct text t, size_t max)
{
    if (t.len > max) {
        while (max > 0 && is_continuation(t.at[max])) {
            max--;
        }
        t.len = max;
    }
    return t;
}

static size_t utf8_write(char *to, uint32_t c)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--) {
        to[i] = (char)(0x80 | (c & 0x3F));
        c >>= 6;
    }
    to[0] = (char)((0xF00 >> len) | c);
    return len;
}

/* Four hexadecimal digits, or SPELLING_BROKEN. */
static int32_t read_hex(const char *at, const char *end)
{
    int32_t value = 0;
    if (end - at < 4) {
        return SPELLING_BROKEN;
    }
    for (int i = 0; i < 4; i++) {
        char c = at[i], small = (char)(c | 0x20);
        if (c >= '0' && c <= '9') {
            value = value * 16 + (c - '0');
        } else if (small >= 'a' && small <= 'f') {
            value = value * 16 + (small - 'a' + 10);
        } else {
            return SPELLING_BROKEN;
        }
    }
    return value;
}

static int32_t named_escape(char name)
{
    switch (name) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case '"':
    case '\\':
    case '/':
        return name;
    default:
        return SPELLING_BROKEN;
    }
}

int32_t spelling_read_escape(const char *at, const char *end, size_t *ret_len)
{
    *ret_len = 2;
    if (end - at < 2 || at[1] != 'u') {
        return end - at < 2 ? SPELLING_BROKEN : named_escape(at[1]);
    }
    *ret_len = 6;
    int32_t c = read_hex(at + 2, end);
    if (c >= 0xD800 && c <= 0xDBFF && end - at >= 12 && at[6] == '\\' && at[7] == 'u') {
        int32_t low = read_hex(at + 8, end);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            *ret_len = 12;
            return 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        }
    }
    return c;
}

size_t spelling_escape(char to[SPELLING_ESCAPE_BYTES_MAX], unsigned char c)
{
    static const char DIGITS[] = "0123456789abcdef", NAMED[] = "btn_fr"; /* 0x08 to 0x0d */
    bool named = c >= '\b' && c <= '\r' && c != '\v';
    to[0] = '\\';
    if (named || c >= 0x20) {
        to[1] = named ? NAMED[c - '\b'] : (char)c;
        return 2;
    }
    memcpy(to + 1, "u00", 3);
    to[4] = DIGITS[c >> 4];
    to[5] = DIGITS[c & 0xF];
    return 6;
}

size_t spelling_write(char to[SPELLING_ESCAPE_BYTES_MAX], uint32_t c)
{
    return c < 0x20 || c == '"' || c == '\\' ? spelling_escape(to, (unsigned char)c)
                                             : utf8_write(to, c);
}

size_t spelling_decode(char *to, struct text raw)
{
    const char *at = raw.at, *end = raw.at + raw.len, *begin = to;
    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        size_t run = (size_t)((escape == NULL ? end : escape) - at), len;
        memcpy(to, at, run);
        to += run;
        at += run;
        if (escape != NULL) {
            to += utf8_write(to, (uint32_t)spelling_read_escape(at, end, &len));
            at += len;
        }
    }
    return (size_t)(to - begin);
}

/* Behind what a canonical string takes over as it is. The closing quote is before `end`. */
static const char *skip_kept(const char *at, const char *end)
{
    at = spelling_skip_plain(at, end);
    while ((unsigned char)*at >= 0x80) {
        while ((unsigned char)*at >= 0x80) {
            at++;
        }
        at = spelling_skip_plain(at, end);
    }
    return at;
}

char *spelling_copy(char *to, const char **at, const char *end)
{
    const char *from = *at, *c = skip_kept(from + 1, end);
    while (*c == '\\') {
        size_t len;
        memcpy(to, from, (size_t)(c - from));
        to += c - from;
        to += spelling_write(to, (uint32_t)spelling_read_escape(c, end, &len));
        from = c + len;
        c = skip_kept(from, end);
    }
    c++;
    memcpy(to, from, (size_t)(c - from));
    *at = c;
    return to + (c - from);
}
