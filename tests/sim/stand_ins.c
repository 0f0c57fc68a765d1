/*
 * What the program's code is linked with here in the place of its own: the loop and its timers, the clocks, the log, the
 * numbers for /metrics. Each stands for the function of its name, as its header describes it.
 */
#include "service/log.h"
#include "service/metrics.h"
#include "tests/sim/nodes.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- the loop ----------------------------------------------------------------------------------------------------- */

struct uvloop {
    uv_loop_t uv;
};

struct uvloop *loop_of(struct node *node)
{
    static struct uvloop loops[SIM_NODES_MAX];
    loops[node->index].uv.data = node;
    return &loops[node->index];
}

uv_loop_t *uvloop_uv(struct uvloop *loop)
{
    return &loop->uv;
}

static void run_task(void *context)
{
    struct uvloop_task *task = context;
    task->run(task);
}

/* The world's loop is never behind: a node that is down runs nothing. */
int64_t uvloop_handled_us(const struct uvloop *loop)
{
    (void)loop;
    return clock_monotonic_us();
}

bool uvloop_post(struct uvloop *loop, struct uvloop_task *task)
{
    const struct node *node = loop->uv.data;
    later(0, node->index, run_task, task);
    return true;
}

/* What a timer has of ours: it outlives the timer, for what is still to happen. */
struct alarm {
    uv_timer_t *timer;
    uv_timer_cb cb;
    unsigned set; /* how often */
};
struct ring {
    struct alarm *alarm;
    unsigned set;
};

static struct alarm **alarm_of(uv_timer_t *timer)
{
    return (struct alarm **)&timer->u.reserved[0];
}

int uv_timer_init(uv_loop_t *loop, uv_timer_t *timer)
{
    struct alarm *alarm = calloc(1, sizeof *alarm);
    assert(alarm != NULL);
    timer->loop = loop;
    timer->type = UV_TIMER;
    alarm->timer = timer;
    *alarm_of(timer) = alarm;
    return 0;
}

static void ring(void *context)
{
    struct ring ring = *(struct ring *)context;
    free(context);
    if (ring.set == ring.alarm->set) {
        ring.alarm->cb(ring.alarm->timer);
    }
}

int uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
    struct alarm *alarm = *alarm_of(timer);
    struct ring *next = malloc(sizeof *next);
    const struct node *node = timer->loop->data;
    assert(next != NULL && repeat == 0);
    (void)repeat;
    alarm->cb = cb;
    *next = (struct ring){alarm, ++alarm->set};
    later(timeout * MS, node->index, ring, next);
    return 0;
}

int uv_timer_stop(uv_timer_t *timer)
{
    (*alarm_of(timer))->set++;
    return 0;
}

struct closing {
    uv_handle_t *handle;
    uv_close_cb cb;
};

static void finish_close(void *context)
{
    struct closing closing = *(struct closing *)context;
    free(context);
    closing.cb(closing.handle);
}

void uv_close(uv_handle_t *handle, uv_close_cb cb)
{
    struct closing *closing = malloc(sizeof *closing);
    const struct node *node = handle->loop->data;
    assert(closing != NULL && handle->type == UV_TIMER);
    uv_timer_stop((uv_timer_t *)handle);
    *closing = (struct closing){handle, cb};
    later(0, node->index, finish_close, closing);
}

/* ---- clocks ------------------------------------------------------------------------------------------------------- */

int __wrap_clock_gettime(clockid_t id, struct timespec *ret);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret)
{
    static const int64_t BEGAN_US = INT64_C(1800000000) * SECOND;
    const struct node *node = world_here() == NOWHERE ? NULL : &nodes[world_here()];
    int64_t us = (int64_t)world_now();
    if (id == CLOCK_REALTIME) {
        us += BEGAN_US + (node == NULL ? 0 : node->wall_us);
    } else {
        us += node == NULL ? 0 : node->boot_us;
    }
    *ret = (struct timespec){us / SECOND, us % SECOND * 1000};
    return 0;
}

/* ---- what is told to the operator --------------------------------------------------------------------------------- */

bool log_wants(enum log_level level)
{
    return level <= LOG_INFO;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    char line[200];
    int at = snprintf(line, sizeof line, "%s", event);
    (void)level;
    for (const struct log_field *f = fields; f->type != LOG_FIELD_END; f++) {
        if (at >= (int)sizeof line) {
            break;
        }
        if (f->type == LOG_FIELD_INT) {
            at += snprintf(line + at, sizeof line - (size_t)at, " %s=%" PRId64, f->key, f->number);
        } else if (text_given(f->text)) {
            at += snprintf(line + at, sizeof line - (size_t)at, " %s=%.*s", f->key,
                           (int)f->text.len, f->text.at);
        }
    }
    trace("%d says %s", world_here(), line);
}

void metrics_batch(size_t commands, int64_t apply_us, int64_t commit_us, bool failed)
{
    (void)commands;
    (void)apply_us;
    (void)commit_us;
    (void)failed;
}

void transport_name(uint64_t node, char ret[TRANSPORT_NAME_BYTES])
{
    snprintf(ret, TRANSPORT_NAME_BYTES, "%016" PRIx64, node);
}
