/*
 *   accept (loop 0) ─► a loop's inbox ─► MHD_add_connection ─► service/requests
 *
 *   committer, parked ─► call->back ─► the loop's inbox ─► requests_take_back
 */
#include "service/http.h"

#include "service/answer.h"
#include "service/half_closed.h"
#include "service/linger.h"
#include "service/requests.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ACCEPTS_AT_ONCE = 64,
    NEW_SOCKETS_MAX = 1024, /* accepted, and not yet taken by their loop */
    LOOK_MS_MIN = 1,        /* how often a loop looks around while calls are being committed … */
    LOOK_MS_MAX = 32,       /* … and while nothing else happens */
};

struct loop {
    struct http *http;
    struct MHD_Daemon *daemon;
    pthread_t thread;
    int wake; /* eventfd: something is in the inbox, or it is time to stop */
    struct requests requests;
    struct linger_set linger;       /* the thread's own: connections that we ended first */
    struct half_closed half_closed; /* the thread's own: connections that the client may end */
    int look_ms;                    /* the thread's own: from LOOK_MS_MIN to LOOK_MS_MAX */
    bool started;

    pthread_mutex_t mu;
    struct call *back;            /* guarded by mu: calls given back, newest first */
    bool flush;                   /* guarded by mu: `wake` has not been written for them */
    int sockets[NEW_SOCKETS_MAX]; /* guarded by mu */
    size_t socket_count;          /* guarded by mu */
};

struct http {
    struct http_config config;
    _Atomic int64_t connections;
    atomic_bool accepting;
    atomic_bool stopping;
    size_t next_loop; /* loop 0's own: whose turn the next connection is */
    int spare;        /* loop 0's own: a descriptor to be given up when there are no more */
    struct loop *loops;
};

/* ---- calls coming back -------------------------------------------------------------------------------------------- */

static struct loop *loop_of(struct call *call)
{
    return (struct loop *)((char *)call->requests - offsetof(struct loop, requests));
}

static void put_back(struct call *call, bool wake)
{
    struct loop *loop = loop_of(call);
    pthread_mutex_lock(&loop->mu);
    call->next = loop->back;
    loop->back = call;
    loop->flush = true;
    pthread_mutex_unlock(&loop->mu);
    if (wake) {
        eventfd_write(loop->wake, 1);
    }
}

/* From the committer: the loops are woken once a batch, by http_flush. From the parked table and the proxy: at once; and
   where it may be either. */
static void on_back(struct call *call)
{
    bool at_once = call->state == CALL_PARKED || call->forwarding != NULL || call->sharding != NULL;
    put_back(call, at_once);
}

void http_flush(struct http *http)
{
    for (int i = 0; i < http->config.loops; i++) {
        struct loop *loop = &http->loops[i];
        pthread_mutex_lock(&loop->mu);
        bool flush = loop->flush;
        loop->flush = false;
        pthread_mutex_unlock(&loop->mu);
        if (flush) {
            eventfd_write(loop->wake, 1);
        }
    }
}

/* ---- connections, and the inbox they come through ----------------------------------------------------------------- */

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct loop *loop = cls;
    int socket = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = half_closed_watch(&loop->half_closed, socket);
    } else {
        half_closed_forget(&loop->half_closed, *context);
        linger_add(&loop->linger, socket, clock_monotonic_us());
        atomic_fetch_sub(&loop->http->connections, 1);
    }
}

static void add_socket(struct loop *loop, int socket)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    if (getpeername(socket, (struct sockaddr *)&address, &len) != 0) {
        close(socket); /* reset before anybody looked at it */
        atomic_fetch_sub(&loop->http->connections, 1);
    } else if (MHD_add_connection(loop->daemon, socket, (struct sockaddr *)&address, len) !=
               MHD_YES) {
        atomic_fetch_sub(&loop->http->connections, 1); /* libmicrohttpd has closed it */
    }
}

/* True if calls came back. */
static bool empty_inbox(struct loop *loop)
{
    eventfd_t wakes;
    int sockets[NEW_SOCKETS_MAX];
    eventfd_read(loop->wake, &wakes);
    pthread_mutex_lock(&loop->mu);
    struct call *back = loop->back;
    size_t count = loop->socket_count;
    memcpy(sockets, loop->sockets, count * sizeof sockets[0]);
    loop->back = NULL;
    loop->flush = false;
    loop->socket_count = 0;
    pthread_mutex_unlock(&loop->mu);
    for (size_t i = 0; i < count; i++) {
        add_socket(loop, sockets[i]);
    }
    bool any = back != NULL;
    while (back != NULL) {
        struct call *next = back->next;
        requests_take_back(back);
        back = next;
    }
    return any;
}

/* ---- accepting ---------------------------------------------------------------------------------------------------- */

static void deal_out(struct http *http, int socket)
{
    struct loop *loop = &http->loops[http->next_loop];
    http->next_loop = (http->next_loop + 1) % (size_t)http->config.loops;
    pthread_mutex_lock(&loop->mu);
    bool room = loop->socket_count < NEW_SOCKETS_MAX;
    if (room) {
        loop->sockets[loop->socket_count++] = socket;
    }
    pthread_mutex_unlock(&loop->mu);
    if (!room) {
        answer_turn_away(socket);
        return;
    }
    atomic_fetch_add(&http->connections, 1);
    eventfd_write(loop->wake, 1);
}

static int accept_one(struct http *http)
{
    return accept4(http->config.listen_socket, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void open_spare(struct http *http)
{
    http->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* The process has as many descriptors as it may. Who waits to be accepted would keep the loop busy, and hear nothing: the
   spare one is given up for as long as it takes to turn the client away. False: nobody waits. */
static bool accept_without_room(struct http *http)
{
    close(http->spare);
    int socket = accept_one(http);
    if (socket >= 0) {
        answer_turn_away(socket);
    }
    open_spare(http);
    return socket >= 0;
}

static void accept_some(struct http *http)
{
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        int socket = accept_one(http);
        bool no_room = socket < 0 && (errno == EMFILE || errno == ENFILE);
        if (no_room && accept_without_room(http)) {
            continue;
        }
        if (socket < 0) {
            return;
        }
        int on = 1;
        setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (atomic_load(&http->connections) >= http->config.connections_max) {
            answer_turn_away(socket);
        } else {
            deal_out(http, socket);
        }
    }
}

/* ---- the loops ---------------------------------------------------------------------------------------------------- */

/*
 * libmicrohttpd says "at once" as long as a call is being committed, because it would call it again. The loop knows
 * better: such a call comes back through the inbox. It still looks for whatever else is due: a millisecond after the last
 * thing that happened, and then less and less often, for a commit that waits for other members takes many milliseconds.
 */
static int poll_timeout_ms(struct loop *loop)
{
    MHD_UNSIGNED_LONG_LONG timeout;
    if (loop->requests.committing > 0) {
        return loop->look_ms;
    }
    int longest = loop->linger.count > 0 ? LINGER_MS : 60000;
    if (MHD_get_timeout(loop->daemon, &timeout) != MHD_YES) {
        return loop->linger.count > 0 ? longest : -1;
    }
    return timeout > (unsigned)longest ? longest : (int)timeout;
}

static void *run(void *argument)
{
    struct loop *loop = argument;
    struct http *http = loop->http;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(loop->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct pollfd fds[] = {{.fd = info->epoll_fd, .events = POLLIN},
                           {.fd = loop->wake, .events = POLLIN},
                           {.fd = loop->linger.epoll, .events = POLLIN},
                           {.fd = loop->half_closed.epoll, .events = POLLIN},
                           {.fd = http->config.listen_socket, .events = POLLIN}};
    bool accepts = loop == &http->loops[0];
    loop->look_ms = LOOK_MS_MIN;
    while (!atomic_load_explicit(&http->stopping, memory_order_relaxed)) {
        bool listening = accepts && atomic_load(&http->accepting);
        int ready = poll(fds, listening ? 5 : 4, poll_timeout_ms(loop));
        loop->look_ms = ready != 0                        ? LOOK_MS_MIN
                        : loop->look_ms * 2 < LOOK_MS_MAX ? loop->look_ms * 2
                                                          : LOOK_MS_MAX;
        bool back = (fds[1].revents & POLLIN) != 0 && empty_inbox(loop);
        if (loop->linger.count > 0) {
            linger_run(&loop->linger, clock_monotonic_us());
        }
        if (listening && (fds[4].revents & POLLIN) != 0) {
            accept_some(http);
        }
        MHD_run(loop->daemon);
        if (back) {
            MHD_run(loop->daemon); /* the first queues the answers, the second sends them */
        }
        if ((fds[3].revents & POLLIN) != 0) {
            half_closed_note(&loop->half_closed);
        }
        half_closed_tell(&loop->half_closed);
    }
    return NULL;
}

static bool start_daemon(struct loop *loop)
{
    unsigned connections = (unsigned)loop->http->config.connections_max + ACCEPTS_AT_ONCE;
    int strict = MHD_VERSION >= 0x01000000 ? 1 : 0; /* no folded lines, bare LFs, NULs */
    loop->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
        requests_on_data, &loop->requests, MHD_OPTION_CONNECTION_LIMIT, connections,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_CONNECTION_SECONDS, MHD_OPTION_STRICT_FOR_CLIENT, strict,
        MHD_OPTION_URI_LOG_CALLBACK, requests_on_target, &loop->requests,
        MHD_OPTION_NOTIFY_COMPLETED, requests_on_end, &loop->requests, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, loop, MHD_OPTION_END);
    return loop->daemon != NULL;
}

static enum status start_loop(struct http *http, struct loop *loop, struct engine *engine,
                              char ret_why[256])
{
    loop->http = http;
    loop->requests.engine = engine;
    loop->requests.back = on_back;
    pthread_mutex_init(&loop->mu, NULL);
    loop->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    bool watches = half_closed_open(&loop->half_closed), lingers = linger_open(&loop->linger);
    loop->requests.readers = calloc(engine->partitions.count, sizeof(struct reader_slot));
    if (loop->requests.readers == NULL || loop->wake < 0 || !watches || !lingers ||
        !start_daemon(loop) || pthread_create(&loop->thread, NULL, run, loop) != 0) {
        snprintf(ret_why, 256, "cannot start an HTTP loop: %s", strerror(errno));
        return STATUS_OUT_OF_MEMORY;
    }
    loop->started = true;
    return STATUS_OK;
}

enum status http_start(struct engine *engine, const struct http_config *config, struct http **ret,
                       char ret_why[256])
{
    struct http *http = calloc(1, sizeof *http);
    struct loop *loops = calloc((size_t)config->loops, sizeof *loops);
    if (http == NULL || loops == NULL) {
        free(http);
        free(loops);
        snprintf(ret_why, 256, "out of memory");
        return STATUS_OUT_OF_MEMORY;
    }
    http->config = *config;
    answer_as(engine->process.node.at);
    http->loops = loops;
    open_spare(http);
    enum status status = STATUS_OK;
    /* Loop 0 deals out to the others: it starts last. */
    for (int i = config->loops - 1; i >= 0 && status == STATUS_OK; i--) {
        status = start_loop(http, &loops[i], engine, ret_why);
    }
    if (status != STATUS_OK) {
        http_stop(http);
        return status;
    }
    *ret = http;
    return STATUS_OK;
}

bool http_open(struct http *http)
{
    atomic_store(&http->accepting, true);
    return eventfd_write(http->loops[0].wake, 1) == 0;
}

void http_drain(struct http *http)
{
    atomic_store(&http->accepting, false);
    eventfd_write(http->loops[0].wake, 1);
}

int64_t http_busy(struct http *http)
{
    int64_t busy = 0;
    for (int i = 0; i < http->config.loops; i++) {
        busy += atomic_load(&http->loops[i].requests.busy);
    }
    return busy;
}

int64_t http_connections(struct http *http)
{
    return atomic_load(&http->connections);
}

static void close_readers(struct requests *requests)
{
    for (unsigned i = 0; requests->readers != NULL && i < requests->engine->partitions.count; i++) {
        reader_slot_close(&requests->readers[i]);
    }
    free(requests->readers);
}

static void stop_loop(struct loop *loop)
{
    if (loop->started) {
        eventfd_write(loop->wake, 1);
        pthread_join(loop->thread, NULL);
    }
    if (loop->daemon != NULL) {
        MHD_stop_daemon(loop->daemon);
    }
    requests_close(&loop->requests);
    if (loop->http != NULL) {
        close_readers(&loop->requests);
        linger_close(&loop->linger);
        half_closed_close(&loop->half_closed);
        close(loop->wake);
        pthread_mutex_destroy(&loop->mu);
    }
}

void http_stop(struct http *http)
{
    if (http == NULL) {
        return;
    }
    atomic_store(&http->stopping, true);
    for (int i = 0; i < http->config.loops; i++) {
        stop_loop(&http->loops[i]);
    }
    close(http->config.listen_socket);
    close(http->spare);
    free(http->loops);
    free(http);
}
