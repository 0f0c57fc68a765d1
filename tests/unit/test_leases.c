/* Leases: every state against every event (the table of db/leases.h), then what each command answers. */
#include "tests/unit/lock_fixture.h"

#include <criterion/criterion.h>

/* ---- every state, every event ------------------------------------------------------------------------------------- */

enum state {
    NONE,
    WAITS,
    WAITS_ASYNC,
    UNCOLLECTED,
    HELD,
    RELEASED,
    EXPIRED,
    REVOKED,
    SESSION_OVER,
    STATES
};
static const char *const STATE_NAMES[STATES] = {"none",        "waiting", "waiting async",
                                                "uncollected", "held",    "released",
                                                "expired",     "revoked", "session ended"};

enum happening {
    ACQUIRE_SAME,
    ACQUIRE_OTHER,
    COLLECT,
    RENEW,
    PATCH,
    PATCH_MODE,
    RELEASE,
    ABANDON,
    ABANDON_OLD, /* with the ticket of an acquire that another followed */
    ITS_TIME,
    BREAK,
    SESSION_ENDS,
    ROOM,
    EVENTS
};
static const char *const EVENT_NAMES[EVENTS] = {"acquire",
                                                "acquire with other parameters",
                                                "collect",
                                                "renew",
                                                "patch",
                                                "patch mode",
                                                "release",
                                                "abandon",
                                                "abandon with an old ticket",
                                                "its time is over",
                                                "break",
                                                "its session ends",
                                                "room in front"};

struct outcome {
    enum status status;
    enum state after;
};

/* The lock is l~lock, the lease "me", its owner "me", its session l~s; "other" is in its way where it waits. */
#define LOCK "l~lock"

static struct ask mine(bool async)
{
    return (struct ask){.name = LOCK,
                        .lease = "me",
                        .owner = "me",
                        .session = "l~s",
                        .wait_ms = WAIT_MS,
                        .async = async};
}

static void block(struct fixture *f)
{
    ACQUIRE(f, LOCK, "other", "other", .ttl_ms = HOUR_MS);
}

/* Brings the lease into the state; returns its ticket. */
static int64_t bring_into(struct fixture *f, enum state state)
{
    put_session(f, "l~s");
    if (state == NONE) {
        block(f);
        return 0;
    }
    bool waits = state == WAITS || state == WAITS_ASYNC || state == UNCOLLECTED;
    if (waits) {
        block(f);
    }
    struct result result = acquire(f, mine(state == WAITS_ASYNC));
    switch (state) {
    case UNCOLLECTED:
        release(f, LOCK, "other");
        break;
    case RELEASED:
        release(f, LOCK, "me");
        break;
    case EXPIRED:
        fixture_pass(f, TTL_MS);
        fixture_tick(f);
        break;
    case REVOKED:
        break_lock(f, LOCK, ABSENT);
        break;
    case SESSION_OVER:
        end_session(f, "l~s");
        break;
    case NONE:
    case WAITS:
    case WAITS_ASYNC:
    case HELD:
    case STATES:
        break;
    }
    return result.lease.ticket;
}

static struct result patch(struct fixture *f, const char *lease, const char *metadata, int64_t mode)
{
    return fixture_do(f, (struct command){.kind = COMMAND_LEASE_PATCH,
                                          .lease_patch = {.name = TEXT(LOCK),
                                                          .lease = text_of(lease),
                                                          .metadata_patch = text_of(metadata),
                                                          .mode = mode,
                                                          .condition = UNCONDITIONAL}});
}

static struct result acquire_again(struct fixture *f, enum state state, int64_t ttl_ms)
{
    struct ask ask = mine(state == WAITS_ASYNC);
    ask.ttl_ms = ttl_ms;
    if (state == NONE) {
        release(f, LOCK, "other");
    }
    return acquire(f, ask);
}

static struct result pass_its_time(struct fixture *f, enum state state)
{
    int64_t ms = state == HELD ? TTL_MS : state == UNCOLLECTED ? CLAIM_MS : WAIT_MS;
    fixture_pass(f, ms);
    return (struct result){.status = STATUS_OK};
}

static struct result happen(struct fixture *f, enum state state, enum happening event,
                            int64_t ticket)
{
    switch (event) {
    case ACQUIRE_SAME:
        return acquire_again(f, state, TTL_MS);
    case ACQUIRE_OTHER:
        return acquire_again(f, state, TTL_MS + 1);
    case COLLECT:
        return collect(f, LOCK, "me");
    case RENEW:
        return renew(f, LOCK, "me");
    case PATCH:
        return patch(f, "me", "{\"step\":1}", ABSENT);
    case PATCH_MODE:
        return patch(f, "me", NULL, LEASE_SHARED);
    case RELEASE:
        return release(f, LOCK, "me");
    case ABANDON:
        return abandon(f, LOCK, "me", ticket);
    case ABANDON_OLD:
        return abandon(f, LOCK, "me", ticket - 1);
    case ITS_TIME:
        return pass_its_time(f, state);
    case BREAK:
        return break_lock(f, LOCK, MINUTE_MS);
    case SESSION_ENDS:
        return end_session(f, "l~s");
    case ROOM:
        return release(f, LOCK, "other");
    case EVENTS:
        break;
    }
    abort();
}

static enum state state_of(struct fixture *f)
{
    struct result result = get_lease(f, LOCK, "me");
    if (result.status == STATUS_LEASE_NOT_FOUND) {
        return NONE;
    }
    if (result.status == STATUS_LEASE_ENDED) {
        return result.reason == REASON_RELEASED        ? RELEASED
               : result.reason == REASON_EXPIRED       ? EXPIRED
               : result.reason == REASON_REVOKED       ? REVOKED
               : result.reason == REASON_SESSION_ENDED ? SESSION_OVER
                                                       : STATES;
    }
    return result.lease.state == LEASE_WAITING ? WAITS
           : result.lease.uncollected          ? UNCOLLECTED
                                               : HELD;
}

/* What the ended ones have in common: nothing changes any more. */
#define ENDED_ROW(state, release_status)                                                           \
    {                                                                                              \
        [ACQUIRE_SAME] = {STATUS_LEASE_ENDED, state},                                              \
        [ACQUIRE_OTHER] = {STATUS_LEASE_ENDED, state},                                             \
        [COLLECT] = {STATUS_LEASE_ENDED, state},                                                   \
        [RENEW] = {STATUS_LEASE_ENDED, state},                                                     \
        [PATCH] = {STATUS_LEASE_ENDED, state},                                                     \
        [PATCH_MODE] = {STATUS_LEASE_ENDED, state},                                                \
        [RELEASE] = {release_status, state},                                                       \
        [ABANDON] = {STATUS_OK, state},                                                            \
        [ABANDON_OLD] = {STATUS_OK, state},                                                        \
        [ITS_TIME] = {STATUS_OK, state},                                                           \
        [BREAK] = {STATUS_OK, state},                                                              \
        [SESSION_ENDS] = {STATUS_OK, state},                                                       \
        [ROOM] = {STATUS_OK, state},                                                               \
    }
#define WAITING_ROW(abandoned, over)                                                               \
    {                                                                                              \
        [ACQUIRE_SAME] = {STATUS_WAITING, WAITS},                                                  \
        [ACQUIRE_OTHER] = {STATUS_LEASE_MISMATCH, WAITS},                                          \
        [COLLECT] = {STATUS_WAITING, WAITS},                                                       \
        [RENEW] = {STATUS_LEASE_NOT_HELD, WAITS},                                                  \
        [PATCH] = {STATUS_OK, WAITS},                                                              \
        [PATCH_MODE] = {STATUS_LEASE_NOT_HELD, WAITS},                                             \
        [RELEASE] = {STATUS_OK, RELEASED},                                                         \
        [ABANDON] = {STATUS_OK, abandoned},                                                        \
        [ABANDON_OLD] = {STATUS_OK, WAITS},                                                        \
        [ITS_TIME] = {STATUS_OK, over},                                                            \
        [BREAK] = {STATUS_OK, WAITS},                                                              \
        [SESSION_ENDS] = {STATUS_OK, SESSION_OVER},                                                \
        [ROOM] = {STATUS_OK, UNCOLLECTED},                                                         \
    }

static const struct outcome TABLE[STATES][EVENTS] = {
    [NONE] = {[ACQUIRE_SAME] = {STATUS_CREATED, HELD},
              [ACQUIRE_OTHER] = {STATUS_CREATED, HELD},
              [COLLECT] = {STATUS_LOCK_HELD, NONE},
              [RENEW] = {STATUS_LEASE_NOT_FOUND, NONE},
              [PATCH] = {STATUS_LEASE_NOT_FOUND, NONE},
              [PATCH_MODE] = {STATUS_LEASE_NOT_FOUND, NONE},
              [RELEASE] = {STATUS_OK, NONE},
              [ABANDON] = {STATUS_OK, NONE},
              [ABANDON_OLD] = {STATUS_OK, NONE},
              [ITS_TIME] = {STATUS_OK, NONE},
              [BREAK] = {STATUS_OK, NONE},
              [SESSION_ENDS] = {STATUS_OK, NONE},
              [ROOM] = {STATUS_OK, NONE}},
    [WAITS] = WAITING_ROW(NONE, NONE),
    [WAITS_ASYNC] = WAITING_ROW(WAITS, EXPIRED),
    [UNCOLLECTED] = {[ACQUIRE_SAME] = {STATUS_OK, HELD},
                     [ACQUIRE_OTHER] = {STATUS_LEASE_MISMATCH, UNCOLLECTED},
                     [COLLECT] = {STATUS_CREATED, HELD},
                     [RENEW] = {STATUS_OK, HELD},
                     [PATCH] = {STATUS_OK, HELD},
                     [PATCH_MODE] = {STATUS_OK, HELD},
                     [RELEASE] = {STATUS_OK, RELEASED},
                     [ABANDON] = {STATUS_OK, NONE},
                     [ABANDON_OLD] = {STATUS_OK, UNCOLLECTED},
                     [ITS_TIME] = {STATUS_OK, EXPIRED},
                     [BREAK] = {STATUS_OK, REVOKED},
                     [SESSION_ENDS] = {STATUS_OK, SESSION_OVER},
                     [ROOM] = {STATUS_OK, UNCOLLECTED}},
    [HELD] = {[ACQUIRE_SAME] = {STATUS_OK, HELD},
              [ACQUIRE_OTHER] = {STATUS_LEASE_MISMATCH, HELD},
              [COLLECT] = {STATUS_OK, HELD},
              [RENEW] = {STATUS_OK, HELD},
              [PATCH] = {STATUS_OK, HELD},
              [PATCH_MODE] = {STATUS_OK, HELD},
              [RELEASE] = {STATUS_OK, RELEASED},
              [ABANDON] = {STATUS_OK, HELD},
              [ABANDON_OLD] = {STATUS_OK, HELD},
              [ITS_TIME] = {STATUS_OK, EXPIRED},
              [BREAK] = {STATUS_OK, REVOKED},
              [SESSION_ENDS] = {STATUS_OK, SESSION_OVER},
              [ROOM] = {STATUS_OK, HELD}},
    [RELEASED] = ENDED_ROW(RELEASED, STATUS_OK),
    [EXPIRED] = ENDED_ROW(EXPIRED, STATUS_LEASE_ENDED),
    [REVOKED] = ENDED_ROW(REVOKED, STATUS_LEASE_ENDED),
    [SESSION_OVER] = ENDED_ROW(SESSION_OVER, STATUS_LEASE_ENDED),
};

static void check_outcome(enum state state, enum happening event)
{
    struct fixture f;
    fixture_open(&f);
    int64_t ticket = bring_into(&f, state);
    struct result result = happen(&f, state, event, ticket);
    const struct outcome *expected = &TABLE[state][event];
    cr_expect_eq(result.status, expected->status, "%s, %s: answers %s, not %s", STATE_NAMES[state],
                 EVENT_NAMES[event], status_info(result.status)->name,
                 status_info(expected->status)->name);
    for (int ticked = 0; ticked < 2; ticked++) { /* time needs no TICK to end a lease */
        enum state after = state_of(&f);
        cr_expect_eq(after, expected->after, "%s, %s, %d ticks: becomes %s, not %s",
                     STATE_NAMES[state], EVENT_NAMES[event], ticked,
                     after < STATES ? STATE_NAMES[after] : "?", STATE_NAMES[expected->after]);
        fixture_tick(&f);
    }
    fixture_close(&f);
}

Test(leases, every_event_does_in_every_state_what_the_table_says)
{
    for (enum state state = NONE; state < STATES; state++) {
        for (enum happening event = ACQUIRE_SAME; event < EVENTS; event++) {
            check_outcome(state, event);
        }
    }
}

/* ---- acquiring ---------------------------------------------------------------------------------------------------- */

Test(leases, a_free_lock_is_granted_at_once_with_a_fence)
{
    struct fixture f;
    fixture_open(&f);
    struct result result = ACQUIRE(&f, "l", "a", "ada", .metadata = "{\"host\":\"h1\"}");
    expect_status(result, STATUS_CREATED);
    cr_expect_eq(result.shape, SHAPE_LEASE);
    cr_expect_eq(result.lease.state, LEASE_HELD);
    cr_expect_gt(result.lease.fence, 0);
    cr_expect_eq(result.lease.lease_expires_ms, f.now.lease_now_ms + TTL_MS);
    expect_text(result.lease.metadata, "{\"host\":\"h1\"}");
    cr_expect(fixture_event(&f, EVENT_LOCK, "l", NULL));
    cr_expect(fixture_event(&f, EVENT_LEASE, "l", "a"));
    fixture_close(&f);
}

Test(leases, a_replay_answers_with_the_fence_and_the_end_it_had)
{
    struct fixture f;
    fixture_open(&f);
    struct result first = ACQUIRE(&f, "l", "a", "ada");
    fixture_pass(&f, 1000);
    struct result again = ACQUIRE(&f, "l", "a", "ada", .wait_ms = WAIT_MS);
    expect_status(again, STATUS_OK);
    cr_expect_eq(again.lease.fence, first.lease.fence);
    cr_expect_eq(again.lease.version, first.lease.version);
    cr_expect_eq(again.lease.lease_expires_ms, first.lease.lease_expires_ms);
    fixture_close(&f);
}

Test(leases, the_same_id_with_any_other_parameter_is_a_mismatch)
{
    struct fixture f;
    fixture_open(&f);
    put_lock(&f, "l", 5, 0);
    put_session(&f, "l~s");
    ACQUIRE(&f, "l", "a", "ada");
    expect_status(ACQUIRE(&f, "l", "a", "bob"), STATUS_LEASE_MISMATCH);
    expect_status(ACQUIRE(&f, "l", "a", "ada", .mode = LEASE_SHARED), STATUS_LEASE_MISMATCH);
    expect_status(ACQUIRE(&f, "l", "a", "ada", .permits = 2), STATUS_LEASE_MISMATCH);
    expect_status(ACQUIRE(&f, "l", "a", "ada", .ttl_ms = 1), STATUS_LEASE_MISMATCH);
    expect_status(ACQUIRE(&f, "l", "a", "ada", .lock_delay_ms = 1), STATUS_LEASE_MISMATCH);
    expect_status(ACQUIRE(&f, "l", "a", "ada", .session = "l~s"), STATUS_LEASE_MISMATCH);
    expect_status(ACQUIRE(&f, "l", "a", "ada", .metadata = "{\"a\":1}"), STATUS_LEASE_MISMATCH);
    expect_status(ACQUIRE(&f, "l", "a", "ada"), STATUS_OK);
    fixture_close(&f);
}

Test(leases, a_replay_asks_for_what_was_asked_first_whatever_was_patched_since)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, LOCK, "a", "ada", .metadata = "{\"a\":1}");
    patch(&f, "a", "{\"b\":2}", ABSENT);
    struct result again = ACQUIRE(&f, LOCK, "a", "ada", .metadata = "{\"a\":1}");
    expect_status(again, STATUS_OK);
    expect_text(again.lease.metadata, "{\"a\":1,\"b\":2}");
    fixture_close(&f);
}

static struct result acquire_if(struct fixture *f, const char *lease, struct condition condition)
{
    struct command command =
        acquire_command((struct ask){.name = "l", .lease = lease, .owner = "ada"});
    command.lease_acquire.condition = condition;
    return fixture_do(f, command);
}

Test(leases, acquiring_under_a_condition_replays_or_creates_only_where_it_holds)
{
    struct fixture f;
    fixture_open(&f);
    const struct condition create = {ABSENT, true}, any = {IF_MATCH_ANY, false};
    expect_status(acquire_if(&f, "a", any), STATUS_VERSION_MISMATCH);
    struct result first = acquire_if(&f, "a", create);
    expect_status(first, STATUS_CREATED);
    struct result refused = acquire_if(&f, "a", create);
    expect_status(refused, STATUS_VERSION_MISMATCH);
    cr_expect_eq(refused.version, first.lease.version);
    expect_status(acquire_if(&f, "a", (struct condition){first.lease.version, false}), STATUS_OK);
    expect_status(acquire_if(&f, "a", (struct condition){first.lease.version + 1, false}),
                  STATUS_VERSION_MISMATCH);
    release(&f, "l", "a");
    expect_status(acquire_if(&f, "a", create), STATUS_LEASE_ENDED);
    fixture_close(&f);
}

Test(leases, a_condition_that_fails_neither_renews_nor_releases)
{
    struct fixture f;
    fixture_open(&f);
    int64_t version = ACQUIRE(&f, "l", "a", "ada").lease.version;
    const struct condition stale = {version - 1, false};
    fixture_pass(&f, 1000);
    expect_status(
        fixture_do(&f, (struct command){.kind = COMMAND_LEASE_RENEW,
                                        .lease_renew = {TEXT("l"), TEXT("a"), ABSENT, stale}}),
        STATUS_VERSION_MISMATCH);
    struct command end = {.kind = COMMAND_LEASE_RELEASE,
                          .lease_release = {TEXT("l"), TEXT("a"), stale}};
    struct result refused = fixture_do(&f, end);
    expect_status(refused, STATUS_VERSION_MISMATCH);
    cr_expect_eq(refused.version, version);
    cr_expect_eq(get_lease(&f, "l", "a").lease.lease_expires_ms,
                 f.now.lease_now_ms - 1000 + TTL_MS);
    end.lease_release.condition.if_match = version;
    expect_status(fixture_do(&f, end), STATUS_OK);
    expect_status(fixture_do(&f, end), STATUS_OK); /* gone is gone */
    fixture_close(&f);
}

Test(leases, a_refusal_says_who_holds_and_when_to_come_again)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada", .metadata = "{\"why\":\"deploy\"}");
    ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS);
    fixture_pass(&f, 4000);
    struct result result = ACQUIRE(&f, "l", "c", "cyd");
    expect_status(result, STATUS_LOCK_HELD);
    cr_expect_eq(result.shape, SHAPE_REFUSAL);
    cr_expect_eq(result.refusal.position, 1);
    cr_expect_eq(result.retry_after_ms, TTL_MS - 4000);
    cr_assert_eq(result.refusal.lock.holders.count, 1);
    expect_text(result.refusal.lock.holders.at[0].owner, "ada");
    expect_text(result.refusal.lock.holders.at[0].metadata, "{\"why\":\"deploy\"}");
    expect_status(get_lease(&f, "l", "c"), STATUS_LEASE_NOT_FOUND);
    fixture_close(&f);
}

Test(leases, a_refused_request_leaves_the_state_as_it_was)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada");
    uint64_t before = machine_hash(f.machine);
    expect_status(ACQUIRE(&f, "l", "b", "bob"), STATUS_LOCK_HELD);
    expect_status(ACQUIRE(&f, "l", "b", "bob", .permits = 2), STATUS_PERMITS_EXCEED_LIMIT);
    expect_status(ACQUIRE(&f, "m", "b", "bob", .permits = 2), STATUS_PERMITS_EXCEED_LIMIT);
    expect_status(ACQUIRE(&f, "l", "b", "bob", .session = "x~1"), STATUS_CROSS_PARTITION);
    cr_expect_eq(machine_hash(f.machine), before);
    fixture_close(&f);
}

Test(leases, more_permits_than_the_lock_has_are_refused_for_good)
{
    struct fixture f;
    fixture_open(&f);
    put_lock(&f, "l", 3, 0);
    expect_status(ACQUIRE(&f, "l", "a", "ada", .permits = 4, .wait_ms = WAIT_MS),
                  STATUS_PERMITS_EXCEED_LIMIT);
    expect_status(ACQUIRE(&f, "l", "a", "ada", .permits = 3), STATUS_CREATED);
    expect_status(ACQUIRE(&f, "l", "b", "bob", .mode = LEASE_SHARED, .permits = 4),
                  STATUS_LOCK_HELD); /* a shared lease takes none */
    fixture_close(&f);
}

Test(leases, a_lease_id_belongs_to_its_lock)
{
    struct fixture f;
    fixture_open(&f);
    expect_status(ACQUIRE(&f, "l", "a", "ada"), STATUS_CREATED);
    expect_status(ACQUIRE(&f, "m", "a", "bob"), STATUS_CREATED);
    release(&f, "l", "a");
    cr_expect(is_held(&f, "m", "a"));
    fixture_close(&f);
}

/* ---- time --------------------------------------------------------------------------------------------------------- */

Test(leases, a_lease_holds_to_its_last_millisecond_and_no_longer)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada");
    fixture_pass(&f, TTL_MS - 1);
    expect_status(ACQUIRE(&f, "l", "b", "bob"), STATUS_LOCK_HELD);
    fixture_pass(&f, 1);
    expect_status(ACQUIRE(&f, "l", "b", "bob"), STATUS_CREATED); /* no TICK has run */
    expect_status(renew(&f, "l", "a"), STATUS_LEASE_ENDED);
    fixture_close(&f);
}

Test(leases, a_jump_of_the_wall_clock_ends_no_lease)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada");
    f.now.now_ms += DAY_MS;
    fixture_tick(&f);
    cr_expect(is_held(&f, "l", "a"));
    fixture_close(&f);
}

Test(leases, renewing_starts_the_ttl_anew_and_keeps_fence_and_version)
{
    struct fixture f;
    fixture_open(&f);
    struct result held = ACQUIRE(&f, "l", "a", "ada");
    fixture_pass(&f, TTL_MS - 1);
    struct result renewed = renew(&f, "l", "a");
    expect_status(renewed, STATUS_OK);
    cr_expect_eq(renewed.lease.fence, held.lease.fence);
    cr_expect_eq(renewed.lease.version, held.lease.version);
    cr_expect_eq(renewed.lease.lease_expires_ms, f.now.lease_now_ms + TTL_MS);
    fixture_pass(&f, TTL_MS - 1);
    fixture_tick(&f);
    cr_expect(is_held(&f, "l", "a"));
    fixture_close(&f);
}

Test(leases, renewing_with_a_ttl_makes_it_the_leases_own)
{
    struct fixture f;
    fixture_open(&f);
    struct result acquired = ACQUIRE(&f, "l", "a", "ada");
    struct command shorter = {.kind = COMMAND_LEASE_RENEW,
                              .lease_renew = {TEXT("l"), TEXT("a"), 1000, UNCONDITIONAL}};
    struct result first = fixture_do(&f, shorter);
    cr_expect_eq(first.lease.ttl_ms, 1000);
    cr_expect_gt(first.lease.version, acquired.lease.version);
    cr_expect(fixture_event(&f, EVENT_LEASE, "l", "a"));
    struct result again = renew(&f, "l", "a");
    cr_expect_eq(again.lease.ttl_ms, 1000);
    cr_expect_eq(again.lease.version, first.lease.version); /* a heartbeat changes nothing */
    cr_expect_not(fixture_event(&f, EVENT_LEASE, "l", "a"));
    cr_expect_leq(machine_due(f.machine).lease_ms, f.now.lease_now_ms + 1000);
    expect_status(ACQUIRE(&f, "l", "a", "ada"), STATUS_OK); /* what it was asked for stays */
    fixture_close(&f);
}

/* Bob, then cyd, wait for what ada holds; bob's client hangs up. */
static void bob_hangs_up(struct fixture *f)
{
    fixture_open(f);
    ACQUIRE(f, "l", "a", "ada");
    int64_t ticket = ACQUIRE(f, "l", "b", "bob", .wait_ms = WAIT_MS).lease.ticket;
    ACQUIRE(f, "l", "c", "cyd", .wait_ms = WAIT_MS);
    abandon(f, "l", "b", ticket);
    expect_status(get_lease(f, "l", "b"), STATUS_LEASE_NOT_FOUND);
    cr_expect_eq(get_lock(f, "l").lock.waiter_count, 1);
}

Test(leases, who_hung_up_and_comes_back_finds_its_place_in_line)
{
    struct fixture f;
    bob_hangs_up(&f);
    fixture_pass(&f, WAIT_MS / 2);
    struct result back = ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS);
    expect_status(back, STATUS_WAITING);
    cr_expect_eq(back.lease.position, 0);
    cr_expect_eq(get_lease(&f, "l", "c").lease.position, 1);
    cr_expect_eq(machine_counters(f.machine).ended_leases, 0);
    release(&f, "l", "a");
    cr_expect(is_held(&f, "l", "b"));
    cr_expect(is_waiting(&f, "l", "c"));
    fixture_close(&f);
}

Test(leases, who_hung_up_holds_nobody_back)
{
    struct fixture f;
    bob_hangs_up(&f);
    release(&f, "l", "a");
    cr_expect(is_held(&f, "l", "c"));
    collect(&f, "l", "c");
    release(&f, "l", "c");
    expect_status(ACQUIRE(&f, "l", "d", "dan"), STATUS_CREATED);
    release(&f, "l", "d");
    expect_status(ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS), STATUS_CREATED);
    cr_expect_eq(machine_counters(f.machine).ended_leases, 3);
    fixture_close(&f);
}

Test(leases, a_place_that_was_left_is_gone_for_another_request_when_the_wait_is_over_or_cancelled)
{
    for (int how = 0; how < 3; how++) {
        struct fixture f;
        bob_hangs_up(&f);
        struct ask ask = {.name = "l", .lease = "b", .owner = "bob", .wait_ms = 3 * WAIT_MS};
        ACQUIRE(&f, "l", "c", "cyd", .wait_ms = 2 * WAIT_MS);
        if (how == 0) {
            ask.ttl_ms = 77;
        } else if (how == 1) {
            fixture_pass(&f, WAIT_MS);
        } else {
            expect_status(release(&f, "l", "b"), STATUS_OK);
        }
        struct result anew = acquire(&f, ask);
        expect_status(anew, STATUS_WAITING);
        cr_expect_eq(anew.lease.position, 1, "case %d", how);
        cr_expect_eq(machine_counters(f.machine).ended_leases, 0);
        fixture_close(&f);
    }
}

Test(leases, who_comes_back_to_the_head_of_the_line_is_served_at_once_where_there_is_room)
{
    struct fixture f;
    fixture_open(&f);
    put_lock(&f, "l", 2, 0);
    ACQUIRE(&f, "l", "a1", "ada");
    ACQUIRE(&f, "l", "a2", "ada");
    int64_t ticket = ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS).lease.ticket;
    ACQUIRE(&f, "l", "c", "cyd", .wait_ms = WAIT_MS, .permits = 2);
    abandon(&f, "l", "b", ticket);
    release(&f, "l", "a1"); /* room for one: not enough for cyd */
    struct result back = ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS);
    expect_status(back, STATUS_CREATED);
    cr_expect_eq(back.lease.state, LEASE_HELD);
    cr_expect_eq(back.lease.lease_expires_ms, f.now.lease_now_ms + TTL_MS);
    cr_expect(is_waiting(&f, "l", "c"));
    fixture_close(&f);
}

Test(leases, a_grant_that_nobody_collects_lapses_and_the_next_in_line_is_served)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada", .lock_delay_ms = 60000);
    ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS, .lock_delay_ms = 60000);
    ACQUIRE(&f, "l", "c", "cyd", .wait_ms = WAIT_MS);
    release(&f, "l", "a");
    cr_expect(is_held(&f, "l", "b"));
    fixture_pass(&f, CLAIM_MS);
    fixture_tick(&f);
    cr_expect_eq(get_lease(&f, "l", "b").reason, REASON_EXPIRED);
    cr_expect(is_held(&f, "l", "c"), "a hold nobody knew of must not start a lock-delay");
    fixture_close(&f);
}

Test(leases, a_claim_is_never_longer_than_the_ttl)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada");
    ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS, .ttl_ms = 100);
    release(&f, "l", "a");
    cr_expect_eq(get_lease(&f, "l", "b").lease.lease_expires_ms, f.now.lease_now_ms + 100);
    fixture_close(&f);
}

Test(leases, collecting_starts_the_ttl)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada");
    ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS);
    release(&f, "l", "a");
    fixture_pass(&f, CLAIM_MS - 1);
    struct result collected = collect(&f, "l", "b");
    expect_status(collected, STATUS_CREATED);
    cr_expect_eq(collected.lease.lease_expires_ms, f.now.lease_now_ms + TTL_MS);
    fixture_pass(&f, CLAIM_MS);
    expect_status(collect(&f, "l", "b"), STATUS_OK);
    fixture_close(&f);
}

/* ---- waiting ------------------------------------------------------------------------------------------------------ */

Test(leases, a_wait_that_is_over_answers_lock_held_whether_or_not_a_tick_came_first)
{
    for (int ticked = 0; ticked < 2; ticked++) {
        struct fixture f;
        fixture_open(&f);
        ACQUIRE(&f, "l", "a", "ada");
        ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS);
        fixture_pass(&f, WAIT_MS);
        if (ticked) {
            fixture_tick(&f);
        }
        struct result result = collect(&f, "l", "b");
        expect_status(result, STATUS_LOCK_HELD);
        cr_expect_eq(result.refusal.position, 0);
        expect_status(ACQUIRE(&f, "l", "b", "cyd", .wait_ms = WAIT_MS), STATUS_WAITING);
        fixture_close(&f);
    }
}

Test(leases, a_waiter_that_asks_again_keeps_its_place_and_waits_longer)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada");
    ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS);
    ACQUIRE(&f, "l", "c", "cyd", .wait_ms = 2 * WAIT_MS);
    fixture_pass(&f, WAIT_MS / 2);
    struct result again = ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS);
    expect_status(again, STATUS_WAITING);
    cr_expect_eq(again.lease.position, 0);
    cr_expect_eq(again.lease.lease_expires_ms, f.now.lease_now_ms + WAIT_MS);
    struct result shorter = ACQUIRE(&f, "l", "b", "bob", .wait_ms = 1);
    cr_expect_eq(shorter.lease.lease_expires_ms, f.now.lease_now_ms + WAIT_MS);
    fixture_close(&f);
}

Test(leases, a_client_that_reconnected_keeps_its_place_when_its_old_connection_is_found_dead)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada");
    int64_t old = ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS).lease.ticket;
    int64_t new = ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS).lease.ticket;
    abandon(&f, "l", "b", old);
    cr_expect(is_waiting(&f, "l", "b"));
    release(&f, "l", "a");
    abandon(&f, "l", "b", old);
    cr_expect(is_held(&f, "l", "b"));
    abandon(&f, "l", "b", new);
    expect_status(get_lease(&f, "l", "b"), STATUS_LEASE_NOT_FOUND);
    fixture_close(&f);
}

Test(leases, an_async_waiter_without_a_time_waits_as_long_as_anybody_may)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada", .ttl_ms = HOUR_MS);
    struct result waiting = ACQUIRE(&f, "l", "b", "bob", .async = true);
    expect_status(waiting, STATUS_WAITING);
    cr_expect_eq(waiting.lease.lease_expires_ms, f.now.lease_now_ms + WAIT_MS_MAX);
    fixture_pass(&f, WAIT_MS_MAX);
    fixture_tick(&f);
    struct result over = collect(&f, "l", "b");
    expect_status(over, STATUS_LEASE_ENDED);
    cr_expect_eq(over.reason, REASON_EXPIRED);
    fixture_close(&f);
}

Test(leases, a_grant_never_goes_to_a_waiter_whose_deadline_has_passed)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada");
    ACQUIRE(&f, "l", "b", "bob", .wait_ms = 1000);
    ACQUIRE(&f, "l", "c", "cyd", .wait_ms = WAIT_MS);
    fixture_pass(&f, 1000);
    release(&f, "l", "a"); /* no TICK has taken bob out of line */
    expect_status(get_lease(&f, "l", "b"), STATUS_LEASE_NOT_FOUND);
    cr_expect(is_held(&f, "l", "c"));
    fixture_close(&f);
}

Test(leases, a_waiter_that_would_not_wait_is_refused_but_keeps_its_place_and_deadline)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada");
    struct result waiting = ACQUIRE(&f, "l", "b", "bob", .wait_ms = WAIT_MS);
    ACQUIRE(&f, "l", "c", "cyd", .wait_ms = WAIT_MS);
    fixture_pass(&f, 1);
    struct result refused = ACQUIRE(&f, "l", "c", "cyd");
    expect_status(refused, STATUS_LOCK_HELD);
    cr_expect_eq(refused.refusal.position, 1);
    expect_status(ACQUIRE(&f, "l", "b", "bob"), STATUS_LOCK_HELD);
    struct lease_view kept = get_lease(&f, "l", "b").lease;
    cr_expect_eq(kept.lease_expires_ms, waiting.lease.lease_expires_ms);
    cr_expect_eq(kept.ticket, waiting.lease.ticket);
    fixture_close(&f);
}

/* ---- patching ----------------------------------------------------------------------------------------------------- */

Test(leases, a_merge_patch_changes_metadata_and_wakes_who_watches_the_lock)
{
    struct fixture f;
    fixture_open(&f);
    struct result held = ACQUIRE(&f, LOCK, "a", "ada", .metadata = "{\"url\":\"u1\",\"old\":true}");
    int64_t lock_version = get_lock(&f, LOCK).lock.version;
    struct result patched = patch(&f, "a", "{\"url\":\"u2\",\"old\":null}", ABSENT);
    expect_status(patched, STATUS_OK);
    expect_text(patched.lease.metadata, "{\"url\":\"u2\"}");
    cr_expect_gt(patched.lease.version, held.lease.version);
    cr_expect_gt(get_lock(&f, LOCK).lock.version, lock_version);
    cr_expect(fixture_event(&f, EVENT_LEASE, LOCK, "a"));
    cr_expect(fixture_event(&f, EVENT_LOCK, LOCK, NULL));
    fixture_close(&f);
}

Test(leases, a_patch_that_says_nothing_changes_nothing)
{
    struct fixture f;
    fixture_open(&f);
    struct result held = ACQUIRE(&f, LOCK, "a", "ada");
    struct result patched = patch(&f, "a", NULL, ABSENT);
    expect_status(patched, STATUS_OK);
    cr_expect_eq(patched.lease.version, held.lease.version);
    cr_expect_eq(patch(&f, "a", NULL, LEASE_EXCLUSIVE).lease.version, held.lease.version);
    fixture_close(&f);
}

Test(leases, a_patch_can_clear_the_metadata)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada", .metadata = "{\"url\":\"u1\"}");
    struct command clear = {.kind = COMMAND_LEASE_PATCH,
                            .lease_patch = {.name = TEXT("l"),
                                            .lease = TEXT("a"),
                                            .clear_metadata = true,
                                            .mode = ABSENT,
                                            .condition = UNCONDITIONAL}};
    expect_text(fixture_do(&f, clear).lease.metadata, "{}");
    fixture_close(&f);
}

Test(leases, a_patch_at_another_version_is_refused)
{
    struct fixture f;
    fixture_open(&f);
    struct result held = ACQUIRE(&f, "l", "a", "ada");
    struct command stale = {.kind = COMMAND_LEASE_PATCH,
                            .lease_patch = {.name = TEXT("l"),
                                            .lease = TEXT("a"),
                                            .metadata_patch = TEXT("{\"x\":1}"),
                                            .mode = ABSENT,
                                            .condition = {held.lease.version + 1, false}}};
    struct result result = fixture_do(&f, stale);
    expect_status(result, STATUS_VERSION_MISMATCH);
    cr_expect_eq(result.version, held.lease.version);
    stale.lease_patch.condition.if_match = held.lease.version;
    expect_status(fixture_do(&f, stale), STATUS_OK);
    fixture_close(&f);
}

Test(leases, metadata_that_grows_too_large_by_a_patch_is_refused)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, LOCK, "a", "ada", .metadata = "{\"a\":1}");
    static char large[LEASE_METADATA_BYTES_MAX + 1];
    memset(large, 'x', sizeof large - 1);
    memcpy(large, "{\"b\":\"", 6);
    memcpy(large + sizeof large - 3, "\"}", 2);
    struct result result = patch(&f, "a", large, ABSENT);
    expect_status(result, STATUS_BODY_TOO_LARGE);
    expect_text(result.field, "metadata");
    expect_text(get_lease(&f, LOCK, "a").lease.metadata, "{\"a\":1}");
    fixture_close(&f);
}

Test(leases, a_writer_that_becomes_a_reader_lets_the_readers_behind_it_in)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, LOCK, "a", "ada");
    ACQUIRE(&f, LOCK, "b", "bob", .mode = LEASE_SHARED, .wait_ms = WAIT_MS);
    struct result patched = patch(&f, "a", NULL, LEASE_SHARED);
    expect_status(patched, STATUS_OK);
    cr_expect_eq(patched.lease.mode, LEASE_SHARED);
    cr_expect(is_held(&f, LOCK, "b"));
    expect_status(patch(&f, "a", NULL, LEASE_EXCLUSIVE), STATUS_MODE_CONFLICT);
    fixture_close(&f);
}

Test(leases, a_holder_of_permits_cannot_share_beside_other_exclusive_holders)
{
    struct fixture f;
    fixture_open(&f);
    put_lock(&f, LOCK, 2, 0);
    ACQUIRE(&f, LOCK, "a", "ada");
    ACQUIRE(&f, LOCK, "b", "bob");
    expect_status(patch(&f, "a", NULL, LEASE_SHARED), STATUS_LOCK_HELD);
    release(&f, LOCK, "b");
    expect_status(patch(&f, "a", NULL, LEASE_SHARED), STATUS_OK);
    fixture_close(&f);
}

/* ---- remembering -------------------------------------------------------------------------------------------------- */

Test(leases, an_ended_lease_is_remembered_for_an_hour_and_then_forgotten)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada");
    release(&f, "l", "a");
    fixture_pass(&f, LEASE_TOMBSTONE_MS - 1);
    fixture_tick(&f);
    expect_status(ACQUIRE(&f, "l", "a", "ada"), STATUS_LEASE_ENDED);
    fixture_pass(&f, 1);
    fixture_tick(&f);
    expect_status(get_lease(&f, "l", "a"), STATUS_LEASE_NOT_FOUND);
    expect_status(ACQUIRE(&f, "l", "a", "ada"), STATUS_CREATED);
    fixture_close(&f);
}

Test(leases, a_break_is_told_with_its_reason_to_whoever_comes_back)
{
    struct fixture f;
    fixture_open(&f);
    ACQUIRE(&f, "l", "a", "ada");
    cr_expect_eq(break_lock(&f, "l", ABSENT).count, 1);
    struct result result = renew(&f, "l", "a");
    expect_status(result, STATUS_LEASE_ENDED);
    cr_expect_eq(result.reason, REASON_REVOKED);
    expect_text(result.reason_text, "stuck");
    fixture_close(&f);
}

/* ---- sessions ----------------------------------------------------------------------------------------------------- */

Test(leases, a_session_that_is_not_alive_can_hold_nothing)
{
    struct fixture f;
    fixture_open(&f);
    expect_status(ACQUIRE(&f, "l~1", "a", "ada", .session = "l~s"), STATUS_SESSION_NOT_FOUND);
    put_session(&f, "l~s");
    end_session(&f, "l~s");
    struct result result = ACQUIRE(&f, "l~1", "a", "ada", .session = "l~s");
    expect_status(result, STATUS_SESSION_ENDED);
    cr_expect_eq(result.reason, REASON_REVOKED);
    fixture_close(&f);
}

Test(leases, the_end_of_a_session_ends_its_leases_and_serves_the_line_in_one_transaction)
{
    struct fixture f;
    fixture_open(&f);
    put_session(&f, "l~s");
    ACQUIRE(&f, "l~1", "a", "ada", .session = "l~s");
    ACQUIRE(&f, "l~2", "a", "ada", .session = "l~s");
    ACQUIRE(&f, "l~1", "b", "bob", .wait_ms = WAIT_MS);
    end_session(&f, "l~s");
    cr_expect(fixture_event(&f, EVENT_LEASE, "l~1", "a"));
    cr_expect(fixture_event(&f, EVENT_LEASE, "l~1", "b"));
    cr_expect(is_held(&f, "l~1", "b"));
    cr_expect_eq(get_lease(&f, "l~2", "a").reason, REASON_SESSION_ENDED);
    fixture_close(&f);
}

Test(leases, a_session_that_time_has_ended_holds_nothing_even_before_a_tick)
{
    struct fixture f;
    fixture_open(&f);
    put_session(&f, "l~s");
    ACQUIRE(&f, "l~1", "a", "ada", .session = "l~s", .ttl_ms = DAY_MS);
    fixture_pass(&f, 30 * MINUTE_MS);
    struct result seen = get_lease(&f, "l~1", "a");
    expect_status(seen, STATUS_LEASE_ENDED);
    cr_expect_eq(seen.reason, REASON_SESSION_ENDED);
    cr_expect_eq(get_lock(&f, "l~1").lock.holder_count, 0);
    expect_status(renew(&f, "l~1", "a"), STATUS_LEASE_ENDED);
    fixture_close(&f);
}

static struct result rotate(struct fixture *f, const char *id)
{
    return fixture_do(
        f, (struct command){
               .kind = COMMAND_SESSION_ROTATE,
               .session_rotate = {.id = text_of(id),
                                  .new_random = TEXT("next"),
                                  .new_token_hash = TEXT("0123456789abcdef0123456789abcdef"),
                                  .departs_at = ABSENT}});
}

Test(leases, a_rotated_session_takes_its_leases_along)
{
    struct fixture f;
    fixture_open(&f);
    put_session(&f, "l~s");
    struct result held = ACQUIRE(&f, "l~1", "a", "ada", .session = "l~s");
    struct text next = rotate(&f, "l~s").session.id;
    struct result moved = get_lease(&f, "l~1", "a");
    expect_status(moved, STATUS_OK);
    cr_expect(text_equal(moved.lease.session, next));
    cr_expect_eq(moved.lease.fence, held.lease.fence);
    cr_expect_gt(moved.lease.version, held.lease.version);
    expect_status(ACQUIRE(&f, "l~1", "a", "ada", .session = next.at), STATUS_OK);
    end_session(&f, next.at);
    expect_status(get_lease(&f, "l~1", "a"), STATUS_LEASE_ENDED);
    fixture_close(&f);
}

Test(leases, a_place_in_line_counts_only_those_before_it_who_still_wait)
{
    struct fixture f;
    fixture_open(&f);
    put_session(&f, "t~x");
    ACQUIRE(&f, "t~lock", "held", "ada", .ttl_ms = DAY_MS);
    ACQUIRE(&f, "t~lock", "short", "bob", .wait_ms = SECOND_MS);
    ACQUIRE(&f, "t~lock", "bound", "cyd", .session = "t~x", .wait_ms = DAY_MS);
    ACQUIRE(&f, "t~lock", "last", "dan", .wait_ms = DAY_MS);
    cr_expect_eq(get_lease(&f, "t~lock", "last").lease.position, 2);
    fixture_pass(&f, SECOND_MS);
    cr_expect_eq(get_lease(&f, "t~lock", "last").lease.position, 1);
    fixture_pass(&f, 30 * MINUTE_MS);
    cr_expect_eq(get_lease(&f, "t~lock", "last").lease.position, 0);
    fixture_close(&f);
}
