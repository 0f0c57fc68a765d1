#include "db/session_memo.h"

#include "db/limits.h"

#include <stdlib.h>
#include <xxhash.h>

struct entry {
    uint64_t age;           /* the memo's, when it was put; less than that now: it is forgotten */
    struct session_row row; /* its texts point into `texts` */
    size_t room;            /* of `texts` */
    char texts[];
};
struct session_memo {
    uint64_t age;                            /* grows with each clearing */
    struct entry *at[SESSION_MEMO_ROWS_MAX]; /* an id has one place, and who comes last has it */
};

struct session_memo *session_memo_make(void)
{
    struct session_memo *memo = calloc(1, sizeof *memo);
    if (memo != NULL) {
        memo->age = 1;
    }
    return memo;
}

void session_memo_free(struct session_memo *memo)
{
    for (size_t i = 0; memo != NULL && i < SESSION_MEMO_ROWS_MAX; i++) {
        free(memo->at[i]);
    }
    free(memo);
}

static size_t place_of(struct text id)
{
    return XXH3_64bits(id.at, id.len) % SESSION_MEMO_ROWS_MAX;
}

bool session_memo_get(const struct session_memo *memo, struct text id, struct arena *arena,
                      struct session_row *ret)
{
    const struct entry *entry = memo == NULL ? NULL : memo->at[place_of(id)];
    if (entry == NULL || entry->age != memo->age || !text_equal(entry->row.id, id)) {
        return false;
    }
    *ret = entry->row;
    ret->id = arena_copy(arena, ret->id);
    ret->subject = arena_copy(arena, ret->subject);
    ret->token_hash = arena_copy(arena, ret->token_hash);
    ret->successor = arena_copy(arena, ret->successor);
    return true;
}

/* With room for so much text; what was there before may be gone. NULL when memory ran out. */
static struct entry *make_room(struct entry **place, size_t bytes)
{
    if (*place == NULL || (*place)->room < bytes) {
        free(*place);
        *place = malloc(sizeof **place + bytes);
        if (*place != NULL) {
            (*place)->room = bytes;
        }
    }
    return *place;
}

void session_memo_put(struct session_memo *memo, const struct session_row *row)
{
    if (memo == NULL) {
        return;
    }
    size_t bytes = row->id.len + row->subject.len + row->token_hash.len + row->successor.len;
    struct entry *entry = make_room(&memo->at[place_of(row->id)], bytes);
    if (entry == NULL) {
        return;
    }
    char *at = entry->texts;
    entry->age = memo->age;
    entry->row = *row;
    entry->row.id = text_pack(row->id, &at);
    entry->row.subject = text_pack(row->subject, &at);
    entry->row.token_hash = text_pack(row->token_hash, &at);
    entry->row.successor = text_pack(row->successor, &at);
    entry->row.data = TEXT_ABSENT;
}

void session_memo_forget(struct session_memo *memo, struct text id)
{
    struct entry *entry = memo == NULL ? NULL : memo->at[place_of(id)];
    if (entry != NULL && text_equal(entry->row.id, id)) {
        entry->age = 0;
    }
}

void session_memo_clear(struct session_memo *memo)
{
    if (memo != NULL) {
        memo->age++;
    }
}
