#include "service/clock.h"
#include "service/cluster/cluster_state.h"

#include <stdlib.h>
#include <string.h>

/* What other threads may ask: a copy of the table, and who leads what as far as is known. */
struct routes {
    struct table table;
    uint64_t table_leader; /* of group 0; 0: unknown */
    bool met; /* one was known since this process started: a majority is there, or was */
    /* As heard: from our replicas, or from who was wrongly asked; 0: unknown. */
    uint64_t leaders[PARTITIONS_MAX];
    /* Until then a leader that our replica does not know is being elected. */
    int64_t electing_us[PARTITIONS_MAX];
};

/* Who leads the partition, by the best that is known here: our own replica, what was heard, what the table prefers, or
   anybody who votes and is up, and knows it. 0: nobody, for our replica knows that one is being elected. */
static uint64_t leader_of(const struct routes *routes, int64_t partition)
{
    const struct table *table = &routes->table;
    uint64_t heard = routes->leaders[partition];
    if (heard != 0 || clock_monotonic_us() < routes->electing_us[partition]) {
        return heard;
    }
    return steering_guess(table, &table->partitions[partition]);
}

void routes_publish(struct cluster *cluster)
{
    pthread_mutex_lock(&cluster->mu);
    if (cluster->routes == NULL && !cluster->forgotten) {
        cluster->routes = calloc(1, sizeof *cluster->routes);
    }
    if (cluster->routes != NULL) {
        cluster->routes->table = cluster->table;
    }
    pthread_mutex_unlock(&cluster->mu);
}

void routes_forget(struct cluster *cluster)
{
    pthread_mutex_lock(&cluster->mu);
    free(cluster->routes);
    cluster->routes = NULL;
    cluster->forgotten = true;
    pthread_mutex_unlock(&cluster->mu);
}

void routes_led(struct cluster *cluster, int64_t partition, uint64_t leader)
{
    pthread_mutex_lock(&cluster->mu);
    struct routes *routes = cluster->routes;
    if (routes != NULL) {
        routes->leaders[partition] = leader;
    }
    pthread_mutex_unlock(&cluster->mu);
}

/* Another leads: what is asked of the one before it, which is gone, will not be answered. */
static void forsake_former(struct cluster *cluster, struct seat *seat, int64_t partition)
{
    int place = table_find(&cluster->table, seat->former.member);
    if (place >= 0) {
        proxy_forsake(cluster->proxy, cluster->table.members[place].facts.url, partition,
                      seat->former.deposed_us);
    }
    seat->former.member = 0;
}

static void follow(struct cluster *cluster, struct seat *seat, int64_t partition, int64_t now_us)
{
    uint64_t leader = hosted_leader(seat->hosted);
    bool another = leader != 0 && leader != seat->leader;
    if (seat->former.member != 0 &&
        (another ||
         former_is_gone(&seat->former, now_us, CLUSTER_FORSAKE_MS, CLUSTER_FORSAKE_MS_MAX))) {
        forsake_former(cluster, seat, partition);
    }
    if (another) {
        uint64_t former = seat->leader != cluster->node ? seat->leader : 0;
        seat->former = (struct former){former, now_us, now_us};
        seat->leader = leader;
    }
}

void routes_heard(struct cluster *cluster, uint64_t member)
{
    int64_t now_us = clock_monotonic_us();
    for (unsigned i = 0; i < cluster->partitions.count; i++) {
        struct former *former = &cluster->seats[i].former;
        former->heard_us = former->member == member ? now_us : former->heard_us;
    }
}

/* What our own replicas know; once in each turn. */
void routes_follow(struct cluster *cluster)
{
    int64_t now_us = clock_monotonic_us();
    for (unsigned i = 0; i < cluster->table.partition_count; i++) {
        struct seat *seat = &cluster->seats[i];
        if (seat->hosted != NULL && !seat->closing) {
            follow(cluster, seat, i, now_us);
        }
    }
    pthread_mutex_lock(&cluster->mu);
    struct routes *routes = cluster->routes;
    if (routes != NULL) {
        routes->table_leader = council_status(cluster).leader;
        routes->met |= routes->table_leader != 0;
    }
    for (unsigned i = 0; routes != NULL && i < cluster->table.partition_count; i++) {
        const struct seat *seat = &cluster->seats[i];
        if (seat->hosted != NULL && !seat->closing) {
            routes->leaders[i] = hosted_leader(seat->hosted);
            if (routes->leaders[i] != 0) {
                routes->electing_us[i] = now_us + (int64_t)CLUSTER_ELECTING_MS * 1000;
            }
        }
    }
    pthread_mutex_unlock(&cluster->mu);
}

static void describe(const struct cluster *cluster, int place, struct cluster_owner *ret)
{
    const struct table *table = &cluster->routes->table;
    const struct member_facts *facts = &table->members[place].facts;
    memcpy(ret->name, facts->name, sizeof ret->name);
    memcpy(ret->url, facts->url, sizeof ret->url);
    ret->self = table->members[place].id == cluster->node;
    ret->epoch = (int64_t)table->epoch;
}

static bool find_locked(const struct cluster *cluster, uint64_t member, struct cluster_owner *ret)
{
    const struct routes *routes = cluster->routes;
    int place = table_find(&routes->table, member);
    if (place >= 0) {
        describe(cluster, place, ret);
    }
    return place >= 0;
}

/* Where the nth of those stands that hold a replica of the partition elsewhere, as cluster_holder_of counts them; -1. */
static int find_holder(const struct routes *routes, int64_t partition, unsigned nth, uint64_t self)
{
    const struct table_partition *wanted = &routes->table.partitions[partition];
    uint64_t leader = leader_of(routes, partition);
    int first = leader == self ? -1 : table_find(&routes->table, leader);
    if (first >= 0 && nth-- == 0) {
        return first;
    }
    for (unsigned i = 0; i < wanted->slot_count; i++) {
        uint64_t member = wanted->slots[i].member;
        int place = table_find(&routes->table, member);
        if (member != leader && member != self && place >= 0 && nth-- == 0) {
            return place;
        }
    }
    return -1;
}

bool cluster_holder_of(struct cluster *cluster, int64_t partition, unsigned nth,
                       struct cluster_owner *ret)
{
    pthread_mutex_lock(&cluster->mu);
    const struct routes *routes = cluster->routes;
    int place = -1;
    if (routes != NULL && routes->table.epoch != 0) {
        place = find_holder(routes, partition, nth, cluster->node);
    }
    if (place >= 0) {
        describe(cluster, place, ret);
    }
    pthread_mutex_unlock(&cluster->mu);
    return place >= 0;
}

bool cluster_owner_of(struct cluster *cluster, int64_t partition, struct cluster_owner *ret)
{
    pthread_mutex_lock(&cluster->mu);
    const struct routes *routes = cluster->routes;
    bool known = routes != NULL && routes->table.epoch != 0 &&
                 find_locked(cluster, leader_of(routes, partition), ret);
    pthread_mutex_unlock(&cluster->mu);
    return known;
}

bool cluster_table_leader(struct cluster *cluster, struct cluster_owner *ret)
{
    pthread_mutex_lock(&cluster->mu);
    const struct routes *routes = cluster->routes;
    bool known = routes != NULL && find_locked(cluster, routes->table_leader, ret);
    pthread_mutex_unlock(&cluster->mu);
    return known;
}

void cluster_hint(struct cluster *cluster, int64_t partition, struct text name)
{
    pthread_mutex_lock(&cluster->mu);
    struct routes *routes = cluster->routes;
    uint64_t leader = 0;
    for (unsigned i = 0; routes != NULL && i < routes->table.member_count; i++) {
        const struct member *member = &routes->table.members[i];
        if (text_given(name) && text_equal(name, text_of(member->facts.name))) {
            leader = member->id;
        }
    }
    if (routes != NULL) {
        routes->leaders[partition] = leader;
    }
    pthread_mutex_unlock(&cluster->mu);
}

bool cluster_ready(struct cluster *cluster)
{
    pthread_mutex_lock(&cluster->mu);
    const struct routes *routes = cluster->routes;
    int place = routes == NULL ? -1 : table_find(&routes->table, cluster->node);
    bool ready = place >= 0 && routes->met && routes->table.members[place].state == MEMBER_ACTIVE;
    pthread_mutex_unlock(&cluster->mu);
    return ready;
}

/* ---- the ring, for handlers --------------------------------------------------------------------------------------- */

static bool view_members(const struct table *table, struct arena *arena, struct ring_view *ret)
{
    struct ring_member *members = arena_zalloc(arena, table->member_count, sizeof *members);
    for (unsigned i = 0; members != NULL && i < table->member_count; i++) {
        const struct member *member = &table->members[i];
        members[i] = (struct ring_member){
            .id = arena_format(arena, "%016llx", (unsigned long long)member->id),
            .name = arena_copy(arena, text_of(member->facts.name)),
            .url = arena_copy(arena, text_of(member->facts.url)),
            .weight = member->facts.weight,
            .state = text_of(member_state_name(member->state))};
    }
    ret->members = members;
    ret->member_count = table->member_count;
    return members != NULL;
}

static bool view_place(const struct routes *routes, unsigned partition, struct arena *arena,
                       struct ring_place *ret)
{
    const struct table *table = &routes->table;
    const struct table_partition *wanted = &table->partitions[partition];
    size_t *replicas = arena_zalloc(arena, wanted->slot_count, sizeof *replicas);
    int owner = table_find(table, leader_of(routes, partition));
    owner = owner >= 0 ? owner : table_find(table, wanted->leader);
    for (unsigned i = 0; replicas != NULL && i < wanted->slot_count; i++) {
        replicas[i] = (size_t)table_find(table, wanted->slots[i].member);
    }
    *ret = (struct ring_place){(size_t)owner, replicas, wanted->slot_count};
    return replicas != NULL;
}

static bool view(const struct routes *routes, struct arena *arena, struct ring_view *ret)
{
    const struct table *table = &routes->table;
    struct ring_place *places = arena_zalloc(arena, table->partition_count, sizeof *places);
    bool whole = places != NULL && view_members(table, arena, ret);
    for (unsigned i = 0; whole && i < table->partition_count; i++) {
        whole = view_place(routes, i, arena, &places[i]);
    }
    ret->epoch = (int64_t)table->epoch;
    ret->replica_count = table->replica_count;
    ret->partitions = places;
    ret->partition_count = table->partition_count;
    return whole;
}

const struct table *routes_table_locked(const struct cluster *cluster)
{
    const struct routes *routes = cluster->routes;
    return routes == NULL || routes->table.epoch == 0 ? NULL : &routes->table;
}

bool routes_view_locked(const struct cluster *cluster, struct arena *arena, struct ring_view *ret)
{
    return view(cluster->routes, arena, ret);
}

bool cluster_ring(struct cluster *cluster, struct arena *arena, struct ring_view *ret)
{
    pthread_mutex_lock(&cluster->mu);
    const struct routes *routes = cluster->routes;
    bool known = routes != NULL && routes->table.epoch != 0 && view(routes, arena, ret);
    pthread_mutex_unlock(&cluster->mu);
    return known;
}
