/*
 * The engine reaches its disk and the network through a table of functions. Ours stand before those of libraft's libuv
 * backend, and do what it does not:
 *
 *   send      cuts messages to what their receiver takes right (guard_batch), lets no member's queue grow without end, and
 *             tells whom it refuses beforehand its own term (guard_vote_term)
 *   recv      leaves out what was cut already (guard_cut), and answers that are late (guard_is_late), commits first
 *             (guard_commit_first), lets members vote in time and whoever is asked (guard_may_vote, guard_standing_by),
 *             and puts off an image that comes while the log is being cut, over which the engine would crash
 *   tick      has candidates begin anew with a pre-vote (guard_begins_anew)
 *   set_*, append, truncate   a failure stops the replica: the engine would go on with a term, vote or log that only its
 *             memory holds. It is not told: on its way out of a failure it frees entries that it freed before. It goes
 *             on, then, but nothing that it sends or receives any more gets through
 *   load      begins a new term for who votes alone (guard_votes_alone)
 *   images    see replica_images.c
 */
#include "service/cluster/message.h"
#include "service/cluster/replica_guard.h"
#include "service/cluster/replica_state.h"

#include <stdlib.h>
#include <string.h>

/* ---- send --------------------------------------------------------------------------------------------------------- */

/* Entries on their way. */
struct sent {
    struct raft_io_send inner, *outer;
    raft_io_send_cb cb;
    struct replica *replica;
    uint64_t to;
    size_t bytes;
};

/* What is on its way to that member. NULL when there is no slot left for it. */
static size_t *sending_to(struct replica *replica, uint64_t node)
{
    for (int i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        if (replica->sending[i].node == node) {
            return &replica->sending[i].bytes;
        }
    }
    for (int i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        if (replica->sending[i].bytes == 0) {
            replica->sending[i].node = node;
            return &replica->sending[i].bytes;
        }
    }
    return NULL;
}

static void has_sent(struct raft_io_send *inner, int status)
{
    struct sent *sent = inner->data;
    size_t *bytes = sending_to(sent->replica, sent->to);
    struct raft_io_send *outer = sent->outer;
    raft_io_send_cb cb = sent->cb;
    if (bytes != NULL) {
        *bytes -= sent->bytes < *bytes ? sent->bytes : *bytes;
    }
    free(sent);
    cb(outer, status);
}

static int send_entries(struct raft_io *io, struct raft_io_send *request,
                        struct raft_message *message, raft_io_send_cb cb)
{
    struct replica *replica = replica_of_io(io);
    struct raft_append_entries *entries = &message->append_entries;
    size_t *queued = sending_to(replica, message->server_id);
    size_t bytes = 0;
    entries->n_entries = guard_batch(entries, REPLICA_MESSAGE_BYTES_MAX);
    for (unsigned i = 0; i < entries->n_entries; i++) {
        bytes += entries->entries[i].buf.len;
    }
    struct sent *sent = malloc(sizeof *sent);
    if (sent == NULL || queued == NULL || guard_store_first(&replica->raft, entries) ||
        (*queued > 0 && *queued + bytes > REPLICA_PEER_BYTES_MAX)) {
        free(sent);
        entries->n_entries = 0; /* a sign of life, no more; the engine finds out what is missing */
        return replica->inner.send(io, request, message, cb);
    }
    *sent = (struct sent){.inner = {.data = sent},
                          .outer = request,
                          .cb = cb,
                          .replica = replica,
                          .to = message->server_id,
                          .bytes = bytes};
    int rc = replica->inner.send(io, &sent->inner, message, has_sent);
    if (rc == 0) {
        *queued += bytes;
    } else {
        free(sent);
    }
    return rc;
}

static int io_send(struct raft_io *io, struct raft_io_send *request,
                   const struct raft_message *message, raft_io_send_cb cb)
{
    struct replica *replica = replica_of_io(io);
    struct raft_message copy = *message;
    bool image = message->type == RAFT_INSTALL_SNAPSHOT;
    if (replica->failed || replica->engine_closing || (image && replica->image_dropped)) {
        cb(request, RAFT_CANCELED);
        return 0;
    }
    if (image) { /* the engine has the term of the image it meant, not of the newer one it got */
        copy.install_snapshot.last_term = replica->image_term;
        replica_image_goes(replica, message);
    }
    if (message->type == RAFT_APPEND_ENTRIES && message->append_entries.n_entries > 0) {
        return send_entries(io, request, &copy, cb);
    }
    if (message->type == RAFT_REQUEST_VOTE_RESULT) {
        copy.request_vote_result.term =
            guard_vote_term(&replica->raft, &message->request_vote_result);
    }
    return replica->inner.send(io, request, &copy, cb);
}

/* ---- recv --------------------------------------------------------------------------------------------------------- */

/* Keeps the newest image that came while there was no place for it. */
static void defer(struct replica *replica, const struct raft_message *message)
{
    if (replica->deferred == NULL) {
        replica->deferred = malloc(sizeof *replica->deferred);
    } else {
        message_dispose(replica->deferred);
    }
    if (replica->deferred != NULL) {
        *replica->deferred = *message;
    } else {
        struct raft_message lost = *message; /* it is sent again */
        message_dispose(&lost);
    }
}

/* Lets the message begin behind what was cut. */
static void skip_cut(const struct replica *replica, struct raft_append_entries *message)
{
    const struct raft *raft = &replica->raft;
    unsigned count = guard_cut(raft, message);
    if (count == 0) {
        return;
    }
    if (count == message->n_entries) {
        raft_free(message->entries[0].batch);
        raft_free(message->entries);
        message->entries = NULL;
    } else {
        memmove(message->entries, message->entries + count,
                (message->n_entries - count) * sizeof *message->entries);
    }
    message->n_entries -= count;
    message->prev_log_index = raft->trail.snapshot.index;
    message->prev_log_term = raft->trail.snapshot.term;
}

static void commit_first(struct replica *replica, const struct raft_message *message)
{
    struct raft_message sign = *message;
    sign.append_entries.entries = NULL;
    sign.append_entries.n_entries = 0;
    replica->recv(&replica->io, &sign);
}

/* Nothing but the vote depends on the role meanwhile, and nothing moves the membership. */
static void vote(struct replica *replica, struct raft_message *message)
{
    struct raft_server *self = guard_standing_by(&replica->raft);
    int role = self != NULL ? self->role : RAFT_VOTER;
    bool silent =
        replica->raft.state == RAFT_FOLLOWER &&
        (replica->lost != 0 || guard_may_vote(&replica->raft, replica->io.time(&replica->io)));
    /* Who asks has waited for a leader that seems to have ended; we need not wait as long again. */
    if (silent) {
        message->request_vote.disrupt_leader = true;
    }
    if (self != NULL) {
        self->role = RAFT_VOTER;
    }
    replica->recv(&replica->io, message);
    if (self != NULL) {
        self->role = role;
    }
}

void replica_receive(struct raft_io *io, struct raft_message *message)
{
    struct replica *replica = replica_of_io(io);
    bool install = message->type == RAFT_INSTALL_SNAPSHOT;
    if (replica->failed || replica->engine_closing || (install && replica->closing) ||
        (install &&
         replica->raft.snapshot.installing)) { /* the engine would drop and not free it */
        message_dispose(message);
        return;
    }
    if (install && (replica->cutting || replica->works > 0)) {
        defer(replica, message);
        return;
    }
    if (message->type == RAFT_APPEND_ENTRIES) {
        skip_cut(replica, &message->append_entries);
    }
    if (message->type == RAFT_APPEND_ENTRIES &&
        guard_commit_first(&replica->raft, &message->append_entries)) {
        commit_first(replica, message);
    }
    if (message->type == RAFT_REQUEST_VOTE_RESULT &&
        guard_is_late(&replica->raft, &message->request_vote_result)) {
        return;
    }
    if (message->type == RAFT_REQUEST_VOTE) {
        struct raft_request_vote request = message->request_vote;
        vote(replica, message);
        replica_asked(replica, &request);
    } else {
        replica->recv(io, message);
    }
    replica_heard(replica);
}

void replica_io_end(struct replica *replica)
{
    if (replica->deferred != NULL) {
        message_dispose(replica->deferred);
        free(replica->deferred);
        replica->deferred = NULL;
    }
}

void replica_io_turn(struct replica *replica)
{
    struct raft_message *message = replica->deferred;
    if (message == NULL || replica->cutting || replica->works > 0) {
        return;
    }
    if (replica->raft.snapshot.installing) { /* a newer one came through before it */
        replica_io_end(replica);
        return;
    }
    char name[TRANSPORT_NAME_BYTES]; /* the one it came with belongs to its connection */
    transport_name(message->server_id, name);
    message->server_address = name;
    replica->deferred = NULL;
    replica->recv(&replica->io, message);
    free(message);
}

void replica_tick(struct raft_io *io)
{
    struct replica *replica = replica_of_io(io);
    if (guard_begins_anew(&replica->raft, io->time(io))) {
        replica->raft.candidate_state.in_pre_vote = true;
        replica->raft.candidate_state.disrupt_leader = false;
    }
    replica->engine_tick(io);
}

static int io_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
    struct replica *replica = replica_of_io(io);
    replica->recv = recv;
    replica->engine_tick = tick;
    return replica->inner.start(io, msecs, replica_tick, replica_receive);
}

/* ---- the disk ----------------------------------------------------------------------------------------------------- */

/* Stops the replica when something was not stored. What the engine is told. */
static int checked(struct raft_io *io, int rc, const char *what)
{
    if (rc != 0) {
        replica_fail(replica_of_io(io), "cannot store %s: %s", what, io->errmsg);
    }
    return 0;
}

static int io_set_term(struct raft_io *io, raft_term term)
{
    struct replica *replica = replica_of_io(io);
    return replica->failed ? 0 : checked(io, replica->inner.set_term(io, term), "a term");
}

static int io_set_vote(struct raft_io *io, raft_id node)
{
    struct replica *replica = replica_of_io(io);
    return replica->failed ? 0 : checked(io, replica->inner.set_vote(io, node), "a vote");
}

/* Entries that were not taken in are called back never: what the engine keeps for that goes with the process. */
static int io_append(struct raft_io *io, struct raft_io_append *request,
                     const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    struct replica *replica = replica_of_io(io);
    replica_log_grew(replica, entries, n);
    return checked(io, replica->inner.append(io, request, entries, n, cb), "entries of the log");
}

static int io_truncate(struct raft_io *io, raft_index index)
{
    struct replica *replica = replica_of_io(io);
    return checked(io, replica->inner.truncate(io, index), "the log's end");
}

static int io_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                   struct raft_snapshot **snapshot, raft_index *start_index,
                   struct raft_entry *entries[], size_t *n_entries)
{
    struct replica *replica = replica_of_io(io);
    int rc = replica->inner.load(io, term, voted_for, snapshot, start_index, entries, n_entries);
    if (rc != 0) {
        return rc;
    }
    replica_log_grew(replica, *entries, (unsigned)*n_entries);
    if (guard_votes_alone(replica->node, *snapshot, *entries, *n_entries)) {
        *term += 1;
        *voted_for = 0;
        (void)io_set_term(io, *term);
    }
    return 0;
}

void replica_io_wrap(struct replica *replica)
{
    struct raft_io *io = &replica->io;
    replica->inner = *io;
    io->start = io_start;
    io->load = io_load;
    io->set_term = io_set_term;
    io->set_vote = io_set_vote;
    io->send = io_send;
    io->append = io_append;
    io->truncate = io_truncate;
    io->snapshot_put = replica_image_put;
    io->snapshot_get = replica_image_get;
}
