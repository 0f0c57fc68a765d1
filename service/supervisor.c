#include "service/supervisor.h"

#include "service/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A path, or a name in the abstract namespace, which begins with '@' for the NUL that it begins with. False: neither. */
static bool address_of(const char *name, struct sockaddr_un *ret, socklen_t *ret_len)
{
    size_t len = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof ret->sun_path) {
        return false;
    }
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret->sun_path, name, len);
    if (name[0] == '@') {
        ret->sun_path[0] = '\0';
    }
    *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return true;
}

static bool send_state(const char *name, const char *state)
{
    struct sockaddr_un address;
    socklen_t len;
    if (!address_of(name, &address, &len)) {
        errno = EINVAL;
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    bool sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, len) ==
                (ssize_t)strlen(state);
    int why = errno;
    close(fd);
    errno = why;
    return sent;
}

static void tell(const char *state)
{
    const char *name = getenv("NOTIFY_SOCKET");
    if (name != NULL && name[0] != '\0' && !send_state(name, state)) {
        LOG(LOG_WARN, "supervisor-not-told", LOG_STRING("state", state),
            LOG_STRING("why", strerror(errno)));
    }
}

void supervisor_told_ready(void)
{
    tell("READY=1");
}

void supervisor_told_stopping(void)
{
    tell("STOPPING=1");
}
