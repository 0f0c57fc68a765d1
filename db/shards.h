/*
 * Queues over several partitions. The row on the partition of the queue's own routing key is home: it holds the
 * configuration, and is shard 0. Each other shard is a row of the same name on another partition (handlers/ring.h says
 * on which), with a copy of the configuration. Each row has its own messages and counters; nobody in db/ knows more than
 * one of them. Who asks them all, and adds up, is handlers/spread.h.
 *
 * What is meant for a queue as a whole is refused where the queue is spread: NOT_OWNER, so that whoever asked finds out
 * and asks the shards. What is asked of one shard comes in a shard_request, which says by what configuration:
 *
 *                          request's version  older than the row's   the row's   newer
 *     home (shard 0)                           refused                done        refused
 *     another, that is not there               made by the request's configuration, done
 *     another                                  refused                done        takes the configuration over, done
 *     another, of an earlier queue (born)      its messages are dropped, made anew, done
 *
 * Refused is NOT_OWNER with the row's version. So a configuration needs no transaction over partitions: home's commit
 * makes it true, the next request to a shard tells it, and who goes by an older one, a leader that has been cut off, is
 * found out.
 *
 * **Which shard a message is on follows from its group, else its dedup_id**, and so does order and deduplication. When
 * the number of shards changes, that changes. So it may only while there is nothing that it could be wrong for: each
 * other shard is sealed first, which is refused unless it may be left (queue_may_move), and makes it refuse what comes
 * by the old configuration; then home's own change commits, if it may be left too, and if its configuration is still the
 * one at which the others were sealed. Its new version is past the one that they wait for, so that each takes the new
 * configuration over with the first request that brings it. Who gives up between leaves shards sealed: QUEUE_RENEW of home lets them go on.
 */
#ifndef RINGHOLD_DB_SHARDS_H
#define RINGHOLD_DB_SHARDS_H

#include "db/queues.h"

/* The key by which a message's shard is chosen, its group or its dedup_id. False: any shard will do. */
bool shard_key(const struct message_new *message, struct text *ret);
/* The shard of a key, of `count`: XXH3-64 with seed 0, then jump consistent hashing (Lamping, Veach 2014), so that with
   more shards a key stays or moves to a new one. */
int64_t shard_of(struct text key, int64_t count);
/* The same for a hash. */
int64_t shard_of_hash(uint64_t hash, int64_t count);
/* Over how many partitions a queue is spread that shall have so many shards. */
int64_t shard_count(int64_t shards, int64_t partitions);

/* A message's public id: its sequence, and above it its shard. */
enum { SHARD_ID_BITS = 40 };
static inline int64_t shard_message(int64_t shard, int64_t sequence)
{
    return shard << SHARD_ID_BITS | sequence;
}
static inline int64_t shard_of_message(int64_t message)
{
    return message >> SHARD_ID_BITS;
}
static inline int64_t shard_sequence(int64_t message)
{
    return message & ((INT64_C(1) << SHARD_ID_BITS) - 1);
}

/* What a command on a queue needs of it: in a transaction on a queue that is spread only home can be had. */
enum entry { ENTER_WHOLE, ENTER_HOME };
/* Loads the queue for a command: OK; QUEUE_NOT_FOUND; NOT_OWNER where it is spread and the command speaks for all of it;
   CROSS_PARTITION where it is in a transaction, and needs more than home. */
MUST_CHECK enum status queue_enter(struct txn *txn, struct text name, enum entry entry,
                                   struct queue *ret);
/* The same for a command about one message; CROSS_PARTITION, too, where that is another shard's. */
MUST_CHECK enum status queue_enter_message(struct txn *txn, struct text name, int64_t message,
                                           struct queue *ret);

/* Whether the shard may be left as it is by a change of the number of shards: either nothing on it is there because of a
   group or a dedup_id, or it is empty and remembers no dedup_id. Looks at what has expired first. */
bool queue_may_move(struct txn *txn, struct queue *queue);
/* Whether it has no messages, dead ones neither. */
bool queue_is_empty(struct txn *txn, struct queue *queue);

#endif
