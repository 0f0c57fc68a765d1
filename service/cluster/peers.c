#include "service/cluster/peers.h"

#include "db/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { HOST_BYTES = 256, PORT_DIGITS = 6 };

struct peer {
    struct peers *peers;
    struct peer *next;
    uint64_t node;
    char host[HOST_BYTES];
    char port[PORT_DIGITS];
    struct sockaddr_storage address; /* when `known_until` is not past */
    uint64_t known_until;            /* of the loop's clock; UINT64_MAX: a number, not a name */
    bool looking, dropped;
    uv_getaddrinfo_t lookup;
};

struct peers {
    uv_loop_t *loop;
    struct peer *first;
    int count;   /* that are not dropped */
    int looking; /* look-ups that have not answered */
    void (*closed)(void *context);
    void *context;
};

struct peers *peers_new(struct uv_loop_s *loop)
{
    struct peers *peers = calloc(1, sizeof *peers);
    if (peers != NULL) {
        peers->loop = loop;
    }
    return peers;
}

static struct peer *find(const struct peers *peers, uint64_t node)
{
    struct peer *peer = peers->first;
    while (peer != NULL && peer->node != node) {
        peer = peer->next;
    }
    return peer;
}

static void unlink_peer(struct peer *peer)
{
    struct peer **at = &peer->peers->first;
    while (*at != peer) {
        at = &(*at)->next;
    }
    *at = peer->next;
}

/* Whether the host is a number; then there is nothing to look up, ever. */
static bool take_number(struct peer *peer, uint16_t port)
{
    bool number = uv_ip4_addr(peer->host, port, (struct sockaddr_in *)&peer->address) == 0 ||
                  uv_ip6_addr(peer->host, port, (struct sockaddr_in6 *)&peer->address) == 0;
    peer->known_until = number ? UINT64_MAX : 0;
    return number;
}

static void settle(struct peers *peers)
{
    if (peers->closed != NULL && peers->looking == 0) {
        void (*closed)(void *) = peers->closed;
        void *context = peers->context;
        free(peers);
        closed(context);
    }
}

static void looked_up(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
    struct peer *peer = lookup->data;
    struct peers *peers = peer->peers;
    peers->looking--;
    peer->looking = false;
    if (status == 0 && found != NULL && found->ai_addrlen <= sizeof peer->address) {
        memcpy(&peer->address, found->ai_addr, found->ai_addrlen);
        peer->known_until = uv_now(peers->loop) + PEER_NAME_FRESH_MS;
    }
    uv_freeaddrinfo(found);
    if (peer->dropped) {
        free(peer);
    }
    settle(peers);
}

static void look_up(struct peer *peer)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    peer->lookup.data = peer;
    if (!peer->looking && uv_getaddrinfo(peer->peers->loop, &peer->lookup, looked_up, peer->host,
                                         peer->port, &hints) == 0) {
        peer->looking = true;
        peer->peers->looking++;
    }
}

bool peers_put(struct peers *peers, uint64_t node, const char *host, uint16_t port)
{
    char digits[PORT_DIGITS];
    snprintf(digits, sizeof digits, "%u", (unsigned)port);
    struct peer *peer = find(peers, node);
    if (peer != NULL && strcmp(peer->host, host) == 0 && strcmp(peer->port, digits) == 0) {
        return true;
    }
    if (strlen(host) >= HOST_BYTES || (peer == NULL && peers->count == NODES_MAX)) {
        return false;
    }
    struct peer *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return false;
    }
    peers_drop(peers, node);
    made->peers = peers;
    made->node = node;
    memcpy(made->host, host, strlen(host) + 1);
    memcpy(made->port, digits, sizeof digits);
    made->next = peers->first;
    peers->first = made;
    peers->count++;
    if (!take_number(made, port)) {
        look_up(made);
    }
    return true;
}

void peers_drop(struct peers *peers, uint64_t node)
{
    struct peer *peer = find(peers, node);
    if (peer == NULL) {
        return;
    }
    unlink_peer(peer);
    peers->count--;
    if (peer->looking) {
        peer->dropped = true; /* freed when the answer comes */
        uv_cancel((uv_req_t *)&peer->lookup);
    } else {
        free(peer);
    }
}

bool peers_know(const struct peers *peers, uint64_t node)
{
    return find(peers, node) != NULL;
}

bool peers_find(struct peers *peers, uint64_t node, struct sockaddr_storage *ret)
{
    struct peer *peer = find(peers, node);
    if (peer == NULL) {
        return false;
    }
    uint64_t now = uv_now(peers->loop);
    if (peer->known_until != UINT64_MAX && peer->known_until < now + PEER_NAME_FRESH_MS / 2) {
        look_up(peer); /* in time, so that a name which still answers is never waited for again */
    }
    if (peer->known_until < now || peer->known_until == 0) {
        return false;
    }
    *ret = peer->address;
    return true;
}

void peers_doubt(struct peers *peers, uint64_t node)
{
    struct peer *peer = peers == NULL ? NULL : find(peers, node);
    if (peer != NULL && peer->known_until != UINT64_MAX) {
        peer->known_until = 0;
    }
}

void peers_close(struct peers *peers, void (*closed)(void *context), void *context)
{
    while (peers->first != NULL) {
        peers_drop(peers, peers->first->node);
    }
    peers->closed = closed;
    peers->context = context;
    settle(peers);
}
