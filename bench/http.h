/*
 * HTTP/1.1 requests as the load generator sends them: kept alive, with as few headers as the server takes.
 */
#ifndef RINGHOLD_BENCH_HTTP_H
#define RINGHOLD_BENCH_HTTP_H

#include "bench/buffer.h"
#include "bench/protocol.h"

/* Replaces what is in `out` by one request. A NULL body sends none; otherwise it is declared as JSON. */
void http_request(struct buffer *out, const char *method, const char *target,
                  const struct buffer *body);

/* Whether the answer's body holds `text`. */
bool answer_holds(const struct answer *answer, const char *text, size_t bytes);

#endif
