#include "handlers/receipt.h"

#include "handlers/digest.h"
#include "handlers/text_parse.h"

#include <nettle/memops.h>

enum { PAYLOAD_BYTES = 16, MAC_BYTES = 12, PAYLOAD_TEXT = 22, MAC_TEXT = 16 };

static const struct text PREFIX = {"r1.", 3};

static void put(unsigned char *at, size_t bytes, int64_t n)
{
    for (size_t i = bytes; i-- > 0; n >>= 8) {
        at[i] = (unsigned char)(n & 0xff);
    }
}

static int64_t get(const unsigned char *at, size_t bytes)
{
    uint64_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        n = n << 8 | at[i];
    }
    return (int64_t)n;
}

/* The payload has a fixed length, so that what follows it can only be the queue's name. */
static bool mac_of(struct arena *arena, struct text secret, struct text queue,
                   const unsigned char payload[PAYLOAD_BYTES], unsigned char ret[DIGEST_BYTES])
{
    char *signed_bytes = arena_alloc(arena, PAYLOAD_BYTES + queue.len);
    if (signed_bytes == NULL) {
        return false;
    }
    memcpy(signed_bytes, payload, PAYLOAD_BYTES);
    memcpy(signed_bytes + PAYLOAD_BYTES, queue.at, queue.len);
    digest_mac(secret, (struct text){signed_bytes, PAYLOAD_BYTES + queue.len}, ret);
    return true;
}

struct text receipt_make(struct arena *arena, struct text secret, struct text queue,
                         const struct receipt *receipt)
{
    unsigned char payload[PAYLOAD_BYTES], mac[DIGEST_BYTES];
    put(payload, 2, receipt->partition);
    put(payload + 2, 6, receipt->message);
    put(payload + 8, 8, receipt->fence);
    if (!mac_of(arena, secret, queue, payload, mac)) {
        return TEXT_ABSENT;
    }
    struct text body = base64url_encode((struct text){(char *)payload, PAYLOAD_BYTES}, arena);
    struct text tag = base64url_encode((struct text){(char *)mac, MAC_BYTES}, arena);
    return arena_format(arena, "%s%.*s.%.*s", PREFIX.at, (int)body.len, body.at, (int)tag.len,
                        tag.at);
}

bool receipt_read(struct arena *arena, struct text secret, struct text queue, struct text given,
                  struct receipt *ret)
{
    struct text payload, tag;
    unsigned char mac[DIGEST_BYTES];
    if (given.len != PREFIX.len + PAYLOAD_TEXT + 1 + MAC_TEXT ||
        memcmp(given.at, PREFIX.at, PREFIX.len) != 0 ||
        given.at[PREFIX.len + PAYLOAD_TEXT] != '.') {
        return false;
    }
    struct text body = {given.at + PREFIX.len, PAYLOAD_TEXT};
    struct text rest = {given.at + PREFIX.len + PAYLOAD_TEXT + 1, MAC_TEXT};
    if (!base64url_decode(body, arena, &payload) || !base64url_decode(rest, arena, &tag)) {
        return false;
    }
    const unsigned char *bytes = (const unsigned char *)payload.at;
    if (!mac_of(arena, secret, queue, bytes, mac) || !memeql_sec(mac, tag.at, MAC_BYTES)) {
        return false;
    }
    *ret = (struct receipt){get(bytes, 2), get(bytes + 2, 6), get(bytes + 8, 8)};
    return true;
}
