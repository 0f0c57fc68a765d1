/*
 * A file of a VFS that lies on another VFS: the other's file lies behind ours, and the methods here pass on to it. For
 * the VFSes of db/ alone, which put methods of their own in the place of some.
 */
#ifndef RINGHOLD_DB_VFS_FILE_H
#define RINGHOLD_DB_VFS_FILE_H

#include <sqlite3.h>
#include <stddef.h>

/* Stands first in a file of ours. */
struct vfs_file {
    sqlite3_file base;
    sqlite3_file *real; /* in the memory behind ours, at VFS_FILE_ROOM(sizeof ours) */
};
/* What ours takes, so that what follows is aligned for anything. */
#define VFS_FILE_ROOM(bytes) (((bytes) + 15) / 16 * 16)

/* Opens the file behind `file`, whose own part takes `bytes`; when there is one, ours has these methods. */
int vfs_file_open(sqlite3_vfs *under, const char *name, struct vfs_file *file, size_t bytes,
                  const sqlite3_io_methods *methods, int flags, int *ret_flags);

int vfs_file_close(sqlite3_file *file);
int vfs_file_read(sqlite3_file *file, void *bytes, int count, sqlite3_int64 offset);
int vfs_file_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset);
int vfs_file_truncate(sqlite3_file *file, sqlite3_int64 size);
int vfs_file_sync(sqlite3_file *file, int flags);
int vfs_file_size(sqlite3_file *file, sqlite3_int64 *ret);
int vfs_file_lock(sqlite3_file *file, int level);
int vfs_file_unlock(sqlite3_file *file, int level);
int vfs_file_reserved(sqlite3_file *file, int *ret);
int vfs_file_control(sqlite3_file *file, int operation, void *argument);
int vfs_file_sector(sqlite3_file *file);
int vfs_file_device(sqlite3_file *file);

#endif
