/*
 * A client whose every request is one prepared text with a key patched into it: reads and writes by key, whatever the
 * wire. Nothing is formatted while the run goes on.
 */
#ifndef RINGHOLD_BENCH_KEYED_H
#define RINGHOLD_BENCH_KEYED_H

#include "bench/buffer.h"
#include "bench/protocol.h"

/* Stands in a request's text where the key's decimal digits go. */
#define KEY_MARK "########"
enum { KEY_DIGITS = sizeof KEY_MARK - 1 };

struct keyed {
    struct workload *workload;
    struct buffer request;
    char *digits; /* in the request; NULL when it has no key */
};

/* To be called once the request's text is complete. */
void keyed_ready(struct keyed *keyed, struct workload *workload);

/* The protocol functions of such a client; it is the first (or only) member of the protocol's own. */
struct request keyed_prepare(void *client);
void keyed_close(void *client);

#endif
