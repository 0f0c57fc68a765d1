/*
 * A call about a queue that is spread over several partitions, on the member that leads its home: asks the shards one after
 * the other as handlers/spread.h wants it, its own at once, the others by errands, which no member passes on.
 *
 *     began ─► next task ─┬─► here: read, or suspended ──┐
 *               ▲         ├─► an errand, suspended ──────┼─► its result ─┬─► taken ─► next task
 *               │         └─► WAIT: PARKED ─► again      │               ├─► no leader: PARKED a moment, or missed
 *               └────────────────────────────────────────┘               └─► by an older configuration: the plan is read
 *                                                                            again, and home renewed where a shard is ahead
 *
 * A parked receive holds nothing anywhere. It is woken by what happens on this member's own shards, by what goes through
 * this member to the others (all requests do), and looks again when one of those was said to be due, or had not been
 * looked at for two seconds.
 */
#ifndef RINGHOLD_SERVICE_SHARDING_H
#define RINGHOLD_SERVICE_SHARDING_H

#include "service/call.h"

/* What is remembered of queues with shards, by a hash of their names: hints, which two queues may share. Any thread. */
struct shard_notes;
struct shard_notes *shard_notes_make(void); /* NULL: out of memory. To be freed by free. */

/* Whether the call is for such a queue, whose home is served here; then it has begun. After exchange_prepare. */
bool sharding_began(struct call *call);
/* Goes on with a call that has a sharding, after it came back. */
void sharding_go_on(struct call *call);

#endif
