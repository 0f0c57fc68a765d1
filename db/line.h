/*
 * The waiting line of a lock, and time. Leases wait in the order they came (seq); the first is granted as soon as the
 * holders leave room for it and no lock-delay runs, and so on, until one is met that must wait: none overtakes. So
 * shared leases at the head are granted together, and a writer is not starved. A lock-set stands in the lines of all
 * its locks and is granted when it is first in each and each has room.
 *
 * Only the head is looked at, and a bounded number of heads in one command. What is left is marked on the lock as a
 * lock-delay that is over at once: the next TICK goes on.
 */
#ifndef RINGHOLD_DB_LINE_H
#define RINGHOLD_DB_LINE_H

#include "db/leases.h"

/* Brings the lock up to now before a command works on it: ends what is overdue, grants whose turn it is. */
void line_settle(struct lock_work *work, struct lock *lock);

/* Grants what can be granted, on every lock in hand that has `look` set, and on those that follow from it; then
   writes the locks back. */
void line_finish(struct lock_work *work);

/* How many stand in line before that place; overdue ones, and those whose session has ended, do not. */
int64_t line_position(struct txn *txn, const struct lock *lock, int64_t seq);

/* Ends the leases bound to a session, in the transaction that ends it. */
void leases_end_for_session(struct txn *txn, struct text session);
/* Binds them to another session instead: it was rotated. */
void leases_move_session(struct txn *txn, struct text from, struct text to);

#endif
