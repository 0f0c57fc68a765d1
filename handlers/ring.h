/*
 * The ring's arithmetic, pure: a routing key's place on the 64-bit circle and the partition whose arc that is. Clients
 * in other languages can do the same: XXH3-64 with seed 0 of the routing key's bytes; P equal arcs, P a power of two,
 * so the partition is the hash's upper log2(P) bits. docs/ring.md tells them how, docs/ring-vectors.json has examples.
 */
#ifndef RINGHOLD_HANDLERS_RING_H
#define RINGHOLD_HANDLERS_RING_H

#include "db/text.h"

#include <stdint.h>

/* An instance alone has one partition, and a ring that never changes. */
enum { RING_PARTITIONS_ALONE = 1, RING_EPOCH_ALONE = 1 };

uint64_t ring_hash(struct text routing_key);
/* The partition of a hash, of `partitions` (a power of two) in all. */
int64_t ring_partition(uint64_t hash, unsigned partitions);

#endif
