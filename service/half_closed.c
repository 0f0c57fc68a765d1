#include "service/half_closed.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_AT_ONCE = 64 };

struct watched {
    int socket;
    bool listed;
    struct watched *next, *before; /* while listed */
};

bool half_closed_open(struct half_closed *half_closed)
{
    half_closed->first = NULL;
    half_closed->epoll = epoll_create1(EPOLL_CLOEXEC);
    return half_closed->epoll >= 0;
}

void half_closed_close(struct half_closed *half_closed)
{
    close(half_closed->epoll);
}

struct watched *half_closed_watch(struct half_closed *half_closed, int socket)
{
    struct watched *watched = calloc(1, sizeof *watched);
    if (watched == NULL) {
        return NULL;
    }
    watched->socket = socket;
    /* Once: what is done to the socket in `tell` would be reported here too. */
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = watched};
    if (epoll_ctl(half_closed->epoll, EPOLL_CTL_ADD, socket, &event) != 0) {
        free(watched);
        return NULL;
    }
    return watched;
}

static void unlist(struct half_closed *half_closed, struct watched *watched)
{
    if (!watched->listed) {
        return;
    }
    *(watched->before == NULL ? &half_closed->first : &watched->before->next) = watched->next;
    if (watched->next != NULL) {
        watched->next->before = watched->before;
    }
    watched->listed = false;
}

void half_closed_forget(struct half_closed *half_closed, struct watched *watched)
{
    if (watched == NULL) {
        return;
    }
    /* The socket may live on as a duplicate, in the linger set: closing it would not end the watch. */
    epoll_ctl(half_closed->epoll, EPOLL_CTL_DEL, watched->socket, NULL);
    unlist(half_closed, watched);
    free(watched);
}

void half_closed_note(struct half_closed *half_closed)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(half_closed->epoll, events, EVENTS_AT_ONCE, 0);
    for (int i = 0; i < count; i++) {
        struct watched *watched = events[i].data.ptr;
        if (watched->listed) {
            continue;
        }
        watched->listed = true;
        watched->before = NULL;
        watched->next = half_closed->first;
        if (watched->next != NULL) {
            watched->next->before = watched;
        }
        half_closed->first = watched;
    }
}

static bool all_was_read(int socket)
{
    int unread = 0;
    return ioctl(socket, FIONREAD, &unread) == 0 && unread == 0;
}

void half_closed_tell(struct half_closed *half_closed)
{
    struct watched *next;
    for (struct watched *watched = half_closed->first; watched != NULL; watched = next) {
        next = watched->next;
        if (all_was_read(watched->socket)) {
            unlist(half_closed, watched);
            /* The client sends no more, so nothing is lost; but whoever watches the socket is woken. */
            shutdown(watched->socket, SHUT_RD);
        }
    }
}
