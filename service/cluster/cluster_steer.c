#include "service/cluster/cluster_state.h"
#include "service/log.h"

#include <string.h>

/* ---- one group, by its leader ------------------------------------------------------------------------------------- */

static void on_seat_changed(void *context, enum replica_changed outcome)
{
    struct seat *seat = context;
    seat->changing = false;
    if (outcome == REPLICA_CHANGE_INVALID) {
        LOG(LOG_WARN, "member-not-changed", LOG_INT("partition", seat->partition->id));
    }
}

static void on_moved(void *context, bool moved)
{
    struct seat *seat = context;
    seat->changing = false;
    seat->hand_over_us = moved ? 0 : clock_monotonic_us() + (int64_t)CLUSTER_HAND_OVER_MS * 1000;
    LOG(LOG_INFO, "leader-handed-over", LOG_INT("partition", seat->partition->id),
        LOG_INT("moved", moved));
}

/* Hands the lead to who should have it; also before this node itself stops voting. */
static void hand_over(struct seat *seat, const struct table_partition *table)
{
    struct cluster *cluster = seat->cluster;
    uint64_t to = steering_leader(&cluster->table, table, cluster->node);
    bool rested = clock_monotonic_us() >= seat->hand_over_us;
    if (to != 0 && rested) {
        seat->changing = replica_transfer(hosted_replica(seat->hosted), to, on_moved, seat);
    }
}

static void steer(struct seat *seat)
{
    struct cluster *cluster = seat->cluster;
    struct table_partition *table = &cluster->table.partitions[seat->partition->id];
    struct replica_member members[REPLICA_MEMBERS_MAX];
    struct replica *replica = hosted_replica(seat->hosted);
    struct wanted want;
    int count = replica_members(replica, members);
    if (seat->changing) {
        return;
    }
    if (!steering_group(table, members, count, &want)) {
        hand_over(seat, table);
    } else if (want.node == cluster->node) {
        seat->changing = replica_transfer(replica, 0, on_moved, seat);
    } else {
        seat->changing = true;
        replica_change(replica, want.change, want.node, on_seat_changed, seat);
    }
}

/* ---- group 0 ------------------------------------------------------------------------------------------------------ */

static void on_council_changed(void *context, enum replica_changed outcome)
{
    struct cluster *cluster = context;
    cluster->council_changing = false;
    (void)outcome;
}

static void on_council_moved(void *context, bool moved)
{
    on_council_changed(context, moved ? REPLICA_CHANGED : REPLICA_CHANGE_BUSY);
}

static void steer_council(struct cluster *cluster)
{
    struct replica_member members[REPLICA_MEMBERS_MAX];
    struct wanted want;
    if (cluster->council_changing || !council_status(cluster).ready) {
        return;
    }
    int count = replica_members(cluster->council, members);
    if (!steering_council(&cluster->table, members, count, &want)) {
        return;
    }
    if (want.node == cluster->node && want.change == REPLICA_DEMOTE) {
        cluster->council_changing =
            replica_transfer(cluster->council, 0, on_council_moved, cluster);
    } else {
        cluster->council_changing = true;
        replica_change(cluster->council, want.change, want.node, on_council_changed, cluster);
    }
}

void steer_groups(struct cluster *cluster)
{
    for (unsigned i = 0; i < cluster->table.partition_count; i++) {
        struct seat *seat = &cluster->seats[i];
        if (seat->hosted != NULL && !seat->closing && hosted_leads(seat->hosted)) {
            steer(seat);
        }
    }
    steer_council(cluster);
}

/* ---- reports ------------------------------------------------------------------------------------------------------ */

static void report_group(struct seat *seat, struct report_group *ret)
{
    struct table_partition *table = &seat->cluster->table.partitions[seat->partition->id];
    struct replica_member members[REPLICA_MEMBERS_MAX];
    struct replica_status status = replica_status(hosted_replica(seat->hosted));
    struct wanted want;
    int count = replica_members(hosted_replica(seat->hosted), members);
    *ret = (struct report_group){.partition = (unsigned)seat->partition->id,
                                 .settled = !seat->changing && !status.changing &&
                                            !steering_group(table, members, count, &want)};
    for (int i = 0; i < count && ret->caught_up_count < SLOTS_MAX; i++) {
        if (members[i].match + REPLICA_CATCH_UP_MAX >= status.last && members[i].match > 0) {
            ret->caught_up[ret->caught_up_count++] = members[i].node;
        }
    }
}

static bool make_report(struct cluster *cluster, struct arena *arena, struct report *ret)
{
    struct report_group *groups =
        arena_zalloc(arena, cluster->table.partition_count, sizeof *groups);
    *ret = (struct report){.epoch = cluster->table.epoch, .groups = groups};
    for (unsigned i = 0; groups != NULL && i < cluster->table.partition_count; i++) {
        struct seat *seat = &cluster->seats[i];
        if (seat->hosted != NULL && !seat->closing && hosted_leads(seat->hosted)) {
            report_group(seat, &groups[ret->group_count++]);
        }
    }
    return groups != NULL;
}

static void on_told(void *context, enum peer_verdict verdict, struct text answer)
{
    (void)context; /* who was wrongly asked is not asked again: group 0 says who leads it */
    (void)verdict;
    (void)answer;
}

/* To whoever leads group 0. */
static void tell_council(struct cluster *cluster, const struct ask *ask)
{
    struct arena arena = ARENA_EMPTY;
    uint64_t leader = council_status(cluster).leader;
    int place = table_find(&cluster->table, leader);
    char host[MEMBER_ADDRESS_BYTES_MAX + 1];
    uint16_t port;
    if (leader == cluster->node) {
        council_take(cluster, ask);
    } else if (place >= 0 &&
               cluster_split_peer(cluster->table.members[place].facts.peer, host, &port)) {
        struct text bytes = ask_encode(ask, &arena);
        if (text_given(bytes)) {
            transport_ask(cluster->transport, leader, host, port, bytes, on_told, cluster);
        }
    }
    arena_free(&arena);
}

/* What the table says of us is what we were; an instance that comes back elsewhere is a change. */
static bool facts_differ(const struct cluster *cluster)
{
    int place = table_find(&cluster->table, cluster->node);
    const struct member_facts *ours = &cluster->facts;
    const struct member_facts *said = place < 0 ? ours : &cluster->table.members[place].facts;
    return strcmp(said->name, ours->name) != 0 || strcmp(said->url, ours->url) != 0 ||
           strcmp(said->peer, ours->peer) != 0 || said->weight != ours->weight;
}

void steer_report(struct cluster *cluster)
{
    struct arena arena = ARENA_EMPTY;
    struct ask report = {.kind = ASK_REPORT};
    if (facts_differ(cluster)) {
        struct ask change = {
            .kind = ASK_STEP,
            .step = {.kind = STEP_CHANGE, .member = cluster->node, .facts = cluster->facts}};
        tell_council(cluster, &change);
    }
    if (make_report(cluster, &arena, &report.report)) {
        tell_council(cluster, &report);
    }
    arena_free(&arena);
}

void steer_farewell(struct cluster *cluster)
{
    struct ask farewell = {.kind = ASK_STEP, .step = {.kind = STEP_DOWN, .member = cluster->node}};
    tell_council(cluster, &farewell);
}
