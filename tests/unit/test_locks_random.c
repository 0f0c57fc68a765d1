/*
 * Locks under random histories: after every step the invariants of db/locks_sanity.c hold, fences only grow, and nobody
 * is served before who came first; in the end, the same commands give a second machine the same state.
 */
#include "tests/unit/lock_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { HISTORIES = 8, STEPS = 400, NAMES = 3, LEASES = 8, OWNERS = 4, SESSIONS = 2 };

static const char *const NAME[NAMES] = {"r~0", "r~1", "r~2"};
static const char *const OWNER[OWNERS] = {"ada", "bob", "cyd", "dan"};
static const char *const SESSION[SESSIONS] = {"r~s0", "r~s1"};

static int64_t below(int n)
{
    return rand() % n;
}
static struct text name_of(int64_t i)
{
    return text_of(NAME[i]);
}
/* Few ids, so that they meet; they are made new now and then, as an ended one cannot be used again. */
static struct text lease_of(struct arena *arena, int step)
{
    return arena_format(arena, "e%d-%d", step / 100, (int)below(LEASES));
}

static struct command any_acquire(struct arena *arena, int step)
{
    struct command command = acquire_command((struct ask){.owner = OWNER[below(OWNERS)],
                                                          .mode = below(2),
                                                          .permits = 1 + below(2),
                                                          .ttl_ms = 1 + below(3000),
                                                          .wait_ms = below(3) * below(2000),
                                                          .lock_delay_ms = below(3) * 100,
                                                          .async = below(4) == 0});
    command.lease_acquire.name = name_of(below(NAMES));
    command.lease_acquire.lease = lease_of(arena, step);
    command.lease_acquire.session = below(4) == 0 ? text_of(SESSION[below(SESSIONS)]) : TEXT_ABSENT;
    return command;
}

static struct command any_set(struct arena *arena, int step)
{
    struct lock_set_member *members = arena_zalloc(arena, 2, sizeof *members);
    int64_t first = below(NAMES);
    members[0] = (struct lock_set_member){name_of(first), below(2), 1};
    members[1] = (struct lock_set_member){name_of((first + 1) % NAMES), below(2), 1};
    return (struct command){.kind = COMMAND_LOCK_SET_ACQUIRE,
                            .lock_set_acquire = {.lease = lease_of(arena, step),
                                                 .owner = text_of(OWNER[below(OWNERS)]),
                                                 .metadata = TEXT("{}"),
                                                 .ttl_ms = 1 + below(3000),
                                                 .wait_ms = below(3000),
                                                 .lock_delay_ms = ABSENT,
                                                 .locks = {members, 2},
                                                 .async = below(4) == 0,
                                                 .condition = UNCONDITIONAL}};
}

static struct command any_on_lease(struct arena *arena, int step)
{
    static const enum command_kind KINDS[] = {COMMAND_LEASE_COLLECT, COMMAND_LEASE_RELEASE,
                                              COMMAND_LEASE_RELEASE};
    struct command command = {.kind = KINDS[below(3)]};
    struct lease_key key = {name_of(below(NAMES)), lease_of(arena, step)};
    if (command.kind == COMMAND_LEASE_RELEASE) {
        command.lease_release = (struct lease_release){key.name, key.lease, UNCONDITIONAL};
    } else {
        command.lease_collect = key;
    }
    return command;
}

static struct command any_change(struct arena *arena, int step)
{
    struct text name = name_of(below(NAMES)), lease = lease_of(arena, step);
    switch (below(4)) {
    case 0:
        return (struct command){.kind = COMMAND_LEASE_RENEW,
                                .lease_renew = {name, lease, ABSENT, UNCONDITIONAL}};
    case 1:
        return (struct command){.kind = COMMAND_LEASE_ABANDON,
                                .lease_abandon = {name, lease, below(2000)}};
    case 2:
        return (struct command){
            .kind = COMMAND_LEASE_PATCH,
            .lease_patch = {
                .name = name, .lease = lease, .mode = below(2), .condition = UNCONDITIONAL}};
    default:
        return (struct command){.kind = COMMAND_LOCK_PUT,
                                .lock_put = {name, 1 + below(4), below(2) * 200, UNCONDITIONAL}};
    }
}

static struct command any_other(void)
{
    struct text session = text_of(SESSION[below(SESSIONS)]);
    switch (below(4)) {
    case 0:
        return (struct command){
            .kind = COMMAND_LOCK_BREAK,
            .lock_break = {name_of(below(NAMES)), TEXT("why"), ABSENT, UNCONDITIONAL}};
    case 1:
        return (struct command){.kind = COMMAND_SESSION_DELETE,
                                .session_delete = {session, UNCONDITIONAL}};
    default:
        return (struct command){
            .kind = COMMAND_SESSION_PUT,
            .session_put = {session, TEXT("{}"), DAY_MS, DAY_MS, UNCONDITIONAL}};
    }
}

static struct command any_command(struct arena *arena, int step)
{
    int64_t dice = below(20);
    return dice < 8    ? any_acquire(arena, step)
           : dice < 10 ? any_set(arena, step)
           : dice < 14 ? any_on_lease(arena, step)
           : dice < 16 ? any_change(arena, step)
           : dice < 17 ? any_other()
                       : (struct command){.kind = COMMAND_TICK, .tick = {1 + below(5)}};
}

/* A lease that was granted from a line had nobody before it there: of those who waited a step ago and still wait, none
   stands before one who now holds. */
struct line_seen {
    struct lock_view locks[NAMES];
};
static struct line_seen look_at_lines(struct fixture *f)
{
    struct line_seen seen;
    for (int i = 0; i < NAMES; i++) {
        seen.locks[i] = get_lock(f, NAME[i]).lock;
    }
    return seen;
}
static const struct lease_view *find(struct text lease, const struct lease_views *views)
{
    for (size_t i = 0; i < views->count; i++) {
        if (text_equal(views->at[i].lease, lease)) {
            return &views->at[i];
        }
    }
    return NULL;
}
static void expect_in_order(const struct line_seen *before, const struct line_seen *after)
{
    for (int i = 0; i < NAMES; i++) {
        bool somebody_still_waits = false;
        for (size_t n = 0; n < before->locks[i].waiters.count; n++) {
            const struct lease_view *then = &before->locks[i].waiters.at[n];
            const struct lease_view *now = find(then->lease, &after->locks[i].waiters);
            bool served = find(then->lease, &after->locks[i].holders) != NULL;
            cr_assert(!served || !somebody_still_waits, "%s: %s was served out of its turn",
                      NAME[i], then->lease.at);
            /* One whose time was over, and who came anew, has another version. */
            bool still_waits = now != NULL && now->version == then->version;
            somebody_still_waits = somebody_still_waits || still_waits;
        }
    }
}

struct history {
    struct command commands[STEPS];
};

static void live_through(struct fixture *f, struct history *history, struct arena *arena)
{
    int64_t fence = 0;
    struct line_seen before = look_at_lines(f);
    for (int step = 0; step < STEPS; step++) {
        fixture_pass(f, below(3) * below(400));
        struct command *command = &history->commands[step];
        *command = any_command(arena, step);
        command->stamp = f->now;
        struct result result = fixture_do(f, *command);
        const char *wrong = machine_sanity(f->machine, &f->arena);
        cr_assert_null(wrong, "step %d, %s: %s", step, command_name(command->kind), wrong);
        if (result.status == STATUS_CREATED && result.shape == SHAPE_LEASE &&
            command->kind == COMMAND_LEASE_ACQUIRE) {
            cr_assert_gt(result.lease.fence, fence);
        }
        cr_assert_geq(machine_counters(f->machine).fence, fence);
        fence = machine_counters(f->machine).fence;
        struct line_seen after = look_at_lines(f);
        expect_in_order(&before, &after);
        before = after;
    }
}

Test(locks_random, no_history_breaks_an_invariant_and_each_can_be_lived_again)
{
    static struct history history;
    for (int n = 0; n < HISTORIES; n++) {
        struct fixture first, second;
        struct arena arena = ARENA_EMPTY;
        srand((unsigned)n);
        fixture_open(&first);
        live_through(&first, &history, &arena);
        fixture_open(&second);
        for (int step = 0; step < STEPS; step++) {
            second.now = history.commands[step].stamp;
            fixture_do(&second, history.commands[step]);
        }
        cr_expect_eq(machine_hash(second.machine), machine_hash(first.machine), "history %d", n);
        fixture_close(&first);
        fixture_close(&second);
        arena_free(&arena);
    }
}
