#include "service/clock.h"

#include <time.h>

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
