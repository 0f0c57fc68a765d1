#include "service/metrics.h"

#include "handlers/openapi.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- what is counted ---------------------------------------------------------------------------------------------- */

enum {
    SHARDS = 8,
    ROUTES_MAX = 128, /* number 0 is "none" */
    CODES_MAX = 32,
    BOUNDS_MAX = 20
};

typedef _Atomic uint64_t count;

/* Upper bounds of a histogram's buckets; a last one, without bound, follows them. */
struct bounds {
    int64_t at[BOUNDS_MAX];
    size_t count;
    double unit; /* what one of `at` is in the unit shown */
};
static const struct bounds LATENCY = {{100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000,
                                       250000, 500000, 1000000, 2500000, 5000000, 10000000,
                                       30000000, 60000000},
                                      18,
                                      1e-6};
static const struct bounds DISK = {{50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000,
                                    100000, 250000, 500000, 1000000, 5000000},
                                   15,
                                   1e-6};
static const struct bounds COMMANDS = {{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}, 11, 1.0};

struct histogram {
    count buckets[BOUNDS_MAX + 1];
    count sum;
};

/* The statuses that Ringhold answers with; anything else is counted as the first, 0. */
static const short CODES[CODES_MAX] = {0,   200, 201, 202, 204, 304, 400, 404, 405, 408, 409, 410,
                                       412, 413, 414, 415, 417, 421, 422, 429, 431, 500, 503, 505};

/* What one thread, or a few, count. */
struct shard {
    _Alignas(64) count requests[ROUTES_MAX][CODES_MAX];
    struct histogram latency[ROUTES_MAX];
};
static struct shard shards[SHARDS];

static struct {
    struct histogram commands, apply, commit;
    count failed;
} batches;

/* ---- counting ----------------------------------------------------------------------------------------------------- */

static void add(count *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t read_count(const count *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void observe(struct histogram *histogram, const struct bounds *bounds, int64_t value)
{
    size_t bucket = 0;
    while (bucket < bounds->count && value > bounds->at[bucket]) {
        bucket++;
    }
    add(&histogram->buckets[bucket], 1);
    add(&histogram->sum, value > 0 ? (uint64_t)value : 0);
}

/* Each thread keeps to one shard, the next one in turn. */
static struct shard *own_shard(void)
{
    static _Atomic unsigned threads;
    static _Thread_local struct shard *own;
    if (own == NULL) {
        own = &shards[atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % SHARDS];
    }
    return own;
}

/* The route's number: its place in all_routes, from 1. */
static size_t route_number(const struct route *route)
{
    size_t before = 1;
    for (size_t i = 0; route != NULL && i < ROUTE_LISTS; i++) {
        const struct route_list *list = all_routes[i];
        if (list != NULL && route >= list->at && route < list->at + list->count) {
            size_t number = before + (size_t)(route - list->at);
            return number < ROUTES_MAX ? number : 0;
        }
        before += list != NULL ? list->count : 0;
    }
    return 0;
}

static const struct route *route_of_number(size_t number)
{
    size_t before = 1;
    for (size_t i = 0; number > 0 && i < ROUTE_LISTS; i++) {
        const struct route_list *list = all_routes[i];
        if (list != NULL && number < before + list->count) {
            return &list->at[number - before];
        }
        before += list != NULL ? list->count : 0;
    }
    return NULL;
}

static size_t code_number(int http_status)
{
    for (size_t i = 1; i < CODES_MAX; i++) {
        if (CODES[i] == http_status) {
            return i;
        }
    }
    return 0;
}

void metrics_request(const struct route *route, int http_status, int64_t microseconds)
{
    struct shard *shard = own_shard();
    size_t number = route_number(route);
    add(&shard->requests[number][code_number(http_status)], 1);
    observe(&shard->latency[number], &LATENCY, microseconds);
}

void metrics_batch(size_t commands, int64_t apply_us, int64_t commit_us, bool failed)
{
    observe(&batches.commands, &COMMANDS, (int64_t)commands);
    observe(&batches.apply, &DISK, apply_us);
    observe(&batches.commit, &DISK, commit_us);
    add(&batches.failed, failed ? 1 : 0);
}

/* ---- writing the page --------------------------------------------------------------------------------------------- */

/* The page as it grows. Its memory is the arena's; each time it is outgrown it moves to twice the room. */
struct page_out {
    struct arena *arena;
    char *at;
    size_t len, room;
    bool failed;
};

static bool reserve(struct page_out *out, size_t bytes)
{
    if (out->failed || out->room - out->len >= bytes) {
        return !out->failed;
    }
    size_t room = (out->room + bytes) * 2;
    char *at = arena_alloc(out->arena, room);
    if (at == NULL) {
        out->failed = true;
        return false;
    }
    memcpy(at, out->at, out->len);
    out->at = at;
    out->room = room;
    return true;
}

static void __attribute__((format(printf, 2, 3))) print(struct page_out *out, const char *format,
                                                        ...)
{
    enum { LINE_MAX_BYTES = 512 };
    if (!reserve(out, LINE_MAX_BYTES)) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(out->at + out->len, LINE_MAX_BYTES, format, arguments);
    va_end(arguments);
    out->len += len < LINE_MAX_BYTES ? (size_t)len : LINE_MAX_BYTES - 1;
}

static void describe(struct page_out *out, const char *name, const char *type, const char *help)
{
    print(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void number(struct page_out *out, const char *name, const char *type, const char *help,
                   int64_t value)
{
    describe(out, name, type, help);
    print(out, "%s %" PRId64 "\n", name, value);
}

static void gauge(struct page_out *out, const char *name, const char *help, int64_t value)
{
    number(out, name, "gauge", help, value);
}

/* One histogram's lines; `labels` is empty, or `a="b",`. */
static void histogram_lines(struct page_out *out, const char *name, const char *labels,
                            const struct histogram *histogram, const struct bounds *bounds)
{
    uint64_t total = 0;
    for (size_t i = 0; i < bounds->count; i++) {
        total += read_count(&histogram->buckets[i]);
        print(out, "%s_bucket{%sle=\"%g\"} %" PRIu64 "\n", name, labels,
              (double)bounds->at[i] * bounds->unit, total);
    }
    total += read_count(&histogram->buckets[bounds->count]);
    print(out, "%s_bucket{%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, total);
    int kept = (int)strlen(labels) - (labels[0] != '\0'); /* without the comma */
    const char *open = kept > 0 ? "{" : "", *close = kept > 0 ? "}" : "";
    print(out, "%s_sum%s%.*s%s %.9g\n", name, open, kept, labels, close,
          (double)read_count(&histogram->sum) * bounds->unit);
    print(out, "%s_count%s%.*s%s %" PRIu64 "\n", name, open, kept, labels, close, total);
}

static void write_histogram(struct page_out *out, const char *name, const char *help,
                            const struct histogram *histogram, const struct bounds *bounds)
{
    describe(out, name, "histogram", help);
    histogram_lines(out, name, "", histogram, bounds);
}

static void route_labels(size_t number_of, char ret[256])
{
    static const char *const METHODS[] = {"GET", "PUT", "POST", "PATCH", "DELETE", "other"};
    const struct route *route = route_of_number(number_of);
    snprintf(ret, 256, "method=\"%s\",route=\"%s\",operation=\"%s\",",
             route == NULL ? "other" : METHODS[route->method],
             route == NULL ? "none" : route->template, route == NULL ? "none" : route->operation);
}

static uint64_t requests_sum(size_t route, size_t code)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < SHARDS; i++) {
        sum += read_count(&shards[i].requests[route][code]);
    }
    return sum;
}

static void write_request_counts(struct page_out *out)
{
    describe(out, "ringhold_requests_total", "counter",
             "Requests answered, by route and status code.");
    for (size_t route = 0; route < ROUTES_MAX; route++) {
        for (size_t code = 0; code < CODES_MAX; code++) {
            uint64_t requests = requests_sum(route, code);
            if (requests > 0) {
                char labels[256];
                route_labels(route, labels);
                print(out, "ringhold_requests_total{%scode=\"%d\"} %" PRIu64 "\n", labels,
                      CODES[code], requests);
            }
        }
    }
}

/* Adds up the shards; returns how many requests that are. */
static uint64_t latency_sum(size_t route, struct histogram *ret)
{
    uint64_t requests = 0;
    for (size_t i = 0; i < SHARDS; i++) {
        const struct histogram *part = &shards[i].latency[route];
        for (size_t bucket = 0; bucket <= LATENCY.count; bucket++) {
            uint64_t n = read_count(&part->buckets[bucket]);
            add(&ret->buckets[bucket], n);
            requests += n;
        }
        add(&ret->sum, read_count(&part->sum));
    }
    return requests;
}

static void write_latencies(struct page_out *out)
{
    static const char NAME[] = "ringhold_request_duration_seconds";
    describe(out, NAME, "histogram",
             "Time from a request's head to its answer, the time it was parked included.");
    for (size_t route = 0; route < ROUTES_MAX; route++) {
        struct histogram all = {0};
        char labels[256];
        if (latency_sum(route, &all) > 0) {
            route_labels(route, labels);
            histogram_lines(out, NAME, labels, &all, &LATENCY);
        }
    }
}

static void write_batches(struct page_out *out)
{
    write_histogram(out, "ringhold_batch_commands", "Commands committed together.",
                    &batches.commands, &COMMANDS);
    write_histogram(out, "ringhold_apply_seconds", "Time to carry out a batch, without its commit.",
                    &batches.apply, &DISK);
    write_histogram(out, "ringhold_commit_seconds", "Time to commit a batch, its fsync included.",
                    &batches.commit, &DISK);
    number(out, "ringhold_commit_failures_total", "counter", "Batches the storage did not take.",
           (int64_t)read_count(&batches.failed));
}

static void write_messages(struct page_out *out, const struct counters *counters)
{
    describe(out, "ringhold_messages", "gauge", "Messages in all queues, by state.");
    print(out, "ringhold_messages{state=\"ready\"} %" PRId64 "\n", counters->ready);
    print(out, "ringhold_messages{state=\"delayed\"} %" PRId64 "\n", counters->delayed);
    print(out, "ringhold_messages{state=\"leased\"} %" PRId64 "\n", counters->leased);
    print(out, "ringhold_messages{state=\"dead\"} %" PRId64 "\n", counters->dead);
}

static void write_state(struct page_out *out, const struct counters *counters)
{
    gauge(out, "ringhold_sessions", "Sessions that have not ended.", counters->sessions);
    gauge(out, "ringhold_locks", "Locks that are remembered.", counters->locks);
    gauge(out, "ringhold_leases_held", "Leases that hold a lock.", counters->held);
    gauge(out, "ringhold_leases_waiting", "Leases that wait in a line.", counters->waiting);
    gauge(out, "ringhold_queues", "Queues.", counters->queues);
    write_messages(out, counters);
    gauge(out, "ringhold_idempotency_records", "Answers kept for Idempotency-Key.",
          counters->idempotency_records);
    gauge(out, "ringhold_fence", "The last fence given.", counters->fence);
    number(out, "ringhold_expired_total", "counter", "Sessions, leases and messages ended by time.",
           counters->expired);
}

static void write_gauges(struct page_out *out, const struct metrics_gauges *gauges)
{
    gauge(out, "ringhold_ready", "1 when the instance is ready.", gauges->ready);
    gauge(out, "ringhold_storage_ok", "1 when the last commit went through.", gauges->storage_ok);
    gauge(out, "ringhold_connections", "Open connections.", gauges->connections);
    gauge(out, "ringhold_parked_requests", "Requests that wait for something to happen.",
          gauges->parked);
    gauge(out, "ringhold_queued_commands", "Commands that wait for the committer.", gauges->queued);
    gauge(out, "ringhold_database_bytes", "Size of the database file.", gauges->database_bytes);
    gauge(out, "ringhold_wal_bytes", "Size of SQLite's write-ahead log.", gauges->wal_bytes);
}

static int64_t resident_bytes(void)
{
    long long whole = 0, resident = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm == NULL) {
        return 0;
    }
    if (fscanf(statm, "%lld %lld", &whole, &resident) != 2) {
        resident = 0;
    }
    fclose(statm);
    return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

static double cpu_seconds(void)
{
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

/* Under the names that every Prometheus client gives them. */
static void write_process(struct page_out *out, int64_t started_at_ms)
{
    describe(out, "process_start_time_seconds", "gauge", "When the process began, since 1970.");
    print(out, "process_start_time_seconds %.3f\n", (double)started_at_ms / 1000.0);
    gauge(out, "process_resident_memory_bytes", "Memory in RAM.", resident_bytes());
    describe(out, "process_cpu_seconds_total", "counter", "Processor time used.");
    print(out, "process_cpu_seconds_total %.2f\n", cpu_seconds());
    describe(out, "ringhold_build_info", "gauge", "Always 1; the label has the version.");
    print(out, "ringhold_build_info{version=\"%s\"} 1\n", RINGHOLD_VERSION);
}

struct text metrics_text(struct arena *arena, const struct metrics_gauges *gauges)
{
    struct page_out out = {arena, "", 0, 0, false};
    write_gauges(&out, gauges);
    write_state(&out, &gauges->counters);
    write_batches(&out);
    write_request_counts(&out);
    write_latencies(&out);
    write_process(&out, gauges->started_at_ms);
    return out.failed ? TEXT_ABSENT : (struct text){out.at, out.len};
}
