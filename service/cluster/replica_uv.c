/* The ground of the program's replicas: libraft's own disk and network, on a libuv loop. */
#include "service/cluster/replica_ground.h"
#include "service/cluster/transport.h"

#include "db/limits.h"

#include <inttypes.h>
#include <raft.h>
#include <raft/uv.h>
#include <stdio.h>
#include <stdlib.h>

struct uv_ground {
    struct replica_ground base;
    uv_loop_t *loop;
    struct transport *to; /* the others */
    uint64_t group;
    const char *dir; /* until it is open */
    struct raft_uv_transport transport;
    uv_check_t check; /* turns the replica once in each turn of the loop */
    struct replica *replica;
    void (*gone)(struct replica *replica);
};

static struct uv_ground *ours(struct replica_ground *ground)
{
    return (struct uv_ground *)ground;
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static bool open_ground(struct replica_ground *base, struct raft_io *io, char ret_why[256])
{
    struct uv_ground *ground = ours(base);
    if (!transport_join_group(ground->to, ground->group, &ground->transport)) {
        snprintf(ret_why, 256, "out of memory, or group %" PRIu64 " is open already",
                 ground->group);
        return false;
    }
    int rc = raft_uv_init(io, ground->loop, ground->dir, &ground->transport);
    if (rc != 0) {
        snprintf(ret_why, 256, "cannot use %s for the log of group %" PRIu64 ": %s", ground->dir,
                 ground->group, raft_strerror(rc));
        transport_leave_group(&ground->transport);
        return false;
    }
    raft_uv_set_tracer(io, NULL);
    raft_uv_set_segment_size(io, REPLICA_SEGMENT_BYTES);
    raft_uv_set_disk_retry(io, REPLICA_DISK_RETRY_MS);
    raft_uv_set_connect_retry_delay(io, REPLICA_RECONNECT_MS);
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
    transport_leave_group(&ground->transport);
    ground->replica = replica;
    ground->gone = gone;
    uv_close((uv_handle_t *)&ground->check, on_check_closed);
}

bool replica_open(struct uv_loop_s *loop, struct transport *transport,
                  const struct replica_config *config, struct replica **ret, char ret_why[256])
{
    static const struct replica_ground_calls CALLS = {open_ground, discard, begin,
                                                      now,         queue,   close_ground};
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
