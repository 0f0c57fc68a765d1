/*
 * Parked requests: many connections, each with one long poll of a queue under way, of which none is answered until the
 * caller says so; then one message for each, and the time until the last has it.
 *
 * Between "parked" on stdout and a line on stdin, whoever started this process can look at the server's memory and CPU.
 */
#ifndef RINGHOLD_BENCH_PARK_H
#define RINGHOLD_BENCH_PARK_H

#include "bench/protocol.h"

#include <stdbool.h>

/* False, after a line on stderr that says why, when a request was answered too early, wrongly or not at all. */
bool park_run(const struct workload *workload, unsigned connections, double *ret_wake_seconds);

#endif
