/*
 * A list over all partitions: each partition's page, as its own answer to the same request, becomes one page in the order
 * of names. What lies behind the last name of a page that is not its partition's last is left for the next page, so that
 * nothing is passed over.
 */
#ifndef RINGHOLD_HANDLERS_GATHER_H
#define RINGHOLD_HANDLERS_GATHER_H

#include "handlers/exchange.h"

struct gather;

/* Whether the request is for such a list. After exchange_prepare. */
bool gather_wanted(const struct exchange *x);
/* NULL when memory ran out. */
struct gather *gather_begin(struct exchange *x);
/* Adds a partition's answer, which must live as long as the exchange. False when it is no page. */
MUST_CHECK bool gather_add(struct gather *gather, struct text page);
/* Makes the response. */
void gather_end(struct gather *gather);

#endif
