/*
 * A call that rotates a session to a subject of another partition. Two partitions have no transaction in common, so the
 * session is packed here, arrives there, and then departs from here, if it is still what was packed:
 *
 *     begin ─► pack ─► ARRIVING ─► DEPARTING ─┬─► done ───────────────► answered
 *                         │                   ├─► it has changed ─────► RECALLING ─► begin again, a bounded number of times
 *                         │                   ├─► refused, or replayed ► RECALLING ─► answered
 *                         │                   └─► nobody knows ────────► answered so: nothing may be taken back
 *                         └─► not, or unknown ─► RECALLING ─► 503 no-leader: it is where it was
 *
 * Nobody has the new token before it has departed, so what arrived for nothing is of use to nobody; it is deleted, and
 * where that fails too it ends by idling. On the call's loop; the call is COMMITTING meanwhile.
 */
#ifndef RINGHOLD_SERVICE_MOVING_H
#define RINGHOLD_SERVICE_MOVING_H

#include "service/call.h"

/* Whether the call rotates a session to another partition than its own. */
bool moving_wanted(const struct call *call);
/* Parks a write to a session that is moving, until it has or for a moment, so that it departs as it was packed. False: there
   is nothing to wait for. */
bool moving_hold(struct call *call);
/* Begins, where the session's partition is served. */
void moving_begin(struct call *call);
/* Goes on with a call that is moving a session, after it came back. */
void moving_go_on(struct call *call);

#endif
