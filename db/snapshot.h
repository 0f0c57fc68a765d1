/*
 * Copies of a partition's file: taken while the partition is in use, and looked at before they are trusted.
 */
#ifndef RINGHOLD_DB_SNAPSHOT_H
#define RINGHOLD_DB_SNAPSHOT_H

#include "db/status.h"

#include <stdbool.h>
#include <stdint.h>

enum { SNAPSHOT_WHY_BYTES = 256 };

/*
 * Copies the partition at `from` into a new file at `to`: all that was committed when the copy began, in one file
 * without a write-ahead log. Writers of `from` are not held up; it need not be in use either. The copy is not yet
 * synced. On failure STORAGE_UNAVAILABLE, with words for the operator in ret_why, and `to` may be left half made.
 */
MUST_CHECK enum status snapshot_copy(const char *from, const char *to,
                                     char ret_why[SNAPSHOT_WHY_BYTES]);

/* Makes the open database `to` the copy at `from`, in one transaction of `to`. On failure `to` is as it was. */
struct sqlite3;
MUST_CHECK enum status snapshot_copy_into(const char *from, struct sqlite3 *to,
                                          char ret_why[SNAPSHOT_WHY_BYTES]);

/* The clocks and counters of a partition that matter to who replaces it. */
struct snapshot_info {
    int64_t wall_ms;
    int64_t fence;
    int64_t revision;
    int64_t applied_index; /* of the replicated log; 0 in a file older than schema 2 */
    int64_t applied_term;
};

/*
 * Looks at a file: is it a partition that this program can use, and, when `check_integrity`, is it sound. Changes
 * nothing in it, but folds a write-ahead log beside it into it if no other process has it open.
 */
MUST_CHECK enum status snapshot_look(const char *path, bool check_integrity,
                                     struct snapshot_info *ret, char ret_why[SNAPSHOT_WHY_BYTES]);

#endif
