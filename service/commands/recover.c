#include "service/cluster/identity.h"
#include "service/cluster/recovery.h"
#include "service/commands/commands.h"
#include "service/datadir.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void print_time(int64_t at_ms)
{
    char stamp[32];
    time_t at = (time_t)(at_ms / 1000);
    struct tm utc;
    gmtime_r(&at, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc);
    printf("%s", stamp);
}

static void print_partition(unsigned partition, const struct recovered *recovered, bool done)
{
    if (!recovered->here) {
        printf(
            "Partition %u: nothing of it is here. It begins empty: all that was in it is lost.\n",
            partition);
        return;
    }
    printf("Partition %u: entry %" PRIu64 "%s", partition, recovered->index,
           done ? " is the last" : ", and what its log has behind it");
    if (recovered->wall_ms > 0) {
        printf(done ? ", of " : "; that entry is of ");
        print_time(recovered->wall_ms);
    }
    printf(". What was acknowledged after that is lost.\n");
}

static void print_others(const struct recovery *recovery, uint64_t node, const char *data_dir)
{
    const struct table *table = recovery_table(recovery);
    int place = table_find(table, node);
    printf("%s is of member %s, of %u in its cluster:", data_dir, table->members[place].facts.name,
           table->member_count);
    for (unsigned i = 0; i < table->member_count; i++) {
        printf("%s %s (%s)", i == 0 ? "" : ",", table->members[i].facts.name,
               table->members[i].facts.peer);
    }
    printf(".\n");
}

/* Tells what would be done, or does it. */
static bool each_partition(struct recovery *recovery, bool force, char *why)
{
    bool good = true;
    for (unsigned p = 0; good && p < recovery_table(recovery)->partition_count; p++) {
        struct recovered recovered;
        good = force ? recovery_do(recovery, p, now_ms(), &recovered, why)
                     : recovery_look(recovery, p, &recovered, why);
        if (good) {
            print_partition(p, &recovered, force);
            fflush(stdout);
        }
    }
    return good;
}

static bool recover(const struct config *config, uint64_t node, char *why)
{
    struct recovery *recovery = NULL;
    if (!recovery_open(config->data_dir, node, &recovery, why)) {
        return false;
    }
    print_others(recovery, node, config->data_dir);
    bool good = each_partition(recovery, config->force, why);
    if (good && !config->force) {
        snprintf(why, CLUSTER_WHY_BYTES,
                 "nothing was changed. Recover only when most of the others are lost for good: it "
                 "makes a new cluster of what is here, in which none of them has a part, and what "
                 "only they had is lost. If you are sure, pass --force.");
        good = false;
    } else if (good) {
        good = recovery_finish(recovery, why);
    }
    recovery_close(recovery);
    if (good) {
        printf("%s is the only member of a new cluster now. Start it as before; start none of the "
               "others with the directory that it had, but with an empty one and --join.\n",
               config->data_dir);
    }
    return good;
}

int command_recover(const struct config *config)
{
    struct identity identity;
    struct datadir *datadir = NULL;
    char why[DATADIR_WHY_BYTES];
    if (identity_read(config->data_dir, &identity, why) == IDENTITY_NONE) {
        snprintf(why, sizeof why,
                 "%.300s is no cluster member's data directory; name it with --data",
                 config->data_dir);
        return command_failed(why);
    }
    if (!datadir_open(config->data_dir, &datadir, why)) {
        return command_failed(why);
    }
    bool good = recover(config, strtoull(datadir_node_id(datadir), NULL, 16), why);
    datadir_close(datadir, datadir_was_clean(datadir));
    return good ? EXIT_DONE : command_failed(why);
}
