/*
 * SQLite VFSes that write the WAL of a batch in one piece. SQLite writes each frame with two pwrite calls, a header of
 * 24 bytes and the page; a batch of 64 commands makes some 130 calls of them. All of them follow one another, and
 * nobody reads them before they are synced: so a writer's VFS gathers them in memory and writes them when SQLite asks
 * for the sync, or for anything else that must see them. Measured: see docs/benchmarks.md.
 *
 * Only for a connection with synchronous=FULL, which syncs every commit before it tells readers of it; without that
 * sync, readers would look for frames that are still in memory. All other files go straight to the default VFS, but
 * for a database that no other process may use: there db/shm_locks.h is in between.
 *
 * A store that need not be durable with each commit (its log is, or nobody asked for it) wants the gathering too: for
 * it the sync of a commit writes and does not wait for the disk. What SQLite syncs to keep the file sound is synced
 * there as well: a new WAL's header, and the WAL before a checkpoint. So it promises what synchronous=NORMAL does.
 *
 * A write that fails is told at the sync, where SQLite rolls the transaction back just the same.
 */
#ifndef RINGHOLD_DB_WAL_VFS_H
#define RINGHOLD_DB_WAL_VFS_H

/* How a writer keeps a file. */
enum storage {
    STORAGE_SYNCED,  /* what is committed is on the disk */
    STORAGE_WRITTEN, /* what is committed is with the system, which writes it when it likes */
    STORAGE_OWN /* the same; and no other process may use the file as long as it is open here */
};

/* The VFS for a writer. Registered, on top of the default one, the first time it is asked for. Its name, or NULL when it
   cannot be. */
const char *wal_vfs_name(enum storage storage);
/* The VFS for who only reads, whoever writes. */
const char *wal_vfs_reader_name(void);

#endif
