#include "tests/unit/peer.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 4096,
    REQUEST_BYTES_MAX = 2 * 1024 * 1024,
    PATIENCE_S = 20,
    LATE_US = 50000
};

struct connection {
    struct peer *peer;
    pthread_t thread;
    int socket;
    bool closed; /* guarded by the peer's mu */
};

struct peer {
    struct peer_script script;
    char base[64];
    int listener;
    pthread_t accepter;

    pthread_mutex_t mu;
    pthread_cond_t changed;
    struct connection connections[CONNECTIONS_MAX]; /* guarded by mu: the list, not what is in it */
    size_t connection_count;                        /* guarded by mu */
    size_t requests;                                /* guarded by mu */
    size_t hang_ups;                                /* guarded by mu */
    struct text request;                            /* guarded by mu */
};

/* ---- a request ---------------------------------------------------------------------------------------------------- */

/* How long the request is whose head ends at `head_len`. */
static size_t whole_length(const char *bytes, size_t head_len)
{
    static const char FIELD[] = "\r\nContent-Length:";
    for (size_t i = 0; i + sizeof FIELD < head_len; i++) {
        if (strncasecmp(bytes + i, FIELD, sizeof FIELD - 1) == 0) {
            return head_len + strtoul(bytes + i + sizeof FIELD - 1, NULL, 10);
        }
    }
    return head_len;
}

/* Reads one request. False when the client has hung up. */
static bool read_request(int socket, char *bytes, size_t *ret_len)
{
    size_t len = 0, needed = REQUEST_BYTES_MAX;
    while (len < needed) {
        ssize_t got = recv(socket, bytes + len, needed - len, 0);
        if (got <= 0) {
            return false;
        }
        len += (size_t)got;
        const char *end = memmem(bytes, len, "\r\n\r\n", 4);
        if (end != NULL && needed == REQUEST_BYTES_MAX) {
            needed = whole_length(bytes, (size_t)(end - bytes) + 4);
        }
    }
    *ret_len = len;
    return true;
}

static void note_request(struct peer *peer, const char *bytes, size_t len)
{
    char *copy = malloc(len + 1);
    assert(copy != NULL);
    memcpy(copy, bytes, len);
    copy[len] = '\0';
    pthread_mutex_lock(&peer->mu);
    free((void *)(uintptr_t)peer->request.at);
    peer->request = (struct text){copy, len};
    peer->requests++;
    pthread_cond_broadcast(&peer->changed);
    pthread_mutex_unlock(&peer->mu);
}

/* ---- a connection ------------------------------------------------------------------------------------------------- */

static bool write_all(int socket, struct text t)
{
    while (t.len > 0) {
        ssize_t sent = send(socket, t.at, t.len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        t = (struct text){t.at + sent, t.len - (size_t)sent};
    }
    return true;
}

static bool write_zeroes(int socket, size_t count)
{
    static const char ZEROES[65536];
    bool written = true;
    while (written && count > 0) {
        size_t piece = count < sizeof ZEROES ? count : sizeof ZEROES;
        written = write_all(socket, (struct text){ZEROES, piece});
        count -= piece;
    }
    return written;
}

static void await_hang_up(struct connection *connection)
{
    char byte;
    while (recv(connection->socket, &byte, 1, 0) > 0) {
    }
}

/* Answers requests until one of the two sides has had enough. */
static void serve(struct connection *connection, char *buffer)
{
    const struct peer_script *script = &connection->peer->script;
    int socket = connection->socket;
    size_t len;
    for (size_t i = 0; read_request(socket, buffer, &len); i++) {
        note_request(connection->peer, buffer, len);
        if (i < script->well) {
            write_all(socket, TEXT("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
            continue;
        }
        bool written = write_all(socket, script->answer) && write_zeroes(socket, script->zeroes);
        if (text_given(script->late)) {
            usleep(LATE_US);
            write_all(socket, script->late);
        }
        if (script->after == PEER_STALLS || !written) {
            await_hang_up(connection);
        }
        if (script->after != PEER_GOES_ON || !written) {
            return;
        }
    }
}

static void *run_connection(void *argument)
{
    struct connection *connection = argument;
    struct peer *peer = connection->peer;
    char *buffer = malloc(REQUEST_BYTES_MAX);
    assert(buffer != NULL);
    serve(connection, buffer);
    free(buffer);
    pthread_mutex_lock(&peer->mu);
    if (peer->script.after == PEER_RESETS) {
        struct linger at_once = {1, 0};
        setsockopt(connection->socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    close(connection->socket);
    connection->closed = true;
    peer->hang_ups++;
    pthread_cond_broadcast(&peer->changed);
    pthread_mutex_unlock(&peer->mu);
    return NULL;
}

static void *run_accepter(void *argument)
{
    struct peer *peer = argument;
    int socket;
    while ((socket = accept(peer->listener, NULL, NULL)) >= 0) {
        pthread_attr_t small;
        pthread_attr_init(&small);
        pthread_attr_setstacksize(&small, 256 * 1024);
        pthread_mutex_lock(&peer->mu);
        assert(peer->connection_count < CONNECTIONS_MAX);
        struct connection *connection = &peer->connections[peer->connection_count++];
        *connection = (struct connection){.peer = peer, .socket = socket};
        int rc = pthread_create(&connection->thread, &small, run_connection, connection);
        assert(rc == 0);
        (void)rc;
        pthread_mutex_unlock(&peer->mu);
        pthread_attr_destroy(&small);
    }
    return NULL;
}

/* ---- start and stop ----------------------------------------------------------------------------------------------- */

/* A socket bound to a free port of loopback. */
static int bind_free(char base[64])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = made < 0 ? -1 : bind(made, (struct sockaddr *)&address, len);
    assert(rc == 0);
    rc = getsockname(made, (struct sockaddr *)&address, &len);
    assert(rc == 0);
    (void)rc;
    snprintf(base, 64, "http://127.0.0.1:%d", ntohs(address.sin_port));
    return made;
}

struct peer *peer_start(struct peer_script script)
{
    struct peer *peer = calloc(1, sizeof *peer);
    assert(peer != NULL);
    peer->script = script;
    pthread_mutex_init(&peer->mu, NULL);
    pthread_cond_init(&peer->changed, NULL);
    peer->listener = bind_free(peer->base);
    int rc = listen(peer->listener, CONNECTIONS_MAX);
    assert(rc == 0);
    rc = pthread_create(&peer->accepter, NULL, run_accepter, peer);
    assert(rc == 0);
    (void)rc;
    return peer;
}

void peer_stop(struct peer *peer)
{
    shutdown(peer->listener, SHUT_RDWR);
    pthread_join(peer->accepter, NULL);
    close(peer->listener);
    for (size_t i = 0; i < peer->connection_count; i++) {
        struct connection *connection = &peer->connections[i];
        pthread_mutex_lock(&peer->mu);
        if (!connection->closed) {
            shutdown(connection->socket, SHUT_RDWR);
        }
        pthread_mutex_unlock(&peer->mu);
        pthread_join(connection->thread, NULL);
    }
    free((void *)(uintptr_t)peer->request.at);
    pthread_cond_destroy(&peer->changed);
    pthread_mutex_destroy(&peer->mu);
    free(peer);
}

const char *peer_base(const struct peer *peer)
{
    return peer->base;
}

/* ---- what it has seen --------------------------------------------------------------------------------------------- */

static size_t read_locked(struct peer *peer, const size_t *count)
{
    pthread_mutex_lock(&peer->mu);
    size_t value = *count;
    pthread_mutex_unlock(&peer->mu);
    return value;
}

size_t peer_connections(struct peer *peer)
{
    return read_locked(peer, &peer->connection_count);
}

size_t peer_requests(struct peer *peer)
{
    return read_locked(peer, &peer->requests);
}

struct text peer_request(struct peer *peer)
{
    pthread_mutex_lock(&peer->mu);
    struct text request = peer->request;
    pthread_mutex_unlock(&peer->mu);
    return request;
}

static bool await(struct peer *peer, const size_t *count, size_t wanted)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    int rc = 0;
    pthread_mutex_lock(&peer->mu);
    while (*count < wanted && rc == 0) {
        rc = pthread_cond_timedwait(&peer->changed, &peer->mu, &until);
    }
    pthread_mutex_unlock(&peer->mu);
    return rc == 0;
}

bool peer_await_hang_ups(struct peer *peer, size_t count)
{
    return await(peer, &peer->hang_ups, count);
}

bool peer_await_requests(struct peer *peer, size_t count)
{
    return await(peer, &peer->requests, count);
}

/* ---- peers that are not there ------------------------------------------------------------------------------------- */

int peer_refuses(char base[64])
{
    return bind_free(base); /* bound, so that nobody else listens there meanwhile */
}

int peer_ignores(char base[64])
{
    /* Its backlog is full of connections that nobody accepts; the kernel drops what comes after. They stay open until
       the process ends. */
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    int listener = bind_free(base);
    int rc = listen(listener, 0);
    assert(rc == 0);
    rc = getsockname(listener, (struct sockaddr *)&address, &len);
    assert(rc == 0);
    (void)rc;
    for (int i = 0; i < 3; i++) {
        int filler = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        rc = connect(filler, (struct sockaddr *)&address, len);
        assert(rc == 0 || errno == EINPROGRESS);
    }
    return listener;
}
