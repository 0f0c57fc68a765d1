/*
 * What the routes of queues and of messages share.
 */
#ifndef RINGHOLD_HANDLERS_MESSAGES_H
#define RINGHOLD_HANDLERS_MESSAGES_H

#include "handlers/exchange.h"

/* How many messages a purge or redrive that was read may take in all, or ABSENT. */
int64_t bulk_max(const struct exchange *x);

/* The states' names, NULL at the end: the first is MESSAGE_READY, and so on as in enum message_filter. */
extern const char *const message_states[];

#endif
