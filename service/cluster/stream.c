#include "service/cluster/stream.h"

#include "db/limits.h"
#include "service/cluster/link.h"
#include "service/cluster/message.h"
#include "service/cluster/peers.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <uv.h>

typedef void frame_sent(struct raft_io_send *request, int status);

/* A message that waits. */
struct frame {
    struct frame *next;
    uint64_t group;
    struct raft_io_send *request;
    frame_sent *sent;           /* NULL: nobody waits any longer */
    const unsigned char *image; /* the request's; follows the bytes */
    size_t image_bytes, bytes;
    unsigned char data[];
};

enum stream_step { STREAM_IDLE, STREAM_DIALLING, STREAM_OPEN, STREAM_WAITING };

struct stream {
    struct streams *streams;
    struct stream *next;
    uint64_t node;
    enum peer_kind kind;
    enum stream_step step;
    bool ending;
    uv_tcp_t *tcp; /* when OPEN */
    uv_timer_t timer;
    bool timer_closed;
    struct rest *rest; /* of the last write: the system has not taken it yet */

    struct frame *first, **last;
    size_t waiting;        /* bytes of the frames, without images */
    struct frame *current; /* no longer among the others: partly written, */
    size_t copied;         /* so far */
};

struct streams {
    uv_loop_t *loop;
    struct links *links;
    struct peers *peers;
    struct stream *first;
    struct frame *dropped; /* to be called back */
    uv_prepare_t prepare;
    bool prepare_closed;
    void (*closed)(void *context);
    void *closed_context;
    unsigned char piece[STREAM_PIECE_BYTES]; /* what is written next */
};

/* ---- frames ------------------------------------------------------------------------------------------------------- */

static void end_frame(struct frame *frame, int status)
{
    if (frame->sent != NULL) {
        frame->sent(frame->request, status);
    }
    free(frame);
}

static void end_frames(struct frame *frame, int status)
{
    while (frame != NULL) {
        struct frame *next = frame->next;
        end_frame(frame, status);
        frame = next;
    }
}

static size_t cost(const struct frame *frame)
{
    return sizeof *frame + frame->bytes;
}

static bool is_short(const struct frame *frame)
{
    return frame->bytes + frame->image_bytes <= STREAM_SHORT_BYTES;
}

/* Takes all that waits off the stream. */
static struct frame *take_all(struct stream *stream)
{
    struct frame *all = stream->first;
    if (stream->current != NULL) {
        stream->current->next = all;
        all = stream->current;
    }
    stream->current = NULL;
    stream->copied = 0;
    stream->first = NULL;
    stream->last = &stream->first;
    stream->waiting = 0;
    return all;
}

/* The one that goes next: the first short one that passes none of its own group, or else the first. NULL: none waits. */
static struct frame *take_next(struct stream *stream)
{
    uint64_t passed[4] = {
        0}; /* groups by their last byte: one that only looks passed loses nothing but its turn */
    struct frame **at = &stream->first, **other = at;
    for (int i = 0; *other != NULL && i < STREAM_LOOK_AHEAD; i++, other = &(*other)->next) {
        uint64_t bit = UINT64_C(1) << ((*other)->group & 63);
        uint64_t *word = &passed[(*other)->group >> 6 & 3];
        if (is_short(*other) && (*word & bit) == 0) {
            at = other;
            break;
        }
        *word |= bit;
    }
    struct frame *frame = *at;
    if (frame != NULL) {
        *at = frame->next;
        if (stream->last == &frame->next) {
            stream->last = at;
        }
        stream->waiting -= cost(frame);
    }
    return frame;
}

/* ---- the end of a connection, and of a stream --------------------------------------------------------------------- */

static void settle(struct streams *streams)
{
    if (streams->closed != NULL && streams->first == NULL && streams->prepare_closed) {
        void (*closed)(void *) = streams->closed;
        void *context = streams->closed_context;
        free(streams);
        closed(context);
    }
}

static void settle_stream(struct stream *stream)
{
    struct streams *streams = stream->streams;
    struct stream **at = &streams->first;
    if (!stream->timer_closed || stream->step == STREAM_DIALLING) {
        return;
    }
    while (*at != stream) {
        at = &(*at)->next;
    }
    *at = stream->next;
    free(stream);
    settle(streams);
}

static void timer_closed(uv_handle_t *handle)
{
    struct stream *stream = handle->data;
    stream->timer_closed = true;
    settle_stream(stream);
}

/* What the system did not take is lost; so is what it took and did not get through. */
static void hang_up(struct stream *stream)
{
    stream->rest = NULL; /* freed when it is called back */
    stream->copied = 0;
    stream->tcp->data = NULL;
    uv_close((uv_handle_t *)stream->tcp, (uv_close_cb)raft_free);
    stream->tcp = NULL;
    stream->step = STREAM_IDLE;
}

static void end_stream(struct stream *stream, int status)
{
    if (stream->ending) {
        return;
    }
    stream->ending = true;
    if (stream->step == STREAM_OPEN) {
        hang_up(stream);
    }
    end_frames(take_all(stream), status);
    uv_close((uv_handle_t *)&stream->timer, timer_closed);
}

static void waited(uv_timer_t *timer)
{
    struct stream *stream = timer->data;
    stream->step = STREAM_IDLE;
    if (!peers_know(stream->streams->peers, stream->node)) {
        end_stream(stream, RAFT_NOCONNECTION);
    }
}

static void wait_a_little(struct stream *stream)
{
    stream->step = STREAM_WAITING;
    uv_timer_start(&stream->timer, waited, REPLICA_RECONNECT_MS, 0);
}

static void broke(struct stream *stream)
{
    hang_up(stream);
    wait_a_little(stream);
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

/* What a write has left over. */
struct rest {
    uv_write_t write;
    unsigned char bytes[];
};

static void rest_written(uv_write_t *write, int status)
{
    struct stream *stream = write->handle->data; /* NULL: it has hung up meanwhile */
    free(write->data);
    if (stream != NULL) {
        stream->rest = NULL;
        if (status != 0) {
            broke(stream);
        }
    }
}

/* Has libuv write it when the system takes it again. False: the connection is no good any longer. */
static bool write_rest(struct stream *stream, const unsigned char *bytes, size_t count)
{
    struct rest *rest = malloc(sizeof *rest + count);
    if (rest == NULL) {
        return false;
    }
    memcpy(rest->bytes, bytes, count);
    rest->write.data = rest;
    uv_buf_t buffer = uv_buf_init((char *)rest->bytes, (unsigned)count);
    if (uv_write(&rest->write, (uv_stream_t *)stream->tcp, &buffer, 1, rest_written) != 0) {
        free(rest);
        return false;
    }
    stream->rest = rest;
    return true;
}

/* Copies of the current frame what fits. */
static size_t copy_current(struct stream *stream, unsigned char *to, size_t room)
{
    const struct frame *frame = stream->current;
    bool image = stream->copied >= frame->bytes;
    size_t at = image ? stream->copied - frame->bytes : stream->copied;
    size_t left = (image ? frame->image_bytes : frame->bytes) - at;
    size_t count = left < room ? left : room;
    memcpy(to, (image ? frame->image : frame->data) + at, count);
    stream->copied += count;
    return count;
}

/* Fills the piece. Adds frames that are copied whole to `done`. */
static size_t fill(struct stream *stream, struct frame **done)
{
    unsigned char *piece = stream->streams->piece;
    size_t count = 0;
    while (count < STREAM_PIECE_BYTES) {
        if (stream->current == NULL) {
            stream->current = take_next(stream);
        }
        if (stream->current == NULL) {
            break;
        }
        count += copy_current(stream, piece + count, STREAM_PIECE_BYTES - count);
        if (stream->copied == stream->current->bytes + stream->current->image_bytes) {
            stream->current->next = *done;
            *done = stream->current;
            stream->current = NULL;
            stream->copied = 0;
        }
    }
    return count;
}

/* Writes one piece; at once, if the system takes it, or else `later`, as the loop comes round. */
static bool write_piece(struct stream *stream, bool later)
{
    struct frame *done = NULL;
    unsigned char *piece = stream->streams->piece;
    size_t count = fill(stream, &done);
    uv_buf_t buffer = uv_buf_init((char *)piece, (unsigned)count);
    int written = later ? UV_EAGAIN : uv_try_write((uv_stream_t *)stream->tcp, &buffer, 1);
    size_t taken = written > 0 ? (size_t)written : 0;
    bool good = written >= 0 || written == UV_EAGAIN;
    if (good && taken < count) {
        good = write_rest(stream, piece + taken, count - taken);
    }
    end_frames(done, good ? 0 : RAFT_NOCONNECTION);
    return good;
}

/* All that waits, as far as the system takes it; but no more than some pieces in one turn of the loop. */
static void write_all(struct stream *stream)
{
    for (int i = 1; stream->rest == NULL && (stream->current != NULL || stream->first != NULL);
         i++) {
        if (!write_piece(stream, i == STREAM_PIECES_MAX)) {
            broke(stream);
            return;
        }
    }
}

/* ---- connecting --------------------------------------------------------------------------------------------------- */

static void watch_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    static char byte; /* nothing comes on this connection but its end */
    (void)handle, (void)suggested;
    *ret = uv_buf_init(&byte, 1);
}

static void watched(uv_stream_t *tcp, ssize_t count, const uv_buf_t *buffer)
{
    (void)buffer;
    if (count != 0 && tcp->data != NULL) {
        broke(tcp->data);
    }
}

/* Begins to use it. */
static void open_stream(struct stream *stream, uv_tcp_t *tcp)
{
    int fd = -1, bytes = STREAM_PIECE_BYTES;
    stream->step = STREAM_OPEN;
    stream->tcp = tcp;
    tcp->data = stream;
    /* What was written can be passed by nothing any more: so little of it lies with the system before it is on its way. */
    if (uv_fileno((uv_handle_t *)tcp, &fd) == 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
    }
    if (uv_read_start((uv_stream_t *)tcp, watch_room, watched) != 0) {
        broke(stream);
    }
}

static void dialled(void *context, enum peer_verdict verdict, struct uv_tcp_s *tcp)
{
    struct stream *stream = context;
    stream->step = STREAM_IDLE;
    if (stream->ending) {
        if (verdict == PEER_ACCEPTED) {
            uv_close((uv_handle_t *)tcp, (uv_close_cb)raft_free);
        }
        settle_stream(stream);
    } else if (verdict == PEER_ACCEPTED) {
        open_stream(stream, tcp);
    } else {
        if (verdict == PEER_UNREACHABLE || verdict == PEER_SLOW) {
            peers_doubt(stream->streams->peers, stream->node);
        }
        wait_a_little(stream);
        end_frames(take_all(stream), RAFT_NOCONNECTION);
    }
}

/* Where the node is comes from the book; what the engine has for an address is only its name. */
static void dial(struct stream *stream)
{
    struct streams *streams = stream->streams;
    struct sockaddr_storage where;
    stream->step = STREAM_DIALLING;
    if (!peers_find(streams->peers, stream->node, &where) ||
        !links_dial(streams->links, stream->kind, stream->node, (struct sockaddr *)&where, dialled,
                    stream)) {
        wait_a_little(stream);
    }
}

/* ---- all of them -------------------------------------------------------------------------------------------------- */

static struct stream *find(const struct streams *streams, uint64_t node, enum peer_kind kind)
{
    struct stream *stream = streams->first;
    while (stream != NULL && (stream->node != node || stream->kind != kind || stream->ending)) {
        stream = stream->next;
    }
    return stream;
}

/* NULL when memory ran out, or the node is none of ours. */
static struct stream *find_or_make(struct streams *streams, uint64_t node, enum peer_kind kind)
{
    struct stream *stream = find(streams, node, kind);
    if (stream != NULL || !peers_know(streams->peers, node)) {
        return stream;
    }
    stream = calloc(1, sizeof *stream);
    if (stream != NULL) {
        *stream =
            (struct stream){.streams = streams, .next = streams->first, .node = node, .kind = kind};
        stream->last = &stream->first;
        streams->first = stream;
        uv_timer_init(streams->loop, &stream->timer);
        stream->timer.data = stream;
    }
    return stream;
}

/* Before the loop waits: all that was sent since it did. */
static void flush(uv_prepare_t *prepare)
{
    struct streams *streams = prepare->data;
    struct frame *dropped = streams->dropped;
    streams->dropped = NULL;
    end_frames(dropped, RAFT_NOCONNECTION);
    for (struct stream *stream = streams->first; stream != NULL; stream = stream->next) {
        if (stream->step == STREAM_OPEN) {
            write_all(stream);
        } else if (stream->step == STREAM_IDLE && stream->first != NULL) {
            dial(stream);
        }
    }
}

struct streams *streams_new(struct uv_loop_s *loop, struct links *links, struct peers *peers)
{
    struct streams *streams = calloc(1, sizeof *streams);
    if (streams == NULL) {
        return NULL;
    }
    streams->loop = loop;
    streams->links = links;
    streams->peers = peers;
    uv_prepare_init(loop, &streams->prepare);
    streams->prepare.data = streams;
    uv_prepare_start(&streams->prepare, flush);
    return streams;
}

static void prepare_closed(uv_handle_t *handle)
{
    struct streams *streams = handle->data;
    streams->prepare_closed = true;
    settle(streams);
}

void streams_close(struct streams *streams, void (*closed)(void *context), void *context)
{
    streams->closed = closed;
    streams->closed_context = context;
    end_frames(streams->dropped, RAFT_CANCELED);
    streams->dropped = NULL;
    for (struct stream *stream = streams->first; stream != NULL; stream = stream->next) {
        end_stream(stream, RAFT_CANCELED);
    }
    uv_close((uv_handle_t *)&streams->prepare, prepare_closed);
}

/* One image of a group is on its way to a node at a time; the engine sends another when it takes long. */
static bool has_image_of(const struct stream *stream, uint64_t group)
{
    bool has = stream->current != NULL && stream->current->group == group;
    for (const struct frame *frame = stream->first; frame != NULL && !has; frame = frame->next) {
        has = frame->group == group;
    }
    return has;
}

static bool has_room_for(const struct stream *stream, const struct frame *frame)
{
    size_t most = STREAM_BYTES_MAX + (is_short(frame) ? STREAM_SHORT_RESERVE_BYTES : 0);
    return stream->waiting + cost(frame) <= most &&
           (stream->kind != PEER_IMAGES || !has_image_of(stream, frame->group));
}

int streams_send(struct streams *streams, uint64_t group, const struct raft_message *message,
                 struct raft_io_send *request, frame_sent *sent)
{
    bool image = message->type == RAFT_INSTALL_SNAPSHOT;
    size_t bytes = message_bytes(message);
    struct frame *frame = malloc(sizeof *frame + bytes);
    if (frame == NULL) {
        return RAFT_NOMEM;
    }
    *frame = (struct frame){.group = group,
                            .request = request,
                            .sent = sent,
                            .image = image ? message->install_snapshot.data.base : NULL,
                            .image_bytes = image ? message->install_snapshot.data.len : 0,
                            .bytes = bytes};
    struct stream *stream =
        bytes == 0 || streams->closed != NULL
            ? NULL
            : find_or_make(streams, message->server_id, image ? PEER_IMAGES : PEER_MESSAGES);
    if (stream == NULL || !has_room_for(stream, frame)) {
        frame->next = streams->dropped;
        streams->dropped = frame;
        return 0;
    }
    message_encode(message, group, frame->data);
    *stream->last = frame;
    stream->last = &frame->next;
    stream->waiting += cost(frame);
    return 0;
}

/* Calls the frame back, if it is the group's; true when it is an image's, and must go. */
static bool cancel_frame(struct frame *frame, uint64_t group)
{
    if (frame->group != group || frame->sent == NULL) {
        return false;
    }
    frame_sent *sent = frame->sent;
    frame->sent = NULL;
    sent(frame->request, RAFT_CANCELED);
    return frame->image_bytes > 0;
}

static void cancel_frames(struct stream *stream, uint64_t group)
{
    struct frame **at = &stream->first;
    while (*at != NULL) {
        struct frame *frame = *at;
        if (cancel_frame(frame, group)) {
            *at = frame->next;
            stream->waiting -= cost(frame);
            free(frame);
        } else {
            at = &frame->next;
        }
    }
    stream->last = at;
    if (stream->current != NULL && cancel_frame(stream->current, group)) {
        free(stream->current);
        stream->current = NULL;
        if (stream->step == STREAM_OPEN) {
            broke(stream); /* half of it is there already */
        }
    }
}

void streams_cancel(struct streams *streams, uint64_t group)
{
    for (struct frame *frame = streams->dropped; frame != NULL; frame = frame->next) {
        (void)cancel_frame(frame, group);
    }
    for (struct stream *stream = streams->first; stream != NULL; stream = stream->next) {
        cancel_frames(stream, group);
    }
}

bool streams_unsent(const struct streams *streams, uint64_t node, uint64_t group, size_t *ret)
{
    const struct stream *stream = find(streams, node, PEER_IMAGES);
    if (stream == NULL || stream->step != STREAM_OPEN) {
        return false;
    }
    *ret = 0;
    if (stream->current != NULL && stream->current->group == group) {
        *ret = stream->current->bytes + stream->current->image_bytes - stream->copied;
    }
    for (const struct frame *frame = stream->first; frame != NULL; frame = frame->next) {
        *ret += frame->group == group ? frame->bytes + frame->image_bytes : 0;
    }
    return true;
}

void streams_hurry(struct streams *streams, uint64_t node)
{
    for (struct stream *stream = streams->first; stream != NULL; stream = stream->next) {
        if (stream->node == node && stream->step == STREAM_WAITING && !stream->ending) {
            uv_timer_stop(&stream->timer);
            stream->step = STREAM_IDLE;
        }
    }
}
