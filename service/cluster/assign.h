/*
 * The cheapest assignment: each partition gets so many of the members it may have, each member as much as its bounds
 * say, and as few as can be that were not there before. This is a flow of least cost, found by shortest augmenting
 * paths: what is held costs nothing, what is new costs one, and a path may take back what an earlier one gave.
 *
 * Pure. Sets of members are bits; all arrays are the caller's problem and the answer at once, in one struct.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_ASSIGN_H
#define RINGHOLD_SERVICE_CLUSTER_ASSIGN_H

#include "db/limits.h"
#include "service/cluster/members.h"

struct assign {
    unsigned partition_count;
    uint64_t ids[MEMBERS_MAX];          /* the members', for rendezvous */
    member_set allowed[PARTITIONS_MAX]; /* whom the partition may get */
    member_set held[PARTITIONS_MAX];    /* whom it has: they cost nothing */
    uint8_t need[PARTITIONS_MAX];       /* how many it gets; at most as many as are allowed */
    int low[MEMBERS_MAX];               /* a member should get so many at least */
    int high[MEMBERS_MAX];              /* and so many at most */
    /* the answer */
    member_set chosen[PARTITIONS_MAX];
    int load[MEMBERS_MAX]; /* how many each member got */
};

/*
 * Shares `total` among `members` by weight: none gets more than `cap`, and what that leaves over goes to the others.
 * Sets low and high of these members: the share rounded down and up.
 */
void assign_share(struct assign *assign, member_set members, const uint32_t weights[MEMBERS_MAX],
                  unsigned total, unsigned cap);

/*
 * Solves it. Every partition gets what it needs. Bounds that cannot all be held give way: what a partition needs is
 * given to a member past its bound, and a bound that cannot be reached is left.
 */
void assign_solve(struct assign *assign);

#endif
