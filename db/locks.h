/*
 * Locks: the row that stands for a name, and the locks that a command has in hand. A lock exists by being named: one
 * that was never used has no row (id 0), the limit 1, version 0 and fence 0.
 *
 * A command loads each lock it touches once, changes the struct as often as it likes, and lock_work_end writes each
 * changed one once: one new version, one event, one UPDATE. So while a command runs, the struct is the truth and the
 * row is behind; leases' rows are written at once.
 */
#ifndef RINGHOLD_DB_LOCKS_H
#define RINGHOLD_DB_LOCKS_H

#include "db/txn.h"

struct lock {
    int64_t id; /* 0: it has no row yet; lock_make gives it one */
    struct text name;
    int64_t limit;
    int64_t lock_delay_ms;
    int64_t version;
    int64_t fence; /* of the newest grant */
    int64_t
        delayed_until_ms; /* lease time until which nothing is granted; 0: no lock-delay to wait for */
    int64_t permits_held; /* by exclusive leases; shared ones take none */
    int64_t holders;
    int64_t waiters;
    int64_t idle_since_ms; /* wall time, of a lock without leases */
    int64_t sweep_ms;      /* wall time when the sweeper looks at it; ABSENT: never */
    bool configured;       /* by LOCK_PUT; such a lock stays for good */

    bool made;         /* has no row yet, and gets one */
    bool changed;      /* gets a new version */
    bool reconfigured; /* columns that are rarely written have changed too */
    bool look;         /* its line must be looked at: line_run */
    struct lock *next;
};

/* The locks a command has in hand. */
struct lock_work {
    struct txn *txn;
    struct lock *locks;
    int64_t steps;     /* how much line_run may still do */
    struct lock spare; /* handed out when memory ran out: the batch is void then */
};
struct lock_work lock_work_begin(struct txn *txn, int64_t steps);
/* Writes back what has changed. The locks stay in hand. */
void lock_work_end(struct lock_work *work);

/* The lock of that name or id; never NULL, and the same struct each time. */
struct lock *lock_load(struct lock_work *work, struct text name);
struct lock *lock_load_id(struct lock_work *work, int64_t id);

/* Gives the lock a row if it has none, before a lease of it is written. */
void lock_make(struct lock_work *work, struct lock *lock);

/* Whether nothing may be granted yet because a holder was lost. */
bool lock_is_delayed(const struct lock_work *work, const struct lock *lock);
/* Whether the holders leave room for one more; says nothing of the line or a lock-delay. */
bool lock_admits(const struct lock *lock, int64_t mode, int64_t permits);
/* Grants nothing before that instant of lease time. */
void lock_delay_until(struct lock *lock, int64_t lease_ms);

/* The lock as clients see it, without the leases that time or a session's end has ended. For readers too. */
struct lock_view lock_view_of(struct txn *txn, const struct lock *lock);

/* Drops the rows of locks that nobody has used for IDLE_LOCK_MS, looking at no more than `limit`. Returns how many it
   looked at, and tells txn_due_wall when the next is due. */
int64_t locks_sweep(struct txn *txn, int64_t limit);

/* The first `limit` locks by name, from `from` on and before `until`. Returns how many. */
size_t locks_page(struct txn *txn, struct text from, struct text until, size_t limit,
                  struct lock *ret);

/* Checks the rows of locks and leases against each other and the counters. NULL, or what is wrong with them. */
const char *locks_sanity(struct txn *txn);

#endif
