/*
 * Cycles of owners. An owner that waits for a lock waits for each owner that must let go of it first: those before it
 * in line, and those holders without whose permits there cannot be room. A wait that would lead back to the owner
 * itself would never end but by its deadline, so it is refused.
 *
 * Not refused: an owner waiting for itself, be it through the line of the very locks it asks for (workers may share an
 * owner's name). Of a semaphore, a holder is waited for only if the others' permits would not do.
 *
 * The search looks at DEADLOCK_SEARCH_MAX rows at the most; a longer cycle goes unseen, and its waits end at their
 * deadlines.
 */
#ifndef RINGHOLD_DB_DEADLOCK_H
#define RINGHOLD_DB_DEADLOCK_H

#include "db/locks.h"

/* What an owner asks for. */
struct wish {
    const struct lock *lock;
    int64_t mode;
    int64_t permits;
};

/* Whether the owner would wait in a cycle if it stood in line for these; *ret_cycle then lists it, the asker first. */
bool deadlock_find(struct txn *txn, struct text owner, const struct wish *wishes, size_t count,
                   struct cycle *ret_cycle);

#endif
