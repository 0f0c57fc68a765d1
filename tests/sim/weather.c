#include "tests/sim/weather.h"

#include "tests/sim/files.h"
#include "tests/sim/net.h"
#include "tests/sim/nodes.h"
#include "tests/sim/oracle.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static enum replica_role wanted[SIM_NODES_MAX];
static bool storming;
static bool
    changing; /* somebody was asked to change the members, or to hand over, and has not answered */
static uint64_t changing_until;

/* ---- members, as the table of a cluster would have them -------------------------------------------------------------- */

static const struct replica_member *find(const struct replica_member *members, int count, int node)
{
    for (int i = 0; i < count; i++) {
        if (members[i].node == nodes[node].id) {
            return &members[i];
        }
    }
    return NULL;
}

static enum replica_role role_in(const struct replica_member *members, int count, int node)
{
    const struct replica_member *member = find(members, count, node);
    return member == NULL ? REPLICA_OUTSIDE : member->role;
}

static void changed(void *context, enum replica_changed outcome)
{
    changing = false;
    tally->members_changed += outcome == REPLICA_CHANGED;
    trace("%d: the change of members ends with %d", (int)(intptr_t)context, (int)outcome);
}

static void moved(void *context, bool done)
{
    changing = false;
    tally->transfers += done;
    trace("%d: handing over ends %s", (int)(intptr_t)context, done ? "well" : "without");
}

static void transfer(void *context)
{
    int here = world_here();
    (void)context;
    changing = replica_transfer(node_replica(here), 0, moved, (void *)(intptr_t)here);
    trace("%d: is to hand over: %s", here, changing ? "begun" : "refused");
}

static enum replica_change step_between(enum replica_role is, enum replica_role should)
{
    return is == REPLICA_OUTSIDE || (is == REPLICA_SPARE && should != REPLICA_OUTSIDE) ? REPLICA_ADD
           : should == REPLICA_VOTER ? REPLICA_PROMOTE
           : is == REPLICA_VOTER     ? REPLICA_DEMOTE
                                     : REPLICA_REMOVE;
}

/* The next step towards what is wanted; the leader's own is the last. */
static bool next_step(int leader, const struct replica_member *members, int count, int *ret_node,
                      enum replica_change *ret)
{
    for (int i = 1; i <= node_count; i++) {
        int node = (leader + i) % node_count;
        enum replica_role is = role_in(members, count, node);
        if (is != wanted[node]) {
            *ret_node = node;
            *ret = step_between(is, wanted[node]);
            return true;
        }
    }
    return false;
}

static void steer_here(void *context)
{
    struct replica_member members[REPLICA_MEMBERS_MAX];
    int here = world_here(), node;
    enum replica_change change;
    (void)context;
    int count = replica_members(node_replica(here), members);
    if (!next_step(here, members, count, &node, &change)) {
        return;
    }
    if (node == here) {
        transfer(NULL);
        return;
    }
    trace("%d: %s %d", here,
          change == REPLICA_ADD       ? "add"
          : change == REPLICA_PROMOTE ? "promote"
          : change == REPLICA_DEMOTE  ? "demote"
                                      : "remove",
          node);
    changing = true;
    replica_change(node_replica(here), change, nodes[node].id, changed, (void *)(intptr_t)here);
}

static void steer(void *context)
{
    int leader = nodes_leader();
    (void)context;
    later(chance_between(50 * MS, 300 * MS), NOWHERE, steer, NULL);
    if (changing && world_now() < changing_until) {
        return;
    }
    changing = false;
    if (leader != NOWHERE) {
        changing_until = world_now() + 6 * SECOND; /* a crash answers nobody */
        as_node(leader, steer_here, NULL);
    }
}

/* Whether the leader has it that this node votes no longer, for good. */
static bool is_demoted(int node)
{
    struct replica_member members[REPLICA_MEMBERS_MAX];
    int leader = nodes_leader();
    if (leader == NOWHERE || leader == node || changing) {
        return false;
    }
    int count = replica_members(node_replica(leader), members);
    return role_in(members, count, node) != REPLICA_VOTER &&
           replica_status(node_replica(leader)).ready &&
           !replica_status(node_replica(leader)).changing;
}

static void change_wishes(void)
{
    int node = (int)chance((uint64_t)node_count), voters = 0;
    for (int i = 0; i < node_count; i++) {
        voters += wanted[i] == REPLICA_VOTER;
    }
    if (wanted[node] == REPLICA_OUTSIDE) {
        wanted[node] = REPLICA_VOTER;
        node_seat(node, true);
    } else if (wanted[node] == REPLICA_STANDBY && (voters < 3 || chance_of(30))) {
        wanted[node] = REPLICA_VOTER;
    } else if (wanted[node] == REPLICA_STANDBY && is_demoted(node)) {
        wanted[node] = REPLICA_OUTSIDE;
        node_seat(node, false);
    } else if (wanted[node] == REPLICA_VOTER && voters > 2) {
        wanted[node] = REPLICA_STANDBY;
    }
    trace("%d is to be %d", node, (int)wanted[node]);
}

/* ---- what befalls ------------------------------------------------------------------------------------------------- */

static int some_node(void)
{
    return (int)chance((uint64_t)node_count);
}

/* The leader more often than others. */
static int some_victim(void)
{
    int leader = nodes_leader();
    return leader != NOWHERE && chance_of(40) ? leader : some_node();
}

static void start(void *context)
{
    node_start((int)(intptr_t)context);
}

static void crash(void)
{
    int node = some_victim();
    node_crash(node);
    later(chance_between(20 * MS, 3 * SECOND), NOWHERE, start, (void *)(intptr_t)node);
    if (chance_of(25)) { /* the power of several */
        node = some_node();
        node_crash(node);
        later(chance_between(20 * MS, 3 * SECOND), NOWHERE, start, (void *)(intptr_t)node);
    }
}

static void crash_shortly(void *context)
{
    int node = (int)(intptr_t)context;
    node_crash(node);
    later(chance_between(1, 20 * MS), NOWHERE, start, context);
}

static void mend_links(void *context)
{
    (void)context;
    trace("the network is whole");
    net_heal();
}

void weather_voted(int node, int candidate)
{
    int other = some_node();
    if (candidate == NOWHERE || !storming || !chance_of(20)) { /* a vote may be taken back, too */
        return;
    }
    later(chance(5 * MS), NOWHERE, crash_shortly, (void *)(intptr_t)node);
    if (chance_of(60) && other != node && other != candidate) {
        trace("no link from %d to %d and back", candidate, other);
        net_cut(candidate, other, true);
        net_cut(other, candidate, true);
        later(chance_between(200 * MS, 2 * SECOND), NOWHERE, mend_links, NULL);
    }
}

static void split(void)
{
    unsigned side = (unsigned)chance(1u << node_count);
    bool one_way = chance_of(25);
    if (chance_of(40)) {
        side = 1u << some_victim();
    }
    tally->partitions++;
    trace("the network is split: %x from the rest%s", side, one_way ? ", one way" : "");
    for (int i = 0; i < node_count; i++) {
        for (int j = 0; j < node_count; j++) {
            bool from = (side >> i & 1) != 0, to = (side >> j & 1) != 0;
            net_cut(i, j, one_way ? from && !to : from != to);
        }
    }
    later(chance_between(50 * MS, 4 * SECOND), NOWHERE, mend_links, NULL);
}

static void fall_silent(void *context)
{
    int leader = (int)(intptr_t)context;
    trace("nothing comes from %d any more", leader);
    for (int i = 0; i < node_count; i++) {
        net_cut(leader, i, true);
    }
}

/* The leader hears nothing any more, and a moment later is not heard either: what it has sent until then others have, and
   may commit without it. It comes back about when it gives up what it does not know the outcome of, and others may have
   cut their logs meanwhile. */
static void leave_behind(void)
{
    int leader = nodes_leader();
    if (leader == NOWHERE) {
        return;
    }
    trace("nothing comes to %d any more", leader);
    for (int i = 0; i < node_count; i++) {
        net_cut(i, leader, true);
    }
    later(chance_between(1 * MS, 100 * MS), NOWHERE, fall_silent, (void *)(intptr_t)leader);
    later(chance_between(1200 * MS, 2800 * MS), NOWHERE, mend_links, NULL);
}

static void cut_pair(void)
{
    int a = some_victim(), b = some_node();
    bool both = chance_of(60);
    trace("no link from %d to %d%s", a, b, both ? " and back" : "");
    net_cut(a, b, true);
    if (both) {
        net_cut(b, a, true);
    }
    later(chance_between(50 * MS, 4 * SECOND), NOWHERE, mend_links, NULL);
}

static void break_connections(void)
{
    int a = some_victim();
    tally->resets++;
    trace("connections of %d break", a);
    for (int i = 0; i < node_count; i++) {
        if (chance_of(70)) {
            net_reset(a, i);
            net_reset(i, a);
        }
    }
}

static void slow_links(void)
{
    int a = some_victim();
    uint64_t us = chance_between(10, 500) * MS;
    trace("links of %d take up to %llu ms", a, (unsigned long long)us / MS);
    for (int i = 0; i < node_count; i++) {
        net_slow(a, i, us);
        net_slow(i, a, us);
    }
    later(chance_between(100 * MS, 3 * SECOND), NOWHERE, mend_links, NULL);
}

static void mend_disk(void *context)
{
    int node = (int)(intptr_t)context;
    trace("the disk of %d is well", node);
    nodes[node].disk.full = nodes[node].disk.broken = false;
    nodes[node].disk.latency_us = 2 * MS;
    files_become(node, FILES_WORK);
}

static void hurt_disk(void)
{
    int node = some_victim();
    struct disk *disk = &nodes[node].disk;
    uint64_t luck = chance(10);
    if (luck < 5) {
        disk->latency_us = chance_between(10, 300) * MS;
        trace("the disk of %d is slow", node);
    } else if (luck < 8) {
        disk->full = true;
        disk->reserve = 20;
        files_become(node, FILES_FULL);
        trace("the disk of %d is full", node);
    } else {
        disk->broken = true;
        files_become(node, FILES_BROKEN);
        trace("the disk of %d is broken", node);
    }
    later(chance_between(50 * MS, 3 * SECOND), NOWHERE, mend_disk, (void *)(intptr_t)node);
}

static void checkpoint(void *context)
{
    struct node *node = &nodes[world_here()];
    (void)context;
    if (node->machine != NULL && !node->closing) {
        machine_checkpoint(node->machine);
    }
}

static void turn_clock(void)
{
    int node = some_node();
    nodes[node].wall_us += ((int64_t)chance(7200) - 3600) * SECOND;
    trace("the wall clock of %d jumps", node);
}

static void hand_over(void)
{
    int leader = nodes_leader();
    if (leader != NOWHERE && !changing) {
        changing_until = world_now() + 6 * SECOND;
        as_node(leader, transfer, NULL);
    }
}

static void befall(void *context)
{
    uint64_t luck = chance(100);
    (void)context;
    if (!storming) {
        return;
    }
    later(chance_between(20 * MS, 700 * MS), NOWHERE, befall, NULL);
    if (luck < 18) {
        crash();
    } else if (luck < 30) {
        split();
    } else if (luck < 34) {
        leave_behind();
    } else if (luck < 40) {
        cut_pair();
    } else if (luck < 50) {
        break_connections();
    } else if (luck < 56) {
        slow_links();
    } else if (luck < 66) {
        hurt_disk();
    } else if (luck < 70) {
        turn_clock();
    } else if (luck < 78) {
        hand_over();
    } else if (luck < 90) {
        change_wishes();
    } else {
        as_node(some_node(), checkpoint, NULL);
    }
}

static void look_at_logs(void *context)
{
    (void)context;
    oracle_compare_logs();
    later(500 * MS, NOWHERE, look_at_logs, NULL);
}

void weather_begin(void)
{
    int first = chance_of(50) ? 3 : node_count;
    storming = changing = false;
    nodes[0].founds = true;
    for (int i = 0; i < node_count; i++) {
        wanted[i] = i < first ? REPLICA_VOTER : REPLICA_OUTSIDE;
        nodes[i].seated = i < first;
        later(chance(200 * MS), NOWHERE, start, (void *)(intptr_t)i);
    }
    later(500 * MS, NOWHERE, steer, NULL);
    later(500 * MS, NOWHERE, look_at_logs, NULL);
}

void weather_storm(void)
{
    storming = true;
    later(0, NOWHERE, befall, NULL);
}

void weather_mend(void)
{
    storming = false;
    trace("all is mended");
    net_heal();
    for (int i = 0; i < node_count; i++) {
        mend_disk((void *)(intptr_t)i);
        node_start(i);
    }
}

static void show(int i)
{
    struct replica_member members[REPLICA_MEMBERS_MAX];
    char line[160] = "";
    struct replica *replica = node_replica(i);
    if (replica == NULL) {
        trace("%d: wanted %d, has no replica", i, (int)wanted[i]);
        return;
    }
    struct replica_status status = replica_status(replica);
    int count = replica_members(replica, members);
    for (int j = 0, at = 0; j < count; j++) {
        at += snprintf(line + at, sizeof line - (size_t)at, " %llu:%d:%llu",
                       (unsigned long long)members[j].node - 1, (int)members[j].role,
                       (unsigned long long)members[j].match);
    }
    trace("%d: wanted %d, is %d, term %llu, leader %d, last %llu, committed %llu, applied %llu,%s",
          i, (int)wanted[i], (int)status.role, (unsigned long long)status.term,
          (int)status.leader - 1, (unsigned long long)status.last,
          (unsigned long long)status.committed, (unsigned long long)status.applied, line);
}

void weather_show(void)
{
    for (int i = 0; i < node_count; i++) {
        show(i);
    }
}

bool weather_settled(void)
{
    struct replica_member members[REPLICA_MEMBERS_MAX];
    int leader = nodes_leader();
    if (leader == NOWHERE) {
        return false;
    }
    int count = replica_members(node_replica(leader), members);
    for (int i = 0; i < node_count; i++) {
        bool member = wanted[i] != REPLICA_OUTSIDE;
        if (role_in(members, count, i) != wanted[i] ||
            (member &&
             (nodes[i].hosted == NULL || nodes[i].closing ||
              (uint64_t)machine_counters(nodes[i].machine).applied_index != oracle_index()))) {
            return false;
        }
    }
    return true;
}
