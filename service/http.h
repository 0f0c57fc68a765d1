/*
 * The HTTP front: a few loops, each a thread with a libmicrohttpd daemon that it drives itself, by epoll. Loop 0 also
 * accepts connections and deals them out. While a command is being committed its connection is not suspended: the
 * handler is simply called again, which costs no system call; only parked requests are suspended.
 *
 * Measured on two cores with a commit of 8 µs a command and an fsync a batch: suspending each request costs two
 * epoll_ctl, a recv and an eventfd write, 21 µs of CPU a request in all; this way it is one recv and one sendmsg, 19 µs.
 */
#ifndef RINGHOLD_SERVICE_HTTP_H
#define RINGHOLD_SERVICE_HTTP_H

#include "service/call.h"

struct http;

struct http_config {
    int listen_socket; /* non-blocking; http_stop closes it */
    int loops;         /* 1 or more */
    int64_t connections_max;
};

/* Starts the loops. STORAGE_UNAVAILABLE or OUT_OF_MEMORY when one cannot be started; ret_why says why. */
MUST_CHECK enum status http_start(struct engine *engine, const struct http_config *config,
                                  struct http **ret, char ret_why[256]);
/* Begins to accept connections. */
bool http_open(struct http *http);
/* Accepts no connections any more, those that are open stay. */
void http_drain(struct http *http);
/* Requests that are not answered yet. */
int64_t http_busy(struct http *http);
int64_t http_connections(struct http *http);
/* The committer gave calls back: lets the loops know, once a batch. */
void http_flush(struct http *http);
/* Ends the loops and closes every connection. Nothing may be parked or being committed. NULL-safe. */
void http_stop(struct http *http);

#endif
