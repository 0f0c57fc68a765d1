#include "service/cluster/intake.h"

#include "db/limits.h"
#include "service/cluster/message_reader.h"
#include "service/cluster/transport.h"
#include "service/log.h"

#include <stdlib.h>
#include <uv.h>

struct intake {
    struct intakes *intakes; /* NULL once it is closing */
    struct intake *next;
    uint64_t node;
    char name[TRANSPORT_NAME_BYTES];
    enum peer_kind kind;
    uv_tcp_t *tcp;
    struct message_reader reader;
};

struct intakes {
    intake_arrived *arrived;
    void *context;
    struct intake *first;
    unsigned char
        read[STREAM_READ_BYTES]; /* of whoever is read; nothing of it is left afterwards */
};

struct intakes *intakes_new(intake_arrived *arrived, void *context)
{
    struct intakes *intakes = malloc(sizeof *intakes);
    if (intakes != NULL) {
        intakes->arrived = arrived;
        intakes->context = context;
        intakes->first = NULL;
    }
    return intakes;
}

static void closed(uv_handle_t *handle)
{
    struct intake *intake = handle->data;
    message_reader_end(&intake->reader);
    raft_free(intake->tcp);
    free(intake);
}

static void end(struct intake *intake)
{
    struct intake **at = &intake->intakes->first;
    while (*at != intake) {
        at = &(*at)->next;
    }
    *at = intake->next;
    intake->intakes = NULL;
    uv_close((uv_handle_t *)intake->tcp, closed);
}

void intakes_close(struct intakes *intakes)
{
    while (intakes->first != NULL) {
        end(intakes->first);
    }
    free(intakes);
}

static void arrived(void *context, uint64_t group, struct raft_message *message)
{
    const struct intake *intake = context;
    if (intake->intakes == NULL) { /* what came before it in the same piece has ended us */
        message_dispose(message);
        return;
    }
    message->server_id = intake->node;
    message->server_address = intake->name;
    intake->intakes->arrived(intake->intakes->context, group, message);
}

/* A payload that is not small is read to where it stays. */
static void room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    const struct intake *intake = handle->data;
    size_t bytes = 0;
    unsigned char *payload = message_reader_room(&intake->reader, &bytes);
    (void)suggested;
    if (payload != NULL && bytes >= STREAM_READ_BYTES) {
        *ret = uv_buf_init((char *)payload, bytes < INT32_MAX ? (unsigned)bytes : INT32_MAX);
    } else {
        *ret = uv_buf_init((char *)intake->intakes->read, STREAM_READ_BYTES);
    }
}

static void has_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct intake *intake = stream->data;
    bool good = count >= 0;
    if (count > 0 && buffer->base != (const char *)intake->intakes->read) {
        message_reader_filled(&intake->reader, (size_t)count);
    } else if (count > 0) {
        good = message_reader_feed(&intake->reader, (const unsigned char *)buffer->base,
                                   (size_t)count);
        if (!good) {
            LOG(LOG_WARN, "peer-refused", LOG_STRING("reason", peer_verdict_word(PEER_JUNK)),
                LOG_STRING("node", intake->name));
        }
    }
    if (!good && intake->intakes != NULL) {
        end(intake);
    }
}

void intakes_take(struct intakes *intakes, uint64_t node, enum peer_kind kind, struct uv_tcp_s *tcp)
{
    struct intake *older = intakes->first;
    while (older != NULL && (older->node != node || older->kind != kind)) {
        older = older->next;
    }
    if (older != NULL) {
        end(older);
    }
    struct intake *intake = calloc(1, sizeof *intake);
    if (intake == NULL) {
        uv_close((uv_handle_t *)tcp, (uv_close_cb)raft_free);
        return;
    }
    intake->intakes = intakes;
    intake->next = intakes->first;
    intakes->first = intake;
    intake->node = node;
    transport_name(node, intake->name);
    intake->kind = kind;
    intake->tcp = tcp;
    intake->reader.arrived = arrived;
    intake->reader.context = intake;
    intake->reader.images = kind == PEER_IMAGES;
    tcp->data = intake;
    if (uv_read_start((uv_stream_t *)tcp, room, has_read) != 0) {
        end(intake);
    }
}
