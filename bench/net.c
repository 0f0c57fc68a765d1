#include "bench/net.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { INBOX_BYTES = 16 * 1024, DESCRIPTORS_SPARE = 16 };

int net_try_connect(unsigned port)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)port),
                                        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        err(1, "cannot open a socket");
    }
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
        err(1, "cannot set TCP_NODELAY");
    }
    return fd;
}

int net_connect(unsigned port)
{
    int fd = net_try_connect(port);
    if (fd < 0) {
        err(1, "cannot connect to 127.0.0.1:%u", port);
    }
    return fd;
}

void net_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        err(1, "cannot make a socket non-blocking");
    }
}

void net_raise_descriptors(unsigned wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        err(1, "cannot read the limit of open files");
    }
    if (limit.rlim_max < wanted + DESCRIPTORS_SPARE) {
        errx(1, "%u connections need more open files than the hard limit allows (ulimit -Hn)",
             wanted);
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        err(1, "cannot raise the limit of open files");
    }
}

long net_read(int fd, struct buffer *inbox)
{
    if (inbox->room == inbox->bytes) {
        buffer_reserve(inbox, inbox->room == 0 ? INBOX_BYTES : inbox->room);
    }
    long count = recv(fd, inbox->at + inbox->bytes, inbox->room - inbox->bytes, 0);
    if (count > 0) {
        inbox->bytes += (size_t)count;
    }
    return count;
}

static bool send_all(int fd, struct request request)
{
    while (request.bytes > 0) {
        long count = send(fd, request.at, request.bytes, MSG_NOSIGNAL);
        if (count < 0 && errno != EINTR) {
            return false;
        }
        if (count > 0) {
            request.at += count;
            request.bytes -= (size_t)count;
        }
    }
    return true;
}

bool net_exchange(int fd, const struct wire *wire, struct request request, struct buffer *inbox,
                  struct answer *ret_answer)
{
    buffer_clear(inbox);
    enum framing framing = send_all(fd, request) ? FRAMING_PARTIAL : FRAMING_BROKEN;
    while (framing == FRAMING_PARTIAL && net_read(fd, inbox) > 0) {
        framing = wire->frame(inbox->at, inbox->bytes, ret_answer);
    }
    return framing == FRAMING_WHOLE;
}

uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}
