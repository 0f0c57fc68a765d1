/*
 * The file of a member's log: its tables, their format, and the checksums that tell whether the disk gives back what was
 * written. What SQLite checks by itself is the WAL.
 *
 *     entries   key (log_key), term, type, data; sum: of all of these
 *     groups    grp; term, vote; vote_sum: of these
 *                    first, mark_index, mark_term, members_index, members, data; mark_sum: of these
 *
 * A sum is what the SQL function log_sum makes of its arguments, in the order above, the group before what is of a group:
 * XXH3-64 over their types and values. So it is computed where a row is written, and compared where one is read.
 */
#ifndef RINGHOLD_DB_LOG_FILE_H
#define RINGHOLD_DB_LOG_FILE_H

#include "db/sql.h"

#include <assert.h>

enum { LOG_GROUPS_MAX = 1 << 18, LOG_INDEX_BITS = 44 };

/* Entries of a group lie together, in their order. */
static inline int64_t log_key(uint64_t group, uint64_t index)
{
    assert(group < LOG_GROUPS_MAX && index >> LOG_INDEX_BITS == 0);
    return (int64_t)(group << LOG_INDEX_BITS | index);
}

enum log_file {
    LOG_FILE_SOUND,
    LOG_FILE_UNUSABLE, /* it may be usable another time, or by another version */
    LOG_FILE_DAMAGED   /* what was written is not there any more */
};

/* Of a connection that was just opened: makes the tables, or brings those of the format before to this one, in one
   transaction; then reads everything. Unless it is sound, ret_why says what is wrong, without the file's name. */
MUST_CHECK enum log_file log_file_prepare(struct sql *sql, char ret_why[256]);

/* What such a failure of SQLite's says of the file. */
enum log_file log_file_failed(const char *failure);

#endif
