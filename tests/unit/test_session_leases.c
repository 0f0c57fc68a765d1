/* However a session ends, the leases bound to it end in the same batch; a rotation takes them along or ends them. */
#include "tests/unit/lock_fixture.h"

#include <criterion/criterion.h>

#define HASH ((struct text){"0123456789abcdef0123456789abcdef", 32})

static struct result create(struct fixture *f, const char *id, int64_t limit)
{
    return fixture_do(f, (struct command){.kind = COMMAND_SESSION_CREATE,
                                          .session_create = {.id = text_of(id),
                                                             .token_hash = HASH,
                                                             .subject = TEXT("ada"),
                                                             .data = TEXT("{}"),
                                                             .idle_ttl_ms = MINUTE_MS,
                                                             .max_ttl_ms = HOUR_MS,
                                                             .subject_limit = limit,
                                                             .evict_oldest = true}});
}

static void rotate(struct fixture *f, const char *tag, int64_t grace_ms)
{
    fixture_do(f, (struct command){.kind = COMMAND_SESSION_ROTATE,
                                   .session_rotate = {.id = TEXT("t~x"),
                                                      .new_random = TEXT("y"),
                                                      .new_token_hash = HASH,
                                                      .subject = TEXT("ada"),
                                                      .subject_tag = text_of(tag),
                                                      .departs_at = ABSENT,
                                                      .grace_ms = grace_ms}});
}

/* Each ends the session t~x. */
static void by_idling(struct fixture *f)
{
    fixture_pass(f, MINUTE_MS);
    fixture_tick(f);
}

static void by_age(struct fixture *f)
{
    for (int minutes = 0; minutes < 120; minutes++) {
        fixture_do(f, (struct command){.kind = COMMAND_SESSION_TOUCH,
                                       .session_touch = {TEXT("t~x"), UNCONDITIONAL}});
        fixture_pass(f, MINUTE_MS / 2);
    }
    fixture_tick(f);
}

static void by_delete(struct fixture *f)
{
    end_session(f, "t~x");
}

static void by_revoking_its_subject(struct fixture *f)
{
    fixture_do(f, (struct command){.kind = COMMAND_SUBJECT_REVOKE,
                                   .subject_revoke = {TEXT("ada"), TEXT_ABSENT}});
}

static void by_eviction(struct fixture *f)
{
    create(f, "t~new", 1);
}

static void by_idling_seen_by_the_next_create(struct fixture *f)
{
    fixture_pass(f, MINUTE_MS);
    create(f, "t~new", 1);
}

static void by_rotation_to_another_tag(struct fixture *f)
{
    rotate(f, "u", MINUTE_MS);
}

static void by_a_put_long_after_its_end(struct fixture *f)
{
    fixture_pass(f, MINUTE_MS + SESSION_TOMBSTONE_MS);
    put_session(f, "t~x");
}

Test(session_leases, they_end_with_the_session_however_it_ends)
{
    static const struct {
        const char *name;
        void (*end)(struct fixture *f);
    } WAYS[] = {
        {"idle", by_idling},
        {"absolute", by_age},
        {"deleted", by_delete},
        {"revoked", by_revoking_its_subject},
        {"evicted", by_eviction},
        {"idle, seen by a create", by_idling_seen_by_the_next_create},
        {"rotated to another tag", by_rotation_to_another_tag},
        {"forgotten, put anew", by_a_put_long_after_its_end},
    };
    for (size_t i = 0; i < sizeof WAYS / sizeof WAYS[0]; i++) {
        struct fixture f;
        fixture_open(&f);
        create(&f, "t~x", ABSENT);
        struct result held =
            ACQUIRE(&f, "t~lock", "l", "ada", .session = "t~x", .ttl_ms = 2 * DAY_MS);
        cr_assert_eq(held.status, STATUS_CREATED, "%s", WAYS[i].name);
        WAYS[i].end(&f);
        cr_expect_eq(machine_counters(f.machine).held, 0, "%s", WAYS[i].name);
        struct result lease = get_lease(&f, "t~lock", "l");
        cr_expect_eq(lease.status, STATUS_LEASE_ENDED, "%s: %s", WAYS[i].name,
                     status_info(lease.status)->name);
        cr_expect_eq(lease.reason, REASON_SESSION_ENDED, "%s", WAYS[i].name);
        fixture_close(&f);
    }
}

Test(session_leases, they_go_with_a_rotation_that_keeps_the_tag_and_end_with_the_successor)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "t~x", ABSENT);
    ACQUIRE(&f, "t~lock", "l", "ada", .session = "t~x", .ttl_ms = 2 * DAY_MS);
    rotate(&f, "t", 0);
    struct result lease = get_lease(&f, "t~lock", "l");
    cr_assert_eq(lease.status, STATUS_OK);
    expect_text(lease.lease.session, "t~y");
    end_session(&f, "t~y");
    cr_expect_eq(get_lease(&f, "t~lock", "l").reason, REASON_SESSION_ENDED);
    fixture_close(&f);
}

Test(session_leases, an_old_id_within_its_grace_is_not_alive_and_can_hold_nothing)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "t~x", ABSENT);
    rotate(&f, "t", MINUTE_MS);
    struct result refused = ACQUIRE(&f, "t~lock", "l", "ada", .session = "t~x");
    cr_expect(!status_is_ok(refused.status), "%s", status_info(refused.status)->name);
    fixture_close(&f);
}

Test(session_leases, a_session_that_time_has_ended_makes_room_even_before_a_tick)
{
    struct fixture f;
    fixture_open(&f);
    fixture_tick(&f);
    put_session(&f, "t~x");
    ACQUIRE(&f, "t~lock", "l", "ada", .session = "t~x", .ttl_ms = 2 * DAY_MS);
    fixture_pass(&f, 30 * MINUTE_MS);
    struct result granted = ACQUIRE(&f, "t~lock", "m", "bob");
    cr_expect_eq(granted.status, STATUS_CREATED, "%s", status_info(granted.status)->name);
    cr_expect_eq(get_lease(&f, "t~lock", "l").reason, REASON_SESSION_ENDED);
    fixture_close(&f);
}

Test(session_leases, a_list_of_what_an_owner_has_leaves_out_what_ended_with_a_session)
{
    struct fixture f;
    fixture_open(&f);
    put_session(&f, "t~x");
    ACQUIRE(&f, "t~lock", "l", "ada", .session = "t~x", .ttl_ms = 2 * DAY_MS);
    struct command list = {.kind = COMMAND_LOCK_LIST,
                           .lock_list = {TEXT_ABSENT, TEXT("ada"), {TEXT_ABSENT, 10}}};
    cr_expect_eq(fixture_read(&f, list).locks.items.count, 1);
    fixture_pass(&f, 30 * MINUTE_MS);
    cr_expect_eq(fixture_read(&f, list).locks.items.count, 0, "no TICK has come to it yet");
    ACQUIRE(&f, "t~lock", "m", "ada", .wait_ms = WAIT_MS);
    cr_expect_eq(fixture_read(&f, list).locks.items.count, 1, "what lives beside it counts");
    fixture_close(&f);
}

Test(session_leases, one_that_had_expired_before_stays_expired_when_its_session_ends)
{
    struct fixture f;
    fixture_open(&f);
    put_session(&f, "t~x");
    ACQUIRE(&f, "t~lock", "l", "ada", .session = "t~x", .ttl_ms = SECOND_MS,
            .lock_delay_ms = MINUTE_MS);
    fixture_pass(&f, 2 * SECOND_MS);
    cr_expect_eq(get_lease(&f, "t~lock", "l").reason, REASON_EXPIRED);
    end_session(&f, "t~x");
    cr_expect_eq(get_lease(&f, "t~lock", "l").reason, REASON_EXPIRED);
    cr_expect_eq(get_lock(&f, "t~lock").lock.delayed_for_ms, MINUTE_MS - SECOND_MS);
    fixture_close(&f);
}
