/*
 * Clients that have closed their side. libmicrohttpd is told by epoll of what is new only, and takes a read that did not
 * fill its buffer for the last of what has come. So where a client's last bytes and its close are there together, it
 * reads the bytes and does not learn of the close: the connection would stay until its timeout.
 *
 * Each loop therefore watches for closes itself. What libmicrohttpd has noticed is closed, and watched no longer, when
 * the loop has run it; of what is left it is told anew. One thread, the loop's, uses it.
 */
#ifndef RINGHOLD_SERVICE_HALF_CLOSED_H
#define RINGHOLD_SERVICE_HALF_CLOSED_H

/* An epoll, readable when half_closed_run has something to do; negative when the system gives none. */
int half_closed_open(void);
/* Watches a socket, until it is closed or forgotten. */
void half_closed_watch(int epoll, int socket);
/* To be called before the socket is closed, for a duplicate of it may live on (service/linger.h). */
void half_closed_forget(int epoll, int socket);
/* Makes epoll tell again of those whose client has closed its side. */
void half_closed_run(int epoll);

#endif
