/*
 * What the files of spread.h share: the plan and the sums of one request, and what a kind of request does with them.
 */
#ifndef RINGHOLD_HANDLERS_SPREAD_STATE_H
#define RINGHOLD_HANDLERS_SPREAD_STATE_H

#include "db/shards.h"
#include "handlers/spread.h"

struct spread_kind {
    void (*begin)(struct spread *s); /* may fail it */
    /* The next task's operation and shard; false: there is none, as long as others are out. */
    bool (*next)(struct spread *s, struct command *operation);
    void (*take)(struct spread *s, const struct result *result);
    void (*miss)(struct spread *s, enum status why); /* NULL: the request fails */
};

/* Whether a shard has had its part of the request. */
enum shard_progress { SHARD_TO_ASK, SHARD_OUT, SHARD_ASKED };

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

    bool together; /* what can be asked is asked side by side */
    int64_t out;   /* tasks that are */
    enum shard_progress progress[SHARDS_MAX];
    const struct spread_task *task; /* that is taken or missed */
    int64_t at;                     /* of a list: which shard's turn it is */
    int64_t shard;                  /* of the task that is made, or taken */
    enum shard_act act;
    bool plain;   /* of the task that is made: home's own command */
    bool touched; /* something was carried out */
    bool over;    /* nothing is left to ask */
    bool waits;
    bool replayed;             /* all that was carried out came from a record */
    int64_t misses;            /* shards that could not be asked in this round */
    int64_t left;              /* messages to go */
    size_t bytes;              /* of the messages that are here */
    struct result refusal;     /* of a receive: what a shard said that would not, else OK */
    int64_t order[SHARDS_MAX]; /* of a receive */
    int64_t ready[SHARDS_MAX]; /* the same: messages there, as far as is known; 0: not known */
    int64_t
        vain[SHARDS_MAX]; /* the same: ready when a receive got none of it, less one; 0: none did */
    int64_t sweeps;       /* the same: how often all shards were come by since the beginning */
    bool raced;           /* others took what was there in this one */
    int64_t
        share[SHARDS_MAX]; /* the same: of each shard in this round; PEEK: whether there are any */
    int64_t *places;       /* of each message or receipt of the request: its shard */
    int64_t tries;         /* shards that have been tried for messages that any can take */
    enum spread_phase phase;
    bool sealing; /* the other shards, one after the other */
    struct result result;
};

/* The request fails; if something of it was done already, nobody can say that it was not. */
void spread_fail(struct spread *s, enum status status);
/* The next shard from that number on that has not been asked; the number of shards where there is none. */
int64_t spread_to_ask(const struct spread *s, int64_t from);
/* All shards from that number on are to be asked, side by side or one after the other, and none before it. */
void spread_ask_from(struct spread *s, int64_t from, bool together);
/* A result that is the whole answer. */
void spread_answer(struct spread *s, const struct result *result);

extern const struct spread_kind spread_send, spread_receive, spread_settle, spread_message,
    spread_list;
extern const struct spread_kind spread_get, spread_put, spread_delete, spread_bulk;

#endif
