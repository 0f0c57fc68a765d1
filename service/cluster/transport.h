/*
 * The one port on which a node meets the others. Every connection opens with the handshake of handshake.h, which says what
 * it is for: the messages of all groups (stream.h, intake.h), their images, or control requests (control.h).
 *
 *     a group sends ─► stream ─► one write for all groups ─► …
 *
 *     uv_listen ─► link (handshake, bounded in time, memory and number) ─┬─► intake ─► each message to its group
 *                                                                        ├─► control
 *                                                                        └─► refused: one log line, with the reason
 *
 * Nodes go by id; where they are is told with transport_put_peer, and a node that was not told is refused in both
 * directions, except on control connections, which is how a node that joins makes itself known.
 *
 * All of it belongs to the loop's thread.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_TRANSPORT_H
#define RINGHOLD_SERVICE_CLUSTER_TRANSPORT_H

#include "service/cluster/control.h"
#include "service/cluster/handshake.h"

struct raft_io_send;
struct raft_message;
struct transport;
struct transport_group;
struct uv_loop_s;

struct transport_config {
    unsigned char cluster[PEER_CLUSTER_BYTES]; /* all zero: none yet; then nobody is let in */
    uint64_t node;                             /* not 0 */
    struct text secret;                        /* copied */
    const char *address;                       /* to listen on, numeric; NULL: only asks others */
    uint16_t port;                             /* 0 picks a free one */
    control_serve *serve;                      /* answers control requests; NULL: none are taken */
    void *context;
};

/* Listens. False, with a sentence in ret_why, when it cannot. The config may go afterwards. */
bool transport_open(struct uv_loop_s *loop, const struct transport_config *config,
                    struct transport **ret, char ret_why[256]);
/*
 * Stops listening and ends what is open; every group must have left, or be leaving: what these send goes out until the
 * last has left. `closed` is called, once, from the loop, when nothing of it is left. Not from within a group's calls.
 */
void transport_close(struct transport *transport, void (*closed)(void *context), void *context);

/* How often somebody of another cluster has come to talk to a member of it that it takes to be here. */
unsigned transport_strangers(const struct transport *transport);
uint16_t transport_port(const struct transport *transport);
/* Once a node that joins knows the cluster it has joined. */
void transport_set_cluster(struct transport *transport,
                           const unsigned char cluster[PEER_CLUSTER_BYTES]);

/* Tells where a node is, or that it moved. False when there are too many nodes or the host is too long. */
bool transport_put_peer(struct transport *transport, uint64_t node, const char *host,
                        uint16_t port);
/* The node is none of ours any longer. A connection that is open stays so until it breaks. */
void transport_drop_peer(struct transport *transport, uint64_t node);

/* A node's name within the engine's configurations: its id alone, so that a node may move. */
enum { TRANSPORT_NAME_BYTES = 24 };
void transport_name(uint64_t node, char ret[TRANSPORT_NAME_BYTES]);

/*
 * A group's part: what it sends goes to the same group of another node. NULL when memory ran out or the group is there.
 * transport_leave gives it back.
 */
struct transport_group *transport_join(struct transport *transport, uint64_t id);
void transport_leave(struct transport_group *group);

struct transport_calls {
    /* Every tick_ms, or as often as the group that asked for the shortest time: all of a node are called one after the
       other, so that their signs of life leave together. */
    void (*tick)(void *context);
    /* A message came, which is the callee's (intake_arrived). */
    void (*receive)(void *context, struct raft_message *message);
};
/* From now on the group is called. What came for it before was dropped. */
void transport_start(struct transport_group *group, unsigned tick_ms,
                     const struct transport_calls *calls, void *context);
/* The group is called no longer, and what it sent is called back with RAFT_CANCELED, from within. */
void transport_stop(struct transport_group *group);
/* streams_send. */
int transport_send(struct transport_group *group, const struct raft_message *message,
                   struct raft_io_send *request,
                   void (*sent)(struct raft_io_send *request, int status));
/* Bytes of the group's image to that node which are still in our memory: sent, and not yet taken by the system. False when
   there is no connection for it. */
bool transport_unsent(const struct transport_group *group, uint64_t node, size_t *ret);

/*
 * Asks a node's control, wherever it is. `to` 0: whoever answers there. `answered` is called, once, from the loop,
 * never from within this call: with the answer, or with why there is none. False when memory ran out, when it was asked
 * for too much, or while the host's name is being looked up: then it may be asked again. The request is copied.
 */
bool transport_ask(struct transport *transport, uint64_t to, const char *host, uint16_t port,
                   struct text request, control_answered *answered, void *context);

#endif
