/*
 * What the routes of queues and of messages share.
 */
#ifndef RINGHOLD_HANDLERS_MESSAGES_H
#define RINGHOLD_HANDLERS_MESSAGES_H

/* The states' names, NULL at the end: the first is MESSAGE_READY, and so on as in enum message_filter. */
extern const char *const message_states[];

#endif
