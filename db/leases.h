/*
 * Leases: each is one hold on a lock, or one place in its waiting line (API.md §3).
 *
 *                 no room                       its turn                    collect, renew, patch, replay
 *     none ────────────────────► WAITING ─────────────────────► UNCOLLECTED ─────────────────► HELD
 *      │ │                          │ its deadline, abandoned       │ claim over, abandoned      │
 *      │ └──────── room ────────────┼───────────────────────────────┼──────────────────────────► │
 *      │                            ▼                               ▼                            ▼
 *      └◄──── forgotten ──────────────────────────── ENDED (a row of ended_leases says how) ◄────┘
 *
 *                     none             waiting            uncollected         held             ended
 *     acquire         held|waiting     waiting *          held                held (as was)    410
 *     acquire, other
 *       parameters    held|waiting     422                422                 422              410
 *     collect         409 lock-held    waiting            held                held (as was)    410
 *     renew           404              409 not held       held                held, longer     410
 *     patch           404              waiting *1         held                held             410
 *     release         204              ended, released    ended, released     ended, released  204 *2
 *     abandon *3      nothing          none *5            none *5             nothing          nothing
 *     its time        –                none *4            ended, expired      ended, expired   none
 *     break           nothing          waiting            ended, revoked      ended, revoked   nothing
 *     session ends    –                ended, session     ended, session      ended, session   nothing
 *     room in front   –                uncollected        –                   –                –
 *
 *     *  its deadline moves to what this request asks, if that is later; one that would not wait is told 409 lock-held
 *     *1 metadata only; mode: 409 not held       *2 410 unless it had been released
 *     *3 with the ticket of the latest acquire, of a wait that is not async; else nothing
 *     *4 of an async wait: ended, expired. Nobody is on the line to hear it.
 *     *5 its place is left (struct place): acquire finds it again.
 *
 * Ends by expiry, revocation and session end start the lock-delay; not those of an uncollected lease, whose client
 * never knew of its hold. Members of a lock-set (in_set) wait, are granted and, until collected, end as one.
 *
 * Time ends a lease at its instant: every command takes it as ended from then on, whether or not a TICK has run.
 */
#ifndef RINGHOLD_DB_LEASES_H
#define RINGHOLD_DB_LEASES_H

#include "db/locks.h"

struct lease {
    int64_t lock;
    int64_t state; /* enum lease_state */
    struct text id;
    int64_t seq; /* its place: lower ones stand before it. One for all members of a set */
    struct text owner;
    struct text session;
    struct text metadata;
    int64_t mode;
    int64_t permits;
    int64_t ttl_ms;
    int64_t lock_delay_ms; /* or ABSENT: the lock's */
    int64_t request_hash;  /* of what it was acquired with: tells a replay from another request */
    int64_t fence;
    int64_t due_ms; /* lease time: end of the wait, of the claim, or of the hold */
    int64_t ticket; /* of the latest acquire */
    int64_t version;
    bool collected; /* whoever waited knows of the grant */
    bool async;     /* nobody is on the line while it waits */
    bool in_set;    /* stands and falls with the other members of its set */
};

/* How a lease ends. */
struct ending {
    enum end_reason reason; /* REASON_NONE leaves no trace */
    struct text reason_text;
    int64_t lock_delay_ms; /* ABSENT: the lease's own */
    int64_t at_ms;         /* lease time it ended at: a lock-delay counts from here */
};

/* The live lease of that id on the lock. One whose time is over, or whose session has ended, ends here and now. */
bool lease_find(struct lock_work *work, struct lock *lock, struct text id, struct lease *ret);
/* How an ended lease ended: fills in reason and reason_text. False where nothing is remembered. */
bool lease_ended(struct txn *txn, const struct lock *lock, struct text id, struct result *result);

/*
 * A place in line whose client hung up. Nobody waits for it: it is no lease any more, is not shown, and holds back none
 * of those behind it. But it is remembered: the same request finds it again until its wait would have been over.
 */
struct place {
    int64_t seq; /* 0: none */
    int64_t request_hash;
    int64_t until_ms; /* lease time */
};
/* As lease_ended; false with the place where such a one was left. */
bool lease_ended_or_left(struct txn *txn, const struct lock *lock, struct text id,
                         struct result *result, struct place *ret_left);
/* Forgets a place that was left, before a lease of that id is written. Returns the seq for a lease that was asked for
   by that request: the old one, or 0. */
int64_t lease_return(struct txn *txn, const struct lock *lock, struct text id,
                     const struct place *left, int64_t request_hash);
/* Ends a wait, or a grant that was not collected, and leaves its place. */
void lease_leave(struct lock_work *work, struct lock *lock, const struct lease *lease);
/* The same for readers: what lease_find and lease_ended would find, without writing. OK, LEASE_ENDED with its reason,
   or LEASE_NOT_FOUND. */
enum status lease_look(struct txn *txn, const struct lock *lock, struct text id, struct lease *ret,
                       struct result *result);

/* Writes a new lease, which takes its place among the holders or in the line, as its state says. Gives it its version,
   ticket and, when held, its fence; seq too unless it is set. */
void lease_insert(struct lock_work *work, struct lock *lock, struct lease *lease);
/* A waiting lease becomes a holder. */
void lease_grant(struct lock_work *work, struct lock *lock, struct lease *lease);
/* Whoever waited knows of the grant: its ttl begins now. All members of a set are collected together. True if it
   had been uncollected. */
bool lease_collect_now(struct lock_work *work, struct lease *lease);
/* A replay of a waiting lease's acquire. */
void lease_wait_longer(struct lock_work *work, struct lock *lock, struct lease *lease,
                       int64_t until_ms, bool async);
/* Binds it to another session. */
void lease_rebind(struct lock_work *work, struct lock *lock, const struct lease *lease,
                  struct text session);
/* Ends it, and with it the other members of a set. */
void lease_end(struct lock_work *work, struct lock *lock, const struct lease *lease,
               const struct ending *ending);
/* Ends a lease whose time is over. */
void lease_expire(struct lock_work *work, struct lock *lock, const struct lease *lease);

/* Any of the lock's holders; false where there is none. */
bool lease_first_holder(struct txn *txn, const struct lock *lock, struct lease *ret);
/* The first in line; false where nobody waits. */
bool lease_first_in_line(struct txn *txn, const struct lock *lock, struct lease *ret);
/* The members of a set that stand together with this one, itself among them. Returns how many. */
size_t lease_siblings(struct txn *txn, int64_t seq, struct lease ret[LOCK_SET_MAX]);
/* A lease of the lock that is overdue; false where there is none. */
bool lease_overdue(struct txn *txn, const struct lock *lock, struct lease *ret);
/* A lease of the lock whose session has ended; false where there is none. */
bool lease_orphaned(struct txn *txn, const struct lock *lock, struct lease *ret);
/* The lease of any lock that has been overdue for longest. */
bool lease_next_due(struct txn *txn, struct lease *ret);
/* Any lease that is bound to the session. */
bool lease_of_session(struct txn *txn, struct text session, struct lease *ret);
/* The first of the lock's holders, or of its line, as state says; overdue ones are left out. Returns how many. */
size_t lease_page(struct txn *txn, const struct lock *lock, int64_t state, size_t limit,
                  struct lease *ret);
/* The overdue leases that no TICK has come to yet. */
struct overdue {
    int64_t holders;
    int64_t waiters;
    int64_t delayed_until_ms; /* the lock-delay that the end of those holders starts; 0: none */
};
struct overdue lease_count_overdue(struct txn *txn, const struct lock *lock);

struct lease_view lease_view_of(const struct lease *lease, const struct lock *lock,
                                int64_t position);

/* Whether a session that a lease is bound to, or absent, lets it live. */
bool lease_session_alive(struct txn *txn, struct text session);

/* Forgets ended leases whose time has come, or that are too many; at most `limit`. Returns how many, and tells
   txn_due_wall when the next is due. */
int64_t leases_forget(struct txn *txn, int64_t limit);

#endif
