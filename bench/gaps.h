/*
 * How long writes stop when a server dies. Clients, each on a thread and a connection of its own, send one request after
 * the other; one that is not answered well is sent again, to the next server, until it is. What counts is the longest time
 * in which none of them had a good answer, and the longest that one of them waited for its own.
 */
#ifndef RINGHOLD_BENCH_GAPS_H
#define RINGHOLD_BENCH_GAPS_H

#include "bench/engine.h"

struct gaps {
    uint64_t acknowledged;
    uint64_t refused; /* answers that were not good, and connections that broke */
    double longest_gap_ms;
    double longest_wait_ms;
};

/* Runs for the plan's warm-up, which counts for nothing, and measuring. The protocol must have one step.
   False, after a line on stderr, when a client got no good answer for SILENCE_MS_MAX. */
bool gaps_run(const struct plan *plan, struct gaps *ret);

#endif
