/*
 * Prefer: redirect (RFC 7240): a client that would rather be told where to ask than have its request passed on.
 */
#ifndef RINGHOLD_HANDLERS_REDIRECT_H
#define RINGHOLD_HANDLERS_REDIRECT_H

#include "handlers/exchange.h"

/* Whether the client prefers to be sent to the owner. */
bool redirect_preferred(const struct exchange *x);
/* Makes the response 307 to the same target at `base`, "http://HOST:PORT". */
void redirect_respond(struct exchange *x, struct text base);
/*
 * The target as a Location may have it (RFC 3986): what may not stand in a URI, and '#', which would cut it there, is
 * percent-encoded; escapes stay as they are. So it names the same resource. Absent when memory ran out.
 */
struct text redirect_target(struct text target, struct arena *arena);

#endif
