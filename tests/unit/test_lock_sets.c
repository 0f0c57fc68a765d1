/* Lock-sets: all or nothing, in line together, collected together, then leases like any other. */
#include "tests/unit/lock_fixture.h"

#include <criterion/criterion.h>
#include <string.h>

enum { NAMES_MAX = 4 };

/* A set of exclusive leases on names separated by blanks. */
struct set_ask {
    const char *names, *lease, *owner, *session;
    int64_t mode, permits, wait_ms, lock_delay_ms;
    bool async;
};
#define SET(f, names_, lease_, owner_, ...)                                                        \
    acquire_set(                                                                                   \
        f, (struct set_ask){.names = names_, .lease = lease_, .owner = owner_, ##__VA_ARGS__})

static size_t split(const char *names, struct text ret[NAMES_MAX])
{
    size_t count = 0;
    while (*names != '\0') {
        size_t len = strcspn(names, " ");
        ret[count++] = (struct text){names, len};
        names += len + (names[len] == ' ');
    }
    return count;
}

static struct result acquire_set(struct fixture *f, struct set_ask ask)
{
    struct text names[NAMES_MAX];
    struct lock_set_member members[NAMES_MAX];
    size_t count = split(ask.names, names);
    for (size_t i = 0; i < count; i++) {
        members[i] =
            (struct lock_set_member){names[i], ask.mode, ask.permits == 0 ? 1 : ask.permits};
    }
    return fixture_do(
        f,
        (struct command){.kind = COMMAND_LOCK_SET_ACQUIRE,
                         .lock_set_acquire = {
                             .lease = text_of(ask.lease),
                             .owner = text_of(ask.owner),
                             .session = text_of(ask.session),
                             .metadata = TEXT("{}"),
                             .ttl_ms = TTL_MS,
                             .wait_ms = ask.wait_ms,
                             .lock_delay_ms = ask.lock_delay_ms == 0 ? ABSENT : ask.lock_delay_ms,
                             .locks = {members, count},
                             .async = ask.async,
                             .condition = UNCONDITIONAL}});
}

static struct result collect_set(struct fixture *f, const char *names, const char *lease)
{
    struct text split_names[NAMES_MAX];
    size_t count = split(names, split_names);
    return fixture_do(f,
                      (struct command){.kind = COMMAND_LOCK_SET_COLLECT,
                                       .lock_set_collect = {text_of(lease), {split_names, count}}});
}

static struct result abandon_set(struct fixture *f, const char *names, const char *lease,
                                 int64_t ticket)
{
    struct text split_names[NAMES_MAX];
    size_t count = split(names, split_names);
    return fixture_do(
        f, (struct command){.kind = COMMAND_LOCK_SET_ABANDON,
                            .lock_set_abandon = {text_of(lease), {split_names, count}, ticket}});
}

static int64_t count_held(struct fixture *f)
{
    return machine_counters(f->machine).held;
}
static int64_t count_waiting(struct fixture *f)
{
    return machine_counters(f->machine).waiting;
}

Test(lock_sets, free_locks_are_granted_together_each_with_a_fence)
{
    struct fixture f;
    fixture_open(&f);
    struct result result = SET(&f, "k~b k~a", "s", "ada");
    expect_status(result, STATUS_CREATED);
    cr_assert_eq(result.shape, SHAPE_LOCK_SET);
    cr_assert_eq(result.lock_set.members.count, 2);
    const struct lease_view *members = result.lock_set.members.at;
    expect_text(members[0].name, "k~b");
    expect_text(members[1].name, "k~a");
    cr_expect_neq(members[0].fence, members[1].fence);
    cr_expect(is_held(&f, "k~a", "s") && is_held(&f, "k~b", "s"));
    cr_expect(fixture_event(&f, EVENT_LOCK, "k~a", NULL));
    fixture_close(&f);
}

Test(lock_sets, one_lock_that_is_held_refuses_the_whole_set)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "k~b", "x", "bob");
    struct result result = SET(&f, "k~a k~b", "s", "ada");
    expect_status(result, STATUS_LOCK_HELD);
    expect_text(result.refusal.lock.name, "k~b");
    cr_expect_eq(count_held(&f), 1);
    expect_status(ACQUIRE(&f, "k~a", "y", "cyd"), STATUS_CREATED);
    fixture_close(&f);
}

Test(lock_sets, a_set_waits_in_every_line_and_is_granted_when_it_is_first_in_all)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "k~a", "x", "bob", .ttl_ms = HOUR_MS);
    ACQUIRE(&f, "k~b", "x", "cyd", .ttl_ms = HOUR_MS);
    ACQUIRE(&f, "k~b", "y", "dan", .wait_ms = WAIT_MS);
    expect_status(SET(&f, "k~a k~b", "s", "ada", .wait_ms = WAIT_MS), STATUS_WAITING);
    ACQUIRE(&f, "k~a", "z", "eve", .wait_ms = WAIT_MS);
    release(&f, "k~a", "x");
    cr_expect_eq(count_held(&f), 1, "nothing of a set is granted before all of it can be");
    cr_expect(is_waiting(&f, "k~a", "z"), "the set keeps its place in front");
    release(&f, "k~b", "x");
    collect(&f, "k~b", "y");
    cr_expect(is_waiting(&f, "k~b", "s"));
    release(&f, "k~b", "y");
    cr_expect(is_held(&f, "k~a", "s") && is_held(&f, "k~b", "s"));
    cr_expect(fixture_event(&f, EVENT_LEASE, "k~a", "s"));
    cr_expect(fixture_event(&f, EVENT_LEASE, "k~b", "s"));
    fixture_close(&f);
}

Test(lock_sets, readers_behind_a_granted_reading_set_go_with_it)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "k~a", "x", "bob");
    ACQUIRE(&f, "k~b", "x", "bob");
    SET(&f, "k~a k~b", "s", "ada", .wait_ms = WAIT_MS, .mode = LEASE_SHARED);
    ACQUIRE(&f, "k~b", "r", "cyd", .wait_ms = WAIT_MS, .mode = LEASE_SHARED);
    release(&f, "k~b", "x");
    release(&f, "k~a", "x");
    cr_expect(is_held(&f, "k~b", "s") && is_held(&f, "k~b", "r"));
    fixture_close(&f);
}

Test(lock_sets, a_lock_delay_on_one_lock_holds_the_set_back)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "k~b", "x", "bob", .lock_delay_ms = 2000);
    break_lock(&f, "k~b", ABSENT);
    expect_status(SET(&f, "k~a k~b", "s", "ada", .wait_ms = WAIT_MS), STATUS_WAITING);
    fixture_pass(&f, 2000);
    fixture_tick(&f);
    expect_status(collect_set(&f, "k~a k~b", "s"), STATUS_CREATED);
    fixture_close(&f);
}

Test(lock_sets, a_replay_finds_the_set_in_any_order_and_another_request_does_not)
{
    struct fixture f;
    fixture_open(&f);
    struct result first = SET(&f, "k~a k~b", "s", "ada");
    struct result again = SET(&f, "k~b k~a", "s", "ada");
    expect_status(again, STATUS_OK);
    cr_expect_eq(again.lock_set.members.at[0].fence, first.lock_set.members.at[1].fence);
    expect_status(SET(&f, "k~a", "s", "ada"), STATUS_LEASE_MISMATCH);
    expect_status(SET(&f, "k~a k~c", "s", "ada"), STATUS_LEASE_MISMATCH);
    expect_status(SET(&f, "k~a k~b", "s", "bob"), STATUS_LEASE_MISMATCH);
    expect_status(SET(&f, "k~a k~b", "s", "ada", .mode = LEASE_SHARED), STATUS_LEASE_MISMATCH);
    expect_status(ACQUIRE(&f, "k~a", "s", "ada"), STATUS_LEASE_MISMATCH);
    cr_expect_eq(count_held(&f), 2);
    fixture_close(&f);
}

Test(lock_sets, a_set_that_was_abandoned_comes_back_to_its_place)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "k~a", "a", "ada");
    int64_t ticket =
        SET(&f, "k~a k~b", "s", "bob", .wait_ms = WAIT_MS).lock_set.members.at[0].ticket;
    ACQUIRE(&f, "k~a", "c", "cyd", .wait_ms = WAIT_MS);
    abandon_set(&f, "k~a k~b", "s", ticket);
    cr_expect_eq(count_waiting(&f), 1);
    struct result back = SET(&f, "k~b k~a", "s", "bob", .wait_ms = WAIT_MS);
    expect_status(back, STATUS_WAITING);
    cr_expect_eq(back.lock_set.members.at[1].position, 0);
    release(&f, "k~a", "a");
    cr_expect(is_held(&f, "k~a", "s"));
    cr_expect(is_held(&f, "k~b", "s"));
    cr_expect(is_waiting(&f, "k~a", "c"));
    fixture_close(&f);
}

static struct result set_if(struct fixture *f, struct condition condition)
{
    static const struct lock_set_member MEMBERS[] = {{{"k~a", 3}, LEASE_EXCLUSIVE, 1},
                                                     {{"k~b", 3}, LEASE_SHARED, 1}};
    return fixture_do(f, (struct command){.kind = COMMAND_LOCK_SET_ACQUIRE,
                                          .lock_set_acquire = {.lease = TEXT("s"),
                                                               .owner = TEXT("ada"),
                                                               .metadata = TEXT("{\"a\":1}"),
                                                               .ttl_ms = TTL_MS,
                                                               .lock_delay_ms = ABSENT,
                                                               .locks = {MEMBERS, 2},
                                                               .condition = condition}});
}

Test(lock_sets, a_set_under_a_condition_is_as_new_as_its_newest_member)
{
    struct fixture f;
    fixture_open(&f);
    const struct condition create = {ABSENT, true};
    expect_status(set_if(&f, (struct condition){IF_MATCH_ANY, false}), STATUS_VERSION_MISMATCH);
    struct result made = set_if(&f, create);
    expect_status(made, STATUS_CREATED);
    int64_t newest = made.lock_set.members.at[1].version;
    struct result refused = set_if(&f, create);
    expect_status(refused, STATUS_VERSION_MISMATCH);
    cr_expect_eq(refused.version, newest);
    expect_status(set_if(&f, (struct condition){newest, false}), STATUS_OK);
    expect_status(set_if(&f, (struct condition){newest - 1, false}), STATUS_VERSION_MISMATCH);
    release(&f, "k~a", "s");
    release(&f, "k~b", "s");
    expect_status(set_if(&f, create), STATUS_LEASE_ENDED);
    fixture_close(&f);
}

Test(lock_sets, other_metadata_is_another_request)
{
    struct fixture f;
    fixture_open(&f);
    set_if(&f, UNCONDITIONAL);
    expect_status(SET(&f, "k~a k~b", "s", "ada"), STATUS_LEASE_MISMATCH);
    fixture_close(&f);
}

Test(lock_sets, two_sets_may_share_an_id_on_different_locks)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "k~a", "x", "bob");
    ACQUIRE(&f, "k~c", "x", "bob");
    expect_status(SET(&f, "k~a k~b", "s", "ada", .wait_ms = WAIT_MS), STATUS_WAITING);
    expect_status(SET(&f, "k~c k~d", "s", "ada", .wait_ms = WAIT_MS), STATUS_WAITING);
    release(&f, "k~a", "x");
    cr_expect(is_held(&f, "k~b", "s") && is_waiting(&f, "k~d", "s"));
    fixture_close(&f);
}

Test(lock_sets, a_waiting_set_that_asks_again_waits_longer_in_all_lines)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "k~a", "x", "bob");
    SET(&f, "k~a k~b", "s", "ada", .wait_ms = WAIT_MS);
    fixture_pass(&f, WAIT_MS - 1);
    expect_status(SET(&f, "k~a k~b", "s", "ada", .wait_ms = WAIT_MS), STATUS_WAITING);
    fixture_pass(&f, WAIT_MS - 1);
    fixture_tick(&f);
    expect_status(collect_set(&f, "k~a k~b", "s"), STATUS_WAITING);
    fixture_close(&f);
}

Test(lock_sets, a_waits_end_ends_it_in_all_lines)
{
    for (int async = 0; async < 2; async++) {
        struct fixture f;
        fixture_open(&f);
        ACQUIRE(&f, "k~b", "x", "bob");
        SET(&f, "k~a k~b", "s", "ada", .wait_ms = WAIT_MS, .async = async == 1);
        fixture_pass(&f, WAIT_MS);
        fixture_tick(&f);
        cr_expect_eq(count_waiting(&f), 0);
        struct result result = collect_set(&f, "k~a k~b", "s");
        expect_status(result, async == 1 ? STATUS_LEASE_ENDED : STATUS_LOCK_HELD);
        if (async == 0) {
            expect_text(result.refusal.lock.name, "k~b");
        }
        fixture_close(&f);
    }
}

Test(lock_sets, cancelling_one_place_cancels_the_set)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "k~a", "x", "bob");
    SET(&f, "k~a k~b", "s", "ada", .wait_ms = WAIT_MS);
    expect_status(release(&f, "k~b", "s"), STATUS_OK);
    cr_expect_eq(count_waiting(&f), 0);
    struct result result = SET(&f, "k~a k~b", "s", "ada", .wait_ms = WAIT_MS);
    expect_status(result, STATUS_LEASE_ENDED);
    cr_expect_eq(result.reason, REASON_RELEASED);
    fixture_close(&f);
}

Test(lock_sets, an_abandoned_set_leaves_all_lines_and_gives_back_what_it_was_granted)
{
    for (int granted = 0; granted < 2; granted++) {
        struct fixture f;
        fixture_open(&f);
        ACQUIRE(&f, "k~a", "x", "bob");
        struct result waiting = SET(&f, "k~a k~b", "s", "ada", .wait_ms = WAIT_MS);
        int64_t ticket = waiting.lock_set.members.at[0].ticket;
        if (granted) {
            release(&f, "k~a", "x");
        }
        abandon_set(&f, "k~a k~b", "s", ticket - 1);
        cr_expect_eq(count_waiting(&f) + count_held(&f), granted ? 2 : 3);
        abandon_set(&f, "k~a k~b", "s", ticket);
        cr_expect_eq(count_waiting(&f) + count_held(&f), granted ? 0 : 1);
        expect_status(get_lease(&f, "k~b", "s"), STATUS_LEASE_NOT_FOUND);
        fixture_close(&f);
    }
}

Test(lock_sets, a_grant_nobody_collects_lapses_as_one)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "k~a", "x", "bob");
    SET(&f, "k~a k~b", "s", "ada", .wait_ms = WAIT_MS, .lock_delay_ms = 9000);
    release(&f, "k~a", "x");
    fixture_pass(&f, CLAIM_MS);
    expect_status(ACQUIRE(&f, "k~b", "y", "cyd"), STATUS_CREATED);
    fixture_tick(&f);
    cr_expect_eq(get_lease(&f, "k~a", "s").reason, REASON_EXPIRED);
    fixture_close(&f);
}

Test(lock_sets, seeing_one_member_collects_them_all)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "k~a", "x", "bob");
    SET(&f, "k~a k~b", "s", "ada", .wait_ms = WAIT_MS);
    release(&f, "k~a", "x");
    expect_status(renew(&f, "k~b", "s"), STATUS_OK);
    fixture_pass(&f, CLAIM_MS);
    fixture_tick(&f);
    cr_expect(is_held(&f, "k~a", "s") && is_held(&f, "k~b", "s"));
    fixture_close(&f);
}

Test(lock_sets, once_collected_each_member_goes_its_own_way)
{
    struct fixture f;
    fixture_open(&f);
    SET(&f, "k~a k~b k~c", "s", "ada");
    release(&f, "k~a", "s");
    cr_expect(is_held(&f, "k~b", "s"));
    fixture_pass(&f, TTL_MS - 1);
    renew(&f, "k~b", "s");
    fixture_pass(&f, 1);
    cr_expect(is_held(&f, "k~b", "s"));
    cr_expect_eq(get_lease(&f, "k~c", "s").reason, REASON_EXPIRED);
    struct result replay = SET(&f, "k~a k~b k~c", "s", "ada");
    expect_status(replay, STATUS_LEASE_ENDED);
    expect_text(replay.field, "k~a");
    cr_expect_eq(replay.reason, REASON_RELEASED);
    fixture_close(&f);
}

Test(lock_sets, breaking_one_lock_before_the_grant_is_collected_takes_back_the_whole_set)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "k~a", "x", "bob");
    SET(&f, "k~a k~b", "s", "ada", .wait_ms = WAIT_MS);
    release(&f, "k~a", "x");
    cr_expect_eq(break_lock(&f, "k~b", ABSENT).count, 1);
    struct result result = collect_set(&f, "k~a k~b", "s");
    expect_status(result, STATUS_LEASE_ENDED);
    cr_expect_eq(result.reason, REASON_REVOKED);
    cr_expect_eq(count_held(&f), 0);
    fixture_close(&f);
}

Test(lock_sets, the_end_of_a_session_ends_a_set_wherever_it_stands)
{
    struct fixture f;
    fixture_open(&f);
    put_session(&f, "k~s");
    ACQUIRE(&f, "k~a", "x", "bob");
    SET(&f, "k~a k~b", "s", "ada", .wait_ms = WAIT_MS, .session = "k~s");
    SET(&f, "k~c k~d", "t", "ada", .session = "k~s");
    end_session(&f, "k~s");
    cr_expect_eq(count_waiting(&f), 0);
    cr_expect_eq(count_held(&f), 1);
    cr_expect_eq(get_lease(&f, "k~b", "s").reason, REASON_SESSION_ENDED);
    fixture_close(&f);
}

Test(lock_sets, what_can_never_be_granted_is_refused_and_changes_nothing)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "other", "x", "bob");
    uint64_t before = machine_hash(f.machine);
    expect_status(SET(&f, "k~a j~b", "s", "ada"), STATUS_CROSS_PARTITION);
    expect_status(SET(&f, "k~a k~b", "s", "ada", .permits = 2), STATUS_PERMITS_EXCEED_LIMIT);
    expect_status(SET(&f, "k~a k~a", "s", "ada"), STATUS_INVALID_FIELD);
    expect_status(SET(&f, "k~a k~b", "s", "ada", .session = "j~s"), STATUS_CROSS_PARTITION);
    expect_status(SET(&f, "k~a k~b", "s", "ada", .session = "k~s"), STATUS_SESSION_NOT_FOUND);
    cr_expect_eq(machine_hash(f.machine), before);
    fixture_close(&f);
}

Test(lock_sets, two_sets_that_overlap_take_turns)
{
    struct fixture f;
    fixture_open(&f);
    SET(&f, "k~a k~b", "s1", "ada");
    expect_status(SET(&f, "k~b k~c", "s2", "bob", .wait_ms = WAIT_MS), STATUS_WAITING);
    expect_status(SET(&f, "k~c k~a", "s3", "cyd", .wait_ms = WAIT_MS), STATUS_WAITING);
    release(&f, "k~a", "s1");
    cr_expect(is_waiting(&f, "k~a", "s3"), "s2 is before it on c");
    release(&f, "k~b", "s1");
    expect_status(collect_set(&f, "k~b k~c", "s2"), STATUS_CREATED);
    release(&f, "k~c", "s2");
    expect_status(collect_set(&f, "k~c k~a", "s3"), STATUS_CREATED);
    fixture_close(&f);
}

Test(lock_sets, a_waiting_set_outlives_a_restart)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "k~a", "x", "bob");
    SET(&f, "k~a k~b", "s", "ada", .wait_ms = WAIT_MS);
    fixture_reopen(&f);
    release(&f, "k~a", "x");
    expect_status(collect_set(&f, "k~a k~b", "s"), STATUS_CREATED);
    expect_status(collect_set(&f, "k~a k~b", "s"), STATUS_OK);
    fixture_close(&f);
}
