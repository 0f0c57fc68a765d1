/*
 * A small cluster in one process: nodes with a transport each and a replica of every group, on one loop. Their machines
 * are ledgers, which remember every entry, so that after whatever happened it can be said who has applied what.
 */
#ifndef RINGHOLD_TESTS_CLUSTER_HERD_H
#define RINGHOLD_TESTS_CLUSTER_HERD_H

#include "service/cluster/member_log.h"
#include "service/cluster/replica.h"
#include "tests/cluster/stage.h"

#include <pthread.h>
#include <semaphore.h>

enum { HERD_NODES_MAX = 5, HERD_GROUPS_MAX = 17, LEDGER_ENTRIES_MAX = 20000, NOBODY = -1 };

/* What a ledger has applied. The whole of it is its image. */
struct ledger_state {
    uint64_t index, term; /* of the last entry */
    uint32_t count;
    uint32_t sums[LEDGER_ENTRIES_MAX]; /* of the entries, in order */
};

struct ledger {
    pthread_mutex_t mu;
    struct ledger_state live, stored, durable; /* guarded by mu: applied, and how far for good */
    bool refuse;                               /* to apply: a disk that is full */
    bool refuse_image;
    sem_t *sync_waits; /* sync waits here first; NULL: it does not */
    int stores, syncs, images, installs;
};

struct herd_node {
    uint64_t id;
    bool up;
    struct transport *transport;
    struct member_log *log;
    struct replica *replica[HERD_GROUPS_MAX];
    struct ledger *ledger[HERD_GROUPS_MAX];
    int changes;                        /* hooks.changed calls */
    char stopped[HERD_GROUPS_MAX][256]; /* what hooks.stopped said; empty: it did not */
};

struct herd {
    struct stage stage;
    char dir[64];
    int nodes, founders, groups;
    size_t log_bytes;
    unsigned log_entries;
    struct herd_node node[HERD_NODES_MAX];
};

/* `founders` of the nodes make up every group; all nodes are started. */
void herd_open(struct herd *herd, int nodes, int founders, int groups);
/* The same, nothing started, so that limits can be set first. */
void herd_make(struct herd *herd, int nodes, int founders, int groups);
void herd_close(struct herd *herd);

void herd_start(struct herd *herd, int node);
/* Stops a node; the others see its connections break. Its ledgers go back to what they had made durable. */
void herd_kill(struct herd *herd, int node);
/* Opens one replica again after it stopped; herd_start's part. */
bool herd_open_replica(struct herd *herd, int node, int group, char ret_why[256]);
void herd_close_replica(struct herd *herd, int node, int group);

/* The node that leads and is ready, NOBODY while there is none. */
int herd_leader(struct herd *herd, int group);
/* Waits for one. */
int herd_await_leader(struct herd *herd, int group);

/* Proposes, and waits for the outcome. */
enum replica_outcome herd_propose(struct herd *herd, int node, int group, struct text entry);
/* To whoever leads, until it is committed; refusals are tried again. */
void herd_commit(struct herd *herd, int group, const char *entry);
void herd_commit_text(struct herd *herd, int group, struct text entry);
/* As many, "prefix 0", "prefix 1" and so on. */
void herd_commit_many(struct herd *herd, int group, const char *prefix, int count);
enum replica_changed herd_change(struct herd *herd, int group, enum replica_change change,
                                 int node);

struct replica_machine ledger_machine(struct ledger *ledger);
uint32_t ledger_sum(const char *entry);
bool ledger_has(struct ledger *ledger, const char *entry);
uint32_t ledger_count(struct ledger *ledger);
/* Waits until all nodes that are up have applied equally much, and checks that it is the same. */
void herd_await_agreement(struct herd *herd, int group);

#endif
