/*
 * What goes out to the other nodes: to each node one connection for the messages of all groups, and a second one for
 * images, so that no sign of life waits behind tens of megabytes.
 *
 *     IDLE ─something to send─► DIALLING ─► OPEN ─it breaks─┐
 *       ▲                          └─ refused ──────────────┴─► WAITING, REPLICA_RECONNECT_MS
 *       └───────────────────── or the node has come to us ─────────┘
 *
 * All that was sent in one turn of the loop leaves in one write, before the loop waits again. A short message passes long
 * ones of other groups, never one of its own group. A message is copied, an image is not: it is read until it is sent.
 *
 * Nothing is kept for a node that does not take it: what is over the bound, what a connection took with it when it broke
 * and what waited for one that did not come about is dropped. Raft repeats what is missing.
 *
 * Each node dials the others for what it sends; what it receives comes by connections that they dialled (intake.h). So
 * there is nothing to agree on when two dial each other at once, and who sends is who connects again.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_STREAM_H
#define RINGHOLD_SERVICE_CLUSTER_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct links;
struct peers;
struct raft_io_send;
struct raft_message;
struct streams;
struct uv_loop_s;

/* NULL when memory ran out. Both must live until it is closed. */
struct streams *streams_new(struct uv_loop_s *loop, struct links *links, struct peers *peers);
/* Ends all; what waits is called back with RAFT_CANCELED. `closed` is called, once, from the loop. */
void streams_close(struct streams *streams, void (*closed)(void *context), void *context);

/*
 * Sends a message to the node it names. `sent` is called once, never from within: with 0 when the message is on its way and
 * its memory is needed no longer, RAFT_NOCONNECTION when it was dropped, or RAFT_CANCELED. RAFT_NOMEM: it is not called.
 */
int streams_send(struct streams *streams, uint64_t group, const struct raft_message *message,
                 struct raft_io_send *request,
                 void (*sent)(struct raft_io_send *request, int status));
/* Calls back all that waits for the group, with RAFT_CANCELED. What was copied is sent nevertheless. */
void streams_cancel(struct streams *streams, uint64_t group);
/* Bytes of the group's image to that node which the system has not taken yet. False when there is no connection for it. */
bool streams_unsent(const struct streams *streams, uint64_t node, uint64_t group, size_t *ret);
/* The node has come to us: it is worth dialling now. */
void streams_hurry(struct streams *streams, uint64_t node);

#endif
