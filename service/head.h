/*
 * The head of a request, as libmicrohttpd has read it: what the exchange asks of it, and the guard's verdict.
 */
#ifndef RINGHOLD_SERVICE_HEAD_H
#define RINGHOLD_SERVICE_HEAD_H

#include "db/limits.h"
#include "service/call.h"
#include "service/guard.h"

enum {
    FIELD_ENTRY_BYTES = 56,   /* what libmicrohttpd notes of each field */
    ANSWER_HEAD_BYTES = 1024, /* no answer's head is larger */
    /* libmicrohttpd keeps both heads, and its notes, in so much memory, and clears all of it each time. */
    CONNECTION_BYTES = HEAD_BYTES_MAX + HEADERS_MAX * FIELD_ENTRY_BYTES + ANSWER_HEAD_BYTES,
};

/* Judges the head, and makes it known to the call's exchange. */
struct guard_verdict head_judge(struct call *call, const char *method, const char *version);

/* For an exchange whose connection is lost: the head went with it. */
void head_forget(struct call *call);

#endif
