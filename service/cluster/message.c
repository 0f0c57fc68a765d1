#include "service/cluster/message.h"

#include "db/limits.h"
#include "service/cluster/wire.h"

#include <string.h>

enum {
    ENTRY_BYTES = 16,      /* term, type, length */
    ENTRIES_BYTES = 5 * 8, /* before them: term, the entry before (index, term), commit, count */
    ENTRIES_RESULT_BYTES = 28,
    VOTE_BYTES = 4 * 8 + 2,
    VOTE_RESULT_BYTES = 8 + 2 + 4,
    IMAGE_BYTES =
        4 * 8 +
        4, /* before the members: term, last entry (index, term), index of the members, their count */
    MEMBER_BYTES = 8 + 1 + 4, /* id, role, length of its address, which follows */
    TIMEOUT_BYTES = 3 * 8,
    ADDRESS_BYTES_MAX = 255
};

_Static_assert((int)RAFT_STANDBY == 0 && (int)RAFT_VOTER == 1 && (int)RAFT_SPARE == 2,
               "roles are a byte, in this order");

/* ---- numbers in a row --------------------------------------------------------------------------------------------- */

static unsigned char *put8(unsigned char *at, unsigned n)
{
    *at = (unsigned char)n;
    return at + 1;
}

static unsigned char *put16(unsigned char *at, unsigned n)
{
    return put8(put8(at, n >> 8), n & 0xff);
}

static unsigned char *put32(unsigned char *at, uint32_t n)
{
    wire_put32(at, n);
    return at + 4;
}

static unsigned char *put64(unsigned char *at, uint64_t n)
{
    wire_put64(at, n);
    return at + 8;
}

static unsigned get8(const unsigned char **at)
{
    return *(*at)++;
}

static unsigned short get16(const unsigned char **at)
{
    unsigned high = get8(at);
    return (unsigned short)(high << 8 | get8(at));
}

static uint32_t get32(const unsigned char **at)
{
    *at += 4;
    return wire_get32(*at - 4);
}

static uint64_t get64(const unsigned char **at)
{
    *at += 8;
    return wire_get64(*at - 8);
}

static size_t padded(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

/* ---- lengths ------------------------------------------------------------------------------------------------------ */

static size_t head_bytes(const struct raft_message *message)
{
    const struct raft_configuration *members = &message->install_snapshot.conf;
    size_t bytes = IMAGE_BYTES;
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        return ENTRIES_BYTES + (size_t)message->append_entries.n_entries * ENTRY_BYTES;
    case RAFT_APPEND_ENTRIES_RESULT:
        return ENTRIES_RESULT_BYTES;
    case RAFT_REQUEST_VOTE:
        return VOTE_BYTES;
    case RAFT_REQUEST_VOTE_RESULT:
        return VOTE_RESULT_BYTES;
    case RAFT_INSTALL_SNAPSHOT:
        for (unsigned i = 0; i < members->n; i++) {
            bytes += MEMBER_BYTES + strlen(members->servers[i].address);
        }
        return bytes;
    case RAFT_TIMEOUT_NOW:
        return TIMEOUT_BYTES;
    }
    return 0;
}

static size_t payload_bytes(const struct raft_message *message)
{
    size_t bytes = 0;
    if (message->type == RAFT_INSTALL_SNAPSHOT) {
        return message->install_snapshot.data.len;
    }
    if (message->type == RAFT_APPEND_ENTRIES) {
        for (unsigned i = 0; i < message->append_entries.n_entries; i++) {
            bytes += padded(message->append_entries.entries[i].buf.len);
        }
    }
    return bytes;
}

/* What a frame may announce. */
static bool fits(enum raft_message_type type, size_t head, uint64_t payload)
{
    uint64_t most = type == RAFT_APPEND_ENTRIES     ? MESSAGE_ENTRIES_BYTES_MAX
                    : type == RAFT_INSTALL_SNAPSHOT ? MESSAGE_IMAGE_BYTES_MAX
                                                    : 0;
    return head > 0 && head <= MESSAGE_HEAD_BYTES_MAX && payload <= most;
}

size_t message_bytes(const struct raft_message *message)
{
    size_t head = head_bytes(message), payload = payload_bytes(message);
    if (!fits(message->type, head, payload)) {
        return 0;
    }
    return MESSAGE_FRAME_BYTES + head + (message->type == RAFT_INSTALL_SNAPSHOT ? 0 : payload);
}

/* ---- encoding ----------------------------------------------------------------------------------------------------- */

static void encode_entries(const struct raft_append_entries *message, unsigned char *at)
{
    at = put64(at, message->term);
    at = put64(at, message->prev_log_index);
    at = put64(at, message->prev_log_term);
    at = put64(at, message->leader_commit);
    at = put64(at, message->n_entries);
    for (unsigned i = 0; i < message->n_entries; i++) {
        const struct raft_entry *entry = &message->entries[i];
        at = put64(at, entry->term);
        at = put32(at, (uint32_t)entry->type);
        at = put32(at, (uint32_t)entry->buf.len);
    }
    for (unsigned i = 0; i < message->n_entries; i++) {
        const struct raft_buffer *data = &message->entries[i].buf;
        if (data->len > 0) {
            memcpy(at, data->base, data->len);
            memset(at + data->len, 0, padded(data->len) - data->len);
            at += padded(data->len);
        }
    }
}

static void encode_entries_result(const struct raft_append_entries_result *message,
                                  unsigned char *at)
{
    at = put64(at, message->term);
    at = put64(at, message->rejected);
    at = put64(at, message->last_log_index);
    at = put16(at, message->features);
    put16(at, message->capacity);
}

static void encode_vote(const struct raft_request_vote *message, unsigned char *at)
{
    at = put64(at, message->term);
    at = put64(at, message->candidate_id);
    at = put64(at, message->last_log_index);
    at = put64(at, message->last_log_term);
    at = put8(at, message->disrupt_leader);
    put8(at, message->pre_vote);
}

static void encode_vote_result(const struct raft_request_vote_result *message, unsigned char *at)
{
    at = put64(at, message->term);
    at = put8(at, message->vote_granted);
    at = put8(at, message->pre_vote);
    at = put16(at, message->features);
    put16(at, message->capacity);
}

static void encode_image(const struct raft_install_snapshot *message, unsigned char *at)
{
    at = put64(at, message->term);
    at = put64(at, message->last_index);
    at = put64(at, message->last_term);
    at = put64(at, message->conf_index);
    at = put32(at, message->conf.n);
    for (unsigned i = 0; i < message->conf.n; i++) {
        const struct raft_server *member = &message->conf.servers[i];
        size_t bytes = strlen(member->address);
        at = put64(at, member->id);
        at = put8(at, (unsigned)member->role);
        at = put32(at, (uint32_t)bytes);
        memcpy(at, member->address, bytes);
        at += bytes;
    }
}

static void encode_timeout(const struct raft_timeout_now *message, unsigned char *at)
{
    at = put64(at, message->term);
    at = put64(at, message->last_log_index);
    put64(at, message->last_log_term);
}

void message_encode(const struct raft_message *message, uint64_t group, unsigned char *ret)
{
    unsigned char *at = put8(ret, (unsigned)message->type);
    at = put8(at, message->append_entries.version); /* the first field of each */
    at = put16(at, 0);
    at = put32(at, (uint32_t)head_bytes(message));
    at = put64(at, group);
    at = put64(at, payload_bytes(message));
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        encode_entries(&message->append_entries, at);
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        encode_entries_result(&message->append_entries_result, at);
        break;
    case RAFT_REQUEST_VOTE:
        encode_vote(&message->request_vote, at);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        encode_vote_result(&message->request_vote_result, at);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        encode_image(&message->install_snapshot, at);
        break;
    case RAFT_TIMEOUT_NOW:
        encode_timeout(&message->timeout_now, at);
        break;
    }
}

/* ---- decoding ----------------------------------------------------------------------------------------------------- */

bool message_decode_frame(const unsigned char bytes[MESSAGE_FRAME_BYTES], struct message_frame *ret)
{
    unsigned type = get8(&bytes);
    unsigned version = get8(&bytes);
    unsigned zero = get16(&bytes);
    struct message_frame frame = {.type = (enum raft_message_type)type,
                                  .version = (unsigned char)version,
                                  .head_bytes = get32(&bytes),
                                  .group = get64(&bytes),
                                  .payload_bytes = get64(&bytes)};
    if (type < RAFT_APPEND_ENTRIES || type > RAFT_TIMEOUT_NOW || zero != 0 ||
        !fits(frame.type, frame.head_bytes, frame.payload_bytes)) {
        return false;
    }
    *ret = frame;
    return true;
}

/* One entry's line of the head; its data's length is taken off what is left of the payload. */
static bool decode_entry(const unsigned char **at, uint64_t *left, struct raft_entry *ret)
{
    raft_term term = get64(at);
    uint32_t type = get32(at), bytes = get32(at);
    if (type < RAFT_COMMAND || type > RAFT_CHANGE || padded(bytes) > *left) {
        return false;
    }
    *left -= padded(bytes);
    *ret = (struct raft_entry){
        .term = term, .type = (enum raft_entry_type)type, .buf = {.len = bytes}};
    return true;
}

static bool decode_entries(const struct message_frame *frame, const unsigned char *at,
                           struct raft_append_entries *ret)
{
    uint64_t left = frame->payload_bytes;
    ret->term = get64(&at);
    ret->prev_log_index = get64(&at);
    ret->prev_log_term = get64(&at);
    ret->leader_commit = get64(&at);
    uint64_t count = get64(&at);
    if (count != (frame->head_bytes - ENTRIES_BYTES) / ENTRY_BYTES ||
        ENTRIES_BYTES + count * ENTRY_BYTES != frame->head_bytes) {
        return false;
    }
    if (count == 0) {
        return left == 0;
    }
    ret->entries = raft_malloc((size_t)count * sizeof *ret->entries);
    if (ret->entries == NULL) {
        return false;
    }
    while (ret->n_entries < count && decode_entry(&at, &left, &ret->entries[ret->n_entries])) {
        ret->n_entries++;
    }
    if (ret->n_entries < count || left != 0) {
        raft_free(ret->entries);
        return false;
    }
    return true;
}

static bool decode_entries_result(const struct message_frame *frame, const unsigned char *at,
                                  struct raft_append_entries_result *ret)
{
    if (frame->head_bytes != ENTRIES_RESULT_BYTES) {
        return false;
    }
    ret->term = get64(&at);
    ret->rejected = get64(&at);
    ret->last_log_index = get64(&at);
    ret->features = get16(&at);
    ret->capacity = get16(&at);
    return true;
}

static bool decode_vote(const struct message_frame *frame, const unsigned char *at,
                        struct raft_request_vote *ret)
{
    if (frame->head_bytes != VOTE_BYTES) {
        return false;
    }
    ret->term = get64(&at);
    ret->candidate_id = get64(&at);
    ret->last_log_index = get64(&at);
    ret->last_log_term = get64(&at);
    unsigned disrupt = get8(&at), pre = get8(&at);
    ret->disrupt_leader = disrupt != 0;
    ret->pre_vote = pre != 0;
    return disrupt <= 1 && pre <= 1;
}

static bool decode_vote_result(const struct message_frame *frame, const unsigned char *at,
                               struct raft_request_vote_result *ret)
{
    if (frame->head_bytes != VOTE_RESULT_BYTES) {
        return false;
    }
    ret->term = get64(&at);
    unsigned granted = get8(&at), pre = get8(&at);
    ret->vote_granted = granted != 0;
    ret->pre_vote = pre != 0;
    ret->features = get16(&at);
    ret->capacity = get16(&at);
    return granted <= 1 && pre <= 1;
}

/* One of the group's members, added to `members`. */
static bool decode_member(const unsigned char **at, const unsigned char *end,
                          struct raft_configuration *members)
{
    char address[ADDRESS_BYTES_MAX + 1];
    if (end - *at < MEMBER_BYTES) {
        return false;
    }
    raft_id id = get64(at);
    unsigned role = get8(at);
    uint32_t bytes = get32(at);
    if (id == 0 || role > RAFT_SPARE || bytes == 0 || bytes > ADDRESS_BYTES_MAX ||
        bytes > (size_t)(end - *at) || memchr(*at, '\0', bytes) != NULL) {
        return false;
    }
    memcpy(address, *at, bytes);
    address[bytes] = '\0';
    *at += bytes;
    return raft_configuration_add(members, id, address, (int)role) == 0;
}

static bool decode_image(const struct message_frame *frame, const unsigned char *at,
                         struct raft_install_snapshot *ret)
{
    const unsigned char *end = at + frame->head_bytes;
    raft_configuration_init(&ret->conf);
    if (frame->head_bytes < IMAGE_BYTES) {
        return false;
    }
    ret->term = get64(&at);
    ret->last_index = get64(&at);
    ret->last_term = get64(&at);
    ret->conf_index = get64(&at);
    uint32_t count = get32(&at);
    bool good = count <= REPLICA_MEMBERS_MAX;
    for (uint32_t i = 0; good && i < count; i++) {
        good = decode_member(&at, end, &ret->conf);
    }
    if (!good || at != end) {
        raft_configuration_close(&ret->conf);
        return false;
    }
    ret->data.len = (size_t)frame->payload_bytes;
    return true;
}

static bool decode_timeout(const struct message_frame *frame, const unsigned char *at,
                           struct raft_timeout_now *ret)
{
    if (frame->head_bytes != TIMEOUT_BYTES) {
        return false;
    }
    ret->term = get64(&at);
    ret->last_log_index = get64(&at);
    ret->last_log_term = get64(&at);
    return true;
}

bool message_decode_head(const struct message_frame *frame, const unsigned char *head,
                         struct raft_message *ret)
{
    struct raft_message message;
    bool good = false;
    memset(&message, 0, sizeof message);
    message.type = frame->type;
    message.append_entries.version = frame->version; /* the first field of each */
    switch (frame->type) {
    case RAFT_APPEND_ENTRIES:
        good = frame->head_bytes >= ENTRIES_BYTES &&
               decode_entries(frame, head, &message.append_entries);
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        good = decode_entries_result(frame, head, &message.append_entries_result);
        break;
    case RAFT_REQUEST_VOTE:
        good = decode_vote(frame, head, &message.request_vote);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        good = decode_vote_result(frame, head, &message.request_vote_result);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        good = decode_image(frame, head, &message.install_snapshot);
        break;
    case RAFT_TIMEOUT_NOW:
        good = decode_timeout(frame, head, &message.timeout_now);
        break;
    }
    if (good) {
        *ret = message;
    }
    return good;
}

bool message_has_payload(const struct raft_message *message)
{
    return message->type == RAFT_INSTALL_SNAPSHOT ||
           (message->type == RAFT_APPEND_ENTRIES && message->append_entries.n_entries > 0);
}

void message_attach(struct raft_message *message, unsigned char *payload, size_t bytes)
{
    if (message->type == RAFT_INSTALL_SNAPSHOT) {
        message->install_snapshot.data = (struct raft_buffer){payload, bytes};
        return;
    }
    struct raft_append_entries *append = &message->append_entries;
    unsigned char *at = payload;
    for (unsigned i = 0; i < append->n_entries; i++) {
        struct raft_entry *entry = &append->entries[i];
        entry->batch = payload;
        entry->buf.base = entry->buf.len > 0 ? at : NULL;
        at += padded(entry->buf.len);
    }
}

void message_dispose(struct raft_message *message)
{
    if (message->type == RAFT_APPEND_ENTRIES && message->append_entries.n_entries > 0) {
        raft_free(message->append_entries.entries[0].batch);
        raft_free(message->append_entries.entries);
    }
    if (message->type == RAFT_INSTALL_SNAPSHOT) {
        raft_configuration_close(&message->install_snapshot.conf);
        raft_free(message->install_snapshot.data.base);
    }
}
