#include "tests/unit/lock_fixture.h"

struct command acquire_command(struct ask ask)
{
    return (struct command){
        .kind = COMMAND_LEASE_ACQUIRE,
        .lease_acquire = {.name = text_of(ask.name),
                          .lease = text_of(ask.lease),
                          .owner = text_of(ask.owner),
                          .session = text_of(ask.session),
                          .metadata = text_of(ask.metadata == NULL ? "{}" : ask.metadata),
                          .ttl_ms = ask.ttl_ms == 0 ? TTL_MS : ask.ttl_ms,
                          .mode = ask.mode,
                          .permits = ask.permits == 0 ? 1 : ask.permits,
                          .wait_ms = ask.wait_ms,
                          .lock_delay_ms = ask.lock_delay_ms == 0 ? ABSENT : ask.lock_delay_ms,
                          .async = ask.async,
                          .condition = UNCONDITIONAL}};
}

struct result acquire(struct fixture *f, struct ask ask)
{
    return fixture_do(f, acquire_command(ask));
}

static struct command about(enum command_kind kind, const char *name, const char *lease)
{
    return (struct command){.kind = kind,
                            .lease_get = {.name = text_of(name), .lease = text_of(lease)}};
}

struct result collect(struct fixture *f, const char *name, const char *lease)
{
    return fixture_do(f, about(COMMAND_LEASE_COLLECT, name, lease));
}

struct result abandon(struct fixture *f, const char *name, const char *lease, int64_t ticket)
{
    return fixture_do(f, (struct command){.kind = COMMAND_LEASE_ABANDON,
                                          .lease_abandon = {.name = text_of(name),
                                                            .lease = text_of(lease),
                                                            .ticket = ticket}});
}

struct result get_lease(struct fixture *f, const char *name, const char *lease)
{
    return fixture_read(f, about(COMMAND_LEASE_GET, name, lease));
}

struct result renew(struct fixture *f, const char *name, const char *lease)
{
    return fixture_do(f, (struct command){.kind = COMMAND_LEASE_RENEW,
                                          .lease_renew = {.name = text_of(name),
                                                          .lease = text_of(lease),
                                                          .ttl_ms = ABSENT,
                                                          .condition = UNCONDITIONAL}});
}

struct result release(struct fixture *f, const char *name, const char *lease)
{
    return fixture_do(f, (struct command){.kind = COMMAND_LEASE_RELEASE,
                                          .lease_release = {.name = text_of(name),
                                                            .lease = text_of(lease),
                                                            .condition = UNCONDITIONAL}});
}

struct result get_lock(struct fixture *f, const char *name)
{
    return fixture_read(
        f, (struct command){.kind = COMMAND_LOCK_GET, .lock_get = {.name = text_of(name)}});
}

struct result put_lock(struct fixture *f, const char *name, int64_t limit, int64_t lock_delay_ms)
{
    return fixture_do(f, (struct command){.kind = COMMAND_LOCK_PUT,
                                          .lock_put = {.name = text_of(name),
                                                       .limit = limit,
                                                       .lock_delay_ms = lock_delay_ms,
                                                       .condition = UNCONDITIONAL}});
}

struct result break_lock(struct fixture *f, const char *name, int64_t lock_delay_ms)
{
    return fixture_do(f, (struct command){.kind = COMMAND_LOCK_BREAK,
                                          .lock_break = {.name = text_of(name),
                                                         .reason = TEXT("stuck"),
                                                         .lock_delay_ms = lock_delay_ms,
                                                         .condition = UNCONDITIONAL}});
}

struct result put_session(struct fixture *f, const char *id)
{
    return fixture_do(f, (struct command){.kind = COMMAND_SESSION_PUT,
                                          .session_put = {.id = text_of(id),
                                                          .data = TEXT("{}"),
                                                          .idle_ttl_ms = 30 * MINUTE_MS,
                                                          .max_ttl_ms = DAY_MS,
                                                          .condition = UNCONDITIONAL}});
}

struct result end_session(struct fixture *f, const char *id)
{
    return fixture_do(
        f, (struct command){.kind = COMMAND_SESSION_DELETE,
                            .session_delete = {.id = text_of(id), .condition = UNCONDITIONAL}});
}

bool is_held(struct fixture *f, const char *name, const char *lease)
{
    struct result result = get_lease(f, name, lease);
    return result.status == STATUS_OK && result.lease.state == LEASE_HELD;
}

bool is_waiting(struct fixture *f, const char *name, const char *lease)
{
    struct result result = get_lease(f, name, lease);
    return result.status == STATUS_OK && result.lease.state == LEASE_WAITING;
}
