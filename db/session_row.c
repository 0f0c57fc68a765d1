#include "db/session_row.h"

#include "db/line.h"
#include "db/session_memo.h"

#define COLUMNS                                                                                    \
    "row, id, subject, token_hash, successor, version, created_ms, last_seen_ms, idle_ttl_ms,"     \
    " max_ttl_ms, ended, grace_until_ms, sweep_ms"
enum { DATA_COLUMN = 13 };

/* The next row of a query for COLUMNS, or for COLUMNS and data. */
static bool next_row(struct query *q, struct arena *arena, enum session_columns columns,
                     struct session_row *ret)
{
    if (!query_row(q)) {
        return false;
    }
    *ret = (struct session_row){.row = col_int(q, 0),
                                .id = col_text(q, 1, arena),
                                .subject = col_text(q, 2, arena),
                                .token_hash = col_text(q, 3, arena),
                                .successor = col_text(q, 4, arena),
                                .version = col_int(q, 5),
                                .created_ms = col_int(q, 6),
                                .last_seen_ms = col_int(q, 7),
                                .idle_ttl_ms = col_int(q, 8),
                                .max_ttl_ms = col_int(q, 9),
                                .ended = col_int(q, 10),
                                .grace_until_ms = col_int(q, 11),
                                .sweep_ms = col_int(q, 12),
                                .data = columns == WITH_DATA ? col_text(q, DATA_COLUMN, arena)
                                                             : TEXT_ABSENT};
    return true;
}

/* ---- how a session stands ----------------------------------------------------------------------------------------- */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t session_expires_ms(const struct session_row *row)
{
    return earlier(row->last_seen_ms + row->idle_ttl_ms, row->created_ms + row->max_ttl_ms);
}

enum end_reason session_end_reason(const struct session_row *row, int64_t now_ms)
{
    if (row->ended != REASON_NONE) {
        return (enum end_reason)row->ended;
    }
    if (now_ms < session_expires_ms(row)) {
        return REASON_NONE;
    }
    bool idle = row->last_seen_ms + row->idle_ttl_ms < row->created_ms + row->max_ttl_ms;
    return idle ? REASON_IDLE : REASON_ABSOLUTE;
}

bool session_leads_on(const struct session_row *row, int64_t now_ms)
{
    return row->ended == REASON_ROTATED && now_ms < row->grace_until_ms;
}

/* When the tombstone's time is over. A rotated id ends only with its grace: until then it leads somewhere. */
static int64_t forgotten_from_ms(const struct session_row *row)
{
    if (row->ended == REASON_NONE) {
        return session_expires_ms(row) + SESSION_TOMBSTONE_MS;
    }
    return row->ended == REASON_ROTATED ? row->grace_until_ms + SESSION_TOMBSTONE_MS
                                        : row->sweep_ms;
}

static bool forgotten(struct txn *txn, const struct session_row *row)
{
    return forgotten_from_ms(row) <= txn->now.now_ms;
}

void session_view_of(const struct session_row *row, struct session_view *ret)
{
    *ret = (struct session_view){.id = row->id,
                                 .subject = row->subject,
                                 .data = row->data,
                                 .version = row->version,
                                 .created_at_ms = row->created_ms,
                                 .last_seen_at_ms = row->last_seen_ms,
                                 .idle_ttl_ms = row->idle_ttl_ms,
                                 .max_ttl_ms = row->max_ttl_ms,
                                 .expires_at_ms = session_expires_ms(row),
                                 .max_expires_at_ms = row->created_ms + row->max_ttl_ms};
}

/* ---- finding ------------------------------------------------------------------------------------------------------ */

static bool load_any(struct txn *txn, struct text id, enum session_columns columns,
                     struct session_row *ret)
{
    static const char HEAD[] = "SELECT " COLUMNS " FROM sessions WHERE id = ?1";
    static const char WHOLE[] = "SELECT " COLUMNS ", data FROM sessions WHERE id = ?1";
    if (columns == WITHOUT_DATA && session_memo_get(txn->memo, id, txn->arena, ret)) {
        return true;
    }
    QUERY(q, txn->sql, columns == WITH_DATA ? WHOLE : HEAD);
    bind_text(&q, id);
    if (!next_row(&q, txn->arena, columns, ret)) {
        return false;
    }
    session_memo_put(txn->memo, ret);
    return true;
}

bool session_load(struct txn *txn, struct text id, enum session_columns columns,
                  struct session_row *ret)
{
    return load_any(txn, id, columns, ret) && !forgotten(txn, ret);
}

void session_follow(struct txn *txn, enum session_columns columns, struct session_row *row)
{
    for (int hop = 0; hop < ROTATION_CHAIN_MAX && session_leads_on(row, txn->now.now_ms); hop++) {
        struct session_row next;
        if (!session_load(txn, row->successor, columns, &next)) {
            return;
        }
        *row = next;
    }
}

bool session_refuse_ended(struct txn *txn, struct text id, const struct session_row *row,
                          struct result *result)
{
    enum end_reason reason = session_end_reason(row, txn->now.now_ms);
    if (reason == REASON_NONE) {
        return false;
    }
    result->status = STATUS_SESSION_ENDED;
    result->reason = reason;
    if (session_leads_on(row, txn->now.now_ms) && text_equal(row->id, id) &&
        !text_equal(text_routing_key(row->successor), text_routing_key(id))) {
        result->moved = row->successor;
    }
    return true;
}

bool session_find_live(struct txn *txn, struct text id, enum session_columns columns,
                       struct session_row *ret, struct result *result)
{
    if (!session_load(txn, id, columns, ret)) {
        result->status = STATUS_SESSION_NOT_FOUND;
        return false;
    }
    session_follow(txn, columns, ret);
    return !session_refuse_ended(txn, id, ret, result);
}

bool session_next_of_subject(struct txn *txn, struct text subject, enum session_columns columns,
                             struct session_row *row)
{
#define BEHIND                                                                                     \
    " FROM sessions WHERE subject = ?1 AND ended = 0 AND (created_ms, row) > (?2, ?3)"             \
    " ORDER BY created_ms, row LIMIT 1"
    static const char HEAD[] = "SELECT " COLUMNS BEHIND;
    static const char WHOLE[] = "SELECT " COLUMNS ", data" BEHIND;
#undef BEHIND
    QUERY(q, txn->sql, columns == WITH_DATA ? WHOLE : HEAD);
    bind_text(&q, subject);
    bind_int(&q, row->created_ms);
    bind_int(&q, row->row);
    return next_row(&q, txn->arena, columns, row);
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

static void tell(struct txn *txn, struct text id)
{
    txn_emit(txn, EVENT_SESSION, id, TEXT_ABSENT, 0);
}

/* token_hash, version, created_ms, last_seen_ms, idle_ttl_ms, max_ttl_ms */
static void bind_made(struct query *q, const struct session_row *row)
{
    bind_blob(q, row->token_hash);
    bind_int(q, row->version);
    bind_int(q, row->created_ms);
    bind_int(q, row->last_seen_ms);
    bind_int(q, row->idle_ttl_ms);
    bind_int(q, row->max_ttl_ms);
}

bool session_insert(struct txn *txn, const struct session_row *row)
{
    static const char INSERT[] =
        "INSERT INTO sessions (id, subject, token_hash, version, created_ms, last_seen_ms,"
        " idle_ttl_ms, max_ttl_ms, ended, sweep_ms, data)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, ?10) ON CONFLICT (id) DO NOTHING";
    int64_t expires_ms = session_expires_ms(row);
    QUERY(q, txn->sql, INSERT);
    bind_text(&q, row->id);
    bind_text(&q, row->subject);
    bind_made(&q, row);
    bind_int(&q, expires_ms);
    bind_text(&q, row->data);
    if (query_run(&q) == 0) {
        return false;
    }
    session_memo_forget(txn->memo, row->id);
    txn->counters->sessions++;
    txn_due_wall(txn, expires_ms);
    tell(txn, row->id);
    return true;
}

static void set_sweep(struct txn *txn, const struct session_row *row, int64_t sweep_ms)
{
    static const char SWEEP[] = "UPDATE sessions SET sweep_ms = ?2 WHERE row = ?1";
    session_memo_forget(txn->memo, row->id);
    QUERY(q, txn->sql, SWEEP);
    bind_int(&q, row->row);
    bind_int(&q, sweep_ms);
    query_run(&q);
    txn_due_wall(txn, sweep_ms);
}

/* No column of an index is set here: an update writes the row's own page. */
void session_update(struct txn *txn, struct session_row *row)
{
    static const char UPDATE[] = "UPDATE sessions SET data = ?2, version = ?3, last_seen_ms = ?4,"
                                 " idle_ttl_ms = ?5, max_ttl_ms = ?6 WHERE row = ?1";
    QUERY(q, txn->sql, UPDATE);
    bind_int(&q, row->row);
    bind_text(&q, row->data);
    bind_int(&q, row->version);
    bind_int(&q, row->last_seen_ms);
    bind_int(&q, row->idle_ttl_ms);
    bind_int(&q, row->max_ttl_ms);
    query_run(&q);
    if (session_expires_ms(row) < row->sweep_ms) {
        set_sweep(txn, row, session_expires_ms(row));
    } else {
        session_memo_put(txn->memo, row);
    }
    tell(txn, row->id);
}

void session_renew(struct txn *txn, struct session_row *row)
{
    static const char RENEW[] = "UPDATE sessions SET last_seen_ms = ?2 WHERE row = ?1";
    if (row->last_seen_ms == txn->now.now_ms) {
        return;
    }
    row->last_seen_ms = txn->now.now_ms;
    QUERY(q, txn->sql, RENEW);
    bind_int(&q, row->row);
    bind_int(&q, row->last_seen_ms);
    query_run(&q);
    session_memo_put(txn->memo, row);
    txn_emit(txn, EVENT_RENEWED, row->id, TEXT_ABSENT, 0);
}

/* What goes with the end of a session: counts, its leases, the news. */
static void settle_end(struct txn *txn, const struct session_row *row, enum end_reason reason)
{
    txn->counters->sessions--;
    if (reason == REASON_IDLE || reason == REASON_ABSOLUTE) {
        txn->counters->expired++;
    }
    leases_end_for_session(txn, row->id);
    tell(txn, row->id);
}

void session_end(struct txn *txn, const struct session_row *row, enum end_reason reason)
{
    static const char END[] = "UPDATE sessions SET ended = ?2, sweep_ms = ?3, token_hash = NULL,"
                              " data = NULL WHERE row = ?1";
    bool by_time = reason == REASON_IDLE || reason == REASON_ABSOLUTE;
    int64_t ended_ms = by_time ? session_expires_ms(row) : txn->now.now_ms;
    session_memo_forget(txn->memo, row->id);
    QUERY(q, txn->sql, END);
    bind_int(&q, row->row);
    bind_int(&q, reason);
    bind_int(&q, ended_ms + SESSION_TOMBSTONE_MS);
    query_run(&q);
    txn_due_wall(txn, ended_ms + SESSION_TOMBSTONE_MS);
    settle_end(txn, row, reason);
}

static void hand_over_leases(struct txn *txn, struct text from, struct text to)
{
    if (text_equal(text_routing_key(from), text_routing_key(to))) {
        leases_move_session(txn, from, to);
    } else {
        leases_end_for_session(txn, from);
    }
}

/* The token's hash stays until the grace is over, for until then the old token must still be told from a guess. */
void session_give_way(struct txn *txn, const struct session_row *row,
                      const struct session_row *successor, int64_t grace_ms)
{
    static const char GIVE[] = "UPDATE sessions SET ended = ?2, successor = ?3,"
                               " grace_until_ms = ?4, sweep_ms = ?5, token_hash = ?6, data = NULL"
                               " WHERE row = ?1";
    int64_t grace_until_ms = txn->now.now_ms + grace_ms;
    int64_t sweep_ms = grace_ms > 0 ? grace_until_ms : grace_until_ms + SESSION_TOMBSTONE_MS;
    session_memo_forget(txn->memo, row->id);
    QUERY(q, txn->sql, GIVE);
    bind_int(&q, row->row);
    bind_int(&q, REASON_ROTATED);
    bind_text(&q, successor->id);
    bind_int(&q, grace_until_ms);
    bind_int(&q, sweep_ms);
    bind_blob(&q, grace_ms > 0 ? row->token_hash : TEXT_ABSENT);
    query_run(&q);
    txn->counters->sessions--;
    txn_due_wall(txn, sweep_ms);
    hand_over_leases(txn, row->id, successor->id);
    tell(txn, row->id);
}

void session_insert_rotated(struct txn *txn, const struct session_row *row,
                            const struct session_row *successor, int64_t grace_ms)
{
    static const char INSERT[] =
        "INSERT OR REPLACE INTO sessions (id, token_hash, version, created_ms, last_seen_ms,"
        " idle_ttl_ms, max_ttl_ms, ended, successor, grace_until_ms, sweep_ms)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)";
    int64_t grace_until_ms = txn->now.now_ms + grace_ms;
    session_memo_forget(txn->memo, row->id);
    QUERY(q, txn->sql, INSERT);
    bind_text(&q, row->id);
    bind_made(&q, row);
    bind_int(&q, REASON_ROTATED);
    bind_text(&q, successor->id);
    bind_int(&q, grace_until_ms);
    query_run(&q);
    txn_due_wall(txn, grace_until_ms);
}

static void delete_row(struct txn *txn, const struct session_row *row)
{
    static const char DELETE[] = "DELETE FROM sessions WHERE row = ?1";
    session_memo_forget(txn->memo, row->id);
    QUERY(q, txn->sql, DELETE);
    bind_int(&q, row->row);
    query_run(&q);
    if (row->ended == REASON_NONE) {
        /* Time ended it so long ago that even its tombstone would be gone by now. */
        settle_end(txn, row, session_end_reason(row, txn->now.now_ms));
    }
}

void session_forget(struct txn *txn, struct text id)
{
    struct session_row row;
    if (load_any(txn, id, WITHOUT_DATA, &row) && forgotten(txn, &row)) {
        delete_row(txn, &row);
    }
}

/* Who watches by the old id watches the successor: both are told that the id leads nowhere any more. */
static void end_grace(struct txn *txn, const struct session_row *row)
{
    static const char CLEAR[] =
        "UPDATE sessions SET token_hash = NULL, sweep_ms = ?2 WHERE row = ?1";
    struct session_row next;
    session_memo_forget(txn->memo, row->id);
    QUERY(q, txn->sql, CLEAR);
    bind_int(&q, row->row);
    bind_int(&q, forgotten_from_ms(row));
    query_run(&q);
    tell(txn, row->id);
    if (session_load(txn, row->successor, WITHOUT_DATA, &next)) {
        session_follow(txn, WITHOUT_DATA, &next);
        tell(txn, next.id);
    }
}

void session_sweep(struct txn *txn, const struct session_row *row)
{
    enum end_reason reason = session_end_reason(row, txn->now.now_ms);
    if (forgotten(txn, row)) {
        delete_row(txn, row);
    } else if (row->ended == REASON_ROTATED) {
        end_grace(txn, row);
    } else if (reason != REASON_NONE) {
        session_end(txn, row, reason);
    } else {
        set_sweep(txn, row, session_expires_ms(row));
    }
}

bool session_first_to_sweep(struct txn *txn, struct session_row *ret)
{
    static const char FIRST[] = "SELECT " COLUMNS " FROM sessions ORDER BY sweep_ms, row LIMIT 1";
    QUERY(q, txn->sql, FIRST);
    return next_row(&q, txn->arena, WITHOUT_DATA, ret);
}
