/*
 * A SQLite VFS that breaks. It lies under whatever opens a database afterwards, passes every call on to the VFS that
 * was the default before, and counts those that may fail; a plan says which of them do. So a test can let the disk be
 * full, or give an I/O error, at each single place where that can happen.
 *
 * Process-wide; the plan may be changed while other threads use the files.
 */
#ifndef RINGHOLD_TESTS_FAULTY_VFS_H
#define RINGHOLD_TESTS_FAULTY_VFS_H

#include <stdbool.h>

enum faulty_call {
    FAULTY_WRITE = 1,    /* xWrite: of the database and of the WAL */
    FAULTY_SYNC = 2,     /* xSync */
    FAULTY_TRUNCATE = 4, /* xTruncate */
    FAULTY_READ = 8,     /* xRead */
    FAULTY_SHARED = 16   /* xShmMap: the WAL's index cannot grow */
};

/* Makes the VFS the default one. Once a process; before any database is opened. */
void faulty_install(void);

/*
 * From now on the `first`-th counted call, and `count` calls in all from there, fail with SQLite's `code`. `calls` is
 * the sum of those that count. A failing write of more than one byte leaves its first half behind when `torn`.
 * `count` 0: none fails, they are only counted.
 */
struct faulty_plan {
    unsigned calls;
    long first, count;
    int code;
    bool torn;
};
void faulty_follow(struct faulty_plan plan);
/* Everything works again; the counts stay. */
void faulty_heal(void);
/* In between, what is called neither fails nor counts. */
void faulty_pause(void);
void faulty_go_on(void);

/*
 * Power cuts. From faulty_remember on, it is noted what of each database and WAL that is opened has been synced.
 * faulty_power_cut writes to `to` what a disk may hold of the file at `path` if the power fails now: all that was synced,
 * and of each write and truncation since then either all, or half, or nothing, as `seed` decides. False when the file
 * was not opened since faulty_remember.
 */
void faulty_remember(void);
bool faulty_power_cut(const char *path, const char *to, unsigned seed);

/* Calls counted since the plan was made, and those of them that failed. */
long faulty_calls(void);
long faulty_failures(void);

#endif
