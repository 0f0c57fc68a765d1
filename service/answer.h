/*
 * Answers: a call's response, handed to libmicrohttpd.
 */
#ifndef RINGHOLD_SERVICE_ANSWER_H
#define RINGHOLD_SERVICE_ANSWER_H

#include "service/call.h"

#include <microhttpd.h>

#define ANSWER_PARTITION "0" /* of Ringhold-Partition: one instance has one */

/* Queues the answer of a call whose state is ANSWERED. The body stays in the call's arena until it was sent. */
enum MHD_Result answer_send(struct call *call);

/* A Request-Id for who sent none, in the arena. */
struct text answer_make_request_id(struct arena *arena);

/* Too many are connected: this one is told so, as far as its socket takes it without waiting, and closed.
   libmicrohttpd never sees it. */
void answer_turn_away(int socket);

#endif
