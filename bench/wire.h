/*
 * A wire knows where an answer ends and nothing about what it means. One per protocol spoken: HTTP/1.1 (Ringhold, etcd's
 * gateway, bare libmicrohttpd), RESP (Redis), and beanstalkd's text protocol.
 */
#ifndef RINGHOLD_BENCH_WIRE_H
#define RINGHOLD_BENCH_WIRE_H

#include <stddef.h>

enum framing {
    FRAMING_PARTIAL, /* more bytes are needed */
    FRAMING_WHOLE,   /* *ret_answer describes one answer */
    FRAMING_BROKEN,  /* this is not the wire's language */
};

/* Points into the bytes that were framed; valid as long as they are. */
struct answer {
    int status; /* HTTP: the status code; RESP: the type's character; beanstalkd: the word's first letter */
    const char *body;
    size_t body_bytes;
    size_t bytes; /* of the whole answer */
};

struct wire {
    const char *name;
    enum framing (*frame)(const char *at, size_t bytes, struct answer *ret_answer);
};

extern const struct wire http_wire;
extern const struct wire resp_wire;
extern const struct wire beanstalk_wire;

#endif
