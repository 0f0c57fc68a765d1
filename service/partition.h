/*
 * A partition as this process has it: its state machine, the committer that owns it, its clocks. An instance alone has
 * one; its ring has one arc.
 *
 *     open: file ─► machine ─► clocks ─► maintenance        start: committer        stop ─► close
 *
 * Opened, started, stopped and closed by one thread; in between, any thread may submit to it and ask it.
 */
#ifndef RINGHOLD_SERVICE_PARTITION_H
#define RINGHOLD_SERVICE_PARTITION_H

#include "service/committer.h"

enum { PARTITION_PATH_BYTES = 1280 };

struct partition {
    int64_t id;
    char database[PARTITION_PATH_BYTES];
    struct machine *machine;
    struct clock clock;
    struct committer *committer; /* once started */
    struct reader *maintenance;  /* for checkpoints and the warm start */
};

struct partition_options {
    bool durable;
    bool check_integrity;      /* the last process to use the file did not stop in order */
    const unsigned char *seed; /* machine_open */
};

/* Opens the partition whose file is `database`. False when it cannot be: ret_why (256 bytes) says why, and what was
   opened is there for partition_close. */
MUST_CHECK bool partition_open(struct partition *partition, int64_t id, const char *database,
                               struct partition_options options, char ret_why[256]);
/* Starts the committer. */
MUST_CHECK enum status partition_start(struct partition *partition, struct committer_hooks hooks);
/* Ends the committer's thread, after what was submitted; what is submitted later is refused. */
void partition_stop(struct partition *partition);
/* After partition_stop, when nobody submits or reads any more. */
void partition_close(struct partition *partition);

/* The partition's clocks. */
struct stamp partition_now(struct partition *partition);
/* committer_submit. */
MUST_CHECK enum status partition_submit(struct partition *partition, struct job *job);

/* Bytes of its file and of the write-ahead log beside it. */
struct partition_files {
    int64_t database_bytes;
    int64_t wal_bytes;
};
struct partition_files partition_files(const struct partition *partition);

/* ---- all of a process --------------------------------------------------------------------------------------------- */

struct partitions {
    struct partition *at;
    unsigned count; /* a power of two: the ring's arcs, in order */
};

/* Whose the routing key is; absent: any one's. Never NULL. */
struct partition *partitions_find(const struct partitions *partitions, struct text routing_key);
/* The sums of their counters. */
struct counters partitions_counters(const struct partitions *partitions);
/* Whether each could store its last batch. */
bool partitions_storage_ok(const struct partitions *partitions);
/* Commands that wait for their batch, in all. */
int64_t partitions_queued(const struct partitions *partitions);

#endif
