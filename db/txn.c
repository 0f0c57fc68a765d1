#include "db/txn.h"

#include "db/session_memo.h"

#include <assert.h>

int64_t due_in_ms(struct due due, struct stamp now)
{
    int64_t wall = due.wall_ms == INT64_MAX ? INT64_MAX : due.wall_ms - now.now_ms;
    int64_t lease = due.lease_ms == INT64_MAX ? INT64_MAX : due.lease_ms - now.lease_now_ms;
    return wall < lease ? wall : lease;
}

int64_t txn_next_fence(struct txn *txn)
{
    assert(txn->counters->fence < VERSION_MAX);
    return ++txn->counters->fence;
}

int64_t txn_next_revision(struct txn *txn)
{
    return ++txn->counters->revision;
}

void txn_due_wall(struct txn *txn, int64_t wall_ms)
{
    if (wall_ms < txn->due->wall_ms) {
        txn->due->wall_ms = wall_ms;
    }
}

void txn_due_lease(struct txn *txn, int64_t lease_ms)
{
    if (lease_ms < txn->due->lease_ms) {
        txn->due->lease_ms = lease_ms;
    }
}

void txn_emit(struct txn *txn, enum event_kind kind, struct text name, struct text detail,
              int64_t count)
{
    struct events *events = txn->events;
    if (events->count == events->room) {
        size_t room = events->room == 0 ? 64 : events->room * 2;
        struct event *larger = arena_alloc(txn->events_arena, room * sizeof *larger);
        if (larger == NULL) {
            txn->arena->exhausted = true; /* the command answers out-of-memory */
            return;
        }
        if (events->count > 0) {
            memcpy(larger, events->at, events->count * sizeof *larger);
        }
        events->at = larger;
        events->room = room;
    }
    events->at[events->count++] = (struct event){.kind = kind,
                                                 .name = arena_copy(txn->events_arena, name),
                                                 .detail = arena_copy(txn->events_arena, detail),
                                                 .count = count};
}

static const char RELEASE[] = "RELEASE command";

struct savepoint txn_savepoint(struct txn *txn)
{
    static const char SAVEPOINT[] = "SAVEPOINT command";
    sql_run(txn->sql, SAVEPOINT);
    return (struct savepoint){.counters = *txn->counters, .events = txn->events->count};
}

void txn_keep(struct txn *txn)
{
    sql_run(txn->sql, RELEASE);
}

void txn_undo(struct txn *txn, const struct savepoint *savepoint)
{
    static const char ROLLBACK[] = "ROLLBACK TO command";
    sql_run(txn->sql, ROLLBACK);
    sql_run(txn->sql, RELEASE);
    session_memo_clear(txn->memo);
    /* The clocks keep what they have seen: time has passed for the failed command too. */
    int64_t wall_ms = txn->counters->wall_ms, lease_ms = txn->counters->lease_ms;
    *txn->counters = savepoint->counters;
    txn->counters->wall_ms = wall_ms;
    txn->counters->lease_ms = lease_ms;
    txn->events->count = savepoint->events;
}

enum status txn_check(const struct condition *condition, bool exists, int64_t version,
                      struct result *result)
{
    bool holds = condition->create_only                ? !exists
                 : condition->if_match == ABSENT       ? true
                 : condition->if_match == IF_MATCH_ANY ? exists
                                                       : exists && version == condition->if_match;
    if (holds) {
        return STATUS_OK;
    }
    result->version = exists ? version : 0;
    result->status = STATUS_VERSION_MISMATCH;
    return STATUS_VERSION_MISMATCH;
}
