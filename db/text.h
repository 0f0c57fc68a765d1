/*
 * A text is a borrowed run of bytes: a pointer and a length, not necessarily NUL-terminated. It owns nothing; what it
 * points into (a request's body, an arena, a SQLite row) must outlive it. `at == NULL` means "not given", which is
 * different from the empty text.
 */
#ifndef RINGHOLD_DB_TEXT_H
#define RINGHOLD_DB_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
    const char *at;
    size_t len;
};

#define TEXT_ABSENT ((struct text){NULL, 0})
/* Of a string literal. */
#define TEXT(literal) ((struct text){"" literal "", sizeof(literal) - 1})

static inline struct text text_of(const char *s)
{
    return s == NULL ? TEXT_ABSENT : (struct text){s, strlen(s)};
}

static inline bool text_given(struct text t)
{
    return t.at != NULL;
}

static inline bool text_equal(struct text a, struct text b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* memcmp order, a prefix before the longer text. */
int text_compare(struct text a, struct text b);

/* Copies the text to `*at`, where there must be room, and moves `*at` behind it. Absent stays absent. */
struct text text_pack(struct text t, char **at);

/* The routing key of a name: the part before its first '~', the whole name where there is none (API.md §1). */
struct text text_routing_key(struct text name);

/* The number in decimal, in `buffer`, NUL-terminated behind its length. */
enum { DECIMAL_BYTES = 24 };
struct text text_decimal(int64_t n, char buffer[DECIMAL_BYTES]);

#endif
