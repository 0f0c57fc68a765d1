/* The ground of the program's replicas: the member's log (replica_disk.h) and network (transport.h), on a libuv loop. */
#include "service/cluster/replica_disk.h"
#include "service/cluster/replica_state.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <uv.h>

struct uv_ground {
    struct replica_ground base;
    uv_loop_t *loop;
    struct transport *to; /* the others */
    uint64_t group;
    struct member_log *log;
    struct transport_group *joined;
    struct replica_disk *disk;
    struct raft_io *io;
    raft_io_tick_cb tick;
    raft_io_recv_cb receive;
    raft_io_close_cb io_closed;
    bool started;
    uv_prepare_t prepare; /* before the loop waits, and */
    uv_check_t check;     /* after: turns the replica once in each turn of the loop */
    int handles;
    struct replica *replica;
    void (*gone)(struct replica *replica);
};

static struct uv_ground *ours(struct replica_ground *ground)
{
    return (struct uv_ground *)ground;
}

/* ---- the network -------------------------------------------------------------------------------------------------- */

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

/* All groups tick together, by the transport's timer. */
static int io_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick,
                    raft_io_recv_cb receive)
{
    static const struct transport_calls CALLS = {on_tick, on_message};
    struct uv_ground *ground = ours(replica_of_io(io)->ground);
    ground->io = io;
    ground->tick = tick;
    ground->receive = receive;
    transport_start(ground->joined, msecs, &CALLS, ground);
    ground->started = true;
    return 0;
}

static int io_send(struct raft_io *io, struct raft_io_send *request,
                   const struct raft_message *message, raft_io_send_cb cb)
{
    request->cb = cb;
    return transport_send(ours(replica_of_io(io)->ground)->joined, message, request, cb);
}

static void on_disk_stopped(void *context)
{
    struct uv_ground *ground = context;
    ground->io_closed(ground->io);
}

static void io_close(struct raft_io *io, raft_io_close_cb cb)
{
    struct uv_ground *ground = ours(replica_of_io(io)->ground);
    ground->io = io;
    ground->io_closed = cb;
    ground->started = false;
    transport_stop(ground->joined);
    replica_disk_stop(ground->disk, on_disk_stopped, ground);
}

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
    (void)io, (void)id, (void)address;
    return 0;
}

/* The engine asks for the time before it knows whose it is. */
static raft_time io_time(struct raft_io *io)
{
    const struct replica *replica =
        (const struct replica *)((const char *)io - offsetof(struct replica, io));
    return uv_now(ours(replica->ground)->loop);
}

static int io_random(struct raft_io *io, int min, int max)
{
    unsigned drawn = 0; /* members must not draw the same lots */
    (void)io;
    if (getrandom(&drawn, sizeof drawn, 0) != (ssize_t)sizeof drawn) {
        drawn = (unsigned)uv_hrtime();
    }
    return min + (int)(drawn % (unsigned)(max - min));
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static void note_room(struct uv_ground *ground, struct raft_io *io)
{
    io->capacity = (unsigned short)(member_log_room(ground->log) / 1024);
}

static bool open_ground(struct replica_ground *base, struct raft_io *io, char ret_why[256])
{
    struct uv_ground *ground = ours(base);
    ground->joined = transport_join(ground->to, ground->group);
    ground->disk =
        ground->joined == NULL ? NULL : replica_disk_open(io, ground->log, ground->group);
    if (ground->disk == NULL) {
        snprintf(ret_why, 256, "out of memory, or group %" PRIu64 " is open already",
                 ground->group);
        if (ground->joined != NULL) {
            transport_leave(ground->joined);
        }
        return false;
    }
    io->version = 2;
    io->init = io_init;
    io->start = io_start;
    io->send = io_send;
    io->close = io_close;
    io->time = io_time;
    io->random = io_random;
    note_room(ground, io);
    uv_prepare_init(ground->loop, &ground->prepare);
    uv_check_init(ground->loop, &ground->check);
    ground->prepare.data = ground->check.data = ground;
    return true;
}

static void discard(struct replica_ground *base)
{
    free(ours(base));
}

/* The engine calls back for what it has carried out when its disk and network ask it to. In no header of its. */
void LegacyFireCompletedRequests(struct raft *raft);

static void fire(struct uv_ground *ground)
{
    if (ground->started) {
        note_room(ground, ground->io);
        LegacyFireCompletedRequests(ground->io->data);
    }
}

static void on_prepare(uv_prepare_t *prepare)
{
    fire(prepare->data);
}

static void on_check(uv_check_t *check)
{
    struct uv_ground *ground = check->data;
    fire(ground);
    replica_turn(ground->replica);
}

static void begin(struct replica_ground *base, struct replica *replica)
{
    struct uv_ground *ground = ours(base);
    ground->replica = replica;
    uv_prepare_start(&ground->prepare, on_prepare);
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

static void on_handle_closed(uv_handle_t *handle)
{
    struct uv_ground *ground = handle->data;
    if (--ground->handles > 0) {
        return;
    }
    struct replica *replica = ground->replica;
    void (*gone)(struct replica *) = ground->gone;
    replica_disk_free(ground->disk);
    free(ground);
    gone(replica);
}

static void close_ground(struct replica_ground *base, void (*gone)(struct replica *replica),
                         struct replica *replica)
{
    struct uv_ground *ground = ours(base);
    transport_leave(ground->joined);
    ground->replica = replica;
    ground->gone = gone;
    ground->handles = 2;
    uv_close((uv_handle_t *)&ground->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&ground->check, on_handle_closed);
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
                                 .log = config->log};
    return replica_open_on(&ground->base, config, ret, ret_why);
}
