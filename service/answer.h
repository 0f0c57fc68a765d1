/*
 * Answers: a call's response, handed to libmicrohttpd.
 */
#ifndef RINGHOLD_SERVICE_ANSWER_H
#define RINGHOLD_SERVICE_ANSWER_H

#include "service/call.h"

#include <microhttpd.h>

/* Queues the answer of a call whose state is ANSWERED. The body stays in the call's arena until it was sent. */
enum MHD_Result answer_send(struct call *call);

/* The request's id: the client's, where it is sane, else one of our own. The same each time. */
struct text answer_request_id(struct call *call);

/* Sends the answer of a call whose state is ANSWERED past libmicrohttpd, as far as the socket takes it without waiting.
   The connection must be closed then. For a head so large that libmicrohttpd has no room for an answer's. */
void answer_send_past(struct call *call);

/* The node whose name stands in answers to requests that no call was made of. Once, before there are loops. */
void answer_as(const char *node);
/* What stands in every answer of /v1, for one to a request that was not read: its path is not known, nor the id that the
   client may have given it. */
void answer_mark(struct MHD_Response *response, struct arena *arena);

/* Too many are connected: this one is told so, as far as its socket takes it without waiting, and closed.
   libmicrohttpd never sees it. */
void answer_turn_away(int socket);

#endif
