#include "service/cluster/cluster_state.h"

/* ---- what was heard ----------------------------------------------------------------------------------------------- */

static bool is_fresh(const struct heard *heard, int64_t now_us)
{
    return heard->member != 0 && heard->at_us != 0 &&
           now_us - heard->at_us < (int64_t)CLUSTER_SILENT_MS * 1000;
}

/* The partition's group, as the member says that leads it; NULL: nobody does. */
static const struct report_group *group_of(const struct cluster *cluster, unsigned partition,
                                           uint64_t *ret_leader)
{
    int64_t now_us = clock_monotonic_us();
    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        const struct heard *heard = &cluster->heard[i];
        for (size_t j = 0; is_fresh(heard, now_us) && j < heard->report.group_count; j++) {
            if (heard->report.groups[j].partition == partition) {
                *ret_leader = heard->member;
                return &heard->report.groups[j];
            }
        }
    }
    *ret_leader = 0;
    return NULL;
}

static const struct report_replica *replica_in(const struct report_group *group, uint64_t node)
{
    for (unsigned i = 0; group != NULL && i < group->replica_count; i++) {
        if (group->replicas[i].node == node) {
            return &group->replicas[i];
        }
    }
    return NULL;
}

/* How much of the leader's state the node has, in thousandths: of the image while that is on its way, else of the log. */
static unsigned permille(const struct report_group *group, uint64_t node)
{
    const struct report_replica *replica = replica_in(group, node);
    if (replica == NULL) {
        return 0;
    }
    if (replica->match == 0 && replica->image_bytes > 0) {
        return (unsigned)((double)replica->image_sent / (double)replica->image_bytes * 1000);
    }
    uint64_t have = replica->match < group->last ? replica->match : group->last;
    return group->last == 0 ? 0 : (unsigned)((double)have / (double)group->last * 1000);
}

/* ---- leaving ------------------------------------------------------------------------------------------------------ */

/* How much of the partition is there again without the member, in thousandths. */
static unsigned copied(const struct cluster *cluster, const struct table_partition *partition,
                       const struct report_group *group, uint64_t member)
{
    unsigned best = 0, voters = 0;
    for (unsigned i = 0; i < partition->slot_count; i++) {
        const struct slot *slot = &partition->slots[i];
        voters += slot->member != member && slot->role == SLOT_VOTER;
        if (slot->member == member && slot->role == SLOT_RETIRING) {
            return 1000;
        }
        if (slot->member != member && slot->role == SLOT_LEARNER) {
            best = permille(group, slot->member);
        }
    }
    return voters >= cluster->table.replica_count ? 1000 : best;
}

struct standing overview_standing(const struct cluster *cluster, uint64_t member)
{
    struct standing standing = {0};
    for (unsigned p = 0; p < cluster->table.partition_count; p++) {
        const struct table_partition *partition = &cluster->table.partitions[p];
        uint64_t leader;
        if (table_slot((struct table_partition *)partition, member) != NULL) {
            const struct report_group *group = group_of(cluster, p, &leader);
            standing.held++;
            standing.stuck += group == NULL;
            standing.copied += copied(cluster, partition, group, member);
        }
    }
    return standing;
}
