/*
 * Hashes, MACs and sealing, with nettle. Secrets go in and out of here as bytes; nothing of them is kept.
 */
#ifndef RINGHOLD_HANDLERS_DIGEST_H
#define RINGHOLD_HANDLERS_DIGEST_H

#include "handlers/exchange.h"

enum { DIGEST_BYTES = 32 };

/* SHA-256, in the arena. */
struct text digest_sha256(struct arena *arena, struct text bytes);
/* SHA-256 of the parts, each behind its length, in the arena. */
struct text digest_of(struct arena *arena, const struct text *parts, size_t count);
/* HMAC-SHA256. */
void digest_mac(struct text key, struct text message, unsigned char ret[DIGEST_BYTES]);
/* Whether both are the same, in a time that does not tell where they differ. */
bool digest_equal(struct text a, struct text b);
/* Random bytes from the kernel, in the arena. Absent when there are none to be had. */
struct text digest_random(struct arena *arena, size_t bytes);
/* The bytes as lower-case hexadecimal. */
struct text digest_hex(struct arena *arena, struct text bytes);

/*
 * Reads Idempotency-Key (quoted or bare) of a POST into x->command.idempotency: key_hash over method, path and key,
 * request_hash over query and body. A secret the request made (x->secret) is sealed under the key, so that a replay can show it
 * again although the store cannot: the seal's keystream is HMAC-SHA256 under the client's key, over a random salt.
 * OK as well when there is no key; INVALID_HEADER when it is not one.
 */
MUST_CHECK enum status exchange_idempotency(struct exchange *x);
/* The request's Idempotency-Key, without its quotes; absent where it has none. */
struct text idempotency_key(const struct exchange *x);
/* The secret of the first answer, for a replay: opens x->result.sealed with the request's key. */
struct text exchange_unseal(struct exchange *x);

#endif
