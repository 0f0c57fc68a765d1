#include "service/cluster/assign.h"
#include "service/cluster/placement.h"

/* Which members get replicas, and which keep theirs. */
struct parts {
    member_set active;  /* hold, and get more */
    member_set staying; /* down for now: hold what they have */
    unsigned replicas;  /* how many a partition should have */
};

static struct parts parts_of(const struct table *table, member_set overdue)
{
    struct parts parts = {.active = table_members(table, MEMBER_ACTIVE),
                          .staying = table_members(table, MEMBER_DOWN)};
    if (members_count(parts.active) >= table->replica_count) {
        parts.staying &= ~overdue;
    }
    unsigned hold = members_count(parts.active | parts.staying);
    parts.replicas = hold < table->replica_count ? hold : table->replica_count;
    return parts;
}

/* The members with a slot of the partition in one of these roles (bits by role). */
static member_set holders(const struct table *table, const struct table_partition *partition,
                          unsigned roles)
{
    member_set set = 0;
    for (unsigned i = 0; i < partition->slot_count; i++) {
        if ((roles >> partition->slots[i].role & 1) != 0) {
            set |= members_one((unsigned)table_find(table, partition->slots[i].member));
        }
    }
    return set;
}

static void begin(struct assign *assign, const struct table *table, uint32_t weights[MEMBERS_MAX])
{
    memset(assign, 0, sizeof *assign);
    assign->partition_count = table->partition_count;
    for (unsigned i = 0; i < table->member_count; i++) {
        assign->ids[i] = table->members[i].id;
        weights[i] = table->members[i].facts.weight;
    }
}

/*
 * While a member is down for now the shares of the others are off by less than one, which should not make anything
 * move: so the bounds are wider by one.
 */
static void widen(struct assign *assign, member_set active)
{
    for (unsigned i = 0; i < MEMBERS_MAX; i++) {
        if (members_has(active, i)) {
            assign->low[i] -= assign->low[i] > 0;
            assign->high[i]++;
        }
    }
}

/* The successors of those that leave the partition, of `able`, as many as there is room for: they count as if they held
   it, so that nobody does so for less. */
static member_set successors(const struct table *table, const struct table_partition *partition,
                             member_set able, member_set held, unsigned need)
{
    for (unsigned i = 0; i < partition->slot_count && members_count(held) < need; i++) {
        int leaver = table_find(table, partition->slots[i].member);
        int successor = table_find(table, table->members[leaver].successor);
        held |= successor >= 0 ? members_one((unsigned)successor) & able : 0;
    }
    return held;
}

static void spread_replicas(const struct table *table, const struct parts *parts,
                            struct placement_target *ret)
{
    struct assign assign;
    member_set held[PARTITIONS_MAX] = {0};
    uint32_t weights[MEMBERS_MAX] = {0};
    unsigned total = 0;
    begin(&assign, table, weights);
    for (unsigned p = 0; p < table->partition_count; p++) {
        const struct table_partition *partition = &table->partitions[p];
        member_set kept = holders(table, partition, 1 << SLOT_VOTER) & parts->staying;
        unsigned lacking =
            parts->replicas -
            (members_count(kept) < parts->replicas ? members_count(kept) : parts->replicas);
        assign.allowed[p] = parts->active;
        held[p] = holders(table, partition, 1 << SLOT_VOTER | 1 << SLOT_LEARNER) & parts->active;
        assign.need[p] =
            (uint8_t)(lacking < members_count(parts->active) ? lacking
                                                             : members_count(parts->active));
        assign.held[p] = successors(table, partition, parts->active, held[p], assign.need[p]);
        total += assign.need[p];
        ret->replicas[p] = kept;
    }
    assign_share(&assign, parts->active, weights, total, table->partition_count);
    if (parts->staying != 0) {
        widen(&assign, parts->active);
    }
    assign_solve(&assign);
    for (unsigned p = 0; p < table->partition_count; p++) {
        ret->replicas[p] |= assign.chosen[p];
        ret->moves += members_count(assign.chosen[p] & ~held[p]);
    }
}

void placement_leaders(const struct table *table, const member_set candidates[PARTITIONS_MAX],
                       uint8_t ret[PARTITIONS_MAX])
{
    struct assign assign;
    uint32_t weights[MEMBERS_MAX] = {0};
    unsigned total = 0;
    begin(&assign, table, weights);
    for (unsigned p = 0; p < table->partition_count; p++) {
        ret[p] = (uint8_t)table_find(table, table->partitions[p].leader);
        assign.allowed[p] = candidates[p];
        assign.held[p] = candidates[p] & members_one(ret[p]);
        assign.need[p] = candidates[p] != 0;
        total += assign.need[p];
    }
    assign_share(&assign, table_members(table, MEMBER_ACTIVE), weights, total,
                 table->partition_count);
    assign_solve(&assign);
    for (unsigned p = 0; p < table->partition_count; p++) {
        if (assign.chosen[p] != 0) {
            ret[p] = (uint8_t)members_first(assign.chosen[p]);
        }
    }
}

void placement_target(const struct table *table, member_set overdue, struct placement_target *ret)
{
    struct parts parts = parts_of(table, overdue);
    member_set candidates[PARTITIONS_MAX] = {0};
    memset(ret, 0, sizeof *ret);
    if (parts.active != 0) {
        spread_replicas(table, &parts, ret);
    }
    for (unsigned p = 0; p < table->partition_count; p++) {
        if (parts.active == 0) {
            ret->replicas[p] = holders(table, &table->partitions[p], 1 << SLOT_VOTER);
        }
        candidates[p] = ret->replicas[p] & parts.active;
    }
    placement_leaders(table, candidates, ret->leader);
}
