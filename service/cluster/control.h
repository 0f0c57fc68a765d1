/*
 * Control connections: after the handshake, frames in turn, a request and its answer.
 *
 *     frame = length (4 bytes, big-endian), then as many bytes; at most CONTROL_FRAME_BYTES_MAX of them
 *
 * One request is under way on a connection at a time. A connection that is silent, slow or sends too long a frame is
 * closed. What stands in a frame is not this file's business.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_CONTROL_H
#define RINGHOLD_SERVICE_CLUSTER_CONTROL_H

#include "service/cluster/handshake.h"

struct control;
struct controls;
struct uv_loop_s;
struct uv_tcp_s;

/* One request that waits for its answer. */
struct control_request {
    uint64_t source;  /* the node that proved itself */
    struct text body; /* valid until the answer */
};

/* Called with each request; control_answer may be called from within, or later from the loop's thread. */
typedef void control_serve(void *context, struct control *control,
                           const struct control_request *request);
/* ACCEPTED, and the answer, which is valid during the call; or why there is none. */
typedef void control_answered(void *context, enum peer_verdict verdict, struct text answer);

/* Answers the request under way. The bytes are copied. False when they are too many or memory ran out: the connection is
   closed then. When the dialer has gone meanwhile, this is where the server lets go of the connection. */
bool control_answer(struct control *control, struct text answer);

/* ---- for the transport -------------------------------------------------------------------------------------------- */

struct controls *controls_new(struct uv_loop_s *loop, control_serve *serve, void *context);
/* Ends all connections; asks get CANCELLED. `closed` is called, once, when nothing is left, perhaps at once. Requests that
   were not answered are to be answered all the same. */
void controls_close(struct controls *controls, void (*closed)(void *context), void *context);

/* Serves on a connection whose handshake is done; takes the socket over. False: it did not, there are too many. */
bool controls_serve(struct controls *controls, uint64_t source, struct uv_tcp_s *tcp);
/* Sends one request and waits for its answer; takes the socket over in any case. */
void controls_ask(struct controls *controls, struct uv_tcp_s *tcp, struct text request,
                  control_answered *answered, void *context);

#endif
