/*
 * Sessions that were read lately, in memory, so that reading one again costs no SQLite: GET of a session is what a
 * session store does most. Bounded by bytes; what was not used for the longest time goes first (second chance).
 *
 * The cache never says anything the database does not say. Around each commit the machine closes the sessions that the
 * batch has written, and opens them again when the commit is over:
 *
 *     machine:   close(id) ─► COMMIT ─► open(id)              what is closed is neither got nor put
 *     reader:    get(id), a miss with a ticket ─► SELECT ─► put(id, ticket)
 *
 * A put is dropped when any session of the same shard was opened since its ticket was taken: what it has read may be
 * older than that commit.
 *
 * Any thread. The lock of a shard is held for a copy of one session and no longer.
 */
#ifndef RINGHOLD_DB_SESSION_CACHE_H
#define RINGHOLD_DB_SESSION_CACHE_H

#include "db/arena.h"
#include "db/result.h"

struct session_cache;

/* NULL when memory ran out. */
struct session_cache *session_cache_make(size_t bytes_max);
/* NULL-safe. */
void session_cache_free(struct session_cache *cache);

/* A copy of the session, in the arena. False on a miss, with a ticket for session_cache_put. */
bool session_cache_get(struct session_cache *cache, struct text id, struct arena *arena,
                       struct session_view *ret, uint64_t *ret_ticket);
/* Keeps a copy of what a reader has read. Only live sessions, under their own id. */
void session_cache_put(struct session_cache *cache, const struct session_view *session,
                       uint64_t ticket);

/* Forgets everything, and drops the puts that are on their way: the whole state has become another one. */
void session_cache_clear(struct session_cache *cache);

/* The machine's: a close and an open for each session it writes, in this order. The same id may be closed several times
   and must be opened as often. */
void session_cache_close(struct session_cache *cache, struct text id);
void session_cache_open(struct session_cache *cache, struct text id);

#endif
