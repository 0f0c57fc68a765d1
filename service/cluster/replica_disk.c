#include "service/cluster/replica_disk.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct replica_disk {
    struct member_log *log;
    uint64_t group;
    uint64_t term, vote;
    raft_index first, next; /* of the log as it will be once all is stored that was asked */
    struct arena arena;     /* of the mark */
    struct log_mark mark;   /* the last that is stored */
    struct asked *asked;    /* what the log has */
    struct log_task ending;
    bool stopping, last_told;
    void (*stopped)(void *context);
    void *context;
};

/* Something that the log is asked to do, or (without `run`) to call back for. */
struct asked {
    struct log_task task;
    struct asked *next, **at; /* of the disk's */
    struct replica_disk *disk;
    void *request; /* the engine's */
    union {
        raft_io_append_cb append;
        raft_io_snapshot_put_cb put;
        raft_io_snapshot_get_cb get;
    } cb;
    raft_index index; /* the first entry */
    const struct raft_entry *entries;
    unsigned count;
    raft_index first; /* put: where the log begins then */
    bool anew;        /* put: it begins anew, with nothing behind */
    struct arena arena;
    struct log_mark mark;
    struct raft_snapshot *snapshot; /* get */
};

static struct replica_disk *disk_of(const struct raft_io *io)
{
    return io->impl;
}

static struct text text_of_buffer(const struct raft_buffer *buffer)
{
    return (struct text){buffer->len == 0 ? "" : buffer->base, buffer->len};
}

/* ---- what is asked ------------------------------------------------------------------------------------------------ */

static struct asked *ask(struct replica_disk *disk,
                         void (*run)(struct log_task *, struct log_store *),
                         void (*done)(struct log_task *, bool))
{
    struct asked *asked = calloc(1, sizeof *asked);
    if (asked == NULL) {
        return NULL;
    }
    asked->task = (struct log_task){.run = run, .done = done, .group = disk->group};
    asked->disk = disk;
    asked->next = disk->asked;
    asked->at = &disk->asked;
    if (asked->next != NULL) {
        asked->next->at = &asked->next;
    }
    disk->asked = asked;
    return asked;
}

static void maybe_stopped(struct replica_disk *disk)
{
    if (disk->stopping && disk->last_told && disk->asked == NULL) {
        disk->stopping = false;
        disk->stopped(disk->context);
    }
}

static void answered(struct asked *asked)
{
    *asked->at = asked->next;
    if (asked->next != NULL) {
        asked->next->at = asked->at;
    }
    arena_free(&asked->arena);
    free(asked);
}

/* What the engine is told: once it closes it keeps nothing for a success. */
static int status_of(const struct replica_disk *disk, bool stored)
{
    return stored && !disk->stopping ? 0 : RAFT_CANCELED;
}

static void ending_told(struct log_task *task, bool stored)
{
    struct replica_disk *disk =
        (struct replica_disk *)((char *)task - offsetof(struct replica_disk, ending));
    (void)stored;
    disk->last_told = true;
    maybe_stopped(disk);
}

void replica_disk_stop(struct replica_disk *disk, void (*stopped)(void *context), void *context)
{
    disk->stopping = true;
    disk->stopped = stopped;
    disk->context = context;
    disk->ending.done = ending_told;
    for (struct asked *asked = disk->asked; asked != NULL; asked = asked->next) {
        if (asked->task.run != NULL) {
            member_log_give_up(disk->log, &asked->task);
        }
    }
    member_log_call(disk->log, &disk->ending);
}

void replica_disk_free(struct replica_disk *disk)
{
    if (disk != NULL) {
        arena_free(&disk->arena);
        free(disk);
    }
}

/* ---- loading ------------------------------------------------------------------------------------------------------ */

struct loading {
    struct log_task task;
    struct arena *arena;
    struct log_head head;
    struct raft_entry *entries;
    char *batch;
    size_t count, room, bytes, used;
    bool gap, altered, no_memory;
};

/* Entries have one piece of memory, which the engine frees with the last of them. */
static void see_entry(void *context, const struct log_entry *entry)
{
    struct loading *loading = context;
    size_t i = loading->count;
    if (entry->index != loading->head.first + i || i == loading->room) {
        loading->gap = true;
        return;
    }
    char *at = loading->batch + loading->used;
    memcpy(at, entry->data.at, entry->data.len);
    loading->entries[i] = (struct raft_entry){.term = entry->term,
                                              .type = (unsigned short)entry->type,
                                              .buf = {at, entry->data.len},
                                              .batch = loading->batch};
    loading->used += (entry->data.len + 7) / 8 * 8;
    loading->count++;
}

static void run_load(struct log_task *task, struct log_store *store)
{
    struct loading *loading = (struct loading *)task;
    loading->head = (struct log_head){.first = 1};
    (void)log_store_head(store, task->group, loading->arena, &loading->head);
    loading->altered = loading->head.altered;
    log_store_measure(store, task->group, loading->head.first, &loading->room, &loading->bytes);
    if (loading->room == 0) {
        return;
    }
    loading->entries = raft_calloc(loading->room, sizeof *loading->entries);
    loading->batch = raft_malloc(loading->bytes + 8);
    loading->no_memory = loading->entries == NULL || loading->batch == NULL;
    if (!loading->no_memory) {
        loading->altered |=
            !log_store_each(store, task->group, loading->head.first, see_entry, loading);
    }
}

static int load(struct raft_io *io, struct loading *loading)
{
    struct replica_disk *disk = disk_of(io);
    *loading =
        (struct loading){.task = {.run = run_load, .group = disk->group}, .arena = &disk->arena};
    arena_clear(&disk->arena);
    bool read = member_log_do(disk->log, &loading->task);
    bool whole = !loading->altered && !loading->gap && loading->count == loading->room;
    int rc = !read || loading->no_memory ? RAFT_IOERR : whole ? 0 : RAFT_CORRUPT;
    if (rc != 0) {
        raft_free(loading->batch);
        raft_free(loading->entries);
        snprintf(io->errmsg, sizeof io->errmsg,
                 rc != RAFT_CORRUPT ? "the log cannot be read"
                 : loading->altered ? "the log is damaged: " MEMBER_LOG_DAMAGED
                                    : "entries are missing in the log");
        return rc;
    }
    disk->mark = loading->head.mark;
    disk->term = loading->head.term;
    disk->vote = loading->head.vote;
    disk->first = loading->head.first;
    disk->next = disk->first + loading->count;
    return 0;
}

/* Of the mark that is stored. NULL when memory ran out, or it is none of ours. */
static struct raft_snapshot *make_snapshot(const struct log_mark *mark)
{
    struct raft_snapshot *snapshot = raft_calloc(1, sizeof *snapshot);
    struct raft_buffer *bufs = raft_calloc(1, sizeof *bufs);
    void *data = raft_malloc(mark->data.len + 1);
    struct raft_buffer members = {(void *)mark->members.at, mark->members.len};
    if (snapshot == NULL || bufs == NULL || data == NULL ||
        raft_configuration_decode(&members, &snapshot->configuration) != 0) {
        raft_free(data);
        raft_free(bufs);
        raft_free(snapshot);
        return NULL;
    }
    memcpy(data, mark->data.at, mark->data.len);
    bufs[0] = (struct raft_buffer){data, mark->data.len};
    snapshot->index = mark->index;
    snapshot->term = mark->term;
    snapshot->configuration_index = mark->members_index;
    snapshot->bufs = bufs;
    snapshot->n_bufs = 1;
    return snapshot;
}

static int disk_load(struct raft_io *io, raft_term *term, raft_id *vote,
                     struct raft_snapshot **snapshot, raft_index *first,
                     struct raft_entry *entries[], size_t *count)
{
    struct replica_disk *disk = disk_of(io);
    struct loading loading;
    int rc = load(io, &loading);
    *snapshot = NULL;
    if (rc == 0 && disk->mark.index != 0) {
        *snapshot = make_snapshot(&disk->mark);
        if (*snapshot == NULL) {
            raft_free(loading.batch);
            raft_free(loading.entries);
            snprintf(io->errmsg, sizeof io->errmsg, "the log's mark cannot be read");
            rc = RAFT_CORRUPT;
        }
    }
    if (rc == 0) {
        *term = disk->term;
        *vote = disk->vote;
        *first = disk->first;
        *entries = loading.entries;
        *count = loading.count;
    }
    return rc;
}

/* ---- terms, votes, the first entry -------------------------------------------------------------------------------- */

struct standing {
    struct log_task task;
    uint64_t term, vote;
    bool sets_vote;
    struct log_entry entry; /* index 0: none */
};

static void run_standing(struct log_task *task, struct log_store *store)
{
    const struct standing *standing = (struct standing *)task;
    if (standing->entry.index != 0) {
        log_store_add(store, task->group, &standing->entry);
    }
    if (standing->sets_vote) {
        log_store_set_vote(store, task->group, standing->term, standing->vote);
    }
}

static int stand(struct raft_io *io, struct standing standing)
{
    struct replica_disk *disk = disk_of(io);
    standing.task = (struct log_task){.run = run_standing, .group = disk->group};
    if (!member_log_do(disk->log, &standing.task)) {
        snprintf(io->errmsg, sizeof io->errmsg, "the log cannot be written");
        return RAFT_IOERR;
    }
    if (standing.sets_vote) {
        disk->term = standing.term;
        disk->vote = standing.vote;
    }
    return 0;
}

static int disk_set_term(struct raft_io *io, raft_term term)
{
    return stand(io, (struct standing){.term = term, .sets_vote = true});
}

static int disk_set_vote(struct raft_io *io, raft_id vote)
{
    return stand(io, (struct standing){.term = disk_of(io)->term, .vote = vote, .sets_vote = true});
}

static int add_members(struct raft_io *io, const struct raft_configuration *members,
                       struct standing standing)
{
    struct raft_buffer encoded;
    int rc = raft_configuration_encode(members, &encoded);
    if (rc == 0) {
        standing.entry.type = RAFT_CHANGE;
        standing.entry.data = text_of_buffer(&encoded);
        rc = stand(io, standing);
        raft_free(encoded.base);
    }
    return rc;
}

/* What is known of the log without keeping its entries. */
static int look(struct raft_io *io, raft_term *ret_last_term)
{
    struct loading loading;
    int rc = load(io, &loading);
    if (rc == 0) {
        *ret_last_term =
            loading.count > 0 ? loading.entries[loading.count - 1].term : loading.head.mark.term;
        raft_free(loading.batch);
        raft_free(loading.entries);
    }
    return rc;
}

static int disk_bootstrap(struct raft_io *io, const struct raft_configuration *members)
{
    raft_term last;
    int rc = look(io, &last);
    if (rc != 0 || disk_of(io)->term != 0 || disk_of(io)->next > 1) {
        return rc != 0 ? rc : RAFT_CANTBOOTSTRAP;
    }
    return add_members(
        io, members,
        (struct standing){.term = 1, .sets_vote = true, .entry = {.index = 1, .term = 1}});
}

static int disk_recover(struct raft_io *io, const struct raft_configuration *members)
{
    raft_term last;
    int rc = look(io, &last);
    if (rc == 0 && last == 0) {
        snprintf(io->errmsg, sizeof io->errmsg, "there is nothing in the log");
        rc = RAFT_CORRUPT;
    }
    return rc != 0 ? rc
                   : add_members(
                         io, members,
                         (struct standing){.entry = {.index = disk_of(io)->next, .term = last}});
}

/* ---- entries ------------------------------------------------------------------------------------------------------ */

static void run_append(struct log_task *task, struct log_store *store)
{
    const struct asked *asked = (struct asked *)task;
    for (unsigned i = 0; i < asked->count; i++) {
        const struct raft_entry *entry = &asked->entries[i];
        struct log_entry added = {.index = asked->index + i,
                                  .term = entry->term,
                                  .type = (int)entry->type,
                                  .data = text_of_buffer(&entry->buf)};
        log_store_add(store, task->group, &added);
    }
}

static void append_done(struct log_task *task, bool stored)
{
    struct asked *asked = (struct asked *)task;
    struct replica_disk *disk = asked->disk;
    raft_io_append_cb cb = asked->cb.append;
    void *request = asked->request;
    answered(asked);
    cb(request, status_of(disk, stored));
    maybe_stopped(disk);
}

/* The engine keeps the entries until it is told. */
static int disk_append(struct raft_io *io, struct raft_io_append *request,
                       const struct raft_entry entries[], unsigned count, raft_io_append_cb cb)
{
    struct replica_disk *disk = disk_of(io);
    struct asked *asked = ask(disk, run_append, append_done);
    if (asked == NULL) {
        return RAFT_NOMEM;
    }
    request->cb = cb;
    asked->request = request;
    asked->cb.append = cb;
    asked->index = disk->next;
    asked->entries = entries;
    asked->count = count;
    disk->next += count;
    member_log_ask(disk->log, &asked->task);
    return 0;
}

static void run_truncate(struct log_task *task, struct log_store *store)
{
    log_store_drop_from(store, task->group, ((struct asked *)task)->index);
}

static void truncate_done(struct log_task *task, bool stored)
{
    struct asked *asked = (struct asked *)task;
    struct replica_disk *disk = asked->disk;
    (void)stored;
    answered(asked);
    maybe_stopped(disk);
}

static int disk_truncate(struct raft_io *io, raft_index index)
{
    struct replica_disk *disk = disk_of(io);
    if (index >= disk->next) {
        return 0; /* what comes next is what is appended next */
    }
    struct asked *asked = ask(disk, run_truncate, truncate_done);
    if (asked == NULL) {
        return RAFT_NOMEM;
    }
    asked->index = index;
    disk->next = index;
    member_log_ask(disk->log, &asked->task);
    return 0;
}

/* ---- marks -------------------------------------------------------------------------------------------------------- */

static void run_put(struct log_task *task, struct log_store *store)
{
    const struct asked *asked = (struct asked *)task;
    if (asked->anew) {
        log_store_drop_from(store, task->group, 0);
    }
    log_store_set_mark(store, task->group, &asked->mark, asked->first);
}

static void put_done(struct log_task *task, bool stored)
{
    struct asked *asked = (struct asked *)task;
    struct replica_disk *disk = asked->disk;
    raft_io_snapshot_put_cb cb = asked->cb.put;
    void *request = asked->request;
    if (stored) {
        arena_free(&disk->arena);
        disk->arena = asked->arena;
        disk->mark = asked->mark;
        asked->arena = ARENA_EMPTY;
    }
    answered(asked);
    cb(request, status_of(disk, stored));
    maybe_stopped(disk);
}

static bool copy_mark(struct asked *asked, const struct raft_snapshot *snapshot)
{
    struct raft_buffer members;
    if (raft_configuration_encode(&snapshot->configuration, &members) != 0) {
        return false;
    }
    asked->mark =
        (struct log_mark){.index = snapshot->index,
                          .term = snapshot->term,
                          .members_index = snapshot->configuration_index,
                          .members = arena_copy(&asked->arena, text_of_buffer(&members)),
                          .data = arena_copy(&asked->arena, text_of_buffer(&snapshot->bufs[0]))};
    raft_free(members.base);
    return text_given(asked->mark.members) && text_given(asked->mark.data);
}

/* Where the log begins with the mark: `trailing` entries before it are kept, 0: none, nor any behind it. */
static void place_log(struct replica_disk *disk, struct asked *asked, unsigned trailing)
{
    raft_index index = asked->mark.index;
    asked->anew = trailing == 0;
    if (asked->anew) {
        disk->first = disk->next = index + 1;
    } else if (index > trailing && index - trailing + 1 > disk->first) {
        raft_index first = index - trailing + 1;
        disk->first = first < disk->next ? first : disk->next;
    }
    asked->first = disk->first;
}

static int disk_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *request,
                    const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    struct replica_disk *disk = disk_of(io);
    struct asked *asked = disk->stopping ? NULL : ask(disk, run_put, put_done);
    if (asked == NULL) {
        return disk->stopping ? RAFT_CANCELED : RAFT_NOMEM;
    }
    if (!copy_mark(asked, snapshot)) {
        answered(asked);
        return RAFT_NOMEM;
    }
    request->cb = cb;
    asked->request = request;
    asked->cb.put = cb;
    place_log(disk, asked, trailing);
    member_log_ask(disk->log, &asked->task);
    return 0;
}

static void get_done(struct log_task *task, bool stored)
{
    struct asked *asked = (struct asked *)task;
    struct replica_disk *disk = asked->disk;
    struct raft_snapshot *snapshot = disk->mark.index != 0 ? make_snapshot(&disk->mark) : NULL;
    int status = snapshot != NULL ? 0 : RAFT_IOERR;
    raft_io_snapshot_get_cb cb = asked->cb.get;
    void *request = asked->request;
    (void)stored;
    if (snapshot == NULL) {
        snapshot = asked->snapshot;
        asked->snapshot = NULL;
    }
    raft_free(asked->snapshot);
    answered(asked);
    cb(request, snapshot, status);
    maybe_stopped(disk);
}

static int disk_get(struct raft_io *io, struct raft_io_snapshot_get *request,
                    raft_io_snapshot_get_cb cb)
{
    struct replica_disk *disk = disk_of(io);
    struct raft_snapshot *spare = raft_calloc(1, sizeof *spare); /* of a failure */
    struct asked *asked = spare != NULL ? ask(disk, NULL, get_done) : NULL;
    if (asked == NULL) {
        raft_free(spare);
        return RAFT_NOMEM;
    }
    request->cb = cb;
    asked->request = request;
    asked->cb.get = cb;
    asked->snapshot = spare;
    member_log_call(disk->log, &asked->task);
    return 0;
}

struct replica_disk *replica_disk_open(struct raft_io *io, struct member_log *log, uint64_t group)
{
    struct replica_disk *disk = calloc(1, sizeof *disk);
    if (disk == NULL) {
        return NULL;
    }
    disk->log = log;
    disk->group = group;
    disk->first = disk->next = 1;
    io->impl = disk;
    io->load = disk_load;
    io->bootstrap = disk_bootstrap;
    io->recover = disk_recover;
    io->set_term = disk_set_term;
    io->set_vote = disk_set_vote;
    io->append = disk_append;
    io->truncate = disk_truncate;
    io->snapshot_put = disk_put;
    io->snapshot_get = disk_get;
    return disk;
}
