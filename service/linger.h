/*
 * Lingering close. A server that closes a socket while bytes of the request are still coming makes the kernel send a
 * reset, and a reset can take from the client the answer it has not read yet (RFC 9112, 9.6). So a connection that the
 * server ends first lives on here for a moment, half-closed: what still comes is read and dropped, until the client
 * closes too, has sent LINGER_BYTES_MAX, or has had LINGER_MS.
 *
 * One thread, the loop's, uses it. At most LINGER_SOCKETS_MAX sockets: for one more, the oldest is closed.
 */
#ifndef RINGHOLD_SERVICE_LINGER_H
#define RINGHOLD_SERVICE_LINGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINGER_MS = 2000, LINGER_SOCKETS_MAX = 64, LINGER_BYTES_MAX = 8 * 1024 * 1024 };

struct linger_socket {
    int fd;
    int64_t until_us;
    int64_t bytes_left;
};

struct linger_set {
    int epoll;
    struct linger_socket sockets[LINGER_SOCKETS_MAX]; /* oldest first */
    size_t count;
};

/* False when the system gives no epoll. */
bool linger_open(struct linger_set *linger);
/* Closes all. */
void linger_close(struct linger_set *linger);

/* `socket` is about to be closed by its owner. Keeps a duplicate of it unless the client is gone already. */
void linger_add(struct linger_set *linger, int socket, int64_t now_us);
/* Reads what has come, closes what is over. To be called when linger->epoll is readable, and once in a while. */
void linger_run(struct linger_set *linger, int64_t now_us);

#endif
