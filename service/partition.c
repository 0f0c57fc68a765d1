#include "service/partition.h"

#include "handlers/ring.h"
#include "service/cluster/hosted.h"

#include <stdio.h>
#include <sys/stat.h>

void partition_make(struct partition *partition, int64_t id, bool clustered)
{
    *partition = (struct partition){.id = id, .clustered = clustered};
    pthread_rwlock_init(&partition->gate, NULL);
    clock_start(&partition->clock, 0, 0);
}

void partition_unmake(struct partition *partition)
{
    pthread_rwlock_destroy(&partition->gate);
}

static void put_machine(struct partition *partition, struct machine *machine)
{
    pthread_rwlock_wrlock(&partition->gate);
    partition->machine = machine;
    partition->generation += machine != NULL;
    pthread_rwlock_unlock(&partition->gate);
}

bool partition_open(struct partition *partition, const char *database,
                    struct partition_options options, char ret_why[256])
{
    struct machine *machine = NULL;
    snprintf(partition->database, sizeof partition->database, "%s", database);
    if (machine_open(database, options.storage, options.check_integrity, options.seed, &machine,
                     ret_why) != STATUS_OK) {
        return false;
    }
    if (reader_open(database, machine, &partition->maintenance, ret_why) != STATUS_OK) {
        machine_close(machine);
        return false;
    }
    struct counters counters = machine_counters(machine);
    clock_start(&partition->clock, counters.wall_ms, counters.lease_ms);
    put_machine(partition, machine);
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

void partition_host(struct partition *partition, struct hosted *hosted)
{
    pthread_rwlock_wrlock(&partition->gate);
    partition->hosted = hosted;
    pthread_rwlock_unlock(&partition->gate);
}

void partition_close(struct partition *partition)
{
    struct machine *machine = partition->machine;
    committer_free(partition->committer);
    partition->committer = NULL;
    put_machine(partition, NULL); /* from here on nobody else looks at what is open */
    reader_close(partition->maintenance);
    partition->maintenance = NULL;
    machine_close(machine);
}

/* ---- using it ----------------------------------------------------------------------------------------------------- */

bool partition_serves(struct partition *partition)
{
    if (!partition->clustered) {
        return true;
    }
    pthread_rwlock_rdlock(&partition->gate);
    bool serves = partition->hosted != NULL && hosted_serves(partition->hosted);
    pthread_rwlock_unlock(&partition->gate);
    return serves;
}

struct stamp partition_now(struct partition *partition)
{
    return clock_now(&partition->clock);
}

static struct partition_copy copy_of(struct hosted *hosted)
{
    struct hosted_copy copy = hosted_copy(hosted);
    int64_t age_us = copy.serves  ? 0
                     : copy.known ? clock_monotonic_us() - copy.as_of_us
                                  : AGE_UNKNOWN;
    return (struct partition_copy){true, copy.votes, age_us, copy.now};
}

struct partition_copy partition_copy(struct partition *partition)
{
    struct partition_copy copy = {.age_us = AGE_UNKNOWN};
    if (!partition->clustered) {
        return (struct partition_copy){true, true, 0, partition_now(partition)};
    }
    pthread_rwlock_rdlock(&partition->gate);
    if (partition->hosted != NULL) {
        copy = copy_of(partition->hosted);
    }
    pthread_rwlock_unlock(&partition->gate);
    return copy;
}

enum status partition_submit(struct partition *partition, struct job *job)
{
    if (!partition->clustered) {
        return committer_submit(partition->committer, job);
    }
    pthread_rwlock_rdlock(&partition->gate);
    enum status status =
        partition->hosted == NULL ? STATUS_NOT_OWNER : hosted_submit(partition->hosted, job);
    pthread_rwlock_unlock(&partition->gate);
    return status;
}

void reader_slot_close(struct reader_slot *slot)
{
    reader_close(slot->reader);
    *slot = (struct reader_slot){NULL, 0};
}

/* The slot's reader, of the machine that is open now; NULL: none is, or it cannot be read. */
static struct reader *reader_locked(struct partition *partition, struct reader_slot *slot)
{
    char why[256];
    if (slot->generation != partition->generation) {
        reader_slot_close(slot);
    }
    if (slot->reader == NULL && partition->machine != NULL &&
        reader_open(partition->database, partition->machine, &slot->reader, why) == STATUS_OK) {
        slot->generation = partition->generation;
    }
    return slot->reader;
}

static void read_locked(struct partition *partition, struct reader_slot *slot,
                        const struct command *command, struct arena *arena, struct result *result)
{
    if (partition->machine == NULL) {
        *result = (struct result){.status = STATUS_NOT_OWNER, .stamp = command->stamp};
        return;
    }
    struct reader *reader = reader_locked(partition, slot);
    if (reader == NULL) {
        *result = (struct result){.status = STATUS_STORAGE_UNAVAILABLE, .stamp = command->stamp};
        return;
    }
    reader_read(reader, command, arena, result);
}

void partition_read(struct partition *partition, struct reader_slot *slot,
                    const struct command *command, struct arena *arena, struct result *result)
{
    if (!partition->clustered) { /* its machine stays as long as anybody reads */
        read_locked(partition, slot, command, arena, result);
        return;
    }
    pthread_rwlock_rdlock(&partition->gate);
    read_locked(partition, slot, command, arena, result);
    pthread_rwlock_unlock(&partition->gate);
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

/* The file keeps the length it once had, and begins anew when all of it has been moved: its length says nothing, but for a
   log that another process left behind. */
static int64_t wal_bytes_in_use(const struct partition *partition)
{
    int64_t pages = machine_wal_pages(partition->machine);
    return pages > 0 ? pages * PAGE_BYTES : partition_files(partition).wal_bytes;
}

void partition_checkpoint(struct partition *partition, int64_t wal_bytes_max)
{
    pthread_rwlock_rdlock(&partition->gate);
    if (partition->machine != NULL && wal_bytes_in_use(partition) > wal_bytes_max) {
        reader_checkpoint(partition->maintenance);
    }
    pthread_rwlock_unlock(&partition->gate);
}

/* ---- all of a process --------------------------------------------------------------------------------------------- */

struct partition *partitions_find(const struct partitions *partitions, struct text routing_key)
{
    int64_t arc =
        text_given(routing_key) ? ring_partition(ring_hash(routing_key), partitions->count) : 0;
    return &partitions->at[arc];
}

unsigned partitions_served(const struct partitions *partitions)
{
    unsigned served = 0;
    for (unsigned i = 0; i < partitions->count; i++) {
        served += partition_serves(&partitions->at[i]);
    }
    return served;
}

struct partition_files partitions_files(const struct partitions *partitions)
{
    struct partition_files sum = {0, 0};
    for (unsigned i = 0; i < partitions->count; i++) {
        struct partition_files one = partition_files(&partitions->at[i]);
        sum.database_bytes += one.database_bytes;
        sum.wal_bytes += one.wal_bytes;
    }
    return sum;
}

static struct counters counters_of(struct partition *partition)
{
    if (!partition->clustered) {
        return committer_counters(partition->committer);
    }
    struct counters counters = {0};
    pthread_rwlock_rdlock(&partition->gate);
    if (partition->hosted != NULL && hosted_leads(partition->hosted)) {
        counters = hosted_counters(partition->hosted);
    }
    pthread_rwlock_unlock(&partition->gate);
    return counters;
}

struct counters partitions_counters(const struct partitions *partitions)
{
    struct counters sum = {0};
    for (unsigned i = 0; i < partitions->count; i++) {
        struct counters one = counters_of(&partitions->at[i]);
#define COUNTER_AS_SUM(name) sum.name += one.name;
        COUNTER_TABLE(COUNTER_AS_SUM)
#undef COUNTER_AS_SUM
    }
    return sum;
}

static bool storage_ok(struct partition *partition)
{
    if (!partition->clustered) {
        return committer_storage_ok(partition->committer);
    }
    pthread_rwlock_rdlock(&partition->gate);
    bool ok = partition->hosted == NULL || hosted_storage_ok(partition->hosted);
    pthread_rwlock_unlock(&partition->gate);
    return ok;
}

bool partitions_storage_ok(const struct partitions *partitions)
{
    bool ok = true;
    for (unsigned i = 0; i < partitions->count; i++) {
        ok &= storage_ok(&partitions->at[i]);
    }
    return ok;
}

static size_t queued_of(struct partition *partition)
{
    if (!partition->clustered) {
        return committer_queued(partition->committer);
    }
    pthread_rwlock_rdlock(&partition->gate);
    size_t queued = partition->hosted == NULL ? 0 : hosted_queued(partition->hosted);
    pthread_rwlock_unlock(&partition->gate);
    return queued;
}

int64_t partitions_queued(const struct partitions *partitions)
{
    int64_t queued = 0;
    for (unsigned i = 0; i < partitions->count; i++) {
        queued += (int64_t)queued_of(&partitions->at[i]);
    }
    return queued;
}
