/*
 * Clients that have closed their side. libmicrohttpd is told by epoll of what is new only, and takes a read that did not
 * fill its buffer for the last of what has come. So where a client's last bytes and its close are there together, it
 * reads the bytes and does not learn of the close: the connection would stay until its timeout.
 *
 * Each loop therefore watches for closes itself. When libmicrohttpd has read all that came before a close and has not
 * closed the connection, epoll is made to tell it anew; any sooner, and it would take the news for that of more bytes.
 * One thread, the loop's, uses it.
 */
#ifndef RINGHOLD_SERVICE_HALF_CLOSED_H
#define RINGHOLD_SERVICE_HALF_CLOSED_H

#include <stdbool.h>

/* One socket that is watched. */
struct watched;

struct half_closed {
    int epoll; /* readable when half_closed_note has something to do */
    struct watched
        *first; /* those whose client has closed its side, until libmicrohttpd was told anew */
};

/* False when the system gives no epoll. */
bool half_closed_open(struct half_closed *half_closed);
/* All sockets must have been forgotten. */
void half_closed_close(struct half_closed *half_closed);

/* Watches a socket. NULL when memory ran out: without the watch the timeout ends the connection. */
struct watched *half_closed_watch(struct half_closed *half_closed, int socket);
/* To be called before the socket is closed, for a duplicate of it may live on (service/linger.h). NULL-safe. */
void half_closed_forget(struct half_closed *half_closed, struct watched *watched);

/* Notes whose client has closed its side. */
void half_closed_note(struct half_closed *half_closed);
/* Makes epoll tell again, where it is time. To be called each time libmicrohttpd has run. */
void half_closed_tell(struct half_closed *half_closed);

#endif
