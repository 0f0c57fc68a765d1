#include "db/wal_vfs.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

enum {
    GATHERED_BYTES_MAX = 8 * 1024 * 1024,
    /* SQLite's unix VFS takes the length of a write modulo 128 KiB, and takes 0 for a full disk. */
    WRITE_BYTES_MAX = 96 * 1024
};

/* A WAL file as SQLite sees it; the default VFS's own file lies behind it. */
struct wal_file {
    sqlite3_file base;
    char *bytes; /* gathered: what belongs at `offset` and is not written yet */
    sqlite3_int64 offset;
    size_t len, room;
    bool durable;
    sqlite3_file *real;
};

/* The default VFS's file begins at this distance, aligned for anything. */
enum { REAL_AT = (sizeof(struct wal_file) + 15) / 16 * 16 };

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((struct wal_file *)file)->real;
}

static int flush(struct wal_file *wal)
{
    if (wal->len == 0) {
        return SQLITE_OK;
    }
    int rc = SQLITE_OK;
    for (size_t at = 0; at < wal->len && rc == SQLITE_OK; at += WRITE_BYTES_MAX) {
        size_t left = wal->len - at;
        rc = wal->real->pMethods->xWrite(wal->real, wal->bytes + at,
                                         (int)(left < WRITE_BYTES_MAX ? left : WRITE_BYTES_MAX),
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
    return rc != SQLITE_OK ? rc
                           : real_of(file)->pMethods->xRead(real_of(file), bytes, count, offset);
}

static int wal_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    int rc = flush((struct wal_file *)file);
    return rc != SQLITE_OK ? rc : real_of(file)->pMethods->xTruncate(real_of(file), size);
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
    (void)wal->real->pMethods->xWrite(wal->real, turned, SPOILT_BYTES,
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
    rc = wal->real->pMethods->xSync(wal->real, flags);
    if (rc != SQLITE_OK) {
        spoil(wal, len);
    }
    return rc;
}

static int wal_size(sqlite3_file *file, sqlite3_int64 *ret)
{
    int rc = flush((struct wal_file *)file);
    return rc != SQLITE_OK ? rc : real_of(file)->pMethods->xFileSize(real_of(file), ret);
}

static int wal_close(sqlite3_file *file)
{
    struct wal_file *wal = (struct wal_file *)file;
    int flushed = flush(wal);
    int closed = wal->real->pMethods->xClose(wal->real);
    free(wal->bytes);
    wal->bytes = NULL;
    return flushed != SQLITE_OK ? flushed : closed;
}

static int wal_lock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int wal_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int wal_reserved(sqlite3_file *file, int *ret)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), ret);
}

static int wal_control(sqlite3_file *file, int operation, void *argument)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), operation, argument);
}

static int wal_sector(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int wal_device(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

/* Version 1: a WAL is never mapped and has no shared memory of its own. */
static const sqlite3_io_methods WAL_METHODS = {.iVersion = 1,
                                               .xClose = wal_close,
                                               .xRead = wal_read,
                                               .xWrite = wal_write,
                                               .xTruncate = wal_truncate,
                                               .xSync = wal_sync,
                                               .xFileSize = wal_size,
                                               .xLock = wal_lock,
                                               .xUnlock = wal_unlock,
                                               .xCheckReservedLock = wal_reserved,
                                               .xFileControl = wal_control,
                                               .xSectorSize = wal_sector,
                                               .xDeviceCharacteristics = wal_device};

/* The two of this file. */
static sqlite3_vfs gathering, gathering_unsynced;

static int open_wal(const sqlite3_vfs *vfs, const char *name, struct wal_file *wal, int flags,
                    int *ret_flags)
{
    sqlite3_vfs *under = vfs->pAppData;
    memset(wal, 0, sizeof *wal);
    wal->durable = vfs == &gathering;
    wal->real = (sqlite3_file *)((char *)wal + REAL_AT);
    int rc = under->xOpen(under, name, wal->real, flags, ret_flags);
    /* Only a file with methods is closed by SQLite. */
    wal->base.pMethods = wal->real->pMethods == NULL ? NULL : &WAL_METHODS;
    return rc;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                    int *ret_flags)
{
    sqlite3_vfs *under = vfs->pAppData;
    return (flags & SQLITE_OPEN_WAL) != 0
               ? open_wal(vfs, name, (struct wal_file *)file, flags, ret_flags)
               : under->xOpen(under, name, file, flags, ret_flags);
}

static void register_vfs(sqlite3_vfs *vfs, sqlite3_vfs *under, const char *name)
{
    *vfs = *under; /* every method but xOpen is the default's */
    vfs->zName = name;
    vfs->pNext = NULL;
    vfs->pAppData = under;
    vfs->szOsFile = REAL_AT + under->szOsFile;
    vfs->xOpen = vfs_open;
    if (sqlite3_vfs_register(vfs, 0) != SQLITE_OK) {
        vfs->zName = NULL;
    }
}

static void register_both(void)
{
    sqlite3_vfs *under = sqlite3_vfs_find(NULL);
    if (under != NULL) {
        register_vfs(&gathering, under, "ringhold-wal");
        register_vfs(&gathering_unsynced, under, "ringhold-wal-unsynced");
    }
}

const char *wal_vfs_name(bool durable)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_both);
    return durable ? gathering.zName : gathering_unsynced.zName;
}
