/* Locks as a whole: fences, the waiting line, readers and writers, semaphores, lock-delay, breaking, listing. */
#include "tests/unit/lock_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

static int64_t due_in(const struct fixture *f)
{
    return machine_due(f->machine).lease_ms - f->now.lease_now_ms;
}

/* ---- looking ------------------------------------------------------------------------------------------------------ */

Test(locks, a_lock_that_was_never_used_is_there_to_be_seen)
{
    struct fixture f;
    fixture_open(&f);
    struct result result = get_lock(&f, "never");
    expect_status(result, STATUS_OK);
    cr_expect_eq(result.shape, SHAPE_LOCK);
    expect_text(result.lock.name, "never");
    cr_expect_eq(result.lock.limit, 1);
    cr_expect_eq(result.lock.version, 0);
    cr_expect_eq(result.lock.fence, 0);
    cr_expect_eq(result.lock.holders.count, 0);
    cr_expect_eq(machine_counters(f.machine).locks, 0);
    fixture_close(&f);
}

Test(locks, a_lock_shows_its_holders_and_its_line_in_order)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "z", "ada");
    ACQUIRE(&f, "l", "y", "bob", .wait_ms = WAIT_MS);
    ACQUIRE(&f, "l", "a", "cyd", .wait_ms = WAIT_MS, .mode = LEASE_SHARED);
    struct lock_view lock = get_lock(&f, "l").lock;
    cr_assert_eq(lock.holders.count, 1);
    cr_assert_eq(lock.waiters.count, 2);
    expect_text(lock.holders.at[0].lease, "z");
    expect_text(lock.waiters.at[0].lease, "y");
    expect_text(lock.waiters.at[1].lease, "a");
    cr_expect_eq(lock.waiters.at[1].position, 1);
    cr_expect_eq(lock.fence, lock.holders.at[0].fence);
    fixture_close(&f);
}

Test(locks, what_time_has_ended_is_not_shown_even_before_a_tick)
{
    struct fixture f;
    fixture_open(&f);
    put_lock(&f, "l", 1, 2000);
    ACQUIRE(&f, "l", "a", "ada", .ttl_ms = 1000);
    ACQUIRE(&f, "l", "b", "bob", .wait_ms = 1000);
    fixture_pass(&f, 1500);
    struct lock_view lock = get_lock(&f, "l").lock;
    cr_expect_eq(lock.holders.count + lock.waiters.count, 0);
    cr_expect_eq(lock.holder_count + lock.waiter_count, 0);
    cr_expect_eq(lock.delayed_for_ms, 1500, "the lost holder's lock-delay runs from its end");
    fixture_close(&f);
}

Test(locks, no_more_than_a_bounded_number_of_holders_is_shown_but_all_are_counted)
{
    struct fixture f;
    char id[16];
    fixture_open(&f);
    for (int i = 0; i < LOCK_HOLDERS_SHOWN + 1; i++) {
        snprintf(id, sizeof id, "r%d", i);
        ACQUIRE(&f, "l", id, id, .mode = LEASE_SHARED);
    }
    struct lock_view lock = get_lock(&f, "l").lock;
    cr_expect_eq(lock.holders.count, LOCK_HOLDERS_SHOWN);
    cr_expect_eq(lock.holder_count, LOCK_HOLDERS_SHOWN + 1);
    fixture_close(&f);
}

/* ---- fences ------------------------------------------------------------------------------------------------------- */

static struct result check_fence(struct fixture *f, const char *name, int64_t fence)
{
    return fixture_read(
        f, (struct command){.kind = COMMAND_FENCE_CHECK, .fence_check = {text_of(name), fence}});
}

Test(locks, a_fence_grows_with_every_grant_of_any_lock)
{
    struct fixture f;
    int64_t last = 0;
    fixture_open(&f);
    for (int i = 0; i < 10; i++) {
        char id[16];
        snprintf(id, sizeof id, "a%d", i);
        const char *name = i % 2 == 0 ? "even" : "odd";
        int64_t fence = ACQUIRE(&f, name, id, "ada").lease.fence;
        cr_expect_gt(fence, last);
        last = fence;
        release(&f, name, id);
    }
    fixture_close(&f);
}

Test(locks, a_fence_outlives_restart_and_the_lock_itself)
{
    struct fixture f;
    fixture_open(&f);
    int64_t fence = ACQUIRE(&f, "l", "a", "ada").lease.fence;
    int64_t version = get_lock(&f, "l").lock.version;
    fixture_reopen(&f);
    fixture_pass(&f, 3 * DAY_MS);
    fixture_tick(&f);
    fixture_pass(&f, 3 * DAY_MS);
    fixture_tick(&f);
    cr_expect_eq(machine_counters(f.machine).locks, 0);
    cr_expect_eq(get_lock(&f, "l").lock.version, 0);
    cr_expect_gt(ACQUIRE(&f, "l", "b", "bob").lease.fence, fence);
    cr_expect_gt(get_lock(&f, "l").lock.version, version);
    fixture_close(&f);
}

Test(locks, only_the_newest_grants_fence_passes)
{
    struct fixture f;
    fixture_open(&f);
    expect_status(check_fence(&f, "l", 1), STATUS_STALE_FENCE);
    int64_t first = ACQUIRE(&f, "l", "a", "ada").lease.fence;
    expect_status(check_fence(&f, "l", first), STATUS_OK);
    release(&f, "l", "a");
    expect_status(check_fence(&f, "l", first), STATUS_OK);
    int64_t second = ACQUIRE(&f, "l", "b", "bob").lease.fence;
    struct result stale = check_fence(&f, "l", first);
    expect_status(stale, STATUS_STALE_FENCE);
    cr_expect_eq(stale.version, second);
    expect_status(check_fence(&f, "l", second + 1), STATUS_STALE_FENCE);
    fixture_close(&f);
}

/* ---- the line ----------------------------------------------------------------------------------------------------- */

Test(locks, the_line_is_served_in_the_order_it_formed)
{
    struct fixture f;
    static const char *const IDS[] = {"q", "c", "x", "a", "m"};
    fixture_open(&f);
    ACQUIRE(&f, "l", "first", "first", .ttl_ms = HOUR_MS);
    for (size_t i = 0; i < 5; i++) {
        struct result result = ACQUIRE(&f, "l", IDS[i], IDS[i], .wait_ms = WAIT_MS);
        expect_status(result, STATUS_WAITING);
        cr_expect_eq(result.lease.position, (int64_t)i);
    }
    release(&f, "l", "first");
    for (size_t i = 0; i < 5; i++) {
        cr_expect(is_held(&f, "l", IDS[i]), "%s is not served in its turn", IDS[i]);
        cr_expect(i == 4 || is_waiting(&f, "l", IDS[i + 1]));
        collect(&f, "l", IDS[i]);
        release(&f, "l", IDS[i]);
    }
    fixture_close(&f);
}

Test(locks, the_line_outlives_a_restart)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada");
    ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS);
    ACQUIRE(&f, "l", "c", "cyd", .wait_ms = WAIT_MS);
    fixture_reopen(&f);
    expect_status(ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS), STATUS_WAITING);
    release(&f, "l", "a");
    cr_expect(is_held(&f, "l", "b"));
    cr_expect(is_waiting(&f, "l", "c"));
    fixture_close(&f);
}

Test(locks, nobody_overtakes_the_line_not_even_for_a_moment)
{
    struct fixture f;
    fixture_open(&f);
    put_lock(&f, "l", 2, 0);
    ACQUIRE(&f, "l", "a", "ada");
    ACQUIRE(&f, "l", "b", "bob", .permits = 2, .wait_ms = WAIT_MS);
    expect_status(ACQUIRE(&f, "l", "c", "cyd"), STATUS_LOCK_HELD); /* one permit is free */
    fixture_close(&f);
}

Test(locks, a_waiter_that_gives_up_lets_those_behind_it_go_on)
{
    struct fixture f;
    fixture_open(&f);
    put_lock(&f, "l", 2, 0);
    ACQUIRE(&f, "l", "a", "ada");
    ACQUIRE(&f, "l", "b", "bob", .permits = 2, .wait_ms = WAIT_MS);
    ACQUIRE(&f, "l", "c", "cyd", .wait_ms = WAIT_MS);
    release(&f, "l", "b");
    cr_expect(is_held(&f, "l", "c"));
    fixture_close(&f);
}

Test(locks, a_full_line_takes_nobody_more)
{
    struct fixture f;
    char id[16];
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada", .ttl_ms = HOUR_MS);
    struct result result;
    machine_begin(f.machine, &f.arena);
    for (int i = 0; i < LOCK_WAITERS_MAX; i++) {
        snprintf(id, sizeof id, "w%d", i);
        struct command command = acquire_command(
            (struct ask){.name = "l", .lease = id, .owner = "same", .wait_ms = HOUR_MS});
        command.stamp = f.now;
        machine_apply(f.machine, &command, &f.arena, &result);
        cr_assert_eq(result.status, STATUS_WAITING);
    }
    cr_assert_eq(machine_commit(f.machine, &f.events), STATUS_OK);
    expect_status(ACQUIRE(&f, "l", "last", "bob", .wait_ms = WAIT_MS), STATUS_TOO_MANY_WAITERS);
    expect_status(ACQUIRE(&f, "l", "w0", "same", .wait_ms = WAIT_MS), STATUS_WAITING);
    fixture_close(&f);
}

Test(locks, a_long_run_of_grants_is_spread_over_ticks)
{
    struct fixture f;
    char id[16];
    enum { READERS = 3 * LINE_STEPS_MAX };
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada");
    for (int i = 0; i < READERS; i++) {
        snprintf(id, sizeof id, "r%d", i);
        ACQUIRE(&f, "l", id, id, .wait_ms = WAIT_MS, .mode = LEASE_SHARED);
    }
    fixture_pass(&f, 1);
    release(&f, "l", "a");
    cr_expect_eq(machine_counters(f.machine).held, LINE_STEPS_MAX);
    expect_status(ACQUIRE(&f, "l", "late", "late", .mode = LEASE_SHARED), STATUS_LOCK_HELD);
    cr_expect_leq(due_in(&f), 0);
    fixture_tick(&f);
    cr_expect_eq(machine_counters(f.machine).held, READERS);
    cr_expect_eq(get_lock(&f, "l").lock.delayed_for_ms, 0);
    fixture_close(&f);
}

/* ---- readers, writers, permits ------------------------------------------------------------------------------------ */

Test(locks, readers_share_and_a_writer_holds_alone)
{
    struct fixture f;
    fixture_open(&f);
    expect_status(ACQUIRE(&f, "l", "r1", "ada", .mode = LEASE_SHARED), STATUS_CREATED);
    expect_status(ACQUIRE(&f, "l", "r2", "bob", .mode = LEASE_SHARED), STATUS_CREATED);
    expect_status(ACQUIRE(&f, "l", "w", "cyd"), STATUS_LOCK_HELD);
    release(&f, "l", "r1");
    expect_status(ACQUIRE(&f, "l", "w", "cyd"), STATUS_LOCK_HELD);
    release(&f, "l", "r2");
    expect_status(ACQUIRE(&f, "l", "w", "cyd"), STATUS_CREATED);
    expect_status(ACQUIRE(&f, "l", "r3", "ada", .mode = LEASE_SHARED), STATUS_LOCK_HELD);
    fixture_close(&f);
}

Test(locks, a_waiting_writer_is_not_starved_and_readers_behind_it_go_together)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "r1", "ada", .mode = LEASE_SHARED);
    ACQUIRE(&f, "l", "w", "bob", .wait_ms = WAIT_MS);
    expect_status(ACQUIRE(&f, "l", "r2", "cyd", .mode = LEASE_SHARED, .wait_ms = WAIT_MS),
                  STATUS_WAITING);
    ACQUIRE(&f, "l", "r3", "dan", .mode = LEASE_SHARED, .wait_ms = WAIT_MS);
    ACQUIRE(&f, "l", "w2", "eve", .wait_ms = WAIT_MS);
    release(&f, "l", "r1");
    cr_expect(is_held(&f, "l", "w") && is_waiting(&f, "l", "r2"));
    release(&f, "l", "w");
    cr_expect(is_held(&f, "l", "r2") && is_held(&f, "l", "r3") && is_waiting(&f, "l", "w2"));
    fixture_close(&f);
}

Test(locks, a_semaphore_gives_out_as_many_permits_as_it_has)
{
    struct fixture f;
    fixture_open(&f);
    put_lock(&f, "l", 3, 0);
    expect_status(ACQUIRE(&f, "l", "a", "ada", .permits = 2), STATUS_CREATED);
    expect_status(ACQUIRE(&f, "l", "b", "bob", .permits = 2), STATUS_LOCK_HELD);
    expect_status(ACQUIRE(&f, "l", "b", "bob"), STATUS_CREATED);
    expect_status(ACQUIRE(&f, "l", "c", "cyd"), STATUS_LOCK_HELD);
    release(&f, "l", "a");
    expect_status(ACQUIRE(&f, "l", "c", "cyd", .permits = 2), STATUS_CREATED);
    fixture_close(&f);
}

Test(locks, a_raised_limit_serves_the_line_and_a_lowered_one_takes_nothing_away)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada");
    ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS);
    expect_status(put_lock(&f, "l", 2, 0), STATUS_CREATED);
    cr_expect(is_held(&f, "l", "b"));
    expect_status(put_lock(&f, "l", 1, 0), STATUS_OK);
    cr_expect(is_held(&f, "l", "a") && is_held(&f, "l", "b"));
    release(&f, "l", "a");
    expect_status(ACQUIRE(&f, "l", "c", "cyd"), STATUS_LOCK_HELD);
    fixture_close(&f);
}

Test(locks, a_waiter_that_wants_more_than_a_lowered_limit_does_not_block_the_line)
{
    struct fixture f;
    fixture_open(&f);
    put_lock(&f, "l", 3, 0);
    ACQUIRE(&f, "l", "a", "ada", .permits = 2);
    ACQUIRE(&f, "l", "b", "bob", .permits = 3, .wait_ms = WAIT_MS);
    ACQUIRE(&f, "l", "c", "cyd", .wait_ms = WAIT_MS);
    put_lock(&f, "l", 2, 0);
    expect_status(get_lease(&f, "l", "b"), STATUS_LEASE_NOT_FOUND);
    release(&f, "l", "a");
    cr_expect(is_held(&f, "l", "c"));
    fixture_close(&f);
}

/* ---- configuring -------------------------------------------------------------------------------------------------- */

static struct result put_if(struct fixture *f, int64_t limit, struct condition condition)
{
    return fixture_do(f, (struct command){.kind = COMMAND_LOCK_PUT,
                                          .lock_put = {TEXT("l"), limit, 0, condition}});
}

Test(locks, a_lock_is_made_by_its_first_configuration_and_changed_by_the_next)
{
    struct fixture f;
    fixture_open(&f);
    struct result made = put_lock(&f, "l", 2, 500);
    expect_status(made, STATUS_CREATED);
    cr_expect_eq(made.lock.limit, 2);
    cr_expect_eq(made.lock.lock_delay_ms, 500);
    struct result same = put_lock(&f, "l", 2, 500);
    expect_status(same, STATUS_OK);
    cr_expect_eq(same.lock.version, made.lock.version, "nothing has changed");
    cr_expect_gt(put_lock(&f, "l", 3, 500).lock.version, made.lock.version);
    fixture_close(&f);
}

Test(locks, a_configuration_can_depend_on_the_version)
{
    struct fixture f;
    fixture_open(&f);
    expect_status(put_if(&f, 2, (struct condition){7, false}), STATUS_VERSION_MISMATCH);
    expect_status(put_if(&f, 2, (struct condition){IF_MATCH_ANY, false}), STATUS_VERSION_MISMATCH);
    struct result made = put_if(&f, 2, (struct condition){0, false});
    expect_status(made, STATUS_CREATED);
    struct result stale = put_if(&f, 3, (struct condition){made.lock.version - 1, false});
    expect_status(stale, STATUS_VERSION_MISMATCH);
    cr_expect_eq(stale.version, made.lock.version);
    expect_status(put_if(&f, 3, (struct condition){made.lock.version, false}), STATUS_OK);
    expect_status(put_if(&f, 4, (struct condition){ABSENT, true}), STATUS_VERSION_MISMATCH);
    expect_status(put_if(&f, 4, (struct condition){IF_MATCH_ANY, false}), STATUS_OK);
    fixture_close(&f);
}

Test(locks, a_used_lock_counts_as_new_until_it_is_configured)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada");
    expect_status(put_if(&f, 2, (struct condition){ABSENT, true}), STATUS_CREATED);
    fixture_close(&f);
}

/* ---- lock-delay --------------------------------------------------------------------------------------------------- */

Test(locks, a_lost_holder_keeps_the_lock_closed_for_the_lock_delay)
{
    struct fixture f;
    fixture_open(&f);
    put_lock(&f, "l", 1, 5000);
    ACQUIRE(&f, "l", "a", "ada");
    fixture_pass(&f, TTL_MS);
    struct result refused = ACQUIRE(&f, "l", "b", "bob");
    expect_status(refused, STATUS_LOCK_HELD);
    cr_expect_eq(refused.refusal.lock.delayed_for_ms, 5000);
    cr_expect_eq(refused.retry_after_ms, 5000);
    fixture_pass(&f, 4999);
    expect_status(ACQUIRE(&f, "l", "b", "bob"), STATUS_LOCK_HELD);
    fixture_pass(&f, 1);
    expect_status(ACQUIRE(&f, "l", "b", "bob"), STATUS_CREATED);
    fixture_close(&f);
}

Test(locks, the_line_waits_for_the_lock_delay_and_a_tick_serves_it)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada", .lock_delay_ms = 3000);
    fixture_pass(&f, TTL_MS - 1000);
    ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS);
    fixture_pass(&f, 1000);
    fixture_tick(&f);
    cr_expect(is_waiting(&f, "l", "b"));
    cr_expect_eq(due_in(&f), 3000);
    fixture_pass(&f, 3000);
    fixture_tick(&f);
    cr_expect(is_held(&f, "l", "b"));
    fixture_close(&f);
}

Test(locks, a_leases_own_lock_delay_goes_before_the_locks)
{
    struct fixture f;
    fixture_open(&f);
    put_lock(&f, "l", 1, 5000);
    ACQUIRE(&f, "l", "a", "ada", .lock_delay_ms = 100);
    fixture_pass(&f, TTL_MS);
    cr_expect_eq(get_lock(&f, "l").lock.delayed_for_ms, 100);
    fixture_tick(&f);
    cr_expect_eq(get_lock(&f, "l").lock.delayed_for_ms, 100);
    fixture_close(&f);
}

Test(locks, a_release_starts_no_lock_delay)
{
    struct fixture f;
    fixture_open(&f);
    put_lock(&f, "l", 1, 5000);
    ACQUIRE(&f, "l", "a", "ada");
    release(&f, "l", "a");
    expect_status(ACQUIRE(&f, "l", "b", "bob"), STATUS_CREATED);
    fixture_close(&f);
}

Test(locks, the_end_of_a_session_starts_the_lock_delay)
{
    struct fixture f;
    fixture_open(&f);
    put_session(&f, "l~s");
    ACQUIRE(&f, "l~1", "a", "ada", .session = "l~s", .lock_delay_ms = 700);
    end_session(&f, "l~s");
    cr_expect_eq(get_lock(&f, "l~1").lock.delayed_for_ms, 700);
    fixture_close(&f);
}

Test(locks, a_lock_delay_outlives_a_restart)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada", .lock_delay_ms = 3000);
    break_lock(&f, "l", ABSENT);
    fixture_reopen(&f);
    expect_status(ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS), STATUS_WAITING);
    fixture_tick(&f);
    cr_expect_eq(due_in(&f), 3000);
    fixture_close(&f);
}

/* ---- breaking ----------------------------------------------------------------------------------------------------- */

Test(locks, breaking_ends_every_holder_and_leaves_the_line)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "r1", "ada", .mode = LEASE_SHARED);
    ACQUIRE(&f, "l", "r2", "bob", .mode = LEASE_SHARED);
    ACQUIRE(&f, "l", "w", "cyd", .wait_ms = WAIT_MS);
    cr_expect_eq(break_lock(&f, "l", ABSENT).count, 2);
    cr_expect(fixture_event(&f, EVENT_LEASE, "l", "r1"));
    cr_expect_eq(get_lease(&f, "l", "r1").reason, REASON_REVOKED);
    cr_expect(is_held(&f, "l", "w"));
    fixture_close(&f);
}

Test(locks, breaking_can_set_the_lock_delay)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada", .lock_delay_ms = 100);
    break_lock(&f, "l", 9000);
    cr_expect_eq(get_lock(&f, "l").lock.delayed_for_ms, 9000);
    ACQUIRE(&f, "m", "a", "ada", .lock_delay_ms = 100);
    break_lock(&f, "m", 0);
    cr_expect_eq(get_lock(&f, "m").lock.delayed_for_ms, 0);
    fixture_close(&f);
}

Test(locks, breaking_at_another_version_breaks_nothing)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada");
    int64_t version = get_lock(&f, "l").lock.version;
    struct command command = {.kind = COMMAND_LOCK_BREAK,
                              .lock_break = {.name = TEXT("l"),
                                             .lock_delay_ms = ABSENT,
                                             .condition = {version + 1, false}}};
    struct result result = fixture_do(&f, command);
    expect_status(result, STATUS_VERSION_MISMATCH);
    cr_expect_eq(result.version, version);
    cr_expect(is_held(&f, "l", "a"));
    command.lock_break.condition.if_match = version;
    cr_expect_eq(fixture_do(&f, command).count, 1);
    fixture_close(&f);
}

Test(locks, breaking_a_lock_that_nobody_holds_releases_nothing)
{
    struct fixture f;
    fixture_open(&f);
    struct result result = break_lock(&f, "never", 9000);
    expect_status(result, STATUS_OK);
    cr_expect_eq(result.count, 0);
    cr_expect_eq(get_lock(&f, "never").lock.version, 0);
    ACQUIRE(&f, "l", "a", "ada");
    release(&f, "l", "a");
    cr_expect_eq(break_lock(&f, "l", ABSENT).count, 0);
    cr_expect_eq(get_lock(&f, "l").lock.delayed_for_ms, 0);
    cr_expect_eq(break_lock(&f, "l", 9000).count, 0);
    cr_expect_eq(get_lock(&f, "l").lock.delayed_for_ms, 9000, "it stays shut as asked");
    fixture_close(&f);
}

/* ---- listing ------------------------------------------------------------------------------------------------------ */

static struct result list(struct fixture *f, const char *prefix, const char *owner,
                          struct text after, int64_t limit)
{
    return fixture_read(
        f, (struct command){.kind = COMMAND_LOCK_LIST,
                            .lock_list = {text_of(prefix), text_of(owner), {after, limit}}});
}

Test(locks, a_list_goes_by_name_page_by_page)
{
    struct fixture f;
    static const char *const NAMES[] = {"a", "a~1", "aa", "b", "b~2"};
    fixture_open(&f);
    for (size_t i = 5; i-- > 0;) {
        ACQUIRE(&f, NAMES[i], "x", "ada");
    }
    struct text after = TEXT_ABSENT;
    for (size_t i = 0; i < 5; i++) {
        struct result page = list(&f, NULL, NULL, after, 1);
        cr_assert_eq(page.locks.items.count, 1);
        cr_expect(text_equal(page.locks.items.at[0].name, text_of(i == 1   ? "aa"
                                                                  : i == 2 ? "a~1"
                                                                           : NAMES[i])));
        after = page.locks.next;
        cr_expect_eq(text_given(after), i < 4, "page %zu", i);
    }
    fixture_close(&f);
}

Test(locks, a_list_can_be_narrowed_to_a_prefix_and_to_an_owner)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "jobs~1", "x", "ada");
    ACQUIRE(&f, "jobs~2", "x", "bob");
    ACQUIRE(&f, "jobs~2", "y", "ada", .wait_ms = WAIT_MS);
    ACQUIRE(&f, "job", "x", "ada");
    ACQUIRE(&f, "jobt", "x", "ada");
    struct result jobs = list(&f, "jobs", NULL, TEXT_ABSENT, 10);
    cr_assert_eq(jobs.locks.items.count, 2);
    expect_text(jobs.locks.items.at[0].name, "jobs~1");
    cr_expect_eq(list(&f, NULL, "ada", TEXT_ABSENT, 10).locks.items.count, 4);
    struct result bobs = list(&f, NULL, "bob", TEXT_ABSENT, 10);
    cr_assert_eq(bobs.locks.items.count, 1);
    expect_text(bobs.locks.items.at[0].name, "jobs~2");
    cr_expect_not(text_given(bobs.locks.next));
    cr_expect_eq(list(&f, "jobs", NULL, TEXT("a"), 10).locks.items.count, 2);
    cr_expect_eq(list(&f, "jobs", NULL, TEXT("z"), 10).locks.items.count, 0);
    fixture_close(&f);
}

Test(locks, the_last_page_for_an_owner_has_no_cursor_whatever_locks_of_others_follow)
{
    struct fixture f;
    fixture_open(&f);
    for (int i = 0; i < 200; i++) {
        char name[8];
        snprintf(name, sizeof name, "l%03d", i);
        ACQUIRE(&f, name, "x", i == 3 || i == 100 ? "ada" : "bob");
    }
    struct result first = list(&f, NULL, "ada", TEXT_ABSENT, 1);
    cr_expect_eq(first.locks.items.count, 1);
    cr_assert(text_given(first.locks.next));
    struct result last = list(&f, NULL, "ada", first.locks.next, 1);
    cr_assert_eq(last.locks.items.count, 1);
    expect_text(last.locks.items.at[0].name, "l100");
    cr_expect_not(text_given(last.locks.next));
    fixture_close(&f);
}

Test(locks, a_list_of_large_locks_ends_its_pages_early)
{
    struct fixture f;
    static char metadata[LEASE_METADATA_BYTES_MAX];
    memset(metadata, 'x', sizeof metadata - 1);
    memcpy(metadata, "{\"b\":\"", 6);
    memcpy(metadata + sizeof metadata - 3, "\"}", 2);
    fixture_open(&f);
    enum { LOCKS = 400 };
    for (int i = 0; i < LOCKS; i++) {
        char name[16];
        snprintf(name, sizeof name, "l%03d", i);
        ACQUIRE(&f, name, "a", "ada", .metadata = metadata);
    }
    struct result page = list(&f, NULL, NULL, TEXT_ABSENT, PAGE_ITEMS_MAX);
    size_t first = page.locks.items.count;
    cr_expect_leq(first * sizeof metadata, (size_t)PAGE_BYTES_MAX + 2 * sizeof metadata);
    cr_assert(text_given(page.locks.next));
    page = list(&f, NULL, NULL, page.locks.next, PAGE_ITEMS_MAX);
    cr_expect_eq(first + page.locks.items.count, LOCKS);
    fixture_close(&f);
}

/* ---- tidying up --------------------------------------------------------------------------------------------------- */

Test(locks, an_unused_lock_is_dropped_after_a_day_but_a_configured_one_stays)
{
    struct fixture f;
    fixture_open(&f);
    put_lock(&f, "kept", 2, 0);
    ACQUIRE(&f, "gone", "a", "ada");
    release(&f, "gone", "a");
    fixture_pass(&f, IDLE_LOCK_MS - 1);
    fixture_tick(&f);
    cr_expect_eq(machine_counters(f.machine).locks, 2);
    fixture_pass(&f, 1);
    fixture_tick(&f);
    cr_expect_eq(machine_counters(f.machine).locks, 1);
    cr_expect_eq(get_lock(&f, "kept").lock.limit, 2);
    fixture_close(&f);
}

Test(locks, a_lock_in_use_is_not_dropped_and_its_idle_day_begins_with_its_last_lease)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada", .ttl_ms = DAY_MS);
    fixture_pass(&f, DAY_MS - 1);
    renew(&f, "l", "a");
    fixture_pass(&f, DAY_MS - 1);
    fixture_tick(&f);
    cr_expect(is_held(&f, "l", "a"));
    release(&f, "l", "a");
    fixture_pass(&f, IDLE_LOCK_MS - 1);
    fixture_tick(&f);
    cr_expect_eq(machine_counters(f.machine).locks, 1);
    fixture_pass(&f, DAY_MS);
    fixture_tick(&f);
    cr_expect_eq(machine_counters(f.machine).locks, 0);
    fixture_close(&f);
}

Test(locks, when_nothing_is_left_nothing_is_due)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada");
    ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS);
    fixture_tick(&f);
    cr_expect_eq(due_in(&f), WAIT_MS);
    for (int i = 0; i < 4; i++) {
        fixture_pass(&f, DAY_MS);
        fixture_tick(&f);
    }
    struct due due = machine_due(f.machine);
    cr_expect_eq(due.lease_ms, INT64_MAX);
    cr_expect_eq(due.wall_ms, INT64_MAX);
    cr_expect_eq(machine_counters(f.machine).ended_leases, 0);
    fixture_close(&f);
}
