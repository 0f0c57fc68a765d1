/*
 * Which dedup ids a queue has seen within its window, and the messages they named. They belong to the queue's `born`,
 * so that they end with the queue and outlive a purge; what a deleted queue leaves behind lapses with its window.
 */
#ifndef RINGHOLD_DB_DEDUPS_H
#define RINGHOLD_DB_DEDUPS_H

#include "db/queues.h"

/* The message that was sent under this id within the window; 0: none. */
int64_t dedup_find(struct txn *txn, const struct queue *queue, struct text dedup_id);
/* Notes that `sequence` is sent under this id. False, and nothing noted: there is one already. */
bool dedup_claim(struct txn *txn, const struct queue *queue, struct text dedup_id,
                 int64_t sequence);

/* Whether the queue has any that is not over. */
bool dedups_any(struct txn *txn, const struct queue *queue);

/* Forgets what is over, at most `steps`; returns how many, and says when the next is due. */
int64_t dedups_tick(struct txn *txn, int64_t steps);

#endif
