#include "service/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static _Atomic int wanted = LOG_INFO;

static const char *const LEVEL_NAMES[] = {"error", "warn", "info", "debug"};
enum { LEVELS = sizeof LEVEL_NAMES / sizeof LEVEL_NAMES[0] };

/* What is kept free for the end of the line: "truncated":true, the brace, the newline. */
static const char TRUNCATED[] = ",\"truncated\":true";
enum { LINE_END_BYTES = sizeof TRUNCATED + 2 };

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&wanted, (int)level, memory_order_relaxed);
}

bool log_wants(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&wanted, memory_order_relaxed);
}

bool log_level_from(const char *name, enum log_level *ret)
{
    for (int i = 0; i < LEVELS; i++) {
        if (strcmp(name, LEVEL_NAMES[i]) == 0) {
            *ret = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* ---- a line that is being made ------------------------------------------------------------------------------------ */

struct line {
    char *at;
    size_t len;
    size_t room;
    bool overflowed; /* something did not fit since it was last looked at */
};

static void put(struct line *line, const char *bytes, size_t count)
{
    if (line->overflowed || count > line->room - line->len) {
        line->overflowed = true;
        return;
    }
    memcpy(line->at + line->len, bytes, count);
    line->len += count;
}

static void put_string(struct line *line, const char *s)
{
    put(line, s, strlen(s));
}

/* The length of the well-formed UTF-8 sequence that `t` begins with; 0 if it begins with none (RFC 3629). */
static size_t utf8_length(struct text t)
{
    const unsigned char *b = (const unsigned char *)t.at;
    size_t length = b[0] < 0x80 ? 1 : b[0] < 0xC2 ? 0 : b[0] < 0xE0 ? 2 : b[0] < 0xF0 ? 3 : 4;
    if (length < 2) {
        return length;
    }
    if (b[0] > 0xF4 || t.len < length) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((b[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (b[0] == 0xE0 && b[1] < 0xA0) || (b[0] == 0xF0 && b[1] < 0x90);
    bool beyond = (b[0] == 0xED && b[1] > 0x9F) || (b[0] == 0xF4 && b[1] > 0x8F);
    return overlong || beyond ? 0 : length;
}

/* Puts the first character of `t` as JSON; returns how many bytes of `t` that were. */
static size_t put_character(struct line *line, struct text t)
{
    char escape[8];
    unsigned char c = (unsigned char)t.at[0];
    size_t length = utf8_length(t);
    if (length == 0) {
        put_string(line, "\\ufffd");
        return 1;
    }
    if (c < 0x20 || c == 0x7F) {
        snprintf(escape, sizeof escape, "\\u%04x", c);
        put_string(line, escape);
        return 1;
    }
    if (c == '"' || c == '\\') {
        put(line, "\\", 1);
    }
    put(line, t.at, length);
    return length;
}

static void put_text(struct line *line, struct text t)
{
    put(line, "\"", 1);
    while (t.len > 0 && !line->overflowed) {
        size_t taken = put_character(line, t);
        t.at += taken;
        t.len -= taken;
    }
    put(line, "\"", 1);
}

static void put_field(struct line *line, const struct log_field *field)
{
    char number[24];
    if (field->type == LOG_FIELD_TEXT && !text_given(field->text)) {
        return;
    }
    put(line, ",", 1);
    put_text(line, text_of(field->key));
    put(line, ":", 1);
    if (field->type == LOG_FIELD_TEXT) {
        put_text(line, field->text);
    } else {
        snprintf(number, sizeof number, "%" PRId64, field->number);
        put_string(line, number);
    }
}

static void put_time(struct line *line, int64_t now_ms)
{
    char instant[48];
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t len = strftime(instant, sizeof instant, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(instant + len, sizeof instant - len, ".%03dZ", (int)(now_ms % 1000));
    put_text(line, text_of(instant));
}

size_t log_format(char ret[LOG_LINE_MAX], int64_t now_ms, enum log_level level, const char *event,
                  const struct log_field *fields)
{
    struct line line = {ret, 0, LOG_LINE_MAX - LINE_END_BYTES, false};
    bool truncated = false;
    put_string(&line, "{\"time\":");
    put_time(&line, now_ms);
    put_string(&line, ",\"level\":\"");
    put_string(&line, LEVEL_NAMES[level]);
    put_string(&line, "\",\"event\":");
    put_text(&line, text_of(event));
    for (; fields->type != LOG_FIELD_END; fields++) {
        size_t before = line.len;
        put_field(&line, fields);
        if (line.overflowed) {
            /* A field stands whole or not at all, so that the line stays JSON. */
            line.len = before;
            line.overflowed = false;
            truncated = true;
        }
    }
    line.room = LOG_LINE_MAX;
    put_string(&line, truncated ? TRUNCATED : "");
    put_string(&line, "}\n");
    return line.len;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    char bytes[LOG_LINE_MAX];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    size_t len = log_format(bytes, now_ms, level, event, fields);
    int kept = errno;
    /* A log that cannot be written must not stop the service: the line is lost. */
    while (write(STDERR_FILENO, bytes, len) < 0 && errno == EINTR) {
    }
    errno = kept;
}
