#include "bench/buffer.h"

#include <err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *buffer_reserve(struct buffer *buffer, size_t bytes)
{
    size_t need = buffer->bytes + bytes;
    if (need > buffer->room) {
        size_t room = need > 2 * buffer->room ? need : 2 * buffer->room;
        char *at = realloc(buffer->at, room);
        if (at == NULL) {
            err(1, "no memory for %zu bytes", room);
        }
        buffer->at = at;
        buffer->room = room;
    }
    return buffer->at + buffer->bytes;
}

void buffer_append(struct buffer *buffer, const void *from, size_t bytes)
{
    memcpy(buffer_reserve(buffer, bytes), from, bytes);
    buffer->bytes += bytes;
}

void buffer_format(struct buffer *buffer, const char *format, ...)
{
    va_list list, again;
    va_start(list, format);
    va_copy(again, list);
    int bytes = vsnprintf(NULL, 0, format, list);
    va_end(list);
    if (bytes < 0) {
        errx(1, "cannot format \"%s\"", format);
    }
    vsnprintf(buffer_reserve(buffer, (size_t)bytes + 1), (size_t)bytes + 1, format, again);
    va_end(again);
    buffer->bytes += (size_t)bytes;
}

void buffer_consume(struct buffer *buffer, size_t bytes)
{
    buffer->bytes -= bytes;
    if (buffer->bytes > 0) {
        memmove(buffer->at, buffer->at + bytes, buffer->bytes);
    }
}

void buffer_clear(struct buffer *buffer)
{
    buffer->bytes = 0;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->at);
    *buffer = (struct buffer){NULL, 0, 0};
}

void patch_decimal(char *at, unsigned width, uint64_t value)
{
    while (width > 0) {
        at[--width] = (char)('0' + value % 10);
        value /= 10;
    }
}

void patch_hex(char *at, unsigned width, uint64_t value)
{
    while (width > 0) {
        at[--width] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
}
