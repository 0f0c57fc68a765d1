/*
 * A call about a queue that is spread over several partitions: asks the shards as handlers/spread.h wants it, side by side
 * where it may; its own at once, the others by errands, which no member passes on. All that a round has sent out is back
 * before the next one begins.
 *
 *     began ─► a round of tasks ─► each here: read, or committed ──┐
 *               ▲       │          or an errand ───────────────────┼─► all are back: taken one after the other
 *               │       └─► WAIT: PARKED ─► again                  │     ├─► no leader: PARKED a moment, or missed
 *               │                                                  │     └─► by an older configuration: the plan is read
 *               └──────────────────────────────────────────────────┘         again, and home renewed where a shard is ahead
 *
 * Who leads the queue's home can do this for every request. What goes by the shards alone, sending, receiving and settling,
 * any member does that has a fresh replica of home to read the plan from: **away**. A shard that knows of a newer
 * configuration refuses it, and then it goes to home's leader after all, as it does if there is anything else that a
 * replica cannot know.
 *
 * A parked receive holds nothing anywhere. It is woken by what happens on this member's own shards, is told of what happens
 * on others (shard_watches.h), and looks again when nobody has for two seconds.
 */
#ifndef RINGHOLD_SERVICE_SHARDING_H
#define RINGHOLD_SERVICE_SHARDING_H

#include "service/call.h"

/* Whether the call is for such a queue, whose home is served here; then it has begun. After exchange_prepare. */
bool sharding_began(struct call *call);
/* The same where home is led by another member. */
bool sharding_began_away(struct call *call);
/* Goes on with a call that has a sharding, after it came back. */
void sharding_go_on(struct call *call);
/* Gives back what the call's sharding holds. */
void sharding_end(struct call *call);

#endif
