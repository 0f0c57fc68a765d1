/*
 * The handshake that opens every connection between nodes. Both sides prove that they know the cluster's secret, each
 * over a fresh nonce of the other, with a key of its own, so that nothing that was ever sent proves anything again:
 *
 *     dialer                                                              acceptor
 *       HELLO      version, kind, cluster, both nodes, nonce ─►
 *                                                                 ◄─ CHALLENGE  verdict, nonce, its MAC over both
 *       PROOF      its MAC over both ─►
 *                                                                 ◄─ VERDICT    accepted, or why not
 *
 * Everything has a fixed size. What follows the verdict belongs to whom the connection is for. The handshake says who
 * is there, it does not encrypt what follows: the peer port belongs in a network that is trusted not to be rewritten.
 *
 * This file is the bytes and the arithmetic; it knows no socket.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_HANDSHAKE_H
#define RINGHOLD_SERVICE_CLUSTER_HANDSHAKE_H

#include "db/text.h"

#include <stdint.h>

enum {
    PEER_VERSION = 2,
    PEER_CLUSTER_BYTES = 16,
    PEER_NONCE_BYTES = 32,
    PEER_MAC_BYTES = 32,
    HELLO_BYTES = 80,
    CHALLENGE_BYTES = 72,
    PROOF_BYTES = PEER_MAC_BYTES,
    VERDICT_BYTES = 8
};

/* What a connection is for. */
enum peer_kind {
    PEER_MESSAGES = 1, /* all groups' messages, from the source to the destination */
    PEER_CONTROL = 2,  /* requests and answers in frames: joins, status */
    PEER_IMAGES = 3    /* messages with images, in the same direction */
};

/* How a connection ended up, and the word for it in the log. */
/* clang-format off */
#define PEER_VERDICTS(X) \
  X(ACCEPTED,      "accepted") \
  X(JUNK,          "junk")                  /* no hello of ours */ \
  X(OTHER_VERSION, "version") \
  X(WRONG_CLUSTER, "wrong-cluster") \
  X(WRONG_NODE,    "wrong-node")            /* it was meant for somebody else, or comes from ourselves */ \
  X(WRONG_SECRET,  "wrong-secret") \
  X(UNKNOWN_NODE,  "unknown-node") \
  X(SLOW,          "slow") \
  X(CROWDED,       "crowded")               /* too many at once */ \
  X(OVERSIZED,     "oversized") \
  X(HUNG_UP,       "hung-up") \
  X(UNREACHABLE,   "unreachable") \
  X(CANCELLED,     "cancelled")             /* we are closing */ \
  X(OUT_OF_MEMORY, "out-of-memory")
/* clang-format on */

enum peer_verdict {
#define X(name, word) PEER_##name,
    PEER_VERDICTS(X)
#undef X
        PEER_VERDICT_COUNT
};

const char *peer_verdict_word(enum peer_verdict verdict);

struct hello {
    enum peer_kind kind;
    unsigned char cluster
        [PEER_CLUSTER_BYTES];     /* all zero: of a control connection whose dialer has none yet */
    uint64_t source, destination; /* node ids; destination 0: whoever it is, control only */
    unsigned char nonce[PEER_NONCE_BYTES];
};

void hello_encode(const struct hello *hello, unsigned char ret[HELLO_BYTES]);
/* ACCEPTED, JUNK or OTHER_VERSION. */
enum peer_verdict hello_decode(const unsigned char bytes[HELLO_BYTES], struct hello *ret);

/* Fresh random bytes; false when the kernel has none. */
bool peer_nonce(unsigned char ret[PEER_NONCE_BYTES]);

/* Whose proof it is. */
enum peer_role { PEER_DIALER, PEER_ACCEPTOR };
/* The proof of that role for this hello, as it went over the wire, and the acceptor's nonce. */
void peer_mac(struct text secret, enum peer_role role, const unsigned char hello[HELLO_BYTES],
              const unsigned char nonce[PEER_NONCE_BYTES], unsigned char ret[PEER_MAC_BYTES]);
/* Whether two are equal, in a time that does not tell where they differ. */
bool peer_mac_equal(const unsigned char a[PEER_MAC_BYTES], const unsigned char b[PEER_MAC_BYTES]);

/* `mac` may be NULL when the verdict is a refusal. */
void challenge_encode(enum peer_verdict verdict, const unsigned char nonce[PEER_NONCE_BYTES],
                      const unsigned char *mac, unsigned char ret[CHALLENGE_BYTES]);
/* The verdict in it, JUNK when it is none; nonce and MAC point into `bytes`. */
enum peer_verdict challenge_decode(const unsigned char bytes[CHALLENGE_BYTES],
                                   const unsigned char **ret_nonce, const unsigned char **ret_mac);

void verdict_encode(enum peer_verdict verdict, unsigned char ret[VERDICT_BYTES]);
enum peer_verdict verdict_decode(const unsigned char bytes[VERDICT_BYTES]);

#endif
