#include "db/sessions.h"

#include "db/aggregates.h"
#include "db/merge_patch.h"
#include "db/session_row.h"

static void answer(struct result *result, const struct session_row *row)
{
    result->shape = SHAPE_SESSION;
    session_view_of(row, &result->session);
}

static bool refuse_too_large(struct text data, struct result *result)
{
    if (data.len <= SESSION_DATA_BYTES_MAX) {
        return false;
    }
    result->status = STATUS_BODY_TOO_LARGE;
    result->field = TEXT("data");
    return true;
}

/* What every write to a session does to it. */
static void note_write(struct txn *txn, struct session_row *row)
{
    row->version++;
    row->last_seen_ms = txn->now.now_ms;
}

bool session_is_alive(struct txn *txn, struct text id)
{
    struct session_row row;
    return session_load(txn, id, WITHOUT_DATA, &row) &&
           session_end_reason(&row, txn->now.now_ms) == REASON_NONE;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

void session_get(struct txn *txn, const struct session_key *command, struct result *result)
{
    struct session_row row;
    if (session_find_live(txn, command->id, WITH_DATA, &row, result)) {
        answer(result, &row);
    }
}

/* In constant time: how long it takes tells nothing about how much of a guess was right. */
static bool hash_equal(struct text a, struct text b)
{
    if (!text_given(a) || !text_given(b) || a.len != b.len) {
        return false;
    }
    volatile unsigned char differing = 0;
    for (size_t i = 0; i < a.len; i++) {
        differing = (unsigned char)(differing | (a.at[i] ^ b.at[i]));
    }
    return differing == 0;
}

/* The token is checked against the row it names, not against the successor that the row leads on to. */
static bool resolve(struct txn *txn, const struct session_resolve *command, struct session_row *row,
                    struct result *result)
{
    bool known = session_load(txn, command->id, WITH_DATA, row);
    if (known && !session_leads_on(row, txn->now.now_ms) &&
        session_refuse_ended(txn, command->id, row, result)) {
        return false;
    }
    if (!known || !hash_equal(row->token_hash, command->token_hash)) {
        result->status = STATUS_SESSION_NOT_FOUND;
        return false;
    }
    session_follow(txn, WITH_DATA, row);
    return !session_refuse_ended(txn, command->id, row, result);
}

void session_lookup(struct txn *txn, const struct session_resolve *command, struct result *result)
{
    struct session_row row;
    if (resolve(txn, command, &row, result)) {
        answer(result, &row);
    }
}

void session_resolve(struct txn *txn, const struct session_resolve *command, struct result *result)
{
    struct session_row row;
    if (resolve(txn, command, &row, result)) {
        session_renew(txn, &row);
        answer(result, &row);
    }
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

/* The answer's data is left out: touching is for those who have the session already. */
void session_touch(struct txn *txn, const struct session_key *command, struct result *result)
{
    struct session_row row;
    if (session_find_live(txn, command->id, WITHOUT_DATA, &row, result) &&
        txn_check(&command->condition, true, row.version, result) == STATUS_OK) {
        session_renew(txn, &row);
        answer(result, &row);
    }
}

static void put_new(struct txn *txn, const struct session_put *command, struct session_row *row,
                    struct result *result)
{
    *row = (struct session_row){.id = arena_copy(txn->arena, command->id),
                                .data = row->data,
                                .version = 1,
                                .created_ms = txn->now.now_ms,
                                .last_seen_ms = txn->now.now_ms,
                                .idle_ttl_ms = command->idle_ttl_ms,
                                .max_ttl_ms = command->max_ttl_ms};
    if (!session_insert(txn, row)) {
        /* In the way is a tombstone whose time is over. */
        session_forget(txn, command->id);
        session_insert(txn, row);
    }
    result->status = STATUS_CREATED;
}

static void put_over(struct txn *txn, const struct session_put *command, struct session_row *row)
{
    row->idle_ttl_ms = command->idle_ttl_ms;
    row->max_ttl_ms = command->max_ttl_ms;
    note_write(txn, row);
    session_update(txn, row);
}

void session_put(struct txn *txn, const struct session_put *command, struct result *result)
{
    struct session_row row = {0};
    bool known = session_find_live(txn, command->id, WITHOUT_DATA, &row, result);
    if (!known && result->status != STATUS_SESSION_NOT_FOUND) {
        return;
    }
    result->status = STATUS_OK;
    if (refuse_too_large(command->data, result) ||
        txn_check(&command->condition, known, row.version, result) != STATUS_OK) {
        return;
    }
    row.data = text_given(command->data) ? arena_copy(txn->arena, command->data) : TEXT("{}");
    if (known) {
        put_over(txn, command, &row);
    } else {
        put_new(txn, command, &row, result);
    }
    answer(result, &row);
}

/* Left as it was when the outcome cannot be kept. */
static bool merge(struct txn *txn, const struct session_patch *command, struct text *data,
                  struct result *result)
{
    struct text merged = command->clear_data ? TEXT("{}") : *data;
    if (text_given(command->data_patch) &&
        !merge_patch(txn->arena, merged, command->data_patch, &merged)) {
        result->status = STATUS_INVALID_FIELD;
        result->field = TEXT("data");
        return false;
    }
    if (refuse_too_large(merged, result)) {
        return false;
    }
    *data = merged;
    return true;
}

void session_patch(struct txn *txn, const struct session_patch *command, struct result *result)
{
    struct session_row row;
    if (!session_find_live(txn, command->id, WITH_DATA, &row, result) ||
        txn_check(&command->condition, true, row.version, result) != STATUS_OK ||
        !merge(txn, command, &row.data, result)) {
        return;
    }
    if (command->idle_ttl_ms != ABSENT) {
        row.idle_ttl_ms = command->idle_ttl_ms;
    }
    if (command->max_ttl_ms != ABSENT) {
        row.max_ttl_ms = command->max_ttl_ms;
    }
    note_write(txn, &row);
    session_update(txn, &row);
    answer(result, &row);
}

void session_delete(struct txn *txn, const struct session_key *command, struct result *result)
{
    struct session_row row;
    if (!session_find_live(txn, command->id, WITHOUT_DATA, &row, result)) {
        if (!text_given(result->moved)) {
            *result = (struct result){.status = STATUS_OK, .stamp = result->stamp};
        }
        return;
    }
    if (txn_check(&command->condition, true, row.version, result) == STATUS_OK) {
        session_end(txn, &row, REASON_REVOKED);
    }
}

/*
 * ---- rotating ----------------------------------------------------------------------------------------------------
 *
 * A new subject may take a session to another partition, with which this one has no transaction in common. Then it is
 * PACKed here, ARRIVEs there, and only then is rotated here, if it is still what was packed. Nobody has the new token
 * before the last step; what arrived for nothing is deleted there, or, at worst, ends there by time.
 */

static bool successor_of(struct txn *txn, const struct session_rotate *command,
                         const struct session_row *row, struct session_row *ret,
                         struct result *result)
{
    bool new_subject = text_given(command->subject);
    struct text tag = new_subject ? command->subject_tag : text_routing_key(row->id);
    if (tag.len + 1 + command->new_random.len > NAME_BYTES_MAX) {
        result->status = STATUS_INVALID_NAME;
        result->field = TEXT("id");
        return false;
    }
    *ret = *row;
    ret->id = arena_format(txn->arena, "%.*s~%.*s", (int)tag.len, tag.at,
                           (int)command->new_random.len, command->new_random.at);
    ret->token_hash = command->new_token_hash;
    if (new_subject) {
        ret->subject = arena_copy(txn->arena, command->subject);
    }
    note_write(txn, ret);
    return true;
}

void session_pack(struct txn *txn, const struct session_rotate *command, struct result *result)
{
    struct session_row row, successor;
    if (!session_find_live(txn, command->id, WITH_DATA, &row, result) ||
        !successor_of(txn, command, &row, &successor, result)) {
        return;
    }
    result->version = row.version;
    result->shape = SHAPE_PARCEL;
    result->parcel = (struct session_arrive){.id = successor.id,
                                             .token_hash = successor.token_hash,
                                             .subject = successor.subject,
                                             .data = successor.data,
                                             .version = successor.version,
                                             .created_ms = successor.created_ms,
                                             .last_seen_ms = successor.last_seen_ms,
                                             .idle_ttl_ms = successor.idle_ttl_ms,
                                             .max_ttl_ms = successor.max_ttl_ms,
                                             .from = row.id,
                                             .from_token_hash = row.token_hash,
                                             .grace_ms = command->grace_ms};
}

void session_arrive(struct txn *txn, const struct session_arrive *command, struct result *result)
{
    struct session_row row = {.id = command->id,
                              .token_hash = command->token_hash,
                              .subject = command->subject,
                              .data = command->data,
                              .version = command->version,
                              .created_ms = command->created_ms,
                              .last_seen_ms = command->last_seen_ms,
                              .idle_ttl_ms = command->idle_ttl_ms,
                              .max_ttl_ms = command->max_ttl_ms};
    if (!session_insert(txn, &row)) {
        result->status = STATUS_INTERNAL;
        return;
    }
    if (command->grace_ms > 0) {
        struct session_row from = row;
        from.id = command->from;
        from.token_hash = command->from_token_hash;
        session_insert_rotated(txn, &from, &row, command->grace_ms);
    }
    answer(result, &row);
}

void session_rotate(struct txn *txn, const struct session_rotate *command, struct result *result)
{
    struct session_row row, successor;
    if (!session_find_live(txn, command->id, WITH_DATA, &row, result) ||
        !successor_of(txn, command, &row, &successor, result)) {
        return;
    }
    if (command->departs_at != ABSENT) {
        if (command->departs_at != row.version) {
            result->status =
                STATUS_OVERLOADED; /* of those that an idempotency record does not keep */
            return;
        }
    } else if (!session_insert(txn, &successor)) {
        result->status = STATUS_INTERNAL; /* the same 128 random bits twice: ask again */
        return;
    }
    session_give_way(txn, &row, &successor, command->grace_ms);
    answer(result, &successor);
}

/* ---- time, and checking ------------------------------------------------------------------------------------------- */

int64_t sessions_tick(struct txn *txn, int64_t steps)
{
    struct session_row row;
    int64_t touched = 0;
    while (session_first_to_sweep(txn, &row)) {
        if (row.sweep_ms > txn->now.now_ms || touched == steps) {
            txn_due_wall(txn, row.sweep_ms);
            break;
        }
        session_sweep(txn, &row);
        touched++;
    }
    return touched;
}

static bool found(struct txn *txn, const char *query)
{
    QUERY(q, txn->sql, query);
    return query_row(&q);
}

const char *sessions_sanity(struct txn *txn)
{
    static const char COUNT[] = "SELECT count(*) FROM sessions WHERE ended = 0";
    static const struct {
        const char *query, *wrong;
    } CHECKS[] = {
        {"SELECT 1 FROM sessions WHERE ended = 0"
         " AND sweep_ms > min(last_seen_ms + idle_ttl_ms, created_ms + max_ttl_ms)",
         "a session would be swept after its end"},
        {"SELECT 1 FROM sessions WHERE (ended = 0) <> (data IS NOT NULL)",
         "a live session without data, or an ended one with"},
        {"SELECT 1 FROM sessions WHERE ended <> 0 AND token_hash IS NOT NULL"
         " AND sweep_ms IS NOT grace_until_ms",
         "an ended session has kept its token's hash"},
        {"SELECT 1 FROM sessions WHERE (successor IS NULL) <> (grace_until_ms IS NULL)"
         " OR (successor IS NULL) = (ended = 4 /* rotated */)",
         "a rotated session without a successor, or another with one"},
    };
    for (size_t i = 0; i < sizeof CHECKS / sizeof CHECKS[0]; i++) {
        if (found(txn, CHECKS[i].query)) {
            return CHECKS[i].wrong;
        }
    }
    QUERY(q, txn->sql, COUNT);
    bool agrees = query_row(&q) && col_int(&q, 0) == txn->counters->sessions;
    return agrees || sql_failed(txn->sql) ? NULL : "the counter of sessions is not their number";
}
