#include "db/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Blocks double from the first size to the last. The first is small because ten thousand parked requests hold one each. */
enum { BLOCK_BYTES_FIRST = 1024 - 64, BLOCK_BYTES_LAST = 8192, ALIGNMENT = 8 };

struct arena_block {
    struct arena_block *next;
    size_t bytes;
    _Alignas(16) char data[];
};

static bool arena_grow(struct arena *arena, size_t bytes)
{
    size_t usual = arena->first == NULL                         ? BLOCK_BYTES_FIRST
                   : arena->first->bytes * 2 < BLOCK_BYTES_LAST ? arena->first->bytes * 2
                                                                : BLOCK_BYTES_LAST;
    size_t size = bytes > usual ? bytes : usual;
    struct arena_block *block =
        size > SIZE_MAX - sizeof *block ? NULL : malloc(sizeof *block + size);
    if (block == NULL) {
        arena->exhausted = true;
        return false;
    }
    block->bytes = size;
    block->next = arena->first;
    arena->first = block;
    arena->at = block->data;
    arena->end = block->data + size;
    return true;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 2) {
        arena->exhausted = true;
        return NULL;
    }
    bytes = (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    /* Even no bytes have an address: NULL is for failure alone. */
    bool room = arena->first != NULL && (size_t)(arena->end - arena->at) >= bytes;
    if (!room && !arena_grow(arena, bytes)) {
        return NULL;
    }
    void *memory = arena->at;
    arena->at += bytes;
    return memory;
}

void *arena_zalloc(struct arena *arena, size_t count, size_t element_bytes)
{
    if (element_bytes != 0 && count > SIZE_MAX / element_bytes) {
        arena->exhausted = true;
        return NULL;
    }
    void *memory = arena_alloc(arena, count * element_bytes);
    return memory == NULL ? NULL : memset(memory, 0, count * element_bytes);
}

struct text arena_copy(struct arena *arena, struct text t)
{
    if (!text_given(t)) {
        return TEXT_ABSENT;
    }
    char *copy = arena_alloc(arena, t.len + 1);
    if (copy == NULL) {
        return TEXT_ABSENT;
    }
    if (t.len > 0) {
        memcpy(copy, t.at, t.len);
    }
    copy[t.len] = '\0';
    return (struct text){copy, t.len};
}

struct text arena_format(struct arena *arena, const char *format, ...)
{
    va_list list, again;
    va_start(list, format);
    va_copy(again, list);
    int len = vsnprintf(NULL, 0, format, list);
    va_end(list);
    char *out = len < 0 ? NULL : arena_alloc(arena, (size_t)len + 1);
    if (out != NULL) {
        vsnprintf(out, (size_t)len + 1, format, again);
    }
    va_end(again);
    return out == NULL ? TEXT_ABSENT : (struct text){out, (size_t)len};
}

static void free_blocks(struct arena_block *block)
{
    while (block != NULL) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
}

void arena_clear(struct arena *arena)
{
    struct arena_block *kept = arena->first;
    if (kept == NULL || kept->bytes > BLOCK_BYTES_LAST) {
        arena_free(arena);
        return;
    }
    free_blocks(kept->next);
    kept->next = NULL;
    arena->at = kept->data;
    arena->end = kept->data + kept->bytes;
    arena->exhausted = false;
}

void arena_free(struct arena *arena)
{
    free_blocks(arena->first);
    *arena = ARENA_EMPTY;
}
