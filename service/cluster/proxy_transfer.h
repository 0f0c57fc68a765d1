/*
 * A forward as libcurl carries it out: what it is told, what it tells, and what that means for the outcome. The loop's
 * thread alone; proxy.c drives it.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_PROXY_TRANSFER_H
#define RINGHOLD_SERVICE_CLUSTER_PROXY_TRANSFER_H

#include "service/cluster/proxy.h"

#include <curl/curl.h>

/* Transfers that have ended well, to be used again: making one anew costs libcurl as much as all else about it. */
struct transfer_spares {
    struct transfer *first;
    size_t count; /* at most TRANSFER_SPARES_MAX */
};

enum { TRANSFER_SPARES_MAX = 64 };

/* Spares are given to transfers of the place that they came from. */
struct transfer_place {
    CURLM *multi;
    struct transfer **list;
    struct transfer_spares *spares;
    void (*opened)(void *context, curl_socket_t socket);
    curl_closesocket_callback close_socket; /* closes sockets of its connections, then or later */
    void *context;                          /* for both */
};

/* Makes forward->transfer, puts it into the list and hands it to libcurl. NULL, or why that cannot be. */
const char *transfer_begin(struct forward *forward, int64_t left_us, struct transfer_place place);
/* Takes it out of its list and frees it, or spares it. What is under way is broken off: its connection is closed. */
void transfer_end(struct transfer *transfer);
void transfer_spares_free(struct transfer_spares *spares);
/* Whether bytes of this handle's request may have gone out. */
bool transfer_has_sent(CURL *easy);
struct forward *transfer_forward(struct transfer *transfer);
/* The next of its list; NULL at the end. */
struct transfer *transfer_after(const struct transfer *transfer);

struct transfer_result {
    struct forward *forward;
    enum forward_outcome outcome;
    const char *failure; /* NULL when it was answered */
};
/* The next of those that have ended by themselves. False when there is none. */
bool transfer_next_ended(CURLM *multi, struct transfer_result *ret);

#endif
