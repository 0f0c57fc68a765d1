#include "tests/cluster/stage.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <time.h>

const unsigned char CLUSTER[PEER_CLUSTER_BYTES] = {1, 2,  3,  4,  5,  6,  7,  8,
                                                   9, 10, 11, 12, 13, 14, 15, 16};

uint64_t stage_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void stage_open(struct stage *stage)
{
    signal(SIGPIPE, SIG_IGN); /* as the server does */
    cr_assert_eq(uv_loop_init(&stage->loop), 0);
}

void stage_turn(struct stage *stage)
{
    uv_run(&stage->loop, UV_RUN_NOWAIT);
}

static void enough(uv_timer_t *timer)
{
    (void)timer;
}

void stage_wait(struct stage *stage)
{
    uv_timer_t timer;
    uv_timer_init(&stage->loop, &timer);
    uv_update_time(&stage->loop);
    uv_timer_start(&timer, enough, 2,
                   2); /* again, or the loop could run it before it waits, and wait on */
    uv_run(&stage->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&stage->loop, UV_RUN_NOWAIT);
}

void stage_close(struct stage *stage)
{
    uint64_t until = stage_now() + PATIENCE_MS;
    while (uv_loop_close(&stage->loop) != 0) {
        cr_assert(stage_now() < until, "something of the loop is still open");
        stage_turn(stage);
    }
}

struct transport *stage_transport(struct stage *stage, uint64_t node, struct text secret,
                                  control_serve *serve, void *context)
{
    char why[256] = "";
    struct transport *transport = NULL;
    struct transport_config config = {
        .node = node, .secret = secret, .address = "127.0.0.1", .serve = serve, .context = context};
    memcpy(config.cluster, CLUSTER, sizeof CLUSTER);
    cr_assert(transport_open(&stage->loop, &config, &transport, why), "%s", why);
    return transport;
}

static void note(void *context)
{
    *(bool *)context = true;
}

void stage_transport_close(struct stage *stage, struct transport *transport)
{
    bool closed = false;
    transport_close(transport, note, &closed);
    AWAIT(stage, closed);
}

void stage_introduce(struct transport *a, uint64_t node_a, struct transport *b, uint64_t node_b)
{
    cr_assert(transport_put_peer(a, node_b, "127.0.0.1", transport_port(b)));
    cr_assert(transport_put_peer(b, node_a, "127.0.0.1", transport_port(a)));
}

static void accepted(struct raft_uv_transport *engine, raft_id id, const char *address,
                     struct uv_stream_s *stream)
{
    struct mute_group *group = engine->data;
    group->from = id;
    snprintf(group->from_name, sizeof group->from_name, "%s", address);
    if (group->arrived != NULL) {
        uv_close((uv_handle_t *)group->arrived, (uv_close_cb)raft_free);
    }
    group->arrived = stream;
}

void mute_open(struct mute_group *group, struct transport *transport, uint64_t node, uint64_t id)
{
    *group = (struct mute_group){.from = 0};
    cr_assert(transport_join_group(transport, id, &group->engine));
    cr_assert_eq(group->engine.init(&group->engine, node, "whatever"), 0);
    group->engine.data = group;
    cr_assert_eq(group->engine.listen(&group->engine, accepted), 0);
}

static void closed(struct raft_uv_transport *engine)
{
    struct mute_group *group = engine->data;
    group->closed = true;
}

void mute_close(struct stage *stage, struct mute_group *group)
{
    group->engine.close(&group->engine, closed);
    AWAIT(stage, group->closed);
    transport_leave_group(&group->engine);
    if (group->arrived != NULL) {
        uv_close((uv_handle_t *)group->arrived, (uv_close_cb)raft_free);
    }
}
