/*
 * A subject's sessions: creating one within the subject's limit, listing them, revoking them. All sessions of a subject
 * have ids of one routing key, so each of these is one transaction on one partition.
 */
#include "db/aggregates.h"
#include "db/session_row.h"

#include <stdio.h>

/* ---- creating within the limit ------------------------------------------------------------------------------------ */

/* How many sessions have to make room for one more: those that time has ended already, and live ones. */
struct room {
    int64_t expired;
    int64_t evicted;
};

static struct room room_needed(struct txn *txn, const struct session_create *command)
{
    static const char COUNT[] =
        "SELECT count(*), sum(min(last_seen_ms + idle_ttl_ms, created_ms + max_ttl_ms) <= ?2)"
        " FROM sessions WHERE subject = ?1 AND ended = 0";
    if (command->subject_limit == ABSENT || !text_given(command->subject)) {
        return (struct room){0, 0};
    }
    QUERY(q, txn->sql, COUNT);
    bind_text(&q, command->subject);
    bind_int(&q, txn->now.now_ms);
    if (!query_row(&q) || col_int(&q, 0) == 0) {
        return (struct room){0, 0};
    }
    struct room room = {.expired = col_int(&q, 1)};
    int64_t excess = col_int(&q, 0) - room.expired + 1 - command->subject_limit;
    room.evicted = excess > 0 ? excess : 0;
    return room;
}

static void make_room(struct txn *txn, struct text subject, struct room room)
{
    struct session_row row = {0};
    while (room.expired + room.evicted > 0 &&
           session_next_of_subject(txn, subject, WITHOUT_DATA, &row)) {
        enum end_reason reason = session_end_reason(&row, txn->now.now_ms);
        if (reason != REASON_NONE) {
            session_end(txn, &row, reason);
            room.expired--;
        } else if (room.evicted > 0) {
            session_end(txn, &row, REASON_REVOKED);
            room.evicted--;
        }
    }
}

static struct session_row new_row(struct txn *txn, const struct session_create *command)
{
    return (struct session_row){
        .id = arena_copy(txn->arena, command->id),
        .subject = arena_copy(txn->arena, command->subject),
        .token_hash = command->token_hash,
        .data = text_given(command->data) ? arena_copy(txn->arena, command->data) : TEXT("{}"),
        .version = 1,
        .created_ms = txn->now.now_ms,
        .last_seen_ms = txn->now.now_ms,
        .idle_ttl_ms = command->idle_ttl_ms,
        .max_ttl_ms = command->max_ttl_ms};
}

void session_create(struct txn *txn, const struct session_create *command, struct result *result)
{
    if (command->data.len > SESSION_DATA_BYTES_MAX) {
        result->status = STATUS_BODY_TOO_LARGE;
        result->field = TEXT("data");
        return;
    }
    struct room room = room_needed(txn, command);
    if (room.evicted > 0 && !command->evict_oldest) {
        result->status = STATUS_SUBJECT_LIMIT;
        return;
    }
    struct session_row row = new_row(txn, command);
    if (!session_insert(txn, &row)) {
        result->status = STATUS_INTERNAL; /* the same 128 random bits twice: ask again */
        return;
    }
    make_room(txn, command->subject, room); /* the new one is the youngest, so it stays */
    result->status = STATUS_CREATED;
    result->shape = SHAPE_SESSION;
    session_view_of(&row, &result->session);
}

/* ---- listing ------------------------------------------------------------------------------------------------------ */

/* A page's key is where the last item stands in the subject's line, which is known even when the item is gone. */
static struct text key_of(struct txn *txn, const struct session_row *row)
{
    return arena_format(txn->arena, "%lld.%lld", (long long)row->created_ms, (long long)row->row);
}

static bool key_read(struct text key, struct session_row *ret)
{
    char digits[48];
    long long created_ms = 0, row = 0;
    int end = 0;
    if (!text_given(key)) {
        return true;
    }
    if (key.len >= sizeof digits) {
        return false;
    }
    memcpy(digits, key.at, key.len);
    digits[key.len] = '\0';
    if (sscanf(digits, "%19lld.%19lld%n", &created_ms, &row, &end) != 2 || (size_t)end != key.len) {
        return false;
    }
    ret->created_ms = created_ms;
    ret->row = row;
    return true;
}

/* Puts the live rows behind `row` into the page, until it is full. */
static void fill_page(struct txn *txn, const struct subject_list *command, struct session_row row,
                      struct session_page *page)
{
    size_t bytes = 0;
    struct session_row last = row;
    while (session_next_of_subject(txn, command->subject, WITH_DATA, &row)) {
        if (session_end_reason(&row, txn->now.now_ms) != REASON_NONE) {
            continue;
        }
        bytes += row.data.len + NAME_BYTES_MAX;
        if ((int64_t)page->items.count == command->page.limit ||
            (page->items.count > 0 && bytes > PAGE_BYTES_MAX)) {
            page->next = key_of(txn, &last);
            return;
        }
        session_view_of(&row, &page->items.at[page->items.count++]);
        last = row;
    }
}

void subject_list(struct txn *txn, const struct subject_list *command, struct result *result)
{
    struct session_row from = {0};
    if (!key_read(command->page.after, &from)) {
        result->status = STATUS_INVALID_CURSOR;
        return;
    }
    struct session_page page = {0};
    page.items.at =
        arena_zalloc(txn->arena, (size_t)command->page.limit, sizeof(struct session_view));
    if (page.items.at != NULL) {
        fill_page(txn, command, from, &page);
    }
    result->shape = SHAPE_SESSION_PAGE;
    result->sessions = page;
}

/* ---- revoking ----------------------------------------------------------------------------------------------------- */

/* The session to spare: the one that the given id leads to by now. */
static struct text spared(struct txn *txn, struct text id)
{
    struct session_row row;
    if (!text_given(id) || !session_load(txn, id, WITHOUT_DATA, &row)) {
        return TEXT_ABSENT;
    }
    session_follow(txn, WITHOUT_DATA, &row);
    return row.id;
}

void subject_revoke(struct txn *txn, const struct subject_revoke *command, struct result *result)
{
    struct text except = spared(txn, command->except);
    struct session_row row = {0};
    while (session_next_of_subject(txn, command->subject, WITHOUT_DATA, &row)) {
        enum end_reason reason = session_end_reason(&row, txn->now.now_ms);
        if (reason != REASON_NONE) {
            session_end(txn, &row, reason);
        } else if (!text_given(except) || !text_equal(row.id, except)) {
            session_end(txn, &row, REASON_REVOKED);
            result->count++;
        }
    }
}
