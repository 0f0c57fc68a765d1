/*
 * A link is a connection as long as its handshake lasts, on either side. It ends within PEER_HANDSHAKE_MS, for a dialer
 * counted from when it is connected, which may take PEER_CONNECT_MS; then the socket is handed over or closed. Each refusal
 * is one line in the log. Part of the transport, whose loop it runs in.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_LINK_H
#define RINGHOLD_SERVICE_CLUSTER_LINK_H

#include "service/cluster/handshake.h"

#include <sys/socket.h>

struct link;
struct uv_loop_s;
struct uv_stream_s;
struct uv_tcp_s;

/* All links of a node. */
struct links {
    struct uv_loop_s *loop;
    unsigned char cluster[PEER_CLUSTER_BYTES];
    uint64_t node;
    struct text secret;
    /* Whether a dialer that proved itself is let in: ACCEPTED, or why not. */
    enum peer_verdict (*admit)(void *context, const struct hello *hello);
    /* A dialer was let in; the socket, of raft_malloc, is the callee's. */
    void (*arrived)(void *context, const struct hello *hello, struct uv_tcp_s *tcp);
    /* Each time a link is gone. */
    void (*gone)(void *context);
    void *context;
    struct link *first;
    int incoming;
    unsigned
        strangers; /* hellos of members of other clusters, that took this address for one of theirs */
};

/* How a dial ended: ACCEPTED and the socket, which is then the callee's, or why not and NULL. */
typedef void link_dialled(void *context, enum peer_verdict verdict, struct uv_tcp_s *tcp);

/* Takes the next connection of a listener, and begins its handshake. */
void links_accept(struct links *links, struct uv_stream_s *listener);
/* Connects. False when it could not begin; `dialled` is not called then. */
bool links_dial(struct links *links, enum peer_kind kind, uint64_t destination,
                const struct sockaddr *address, link_dialled *dialled, void *context);
/* Ends every link. Each is still told, from the loop. */
void links_cancel(struct links *links);

/* What every connection between nodes is set to: small messages go at once, and a dead peer is noticed. */
void link_tune(struct uv_tcp_s *tcp);

#endif
