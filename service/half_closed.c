#include "service/half_closed.h"

#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { EVENTS_AT_ONCE = 64 };

int half_closed_open(void)
{
    return epoll_create1(EPOLL_CLOEXEC);
}

void half_closed_watch(int epoll, int socket)
{
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.fd = socket};
    epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event); /* without it the timeout ends it */
}

void half_closed_forget(int epoll, int socket)
{
    epoll_ctl(epoll, EPOLL_CTL_DEL, socket, NULL);
}

void half_closed_run(int epoll)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(epoll, events, EVENTS_AT_ONCE, 0);
    for (int i = 0; i < count; i++) {
        /* Nothing more can come, so this changes nothing, but it is news; what has come can still be read. */
        shutdown(events[i].data.fd, SHUT_RD);
    }
}
