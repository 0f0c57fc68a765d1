#include "service/cluster/cluster_state.h"

#include <stdlib.h>

/* What group 0's leader tells the other threads: by members' and partitions' places in the table of that epoch. */
struct overview {
    uint64_t epoch;
    int64_t seen_us[MEMBERS_MAX]; /* 0: not yet */
    struct {
        uint64_t leader; /* 0: nobody */
        struct report_group group;
    } partitions[PARTITIONS_MAX];
    uint64_t table_leader, table_last;
    int table_replica_count;
    struct replica_member table_replicas[REPLICA_MEMBERS_MAX];
};

/* ---- what was heard ----------------------------------------------------------------------------------------------- */

static bool is_fresh(const struct heard *heard, int64_t now_us)
{
    return heard->member != 0 && heard->presence.heard_us != 0 &&
           now_us - heard->presence.heard_us < (int64_t)CLUSTER_SILENT_MS * 1000;
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
    if (replica->image_bytes > 0) {
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

/* ---- for the other threads ---------------------------------------------------------------------------------------- */

static void gather_members(const struct cluster *cluster, struct overview *ret)
{
    for (unsigned i = 0; i < cluster->table.member_count; i++) {
        for (size_t j = 0; j < MEMBERS_MAX; j++) {
            if (cluster->heard[j].member == cluster->table.members[i].id) {
                ret->seen_us[i] = cluster->heard[j].presence.heard_us;
            }
        }
    }
}

static void gather_partitions(const struct cluster *cluster, struct overview *ret)
{
    int64_t now_us = clock_monotonic_us();
    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        const struct heard *heard = &cluster->heard[i];
        for (size_t j = 0; is_fresh(heard, now_us) && j < heard->report.group_count; j++) {
            const struct report_group *group = &heard->report.groups[j];
            ret->partitions[group->partition].leader = heard->member;
            ret->partitions[group->partition].group = *group;
        }
    }
}

void overview_publish(struct cluster *cluster, bool leads)
{
    struct overview *made = leads && cluster->council != NULL ? calloc(1, sizeof *made) : NULL;
    if (made != NULL) {
        made->epoch = cluster->table.epoch;
        gather_members(cluster, made);
        gather_partitions(cluster, made);
        made->table_leader = cluster->node;
        made->table_last = replica_status(cluster->council).last;
        made->table_replica_count = replica_members(cluster->council, made->table_replicas);
    }
    pthread_mutex_lock(&cluster->mu);
    struct overview *before = cluster->overview;
    cluster->overview = made;
    pthread_mutex_unlock(&cluster->mu);
    free(before);
}

static size_t place_of(const struct table *table, uint64_t member)
{
    int place = table_find(table, member);
    return place < 0 ? RING_NOBODY : (size_t)place;
}

static bool view_members(const struct table *table, const struct overview *overview,
                         struct arena *arena, struct ring_status *ret)
{
    int64_t now_us = clock_monotonic_us();
    struct ring_member_status *members = arena_zalloc(arena, table->member_count, sizeof *members);
    for (unsigned i = 0; members != NULL && i < table->member_count; i++) {
        int64_t seen_us = overview == NULL ? 0 : overview->seen_us[i];
        members[i] = (struct ring_member_status){
            .unseen_ms = seen_us == 0 ? ABSENT : (now_us - seen_us) / 1000,
            .successor = place_of(table, table->members[i].successor)};
    }
    ret->members = members;
    return members != NULL;
}

static struct ring_replica_status view_replica(const struct table *table, const struct slot *slot,
                                               const struct report_group *group)
{
    struct ring_replica_status view = {.member = place_of(table, slot->member),
                                       .role = text_of(slot_role_name(slot->role)),
                                       .behind = ABSENT,
                                       .permille = ABSENT,
                                       .image_bytes = ABSENT,
                                       .image_sent = ABSENT};
    const struct report_replica *replica = replica_in(group, slot->member);
    if (replica == NULL) {
        return view;
    }
    view.behind = group->last > replica->match ? (int64_t)(group->last - replica->match) : 0;
    if (slot->role == SLOT_LEARNER) {
        view.permille = permille(group, slot->member);
    }
    if (replica->image_bytes > 0) {
        view.image_bytes = (int64_t)replica->image_bytes;
        view.image_sent = (int64_t)replica->image_sent;
    }
    return view;
}

/* `owner` where there is no overview: the best guess. */
static bool view_group(const struct table *table, unsigned partition,
                       const struct overview *overview, size_t owner, struct arena *arena,
                       struct ring_group_status *ret)
{
    const struct table_partition *wanted = &table->partitions[partition];
    uint64_t leader = overview == NULL ? 0 : overview->partitions[partition].leader;
    const struct report_group *group = leader == 0 ? NULL : &overview->partitions[partition].group;
    struct ring_replica_status *replicas =
        arena_zalloc(arena, wanted->slot_count, sizeof *replicas);
    for (unsigned i = 0; replicas != NULL && i < wanted->slot_count; i++) {
        replicas[i] = view_replica(table, &wanted->slots[i], group);
    }
    *ret = (struct ring_group_status){overview == NULL ? owner : place_of(table, leader), replicas,
                                      wanted->slot_count};
    return replicas != NULL;
}

static bool view_table_group(const struct table *table, const struct overview *overview,
                             struct arena *arena, struct ring_group_status *ret)
{
    size_t count = overview == NULL ? 0 : (size_t)overview->table_replica_count, known = 0;
    struct ring_replica_status *replicas = arena_zalloc(arena, count + 1, sizeof *replicas);
    for (size_t i = 0; replicas != NULL && i < count; i++) {
        const struct replica_member *replica = &overview->table_replicas[i];
        size_t place = place_of(table, replica->node);
        if (place != RING_NOBODY) { /* one that has just gone is about to be taken out here too */
            replicas[known++] = (struct ring_replica_status){
                .member = place,
                .role = replica->role == REPLICA_VOTER ? TEXT("voter") : TEXT("standby"),
                .behind = (int64_t)(overview->table_last - replica->match),
                .permille = ABSENT,
                .image_bytes = ABSENT,
                .image_sent = ABSENT};
        }
    }
    *ret = (struct ring_group_status){
        overview == NULL ? RING_NOBODY : place_of(table, overview->table_leader), replicas, known};
    return replicas != NULL;
}

static bool view_locked(const struct cluster *cluster, struct arena *arena, struct ring_status *ret)
{
    const struct table *table = routes_table_locked(cluster);
    if (table == NULL || !routes_view_locked(cluster, arena, &ret->ring)) {
        return false;
    }
    /* What is by places in the table is of no use with another table; the next one is made within a moment. */
    bool fits = cluster->overview != NULL && cluster->overview->epoch == table->epoch;
    const struct overview *overview = fits ? cluster->overview : NULL;
    struct ring_group_status *groups = arena_zalloc(arena, table->partition_count, sizeof *groups);
    bool whole = groups != NULL && view_members(table, overview, arena, ret) &&
                 view_table_group(table, overview, arena, &ret->table);
    for (unsigned i = 0; whole && i < table->partition_count; i++) {
        whole = view_group(table, i, overview, ret->ring.partitions[i].owner, arena, &groups[i]);
    }
    ret->partitions = groups;
    return whole;
}

bool cluster_ring_status(struct cluster *cluster, struct arena *arena, struct ring_status *ret)
{
    pthread_mutex_lock(&cluster->mu);
    bool known = view_locked(cluster, arena, ret);
    pthread_mutex_unlock(&cluster->mu);
    return known;
}
