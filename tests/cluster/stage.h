/*
 * A loop that the test turns by hand, and on it whatever the test needs of a cluster: transports with groups whose engine
 * only notes what it is given, and the other end of a connection as bare bytes.
 */
#ifndef RINGHOLD_TESTS_CLUSTER_STAGE_H
#define RINGHOLD_TESTS_CLUSTER_STAGE_H

#include "service/cluster/transport.h"

#include <raft.h>
#include <uv.h>

enum { PATIENCE_MS = 20000, STAGE_NODES_MAX = 8 };

/* A group with no engine behind it. */
struct mute_group {
    struct transport_group *joined;
    int ticks, received;
    struct raft_message last; /* received; what it had allocated is gone */
    char from_name[TRANSPORT_NAME_BYTES];
    char entries[64]; /* the data of its entries, one after the other, as much as fits */
};

/* What became of a message that was sent. */
struct sent_note {
    struct raft_io_send request;
    int status;
    bool done;
};

struct stage {
    uv_loop_t loop;
};

#define SECRET TEXT("a secret of the tests, long enough")
extern const unsigned char CLUSTER[PEER_CLUSTER_BYTES];

void stage_open(struct stage *stage);
/* Fails the test when something of the loop was left open. */
void stage_close(struct stage *stage);
/* Turns the loop once, without waiting. */
void stage_turn(struct stage *stage);
/* Turns the loop until it holds; fails the test after PATIENCE_MS. */
#define AWAIT(stage, condition)                                                                    \
    do {                                                                                           \
        uint64_t until = stage_now() + PATIENCE_MS;                                                \
        while (!(condition)) {                                                                     \
            cr_assert(stage_now() < until, "still not: %s", #condition);                           \
            stage_wait(stage);                                                                     \
        }                                                                                          \
    } while (0)
/* Turns the loop once, waiting a few milliseconds for something to do. */
void stage_wait(struct stage *stage);
/* Monotonic milliseconds. */
uint64_t stage_now(void);

/* Listens on a free port of the loopback. */
struct transport *stage_transport(struct stage *stage, uint64_t node, struct text secret,
                                  control_serve *serve, void *context);
void stage_transport_close(struct stage *stage, struct transport *transport);
/* Tells each where the other is. */
void stage_introduce(struct transport *a, uint64_t node_a, struct transport *b, uint64_t node_b);

void mute_open(struct mute_group *group, struct transport *transport, uint64_t id);
void mute_close(struct mute_group *group);
/* A sign of life of a leader of that term. */
struct raft_message mute_sign(uint64_t to, raft_term term);
/* Sends it; the note must live until it is done. */
void mute_send(struct mute_group *from, const struct raft_message *message, struct sent_note *note);

#endif
