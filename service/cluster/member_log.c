#include "service/cluster/member_log.h"

#include "db/limits.h"
#include "service/clock.h"
#include "service/log.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <uv.h>

enum {
    PATH_BYTES_MAX = 1344,
    ROOM_LOOK_MS = 100,
    ROOM_BYTES_MAX = 60 * 1024 * 1024,
    ROOM_BYTES_KEPT = 8 * 1024 * 1024, /* for votes, marks and what was promised already */
    LOG_PAGES_BESIDE = 2 * 1024,       /* then it is written back beside the writer, and */
    LOG_PAGES_MAX = 4 * 1024           /* then the writer waits for that */
};

/*
 * Writing the WAL back takes as long as many transactions. So a thread of its own does most of it, while the writer goes on
 * committing; what has come meanwhile is little, and the writer does that itself, after which the WAL begins anew:
 *
 *     RESTING ─► ASKED ─► DONE ─► RESTING
 *        writer     other    writer
 */
enum writing_back { RESTING, ASKED, DONE };

struct tasks {
    struct log_task *first, **last;
};
struct member_log {
    struct log_store *store; /* the writer's */
    char dir[PATH_BYTES_MAX];
    uv_loop_t *loop;
    uv_async_t wake;
    uv_prepare_t turn_over; /* before the loop waits: what it has asked for is one transaction */
    bool asked_some;        /* in this turn */
    int handles;
    pthread_t writer, tidier;
    uint64_t room_looked_ms;
    size_t room;
    void (*closed)(void *context);
    void *closed_context;

    pthread_mutex_t mu;
    pthread_cond_t asked;  /* there is something to do */
    pthread_cond_t ended;  /* of what is awaited */
    pthread_cond_t turned; /* writing_back has, or it stops */
    struct tasks queue;    /* guarded by mu */
    struct tasks over;     /* guarded by mu: to be told */
    bool failing; /* guarded by mu, set by the writer: the last transaction was not stored */
    enum writing_back writing_back; /* guarded by mu */
    bool stopping;                  /* guarded by mu */
    bool writer_ended;              /* guarded by mu: the writer has ended */
};

/* ---- lists -------------------------------------------------------------------------------------------------------- */

static void make_empty(struct tasks *tasks)
{
    tasks->first = NULL;
    tasks->last = &tasks->first;
}

static void add(struct tasks *tasks, struct log_task *task)
{
    task->next = NULL;
    *tasks->last = task;
    tasks->last = &task->next;
}

static struct log_task *take(struct tasks *tasks)
{
    struct log_task *task = tasks->first;
    if (task != NULL) {
        tasks->first = task->next;
        if (tasks->first == NULL) {
            tasks->last = &tasks->first;
        }
    }
    return task;
}

static void move(struct tasks *from, struct tasks *to)
{
    for (struct log_task *task = take(from); task != NULL; task = take(from)) {
        add(to, task);
    }
}

/* ---- the writer's thread ------------------------------------------------------------------------------------------- */

static void end_locked(struct member_log *log, struct log_task *task, bool stored)
{
    task->stored = stored;
    if (task->awaited) {
        task->over = true;
        pthread_cond_broadcast(&log->ended);
    } else {
        add(&log->over, task);
    }
}

/* Leaves what is awaited, for which nobody may wait long; the rest is put back, before what has come since. Whether there
   was any. */
static bool put_back_locked(struct member_log *log, struct tasks *tasks)
{
    struct tasks again, awaited;
    make_empty(&again);
    make_empty(&awaited);
    for (struct log_task *task = take(tasks); task != NULL; task = take(tasks)) {
        if (task->given_up) {
            end_locked(log, task, false);
        } else {
            add(task->awaited ? &awaited : &again, task);
        }
    }
    bool any = again.first != NULL;
    move(&log->queue, &again);
    move(&again, &log->queue);
    move(&awaited, tasks);
    return any;
}

static void rest_locked(struct member_log *log)
{
    struct timespec until = clock_monotonic_in(REPLICA_DISK_RETRY_MS);
    pthread_cond_timedwait(&log->asked, &log->mu, &until);
}

/* One transaction. */
static bool transact(struct member_log *log, const struct tasks *tasks, bool *ret_more)
{
    log_store_begin(log->store);
    for (struct log_task *task = tasks->first; task != NULL; task = task->next) {
        task->run(task, log->store);
    }
    *ret_more = log_store_trim(log->store);
    return log_store_commit(log->store);
}

/* What is awaited is small, and may still find the room that the rest does not. */
static bool write_awaited(struct member_log *log, struct tasks *tasks)
{
    bool more;
    pthread_mutex_lock(&log->mu);
    bool others = put_back_locked(log, tasks);
    pthread_mutex_unlock(&log->mu);
    return others && tasks->first != NULL && transact(log, tasks, &more);
}

/* ---- writing back ------------------------------------------------------------------------------------------------- */

static void turn_locked(struct member_log *log, enum writing_back to)
{
    log->writing_back = to;
    pthread_cond_broadcast(&log->turned);
}

static void *write_back_on(void *argument)
{
    struct member_log *log = argument;
    pthread_mutex_lock(&log->mu);
    while (!log->writer_ended) {
        if (log->writing_back != ASKED) {
            pthread_cond_wait(&log->turned, &log->mu);
            continue;
        }
        pthread_mutex_unlock(&log->mu);
        log_store_write_back_beside(log->store);
        pthread_mutex_lock(&log->mu);
        turn_locked(log, DONE);
    }
    pthread_mutex_unlock(&log->mu);
    return NULL;
}

/* The writer, between transactions. */
static void tidy(struct member_log *log)
{
    int pages = log_store_wal_pages(log->store);
    bool is_long = pages >= LOG_PAGES_BESIDE;
    pthread_mutex_lock(&log->mu);
    if (log->writing_back == RESTING && is_long) {
        turn_locked(log, ASKED);
    }
    while (log->writing_back == ASKED && pages >= LOG_PAGES_MAX) {
        pthread_cond_wait(&log->turned, &log->mu);
    }
    bool done = log->writing_back == DONE;
    if (done) {
        turn_locked(log, RESTING);
    }
    pthread_mutex_unlock(&log->mu);
    if (done && is_long) { /* else all of it was moved, and the WAL has begun anew */
        log_store_write_back(log->store);
    }
}

/* ---- the writer's loop -------------------------------------------------------------------------------------------- */

/* Returns whether entries are left to be deleted. */
static bool write_all(struct member_log *log, struct tasks *tasks)
{
    bool more;
    bool stored = transact(log, tasks, &more);
    if (!stored && !log->failing) {
        LOG(LOG_ERROR, "log-not-written", LOG_STRING("error", log_store_failure(log->store)));
    }
    bool rest = stored || write_awaited(log, tasks);
    pthread_mutex_lock(&log->mu);
    log->failing = !stored;
    for (struct log_task *task = take(tasks); task != NULL; task = take(tasks)) {
        end_locked(log, task, rest);
    }
    if (log->over.first != NULL) {
        uv_async_send(&log->wake);
    }
    pthread_mutex_unlock(&log->mu);
    tidy(log);
    return more;
}

static void *write_on(void *argument)
{
    struct member_log *log = argument;
    bool more = false;
    for (;;) {
        struct tasks tasks;
        make_empty(&tasks);
        pthread_mutex_lock(&log->mu);
        if (log->failing && !log->stopping) {
            rest_locked(log);
        }
        while (log->queue.first == NULL && !more && !log->stopping) {
            pthread_cond_wait(&log->asked, &log->mu);
        }
        bool ends = log->queue.first == NULL && log->stopping;
        move(&log->queue, &tasks);
        pthread_mutex_unlock(&log->mu);
        if (ends) {
            return NULL;
        }
        more = write_all(log, &tasks);
    }
}

/* ---- asking ------------------------------------------------------------------------------------------------------- */

static void queue_locked(struct member_log *log, struct log_task *task)
{
    add(&log->queue, task);
    pthread_cond_signal(&log->asked);
}

void member_log_ask(struct member_log *log, struct log_task *task)
{
    pthread_mutex_lock(&log->mu);
    task->awaited = task->given_up = false;
    add(&log->queue, task);
    pthread_mutex_unlock(&log->mu);
    log->asked_some = true;
}

static void on_turn_over(uv_prepare_t *turn_over)
{
    struct member_log *log = turn_over->data;
    if (log->asked_some) {
        log->asked_some = false;
        pthread_mutex_lock(&log->mu);
        pthread_cond_signal(&log->asked);
        pthread_mutex_unlock(&log->mu);
    }
}

bool member_log_do(struct member_log *log, struct log_task *task)
{
    pthread_mutex_lock(&log->mu);
    task->awaited = true;
    task->over = task->given_up = false;
    queue_locked(log, task);
    while (!task->over) {
        pthread_cond_wait(&log->ended, &log->mu);
    }
    pthread_mutex_unlock(&log->mu);
    return task->stored;
}

void member_log_call(struct member_log *log, struct log_task *task)
{
    pthread_mutex_lock(&log->mu);
    task->stored = false;
    add(&log->over, task);
    uv_async_send(&log->wake);
    pthread_mutex_unlock(&log->mu);
}

void member_log_give_up(struct member_log *log, struct log_task *task)
{
    pthread_mutex_lock(&log->mu);
    task->given_up = true;
    if (log->failing) {
        pthread_cond_signal(&log->asked);
    }
    pthread_mutex_unlock(&log->mu);
}

static void forget(struct log_task *task, struct log_store *store)
{
    log_store_forget(store, task->group);
}

void member_log_forget(struct member_log *log, struct log_task *task)
{
    task->run = forget;
    member_log_ask(log, task);
}

struct look {
    struct log_task task;
    bool begun;
};

static void look(struct log_task *task, struct log_store *store)
{
    struct arena arena = ARENA_EMPTY;
    struct log_head head;
    ((struct look *)task)->begun = log_store_head(store, task->group, &arena, &head);
    arena_free(&arena);
}

bool member_log_begun(struct member_log *log, uint64_t group)
{
    struct look asked = {.task = {.run = look, .group = group}};
    return member_log_do(log, &asked.task) && asked.begun;
}

size_t member_log_room(struct member_log *log)
{
    struct statvfs disk;
    uint64_t now = uv_now(log->loop);
    if (now - log->room_looked_ms >= ROOM_LOOK_MS) {
        log->room_looked_ms = now;
        uint64_t free = statvfs(log->dir, &disk) == 0 ? (uint64_t)disk.f_bavail * disk.f_frsize : 0;
        free -= free < ROOM_BYTES_KEPT ? free : ROOM_BYTES_KEPT;
        pthread_mutex_lock(&log->mu);
        log->room = log->failing ? 0 : free < ROOM_BYTES_MAX ? (size_t)free : ROOM_BYTES_MAX;
        pthread_mutex_unlock(&log->mu);
    }
    return log->room;
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

static void on_wake(uv_async_t *wake)
{
    struct member_log *log = wake->data;
    struct tasks over;
    make_empty(&over);
    pthread_mutex_lock(&log->mu);
    move(&log->over, &over);
    pthread_mutex_unlock(&log->mu);
    for (struct log_task *task = take(&over); task != NULL; task = take(&over)) {
        task->done(task, task->stored);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct member_log *log = handle->data;
    if (--log->handles > 0) {
        return;
    }
    void (*closed)(void *) = log->closed;
    void *context = log->closed_context;
    log_store_close(log->store);
    pthread_mutex_destroy(&log->mu);
    pthread_cond_destroy(&log->asked);
    pthread_cond_destroy(&log->ended);
    pthread_cond_destroy(&log->turned);
    free(log);
    closed(context);
}

static void stop_tidier(struct member_log *log)
{
    pthread_mutex_lock(&log->mu);
    log->writer_ended = true;
    pthread_cond_broadcast(&log->turned);
    pthread_mutex_unlock(&log->mu);
    pthread_join(log->tidier, NULL);
}

void member_log_close(struct member_log *log, void (*closed)(void *context), void *context)
{
    pthread_mutex_lock(&log->mu);
    log->stopping = true;
    pthread_cond_signal(&log->asked);
    pthread_mutex_unlock(&log->mu);
    pthread_join(log->writer, NULL);
    stop_tidier(log);
    log->closed = closed;
    log->closed_context = context;
    log->handles = 2;
    uv_close((uv_handle_t *)&log->wake, on_handle_closed);
    uv_close((uv_handle_t *)&log->turn_over, on_handle_closed);
}

/* Signals are for the thread that waits for them. */
static bool start_threads(struct member_log *log)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&log->tidier, NULL, write_back_on, log) == 0;
    if (started && pthread_create(&log->writer, NULL, write_on, log) != 0) {
        stop_tidier(log);
        started = false;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

/* Releases before this one had a directory for each group's log. */
static bool check_layout(const char *data_dir, char ret_why[256])
{
    char path[PATH_BYTES_MAX];
    snprintf(path, sizeof path, "%.1279s/log-0", data_dir);
    if (access(path, F_OK) == 0) {
        snprintf(ret_why, 256,
                 "%.80s is of an older version, which kept its logs apart: " MEMBER_LOG_DAMAGED,
                 data_dir);
        return false;
    }
    return true;
}

static bool open_store(struct member_log *log, char ret_why[256])
{
    char path[PATH_BYTES_MAX + 16], why[256];
    snprintf(path, sizeof path, "%s/log.db", log->dir);
    switch (log_store_open(path, &log->store, why)) {
    case LOG_FILE_SOUND:
        return true;
    case LOG_FILE_UNUSABLE:
        snprintf(ret_why, 256, "cannot open the log %.100s: %.130s", path, why);
        return false;
    case LOG_FILE_DAMAGED:
        snprintf(ret_why, 256, "the log %.60s is damaged (%.70s): " MEMBER_LOG_DAMAGED, path, why);
        return false;
    }
    return false;
}

bool member_log_open(struct uv_loop_s *loop, const char *data_dir, struct member_log **ret,
                     char ret_why[256])
{
    struct member_log *log = calloc(1, sizeof *log);
    snprintf(ret_why, 256, "out of memory");
    if (log == NULL || !check_layout(data_dir, ret_why)) {
        free(log);
        return false;
    }
    snprintf(log->dir, sizeof log->dir, "%.1279s", data_dir);
    if (!open_store(log, ret_why)) {
        free(log);
        return false;
    }
    log->loop = loop;
    log->wake.data = log;
    log->room = ROOM_BYTES_MAX;
    make_empty(&log->queue);
    make_empty(&log->over);
    pthread_mutex_init(&log->mu, NULL);
    clock_cond_init(&log->asked);
    pthread_cond_init(&log->ended, NULL);
    pthread_cond_init(&log->turned, NULL);
    log->turn_over.data = log;
    uv_prepare_init(loop, &log->turn_over);
    uv_prepare_start(&log->turn_over, on_turn_over);
    if (uv_async_init(loop, &log->wake, on_wake) != 0 || !start_threads(log)) {
        snprintf(ret_why, 256, "cannot start the log's threads");
        log_store_close(log->store); /* the process is about to end */
        free(log);
        return false;
    }
    *ret = log;
    return true;
}
