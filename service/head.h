/*
 * A request's head, as libmicrohttpd read it, for handlers: they ask for fields by name (handlers/exchange.h).
 */
#ifndef RINGHOLD_SERVICE_HEAD_H
#define RINGHOLD_SERVICE_HEAD_H

#include "db/text.h"

/* The value of the field in the head of `source`, a call; absent where there is none. A list that came in several lines
   is one list, made in the call's arena (RFC 9110 §5.2). */
struct text head_field(const void *source, const char *name);

/* The same for a request whose connection is lost: its head went with it. */
struct text head_field_of_nobody(const void *source, const char *name);

#endif
