#include "db/shm_locks.h"

#include "db/vfs_file.h"

#include <pthread.h>
#include <stdlib.h>

/* The index of a WAL that an owner has, or had when connections came that are still open. */
struct shm_index {
    struct shm_index *next;       /* guarded by all_mu */
    const volatile void *at;      /* its first region */
    const struct shm_file *owner; /* guarded by all_mu: holds the system's locks; NULL: has gone */
    size_t connections;           /* guarded by all_mu */
    pthread_mutex_t mu;
    int held[SQLITE_SHM_NLOCK]; /* guarded by mu: how many share it; -1: one has it alone */
};

/* A main database as SQLite sees it. */
struct shm_file {
    struct vfs_file over;
    bool wants_to_own;
    bool mapped;             /* it is settled whose locks it uses */
    struct shm_index *index; /* NULL: the system's */
    unsigned shared, alone;  /* the locks that it has, as bits */
};

static pthread_mutex_t all_mu = PTHREAD_MUTEX_INITIALIZER;
static struct shm_index *all; /* guarded by all_mu */

/* ---- whose locks -------------------------------------------------------------------------------------------------- */

static struct shm_index **find_locked(const volatile void *at)
{
    struct shm_index **found = &all;
    while (*found != NULL && (*found)->at != at) {
        found = &(*found)->next;
    }
    return found;
}

static struct shm_index *make_locked(const volatile void *at)
{
    struct shm_index *index = calloc(1, sizeof *index);
    if (index != NULL) {
        index->at = at;
        index->next = all;
        pthread_mutex_init(&index->mu, NULL);
        all = index;
    }
    return index;
}

static int system_locks(const struct shm_file *file, int operation)
{
    sqlite3_file *real = file->over.real;
    return real->pMethods->xShmLock(real, 0, SQLITE_SHM_NLOCK, operation | SQLITE_SHM_EXCLUSIVE);
}

/* False when another process is at the file, or without memory. */
static bool own_locked(const struct shm_file *file, const volatile void *at)
{
    if (system_locks(file, SQLITE_SHM_LOCK) != SQLITE_OK) {
        return false;
    }
    struct shm_index *index = *find_locked(at);
    index = index != NULL ? index : make_locked(at);
    if (index == NULL) {
        system_locks(file, SQLITE_SHM_UNLOCK);
        return false;
    }
    index->owner = file;
    return true;
}

static void settle(struct shm_file *file, const volatile void *at)
{
    pthread_mutex_lock(&all_mu);
    struct shm_index *index = *find_locked(at);
    bool owned = index != NULL && index->owner != NULL;
    if (owned || (file->wants_to_own && own_locked(file, at))) {
        file->index = *find_locked(at);
        file->index->connections++;
    }
    file->mapped = true;
    pthread_mutex_unlock(&all_mu);
}

/* ---- locks -------------------------------------------------------------------------------------------------------- */

/* All of them, or none and SQLITE_BUSY. What the connection has already does not stand in its way. */
static int take(struct shm_file *file, unsigned locks, bool shared)
{
    int *held = file->index->held, rc = SQLITE_OK;
    unsigned wanted = locks & ~(shared ? file->shared : file->alone);
    pthread_mutex_lock(&file->index->mu);
    for (int i = 0; i < SQLITE_SHM_NLOCK; i++) {
        if ((wanted >> i & 1) != 0 && (shared ? held[i] < 0 : held[i] != 0)) {
            rc = SQLITE_BUSY;
        }
    }
    for (int i = 0; i < SQLITE_SHM_NLOCK && rc == SQLITE_OK; i++) {
        if ((wanted >> i & 1) != 0) {
            held[i] = shared ? held[i] + 1 : -1;
        }
    }
    pthread_mutex_unlock(&file->index->mu);
    if (rc == SQLITE_OK) {
        *(shared ? &file->shared : &file->alone) |= wanted;
    }
    return rc;
}

static void give_back(struct shm_file *file, unsigned locks)
{
    int *held = file->index->held;
    pthread_mutex_lock(&file->index->mu);
    for (int i = 0; i < SQLITE_SHM_NLOCK; i++) {
        if ((locks & file->shared) >> i & 1) {
            held[i]--;
        } else if ((locks & file->alone) >> i & 1) {
            held[i] = 0;
        }
    }
    pthread_mutex_unlock(&file->index->mu);
    file->shared &= ~locks;
    file->alone &= ~locks;
}

static int on_lock(sqlite3_file *base, int first, int count, int flags)
{
    struct shm_file *file = (struct shm_file *)base;
    if (file->index == NULL) {
        return file->over.real->pMethods->xShmLock(file->over.real, first, count, flags);
    }
    unsigned locks = ((1u << count) - 1) << first;
    if ((flags & SQLITE_SHM_UNLOCK) == 0) {
        return take(file, locks, (flags & SQLITE_SHM_SHARED) != 0);
    }
    give_back(file, locks);
    return SQLITE_OK;
}

static void leave(struct shm_file *file)
{
    struct shm_index *index = file->index;
    file->mapped = false;
    if (index == NULL) {
        return;
    }
    give_back(file, file->shared | file->alone);
    file->index = NULL;
    pthread_mutex_lock(&all_mu);
    if (index->owner == file) {
        system_locks(file, SQLITE_SHM_UNLOCK);
        index->owner = NULL;
    }
    if (--index->connections == 0) {
        *find_locked(index->at) = index->next;
        pthread_mutex_destroy(&index->mu);
        free(index);
    }
    pthread_mutex_unlock(&all_mu);
}

/* ---- the rest ----------------------------------------------------------------------------------------------------- */

/* Who wants to own the index makes its first region at once: before it is there, nothing says whose locks to use. */
static int on_map(sqlite3_file *base, int region, int bytes, int extend, void volatile **ret)
{
    struct shm_file *file = (struct shm_file *)base;
    sqlite3_file *real = file->over.real;
    bool first = region == 0 && !file->mapped;
    int rc =
        real->pMethods->xShmMap(real, region, bytes, extend || (first && file->wants_to_own), ret);
    if (rc == SQLITE_OK && first && *ret != NULL) {
        settle(file, *ret);
    }
    return rc;
}

static void on_barrier(sqlite3_file *base)
{
    sqlite3_file *real = ((struct vfs_file *)base)->real;
    real->pMethods->xShmBarrier(real);
}

static int on_unmap(sqlite3_file *base, int remove)
{
    struct shm_file *file = (struct shm_file *)base;
    leave(file);
    return file->over.real->pMethods->xShmUnmap(file->over.real, remove);
}

static int on_close(sqlite3_file *base)
{
    leave((struct shm_file *)base);
    return vfs_file_close(base);
}

/* Version 2: with the index of a WAL, without mapping the database itself, which nobody asks for. */
static const sqlite3_io_methods METHODS = {.iVersion = 2,
                                           .xClose = on_close,
                                           .xRead = vfs_file_read,
                                           .xWrite = vfs_file_write,
                                           .xTruncate = vfs_file_truncate,
                                           .xSync = vfs_file_sync,
                                           .xFileSize = vfs_file_size,
                                           .xLock = vfs_file_lock,
                                           .xUnlock = vfs_file_unlock,
                                           .xCheckReservedLock = vfs_file_reserved,
                                           .xFileControl = vfs_file_control,
                                           .xSectorSize = vfs_file_sector,
                                           .xDeviceCharacteristics = vfs_file_device,
                                           .xShmMap = on_map,
                                           .xShmLock = on_lock,
                                           .xShmBarrier = on_barrier,
                                           .xShmUnmap = on_unmap};

size_t shm_locks_room(void)
{
    return VFS_FILE_ROOM(sizeof(struct shm_file));
}

int shm_locks_open(struct sqlite3_vfs *under, const char *name, struct sqlite3_file *base,
                   bool owner, int flags, int *ret_flags)
{
    struct shm_file *file = (struct shm_file *)base;
    int rc = vfs_file_open(under, name, &file->over, sizeof *file, &METHODS, flags, ret_flags);
    file->wants_to_own = owner;
    return rc;
}
