/*
 * The Idempotency-Keys of requests that are being worked on, so that a second request with the same key is told so
 * (409 idempotency-in-flight) instead of running beside the first. Any thread.
 */
#ifndef RINGHOLD_SERVICE_INFLIGHT_H
#define RINGHOLD_SERVICE_INFLIGHT_H

#include "db/text.h"

struct inflight;

struct inflight *inflight_make(void);
void inflight_free(struct inflight *inflight);
/* Notes the key's hash. False if it is there already. The text must live until inflight_remove. */
bool inflight_add(struct inflight *inflight, struct text key_hash);
void inflight_remove(struct inflight *inflight, struct text key_hash);

#endif
