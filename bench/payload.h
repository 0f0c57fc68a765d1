/*
 * The data that every contestant is given: the same JSON object, of the size asked for, with text in it that does not
 * compress to nothing. So sessions, Redis values, etcd values and messages carry the same load.
 */
#ifndef RINGHOLD_BENCH_PAYLOAD_H
#define RINGHOLD_BENCH_PAYLOAD_H

#include "bench/buffer.h"
#include "bench/protocol.h"

enum { PAYLOAD_BYTES_MIN = 64 };

/* Appends a JSON object of exactly workload->data_bytes bytes. */
void payload_append(struct buffer *out, struct workload *workload);

#endif
