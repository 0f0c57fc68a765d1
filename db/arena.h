/*
 * An arena hands out memory that lives until the whole arena is cleared or freed: one for each request, one for each
 * batch. Not thread-safe; a request's arena passes from thread to thread with the request.
 */
#ifndef RINGHOLD_DB_ARENA_H
#define RINGHOLD_DB_ARENA_H

#include "db/text.h"

struct arena_block;
struct arena {
    struct arena_block *first; /* the newest block, the one that is handed out from */
    char *at, *end;            /* what is left of it */
    bool exhausted;            /* an allocation has failed since the arena was made or cleared */
};

#define ARENA_EMPTY ((struct arena){NULL, NULL, NULL, false})

/* `bytes` of uninitialised memory, aligned to 8. NULL when memory ran out; `exhausted` then stays set. */
void *arena_alloc(struct arena *arena, size_t bytes);
/* The same, zeroed, for `count` elements. NULL as well when the product overflows. */
void *arena_zalloc(struct arena *arena, size_t count, size_t element_bytes);
/* A copy of `t` in the arena; absent stays absent. The copy is NUL-terminated behind its length.
   Absent, with `exhausted` set, when memory ran out. */
struct text arena_copy(struct arena *arena, struct text t);
/* A formatted text, NUL-terminated behind its length. Absent when memory ran out. */
struct text arena_format(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Makes all that was handed out invalid; keeps one block of a usual size for reuse. */
void arena_clear(struct arena *arena);
/* Gives all memory back; the arena is then empty and usable again. */
void arena_free(struct arena *arena);

#endif
