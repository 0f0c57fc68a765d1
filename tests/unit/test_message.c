/* The engine's messages as bytes: what goes in comes out, and nothing else is taken for a message. */
#include "service/cluster/message_reader.h"
#include "service/cluster/wire.h"

#include "db/limits.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP = 16 };

/* ---- one message of each kind ------------------------------------------------------------------------------------- */

static struct raft_entry two_entries[] = {
    {.term = 4, .type = RAFT_COMMAND, .buf = {(char *)"put", 3}},
    {.term = 5, .type = RAFT_BARRIER, .buf = {(char *)"8 bytes.", 8}}};
static struct raft_entry empty_entry[] = {{.term = 6, .type = RAFT_COMMAND}};
static struct raft_server servers[] = {{7, (char *)"0000000000000007", RAFT_VOTER},
                                       {9, (char *)"0000000000000009", RAFT_STANDBY}};

static const struct raft_message MESSAGES[] = {
    {.type = RAFT_APPEND_ENTRIES, .append_entries = {1, 5, 10, 4, 9, NULL, 0}},
    {.type = RAFT_APPEND_ENTRIES, .append_entries = {1, 5, 10, 4, 9, two_entries, 2}},
    {.type = RAFT_APPEND_ENTRIES, .append_entries = {1, 6, 11, 5, 9, empty_entry, 1}},
    {.type = RAFT_APPEND_ENTRIES_RESULT, .append_entries_result = {2, 5, 10, 12, 1, 513}},
    {.type = RAFT_REQUEST_VOTE, .request_vote = {2, 5, 7, 10, 4, true, false}},
    {.type = RAFT_REQUEST_VOTE_RESULT, .request_vote_result = {2, 5, true, false, 1, 513}},
    {.type = RAFT_INSTALL_SNAPSHOT,
     .install_snapshot = {1, 5, 10, 4, {servers, 2}, 3, {(char *)"the image", 9}}},
    {.type = RAFT_INSTALL_SNAPSHOT, .install_snapshot = {1, 5, 10, 4, {servers, 1}, 3, {NULL, 0}}},
    {.type = RAFT_TIMEOUT_NOW, .timeout_now = {1, 5, 10, 4}}};
enum { MESSAGES_COUNT = sizeof MESSAGES / sizeof MESSAGES[0] };

/* As it goes over the wire, with its image. */
static unsigned char *encode(const struct raft_message *message, size_t *ret_count)
{
    bool image = message->type == RAFT_INSTALL_SNAPSHOT;
    size_t count = message_bytes(message);
    size_t more = image ? message->install_snapshot.data.len : 0;
    unsigned char *bytes = malloc(count + more);
    cr_assert_gt(count, 0);
    message_encode(message, GROUP, bytes);
    if (more > 0) {
        memcpy(bytes + count, message->install_snapshot.data.base, more);
    }
    *ret_count = count + more;
    return bytes;
}

/* ---- what came out ------------------------------------------------------------------------------------------------ */

/* Encodes again what arrives: that is how it is compared. */
struct out {
    int count;
    unsigned char *bytes;
    size_t bytes_count;
};

static void take(void *context, uint64_t group, struct raft_message *message)
{
    struct out *out = context;
    cr_assert_eq(group, GROUP);
    free(out->bytes);
    out->bytes = encode(message, &out->bytes_count);
    out->count++;
    message_dispose(message);
}

static struct message_reader reader_of(const struct raft_message *message, struct out *out)
{
    *out = (struct out){.count = 0};
    return (struct message_reader){
        .arrived = take, .context = out, .images = message->type == RAFT_INSTALL_SNAPSHOT};
}

static void end(struct message_reader *reader, struct out *out)
{
    message_reader_end(reader);
    free(out->bytes);
}

/* Over a connection for images, or one for the rest. False: it was taken for no message. */
static bool comes_out(const struct raft_message *message, bool images)
{
    struct out out;
    size_t count;
    struct message_reader reader = reader_of(message, &out);
    unsigned char *bytes = encode(message, &count);
    reader.images = images;
    bool good = message_reader_feed(&reader, bytes, count);
    if (good) {
        cr_assert_eq(out.count, 1);
        cr_assert_eq(out.bytes_count, count);
        cr_assert_arr_eq(out.bytes, bytes, count);
    }
    end(&reader, &out);
    free(bytes);
    return good;
}

Test(message, every_kind_comes_out_as_it_went_in_of_its_own_connection)
{
    for (int i = 0; i < MESSAGES_COUNT; i++) {
        bool image = MESSAGES[i].type == RAFT_INSTALL_SNAPSHOT;
        cr_assert(comes_out(&MESSAGES[i], image), "message %d", i);
        cr_assert_not(comes_out(&MESSAGES[i], !image), "message %d", i);
    }
}

/* Through bytes and back, without its payload, which follows in `bytes`. */
static struct raft_message through(const struct raft_message *message, unsigned char bytes[256],
                                   struct message_frame *ret_frame)
{
    struct raft_message back;
    message_encode(message, GROUP, bytes);
    cr_assert(message_decode_frame(bytes, ret_frame));
    cr_assert(message_decode_head(ret_frame, bytes + MESSAGE_FRAME_BYTES, &back));
    return back;
}

Test(message, every_field_is_told_apart)
{
    struct message_frame frame;
    unsigned char bytes[256];
    struct raft_request_vote vote = through(&MESSAGES[4], bytes, &frame).request_vote;
    cr_assert_eq(frame.group, GROUP);
    cr_assert_eq(vote.version, 2);
    cr_assert_eq(vote.term, 5);
    cr_assert_eq(vote.candidate_id, 7);
    cr_assert_eq(vote.last_log_index, 10);
    cr_assert_eq(vote.last_log_term, 4);
    cr_assert(vote.disrupt_leader && !vote.pre_vote);
    struct raft_append_entries_result result =
        through(&MESSAGES[3], bytes, &frame).append_entries_result;
    cr_assert_eq(result.rejected, 10);
    cr_assert_eq(result.last_log_index, 12);
    cr_assert_eq(result.features, 1);
    cr_assert_eq(result.capacity, 513);
}

Test(message, an_entrys_data_lies_at_a_multiple_of_eight)
{
    struct message_frame frame;
    unsigned char bytes[256];
    struct raft_message back = through(&MESSAGES[1], bytes, &frame);
    unsigned char *payload = raft_malloc(frame.payload_bytes);
    memcpy(payload, bytes + MESSAGE_FRAME_BYTES + frame.head_bytes, frame.payload_bytes);
    message_attach(&back, payload, frame.payload_bytes);
    cr_assert_eq(back.append_entries.n_entries, 2);
    cr_assert_eq((char *)back.append_entries.entries[1].buf.base - (char *)payload, 8);
    cr_assert_eq(back.append_entries.entries[1].batch, payload);
    cr_assert_eq(back.append_entries.entries[1].type, RAFT_BARRIER);
    message_dispose(&back);
}

/* All kinds of one connection in one stream, cut into pieces of that many bytes. */
static void feed_in_pieces(bool images, size_t piece)
{
    struct out out = {.count = 0};
    struct message_reader reader = {.arrived = take, .context = &out, .images = images};
    int sent = 0;
    unsigned char stream[4096];
    size_t bytes = 0;
    for (int i = 0; i < MESSAGES_COUNT; i++) {
        if ((MESSAGES[i].type == RAFT_INSTALL_SNAPSHOT) == images) {
            size_t count;
            unsigned char *one = encode(&MESSAGES[i], &count);
            memcpy(stream + bytes, one, count);
            bytes += count;
            free(one);
            sent++;
        }
    }
    for (size_t at = 0; at < bytes; at += piece) {
        size_t count = bytes - at < piece ? bytes - at : piece;
        cr_assert(message_reader_feed(&reader, stream + at, count));
    }
    cr_assert_eq(out.count, sent, "in pieces of %zu bytes", piece);
    end(&reader, &out);
}

Test(message, a_stream_may_be_cut_anywhere)
{
    for (size_t piece = 1; piece < 600; piece++) {
        feed_in_pieces(false, piece);
        feed_in_pieces(true, piece);
    }
}

Test(message, one_that_ends_early_is_none_and_leaves_nothing)
{
    for (int i = 0; i < MESSAGES_COUNT; i++) {
        size_t count;
        unsigned char *bytes = encode(&MESSAGES[i], &count);
        for (size_t cut = 0; cut < count; cut++) {
            struct out out;
            struct message_reader reader = reader_of(&MESSAGES[i], &out);
            cr_assert(message_reader_feed(&reader, bytes, cut));
            cr_assert_eq(out.count, 0, "message %d after %zu bytes", i, cut);
            end(&reader, &out);
        }
        free(bytes);
    }
}

/* ---- lengths that lie --------------------------------------------------------------------------------------------- */

/* Message `which` with the number at `at`, of so many bytes, replaced. */
static bool accepts(int which, size_t at, size_t width, uint64_t number)
{
    struct out out;
    size_t count;
    struct message_reader reader = reader_of(&MESSAGES[which], &out);
    unsigned char *bytes = encode(&MESSAGES[which], &count);
    for (size_t i = 0; i < width; i++) {
        bytes[at + i] = (unsigned char)(number >> 8 * (width - 1 - i));
    }
    bool good = message_reader_feed(&reader, bytes, count) && out.count == 1;
    end(&reader, &out);
    free(bytes);
    return good;
}

Test(message, no_length_is_believed_that_does_not_fit)
{
    enum { HEAD = 4, PAYLOAD = 16, COUNT = MESSAGE_FRAME_BYTES + 32, LENGTH = COUNT + 8 + 12 };
    static const struct {
        int which;
        size_t at, width;
        uint64_t number;
    } lies[] = {{1, 0, 1, 0},
                {1, 0, 1, 7},
                {1, 2, 2, 1},
                {1, HEAD, 4, 0},
                {1, HEAD, 4, 71},
                {1, HEAD, 4, 73},
                {1, HEAD, 4, UINT32_MAX},
                {1, PAYLOAD, 8, 15},
                {1, PAYLOAD, 8, 17},
                {1, PAYLOAD, 8, UINT64_MAX},
                {1, PAYLOAD, 8, MESSAGE_ENTRIES_BYTES_MAX + 1},
                {0, PAYLOAD, 8, 8},
                {1, COUNT, 8, 0},
                {1, COUNT, 8, 1},
                {1, COUNT, 8, 3},
                {1, COUNT, 8, UINT64_MAX},
                {1, COUNT, 8, UINT64_C(1) << 60},
                {1, LENGTH, 4, 9},
                {1, LENGTH, 4, UINT32_MAX},
                {1, LENGTH - 4, 4, 0},
                {1, LENGTH - 4, 4, RAFT_CHANGE + 1},
                {3, HEAD, 4, 27},
                {3, PAYLOAD, 8, 1},
                {4, MESSAGE_FRAME_BYTES + 32, 1, 2},
                {5, MESSAGE_FRAME_BYTES + 8, 1, 2},
                {6, HEAD, 4, 35},
                {6, PAYLOAD, 8, MESSAGE_IMAGE_BYTES_MAX + 1},
                {6, MESSAGE_FRAME_BYTES + 32, 4, 1},
                {6, MESSAGE_FRAME_BYTES + 32, 4, 3},
                {6, MESSAGE_FRAME_BYTES + 32, 4, UINT32_MAX},
                {6, MESSAGE_FRAME_BYTES + 36, 8, 0}, /* nobody */
                {6, MESSAGE_FRAME_BYTES + 36, 8, 9}, /* the other one's id */
                {6, MESSAGE_FRAME_BYTES + 44, 1, 3}, /* no role */
                {6, MESSAGE_FRAME_BYTES + 45, 4, 0}, /* no address */
                {6, MESSAGE_FRAME_BYTES + 45, 4, 15},
                {6, MESSAGE_FRAME_BYTES + 45, 4, UINT32_MAX},
                {6, MESSAGE_FRAME_BYTES + 49, 1, 0}, /* an address that ends before it ends */
                {8, HEAD, 4, 23}};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        cr_expect_not(accepts(lies[i].which, lies[i].at, lies[i].width, lies[i].number),
                      "lie %zu was believed", i);
    }
    cr_assert(accepts(1, 8, 8, GROUP), "and what was not changed is good");
}

Test(message, what_no_receiver_would_take_is_not_encoded)
{
    struct raft_entry entry = {.term = 4, .type = RAFT_COMMAND};
    struct raft_message message = MESSAGES[1];
    message.append_entries.entries = &entry;
    message.append_entries.n_entries = 1;
    entry.buf.len = MESSAGE_ENTRIES_BYTES_MAX;
    cr_assert_gt(message_bytes(&message), 0);
    entry.buf.len++;
    cr_assert_eq(message_bytes(&message), 0);
    message.type = (enum raft_message_type)7;
    cr_assert_eq(message_bytes(&message), 0);
}
