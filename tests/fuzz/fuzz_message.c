/*
 * Any bytes as what comes in from another node, cut into pieces: whatever is a message encodes to the same bytes again, and
 * it does not depend on where the stream was cut.
 */
#include "service/cluster/message_reader.h"
#include "tests/fuzz/front.h"

enum { MEMORY_MAX = 16 * 1024 * 1024 };

/* An announced payload's room is reserved before it comes. There is not so much here: more than that is refused. */
static void *reserve(void *data, size_t size)
{
    (void)data;
    return size > MEMORY_MAX ? NULL : malloc(size);
}

struct seen {
    const unsigned char *input; /* what has not come out yet */
    size_t left;
    size_t messages;
};

static void arrived(void *context, uint64_t group, struct raft_message *message)
{
    struct seen *seen = context;
    bool image = message->type == RAFT_INSTALL_SNAPSHOT;
    size_t count = message_bytes(message), more = image ? message->install_snapshot.data.len : 0;
    PROMISE(count > 0 && count + more <= seen->left, "it was all there");
    unsigned char *again = malloc(count);
    PROMISE(again != NULL, "there is memory");
    message_encode(message, group, again);
    PROMISE(memcmp(again, seen->input, MESSAGE_FRAME_BYTES) == 0, "the frame");
    if (message->type !=
        RAFT_APPEND_ENTRIES) { /* what fills an entry up to eight bytes may be anything */
        PROMISE(memcmp(again, seen->input, count) == 0, "the head");
    }
    PROMISE(more == 0 ||
                memcmp(message->install_snapshot.data.base, seen->input + count, more) == 0,
            "the image");
    seen->input += count + more;
    seen->left -= count + more;
    seen->messages++;
    free(again);
    message_dispose(message);
}

/* How many messages come out, fed in pieces of that many bytes; less whatever follows what is no message. */
static size_t feed(const unsigned char *data, size_t size, bool images, size_t piece)
{
    struct seen seen = {data, size, 0};
    struct message_reader reader = {.arrived = arrived, .context = &seen, .images = images};
    bool good = true;
    for (size_t at = 0; good && at < size; at += piece) {
        size_t count = size - at < piece ? size - at : piece;
        good = message_reader_feed(&reader, data + at, count);
    }
    message_reader_end(&reader);
    return seen.messages;
}

static void give_back(void *data, void *at)
{
    (void)data;
    free(at);
}

static void *reserve_all(void *data, size_t count, size_t size)
{
    (void)data;
    return calloc(count, size);
}

static void *resize(void *data, void *at, size_t size)
{
    (void)data;
    return realloc(at, size);
}

static struct raft_heap heap = {
    .malloc = reserve, .free = give_back, .calloc = reserve_all, .realloc = resize};

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    raft_heap_set(&heap);
    if (size < 2) {
        return 0;
    }
    bool images = (data[0] & 1) != 0;
    size_t piece = data[1] + (size_t)1;
    size_t whole = feed(data + 2, size - 2, images, size);
    PROMISE(feed(data + 2, size - 2, images, piece) == whole, "in pieces of %zu", piece);
    return 0;
}
