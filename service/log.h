/*
 * The log: one JSON object a line on stderr, written with one write(2), so that lines of different threads never mix:
 *
 *     {"time":"2026-01-31T08:15:00.123Z","level":"info","event":"storage-unavailable","error":"disk I/O error"}
 *
 * Events have fixed names, what varies stands in fields. Secrets (tokens, receipts, idempotency keys) never go in.
 * All functions may be called from any thread.
 */
#ifndef RINGHOLD_SERVICE_LOG_H
#define RINGHOLD_SERVICE_LOG_H

#include "db/text.h"

#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* A line is at most this long, end of line included: what a pipe takes in one piece. A field that would make it longer
   is left out, and the line says "truncated":true. */
enum { LOG_LINE_MAX = 4096, LOG_FIELDS_MAX = 12 };

enum log_field_type {
    LOG_FIELD_END, /* what an array's rest is filled with */
    LOG_FIELD_TEXT,
    LOG_FIELD_INT
};

struct log_field {
    enum log_field_type type;
    const char *key;
    struct text text; /* absent: the field is left out */
    int64_t number;
};

#define LOG_TEXT_FIELD(key, value) ((struct log_field){LOG_FIELD_TEXT, (key), (value), 0})
#define LOG_STRING(key, value) ((struct log_field){LOG_FIELD_TEXT, (key), text_of(value), 0})
#define LOG_INT(key, value) ((struct log_field){LOG_FIELD_INT, (key), TEXT_ABSENT, (value)})

/*
 * LOG(LOG_INFO, "listening", LOG_STRING("address", "127.0.0.1"), LOG_INT("port", 7480));
 * The fields are not even evaluated when the level is not wanted.
 */
#define LOG(level, event, ...)                                                                     \
    do {                                                                                           \
        if (log_wants(level)) {                                                                    \
            log_write(level, event, (const struct log_field[LOG_FIELDS_MAX + 1]){__VA_ARGS__});    \
        }                                                                                          \
    } while (0)

/* Lines less urgent than `level` are left out from now on. LOG_INFO at the start. */
void log_set_level(enum log_level level);
bool log_wants(enum log_level level);
/* The level of that name ("error", "warn", "info", "debug"); false when there is none. */
bool log_level_from(const char *name, enum log_level *ret);

/* Writes the line. `fields` ends with a LOG_FIELD_END. */
void log_write(enum log_level level, const char *event, const struct log_field *fields);
/* The line that log_write would write at that instant, into `ret`; returns its length, newline included. */
size_t log_format(char ret[LOG_LINE_MAX], int64_t now_ms, enum log_level level, const char *event,
                  const struct log_field *fields);

#endif
