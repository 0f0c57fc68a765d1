#include "db/vfs_file.h"

#include <string.h>

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((struct vfs_file *)file)->real;
}

int vfs_file_open(sqlite3_vfs *under, const char *name, struct vfs_file *file, size_t bytes,
                  const sqlite3_io_methods *methods, int flags, int *ret_flags)
{
    memset(file, 0, bytes);
    file->real = (sqlite3_file *)((char *)file + VFS_FILE_ROOM(bytes));
    int rc = under->xOpen(under, name, file->real, flags, ret_flags);
    /* Only a file with methods is closed by SQLite. */
    file->base.pMethods = file->real->pMethods == NULL ? NULL : methods;
    return rc;
}

int vfs_file_close(sqlite3_file *file)
{
    return real_of(file)->pMethods->xClose(real_of(file));
}

int vfs_file_read(sqlite3_file *file, void *bytes, int count, sqlite3_int64 offset)
{
    return real_of(file)->pMethods->xRead(real_of(file), bytes, count, offset);
}

int vfs_file_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset)
{
    return real_of(file)->pMethods->xWrite(real_of(file), bytes, count, offset);
}

int vfs_file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

int vfs_file_sync(sqlite3_file *file, int flags)
{
    return real_of(file)->pMethods->xSync(real_of(file), flags);
}

int vfs_file_size(sqlite3_file *file, sqlite3_int64 *ret)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), ret);
}

int vfs_file_lock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

int vfs_file_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

int vfs_file_reserved(sqlite3_file *file, int *ret)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), ret);
}

int vfs_file_control(sqlite3_file *file, int operation, void *argument)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), operation, argument);
}

int vfs_file_sector(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

int vfs_file_device(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}
