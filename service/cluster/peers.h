/*
 * Where the other nodes are: node id ─► host and port, as their owner tells it. A host that is a name is looked up
 * beside the loop, one look-up at a time for each node, and the answer is kept for a while; who dials meanwhile is told
 * to come again, which the engine does anyway. All of it belongs to the loop's thread.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_PEERS_H
#define RINGHOLD_SERVICE_CLUSTER_PEERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct peers;
struct uv_loop_s;

/* NULL when memory ran out. */
struct peers *peers_new(struct uv_loop_s *loop);
/* Cancels what is being looked up; `closed` is called, once, when it may be forgotten, perhaps at once. */
void peers_close(struct peers *peers, void (*closed)(void *context), void *context);

/* Adds or moves a node. False when the host is too long, there are too many, or memory ran out. */
bool peers_put(struct peers *peers, uint64_t node, const char *host, uint16_t port);
void peers_drop(struct peers *peers, uint64_t node);
bool peers_know(const struct peers *peers, uint64_t node);
/* The address to dial. False when the node is unknown or its name is only now being looked up. */
bool peers_find(struct peers *peers, uint64_t node, struct sockaddr_storage *ret);
/* Nobody answered there: where its host is a name, it is looked up again before the next time. */
void peers_doubt(struct peers *peers, uint64_t node);

#endif
