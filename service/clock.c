#include "service/clock.h"

static int64_t read_us(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_monotonic_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

void clock_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

struct timespec clock_monotonic_in(int64_t ms)
{
    int64_t at_us = clock_monotonic_us() + ms * 1000;
    return (struct timespec){.tv_sec = at_us / 1000000, .tv_nsec = at_us % 1000000 * 1000};
}

void clock_start(struct clock *clock, int64_t wall_ms, int64_t lease_ms)
{
    atomic_store(&clock->wall_ms, wall_ms);
    atomic_store(&clock->lease_offset_ms, lease_ms - clock_monotonic_us() / 1000);
}

struct stamp clock_now(struct clock *clock)
{
    int64_t wall_ms = read_us(CLOCK_REALTIME) / 1000;
    int64_t seen = atomic_load_explicit(&clock->wall_ms, memory_order_relaxed);
    while (wall_ms > seen && !atomic_compare_exchange_weak(&clock->wall_ms, &seen, wall_ms)) {
    }
    int64_t offset_ms = atomic_load_explicit(&clock->lease_offset_ms, memory_order_relaxed);
    return (struct stamp){.now_ms = wall_ms > seen ? wall_ms : seen,
                          .lease_now_ms = offset_ms + clock_monotonic_us() / 1000};
}
