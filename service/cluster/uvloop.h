/*
 * One libuv loop on a thread of its own, which Raft and the proxy share. Other threads hand it functions to run; what
 * runs on it may use the loop itself, and must not block.
 *
 *     uvloop_start ─► posted tasks run in order ─► uvloop_stop: the last tasks, then the closers ─► uvloop_free
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_UVLOOP_H
#define RINGHOLD_SERVICE_CLUSTER_UVLOOP_H

#include "db/status.h"
#include "db/text.h"

#include <uv.h>

/* A function for the loop's thread. Its maker owns it: it must live until `run` is called, and may be freed or posted
   again from then on. */
struct uvloop_task {
    void (*run)(struct uvloop_task *task);
    struct uvloop_task *next;
};

/* Gives up what its owner holds of the loop: starts uv_close on every handle. Called once, on the loop's thread, when
   the loop stops; it may still post tasks. */
struct uvloop_closer {
    void (*close)(struct uvloop_closer *closer);
    struct uvloop_closer *next;
};

struct uvloop;

MUST_CHECK enum status uvloop_start(struct uvloop **ret);
/* Runs what was posted, then the closers, the last registered first, and what they posted; waits for every handle to
   close, then ends the thread. Once, from any thread but the loop's. NULL-safe. */
void uvloop_stop(struct uvloop *loop);
/* After uvloop_stop, when nobody posts any more. NULL-safe. */
void uvloop_free(struct uvloop *loop);

/* Has `task` run on the loop's thread, after all that was posted before it. Any thread. False, and it will not run,
   when the loop has stopped. */
MUST_CHECK bool uvloop_post(struct uvloop *loop, struct uvloop_task *task);
/* Registers a closer, which must live until it is called. On the loop's thread, or on any other before the stop. */
void uvloop_on_stop(struct uvloop *loop, struct uvloop_closer *closer);

/* All that had come for the loop by that time (clock_monotonic_us) has been handled: were the process stopped, or the loop
   wedged, this would stand still. Any thread. */
int64_t uvloop_handled_us(const struct uvloop *loop);

/* For code that runs on the loop's thread. */
uv_loop_t *uvloop_uv(struct uvloop *loop);
bool uvloop_is_here(const struct uvloop *loop);

#endif
