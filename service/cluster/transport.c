#include "service/cluster/transport.h"

#include "db/limits.h"
#include "service/cluster/intake.h"
#include "service/cluster/link.h"
#include "service/cluster/message.h"
#include "service/cluster/peers.h"
#include "service/cluster/stream.h"
#include "service/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum { GROUP_CHAINS = 64 };

/* One group's share of the port. */
struct transport_group {
    struct transport *transport;
    struct transport_group *next; /* of its chain */
    uint64_t id;
    const struct transport_calls *calls; /* NULL: until it starts, and once it has stopped */
    void *context;
};

struct transport {
    uv_loop_t *loop;
    uv_tcp_t listener;
    uv_timer_t ticker;
    struct links links;
    struct peers *peers;       /* NULL once closed */
    struct controls *controls; /* NULL once closed */
    struct streams *streams;   /* NULL once closed */
    struct intakes *intakes;
    struct transport_group *groups[GROUP_CHAINS]; /* by their number, modulo as many */
    int group_count;
    char *secret;
    uint16_t port;
    int handles; /* listener and ticker, that are not closed yet */
    void (*closed)(void *context);
    void *closed_context;
};

void transport_name(uint64_t node, char ret[TRANSPORT_NAME_BYTES])
{
    snprintf(ret, TRANSPORT_NAME_BYTES, "%016" PRIx64, node);
}

static struct transport_group *find_group(const struct transport *transport, uint64_t id)
{
    struct transport_group *group = transport->groups[id % GROUP_CHAINS];
    while (group != NULL && group->id != id) {
        group = group->next;
    }
    return group;
}

/* ---- incoming ----------------------------------------------------------------------------------------------------- */

static enum peer_verdict admit(void *context, const struct hello *hello)
{
    const struct transport *transport = context;
    return hello->kind == PEER_CONTROL || peers_know(transport->peers, hello->source)
               ? PEER_ACCEPTED
               : PEER_UNKNOWN_NODE;
}

static void drop_socket(uv_tcp_t *tcp)
{
    uv_close((uv_handle_t *)tcp, (uv_close_cb)raft_free);
}

static void arrived(void *context, const struct hello *hello, struct uv_tcp_s *tcp)
{
    struct transport *transport = context;
    if (transport->closed != NULL) {
        drop_socket(tcp); /* it closed since it was asked */
    } else if (hello->kind != PEER_CONTROL) {
        intakes_take(transport->intakes, hello->source, hello->kind, tcp);
        streams_hurry(transport->streams, hello->source);
    } else if (!controls_serve(transport->controls, hello->source, tcp)) {
        drop_socket(tcp);
    }
}

/* A group that is not here, or not yet, gets it again. */
static void message_arrived_for(void *context, uint64_t id, struct raft_message *message)
{
    const struct transport *transport = context;
    struct transport_group *group = find_group(transport, id);
    if (group != NULL && group->calls != NULL) {
        group->calls->receive(group->context, message);
    } else {
        message_dispose(message);
    }
}

static void has_connection(uv_stream_t *listener, int status)
{
    struct transport *transport = listener->data;
    if (status == 0) {
        links_accept(&transport->links, listener);
    }
}

/* ---- groups ------------------------------------------------------------------------------------------------------- */

struct transport_group *transport_join(struct transport *transport, uint64_t id)
{
    struct transport_group *group = calloc(1, sizeof *group);
    if (group == NULL || find_group(transport, id) != NULL) {
        free(group);
        return NULL;
    }
    struct transport_group **chain = &transport->groups[id % GROUP_CHAINS];
    *group = (struct transport_group){.transport = transport, .next = *chain, .id = id};
    *chain = group;
    transport->group_count++;
    return group;
}

static void tick(uv_timer_t *timer)
{
    struct transport *transport = timer->data;
    for (int i = 0; i < GROUP_CHAINS; i++) {
        for (struct transport_group *group = transport->groups[i]; group != NULL;
             group = group->next) {
            if (group->calls != NULL) {
                group->calls->tick(group->context);
            }
        }
    }
}

void transport_start(struct transport_group *group, unsigned tick_ms,
                     const struct transport_calls *calls, void *context)
{
    uv_timer_t *ticker = &group->transport->ticker;
    group->calls = calls;
    group->context = context;
    if (!uv_is_active((uv_handle_t *)ticker) || uv_timer_get_repeat(ticker) > tick_ms) {
        uv_timer_start(ticker, tick, tick_ms, tick_ms);
    }
}

void transport_stop(struct transport_group *group)
{
    group->calls = NULL;
    streams_cancel(group->transport->streams, group->id);
}

int transport_send(struct transport_group *group, const struct raft_message *message,
                   struct raft_io_send *request,
                   void (*sent)(struct raft_io_send *request, int status))
{
    return streams_send(group->transport->streams, group->id, message, request, sent);
}

bool transport_unsent(const struct transport_group *group, uint64_t node, size_t *ret)
{
    return streams_unsent(group->transport->streams, node, group->id, ret);
}

/* ---- control ------------------------------------------------------------------------------------------------------ */

struct ask {
    struct transport *transport;
    control_answered *answered;
    void *context;
    struct text request; /* behind this struct */
};

static void ask_dialled(void *context, enum peer_verdict verdict, struct uv_tcp_s *tcp)
{
    struct ask *ask = context;
    if (verdict == PEER_ACCEPTED && ask->transport->closed != NULL) {
        verdict = PEER_CANCELLED; /* its handshake was over before we began to close */
        drop_socket(tcp);
    }
    if (verdict == PEER_ACCEPTED) {
        controls_ask(ask->transport->controls, tcp, ask->request, ask->answered, ask->context);
    } else {
        ask->answered(ask->context, verdict, TEXT_ABSENT);
    }
    free(ask);
}

bool transport_ask(struct transport *transport, uint64_t to, const char *host, uint16_t port,
                   struct text request, control_answered *answered, void *context)
{
    struct sockaddr_storage where;
    if (transport->closed != NULL || request.len > CONTROL_FRAME_BYTES_MAX) {
        return false;
    }
    /* Who is none of ours (yet) has a place in the book as node 0, the last one asked. */
    uint64_t node = peers_know(transport->peers, to) ? to : 0;
    if ((node == 0 && !peers_put(transport->peers, 0, host, port)) ||
        !peers_find(transport->peers, node, &where)) {
        return false;
    }
    struct ask *ask = malloc(sizeof *ask + request.len + 1);
    if (ask == NULL) {
        return false;
    }
    char *copy = (char *)(ask + 1);
    memcpy(copy, request.at, request.len);
    *ask = (struct ask){transport, answered, context, {copy, request.len}};
    if (!links_dial(&transport->links, PEER_CONTROL, to, (struct sockaddr *)&where, ask_dialled,
                    ask)) {
        free(ask);
        return false;
    }
    return true;
}

/* ---- the whole ---------------------------------------------------------------------------------------------------- */

static void settle(struct transport *transport)
{
    if (transport->closed == NULL || transport->handles > 0 || transport->links.first != NULL ||
        transport->streams != NULL || transport->peers != NULL || transport->controls != NULL) {
        return;
    }
    void (*closed)(void *) = transport->closed;
    void *context = transport->closed_context;
    explicit_bzero(transport->secret, transport->links.secret.len);
    free(transport->secret);
    free(transport);
    closed(context);
}

static void link_gone(void *context)
{
    settle(context);
}

static void handle_closed(uv_handle_t *handle)
{
    struct transport *transport = handle->data;
    transport->handles--;
    settle(transport);
}

static void peers_closed(void *context)
{
    struct transport *transport = context;
    transport->peers = NULL;
    settle(transport);
}

static void controls_closed(void *context)
{
    struct transport *transport = context;
    transport->controls = NULL;
    settle(transport);
}

static void streams_closed(void *context)
{
    struct transport *transport = context;
    transport->streams = NULL;
    settle(transport);
}

/* What groups that are closing may still send by. */
static void close_streams(struct transport *transport)
{
    links_cancel(&transport->links);
    streams_close(transport->streams, streams_closed, transport);
    peers_close(transport->peers, peers_closed, transport);
}

void transport_leave(struct transport_group *group)
{
    struct transport *transport = group->transport;
    struct transport_group **at = &transport->groups[group->id % GROUP_CHAINS];
    transport_stop(group);
    while (*at != group) {
        at = &(*at)->next;
    }
    *at = group->next;
    free(group);
    transport->group_count--;
    if (transport->closed != NULL && transport->group_count == 0) {
        close_streams(transport);
    }
}

void transport_close(struct transport *transport, void (*closed)(void *context), void *context)
{
    transport->closed = closed;
    transport->closed_context = context;
    links_cancel(&transport->links);
    controls_close(transport->controls, controls_closed, transport);
    intakes_close(transport->intakes);
    uv_close((uv_handle_t *)&transport->listener, handle_closed);
    uv_close((uv_handle_t *)&transport->ticker, handle_closed);
    if (transport->group_count == 0) {
        close_streams(transport);
    }
}

/* Binds the listener, which is initialised, and finds out its port. A libuv error. */
static int bind_listener(struct transport *transport, const char *address, uint16_t port)
{
    struct sockaddr_storage where = {0};
    int bytes = sizeof where;
    int rc = uv_ip4_addr(address, port, (struct sockaddr_in *)&where);
    if (rc != 0) {
        rc = uv_ip6_addr(address, port, (struct sockaddr_in6 *)&where);
    }
    if (rc == 0) {
        rc = uv_tcp_bind(&transport->listener, (struct sockaddr *)&where, 0);
    }
    if (rc == 0) {
        rc = uv_listen((uv_stream_t *)&transport->listener, PEER_BACKLOG, has_connection);
    }
    if (rc == 0) {
        rc = uv_tcp_getsockname(&transport->listener, (struct sockaddr *)&where, &bytes);
    }
    transport->port = where.ss_family == AF_INET6
                          ? ntohs(((struct sockaddr_in6 *)&where)->sin6_port)
                          : ntohs(((struct sockaddr_in *)&where)->sin_port);
    return rc;
}

/* The parts that are only memory. NULL when it ran out. */
static struct transport *transport_new(struct uv_loop_s *loop,
                                       const struct transport_config *config)
{
    struct transport *transport = calloc(1, sizeof *transport);
    if (transport == NULL) {
        return NULL;
    }
    transport->loop = loop;
    transport->peers = peers_new(loop);
    transport->controls = controls_new(loop, config->serve, config->context);
    transport->intakes = intakes_new(message_arrived_for, transport);
    transport->secret = malloc(config->secret.len + 1);
    /* the last, because it cannot be freed again but by closing it */
    transport->streams = transport->peers != NULL && transport->controls != NULL &&
                                 transport->intakes != NULL && transport->secret != NULL
                             ? streams_new(loop, &transport->links, transport->peers)
                             : NULL;
    if (transport->streams == NULL) {
        free(transport->peers);
        free(transport->controls);
        free(transport->intakes);
        free(transport->secret);
        free(transport);
        return NULL;
    }
    memcpy(transport->secret, config->secret.at, config->secret.len);
    transport->links = (struct links){.loop = loop,
                                      .node = config->node,
                                      .secret = {transport->secret, config->secret.len},
                                      .admit = admit,
                                      .arrived = arrived,
                                      .gone = link_gone,
                                      .context = transport};
    memcpy(transport->links.cluster, config->cluster, PEER_CLUSTER_BYTES);
    return transport;
}

static void nothing(void *context)
{
    (void)context;
}

bool transport_open(struct uv_loop_s *loop, const struct transport_config *config,
                    struct transport **ret, char ret_why[256])
{
    assert(config->node != 0 && config->secret.len >= PEER_SECRET_BYTES_MIN);
    struct transport *transport = transport_new(loop, config);
    if (transport == NULL) {
        snprintf(ret_why, 256, "out of memory");
        return false;
    }
    uv_tcp_init(loop, &transport->listener);
    transport->listener.data = transport;
    uv_timer_init(loop, &transport->ticker);
    transport->ticker.data = transport;
    transport->handles = 2;
    int rc = config->address == NULL ? 0 : bind_listener(transport, config->address, config->port);
    if (rc != 0) {
        snprintf(ret_why, 256, "cannot listen for the other nodes on %s port %u: %s",
                 config->address, (unsigned)config->port, uv_strerror(rc));
        transport_close(transport, nothing, NULL);
        return false;
    }
    *ret = transport;
    return true;
}

unsigned transport_strangers(const struct transport *transport)
{
    return transport->links.strangers;
}

uint16_t transport_port(const struct transport *transport)
{
    return transport->port;
}

void transport_set_cluster(struct transport *transport,
                           const unsigned char cluster[PEER_CLUSTER_BYTES])
{
    memcpy(transport->links.cluster, cluster, PEER_CLUSTER_BYTES);
}

bool transport_put_peer(struct transport *transport, uint64_t node, const char *host, uint16_t port)
{
    return peers_put(transport->peers, node, host, port);
}

void transport_drop_peer(struct transport *transport, uint64_t node)
{
    peers_drop(transport->peers, node);
}
