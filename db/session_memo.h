/*
 * The rows of sessions that the machine has met last, without their data. Who writes a session looks at its row first,
 * and finding it is a search of two b-trees: a quarter of what a batch of two PUTs takes.
 *
 * It says what the table says, as the open batch has it: session_row.c, through which all rows go, puts what it has
 * loaded or written whole and forgets what it has written otherwise; what is undone or rolled back clears it. It is not
 * part of the state, and changes no result.
 *
 * Of the machine's thread alone. Every function takes NULL, of who has no memo, as an empty one.
 */
#ifndef RINGHOLD_DB_SESSION_MEMO_H
#define RINGHOLD_DB_SESSION_MEMO_H

#include "db/session_row.h"

struct session_memo;

/* NULL when memory ran out. */
struct session_memo *session_memo_make(void);
void session_memo_free(struct session_memo *memo);

/* The row of that id, with its texts in the arena and no data. False when it is not there. */
bool session_memo_get(const struct session_memo *memo, struct text id, struct arena *arena,
                      struct session_row *ret);
/* Keeps a copy; it may take the place of another row. */
void session_memo_put(struct session_memo *memo, const struct session_row *row);
void session_memo_forget(struct session_memo *memo, struct text id);
/* Forgets all. */
void session_memo_clear(struct session_memo *memo);

#endif
