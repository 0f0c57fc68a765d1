#include "handlers/digest.h"

#include "handlers/text_parse.h"

#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <nettle/sha2.h>
#include <sys/random.h>

enum { SALT_BYTES = 16 };

struct text digest_sha256(struct arena *arena, struct text bytes)
{
    struct sha256_ctx context;
    uint8_t *digest = arena_alloc(arena, DIGEST_BYTES);
    if (digest == NULL) {
        return TEXT_ABSENT;
    }
    sha256_init(&context);
    sha256_update(&context, bytes.len, (const uint8_t *)bytes.at);
    sha256_digest(&context, DIGEST_BYTES, digest);
    return (struct text){(const char *)digest, DIGEST_BYTES};
}

struct text digest_of(struct arena *arena, const struct text *parts, size_t count)
{
    struct sha256_ctx context;
    uint8_t *digest = arena_alloc(arena, DIGEST_BYTES);
    if (digest == NULL) {
        return TEXT_ABSENT;
    }
    sha256_init(&context);
    for (size_t i = 0; i < count; i++) {
        uint64_t len = parts[i].len;
        sha256_update(&context, sizeof len, (const uint8_t *)&len);
        sha256_update(&context, parts[i].len, (const uint8_t *)parts[i].at);
    }
    sha256_digest(&context, DIGEST_BYTES, digest);
    return (struct text){(const char *)digest, DIGEST_BYTES};
}

void digest_mac(struct text key, struct text message, unsigned char ret[DIGEST_BYTES])
{
    struct hmac_sha256_ctx context;
    hmac_sha256_set_key(&context, key.len, (const uint8_t *)key.at);
    hmac_sha256_update(&context, message.len, (const uint8_t *)message.at);
    hmac_sha256_digest(&context, DIGEST_BYTES, ret);
}

bool digest_equal(struct text a, struct text b)
{
    return a.len == b.len && memeql_sec(a.at, b.at, a.len);
}

struct text digest_random(struct arena *arena, size_t bytes)
{
    char *at = arena_alloc(arena, bytes);
    bool filled = at != NULL && getrandom(at, bytes, 0) == (ssize_t)bytes;
    arena->exhausted |= !filled;
    return filled ? (struct text){at, bytes} : TEXT_ABSENT;
}

struct text digest_hex(struct arena *arena, struct text bytes)
{
    static const char DIGITS[] = "0123456789abcdef";
    char *out = arena_alloc(arena, bytes.len * 2 + 1);
    if (out == NULL) {
        return TEXT_ABSENT;
    }
    for (size_t i = 0; i < bytes.len; i++) {
        out[2 * i] = DIGITS[(unsigned char)bytes.at[i] >> 4];
        out[2 * i + 1] = DIGITS[(unsigned char)bytes.at[i] & 15];
    }
    out[bytes.len * 2] = '\0';
    return (struct text){out, bytes.len * 2};
}

/* ---- Idempotency-Key ---------------------------------------------------------------------------------------------- */

/* The key without its quotes; absent when there is none. */
struct text idempotency_key(const struct exchange *x)
{
    struct text key = x->request.header(x->request.source, "Idempotency-Key");
    if (!text_given(key)) {
        return TEXT_ABSENT;
    }
    key = text_trim(key);
    bool quoted = key.len >= 2 && key.at[0] == '"' && key.at[key.len - 1] == '"';
    return quoted ? (struct text){key.at + 1, key.len - 2} : key;
}

/* XORs with HMAC(key, salt, block number), block by block: its own inverse. */
static void keystream(struct text key, const char *salt, const char *in, size_t len, char *out)
{
    unsigned char block[DIGEST_BYTES];
    char message[SALT_BYTES + 1];
    memcpy(message, salt, SALT_BYTES);
    for (size_t i = 0; i < len; i++) {
        if (i % DIGEST_BYTES == 0) {
            message[SALT_BYTES] = (char)(i / DIGEST_BYTES);
            digest_mac(key, (struct text){message, sizeof message}, block);
        }
        out[i] = (char)(in[i] ^ (char)block[i % DIGEST_BYTES]);
    }
}

static struct text seal(struct exchange *x, struct text key, struct text secret)
{
    struct text salt = digest_random(x->arena, SALT_BYTES);
    char *out = arena_alloc(x->arena, SALT_BYTES + secret.len);
    if (out == NULL || !text_given(salt)) {
        return TEXT_ABSENT;
    }
    memcpy(out, salt.at, SALT_BYTES);
    keystream(key, out, secret.at, secret.len, out + SALT_BYTES);
    return (struct text){out, SALT_BYTES + secret.len};
}

struct text exchange_unseal(struct exchange *x)
{
    struct text sealed = x->result.sealed;
    char *out = sealed.len < SALT_BYTES ? NULL : arena_alloc(x->arena, sealed.len - SALT_BYTES);
    if (out == NULL) {
        return TEXT_ABSENT;
    }
    keystream(idempotency_key(x), sealed.at, sealed.at + SALT_BYTES, sealed.len - SALT_BYTES, out);
    return (struct text){out, sealed.len - SALT_BYTES};
}

static bool printable(struct text key)
{
    for (size_t i = 0; i < key.len; i++) {
        if (key.at[i] < 0x20 || key.at[i] > 0x7e) {
            return false;
        }
    }
    return true;
}

enum status exchange_idempotency(struct exchange *x)
{
    struct text key = idempotency_key(x);
    if (!text_given(key)) {
        return STATUS_OK;
    }
    if (key.len == 0 || key.len > IDEMPOTENCY_KEY_BYTES_MAX || !printable(key)) {
        return exchange_refuse(x, STATUS_INVALID_HEADER, "Idempotency-Key",
                               "Idempotency-Key must be 1 to 255 printable ASCII characters.");
    }
    struct text scope[] = {TEXT("POST"), x->request.path, key};
    struct text content[] = {x->request.query, x->request.body};
    x->command.idempotency = (struct idempotency){
        .key_hash = digest_of(x->arena, scope, 3),
        .request_hash = digest_of(x->arena, content, 2),
        .sealed = text_given(x->secret) ? seal(x, key, x->secret) : TEXT_ABSENT};
    return STATUS_OK;
}
