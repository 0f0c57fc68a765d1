/*
 * Messages out of a stream of bytes that comes in pieces, cut anywhere. What is not whole yet is kept; a payload's room is
 * reserved when its message is announced, and fills as it comes. Pure: no socket.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_MESSAGE_READER_H
#define RINGHOLD_SERVICE_CLUSTER_MESSAGE_READER_H

#include "service/cluster/message.h"

/* A message is there: it, and what it has allocated, is the callee's, as the engine takes it. */
typedef void message_arrived(void *context, uint64_t group, struct raft_message *message);

struct message_reader {
    message_arrived *arrived;
    void *context;
    bool images; /* these are what is taken, and nothing else; or all but these */

    unsigned char *kept; /* a frame and its head, as far as they came */
    size_t kept_bytes;
    struct message_frame frame;
    struct raft_message message; /* while its payload comes */
    unsigned char *payload;      /* NULL: none is awaited */
    size_t payload_got;
};

/* Takes in what came. False when that is no message, or memory ran out: nothing that follows would make sense. */
bool message_reader_feed(struct message_reader *reader, const unsigned char *bytes, size_t count);
/* Where the awaited payload's rest belongs, so that it can be read there at once, and how much it is; NULL: feed it. */
unsigned char *message_reader_room(const struct message_reader *reader, size_t *ret);
/* As many bytes were put there. */
void message_reader_filled(struct message_reader *reader, size_t count);
/* Forgets what is not whole. */
void message_reader_end(struct message_reader *reader);

#endif
