/*
 * What a process remembers of queues with shards between requests, by a hash of their names: hints, which two queues may
 * share. Any thread.
 */
#ifndef RINGHOLD_SERVICE_SHARD_NOTES_H
#define RINGHOLD_SERVICE_SHARD_NOTES_H

#include "handlers/spread.h"

#include <stdatomic.h>

struct shard_note {
    _Atomic uint64_t turn;     /* of the requests for the queue */
    _Atomic int64_t looked_us; /* when a receive last came by all shards in vain; monotonic */
    _Atomic int64_t
        whole_until_us; /* it had no shards a moment ago, and is not looked at until then */
    _Atomic int64_t depths[SHARDS_MAX];
    _Atomic int64_t ready[SHARDS_MAX]; /* less what receives that are under way were sent for */
};

struct shard_notes;
struct shard_notes *shard_notes_make(void); /* NULL: out of memory. To be freed by free. */
struct shard_note *shard_notes_find(struct shard_notes *notes, struct text queue);

/* A task is about to be carried out. */
void shard_note_task(struct shard_note *note, const struct spread_task *task);
/* It was, with that result. */
void shard_note_result(struct shard_note *note, const struct spread_task *task,
                       const struct result *result);

#endif
