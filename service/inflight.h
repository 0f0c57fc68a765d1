/*
 * The Idempotency-Keys of requests that are being worked on, so that a second request with the same key is told so
 * (409 idempotency-in-flight) instead of running beside the first. Any thread.
 */
#ifndef RINGHOLD_SERVICE_INFLIGHT_H
#define RINGHOLD_SERVICE_INFLIGHT_H

#include "db/text.h"

struct inflight;

/* One key that is noted, and a copy of its hash: a request that runs out of memory gives up its own. */
struct inflight_note;

struct inflight *inflight_make(void);
void inflight_free(struct inflight *inflight);
/* Notes the key's hash; *ret is then for inflight_remove, and NULL where memory ran out. False if it is noted already. */
bool inflight_add(struct inflight *inflight, struct text key_hash, struct inflight_note **ret);
/* Forgets it. NULL-safe. */
void inflight_remove(struct inflight *inflight, struct inflight_note *note);

#endif
