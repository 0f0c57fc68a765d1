/*
 * Waiting for a grant, of one lease or of a set: the request is parked until the lease has an event, then looks whether
 * it is its turn.
 *
 *     ACQUIRE ─► waiting ─► PARK ──┬─ event, time over ─► COLLECT ─► granted: 201 · ended: 410 · over: 409 · waiting: PARK
 *                  │               ├─ hung up ─► ABANDON ─► nobody is answered
 *                  │               └─ draining ─► 503; the place in line stays for whoever can name it
 *                  └─ async ─► 202
 */
#ifndef RINGHOLD_HANDLERS_LEASE_WAIT_H
#define RINGHOLD_HANDLERS_LEASE_WAIT_H

#include "handlers/exchange.h"

/* Prepares to wait, from parse: for the lease on these locks, a set's or one. `nameless`: the client could not name
   the lease if it came again, so its place is no use to it. The names must live as long as the exchange. */
void lease_wait_prepare(struct exchange *x, struct text lease, struct names names, bool set,
                        bool nameless);

/* The route's `after` and `wake`. */
enum next lease_wait_after(struct exchange *x);
enum next lease_wait_wake(struct exchange *x, enum wake why);

#endif
