/*
 * What the files of spread.h share: the plan and the sums of one request, and what a kind of request does with them.
 */
#ifndef RINGHOLD_HANDLERS_SPREAD_STATE_H
#define RINGHOLD_HANDLERS_SPREAD_STATE_H

#include "db/shards.h"
#include "handlers/spread.h"

struct spread_kind {
    void (*begin)(struct spread *s); /* may fail it */
    /* The next task's operation and shard; false: there is none. */
    bool (*next)(struct spread *s, struct command *operation);
    void (*take)(struct spread *s, const struct result *result);
    void (*miss)(struct spread *s, enum status why); /* NULL: the request fails */
};

/*
 * What goes by home first:
 *
 *     HOME ─┬─► TELL: the other shards take the configuration over, and count; or are dropped
 *           └─ the number of shards changes ─► SEAL each other one ─► HOME again
 */
enum spread_phase { PHASE_HOME, PHASE_SEAL, PHASE_TELL };

struct spread {
    struct exchange *x;
    const struct spread_kind *kind;
    struct queue_view home;
    int64_t count; /* of shards */
    struct spread_hints hints;

    int64_t at; /* which shard's turn it is, or which place in order */
    int64_t order[SHARDS_MAX];
    int64_t shard; /* of the task that is out */
    enum shard_act act;
    bool plain;   /* of the task that is out: home's own command */
    bool touched; /* something was carried out */
    bool over;    /* nothing is left to ask */
    bool waits;
    bool replayed;   /* all that was carried out came from a record */
    int64_t misses;  /* shards that could not be asked in this round */
    int64_t left;    /* messages to go */
    size_t bytes;    /* of the messages that are here */
    int64_t *places; /* of each message or receipt of the request: its shard */
    int64_t tries;   /* shards that have been tried for messages that any can take */
    enum spread_phase phase;
    bool sealing; /* the other shards, one after the other */
    struct result result;
};

/* The request fails; if something of it was done already, nobody can say that it was not. */
void spread_fail(struct spread *s, enum status status);
/* A result that is the whole answer. */
void spread_answer(struct spread *s, const struct result *result);

extern const struct spread_kind spread_send, spread_receive, spread_settle, spread_message,
    spread_list;
extern const struct spread_kind spread_get, spread_put, spread_delete, spread_bulk;

#endif
