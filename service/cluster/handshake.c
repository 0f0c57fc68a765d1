#include "service/cluster/handshake.h"

#include "handlers/digest.h"
#include "service/cluster/wire.h"

#include <nettle/memops.h>
#include <string.h>
#include <sys/random.h>

_Static_assert((int)PEER_MAC_BYTES == (int)DIGEST_BYTES, "a MAC is a digest");

static const unsigned char MAGIC[4] = {'R', 'H', 'P', 'R'};

const char *peer_verdict_word(enum peer_verdict verdict)
{
    static const char *const WORDS[] = {
#define X(name, word) word,
        PEER_VERDICTS(X)
#undef X
    };
    return WORDS[verdict];
}

void hello_encode(const struct hello *hello, unsigned char ret[HELLO_BYTES])
{
    memcpy(ret, MAGIC, sizeof MAGIC);
    ret[4] = PEER_VERSION;
    ret[5] = (unsigned char)hello->kind;
    ret[6] = ret[7] = 0;
    memcpy(ret + 8, hello->cluster, PEER_CLUSTER_BYTES);
    wire_put64(ret + 24, hello->source);
    wire_put64(ret + 32, hello->destination);
    wire_put64(ret + 40,
               0); /* a hello is as long in every version, so that each can read who is there */
    memcpy(ret + 48, hello->nonce, PEER_NONCE_BYTES);
}

enum peer_verdict hello_decode(const unsigned char bytes[HELLO_BYTES], struct hello *ret)
{
    if (memcmp(bytes, MAGIC, sizeof MAGIC) != 0) {
        return PEER_JUNK;
    }
    if (bytes[4] != PEER_VERSION) {
        return PEER_OTHER_VERSION;
    }
    if (bytes[5] < PEER_MESSAGES || bytes[5] > PEER_IMAGES || bytes[6] != 0 || bytes[7] != 0 ||
        wire_get64(bytes + 40) != 0) {
        return PEER_JUNK;
    }
    ret->kind = (enum peer_kind)bytes[5];
    memcpy(ret->cluster, bytes + 8, PEER_CLUSTER_BYTES);
    ret->source = wire_get64(bytes + 24);
    ret->destination = wire_get64(bytes + 32);
    memcpy(ret->nonce, bytes + 48, PEER_NONCE_BYTES);
    return PEER_ACCEPTED;
}

bool peer_nonce(unsigned char ret[PEER_NONCE_BYTES])
{
    return getrandom(ret, PEER_NONCE_BYTES, 0) == PEER_NONCE_BYTES;
}

void peer_mac(struct text secret, enum peer_role role, const unsigned char hello[HELLO_BYTES],
              const unsigned char nonce[PEER_NONCE_BYTES], unsigned char ret[PEER_MAC_BYTES])
{
    unsigned char key[DIGEST_BYTES];
    unsigned char message[HELLO_BYTES + PEER_NONCE_BYTES];
    digest_mac(secret,
               role == PEER_DIALER ? TEXT("ringhold peer dialer 1")
                                   : TEXT("ringhold peer acceptor 1"),
               key);
    memcpy(message, hello, HELLO_BYTES);
    memcpy(message + HELLO_BYTES, nonce, PEER_NONCE_BYTES);
    digest_mac((struct text){(const char *)key, sizeof key},
               (struct text){(const char *)message, sizeof message}, ret);
    explicit_bzero(key, sizeof key);
}

bool peer_mac_equal(const unsigned char a[PEER_MAC_BYTES], const unsigned char b[PEER_MAC_BYTES])
{
    return memeql_sec(a, b, PEER_MAC_BYTES) != 0;
}

void challenge_encode(enum peer_verdict verdict, const unsigned char nonce[PEER_NONCE_BYTES],
                      const unsigned char *mac, unsigned char ret[CHALLENGE_BYTES])
{
    memset(ret, 0, CHALLENGE_BYTES);
    verdict_encode(verdict, ret);
    memcpy(ret + VERDICT_BYTES, nonce, PEER_NONCE_BYTES);
    if (mac != NULL) {
        memcpy(ret + VERDICT_BYTES + PEER_NONCE_BYTES, mac, PEER_MAC_BYTES);
    }
}

enum peer_verdict challenge_decode(const unsigned char bytes[CHALLENGE_BYTES],
                                   const unsigned char **ret_nonce, const unsigned char **ret_mac)
{
    *ret_nonce = bytes + VERDICT_BYTES;
    *ret_mac = bytes + VERDICT_BYTES + PEER_NONCE_BYTES;
    return verdict_decode(bytes);
}

void verdict_encode(enum peer_verdict verdict, unsigned char ret[VERDICT_BYTES])
{
    memset(ret, 0, VERDICT_BYTES);
    memcpy(ret, MAGIC, sizeof MAGIC);
    ret[4] = PEER_VERSION;
    ret[5] = (unsigned char)verdict;
}

enum peer_verdict verdict_decode(const unsigned char bytes[VERDICT_BYTES])
{
    if (memcmp(bytes, MAGIC, sizeof MAGIC) != 0 || bytes[5] >= PEER_VERDICT_COUNT) {
        return PEER_JUNK;
    }
    return (enum peer_verdict)bytes[5];
}
