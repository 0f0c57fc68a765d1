#include "tests/sim/clients.h"

#include "tests/sim/clients_state.h"
#include "tests/sim/oracle.h"
#include "tests/sim/promises.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { CLIENTS_MAX = 6, PATIENCE_US = 3 * SECOND, THINK_US = 120 * MS };

struct
try {
    struct job job;
    struct command command;
    struct result result;
    struct arena arena;
    struct op *op;
    uint64_t number, sent_us;
    char sealed[8];
    bool over; /* its client waits no longer */
};
static struct client clients[CLIENTS_MAX];
static bool stopped;
static uint64_t serial, last_answer_us;
static int64_t floors[SESSIONS]; /* the newest version of a session that was acknowledged */

static void go_on(void *context);
static void send_out(void *context);

uint64_t clients_last_answer_us(void)
{
    return last_answer_us;
}

/* ---- an answer ---------------------------------------------------------------------------------------------------- */

static void next(struct client *client)
{
    client->waits_for = NULL;
    later(chance_between(1 * MS, THINK_US), NOWHERE, go_on, client);
}

static void try_again(struct op *op)
{
    op->client->waits_for = NULL;
    if (++op->tries > 60) {
        next(op->client);
    } else {
        later(chance_between(5 * MS, 80 * MS), NOWHERE, send_out, op);
    }
}

static bool is_refusal(const struct result *result)
{
    enum status s = result->status;
    return s == STATUS_NOT_OWNER || s == STATUS_OVERLOADED || s == STATUS_STORAGE_UNAVAILABLE ||
           s == STATUS_OUT_OF_MEMORY;
}

/* What the node tells may come too late for the client; what it says must be true all the same. */
static void done(struct job *job)
{
    struct try *try = (struct try *)job;
    struct op *op = try->op;
    bool refused = is_refusal(job->result), unknown = job->result->status == STATUS_OUTCOME_UNKNOWN;
    trace("client %d is told of %llu: %s", op->client->index, (unsigned long long)try->number,
          status_info(job->result->status)->code);
    if (refused) {
        tally->refused++;
        oracle_refused(try->number);
    } else if (unknown) {
        tally->unknown++;
    } else {
        tally->acknowledged++;
        oracle_answered(try->number, job->result);
    }
    if (try->over) {
        return;
    }
    try->over = true;
    if (refused || (unknown && op->keyed)) {
        try_again(op);
        return;
    }
    if (!unknown) {
        last_answer_us = world_now();
        op->answered(op, job->result, try->sent_us);
    }
    next(op->client);
}

static void lose_patience(void *context)
{
    struct try *try = context;
    if (!try->over) {
        try->over = true;
        trace("client %d waits for %llu no longer", try->op->client->index,
              (unsigned long long)try->number);
        if (try->op->keyed) {
            try_again(try->op);
        } else {
            next(try->op->client);
        }
    }
}

/* ---- asking ------------------------------------------------------------------------------------------------------- */

static enum status submitted;

static void submit(void *context)
{
    struct try *try = context;
    struct node *node = &nodes[world_here()];
    try->command.stamp = clock_now(&node->clock);
    submitted = node->hosted == NULL || node->closing ? STATUS_NOT_OWNER
                                                      : hosted_submit(node->hosted, &try->job);
}

static int guess_leader(struct client *client)
{
    struct node *asked = &nodes[client->guess];
    uint64_t leader =
        asked->up && asked->hosted != NULL && !asked->closing ? hosted_leader(asked->hosted) : 0;
    client->guess =
        leader != 0 && chance_of(80) ? (int)leader - 1 : (int)chance((uint64_t)node_count);
    return client->guess;
}

static void send_out(void *context)
{
    struct op *op = context;
    struct try *try = calloc(1, sizeof *try);
    int to = op->tries == 0 ? op->client->guess : guess_leader(op->client);
    assert(try != NULL);
    if (stopped) {
        return;
    }
    *try = (struct try){
        .command = op->command, .op = op, .number = oracle_attempt(), .sent_us = world_now()};
    try->job = (struct job){&try->command, &try->arena, &try->result, done, NULL};
    memcpy(try->sealed, &try->number, sizeof try->sealed);
    try->command.idempotency.sealed = (struct text){try->sealed, sizeof try->sealed};
    op->client->waits_for = try;
    submitted = STATUS_NOT_OWNER;
    if (nodes[to].up) {
        as_node(to, submit, try);
    }
    if (submitted != STATUS_OK) {
        oracle_refused(try->number);
        try_again(op);
        return;
    }
    trace("client %d sends %llu to %d: %s", op->client->index, (unsigned long long)try->number, to,
          command_name(op->command.kind));
    later(PATIENCE_US, NOWHERE, lose_patience, try);
}

void client_ask(struct client *client, struct command command, struct op *op)
{
    op->client = client;
    op->command = command;
    op->keyed = chance_of(40);
    if (op->keyed) {
        struct text key = arena_format(&op->arena, "%032llu", (unsigned long long)++serial);
        op->command.idempotency.key_hash = key;
        op->command.idempotency.request_hash = key;
    }
    send_out(op);
}

uint64_t client_serial(void)
{
    return ++serial;
}

struct op *client_op(void (*answered)(struct op *op, const struct result *result, uint64_t sent_us))
{
    struct op *op = calloc(1, sizeof *op);
    assert(op != NULL);
    op->answered = answered;
    return op;
}

void client_ignores(struct op *op, const struct result *result, uint64_t sent_us)
{
    (void)op;
    (void)result;
    (void)sent_us;
}

uint64_t client_holds_until(const struct result *result, int64_t lease_expires_ms, uint64_t sent_us)
{
    int64_t left_ms = lease_expires_ms - result->stamp.lease_now_ms;
    return sent_us + (uint64_t)(left_ms > 0 ? left_ms : 0) * MS;
}

/* ---- locks -------------------------------------------------------------------------------------------------------- */

static void know_lease(struct op *op, const struct result *result, uint64_t sent_us)
{
    struct client *client = op->client;
    const struct lease_view *lease = &result->lease;
    if (result->shape != SHAPE_LEASE || !status_is_ok(result->status)) {
        client->has_lease = client->has_lease && result->status == STATUS_LEASE_NOT_HELD;
        return;
    }
    client->has_lease = true;
    client->lease_state = (enum lease_state)lease->state;
    client->fence = lease->fence;
    client->ticket = lease->ticket;
    if (lease->state == LEASE_HELD && !result->replayed) {
        promises_hold(promises_lock(lease->name), lease->fence,
                      client_holds_until(result, lease->lease_expires_ms, sent_us));
    }
}

static void acquire(struct client *client)
{
    struct op *op = client_op(know_lease);
    snprintf(client->lock, sizeof client->lock, "k~lock%d", (int)chance(LOCKS));
    snprintf(client->lease, sizeof client->lease, "c%d-%llu", client->index,
             (unsigned long long)++serial);
    struct text lock = arena_copy(&op->arena, text_of(client->lock));
    struct text lease = arena_copy(&op->arena, text_of(client->lease));
    client_ask(client,
               (struct command){.kind = COMMAND_LEASE_ACQUIRE,
                                .lease_acquire = {.name = lock,
                                                  .lease = lease,
                                                  .owner = lease,
                                                  .metadata = TEXT("{}"),
                                                  .ttl_ms = (int64_t)chance_between(500, 4000),
                                                  .mode = LEASE_EXCLUSIVE,
                                                  .permits = 1,
                                                  .wait_ms = chance_of(60) ? 3000 : 0,
                                                  .lock_delay_ms = ABSENT,
                                                  .async = true,
                                                  .condition = UNCONDITIONAL}},
               op);
}

static void use_lock(struct client *client)
{
    if (!client->has_lease) {
        acquire(client);
        return;
    }
    struct op *op = client_op(know_lease);
    struct command command = {.idempotency = {TEXT_ABSENT, TEXT_ABSENT, TEXT_ABSENT}};
    struct text lock = arena_copy(&op->arena, text_of(client->lock));
    struct text lease = arena_copy(&op->arena, text_of(client->lease));
    bool held = client->lease_state == LEASE_HELD;
    if (!held && chance_of(85)) {
        command.kind = COMMAND_LEASE_COLLECT;
        command.lease_collect = (struct lease_key){lock, lease};
    } else if (!held) {
        command.kind = COMMAND_LEASE_ABANDON;
        command.lease_abandon = (struct lease_abandon){lock, lease, client->ticket};
        client->has_lease = false;
        op->answered = client_ignores;
    } else if (chance_of(50)) {
        command.kind = COMMAND_LEASE_RENEW;
        command.lease_renew = (struct lease_renew){lock, lease, ABSENT, UNCONDITIONAL};
    } else {
        command.kind = COMMAND_LEASE_RELEASE;
        command.lease_release = (struct lease_release){lock, lease, UNCONDITIONAL};
        promises_let_go(promises_lock(lock), client->fence);
        client->has_lease = false;
        op->answered = client_ignores;
    }
    client_ask(client, command, op);
}

/* ---- sessions ----------------------------------------------------------------------------------------------------- */

static int session_of(struct text id)
{
    return id.at[1] - '0';
}

void client_knows_session(const struct result *result)
{
    if (result->shape == SHAPE_SESSION && status_is_ok(result->status)) {
        int64_t *floor = &floors[session_of(result->session.id)];
        *floor = result->session.version > *floor ? result->session.version : *floor;
    }
}

static void know_session(struct op *op, const struct result *result, uint64_t sent_us)
{
    (void)op;
    (void)sent_us;
    client_knows_session(result);
}

static void use_session(struct client *client)
{
    struct op *op = client_op(know_session);
    struct command command;
    struct text id = arena_format(&op->arena, "u%d", (int)chance(SESSIONS));
    struct text data = arena_format(&op->arena, "{\"n\":%llu}", (unsigned long long)++serial);
    if (chance_of(60)) {
        command = (struct command){.kind = COMMAND_SESSION_PUT,
                                   .session_put = {.id = id,
                                                   .data = data,
                                                   .idle_ttl_ms = 86400000,
                                                   .max_ttl_ms = 86400000,
                                                   .condition = UNCONDITIONAL}};
    } else if (chance_of(50)) {
        command = (struct command){.kind = COMMAND_SESSION_PATCH,
                                   .session_patch = {.id = id,
                                                     .data_patch = data,
                                                     .idle_ttl_ms = ABSENT,
                                                     .max_ttl_ms = ABSENT,
                                                     .condition = UNCONDITIONAL}};
    } else {
        command = (struct command){.kind = COMMAND_SESSION_TOUCH,
                                   .session_touch = {.id = id, .condition = UNCONDITIONAL}};
    }
    client_ask(client, command, op);
}

/* A read of a session that must see all that was acknowledged before it was asked. */
struct strong {
    struct client *client;
    int session, node;
    int64_t floor;
};

static void read_now(void *context)
{
    const struct strong *strong = context;
    struct node *node = &nodes[strong->node];
    struct reader *reader;
    struct result result;
    struct arena arena = ARENA_EMPTY;
    char why[256];
    struct text id = arena_format(&arena, "u%d", strong->session);
    struct command get = {.kind = COMMAND_SESSION_GET, .session_get = {id, UNCONDITIONAL}};
    if (reader_open(node->database, node->machine, &reader, why) != STATUS_OK) {
        wrong("%d cannot be read: %s", strong->node, why);
    }
    reader_read(reader, &get, &arena, &result);
    reader_close(reader);
    int64_t version = result.status == STATUS_OK ? result.session.version : 0;
    tally->strong_reads++;
    if (version < strong->floor) {
        wrong("a strong read on %d sees version %lld of a session, %lld was acknowledged before",
              strong->node, (long long)version, (long long)strong->floor);
    }
    arena_free(&arena);
}

static void confirmed(void *context, enum replica_outcome outcome)
{
    struct strong *strong = context;
    if (outcome == REPLICA_COMMITTED) {
        as_node(NOWHERE, read_now, strong);
    }
    free(strong);
}

static void confirm(void *context)
{
    struct replica *replica = node_replica(world_here());
    if (replica == NULL || replica_confirm(replica, context, confirmed) != REPLICA_PENDING) {
        free(context);
    }
}

static void read_strongly(struct client *client)
{
    struct strong *strong = calloc(1, sizeof *strong);
    int session = (int)chance(SESSIONS);
    assert(strong != NULL);
    *strong = (struct strong){client, session, client->guess, floors[session]};
    if (nodes[client->guess].up) {
        as_node(client->guess, confirm, strong);
    } else {
        free(strong);
    }
    next(client);
}

/* ---- queues ------------------------------------------------------------------------------------------------------- */

static void send_messages(struct client *client)
{
    struct op *op = client_op(client_ignores);
    size_t count = (size_t)chance_between(1, 3);
    struct message_new *messages = arena_zalloc(&op->arena, count, sizeof *messages);
    for (size_t i = 0; i < count; i++) {
        messages[i] = (struct message_new){
            .body = arena_format(&op->arena, "\"%llu\"", (unsigned long long)++serial),
            .group = chance_of(30) ? TEXT("g") : TEXT_ABSENT,
            .priority = (int64_t)chance(10),
            .delay_ms = chance_of(20) ? (int64_t)chance(3000) : ABSENT,
            .deliver_at_ms = ABSENT,
            .ttl_ms = ABSENT};
    }
    struct text queue = arena_format(&op->arena, "q%d", (int)chance(QUEUES));
    client_ask(client,
               (struct command){.kind = COMMAND_MESSAGE_SEND,
                                .message_send = {queue, {messages, count}, chance_of(50)}},
               op);
}

static void know_messages(struct op *op, const struct result *result, uint64_t sent_us)
{
    struct client *client = op->client;
    struct text queue = op->command.message_receive.queue;
    for (size_t i = 0; result->shape == SHAPE_MESSAGES && i < result->received.count; i++) {
        const struct message_view *view = &result->received.at[i];
        if (!result->replayed) {
            promises_hold(promises_message(queue, view->message), view->fence,
                          client_holds_until(result, view->lease_expires_ms, sent_us));
        }
        if (client->receipt_count < RECEIPTS_MAX) {
            struct receipt *receipt = &client->receipts[client->receipt_count++];
            memcpy(receipt->queue, queue.at, 3);
            receipt->message = view->message;
            receipt->fence = view->fence;
        }
    }
}

static void receive(struct client *client)
{
    struct op *op = client_op(know_messages);
    struct text queue = arena_format(&op->arena, "q%d", (int)chance(QUEUES));
    client_ask(
        client,
        (struct command){.kind = COMMAND_MESSAGE_RECEIVE,
                         .message_receive = {queue, TEXT("worker"), (int64_t)chance_between(1, 3),
                                             (int64_t)chance_between(500, 4000)}},
        op);
}

static void settle(struct client *client)
{
    struct op *op = client_op(client_ignores);
    struct receipt receipt = client->receipts[--client->receipt_count];
    struct settlement *item = arena_zalloc(&op->arena, 1, sizeof *item);
    struct text queue = arena_copy(&op->arena, text_of(receipt.queue));
    uint64_t luck = chance(10);
    *item = (struct settlement){.action = luck < 6   ? SETTLE_ACK
                                          : luck < 8 ? SETTLE_NACK
                                          : luck < 9 ? SETTLE_EXTEND
                                                     : SETTLE_REJECT,
                                .message = receipt.message,
                                .fence = receipt.fence,
                                .delay_ms = ABSENT,
                                .lease_ms = 2000};
    promises_let_go(promises_message(queue, receipt.message), receipt.fence);
    client_ask(client,
               (struct command){.kind = COMMAND_MESSAGE_SETTLE,
                                .message_settle = {queue, {item, 1}, chance_of(30)}},
               op);
}

/* ---- one after the other ------------------------------------------------------------------------------------------ */

static void go_on(void *context)
{
    struct client *client = context;
    uint64_t luck = chance(100);
    if (stopped) {
        return;
    }
    if (luck < 28) {
        use_lock(client);
    } else if (luck < 35) {
        clients_use_set(client);
    } else if (luck < 41) {
        clients_use_bound(client);
    } else if (luck < 49) {
        clients_transact(client);
    } else if (luck < 63) {
        use_session(client);
    } else if (luck < 68) {
        read_strongly(client);
    } else if (luck < 80) {
        send_messages(client);
    } else if (client->receipt_count > 0 && luck < 91) {
        settle(client);
    } else {
        receive(client);
    }
}

void clients_begin(int count)
{
    assert(count <= CLIENTS_MAX);
    memset(clients, 0, sizeof clients);
    memset(floors, 0, sizeof floors);
    stopped = false;
    for (int i = 0; i < count; i++) {
        clients[i].index = i;
        later(chance_between(100 * MS, SECOND), NOWHERE, go_on, &clients[i]);
    }
}

void clients_stop(void)
{
    stopped = true;
}
