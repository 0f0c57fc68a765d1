/*
 * What a call's read is answered from, as its `consistency` asks:
 *
 *     leader  the leader's state, at once
 *     strong  the same, after an entry proposed since the request came has been committed and carried out here: so this
 *             member led meanwhile, and nothing that was answered before the request is missing. The entry also brings
 *             the leader's clocks into the state: no later leader will tell of an earlier time than this read did. All
 *             strong reads that wait, and writes, share one.
 *     stale   whatever replica is here, by the clocks it knows (cluster/freshness.h)
 *
 *     set_clocks ─► wants_group? ──no──────────────────────► run ─► add_age
 *                        └─yes─► ask_group ─► take_answer ─►
 *
 * An instance alone answers all three alike. On the call's loop.
 */
#ifndef RINGHOLD_SERVICE_READING_H
#define RINGHOLD_SERVICE_READING_H

#include "service/partition.h"

struct call;

#define AGE_HEADER "Ringhold-Age-Ms"

/* What a call keeps of its reading; zeroed at first. */
struct reading {
    bool asking;               /* the group is being asked */
    bool confirmed;            /* it has answered, and the next look goes by: */
    struct stamp confirmed_at; /* the clocks in the state then */
    struct command question;
    struct partition_copy copy; /* stale: what the next look finds here */
    bool any_age;               /* nobody could be found whose age is known */
    bool aged;                  /* something was read that has: */
    int64_t age_us;             /* of a list over all partitions, the oldest part's */
    int64_t clock_ms,
        clock_at_ms; /* lease time when the clocks were set last, and the monotonic clock then */
};

/* Sets x->now to the clocks that the call's next step goes by. */
void reading_set_clocks(struct call *call);

/* Whether the group must be asked before the call may look. */
bool reading_wants_group(const struct call *call);
/* Asks it. True: the call's state says what it does next; COMMITTING, it will come back for take_answer. False: it is to
   be answered, as call->overrides says. */
bool reading_ask_group(struct call *call);
/* OK: the call may look. NOT_OWNER: it is another member's. Else why it cannot be answered now. */
enum status reading_take_answer(struct call *call);

/* Whether the call's partition is here, as it needs it. After reading_set_clocks. */
bool reading_possible(struct call *call);
/* Runs x->command on what is here, as of x->now. False: it must be read elsewhere. */
bool reading_run(struct call *call);
/* Nobody else can be asked: whether a stale read is answered by what is here, however old that may be. */
bool reading_last_resort(struct call *call);

/* Adds the age of what was read to the answer, where it was a stale read and the age is known. */
void reading_add_age(struct call *call);
/* Notes the age of what was read elsewhere for this answer. */
void reading_note_age(struct call *call, int64_t age_us);
/* The age that AGE_HEADER tells, in microseconds; AGE_UNKNOWN where it tells none. */
int64_t reading_age_of(struct text header);

#endif
