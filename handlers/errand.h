/*
 * Errands: what one member asks another to do on a partition that it leads, for a request that concerns several. A command
 * goes there and its result comes back, both in their binary form (db/codec.h). Clients have no such route: who serves
 * one has made sure that a member asks.
 */
#ifndef RINGHOLD_HANDLERS_ERRAND_H
#define RINGHOLD_HANDLERS_ERRAND_H

#include "handlers/route.h"

/* Not in any table. The body is the command: on a queue's shard (db/shards.h), or of a session that moves here. */
extern const struct route errand_route;

/* The result of an errand that was answered so; a refusal is one whether it came as a result or as a problem document.
   Lives in the arena and in the body. */
struct result errand_result(struct arena *arena, int http_status, struct text body);

#endif
