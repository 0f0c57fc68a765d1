/*
 * Numbers as varints: seven bits a byte, the lowest first, the top bit set on all bytes but the last. Each number has
 * one encoding.
 */
#ifndef RINGHOLD_DB_VARINT_H
#define RINGHOLD_DB_VARINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VARINT_BYTES_MAX = 10 };

/* Returns the length. */
size_t varint_write(uint64_t n, unsigned char ret[VARINT_BYTES_MAX]);
/* Reads one at *at, before `end`, and moves *at behind it. False where there is none, or not in its one encoding. */
bool varint_read(const unsigned char **at, const unsigned char *end, uint64_t *ret);

#endif
