/* Deadlocks: which waits are refused because they would close a cycle of owners, and which are not. */
#include "tests/unit/lock_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* The owner's lease on a lock is named as the owner. */
static struct result hold(struct fixture *f, const char *owner, const char *lock)
{
    return acquire(f, (struct ask){.name = lock, .lease = owner, .owner = owner});
}
static struct result wait_for(struct fixture *f, const char *owner, const char *lock)
{
    return acquire(f,
                   (struct ask){.name = lock, .lease = owner, .owner = owner, .wait_ms = WAIT_MS});
}

/* cycle: "ada waits for l2 that bob …" as "ada l2, bob l1" */
static void expect_cycle(const struct result *result, const char *cycle)
{
    char got[256] = "";
    size_t len = 0;
    cr_assert_eq(result->status, STATUS_DEADLOCK, "got %s", status_info(result->status)->name);
    cr_assert_eq(result->shape, SHAPE_CYCLE);
    for (size_t i = 0; i < result->cycle.count; i++) {
        const struct cycle_edge *edge = &result->cycle.at[i];
        len += (size_t)snprintf(got + len, sizeof got - len, "%s%.*s %.*s", i == 0 ? "" : ", ",
                                (int)edge->owner.len, edge->owner.at, (int)edge->lock.len,
                                edge->lock.at);
    }
    cr_expect_str_eq(got, cycle);
}

Test(deadlock, two_owners_that_want_each_others_lock)
{
    struct fixture f;
    fixture_open(&f);
    hold(&f, "ada", "l1");
    hold(&f, "bob", "l2");
    expect_status(wait_for(&f, "bob", "l1"), STATUS_WAITING);
    uint64_t before = machine_hash(f.machine);
    struct result result = wait_for(&f, "ada", "l2");
    expect_cycle(&result, "ada l2, bob l1");
    cr_expect_eq(machine_hash(f.machine), before);
    fixture_close(&f);
}

Test(deadlock, a_cycle_of_many)
{
    struct fixture f;
    fixture_open(&f);
    hold(&f, "ada", "l1");
    hold(&f, "bob", "l2");
    hold(&f, "cyd", "l3");
    hold(&f, "dan", "l4");
    wait_for(&f, "bob", "l1");
    wait_for(&f, "cyd", "l2");
    wait_for(&f, "dan", "l3");
    struct result result = wait_for(&f, "ada", "l4");
    expect_cycle(&result, "ada l4, dan l3, cyd l2, bob l1");
    fixture_close(&f);
}

Test(deadlock, who_does_not_wait_is_told_that_the_lock_is_held)
{
    struct fixture f;
    fixture_open(&f);
    hold(&f, "ada", "l1");
    hold(&f, "bob", "l2");
    wait_for(&f, "bob", "l1");
    expect_status(hold(&f, "ada", "l2"), STATUS_LOCK_HELD);
    fixture_close(&f);
}

Test(deadlock, a_chain_that_leads_nowhere_is_none)
{
    struct fixture f;
    fixture_open(&f);
    hold(&f, "ada", "l1");
    hold(&f, "bob", "l2");
    hold(&f, "cyd", "l3");
    expect_status(wait_for(&f, "bob", "l1"), STATUS_WAITING);
    expect_status(wait_for(&f, "cyd", "l2"), STATUS_WAITING);
    expect_status(wait_for(&f, "dan", "l3"), STATUS_WAITING);
    expect_status(wait_for(&f, "dan", "l1"), STATUS_WAITING);
    fixture_close(&f);
}

Test(deadlock, an_owner_that_waits_for_itself_is_none)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l1", "w1", "ada");
    expect_status(ACQUIRE(&f, "l1", "w2", "ada", .wait_ms = WAIT_MS), STATUS_WAITING);
    fixture_close(&f);
}

Test(deadlock, workers_of_two_owners_taking_turns_on_one_lock_are_none)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l1", "a1", "ada");
    expect_status(ACQUIRE(&f, "l1", "b1", "bob", .wait_ms = WAIT_MS), STATUS_WAITING);
    expect_status(ACQUIRE(&f, "l1", "a2", "ada", .wait_ms = WAIT_MS), STATUS_WAITING);
    expect_status(ACQUIRE(&f, "l1", "b2", "bob", .wait_ms = WAIT_MS), STATUS_WAITING);
    fixture_close(&f);
}

Test(deadlock, those_before_it_in_line_are_waited_for_too)
{
    struct fixture f;
    fixture_open(&f);
    hold(&f, "ada", "l1");
    hold(&f, "dan", "l2");
    wait_for(&f, "bob", "l2");
    wait_for(&f, "bob", "l1"); /* bob waits for two locks at once */
    struct result result = wait_for(&f, "ada", "l2");
    expect_cycle(&result, "ada l2, bob l1");
    fixture_close(&f);
}

Test(deadlock, who_stands_in_a_line_twice_waits_for_those_between_too)
{
    struct fixture f;
    fixture_open(&f);
    hold(&f, "hub", "l1");
    hold(&f, "dan", "l2");
    wait_for(&f, "bob", "l1");
    wait_for(&f, "dan", "l1");
    wait_for(&f, "ada", "l1");
    expect_status(ACQUIRE(&f, "l1", "again", "bob", .wait_ms = WAIT_MS), STATUS_WAITING);
    struct result result = wait_for(&f, "ada", "l2");
    expect_cycle(&result, "ada l2, dan l1, bob l1");
    fixture_close(&f);
}

Test(deadlock, a_holder_that_stands_in_line_again_waits_for_those_between_too)
{
    struct fixture f;
    fixture_open(&f);
    hold(&f, "hub", "l1");
    hold(&f, "dan", "l2");
    expect_status(wait_for(&f, "dan", "l1"), STATUS_WAITING);
    expect_status(wait_for(&f, "ada", "l1"), STATUS_WAITING);
    expect_status(ACQUIRE(&f, "l1", "again", "hub", .wait_ms = WAIT_MS), STATUS_WAITING);
    struct result result = wait_for(&f, "ada", "l2"); /* hub holds l1, and waits behind ada */
    expect_cycle(&result, "ada l2, dan l1, hub l1");
    fixture_close(&f);
}

Test(deadlock, readers_beside_a_reader_wait_for_nobody_but_behind_a_writer_they_do)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l1", "ada", "ada", .mode = LEASE_SHARED);
    ACQUIRE(&f, "l1", "bob", "bob", .mode = LEASE_SHARED);
    hold(&f, "cyd", "l2");
    wait_for(&f, "bob", "l2"); /* bob reads l1 and waits for cyd */
    wait_for(&f, "dan", "l1"); /* dan would write l1, behind both readers */
    struct result result = ACQUIRE(&f, "l1", "cyd", "cyd", .mode = LEASE_SHARED, .wait_ms = 1000);
    expect_cycle(&result, "cyd l1, bob l2"); /* behind dan, who waits for bob */
    fixture_close(&f);
}

Test(deadlock, one_of_several_permits_may_come_free_elsewhere)
{
    struct fixture f;
    fixture_open(&f);
    put_lock(&f, "l1", 2, 0);
    hold(&f, "bob", "l1");
    hold(&f, "cyd", "l1");
    hold(&f, "ada", "l2");
    wait_for(&f, "bob", "l2");
    expect_status(wait_for(&f, "ada", "l1"), STATUS_WAITING); /* cyd may let go */
    fixture_close(&f);
}

Test(deadlock, who_needs_all_permits_waits_for_every_holder)
{
    struct fixture f;
    fixture_open(&f);
    put_lock(&f, "l1", 2, 0);
    hold(&f, "bob", "l1");
    hold(&f, "cyd", "l1");
    hold(&f, "ada", "l2");
    wait_for(&f, "bob", "l2");
    struct result result = ACQUIRE(&f, "l1", "ada", "ada", .permits = 2, .wait_ms = WAIT_MS);
    expect_cycle(&result, "ada l1, bob l2");
    fixture_close(&f);
}

Test(deadlock, an_owner_of_all_permits_is_waited_for)
{
    struct fixture f;
    fixture_open(&f);
    put_lock(&f, "l1", 2, 0);
    ACQUIRE(&f, "l1", "b1", "bob");
    ACQUIRE(&f, "l1", "b2", "bob");
    hold(&f, "ada", "l2");
    wait_for(&f, "bob", "l2");
    struct result result = wait_for(&f, "ada", "l1");
    expect_cycle(&result, "ada l1, bob l2");
    fixture_close(&f);
}

Test(deadlock, a_wait_that_is_over_leads_nowhere)
{
    struct fixture f;
    fixture_open(&f);
    hold(&f, "ada", "l1");
    hold(&f, "bob", "l2");
    wait_for(&f, "bob", "l1");
    fixture_pass(&f, WAIT_MS); /* no TICK has run */
    expect_status(wait_for(&f, "ada", "l2"), STATUS_WAITING);
    fixture_close(&f);
}

static struct result wait_for_set(struct fixture *f, const char *owner, const char *a,
                                  const char *b)
{
    struct lock_set_member members[] = {{text_of(a), LEASE_EXCLUSIVE, 1},
                                        {text_of(b), LEASE_EXCLUSIVE, 1}};
    return fixture_do(f, (struct command){.kind = COMMAND_LOCK_SET_ACQUIRE,
                                          .lock_set_acquire = {.lease = text_of(owner),
                                                               .owner = text_of(owner),
                                                               .metadata = TEXT("{}"),
                                                               .ttl_ms = TTL_MS,
                                                               .wait_ms = WAIT_MS,
                                                               .lock_delay_ms = ABSENT,
                                                               .locks = {members, 2},
                                                               .condition = UNCONDITIONAL}});
}

Test(deadlock, a_set_waits_for_the_holders_of_all_its_locks)
{
    struct fixture f;
    fixture_open(&f);
    hold(&f, "ada", "l~1");
    hold(&f, "bob", "l~2");
    wait_for(&f, "bob", "l~1");
    struct result result = wait_for_set(&f, "ada", "l~3", "l~2");
    expect_cycle(&result, "ada l~2, bob l~1");
    fixture_close(&f);
}

Test(deadlock, behind_a_waiting_set_one_waits_for_what_the_set_waits_for)
{
    struct fixture f;
    fixture_open(&f);
    hold(&f, "ada", "l~1");
    expect_status(wait_for_set(&f, "bob", "l~1", "l~2"), STATUS_WAITING);
    struct result result = wait_for(&f, "ada", "l~2"); /* free, but bob's set is first in line */
    expect_cycle(&result, "ada l~2, bob l~1");
    fixture_close(&f);
}

Test(deadlock, workers_taking_turns_on_one_set_are_none)
{
    struct fixture f;
    fixture_open(&f);
    hold(&f, "ada", "l~1");
    expect_status(wait_for_set(&f, "bob", "l~1", "l~2"), STATUS_WAITING);
    release(&f, "l~1", "ada");
    fixture_do(&f, (struct command){.kind = COMMAND_LEASE_COLLECT,
                                    .lease_collect = {TEXT("l~1"), TEXT("bob")}});
    expect_status(wait_for_set(&f, "cyd", "l~1", "l~2"), STATUS_WAITING);
    struct lock_set_member members[] = {{TEXT("l~1"), LEASE_EXCLUSIVE, 1},
                                        {TEXT("l~2"), LEASE_EXCLUSIVE, 1}};
    struct result result =
        fixture_do(&f, (struct command){.kind = COMMAND_LOCK_SET_ACQUIRE,
                                        .lock_set_acquire = {.lease = TEXT("bob2"),
                                                             .owner = TEXT("bob"),
                                                             .metadata = TEXT("{}"),
                                                             .ttl_ms = TTL_MS,
                                                             .wait_ms = WAIT_MS,
                                                             .lock_delay_ms = ABSENT,
                                                             .locks = {members, 2},
                                                             .condition = UNCONDITIONAL}});
    expect_status(result, STATUS_WAITING);
    fixture_close(&f);
}

Test(deadlock, the_search_is_bounded)
{
    struct fixture f;
    char owner[16], lock[16];
    enum { LONG = DEADLOCK_SEARCH_MAX };
    fixture_open(&f);
    for (int i = 0; i <= LONG; i++) {
        snprintf(owner, sizeof owner, "o%d", i);
        snprintf(lock, sizeof lock, "l%d", i);
        hold(&f, owner, lock);
        if (i > 0) { /* each waits for the one before */
            snprintf(lock, sizeof lock, "l%d", i - 1);
            cr_assert_eq(wait_for(&f, owner, lock).status, STATUS_WAITING);
        }
    }
    struct result result = wait_for(&f, "o0", lock); /* a cycle, but too long to be found */
    expect_status(result, STATUS_WAITING);
    fixture_close(&f);
}
