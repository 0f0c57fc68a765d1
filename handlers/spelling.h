/*
 * How JSON spells the characters of a string: UTF-8, escapes, and the one canonical spelling, which escapes what must be
 * escaped ('"', '\\' and the control characters, by \b \f \n \r \t where they have such a name and else by \u00xx in small
 * letters) and nothing more. No other spelling of the same characters is shorter.
 */
#ifndef RINGHOLD_HANDLERS_SPELLING_H
#define RINGHOLD_HANDLERS_SPELLING_H

#include "db/text.h"

#include <endian.h>
#include <stdint.h>

enum { SPELLING_ESCAPE_BYTES_MAX = 6, SPELLING_BROKEN = -1 };

/* Whether a string may hold the byte as it is, without a second look. */
static inline bool spelling_is_plain(char c)
{
    return (unsigned char)c >= 0x20 && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

/*
 * Behind the plain bytes. Eight at a time: in each line below, a byte's top bit tells of one thing that is not plain.
 * Subtracting borrows from the bytes above only where such a byte was met, so the lowest top bit is always right.
 */
static inline const char *spelling_skip_plain(const char *at, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    while (end - at >= 8) {
        uint64_t bytes;
        memcpy(&bytes, at, sizeof bytes);
        bytes = le64toh(bytes);
        uint64_t odd = bytes;                /* 0x80 and above */
        odd |= bytes - ones * 0x20;          /* control characters */
        odd |= (bytes ^ ones * '"') - ones;  /* quotes */
        odd |= (bytes ^ ones * '\\') - ones; /* backslashes */
        odd &= ones * 0x80;
        if (odd != 0) {
            return at + __builtin_ctzll(odd) / 8;
        }
        at += 8;
    }
    while (at < end && spelling_is_plain(*at)) {
        at++;
    }
    return at;
}

/* The length of the one well-formed sequence of two to four bytes at the front (RFC 3629 §4); 0 if there is none. */
size_t spelling_utf8_length(const char *at, size_t left);

/* The character of the escape at the front, whose first byte is a backslash, and its length; SPELLING_BROKEN, or a
   surrogate where it has no partner. */
int32_t spelling_read_escape(const char *at, const char *end, size_t *ret_len);

/* `t`, or as many of its characters as fit in `max` bytes: never half a character. */
struct text spelling_cut(struct text t, size_t max);

/* What a string says whose UTF-8 and escapes are right; given without its quotes. Returns the length, at most raw.len. */
size_t spelling_decode(char *to, struct text raw);

/* The canonical escape of one byte: below 0x20, '"' or '\\'. Returns its length. */
size_t spelling_escape(char to[SPELLING_ESCAPE_BYTES_MAX], unsigned char c);
/* The canonical spelling of one character. Returns its length. */
size_t spelling_write(char to[SPELLING_ESCAPE_BYTES_MAX], uint32_t c);
/* Writes the right string whose opening quote is at `*at` in its canonical spelling, quotes and all; moves `*at` behind
   it. Returns where the writing ended. */
char *spelling_copy(char *to, const char **at, const char *end);

#endif
