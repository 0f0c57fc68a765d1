/*
 * Sockets to a server on the loopback address, and the clock.
 */
#ifndef RINGHOLD_BENCH_NET_H
#define RINGHOLD_BENCH_NET_H

#include "bench/buffer.h"
#include "bench/protocol.h"

#include <stdint.h>

#define SECOND_NS UINT64_C(1000000000)
#define MILLISECOND_NS UINT64_C(1000000)

/* A connected socket without Nagle's delay; ends the program when the server does not take it. */
int net_connect(unsigned port);
/* The same, but -1 when the server does not take it (errno tells). */
int net_try_connect(unsigned port);
void net_nonblocking(int fd);
/* Lets this process open as many descriptors as its hard limit allows; ends it when `wanted` are not to be had. */
void net_raise_descriptors(unsigned wanted);

/* Reads what has come, at most what there is room for, which doubles when it was filled. How many bytes came: 0 when
   the peer has closed, -1 when nothing is there now or the socket is broken (errno tells). */
long net_read(int fd, struct buffer *inbox);

/* One request and its answer on a blocking socket. The answer points into `inbox`, which is cleared before.
   False when the peer closed or what came is no answer. */
bool net_exchange(int fd, const struct wire *wire, struct request request, struct buffer *inbox,
                  struct answer *ret_answer);

uint64_t clock_ns(void);

#endif
