#include "tests/sim/files.h"

#include "db/library.h"
#include "service/whole_file.h"
#include "tests/sim/world.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILES_MAX = 64, PATH_BYTES = 64, REGIONS_MAX = 64, SHARED_LOCKS = 8 };

/* A write, or with no bytes a truncation, that is not synced yet. */
struct change {
    unsigned char *bytes;
    size_t offset, len;
};
struct content {
    unsigned char *bytes;
    size_t len, room;
};
struct file {
    char path[PATH_BYTES]; /* empty: it was deleted, or the node has crashed since */
    struct content now, synced;
    struct change *changes;
    size_t count, room;
    int readers; /* SQLite's locks on the file */
    const void *writer;
    void *regions[REGIONS_MAX]; /* of the index of a WAL */
    int shared[SHARED_LOCKS];   /* who reads, or -1: one writes */
};
/* An open file, as SQLite sees it. */
struct handle {
    sqlite3_file base;
    struct file *file;
    int lock;
    bool reads[SHARED_LOCKS], writes[SHARED_LOCKS];
    bool temporary;
};

static struct file *files[FILES_MAX];
static enum files_state states[SIM_NODES_MAX];

/* ---- content ------------------------------------------------------------------------------------------------------ */

static void *must(void *memory)
{
    assert(memory != NULL);
    return memory;
}

static void resize(struct content *content, size_t len)
{
    if (len > content->room) {
        content->room = len * 2 + 4096;
        content->bytes = must(realloc(content->bytes, content->room));
    }
    if (len > content->len) {
        memset(content->bytes + content->len, 0, len - content->len);
    }
    content->len = len;
}

static void put(struct content *content, const struct change *change, size_t part)
{
    if (change->bytes == NULL) {
        resize(content, change->offset);
        return;
    }
    if (change->offset + part > content->len) {
        resize(content, change->offset + part);
    }
    memcpy(content->bytes + change->offset, change->bytes, part);
}

static void alter(struct file *file, const void *bytes, size_t len, size_t offset)
{
    if (file->count == file->room) {
        file->room = file->room * 2 + 64;
        file->changes = must(realloc(file->changes, file->room * sizeof *file->changes));
    }
    struct change *change = &file->changes[file->count++];
    *change = (struct change){NULL, offset, len};
    if (bytes != NULL) {
        change->bytes = must(malloc(len + 1));
        memcpy(change->bytes, bytes, len);
    }
    put(&file->now, change, len);
}

static void sync_file(struct file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        put(&file->synced, &file->changes[i], file->changes[i].len);
        free(file->changes[i].bytes);
    }
    file->count = 0;
}

/* ---- the directory ------------------------------------------------------------------------------------------------ */

static struct file **find(const char *path)
{
    for (int i = 0; i < FILES_MAX; i++) {
        if (files[i] != NULL && strcmp(files[i]->path, path) == 0) {
            return &files[i];
        }
    }
    return NULL;
}

static struct file *make_file(const char *path)
{
    for (int i = 0; i < FILES_MAX; i++) {
        if (files[i] == NULL) {
            files[i] = must(calloc(1, sizeof **files));
            snprintf(files[i]->path, PATH_BYTES, "%s", path);
            return files[i];
        }
    }
    abort();
}

static struct file *find_or_make(const char *path)
{
    struct file **found = find(path);
    return found != NULL ? *found : make_file(path);
}

/* Whoever has it open keeps it. */
static void forget(struct file **at)
{
    (*at)->path[0] = '\0';
    *at = NULL;
}

static bool is_of(const struct file *file, int node)
{
    return file != NULL && file->path[0] == '0' + node;
}

void files_drop(int node)
{
    for (int i = 0; i < FILES_MAX; i++) {
        if (is_of(files[i], node)) {
            forget(&files[i]);
        }
    }
}

void files_crash(int node)
{
    for (int i = 0; i < FILES_MAX; i++) {
        if (!is_of(files[i], node)) {
            continue;
        }
        struct file *before = files[i];
        struct file *after = must(calloc(1, sizeof *after));
        snprintf(after->path, PATH_BYTES, "%s", before->path);
        after->now = before->synced;
        bool all_lost = chance_of(30);
        for (size_t j = 0; j < before->count && !all_lost; j++) {
            const struct change *change = &before->changes[j];
            uint64_t luck = chance(8);
            if (luck < 6) { /* 5: half of it */
                put(&after->now, change, luck < 5 ? change->len : change->len / 2);
            }
        }
        after->synced = (struct content){NULL, 0, 0};
        resize(&after->synced, after->now.len);
        if (after->now.len > 0) {
            memcpy(after->synced.bytes, after->now.bytes, after->now.len);
        }
        files[i] = after;
        before->path[0] = '\0';
    }
    states[node] = FILES_WORK;
}

void files_become(int node, enum files_state state)
{
    states[node] = state;
}

static enum files_state state_here(void)
{
    return world_here() == NOWHERE ? FILES_WORK : states[world_here()];
}

/* ---- whole files -------------------------------------------------------------------------------------------------- */

bool whole_file_read(const char *path, void **ret_bytes, size_t *ret_len)
{
    struct file **found = find(path);
    if (found == NULL) {
        errno = ENOENT;
        return false;
    }
    *ret_bytes = must(malloc((*found)->now.len + 1));
    *ret_len = (*found)->now.len;
    if (*ret_len > 0) {
        memcpy(*ret_bytes, (*found)->now.bytes, *ret_len);
    }
    return state_here() != FILES_BROKEN;
}

bool whole_file_write(const char *path, struct text bytes)
{
    if (state_here() != FILES_WORK) {
        errno = ENOSPC;
        return false;
    }
    struct file *file = find_or_make(path);
    alter(file, NULL, 0, 0);
    alter(file, bytes.at, bytes.len, 0);
    return true;
}

bool whole_file_sync(const char *path)
{
    struct file **found = find(path);
    errno = found == NULL ? ENOENT : EIO;
    if (found == NULL || state_here() == FILES_BROKEN) {
        return false;
    }
    sync_file(*found);
    return true;
}

/* service/cluster/hosted_machine.c removes its copies by this; linked in the place of the system's. */
int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path)
{
    struct file **found = find(path);
    if (found == NULL) {
        errno = ENOENT;
        return -1;
    }
    forget(found);
    return 0;
}

/* ---- SQLite: an open file ----------------------------------------------------------------------------------------- */

static struct file *file_of(sqlite3_file *base)
{
    return ((struct handle *)base)->file;
}

static int on_close(sqlite3_file *base)
{
    struct handle *handle = (struct handle *)base;
    struct file **found = handle->temporary ? find(handle->file->path) : NULL;
    if (found != NULL) {
        forget(found);
    }
    return SQLITE_OK;
}

static int on_read(sqlite3_file *base, void *bytes, int count, sqlite3_int64 offset)
{
    const struct content *now = &file_of(base)->now;
    size_t at = (size_t)offset, there = at < now->len ? now->len - at : 0;
    size_t got = there < (size_t)count ? there : (size_t)count;
    if (state_here() == FILES_BROKEN && chance_of(50)) {
        return SQLITE_IOERR_READ;
    }
    if (got > 0) {
        memcpy(bytes, now->bytes + at, got);
    }
    memset((char *)bytes + got, 0, (size_t)count - got);
    return got == (size_t)count ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int on_write(sqlite3_file *base, const void *bytes, int count, sqlite3_int64 offset)
{
    struct file *file = file_of(base);
    bool grows = (size_t)offset + (size_t)count > file->now.len;
    if (state_here() == FILES_BROKEN) {
        return SQLITE_IOERR_WRITE;
    }
    if (state_here() == FILES_FULL && grows) {
        return SQLITE_FULL;
    }
    alter(file, bytes, (size_t)count, (size_t)offset);
    return SQLITE_OK;
}

static int on_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    alter(file_of(base), NULL, 0, (size_t)size);
    return SQLITE_OK;
}

static int on_sync(sqlite3_file *base, int flags)
{
    (void)flags;
    if (state_here() == FILES_BROKEN) {
        return SQLITE_IOERR_FSYNC;
    }
    sync_file(file_of(base));
    return SQLITE_OK;
}

static int on_size(sqlite3_file *base, sqlite3_int64 *ret)
{
    *ret = (sqlite3_int64)file_of(base)->now.len;
    return SQLITE_OK;
}

static int on_lock(sqlite3_file *base, int level)
{
    struct handle *handle = (struct handle *)base;
    struct file *file = handle->file;
    bool theirs = file->writer != NULL && file->writer != handle;
    if (level <= handle->lock) {
        return SQLITE_OK;
    }
    if (theirs || (level == SQLITE_LOCK_EXCLUSIVE && file->readers > 1)) {
        return SQLITE_BUSY;
    }
    file->readers += handle->lock == SQLITE_LOCK_NONE;
    file->writer = level >= SQLITE_LOCK_RESERVED ? handle : file->writer;
    handle->lock = level;
    return SQLITE_OK;
}

static int on_unlock(sqlite3_file *base, int level)
{
    struct handle *handle = (struct handle *)base;
    struct file *file = handle->file;
    if (level >= handle->lock) {
        return SQLITE_OK;
    }
    file->writer = file->writer == handle ? NULL : file->writer;
    file->readers -= level == SQLITE_LOCK_NONE;
    handle->lock = level;
    return SQLITE_OK;
}

static int on_reserved(sqlite3_file *base, int *ret)
{
    *ret = file_of(base)->writer != NULL;
    return SQLITE_OK;
}

static int on_control(sqlite3_file *base, int operation, void *argument)
{
    (void)base;
    (void)operation;
    (void)argument;
    return SQLITE_NOTFOUND;
}

static int on_sector(sqlite3_file *base)
{
    (void)base;
    return 4096;
}

/* As SQLite's unix VFS has it: without, a commit would be padded behind its sync, and db/wal_vfs.c would keep that back. */
static int on_device(sqlite3_file *base)
{
    (void)base;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* ---- SQLite: the index of a WAL ----------------------------------------------------------------------------------- */

static int on_shared_map(sqlite3_file *base, int region, int bytes, int extend, void volatile **ret)
{
    struct file *file = file_of(base);
    assert(region < REGIONS_MAX);
    if (file->regions[region] == NULL && extend) {
        file->regions[region] = must(calloc(1, (size_t)bytes));
    }
    *ret = file->regions[region];
    return SQLITE_OK;
}

static bool can_lock(const struct handle *handle, int slot, bool reads)
{
    int held = handle->file->shared[slot];
    return reads ? held >= 0 : held == (handle->reads[slot] ? 1 : 0);
}

static int on_shared_lock(sqlite3_file *base, int offset, int count, int flags)
{
    struct handle *handle = (struct handle *)base;
    int *held = handle->file->shared;
    bool reads = (flags & SQLITE_SHM_SHARED) != 0, takes = (flags & SQLITE_SHM_LOCK) != 0;
    for (int i = offset; i < offset + count && takes; i++) {
        if (!can_lock(handle, i, reads)) {
            return SQLITE_BUSY;
        }
    }
    for (int i = offset; i < offset + count; i++) {
        if (reads && handle->reads[i] != takes) {
            held[i] += takes ? 1 : -1;
            handle->reads[i] = takes;
        } else if (!reads && handle->writes[i] != takes) {
            held[i] = takes ? -1 : 0;
            handle->writes[i] = takes;
        }
    }
    return SQLITE_OK;
}

static void on_shared_barrier(sqlite3_file *base)
{
    (void)base;
}

static int on_shared_unmap(sqlite3_file *base, int remove)
{
    struct file *file = file_of(base);
    for (int i = 0; i < REGIONS_MAX && remove; i++) {
        free(file->regions[i]);
        file->regions[i] = NULL;
    }
    return SQLITE_OK;
}

static const sqlite3_io_methods METHODS = {.iVersion = 2,
                                           .xClose = on_close,
                                           .xRead = on_read,
                                           .xWrite = on_write,
                                           .xTruncate = on_truncate,
                                           .xSync = on_sync,
                                           .xFileSize = on_size,
                                           .xLock = on_lock,
                                           .xUnlock = on_unlock,
                                           .xCheckReservedLock = on_reserved,
                                           .xFileControl = on_control,
                                           .xSectorSize = on_sector,
                                           .xDeviceCharacteristics = on_device,
                                           .xShmMap = on_shared_map,
                                           .xShmLock = on_shared_lock,
                                           .xShmBarrier = on_shared_barrier,
                                           .xShmUnmap = on_shared_unmap};

/* ---- SQLite: the file system -------------------------------------------------------------------------------------- */

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags,
                   int *ret_flags)
{
    static int temporaries;
    struct handle *handle = (struct handle *)base;
    char path[PATH_BYTES];
    (void)vfs;
    memset(handle, 0, sizeof *handle);
    if (name == NULL) {
        snprintf(path, sizeof path, "%d/temporary-%d", world_here(), temporaries++);
    } else {
        snprintf(path, sizeof path, "%s", name);
    }
    if (find(path) == NULL && (flags & SQLITE_OPEN_CREATE) == 0) {
        return SQLITE_CANTOPEN;
    }
    if (find(path) == NULL && state_here() != FILES_WORK) {
        return SQLITE_FULL;
    }
    handle->file = find_or_make(path);
    handle->temporary = name == NULL || (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    handle->base.pMethods = &METHODS;
    if (ret_flags != NULL) {
        *ret_flags = flags;
    }
    return SQLITE_OK;
}

static int on_delete(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
    struct file **found = find(name);
    (void)vfs;
    (void)sync_directory;
    if (found == NULL) {
        return SQLITE_IOERR_DELETE_NOENT;
    }
    forget(found);
    return SQLITE_OK;
}

static int on_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
    struct file **found = find(name);
    (void)vfs;
    *ret = found != NULL && (flags != SQLITE_ACCESS_EXISTS || (*found)->now.len > 0);
    return SQLITE_OK;
}

static int on_full_name(sqlite3_vfs *vfs, const char *name, int room, char *ret)
{
    (void)vfs;
    snprintf(ret, (size_t)room, "%s", name);
    return SQLITE_OK;
}

static int on_random(sqlite3_vfs *vfs, int count, char *ret)
{
    (void)vfs;
    for (int i = 0; i < count; i++) {
        ret[i] = (char)chance(256);
    }
    return count;
}

static int on_sleep(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    return us;
}

static int on_time(sqlite3_vfs *vfs, sqlite3_int64 *ret)
{
    (void)vfs;
    *ret = (sqlite3_int64)(world_now() / MS);
    return SQLITE_OK;
}

static int on_last_error(sqlite3_vfs *vfs, int room, char *ret)
{
    (void)vfs;
    (void)room;
    (void)ret;
    return 0;
}

void files_install(void)
{
    static sqlite3_vfs vfs = {.iVersion = 2,
                              .szOsFile = sizeof(struct handle),
                              .mxPathname = PATH_BYTES,
                              .zName = "simulated",
                              .xOpen = on_open,
                              .xDelete = on_delete,
                              .xAccess = on_access,
                              .xFullPathname = on_full_name,
                              .xRandomness = on_random,
                              .xSleep = on_sleep,
                              .xCurrentTimeInt64 = on_time,
                              .xGetLastError = on_last_error};
    library_configure(); /* not possible any more once SQLite is in use */
    int rc = sqlite3_vfs_register(&vfs, 1);
    assert(rc == SQLITE_OK);
    (void)rc;
    sqlite3_randomness(0, NULL); /* its generator begins anew, with this seed's chance */
}
