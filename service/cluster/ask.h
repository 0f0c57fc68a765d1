/*
 * What nodes ask of each other on control connections (control.h), in bytes:
 *
 *     STEP      a change of the table: the step, made for no epoch in particular. Any member takes it to group 0's
 *               leader's attention by saying who that is; the leader answers when the step is committed.
 *     REPORT    what a member has seen, to group 0's leader, twice a second: that it lives, and the groups it leads. Who
 *               is no member, as far as the leader knows, is refused.
 *     STANDING  the table as it certainly is, and how far a member is with leaving.
 *     PULSE     how far the groups are that the asked member leads (freshness.h); it answers in its own form.
 *     WATCH     nothing, but the answer is kept back for some seconds: whose process ends meanwhile hangs up.
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

enum ask_kind { ASK_STEP = 1, ASK_REPORT = 2, ASK_STANDING = 3, ASK_PULSE = 4, ASK_WATCH = 5 };

/* A replica as its group's leader sees it. */
struct report_replica {
    uint64_t node;
    uint64_t match;       /* how much of the leader's log it has */
    uint64_t image_bytes; /* of the image that is on its way to it; 0: none is */
    uint64_t image_sent;  /* how much of that has gone out */
};

/* A group as its leader sees it. */
struct report_group {
    unsigned partition;
    bool settled;  /* its Raft configuration is what the table of that epoch says */
    uint64_t last; /* of its log */
    unsigned replica_count;
    struct report_replica replicas[SLOTS_MAX];
};
struct report {
    uint64_t epoch; /* of the table the member has */
    size_t group_count;
    const struct report_group *groups; /* those it leads */
};

struct ask {
    enum ask_kind kind;
    struct step step;     /* STEP */
    struct report report; /* REPORT; its groups in the arena */
    uint64_t member;      /* STANDING: whose; it need not be there */
};

/* In the arena; absent when memory ran out. */
struct text ask_encode(const struct ask *ask, struct arena *arena);
MUST_CHECK bool ask_decode(struct text bytes, struct arena *arena, struct ask *ret);

/* How far a member is that leaves: each of its replicas is made again elsewhere before it is given up. */
struct standing {
    unsigned held;   /* replicas that it still has */
    unsigned copied; /* how much of them is there again, in thousandths of a replica */
    unsigned stuck;  /* of them, those whose group has no leader now */
};

enum answer_kind { ANSWER_DONE = 1, ANSWER_ELSEWHERE = 2, ANSWER_REFUSED = 3 };

struct answer {
    enum answer_kind kind;
    struct text table; /* DONE: as table_encode gives it; absent for a report */
    struct text seed;  /* DONE, of a step: the cluster's, CLUSTER_SEED_BYTES; else absent */
    struct text
        words; /* ELSEWHERE: HOST:PORT of the peer port to ask, empty: not known now; REFUSED: a sentence */
    struct standing standing; /* DONE, of STANDING; else zero */
};

struct text answer_encode(const struct answer *answer, struct arena *arena);
/* Texts point into `bytes`. */
MUST_CHECK bool answer_decode(struct text bytes, struct answer *ret);

#endif
