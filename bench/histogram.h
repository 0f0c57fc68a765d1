/*
 * Counts of latencies in buckets that are 1/32 of a power of two wide, so that a quantile is right to about 3 % whatever
 * its size, and recording costs a few instructions.
 */
#ifndef RINGHOLD_BENCH_HISTOGRAM_H
#define RINGHOLD_BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_SUB_BITS = 5,
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS
};

struct histogram {
    uint64_t total;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_record(struct histogram *histogram, uint64_t value);
/* The upper edge of the bucket in which the `quantile` (0 to 1) of what was recorded lies; 0 when nothing was. */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);

#endif
