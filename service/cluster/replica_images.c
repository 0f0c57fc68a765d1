/*
 * The engine thinks of the log being cut as storing a copy of the state. Here the state is durable by itself; so the
 * "copy" is a mark that says how far it is, stored after the machine was synced (how far by the machine's own count: the
 * engine's goes on with entries of its own, which the machine never sees):
 *
 *     cut       engine: snapshot ─► mark;  put ─► machine.sync (thread) ─► the mark is stored, the log is cut
 *     send      engine: get ─► the mark is read ─► machine.image (thread) ─► sent in its place
 *     install   engine: put ─► machine.install (thread) ─► a mark is stored ─► restore has nothing left to do
 *     start     engine: restore(mark) ─► is the machine as far as the mark says? else it is not the file of this log
 *
 * What is sent may be newer than what it is called: the machine knows what it has applied, and the entries between are
 * committed.
 */
#include "service/cluster/replica_guard.h"
#include "service/cluster/replica_state.h"
#include "service/cluster/wire.h"
#include "service/log.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { MARK_BYTES = 16 };

/* Of the machine as it is now. The buffer's base is NULL when memory ran out. */
static struct raft_buffer make_mark(const struct replica *replica)
{
    uint64_t index, term;
    unsigned char *mark = raft_malloc(MARK_BYTES);
    if (mark != NULL) {
        replica->machine.applied(replica->machine.context, &index, &term);
        memcpy(mark, REPLICA_MARK, sizeof REPLICA_MARK);
        wire_put64(mark + sizeof REPLICA_MARK, index);
    }
    return (struct raft_buffer){mark, MARK_BYTES};
}

static bool is_mark(const struct raft_buffer *buffer)
{
    return buffer->len == MARK_BYTES &&
           memcmp(buffer->base, REPLICA_MARK, sizeof REPLICA_MARK) == 0;
}

/* ---- cutting the log ---------------------------------------------------------------------------------------------- */

static void set_threshold(struct replica *replica)
{
    bool full = replica->log_bytes >= replica->log_bytes_max;
    unsigned kept = full && replica->log_entries < replica->log_entries_max
                        ? replica->log_entries
                        : replica->log_entries_max;
    raft_set_snapshot_threshold(&replica->raft, full ? 1 : replica->log_entries_max);
    raft_set_snapshot_trailing(&replica->raft, kept > 0 ? kept : 1);
}

void replica_log_grew(struct replica *replica, const struct raft_entry entries[], unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        replica->log_bytes += entries[i].buf.len;
    }
    replica->log_entries += n;
    if (!replica->cutting) { /* what is being cut is cut by one measure */
        set_threshold(replica);
    }
}

int replica_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct replica *replica = fsm->data;
    if (replica->failed || replica->closing || replica->works > 0 ||
        replica_now(replica) < replica->cut_not_before || !guard_members_known(&replica->raft)) {
        return RAFT_BUSY; /* the engine asks again */
    }
    replica_settle(replica); /* the engine cuts by what it has applied */
    if (replica->failed) {
        return RAFT_BUSY;
    }
    struct raft_buffer *buffer = raft_malloc(sizeof *buffer);
    struct raft_buffer mark = make_mark(replica);
    if (buffer == NULL || mark.base == NULL) {
        raft_free(buffer);
        raft_free(mark.base);
        return RAFT_NOMEM;
    }
    *buffer = mark;
    *bufs = buffer;
    *n_bufs = 1;
    return 0;
}

/* ---- storing: a cut, or an image that came -------------------------------------------------------------------------- */

static void put_over(struct image_put *put, int status)
{
    struct replica *replica = put->replica;
    bool installing = put->trailing == 0;
    if (!installing) {
        replica->cutting = false;
    }
    if (status == 0) {
        replica->log_bytes -= put->log_bytes;
        replica->log_entries -= put->log_entries;
        replica->installed = installing ? put->given->index : replica->installed;
    } else if (installing && !replica->engine_closing) {
        replica_fail(replica,
                     "cannot install an image"); /* the engine would wait for it for ever */
    } else {
        replica->cut_not_before = replica_now(replica) + REPLICA_SNAPSHOT_RETRY_MS;
    }
    struct raft_io_snapshot_put *outer = put->outer;
    raft_io_snapshot_put_cb cb = put->cb;
    raft_free(put->mark.base);
    free(put);
    cb(outer, status);
    set_threshold(replica); /* not before: the engine cuts by what it was when it began */
}

/* Success while the engine closes is none: it would not free what it keeps for the success. */
static void put_stored(struct raft_io_snapshot_put *inner, int status)
{
    struct image_put *put = inner->data;
    put_over(put, put->replica->engine_closing ? RAFT_CANCELED : status);
}

static struct image_put *put_of(struct replica_work *work)
{
    return (struct image_put *)((char *)work - offsetof(struct image_put, work));
}

static void put_work(struct replica_work *work)
{
    struct image_put *put = put_of(work);
    const struct replica_machine *machine = &put->replica->machine;
    if (put->trailing > 0) {
        put->good = machine->sync(machine->context);
    } else {
        const struct raft_buffer *image = &put->given->bufs[0];
        put->good = machine->install(machine->context, (struct text){image->base, image->len});
    }
}

/* What is stored: of a cut the mark that was made before the machine was synced, of an image one of what it made of the
   machine. */
static bool set_mark(struct replica *replica, struct image_put *put)
{
    if (put->trailing > 0) {
        return true;
    }
    put->mark = make_mark(replica);
    put->stored.bufs = &put->mark;
    put->stored.n_bufs = 1;
    return put->mark.base != NULL;
}

static void put_worked(struct replica_work *work)
{
    struct image_put *put = put_of(work);
    struct replica *replica = put->replica;
    replica->works--;
    int rc = put->good && set_mark(replica, put) ? 0 : RAFT_IOERR;
    if (rc == 0) {
        rc = replica->inner.snapshot_put(&replica->io, put->trailing, &put->inner, &put->stored,
                                         put_stored);
    }
    if (rc != 0) {
        put_over(put, rc);
    }
    replica_work_ended(replica);
}

/* False when memory ran out. */
static bool begin_put(struct replica *replica, struct image_put *put)
{
    put->work.run = put_work;
    put->work.over = put_worked;
    replica_settle(replica); /* an image takes the place of what is stored */
    if (!replica->ground->calls->queue(replica->ground, &put->work)) {
        return false;
    }
    replica->cutting |= put->trailing > 0;
    replica->works++;
    return true;
}

int replica_image_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *request,
                      const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    struct replica *replica = replica_of_io(io);
    struct image_put *put = calloc(1, sizeof *put);
    if (put != NULL) {
        put->replica = replica;
        put->inner.data = put;
        put->outer = request;
        request->cb = cb;
        put->cb = cb;
        put->given = snapshot;
        put->stored = *snapshot;
        put->trailing = trailing;
        put->log_bytes = replica->log_bytes;
        put->log_entries = replica->log_entries;
    }
    if (put == NULL || !begin_put(replica, put)) {
        free(put);
        if (trailing == 0) {
            replica_fail(replica, "out of memory");
        }
        return RAFT_NOMEM;
    }
    return 0;
}

int replica_restore(struct raft_fsm *fsm, struct raft_buffer *buffer)
{
    struct replica *replica = fsm->data;
    uint64_t index = 0, term = 0;
    if (is_mark(buffer)) {
        uint64_t wanted = wire_get64((unsigned char *)buffer->base + sizeof REPLICA_MARK);
        replica->machine.applied(replica->machine.context, &index, &term);
        if (index < wanted) {
            replica_fail(replica,
                         "the stored state ends at entry %" PRIu64
                         ", the log begins after entry %" PRIu64
                         ": it is not the state that belongs to this log",
                         index, wanted);
            return RAFT_CORRUPT;
        }
    }
    raft_free(buffer->base); /* an image was installed before the engine came here */
    return 0;
}

/* ---- sending ------------------------------------------------------------------------------------------------------ */

static void begin_image(struct image_get *get);

/*
 * Answers the engine, which sends from within. It does not survive a failure here: it frees a configuration that it never
 * had. So it is always given an image, and one that is not good is not let through to the network (io_send).
 */
static void deliver(struct image_get *get)
{
    struct replica *replica = get->replica;
    struct raft_snapshot *snapshot = get->snapshot;
    if (!get->good) {
        LOG(LOG_WARN, "image-not-sent", LOG_INT("group", (int64_t)replica->group));
    }
    replica->image_dropped = !get->good;
    replica->image_term = snapshot->term;
    get->cb(get->outer, snapshot, 0);
    replica->image_dropped = false;
    free(get);
}

void replica_image_goes(struct replica *replica, const struct raft_message *message)
{
    uint64_t node = message->server_id;
    int at = 0;
    for (int i = REPLICA_MEMBERS_MAX - 1; i >= 0; i--) {
        bool own = replica->images_sent[i].node == node;
        at = own || replica->images_sent[i].bytes == 0 ? i : at;
        if (own) {
            break;
        }
    }
    replica->images_sent[at].node = node;
    replica->images_sent[at].index = message->install_snapshot.last_index;
    replica->images_sent[at].bytes = message->install_snapshot.data.len;
}

void replica_image_on_way(const struct replica *replica, uint64_t node, uint64_t match,
                          uint64_t *ret_bytes, uint64_t *ret_sent)
{
    bool leads = raft_state((struct raft *)&replica->raft) == RAFT_LEADER;
    *ret_bytes = *ret_sent = 0;
    for (int i = 0; leads && i < REPLICA_MEMBERS_MAX; i++) {
        size_t bytes = replica->images_sent[i].bytes, unsent;
        if (bytes > 0 && replica->images_sent[i].node == node &&
            match < replica->images_sent[i].index &&
            replica->ground->calls->unsent(replica->ground, node, &unsent)) {
            *ret_bytes = bytes;
            *ret_sent = bytes - (unsent < bytes ? unsent : bytes);
        }
    }
}

static struct image_get *get_of(struct replica_work *work)
{
    return (struct image_get *)((char *)work - offsetof(struct image_get, work));
}

static void image_work(struct replica_work *work)
{
    struct image_get *get = get_of(work);
    const struct replica_machine *machine = &get->replica->machine;
    get->good = machine->image(machine->context, &get->bytes, &get->count);
}

static void image_worked(struct replica_work *work)
{
    struct image_get *get = get_of(work);
    struct replica *replica = get->replica;
    replica->works--;
    replica->imaging = false;
    if (get->good) {
        raft_free(get->snapshot->bufs[0].base);
        get->snapshot->bufs[0] = (struct raft_buffer){get->bytes, get->count};
    }
    deliver(get);
    while (replica->gets != NULL && !replica->imaging) {
        struct image_get *next = replica->gets;
        replica->gets = next->next;
        begin_image(next);
    }
    replica_work_ended(replica);
}

/* One at a time: an image is in memory whole. */
static void begin_image(struct image_get *get)
{
    struct replica *replica = get->replica;
    if (replica->closing || replica->failed) {
        deliver(get);
    } else if (replica->imaging) {
        get->next = replica->gets;
        replica->gets = get;
    } else {
        get->work.run = image_work;
        get->work.over = image_worked;
        replica->imaging = replica->ground->calls->queue(replica->ground, &get->work);
        if (replica->imaging) {
            replica->works++;
        } else {
            deliver(get);
        }
    }
}

/* In the place of one that could not be read; it is not sent. */
static void hollow(struct raft_snapshot *snapshot)
{
    memset(snapshot, 0, sizeof *snapshot);
    raft_configuration_init(&snapshot->configuration);
    snapshot->bufs = raft_calloc(1, sizeof *snapshot->bufs);
    snapshot->n_bufs = 1;
}

static void mark_read(struct raft_io_snapshot_get *inner, struct raft_snapshot *snapshot,
                      int status)
{
    struct image_get *get = inner->data;
    get->snapshot = snapshot;
    if (status != 0) {
        hollow(snapshot);
        deliver(get);
    } else {
        begin_image(get);
    }
}

int replica_image_get(struct raft_io *io, struct raft_io_snapshot_get *request,
                      raft_io_snapshot_get_cb cb)
{
    struct replica *replica = replica_of_io(io);
    struct image_get *get = calloc(1, sizeof *get);
    if (get == NULL) {
        return RAFT_NOMEM;
    }
    get->replica = replica;
    get->inner.data = get;
    get->outer = request;
    request->cb = cb;
    get->cb = cb;
    int rc = replica->inner.snapshot_get(io, &get->inner, mark_read);
    if (rc != 0) {
        free(get);
    }
    return rc;
}
