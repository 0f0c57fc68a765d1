/*
 * What a mode of the load generator is: a cycle of steps, each a request to prepare and an answer to judge.
 *
 *     open ──► prepare step 0 ──► send ──► frame ──► judge ──► prepare step 1 ──► … ──► judge last ──► one cycle counted
 *                    ▲                                                                       │
 *                    └───────────────────────────────────────────────────────────────────────┘
 *
 * The engine owns sockets, time and counting; a protocol owns the bytes. A client is the protocol's state for one
 * connection; everything runs on one thread.
 */
#ifndef RINGHOLD_BENCH_PROTOCOL_H
#define RINGHOLD_BENCH_PROTOCOL_H

#include "bench/buffer.h"
#include "bench/wire.h"

#include <stdbool.h>
#include <stdint.h>

enum { STEPS_MAX = 3, PORTS_MAX = 8 };

/* What the command line asks for, and what the clients of one run share. */
struct workload {
    unsigned ports[PORTS_MAX]; /* of the servers; connections are dealt out over them in turn */
    unsigned port_count;
    const char *name;    /* of the queue, or the prefix of keys and locks */
    unsigned keys;       /* how many keys there are */
    bool sequential;     /* each key once in turn, rather than at random */
    unsigned data_bytes; /* of a session's data, a value, a message's body */
    unsigned batch;      /* messages in a request */
    uint64_t next_key;   /* advances when sequential */
    uint64_t random;     /* state of workload_random */
};

/* The bytes of a request; they live in the client and stay as they are until its next prepare. */
struct request {
    const char *at;
    size_t bytes;
};

struct request request_of(const struct buffer *buffer);

enum verdict {
    VERDICT_GOOD,
    VERDICT_UNEXPECTED, /* the run is worth nothing */
    VERDICT_EXHAUSTED,  /* nothing is left to work on: the run ends here, and is good */
};

struct step {
    const char *name;
    struct request (*prepare)(void *client);
    enum verdict (*judge)(void *client, const struct answer *answer);
};

struct protocol {
    const char *name;
    const char *summary;
    const struct wire *wire;
    size_t client_bytes;
    /* Builds what can be built once; the client is zeroed before. `index` tells connections apart. */
    void (*open)(void *client, struct workload *workload, unsigned index);
    void (*close)(void *client);
    unsigned operations;     /* that a cycle counts for … */
    bool operations_a_batch; /* … or as many as a batch has messages */
    unsigned step_count;
    struct step steps[STEPS_MAX];
};

/* The port that so many-th connection goes to. */
unsigned workload_port(const struct workload *workload, unsigned index);
uint64_t workload_random(struct workload *workload);
/* The key the next request is for, below `keys`. */
uint64_t workload_key(struct workload *workload);

/* The protocol of that name, NULL if there is none; and all of them, for --help. */
const struct protocol *protocol_find(const char *name);
const struct protocol *protocol_at(unsigned index);

#endif
