/*
 * A connection, either side:
 *
 *     serving:  READING ─frame─► SERVING ─control_answer─► WRITING ─► READING …
 *     asking:   WRITING ─► READING ─frame─► ended, answered(ACCEPTED)
 *
 * From any of them to ended: the peer hung up, was too slow, sent too much, or we close. A connection that ends while
 * SERVING is kept, without its socket, until the answer comes.
 */
#include "service/cluster/control.h"

#include "db/limits.h"
#include "service/cluster/wire.h"
#include "service/log.h"

#include <raft.h>
#include <stdlib.h>
#include <uv.h>

enum { LENGTH_BYTES = 4 };

enum control_step { CONTROL_READING, CONTROL_SERVING, CONTROL_WRITING };

struct control {
    struct controls *controls; /* NULL once they have closed without this one */
    struct control *next;
    uv_tcp_t *tcp;
    uv_timer_t timer;
    uv_write_t write;
    enum control_step step;
    bool ended;  /* the handles are closing, or closed */
    int handles; /* that are not closed yet */
    bool asking; /* the dialer's side */
    enum peer_verdict verdict;
    struct control_request request;
    control_answered *answered;
    void *context;
    unsigned char length[LENGTH_BYTES];
    char *in, *out; /* bodies; `out` with its length before it */
    size_t in_bytes, got, out_bytes;
};

struct controls {
    uv_loop_t *loop;
    control_serve *serve;
    void *context;
    struct control *first;
    int served; /* connections of the serving side */
    void (*closed)(void *context);
    void *closed_context;
};

struct controls *controls_new(struct uv_loop_s *loop, control_serve *serve, void *context)
{
    struct controls *controls = calloc(1, sizeof *controls);
    if (controls != NULL) {
        controls->loop = loop;
        controls->serve = serve;
        controls->context = context;
    }
    return controls;
}

static void settle(struct controls *controls)
{
    if (controls->closed != NULL && controls->first == NULL) {
        void (*closed)(void *) = controls->closed;
        void *context = controls->closed_context;
        free(controls);
        closed(context);
    }
}

static void free_control(struct control *control)
{
    raft_free(control->tcp);
    free(control->in);
    free(control->out);
    free(control);
}

/* Its handles are closed: no more of it belongs to the loop. */
static void leave(struct control *control)
{
    struct controls *controls = control->controls;
    struct control **at = &controls->first;
    while (*at != control) {
        at = &(*at)->next;
    }
    *at = control->next;
    controls->served -= !control->asking;
    control->controls = NULL;
    if (control->asking) {
        struct text answer = {control->in, control->got};
        bool good = control->verdict == PEER_ACCEPTED;
        control->answered(control->context, control->verdict, good ? answer : TEXT_ABSENT);
    }
    if (control->step != CONTROL_SERVING) {
        free_control(control);
    }
    settle(controls);
}

static void handle_closed(uv_handle_t *handle)
{
    struct control *control = handle->data;
    if (--control->handles == 0) {
        leave(control);
    }
}

static void end(struct control *control, enum peer_verdict verdict)
{
    if (control->ended) {
        return;
    }
    control->ended = true;
    control->verdict = verdict;
    uv_close((uv_handle_t *)control->tcp, handle_closed);
    uv_close((uv_handle_t *)&control->timer, handle_closed);
}

static void too_slow(uv_timer_t *timer)
{
    end(timer->data, PEER_SLOW);
}

/* The room for what comes next: the length, then as much as it said, and not a byte more. */
static void room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    (void)suggested;
    struct control *control = handle->data;
    if (control->got < LENGTH_BYTES) {
        *ret = uv_buf_init((char *)control->length + control->got,
                           (unsigned)(LENGTH_BYTES - control->got));
    } else {
        size_t have = control->got - LENGTH_BYTES;
        *ret = uv_buf_init(control->in + have, (unsigned)(control->in_bytes - have));
    }
}

static void serve(struct control *control)
{
    control->step = CONTROL_SERVING;
    control->request.body = (struct text){control->in, control->in_bytes};
    uv_read_stop((uv_stream_t *)control->tcp);
    uv_timer_stop(&control->timer);
    struct controls *controls = control->controls;
    controls->serve(controls->context, control, &control->request);
}

/* False: the frame's length is not to be had, and the connection has ended. */
static bool take_length(struct control *control)
{
    control->in_bytes = wire_get32(control->length);
    if (control->in_bytes > CONTROL_FRAME_BYTES_MAX) {
        LOG(LOG_WARN, "peer-refused", LOG_STRING("reason", peer_verdict_word(PEER_OVERSIZED)),
            LOG_INT("bytes", (int64_t)control->in_bytes));
        end(control, PEER_OVERSIZED);
        return false;
    }
    control->in = malloc(control->in_bytes + 1);
    if (control->in == NULL) {
        end(control, PEER_OUT_OF_MEMORY);
        return false;
    }
    control->in[control->in_bytes] = '\0';
    return true;
}

static void has_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    (void)buffer;
    struct control *control = stream->data;
    if (count <= 0) {
        if (count < 0) {
            end(control, PEER_HUNG_UP);
        }
        return;
    }
    control->got += (size_t)count;
    if (control->got < LENGTH_BYTES || (control->got == LENGTH_BYTES && !take_length(control)) ||
        control->got < LENGTH_BYTES + control->in_bytes) {
        return;
    }
    if (control->asking) {
        control->got = control->in_bytes;
        end(control, PEER_ACCEPTED);
    } else {
        serve(control);
    }
}

static void start_reading(struct control *control)
{
    free(control->in);
    control->in = NULL;
    control->got = control->in_bytes = 0;
    control->step = CONTROL_READING;
    if (uv_read_start((uv_stream_t *)control->tcp, room, has_read) != 0) {
        end(control, PEER_HUNG_UP);
    }
}

static void has_written(uv_write_t *write, int status)
{
    struct control *control = write->data;
    free(control->out);
    control->out = NULL;
    if (control->ended) {
        return;
    }
    if (status != 0) {
        end(control, PEER_HUNG_UP);
        return;
    }
    uv_timer_start(&control->timer, too_slow, CONTROL_MS, 0);
    start_reading(control);
}

static bool write_frame(struct control *control, struct text body)
{
    if (body.len > CONTROL_FRAME_BYTES_MAX) {
        return false;
    }
    control->out = malloc(LENGTH_BYTES + body.len);
    if (control->out == NULL) {
        return false;
    }
    wire_put32((unsigned char *)control->out, (uint32_t)body.len);
    if (body.len > 0) {
        memcpy(control->out + LENGTH_BYTES, body.at, body.len);
    }
    uv_buf_t buffer = uv_buf_init(control->out, (unsigned)(LENGTH_BYTES + body.len));
    control->step = CONTROL_WRITING;
    control->write.data = control;
    uv_timer_start(&control->timer, too_slow, CONTROL_MS, 0);
    return uv_write(&control->write, (uv_stream_t *)control->tcp, &buffer, 1, has_written) == 0;
}

bool control_answer(struct control *control, struct text answer)
{
    if (control->controls == NULL) { /* nobody is there any longer */
        free_control(control);
        return true;
    }
    if (control->ended) { /* its handles are still closing */
        control->step = CONTROL_READING;
        return true;
    }
    if (write_frame(control, answer)) {
        return true;
    }
    control->step = CONTROL_READING;
    end(control, PEER_OUT_OF_MEMORY);
    return false;
}

/* NULL: memory ran out, and the socket is closed. */
static struct control *control_new(struct controls *controls, struct uv_tcp_s *tcp)
{
    struct control *control = calloc(1, sizeof *control);
    if (control == NULL) {
        uv_close((uv_handle_t *)tcp, (uv_close_cb)raft_free);
        return NULL;
    }
    control->controls = controls;
    control->next = controls->first;
    controls->first = control;
    control->tcp = tcp;
    tcp->data = control;
    uv_timer_init(controls->loop, &control->timer);
    control->timer.data = control;
    control->handles = 2;
    return control;
}

bool controls_serve(struct controls *controls, uint64_t source, struct uv_tcp_s *tcp)
{
    if (controls->serve == NULL || controls->closed != NULL ||
        controls->served == CONTROL_CONNECTIONS_MAX) {
        return false;
    }
    struct control *control = control_new(controls, tcp);
    if (control != NULL) {
        controls->served++;
        control->request.source = source;
        uv_timer_start(&control->timer, too_slow, CONTROL_MS, 0);
        start_reading(control);
    }
    return true;
}

void controls_ask(struct controls *controls, struct uv_tcp_s *tcp, struct text request,
                  control_answered *answered, void *context)
{
    struct control *control = control_new(controls, tcp);
    if (control == NULL) {
        answered(context, PEER_OUT_OF_MEMORY, TEXT_ABSENT);
        return;
    }
    control->asking = true;
    control->answered = answered;
    control->context = context;
    if (!write_frame(control, request)) {
        end(control, PEER_OUT_OF_MEMORY);
    }
}

void controls_close(struct controls *controls, void (*closed)(void *context), void *context)
{
    controls->closed = closed;
    controls->closed_context = context;
    for (struct control *control = controls->first; control != NULL; control = control->next) {
        end(control, PEER_CANCELLED);
    }
    settle(controls);
}
