#include "service/cluster/cluster_state.h"
#include "service/log.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void database_of(const struct cluster *cluster, int64_t partition, const char *suffix,
                        char ret[CLUSTER_PATH_BYTES + 64])
{
    snprintf(ret, CLUSTER_PATH_BYTES + 64, "%s/partition-%lld.db%s", cluster->data_dir,
             (long long)partition, suffix);
}

static void log_dir_of(const struct cluster *cluster, int64_t partition,
                       char ret[CLUSTER_PATH_BYTES + 64])
{
    snprintf(ret, CLUSTER_PATH_BYTES + 64, "%s/log-%lld", cluster->data_dir,
             (long long)partition + 1);
}

/* ---- the partition's news ----------------------------------------------------------------------------------------- */

static void on_batch_done(void *context, const struct events *events)
{
    struct seat *seat = context;
    const struct cluster_hooks *hooks = &seat->cluster->hooks;
    hooks->batch_done(hooks->context, events);
}

static void on_leader(void *context, int64_t partition, uint64_t leader)
{
    const struct seat *seat = context;
    routes_led(seat->cluster, partition, leader);
}

static void on_led(void *context, int64_t partition, bool leads)
{
    struct seat *seat = context;
    const struct cluster_hooks *hooks = &seat->cluster->hooks;
    seat->hand_over_us = clock_monotonic_us() + (int64_t)CLUSTER_LED_MS * 1000;
    LOG(LOG_INFO, leads ? "leads" : "leads-no-more", LOG_INT("partition", partition));
    hooks->led(hooks->context, leads);
}

static void on_stopped(void *context, int64_t partition, const char *why)
{
    struct seat *seat = context;
    LOG(LOG_ERROR, "replica-stopped", LOG_INT("partition", partition), LOG_STRING("why", why));
    seat->reopen_us = clock_monotonic_us() + CLUSTER_REOPEN_MS * 1000;
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static void open_seat(struct seat *seat, bool founds)
{
    struct cluster *cluster = seat->cluster;
    int64_t id = seat->partition->id;
    char database[CLUSTER_PATH_BYTES + 64], log_dir[CLUSTER_PATH_BYTES + 64], why[256] = "";
    database_of(cluster, id, "", database);
    log_dir_of(cluster, id, log_dir);
    struct partition_options options = {.durable = false, .seed = cluster->seed};
    struct hosted_hooks hooks = {on_batch_done, on_leader, on_led, on_stopped, seat};
    bool opened = (mkdir(log_dir, 0700) == 0 || errno == EEXIST) &&
                  partition_open(seat->partition, database, options, why);
    if (opened) {
        struct hosted_place place = {.partition = id,
                                     .node = cluster->node,
                                     .database = seat->partition->database,
                                     .log_dir = log_dir,
                                     .machine = seat->partition->machine,
                                     .clock = &seat->partition->clock,
                                     .founds = founds};
        opened = hosted_open(cluster->loop, cluster->transport, &place, hooks, &seat->hosted, why);
        if (!opened) {
            partition_close(seat->partition);
        }
    }
    if (!opened) {
        LOG(LOG_ERROR, "partition-not-opened", LOG_INT("partition", id), LOG_STRING("why", why));
        seat->reopen_us = clock_monotonic_us() + CLUSTER_REOPEN_MS * 1000;
        return;
    }
    seat->reopen_us = 0;
    partition_host(seat->partition, seat->hosted);
}

/* ---- closing ------------------------------------------------------------------------------------------------------ */

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void drop_data(struct seat *seat)
{
    static const char *const SUFFIXES[] = {"", "-wal", "-shm"};
    char path[CLUSTER_PATH_BYTES + 64];
    for (size_t i = 0; i < 3; i++) {
        database_of(seat->cluster, seat->partition->id, SUFFIXES[i], path);
        unlink(path);
    }
    log_dir_of(seat->cluster, seat->partition->id, path);
    nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    LOG(LOG_INFO, "partition-dropped", LOG_INT("partition", seat->partition->id));
}

static void on_closed(void *context)
{
    struct seat *seat = context;
    struct cluster *cluster = seat->cluster;
    partition_close(seat->partition);
    seat->hosted = NULL;
    seat->closing = false;
    if (seat->drops) {
        drop_data(seat);
        seat->drops = false;
    }
    if (cluster->stopping && --cluster->open_parts == 0) {
        cluster->seats_closed(cluster);
    }
}

static void close_seat(struct seat *seat)
{
    seat->closing = true;
    partition_host(seat->partition, NULL);
    hosted_close(seat->hosted, on_closed, seat);
}

void seats_close(struct cluster *cluster, void (*closed)(struct cluster *cluster))
{
    cluster->seats_closed = closed;
    cluster->open_parts = 1; /* ours, until all are asked to close */
    for (unsigned i = 0; i < cluster->partitions.count; i++) {
        struct seat *seat = &cluster->seats[i];
        cluster->open_parts += seat->hosted != NULL;
        if (seat->hosted != NULL && !seat->closing) {
            close_seat(seat);
        }
    }
    if (--cluster->open_parts == 0) {
        closed(cluster);
    }
}

/* ---- as the table says -------------------------------------------------------------------------------------------- */

static void settle(struct cluster *cluster, unsigned i)
{
    struct seat *seat = &cluster->seats[i];
    struct seat_state state = steering_seat_of(&cluster->table.partitions[i], cluster->node);
    state.held = seat->hosted != NULL;
    state.closing = seat->closing;
    state.stopped = seat->reopen_us != 0;
    state.rested = clock_monotonic_us() >= seat->reopen_us;
    enum seat_move move = steering_seat(state);
    switch (move) {
    case SEAT_STAYS:
        return;
    case SEAT_OPENS:
    case SEAT_FOUNDS:
        open_seat(seat, move == SEAT_FOUNDS);
        return;
    case SEAT_CLOSES:
    case SEAT_GOES:
        seat->drops = move == SEAT_GOES;
        close_seat(seat);
        return;
    }
}

void seats_settle(struct cluster *cluster)
{
    for (unsigned i = 0; i < cluster->table.partition_count; i++) {
        settle(cluster, i);
    }
}

bool seats_lead(const struct cluster *cluster)
{
    for (unsigned i = 0; i < cluster->partitions.count; i++) {
        if (cluster->seats[i].hosted != NULL && hosted_leads(cluster->seats[i].hosted)) {
            return true;
        }
    }
    return false;
}
