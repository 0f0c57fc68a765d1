/*
 * What nodes ask of each other on control connections (control.h), in bytes:
 *
 *     STEP    a change of the table: the step, made for no epoch in particular. Any member takes it to group 0's leader's
 *             attention by saying who that is; the leader answers when the step is committed.
 *     COMMAND a command of the state machine (db/codec.h), to whom a partition is led by: it answers with the result.
 *     REPORT  what a member has seen, to group 0's leader, twice a second: that it lives, and the groups it leads.
 *
 * Layout: one byte of version, one of kind, then the kind's own; numbers and ids big-endian (wire.h).
 * Pure. Decoding trusts nothing: any bytes give a value within its bounds, or false.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_ASK_H
#define RINGHOLD_SERVICE_CLUSTER_ASK_H

#include "db/arena.h"
#include "db/status.h"
#include "service/cluster/placement.h"

enum { ASK_VERSION = 1 };

enum ask_kind { ASK_STEP = 1, ASK_REPORT = 2, ASK_COMMAND = 3 };

/* A group as its leader sees it. */
struct report_group {
    unsigned partition;
    bool settled;             /* its Raft configuration is what the table of that epoch says */
    unsigned caught_up_count; /* learners that are close behind */
    uint64_t caught_up[SLOTS_MAX];
};
struct report {
    uint64_t epoch; /* of the table the member has */
    size_t group_count;
    const struct report_group *groups; /* those it leads */
};

struct ask_command {
    unsigned partition;
    struct text bytes; /* as command_encode gives them */
};

struct ask {
    enum ask_kind kind;
    struct step step;           /* STEP */
    struct report report;       /* REPORT; its groups in the arena */
    struct ask_command command; /* COMMAND; decoded, its bytes point into what was decoded */
};

/* In the arena; absent when memory ran out. */
struct text ask_encode(const struct ask *ask, struct arena *arena);
MUST_CHECK bool ask_decode(struct text bytes, struct arena *arena, struct ask *ret);

enum answer_kind { ANSWER_DONE = 1, ANSWER_ELSEWHERE = 2, ANSWER_REFUSED = 3 };

struct answer {
    enum answer_kind kind;
    struct text
        table; /* DONE: as table_encode gives it; of a command, as result_encode does; absent for a report */
    struct text seed; /* DONE: the cluster's, CLUSTER_SEED_BYTES; absent for a report */
    struct text
        words; /* ELSEWHERE: HOST:PORT of the peer port to ask, empty: not known now; REFUSED: a sentence */
};

struct text answer_encode(const struct answer *answer, struct arena *arena);
/* Texts point into `bytes`. */
MUST_CHECK bool answer_decode(struct text bytes, struct answer *ret);

#endif
