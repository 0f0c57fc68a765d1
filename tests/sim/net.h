/*
 * The network between the nodes: for each direction of each pair one connection, on which messages come in order. A link
 * can be cut, in one direction or both: what is sent waits, and comes late or never. A connection can break: of what was
 * under way some still comes, after messages of the next one.
 */
#ifndef RINGHOLD_TESTS_SIM_NET_H
#define RINGHOLD_TESTS_SIM_NET_H

#include <raft.h>

/* `latency_us`: of a healthy link, at most. */
void net_make(uint64_t latency_us);
/* Copies the message. `done` is called on the sender, later, with 0 once it left, or an error of the engine's. */
void net_send(int from, int to, const struct raft_message *message,
              void (*done)(void *context, int status), void *context);

void net_cut(int from, int to, bool cut);
void net_slow(int from, int to, uint64_t latency_us);
/* Breaks the connection. */
void net_reset(int from, int to);
/* All links are whole, and as fast as they were made. */
void net_heal(void);
/* A node has crashed or closed: its connections break. */
void net_leave(int node);

#endif
