/*
 * What the commands about leases and those about lock-sets have in common: the questions whether somebody may have
 * what it wishes, or may wait for it, and the answers.
 */
#ifndef RINGHOLD_DB_LEASE_ANSWERS_H
#define RINGHOLD_DB_LEASE_ANSWERS_H

#include "db/deadlock.h"
#include "db/line.h"

/* Whether the wish could be granted at once: there is room, no lock-delay, and nobody in line. */
bool wish_is_free(const struct lock_work *work, const struct wish *wish);

/* Whether the owner may stand in line for all the wishes. No: the result says why; where it would not wait (`wants_to`
   is false) that is LOCK_HELD. */
bool wishes_may_wait(struct lock_work *work, struct text owner, const struct wish *wishes,
                     size_t count, bool wants_to, struct result *result);

/* The lease time until which a request waits. One that nobody stays on the line for may leave wait_ms open. */
int64_t lease_wait_until(const struct txn *txn, int64_t wait_ms, bool async);

/* Drops a wait, or a grant that was not collected, whose client hung up; nothing if it is not that client's. */
void lease_drop_abandoned(struct lock_work *work, struct lock *lock, const struct lease *lease,
                          int64_t ticket);

/* Whether a lease on a lock of that name may be bound to the session (absent: to none). No: the result says why. */
bool answer_session(struct txn *txn, struct text session, struct text name, struct result *result);

/* SHAPE_LEASE. */
void answer_lease(struct txn *txn, const struct lock *lock, const struct lease *lease,
                  struct result *result);
/* LOCK_HELD, and all that the caller needs to know about it. */
void answer_held(struct txn *txn, const struct lock *lock, struct result *result);

#endif
