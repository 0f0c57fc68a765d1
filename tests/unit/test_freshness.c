/* How fresh a replica is that does not lead, and by which clock it is read. Times are made up. */
#include "db/limits.h"
#include "service/cluster/freshness.h"

#include <criterion/criterion.h>

static struct pulse pulse(int64_t applied, int64_t wall_ms, int64_t lease_ms)
{
    return (struct pulse){.applied = applied, .now = {wall_ms, lease_ms}};
}

static void is_as_of(const struct freshness *freshness, int64_t us)
{
    cr_expect(freshness->known);
    cr_expect_eq(freshness->as_of_us, us, "%lld", (long long)freshness->as_of_us);
}

/* ---- since when --------------------------------------------------------------------------------------------------- */

Test(freshness, nothing_is_known_before_the_leader_was_heard)
{
    struct freshness freshness = {0};
    freshness_apply(&freshness, 100);
    cr_expect_not(freshness.known);
}

Test(freshness, a_replica_that_has_the_leaders_entry_is_as_fresh_as_the_question)
{
    struct freshness freshness = {0};
    struct pulse p = pulse(7, 1, 1);
    freshness_hear(&freshness, &p, 500, 7);
    is_as_of(&freshness, 500);
    freshness_hear(&freshness, &p, 900, 9); /* has more: from after the answer */
    is_as_of(&freshness, 900);
}

Test(freshness, a_replica_that_is_behind_is_so_fresh_once_it_has_the_entry)
{
    struct freshness freshness = {0};
    struct pulse p = pulse(7, 1, 1);
    freshness_hear(&freshness, &p, 500, 6);
    cr_expect_not(freshness.known);
    freshness_apply(&freshness, 7);
    is_as_of(&freshness, 500);
}

Test(freshness, a_replica_that_stays_behind_comes_to_what_it_heard_first)
{
    struct freshness freshness = {0};
    for (int64_t i = 0; i < 100; i++) {
        struct pulse p = pulse(10 + 10 * i, 1, 1);
        freshness_hear(&freshness, &p, 1000 + i, 5 + 10 * i);
    }
    cr_expect(freshness.known);
    cr_expect_geq(freshness.as_of_us, 1097);
}

Test(freshness, a_late_answer_makes_nothing_older)
{
    struct freshness freshness = {0};
    struct pulse p = pulse(7, 50, 50), late = pulse(3, 20, 20);
    freshness_hear(&freshness, &p, 500, 7);
    freshness_hear(&freshness, &late, 400, 7);
    is_as_of(&freshness, 500);
    cr_expect_eq(freshness.clock.now_ms, 50);
}

Test(freshness, who_has_led_is_as_fresh_as_its_last_proof_of_it)
{
    struct freshness freshness = {0};
    struct pulse p = pulse(9, 1, 1);
    freshness_hear(&freshness, &p, 300, 5); /* an entry of somebody who leads no more */
    freshness_lead(&freshness, 500);
    freshness_lead(&freshness, 450); /* batches end in any order */
    is_as_of(&freshness, 500);
    freshness_apply(&freshness, 9);
    is_as_of(&freshness, 500);
}

/* ---- the clock ---------------------------------------------------------------------------------------------------- */

static void reads_by(const struct freshness *freshness, struct due due, int64_t wall_ms,
                     int64_t lease_ms)
{
    struct stamp now = freshness_clock(freshness, (struct stamp){100, 10}, due);
    cr_expect_eq(now.now_ms, wall_ms, "%lld", (long long)now.now_ms);
    cr_expect_eq(now.lease_now_ms, lease_ms, "%lld", (long long)now.lease_now_ms);
}

Test(freshness, without_a_leader_it_is_as_late_as_the_state_has_seen)
{
    struct freshness freshness = {0};
    reads_by(&freshness, DUE_NEVER, 100, 10);
}

Test(freshness, it_is_as_late_as_the_leader_said)
{
    struct freshness freshness = {0};
    struct pulse p = pulse(7, 5000, 4000);
    freshness_hear(&freshness, &p, 500, 7);
    reads_by(&freshness, DUE_NEVER, 5000, 4000);
    reads_by(&freshness, (struct due){5001, 4001}, 5000, 4000);
}

Test(freshness, nothing_is_over_before_an_entry_says_so)
{
    struct freshness freshness = {0};
    struct pulse p = pulse(7, 5000, 4000);
    freshness_hear(&freshness, &p, 500, 7);
    reads_by(&freshness, (struct due){INT64_MAX, 4000}, 5000, 3999);
    reads_by(&freshness, (struct due){3000, 2000}, 2999, 1999);
    reads_by(&freshness, (struct due){0, 0}, 100, 10); /* not known: the state's own time */
}

Test(freshness, what_a_clock_said_that_went_on_elsewhere_is_forgotten)
{
    struct freshness freshness = {0};
    struct pulse p = pulse(7, 5000, 4000);
    freshness_hear(&freshness, &p, 500, 7);
    freshness_lead(&freshness, 600);
    reads_by(&freshness, DUE_NEVER, 100, 10);
}

/* ---- bytes -------------------------------------------------------------------------------------------------------- */

Test(freshness, pulses_are_read_as_they_were_written)
{
    struct arena arena = ARENA_EMPTY;
    struct pulse at[] = {{3, 70, {INT64_MAX, 5}}, {PARTITIONS_MAX - 1, INT64_MAX, {0, 0}}};
    struct pulses back, none = {0, NULL}, pulses = {2, at};
    cr_assert(pulses_decode(pulses_encode(&pulses, &arena), &arena, &back));
    cr_assert_eq(back.count, 2);
    for (size_t i = 0; i < 2; i++) {
        cr_expect_eq(back.at[i].partition, at[i].partition);
        cr_expect_eq(back.at[i].applied, at[i].applied);
        cr_expect_eq(back.at[i].now.now_ms, at[i].now.now_ms);
        cr_expect_eq(back.at[i].now.lease_now_ms, at[i].now.lease_now_ms);
    }
    cr_expect(pulses_decode(pulses_encode(&none, &arena), &arena, &back) && back.count == 0);
    arena_free(&arena);
}

Test(freshness, what_is_no_pulses_is_refused)
{
    struct arena arena = ARENA_EMPTY;
    struct pulse at[] = {{3, 70, {8, 5}}};
    struct pulses back, pulses = {1, at};
    struct text good = pulses_encode(&pulses, &arena);
    for (size_t len = 0; len < good.len; len++) {
        cr_expect_not(pulses_decode((struct text){good.at, len}, &arena, &back), "%zu", len);
    }
    for (size_t i = 0; i < good.len;
         i++) { /* a version, a count, a partition, or a sign too high */
        struct text copy = arena_copy(&arena, good);
        ((char *)(uintptr_t)copy.at)[i] = (char)0xff;
        bool high = i < 5 + 3 || i == 9 || i == 17 || i == 25;
        cr_expect_eq(pulses_decode(copy, &arena, &back), !high, "byte %zu", i);
    }
    struct pulse bad[] = {{PARTITIONS_MAX, 70, {8, 5}}};
    pulses.at = bad;
    cr_expect_not(pulses_decode(pulses_encode(&pulses, &arena), &arena, &back));
    arena_free(&arena);
}
