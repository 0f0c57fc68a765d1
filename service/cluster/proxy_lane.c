#include "service/cluster/proxy_lane.h"

#include "db/limits.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUCKETS = 256 };

struct lane {
    uv_loop_t *uv;
    struct lane_owner owner;
    CURLM *multi; /* NULL before the first transfer and after a long rest */
    struct transfer *transfers;
    struct transfer_spares spares;
    size_t count;
    uv_timer_t timer;               /* libcurl's */
    uv_timer_t resting;             /* runs while there is no transfer */
    struct watch *watches[BUCKETS]; /* by socket */
};

/*
 * A socket that libcurl has, or had:
 *
 *     opened ─► connecting ─► WANTED by a transfer ─► KEPT: by none; whatever comes makes it unfit to be used again
 *                   │              │      ▲              │
 *                   │              │      └──────────────┤
 *                   ▼              ▼                     ▼
 *                dropped        closed                closed, by close_socket
 *
 * Sockets that libcurl opened for itself (to wait for a look-up), or whose connection was not made, it closes without a
 * word: those must not be watched once libcurl has lost interest, for the number may be another thread's by then.
 */
struct watch {
    uv_poll_t poll;
    struct watch *next;
    struct lane *lane;
    curl_socket_t socket;
    int events; /* that are waited for */
    bool own;   /* close_socket will be called for it, if its connection was made */
    bool kept;
};

/* ---- what has happened, told to libcurl --------------------------------------------------------------------------- */

static void act(struct lane *lane, curl_socket_t socket, int flags)
{
    int running;
    struct transfer_result result;
    curl_multi_socket_action(lane->multi, socket, flags, &running);
    while (transfer_next_ended(lane->multi, &result)) {
        lane->owner.ended(lane->owner.context, result);
    }
}

/* Has libcurl find the connection closed: the peer hung up, or something came that nobody asked for, which versions of
   libcurl before 8 would take for the next answer. */
static void spoil(struct watch *watch)
{
    char bytes[4096];
    uv_poll_stop(&watch->poll);
    watch->events = 0;
    shutdown(watch->socket, SHUT_RDWR);
    while (recv(watch->socket, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data; /* may be gone after the action */
    if (watch->kept) {
        spoil(watch);
        return;
    }
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    flags |= (events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0;
    flags |= (events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0;
    act(watch->lane, watch->socket, flags);
}

static void on_time(uv_timer_t *timer)
{
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

/* ---- what libcurl wants to know ----------------------------------------------------------------------------------- */

static int set_timer(CURLM *multi, long timeout_ms, void *context)
{
    struct lane *lane = context;
    (void)multi;
    if (timeout_ms < 0) {
        uv_timer_stop(&lane->timer);
        return 0;
    }
    uv_update_time(lane->uv); /* else it would come early by what this turn of the loop has taken */
    uv_timer_start(&lane->timer, on_time, (uint64_t)timeout_ms, 0);
    return 0;
}

static struct watch **find_watch(struct lane *lane, curl_socket_t socket)
{
    struct watch **at = &lane->watches[(unsigned)socket % BUCKETS];
    while (*at != NULL && (*at)->socket != socket) {
        at = &(*at)->next;
    }
    return at;
}

static struct watch *make_watch(struct lane *lane, curl_socket_t socket)
{
    struct watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL || uv_poll_init_socket(lane->uv, &watch->poll, socket) != 0) {
        free(watch);
        return NULL;
    }
    watch->poll.data = watch;
    watch->lane = lane;
    watch->socket = socket;
    *find_watch(lane, socket) = watch;
    return watch;
}

static void free_watch(uv_handle_t *handle)
{
    free(handle->data);
}

static void drop_watch(struct watch **at)
{
    struct watch *watch = *at;
    *at = watch->next;
    uv_close((uv_handle_t *)&watch->poll, free_watch);
}

static void watch_for(struct watch *watch, int events)
{
    if (events != watch->events) { /* the same again would still cost two calls of the system */
        uv_poll_start(&watch->poll, events, on_ready);
        watch->events = events;
    }
}

static int set_watch(CURL *easy, curl_socket_t socket, int what, void *context, void *of_socket)
{
    struct lane *lane = context;
    struct watch **at = find_watch(lane, socket);
    bool kept = what == CURL_POLL_REMOVE;
    (void)of_socket;
    struct watch *watch = *at == NULL && !kept ? make_watch(lane, socket) : *at;
    if (watch == NULL) {
        /* Out of memory, the transfer goes unwatched until its deadline: an error here would end all others too. */
        return 0;
    }
    if (kept && !(watch->own && transfer_has_sent(easy))) {
        drop_watch(at);
        return 0;
    }
    watch->kept = kept;
    watch_for(watch, (kept || (what & CURL_POLL_IN) != 0 ? UV_READABLE : 0) |
                         (!kept && (what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0));
    return 0;
}

static void on_opened(void *context, curl_socket_t socket)
{
    struct lane *lane = context;
    struct watch **old = find_watch(lane, socket);
    int events = 0;
    if (*old != NULL) {
        /* libcurl has closed a socket of this number without a word, and takes this one for it: it will not say again
           what it waits for. */
        events = (*old)->kept ? 0 : (*old)->events;
        drop_watch(old);
    }
    struct watch *watch = make_watch(lane, socket);
    if (watch != NULL) {
        watch->own = true;
        watch_for(watch, events);
    }
}

static int close_socket(void *context, curl_socket_t socket)
{
    struct watch **at = find_watch(context, socket);
    if (*at != NULL) {
        drop_watch(at);
    }
    return close(socket);
}

/* ---- its life ----------------------------------------------------------------------------------------------------- */

static CURLM *make_multi(struct lane *lane)
{
    CURLM *multi = curl_multi_init();
    if (multi != NULL) {
        curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, set_watch);
        curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, lane);
        curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer);
        curl_multi_setopt(multi, CURLMOPT_TIMERDATA, lane);
        curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
        /* Kept ones and those in use together. */
        curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)LANE_TRANSFERS_MAX);
    }
    return multi;
}

static void drop_connections(struct lane *lane)
{
    transfer_spares_free(&lane->spares);
    if (lane->multi != NULL) {
        curl_multi_cleanup(lane->multi);
        lane->multi = NULL;
    }
    uv_timer_stop(&lane->timer);
}

static void on_rested(uv_timer_t *resting)
{
    drop_connections(resting->data);
}

struct lane *lane_open(uv_loop_t *uv, struct lane_owner owner)
{
    struct lane *lane = calloc(1, sizeof *lane);
    if (lane != NULL) {
        lane->uv = uv;
        lane->owner = owner;
        uv_timer_init(uv, &lane->timer);
        uv_timer_init(uv, &lane->resting);
        lane->timer.data = lane;
        lane->resting.data = lane;
    }
    return lane;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void lane_close(struct lane *lane)
{
    drop_connections(lane);
    for (size_t i = 0; i < BUCKETS; i++) {
        while (lane->watches[i] != NULL) {
            drop_watch(&lane->watches[i]);
        }
    }
    uv_close((uv_handle_t *)&lane->timer, NULL);
    uv_close((uv_handle_t *)&lane->resting, on_closed); /* closed in this order, by the same turn */
}

bool lane_has_room(const struct lane *lane)
{
    return lane->count < LANE_TRANSFERS_MAX;
}

const char *lane_begin(struct lane *lane, struct forward *forward, int64_t left_us)
{
    lane->multi = lane->multi == NULL ? make_multi(lane) : lane->multi;
    if (lane->multi == NULL) {
        return "out of memory";
    }
    struct transfer_place place = {lane->multi, &lane->transfers, &lane->spares,
                                   on_opened,   close_socket,     lane};
    const char *why = transfer_begin(forward, left_us, place);
    if (why == NULL) {
        lane->count++;
        uv_timer_stop(&lane->resting);
    }
    return why;
}

void lane_end(struct lane *lane, struct transfer *transfer)
{
    transfer_end(transfer);
    if (--lane->count == 0) {
        uv_timer_start(&lane->resting, on_rested, (uint64_t)PROXY_IDLE_SECONDS * 1000, 0);
    }
}

struct transfer *lane_any(struct lane *lane)
{
    return lane->transfers;
}
