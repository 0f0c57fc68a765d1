/*
 * A call whose partition another member owns: it is sent there, and the answer relayed. Only the member that the client
 * talks to forwards; one that is asked by a member and does not own the partition either says so, 421 with whom to ask.
 *
 *     begin ─► owner known? ──no──► PAUSED ─► again
 *               │ yes
 *               ▼
 *              SENT ─┬─► answered ─────────────────────────► relayed
 *                    ├─► 421, or surely not sent ─► again     a bounded number of tries, within one deadline
 *                    └─► nobody knows ─► a GET: again; else 503 outcome-unknown
 *
 * A stale read may be any replica's: it goes to the owner, then to the others that hold one, each with little time; and
 * in the end to what is here, however old. Where the client prefers to be redirected, nothing is sent: it is told where.
 *
 * While it is SENT or PAUSED the call is PARKED, so that its client's hang-up is noticed: the owner's side is cancelled
 * then. All on the call's loop, but for the proxy's answer.
 */
#ifndef RINGHOLD_SERVICE_FORWARDING_H
#define RINGHOLD_SERVICE_FORWARDING_H

#include "service/call.h"

/* Sends the call to the owner, or begins to wait until one is known. The call's state says what it does next. */
void forwarding_begin(struct call *call);
/* Goes on with a call that has a forwarding, after it came back. */
void forwarding_go_on(struct call *call);

#endif
