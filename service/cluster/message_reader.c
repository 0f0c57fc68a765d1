#include "service/cluster/message_reader.h"

#include <stdlib.h>
#include <string.h>

/* Hands over the message, which is whole. */
static void deliver(struct message_reader *reader)
{
    struct raft_message message = reader->message;
    reader->arrived(reader->context, reader->frame.group, &message);
}

static void payload_whole(struct message_reader *reader)
{
    message_attach(&reader->message, reader->payload, reader->payload_got);
    reader->payload = NULL;
    deliver(reader);
}

/* The frame and the head are there. */
static bool begin_message(struct message_reader *reader, const unsigned char *head)
{
    if (!message_decode_head(&reader->frame, head, &reader->message)) {
        return false;
    }
    if (!message_has_payload(&reader->message)) {
        deliver(reader);
        return true;
    }
    size_t bytes = (size_t)reader->frame.payload_bytes;
    reader->payload = raft_malloc(bytes > 0 ? bytes : 1);
    reader->payload_got = 0;
    if (reader->payload == NULL) {
        message_dispose(&reader->message);
        return false;
    }
    if (bytes == 0) {
        payload_whole(reader);
    }
    return true;
}

static bool begin_frame(struct message_reader *reader, const unsigned char *bytes)
{
    return message_decode_frame(bytes, &reader->frame) &&
           reader->images == (reader->frame.type == RAFT_INSTALL_SNAPSHOT);
}

/* Adds to what is kept until that are `want` bytes. False when memory ran out. */
static bool keep(struct message_reader *reader, size_t want, const unsigned char **bytes,
                 size_t *count)
{
    size_t missing = want - reader->kept_bytes;
    size_t taken = *count < missing ? *count : missing;
    unsigned char *kept = realloc(reader->kept, want);
    if (kept == NULL) {
        return false;
    }
    memcpy(kept + reader->kept_bytes, *bytes, taken);
    reader->kept = kept;
    reader->kept_bytes += taken;
    *bytes += taken;
    *count -= taken;
    return true;
}

/* A frame that came in pieces. */
static bool go_on(struct message_reader *reader, const unsigned char **bytes, size_t *count)
{
    if (reader->kept_bytes < MESSAGE_FRAME_BYTES) {
        return keep(reader, MESSAGE_FRAME_BYTES, bytes, count) &&
               (reader->kept_bytes < MESSAGE_FRAME_BYTES || begin_frame(reader, reader->kept));
    }
    size_t want = MESSAGE_FRAME_BYTES + (size_t)reader->frame.head_bytes;
    if (!keep(reader, want, bytes, count)) {
        return false;
    }
    if (reader->kept_bytes < want) {
        return true;
    }
    bool good = begin_message(reader, reader->kept + MESSAGE_FRAME_BYTES);
    free(reader->kept);
    reader->kept = NULL;
    reader->kept_bytes = 0;
    return good;
}

/* A frame that is, with its head, in what came: the usual case, which copies nothing. */
static bool begin(struct message_reader *reader, const unsigned char **bytes, size_t *count)
{
    if (*count < MESSAGE_FRAME_BYTES) {
        return keep(reader, MESSAGE_FRAME_BYTES, bytes, count);
    }
    if (!begin_frame(reader, *bytes)) {
        return false;
    }
    size_t whole = MESSAGE_FRAME_BYTES + (size_t)reader->frame.head_bytes;
    if (*count < whole) {
        return keep(reader, whole, bytes, count);
    }
    const unsigned char *head = *bytes + MESSAGE_FRAME_BYTES;
    *bytes += whole;
    *count -= whole;
    return begin_message(reader, head);
}

bool message_reader_feed(struct message_reader *reader, const unsigned char *bytes, size_t count)
{
    bool good = true;
    while (good && count > 0) {
        size_t room;
        unsigned char *payload = message_reader_room(reader, &room);
        if (payload != NULL) {
            size_t taken = count < room ? count : room;
            memcpy(payload, bytes, taken);
            bytes += taken;
            count -= taken;
            message_reader_filled(reader, taken);
        } else if (reader->kept_bytes > 0) {
            good = go_on(reader, &bytes, &count);
        } else {
            good = begin(reader, &bytes, &count);
        }
    }
    return good;
}

unsigned char *message_reader_room(const struct message_reader *reader, size_t *ret)
{
    if (reader->payload == NULL) {
        return NULL;
    }
    *ret = (size_t)reader->frame.payload_bytes - reader->payload_got;
    return reader->payload + reader->payload_got;
}

void message_reader_filled(struct message_reader *reader, size_t count)
{
    reader->payload_got += count;
    if (reader->payload_got == reader->frame.payload_bytes) {
        payload_whole(reader);
    }
}

void message_reader_end(struct message_reader *reader)
{
    if (reader->payload != NULL) {
        raft_free(reader->payload);
        reader->payload = NULL;
        message_dispose(&reader->message);
    }
    free(reader->kept);
    reader->kept = NULL;
    reader->kept_bytes = 0;
}
