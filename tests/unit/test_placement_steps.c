/* The way to the target: which step comes next, what it waits for, and that no way there loses anything. */
#include "service/cluster/codec.h"
#include "tests/unit/cluster_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* Members 1 to n, of weight 100, settled. */
static struct world *settled(unsigned partitions, unsigned replicas, unsigned n)
{
    struct world *w = world_make(partitions, replicas, 7);
    for (uint64_t id = 2; id <= n; id++) {
        world_join(w, id, 100);
    }
    world_settle(w);
    memset(w->steps, 0, sizeof w->steps);
    return w;
}

/* What is proposed on w->view, without carrying it out. */
static unsigned proposed(const struct world *w, struct step ret[PLACEMENT_STEPS_MAX])
{
    return placement_next(&w->table, &w->view, &w->limits, ret);
}

static void expect_proposed(const struct world *w, enum step_kind kind, uint64_t member)
{
    struct step steps[PLACEMENT_STEPS_MAX];
    cr_assert_eq(proposed(w, steps), 1);
    cr_expect_eq(steps[0].kind, kind, "%s", step_kind_name(steps[0].kind));
    cr_expect_eq(steps[0].member, member);
}

static void expect_nothing(const struct world *w)
{
    struct step steps[PLACEMENT_STEPS_MAX];
    unsigned count = proposed(w, steps);
    cr_expect_eq(count, 0, "%u steps, the first %s", count, step_kind_name(steps[0].kind));
}

/* ---- one move ----------------------------------------------------------------------------------------------------- */

/* One partition, one replica on member 1, which leaves; so it moves to member 2. */
static struct world *moving(void)
{
    struct world *w = settled(1, 1, 2);
    uint64_t holder = w->table.partitions[0].leader;
    cr_assert_eq(holder, 1);
    world_apply(w, STEP_LEAVE, 0, 1);
    world_look(w);
    return w;
}

Test(placement_steps, a_move_is_add_promote_lead_demote_remove_and_then_the_member_is_dropped)
{
    static const struct {
        enum step_kind kind;
        uint64_t member;
    } TRACE[] = {{STEP_ADD, 2},    {STEP_PROMOTE, 2}, {STEP_LEAD, 2},
                 {STEP_DEMOTE, 1}, {STEP_REMOVE, 1},  {STEP_DROP, 1}};
    struct world *w = moving();
    for (size_t i = 0; i < sizeof TRACE / sizeof TRACE[0]; i++) {
        world_look(w);
        expect_proposed(w, TRACE[i].kind, TRACE[i].member);
        world_act(w);
    }
    world_look(w);
    expect_nothing(w);
    cr_expect_eq(w->table.member_count, 1);
    world_free(w);
}

Test(placement_steps, each_step_waits_until_the_one_before_is_settled)
{
    struct world *w = moving();
    for (unsigned i = 0; i < 5; i++) {
        world_look(w);
        w->view.partitions[0].settled = false;
        expect_nothing(w);
        world_step(w);
    }
    cr_expect_eq(w->steps[STEP_REMOVE], 1);
    world_free(w);
}

/* Three replicas of one partition, four members; one of the three leaves, so the fourth has a learner. */
static struct world *moving_one_of_three(uint64_t *ret_leaver, uint64_t *ret_newcomer)
{
    struct world *w = settled(1, 3, 4);
    struct table_partition *partition = &w->table.partitions[0];
    for (uint64_t id = 1; id <= 4; id++) {
        if (table_slot(partition, id) == NULL) {
            *ret_newcomer = id;
        } else if (partition->leader != id) {
            *ret_leaver = id;
        }
    }
    world_apply(w, STEP_LEAVE, 0, *ret_leaver);
    world_step(w);
    cr_assert_eq(table_slot(partition, *ret_newcomer)->role, SLOT_LEARNER);
    world_look(w);
    return w;
}

static void lag(struct world *w, uint64_t member)
{
    w->view.partitions[0].caught_up &= ~members_one((unsigned)table_find(&w->table, member));
}

/* Everybody of the first partition but those two. */
static uint64_t another(const struct world *w, uint64_t one, uint64_t two)
{
    const struct table_partition *partition = &w->table.partitions[0];
    for (unsigned i = 0; i < partition->slot_count; i++) {
        if (partition->slots[i].member != one && partition->slots[i].member != two) {
            return partition->slots[i].member;
        }
    }
    cr_assert_fail("there is nobody else");
    return 0;
}

Test(placement_steps, a_learner_is_promoted_when_it_has_caught_up)
{
    uint64_t leaver, newcomer;
    struct world *w = moving_one_of_three(&leaver, &newcomer);
    lag(w, newcomer);
    expect_nothing(w);
    world_look(w);
    expect_proposed(w, STEP_PROMOTE, newcomer);
    world_free(w);
}

Test(placement_steps, the_lead_moves_to_a_voter_that_has_everything)
{
    struct world *w = settled(1, 3, 3);
    struct step steps[PLACEMENT_STEPS_MAX];
    world_apply(w, STEP_LEAVE, 0, w->table.partitions[0].leader);
    world_look(w);
    cr_assert_eq(proposed(w, steps), 1);
    cr_assert_eq(steps[0].kind, STEP_LEAD);
    lag(w, steps[0].member);
    expect_nothing(w);
    world_free(w);
}

Test(placement_steps, nothing_is_touched_while_a_majority_lags)
{
    uint64_t leaver, newcomer;
    struct world *w = moving_one_of_three(&leaver, &newcomer);
    lag(w, another(w, leaver, newcomer));
    lag(w, leaver);
    expect_nothing(w);
    world_free(w);
}

Test(placement_steps, who_leads_the_group_at_the_moment_is_not_demoted)
{
    struct world *w = moving();
    world_act(w);
    world_step(w);
    world_step(w);
    world_look(w);
    w->view.partitions[0].leader = 1; /* the table says 2, the group has not followed yet */
    expect_nothing(w);
    w->view.partitions[0].leader = 0;
    expect_nothing(w);
    w->view.partitions[0].leader = 2;
    expect_proposed(w, STEP_DEMOTE, 1);
    world_free(w);
}

Test(placement_steps, nothing_is_proposed_on_a_view_of_another_epoch)
{
    struct world *w = moving();
    w->view.epoch--;
    expect_nothing(w);
    world_free(w);
}

Test(placement_steps, a_demotion_waits_until_those_that_stay_can_commit)
{
    struct world *w = settled(1, 3, 3);
    uint64_t leader = w->table.partitions[0].leader;
    uint64_t leaver = another(w, leader, leader), third = another(w, leader, leaver);
    world_apply(w, STEP_LEAVE, 0, leaver);
    world_look(w);
    lag(w, third);
    expect_nothing(w);
    world_look(w);
    expect_proposed(w, STEP_DEMOTE, leaver);
    world_free(w);
}

Test(placement_steps, of_two_that_go_the_one_that_is_dead_goes_first)
{
    struct world *w = settled(1, 5, 5);
    uint64_t leader = w->table.partitions[0].leader;
    uint64_t first = another(w, leader, leader), second = another(w, leader, first);
    for (uint64_t id = 6; id <= 7; id++) {
        world_join(w, id, 100);
        world_apply(w, STEP_UP, 0, id);
    }
    world_kill(w, second);
    world_apply(w, STEP_LEAVE, 0, first);
    world_apply(w, STEP_LEAVE, 0, second);
    while (w->steps[STEP_DEMOTE] == 0) {
        cr_assert_gt(world_step(w), 0);
    }
    cr_expect_eq(table_slot(&w->table.partitions[0], second)->role, SLOT_RETIRING);
    world_settle(w);
    cr_expect_eq(w->table.member_count, 5);
    world_free(w);
}

/* ---- members that go ---------------------------------------------------------------------------------------------- */

Test(placement_steps, a_successor_takes_the_places_of_who_leaves_and_no_others)
{
    enum { LEAVER = 2, OTHER = 8, SUCCESSOR = 9 };
    struct world *w = settled(16, 3, 6);
    world_kill(w, LEAVER);
    world_step(w);
    for (uint64_t id = OTHER; id <= SUCCESSOR; id++) {
        world_join(w, id, 100);
        world_apply(w, STEP_UP, 0, id);
    }
    world_commit(w, &(struct step){.kind = STEP_LEAVE,
                                   .epoch = w->table.epoch,
                                   .member = LEAVER,
                                   .successor = SUCCESSOR,
                                   .enough = true});
    struct table *before = malloc(sizeof *before);
    *before = w->table;
    world_settle(w);
    cr_expect_eq(table_find(&w->table, LEAVER), -1);
    cr_expect_geq(world_load(w, SUCCESSOR), 16 * 3 / 7);
    for (unsigned p = 0; p < w->table.partition_count; p++) {
        cr_expect(table_slot(&w->table.partitions[p], SUCCESSOR) == NULL ||
                      table_slot(&before->partitions[p], LEAVER) != NULL,
                  "partition %u", p);
    }
    free(before);
    world_free(w);
}

Test(placement_steps, partitions_wait_until_the_table_says_who_is_up)
{
    struct world *w = settled(16, 3, 3);
    world_join(w, 9, 100);
    world_apply(w, STEP_UP, 0, 9);
    world_kill(w, 9);
    world_look(w);
    expect_proposed(w, STEP_DOWN, 9);
    world_free(w);
}

Test(placement_steps, a_joining_member_that_nobody_reaches_gets_nothing)
{
    struct world *w = settled(16, 3, 3);
    world_join(w, 9, 100);
    world_kill(w, 9);
    world_look(w);
    expect_nothing(w);
    world_revive(w, 9);
    world_look(w);
    expect_proposed(w, STEP_UP, 9);
    world_free(w);
}

Test(placement_steps, a_member_that_is_down_gives_up_the_lead_and_keeps_its_replicas)
{
    struct world *w = settled(64, 3, 5);
    unsigned load = world_load(w, 2);
    cr_assert_gt(world_leads(w, 2), 0);
    world_kill(w, 2);
    cr_expect_eq(world_settle(w), 0);
    cr_expect_eq(world_leads(w, 2), 0);
    cr_expect_eq(world_load(w, 2), load);
    world_revive(w, 2);
    cr_expect_eq(world_settle(w), 0);
    cr_expect_geq(world_leads(w, 2), 64 / 5);
    world_free(w);
}

Test(placement_steps, a_dead_member_is_replaced_when_overdue_the_new_voter_first)
{
    struct world *w = settled(64, 3, 5);
    unsigned load = world_load(w, 2);
    world_kill(w, 2);
    world_settle(w);
    w->overdue = true;
    cr_expect_eq(world_settle(w), load, "each of its replicas is copied once");
    cr_expect_eq(world_load(w, 2), 0);
    cr_expect_eq(w->table.members[1].state, MEMBER_DOWN, "it may come back");
    world_free(w);
}

Test(placement_steps, a_dead_member_is_not_replaced_where_fewer_live_than_a_partition_has_replicas)
{
    struct world *w = settled(16, 3, 3);
    world_kill(w, 2);
    w->overdue = true;
    cr_expect_eq(world_settle(w), 0);
    cr_expect_eq(world_load(w, 2), 16);
    world_join(w, 9, 100);
    cr_expect_eq(world_settle(w), 16, "now there is somebody");
    cr_expect_eq(world_load(w, 2), 0);
    cr_expect_eq(world_load(w, 9), 16);
    world_free(w);
}

Test(placement_steps, who_leaves_for_good_goes_even_where_nobody_can_take_its_place)
{
    struct world *w = settled(16, 3, 3);
    world_apply(w, STEP_LEAVE, 0, 2);
    cr_expect_eq(world_settle(w), 0);
    cr_expect_eq(w->table.member_count, 2);
    cr_expect_eq(world_load(w, 1), 16);
    cr_expect_eq(world_load(w, 3), 16);
    world_free(w);
}

Test(placement_steps, a_dead_member_that_is_told_to_leave_is_replaced_at_once)
{
    struct world *w = settled(16, 3, 4);
    unsigned load = world_load(w, 2);
    world_kill(w, 2);
    world_settle(w);
    world_apply(w, STEP_LEAVE, 0, 2);
    cr_expect_eq(world_settle(w), load);
    cr_expect_eq(table_find(&w->table, 2), -1);
    world_free(w);
}

Test(placement_steps, a_learner_whose_member_goes_down_is_given_up_for_another)
{
    struct world *w = settled(1, 1, 3);
    world_apply(w, STEP_LEAVE, 0, 1);
    world_step(w);
    cr_assert_eq(w->steps[STEP_ADD], 1);
    uint64_t learner = table_slot(&w->table.partitions[0], 2) != NULL ? 2 : 3;
    world_kill(w, learner);
    world_settle(w);
    cr_expect_eq(w->table.partitions[0].leader, learner == 2 ? 3 : 2);
    cr_expect_eq(w->table.partitions[0].slot_count, 1);
    world_free(w);
}

Test(placement_steps, one_that_is_back_in_the_middle_of_its_replacement_costs_no_second_copy)
{
    struct world *w = settled(64, 3, 4);
    world_kill(w, 2);
    w->overdue = true;
    w->limits.moves = 4;
    for (unsigned i = 0; i < 20; i++) {
        world_step(w);
    }
    unsigned lost = 48 - world_load(w, 2);
    world_revive(w, 2);
    unsigned before = w->steps[STEP_ADD];
    world_settle(w);
    cr_expect_leq(w->steps[STEP_ADD] - before, lost);
    cr_expect_eq(world_load(w, 2), 48);
    world_free(w);
}

Test(placement_steps, a_newcomer_gets_its_share_of_the_lead_and_little_else_changes)
{
    struct world *w = settled(64, 3, 5);
    world_join(w, 6, 100);
    world_settle(w);
    cr_expect_geq(world_leads(w, 6), 10);
    cr_expect_leq(w->steps[STEP_LEAD], 2 * 11, "%u changes of the lead", w->steps[STEP_LEAD]);
    world_free(w);
}

/* ---- how much at once --------------------------------------------------------------------------------------------- */

static void expect_within_limits(const struct world *w)
{
    unsigned moving = 0, copies[MEMBERS_MAX + 1] = {0};
    for (unsigned p = 0; p < w->table.partition_count; p++) {
        const struct table_partition *partition = &w->table.partitions[p];
        bool copied = false;
        for (unsigned i = 0; i < partition->slot_count; i++) {
            if (partition->slots[i].role == SLOT_LEARNER) {
                copied = true;
                copies[partition->slots[i].member]++;
            }
        }
        moving += partition->slot_count != table_voters(partition) ||
                  partition->slot_count > w->table.replica_count;
        copies[partition->leader] += copied;
    }
    cr_assert_leq(moving, w->limits.moves);
    for (unsigned id = 1; id <= MEMBERS_MAX; id++) {
        cr_assert_leq(copies[id], w->limits.moves_per_member, "member %u", id);
    }
}

Test(placement_steps, no_more_moves_at_once_than_asked_in_all_and_by_each_member)
{
    for (unsigned moves = 1; moves <= 8; moves++) {
        struct world *w = settled(64, 3, 4);
        w->limits = (struct placement_limits){moves, 1 + moves / 3};
        world_join(w, 5, 100);
        world_join(w, 6, 100);
        unsigned rounds = 0;
        while (world_step(w) > 0) {
            expect_within_limits(w);
            cr_assert_lt(rounds++, 10000);
        }
        cr_expect_eq(world_load(w, 5), 32);
        cr_expect_eq(world_load(w, 6), 32);
        world_free(w);
    }
}

Test(placement_steps, a_group_that_lost_its_majority_holds_up_no_other)
{
    struct world *w = settled(16, 1, 2);
    w->limits.moves = 1;
    unsigned lost = world_load(w, 2);
    cr_assert_gt(lost, 0);
    world_join(w, 3, 100);
    world_step(w); /* up */
    while (w->steps[STEP_ADD] == 0) {
        world_step(w);
    }
    /* Whoever sends that first copy dies in the middle of it. */
    uint64_t sender = 0;
    for (unsigned p = 0; p < 16; p++) {
        sender =
            table_slot(&w->table.partitions[p], 3) != NULL ? w->table.partitions[p].leader : sender;
    }
    cr_assert_neq(sender, 0);
    world_kill(w, sender);
    world_settle(w);
    cr_expect_geq(world_load(w, 3), 3, "the other one's partitions still move");
    world_free(w);
}

/* How many replicas of the partition lie on these two. */
static unsigned held_by(struct world *w, unsigned p, uint64_t one, uint64_t two)
{
    struct table_partition *partition = &w->table.partitions[p];
    return (table_slot(partition, one) != NULL ? 1u : 0) +
           (table_slot(partition, two) != NULL ? 1u : 0);
}

Test(placement_steps, who_has_the_fewest_live_voters_gets_its_replica_first)
{
    struct world *w = settled(64, 5, 7);
    uint64_t one = 1, two = 2;
    while (held_by(w, 0, one, two) != 1) { /* so the first partition is not the first in line */
        two = two < 7 ? two + 1 : ++one + 1;
        cr_assert_leq(two, 7);
    }
    w->limits.moves = 1;
    w->overdue = true;
    world_kill(w, one);
    world_kill(w, two);
    world_step(w);
    cr_assert_eq(w->steps[STEP_DOWN], 2);
    while (w->steps[STEP_ADD] == 0) {
        cr_assert_gt(world_step(w), 0);
    }
    for (unsigned p = 0; p < 64; p++) {
        if (table_voters(&w->table.partitions[p]) < w->table.partitions[p].slot_count) {
            cr_expect_eq(held_by(w, p, one, two), 2, "partition %u", p);
        }
    }
    world_free(w);
}

Test(placement_steps, a_copy_counts_for_who_leads_the_group_at_the_moment)
{
    struct world *w = settled(16, 3, 3);
    for (uint64_t id = 4; id <= 5; id++) {
        world_join(w, id, 100);
        world_apply(w, STEP_UP, 0, id);
    }
    w->limits = (struct placement_limits){16, 1};
    world_look(w);
    struct step steps[PLACEMENT_STEPS_MAX];
    cr_expect_eq(proposed(w, steps), 2, "one for each newcomer, from two leaders");
    for (unsigned p = 0; p < 16; p++) {
        w->view.partitions[p].leader = 1;
    }
    cr_expect_eq(proposed(w, steps), 1, "one leader gives one copy at a time");
    world_free(w);
}

/* ---- any disorder ------------------------------------------------------------------------------------------------- */

/* Group 0's leader is another one now: all it has is the table, as it was encoded. */
static void take_over(struct world *w, struct arena *arena)
{
    struct table *table = table_decode(table_encode(&w->table, arena), arena);
    cr_assert_not_null(table);
    w->table = *table;
    arena_clear(arena);
}

static void disturb(struct world *w, uint64_t *next_id)
{
    uint64_t id = w->table.members[world_random(w, w->table.member_count)].id;
    unsigned live = members_count(table_members(&w->table, MEMBER_ACTIVE));
    switch (world_random(w, 12)) {
    case 0:
        if (w->table.member_count < 12) {
            world_join(w, (*next_id)++, 1 + world_random(w, 300));
        }
        break;
    case 1:
        if (live > w->table.replica_count && w->dead_count == 0 &&
            table_members(&w->table, MEMBER_LEAVING) == 0) {
            world_apply(w, STEP_LEAVE, 0, id);
        }
        break;
    case 2:
        if (w->dead_count == 0) {
            world_kill(w, id);
        }
        break;
    case 3:
        world_revive(w, w->dead[0]);
        break;
    case 4:
        world_weigh(w, id, 1 + world_random(w, 300));
        break;
    case 5:
        w->overdue = !w->overdue;
        break;
    default:
        break;
    }
}

/* Some groups have not followed yet, some replicas lag. */
static void blur(struct world *w)
{
    for (unsigned p = 0; p < w->table.partition_count; p++) {
        if (world_random(w, 3) == 0) {
            w->view.partitions[p].settled = false;
        }
        if (world_random(w, 3) == 0) {
            w->view.partitions[p].caught_up &= ~members_one(world_random(w, w->table.member_count));
        }
    }
}

/* A part of what is proposed is committed, perhaps twice. */
static void act_in_part(struct world *w)
{
    struct step steps[PLACEMENT_STEPS_MAX];
    unsigned count = proposed(w, steps);
    for (unsigned i = 0; i < count && world_random(w, 5) != 0; i++) {
        world_commit(w, &steps[i]);
        cr_assert_not_null(placement_apply(&w->table, &steps[i]), "%s took effect twice",
                           step_kind_name(steps[i].kind));
    }
}

static void expect_at_rest(struct world *w)
{
    static struct placement_target target;
    unsigned active = members_count(table_members(&w->table, MEMBER_ACTIVE));
    unsigned due = active < w->table.replica_count ? active : w->table.replica_count;
    placement_target(&w->table, 0, &target);
    cr_expect_eq(target.moves, 0);
    for (unsigned p = 0; p < w->table.partition_count; p++) {
        const struct table_partition *partition = &w->table.partitions[p];
        cr_expect_eq(partition->slot_count, due);
        cr_expect_eq(table_voters(partition), due);
    }
    cr_expect_eq(active, w->table.member_count);
}

Test(placement_steps, whatever_happens_on_the_way_no_voter_is_lost_and_the_end_is_reached)
{
    struct arena arena = ARENA_EMPTY;
    for (unsigned seed = 1; seed <= 60; seed++) {
        struct world *w = world_make(8u << seed % 3, 1 + 2 * (seed % 3), seed);
        uint64_t next_id = 100;
        for (uint64_t id = 2; id <= 5; id++) {
            world_join(w, id, 100);
        }
        world_settle(w);
        for (unsigned round = 0; round < 150; round++) {
            w->limits = (struct placement_limits){1 + world_random(w, 6), 1 + world_random(w, 3)};
            disturb(w, &next_id);
            take_over(w, &arena);
            world_look(w);
            blur(w);
            act_in_part(w);
        }
        while (w->dead_count > 0) {
            world_revive(w, w->dead[0]);
        }
        world_settle(w);
        expect_at_rest(w);
        world_free(w);
    }
    arena_free(&arena);
}
