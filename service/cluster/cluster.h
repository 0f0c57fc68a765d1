/*
 * This node's part in a cluster: the table it shares with the others, the partitions it holds, and the way to the rest.
 *
 *     group 0 ─► table ─► hosts what it should hold, stops what it should not
 *                    └──► steers the groups it leads towards the table, and reports
 *     leader of group 0: reports + table ─► placement ─► steps ─► group 0
 *
 * Asking is for any thread; all the rest happens on the loop's.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_CLUSTER_H
#define RINGHOLD_SERVICE_CLUSTER_CLUSTER_H

#include "handlers/process.h"
#include "service/config.h"
#include "service/partition.h"

struct cluster;
struct proxy;

enum { CLUSTER_WHY_BYTES = 512, CLUSTER_SEED_BYTES = 32 };

struct cluster_hooks {
    void (*batch_done)(void *context, const struct events *events);
    void (*led)(void *context, bool leads); /* some partition's leadership has come or gone */
    void (*changed)(void *context);         /* the ring has */
    void (*left)(void *context); /* this node was taken out of the cluster: the process is to end */
    void *context;
};

/*
 * Starts this node: founds the cluster, joins it, or takes its place again, as the configuration and the data directory
 * say. `url` is where others reach its HTTP. False, with a sentence for the operator, when it cannot.
 */
MUST_CHECK bool cluster_start(const struct config *config, const char *url, uint64_t node,
                              struct cluster_hooks hooks, struct cluster **ret,
                              char ret_why[CLUSTER_WHY_BYTES]);
/* Whether this node knows the cluster's table, is one of its active members, and has heard of a leader of the table's group
   since it started: so there was a majority. */
bool cluster_ready(struct cluster *cluster);
/* Where the others reach this node, HOST:PORT: for who wants to join. */
const char *cluster_peer(const struct cluster *cluster);
/* Hands leading over to others, within that time. */
void cluster_drain(struct cluster *cluster, int64_t ms_max);
/* Leaves the groups and ends the loop: what was submitted or forwarded is answered, and nobody is known to own anything
   any more. NULL-safe. */
void cluster_stop(struct cluster *cluster);
/* After cluster_stop, when nobody asks any more. NULL-safe. */
void cluster_free(struct cluster *cluster);

/* Where clients and the others reach this node's HTTP. */
const char *cluster_url(const struct cluster *cluster);

struct partitions cluster_partitions(struct cluster *cluster);
struct proxy *cluster_proxy(struct cluster *cluster);
/* The cluster's seed, with which every partition is made. */
const unsigned char *cluster_seed(const struct cluster *cluster);

/* Whom to ask about a partition that is not served here. */
struct cluster_owner {
    char name[NAME_BYTES_MAX + 1];
    char url[MEMBER_ADDRESS_BYTES_MAX + 1];
    bool self; /* it is this node, which is perhaps not ready yet */
    int64_t epoch;
};
/* The best guess. False: nobody is known to lead it now, which an election ends within seconds. */
bool cluster_owner_of(struct cluster *cluster, int64_t partition, struct cluster_owner *ret);
/* Who leads the group that keeps the table. False: nobody is known to. */
bool cluster_table_leader(struct cluster *cluster, struct cluster_owner *ret);
/* Whom else to ask where any replica will do: of those that hold one elsewhere the nth, the leader first. False: there are
   no more. */
bool cluster_holder_of(struct cluster *cluster, int64_t partition, unsigned nth,
                       struct cluster_owner *ret);
/* What an answer 421 said; forgotten when the table or a leader changes. */
void cluster_hint(struct cluster *cluster, int64_t partition, struct text name);

/* What a request that a member forwards carries, so that others believe it: made of the secret. */
struct text cluster_forward_token(const struct cluster *cluster);

/* process.ring */
bool cluster_ring(struct cluster *cluster, struct arena *arena, struct ring_view *ret);
/* process.ring_status */
bool cluster_ring_status(struct cluster *cluster, struct arena *arena, struct ring_status *ret);

#endif
