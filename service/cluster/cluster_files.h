/*
 * Where a member keeps its cluster in the data directory, beside what datadir.h lists:
 *
 *     cluster             who it is in which cluster (identity.h)
 *     place               where this directory was made (identity.h)
 *     left, recovering    marks (identity.h)
 *     table               group 0's state
 *     log.db              the log of all groups (member_log.h), with SQLite's files beside it
 *     partition-N.db      the state of partition N, with SQLite's files beside it
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_CLUSTER_FILES_H
#define RINGHOLD_SERVICE_CLUSTER_CLUSTER_FILES_H

#include <stdint.h>
#include <stdio.h>

enum { CLUSTER_PATH_BYTES = 1280, CLUSTER_FILE_BYTES = CLUSTER_PATH_BYTES + 64 };

static inline void cluster_table_path(const char *data_dir, char ret[CLUSTER_FILE_BYTES])
{
    snprintf(ret, CLUSTER_FILE_BYTES, "%.1279s/table", data_dir);
}

/* `suffix`: of what SQLite keeps beside it; "" for the file itself. */
static inline void cluster_database_path(const char *data_dir, int64_t partition,
                                         const char *suffix, char ret[CLUSTER_FILE_BYTES])
{
    snprintf(ret, CLUSTER_FILE_BYTES, "%.1279s/partition-%lld.db%s", data_dir, (long long)partition,
             suffix);
}

#endif
