/*
 * The engine's messages as bytes, framed, so that those of all groups can go through one connection (stream.h):
 *
 *     frame     type, version of the message (a byte each), 0 (2 bytes), bytes of the head (4), group (8),
 *               bytes of the payload (8)
 *     head      the message's fields; of entries their terms, types and lengths; of an image the group's members
 *     payload   the entries' data, each filled up to eight bytes; or the image; else nothing
 *
 * Numbers are big-endian. Every length is checked against what it may be and against the others before anything is
 * allocated or read by it. The format as a whole is versioned by PEER_VERSION (handshake.h).
 *
 * Pure: no socket, no state.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_MESSAGE_H
#define RINGHOLD_SERVICE_CLUSTER_MESSAGE_H

#include <raft.h>

enum { MESSAGE_FRAME_BYTES = 24 };
/* An image is in its receiver's memory whole. */
#define MESSAGE_IMAGE_BYTES_MAX (UINT64_C(1) << 36)

struct message_frame {
    enum raft_message_type type;
    unsigned char version;
    uint32_t head_bytes;
    uint64_t group, payload_bytes;
};

/* Bytes of the message's frame, head and entries, without an image. 0: it is none, or longer than its receiver takes. */
size_t message_bytes(const struct raft_message *message);
/* As many bytes. An image is sent after them. */
void message_encode(const struct raft_message *message, uint64_t group, unsigned char *ret);

/* False when it is no frame, or announces more than it may. */
bool message_decode_frame(const unsigned char bytes[MESSAGE_FRAME_BYTES],
                          struct message_frame *ret);
/*
 * The message but for its payload, which message_attach adds; server_id and server_address are 0. False when it is none,
 * or memory ran out. What it has allocated, message_dispose frees.
 */
bool message_decode_head(const struct message_frame *frame, const unsigned char *head,
                         struct raft_message *ret);
/* Whether it has a payload, perhaps of no bytes. */
bool message_has_payload(const struct raft_message *message);
/* `payload`, of the frame's payload_bytes and from raft_malloc, is the message's from now on. */
void message_attach(struct raft_message *message, unsigned char *payload, size_t bytes);
/* What the engine would have kept of a message that was received. */
void message_dispose(struct raft_message *message);

#endif
