#include "tests/unit/cluster_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

struct member_facts facts_of(uint64_t id, unsigned weight)
{
    struct member_facts facts = {.weight = weight};
    snprintf(facts.name, sizeof facts.name, "node-%llu", (unsigned long long)id);
    snprintf(facts.url, sizeof facts.url, "http://10.0.0.1:%llu", (unsigned long long)id);
    snprintf(facts.peer, sizeof facts.peer, "10.0.0.2:%llu", (unsigned long long)id);
    return facts;
}

struct world *world_make(unsigned partitions, unsigned replicas, uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);
    struct member_facts facts = facts_of(1, 100);
    cr_assert_not_null(w);
    table_found((const unsigned char *)"0123456789abcdef", partitions, replicas, 1, &facts,
                &w->table);
    w->limits = (struct placement_limits){PARTITIONS_MAX, PARTITIONS_MAX};
    w->chance = seed;
    return w;
}

void world_free(struct world *w)
{
    free(w);
}

/* SplitMix64. */
unsigned world_random(struct world *w, unsigned n)
{
    uint64_t z = w->chance += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (unsigned)((z ^ z >> 31) % n);
}

/* A move that has begun leaves no fewer voters than it found, but where somebody leaves. */
static void check_step(struct world *w, const struct step *step,
                       const struct table_partition *partition)
{
    unsigned voters = table_voters(partition);
    enum member_state state = w->table.members[table_find(&w->table, step->member)].state;
    if (step->kind == STEP_ADD) {
        w->started[step->partition] = voters;
    } else if (step->kind == STEP_DEMOTE && state == MEMBER_LEAVING) {
        w->started[step->partition] = 0;
    } else if (step->kind == STEP_DEMOTE) {
        unsigned hold = members_count(table_members(&w->table, MEMBER_ACTIVE) |
                                      table_members(&w->table, MEMBER_DOWN));
        unsigned due = hold < w->table.replica_count ? hold : w->table.replica_count;
        cr_assert_geq(voters, due, "partition %u has %u voters left", step->partition, voters);
    }
    cr_assert_geq(voters, w->started[step->partition], "partition %u lost a voter by %s",
                  step->partition, step_kind_name(step->kind));
}

void world_commit(struct world *w, const struct step *step)
{
    uint64_t epoch = w->table.epoch;
    const char *wrong = placement_apply(&w->table, step);
    cr_assert_null(wrong, "%s of member %llu, partition %u: %s", step_kind_name(step->kind),
                   (unsigned long long)step->member, step->partition, wrong);
    cr_assert_eq(w->table.epoch, epoch + 1);
    wrong = table_check(&w->table);
    cr_assert_null(wrong, "after %s: %s", step_kind_name(step->kind), wrong);
    w->steps[step->kind]++;
    if (step_has_partition(step->kind)) {
        check_step(w, step, &w->table.partitions[step->partition]);
    }
}

void world_apply(struct world *w, enum step_kind kind, unsigned partition, uint64_t member)
{
    world_commit(
        w, &(struct step){
               .kind = kind, .epoch = w->table.epoch, .member = member, .partition = partition});
}

void world_join(struct world *w, uint64_t id, unsigned weight)
{
    world_commit(w, &(struct step){.kind = STEP_JOIN,
                                   .epoch = w->table.epoch,
                                   .member = id,
                                   .facts = facts_of(id, weight)});
}

void world_weigh(struct world *w, uint64_t id, unsigned weight)
{
    world_commit(w, &(struct step){.kind = STEP_CHANGE,
                                   .epoch = w->table.epoch,
                                   .member = id,
                                   .facts = facts_of(id, weight)});
}

bool world_is_dead(const struct world *w, uint64_t id)
{
    for (unsigned i = 0; i < w->dead_count; i++) {
        if (w->dead[i] == id) {
            return true;
        }
    }
    return false;
}

void world_kill(struct world *w, uint64_t id)
{
    cr_assert(w->dead_count < MEMBERS_MAX && !world_is_dead(w, id));
    w->dead[w->dead_count++] = id;
}

void world_revive(struct world *w, uint64_t id)
{
    for (unsigned i = 0; i < w->dead_count; i++) {
        if (w->dead[i] == id) {
            w->dead[i] = w->dead[--w->dead_count];
        }
    }
}

static void look_at_partition(struct world *w, unsigned p)
{
    const struct table_partition *partition = &w->table.partitions[p];
    unsigned voters = 0, live = 0;
    uint64_t leader = 0;
    member_set caught_up = 0;
    for (unsigned i = 0; i < partition->slot_count; i++) {
        const struct slot *slot = &partition->slots[i];
        bool lives = !world_is_dead(w, slot->member);
        caught_up |= lives ? members_one((unsigned)table_find(&w->table, slot->member)) : 0;
        voters += slot->role == SLOT_VOTER;
        live += slot->role == SLOT_VOTER && lives;
        if (slot->role == SLOT_VOTER && lives &&
            (leader == 0 || slot->member == partition->leader)) {
            leader = slot->member;
        }
    }
    bool quorate = 2 * live > voters;
    w->view.partitions[p].settled = quorate;
    w->view.partitions[p].leader = quorate ? leader : 0;
    w->view.partitions[p].caught_up = quorate ? caught_up : 0;
}

void world_look(struct world *w)
{
    w->view.epoch = w->table.epoch;
    w->view.reachable = 0;
    w->view.overdue = 0;
    for (unsigned i = 0; i < w->table.member_count; i++) {
        bool dead = world_is_dead(w, w->table.members[i].id);
        w->view.reachable |= dead ? 0 : members_one(i);
        w->view.overdue |= dead && w->overdue ? members_one(i) : 0;
    }
    for (unsigned p = 0; p < w->table.partition_count; p++) {
        look_at_partition(w, p);
    }
}

unsigned world_act(struct world *w)
{
    struct step steps[PLACEMENT_STEPS_MAX];
    unsigned count = placement_next(&w->table, &w->view, &w->limits, steps);
    for (unsigned i = 0; i < count; i++) {
        world_commit(w, &steps[i]);
    }
    return count;
}

unsigned world_step(struct world *w)
{
    world_look(w);
    return world_act(w);
}

unsigned world_settle(struct world *w)
{
    unsigned before = w->steps[STEP_ADD], rounds = 0;
    while (world_step(w) > 0) {
        cr_assert_lt(rounds++, 100000, "it comes to no end");
    }
    return w->steps[STEP_ADD] - before;
}

unsigned world_load(const struct world *w, uint64_t id)
{
    unsigned load = 0;
    for (unsigned p = 0; p < w->table.partition_count; p++) {
        const struct table_partition *partition = &w->table.partitions[p];
        for (unsigned i = 0; i < partition->slot_count; i++) {
            load += partition->slots[i].member == id && partition->slots[i].role == SLOT_VOTER;
        }
    }
    return load;
}

unsigned world_leads(const struct world *w, uint64_t id)
{
    unsigned leads = 0;
    for (unsigned p = 0; p < w->table.partition_count; p++) {
        leads += w->table.partitions[p].leader == id;
    }
    return leads;
}
