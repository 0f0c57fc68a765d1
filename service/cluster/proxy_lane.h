/*
 * A lane: one of libcurl's multi handles with the connections it keeps, driven by the loop. libcurl looks through all
 * connections of a multi for each request, so that thousands of waiting ones would slow down every other; the proxy
 * therefore has many lanes of few transfers. The loop's thread alone.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_PROXY_LANE_H
#define RINGHOLD_SERVICE_CLUSTER_PROXY_LANE_H

#include "service/cluster/proxy_transfer.h"

enum { LANE_TRANSFERS_MAX = 256 };

struct lane_owner {
    void (*ended)(void *context, struct transfer_result result); /* the transfer is still there */
    void *context;
};

struct lane;

/* NULL when memory ran out. */
struct lane *lane_open(uv_loop_t *uv, struct lane_owner owner);
/* Closes its kept connections; it must have no transfers. Freed by the loop, soon. */
void lane_close(struct lane *lane);

/* Whether it can take one more. */
bool lane_has_room(const struct lane *lane);
/* As transfer_begin and transfer_end; a lane that has been empty for PROXY_IDLE_SECONDS closes what it has kept. */
const char *lane_begin(struct lane *lane, struct forward *forward, int64_t left_us);
void lane_end(struct lane *lane, struct transfer *transfer);
/* One of its transfers; NULL when it has none. */
struct transfer *lane_any(struct lane *lane);

#endif
