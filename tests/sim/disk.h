/*
 * A node's disk as the engine sees it: term and vote, the log, the last mark or image of the state. What is asked of it
 * is done in order, each step at its time; a crash leaves what was done, and of what was not, the first few steps.
 */
#ifndef RINGHOLD_TESTS_SIM_DISK_H
#define RINGHOLD_TESTS_SIM_DISK_H

#include <raft.h>

struct disk_op;
struct disk {
    /* what is on it */
    raft_term term;
    raft_id vote;
    struct raft_entry *entries; /* each with memory of its own */
    size_t count, room;
    raft_index first; /* index of entries[0]; of the next entry where there is none */
    struct raft_snapshot *mark;
    /* what is being done */
    struct disk_op *head, **tail;
    bool working;
    /* weather */
    bool full, broken;
    unsigned reserve;    /* steps for which there is room although it is full */
    uint64_t latency_us; /* of a step, at most */
};

/* What the simulation must catch: a disk that lies. */
enum disk_lie { DISK_HONEST, DISK_UNSYNCED, DISK_FORGETS_VOTE, DISK_FORGETS_TERM };
extern enum disk_lie disk_lie;

void disk_make(struct disk *disk);
/* Nothing was ever on it. */
bool disk_is_new(const struct disk *disk);
raft_index disk_last(const struct disk *disk);

/* The engine's calls. What has a callback is done later; `io` is the node's. */
int disk_bootstrap(struct disk *disk, const struct raft_configuration *members);
int disk_load(struct disk *disk, raft_term *term, raft_id *vote, struct raft_snapshot **snapshot,
              raft_index *first, struct raft_entry *entries[], size_t *count);
int disk_set_term(struct disk *disk, raft_term term);
int disk_set_vote(struct disk *disk, raft_id vote);
int disk_append(struct disk *disk, int node, struct raft_io_append *request,
                const struct raft_entry entries[], unsigned count, raft_io_append_cb cb);
int disk_truncate(struct disk *disk, int node, raft_index index);
int disk_put(struct disk *disk, int node, unsigned trailing, struct raft_io_snapshot_put *request,
             const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb);
int disk_get(struct disk *disk, int node, struct raft_io_snapshot_get *request,
             raft_io_snapshot_get_cb cb);

/* The node crashes, or (telling what was asked that it is cancelled) closes its log. */
void disk_stop(struct disk *disk, bool tells);

/* A copy in the engine's memory. */
struct raft_snapshot *snapshot_copy_of(const struct raft_snapshot *snapshot);
void configuration_copy_to(const struct raft_configuration *from, struct raft_configuration *to);

#endif
