#include "service/cluster/transport.h"

#include "db/limits.h"
#include "service/cluster/link.h"
#include "service/cluster/peers.h"
#include "service/log.h"

#include <assert.h>
#include <inttypes.h>
#include <raft/uv.h>
#include <stdio.h>
#include <stdlib.h>

/* One group's share of the port: what stands behind its engine's transport. */
struct group {
    struct transport *transport;
    struct raft_uv_transport *engine;
    struct group *next;
    uint64_t id;
    raft_uv_accept_cb accept; /* NULL until it listens, and again once it closes */
    raft_uv_transport_close_cb closed;
    bool closing;
    int dials;           /* under way */
    struct sender *sent; /* what the engine was given to send on */
};

/* The connection to a node. The engine closes it when it will, and says nothing: so it may be gone. */
struct sender {
    struct sender *next;
    uint64_t node;
    const uv_handle_t *handle;
};

struct transport {
    uv_loop_t *loop;
    uv_tcp_t listener;
    struct links links;
    struct peers *peers;       /* NULL once closed */
    struct controls *controls; /* NULL once closed */
    struct group *groups;
    char *secret;
    uint16_t port;
    bool listening; /* the listener is not closed yet */
    void (*closed)(void *context);
    void *closed_context;
};

void transport_name(uint64_t node, char ret[TRANSPORT_NAME_BYTES])
{
    snprintf(ret, TRANSPORT_NAME_BYTES, "%016" PRIx64, node);
}

static struct group *find_group(const struct transport *transport, uint64_t id)
{
    struct group *group = transport->groups;
    while (group != NULL && group->id != id) {
        group = group->next;
    }
    return group;
}

/* ---- incoming ----------------------------------------------------------------------------------------------------- */

static enum peer_verdict admit(void *context, const struct hello *hello)
{
    struct transport *transport = context;
    if (hello->kind == PEER_CONTROL) {
        return PEER_ACCEPTED;
    }
    if (!peers_know(transport->peers, hello->source)) {
        return PEER_UNKNOWN_NODE;
    }
    struct group *group = find_group(transport, hello->group);
    return group != NULL && group->accept != NULL ? PEER_ACCEPTED : PEER_UNKNOWN_GROUP;
}

/* The engine frees what it is given with raft_free; so it was made with raft_malloc. */
static void drop_socket(uv_tcp_t *tcp)
{
    uv_close((uv_handle_t *)tcp, (uv_close_cb)raft_free);
}

static void arrived(void *context, const struct hello *hello, struct uv_tcp_s *tcp)
{
    struct transport *transport = context;
    struct group *group = find_group(transport, hello->group);
    if (hello->kind == PEER_CONTROL) {
        if (transport->closed != NULL || !controls_serve(transport->controls, hello->source, tcp)) {
            drop_socket(tcp);
        }
    } else if (group != NULL && group->accept != NULL) {
        char name[TRANSPORT_NAME_BYTES];
        transport_name(hello->source, name);
        group->accept(group->engine, hello->source, name, (uv_stream_t *)tcp);
    } else {
        drop_socket(tcp); /* it closed since it was asked */
    }
}

static void has_connection(uv_stream_t *listener, int status)
{
    struct transport *transport = listener->data;
    if (status == 0) {
        links_accept(&transport->links, listener);
    }
}

/* ---- a group, as its engine sees it ------------------------------------------------------------------------------- */

static void settle_group(struct group *group)
{
    if (group->closing && group->dials == 0 && group->closed != NULL) {
        raft_uv_transport_close_cb closed = group->closed;
        group->closed = NULL;
        closed(group->engine);
    }
}

static int group_init(struct raft_uv_transport *engine, raft_id id, const char *address)
{
    (void)address;
    struct group *group = engine->impl;
    return id == group->transport->links.node ? 0 : RAFT_BADID;
}

static int group_listen(struct raft_uv_transport *engine, raft_uv_accept_cb cb)
{
    struct group *group = engine->impl;
    group->accept = cb;
    return 0;
}

/* A dial for the engine, which keeps the request until it is told. */
struct dial {
    struct group *group;
    uint64_t node;
    struct raft_uv_connect *request;
    raft_uv_connect_cb cb;
};

static void note_sender(struct group *group, uint64_t node, const uv_tcp_t *tcp)
{
    struct sender *sender = group->sent;
    while (sender != NULL && sender->node != node) {
        sender = sender->next;
    }
    if (sender == NULL) {
        sender = malloc(sizeof *sender);
        if (sender == NULL) {
            return; /* nothing but a number to be shown is lost */
        }
        *sender = (struct sender){.next = group->sent, .node = node};
        group->sent = sender;
    }
    sender->handle = (const uv_handle_t *)tcp;
}

/* What is looked for among the loop's handles. */
struct looked_for {
    const uv_handle_t *handle;
    bool found;
    size_t unsent;
};

static void look_at(uv_handle_t *handle, void *context)
{
    struct looked_for *looked_for = context;
    if (handle == looked_for->handle && handle->type == UV_TCP && !uv_is_closing(handle)) {
        looked_for->found = true;
        looked_for->unsent = uv_stream_get_write_queue_size((const uv_stream_t *)handle);
    }
}

bool transport_unsent(const struct raft_uv_transport *of, uint64_t node, size_t *ret)
{
    const struct group *group = of->impl;
    for (const struct sender *sender = group->sent; sender != NULL; sender = sender->next) {
        if (sender->node == node) {
            struct looked_for looked_for = {.handle = sender->handle};
            uv_walk(group->transport->loop, look_at, &looked_for);
            *ret = looked_for.unsent;
            return looked_for.found;
        }
    }
    return false;
}

static void dialled(void *context, enum peer_verdict verdict, struct uv_tcp_s *tcp)
{
    struct dial *dial = context;
    struct group *group = dial->group;
    int status = verdict == PEER_ACCEPTED    ? 0
                 : verdict == PEER_CANCELLED ? RAFT_CANCELED
                                             : RAFT_NOCONNECTION;
    group->dials--;
    if (status == 0) {
        note_sender(group, dial->node, tcp);
    }
    if (verdict == PEER_UNREACHABLE || verdict == PEER_SLOW) {
        peers_doubt(group->transport->peers, dial->node);
    }
    dial->cb(dial->request, (uv_stream_t *)tcp, status);
    free(dial);
    settle_group(group);
}

/* Where the node is comes from the book; what the engine has for an address is only its name. */
static int group_connect(struct raft_uv_transport *engine, struct raft_uv_connect *request,
                         raft_id id, const char *address, raft_uv_connect_cb cb)
{
    (void)address;
    struct group *group = engine->impl;
    struct transport *transport = group->transport;
    struct sockaddr_storage where;
    if (!peers_find(transport->peers, id, &where)) {
        return RAFT_NOCONNECTION; /* it comes again */
    }
    struct dial *dial = malloc(sizeof *dial);
    if (dial == NULL) {
        return RAFT_NOMEM;
    }
    *dial = (struct dial){group, id, request, cb};
    request->cb = cb;
    if (!links_dial(&transport->links, PEER_RAFT, id, group->id, (struct sockaddr *)&where, dialled,
                    dial, group)) {
        free(dial);
        return RAFT_NOMEM;
    }
    group->dials++;
    return 0;
}

/* Done when the last dial has been told, which may be at once. */
static void group_close(struct raft_uv_transport *engine, raft_uv_transport_close_cb cb)
{
    struct group *group = engine->impl;
    group->closing = true;
    group->closed = cb;
    group->accept = NULL;
    links_cancel(&group->transport->links, group);
    settle_group(group);
}

bool transport_join_group(struct transport *transport, uint64_t id, struct raft_uv_transport *ret)
{
    struct group *group = calloc(1, sizeof *group);
    if (group == NULL || find_group(transport, id) != NULL) {
        free(group);
        return false;
    }
    *group =
        (struct group){.transport = transport, .engine = ret, .next = transport->groups, .id = id};
    transport->groups = group;
    *ret = (struct raft_uv_transport){.version = 1,
                                      .impl = group,
                                      .init = group_init,
                                      .listen = group_listen,
                                      .connect = group_connect,
                                      .close = group_close};
    return true;
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
    if (!links_dial(&transport->links, PEER_CONTROL, to, 0, (struct sockaddr *)&where, ask_dialled,
                    ask, ask)) {
        free(ask);
        return false;
    }
    return true;
}

/* ---- the whole ---------------------------------------------------------------------------------------------------- */

static void settle(struct transport *transport)
{
    if (transport->closed == NULL || transport->listening || transport->links.first != NULL ||
        transport->groups != NULL || transport->peers != NULL || transport->controls != NULL) {
        return;
    }
    void (*closed)(void *) = transport->closed;
    void *context = transport->closed_context;
    explicit_bzero(transport->secret, transport->links.secret.len);
    free(transport->secret);
    free(transport);
    closed(context);
}

void transport_leave_group(struct raft_uv_transport *of)
{
    struct group *group = of->impl;
    struct transport *transport = group->transport;
    struct group **at = &transport->groups;
    while (*at != group) {
        at = &(*at)->next;
    }
    *at = group->next;
    while (group->sent != NULL) {
        struct sender *next = group->sent->next;
        free(group->sent);
        group->sent = next;
    }
    free(group);
    of->impl = NULL;
    settle(transport);
}

static void link_gone(void *context)
{
    settle(context);
}

static void listener_closed(uv_handle_t *handle)
{
    struct transport *transport = handle->data;
    transport->listening = false;
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

void transport_close(struct transport *transport, void (*closed)(void *context), void *context)
{
    transport->closed = closed;
    transport->closed_context = context;
    transport->listening = true; /* until its callback, which comes last and from the loop */
    links_cancel(&transport->links, NULL);
    controls_close(transport->controls, controls_closed, transport);
    peers_close(transport->peers, peers_closed, transport);
    uv_close((uv_handle_t *)&transport->listener, listener_closed);
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
    transport->secret = malloc(config->secret.len + 1);
    if (transport->peers == NULL || transport->controls == NULL || transport->secret == NULL) {
        free(transport->peers);
        free(transport->controls);
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
