#include "tests/cluster/stage.h"

#include "service/cluster/message.h"

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

/* ---- groups ------------------------------------------------------------------------------------------------------- */

static void mute_tick(void *context)
{
    struct mute_group *group = context;
    group->ticks++;
}

static void mute_receive(void *context, struct raft_message *message)
{
    struct mute_group *group = context;
    group->received++;
    group->last = *message;
    snprintf(group->from_name, sizeof group->from_name, "%s", message->server_address);
    group->entries[0] = '\0';
    if (message->type == RAFT_APPEND_ENTRIES) {
        for (unsigned i = 0; i < message->append_entries.n_entries; i++) {
            const struct raft_buffer *data = &message->append_entries.entries[i].buf;
            size_t at = strlen(group->entries);
            snprintf(group->entries + at, sizeof group->entries - at, "%.*s", (int)data->len,
                     (const char *)data->base);
        }
    }
    message_dispose(message);
}

void mute_open(struct mute_group *group, struct transport *transport, uint64_t id)
{
    static const struct transport_calls CALLS = {mute_tick, mute_receive};
    *group = (struct mute_group){.joined = transport_join(transport, id)};
    cr_assert_not_null(group->joined);
    transport_start(group->joined, 20, &CALLS, group);
}

void mute_close(struct mute_group *group)
{
    transport_leave(group->joined);
}

struct raft_message mute_sign(uint64_t to, raft_term term)
{
    struct raft_message message;
    memset(&message, 0, sizeof message);
    message.type = RAFT_APPEND_ENTRIES;
    message.server_id = to;
    message.append_entries.term = term;
    return message;
}

static void note_sent(struct raft_io_send *request, int status)
{
    struct sent_note *note = request->data;
    cr_assert(!note->done, "called back twice");
    note->status = status;
    note->done = true;
}

void mute_send(struct mute_group *from, const struct raft_message *message, struct sent_note *note)
{
    *note = (struct sent_note){.request.data = note};
    cr_assert_eq(transport_send(from->joined, message, &note->request, note_sent), 0);
    cr_assert(!note->done, "called back from within");
}
