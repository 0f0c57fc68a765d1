/* The ground of the program's replicas: libraft's own disk and our network (transport.h), on a libuv loop. */
#include "service/cluster/replica_state.h"

#include <inttypes.h>
#include <raft/uv.h>
#include <stdio.h>
#include <stdlib.h>

struct uv_ground {
    struct replica_ground base;
    uv_loop_t *loop;
    struct transport *to; /* the others */
    uint64_t group;
    const char *dir; /* until it is open */
    struct transport_group *joined;
    struct raft_uv_transport
        mute;             /* the disk's backend brings a network, which has nothing to do */
    struct raft_io inner; /* the backend's functions */
    struct raft_io *io;
    raft_io_tick_cb tick;
    raft_io_recv_cb receive;
    uv_check_t check; /* turns the replica once in each turn of the loop */
    struct replica *replica;
    void (*gone)(struct replica *replica);
};

static struct uv_ground *ours(struct replica_ground *ground)
{
    return (struct uv_ground *)ground;
}

/* ---- the network -------------------------------------------------------------------------------------------------- */

static int mute_init(struct raft_uv_transport *mute, raft_id id, const char *address)
{
    (void)mute, (void)id, (void)address;
    return 0;
}

static int mute_listen(struct raft_uv_transport *mute, raft_uv_accept_cb cb)
{
    (void)mute, (void)cb;
    return 0;
}

static int mute_connect(struct raft_uv_transport *mute, struct raft_uv_connect *request, raft_id id,
                        const char *address, raft_uv_connect_cb cb)
{
    (void)mute, (void)request, (void)id, (void)address, (void)cb;
    return RAFT_NOCONNECTION;
}

static void mute_close(struct raft_uv_transport *mute, raft_uv_transport_close_cb cb)
{
    cb(mute);
}

static void on_tick(void *context)
{
    struct uv_ground *ground = context;
    ground->tick(ground->io);
}

static void on_message(void *context, struct raft_message *message)
{
    struct uv_ground *ground = context;
    ground->receive(ground->io, message);
}

static void no_tick(struct raft_io *io)
{
    (void)io;
}

/* All groups tick together, by the transport's timer; the backend's own goes once in a blue moon. */
static int io_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick,
                    raft_io_recv_cb receive)
{
    static const struct transport_calls CALLS = {on_tick, on_message};
    struct uv_ground *ground = ours(replica_of_io(io)->ground);
    ground->io = io;
    ground->tick = tick;
    ground->receive = receive;
    transport_start(ground->joined, msecs, &CALLS, ground);
    return ground->inner.start(io, INT32_MAX, no_tick, receive);
}

static int io_send(struct raft_io *io, struct raft_io_send *request,
                   const struct raft_message *message, raft_io_send_cb cb)
{
    request->cb = cb;
    return transport_send(ours(replica_of_io(io)->ground)->joined, message, request, cb);
}

static void io_close(struct raft_io *io, raft_io_close_cb cb)
{
    struct uv_ground *ground = ours(replica_of_io(io)->ground);
    transport_stop(ground->joined);
    ground->inner.close(io, cb);
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static bool open_ground(struct replica_ground *base, struct raft_io *io, char ret_why[256])
{
    struct uv_ground *ground = ours(base);
    ground->joined = transport_join(ground->to, ground->group);
    if (ground->joined == NULL) {
        snprintf(ret_why, 256, "out of memory, or group %" PRIu64 " is open already",
                 ground->group);
        return false;
    }
    ground->mute = (struct raft_uv_transport){.version = 1,
                                              .init = mute_init,
                                              .listen = mute_listen,
                                              .connect = mute_connect,
                                              .close = mute_close};
    int rc = raft_uv_init(io, ground->loop, ground->dir, &ground->mute);
    if (rc != 0) {
        snprintf(ret_why, 256, "cannot use %s for the log of group %" PRIu64 ": %s", ground->dir,
                 ground->group, raft_strerror(rc));
        transport_leave(ground->joined);
        return false;
    }
    raft_uv_set_tracer(io, NULL);
    raft_uv_set_segment_size(io, REPLICA_SEGMENT_BYTES);
    raft_uv_set_disk_retry(io, REPLICA_DISK_RETRY_MS);
    ground->inner = *io;
    io->start = io_start;
    io->send = io_send;
    io->close = io_close;
    uv_check_init(ground->loop, &ground->check);
    ground->check.data = ground;
    return true;
}

static void discard(struct replica_ground *base)
{
    free(ours(base));
}

static void on_check(uv_check_t *check)
{
    struct uv_ground *ground = check->data;
    replica_turn(ground->replica);
}

/* Before the engine starts its own check: the last one that starts runs first. */
static void begin(struct replica_ground *base, struct replica *replica)
{
    struct uv_ground *ground = ours(base);
    ground->replica = replica;
    uv_check_start(&ground->check, on_check);
}

static uint64_t now(struct replica_ground *base)
{
    return uv_now(ours(base)->loop);
}

/* ---- works -------------------------------------------------------------------------------------------------------- */

struct uv_work {
    uv_work_t request;
    struct replica_work *work;
};

static void run(uv_work_t *request)
{
    struct uv_work *queued = request->data;
    queued->work->run(queued->work);
}

static void over(uv_work_t *request, int status)
{
    struct uv_work *queued = request->data;
    struct replica_work *work = queued->work;
    (void)status;
    free(queued);
    work->over(work);
}

static bool queue(struct replica_ground *base, struct replica_work *work)
{
    struct uv_work *queued = calloc(1, sizeof *queued);
    if (queued == NULL) {
        return false;
    }
    queued->work = work;
    queued->request.data = queued;
    uv_queue_work(ours(base)->loop, &queued->request, run, over);
    return true;
}

static bool unsent(struct replica_ground *base, uint64_t node, size_t *ret)
{
    return transport_unsent(ours(base)->joined, node, ret);
}

/* ---- closing ------------------------------------------------------------------------------------------------------ */

static void on_check_closed(uv_handle_t *handle)
{
    struct uv_ground *ground = handle->data;
    struct replica *replica = ground->replica;
    void (*gone)(struct replica *) = ground->gone;
    free(ground);
    gone(replica);
}

static void close_ground(struct replica_ground *base, struct raft_io *io,
                         void (*gone)(struct replica *replica), struct replica *replica)
{
    struct uv_ground *ground = ours(base);
    raft_uv_close(io);
    transport_leave(ground->joined);
    ground->replica = replica;
    ground->gone = gone;
    uv_close((uv_handle_t *)&ground->check, on_check_closed);
}

bool replica_open(struct uv_loop_s *loop, struct transport *transport,
                  const struct replica_config *config, struct replica **ret, char ret_why[256])
{
    static const struct replica_ground_calls CALLS = {open_ground, discard, begin,       now,
                                                      queue,       unsent,  close_ground};
    struct uv_ground *ground = calloc(1, sizeof *ground);
    if (ground == NULL) {
        snprintf(ret_why, 256, "out of memory");
        return false;
    }
    *ground = (struct uv_ground){.base = {&CALLS},
                                 .loop = loop,
                                 .to = transport,
                                 .group = config->group,
                                 .dir = config->dir};
    return replica_open_on(&ground->base, config, ret, ret_why);
}
