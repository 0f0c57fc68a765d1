#include "service/server.h"

#include "handlers/openapi.h"
#include "handlers/ring.h"
#include "service/cluster/cluster.h"
#include "service/datadir.h"
#include "service/http.h"
#include "service/listen.h"
#include "service/log.h"
#include "service/metrics.h"
#include "service/shard_notes.h"
#include "service/shard_watches.h"
#include "service/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    WARM_MS_MAX = 700, /* what is not in memory by then is read by who needs it */
    CHECKPOINT_EVERY_MS = 1000,
    READY_LOOK_MS = 50,                 /* how often is looked whether the supervisor can be told */
    CHECKPOINT_BYTES = 4 * 1024 * 1024, /* a shorter WAL is left alone */
    DRAIN_MS_MAX = 10000, /* how long requests that are not answered yet are waited for */
    ANSWERED_MS_MAX = 1000,
    HAND_OVER_MS_MAX = 3000, /* how long others may take to lead in our place */
    UNASKED_MS = 200,        /* no member has asked for so long: all know that others lead */
    UNASKED_MS_MAX = 2000,
    DRAIN_LOOK_MS = 5,
};

struct server {
    const struct config *config;
    struct datadir *datadir;
    struct partition partition; /* alone */
    struct clock clock;         /* the process's own: no state has seen it */
    struct engine engine;
    struct http *http;
    int64_t started_at_ms;
    int64_t started_us;
    atomic_bool ready;
    atomic_bool hooked; /* there is HTTP to tell of batches */
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
        .ready = atomic_load(&server->ready) &&
                 (server->engine.cluster == NULL || cluster_ready(server->engine.cluster)),
        .draining = atomic_load(&server->engine.draining),
        .storage_ok = partitions_storage_ok(&server->engine.partitions),
        .partitions = partitions_served(&server->engine.partitions),
        .counters = partitions_counters(&server->engine.partitions),
    };
}

static struct text on_metrics(const struct process *process, struct arena *arena)
{
    struct server *server = process->service;
    struct process_status status;
    on_status(process, &status);
    struct partition_files files = partitions_files(&server->engine.partitions);
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

static bool on_ring(const struct process *process, struct arena *arena, struct ring_view *ret)
{
    struct server *server = process->service;
    return cluster_ring(server->engine.cluster, arena, ret);
}

static bool on_ring_status(const struct process *process, struct arena *arena,
                           struct ring_status *ret)
{
    struct server *server = process->service;
    return cluster_ring_status(server->engine.cluster, arena, ret);
}

static void describe(struct server *server)
{
    struct cluster *cluster = server->engine.cluster;
    struct text secret =
        cluster == NULL ? machine_secret(server->partition.machine)
                        : (struct text){(const char *)cluster_seed(cluster), CLUSTER_SEED_BYTES};
    server->engine.process = (struct process){
        .version = TEXT(RINGHOLD_VERSION),
        .node = text_of(server->config->node),
        .node_id = text_of(datadir_node_id(server->datadir)),
        .url = text_of(server->url),
        .durability = server->config->durable ? TEXT("full") : TEXT("relaxed"),
        .partitions = server->engine.partitions.count,
        .secret = secret,
        .ring = cluster == NULL ? ring_alone : on_ring,
        .ring_status = cluster == NULL ? ring_status_alone : on_ring_status,
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
    struct partition_options options = {.storage = server->config->durable ? STORAGE_SYNCED
                                                                           : STORAGE_WRITTEN,
                                        .check_integrity = !datadir_was_clean(server->datadir),
                                        .seed = seed};
    bool opened = partition_open(&server->partition, database, options, because);
    if (!opened) {
        snprintf(why, DATADIR_WHY_BYTES, "%s: %s", database, because);
    }
    return opened;
}

static void on_batch_done(void *context, const struct events *events)
{
    struct server *server = context;
    parked_notify(server->engine.parked, events->at, events->count);
    if (atomic_load(&server->hooked)) {
        if (server->engine.cluster != NULL) {
            shard_watches_notify(server->engine.shard_watches, server->engine.cluster, events->at,
                                 events->count);
        }
        http_flush(server->http);
    }
}

/* Who waits for something of a partition that is served elsewhere now must turn there. */
static void on_led(void *context, bool leads)
{
    struct server *server = context;
    if (!leads) {
        parked_rouse(server->engine.parked);
    }
}

static void on_ring_changed(void *context)
{
    struct server *server = context;
    struct event event = {.kind = EVENT_RING, .name = TEXT_ABSENT};
    parked_notify(server->engine.parked, &event, 1);
}

/* As if by an operator: it drains and ends. */
static void on_left(void *context)
{
    (void)context;
    kill(getpid(), SIGTERM);
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

static bool clustered(const struct config *config)
{
    return config->cluster.peer.ip[0] != '\0';
}

/* A member's own loop has one core to do. */
static int http_loops(const struct config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN) - (clustered(config) ? 1 : 0);
    return config->http_threads > 0 ? (int)config->http_threads : cores > 0 ? (int)cores : 1;
}

static bool start_cluster(struct server *server, char why[DATADIR_WHY_BYTES])
{
    struct cluster_hooks hooks = {on_batch_done, on_led, on_ring_changed, on_left, server};
    char url[CONFIG_URL_BYTES];
    config_url(server->config, server->url, url);
    setenv("UV_THREADPOOL_SIZE", "16", 0); /* syncs and images of many groups at once */
    uint64_t node = strtoull(datadir_node_id(server->datadir), NULL, 16);
    bool started = cluster_start(server->config, url, node, hooks, &server->engine.cluster, why);
    if (started) {
        server->engine.partitions = cluster_partitions(server->engine.cluster);
    }
    return started;
}

static bool start_parts(struct server *server, char why[DATADIR_WHY_BYTES])
{
    struct engine *engine = &server->engine;
    clock_start(&server->clock, 0, 0);
    engine->clock = &server->clock;
    engine->inflight = inflight_make();
    engine->moves = inflight_make();
    engine->shard_notes = shard_notes_make();
    engine->shard_watches = shard_watches_make();
    struct http_config http = {.loops = http_loops(server->config),
                               .connections_max = server->config->max_connections};
    if (!listen_open(server->config->listen.ip, server->config->listen.port, &http.listen_socket,
                     server->url, sizeof server->url, why)) {
        return false;
    }
    snprintf(why, DATADIR_WHY_BYTES, "out of memory");
    if (engine->inflight == NULL || engine->moves == NULL || engine->shard_notes == NULL ||
        engine->shard_watches == NULL ||
        parked_start(&server->clock, (size_t)server->config->max_parked, call_woken,
                     &engine->parked) != STATUS_OK ||
        (clustered(server->config) && !start_cluster(server, why))) {
        return false;
    }
    describe(server);
    if (http_start(engine, &http, &server->http, why) != STATUS_OK) {
        return false;
    }
    atomic_store(&server->hooked, true);
    struct committer_hooks hooks = {on_batch_done, server};
    return (clustered(server->config) || partition_start(&server->partition, hooks) == STATUS_OK) &&
           http_open(server->http);
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

static int64_t warm(struct server *server)
{
    read_ahead(server);
    return reader_warm(server->partition.maintenance, server->config->warm_bytes, warm_enough,
                       server);
}

/* A member's directory serves no instance alone, nor the other way round: each would miss half of the other's state. */
static bool check_place(const struct server *server, char why[DATADIR_WHY_BYTES])
{
    char member[CONFIG_PATH_BYTES + 16];
    snprintf(member, sizeof member, "%s/cluster", server->config->data_dir);
    bool is_member = access(member, F_OK) == 0;
    bool has_state = access(datadir_database(server->datadir), F_OK) == 0;
    if (is_member && !clustered(server->config)) {
        snprintf(why, DATADIR_WHY_BYTES,
                 "The data directory %s is a cluster member's; pass --peer and "
                 "--cluster-secret-file, or another --data.",
                 server->config->data_dir);
        return false;
    }
    if (!is_member && has_state && clustered(server->config)) {
        snprintf(why, DATADIR_WHY_BYTES,
                 "The data directory %s holds the state of an instance alone; a cluster begins "
                 "with an empty one: pass another --data.",
                 server->config->data_dir);
        return false;
    }
    return true;
}

static bool start(struct server *server, char why[DATADIR_WHY_BYTES])
{
    server->started_us = clock_monotonic_us();
    raise_file_limit();
    partition_make(&server->partition, 0, false);
    server->engine.partitions = (struct partitions){&server->partition, 1};
    if (!datadir_open(server->config->data_dir, &server->datadir, why) ||
        !check_place(server, why) || (!clustered(server->config) && !open_partition(server, why)) ||
        !start_parts(server, why)) {
        return false;
    }
    server->started_at_ms = clock_now(&server->clock).now_ms;
    printf("ringhold listening on %s\n", server->url);
    fflush(stdout);
    LOG(LOG_INFO, "listening", LOG_STRING("url", server->url),
        LOG_STRING("version", RINGHOLD_VERSION), LOG_STRING("node", server->config->node));
    int64_t bytes = clustered(server->config) ? 0 : warm(server);
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

/* Whether /readyz says so. */
static bool is_ready(struct server *server)
{
    struct process_status status;
    on_status(&server->engine.process, &status);
    return status.ready && status.storage_ok;
}

/* Moves the WAL into the database beside the committer, until a signal asks to stop. The supervisor is told once it is
   ready: a member may have to wait for the others. */
static int serve(struct server *server, const sigset_t *signals)
{
    struct timespec pause = {.tv_nsec = READY_LOOK_MS * 1000000};
    bool told = false;
    int got;
    do {
        if (!told && is_ready(server)) {
            supervisor_told_ready();
            told = true;
            pause = (struct timespec){.tv_sec = CHECKPOINT_EVERY_MS / 1000};
        }
        for (unsigned i = 0; i < server->engine.partitions.count; i++) {
            partition_checkpoint(&server->engine.partitions.at[i], CHECKPOINT_BYTES);
        }
    } while ((got = sigtimedwait(signals, NULL, &pause)) < 0);
    return got;
}

static void wait_until_answered(struct server *server, int64_t ms_max)
{
    for (int64_t waited = 0; server->http != NULL && http_busy(server->http) > 0 && waited < ms_max;
         waited += DRAIN_LOOK_MS) {
        wait_ms(DRAIN_LOOK_MS);
    }
}

/* Members that ask us yet would lose what they have just sent, when we stop, without knowing what became of it. */
static void wait_until_unasked(struct server *server)
{
    int64_t begun_us = clock_monotonic_us(), now_us = begun_us;
    while (now_us - atomic_load(&server->engine.asked_us) < UNASKED_MS * 1000 &&
           now_us - begun_us < UNASKED_MS_MAX * 1000) {
        wait_ms(DRAIN_LOOK_MS);
        now_us = clock_monotonic_us();
    }
}

static void drain(struct server *server)
{
    atomic_store(&server->engine.draining, true);
    supervisor_told_stopping();
    LOG(LOG_INFO, "draining", LOG_INT("parked", (int64_t)parked_count(server->engine.parked)));
    wait_ms(server->config->drain_ms);
    if (server->engine.cluster != NULL) {
        cluster_drain(server->engine.cluster, HAND_OVER_MS_MAX);
        wait_until_unasked(server);
    }
    http_drain(server->http);
    parked_drain(server->engine.parked);
    wait_until_answered(server, DRAIN_MS_MAX);
}

static void stop(struct server *server, bool clean)
{
    partition_stop(&server->partition);
    cluster_stop(server->engine.cluster);
    wait_until_answered(server, ANSWERED_MS_MAX); /* what the cluster has just given back */
    atomic_store(&server->hooked, false);
    http_stop(server->http);
    parked_stop(server->engine.parked);
    cluster_free(server->engine.cluster);
    partition_close(&server->partition);
    partition_unmake(&server->partition);
    inflight_free(server->engine.inflight);
    inflight_free(server->engine.moves);
    free(server->engine.shard_notes);
    shard_watches_free(server->engine.shard_watches);
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
