/*
 * The requests of one HTTP loop, as libmicrohttpd tells of them: its callbacks, each of which moves a call on.
 *
 *   MHD ─► requests_on_target  the raw target: a call is made
 *       ─► requests_on_data    head: guard ─► body ─► call_start ─► [COMMITTING: called again until it is back]
 *                                                             └──► [PARKED: suspended until it is back]
 *                                                             └──► ANSWERED: answer_send
 *       ─► requests_on_end     sent, or the client is gone: the call is freed
 *
 *   the loop's inbox ─► requests_take_back ─► call_go_on, in requests_on_data
 *
 * All of it runs on the loop's thread; only `busy` is read by others too.
 */
#ifndef RINGHOLD_SERVICE_REQUESTS_H
#define RINGHOLD_SERVICE_REQUESTS_H

#include "db/limits.h"
#include "service/call.h"

#include <microhttpd.h>

enum {
    FIELD_NOTE_BYTES = 56,    /* what libmicrohttpd notes of each field */
    ANSWER_HEAD_BYTES = 1024, /* no answer's head is larger */
    /* libmicrohttpd keeps both heads and its notes in so much memory of the connection, and clears it each time. */
    CONNECTION_BYTES = HEAD_BYTES_MAX + HEADERS_MAX * FIELD_NOTE_BYTES + ANSWER_HEAD_BYTES,
};

struct requests {
    struct engine *engine;
    struct reader_slot *readers;     /* the loop's own, one of each partition */
    void (*back)(struct call *call); /* what each call is given */
    struct call *spare;              /* calls that have ended */
    int spares;
    int committing;       /* calls that libmicrohttpd keeps calling back for */
    _Atomic int64_t busy; /* calls that have not ended */
};

/* For MHD_OPTION_URI_LOG_CALLBACK; `cls` is the requests. */
void *requests_on_target(void *cls, const char *target, struct MHD_Connection *connection);
/* The access handler: the head is there, or some of the body, or it is time to look again. */
enum MHD_Result requests_on_data(void *cls, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *body,
                                 size_t *body_len, void **context);
/* For MHD_OPTION_NOTIFY_COMPLETED. */
void requests_on_end(void *cls, struct MHD_Connection *connection, void **context,
                     enum MHD_RequestTerminationCode code);

/* A call that the committer or the parked table has given back. */
void requests_take_back(struct call *call);
/* Frees the calls that have ended. All must have. */
void requests_close(struct requests *requests);

#endif
