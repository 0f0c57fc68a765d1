#include "tests/crash/faulty_vfs.h"

#include <assert.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DISKS_MAX = 8, DISK_PATH_BYTES = 256 };

/* What is known of a file on the disk: what was synced, and what was done since. */
struct change {
    unsigned char *bytes; /* NULL: a truncation to `offset` */
    size_t offset, len;
};
struct disk {
    char path[DISK_PATH_BYTES];
    unsigned char *synced;
    size_t len;
    struct change *changes;
    size_t count, room;
};

/* A file of ours; the real one lies behind it. */
struct faulty_file {
    sqlite3_file base;
    sqlite3_file *real;
    struct disk *disk; /* or NULL */
};
enum { REAL_AT = (sizeof(struct faulty_file) + 15) / 16 * 16 };

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static struct faulty_plan plan;      /* guarded by mu */
static long calls, failures;         /* guarded by mu */
static bool paused;                  /* guarded by mu */
static bool remembers;               /* guarded by mu */
static struct disk disks[DISKS_MAX]; /* guarded by mu */

static sqlite3_file *real(sqlite3_file *file)
{
    return ((struct faulty_file *)file)->real;
}

static struct disk *disk_behind(sqlite3_file *file)
{
    return ((struct faulty_file *)file)->disk;
}

/* Counts the call. SQLITE_OK, or what it must fail with. */
static int met(enum faulty_call call, bool *ret_torn)
{
    int code = SQLITE_OK;
    pthread_mutex_lock(&mu);
    if ((plan.calls & call) != 0 && !paused) {
        calls++;
        if (plan.count > 0 && calls >= plan.first && calls - plan.first < plan.count) {
            failures++;
            code = plan.code;
        }
    }
    if (ret_torn != NULL) {
        *ret_torn = plan.torn;
    }
    pthread_mutex_unlock(&mu);
    return code;
}

void faulty_follow(struct faulty_plan next)
{
    pthread_mutex_lock(&mu);
    plan = next;
    calls = failures = 0;
    pthread_mutex_unlock(&mu);
}

void faulty_heal(void)
{
    pthread_mutex_lock(&mu);
    plan.count = 0;
    pthread_mutex_unlock(&mu);
}

static void set_paused(bool is)
{
    pthread_mutex_lock(&mu);
    paused = is;
    pthread_mutex_unlock(&mu);
}

void faulty_pause(void)
{
    set_paused(true);
}

void faulty_go_on(void)
{
    set_paused(false);
}

long faulty_calls(void)
{
    pthread_mutex_lock(&mu);
    long n = calls;
    pthread_mutex_unlock(&mu);
    return n;
}

long faulty_failures(void)
{
    pthread_mutex_lock(&mu);
    long n = failures;
    pthread_mutex_unlock(&mu);
    return n;
}

/* ---- the disk ----------------------------------------------------------------------------------------------------- */

static void *grown(void *old, size_t bytes)
{
    void *larger = realloc(old, bytes);
    assert(larger != NULL);
    return larger;
}

static void note_change(struct disk *disk, const void *bytes, size_t len, sqlite3_int64 offset)
{
    if (disk == NULL) {
        return;
    }
    pthread_mutex_lock(&mu);
    if (disk->count == disk->room) {
        disk->room = disk->room * 2 + 16;
        disk->changes = grown(disk->changes, disk->room * sizeof *disk->changes);
    }
    struct change *change = &disk->changes[disk->count++];
    *change = (struct change){NULL, (size_t)offset, len};
    if (bytes != NULL) {
        change->bytes = grown(NULL, len);
        memcpy(change->bytes, bytes, len);
    }
    pthread_mutex_unlock(&mu);
}

static void apply(unsigned char **bytes, size_t *len, const struct change *change, size_t part)
{
    size_t end = change->offset + (change->bytes == NULL ? 0 : part);
    if (end > *len || change->bytes == NULL) {
        *bytes = grown(*bytes, end + 1);
        if (end > *len) {
            memset(*bytes + *len, 0, end - *len);
        }
        *len = end;
    }
    if (change->bytes != NULL) {
        memcpy(*bytes + change->offset, change->bytes, part);
    }
}

static void note_sync(struct disk *disk)
{
    if (disk == NULL) {
        return;
    }
    pthread_mutex_lock(&mu);
    for (size_t i = 0; i < disk->count; i++) {
        apply(&disk->synced, &disk->len, &disk->changes[i], disk->changes[i].len);
        free(disk->changes[i].bytes);
    }
    disk->count = 0;
    pthread_mutex_unlock(&mu);
}

/* The disk of a file that is being opened; what is in the file by then counts as synced. */
static struct disk *disk_of(const char *path)
{
    struct disk *disk = NULL;
    pthread_mutex_lock(&mu);
    for (size_t i = 0; i < DISKS_MAX && remembers && disk == NULL; i++) {
        if (disks[i].path[0] == '\0' || strcmp(disks[i].path, path) == 0) {
            disk = &disks[i];
        }
    }
    if (disk != NULL && disk->path[0] == '\0') {
        snprintf(disk->path, sizeof disk->path, "%s", path);
        FILE *file = fopen(path, "rb");
        for (int c; file != NULL && (c = fgetc(file)) != EOF;) {
            apply(&disk->synced, &disk->len,
                  &(struct change){(unsigned char[]){(unsigned char)c}, disk->len, 1}, 1);
        }
        if (file != NULL) {
            fclose(file);
        }
    }
    pthread_mutex_unlock(&mu);
    return disk;
}

void faulty_remember(void)
{
    pthread_mutex_lock(&mu);
    remembers = true;
    pthread_mutex_unlock(&mu);
}

static void write_whole(const char *to, const unsigned char *bytes, size_t len)
{
    FILE *file = fopen(to, "wb");
    assert(file != NULL);
    size_t written = fwrite(bytes, 1, len, file);
    assert(written == len);
    (void)written;
    fclose(file);
}

/* A small generator of its own, so that a seed means the same everywhere. */
static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 16;
}

bool faulty_power_cut(const char *path, const char *to, unsigned seed)
{
    bool found = false;
    pthread_mutex_lock(&mu);
    for (size_t i = 0; i < DISKS_MAX; i++) {
        const struct disk *disk = &disks[i];
        if (strcmp(disk->path, path) != 0) {
            continue;
        }
        size_t len = disk->len;
        unsigned char *bytes = grown(NULL, len + 1);
        memcpy(bytes, disk->synced == NULL ? (unsigned char *)"" : disk->synced, len);
        for (size_t j = 0; j < disk->count; j++) {
            const struct change *change = &disk->changes[j];
            unsigned luck = next_random(&seed) % 8;
            if (luck < 5) { /* 4: half of it */
                apply(&bytes, &len, change, luck < 4 ? change->len : change->len / 2);
            }
        }
        write_whole(to, bytes, len);
        free(bytes);
        found = true;
    }
    pthread_mutex_unlock(&mu);
    return found;
}

/* ---- the calls that may fail -------------------------------------------------------------------------------------- */

static int on_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset)
{
    bool torn;
    int code = met(FAULTY_WRITE, &torn);
    if (code != SQLITE_OK) {
        if (torn && count > 1) {
            real(file)->pMethods->xWrite(real(file), bytes, count / 2, offset);
            note_change(disk_behind(file), bytes, (size_t)count / 2, offset);
        }
        return code;
    }
    note_change(disk_behind(file), bytes, (size_t)count, offset);
    return real(file)->pMethods->xWrite(real(file), bytes, count, offset);
}

static int on_sync(sqlite3_file *file, int flags)
{
    int code = met(FAULTY_SYNC, NULL);
    if (code != SQLITE_OK) {
        return code;
    }
    note_sync(disk_behind(file));
    return real(file)->pMethods->xSync(real(file), flags);
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    int code = met(FAULTY_TRUNCATE, NULL);
    if (code != SQLITE_OK) {
        return code;
    }
    note_change(disk_behind(file), NULL, 0, size);
    return real(file)->pMethods->xTruncate(real(file), size);
}

static int on_read(sqlite3_file *file, void *bytes, int count, sqlite3_int64 offset)
{
    int code = met(FAULTY_READ, NULL);
    return code != SQLITE_OK ? code : real(file)->pMethods->xRead(real(file), bytes, count, offset);
}

static int on_shared_map(sqlite3_file *file, int page, int bytes, int extend, void volatile **ret)
{
    int code = met(FAULTY_SHARED, NULL);
    return code != SQLITE_OK ? code
                             : real(file)->pMethods->xShmMap(real(file), page, bytes, extend, ret);
}

/* ---- those that only pass on -------------------------------------------------------------------------------------- */

static int on_close(sqlite3_file *file)
{
    return real(file)->pMethods->xClose(real(file));
}

static int on_size(sqlite3_file *file, sqlite3_int64 *ret)
{
    return real(file)->pMethods->xFileSize(real(file), ret);
}

static int on_lock(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xLock(real(file), level);
}

static int on_unlock(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xUnlock(real(file), level);
}

static int on_reserved(sqlite3_file *file, int *ret)
{
    return real(file)->pMethods->xCheckReservedLock(real(file), ret);
}

static int on_control(sqlite3_file *file, int operation, void *argument)
{
    return real(file)->pMethods->xFileControl(real(file), operation, argument);
}

static int on_sector(sqlite3_file *file)
{
    return real(file)->pMethods->xSectorSize(real(file));
}

static int on_device(sqlite3_file *file)
{
    return real(file)->pMethods->xDeviceCharacteristics(real(file));
}

static int on_shared_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return real(file)->pMethods->xShmLock(real(file), offset, count, flags);
}

static void on_shared_barrier(sqlite3_file *file)
{
    real(file)->pMethods->xShmBarrier(real(file));
}

static int on_shared_unmap(sqlite3_file *file, int remove)
{
    return real(file)->pMethods->xShmUnmap(real(file), remove);
}

/* Version 2: with a WAL's shared memory, without mapping the file itself, which would go round xRead and xWrite. */
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

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                   int *ret_flags)
{
    struct faulty_file *ours = (struct faulty_file *)file;
    sqlite3_vfs *under = vfs->pAppData;
    ours->real = (sqlite3_file *)((char *)ours + REAL_AT);
    memset(ours->real, 0, (size_t)under->szOsFile);
    bool lasts = (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)) != 0;
    ours->disk = lasts ? disk_of(name) : NULL;
    int rc = under->xOpen(under, name, ours->real, flags, ret_flags);
    ours->base.pMethods = ours->real->pMethods == NULL ? NULL : &METHODS;
    return rc;
}

void faulty_install(void)
{
    static sqlite3_vfs faulty;
    sqlite3_vfs *under = sqlite3_vfs_find(NULL);
    assert(under != NULL && faulty.zName == NULL);
    faulty = *under;
    faulty.zName = "faulty";
    faulty.pNext = NULL;
    faulty.pAppData = under;
    faulty.szOsFile = REAL_AT + under->szOsFile;
    faulty.xOpen = on_open;
    int rc = sqlite3_vfs_register(&faulty, 1);
    assert(rc == SQLITE_OK);
    (void)rc;
}
