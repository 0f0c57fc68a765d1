/*
 * What comes in from the other nodes: the other end of their streams (stream.h). Of each node and kind the newest
 * connection is the one that counts; an older one is closed, so that nothing comes out of it late. All of it belongs to the
 * loop's thread.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_INTAKE_H
#define RINGHOLD_SERVICE_CLUSTER_INTAKE_H

#include "service/cluster/handshake.h"

struct intakes;
struct raft_message;
struct uv_tcp_s;

/* A message of a group, with the node it comes from in server_id and its name in server_address, for as long as the call.
   What it has allocated is the callee's. */
typedef void intake_arrived(void *context, uint64_t group, struct raft_message *message);

/* NULL when memory ran out. */
struct intakes *intakes_new(intake_arrived *arrived, void *context);
/* Closes what is open. Nothing arrives any more. */
void intakes_close(struct intakes *intakes);
/* Takes a connection over, after its handshake. */
void intakes_take(struct intakes *intakes, uint64_t node, enum peer_kind kind,
                  struct uv_tcp_s *tcp);

#endif
