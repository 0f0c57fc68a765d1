#include "db/groups.h"

/* ?1 group, ?2 and ?3 the queue's living messages, ?4 the queue's concurrency. */
#define OF_THE_GROUP "grp = ?1 AND id BETWEEN ?2 AND ?3"
#define ROOM_LEFT                                                                                  \
    "(SELECT count(*) < ?4 FROM (SELECT 1 FROM messages WHERE " OF_THE_GROUP                       \
    " AND turn = 1 LIMIT ?4))"

static void bind_group(struct query *q, const struct queue *queue, struct text group)
{
    bind_text(q, group);
    bind_int(q, message_id(queue, 0));
    bind_int(q, message_id(queue, MESSAGE_SEQUENCE_MAX));
    bind_int(q, queue->config.group_concurrency);
}

int64_t group_enter(struct txn *txn, const struct queue *queue, struct text group)
{
    /* Where some wait although there is room (the concurrency was raised just now), they come first. */
    static const char ENTER[] = "SELECT NOT EXISTS (SELECT 1 FROM messages WHERE " OF_THE_GROUP
                                " AND turn = 0) AND " ROOM_LEFT;
    QUERY(q, txn->sql, ENTER);
    bind_group(&q, queue, group);
    return query_row(&q) ? col_int(&q, 0) : 0;
}

bool group_next(struct txn *txn, struct queue *queue, struct text group)
{
    static const char NEXT[] = "SELECT id FROM messages WHERE " OF_THE_GROUP
                               " AND turn = 0 AND " ROOM_LEFT " ORDER BY id LIMIT 1";
    struct message message;
    QUERY(q, txn->sql, NEXT);
    bind_group(&q, queue, group);
    if (!query_row(&q) || !message_load(txn, col_int(&q, 0), &message)) {
        return false;
    }
    query_end(&q);
    struct message to = message;
    to.turn = 1;
    message_stand(txn, queue, &message, to, message.due_ms);
    return true;
}

/* The last of those behind `id` that have the turn and are not leased. */
static bool find_later(struct txn *txn, const struct queue *queue, struct text group, int64_t id,
                       struct message *ret)
{
    static const char LATER[] = "SELECT id FROM messages WHERE " OF_THE_GROUP
                                " AND turn = 1 AND lane <> ?4 ORDER BY id DESC LIMIT 1";
    QUERY(q, txn->sql, LATER);
    bind_text(&q, group);
    bind_int(&q, id);
    bind_int(&q, message_id(queue, MESSAGE_SEQUENCE_MAX));
    bind_int(&q, message_lane(queue, STATE_LEASED, 0));
    return query_row(&q) && message_load(txn, col_int(&q, 0), ret);
}

int64_t group_return(struct txn *txn, struct queue *queue, struct text group, int64_t id)
{
    static const char WAITS_BEFORE[] = "SELECT EXISTS (SELECT 1 FROM messages WHERE grp = ?1"
                                       " AND id BETWEEN ?2 AND ?3 AND turn = 0)";
    static const char ROOM[] = "SELECT " ROOM_LEFT;
    QUERY(before, txn->sql, WAITS_BEFORE);
    bind_text(&before, group);
    bind_int(&before, message_id(queue, 0));
    bind_int(&before, id);
    if (!query_row(&before) || col_int(&before, 0) != 0) {
        return 0;
    }
    QUERY(room, txn->sql, ROOM);
    bind_group(&room, queue, group);
    if (query_row(&room) && col_int(&room, 0) != 0) {
        return 1;
    }
    struct message later;
    if (!find_later(txn, queue, group, id, &later)) {
        return 0;
    }
    struct message to = later;
    to.turn = 0;
    to.state = later.state == STATE_READY ? STATE_BLOCKED : later.state;
    message_change(txn, queue, &later, &to);
    return 1;
}
