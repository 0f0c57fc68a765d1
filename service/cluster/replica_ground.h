/*
 * What a replica stands on: the engine's disk and network, a clock, threads for what takes long, and somebody who turns
 * it. Of all that a replica knows this table alone. In the program it is libuv's (replica_uv.c), in the simulation one in
 * which time, disks and the network are the test's.
 *
 * A ground serves one replica, and is gone with it. All its functions are for the replica's own thread.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_REPLICA_GROUND_H
#define RINGHOLD_SERVICE_CLUSTER_REPLICA_GROUND_H

#include "service/cluster/replica.h"

struct raft_io;
struct replica_ground;

/* What takes long. Its maker owns it, from queue until `over` is called. */
struct replica_work {
    void (*run)(struct replica_work *work);  /* on a thread of its own */
    void (*over)(struct replica_work *work); /* afterwards, on the replica's thread */
};

struct replica_ground_calls {
    /* Fills in the engine's functions. False, with a sentence in ret_why, when it cannot. */
    bool (*open)(struct replica_ground *ground, struct raft_io *io, char ret_why[256]);
    /* Ends a ground that is not open. */
    void (*discard)(struct replica_ground *ground);
    /* From now on the ground calls replica_turn after whatever happened to the replica, never from within its calls. */
    void (*begin)(struct replica_ground *ground, struct replica *replica);
    /* Monotonic milliseconds. */
    uint64_t (*now)(struct replica_ground *ground);
    /* False when memory ran out, and then neither of the work's functions is called. */
    bool (*queue)(struct replica_ground *ground, struct replica_work *work);
    /* Bytes for that node which were sent and are still in our memory. False when there is no connection to it. */
    bool (*unsent)(struct replica_ground *ground, uint64_t node, size_t *ret);
    /* Ends one that is open, once the engine has closed `io` or was never started on it. The replica is turned no longer;
       later, when the ground is gone, `gone` is called with it. */
    void (*close)(struct replica_ground *ground, void (*gone)(struct replica *replica),
                  struct replica *replica);
};

struct replica_ground {
    const struct replica_ground_calls *calls;
};

/* replica_open, on that ground, which is the replica's from now on, whatever is returned. */
bool replica_open_on(struct replica_ground *ground, const struct replica_config *config,
                     struct replica **ret, char ret_why[256]);
void replica_turn(struct replica *replica);

#endif
