/*
 * Who carries out what: for each row of COMMAND_TABLE there is one function of the member's name, in the file of its
 * aggregate, that takes the transaction, the command's struct, and the result to fill. It finds result->status OK,
 * result->stamp set and everything else zero.
 *
 * Such a function either succeeds, or sets a status that is a refusal and leaves the state as it found it: it checks
 * before it writes, or uses a savepoint. Storage errors are not its concern (sql.h: they are sticky).
 */
#ifndef RINGHOLD_DB_AGGREGATES_H
#define RINGHOLD_DB_AGGREGATES_H

#include "db/txn.h"

#define COMMAND_AS_FUNCTION(kind, type, member, reads)                                             \
    void member(struct txn *txn, const struct type *command, struct result *result);
COMMAND_TABLE(COMMAND_AS_FUNCTION)
#undef COMMAND_AS_FUNCTION

/*
 * Each aggregate's share of a TICK: does what is due, oldest first, touching at most `steps` rows, and tells
 * txn_due_wall / txn_due_lease when it is next due (now, if it left something undone). Returns the rows touched.
 */
int64_t sessions_tick(struct txn *txn, int64_t steps);
int64_t leases_tick(struct txn *txn, int64_t steps);
int64_t messages_tick(struct txn *txn, int64_t steps);
int64_t idempotency_tick(struct txn *txn, int64_t steps);

#endif
