/* What concerns several things at once: locks that are taken together, a session with a lease that ends with it, and
   transactions. */
#include "tests/sim/clients_state.h"
#include "tests/sim/promises.h"

#include <stdio.h>

static struct text kept(struct op *op, const char *name)
{
    return arena_copy(&op->arena, text_of(name));
}

static void hold(const struct lease_view *lease, const struct result *result, uint64_t sent_us)
{
    if (lease->state == LEASE_HELD && !result->replayed) {
        promises_hold(promises_lock(lease->name), lease->fence,
                      client_holds_until(result, lease->lease_expires_ms, sent_us));
    }
}

/* ---- locks that are taken together -------------------------------------------------------------------------------- */

static void know_set(struct op *op, const struct result *result, uint64_t sent_us)
{
    struct lock_set *set = &op->client->set;
    const struct lease_views *members = &result->lock_set.members;
    if (result->shape != SHAPE_LOCK_SET || !status_is_ok(result->status)) {
        set->there = false;
        return;
    }
    set->there = set->held = true;
    for (size_t i = 0; i < members->count; i++) {
        hold(&members->at[i], result, sent_us);
        set->held &= members->at[i].state == LEASE_HELD;
        set->fences[i] = members->at[i].fence;
        set->ticket = members->at[i].ticket;
    }
}

static void take_set(struct client *client)
{
    struct op *op = client_op(know_set);
    struct lock_set *set = &client->set;
    struct lock_set_member *members = arena_zalloc(&op->arena, SET_LOCKS, sizeof *members);
    int first = (int)chance(LOCKS);
    snprintf(set->lease, sizeof set->lease, "s%d-%llu", client->index,
             (unsigned long long)client_serial());
    for (int i = 0; i < SET_LOCKS; i++) {
        snprintf(set->locks[i], sizeof set->locks[i], "k~lock%d", (first + i) % LOCKS);
        members[i] = (struct lock_set_member){kept(op, set->locks[i]), LEASE_EXCLUSIVE, 1};
    }
    struct lock_set_acquire acquire = {.lease = kept(op, set->lease),
                                       .owner = kept(op, set->lease),
                                       .metadata = TEXT("{}"),
                                       .ttl_ms = (int64_t)chance_between(500, 3000),
                                       .wait_ms = chance_of(60) ? 2000 : 0,
                                       .lock_delay_ms = ABSENT,
                                       .locks = {members, SET_LOCKS},
                                       .async = true,
                                       .condition = UNCONDITIONAL};
    client_ask(client,
               (struct command){.kind = COMMAND_LOCK_SET_ACQUIRE, .lock_set_acquire = acquire}, op);
}

static void look_after_set(struct client *client)
{
    struct lock_set *set = &client->set;
    struct op *op = client_op(know_set);
    struct command command = {.kind = COMMAND_LOCK_SET_COLLECT};
    struct text *names = arena_zalloc(&op->arena, SET_LOCKS, sizeof *names);
    for (int i = 0; i < SET_LOCKS; i++) {
        names[i] = kept(op, set->locks[i]);
    }
    if (chance_of(70)) {
        command.lock_set_collect = (struct lock_set_key){kept(op, set->lease), {names, SET_LOCKS}};
    } else {
        command.kind = COMMAND_LOCK_SET_ABANDON;
        command.lock_set_abandon =
            (struct lock_set_abandon){kept(op, set->lease), {names, SET_LOCKS}, set->ticket};
        op->answered = client_ignores;
        set->there = false;
    }
    client_ask(client, command, op);
}

/* All of them in one transaction: somebody else must not get one, and then the other back. */
static void release_set(struct client *client)
{
    struct lock_set *set = &client->set;
    struct op *op = client_op(client_ignores);
    struct command *operations = arena_zalloc(&op->arena, SET_LOCKS, sizeof *operations);
    for (int i = 0; i < SET_LOCKS; i++) {
        struct text name = kept(op, set->locks[i]);
        operations[i] =
            (struct command){.kind = COMMAND_LEASE_RELEASE,
                             .lease_release = {name, kept(op, set->lease), UNCONDITIONAL}};
        promises_let_go(promises_lock(name), set->fences[i]);
    }
    set->there = false;
    client_ask(client,
               (struct command){.kind = COMMAND_TRANSACTION,
                                .transaction = {.operations = {operations, SET_LOCKS}}},
               op);
}

void clients_use_set(struct client *client)
{
    if (!client->set.there) {
        take_set(client);
    } else if (client->set.held) {
        release_set(client);
    } else {
        look_after_set(client);
    }
}

/* ---- a session that ends ------------------------------------------------------------------------------------------ */

static struct command put_session(struct text id, struct text data, struct condition condition)
{
    return (struct command){.kind = COMMAND_SESSION_PUT,
                            .session_put = {.id = id,
                                            .data = data,
                                            .idle_ttl_ms = 86400000,
                                            .max_ttl_ms = 86400000,
                                            .condition = condition}};
}

static void know_bound_session(struct op *op, const struct result *result, uint64_t sent_us)
{
    (void)sent_us;
    op->client->bound.stage = status_is_ok(result->status) ? BOUND_MADE : BOUND_NONE;
}

static void know_bound_lease(struct op *op, const struct result *result, uint64_t sent_us)
{
    struct bound *bound = &op->client->bound;
    bound->stage = BOUND_HOLDS;
    if (result->shape == SHAPE_LEASE && status_is_ok(result->status)) {
        bound->fence = result->lease.fence;
        hold(&result->lease, result, sent_us);
    }
}

/* The lock is anybody's from here on. */
static void end_bound(struct client *client, struct op *op)
{
    struct bound *bound = &client->bound;
    struct text session = kept(op, bound->session);
    promises_let_go(promises_lock(text_of(bound->lock)), bound->fence);
    bound->stage = BOUND_ENDED;
    client_ask(client,
               (struct command){.kind = COMMAND_SESSION_DELETE,
                                .session_delete = {session, UNCONDITIONAL}},
               op);
}

/* It must not be there any more, nor its lease. */
static void try_ended(struct client *client, struct op *op)
{
    struct bound *bound = &client->bound;
    struct command command = put_session(kept(op, bound->session), TEXT("{}"), UNCONDITIONAL);
    if (chance_of(50)) {
        command = (struct command){
            .kind = COMMAND_LEASE_RENEW,
            .lease_renew = {kept(op, bound->lock), kept(op, bound->lease), ABSENT, UNCONDITIONAL}};
    }
    bound->stage = BOUND_NONE;
    client_ask(client, command, op);
}

static void hold_bound(struct client *client)
{
    struct bound *bound = &client->bound;
    struct op *op = client_op(know_bound_lease);
    bound->fence = 0;
    snprintf(bound->lock, sizeof bound->lock, "k~lock%d", (int)chance(LOCKS));
    snprintf(bound->lease, sizeof bound->lease, "b%d-%llu", client->index,
             (unsigned long long)client_serial());
    struct lease_acquire acquire = {.name = kept(op, bound->lock),
                                    .lease = kept(op, bound->lease),
                                    .owner = kept(op, bound->lease),
                                    .session = kept(op, bound->session),
                                    .metadata = TEXT("{}"),
                                    .ttl_ms = 4000,
                                    .mode = LEASE_EXCLUSIVE,
                                    .permits = 1,
                                    .lock_delay_ms = ABSENT,
                                    .async = true,
                                    .condition = UNCONDITIONAL};
    client_ask(client, (struct command){.kind = COMMAND_LEASE_ACQUIRE, .lease_acquire = acquire},
               op);
}

void clients_use_bound(struct client *client)
{
    struct bound *bound = &client->bound;
    struct op *op;
    switch (bound->stage) {
    case BOUND_NONE:
        op = client_op(know_bound_session);
        snprintf(bound->session, sizeof bound->session, "k~e%d-%llu", client->index,
                 (unsigned long long)client_serial());
        client_ask(client, put_session(kept(op, bound->session), TEXT("{}"), UNCONDITIONAL), op);
        return;
    case BOUND_MADE:
        hold_bound(client);
        return;
    case BOUND_HOLDS:
        end_bound(client, client_op(client_ignores));
        return;
    case BOUND_ENDED:
        try_ended(client, client_op(client_ignores));
        return;
    }
}

/* ---- transactions ------------------------------------------------------------------------------------------------- */

enum { TRANSACTION_MAX = 4 };

static void know_transaction(struct op *op, const struct result *result, uint64_t sent_us)
{
    (void)op;
    (void)sent_us;
    for (size_t i = 0; result->shape == SHAPE_RESULTS && i < result->results.count; i++) {
        client_knows_session(&result->results.at[i]);
    }
}

static struct command send_one(struct op *op, int queue)
{
    struct message_new *message = arena_zalloc(&op->arena, 1, sizeof *message);
    *message = (struct message_new){
        .body = arena_format(&op->arena, "\"%llu\"", (unsigned long long)client_serial()),
        .group = TEXT_ABSENT,
        .delay_ms = ABSENT,
        .deliver_at_ms = ABSENT,
        .ttl_ms = ABSENT};
    struct text name = arena_format(&op->arena, "q%d", queue);
    return (struct command){.kind = COMMAND_MESSAGE_SEND,
                            .message_send = {name, {message, 1}, true}};
}

static struct command acknowledge(struct op *op)
{
    struct client *client = op->client;
    struct receipt receipt = client->receipts[--client->receipt_count];
    struct settlement *item = arena_zalloc(&op->arena, 1, sizeof *item);
    struct text queue = kept(op, receipt.queue);
    *item = (struct settlement){.action = SETTLE_ACK,
                                .message = receipt.message,
                                .fence = receipt.fence,
                                .delay_ms = ABSENT,
                                .lease_ms = ABSENT};
    promises_let_go(promises_message(queue, receipt.message), receipt.fence);
    return (struct command){.kind = COMMAND_MESSAGE_SETTLE,
                            .message_settle = {queue, {item, 1}, true}};
}

/* Acknowledges a message, if the client has one, sends a successor to each queue, and writes a session, on a version that
   it seldom has: then nothing of it must have been done. */
void clients_transact(struct client *client)
{
    struct op *op = client_op(know_transaction);
    struct command *operations = arena_zalloc(&op->arena, TRANSACTION_MAX, sizeof *operations);
    size_t count = 0;
    op->client = client;
    if (client->receipt_count > 0) {
        operations[count++] = acknowledge(op);
    }
    for (int i = 0; i < QUEUES; i++) {
        operations[count++] = send_one(op, i);
    }
    struct text id = arena_format(&op->arena, "u%d", (int)chance(SESSIONS));
    struct text data =
        arena_format(&op->arena, "{\"t\":%llu}", (unsigned long long)client_serial());
    struct condition condition = UNCONDITIONAL;
    if (chance_of(40)) {
        condition.if_match = 1 + (int64_t)chance(40);
    }
    operations[count++] = put_session(id, data, condition);
    client_ask(client,
               (struct command){.kind = COMMAND_TRANSACTION,
                                .transaction = {.operations = {operations, count}}},
               op);
}
