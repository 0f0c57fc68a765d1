/*
 * The disk of one group as the engine sees it: functions of raft_io that put the group's part into the member's log.
 * Terms and votes are durable when their calls return; all else is told when it is stored, in the order it was asked.
 *
 * Loop's thread.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_REPLICA_DISK_H
#define RINGHOLD_SERVICE_CLUSTER_REPLICA_DISK_H

#include "service/cluster/member_log.h"

#include <raft.h>

struct replica_disk;

/* Fills in load, bootstrap, recover, set_term, set_vote, append, truncate, snapshot_put, snapshot_get; `io` must say by
   its `impl` which disk it is. NULL when memory ran out. */
struct replica_disk *replica_disk_open(struct raft_io *io, struct member_log *log, uint64_t group);
/* Tells what is still asked that it is cancelled, and then calls back; afterwards the disk may be freed. */
void replica_disk_stop(struct replica_disk *disk, void (*stopped)(void *context), void *context);
/* When nothing is asked. NULL-safe. */
void replica_disk_free(struct replica_disk *disk);

#endif
