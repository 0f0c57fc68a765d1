/*
 * Backup and restore of a data directory's state. A backup is one SQLite file, whole and checked; it holds the hashes
 * of session tokens and the key of receipts, so it is made readable by its owner alone.
 *
 * These run in processes of their own (`ringhold backup`, `ringhold restore`), in one thread.
 */
#ifndef RINGHOLD_SERVICE_BACKUP_H
#define RINGHOLD_SERVICE_BACKUP_H

#include "service/datadir.h"

#include <stdint.h>

enum { BACKUP_WHY_BYTES = DATADIR_WHY_BYTES + 512 };

/*
 * Copies the state of the directory into `file`, which is replaced if it is there, in one step. The server may go on
 * serving meanwhile; what it acknowledged before the copy began is in it. False when it could not: ret_why says why,
 * and `file` is as it was.
 */
MUST_CHECK bool backup_make(const char *data_dir, const char *file, char ret_why[BACKUP_WHY_BYTES]);

/*
 * How far fences and versions must go up where a state goes on that was last sure of them at `wall_ms`: at least
 * RESTORE_FENCE_STEP, and 128 for each millisecond since, which no partition gives out faster.
 */
int64_t backup_fence_step(int64_t now_ms, int64_t wall_ms);

struct backup_restored {
    char kept
        [DATADIR_PATH_BYTES]; /* where the state that was replaced is now; empty: there was none */
    int64_t fence;            /* the next fence will be greater than this one */
};

/*
 * Puts the state of `file` in the place of the directory's, which is kept beside it. Refused while a process uses the
 * directory. Fences and versions are stepped past all that may have been handed out since the backup was taken.
 * `now_ms` is the wall time. False when it could not: the directory's state is then as it was.
 */
MUST_CHECK bool backup_restore(const char *data_dir, const char *file, int64_t now_ms,
                               struct backup_restored *ret, char ret_why[BACKUP_WHY_BYTES]);

#endif
