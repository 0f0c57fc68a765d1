/*
 * A member that is about to stop:
 *
 *     farewell ─► the table calls it down: nobody hands it anything ─► hands over what it leads ─► leads nothing
 *        └─ nobody takes it in time: it goes on without
 *
 * Its groups need not be without a leader then, nor find out that one is missing. While a lead is handed over, what is
 * proposed waits, and is answered NOT_OWNER once another leads: nothing is lost on the way.
 */
#include "service/cluster/cluster_state.h"

enum {
    DRAIN_LOOK_MS = 5,
    FAREWELL_MS_MAX = 1000,
    FAREWELL_AGAIN_MS = 100,
    LEADS_NOTHING_MS =
        200 /* for so long; who has not heard of the farewell yet may give us a lead back */
};

struct farewell {
    bool needed; /* others are there, and the table still calls it up */
    bool others; /* there is anybody to hand over to */
};

static struct farewell look_around(const struct cluster *cluster)
{
    const struct table *table = &cluster->table;
    struct farewell seen = {false, false};
    bool up = false;
    for (unsigned i = 0; i < table->member_count; i++) {
        bool active = table->members[i].state == MEMBER_ACTIVE;
        bool self = table->members[i].id == cluster->node;
        up |= self && active;
        seen.others |= !self && active;
    }
    seen.needed = up && seen.others;
    return seen;
}

static void on_given_up(void *context, bool moved)
{
    struct seat *seat = context;
    seat->changing = false; /* if it did not move, the next look tries again */
    (void)moved;
}

static void on_council_given_up(void *context, bool moved)
{
    struct cluster *cluster = context;
    cluster->council_changing = false;
    (void)moved;
}

static bool hand_over(struct seat *seat)
{
    struct cluster *cluster = seat->cluster;
    struct replica *replica = hosted_replica(seat->hosted);
    struct replica_member members[REPLICA_MEMBERS_MAX];
    int count = replica_members(replica, members);
    uint64_t heir = steering_heir(&cluster->table, members, count, cluster->node,
                                  (unsigned)seat->partition->id);
    return replica_transfer(replica, heir, on_given_up, seat);
}

static void hand_over_all(struct cluster *cluster)
{
    for (unsigned i = 0; i < cluster->partitions.count; i++) {
        struct seat *seat = &cluster->seats[i];
        if (seat->hosted != NULL && !seat->closing && hosted_leads(seat->hosted) &&
            !seat->changing) {
            seat->changing = hand_over(seat);
        }
    }
    struct replica *council = cluster->council;
    if (!cluster->council_changing && council_status(cluster).leads) {
        struct replica_member members[REPLICA_MEMBERS_MAX];
        int count = replica_members(council, members);
        uint64_t heir = steering_heir(&cluster->table, members, count, cluster->node, 0);
        cluster->council_changing = replica_transfer(council, heir, on_council_given_up, cluster);
    }
}

static bool leads_anything(const struct cluster *cluster)
{
    return seats_lead(cluster) || council_status(cluster).leads;
}

/* One look at how far it is; true when it is over. */
static void look(struct errand *errand)
{
    struct cluster *cluster = errand->cluster;
    struct farewell seen = look_around(cluster);
    int64_t now_us = clock_monotonic_us();
    if (!cluster->draining) {
        cluster->draining = true;
        cluster->drain_us = cluster->led_us = now_us;
    }
    if (seen.needed && now_us - cluster->drain_us < (int64_t)FAREWELL_MS_MAX * 1000) {
        if (now_us - cluster->farewell_us >= (int64_t)FAREWELL_AGAIN_MS * 1000) {
            cluster->farewell_us = now_us;
            steer_farewell(cluster);
        }
        errand_over(errand, false);
        return;
    }
    hand_over_all(cluster);
    if (leads_anything(cluster)) {
        cluster->led_us = now_us;
    }
    bool over = now_us - cluster->led_us >= (int64_t)LEADS_NOTHING_MS * 1000;
    errand_over(errand, over || !seen.others);
}

void cluster_drain(struct cluster *cluster, int64_t ms_max)
{
    char why[CLUSTER_WHY_BYTES];
    bool over = false;
    for (int64_t waited = 0; !over && waited < ms_max; waited += DRAIN_LOOK_MS) {
        over = go_on_errand(cluster, look, why);
        if (!over) {
            cluster_wait_ms(DRAIN_LOOK_MS);
        }
    }
}
