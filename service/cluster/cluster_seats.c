#include "service/cluster/cluster_state.h"
#include "service/cluster/member_log.h"
#include "service/log.h"

#include <unistd.h>

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
    LOG(LOG_ERROR, "partition-stopped", LOG_INT("partition", partition), LOG_STRING("why", why));
    seat->reopen_us = clock_monotonic_us() + CLUSTER_REOPEN_MS * 1000;
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static void open_seat(struct seat *seat, bool founds)
{
    struct cluster *cluster = seat->cluster;
    int64_t id = seat->partition->id;
    char database[CLUSTER_FILE_BYTES], why[256] = "";
    cluster_database_path(cluster->data_dir, id, "", database);
    struct partition_options options = {.storage = STORAGE_OWN, .seed = cluster->seed};
    struct hosted_hooks hooks = {on_batch_done, on_leader, on_led, on_stopped, seat};
    bool opened = partition_open(seat->partition, database, options, why);
    if (opened) {
        struct hosted_place place = {.partition = id,
                                     .node = cluster->node,
                                     .database = seat->partition->database,
                                     .log = cluster->log,
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

static void seat_closed(struct seat *seat)
{
    struct cluster *cluster = seat->cluster;
    seat->closing = seat->drops = false;
    if (cluster->stopping && --cluster->open_parts == 0) {
        cluster->seats_closed(cluster);
    }
}

static void on_forgotten(struct log_task *task, bool stored)
{
    static const char *const SUFFIXES[] = {"", "-wal", "-shm"};
    struct seat *seat = (struct seat *)((char *)task - offsetof(struct seat, forgetting));
    char path[CLUSTER_FILE_BYTES];
    for (size_t i = 0; i < 3 && stored; i++) {
        cluster_database_path(seat->cluster->data_dir, seat->partition->id, SUFFIXES[i], path);
        unlink(path);
    }
    LOG(stored ? LOG_INFO : LOG_WARN, stored ? "partition-dropped" : "partition-not-dropped",
        LOG_INT("partition", seat->partition->id));
    seat_closed(seat);
}

/*
 * The log goes first: a log without its state could never be opened again, if the table gave the partition back; a state
 * without a log is a beginning that others add to. On a full disk it is tried again until we stop: then both are left, and
 * belong together.
 */
static void drop_data(struct seat *seat)
{
    struct cluster *cluster = seat->cluster;
    seat->forgetting =
        (struct log_task){.done = on_forgotten, .group = (uint64_t)seat->partition->id + 1};
    member_log_forget(cluster->log, &seat->forgetting);
    if (cluster->stopping) {
        member_log_give_up(cluster->log, &seat->forgetting);
    }
}

static void on_closed(void *context)
{
    struct seat *seat = context;
    partition_close(seat->partition);
    seat->hosted = NULL;
    if (seat->drops) {
        drop_data(seat);
    } else {
        seat_closed(seat);
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
        cluster->open_parts += seat->hosted != NULL || seat->closing;
        if (seat->hosted != NULL && !seat->closing) {
            close_seat(seat);
        } else if (seat->hosted == NULL && seat->closing) {
            member_log_give_up(cluster->log, &seat->forgetting);
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
