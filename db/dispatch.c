#include "db/dispatch.h"

#include "db/aggregates.h"
#include "db/idempotency.h"
#include "db/locks.h"
#include "db/queues.h"
#include "db/sessions.h"

void dispatch(struct txn *txn, const struct command *command, struct result *result)
{
    switch (command->kind) {
#define COMMAND_AS_CASE(kind, type, member, reads)                                                 \
    case COMMAND_##kind:                                                                           \
        member(txn, &command->member, result);                                                     \
        break;
        COMMAND_TABLE(COMMAND_AS_CASE)
#undef COMMAND_AS_CASE
    case COMMAND_KIND_COUNT:
        result->status = STATUS_INTERNAL;
        break;
    }
}

/* ---- commands that concern no single resource --------------------------------------------------------------------- */

void transaction(struct txn *txn, const struct transaction *command, struct result *result)
{
    const struct commands *operations = &command->operations;
    struct results results = {arena_zalloc(txn->arena, operations->count, sizeof(struct result)),
                              operations->count};
    if (results.at == NULL) {
        return;
    }
    struct savepoint start = txn_savepoint(txn);
    txn->scope = SCOPE_TRANSACTION;
    for (size_t i = 0; i < operations->count; i++) {
        struct result *one = &results.at[i];
        *one = (struct result){.status = STATUS_OK, .stamp = txn->now};
        dispatch(txn, &operations->at[i], one);
        if (!status_is_ok(one->status)) {
            txn_undo(txn, &start);
            result->status = STATUS_TRANSACTION_FAILED;
            result->shape = SHAPE_TRANSACTION_FAILURE;
            result->failure = (struct transaction_failure){(int64_t)i, {one, 1}};
            return;
        }
    }
    txn_keep(txn);
    result->shape = SHAPE_RESULTS;
    result->results = results;
}

void tick(struct txn *txn, const struct tick *command, struct result *result)
{
    /* Each share says when it is next due, and what it left undone is due now. */
    *txn->due = DUE_NEVER;
    int64_t steps = command->steps_max;
    result->count = sessions_tick(txn, steps);
    result->count += leases_tick(txn, steps);
    result->count += messages_tick(txn, steps);
    result->count += idempotency_tick(txn, steps);
}

void fence_step(struct txn *txn, const struct fence_step *command, struct result *result)
{
    txn->counters->fence += command->by;
    txn->counters->revision +=
        command->by; /* versions handed out after the backup must not come again either */
    result->count = txn->counters->fence;
}

void totals(struct txn *txn, const struct nothing *command, struct result *result)
{
    (void)command;
    const struct counters *c = txn->counters;
    result->shape = SHAPE_TOTALS;
    result->totals = (struct totals_view){.sessions = c->sessions,
                                          .held = c->held,
                                          .waiting = c->waiting,
                                          .locks = c->locks,
                                          .queues = c->queues,
                                          .ready = c->ready,
                                          .delayed = c->delayed,
                                          .leased = c->leased,
                                          .dead = c->dead,
                                          .idempotency_records = c->idempotency_records,
                                          .fence = c->fence,
                                          .revision = c->revision};
}
