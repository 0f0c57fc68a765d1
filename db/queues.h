/*
 * Queues as rows: a queue's configuration, its exact counters, and what is next due in it. A command loads the row once
 * (queue_find), works on the struct, and writes it back once (queue_store), however many messages it touched; the
 * partition's counters, the version and the events follow from the difference.
 *
 *     no queue ──PUT, a first send, a dead letter──► configured ──DELETE──► nameless (its messages wait to be deleted)
 *                                                     │     ▲                  │
 *                                                     └purge┘ (under a new id)  └──TICK──► no row
 *
 * A queue is deleted, and purged as a whole, in one step whatever its depth: the row loses its name, and TICKs delete
 * its messages by and by, while the name is free, or lives on with a new id. Structs live in the command's arena.
 */
#ifndef RINGHOLD_DB_QUEUES_H
#define RINGHOLD_DB_QUEUES_H

#include "db/txn.h"

struct depths {
    int64_t ready; /* with those that wait for their group's turn */
    int64_t delayed;
    int64_t leased;
    int64_t dead;
};

struct queue {
    int64_t id;       /* the upper bits of its messages' ids; a purge changes it */
    struct text name; /* borrowed from the command, or in the arena */
    int64_t born;     /* unique, and stays: what dedup ids belong to */
    int64_t version;  /* of the last change of any kind */
    int64_t sequence; /* of the message sent last */
    int64_t created_ms;
    int64_t config_version; /* of the last change of the configuration */
    struct queue_config config;
    int64_t tokens_milli; /* of the rate's bucket, as of filled_ms, in TOKEN_PARTS */
    int64_t filled_ms;
    int64_t
        shard; /* which shard of its queue this row is; 0: home, and the only one where spread is 1 */
    int64_t spread; /* over how many partitions the queue is spread */
    int64_t
        home_version;  /* not home: the least version of the configuration it takes requests of */
    int64_t home_born; /* not home: of the queue whose shard it is; 0: a dead letter has made it */
    bool keyed; /* messages with a group or a dedup_id were sent since it was last seen empty */
    int64_t regroup_id; /* the message up to which groups were looked through, ABSENT: no need to */
    struct depths depths;
    struct due due; /* nothing in the queue is due before */

    bool changed;  /* clients can see a difference: queue_store gives it a version */
    int64_t woken; /* messages that became receivable */
    struct depths stored_depths;
    struct due stored_due;
    int64_t stored_regroup_id;
    bool stored_keyed;
    struct queue *dead_letter; /* once loaded; stored with this one */
};

/* What a queue is made with when a first message names it. */
struct queue_config queue_config_default(void);

/* What a row is made as. */
struct shard_mark {
    int64_t shard, spread, home_version, home_born; /* as in struct queue */
};
#define WHOLE_QUEUE ((struct shard_mark){.spread = 1})

/* This shard's part of a number that is the whole queue's; the parts of all shards are the number. */
int64_t queue_share(const struct queue *queue, int64_t total);

/* The rate's bucket counts in so small parts of a token that a shard's part of the rate has no fraction. */
#define TOKEN_PARTS(queue) (1000 * (queue)->spread)
/* Makes the bucket full. */
void queue_fill_bucket(struct txn *txn, struct queue *queue);

/* The bucket's size: a burst of 0 is one of as many as per_s. */
int64_t queue_burst(const struct queue_config *config);

/* Loads a queue. False: there is none of that name (of that id). */
MUST_CHECK bool queue_find(struct txn *txn, struct text name, struct queue *ret);
MUST_CHECK bool queue_find_id(struct txn *txn, int64_t id, struct queue *ret);
/* Makes a queue that is not there. False: the partition has as many as it can number. */
MUST_CHECK bool queue_make(struct txn *txn, struct text name, const struct queue_config *config,
                           struct shard_mark mark, struct queue *ret);
/* Makes a queue of that name empty by moving it under a new id. False, as queue_make. */
MUST_CHECK bool queue_renumber(struct txn *txn, struct queue *queue);
/* Takes the name away; what messages it has are deleted by and by. They must no longer be counted. */
void queue_drop_name(struct txn *txn, const struct queue *queue);
/* The queue's dead-letter queue, made if need be; NULL where none is configured (or none can be made). */
struct queue *queue_dead_letter(struct txn *txn, struct queue *queue);
/* Writes back what a command changed, and tells who waits. Nothing where nothing changed. */
void queue_store(struct txn *txn, struct queue *queue);
/* Writes the configuration back too. */
void queue_store_config(struct txn *txn, struct queue *queue);

/* Gives the queue another configuration, and what follows from it for the messages that are there. Not stored yet. */
void queue_configure(struct txn *txn, struct queue *queue, const struct queue_config *config,
                     int64_t spread);

/* Something in the queue becomes due then. */
void queue_due_wall(struct queue *queue, int64_t wall_ms);
void queue_due_lease(struct queue *queue, int64_t lease_ms);

/* Messages that take room: ready, delayed and leased. */
int64_t queue_depth(const struct queue *queue);
/* The depths as a client must see them: what is due counts as what it is by now, a ready message or none, also before
   queue_advance has put it right. Counts at most LIST_ROWS_MAX of each kind. */
struct depths queue_depths_now(struct txn *txn, const struct queue *queue);

/* The counters and bounds of all queues agree with the messages; NULL, or what does not. */
const char *queues_sanity(struct txn *txn);

#endif
