/*
 *   accept (loop 0) ─► a loop's inbox ─► MHD_add_connection
 *
 *   MHD ─► on_target  the raw target: a call is made
 *       ─► on_request head: guard ─► body ─► call_start ─► [COMMITTING: called again until it is back]
 *                                                     └──► [PARKED: suspended until it is back]
 *                                                     └──► ANSWERED: answer_send
 *       ─► on_completed  sent, or the client is gone: the call is freed
 *
 *   committer, parked ─► call->back ─► the loop's inbox ─► call_go_on, in on_request
 */
#include "service/http.h"

#include "service/answer.h"
#include "service/guard.h"
#include "service/linger.h"
#include "service/metrics.h"

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ACCEPTS_AT_ONCE = 64,
    NEW_SOCKETS_MAX = 1024, /* accepted, and not yet taken by their loop */
    CONNECTION_BYTES =
        HEAD_BYTES_MAX + 2048, /* libmicrohttpd keeps both heads in it, and clears it each time */
    SPARE_CALLS_MAX = 256,
};

struct loop {
    struct http *http;
    struct MHD_Daemon *daemon;
    struct reader **readers; /* one of each partition */
    pthread_t thread;
    int wake;           /* eventfd: something is in the inbox, or it is time to stop */
    struct call *spare; /* the thread's own: calls that have ended */
    int spares;
    int committing;           /* the thread's own: calls that MHD keeps calling back for */
    struct linger_set linger; /* the thread's own: connections that we ended first */
    bool started;

    pthread_mutex_t mu;
    struct call *back;            /* guarded by mu: calls given back, newest first */
    bool flush;                   /* guarded by mu: `wake` has not been written for them */
    int sockets[NEW_SOCKETS_MAX]; /* guarded by mu */
    size_t socket_count;          /* guarded by mu */
};

struct http {
    struct engine *engine;
    struct http_config config;
    _Atomic int64_t connections;
    _Atomic int64_t busy;
    atomic_bool accepting;
    atomic_bool stopping;
    size_t next_loop; /* loop 0's own: whose turn the next connection is */
    struct loop *loops;
};

/* ---- calls coming back -------------------------------------------------------------------------------------------- */

static void put_back(struct call *call, bool wake)
{
    struct loop *loop = call->loop;
    pthread_mutex_lock(&loop->mu);
    call->next = loop->back;
    loop->back = call;
    loop->flush = true;
    pthread_mutex_unlock(&loop->mu);
    if (wake) {
        eventfd_write(loop->wake, 1);
    }
}

/* From the committer: the loops are woken once a batch, by http_flush. From the parked table: at once. */
static void on_back(struct call *call)
{
    put_back(call, call->state == CALL_PARKED);
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

/* ---- one request -------------------------------------------------------------------------------------------------- */

static struct text header_of(const void *source, const char *name)
{
    struct MHD_Connection *connection = (struct MHD_Connection *)(uintptr_t)source;
    return text_of(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name));
}

/* Of a request whose connection is lost: the head went with it. */
static struct text header_of_nobody(const void *source, const char *name)
{
    (void)source;
    (void)name;
    return TEXT_ABSENT;
}

static enum method method_of(const char *name)
{
    static const char *const NAMES[] = {"GET", "PUT", "POST", "PATCH", "DELETE"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (strcmp(name, NAMES[i]) == 0) {
            return (enum method)i;
        }
    }
    return strcmp(name, "HEAD") == 0 ? METHOD_GET : METHOD_OTHER;
}

static struct call *take_spare(struct loop *loop)
{
    struct call *spare = loop->spare;
    if (spare != NULL) {
        loop->spare = spare->next;
        loop->spares--;
    }
    return spare;
}

/* libmicrohttpd calls this with the target as it came, before anything is decoded. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct loop *loop = cls;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct call *call =
        call_make(take_spare(loop), loop->http->engine, loop->readers, info->connect_fd);
    if (call == NULL) {
        return NULL;
    }
    call->loop = loop;
    call->connection = connection;
    call->back = on_back;
    call->x.request.target = arena_copy(&call->arena, text_of(target));
    atomic_fetch_add_explicit(&loop->http->busy, 1, memory_order_relaxed);
    return call;
}

struct head {
    struct guard_field fields[HEADERS_MAX + 1];
    size_t count;
};

static enum MHD_Result note_field(void *cls, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len)
{
    struct head *head = cls;
    (void)kind;
    head->fields[head->count++] = (struct guard_field){
        {name, name_len}, value == NULL ? TEXT("") : (struct text){value, value_len}};
    return head->count <= HEADERS_MAX ? MHD_YES : MHD_NO;
}

/* libmicrohttpd 1.0 refuses itself what 0.9.75 loses (start_daemon asks it to). */
static bool lost_something(struct call *call, const char *method, const char *version,
                           const struct head *head)
{
    if (MHD_VERSION >= 0x01000000) {
        return false;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(call->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info == NULL || !guard_accounts(method, call->x.request.target.len, version,
                                           head->fields, head->count, method + info->header_size);
}

/* The head is there. What the guard refuses is answered at once, body unread, and the connection closed. */
static enum MHD_Result on_head(struct call *call, const char *method, const char *version)
{
    struct head head;
    head.count = 0;
    call->x.request.method = method_of(method);
    call->x.request.header = header_of;
    call->x.request.source = call->connection;
    MHD_get_connection_values_n(call->connection, MHD_HEADER_KIND, note_field, &head);
    struct guard_verdict verdict =
        guard_judge(call->x.request.target, version, head.fields, head.count);
    call->guarded = true;
    if (verdict.status == STATUS_OK && lost_something(call, method, version, &head)) {
        verdict = (struct guard_verdict){
            .status = STATUS_BAD_REQUEST,
            .why = "The head has a folded line, a NUL byte, or more than one space in a row in "
                   "its request line."};
    }
    if (verdict.status == STATUS_OK) {
        return MHD_YES;
    }
    call->closes = true;
    call_refuse(call, verdict.status, verdict.why);
    return answer_send(call);
}

/* Says what the connection does next, after a step of its call. */
static enum MHD_Result follow(struct call *call)
{
    struct loop *loop = call->loop;
    switch (call->state) {
    case CALL_COMMITTING:
        loop->committing++;
        return MHD_YES; /* libmicrohttpd calls again at each MHD_run, until the call is back */
    case CALL_PARKED:
        MHD_suspend_connection(call->connection);
        return MHD_YES;
    case CALL_ANSWERED:
        return answer_send(call);
    case CALL_READING:
    case CALL_STEPPING:
        break;
    }
    assert(false && "a call stops only where its state machine does");
    return MHD_NO;
}

static enum MHD_Result on_body(struct call *call, const char *bytes, size_t *len)
{
    call_body(call, bytes, *len);
    call->body_seen += *len;
    *len = 0;
    /* A little too much is read to its end, so that the client sees its 413; an endless body is cut off. */
    return call->body_seen <= 8 * (size_t)BODY_BYTES_MAX ? MHD_YES : MHD_NO;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *body,
                                  size_t *body_len, void **context)
{
    struct call *call = *context;
    (void)cls;
    (void)connection;
    (void)url;
    if (call == NULL) {
        return MHD_NO; /* there was no memory for a call */
    }
    if (!call->guarded) {
        return on_head(call, method, version);
    }
    if (*body_len > 0) {
        return on_body(call, body, body_len);
    }
    if (call->state == CALL_READING) {
        call_start(call);
        return follow(call);
    }
    if (!call->is_back) {
        return MHD_YES;
    }
    call->is_back = false;
    call_go_on(call);
    return follow(call);
}

static void free_call(struct call *call)
{
    struct loop *loop = call->loop;
    atomic_fetch_sub_explicit(&loop->http->busy, 1, memory_order_relaxed);
    call_end(call);
    if (loop->spares < SPARE_CALLS_MAX) {
        call->next = loop->spare;
        loop->spare = call;
        loop->spares++;
    } else {
        call_free(call);
    }
}

static void lose_client(struct call *call)
{
    call->gone = true;
    call->connection = NULL;
    call->x.request.header = header_of_nobody;
    call->x.request.source = NULL;
}

/* Nobody waits for this call any more: it goes on until it ends, so that nothing it holds stays behind. */
static void go_on_without_client(struct call *call)
{
    call->is_back = false;
    call_go_on(call);
    if (call->state == CALL_COMMITTING) {
        ((struct loop *)call->loop)->committing++;
    } else {
        free_call(call);
    }
}

/* libmicrohttpd is done with the request: it was answered, or its connection is lost. The latter it may find out at any
   time, also between our taking the call back and its calling us for it. */
static void on_completed(void *cls, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    struct call *call = *context;
    (void)cls;
    (void)connection;
    (void)code;
    if (call == NULL) {
        return;
    }
    *context = NULL;
    if (call->is_back) {
        lose_client(call);
        go_on_without_client(call);
        return;
    }
    if (call->state == CALL_COMMITTING) {
        lose_client(call); /* the committer has it: freed when it is back */
        return;
    }
    assert(call->state != CALL_PARKED); /* a suspended connection is not looked at */
    free_call(call);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct loop *loop = cls;
    (void)context;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        linger_add(&loop->linger, info->connect_fd, clock_monotonic_us());
        atomic_fetch_sub(&loop->http->connections, 1);
    }
}

/* ---- the inbox ---------------------------------------------------------------------------------------------------- */

static void take_back(struct loop *loop, struct call *call)
{
    bool was_parked = call->state == CALL_PARKED;
    loop->committing -= !was_parked;
    if (call->gone && !was_parked) {
        go_on_without_client(call);
        return;
    }
    call->is_back = true;
    if (was_parked) {
        MHD_resume_connection(call->connection);
    }
}

static void add_socket(struct loop *loop, int socket)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    if (getpeername(socket, (struct sockaddr *)&address, &len) != 0 ||
        MHD_add_connection(loop->daemon, socket, (struct sockaddr *)&address, len) != MHD_YES) {
        /* libmicrohttpd closes the socket itself when it does not take it; a lost peer is ours to close. */
        atomic_fetch_sub(&loop->http->connections, 1);
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
        take_back(loop, back);
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

static void accept_some(struct http *http)
{
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        int socket = accept4(http->config.listen_socket, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
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
 * better: such a call comes back through the inbox. It still looks once a millisecond, for whatever else is due.
 */
static int poll_timeout_ms(struct loop *loop)
{
    MHD_UNSIGNED_LONG_LONG timeout;
    if (loop->committing > 0) {
        return 1;
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
                           {.fd = http->config.listen_socket, .events = POLLIN}};
    bool accepts = loop == &http->loops[0];
    while (!atomic_load_explicit(&http->stopping, memory_order_relaxed)) {
        bool listening = accepts && atomic_load(&http->accepting);
        poll(fds, listening ? 4 : 3, poll_timeout_ms(loop));
        bool back = (fds[1].revents & POLLIN) != 0 && empty_inbox(loop);
        if (loop->linger.count > 0) {
            linger_run(&loop->linger, clock_monotonic_us());
        }
        if (listening && (fds[3].revents & POLLIN) != 0) {
            accept_some(http);
        }
        MHD_run(loop->daemon);
        if (back) {
            MHD_run(loop->daemon); /* the first queues the answers, the second sends them */
        }
    }
    return NULL;
}

static bool start_daemon(struct loop *loop)
{
    unsigned connections = (unsigned)loop->http->config.connections_max + ACCEPTS_AT_ONCE;
    int strict = MHD_VERSION >= 0x01000000 ? 1 : 0; /* no folded lines, bare LFs, NULs */
    loop->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
        on_request, loop, MHD_OPTION_CONNECTION_LIMIT, connections,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_CONNECTION_SECONDS, MHD_OPTION_STRICT_FOR_CLIENT, strict,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, loop, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        loop, MHD_OPTION_NOTIFY_CONNECTION, on_connection, loop, MHD_OPTION_END);
    return loop->daemon != NULL;
}

static enum status open_readers(struct loop *loop, char ret_why[256])
{
    const struct partitions *partitions = &loop->http->engine->partitions;
    loop->readers = calloc(partitions->count, sizeof(struct reader *));
    enum status status = loop->readers == NULL ? STATUS_OUT_OF_MEMORY : STATUS_OK;
    for (unsigned i = 0; i < partitions->count && status == STATUS_OK; i++) {
        const struct partition *partition = &partitions->at[i];
        status = reader_open(partition->database, partition->machine, &loop->readers[i], ret_why);
    }
    return status;
}

static void close_readers(struct loop *loop)
{
    unsigned count = loop->readers == NULL ? 0 : loop->http->engine->partitions.count;
    for (unsigned i = 0; i < count; i++) {
        reader_close(loop->readers[i]);
    }
    free(loop->readers);
}

static enum status start_loop(struct http *http, struct loop *loop, char ret_why[256])
{
    loop->http = http;
    pthread_mutex_init(&loop->mu, NULL);
    loop->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    bool linger = linger_open(&loop->linger);
    enum status status = open_readers(loop, ret_why);
    if (status != STATUS_OK) {
        return status;
    }
    if (loop->wake < 0 || !linger || !start_daemon(loop) ||
        pthread_create(&loop->thread, NULL, run, loop) != 0) {
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
    http->engine = engine;
    http->config = *config;
    http->loops = loops;
    enum status status = STATUS_OK;
    /* Loop 0 deals out to the others: it starts last. */
    for (int i = config->loops - 1; i >= 0 && status == STATUS_OK; i--) {
        status = start_loop(http, &loops[i], ret_why);
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
    return atomic_load(&http->busy);
}

int64_t http_connections(struct http *http)
{
    return atomic_load(&http->connections);
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
    while (loop->spare != NULL) {
        call_free(take_spare(loop));
    }
    if (loop->http != NULL) {
        close_readers(loop);
        linger_close(&loop->linger);
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
    free(http->loops);
    free(http);
}
