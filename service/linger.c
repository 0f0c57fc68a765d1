#include "service/linger.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 65536 };

bool linger_open(struct linger_set *linger)
{
    linger->epoll = epoll_create1(EPOLL_CLOEXEC);
    linger->count = 0;
    return linger->epoll >= 0;
}

static void drop(struct linger_set *linger, size_t i)
{
    close(
        linger->sockets[i].fd); /* the last descriptor of the socket: epoll forgets it by itself */
    linger->count--;
    memmove(&linger->sockets[i], &linger->sockets[i + 1],
            (linger->count - i) * sizeof linger->sockets[0]);
}

void linger_close(struct linger_set *linger)
{
    while (linger->count > 0) {
        drop(linger, linger->count - 1);
    }
    close(linger->epoll);
}

/* Whether the client has closed its side too, or the connection is broken: then a close loses nothing. */
static bool ended(int socket)
{
    char byte;
    ssize_t got = recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

/* ThreadSanitizer does not see F_DUPFD_CLOEXEC make a descriptor, and would take its uses for those of another that had its
   number before. This process starts no program that could inherit it in between. (tests/process/tsan.supp names this.) */
static int duplicate(int socket)
{
    int fd = dup(socket);
    if (fd >= 0) {
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    return fd;
}

void linger_add(struct linger_set *linger, int socket, int64_t now_us)
{
    if (ended(socket)) {
        return;
    }
    int fd = duplicate(socket);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
    if (fd < 0) {
        return;
    }
    if (shutdown(fd, SHUT_WR) != 0 || epoll_ctl(linger->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        close(fd);
        return;
    }
    if (linger->count == LINGER_SOCKETS_MAX) {
        drop(linger, 0);
    }
    linger->sockets[linger->count++] = (struct linger_socket){
        .fd = fd, .until_us = now_us + LINGER_MS * 1000, .bytes_left = LINGER_BYTES_MAX};
}

/* Reads and drops. False when the socket has nothing more to wait for. */
static bool goes_on(struct linger_socket *lingering)
{
    static _Thread_local char dropped[READ_BYTES];
    ssize_t got;
    while ((got = recv(lingering->fd, dropped, sizeof dropped, MSG_DONTWAIT)) > 0) {
        lingering->bytes_left -= got;
        if (lingering->bytes_left <= 0) {
            return false;
        }
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR);
}

void linger_run(struct linger_set *linger, int64_t now_us)
{
    for (size_t i = linger->count; i-- > 0;) {
        if (linger->sockets[i].until_us <= now_us || !goes_on(&linger->sockets[i])) {
            drop(linger, i);
        }
    }
}
