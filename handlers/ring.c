#include "handlers/ring.h"

#include <assert.h>
#include <xxhash.h>

uint64_t ring_hash(struct text routing_key)
{
    return XXH3_64bits(routing_key.at, routing_key.len);
}

int64_t ring_partition(uint64_t hash, unsigned partitions)
{
    assert(partitions > 0 && (partitions & (partitions - 1)) == 0);
    /* The circle is cut into equal arcs: floor(hash × P / 2^64). */
    return (int64_t)((unsigned __int128)hash * partitions >> 64);
}
