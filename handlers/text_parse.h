/*
 * Pure readers of small texts: integers, percent-encoding, instants, entity tags, base64url. Each says no to anything
 * that is not exactly the form it reads.
 */
#ifndef RINGHOLD_HANDLERS_TEXT_PARSE_H
#define RINGHOLD_HANDLERS_TEXT_PARSE_H

#include "db/arena.h"

#include <stdint.h>

/* A decimal integer without sign, leading zeros or white space, at most 2^63 - 1. */
bool parse_decimal(struct text t, int64_t *ret);
/* Percent-decoding (RFC 3986 §2.1); plus_is_space as in a query. False on a broken escape. */
bool parse_percent(struct text t, bool plus_is_space, struct arena *arena, struct text *ret);
/* An RFC 3339 instant, as milliseconds since 1970, from year 1970 to 9999. */
bool parse_instant(struct text t, int64_t *ret);
/* Takes the next entity tag (RFC 9110 §8.8.3) off the front of a list, and says what stands between its quotes. False at
   the end of the list, which is empty then, and at what is no entity tag, which is at its front then. */
bool parse_next_etag(struct text *list, bool *ret_weak, struct text *ret_opaque);
/* The value of `name` in a comma-separated list of preferences (RFC 7240), without its quotes and parameters: absent if
   it is not in it, empty if it has no value. */
struct text parse_preference(struct text header, const char *name);
/* base64url without padding (RFC 4648 §5). */
struct text base64url_encode(struct text bytes, struct arena *arena);
bool base64url_decode(struct text t, struct arena *arena, struct text *ret);
/* `t` without the spaces and tabs around it. */
struct text text_trim(struct text t);
/* The length of the UTF-8 character (RFC 3629) that `t` begins with; 0 when it begins with none. */
size_t utf8_length(struct text t);
bool utf8_valid(struct text t);
/* Equal but for the case of ASCII letters. */
bool text_equal_nocase(struct text a, const char *b);
/* Whether this is a W3C trace context's traceparent, of any version. */
bool traceparent_valid(struct text t);
/* Whether the caller keeps the trace of this valid traceparent. */
bool traceparent_sampled(struct text t);
/* Whether this is a valid name (API.md §1). */
bool name_valid(struct text name);

#endif
