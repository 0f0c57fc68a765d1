/*
 * Messages as rows, and the moves between their states. Whoever moves a message does it through here, so that the
 * queue's counters, the group's order and the instants at which something is due stay right.
 *
 *                ┌──────────────────────────────────────────────────────────────┐
 *                ▼    turn                                                      │ redrive
 *   send ──┬─► BLOCKED ───┐                                                     │
 *          │      ▲ due   ▼        receive                 reject, or           │
 *          ├─► DELAYED ─► READY ───────────► LEASED ──── failed too often ──► DEAD, or sent to the
 *          │      ▲ due   ▲ ▲                 │  │ │                                 dead-letter queue
 *          └──────┼───────┘ │                 │  │ └─ ack ──► gone
 *                 └─────────┴── nack, lease ──┘  └─ extend ──► LEASED
 *                                 ran out
 *
 *             receive  ack¹  extend¹  nack¹,ran out  reject¹  due            turn²    expiry  cancel   purge  redrive
 *   READY     LEASED   ·     ·        ·              ·        ·              ·        gone    gone     gone   ·
 *   BLOCKED   ·        ·     ·        ·              ·        ·              READY    gone    gone     gone   ·
 *   DELAYED   ·        ·     ·        ·              ·        READY|BLOCKED  DELAYED  gone    gone     gone   ·
 *   LEASED    ·        gone  LEASED   READY³|DEAD⁴   DEAD⁴    ·              ·        ·       refused  gone   ·
 *   DEAD      ·        ·     ·        ·              ·        ·              ·        gone    gone     gone   READY|BLOCKED
 *
 * · nothing happens: the command is refused, or passes the message by.  ¹ With the receipt of this very delivery.
 * ² An earlier message of its group has left (groups.h). The other way, READY becomes BLOCKED when an earlier message
 * of the group comes back from the dead.  ³ Or DELAYED, where there is a delay.  ⁴ Or gone, moved to the dead-letter
 * queue as a new READY (BLOCKED) message.
 *
 * Expiry: nobody receives a message whose ttl or whose queue's retention is over, but who holds it may finish. The ttl
 * is about delivery: of what is dead only the retention is left.
 */
#ifndef RINGHOLD_DB_MESSAGES_H
#define RINGHOLD_DB_MESSAGES_H

#include "db/queues.h"

/* messages.id = queue << 41 | shelf << 40 | sequence. The public id of a message is its sequence. */
#define QUEUE_ID_MAX ((INT64_C(1) << 22) - 1)
#define MESSAGE_SHELF (INT64_C(1) << 40)
#define MESSAGE_SEQUENCE_MAX (MESSAGE_SHELF - 1)

enum message_state { STATE_READY, STATE_BLOCKED, STATE_DELAYED, STATE_LEASED, STATE_DEAD };

struct message {
    int64_t id;
    enum message_state state;
    int64_t due_ms; /* DELAYED, BLOCKED: wall time, or ABSENT; LEASED: lease time */
    int64_t
        turn; /* 1: one of those of its group that may be delivered; 0: BLOCKED; ABSENT: no group, or DEAD */
    int64_t fence;   /* of its last delivery, 0: never delivered */
    int64_t attempt; /* deliveries */
    int64_t failures;
    int64_t priority;
    int64_t enqueued_ms;
    int64_t expires_ms; /* by its own ttl, or ABSENT */
    struct text group;  /* or absent */
    struct text reason; /* the last that was given for a failure, or absent */
    bool apart;         /* the body lies in table bodies */
};

static inline int64_t message_id(const struct queue *queue, int64_t sequence)
{
    return queue->id << 41 | sequence;
}
static inline int64_t message_sequence(int64_t id)
{
    return id & MESSAGE_SEQUENCE_MAX;
}

/* messages.lane of a message in that state: queue << 5 | what no other state shares. NULL (ABSENT) of a dead one. */
int64_t message_lane(const struct queue *queue, enum message_state state, int64_t priority);
/* The other way. */
enum message_state message_state(int64_t lane);

/* Loads the message of that sequence, living or dead, expired or not. False: there is none. */
MUST_CHECK bool message_find(struct txn *txn, const struct queue *queue, int64_t sequence,
                             struct message *ret);
MUST_CHECK bool message_load(struct txn *txn, int64_t id, struct message *ret);

/* When a message's time is over: by the queue's retention, or sooner by its own ttl (or ABSENT). */
int64_t message_ends_ms(const struct queue *queue, int64_t enqueued_ms, int64_t expires_ms);
/* Whether a consumer holds it: leased, and the lease has not run out. */
bool message_is_held(const struct txn *txn, const struct message *message);
/* Whether its time is over. What is held does not expire. */
bool message_expired(const struct txn *txn, const struct queue *queue,
                     const struct message *message);

/* Adds a message; due_ms is when it may be delivered, ABSENT: at once. Returns its sequence. */
int64_t message_insert(struct txn *txn, struct queue *queue, const struct message_new *fresh,
                       int64_t due_ms);

/* Writes the message as `to` has it: state, due_ms, turn, attempt, failures, reason. id and body stay. */
void message_change(struct txn *txn, struct queue *queue, const struct message *message,
                    const struct message *to);
/* The same, to where it waits to be delivered: DELAYED while due_ms (or ABSENT) is ahead, else READY, or BLOCKED where
   its turn has not come. */
void message_stand(struct txn *txn, struct queue *queue, const struct message *message,
                   struct message to, int64_t due_ms);
/* A failed delivery: the message stands again after delay_ms (ABSENT: the queue's backoff), or dies. */
void message_fail(struct txn *txn, struct queue *queue, const struct message *message,
                  int64_t delay_ms, struct text reason);
/* It becomes DEAD, or moves to the dead-letter queue. */
void message_die(struct txn *txn, struct queue *queue, const struct message *message,
                 struct text reason);
/* From DEAD back to where it was. */
void message_revive(struct txn *txn, struct queue *queue, const struct message *message);
/* It is gone; the next of its group has its turn. */
void message_remove(struct txn *txn, struct queue *queue, const struct message *message);

/* The body of a message that keeps it apart, in the arena. */
struct text message_body_apart(struct txn *txn, int64_t id);

/*
 * Does what is due in one queue, oldest first: leases that ran out, delays, expiries, groups to be looked through.
 * Touches at most `steps` messages and returns how many; queue->due then says when it is next due, now if something is
 * left. Nothing is looked at before the queue's bounds say so.
 */
int64_t queue_advance(struct txn *txn, struct queue *queue, int64_t steps);

/* The messages a query gives in its column 0, at most `max`; ends the query. Changing rows while a query runs over
   them is undefined in SQL, so who changes them collects first. */
struct message_ids messages_collect(struct txn *txn, struct query *query, int64_t max);

#endif
