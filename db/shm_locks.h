/*
 * The locks of a WAL's index, kept in the memory of this process. SQLite takes and gives back six of them for one
 * transaction that writes, each a call of fcntl: for a batch of two commands that is a quarter of its time. Where no
 * other process may use the file they are not needed: the connections of this one can see each other's locks themselves.
 *
 *     the owner opens the file   it takes all eight locks from the system, for as long as it has the file open: another
 *                                process that tries is told that the file is locked
 *     others open it after that  their locks, and the owner's, are in memory
 *     it cannot take all of them another process is at it: everybody's locks are the system's, as without all this
 *
 * Who shares the file is known by where its index is mapped, which is one place in a process. The locks mean what they
 * mean to SQLite's unix VFS, for connections of one process.
 *
 * The owner is the last to use the file: connections that are still open when it has closed must only be closed.
 *
 * Any thread; each connection is used by one at a time.
 */
#ifndef RINGHOLD_DB_SHM_LOCKS_H
#define RINGHOLD_DB_SHM_LOCKS_H

#include <stdbool.h>
#include <stddef.h>

struct sqlite3_file;
struct sqlite3_vfs;

/* What a file of ours takes in memory, before the one of the VFS under it. */
size_t shm_locks_room(void);
/* An xOpen, for a main database. */
int shm_locks_open(struct sqlite3_vfs *under, const char *name, struct sqlite3_file *file,
                   bool owner, int flags, int *ret_flags);

#endif
