/* Steps: every (state, step) pair of members and of replicas, those that are forbidden too. */
#include "service/cluster/placement.h"
#include "tests/unit/cluster_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* NULL if the step fits, else why not; and then that the table is as it was. */
static const char *try_step(struct world *w, struct step step)
{
    struct table *before = malloc(sizeof *before);
    memcpy(before, &w->table, sizeof *before);
    const char *wrong = placement_apply(&w->table, &step);
    if (wrong != NULL) {
        cr_expect_eq(memcmp(before, &w->table, sizeof *before), 0,
                     "refused, yet something changed");
        cr_expect_eq(wrong[strlen(wrong) - 1], '.', "%s", wrong);
    } else {
        cr_expect_eq(w->table.epoch, before->epoch + 1);
        cr_expect_null(table_check(&w->table), "%s", table_check(&w->table));
    }
    free(before);
    return wrong;
}

static struct step step_now(const struct world *w, enum step_kind kind, unsigned partition,
                            uint64_t member)
{
    struct step step = {
        .kind = kind, .epoch = w->table.epoch, .member = member, .partition = partition};
    if (step_has_facts(kind)) {
        step.facts = facts_of(member, 200);
    }
    return step;
}

/* ---- members ------------------------------------------------------------------------------------------------------ */

enum { NONE = MEMBER_STATES }; /* no such member */

/* A world in which member 2 is in that state; member 1 is active. */
static struct world *world_with(unsigned state)
{
    struct world *w = world_make(4, 3, 1);
    if (state != NONE) {
        world_join(w, 2, 100);
    }
    if (state == MEMBER_ACTIVE || state == MEMBER_DOWN) {
        world_apply(w, STEP_UP, 0, 2);
    }
    if (state == MEMBER_DOWN) {
        world_apply(w, STEP_DOWN, 0, 2);
    }
    if (state == MEMBER_LEAVING) {
        world_apply(w, STEP_LEAVE, 0, 2);
    }
    cr_assert(state == NONE || w->table.members[1].state == state);
    return w;
}

Test(placement, every_state_of_a_member_takes_the_steps_of_its_table_and_no_other)
{
    enum { REFUSED = NONE + 1 };
    static const unsigned AFTER[MEMBER_STATES + 1][STEP_ADD] = {
        [NONE] = {[STEP_JOIN] = MEMBER_JOINING,
                  [STEP_CHANGE] = REFUSED,
                  [STEP_UP] = REFUSED,
                  [STEP_DOWN] = REFUSED,
                  [STEP_LEAVE] = REFUSED,
                  [STEP_DROP] = REFUSED},
        [MEMBER_JOINING] = {[STEP_JOIN] = REFUSED,
                            [STEP_CHANGE] = MEMBER_JOINING,
                            [STEP_UP] = MEMBER_ACTIVE,
                            [STEP_DOWN] = REFUSED,
                            [STEP_LEAVE] = MEMBER_LEAVING,
                            [STEP_DROP] = REFUSED},
        [MEMBER_ACTIVE] = {[STEP_JOIN] = REFUSED,
                           [STEP_CHANGE] = MEMBER_ACTIVE,
                           [STEP_UP] = REFUSED,
                           [STEP_DOWN] = MEMBER_DOWN,
                           [STEP_LEAVE] = MEMBER_LEAVING,
                           [STEP_DROP] = REFUSED},
        [MEMBER_DOWN] = {[STEP_JOIN] = REFUSED,
                         [STEP_CHANGE] = MEMBER_DOWN,
                         [STEP_UP] = MEMBER_ACTIVE,
                         [STEP_DOWN] = REFUSED,
                         [STEP_LEAVE] = MEMBER_LEAVING,
                         [STEP_DROP] = REFUSED},
        [MEMBER_LEAVING] = {[STEP_JOIN] = REFUSED,
                            [STEP_CHANGE] = MEMBER_LEAVING,
                            [STEP_UP] = REFUSED,
                            [STEP_DOWN] = REFUSED,
                            [STEP_LEAVE] = REFUSED,
                            [STEP_DROP] = NONE},
    };
    for (unsigned state = 0; state <= NONE; state++) {
        for (unsigned kind = 0; kind < STEP_ADD; kind++) {
            struct world *w = world_with(state);
            const char *wrong = try_step(w, step_now(w, (enum step_kind)kind, 0, 2));
            int at = table_find(&w->table, 2);
            unsigned after = at < 0 ? NONE : w->table.members[at].state;
            unsigned expected = AFTER[state][kind] == REFUSED ? state : AFTER[state][kind];
            cr_expect_eq(wrong != NULL, AFTER[state][kind] == REFUSED, "state %u, %s: %s", state,
                         step_kind_name((enum step_kind)kind), wrong == NULL ? "fits" : wrong);
            cr_expect_eq(after, expected, "state %u, %s", state,
                         step_kind_name((enum step_kind)kind));
            world_free(w);
        }
    }
}

Test(placement, a_step_is_of_what_the_member_was_but_for_one_to_leave)
{
    struct world *w = world_with(MEMBER_ACTIVE);
    struct step change = step_now(w, STEP_CHANGE, 0, 2), leave = step_now(w, STEP_LEAVE, 0, 2);
    world_apply(w, STEP_DOWN, 0, 2);
    cr_expect_not_null(try_step(w, change));
    cr_expect_null(try_step(w, leave));
    cr_expect_eq(w->table.members[1].state, MEMBER_LEAVING);
    world_free(w);
}

Test(placement, what_a_member_says_of_itself_is_taken_over)
{
    struct world *w = world_with(MEMBER_ACTIVE);
    struct step step = step_now(w, STEP_CHANGE, 0, 2);
    strcpy(step.facts.url, "http://elsewhere:7480");
    cr_assert_null(try_step(w, step));
    cr_expect_str_eq(w->table.members[1].facts.url, "http://elsewhere:7480");
    cr_expect_eq(w->table.members[1].facts.weight, 200);
    cr_expect_eq(w->table.members[1].changed, w->table.epoch);
    world_free(w);
}

Test(placement, a_name_or_an_address_that_another_has_is_refused_until_that_one_leaves)
{
    struct world *w = world_with(MEMBER_ACTIVE);
    struct step join = step_now(w, STEP_JOIN, 0, 3);
    join.facts = facts_of(2, 100);
    cr_expect_not_null(try_step(w, join));
    struct step change = step_now(w, STEP_CHANGE, 0, 1);
    strcpy(change.facts.peer, w->table.members[1].facts.peer);
    cr_expect_not_null(try_step(w, change));
    world_apply(w, STEP_LEAVE, 0, 2);
    join.epoch = w->table.epoch;
    cr_expect_null(try_step(w, join));
    cr_expect_null(try_step(w, step_now(w, STEP_CHANGE, 0, 2)), "who leaves keeps its name");
    world_free(w);
}

Test(placement, facts_that_nobody_may_say_are_refused)
{
    struct world *w = world_with(MEMBER_ACTIVE);
    struct step join = step_now(w, STEP_JOIN, 0, 3), change = step_now(w, STEP_CHANGE, 0, 2);
    join.facts.weight = change.facts.weight = 0;
    cr_expect_not_null(try_step(w, join));
    cr_expect_not_null(try_step(w, change));
    cr_expect_not_null(try_step(w, step_now(w, STEP_JOIN, 0, 0)), "no member is number 0");
    world_free(w);
}

Test(placement, members_stand_in_the_order_of_their_ids_whatever_order_they_came_in)
{
    struct world *w = world_make(4, 3, 1);
    static const uint64_t IDS[] = {50, 7, UINT64_MAX, 20};
    for (unsigned i = 0; i < 4; i++) {
        world_join(w, IDS[i], 100);
    }
    static const uint64_t SORTED[] = {1, 7, 20, 50, UINT64_MAX};
    for (unsigned i = 0; i < 5; i++) {
        cr_expect_eq(w->table.members[i].id, SORTED[i]);
    }
    world_free(w);
}

Test(placement, there_are_no_more_members_than_a_set_can_hold)
{
    struct world *w = world_make(1, 1, 1);
    for (uint64_t id = 2; id <= MEMBERS_MAX; id++) {
        world_join(w, id, 100);
    }
    cr_expect_not_null(try_step(w, step_now(w, STEP_JOIN, 0, MEMBERS_MAX + 1)));
    world_free(w);
}

Test(placement, the_last_that_is_not_joining_or_leaving_does_not_leave)
{
    struct world *w = world_with(MEMBER_JOINING);
    cr_expect_not_null(try_step(w, step_now(w, STEP_LEAVE, 0, 1)));
    world_apply(w, STEP_UP, 0, 2);
    cr_expect_null(try_step(w, step_now(w, STEP_LEAVE, 0, 1)));
    cr_expect_not_null(try_step(w, step_now(w, STEP_LEAVE, 0, 2)));
    world_free(w);
}

Test(placement, who_is_to_leave_enough_behind_stays_where_too_few_would_be_left)
{
    struct world *w = world_make(4, 3, 1);
    for (uint64_t id = 2; id <= 4; id++) {
        world_join(w, id, 100);
        struct step leave = step_now(w, STEP_LEAVE, 0, 2);
        leave.enough = true;
        cr_expect_eq(try_step(w, leave) == NULL, id == 2, "a member that never came up may go");
        if (id == 2) {
            world_apply(w, STEP_DROP, 0, 2);
            world_join(w, id, 100);
        }
        world_apply(w, STEP_UP, 0, id);
    }
    struct step leave = step_now(w, STEP_LEAVE, 0, 2);
    leave.enough = true;
    world_apply(w, STEP_DOWN, 0, 4);
    leave.epoch = w->table.epoch;
    cr_expect_not_null(try_step(w, leave), "who is down cannot take anything over");
    world_apply(w, STEP_UP, 0, 4);
    leave.epoch = w->table.epoch;
    cr_expect_null(try_step(w, leave));
    world_free(w);
}

Test(placement, a_successor_is_another_member_that_is_active)
{
    struct world *w = world_with(MEMBER_ACTIVE);
    struct step leave = step_now(w, STEP_LEAVE, 0, 1);
    static const uint64_t WRONG[] = {1, 3, 4};
    world_join(w, 4, 100);
    leave.epoch = w->table.epoch;
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        leave.successor = WRONG[i];
        cr_expect_not_null(try_step(w, leave), "member %llu", (unsigned long long)WRONG[i]);
    }
    leave.successor = 2;
    cr_expect_null(try_step(w, leave));
    cr_expect_eq(w->table.members[0].successor, 2);
    world_free(w);
}

Test(placement, who_holds_a_replica_is_not_dropped)
{
    struct world *w = world_with(MEMBER_ACTIVE);
    world_apply(w, STEP_LEAVE, 0, 1);
    cr_expect_not_null(try_step(w, step_now(w, STEP_DROP, 0, 1)));
    world_free(w);
}

/* ---- replicas ----------------------------------------------------------------------------------------------------- */

/* Of member 2 in partition 0; the other replica is member 1's. */
enum place { PLACE_NONE, PLACE_LEARNER, PLACE_VOTER, PLACE_LEADER, PLACE_RETIRING, PLACES };

static enum place place_of(struct world *w)
{
    struct slot *slot = table_slot(&w->table.partitions[0], 2);
    return slot == NULL                         ? PLACE_NONE
           : slot->role == SLOT_LEARNER         ? PLACE_LEARNER
           : slot->role == SLOT_RETIRING        ? PLACE_RETIRING
           : w->table.partitions[0].leader == 2 ? PLACE_LEADER
                                                : PLACE_VOTER;
}

static struct world *world_placed(enum place place)
{
    struct world *w = world_with(MEMBER_ACTIVE);
    if (place != PLACE_NONE) {
        world_apply(w, STEP_ADD, 0, 2);
    }
    if (place >= PLACE_VOTER) {
        world_apply(w, STEP_PROMOTE, 0, 2);
    }
    if (place == PLACE_LEADER) {
        world_apply(w, STEP_LEAD, 0, 2);
    }
    if (place == PLACE_RETIRING) {
        w->table.partitions[0].slots[1].role = SLOT_RETIRING; /* a partition of two keeps both */
    }
    cr_assert_eq(place_of(w), place);
    return w;
}

Test(placement, every_state_of_a_replica_takes_the_steps_of_its_table_and_no_other)
{
    enum { REFUSED = PLACES };
    static const unsigned AFTER[PLACES][STEP_KINDS - STEP_ADD] = {
        [PLACE_NONE] = {PLACE_LEARNER, REFUSED, REFUSED, REFUSED, REFUSED},
        [PLACE_LEARNER] = {REFUSED, PLACE_VOTER, REFUSED, REFUSED, PLACE_NONE},
        [PLACE_VOTER] = {REFUSED, REFUSED, PLACE_LEADER, PLACE_RETIRING, REFUSED},
        [PLACE_LEADER] = {REFUSED, REFUSED, REFUSED, REFUSED, REFUSED},
        [PLACE_RETIRING] = {REFUSED, REFUSED, REFUSED, REFUSED, PLACE_NONE},
    };
    for (unsigned place = 0; place < PLACES; place++) {
        for (unsigned i = 0; i < STEP_KINDS - STEP_ADD; i++) {
            enum step_kind kind = (enum step_kind)(STEP_ADD + i);
            struct world *w = world_placed((enum place)place);
            const char *wrong = try_step(w, step_now(w, kind, 0, 2));
            unsigned expected = AFTER[place][i] == REFUSED ? place : AFTER[place][i];
            cr_expect_eq(wrong != NULL, AFTER[place][i] == REFUSED, "place %u, %s: %s", place,
                         step_kind_name(kind), wrong == NULL ? "fits" : wrong);
            cr_expect_eq(place_of(w), expected, "place %u, %s", place, step_kind_name(kind));
            world_free(w);
        }
    }
}

Test(placement, only_an_active_member_takes_a_replica_or_the_lead)
{
    static const unsigned STATES[] = {MEMBER_JOINING, MEMBER_DOWN, MEMBER_LEAVING, NONE};
    for (unsigned i = 0; i < 4; i++) {
        struct world *w = world_with(STATES[i]);
        cr_expect_not_null(try_step(w, step_now(w, STEP_ADD, 0, 2)), "state %u", STATES[i]);
        world_free(w);
    }
    struct world *w = world_placed(PLACE_VOTER);
    world_apply(w, STEP_DOWN, 0, 2);
    cr_expect_not_null(try_step(w, step_now(w, STEP_LEAD, 0, 2)));
    world_free(w);
}

Test(placement, one_replica_of_a_partition_is_on_its_way_at_a_time)
{
    struct world *w = world_placed(PLACE_LEARNER);
    world_join(w, 3, 100);
    world_apply(w, STEP_UP, 0, 3);
    cr_expect_not_null(try_step(w, step_now(w, STEP_ADD, 0, 3)), "beside a learner");
    world_apply(w, STEP_PROMOTE, 0, 2);
    world_apply(w, STEP_ADD, 0, 3);
    cr_expect_not_null(try_step(w, step_now(w, STEP_DEMOTE, 0, 2)), "beside a learner");
    world_free(w);
}

Test(placement, a_partition_has_at_most_one_replica_more_than_it_should)
{
    struct world *w = world_make(1, 1, 1);
    for (uint64_t id = 2; id <= 3; id++) {
        world_join(w, id, 100);
        world_apply(w, STEP_UP, 0, id);
    }
    world_apply(w, STEP_ADD, 0, 2);
    world_apply(w, STEP_PROMOTE, 0, 2);
    cr_expect_not_null(try_step(w, step_now(w, STEP_ADD, 0, 3)));
    world_free(w);
}

Test(placement, a_step_for_a_partition_or_a_kind_that_is_not_there_is_refused)
{
    struct world *w = world_with(MEMBER_ACTIVE);
    cr_expect_not_null(try_step(w, step_now(w, STEP_ADD, 4, 2)));
    cr_expect_not_null(try_step(w, step_now(w, STEP_ADD, UINT32_MAX, 2)));
    cr_expect_not_null(try_step(w, step_now(w, STEP_KINDS, 0, 2)));
    world_free(w);
}

/* ---- when it was made --------------------------------------------------------------------------------------------- */

Test(placement, a_step_takes_effect_once_and_only_on_what_its_maker_had_seen)
{
    struct world *w = world_placed(PLACE_VOTER);
    struct step to_two = step_now(w, STEP_LEAD, 0, 2), to_one = step_now(w, STEP_LEAD, 0, 1);
    struct step elsewhere = step_now(w, STEP_ADD, 1, 2);
    cr_expect_null(try_step(w, to_two));
    cr_expect_not_null(try_step(w, to_one), "it would fit, but it is older than what it is about");
    cr_expect_null(try_step(w, elsewhere), "another partition has not changed");
    cr_expect_not_null(try_step(w, elsewhere), "once");
    struct step down = step_now(w, STEP_DOWN, 0, 2), change = step_now(w, STEP_CHANGE, 0, 2);
    cr_expect_null(try_step(w, change));
    cr_expect_not_null(try_step(w, down));
    world_free(w);
}

Test(placement, a_step_from_the_future_and_a_last_epoch_are_refused)
{
    struct world *w = world_with(MEMBER_ACTIVE);
    struct step step = step_now(w, STEP_ADD, 0, 2);
    step.epoch++;
    cr_expect_not_null(try_step(w, step));
    w->table.epoch = VERSION_MAX;
    cr_expect_not_null(try_step(w, step_now(w, STEP_ADD, 0, 2)));
    world_free(w);
}
