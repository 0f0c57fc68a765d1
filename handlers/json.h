/*
 * Reads JSON (RFC 8259): one strict pass over a text makes a tree of nodes in an arena. A store must hand back what it
 * was given, so numbers are kept as they were written and never become doubles on the way; for the same reason members
 * keep their order, and two members of one key are refused rather than one of them dropped.
 *
 * Refused beyond the grammar: bytes that are not UTF-8, \u escapes of half a pair, a byte order mark, a key twice in one
 * object however it is spelled, and nesting deeper than JSON_DEPTH_MAX. A string may hold \u0000: PHP's serialized objects
 * do, and sessions keep them. Compact JSON has it escaped; only json_text and json_key give the byte.
 *
 * A node borrows from the text it was read from and from the arena; both must outlive it. Nodes do not change once
 * they are read, so any thread may look at them.
 */
#ifndef RINGHOLD_HANDLERS_JSON_H
#define RINGHOLD_HANDLERS_JSON_H

#include "db/arena.h"
#include "db/status.h"

#include <stdint.h>

enum json_kind {
    JSON_KIND_NULL,
    JSON_KIND_FALSE,
    JSON_KIND_TRUE,
    JSON_KIND_NUMBER,
    JSON_KIND_STRING,
    JSON_KIND_LIST,
    JSON_KIND_OBJECT
};

/* Read with the functions below. Packed to 48 bytes, for a body can ask for half a million of them. */
struct json {
    const struct json *next; /* the next element of the same list, or member of the same object */
    const char *key;         /* of a member, unescaped; else NULL */
    const char *source;      /* the value as it stands in the text */
    union {
        const char *string;       /* unescaped */
        const struct json *first; /* of a list's elements or an object's members */
    };
    uint32_t key_len, source_len;
    uint32_t size; /* bytes of a string, elements of a list, members of an object */
    uint8_t kind;  /* enum json_kind */
    bool compact;  /* the source is as json_compact would write it */
};

/* Where the reader stopped, and why. */
struct json_error {
    size_t line, column; /* from 1; columns count characters */
    char sentence[256];  /* in small letters, with a full stop */
};

/*
 * Reads the whole text as one value. OK; BAD_JSON, DUPLICATE_KEY, NESTING_TOO_DEEP or BODY_TOO_LARGE (more than
 * BODY_BYTES_MAX) with the error filled; or OUT_OF_MEMORY.
 */
MUST_CHECK enum status json_read(struct arena *arena, struct text text, const struct json **ret,
                                 struct json_error *ret_error);

/* The one after it in its list or object; NULL behind the last. */
static inline const struct json *json_next(const struct json *json)
{
    return json->next;
}

/* A member's key, unescaped; absent for what is no member. */
static inline struct text json_key(const struct json *json)
{
    return (struct text){json->key, json->key_len};
}

/* The functions from here to json_member take NULL, as a field that is missing, for a value of no kind. */
static inline bool json_is(const struct json *json, enum json_kind kind)
{
    return json != NULL && json->kind == kind;
}

/* Elements of a list or members of an object; 0 for all else. */
static inline size_t json_count(const struct json *json)
{
    return json != NULL && json->kind >= JSON_KIND_LIST ? json->size : 0;
}

/* The first element or member; NULL where there is none. */
static inline const struct json *json_first(const struct json *json)
{
    return json != NULL && json->kind >= JSON_KIND_LIST ? json->first : NULL;
}

/* What a string says, unescaped; absent for what is no string. */
static inline struct text json_text(const struct json *json)
{
    return json_is(json, JSON_KIND_STRING) ? (struct text){json->string, json->size} : TEXT_ABSENT;
}

/* The member of this key; NULL where it is missing, or for what is no object. */
const struct json *json_member(const struct json *object, struct text key);

/* A number written without fraction and exponent, if it fits. */
bool json_int(const struct json *json, int64_t *ret);
/* The double nearest to a number of at most JSON_NUMBER_BYTES_MAX bytes; may be infinite. */
enum { JSON_NUMBER_BYTES_MAX = 128 };
bool json_number(const struct json *json, double *ret);

/*
 * The value without white space, its numbers as they were written, its members in their order, its strings in their
 * canonical spelling (handlers/spelling.h). So equal keys are equal bytes, which SQLite's json_patch counts on
 * (db/sessions.h). Borrowed from the text that was read where it stands there like that, which is common; else made in
 * the arena. Absent when memory ran out.
 */
struct text json_compact(struct arena *arena, const struct json *json);

#endif
