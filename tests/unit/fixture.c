#include "tests/unit/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const unsigned char SEED[32] = "a test's seed, always the same.";

static void open_machine(struct fixture *f)
{
    char why[256];
    enum status status = machine_open(f->path, STORAGE_WRITTEN, true, SEED, &f->machine, why);
    cr_assert_eq(status, STATUS_OK, "cannot open the machine: %s", why);
}

void fixture_open(struct fixture *f)
{
    *f = (struct fixture){.arena = ARENA_EMPTY, .now = {1000000, 0}};
    snprintf(f->dir, sizeof f->dir, "/tmp/ringhold-unit-XXXXXX");
    cr_assert_not_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/partition.db", f->dir);
    open_machine(f);
}

void fixture_reopen(struct fixture *f)
{
    machine_close(f->machine);
    open_machine(f);
}

void fixture_close(struct fixture *f)
{
    const char *wrong = machine_sanity(f->machine, &f->arena);
    cr_expect_null(wrong, "the state is not sane: %s", wrong);
    machine_close(f->machine);
    arena_free(&f->arena);
    static const char *const SUFFIX[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", f->path, SUFFIX[i]);
        unlink(path);
    }
    rmdir(f->dir);
}

void fixture_pass(struct fixture *f, int64_t ms)
{
    f->now.now_ms += ms;
    f->now.lease_now_ms += ms;
}

struct result fixture_do(struct fixture *f, struct command command)
{
    struct result result;
    command.stamp = f->now;
    machine_begin(f->machine, &f->arena);
    machine_apply(f->machine, &command, &f->arena, &result);
    enum status status = machine_commit(f->machine, &f->events);
    cr_assert_eq(status, STATUS_OK, "%s: %s", command_name(command.kind),
                 machine_failure(f->machine));
    return result;
}

struct command fixture_putting(const char *id)
{
    return (struct command){.kind = COMMAND_SESSION_PUT,
                            .session_put = {.id = text_of(id),
                                            .data = TEXT("{}"),
                                            .idle_ttl_ms = HOUR_MS,
                                            .max_ttl_ms = DAY_MS,
                                            .condition = UNCONDITIONAL}};
}

void fixture_tick(struct fixture *f)
{
    struct command tick = {.kind = COMMAND_TICK, .tick = {.steps_max = TICK_STEPS_MAX}};
    struct due due;
    int rounds = 0;
    do {
        fixture_do(f, tick);
        due = machine_due(f->machine);
        cr_assert_lt(++rounds, 1000, "the ticks do not come to an end");
    } while (due.wall_ms <= f->now.now_ms || due.lease_ms <= f->now.lease_now_ms);
}

bool fixture_event(const struct fixture *f, enum event_kind kind, const char *name,
                   const char *detail)
{
    for (size_t i = 0; i < f->events.count; i++) {
        const struct event *event = &f->events.at[i];
        if (event->kind == kind && text_equal(event->name, text_of(name)) &&
            (detail == NULL || text_equal(event->detail, text_of(detail)))) {
            return true;
        }
    }
    return false;
}

struct result fixture_read(struct fixture *f, struct command command)
{
    struct reader *reader = NULL;
    struct result result;
    char why[256];
    cr_assert_eq(reader_open(f->path, f->machine, &reader, why), STATUS_OK, "%s", why);
    command.stamp = f->now;
    reader_read(reader, &command, &f->arena, &result);
    reader_close(reader);
    return result;
}
