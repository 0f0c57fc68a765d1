/*
 * The engine drives one protocol over many connections in a closed loop: each connection has one request under way and
 * sends the next as soon as the answer is judged good. One thread, one epoll.
 *
 * A run is either for a time, after a warm-up that is not counted, or for a number of cycles. It ends early, and reports
 * nothing, when an answer is not what the protocol expects, a connection breaks, or the server stays silent.
 */
#ifndef RINGHOLD_BENCH_ENGINE_H
#define RINGHOLD_BENCH_ENGINE_H

#include "bench/histogram.h"
#include "bench/protocol.h"

enum { SILENCE_MS_MAX = 20 * 1000, CYCLES_RUN_MS_MAX = 15 * 60 * 1000 };

struct plan {
    const struct protocol *protocol;
    struct workload *workload;
    unsigned connections;
    uint64_t cycles; /* 0: until the time is over */
    unsigned warmup_ms;
    unsigned measure_ms;
};

struct measurement {
    uint64_t cycles;        /* that ended while it was measured */
    uint64_t all_cycles;    /* with those of the warm-up */
    double seconds;         /* that were measured */
    double cpu_seconds;     /* of this process, warm-up and all */
    bool exhausted;         /* it ended because nothing was left to work on */
    struct histogram cycle; /* nanoseconds, first request sent to last answer judged */
    struct histogram steps[STEPS_MAX];
};

/* False, after a line on stderr that says why, when the run is worth nothing. *ret_measurement is large; zeroed here. */
bool engine_run(const struct plan *plan, struct measurement *ret_measurement);

#endif
