/*
 * Sets of members: bit i is the member in place i of the table.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_MEMBERS_H
#define RINGHOLD_SERVICE_CLUSTER_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t member_set;

static inline member_set members_one(unsigned i)
{
    return UINT64_C(1) << i;
}

static inline bool members_has(member_set set, unsigned i)
{
    return (set >> i & 1) != 0;
}

static inline unsigned members_count(member_set set)
{
    return (unsigned)__builtin_popcountll(set);
}

/* The first of a set that is not empty. */
static inline unsigned members_first(member_set set)
{
    return (unsigned)__builtin_ctzll(set);
}

/* The set without its first: for (member_set left = set; left != 0; left = members_rest(left)). */
static inline member_set members_rest(member_set set)
{
    return set & (set - 1);
}

#endif
