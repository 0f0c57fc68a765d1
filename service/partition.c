#include "service/partition.h"

#include "handlers/ring.h"

#include <stdio.h>
#include <sys/stat.h>

bool partition_open(struct partition *partition, int64_t id, const char *database,
                    struct partition_options options, char ret_why[256])
{
    char because[256];
    *partition = (struct partition){.id = id};
    snprintf(partition->database, sizeof partition->database, "%s", database);
    if (machine_open(database, options.durable, options.check_integrity, options.seed,
                     &partition->machine, because) != STATUS_OK ||
        reader_open(database, NULL, &partition->maintenance, because) != STATUS_OK) {
        snprintf(ret_why, 256, "%s", because);
        return false;
    }
    struct counters counters = machine_counters(partition->machine);
    clock_start(&partition->clock, counters.wall_ms, counters.lease_ms);
    return true;
}

enum status partition_start(struct partition *partition, struct committer_hooks hooks)
{
    return committer_start(partition->machine, &partition->clock, hooks, &partition->committer);
}

void partition_stop(struct partition *partition)
{
    committer_stop(partition->committer);
}

void partition_close(struct partition *partition)
{
    committer_free(partition->committer);
    reader_close(partition->maintenance);
    machine_close(partition->machine);
}

struct stamp partition_now(struct partition *partition)
{
    return clock_now(&partition->clock);
}

enum status partition_submit(struct partition *partition, struct job *job)
{
    return committer_submit(partition->committer, job);
}

static int64_t file_bytes(const char *database, const char *suffix)
{
    char path[PARTITION_PATH_BYTES + 8];
    struct stat status;
    snprintf(path, sizeof path, "%s%s", database, suffix);
    return stat(path, &status) == 0 ? status.st_size : 0;
}

struct partition_files partition_files(const struct partition *partition)
{
    return (struct partition_files){.database_bytes = file_bytes(partition->database, ""),
                                    .wal_bytes = file_bytes(partition->database, "-wal")};
}

/* ---- all of a process --------------------------------------------------------------------------------------------- */

struct partition *partitions_find(const struct partitions *partitions, struct text routing_key)
{
    int64_t arc =
        text_given(routing_key) ? ring_partition(ring_hash(routing_key), partitions->count) : 0;
    return &partitions->at[arc];
}

struct counters partitions_counters(const struct partitions *partitions)
{
    struct counters sum = {0};
    for (unsigned i = 0; i < partitions->count; i++) {
        struct counters one = committer_counters(partitions->at[i].committer);
#define COUNTER_AS_SUM(name) sum.name += one.name;
        COUNTER_TABLE(COUNTER_AS_SUM)
#undef COUNTER_AS_SUM
    }
    return sum;
}

bool partitions_storage_ok(const struct partitions *partitions)
{
    bool ok = true;
    for (unsigned i = 0; i < partitions->count; i++) {
        ok &= committer_storage_ok(partitions->at[i].committer);
    }
    return ok;
}

int64_t partitions_queued(const struct partitions *partitions)
{
    int64_t queued = 0;
    for (unsigned i = 0; i < partitions->count; i++) {
        queued += (int64_t)committer_queued(partitions->at[i].committer);
    }
    return queued;
}
