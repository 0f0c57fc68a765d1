#include "tests/crash/play.h"

#include <stdio.h>

struct play play_begin(void)
{
    return (struct play){.now = {1000000, 0}};
}

/* ---- commands ----------------------------------------------------------------------------------------------------- */

static struct command session_put(struct text id, struct text data)
{
    return (struct command){.kind = COMMAND_SESSION_PUT,
                            .session_put = {.id = id,
                                            .data = data,
                                            .idle_ttl_ms = HOUR_MS,
                                            .max_ttl_ms = DAY_MS,
                                            .condition = UNCONDITIONAL}};
}

static struct command session_create(const char *id)
{
    return (struct command){
        .kind = COMMAND_SESSION_CREATE,
        .idempotency = {.key_hash = TEXT("the hash of a key, 32 bytes long"),
                        .request_hash = TEXT("the hash of a body, 32 bytes too")},
        .session_create = {.id = text_of(id),
                           .token_hash = TEXT("the hash of a token, 32 bytes ok"),
                           .subject = TEXT("anna"),
                           .data = TEXT("{\"n\":1}"),
                           .idle_ttl_ms = MINUTE_MS,
                           .max_ttl_ms = HOUR_MS,
                           .subject_limit = ABSENT}};
}

static struct command session_patch(const char *id, const char *patch)
{
    return (struct command){.kind = COMMAND_SESSION_PATCH,
                            .session_patch = {.id = text_of(id),
                                              .data_patch = text_of(patch),
                                              .idle_ttl_ms = ABSENT,
                                              .max_ttl_ms = ABSENT,
                                              .condition = UNCONDITIONAL}};
}

static struct command acquire(const char *lock, const char *lease, const char *owner,
                              enum lease_mode mode, int64_t wait_ms)
{
    return (struct command){.kind = COMMAND_LEASE_ACQUIRE,
                            .lease_acquire = {.name = text_of(lock),
                                              .lease = text_of(lease),
                                              .owner = text_of(owner),
                                              .metadata = TEXT("{\"a\":1}"),
                                              .ttl_ms = 30000,
                                              .mode = mode,
                                              .permits = 1,
                                              .wait_ms = wait_ms,
                                              .lock_delay_ms = ABSENT,
                                              .condition = UNCONDITIONAL}};
}

static struct command release(const char *lock, const char *lease)
{
    return (struct command){.kind = COMMAND_LEASE_RELEASE,
                            .lease_release = {text_of(lock), text_of(lease), UNCONDITIONAL}};
}

static struct command lock_set(void)
{
    static const struct lock_set_member MEMBERS[] = {{{"a~1", 3}, LEASE_EXCLUSIVE, 1},
                                                     {{"a~2", 3}, LEASE_SHARED, 1}};
    return (struct command){.kind = COMMAND_LOCK_SET_ACQUIRE,
                            .lock_set_acquire = {.lease = TEXT("set"),
                                                 .owner = TEXT("o"),
                                                 .metadata = TEXT("{}"),
                                                 .ttl_ms = 30000,
                                                 .lock_delay_ms = ABSENT,
                                                 .locks = {MEMBERS, 2},
                                                 .condition = UNCONDITIONAL}};
}

static struct command queue_put(const char *name, const char *dead_letter)
{
    return (struct command){.kind = COMMAND_QUEUE_PUT,
                            .queue_put = {.name = text_of(name),
                                          .config = {.lease_ms = 30000,
                                                     .max_attempts = 2,
                                                     .retention_ms = DAY_MS,
                                                     .dedup_window_ms = MINUTE_MS,
                                                     .backoff_factor_milli = 2000,
                                                     .backoff_max_ms = HOUR_MS,
                                                     .group_concurrency = 1,
                                                     .dead_letter = text_of(dead_letter)},
                                          .condition = UNCONDITIONAL}};
}

static const struct message_new MESSAGES[] = {
    {.body = {"{\"n\":1}", 7},
     .group = {"g", 1},
     .priority = 5,
     .delay_ms = ABSENT,
     .deliver_at_ms = ABSENT,
     .ttl_ms = ABSENT},
    {.body = {"{\"n\":2}", 7},
     .group = {"g", 1},
     .priority = 5,
     .delay_ms = ABSENT,
     .deliver_at_ms = ABSENT,
     .ttl_ms = ABSENT},
    {.body = {"{\"n\":3}", 7},
     .dedup_id = {"d", 1},
     .priority = 9,
     .delay_ms = ABSENT,
     .deliver_at_ms = ABSENT,
     .ttl_ms = ABSENT},
    {.body = {"{\"n\":4}", 7},
     .attributes = {"{\"k\":\"v\"}", 9},
     .delay_ms = 5000,
     .deliver_at_ms = ABSENT,
     .ttl_ms = ABSENT},
    {.body = {"{\"n\":5}", 7},
     .priority = 1,
     .delay_ms = ABSENT,
     .deliver_at_ms = ABSENT,
     .ttl_ms = 60000},
    {.body = {"{\"n\":6}", 7},
     .priority = 2,
     .delay_ms = ABSENT,
     .deliver_at_ms = ABSENT,
     .ttl_ms = ABSENT},
};

static struct command message_send(const char *queue, size_t count)
{
    return (struct command){
        .kind = COMMAND_MESSAGE_SEND,
        .message_send = {.queue = text_of(queue), .messages = {MESSAGES, count}, .atomic = true}};
}

static struct command message_receive(const char *queue, int64_t max)
{
    return (struct command){
        .kind = COMMAND_MESSAGE_RECEIVE,
        .message_receive = {
            .queue = text_of(queue), .consumer = TEXT("c"), .max = max, .lease_ms = ABSENT}};
}

/* The first delivery acknowledged, the second given back, the third refused for good. */
static struct command settle(const struct play *play, struct arena *arena)
{
    static const enum settle_action ACTIONS[] = {SETTLE_ACK, SETTLE_NACK, SETTLE_REJECT};
    size_t count = play->received < 3 ? play->received : 3;
    struct settlement *items = arena_zalloc(arena, count, sizeof *items);
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct settlement){.action = ACTIONS[i],
                                       .message = play->messages[i],
                                       .fence = play->fences[i],
                                       .delay_ms = ABSENT,
                                       .reason = TEXT("why not")};
    }
    return (struct command){.kind = COMMAND_MESSAGE_SETTLE,
                            .message_settle = {.queue = TEXT("q"), .items = {items, count}}};
}

static struct command together(struct arena *arena, const struct command *operations, size_t count)
{
    struct command *copy = arena_alloc(arena, count * sizeof *copy);
    memcpy(copy, operations, count * sizeof *copy);
    return (struct command){.kind = COMMAND_TRANSACTION,
                            .transaction = {.operations = {copy, count}}};
}

static struct command fence_check(const char *lock, int64_t fence)
{
    return (struct command){.kind = COMMAND_FENCE_CHECK,
                            .fence_check = {.name = text_of(lock), .fence = fence}};
}

static struct command tick(void)
{
    return (struct command){.kind = COMMAND_TICK, .tick = {TICK_STEPS_MAX}};
}

static struct text long_data(struct arena *arena, size_t bytes)
{
    char *data = arena_alloc(arena, bytes + 16);
    int len = snprintf(data, 16, "{\"long\":\"");
    memset(data + len, 'x', bytes);
    memcpy(data + len + bytes, "\"}", 2);
    return (struct text){data, (size_t)len + bytes + 2};
}

static size_t many_sessions(struct arena *arena, struct command *commands, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        commands[i] = session_put(arena_format(arena, "many-%zu", i % 40), TEXT("{\"i\":1}"));
    }
    return count;
}

/* ---- the batches -------------------------------------------------------------------------------------------------- */

static size_t make(const struct play *play, size_t batch, struct arena *arena,
                   struct command commands[PLAY_COMMANDS_MAX])
{
    size_t n = 0;
    switch (batch) {
    case 0:
        commands[n++] = session_put(TEXT("a"), TEXT("{}"));
        commands[n++] = session_put(TEXT("b"), TEXT("{\"x\":[1,2]}"));
        commands[n++] = session_create("t~1");
        break;
    case 1:
        commands[n++] = session_create("t~2"); /* a replay */
        commands[n++] = session_patch("a", "{\"y\":{\"z\":1}}");
        commands[n++] = session_patch("nobody", "{}");
        break;
    case 2:
        commands[n++] = acquire("lock", "l1", "o1", LEASE_EXCLUSIVE, 0);
        commands[n++] = acquire("lock", "l2", "o2", LEASE_EXCLUSIVE, 60000);
        commands[n++] = acquire("lock", "l3", "o3", LEASE_SHARED, 60000);
        commands[n++] = acquire("lock", "l4", "o4", LEASE_SHARED, 0);
        break;
    case 3:
        commands[n++] = lock_set();
        commands[n++] = queue_put("q", "q~dead");
        commands[n++] = message_send("q", 6);
        commands[n++] = message_send("other", 3);
        break;
    case 4:
        commands[n++] = message_receive("q", 3);
        break;
    case 5:
        commands[n++] = settle(play, arena);
        break;
    case 6: {
        struct command parts[] = {fence_check("lock", 1), session_patch("a", "{\"done\":true}"),
                                  message_send("q", 2), release("lock", "l1")};
        commands[n++] = together(arena, parts, 4);
        break;
    }
    case 7: {
        struct command parts[] = {session_patch("a", "{\"undone\":true}"), message_send("q", 2),
                                  release("lock", "l2"), fence_check("lock", 999)};
        commands[n++] = together(arena, parts, 4); /* fails at its last operation */
        commands[n++] = session_put(TEXT("after"), TEXT("{}"));
        break;
    }
    case 8:
        commands[n++] = session_put(TEXT("long"), long_data(arena, 20000));
        break;
    case 9:
        commands[n++] = tick();
        commands[n++] = message_receive("q", 8);
        break;
    case 10:
        n = many_sessions(arena, commands, 200);
        break;
    case 11:
        commands[n++] = (struct command){.kind = COMMAND_SESSION_DELETE,
                                         .session_delete = {TEXT("b"), UNCONDITIONAL}};
        commands[n++] = (struct command){.kind = COMMAND_LOCK_BREAK,
                                         .lock_break = {.name = TEXT("a~1"),
                                                        .lock_delay_ms = ABSENT,
                                                        .condition = UNCONDITIONAL}};
        commands[n++] = (struct command){.kind = COMMAND_QUEUE_REDRIVE,
                                         .queue_redrive = {.queue = TEXT("q~dead"), .max = ABSENT}};
        break;
    case 12:
        commands[n++] = (struct command){.kind = COMMAND_QUEUE_PURGE,
                                         .queue_purge = {TEXT("other"), MESSAGE_ANY, ABSENT}};
        commands[n++] = session_put(TEXT("long"), TEXT("{}"));
        break;
    case 13:
        commands[n++] = tick();
        break;
    case 14:
        commands[n++] = (struct command){.kind = COMMAND_FENCE_STEP, .fence_step = {1000}};
        commands[n++] = acquire("lock", "l5", "o5", LEASE_EXCLUSIVE, 0);
        break;
    default:
        commands[n++] = tick();
        commands[n++] = session_put(TEXT("last"), TEXT("{}"));
        break;
    }
    return n;
}

size_t play_batch(const struct play *play, size_t batch, struct arena *arena,
                  struct command commands[PLAY_COMMANDS_MAX])
{
    size_t count = make(play, batch, arena, commands);
    for (size_t i = 0; i < count; i++) {
        commands[i].stamp = play->now;
    }
    return count;
}

void play_stored(struct play *play, size_t batch, const struct result *results, size_t count)
{
    /* How much time passes after each batch: past leases after 8, past sessions' and tombstones' ends after 12. */
    int64_t passes_ms = batch == 8 ? 40000 : batch == 12 ? 50 * HOUR_MS : 100;
    for (size_t i = 0; i < count; i++) {
        const struct message_views *received = &results[i].received;
        if (results[i].shape != SHAPE_MESSAGES || batch != 4) {
            continue;
        }
        for (size_t j = 0; j < received->count && play->received < 8; j++) {
            play->messages[play->received] = received->at[j].message;
            play->fences[play->received++] = received->at[j].fence;
        }
    }
    play->now.now_ms += passes_ms;
    play->now.lease_now_ms += passes_ms;
}
