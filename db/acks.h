/*
 * Which deliveries were acknowledged, so that an ack that is repeated is told from one that came too late. Remembered
 * for ACK_MEMORY_MS, in one bit a fence: neighbouring fences share a row, so that a batch of acks writes a few rows.
 */
#ifndef RINGHOLD_DB_ACKS_H
#define RINGHOLD_DB_ACKS_H

#include "db/txn.h"

/* Acks that were not written yet: those of one block. Begin with {0}, end with acks_flush. */
struct acks {
    int64_t block;
    int64_t bits;
};
void acks_add(struct txn *txn, struct acks *acks, int64_t fence);
void acks_flush(struct txn *txn, struct acks *acks);
/* Whether the delivery of that fence was acknowledged. Looks at what was flushed, and at `acks`. */
bool acks_know(struct txn *txn, const struct acks *acks, int64_t fence);

/* Forgets the old, at most `steps` rows; returns how many, and says when the next is due. */
int64_t acks_tick(struct txn *txn, int64_t steps);

#endif
