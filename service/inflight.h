/*
 * What is being worked on and must not be twice at once: the Idempotency-Keys of requests, so that a second request with
 * the same key is told so (409 idempotency-in-flight) instead of running beside the first; and, in a cluster, the ids of
 * sessions that move to another partition (service/moving.h). Any thread.
 */
#ifndef RINGHOLD_SERVICE_INFLIGHT_H
#define RINGHOLD_SERVICE_INFLIGHT_H

#include "db/text.h"

struct inflight;

/* One key that is noted, and a copy of it: a request that runs out of memory gives up its own. */
struct inflight_note;

struct inflight *inflight_make(void);
void inflight_free(struct inflight *inflight);
/* Notes the key; *ret is then for inflight_remove, and NULL where memory ran out. False if it is noted already. */
bool inflight_add(struct inflight *inflight, struct text key, struct inflight_note **ret);
bool inflight_has(struct inflight *inflight, struct text key);
/* Forgets it. NULL-safe. */
void inflight_remove(struct inflight *inflight, struct inflight_note *note);

#endif
