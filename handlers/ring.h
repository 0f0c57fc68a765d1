/*
 * The ring's arithmetic, pure: a routing key's place on the 64-bit circle and the partition whose arc that is. Clients
 * in other languages can do the same: XXH3-64 with seed 0 of the routing key's bytes; P equal arcs, P a power of two,
 * so the partition is the hash's upper log2(P) bits. docs/ring.md tells them how, docs/ring-vectors.json has examples.
 */
#ifndef RINGHOLD_HANDLERS_RING_H
#define RINGHOLD_HANDLERS_RING_H

#include "handlers/process.h"

uint64_t ring_hash(struct text routing_key);
/* The partition of a hash, of `partitions` (a power of two) in all. */
int64_t ring_partition(uint64_t hash, unsigned partitions);

/* What a member says of itself, as members of an object that is open. */
struct json_out;
void ring_write_member(struct json_out *out, const struct ring_member *member);
/* The partition of a queue's shard: home for 0, then the others in an order that is spread over the ring, and does not
   depend on how many shards there are. `shard` is less than `partitions`, a power of two. */
int64_t ring_shard(int64_t home, int64_t shard, unsigned partitions);

/* The ring of an instance alone (process.ring): one member, one arc. It never changes: who watches it waits in vain, and
   is told so when the wait is over. */
bool ring_alone(const struct process *process, struct arena *arena, struct ring_view *ret);

/* The same for process.ring_status. */
bool ring_status_alone(const struct process *process, struct arena *arena, struct ring_status *ret);

#endif
