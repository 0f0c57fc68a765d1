/*
 * Which header fields go through a proxy: all but those that speak of one connection only. Pure, any thread.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_PROXY_HEADERS_H
#define RINGHOLD_SERVICE_CLUSTER_PROXY_HEADERS_H

#include "db/text.h"

struct proxy_header {
    struct text name, value;
};

/* False for what belongs to one connection: Connection and what its value names, Keep-Alive, Proxy-…, TE, Trailer,
   Transfer-Encoding, Upgrade, Expect; and for what each side says anew: Content-Length, Host. `connection` is the value
   of the message's Connection field, or absent. */
bool proxy_header_travels(struct text name, struct text connection);

/* Whether the field at `i` travels, given all the fields of its message, of which several may be named Connection. */
bool proxy_headers_travels(const struct proxy_header *headers, size_t count, size_t i);

/* Splits a line of a head, without its line end. False when it is no sound field. */
bool proxy_header_parse(struct text line, struct proxy_header *ret);

/* Whether the field can be written into a head: its name is a token, its value has no control character but tabs. */
bool proxy_header_is_sound(struct proxy_header header);

/* Names are compared without case. */
bool proxy_header_is(struct text name, const char *other);

#endif
