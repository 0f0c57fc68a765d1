/*
 * The nodes: each with its disk, its files, its clocks, and, while it is up and has a seat, the program's own replica,
 * state machine and what proposes to it (service/cluster/replica*, hosted*, db). Only what they stand on is ours.
 */
#ifndef RINGHOLD_TESTS_SIM_NODES_H
#define RINGHOLD_TESTS_SIM_NODES_H

#include "db/machine.h"
#include "service/clock.h"
#include "service/cluster/hosted.h"
#include "service/cluster/transport.h"
#include "tests/sim/disk.h"
#include "tests/sim/world.h"

struct ground;
struct node {
    int index;
    uint64_t id;
    char name[TRANSPORT_NAME_BYTES];
    unsigned life; /* how often it has crashed */
    bool up;       /* it runs */
    bool seated;   /* it is to hold a replica */
    bool founds;   /* the first time */
    struct disk disk;
    char database[32];
    struct machine *machine; /* NULL: no seat is open */
    struct clock clock;
    struct hosted *hosted;
    struct ground *ground;
    bool closing, unclean;
    int64_t boot_us; /* its monotonic clock when the world began */
    int64_t wall_us; /* its wall clock, less the true one */
};
extern struct node nodes[SIM_NODES_MAX];
extern int node_count;

/* Makes the nodes, all down. */
void nodes_make(int count);
/* Starts the process. */
void node_start(int node);
void node_crash(int node);
/* The node is to hold a replica, or no longer to: then what it has is dropped. */
void node_seat(int node, bool seated);
bool node_leads(int node);
/* The node that leads, NOWHERE where none does. */
int nodes_leader(void);
/* Its replica, NULL while it has none. */
struct replica *node_replica(int node);

/* ground.c */
void node_turn(struct node *node);
void ground_receive(struct node *node, struct raft_message *message);
/* After a crash. */
void ground_forget(struct node *node);

/* stand_ins.c */
struct uvloop *loop_of(struct node *node);

#endif
