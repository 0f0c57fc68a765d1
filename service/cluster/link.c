/*
 *     dialer:    CONNECTING ─► HELLO sent ─► challenge read ─► PROOF sent ─► verdict read ─► over
 *     acceptor:  hello read ─► CHALLENGE sent ─► proof read ─► VERDICT sent ─► over
 *
 * `step` counts these: a link always either writes one thing or reads one thing of a fixed size, and never reads a byte
 * more than that, so that what follows the handshake is still in the socket for who gets it.
 */
#include "service/cluster/link.h"

#include "db/limits.h"
#include "service/log.h"

#include <inttypes.h>
#include <netinet/tcp.h>
#include <raft.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum { LINK_BYTES_MAX = HELLO_BYTES };
enum link_step { LINK_HELLO, LINK_CHALLENGE, LINK_PROOF, LINK_VERDICT };

struct link {
    struct links *links;
    struct link *next;
    bool dialer, over;
    enum link_step step;
    enum peer_verdict verdict; /* when over; before: what the other side will be told */
    struct hello hello;
    unsigned char hello_bytes[HELLO_BYTES];
    unsigned char nonce[PEER_NONCE_BYTES]; /* the acceptor's */
    uv_tcp_t *tcp;
    uv_timer_t timer;
    int handles; /* that are not closed yet */
    uv_connect_t connect;
    uv_write_t write;
    unsigned char in[LINK_BYTES_MAX], out[LINK_BYTES_MAX];
    size_t got, want;
    link_dialled *dialled;
    void *context;
};

/* ---- the end ------------------------------------------------------------------------------------------------------ */

/* Of each reason one line a second; the others are counted. Connections come from outside, the log's room is ours. */
static bool may_log(enum peer_verdict verdict, uint64_t now, int64_t *ret_left_out)
{
    static struct {
        uint64_t last;
        int64_t left_out;
    } logged[PEER_VERDICT_COUNT]; /* of the loop's thread, as all of this file */
    if (logged[verdict].last != 0 && now - logged[verdict].last < 1000) {
        logged[verdict].left_out++;
        return false;
    }
    *ret_left_out = logged[verdict].left_out;
    logged[verdict].last = now + (now == 0);
    logged[verdict].left_out = 0;
    return true;
}

static void log_refusal(const struct link *link)
{
    bool ours = link->verdict == PEER_CANCELLED;
    bool usual = link->verdict == PEER_UNREACHABLE || link->verdict == PEER_HUNG_UP;
    enum log_level level = usual && link->dialer ? LOG_DEBUG : LOG_WARN;
    int64_t left_out = 0;
    if (ours || !log_wants(level) ||
        !may_log(link->verdict, uv_now(link->links->loop), &left_out)) {
        return;
    }
    char node[20];
    snprintf(node, sizeof node, "%016" PRIx64,
             link->dialer ? link->hello.destination : link->hello.source);
    LOG(level, "peer-refused", LOG_STRING("reason", peer_verdict_word(link->verdict)),
        LOG_STRING("side", link->dialer ? "dialer" : "acceptor"), LOG_STRING("node", node),
        LOG_INT("left_out", left_out));
}

/* The timer is closed, and the socket is either closed or good: it goes to whom it is for, before the link is gone, so that
   nobody takes the last link for gone from within. */
static void leave(struct link *link)
{
    struct links *links = link->links;
    bool good = link->verdict == PEER_ACCEPTED;
    if (!good) {
        raft_free(link->tcp);
        link->tcp = NULL;
    }
    if (link->dialer) {
        link->dialled(link->context, link->verdict, link->tcp);
    } else {
        links->incoming--;
        if (good) {
            links->arrived(links->context, &link->hello, link->tcp);
        }
    }
    struct link **at = &links->first;
    while (*at != link) {
        at = &(*at)->next;
    }
    *at = link->next;
    free(link);
    links->gone(links->context);
}

static void handle_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    if (--link->handles == 0) {
        leave(link);
    }
}

static void finish(struct link *link, enum peer_verdict verdict)
{
    if (link->over) {
        return;
    }
    link->over = true;
    link->verdict = verdict;
    uv_close((uv_handle_t *)&link->timer, handle_closed);
    if (verdict == PEER_ACCEPTED) {
        link->handles--; /* the socket stays open */
        return;
    }
    log_refusal(link);
    uv_close((uv_handle_t *)link->tcp, handle_closed);
}

static void too_slow(uv_timer_t *timer)
{
    finish(timer->data, PEER_SLOW);
}

/* ---- one thing read, one thing written ---------------------------------------------------------------------------- */

static void heard(struct link *link);
static void said(struct link *link);

static void room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    (void)suggested;
    struct link *link = handle->data;
    *ret = uv_buf_init((char *)link->in + link->got, (unsigned)(link->want - link->got));
}

static void has_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    (void)buffer;
    struct link *link = stream->data;
    if (count < 0) {
        finish(link, PEER_HUNG_UP);
        return;
    }
    link->got += (size_t)count;
    if (link->got == link->want) {
        uv_read_stop(stream);
        heard(link);
    }
}

static void listen_for(struct link *link, enum link_step step, size_t bytes)
{
    link->step = step;
    link->got = 0;
    link->want = bytes;
    if (uv_read_start((uv_stream_t *)link->tcp, room, has_read) != 0) {
        finish(link, PEER_HUNG_UP);
    }
}

static void has_written(uv_write_t *write, int status)
{
    struct link *link = write->data;
    if (link->over) {
        return;
    }
    if (status != 0) {
        finish(link, PEER_HUNG_UP);
        return;
    }
    said(link);
}

/* Sends the first bytes of `out`. */
static void say(struct link *link, enum link_step step, size_t bytes)
{
    uv_buf_t buffer = uv_buf_init((char *)link->out, (unsigned)bytes);
    link->step = step;
    link->write.data = link;
    if (uv_write(&link->write, (uv_stream_t *)link->tcp, &buffer, 1, has_written) != 0) {
        finish(link, PEER_HUNG_UP);
    }
}

/* ---- the acceptor ------------------------------------------------------------------------------------------------- */

/* What can be judged before the dialer has proved anything; it tells nothing but whom it reached. */
static enum peer_verdict judge_hello(struct link *link)
{
    static const unsigned char NONE[PEER_CLUSTER_BYTES];
    struct links *links = link->links;
    enum peer_verdict verdict = hello_decode(link->hello_bytes, &link->hello);
    if (verdict != PEER_ACCEPTED) {
        return verdict;
    }
    const struct hello *hello = &link->hello;
    bool control = hello->kind == PEER_CONTROL;
    bool nowhere = memcmp(hello->cluster, NONE, sizeof NONE) == 0;
    if (control && nowhere ? false
                           : nowhere || memcmp(hello->cluster, links->cluster, sizeof NONE) != 0) {
        links->strangers += !control && !nowhere;
        return PEER_WRONG_CLUSTER;
    }
    bool meant = hello->destination == links->node || (control && hello->destination == 0);
    return meant && hello->source != links->node && hello->source != 0 ? PEER_ACCEPTED
                                                                       : PEER_WRONG_NODE;
}

static void hear_hello(struct link *link)
{
    unsigned char mac[PEER_MAC_BYTES];
    memcpy(link->hello_bytes, link->in, HELLO_BYTES);
    link->verdict = judge_hello(link);
    if (link->verdict == PEER_JUNK) { /* nobody who would understand an answer */
        finish(link, PEER_JUNK);
        return;
    }
    if (!peer_nonce(link->nonce)) {
        finish(link, PEER_OUT_OF_MEMORY);
        return;
    }
    bool good = link->verdict == PEER_ACCEPTED;
    if (good) {
        peer_mac(link->links->secret, PEER_ACCEPTOR, link->hello_bytes, link->nonce, mac);
    }
    challenge_encode(link->verdict, link->nonce, good ? mac : NULL, link->out);
    say(link, LINK_CHALLENGE, CHALLENGE_BYTES);
}

static void hear_proof(struct link *link)
{
    struct links *links = link->links;
    unsigned char mac[PEER_MAC_BYTES];
    peer_mac(links->secret, PEER_DIALER, link->hello_bytes, link->nonce, mac);
    link->verdict = peer_mac_equal(mac, link->in) ? links->admit(links->context, &link->hello)
                                                  : PEER_WRONG_SECRET;
    verdict_encode(link->verdict, link->out);
    say(link, LINK_VERDICT, VERDICT_BYTES);
}

/* ---- the dialer --------------------------------------------------------------------------------------------------- */

static void hear_challenge(struct link *link)
{
    const unsigned char *nonce, *mac;
    unsigned char expected[PEER_MAC_BYTES];
    enum peer_verdict verdict = challenge_decode(link->in, &nonce, &mac);
    if (verdict != PEER_ACCEPTED) {
        finish(link, verdict);
        return;
    }
    peer_mac(link->links->secret, PEER_ACCEPTOR, link->hello_bytes, nonce, expected);
    if (!peer_mac_equal(expected, mac)) {
        finish(link, PEER_WRONG_SECRET);
        return;
    }
    peer_mac(link->links->secret, PEER_DIALER, link->hello_bytes, nonce, link->out);
    say(link, LINK_PROOF, PROOF_BYTES);
}

static void connected(uv_connect_t *connect, int status)
{
    struct link *link = connect->data;
    if (link->over) {
        return;
    }
    if (status != 0) {
        finish(link, PEER_UNREACHABLE);
        return;
    }
    uv_timer_start(&link->timer, too_slow, PEER_HANDSHAKE_MS, 0);
    memcpy(link->out, link->hello_bytes, HELLO_BYTES);
    say(link, LINK_HELLO, HELLO_BYTES);
}

/* ---- the steps ---------------------------------------------------------------------------------------------------- */

static void heard(struct link *link)
{
    switch (link->step) {
    case LINK_HELLO:
        hear_hello(link);
        break;
    case LINK_CHALLENGE:
        hear_challenge(link);
        break;
    case LINK_PROOF:
        hear_proof(link);
        break;
    case LINK_VERDICT:
        finish(link, verdict_decode(link->in));
        break;
    }
}

static void said(struct link *link)
{
    bool refused = !link->dialer && link->verdict != PEER_ACCEPTED;
    switch (link->step) {
    case LINK_HELLO:
        listen_for(link, LINK_CHALLENGE, CHALLENGE_BYTES);
        break;
    case LINK_CHALLENGE:
        if (refused) {
            finish(link, link->verdict);
        } else {
            listen_for(link, LINK_PROOF, PROOF_BYTES);
        }
        break;
    case LINK_PROOF:
        listen_for(link, LINK_VERDICT, VERDICT_BYTES);
        break;
    case LINK_VERDICT:
        finish(link, link->verdict);
        break;
    }
}

/* ---- the beginning ------------------------------------------------------------------------------------------------ */

void link_tune(struct uv_tcp_s *tcp)
{
    int fd = -1;
    unsigned silence_ms = PEER_SILENCE_MS;
    uv_tcp_nodelay(tcp, 1);
    uv_tcp_keepalive(tcp, 1, PEER_SILENCE_MS / 1000);
    if (uv_fileno((uv_handle_t *)tcp, &fd) == 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof silence_ms);
    }
}

/* A link with its handles, its time running. NULL when memory ran out. */
static struct link *link_new(struct links *links)
{
    struct link *link = calloc(1, sizeof *link);
    uv_tcp_t *tcp = raft_malloc(sizeof *tcp);
    if (link == NULL || tcp == NULL || uv_tcp_init(links->loop, tcp) != 0) {
        free(link);
        raft_free(tcp);
        return NULL;
    }
    link->links = links;
    link->next = links->first;
    links->first = link;
    link->tcp = tcp;
    tcp->data = link;
    uv_timer_init(links->loop, &link->timer);
    link->timer.data = link;
    link->handles = 2;
    uv_timer_start(&link->timer, too_slow, PEER_HANDSHAKE_MS, 0);
    return link;
}

void links_accept(struct links *links, struct uv_stream_s *listener)
{
    struct link *link = link_new(links);
    if (link == NULL) {
        return; /* it stays in the backlog, and goes when its dialer's time is up */
    }
    links->incoming++;
    if (uv_accept(listener, (uv_stream_t *)link->tcp) != 0) {
        finish(link, PEER_HUNG_UP);
    } else if (links->incoming > PEER_HANDSHAKES_MAX) {
        finish(link, PEER_CROWDED);
    } else {
        link_tune(link->tcp);
        listen_for(link, LINK_HELLO, HELLO_BYTES);
    }
}

bool links_dial(struct links *links, enum peer_kind kind, uint64_t destination,
                const struct sockaddr *address, link_dialled *dialled, void *context)
{
    struct link *link = link_new(links);
    if (link == NULL) {
        return false;
    }
    uv_timer_start(&link->timer, too_slow, PEER_CONNECT_MS, 0);
    link->dialer = true;
    link->dialled = dialled;
    link->context = context;
    link->connect.data = link;
    link->hello = (struct hello){.kind = kind, .source = links->node, .destination = destination};
    memcpy(link->hello.cluster, links->cluster, PEER_CLUSTER_BYTES);
    if (!peer_nonce(link->hello.nonce)) {
        finish(link, PEER_OUT_OF_MEMORY);
        return true;
    }
    hello_encode(&link->hello, link->hello_bytes);
    if (uv_tcp_connect(&link->connect, link->tcp, address, connected) != 0) {
        finish(link, PEER_UNREACHABLE);
    } else {
        link_tune(link->tcp);
    }
    return true;
}

void links_cancel(struct links *links)
{
    for (struct link *link = links->first; link != NULL; link = link->next) {
        finish(link, PEER_CANCELLED);
    }
}
