/*
 * The two clocks of an owner (API.md §1). Wall time follows the system's clock but never runs backwards; lease time
 * goes on from where the stored state stopped, by the monotonic clock of this process alone. Any thread may read it.
 */
#ifndef RINGHOLD_SERVICE_CLOCK_H
#define RINGHOLD_SERVICE_CLOCK_H

#include "db/command.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

struct clock {
    _Atomic int64_t wall_ms;         /* the latest wall time given out */
    _Atomic int64_t lease_offset_ms; /* lease time less the monotonic clock */
};

/* Starts both clocks from what the state has seen last; again, when the state has gone on without this owner. */
void clock_start(struct clock *clock, int64_t wall_ms, int64_t lease_ms);
struct stamp clock_now(struct clock *clock);

/* The monotonic clock, for measuring. */
int64_t clock_monotonic_us(void);

/* A condition whose pthread_cond_timedwait goes by the monotonic clock, and a time to wait until: in so many ms. */
void clock_cond_init(pthread_cond_t *cond);
struct timespec clock_monotonic_in(int64_t ms);

#endif
