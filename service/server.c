#include "service/server.h"

#include "handlers/openapi.h"
#include "handlers/ring.h"
#include "service/datadir.h"
#include "service/http.h"
#include "service/listen.h"
#include "service/log.h"
#include "service/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    WARM_MS_MAX = 700, /* what is not in memory by then is read by who needs it */
    CHECKPOINT_EVERY_MS = 1000,
    CHECKPOINT_BYTES = 4 * 1024 * 1024, /* a shorter WAL is left alone */
    DRAIN_MS_MAX = 10000, /* how long requests that are not answered yet are waited for */
    DRAIN_LOOK_MS = 5,
};

struct server {
    const struct config *config;
    struct datadir *datadir;
    struct partition partition;
    struct clock clock; /* the process's own: no state has seen it */
    struct engine engine;
    struct http *http;
    int64_t started_at_ms;
    int64_t started_us;
    atomic_bool ready;
    char url[96];
};

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "ringhold: %s: %s\n", what, why);
    return 1;
}

/* ---- what handlers may know of us --------------------------------------------------------------------------------- */

static void on_status(const struct process *process, struct process_status *ret)
{
    struct server *server = process->service;
    *ret = (struct process_status){
        .uptime_ms = (clock_monotonic_us() - server->started_us) / 1000,
        .started_at_ms = server->started_at_ms,
        .connections = http_connections(server->http),
        .parked = (int64_t)parked_count(server->engine.parked),
        .ready = atomic_load(&server->ready),
        .draining = atomic_load(&server->engine.draining),
        .storage_ok = partitions_storage_ok(&server->engine.partitions),
        .partitions = server->engine.partitions.count,
        .counters = partitions_counters(&server->engine.partitions),
    };
}

static struct text on_metrics(const struct process *process, struct arena *arena)
{
    struct server *server = process->service;
    struct process_status status;
    on_status(process, &status);
    struct partition_files files = partition_files(&server->partition);
    struct metrics_gauges gauges = {
        .started_at_ms = server->started_at_ms,
        .connections = status.connections,
        .parked = status.parked,
        .queued = partitions_queued(&server->engine.partitions),
        .database_bytes = files.database_bytes,
        .wal_bytes = files.wal_bytes,
        .ready = status.ready && !status.draining,
        .storage_ok = status.storage_ok,
        .counters = status.counters,
    };
    return metrics_text(arena, &gauges);
}

static void describe(struct server *server)
{
    server->engine.process = (struct process){
        .version = TEXT(RINGHOLD_VERSION),
        .node = text_of(server->config->node),
        .node_id = text_of(datadir_node_id(server->datadir)),
        .url = text_of(server->url),
        .durability = server->config->durable ? TEXT("full") : TEXT("relaxed"),
        .secret = machine_secret(server->partition.machine),
        .ring = ring_alone,
        .status = on_status,
        .metrics = on_metrics,
        .service = server,
    };
}

/* ---- starting ----------------------------------------------------------------------------------------------------- */

static bool open_partition(struct server *server, char why[DATADIR_WHY_BYTES])
{
    unsigned char seed[32];
    char because[256];
    const char *database = datadir_database(server->datadir);
    if (getrandom(seed, sizeof seed, 0) != sizeof seed) {
        snprintf(why, DATADIR_WHY_BYTES, "the kernel gives no random bytes");
        return false;
    }
    struct partition_options options = {.durable = server->config->durable,
                                        .check_integrity = !datadir_was_clean(server->datadir),
                                        .seed = seed};
    bool opened = partition_open(&server->partition, 0, database, options, because);
    if (!opened) {
        snprintf(why, DATADIR_WHY_BYTES, "%s: %s", database, because);
    }
    server->engine.partitions = (struct partitions){&server->partition, 1};
    return opened;
}

static void on_batch_done(void *context, const struct events *events)
{
    struct server *server = context;
    parked_notify(server->engine.parked, events->at, events->count);
    http_flush(server->http);
}

/* Every connection is a file descriptor: as many as the system lets us have. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int http_loops(const struct config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return config->http_threads > 0 ? (int)config->http_threads : cores > 0 ? (int)cores : 1;
}

static bool start_parts(struct server *server, char why[256])
{
    struct engine *engine = &server->engine;
    clock_start(&server->clock, 0, 0);
    engine->clock = &server->clock;
    engine->inflight = inflight_make();
    struct http_config http = {.loops = http_loops(server->config),
                               .connections_max = server->config->max_connections};
    if (!listen_open(server->config->listen.ip, server->config->listen.port, &http.listen_socket,
                     server->url, sizeof server->url, why)) {
        return false;
    }
    describe(server);
    snprintf(why, 256, "out of memory");
    struct committer_hooks hooks = {on_batch_done, server};
    return engine->inflight != NULL &&
           parked_start(&server->clock, (size_t)server->config->max_parked, call_woken,
                        &engine->parked) == STATUS_OK &&
           http_start(engine, &http, &server->http, why) == STATUS_OK &&
           partition_start(&server->partition, hooks) == STATUS_OK && http_open(server->http);
}

/* Reads the file from its front in large pieces, so that what follows, page by page in the order of the indexes, finds it
   in the system's cache. */
static void read_ahead(const struct server *server)
{
    int file = open(datadir_database(server->datadir), O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        readahead(file, 0, (size_t)server->config->warm_bytes);
        close(file);
    }
}

static bool warm_enough(void *context)
{
    const struct server *server = context;
    return clock_monotonic_us() - server->started_us > WARM_MS_MAX * 1000;
}

static bool start(struct server *server, char why[DATADIR_WHY_BYTES])
{
    server->started_us = clock_monotonic_us();
    raise_file_limit();
    if (!datadir_open(server->config->data_dir, &server->datadir, why) ||
        !open_partition(server, why) || !start_parts(server, why)) {
        return false;
    }
    server->started_at_ms = clock_now(&server->clock).now_ms;
    printf("ringhold listening on %s\n", server->url);
    fflush(stdout);
    LOG(LOG_INFO, "listening", LOG_STRING("url", server->url),
        LOG_STRING("version", RINGHOLD_VERSION), LOG_STRING("node", server->config->node));
    read_ahead(server);
    int64_t bytes =
        reader_warm(server->partition.maintenance, server->config->warm_bytes, warm_enough, server);
    atomic_store(&server->ready, true);
    LOG(LOG_INFO, "ready", LOG_INT("warmed_bytes", bytes),
        LOG_INT("took_ms", (clock_monotonic_us() - server->started_us) / 1000));
    return true;
}

/* ---- serving and stopping ----------------------------------------------------------------------------------------- */

static void wait_ms(int64_t ms)
{
    struct timespec span = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&span, NULL);
}

/* Moves the WAL into the database beside the committer, until a signal asks to stop. */
static int serve(struct server *server, const sigset_t *signals)
{
    struct timespec pause = {.tv_sec = CHECKPOINT_EVERY_MS / 1000};
    int got;
    while ((got = sigtimedwait(signals, NULL, &pause)) < 0) {
        if (partition_files(&server->partition).wal_bytes > CHECKPOINT_BYTES) {
            reader_checkpoint(server->partition.maintenance);
        }
    }
    return got;
}

static void drain(struct server *server)
{
    atomic_store(&server->engine.draining, true);
    LOG(LOG_INFO, "draining", LOG_INT("parked", (int64_t)parked_count(server->engine.parked)));
    wait_ms(server->config->drain_ms);
    http_drain(server->http);
    parked_drain(server->engine.parked);
    for (int64_t waited = 0; http_busy(server->http) > 0 && waited < DRAIN_MS_MAX;
         waited += DRAIN_LOOK_MS) {
        wait_ms(DRAIN_LOOK_MS);
    }
}

static void stop(struct server *server, bool clean)
{
    partition_stop(&server->partition);
    http_stop(server->http);
    parked_stop(server->engine.parked);
    partition_close(&server->partition);
    inflight_free(server->engine.inflight);
    datadir_close(server->datadir, clean);
}

int server_run(const struct config *config)
{
    struct server server = {.config = config};
    char why[DATADIR_WHY_BYTES] = "";
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    /* Blocked before any thread is made, so that only serve() sees them. */
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* past a limit of the file size a write fails, and is answered so */
    if (!start(&server, why)) {
        stop(&server, false);
        return fail("cannot start", why);
    }
    int got = serve(&server, &signals);
    drain(&server);
    stop(&server, true);
    LOG(LOG_INFO, "stopped", LOG_STRING("signal", strsignal(got)));
    return 0;
}
