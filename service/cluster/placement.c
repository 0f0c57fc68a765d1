#include "service/cluster/placement.h"

/* One partition as placement_next sees it: sets of members, by role and by what can be relied on. */
struct look {
    member_set voters;
    member_set learner;  /* one bit, or none */
    member_set retiring; /* the same */
    member_set wanted;   /* the target's replicas */
    member_set sound;    /* reachable and caught up */
    bool quorate;        /* a majority of the voters is sound */
};

struct work {
    const struct table *table;
    const struct placement_view *view;
    const struct placement_limits *limits;
    struct placement_target target;
    struct look looks[PARTITIONS_MAX];
    uint8_t leader[PARTITIONS_MAX]; /* who should lead, of those that vote already */
    unsigned moves;
    unsigned copies[MEMBERS_MAX]; /* that the member takes or gives */
    struct step *steps;
    unsigned count;
};

static bool is_majority(member_set some, member_set of)
{
    return 2 * members_count(some & of) > members_count(of);
}

static void propose(struct work *w, enum step_kind kind, unsigned partition, unsigned member)
{
    if (w->count < PLACEMENT_STEPS_MAX) {
        w->steps[w->count++] = (struct step){.kind = kind,
                                             .epoch = w->table->epoch,
                                             .member = w->table->members[member].id,
                                             .partition = partition};
    }
}

/* ---- members ------------------------------------------------------------------------------------------------------ */

static bool holds_nothing(const struct table *table, uint64_t id)
{
    for (unsigned p = 0; p < table->partition_count; p++) {
        for (unsigned i = 0; i < table->partitions[p].slot_count; i++) {
            if (table->partitions[p].slots[i].member == id) {
                return false;
            }
        }
    }
    return true;
}

static void member_step(struct work *w, unsigned i)
{
    const struct member *member = &w->table->members[i];
    bool reachable = members_has(w->view->reachable, i);
    switch (member->state) {
    case MEMBER_JOINING:
    case MEMBER_DOWN:
        if (reachable) {
            propose(w, STEP_UP, 0, i);
        }
        break;
    case MEMBER_ACTIVE:
        if (!reachable) {
            propose(w, STEP_DOWN, 0, i);
        }
        break;
    case MEMBER_LEAVING:
        if (holds_nothing(w->table, member->id)) {
            propose(w, STEP_DROP, 0, i);
        }
        break;
    case MEMBER_STATES:
        break;
    }
}

/* ---- looking at partitions ---------------------------------------------------------------------------------------- */

static struct look look_at(const struct work *w, unsigned p)
{
    const struct table_partition *partition = &w->table->partitions[p];
    struct look look = {.wanted = w->target.replicas[p],
                        .sound = w->view->partitions[p].caught_up & w->view->reachable};
    member_set *sets[SLOT_ROLES] = {[SLOT_LEARNER] = &look.learner,
                                    [SLOT_VOTER] = &look.voters,
                                    [SLOT_RETIRING] = &look.retiring};
    for (unsigned i = 0; i < partition->slot_count; i++) {
        *sets[partition->slots[i].role] |= UINT64_C(1)
                                           << table_find(w->table, partition->slots[i].member);
    }
    look.quorate = is_majority(look.sound, look.voters);
    return look;
}

/* Whether some voter of the partition is to go now. */
static bool has_enough(const struct look *look)
{
    return members_count(look->voters) > members_count(look->wanted);
}

/*
 * Whoever votes may lead; once somebody is to go, whoever votes and stays. Not earlier: the newcomer may be the one to
 * lead, and then the lead moves once.
 */
static void choose_leaders(struct work *w)
{
    member_set candidates[PARTITIONS_MAX] = {0}, active = table_members(w->table, MEMBER_ACTIVE);
    for (unsigned p = 0; p < w->table->partition_count; p++) {
        const struct look *look = &w->looks[p];
        member_set voters = look->voters & active, staying = voters & look->wanted;
        candidates[p] = has_enough(look) && staying != 0 ? staying : voters;
    }
    placement_leaders(w->table, candidates, w->leader);
}

/* Who sends the learner what it lacks. */
static unsigned sender(const struct work *w, unsigned p)
{
    int leader = table_find(w->table, w->view->partitions[p].leader);
    return (unsigned)(leader >= 0 ? leader : table_find(w->table, w->table->partitions[p].leader));
}

/* Counts what is on its way. A group that cannot commit anything stands still, and must not hold up the others. */
static void count_motion(struct work *w)
{
    for (unsigned p = 0; p < w->table->partition_count; p++) {
        const struct look *look = &w->looks[p];
        bool moving = (look->learner | look->retiring) != 0 || has_enough(look);
        if (!moving || !look->quorate) {
            continue;
        }
        w->moves++;
        if (look->learner != 0) {
            w->copies[members_first(look->learner)]++;
            w->copies[sender(w, p)]++;
        }
    }
}

/* ---- the steps of one partition ----------------------------------------------------------------------------------- */

/* The leader moves to a voter that has everything. */
static bool lead_step(struct work *w, unsigned p)
{
    unsigned leader = w->leader[p];
    if (w->table->members[leader].id == w->table->partitions[p].leader ||
        !members_has(w->looks[p].sound & w->looks[p].voters, leader)) {
        return false;
    }
    propose(w, STEP_LEAD, p, leader);
    return true;
}

/*
 * A voter that is not wanted goes once there are more voters than wanted ones: so there are no fewer than before the
 * move, but where somebody leaves and nobody can take the place. Who cannot be relied on goes first. Neither the leader
 * that the table names nor the one that leads at the moment goes; and who stays must be able to commit.
 */
static bool demote_one(struct work *w, unsigned p, member_set surplus)
{
    const struct look *look = &w->looks[p];
    for (member_set left = surplus; left != 0; left = members_rest(left)) {
        unsigned i = members_first(left);
        uint64_t id = w->table->members[i].id;
        if (id != w->table->partitions[p].leader && id != w->view->partitions[p].leader &&
            is_majority(look->sound, look->voters & ~members_one(i))) {
            propose(w, STEP_DEMOTE, p, i);
            return true;
        }
    }
    return false;
}

static bool demote_step(struct work *w, unsigned p)
{
    const struct look *look = &w->looks[p];
    member_set surplus = look->voters & ~look->wanted;
    return has_enough(look) && w->view->partitions[p].leader != 0 &&
           (demote_one(w, p, surplus & ~look->sound) || demote_one(w, p, surplus & look->sound));
}

static bool learner_step(struct work *w, unsigned p)
{
    const struct look *look = &w->looks[p];
    if (look->learner == 0) {
        return false;
    }
    if ((look->learner & look->wanted) == 0) {
        propose(w, STEP_REMOVE, p, members_first(look->learner));
        return true;
    }
    /* The group is quorate, so with one more that is sound it still is. */
    if ((look->learner & look->sound) != 0) {
        propose(w, STEP_PROMOTE, p, members_first(look->learner));
        return true;
    }
    return false;
}

/* Everything but ADD. True when the partition has its step. */
static bool finish_step(struct work *w, unsigned p)
{
    const struct look *look = &w->looks[p];
    if (look->retiring != 0) {
        propose(w, STEP_REMOVE, p, members_first(look->retiring));
        return true;
    }
    return learner_step(w, p) || lead_step(w, p) || (look->learner == 0 && demote_step(w, p));
}

static void add_step(struct work *w, unsigned p)
{
    const struct look *look = &w->looks[p];
    unsigned from = sender(w, p);
    if ((look->learner | look->retiring) != 0 ||
        w->table->partitions[p].slot_count > w->table->replica_count ||
        w->moves >= w->limits->moves || w->copies[from] >= w->limits->moves_per_member) {
        return;
    }
    for (member_set left = look->wanted & ~look->voters; left != 0; left = members_rest(left)) {
        unsigned i = members_first(left);
        if (w->copies[i] < w->limits->moves_per_member) {
            propose(w, STEP_ADD, p, i);
            w->moves++;
            w->copies[i]++;
            w->copies[from]++;
            return;
        }
    }
}

static void partition_steps(struct work *w)
{
    bool done[PARTITIONS_MAX];
    for (unsigned p = 0; p < w->table->partition_count; p++) {
        done[p] = !w->view->partitions[p].settled || !w->looks[p].quorate || finish_step(w, p);
    }
    for (unsigned sound = 1; sound <= SLOTS_MAX; sound++) {
        for (unsigned p = 0; p < w->table->partition_count; p++) {
            if (!done[p] && members_count(w->looks[p].sound & w->looks[p].voters) == sound) {
                add_step(w, p);
            }
        }
    }
}

unsigned placement_next(const struct table *table, const struct placement_view *view,
                        const struct placement_limits *limits, struct step ret[PLACEMENT_STEPS_MAX])
{
    struct work w = {.table = table, .view = view, .limits = limits, .steps = ret};
    if (view->epoch != table->epoch) {
        return 0;
    }
    for (unsigned i = 0; i < table->member_count; i++) {
        member_step(&w, i);
    }
    if (w.count > 0) {
        return w.count;
    }
    placement_target(table, view->overdue, &w.target);
    for (unsigned p = 0; p < table->partition_count; p++) {
        w.looks[p] = look_at(&w, p);
    }
    choose_leaders(&w);
    count_motion(&w);
    partition_steps(&w);
    return w.count;
}
