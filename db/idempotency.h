/*
 * Idempotency records: the result of a POST is kept beside its effect, in the same transaction, for IDEMPOTENCY_MS, so
 * that the same request sent again gives the same answer and no second effect (API.md §1).
 */
#ifndef RINGHOLD_DB_IDEMPOTENCY_H
#define RINGHOLD_DB_IDEMPOTENCY_H

#include "db/txn.h"

/*
 * Looks whether the request was carried out before. True: `result` holds what it led to then (replayed is set), or
 * IDEMPOTENCY_KEY_REUSED when the key came with another request.
 */
bool idempotency_replay(struct txn *txn, const struct idempotency *key, struct result *result);

/* Keeps the result, unless it is one that repeating may better: a retryable refusal, a wait that is not over, a
   receive that took nothing. */
void idempotency_keep(struct txn *txn, const struct command *command, const struct result *result);

#endif
