#include "tests/sim/promises.h"

#include "tests/sim/world.h"

#include <stdlib.h>
#include <xxhash.h>

enum { LOCKS_MAX = 16, MESSAGES_MAX = 8192, HOLDS_MAX = 256, ENDED_MAX = 4096 };

struct lock {
    uint64_t key;
    int64_t fence;
    char lease[32];
};
struct message {
    uint64_t key;
    int64_t fence;
    bool settled, listed;
};
struct hold {
    uint64_t key;
    int64_t fence;
    uint64_t until_us;
};
static struct {
    struct lock locks[LOCKS_MAX];
    struct message messages[MESSAGES_MAX]; /* an open hash table by key */
    size_t message_count;
    uint64_t
        ended[ENDED_MAX]; /* sessions that were deleted, and leases with them: an open hash table */
    size_t ended_count;
    struct hold holds[HOLDS_MAX];
    size_t hold_count;
} promises;

void promises_begin(void)
{
    memset(&promises, 0, sizeof promises);
}

uint64_t promises_lock(struct text name)
{
    return XXH3_64bits_withSeed(name.at, name.len, 1) | 1;
}

uint64_t promises_message(struct text queue, int64_t message)
{
    return XXH3_64bits_withSeed(queue.at, queue.len, (XXH64_hash_t)message + 2) | 1;
}

/* ---- in the order of the log ------------------------------------------------------------------------------------------ */

static uint64_t *ended_at(struct text name)
{
    uint64_t key = XXH3_64bits_withSeed(name.at, name.len, 3) | 1;
    size_t i = key % ENDED_MAX;
    while (promises.ended[i] != 0 && promises.ended[i] != key) {
        i = (i + 1) % ENDED_MAX;
    }
    return &promises.ended[i];
}

static void seen_end(struct text name)
{
    if (++promises.ended_count > ENDED_MAX / 2) {
        wrong("more sessions end than a seed has room for");
    }
    *ended_at(name) = XXH3_64bits_withSeed(name.at, name.len, 3) | 1;
}

static void must_live(struct text name)
{
    if (*ended_at(name) != 0) {
        wrong("%.*s is there, and has ended with its session", (int)name.len, name.at);
    }
}

static void seen_lease(const struct lease_view *lease)
{
    uint64_t key = promises_lock(lease->name);
    struct lock *lock = promises.locks;
    if (lease->state != LEASE_HELD || lease->mode != LEASE_EXCLUSIVE) {
        return;
    }
    must_live(lease->lease);
    if (text_given(lease->session) && lease->session.len > 0) {
        must_live(lease->session);
    }
    while (lock->key != 0 && lock->key != key) {
        lock++;
    }
    if (lease->fence < lock->fence ||
        (lease->fence == lock->fence && !text_equal(text_of(lock->lease), lease->lease))) {
        wrong("the fence %lld of %.*s is granted after %lld was", (long long)lease->fence,
              (int)lease->name.len, lease->name.at, (long long)lock->fence);
    }
    tally->grants += lease->fence > lock->fence;
    lock->key = key;
    lock->fence = lease->fence;
    memset(lock->lease, 0, sizeof lock->lease);
    memcpy(lock->lease, lease->lease.at,
           lease->lease.len < sizeof lock->lease ? lease->lease.len : sizeof lock->lease - 1);
}

static struct message *message_at(uint64_t key)
{
    size_t i = key % MESSAGES_MAX;
    while (promises.messages[i].key != 0 && promises.messages[i].key != key) {
        i = (i + 1) % MESSAGES_MAX;
    }
    return &promises.messages[i];
}

static void seen_sent(struct text queue, const struct sent_messages *sent)
{
    for (size_t i = 0; i < sent->count; i++) {
        uint64_t key = promises_message(queue, sent->at[i].message);
        if (sent->at[i].status != STATUS_CREATED || sent->at[i].deduplicated) {
            continue;
        }
        if (message_at(key)->key != 0) {
            wrong("two messages have the number %lld", (long long)sent->at[i].message);
        }
        if (++promises.message_count > MESSAGES_MAX / 2) {
            wrong("more messages than a seed has room for");
        }
        message_at(key)->key = key;
    }
}

static void seen_received(struct text queue, const struct message_views *received)
{
    for (size_t i = 0; i < received->count; i++) {
        const struct message_view *view = &received->at[i];
        struct message *message = message_at(promises_message(queue, view->message));
        if (message->key == 0 || message->settled || view->fence <= message->fence) {
            wrong("message %lld is delivered, %s", (long long)view->message,
                  message->key == 0  ? "and was never sent"
                  : message->settled ? "after it was settled"
                                     : "with a fence that goes back");
        }
        message->fence = view->fence;
        tally->deliveries++;
    }
}

static void seen_settled(const struct message_settle *settle, const struct outcomes *outcomes)
{
    for (size_t i = 0; i < outcomes->count; i++) {
        const struct settlement *item = &settle->items.at[i];
        struct message *message = message_at(promises_message(settle->queue, item->message));
        if (outcomes->at[i] == OUTCOME_ACKED) {
            if (message->key == 0 || message->settled || message->fence != item->fence) {
                wrong("message %lld is settled that cannot be", (long long)item->message);
            }
            message->settled = true;
        }
    }
}

/* One that is whole has done all of this, and one that failed none: of that nothing must ever be seen. */
static void seen_transaction(const struct transaction *transaction, const struct results *results)
{
    if (results->count != transaction->operations.count) {
        wrong("a transaction of %zu operations has %zu results", transaction->operations.count,
              results->count);
    }
    for (size_t i = 0; i < results->count; i++) {
        if (!status_is_ok(results->at[i].status)) {
            wrong("a transaction is done, and its operation %zu is not", i);
        }
        promises_carried_out(&transaction->operations.at[i], &results->at[i]);
    }
    tally->transactions++;
}

void promises_carried_out(const struct command *command, const struct result *result)
{
    bool good = status_is_ok(result->status);
    if (result->replayed) {
        return; /* what it led to was seen then */
    }
    if (result->shape == SHAPE_LEASE) {
        seen_lease(&result->lease);
    } else if (result->shape == SHAPE_LOCK_SET) {
        for (size_t i = 0; i < result->lock_set.members.count; i++) {
            seen_lease(&result->lock_set.members.at[i]);
        }
        tally->lock_sets += result->status == STATUS_CREATED;
    } else if (result->shape == SHAPE_SESSION && good) {
        must_live(result->session.id);
    } else if (command->kind == COMMAND_SESSION_DELETE && good) {
        seen_end(command->session_delete.id);
        tally->sessions_ended++;
    } else if (result->shape == SHAPE_SENT) {
        seen_sent(command->message_send.queue, &result->sent);
    } else if (result->shape == SHAPE_MESSAGES) {
        seen_received(command->message_receive.queue, &result->received);
    } else if (result->shape == SHAPE_OUTCOMES && result->status == STATUS_OK) {
        seen_settled(&command->message_settle, &result->outcomes);
    } else if (result->shape == SHAPE_RESULTS && good) {
        seen_transaction(&command->transaction, &result->results);
    }
}

/* ---- what is there at the end ------------------------------------------------------------------------------------- */

static void list_queue(struct reader *reader, struct text queue)
{
    struct arena arena = ARENA_EMPTY;
    struct command list = {.kind = COMMAND_MESSAGE_LIST,
                           .message_list = {queue, TEXT_ABSENT, MESSAGE_ANY, {TEXT_ABSENT, 100}}};
    struct result page;
    do {
        reader_read(reader, &list, &arena, &page);
        if (page.status == STATUS_QUEUE_NOT_FOUND) {
            break;
        }
        if (page.status != STATUS_OK) {
            wrong("cannot list %.*s: %s", (int)queue.len, queue.at, status_info(page.status)->code);
        }
        for (size_t i = 0; i < page.messages.items.count; i++) {
            int64_t number = page.messages.items.at[i].message;
            struct message *message = message_at(promises_message(queue, number));
            if (message->key == 0 || message->settled || message->listed) {
                wrong("message %lld of %.*s is there, and must not be", (long long)number,
                      (int)queue.len, queue.at);
            }
            message->listed = true;
        }
        list.message_list.page.after = page.messages.next;
    } while (text_given(page.messages.next));
    arena_free(&arena);
}

void promises_end(const char *database, struct machine *machine)
{
    struct reader *reader;
    char why[256];
    if (reader_open(database, machine, &reader, why) != STATUS_OK) {
        wrong("cannot read the state: %s", why);
    }
    list_queue(reader, TEXT("q0"));
    list_queue(reader, TEXT("q1"));
    reader_close(reader);
    for (size_t i = 0; i < MESSAGES_MAX; i++) {
        const struct message *message = &promises.messages[i];
        if (message->key != 0 && !message->settled && !message->listed) {
            wrong("a message is lost");
        }
    }
}

/* ---- what clients hold -------------------------------------------------------------------------------------------- */

void promises_hold(uint64_t key, int64_t fence, uint64_t until_us)
{
    struct hold *own = NULL;
    for (size_t i = 0; i < promises.hold_count; i++) {
        struct hold *hold = &promises.holds[i];
        if (hold->until_us <= world_now()) {
            *hold = promises.holds[--promises.hold_count];
            i--;
        } else if (hold->key == key && hold->fence == fence) {
            own = hold;
        } else if (hold->key == key) {
            wrong(
                "two clients hold the same: one with fence %lld for another %llu ms, one with %lld",
                (long long)hold->fence, (unsigned long long)(hold->until_us - world_now()) / MS,
                (long long)fence);
        }
    }
    if (until_us <= world_now()) {
        return;
    }
    if (own != NULL) {
        own->until_us = until_us > own->until_us ? until_us : own->until_us;
    } else if (promises.hold_count < HOLDS_MAX) {
        promises.holds[promises.hold_count++] = (struct hold){key, fence, until_us};
    }
}

void promises_let_go(uint64_t key, int64_t fence)
{
    for (size_t i = 0; i < promises.hold_count; i++) {
        if (promises.holds[i].key == key && promises.holds[i].fence == fence) {
            promises.holds[i].until_us = 0;
        }
    }
}
