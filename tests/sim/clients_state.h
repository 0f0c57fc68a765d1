/*
 * What the clients' files share: a client, what it remembers of what it was told, and how it asks.
 */
#ifndef RINGHOLD_TESTS_SIM_CLIENTS_STATE_H
#define RINGHOLD_TESTS_SIM_CLIENTS_STATE_H

#include "tests/sim/nodes.h"

enum { RECEIPTS_MAX = 6, SESSIONS = 5, LOCKS = 6, SET_LOCKS = 2, QUEUES = 2 };

/* Locks, and sessions that end with leases on them, have one routing key. */
struct receipt {
    char queue[4];
    int64_t message, fence;
};

struct client;
/* A thing to do, from first to last try. */
struct op {
    struct client *client;
    struct command command;
    struct arena arena;
    bool keyed; /* has an Idempotency-Key: it may be tried again whatever became of it */
    int tries;
    void (*answered)(struct op *op, const struct result *result, uint64_t sent_us);
};

/* Leases on several locks under one id. */
struct lock_set {
    bool there, held; /* or it stands in line */
    char locks[SET_LOCKS][16], lease[32];
    int64_t fences[SET_LOCKS], ticket;
};

/* A session that is made to end, and a lease that ends with it. */
enum bound_stage { BOUND_NONE, BOUND_MADE, BOUND_HOLDS, BOUND_ENDED };
struct bound {
    enum bound_stage stage;
    char session[32], lock[16], lease[32];
    int64_t fence; /* of the lease, 0: it was not granted */
};

struct client {
    int index, guess; /* of who leads */
    struct try *waits_for;
    enum lease_state lease_state;
    bool has_lease; /* or stands in line */
    char lock[16], lease[32];
    int64_t fence, ticket;
    struct receipt receipts[RECEIPTS_MAX];
    int receipt_count;
    struct lock_set set;
    struct bound bound;
};

/* A number that is given once. */
uint64_t client_serial(void);
/* A thing to do, whose strings may live in its arena. */
struct op *client_op(void (*answered)(struct op *op, const struct result *result,
                                      uint64_t sent_us));
/* Begins to do it, and goes on with the client's next thing when it is done. */
void client_ask(struct client *client, struct command command, struct op *op);
/* For an answer that tells nothing. */
void client_ignores(struct op *op, const struct result *result, uint64_t sent_us);
/* Until when what it was granted lasts at least: so long from when it asked. */
uint64_t client_holds_until(const struct result *result, int64_t lease_expires_ms,
                            uint64_t sent_us);
/* Of the sessions that all clients write: what one was told of it. */
void client_knows_session(const struct result *result);

/* clients_several.c: what concerns several things at once. */
void clients_use_set(struct client *client);
void clients_use_bound(struct client *client);
void clients_transact(struct client *client);

#endif
