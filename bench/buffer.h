/*
 * A growing text, and the few ways the load generator writes into one. Running out of memory ends the program with a
 * line on stderr: a load generator that cannot build its requests has nothing to report.
 */
#ifndef RINGHOLD_BENCH_BUFFER_H
#define RINGHOLD_BENCH_BUFFER_H

#include <stddef.h>
#include <stdint.h>

struct buffer {
    char *at;
    size_t bytes; /* in use */
    size_t room;
};

/* Makes room for `bytes` more behind what is in use; returns where they go. */
char *buffer_reserve(struct buffer *buffer, size_t bytes);
void buffer_append(struct buffer *buffer, const void *from, size_t bytes);
void buffer_format(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3), nonnull(2)));
/* Drops the first `bytes`. */
void buffer_consume(struct buffer *buffer, size_t bytes);
/* Empties the buffer, keeps its memory. */
void buffer_clear(struct buffer *buffer);
void buffer_free(struct buffer *buffer);

/* Writes `value` over `width` characters at `at`, with leading zeros; what does not fit is cut off at the left. */
void patch_decimal(char *at, unsigned width, uint64_t value);
void patch_hex(char *at, unsigned width, uint64_t value);

#endif
