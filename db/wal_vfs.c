#include "db/wal_vfs.h"

#include "db/shm_locks.h"
#include "db/vfs_file.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    GATHERED_BYTES_MAX = 8 * 1024 * 1024,
    /* SQLite's unix VFS takes the length of a write modulo 128 KiB, and takes 0 for a full disk. */
    WRITE_BYTES_MAX = 96 * 1024
};

/* A WAL file as SQLite sees it. */
struct wal_file {
    struct vfs_file over;
    char *bytes; /* gathered: what belongs at `offset` and is not written yet */
    sqlite3_int64 offset;
    size_t len, room;
    bool durable;
};

static int flush(struct wal_file *wal)
{
    if (wal->len == 0) {
        return SQLITE_OK;
    }
    int rc = SQLITE_OK;
    for (size_t at = 0; at < wal->len && rc == SQLITE_OK; at += WRITE_BYTES_MAX) {
        size_t left = wal->len - at;
        rc = wal->over.real->pMethods->xWrite(
            wal->over.real, wal->bytes + at, (int)(left < WRITE_BYTES_MAX ? left : WRITE_BYTES_MAX),
            wal->offset + (sqlite3_int64)at);
    }
    wal->len = 0; /* if it failed, SQLite gives the transaction up and writes these frames anew */
    return rc;
}

static int make_room(struct wal_file *wal, size_t bytes)
{
    if (wal->room - wal->len >= bytes) {
        return SQLITE_OK;
    }
    size_t room = (wal->len + bytes) * 2;
    char *larger = realloc(wal->bytes, room);
    if (larger == NULL) {
        return SQLITE_IOERR_NOMEM;
    }
    wal->bytes = larger;
    wal->room = room;
    return SQLITE_OK;
}

static int wal_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset)
{
    struct wal_file *wal = (struct wal_file *)file;
    bool follows = wal->len > 0 && offset == wal->offset + (sqlite3_int64)wal->len;
    if (!follows || wal->len + (size_t)count > GATHERED_BYTES_MAX) {
        int rc = flush(wal);
        if (rc != SQLITE_OK) {
            return rc;
        }
        wal->offset = offset;
    }
    int rc = make_room(wal, (size_t)count);
    if (rc == SQLITE_OK) {
        memcpy(wal->bytes + wal->len, bytes, (size_t)count);
        wal->len += (size_t)count;
    }
    return rc;
}

/* Everything but writing sees the file as if it had been written straight through. */
static int wal_read(sqlite3_file *file, void *bytes, int count, sqlite3_int64 offset)
{
    int rc = flush((struct wal_file *)file);
    return rc != SQLITE_OK ? rc : vfs_file_read(file, bytes, count, offset);
}

static int wal_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    int rc = flush((struct wal_file *)file);
    return rc != SQLITE_OK ? rc : vfs_file_truncate(file, size);
}

/*
 * The sync of a commit has failed, and SQLite gives the transaction up; but all its frames are in the file, so that a
 * process killed now would find them when it starts again, and what was refused would have happened. Turning the last
 * bytes of the commit's frame makes its checksum wrong. Whether it works does not matter to what runs now.
 */
static void spoil(struct wal_file *wal, size_t len)
{
    enum { SPOILT_BYTES = 8 };
    unsigned char turned[SPOILT_BYTES];
    if (len < SPOILT_BYTES) {
        return;
    }
    size_t from = len - SPOILT_BYTES;
    for (size_t i = 0; i < SPOILT_BYTES; i++) {
        turned[i] = (unsigned char)~(unsigned char)wal->bytes[from + i];
    }
    (void)wal->over.real->pMethods->xWrite(wal->over.real, turned, SPOILT_BYTES,
                                           wal->offset + (sqlite3_int64)from);
}

static int wal_sync(sqlite3_file *file, int flags)
{
    struct wal_file *wal = (struct wal_file *)file;
    size_t len =
        wal->len; /* a commit's last frame is always among them; a checkpoint's sync finds none */
    bool commits = len > 0 && wal->offset > 0; /* at 0 is the header of a new WAL */
    int rc = flush(wal);
    if (rc != SQLITE_OK || (commits && !wal->durable)) {
        return rc;
    }
    rc = vfs_file_sync(file, flags);
    if (rc != SQLITE_OK) {
        spoil(wal, len);
    }
    return rc;
}

static int wal_size(sqlite3_file *file, sqlite3_int64 *ret)
{
    int rc = flush((struct wal_file *)file);
    return rc != SQLITE_OK ? rc : vfs_file_size(file, ret);
}

static int wal_close(sqlite3_file *file)
{
    struct wal_file *wal = (struct wal_file *)file;
    int flushed = flush(wal);
    int closed = vfs_file_close(file);
    free(wal->bytes);
    wal->bytes = NULL;
    return flushed != SQLITE_OK ? flushed : closed;
}

/* Version 1: a WAL is never mapped and has no shared memory of its own. */
static const sqlite3_io_methods WAL_METHODS = {.iVersion = 1,
                                               .xClose = wal_close,
                                               .xRead = wal_read,
                                               .xWrite = wal_write,
                                               .xTruncate = wal_truncate,
                                               .xSync = wal_sync,
                                               .xFileSize = wal_size,
                                               .xLock = vfs_file_lock,
                                               .xUnlock = vfs_file_unlock,
                                               .xCheckReservedLock = vfs_file_reserved,
                                               .xFileControl = vfs_file_control,
                                               .xSectorSize = vfs_file_sector,
                                               .xDeviceCharacteristics = vfs_file_device};

/* ---- the VFSes ---------------------------------------------------------------------------------------------------- */

/* One for each enum storage, and the readers'. */
enum { READERS = STORAGE_OWN + 1, VFSES };
static const char *const NAMES[VFSES] = {[STORAGE_SYNCED] = "ringhold-synced",
                                         [STORAGE_WRITTEN] = "ringhold-written",
                                         [STORAGE_OWN] = "ringhold-own",
                                         [READERS] = "ringhold-reader"};
static sqlite3_vfs vfses[VFSES];

static int open_wal(const sqlite3_vfs *vfs, const char *name, struct wal_file *wal, int flags,
                    int *ret_flags)
{
    int rc =
        vfs_file_open(vfs->pAppData, name, &wal->over, sizeof *wal, &WAL_METHODS, flags, ret_flags);
    wal->durable = vfs == &vfses[STORAGE_SYNCED];
    return rc;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                    int *ret_flags)
{
    sqlite3_vfs *under = vfs->pAppData;
    bool owner = vfs == &vfses[STORAGE_OWN], reader = vfs == &vfses[READERS];
    if ((flags & SQLITE_OPEN_WAL) != 0 && !reader) {
        return open_wal(vfs, name, (struct wal_file *)file, flags, ret_flags);
    }
    if ((flags & SQLITE_OPEN_MAIN_DB) != 0 && (owner || reader)) {
        return shm_locks_open(under, name, file, owner, flags, ret_flags);
    }
    return under->xOpen(under, name, file, flags, ret_flags);
}

static void register_vfs(sqlite3_vfs *vfs, sqlite3_vfs *under, const char *name)
{
    size_t wal_room = VFS_FILE_ROOM(sizeof(struct wal_file)), room = shm_locks_room();
    *vfs = *under; /* every method but xOpen is the default's */
    vfs->zName = name;
    vfs->pNext = NULL;
    vfs->pAppData = under;
    vfs->szOsFile = (int)(room > wal_room ? room : wal_room) + under->szOsFile;
    vfs->xOpen = vfs_open;
    if (sqlite3_vfs_register(vfs, 0) != SQLITE_OK) {
        vfs->zName = NULL;
    }
}

static void register_all(void)
{
    sqlite3_vfs *under = sqlite3_vfs_find(NULL);
    for (int i = 0; i < VFSES && under != NULL; i++) {
        register_vfs(&vfses[i], under, NAMES[i]);
    }
}

static const char *name_of(int vfs)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_all);
    return vfses[vfs].zName;
}

const char *wal_vfs_name(enum storage storage)
{
    return name_of((int)storage);
}

const char *wal_vfs_reader_name(void)
{
    return name_of(READERS);
}
