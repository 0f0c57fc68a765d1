#include "tests/sim/disk.h"

#include "db/limits.h"
#include "tests/sim/world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { FULL_RESERVE = 20, UNSYNCED_MS = 400 };

enum op_kind { OP_APPEND, OP_TRUNCATE, OP_PUT, OP_GET };
struct disk_op {
    struct disk_op *next;
    enum op_kind kind;
    struct raft_entry *entries; /* APPEND */
    size_t count;
    raft_index from;   /* TRUNCATE */
    unsigned trailing; /* PUT */
    struct raft_snapshot *mark;
    void *request;
    union {
        raft_io_append_cb append;
        raft_io_snapshot_put_cb put;
        raft_io_snapshot_get_cb get;
    } cb;
    bool told; /* the lie: it was said to be done before it was */
};
enum disk_lie disk_lie;

struct at_disk {
    struct disk *disk;
    int node;
};

/* ---- memory ------------------------------------------------------------------------------------------------------- */

static void *must(void *memory)
{
    assert(memory != NULL);
    return memory;
}

static struct raft_buffer copy_buffer(struct raft_buffer from)
{
    void *base = must(raft_malloc(from.len + 1));
    if (from.len > 0) {
        memcpy(base, from.base, from.len);
    }
    return (struct raft_buffer){base, from.len};
}

void configuration_copy_to(const struct raft_configuration *from, struct raft_configuration *to)
{
    raft_configuration_init(to);
    for (unsigned i = 0; i < from->n; i++) {
        const struct raft_server *server = &from->servers[i];
        int rc = raft_configuration_add(to, server->id, server->address, server->role);
        assert(rc == 0);
        (void)rc;
    }
}

struct raft_snapshot *snapshot_copy_of(const struct raft_snapshot *from)
{
    struct raft_snapshot *to = must(raft_calloc(1, sizeof *to));
    *to = *from;
    configuration_copy_to(&from->configuration, &to->configuration);
    to->bufs = must(raft_calloc(1, sizeof *to->bufs));
    to->n_bufs = 1;
    to->bufs[0] = copy_buffer(from->bufs[0]);
    return to;
}

/* ---- what is on it ------------------------------------------------------------------------------------------------ */

void disk_make(struct disk *disk)
{
    *disk = (struct disk){.first = 1, .latency_us = 2 * MS};
    disk->tail = &disk->head;
}

bool disk_is_new(const struct disk *disk)
{
    return disk->term == 0 && disk->count == 0 && disk->mark == NULL;
}

raft_index disk_last(const struct disk *disk)
{
    return disk->first + disk->count - 1;
}

static void add_entries(struct disk *disk, const struct raft_entry *entries, size_t count)
{
    if (disk->count + count > disk->room) {
        disk->room = (disk->count + count) * 2;
        disk->entries = must(realloc(disk->entries, disk->room * sizeof *disk->entries));
    }
    memcpy(disk->entries + disk->count, entries, count * sizeof *entries);
    disk->count += count;
}

static void drop_prefix(struct disk *disk, raft_index first)
{
    if (first > disk->first) {
        size_t gone = (size_t)(first - disk->first);
        assert(gone <= disk->count);
        memmove(disk->entries, disk->entries + gone, (disk->count - gone) * sizeof *disk->entries);
        disk->count -= gone;
        disk->first = first;
    }
}

static void store_mark(struct disk *disk, const struct disk_op *op)
{
    disk->mark = op->mark;
    if (op->trailing == 0) { /* an image: the log begins anew behind it */
        disk->count = 0;
        disk->first = op->mark->index + 1;
    } else if (op->mark->index > op->trailing) {
        raft_index kept = op->mark->index - op->trailing + 1;
        drop_prefix(disk, kept <= disk_last(disk) + 1 ? kept : disk_last(disk) + 1);
        tally->cuts++;
    }
}

/* The step happens. */
static void perform(struct disk *disk, struct disk_op *op)
{
    switch (op->kind) {
    case OP_APPEND:
        add_entries(disk, op->entries, op->count);
        break;
    case OP_TRUNCATE:
        assert(op->from >= disk->first && op->from <= disk_last(disk) + 1);
        disk->count = (size_t)(op->from - disk->first);
        break;
    case OP_PUT:
        store_mark(disk, op);
        break;
    case OP_GET:
        break;
    }
}

static void tell(struct disk *disk, struct disk_op *op, int status)
{
    switch (op->kind) {
    case OP_APPEND:
        if (!op->told) {
            op->told = true;
            op->cb.append(op->request, status);
        }
        break;
    case OP_PUT:
        op->cb.put(op->request, status);
        break;
    case OP_GET: {
        bool there = status == 0 && disk->mark != NULL;
        struct raft_snapshot *copy =
            there ? snapshot_copy_of(disk->mark) : must(raft_calloc(1, sizeof *copy));
        op->cb.get(op->request, copy, there ? 0 : RAFT_IOERR);
        break;
    }
    case OP_TRUNCATE:
        break;
    }
}

/* ---- its work ----------------------------------------------------------------------------------------------------- */

static void work(void *context);

static void work_later(struct disk *disk, int node, uint64_t us)
{
    struct at_disk *at = must(malloc(sizeof *at));
    *at = (struct at_disk){disk, node};
    disk->working = true;
    later(us, node, work, at);
}

static struct disk_op *take(struct disk *disk)
{
    struct disk_op *op = disk->head;
    disk->head = op->next;
    if (disk->head == NULL) {
        disk->tail = &disk->head;
    }
    return op;
}

static void work(void *context)
{
    struct at_disk *at = context;
    struct disk *disk = at->disk;
    disk->working = false;
    if (disk->head == NULL) {
        return;
    }
    bool writes = disk->head->kind == OP_APPEND || disk->head->kind == OP_PUT;
    if (writes && (disk->broken || (disk->full && disk->reserve == 0))) { /* as libraft's own */
        work_later(disk, at->node, REPLICA_DISK_RETRY_MS * MS);
        return;
    }
    disk->reserve -= disk->full && writes && disk->reserve > 0;
    struct disk_op *op = take(disk);
    perform(disk, op);
    if (disk->head != NULL) {
        work_later(disk, at->node, chance_between(50, disk->latency_us));
    }
    tell(disk, op, disk->broken && op->kind == OP_GET ? RAFT_IOERR : 0);
}

static void tell_early(void *context)
{
    struct disk_op *op = context;
    if (!op->told) {
        op->told = true;
        op->cb.append(op->request, 0);
    }
}

static void ask(struct disk *disk, int node, struct disk_op op)
{
    struct disk_op *asked = must(malloc(sizeof *asked));
    *asked = op;
    asked->next = NULL;
    *disk->tail = asked;
    disk->tail = &asked->next;
    bool lies = disk_lie == DISK_UNSYNCED && op.kind == OP_APPEND;
    if (lies) {
        later(100, node, tell_early, asked);
    }
    if (!disk->working) {
        work_later(disk, node,
                   lies ? chance_between(1, UNSYNCED_MS * MS)
                        : chance_between(50, disk->latency_us));
    }
}

void disk_stop(struct disk *disk, bool tells)
{
    bool goes_on = chance_of(50);
    while (disk->head != NULL) {
        struct disk_op *op = take(disk);
        goes_on = goes_on && !disk->broken && !(disk->full && disk->reserve == 0);
        if (goes_on) {
            perform(disk, op);
        } else if (op->kind == OP_APPEND) {
            tally->lost_entries += op->count;
        }
        goes_on = goes_on && chance_of(60);
        if (tells) {
            tell(disk, op, RAFT_CANCELED);
        }
    }
    disk->working = false;
}

/* ---- what is asked ------------------------------------------------------------------------------------------------ */

int disk_bootstrap(struct disk *disk, const struct raft_configuration *members)
{
    struct raft_entry entry = {.term = 1, .type = RAFT_CHANGE};
    if (!disk_is_new(disk)) {
        return RAFT_CANTBOOTSTRAP;
    }
    int rc = raft_configuration_encode(members, &entry.buf);
    if (rc == 0) {
        disk->term = 1;
        add_entries(disk, &entry, 1);
    }
    return rc;
}

/* All entries in one piece of memory, as they come off a disk. */
static struct raft_entry *copy_entries(const struct disk *disk)
{
    size_t bytes = 0;
    for (size_t i = 0; i < disk->count; i++) {
        bytes += disk->entries[i].buf.len;
    }
    struct raft_entry *copies = must(raft_calloc(disk->count, sizeof *copies));
    char *batch = must(raft_malloc(bytes + 1));
    for (size_t i = 0, at = 0; i < disk->count; i++) {
        copies[i] = disk->entries[i];
        copies[i].batch = batch;
        copies[i].buf.base = batch + at;
        if (copies[i].buf.len > 0) {
            memcpy(batch + at, disk->entries[i].buf.base, copies[i].buf.len);
        }
        at += copies[i].buf.len;
    }
    return copies;
}

int disk_load(struct disk *disk, raft_term *term, raft_id *vote, struct raft_snapshot **snapshot,
              raft_index *first, struct raft_entry *entries[], size_t *count)
{
    if (disk->broken) {
        return RAFT_IOERR;
    }
    *term = disk->term;
    *vote = disk->vote;
    *snapshot = disk->mark == NULL ? NULL : snapshot_copy_of(disk->mark);
    *first = disk->first;
    *count = disk->count;
    *entries = disk->count == 0 ? NULL : copy_entries(disk);
    return 0;
}

int disk_set_term(struct disk *disk, raft_term term)
{
    if (disk->broken) {
        return RAFT_IOERR;
    }
    if (disk_lie != DISK_FORGETS_TERM || disk->term == 0) {
        disk->term = term;
        disk->vote = 0;
    }
    return 0;
}

int disk_set_vote(struct disk *disk, raft_id vote)
{
    if (disk->broken) {
        return RAFT_IOERR;
    }
    disk->vote = disk_lie == DISK_FORGETS_VOTE ? 0 : vote;
    return 0;
}

int disk_append(struct disk *disk, int node, struct raft_io_append *request,
                const struct raft_entry entries[], unsigned count, raft_io_append_cb cb)
{
    struct raft_entry *copies = must(calloc(count, sizeof *copies));
    for (unsigned i = 0; i < count; i++) {
        copies[i] = entries[i];
        copies[i].batch = NULL;
        copies[i].buf = copy_buffer(entries[i].buf);
    }
    ask(disk, node,
        (struct disk_op){.kind = OP_APPEND,
                         .entries = copies,
                         .count = count,
                         .request = request,
                         .cb.append = cb});
    return 0;
}

int disk_truncate(struct disk *disk, int node, raft_index index)
{
    ask(disk, node, (struct disk_op){.kind = OP_TRUNCATE, .from = index});
    return 0;
}

int disk_put(struct disk *disk, int node, unsigned trailing, struct raft_io_snapshot_put *request,
             const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    ask(disk, node,
        (struct disk_op){.kind = OP_PUT,
                         .trailing = trailing,
                         .mark = snapshot_copy_of(snapshot),
                         .request = request,
                         .cb.put = cb});
    return 0;
}

int disk_get(struct disk *disk, int node, struct raft_io_snapshot_get *request,
             raft_io_snapshot_get_cb cb)
{
    ask(disk, node, (struct disk_op){.kind = OP_GET, .request = request, .cb.get = cb});
    return 0;
}
