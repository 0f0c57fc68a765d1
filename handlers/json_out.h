/*
 * Writes JSON text into an arena. Members and elements come out in the order they are written, so that the same calls
 * give the same bytes. There is no tree between: answers are written straight from results, and stored JSON is put in
 * as it is.
 *
 * Memory: when it runs out, the writer goes on and out_end gives the absent text.
 */
#ifndef RINGHOLD_HANDLERS_JSON_OUT_H
#define RINGHOLD_HANDLERS_JSON_OUT_H

#include "db/arena.h"

#include <stdint.h>

struct json_out {
    struct arena *arena;
    char *at;
    size_t len, room;
    bool comma; /* the next value needs one before it */
    bool failed;
};

struct json_out out_begin(struct arena *arena);
/* What was written. */
struct text out_end(struct json_out *out);

void out_open(struct json_out *out, char bracket); /* '{' or '[' */
void out_close(struct json_out *out, char bracket);
void out_key(struct json_out *out, const char *key); /* a constant: nothing in it is escaped */

/* Values: elements of a list, or what follows an out_key. */
void out_text(struct json_out *out, struct text t); /* must be UTF-8; absent writes null */
void out_int(struct json_out *out, int64_t n);
void out_bool(struct json_out *out, bool b);
void out_null(struct json_out *out);
void out_raw(struct json_out *out, struct text json); /* already JSON */
void out_instant(struct json_out *out,
                 int64_t at_ms); /* from 1970 to 9999: "2026-01-31T08:15:00.123Z" */

/* A key and its value. */
void out_member_text(struct json_out *out, const char *key, struct text t);
void out_member_int(struct json_out *out, const char *key, int64_t n);
void out_member_bool(struct json_out *out, const char *key, bool b);
void out_member_raw(struct json_out *out, const char *key, struct text json);
void out_member_instant(struct json_out *out, const char *key, int64_t at_ms);
/* The same, but an absent text is left out altogether. */
void out_member_text_if(struct json_out *out, const char *key, struct text t);

#endif
