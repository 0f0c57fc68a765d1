#include "db/messages.h"

static int64_t *depth_of(struct depths *depths, enum message_state state)
{
    switch (state) {
    case STATE_READY:
    case STATE_BLOCKED:
        return &depths->ready;
    case STATE_DELAYED:
        return &depths->delayed;
    case STATE_LEASED:
        return &depths->leased;
    case STATE_DEAD:
        break;
    }
    return &depths->dead;
}

/* Counts one message for what it is by now: gone, or ready; or, held beyond its time, still leased. */
static void recount(const struct txn *txn, const struct queue *queue, const struct query *q,
                    struct depths *depths)
{
    struct message message = {.state = message_state(col_int(q, 0)),
                              .due_ms = col_int(q, 1),
                              .enqueued_ms = col_int(q, 2),
                              .expires_ms = col_int(q, 3)};
    bool due = message.state == STATE_LEASED    ? !message_is_held(txn, &message)
               : message.state == STATE_DELAYED ? message.due_ms <= txn->now.now_ms
                                                : false;
    bool gone = message_expired(txn, queue, &message);
    *depth_of(depths, message.state) -= gone || due;
    depths->ready += due && !gone;
}

struct depths queue_depths_now(struct txn *txn, const struct queue *queue)
{
    /* ?1 the lane of LEASED, ?2 of DELAYED, ?3 the queue, ?4 lease time, ?5 wall time, ?6 what is as old is kept no
       longer, ?7 and ?8 the living, ?9 and ?10 the dead, ?11 how many of each. A queue's messages lie in the order they
       were sent in, so that those kept for too long are the first. */
    static const char DUE[] =
        "SELECT lane, due_ms, enqueued_ms, expires_ms FROM messages WHERE id IN ("
        "SELECT id FROM (SELECT id FROM messages WHERE lane = ?1 AND due_ms <= ?4 LIMIT ?11)"
        " UNION SELECT id FROM (SELECT id FROM messages WHERE lane = ?2 AND due_ms <= ?5 LIMIT ?11)"
        " UNION SELECT id FROM (SELECT id FROM messages WHERE id >> 41 = ?3 AND expires_ms <= ?5"
        " AND (lane & 31) <> 17 LIMIT ?11)"
        " UNION SELECT id FROM (SELECT id FROM messages WHERE id >= ?7 AND id < coalesce((SELECT id"
        " FROM messages WHERE id BETWEEN ?7 AND ?8 AND enqueued_ms > ?6 ORDER BY id LIMIT 1),"
        " ?8 + 1) ORDER BY id LIMIT ?11)"
        " UNION SELECT id FROM (SELECT id FROM messages WHERE id >= ?9 AND id < coalesce((SELECT id"
        " FROM messages WHERE id BETWEEN ?9 AND ?10 AND enqueued_ms > ?6 ORDER BY id LIMIT 1),"
        " ?10 + 1) ORDER BY id LIMIT ?11))";
    struct depths depths = queue->depths;
    if (queue->due.wall_ms > txn->now.now_ms && queue->due.lease_ms > txn->now.lease_now_ms) {
        return depths;
    }
    QUERY(q, txn->sql, DUE);
    bind_int(&q, message_lane(queue, STATE_LEASED, 0));
    bind_int(&q, message_lane(queue, STATE_DELAYED, 0));
    bind_int(&q, queue->id);
    bind_int(&q, txn->now.lease_now_ms);
    bind_int(&q, txn->now.now_ms);
    bind_int(&q, txn->now.now_ms - queue->config.retention_ms);
    bind_int(&q, message_id(queue, 0));
    bind_int(&q, message_id(queue, MESSAGE_SEQUENCE_MAX));
    bind_int(&q, message_id(queue, MESSAGE_SHELF));
    bind_int(&q, message_id(queue, MESSAGE_SHELF | MESSAGE_SEQUENCE_MAX));
    bind_int(&q, LIST_ROWS_MAX);
    while (query_row(&q)) {
        recount(txn, queue, &q, &depths);
    }
    return depths;
}
