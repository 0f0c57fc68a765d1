/*
 * The rows of table `sessions`: how they are found, how a session stands, how it ends. The commands on sessions are in
 * sessions.c, those on a subject's sessions in subjects.c; both work on rows through here alone, so that the counters,
 * the leases bound to a session and the events always follow the row.
 */
#ifndef RINGHOLD_DB_SESSION_ROW_H
#define RINGHOLD_DB_SESSION_ROW_H

#include "db/txn.h"

struct session_row {
    int64_t row;
    struct text id;
    struct text subject;    /* or absent */
    struct text token_hash; /* absent: no token leads here */
    struct text successor;  /* of a rotated one: the id it was given */
    struct text data;       /* absent unless WITH_DATA, and once ended */
    int64_t version;
    int64_t created_ms; /* a successor keeps it: the absolute clock runs on */
    int64_t last_seen_ms;
    int64_t idle_ttl_ms;
    int64_t max_ttl_ms;
    int64_t ended;          /* enum end_reason, REASON_NONE until an end is written down */
    int64_t grace_until_ms; /* of a rotated one */
    int64_t sweep_ms;
};

enum session_columns { WITHOUT_DATA, WITH_DATA };

/* ---- how a session stands ------------------------------------------------------------------------------------ */

/* The earlier of the idle and the absolute end. */
int64_t session_expires_ms(const struct session_row *row);
/* How it ended, REASON_NONE while it is alive. What time has ended is ended, whether or not it was swept. */
enum end_reason session_end_reason(const struct session_row *row, int64_t now_ms);
/* Whether it was rotated and its id and token still lead to the successor. */
bool session_leads_on(const struct session_row *row, int64_t now_ms);
void session_view_of(const struct session_row *row, struct session_view *ret);

/* ---- finding ------------------------------------------------------------------------------------------------- */

/* The row of that id, alive or a tombstone. False when there is none, or its tombstone's time is over. */
bool session_load(struct txn *txn, struct text id, enum session_columns columns,
                  struct session_row *ret);
/* Goes on to the successor while the row leads on and it is here, through at most ROTATION_CHAIN_MAX rotations. */
void session_follow(struct txn *txn, enum session_columns columns, struct session_row *row);
/* Loads and follows. False, with the refusal in the result, unless a live session is found. */
bool session_find_live(struct txn *txn, struct text id, enum session_columns columns,
                       struct session_row *ret, struct result *result);
/* 410 with the reason, if the session has ended; and with where to ask, if what was asked for, `id`, leads on to another
   partition. Through no more than one: the partition there knows the row that left here, and no row before it. */
bool session_refuse_ended(struct txn *txn, struct text id, const struct session_row *row,
                          struct result *result);
/* The live rows of a subject, oldest first, those time has ended but nobody swept among them: the one behind `row`
   (zeroed at first). False at the end. */
bool session_next_of_subject(struct txn *txn, struct text subject, enum session_columns columns,
                             struct session_row *row);

/* ---- writing ------------------------------------------------------------------------------------------------- */

/* Adds a live session; row and sweep_ms need not be given. False, and nothing done, when the id is taken. */
bool session_insert(struct txn *txn, const struct session_row *row);
/* Writes data, version, ttls and last_seen_ms of a live row, and brings its sweep forward where it must. */
void session_update(struct txn *txn, struct session_row *row);
/* Renews the idle clock alone. Nobody is told: what watchers see of a session, its version, stays. */
void session_renew(struct txn *txn, struct session_row *row);
/* Ends a live row for any reason but rotation. */
void session_end(struct txn *txn, const struct session_row *row, enum end_reason reason);
/* Ends a live row in favour of a successor, which must have been inserted, here or on another partition. */
void session_give_way(struct txn *txn, const struct session_row *row,
                      const struct session_row *successor, int64_t grace_ms);
/* Adds a row that was rotated on another partition in favour of `successor`, so that its id and token lead on here as they
   did there. */
void session_insert_rotated(struct txn *txn, const struct session_row *row,
                            const struct session_row *successor, int64_t grace_ms);
/* Deletes the row of that id whose tombstone's time is over, if there is one that no sweep has met yet. */
void session_forget(struct txn *txn, struct text id);
/* Looks after a row whose sweep_ms has come: ends it, forgets it, or moves its sweep_ms on. */
void session_sweep(struct txn *txn, const struct session_row *row);
/* The row with the earliest sweep_ms. False when there is no row at all. */
bool session_first_to_sweep(struct txn *txn, struct session_row *ret);

#endif
