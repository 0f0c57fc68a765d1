/*
 * The numbers of the process, for GET /metrics (Prometheus text format 0.0.4). Counting is cheap and may be done from
 * any thread: relaxed atomics, in shards, so that the threads that serve HTTP do not fight over a cache line.
 */
#ifndef RINGHOLD_SERVICE_METRICS_H
#define RINGHOLD_SERVICE_METRICS_H

#include "db/txn.h"
#include "handlers/route.h"

/* A request was answered, `microseconds` after its head had arrived (parked time included). `route` is one of
   all_routes, or NULL where the request matched none or was refused before it was matched. */
void metrics_request(const struct route *route, int http_status, int64_t microseconds);

/* The committer ended a batch: how many commands it held, how long they took to apply, and how long the COMMIT with its
   fsync took. Failed: nothing of it was committed. */
void metrics_batch(size_t commands, int64_t apply_us, int64_t commit_us, bool failed);

/* What the process knows at the moment it is asked. */
struct metrics_gauges {
    int64_t started_at_ms; /* wall time */
    int64_t connections;
    int64_t parked;
    int64_t queued; /* commands that wait for the committer */
    int64_t database_bytes;
    int64_t wal_bytes;
    bool ready;
    bool storage_ok;
    struct counters counters;
};

/* The page, in the arena; absent when memory ran out. */
struct text metrics_text(struct arena *arena, const struct metrics_gauges *gauges);

#endif
