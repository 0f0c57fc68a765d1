/*
 * A request about a queue that is spread over several partitions (db/shards.h): which shards must be asked for what, which of
 * them side by side, and what the answers are together. Pure: who runs the process asks, and tells what came of it.
 *
 *     spread_begin ─► spread_next ─┬─► ASK   carry out the task on its shard, beside those that are out already
 *                         ▲        ├─► HOLD  until all that is out is back: each is taken, missed or returned ─► spread_next
 *                         │        ├─► WAIT  until an event on x->topic, or time ─► spread_again ─► spread_next
 *                         │        └─► DONE  spread_end: x->response is complete
 *                         └─ spread_take, spread_miss, spread_return
 *
 * A message with a group goes to the shard of its group, one with a dedup_id to that of its dedup_id, all others of a
 * request to one shard, which `routing` chooses, or another where that one is full or cannot be asked. A receive asks those
 * shards that are known to have messages, near ones first, every fourth from the others first, together for no more than it
 * wants; of the others it asks first, all at once, whether they have any. A request that can be had only in part is refused,
 * unless it says that it is no unit (`atomic` false).
 */
#ifndef RINGHOLD_HANDLERS_SPREAD_H
#define RINGHOLD_HANDLERS_SPREAD_H

#include "handlers/exchange.h"

/* What is known of the shards, by number; hints. */
struct spread_hints {
    uint64_t turn;         /* grows with every request for the queue */
    const bool *near;      /* served by this process */
    const int64_t *depths; /* as last heard, 0: not heard of */
    const int64_t *ready;  /* messages that can be received, as far as is known; 0: ask */
};

struct spread_task {
    int64_t shard;
    struct command command;
    bool plain; /* home's own command: its NOT_OWNER is an answer */
};

enum spread_next { SPREAD_ASK, SPREAD_HOLD, SPREAD_WAIT, SPREAD_DONE };

struct spread;

/* The queue whose plan (COMMAND_QUEUE_PLAN) must be known before this request is carried out. False: none. */
bool spread_concerns(const struct exchange *x, struct text *ret_queue);
/* After exchange_prepare, and with x->waits_until. The plan and the hints must live as long as the exchange. NULL when
   memory ran out. */
struct spread *spread_begin(struct exchange *x, const struct queue_view *plan,
                            struct spread_hints hints);
enum spread_next spread_next(struct spread *spread, struct spread_task *ret);
/* The task was carried out, or refused. What the result points at must live as long as the exchange. */
void spread_take(struct spread *spread, const struct spread_task *task,
                 const struct result *result);
/* It could not be asked, NO_LEADER, or nobody knows, OUTCOME_UNKNOWN. */
void spread_miss(struct spread *spread, const struct spread_task *task, enum status why);
/* It was not carried out, and is to be asked for once more. */
void spread_return(struct spread *spread, const struct spread_task *task);
/* The configuration has changed meanwhile; false: so much that the request must begin anew, which it may while it is
   untouched. */
MUST_CHECK bool spread_follow(struct spread *spread, const struct queue_view *plan);
bool spread_untouched(const struct spread *spread);
/* Whether it speaks of no shard beyond those of the plan: where there is one, the plan may be an old one. */
bool spread_fits(const struct spread *spread);
/* What is left to be asked cannot be, and nobody knows what the request has done altogether. */
void spread_end_unknown(struct spread *spread);
/* Whether a shard that has no leader is worth waiting for: nobody else can do it. */
bool spread_patient(const struct spread *spread);
/* After WAIT: there may be something now. */
void spread_again(struct spread *spread);
/* Makes the response. */
enum next spread_end(struct spread *spread);

#endif
