#include "tests/sim/nodes.h"

#include "tests/sim/files.h"
#include "tests/sim/net.h"
#include "tests/sim/oracle.h"

#include <stdio.h>
#include <string.h>

enum { REOPEN_MS = 1000 };

struct node nodes[SIM_NODES_MAX];
int node_count;

static const unsigned char SECRET[32] = "the same for all of the cluster";

static struct node *node_of(void *context)
{
    return context;
}

void nodes_make(int count)
{
    memset(nodes, 0, sizeof nodes);
    node_count = count;
    for (int i = 0; i < count; i++) {
        struct node *node = &nodes[i];
        node->index = i;
        node->id = (uint64_t)i + 1;
        transport_name(node->id, node->name);
        snprintf(node->database, sizeof node->database, "%d/partition.db", i);
        node->boot_us = (int64_t)chance_between(1, 100000) * SECOND;
        node->wall_us = (int64_t)chance_between(0, 600) * SECOND - 300 * SECOND;
        disk_make(&node->disk);
    }
}

/* ---- its seat ----------------------------------------------------------------------------------------------------- */

static void open_seat(void *context);

static void batch_done(void *context, const struct events *events)
{
    (void)context;
    (void)events;
}

static void leader_known(void *context, int64_t partition, uint64_t leader)
{
    (void)context;
    (void)partition;
    (void)leader;
}

static void led(void *context, int64_t partition, bool leads)
{
    struct node *node = context;
    (void)partition;
    trace("%d %s", node->index, leads ? "leads" : "leads no more");
}

static void drop_data(struct node *node)
{
    files_drop(node->index);
    disk_make(&node->disk);
    oracle_dropped(node->index);
    trace("%d dropped its data", node->index);
}

static void on_closed(void *context)
{
    struct node *node = context;
    machine_close(node->machine);
    node->machine = NULL;
    node->hosted = NULL;
    node->closing = false;
    if (!node->seated) {
        drop_data(node);
    } else {
        later(REOPEN_MS * MS, node->index, open_seat, node);
    }
}

static void close_seat(void *context)
{
    struct node *node = context;
    if (node->hosted != NULL && !node->closing) {
        node->closing = true;
        hosted_close(node->hosted, on_closed, node);
    }
}

static void stopped(void *context, int64_t partition, const char *why)
{
    struct node *node = context;
    (void)partition;
    tally->stops++;
    trace("%d stopped: %s", node->index, why);
    later(0, node->index, close_seat, node);
}

static bool open_machine(struct node *node, char why[256])
{
    if (machine_open(node->database, STORAGE_OWN, node->unclean, SECRET, &node->machine, why) !=
        STATUS_OK) {
        return false;
    }
    struct counters counters = machine_counters(node->machine);
    clock_start(&node->clock, counters.wall_ms, counters.lease_ms);
    node->unclean = false;
    oracle_opened(node->index);
    return true;
}

static void open_seat(void *context)
{
    struct node *node = node_of(context);
    char why[256] = "";
    if (!node->seated || node->hosted != NULL) {
        return;
    }
    struct hosted_place place = {.node = node->id,
                                 .database = node->database,
                                 .clock = &node->clock,
                                 .founds = node->founds};
    struct hosted_hooks hooks = {.batch_done = batch_done,
                                 .leader = leader_known,
                                 .led = led,
                                 .stopped = stopped,
                                 .context = node};
    bool opened = open_machine(node, why);
    if (opened) {
        place.machine = node->machine;
        opened = hosted_open(loop_of(node), NULL, &place, hooks, &node->hosted, why);
        if (!opened) {
            machine_close(node->machine);
            node->machine = NULL;
            node->hosted = NULL;
        }
    }
    trace("%d %s %s", node->index, opened ? "opened its replica" : "cannot open its replica:", why);
    if (!opened) {
        later(REOPEN_MS * MS, node->index, open_seat, node);
    } else {
        node->founds = false;
    }
}

/* ---- its life ----------------------------------------------------------------------------------------------------- */

void node_start(int index)
{
    struct node *node = &nodes[index];
    if (!node->up) {
        node->up = true;
        trace("%d starts", index);
        later(0, index, open_seat, node);
    }
}

void node_crash(int index)
{
    struct node *node = &nodes[index];
    if (!node->up) {
        return;
    }
    tally->crashes++;
    trace("%d crashes", index);
    node->life++;
    node->up = false;
    disk_stop(&node->disk, false);
    node->disk.full = node->disk.broken = false;
    files_crash(index);
    net_leave(index);
    ground_forget(node);
    node->machine = NULL;
    node->hosted = NULL;
    node->closing = false;
    node->unclean = true;
    if (!node->seated) {
        drop_data(node);
    }
}

void node_seat(int index, bool seated)
{
    struct node *node = &nodes[index];
    node->seated = seated;
    if (seated && node->up) {
        later(0, index, open_seat, node);
    } else if (node->up && node->hosted != NULL) {
        later(0, index, close_seat, node);
    } else if (!seated) {
        drop_data(node);
    }
}

bool node_leads(int node)
{
    return nodes[node].hosted != NULL && !nodes[node].closing && hosted_leads(nodes[node].hosted);
}

int nodes_leader(void)
{
    for (int i = 0; i < node_count; i++) {
        if (node_leads(i)) {
            return i;
        }
    }
    return NOWHERE;
}

struct replica *node_replica(int node)
{
    bool open = nodes[node].hosted != NULL && !nodes[node].closing;
    return open ? hosted_replica(nodes[node].hosted) : NULL;
}
