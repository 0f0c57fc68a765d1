/*
 * Questions to members from a thread that may wait: over HTTP for what anybody may see, over the peer port for what takes
 * the cluster's secret. For who joins, who comes back, and the commands.
 *
 *     --join, --url ─► inquiry_find: HTTP ─► a member's peer port ─► inquiry_ask ─┬─► group 0's leader: an answer
 *                                                                   └─ another ◄──┘   that one says who does lead
 *
 * Not from the loop's thread; one inquiry belongs to one thread at a time.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_INQUIRY_H
#define RINGHOLD_SERVICE_CLUSTER_INQUIRY_H

#include "service/cluster/ask.h"
#include "service/cluster/proxy.h"
#include "service/cluster/transport.h"

enum { INQUIRY_WHY_BYTES = 512 };

struct inquiry {
    struct uvloop *loop;
    struct proxy *proxy;
    struct transport *transport;
    char peer[MEMBER_ADDRESS_BYTES_MAX +
              1];                  /* HOST:PORT of whom to ask next; empty: not found yet */
    char name[NAME_BYTES_MAX + 1]; /* of the member that inquiry_find found */
};

/* GET `target` of the member at `base`, http://HOST:PORT. False, with what happened in ret_why, when there is no answer. */
MUST_CHECK bool inquiry_get(struct inquiry *inquiry, const char *base, struct text target,
                            struct arena *arena, struct proxy_answer *ret,
                            char ret_why[INQUIRY_WHY_BYTES]);
/* Finds the member at `base`. False, with a sentence, when there is none. */
MUST_CHECK bool inquiry_find(struct inquiry *inquiry, const char *base,
                             char ret_why[INQUIRY_WHY_BYTES]);

/* What became of a question. */
enum inquired {
    INQUIRED_DONE,
    INQUIRED_REFUSED,       /* by group 0's leader, with its sentence */
    INQUIRED_NO_LEADER,     /* nobody leads group 0 now, as far as who was asked knows */
    INQUIRED_UNREACHABLE,   /* by now; it may be otherwise later */
    INQUIRED_WRONG_SECRET,  /* the member does not have ours */
    INQUIRED_WRONG_CLUSTER, /* it is of another cluster */
    INQUIRED_OURSELVES      /* who answers there has this node's identity */
};

/*
 * Asks inquiry->peer, and on to whom that one names. DONE: the answer, its texts in the arena. Otherwise a sentence in
 * ret_why.
 */
MUST_CHECK enum inquired inquiry_ask(struct inquiry *inquiry, const struct ask *ask,
                                     struct arena *arena, struct answer *ret,
                                     char ret_why[INQUIRY_WHY_BYTES]);

#endif
