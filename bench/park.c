#include "bench/park.h"

#include "bench/http.h"
#include "bench/net.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    WAIT_MS = 60 * 1000,       /* asked for by each long poll */
    SIGNAL_MS_MAX = 45 * 1000, /* until the caller must have said so */
    WAKE_MS_MAX = 10 * 1000,   /* until all must have been answered then */
    EVENTS_AT_ONCE = 256,
};

struct parked {
    int fd;
    struct buffer inbox;
    bool answered;
};

struct park {
    const struct workload *workload;
    unsigned count;
    struct parked *all;
    int epoll;
    int control; /* blocking; for what the caller itself asks of the queue */
    unsigned answered;
};

/* ---- the control connection ---- */

static bool control_exchange(struct park *park, const struct buffer *request, int status)
{
    struct buffer inbox = {0};
    struct answer answer;
    bool answered = net_exchange(park->control, &http_wire, request_of(request), &inbox, &answer);
    bool right = answered && (answer.status == status || answer.status == 200);
    if (!right) {
        warnx("park: unexpected answer:\n%.*s", (int)inbox.bytes, inbox.at);
    }
    buffer_free(&inbox);
    return right;
}

static bool queue_make(struct park *park)
{
    struct buffer target = {0}, body = {0}, request = {0};
    buffer_format(&target, "/v1/queues/%s%c", park->workload->name, '\0');
    buffer_format(&body, "{}");
    http_request(&request, "PUT", target.at, &body);
    bool made = control_exchange(park, &request, 201);
    buffer_free(&target);
    buffer_free(&body);
    buffer_free(&request);
    return made;
}

static bool messages_send(struct park *park, unsigned count)
{
    struct buffer target = {0}, body = {0}, request = {0};
    buffer_format(&target, "/v1/queues/%s/messages%c", park->workload->name, '\0');
    for (unsigned i = 0; i < count; i++) {
        buffer_format(&body, "%s{\"body\":%u}", i == 0 ? "{\"messages\":[" : ",", i);
    }
    buffer_format(&body, "]}");
    http_request(&request, "POST", target.at, &body);
    bool sent = control_exchange(park, &request, 201);
    buffer_free(&target);
    buffer_free(&body);
    buffer_free(&request);
    return sent;
}

/* ---- the parked connections ---- */

static void park_one(struct park *park, unsigned index, const struct buffer *request)
{
    struct parked *parked = &park->all[index];
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = parked}};
    parked->fd = net_connect(workload_port(park->workload, index));
    net_nonblocking(parked->fd);
    if (send(parked->fd, request->at, request->bytes, MSG_NOSIGNAL) != (long)request->bytes ||
        epoll_ctl(park->epoll, EPOLL_CTL_ADD, parked->fd, &event) != 0) {
        err(1, "cannot park a request");
    }
}

static void park_all(struct park *park)
{
    struct buffer target = {0}, body = {0}, request = {0};
    buffer_format(&target, "/v1/queues/%s/receive%c", park->workload->name, '\0');
    buffer_format(&body, "{\"max\":1,\"wait_ms\":%d}", WAIT_MS);
    http_request(&request, "POST", target.at, &body);
    for (unsigned i = 0; i < park->count; i++) {
        park_one(park, i, &request);
    }
    buffer_free(&target);
    buffer_free(&body);
    buffer_free(&request);
}

/* An answer is right when it brings one message, and its connection had none before. */
static bool take_answer(struct park *park, struct parked *parked)
{
    static const char receipt[] = "\"receipt\":\"";
    struct answer answer;
    long count = net_read(parked->fd, &parked->inbox);
    if (count < 0 && errno == EAGAIN) {
        return true;
    }
    enum framing framing = count <= 0
                               ? FRAMING_BROKEN
                               : http_wire.frame(parked->inbox.at, parked->inbox.bytes, &answer);
    if (framing == FRAMING_PARTIAL) {
        return true;
    }
    if (framing == FRAMING_BROKEN || parked->answered || answer.status != 200 ||
        !answer_holds(&answer, receipt, sizeof receipt - 1)) {
        warnx("park: a parked request was closed or answered wrongly:\n%.*s",
              (int)parked->inbox.bytes, parked->inbox.at);
        return false;
    }
    parked->answered = true;
    park->answered++;
    return true;
}

/* Whoever started this has looked enough. False when nobody says so in time, or a request is answered meanwhile. */
static bool await_signal(struct park *park)
{
    struct pollfd watched[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                                {.fd = park->epoll, .events = POLLIN}};
    int ready = poll(watched, 2, SIGNAL_MS_MAX);
    if (ready <= 0) {
        warnx("park: no line on stdin within %d ms", SIGNAL_MS_MAX);
        return false;
    }
    if (watched[1].revents != 0) {
        warnx("park: a parked request was answered or closed before any message was sent");
        return false;
    }
    return true;
}

static bool await_answers(struct park *park)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    uint64_t deadline_ns = clock_ns() + WAKE_MS_MAX * MILLISECOND_NS;
    while (park->answered < park->count && clock_ns() < deadline_ns) {
        int count = epoll_wait(park->epoll, events, EVENTS_AT_ONCE, 100);
        for (int i = 0; i < count; i++) {
            if (!take_answer(park, events[i].data.ptr)) {
                return false;
            }
        }
    }
    if (park->answered < park->count) {
        warnx("park: %u of %u requests were not answered within %d ms",
              park->count - park->answered, park->count, WAKE_MS_MAX);
    }
    return park->answered == park->count;
}

static bool wake_all(struct park *park, double *ret_wake_seconds)
{
    const unsigned batch_max = park->workload->batch;
    uint64_t begun_ns = clock_ns();
    for (unsigned left = park->count, batch; left > 0; left -= batch) {
        batch = left < batch_max ? left : batch_max;
        if (!messages_send(park, batch)) {
            return false;
        }
    }
    if (!await_answers(park)) {
        return false;
    }
    *ret_wake_seconds = (double)(clock_ns() - begun_ns) / (double)SECOND_NS;
    return true;
}

static void close_all(struct park *park)
{
    for (unsigned i = 0; i < park->count; i++) {
        close(park->all[i].fd);
        buffer_free(&park->all[i].inbox);
    }
    free(park->all);
    close(park->epoll);
    close(park->control);
}

bool park_run(const struct workload *workload, unsigned connections, double *ret_wake_seconds)
{
    struct park park = {.workload = workload, .count = connections};
    net_raise_descriptors(connections);
    park.all = calloc(connections, sizeof *park.all);
    park.epoll = epoll_create1(EPOLL_CLOEXEC);
    park.control = net_connect(workload_port(workload, 0));
    if (park.all == NULL || park.epoll < 0) {
        err(1, "cannot set up %u connections", connections);
    }
    for (unsigned i = 0; i < connections; i++) {
        park.all[i].fd = -1;
    }
    bool good = queue_make(&park);
    if (good) {
        park_all(&park);
        printf("parked\n");
        fflush(stdout);
        good = await_signal(&park) && wake_all(&park, ret_wake_seconds);
    }
    close_all(&park);
    return good;
}
