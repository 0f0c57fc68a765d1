#include "db/groups.h"

#include <assert.h>

/* Where a living message stands within its queue's lanes. READY takes ten of them, one for each priority. */
enum { LANE_BITS = 5, LANE_MASK = 31, LANE_DELAYED = 16, LANE_LEASED = 17, LANE_BLOCKED = 18 };

int64_t message_lane(const struct queue *queue, enum message_state state, int64_t priority)
{
    switch (state) {
    case STATE_READY:
        return queue->id << LANE_BITS | (MESSAGE_PRIORITY_MAX - priority);
    case STATE_DELAYED:
        return queue->id << LANE_BITS | LANE_DELAYED;
    case STATE_LEASED:
        return queue->id << LANE_BITS | LANE_LEASED;
    case STATE_BLOCKED:
        return queue->id << LANE_BITS | LANE_BLOCKED;
    case STATE_DEAD:
        break;
    }
    return ABSENT;
}

enum message_state message_state(int64_t lane)
{
    int64_t place = lane & LANE_MASK;
    return lane == ABSENT          ? STATE_DEAD
           : place == LANE_DELAYED ? STATE_DELAYED
           : place == LANE_LEASED  ? STATE_LEASED
           : place == LANE_BLOCKED ? STATE_BLOCKED
                                   : STATE_READY;
}

static int64_t *depth_of(struct queue *queue, enum message_state state)
{
    switch (state) {
    case STATE_READY:
    case STATE_BLOCKED:
        return &queue->depths.ready;
    case STATE_DELAYED:
        return &queue->depths.delayed;
    case STATE_LEASED:
        return &queue->depths.leased;
    case STATE_DEAD:
        break;
    }
    return &queue->depths.dead;
}

/* ---- looking ------------------------------------------------------------------------------------------------------ */

bool message_load(struct txn *txn, int64_t id, struct message *ret)
{
    static const char LOAD[] = "SELECT lane, due_ms, turn, fence, attempt, failures, priority,"
                               " enqueued_ms, expires_ms, grp, reason, body IS NULL"
                               " FROM messages WHERE id = ?1";
    QUERY(q, txn->sql, LOAD);
    bind_int(&q, id);
    if (!query_row(&q)) {
        return false;
    }
    *ret = (struct message){.id = id,
                            .state = message_state(col_int(&q, 0)),
                            .due_ms = col_int(&q, 1),
                            .turn = col_int(&q, 2),
                            .fence = col_int(&q, 3),
                            .attempt = col_int(&q, 4),
                            .failures = col_int(&q, 5),
                            .priority = col_int(&q, 6),
                            .enqueued_ms = col_int(&q, 7),
                            .expires_ms = col_int(&q, 8),
                            .group = col_text(&q, 9, txn->arena),
                            .reason = col_text(&q, 10, txn->arena),
                            .apart = col_int(&q, 11) != 0};
    return true;
}

bool message_find(struct txn *txn, const struct queue *queue, int64_t sequence, struct message *ret)
{
    if (sequence < 1 || sequence > queue->sequence) {
        return false;
    }
    int64_t id = message_id(queue, sequence);
    return message_load(txn, id, ret) || message_load(txn, id | MESSAGE_SHELF, ret);
}

int64_t message_ends_ms(const struct queue *queue, int64_t enqueued_ms, int64_t expires_ms)
{
    int64_t kept_ms = enqueued_ms + queue->config.retention_ms;
    return expires_ms != ABSENT && expires_ms < kept_ms ? expires_ms : kept_ms;
}

bool message_is_held(const struct txn *txn, const struct message *message)
{
    return message->state == STATE_LEASED && message->due_ms > txn->now.lease_now_ms;
}

static bool time_is_over(const struct txn *txn, const struct queue *queue,
                         const struct message *message)
{
    return message_ends_ms(queue, message->enqueued_ms, message->expires_ms) <= txn->now.now_ms;
}

bool message_expired(const struct txn *txn, const struct queue *queue,
                     const struct message *message)
{
    return !message_is_held(txn, message) && time_is_over(txn, queue, message);
}

struct text message_body_apart(struct txn *txn, int64_t id)
{
    static const char GET[] = "SELECT body FROM bodies WHERE id = ?1";
    QUERY(q, txn->sql, GET);
    bind_int(&q, id & ~MESSAGE_SHELF);
    return query_row(&q) ? col_text(&q, 0, txn->arena) : TEXT_ABSENT;
}

/* ---- coming in ---------------------------------------------------------------------------------------------------- */

static void insert_body(struct txn *txn, int64_t id, struct text body)
{
    static const char INSERT[] = "INSERT INTO bodies (id, body) VALUES (?1, ?2)";
    QUERY(q, txn->sql, INSERT);
    bind_int(&q, id);
    bind_blob(&q, body);
    query_run(&q);
}

static void insert_row(struct txn *txn, const struct queue *queue, const struct message *message,
                       const struct message_new *fresh)
{
    static const char INSERT[] =
        "INSERT INTO messages (id, lane, due_ms, turn, fence, attempt, failures, priority,"
        " enqueued_ms, expires_ms, grp, attributes, body_bytes, body)"
        " VALUES (?1, ?2, ?3, ?4, 0, 0, 0, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    QUERY(q, txn->sql, INSERT);
    bind_int(&q, message->id);
    bind_int(&q, message_lane(queue, message->state, message->priority));
    bind_int(&q, message->due_ms);
    bind_int(&q, message->turn);
    bind_int(&q, message->priority);
    bind_int(&q, message->enqueued_ms);
    bind_int(&q, message->expires_ms);
    bind_text(&q, message->group);
    bind_text(&q, fresh->attributes);
    bind_int(&q, fresh->body_bytes);
    /* A body that is NULL in the row is one that lies apart; none at all is JSON's null. */
    struct text body = text_given(fresh->body) ? fresh->body : TEXT("null");
    bind_blob(&q, message->apart ? TEXT_ABSENT : body);
    query_run(&q);
}

/* Counts one that comes in, and sets the queue's bounds by it. */
static void count_in(struct queue *queue, const struct message *message)
{
    ++*depth_of(queue, message->state);
    queue->woken += message->state == STATE_READY;
    queue->changed = true;
    queue_due_wall(queue, message_ends_ms(queue, message->enqueued_ms, message->expires_ms));
    if (message->state == STATE_DELAYED) {
        queue_due_wall(queue, message->due_ms);
    }
}

int64_t message_insert(struct txn *txn, struct queue *queue, const struct message_new *fresh,
                       int64_t due_ms)
{
    assert(queue->sequence < MESSAGE_SEQUENCE_MAX);
    int64_t now_ms = txn->now.now_ms;
    struct message message = {
        .id = message_id(queue, ++queue->sequence),
        .due_ms = due_ms,
        .turn = text_given(fresh->group) ? group_enter(txn, queue, fresh->group) : ABSENT,
        .priority = fresh->priority,
        .enqueued_ms = now_ms,
        .expires_ms = fresh->ttl_ms == ABSENT ? ABSENT : now_ms + fresh->ttl_ms,
        .group = fresh->group,
        .apart = fresh->body.len > BODY_INLINE_MAX};
    message.state = due_ms != ABSENT    ? STATE_DELAYED
                    : message.turn == 0 ? STATE_BLOCKED
                                        : STATE_READY;
    insert_row(txn, queue, &message, fresh);
    if (message.apart) {
        insert_body(txn, message.id, fresh->body);
    }
    count_in(queue, &message);
    return queue->sequence;
}

/* ---- moving ------------------------------------------------------------------------------------------------------- */

void message_change(struct txn *txn, struct queue *queue, const struct message *message,
                    const struct message *to)
{
    static const char CHANGE[] = "UPDATE messages SET lane = ?2, due_ms = ?3, turn = ?4,"
                                 " attempt = ?5, failures = ?6, reason = ?7 WHERE id = ?1";
    QUERY(q, txn->sql, CHANGE);
    bind_int(&q, message->id);
    bind_int(&q, message_lane(queue, to->state, to->priority));
    bind_int(&q, to->due_ms);
    bind_int(&q, to->turn);
    bind_int(&q, to->attempt);
    bind_int(&q, to->failures);
    bind_text(&q, to->reason);
    query_run(&q);
    --*depth_of(queue, message->state);
    ++*depth_of(queue, to->state);
    queue->changed = true;
}

void message_stand(struct txn *txn, struct queue *queue, const struct message *message,
                   struct message to, int64_t due_ms)
{
    bool delayed = due_ms != ABSENT && due_ms > txn->now.now_ms;
    to.state = delayed ? STATE_DELAYED : to.turn == 0 ? STATE_BLOCKED : STATE_READY;
    to.due_ms = delayed ? due_ms : ABSENT;
    message_change(txn, queue, message, &to);
    queue->woken += to.state == STATE_READY;
    if (delayed) {
        queue_due_wall(queue, due_ms);
    }
    /* A lease may have kept it from expiring. */
    queue_due_wall(queue, message_ends_ms(queue, to.enqueued_ms, to.expires_ms));
}

void message_remove(struct txn *txn, struct queue *queue, const struct message *message)
{
    static const char REMOVE[] = "DELETE FROM messages WHERE id = ?1";
    static const char REMOVE_BODY[] = "DELETE FROM bodies WHERE id = ?1";
    QUERY(row, txn->sql, REMOVE);
    bind_int(&row, message->id);
    query_run(&row);
    if (message->apart) {
        QUERY(body, txn->sql, REMOVE_BODY);
        bind_int(&body, message->id & ~MESSAGE_SHELF);
        query_run(&body);
    }
    --*depth_of(queue, message->state);
    queue->changed = true;
    if (message->turn == 1) {
        group_next(txn, queue, message->group);
    }
}

/* ---- failing, dying, coming back ---------------------------------------------------------------------------------- */

/* The delay after the n-th failure: base × factor^(n-1), in integers, no more than max. */
static int64_t backoff_ms(const struct queue_config *config, int64_t failures)
{
    int64_t delay_ms = config->backoff_base_ms;
    for (int64_t n = 1; n < failures && delay_ms < config->backoff_max_ms; n++) {
        int64_t longer_ms = delay_ms * config->backoff_factor_milli / 1000;
        if (longer_ms <= delay_ms) {
            break; /* a factor of one, or a base of zero */
        }
        delay_ms = longer_ms;
    }
    return delay_ms < config->backoff_max_ms ? delay_ms : config->backoff_max_ms;
}

void message_fail(struct txn *txn, struct queue *queue, const struct message *message,
                  int64_t delay_ms, struct text reason)
{
    if (time_is_over(txn, queue, message)) {
        message_remove(txn, queue, message);
        txn->counters->expired++;
        return;
    }
    struct message to = *message;
    to.failures++;
    to.reason = text_given(reason) ? reason : message->reason;
    if (queue->config.max_attempts > 0 && to.failures >= queue->config.max_attempts) {
        message_die(txn, queue, &to, text_given(to.reason) ? to.reason : TEXT("max_attempts"));
        return;
    }
    int64_t wait_ms = delay_ms == ABSENT ? backoff_ms(&queue->config, to.failures) : delay_ms;
    message_stand(txn, queue, message, to, txn->now.now_ms + wait_ms);
}

/* Writes the row under another id: onto the shelf, or back from it. */
static void reshelve(struct txn *txn, struct queue *queue, const struct message *message,
                     const struct message *to)
{
    static const char MOVE[] =
        "UPDATE messages SET id = ?2, lane = ?3, due_ms = ?4, turn = ?5, attempt = ?6,"
        " failures = ?7, reason = ?8, expires_ms = NULL WHERE id = ?1";
    QUERY(q, txn->sql, MOVE);
    bind_int(&q, message->id);
    bind_int(&q, to->id);
    bind_int(&q, message_lane(queue, to->state, to->priority));
    bind_int(&q, to->due_ms);
    bind_int(&q, to->turn);
    bind_int(&q, to->attempt);
    bind_int(&q, to->failures);
    bind_text(&q, to->reason);
    query_run(&q);
    --*depth_of(queue, message->state);
    ++*depth_of(queue, to->state);
    queue->changed = true;
    queue_due_wall(queue, to->enqueued_ms + queue->config.retention_ms);
}

/* A dead letter is a new message of its queue, with the old one's content and two attributes more. */
static void insert_dead_letter(struct txn *txn, struct queue *target, const struct message *letter,
                               const struct message *message, struct text reason,
                               struct text source)
{
    static const char INSERT[] =
        "INSERT INTO messages (id, lane, turn, fence, attempt, failures, priority, enqueued_ms,"
        " grp, attributes, body_bytes, body)"
        " SELECT ?2, ?3, ?4, 0, 0, 0, priority, ?5, grp, json_set(coalesce(attributes, '{}'),"
        " '$.dead_letter_reason', ?6, '$.dead_letter_source', ?7), body_bytes, body"
        " FROM messages WHERE id = ?1";
    static const char MOVE_BODY[] = "UPDATE bodies SET id = ?2 WHERE id = ?1";
    QUERY(q, txn->sql, INSERT);
    bind_int(&q, message->id);
    bind_int(&q, letter->id);
    bind_int(&q, message_lane(target, letter->state, letter->priority));
    bind_int(&q, letter->turn);
    bind_int(&q, letter->enqueued_ms);
    bind_text(&q, reason);
    bind_text(&q, source);
    query_run(&q);
    if (message->apart) {
        QUERY(body, txn->sql, MOVE_BODY);
        bind_int(&body, message->id);
        bind_int(&body, letter->id);
        query_run(&body);
    }
}

static void send_dead_letter(struct txn *txn, struct queue *queue, struct queue *target,
                             const struct message *message, struct text reason)
{
    struct message letter = {
        .id = message_id(target, ++target->sequence),
        .turn = text_given(message->group) ? group_enter(txn, target, message->group) : ABSENT,
        .priority = message->priority,
        .enqueued_ms = txn->now.now_ms,
        .expires_ms = ABSENT};
    letter.state = letter.turn == 0 ? STATE_BLOCKED : STATE_READY;
    insert_dead_letter(txn, target, &letter, message, reason, queue->name);
    count_in(target, &letter);

    struct message left = *message;
    left.apart = false; /* its body has gone along */
    message_remove(txn, queue, &left);
}

void message_die(struct txn *txn, struct queue *queue, const struct message *message,
                 struct text reason)
{
    struct queue *target = queue_dead_letter(txn, queue);
    if (target != NULL && target->sequence < MESSAGE_SEQUENCE_MAX) {
        send_dead_letter(txn, queue, target, message, reason);
        return;
    }
    struct message to = *message;
    to.id = message->id | MESSAGE_SHELF;
    to.state = STATE_DEAD;
    to.due_ms = ABSENT;
    to.turn = ABSENT;
    to.reason = reason;
    reshelve(txn, queue, message, &to);
    if (message->turn == 1) {
        group_next(txn, queue, message->group);
    }
}

void message_revive(struct txn *txn, struct queue *queue, const struct message *message)
{
    struct message to = *message;
    to.id = message->id & ~MESSAGE_SHELF;
    to.turn = text_given(to.group) ? group_return(txn, queue, to.group, to.id) : ABSENT;
    to.state = to.turn == 0 ? STATE_BLOCKED : STATE_READY;
    to.attempt = 0;
    to.failures = 0;
    to.reason = TEXT_ABSENT;
    reshelve(txn, queue, message, &to);
    queue->woken += to.state == STATE_READY;
}
