#include "db/idempotency.h"

#include "db/aggregates.h"
#include "db/codec.h"

bool idempotency_replay(struct txn *txn, const struct idempotency *key, struct result *result)
{
    static const char FIND[] = "SELECT request_hash, result, sealed FROM idempotency"
                               " WHERE key_hash = ?1 AND drop_ms > ?2";
    QUERY(q, txn->sql, FIND);
    bind_blob(&q, key->key_hash);
    bind_int(&q, txn->now.now_ms);
    if (!query_row(&q)) {
        return false;
    }
    if (!text_equal(col_borrow(&q, 0), key->request_hash)) {
        result->status = STATUS_IDEMPOTENCY_KEY_REUSED;
        return true;
    }
    if (!result_decode(col_text(&q, 1, txn->arena), txn->arena, result)) {
        *result = (struct result){.status = STATUS_INTERNAL, .stamp = txn->now};
        return true;
    }
    result->sealed = col_text(&q, 2, txn->arena);
    result->replayed = true;
    return true;
}

static bool waits_on(const struct command *command)
{
    return command->kind == COMMAND_LEASE_ACQUIRE      ? !command->lease_acquire.async
           : command->kind == COMMAND_LOCK_SET_ACQUIRE ? !command->lock_set_acquire.async
                                                       : true;
}

static bool is_last_step(enum command_kind kind)
{
    return kind != COMMAND_LEASE_ABANDON && kind != COMMAND_LOCK_SET_ABANDON;
}

/* What a shard is asked to do is done for its own sake. */
static enum command_kind kind_of(const struct command *command)
{
    bool wrapped =
        command->kind == COMMAND_SHARD_WRITE && command->shard_write.operations.count > 0;
    return wrapped ? command->shard_write.operations.at[0].kind : command->kind;
}

static bool final(const struct command *command, const struct result *result)
{
    if (!is_last_step(command->kind)) {
        return false; /* the client hung up: what it asked for was not answered */
    }
    if (result->status == STATUS_WAITING) {
        return !waits_on(command);
    }
    if (kind_of(command) == COMMAND_MESSAGE_RECEIVE && result->status == STATUS_OK) {
        return result->received.count > 0;
    }
    return !status_info(result->status)->retryable;
}

void idempotency_keep(struct txn *txn, const struct command *command, const struct result *result)
{
    static const char INSERT[] = "INSERT INTO idempotency"
                                 " (key_hash, request_hash, result, sealed, drop_ms)"
                                 " VALUES (?1, ?2, ?3, ?4, ?5)";
    if (!final(command, result)) {
        return;
    }
    static const char REPLACED[] = "DELETE FROM idempotency WHERE key_hash = ?1";
    QUERY(replaced, txn->sql, REPLACED);
    bind_blob(&replaced, command->idempotency.key_hash);
    txn->counters->idempotency_records -= query_run(&replaced);

    QUERY(q, txn->sql, INSERT);
    bind_blob(&q, command->idempotency.key_hash);
    bind_blob(&q, command->idempotency.request_hash);
    bind_blob(&q, result_encode(result, txn->arena));
    bind_blob(&q, command->idempotency.sealed);
    bind_int(&q, txn->now.now_ms + IDEMPOTENCY_MS);
    query_run(&q);
    txn->counters->idempotency_records++;
    txn_due_wall(txn, txn->now.now_ms + IDEMPOTENCY_MS);
}

int64_t idempotency_tick(struct txn *txn, int64_t steps)
{
    static const char DROP[] = "DELETE FROM idempotency WHERE key_hash IN (SELECT key_hash"
                               " FROM idempotency WHERE drop_ms <= ?1 ORDER BY drop_ms LIMIT ?2)";
    static const char NEXT[] = "SELECT min(drop_ms) FROM idempotency";
    QUERY(drop, txn->sql, DROP);
    bind_int(&drop, txn->now.now_ms);
    bind_int(&drop, steps);
    int64_t dropped = query_run(&drop);
    txn->counters->idempotency_records -= dropped;
    QUERY(next, txn->sql, NEXT);
    if (query_row(&next) && col_int(&next, 0) != ABSENT) {
        txn_due_wall(txn, col_int(&next, 0));
    }
    return dropped;
}
