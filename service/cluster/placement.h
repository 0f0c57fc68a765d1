/*
 * Placement: which member should hold and lead which partition, and the next small steps on the way there. Pure
 * functions of a table and of what was seen of its members: no clock, socket, thread or chance, so any member that
 * leads group 0 proposes the same, and one that takes over after a crash goes on from whatever table it finds.
 *
 * Group 0's leader calls placement_next whenever the table or the view changes, and commits the steps as entries of
 * group 0. Everybody applies them with placement_apply. The leader of each partition's group then makes its group's
 * Raft configuration what the table says, and reports when it is so: `settled`. A step is proposed for a partition
 * only once the one before is settled, so the table never runs ahead of a group by more than one change.
 *
 * The life of a replica, a slot of a partition:
 *
 *              ADD              PROMOTE            DEMOTE               REMOVE
 *     (none) ───────► LEARNER ───────────► VOTER ───────────► RETIRING ────────► (none)
 *                        │    caught up    │   ▲
 *                        │ REMOVE          └───┘ LEAD: it becomes the preferred leader, and the
 *                        ▼                       one before is a voter like the others
 *                      (none)   its member went, or another place is better now
 *
 *     | from \ step   | ADD      | PROMOTE  | LEAD     | DEMOTE     | REMOVE   |
 *     |---------------|----------|----------|----------|------------|----------|
 *     | (none)        | LEARNER¹ | refused  | refused  | refused    | refused  |
 *     | LEARNER       | refused  | VOTER    | refused  | refused    | (none)   |
 *     | VOTER         | refused  | refused  | leader²  | RETIRING³  | refused  |
 *     | VOTER, leader | refused  | refused  | refused  | refused    | refused  |
 *     | RETIRING      | refused  | refused  | refused  | refused    | (none)   |
 *
 *     ¹ of an active member, to a partition that has voters only, R at the most. ² of an active member.
 *     ³ not while another slot is no voter. The leader is a voter, so no partition is left without one.
 *
 * A move is ADD, PROMOTE, LEAD where the leader must go, DEMOTE, REMOVE: the new voter votes before the old one stops.
 * A learner does not vote and counts for nothing; the data of a retiring replica is deleted when it is removed.
 *
 * The life of a member:
 *
 *              JOIN              UP              DOWN
 *     (none) ───────► JOINING ───────► ACTIVE ◄────────► DOWN
 *                        │               │       UP       │
 *                        └───────────────┼────────────────┘
 *                                        │ LEAVE
 *                                        ▼            DROP
 *                                     LEAVING ─────────────────► (none)
 *                                        holds no replica any more
 *
 *     | from \ step | JOIN    | UP      | DOWN    | LEAVE    | DROP    | CHANGE  |
 *     |-------------|---------|---------|---------|----------|---------|---------|
 *     | (none)      | JOINING | refused | refused | refused  | refused | refused |
 *     | JOINING     | refused | ACTIVE  | refused | LEAVING  | refused | same    |
 *     | ACTIVE      | refused | refused | DOWN    | LEAVING¹ | refused | same    |
 *     | DOWN        | refused | ACTIVE  | refused | LEAVING¹ | refused | same    |
 *     | LEAVING     | refused | refused | refused | refused  | (none)² | same    |
 *
 *     ¹ while another member is active or down; and, when the step says `enough`, while as many others are active as a
 *     partition has replicas. ² when it holds nothing.
 *
 * LEAVE is for good: nothing that the member holds counts as kept, even where nobody can take its place. It may name a
 * successor, an active member that takes the places where it has none of that partition yet. DOWN is for
 * now: its replicas stay its own, and get no new ones beside them, until `overdue` says that --replace-after is over;
 * and even then while fewer active members are left than a partition has replicas, since there would be no better
 * place. Operators ask for JOIN, LEAVE and CHANGE; placement_next proposes the rest.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_PLACEMENT_H
#define RINGHOLD_SERVICE_CLUSTER_PLACEMENT_H

#include "service/cluster/table.h"

enum step_kind {
    STEP_JOIN,
    STEP_CHANGE,
    STEP_UP,
    STEP_DOWN,
    STEP_LEAVE,
    STEP_DROP,
    STEP_ADD,
    STEP_PROMOTE,
    STEP_LEAD,
    STEP_DEMOTE,
    STEP_REMOVE,
    STEP_KINDS
};

struct step {
    enum step_kind kind;
    uint64_t epoch; /* of the table that it was made for */
    uint64_t member;
    unsigned partition;        /* of ADD and the kinds after it; else 0 */
    struct member_facts facts; /* of JOIN and CHANGE; else zero */
    uint64_t successor;        /* of LEAVE: who should take its places; 0: whoever */
    bool enough;               /* of LEAVE: refused where too few would be left */
};

const char *step_kind_name(enum step_kind kind);
static inline bool step_has_facts(enum step_kind kind)
{
    return kind <= STEP_CHANGE;
}
static inline bool step_has_partition(enum step_kind kind)
{
    return kind >= STEP_ADD;
}

/*
 * Makes the table the next one, epoch one greater, and returns NULL; or returns a sentence that says why the step does
 * not fit, the table unchanged. A step is refused also when the member or partition it is about has changed since the
 * epoch it was made for: whoever made it had not seen that (but for a step to leave, which is somebody's wish and no
 * conclusion). So a step that was submitted twice takes effect once.
 */
const char *placement_apply(struct table *table, const struct step *step);

/* The assignment to aim at. Sets are bits by the members' order in the table. */
struct placement_target {
    member_set replicas[PARTITIONS_MAX]; /* who should hold each partition */
    uint8_t leader[PARTITIONS_MAX];      /* who should lead it: a member's place in the table */
    unsigned moves;                      /* how many replicas are still to be copied to get there */
};

/*
 * The target: as few moves as can be to where each member holds its share by weight, rounded down or up; the leaders
 * likewise. Shares are capped at one replica of each partition, what is above goes to the others. Ties are broken by
 * rendezvous: of members that would do equally well, the one with the greatest XXH3 of (member, partition).
 *
 * Taking a step towards the target never makes another target need more moves: so the sum of all moves is that of the
 * first target however often this runs anew in between. `overdue`: the members that are down and past --replace-after.
 */
void placement_target(const struct table *table, member_set overdue, struct placement_target *ret);

/* Balances the leaders by weight among the candidates of each partition, with as few changes as can be. Where there is
   no candidate the leader stays who it is. */
void placement_leaders(const struct table *table, const member_set candidates[PARTITIONS_MAX],
                       uint8_t ret[PARTITIONS_MAX]);

/* What group 0's leader has seen. Sets are bits by the members' order in the table of that epoch. */
struct placement_view {
    uint64_t epoch;
    uint64_t
        reachable; /* has answered lately; the caller smooths it, since UP and DOWN follow from it */
    member_set overdue; /* has been down for longer than --replace-after */
    struct {
        uint64_t leader;      /* the member that leads the group, 0 where none is known */
        member_set caught_up; /* whose log is close behind the leader's */
        bool settled;         /* the group follows this table's partition: heard since it changed */
    } partitions[PARTITIONS_MAX];
};

struct placement_limits {
    unsigned moves;            /* partitions in motion at once */
    unsigned moves_per_member; /* copies that one member takes or gives at once */
};

/*
 * The steps to commit now, in this order, each about another member or partition; their number is returned, 0 when
 * there is nothing to do but wait. None where the view is of another epoch than the table. Members first: partitions
 * wait until the table says who is up. Partitions with the fewest live voters get their new replica first.
 */
unsigned placement_next(const struct table *table, const struct placement_view *view,
                        const struct placement_limits *limits,
                        struct step ret[PLACEMENT_STEPS_MAX]);

#endif
