#include "service/cluster/proxy.h"

#include "db/limits.h"
#include "service/clock.h"
#include "service/cluster/proxy_lane.h"

#include <assert.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

/* How many forwards there are to one base. */
struct peer {
    struct peer *next;
    size_t forwards;
    char base[];
};

struct proxy {
    struct uvloop *loop;
    struct proxy_limits limits;
    struct uvloop_task work;
    struct uvloop_closer closer;

    /* the loop's thread alone */
    struct peer *peers; /* those with forwards */
    size_t count;       /* of forwards under way */
    bool closing;
    struct lane **lanes; /* the first with room takes what comes, so that few of them are in use */
    size_t lane_count, lanes_max;

    pthread_mutex_t mu;
    struct forward *first, **last; /* guarded by mu: arrivals, in order */
    struct forward *cancelled;     /* guarded by mu: to be cancelled */
    size_t in_flight;              /* guarded by mu */
    bool woken;                    /* guarded by mu: `work` is posted */
};

/* ---- from any thread ---------------------------------------------------------------------------------------------- */

static void wake_locked(struct proxy *proxy)
{
    if (!proxy->woken) {
        proxy->woken = uvloop_post(proxy->loop, &proxy->work);
        assert(proxy->woken); /* nobody submits once the loop is being stopped */
    }
}

void proxy_submit(struct proxy *proxy, struct forward *forward)
{
    forward->submitted_us = clock_monotonic_us();
    forward->transfer = NULL;
    forward->next = NULL;
    forward->in_flight = true;
    forward->cancelled = false;
    forward->cancelled_link = NULL;
    pthread_mutex_lock(&proxy->mu);
    *proxy->last = forward;
    proxy->last = &forward->next;
    proxy->in_flight++;
    wake_locked(proxy);
    pthread_mutex_unlock(&proxy->mu);
}

static void unlink_cancelled_locked(struct forward *forward)
{
    if (forward->cancelled_link != NULL) {
        *forward->cancelled_link = forward->cancelled_next;
        if (forward->cancelled_next != NULL) {
            forward->cancelled_next->cancelled_link = forward->cancelled_link;
        }
        forward->cancelled_link = NULL;
    }
}

void proxy_cancel(struct proxy *proxy, struct forward *forward)
{
    pthread_mutex_lock(&proxy->mu);
    if (forward->in_flight && !forward->cancelled) {
        forward->cancelled = true;
        forward->cancelled_next = proxy->cancelled;
        forward->cancelled_link = &proxy->cancelled;
        if (proxy->cancelled != NULL) {
            proxy->cancelled->cancelled_link = &forward->cancelled_next;
        }
        proxy->cancelled = forward;
        wake_locked(proxy);
    }
    pthread_mutex_unlock(&proxy->mu);
}

size_t proxy_in_flight(struct proxy *proxy)
{
    pthread_mutex_lock(&proxy->mu);
    size_t in_flight = proxy->in_flight;
    pthread_mutex_unlock(&proxy->mu);
    return in_flight;
}

/* ---- peers -------------------------------------------------------------------------------------------------------- */

static struct peer **find_peer(struct proxy *proxy, const char *base)
{
    struct peer **at = &proxy->peers;
    while (*at != NULL && strcmp((*at)->base, base) != 0) {
        at = &(*at)->next;
    }
    return at;
}

/* Counts one more forward to `base`. NULL, or why there may be none. */
static const char *count_forward(struct proxy *proxy, const char *base)
{
    struct peer **at = find_peer(proxy, base);
    if (proxy->count >= proxy->limits.forwards) {
        return "too many requests are being forwarded";
    }
    if (*at == NULL) {
        size_t bytes = strlen(base) + 1;
        struct peer *peer = malloc(sizeof *peer + bytes);
        if (peer == NULL) {
            return "out of memory";
        }
        peer->next = NULL;
        peer->forwards = 0;
        memcpy(peer->base, base, bytes);
        *at = peer;
    }
    if ((*at)->forwards >= proxy->limits.peer_forwards) {
        return "too many requests are being forwarded to this instance";
    }
    (*at)->forwards++;
    proxy->count++;
    return NULL;
}

static void uncount_forward(struct proxy *proxy, const char *base)
{
    struct peer **at = find_peer(proxy, base);
    struct peer *peer = *at;
    proxy->count--;
    if (--peer->forwards == 0) {
        *at = peer->next;
        free(peer);
    }
}

/* ---- one forward -------------------------------------------------------------------------------------------------- */

static void finish(struct proxy *proxy, struct forward *forward, enum forward_outcome outcome,
                   const char *failure)
{
    if (forward->transfer != NULL) {
        lane_end(forward->lane, forward->transfer);
        forward->transfer = NULL;
        uncount_forward(proxy, forward->base);
    }
    forward->outcome = outcome;
    forward->failure = failure;
    pthread_mutex_lock(&proxy->mu);
    unlink_cancelled_locked(forward);
    forward->in_flight = false;
    proxy->in_flight--;
    pthread_mutex_unlock(&proxy->mu);
    forward->done(forward);
}

static void on_ended(void *context, struct transfer_result result)
{
    finish(context, result.forward, result.outcome, result.failure);
}

/* NULL when memory ran out. */
static struct lane *find_lane(struct proxy *proxy)
{
    for (size_t i = 0; i < proxy->lane_count; i++) {
        if (lane_has_room(proxy->lanes[i])) {
            return proxy->lanes[i];
        }
    }
    assert(proxy->lane_count < proxy->lanes_max); /* there is room for limits.forwards */
    struct lane_owner owner = {on_ended, proxy};
    struct lane *lane = lane_open(uvloop_uv(proxy->loop), owner);
    if (lane != NULL) {
        proxy->lanes[proxy->lane_count++] = lane;
    }
    return lane;
}

/* NULL, or why it was not begun. */
static const char *begin_transfer(struct proxy *proxy, struct forward *forward)
{
    int64_t left_us = forward->deadline_us - clock_monotonic_us();
    if (proxy->closing) {
        return "the proxy has stopped";
    }
    if (left_us <= 0) {
        return "the deadline has passed";
    }
    const char *why = count_forward(proxy, forward->base);
    if (why != NULL) {
        return why;
    }
    forward->lane = find_lane(proxy);
    why = forward->lane == NULL ? "out of memory" : lane_begin(forward->lane, forward, left_us);
    if (why != NULL) {
        uncount_forward(proxy, forward->base);
    }
    return why;
}

static bool is_cancelled(struct proxy *proxy, struct forward *forward)
{
    pthread_mutex_lock(&proxy->mu);
    bool cancelled = forward->cancelled;
    pthread_mutex_unlock(&proxy->mu);
    return cancelled;
}

static void begin(struct proxy *proxy, struct forward *forward)
{
    if (is_cancelled(proxy, forward)) {
        finish(proxy, forward, FORWARD_CANCELLED, "cancelled");
        return;
    }
    const char *why = begin_transfer(proxy, forward);
    if (why != NULL) {
        finish(proxy, forward, FORWARD_NOT_SENT, why);
    }
}

/* ---- the loop's thread -------------------------------------------------------------------------------------------- */

static struct forward *take_arrivals(struct proxy *proxy)
{
    pthread_mutex_lock(&proxy->mu);
    struct forward *first = proxy->first;
    proxy->first = NULL;
    proxy->last = &proxy->first;
    proxy->woken = false;
    pthread_mutex_unlock(&proxy->mu);
    return first;
}

static struct forward *take_cancelled(struct proxy *proxy)
{
    pthread_mutex_lock(&proxy->mu);
    struct forward *forward = proxy->cancelled;
    if (forward != NULL) {
        unlink_cancelled_locked(forward);
    }
    pthread_mutex_unlock(&proxy->mu);
    return forward;
}

static void on_work(struct uvloop_task *task)
{
    struct proxy *proxy = (struct proxy *)((char *)task - offsetof(struct proxy, work));
    struct forward *forward = take_arrivals(proxy);
    while (forward != NULL) {
        struct forward *next =
            forward->next; /* the forward is its maker's again as soon as it is done */
        begin(proxy, forward);
        forward = next;
    }
    while ((forward = take_cancelled(proxy)) != NULL) {
        if (forward->transfer !=
            NULL) { /* else it is among the next arrivals, and begin will see */
            finish(proxy, forward, FORWARD_CANCELLED, "cancelled");
        }
    }
}

void proxy_forsake(struct proxy *proxy, const char *base, int64_t partition, int64_t before_us)
{
    for (size_t i = 0; i < proxy->lane_count; i++) {
        struct transfer *transfer = lane_any(proxy->lanes[i]);
        while (transfer != NULL) {
            struct forward *forward = transfer_forward(transfer);
            transfer = transfer_after(transfer);
            if (forward->partition == partition && forward->submitted_us < before_us &&
                strcmp(forward->base, base) == 0) {
                finish(proxy, forward, FORWARD_UNKNOWN, "another instance leads by now");
            }
        }
    }
}

/* ---- start and stop ----------------------------------------------------------------------------------------------- */

static void on_stop(struct uvloop_closer *closer)
{
    struct proxy *proxy = (struct proxy *)((char *)closer - offsetof(struct proxy, closer));
    proxy->closing = true;
    for (size_t i = 0; i < proxy->lane_count; i++) {
        struct transfer *transfer;
        while ((transfer = lane_any(proxy->lanes[i])) != NULL) {
            finish(proxy, transfer_forward(transfer), FORWARD_CANCELLED, "the proxy has stopped");
        }
        lane_close(proxy->lanes[i]);
    }
    proxy->lane_count = 0;
}

enum status proxy_start(struct uvloop *loop, struct proxy_limits limits, struct proxy **ret)
{
    struct proxy *proxy = calloc(1, sizeof *proxy);
    if (proxy == NULL || curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK) {
        free(proxy);
        return STATUS_OUT_OF_MEMORY;
    }
    proxy->loop = loop;
    proxy->limits = limits;
    proxy->work.run = on_work;
    proxy->closer.close = on_stop;
    proxy->last = &proxy->first;
    pthread_mutex_init(&proxy->mu, NULL);
    proxy->lanes_max = (limits.forwards + LANE_TRANSFERS_MAX - 1) / LANE_TRANSFERS_MAX;
    proxy->lanes = calloc(proxy->lanes_max, sizeof(struct lane *));
    if (proxy->lanes == NULL) {
        proxy_free(proxy);
        return STATUS_OUT_OF_MEMORY;
    }
    uvloop_on_stop(loop, &proxy->closer);
    *ret = proxy;
    return STATUS_OK;
}

void proxy_free(struct proxy *proxy)
{
    if (proxy == NULL) {
        return;
    }
    free(proxy->lanes);
    curl_global_cleanup();
    pthread_mutex_destroy(&proxy->mu);
    free(proxy);
}
