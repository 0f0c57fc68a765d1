#include "service/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

static int open_socket(const struct addrinfo *at)
{
    int on = 1;
    int listener = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (listener < 0) {
        return -1;
    }
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, at->ai_addr, at->ai_addrlen) != 0 || listen(listener, BACKLOG) != 0) {
        int kept = errno;
        close(listener);
        errno = kept;
        return -1;
    }
    return listener;
}

static uint16_t port_of(int listener)
{
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    if (getsockname(listener, (struct sockaddr *)&bound, &len) != 0) {
        return 0;
    }
    return ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                             : ((struct sockaddr_in *)&bound)->sin_port);
}

bool listen_open(const char *address, uint16_t port, int *ret_socket, char *ret_url,
                 size_t url_bytes, char ret_why[256])
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *at = NULL;
    snprintf(service, sizeof service, "%u", port);
    int rc = getaddrinfo(address, service, &hints, &at);
    if (rc != 0) {
        snprintf(ret_why, 256, "%s is not an address: %s", address, gai_strerror(rc));
        return false;
    }
    int listener = open_socket(at);
    bool v6 = at->ai_family == AF_INET6;
    freeaddrinfo(at);
    if (listener < 0) {
        snprintf(ret_why, 256, "cannot listen on %s:%u: %s", address, port, strerror(errno));
        return false;
    }
    snprintf(ret_url, url_bytes, v6 ? "http://[%s]:%u" : "http://%s:%u", address,
             port_of(listener));
    *ret_socket = listener;
    return true;
}
