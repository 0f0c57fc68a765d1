/*
 * Sessions: versioned JSON objects with an idle and an absolute timeout (API.md §2).
 *
 *            create, put (new)
 *     none ────────────────────► LIVE ───── rotate ─────► ROTATED, in grace: leads on to the successor
 *      ▲                          │                          │ grace over
 *      │                          │ idle, absolute           ▼
 *      │                          │ delete, revoke, evict   ROTATED
 *      │                          ▼                          │
 *      └─ SESSION_TOMBSTONE_MS ─ ENDED ◄─────────────────────┘ (a tombstone as well)
 *
 *                none          live            rotated, in grace     ended, or rotated
 *     create     live          (ids are made by the server and never met again)
 *     put        live, 201     live, 200       as the successor      410
 *     get, patch,
 *     touch      404           200             as the successor      410
 *     resolve    404           200 or 404 *    as the successor *    410
 *     rotate     404           rotated         as the successor      410
 *     delete     204           ended, 204      as the successor      204
 *     revoke     counts 0      ended           nothing               nothing
 *     time       –             ended           rotated               none
 *
 *     * 404 when the secret's hash is not the row's. An ended session has no hash any more and says 410 to anyone.
 *
 * Time ends a session at its instant: every command and every read takes it as ended from then on, and the TICK that
 * writes it down only tidies up. Ending is final: nothing brings an ended session back, and once its tombstone's time is
 * over the id is as good as new.
 *
 * `data` and merge patches are JSON objects whose strings are spelled in one way (handlers/spelling.h): merging compares
 * the spellings of keys, so two spellings of one key would not be met as the same. Numbers stay as they were written.
 */
#ifndef RINGHOLD_DB_SESSIONS_H
#define RINGHOLD_DB_SESSIONS_H

#include "db/txn.h"

/* Whether this very id is alive; one that was rotated is not, even while it leads to its successor. */
bool session_is_alive(struct txn *txn, struct text id);

/* Checks the sessions' rows and counters. NULL, or what is wrong with them. */
const char *sessions_sanity(struct txn *txn);

#endif
