#include "service/shard_notes.h"

#include "handlers/ring.h"

#include <stdlib.h>

enum { NOTES = 256 };

struct shard_notes {
    struct shard_note at[NOTES];
};

struct shard_notes *shard_notes_make(void)
{
    return calloc(1, sizeof(struct shard_notes));
}

struct shard_note *shard_notes_find(struct shard_notes *notes, struct text queue)
{
    return &notes->at[ring_hash(queue) % NOTES];
}

static const struct command *operation_of(const struct spread_task *task, enum command_kind kind)
{
    if (task->plain) {
        return NULL;
    }
    const struct shard_request *request = task->command.kind == COMMAND_SHARD_WRITE
                                              ? &task->command.shard_write
                                              : &task->command.shard_read;
    bool is = request->operations.count > 0 && request->operations.at[0].kind == kind;
    return is ? &request->operations.at[0] : NULL;
}

/* So that those who receive at the same time go to different shards. */
void shard_note_task(struct shard_note *note, const struct spread_task *task)
{
    const struct command *operation = operation_of(task, COMMAND_MESSAGE_RECEIVE);
    if (operation != NULL) {
        int64_t share = operation->message_receive.max;
        int64_t ready = atomic_load(&note->ready[task->shard]);
        atomic_store(&note->ready[task->shard], ready > share ? ready - share : 0);
    }
}

void shard_note_result(struct shard_note *note, const struct spread_task *task,
                       const struct result *result)
{
    const struct command *operation;
    _Atomic int64_t *ready = &note->ready[task->shard];
    if (!status_is_ok(result->status)) {
        return;
    }
    if (task->command.kind == COMMAND_SHARD_WRITE) {
        atomic_store(&note->depths[task->shard], result->depth);
    }
    if (operation_of(task, COMMAND_MESSAGE_SEND) != NULL) {
        atomic_fetch_add(ready, (int64_t)result->sent.count);
    } else if (operation_of(task, COMMAND_QUEUE_GET) != NULL && result->shape == SHAPE_QUEUE) {
        atomic_store(ready, result->queue.ready);
    } else if ((operation = operation_of(task, COMMAND_MESSAGE_RECEIVE)) != NULL &&
               (int64_t)result->received.count < operation->message_receive.max) {
        atomic_store(ready, 0);
    }
}
