/*
 * A partition as this process has it: its state machine, who owns that, its clocks. An instance alone has one, owned by
 * a committer; a member of a cluster has a place for each arc of the ring, and fills those that it holds a replica of
 * (service/cluster/hosted.h), for as long as it does.
 *
 *     alone:     open ─► start a committer ─► … ─► stop ─► close
 *     clustered: open ─► host              ─► … ─► unhost ─► close ─► perhaps open again
 *
 * Opened, started, stopped and closed by one thread; any thread may submit to it, read it and ask it, at any time.
 */
#ifndef RINGHOLD_SERVICE_PARTITION_H
#define RINGHOLD_SERVICE_PARTITION_H

#include "service/committer.h"

#include <pthread.h>

enum { PARTITION_PATH_BYTES = 1280 };

struct hosted;

struct partition {
    int64_t id;
    bool clustered;
    char database[PARTITION_PATH_BYTES];
    struct clock clock;
    pthread_rwlock_t gate;       /* clustered: held by who reads or submits */
    struct machine *machine;     /* guarded by gate; NULL: not open */
    struct committer *committer; /* alone, once started */
    struct hosted *hosted;       /* guarded by gate: clustered, while it is held here */
    struct reader *maintenance;  /* for checkpoints and the warm start */
    uint64_t generation;         /* guarded by gate: of the open machine; 0: there was none yet */
};

/* A thread's own reader of a partition, opened when it is first needed, and anew when the partition was closed and
   opened meanwhile. Zeroed at first. */
struct reader_slot {
    struct reader *reader;
    uint64_t generation;
};

struct partition_options {
    enum storage storage;
    bool check_integrity;      /* the last process to use the file did not stop in order */
    const unsigned char *seed; /* machine_open */
};

/* Makes the place, empty. */
void partition_make(struct partition *partition, int64_t id, bool clustered);
/* Opens the partition whose file is `database`. False when it cannot be: ret_why (256 bytes) says why. */
MUST_CHECK bool partition_open(struct partition *partition, const char *database,
                               struct partition_options options, char ret_why[256]);
/* Alone: starts the committer. */
MUST_CHECK enum status partition_start(struct partition *partition, struct committer_hooks hooks);
/* Alone: ends the committer's thread, after what was submitted; what is submitted later is refused. */
void partition_stop(struct partition *partition);
/* Clustered: from now on what is submitted goes there; NULL: nowhere. */
void partition_host(struct partition *partition, struct hosted *hosted);
/* Closes the machine. Alone after partition_stop, when nobody submits or reads any more; clustered after
   partition_host(NULL), whoever still tries. */
void partition_close(struct partition *partition);
/* What partition_make made. */
void partition_unmake(struct partition *partition);

/* Whether requests can be carried out here: always alone, while its group's leader in a cluster. */
bool partition_serves(struct partition *partition);
/* The partition's clocks, as who serves it goes by them. */
struct stamp partition_now(struct partition *partition);

/* What a read that may be old is answered from here. */
struct partition_copy {
    bool here;  /* the partition is open */
    bool votes; /* it was in step with the partition's other replicas when it last heard of them */
    int64_t age_us; /* so long ago, at most, it held all that the owner's state held; AGE_UNKNOWN */
    struct stamp now; /* the time to read it by */
};
#define AGE_UNKNOWN INT64_MAX
/* Of who serves the partition the age is 0. */
struct partition_copy partition_copy(struct partition *partition);
/* committer_submit or hosted_submit: OK, and done will be called; else it will not. */
MUST_CHECK enum status partition_submit(struct partition *partition, struct job *job);
/* reader_read, on this slot. NOT_OWNER when the partition is not open here. */
void partition_read(struct partition *partition, struct reader_slot *slot,
                    const struct command *command, struct arena *arena, struct result *result);
/* Gives back what the slot holds. */
void reader_slot_close(struct reader_slot *slot);

/* Moves the write-ahead log into the file, beside who writes, when more than this was written to it since it last began
   anew. */
void partition_checkpoint(struct partition *partition, int64_t wal_bytes_max);

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
/* How many of them this instance serves: alone all, of a cluster those that it leads. */
unsigned partitions_served(const struct partitions *partitions);
/* The sums of their files. */
struct partition_files partitions_files(const struct partitions *partitions);
/* The sums of their counters. */
struct counters partitions_counters(const struct partitions *partitions);
/* Whether each could store its last batch. */
bool partitions_storage_ok(const struct partitions *partitions);
/* Commands that wait for their batch, in all. */
int64_t partitions_queued(const struct partitions *partitions);

#endif
