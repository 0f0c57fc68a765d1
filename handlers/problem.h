/*
 * Problem documents (RFC 9457): every refusal of Ringhold is one, and each code's page at /problems/{code} is made of
 * the same table (db/status.h).
 */
#ifndef RINGHOLD_HANDLERS_PROBLEM_H
#define RINGHOLD_HANDLERS_PROBLEM_H

#include "handlers/exchange.h"
#include "handlers/json_out.h"

/* Makes the exchange's response the problem document of this status: from x->refused, x->result and the route. */
void problem_render(struct exchange *x, enum status status);

/* Writes the problem's object: what problem_render sends, and what a transaction's answer holds. */
void problem_write(struct exchange *x, enum status status, struct json_out *out);

/* A problem document for a request that never became an exchange (too many connections, a malformed head). The
   status's own sentence is its detail. */
struct text problem_plain(enum status status, struct arena *arena);

/* The word for an end reason; absent for REASON_NONE. */
struct text end_reason_text(int64_t reason);

#endif
