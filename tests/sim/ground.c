/*
 * What the replicas stand on here (service/cluster/replica_ground.h), in the place of libuv: the world's time, the
 * node's disk, the network between the nodes. Also the place where the machine is looked at from outside.
 */
#include "service/cluster/replica_ground.h"

#include "tests/sim/ground.h"
#include "tests/sim/net.h"
#include "tests/sim/nodes.h"
#include "tests/sim/oracle.h"
#include "tests/sim/weather.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* A message on its way out, for who waits for it to leave. */
struct sending {
    struct sending *next;
    struct raft_io_send *request;
    raft_io_send_cb cb;
    bool over;
};
struct ground {
    struct replica_ground base;
    struct node *node;
    struct replica *replica;
    bool begun, started, closed;
    raft_io_tick_cb tick;
    raft_io_recv_cb recv;
    uint64_t tick_us;
    struct sending *sendings;
    raft_io_close_cb io_closed;
    struct raft_io *io;
    void (*gone)(struct replica *replica);
    struct replica_machine machine; /* the program's */
};

static void *must(void *memory)
{
    assert(memory != NULL);
    return memory;
}

static struct ground *ours(struct replica_ground *base)
{
    return (struct ground *)base;
}

static struct ground *ground_of(const struct raft_io *io)
{
    return io->impl;
}

static struct disk *disk_of(const struct raft_io *io)
{
    return &ground_of(io)->node->disk;
}

static int node_of(const struct raft_io *io)
{
    return ground_of(io)->node->index;
}

/* ---- the engine's functions --------------------------------------------------------------------------------------- */

enum { RESERVED_KIB = 60000, RESERVED_WHEN_FULL_KIB = 1000 };

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
    (void)io;
    (void)id;
    (void)address;
    return 0;
}

static void finish_close(void *context)
{
    struct ground *ground = context;
    disk_stop(&ground->node->disk, true);
    while (ground->sendings != NULL) {
        struct sending *sending = ground->sendings;
        ground->sendings = sending->next;
        if (!sending->over) {
            sending->over = true;
            sending->cb(sending->request, RAFT_CANCELED);
        }
    }
    ground->io_closed(ground->io);
}

static void io_close(struct raft_io *io, raft_io_close_cb cb)
{
    struct ground *ground = ground_of(io);
    ground->started = false;
    ground->io_closed = cb;
    ground->io = io;
    net_leave(ground->node->index);
    later(0, ground->node->index, finish_close, ground);
}

static int io_load(struct raft_io *io, raft_term *term, raft_id *vote,
                   struct raft_snapshot **snapshot, raft_index *first, struct raft_entry *entries[],
                   size_t *count)
{
    return disk_load(disk_of(io), term, vote, snapshot, first, entries, count);
}

static void on_tick(void *context)
{
    struct ground *ground = context;
    if (ground->started) {
        later(ground->tick_us, ground->node->index, on_tick, ground);
        ground->io->capacity = ground->node->disk.full ? RESERVED_WHEN_FULL_KIB : RESERVED_KIB;
        ground->tick(ground->io);
    }
}

static int io_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
    struct ground *ground = ground_of(io);
    ground->io = io;
    ground->tick = tick;
    ground->recv = recv;
    ground->tick_us = (uint64_t)msecs * MS;
    ground->started = true;
    later(ground->tick_us, ground->node->index, on_tick, ground);
    return 0;
}

static int io_bootstrap(struct raft_io *io, const struct raft_configuration *members)
{
    return disk_bootstrap(disk_of(io), members);
}

static int io_recover(struct raft_io *io, const struct raft_configuration *members)
{
    (void)io;
    (void)members;
    wrong("nobody asked for a node alone");
}

static int io_set_term(struct raft_io *io, raft_term term)
{
    return disk_set_term(disk_of(io), term);
}

static int io_set_vote(struct raft_io *io, raft_id vote)
{
    int rc = disk_set_vote(disk_of(io), vote);
    weather_voted(node_of(io), (int)vote - 1);
    return rc;
}

static void has_left(void *context, int status)
{
    struct sending *sending = context;
    if (!sending->over) {
        sending->over = true;
        sending->cb(sending->request, status);
    }
}

/* A candidate votes for itself. What is asked and said beforehand, in a pre-vote, binds nobody. */
static void note_vote(const struct node *node, const struct raft_message *message)
{
    if (message->type == RAFT_REQUEST_VOTE && !message->request_vote.pre_vote) {
        oracle_voted(node->index, message->request_vote.term, node->id);
    } else if (message->type == RAFT_REQUEST_VOTE_RESULT &&
               message->request_vote_result.vote_granted &&
               !message->request_vote_result.pre_vote) {
        oracle_voted(node->index, message->request_vote_result.term, message->server_id);
    }
}

static int io_send(struct raft_io *io, struct raft_io_send *request,
                   const struct raft_message *message, raft_io_send_cb cb)
{
    struct ground *ground = ground_of(io);
    struct sending *sending = must(calloc(1, sizeof *sending));
    int to = (int)message->server_id - 1;
    if (to < 0 || to >= node_count) {
        wrong("node %d sends to %d, whom nobody knows", ground->node->index, to);
    }
    note_vote(ground->node, message);
    tally->images += message->type == RAFT_INSTALL_SNAPSHOT;
    *sending = (struct sending){ground->sendings, request, cb, false};
    ground->sendings = sending;
    net_send(ground->node->index, to, message, has_left, sending);
    return 0;
}

static int io_append(struct raft_io *io, struct raft_io_append *request,
                     const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    return disk_append(disk_of(io), node_of(io), request, entries, n, cb);
}

static int io_truncate(struct raft_io *io, raft_index index)
{
    return disk_truncate(disk_of(io), node_of(io), index);
}

static int io_snapshot_put(struct raft_io *io, unsigned trailing,
                           struct raft_io_snapshot_put *request,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    return disk_put(disk_of(io), node_of(io), trailing, request, snapshot, cb);
}

static int io_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *request,
                           raft_io_snapshot_get_cb cb)
{
    return disk_get(disk_of(io), node_of(io), request, cb);
}

static raft_time io_time(struct raft_io *io)
{
    return ((uint64_t)ground_of(io)->node->boot_us + world_now()) / MS;
}

static int io_random(struct raft_io *io, int min, int max)
{
    (void)io;
    return min + (int)chance((uint64_t)(max - min));
}

/* ---- the ground --------------------------------------------------------------------------------------------------- */

static bool open_ground(struct replica_ground *base, struct raft_io *io, char ret_why[256])
{
    (void)ret_why;
    io->version = 2;
    io->capacity = RESERVED_KIB;
    io->impl = ours(base);
    io->init = io_init;
    io->close = io_close;
    io->load = io_load;
    io->start = io_start;
    io->bootstrap = io_bootstrap;
    io->recover = io_recover;
    io->set_term = io_set_term;
    io->set_vote = io_set_vote;
    io->send = io_send;
    io->append = io_append;
    io->truncate = io_truncate;
    io->snapshot_put = io_snapshot_put;
    io->snapshot_get = io_snapshot_get;
    io->time = io_time;
    io->random = io_random;
    return true;
}

static void discard(struct replica_ground *base)
{
    free(ours(base));
}

static void begin(struct replica_ground *base, struct replica *replica)
{
    struct ground *ground = ours(base);
    ground->replica = replica;
    ground->begun = true;
    ground->node->ground = ground;
}

static uint64_t now(struct replica_ground *base)
{
    return ((uint64_t)ours(base)->node->boot_us + world_now()) / MS;
}

static void work_over(void *context)
{
    struct replica_work *work = context;
    work->over(work);
}

static void work_run(void *context)
{
    struct replica_work *work = context;
    work->run(work);
    later(chance_between(100, chance_of(10) ? 500 * MS : 10 * MS), world_here(), work_over, work);
}

static bool queue(struct replica_ground *base, struct replica_work *work)
{
    later(chance_between(100, 20 * MS), ours(base)->node->index, work_run, work);
    return true;
}

/* What is sent here is on its way at once. */
static bool unsent(struct replica_ground *base, uint64_t node, size_t *ret)
{
    (void)base;
    (void)node;
    *ret = 0;
    return true;
}

static void on_gone(void *context)
{
    struct ground *ground = context;
    ground->gone(ground->replica);
}

static void close_ground(struct replica_ground *base, void (*gone)(struct replica *replica),
                         struct replica *replica)
{
    struct ground *ground = ours(base);
    ground->closed = true;
    ground->replica = replica;
    ground->gone = gone;
    ground->node->ground = NULL;
    later(0, ground->node->index, on_gone, ground);
}

/* The engine calls back for what it has carried out when its disk and network ask it to; libraft's own do before and
   after they wait. In no header of its. */
void LegacyFireCompletedRequests(struct raft *raft);

static void fire(struct ground *ground)
{
    if (ground->started) {
        LegacyFireCompletedRequests(ground->io->data);
    }
}

void node_turn(struct node *node)
{
    struct ground *ground = node->ground;
    if (ground != NULL && ground->begun && !ground->closed) {
        fire(ground);
        replica_turn(ground->replica);
        fire(ground);
        oracle_looks(node->index, node_replica(node->index));
    }
}

void ground_receive(struct node *node, struct raft_message *message)
{
    struct ground *ground = node->ground;
    if (ground != NULL && ground->started) {
        ground->recv(ground->io, message);
    }
}

void ground_forget(struct node *node)
{
    node->ground = NULL;
}

/* ---- the machine, looked at ----------------------------------------------------------------------------------------- */

static bool on_apply(void *context, struct text entry, uint64_t index, uint64_t term,
                     void *proposal, bool later)
{
    struct ground *ground = context;
    int node = ground->node->index;
    oracle_entry(node, entry, index, term);
    if (!ground->machine.apply(ground->machine.context, entry, index, term, proposal, later)) {
        oracle_applied(node); /* it is back at what it had stored */
        return false;
    }
    if (later) {
        oracle_took(node, index);
    } else {
        oracle_applied(node);
    }
    return true;
}

static bool on_settle(void *context)
{
    struct ground *ground = context;
    bool stored = ground->machine.settle(ground->machine.context);
    oracle_applied(ground->node->index);
    return stored;
}

static void on_applied(void *context, uint64_t *ret_index, uint64_t *ret_term)
{
    struct ground *ground = context;
    ground->machine.applied(ground->machine.context, ret_index, ret_term);
}

static bool on_sync(void *context)
{
    struct ground *ground = context;
    return ground->machine.sync(ground->machine.context);
}

static bool on_image(void *context, void **ret_bytes, size_t *ret_count)
{
    struct ground *ground = context;
    bool made = ground->machine.image(ground->machine.context, ret_bytes, ret_count);
    oracle_imaged(ground->node->index);
    return made;
}

static bool on_install(void *context, struct text image)
{
    struct ground *ground = context;
    bool installed = ground->machine.install(ground->machine.context, image);
    trace("%d %s an image", ground->node->index, installed ? "installed" : "could not install");
    if (installed) {
        oracle_applied(ground->node->index);
    }
    return installed;
}

unsigned ground_log_entries;

bool replica_open(struct uv_loop_s *loop, struct transport *transport,
                  const struct replica_config *config, struct replica **ret, char ret_why[256])
{
    static const struct replica_ground_calls CALLS = {.open = open_ground,
                                                      .discard = discard,
                                                      .begin = begin,
                                                      .now = now,
                                                      .queue = queue,
                                                      .unsent = unsent,
                                                      .close = close_ground};
    struct replica_config looked_at = *config;
    struct ground *ground = must(calloc(1, sizeof *ground));
    (void)transport;
    ground->base.calls = &CALLS;
    ground->node = ((uv_loop_t *)loop)->data;
    ground->machine = config->machine;
    looked_at.machine = (struct replica_machine){
        ground,   on_apply,  config->machine.settle != NULL ? on_settle : NULL, on_applied, on_sync,
        on_image, on_install};
    looked_at.log_entries = ground_log_entries;
    return replica_open_on(&ground->base, &looked_at, ret, ret_why);
}
