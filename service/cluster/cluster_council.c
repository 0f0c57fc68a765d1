#include "service/cluster/cluster_state.h"
#include "service/log.h"

#include <stdlib.h>

enum { MOVES_MAX = 8, MOVES_PER_MEMBER_MAX = 2 };

struct replica_status council_status(const struct cluster *cluster)
{
    struct replica_status closed = {0};
    return cluster->council == NULL ? closed : replica_status(cluster->council);
}

/* ---- what members say --------------------------------------------------------------------------------------------- */

static struct heard *heard_of(struct cluster *cluster, uint64_t member)
{
    struct heard *free_one = NULL;
    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        struct heard *heard = &cluster->heard[i];
        if (heard->member == member) {
            return heard;
        }
        if (heard->member == 0 || table_find(&cluster->table, heard->member) < 0) {
            free_one = free_one == NULL ? heard : free_one;
        }
    }
    if (free_one != NULL) {
        arena_free(&free_one->arena);
        *free_one = (struct heard){.member = member, .arena = ARENA_EMPTY};
    }
    return free_one;
}

static void hear(struct cluster *cluster, uint64_t member, const struct report *report)
{
    struct heard *heard = heard_of(cluster, member);
    if (heard == NULL || table_find(&cluster->table, member) < 0) {
        return;
    }
    arena_clear(&heard->arena);
    struct report_group *groups = arena_zalloc(&heard->arena, report->group_count, sizeof *groups);
    for (size_t i = 0; groups != NULL && i < report->group_count; i++) {
        groups[i] = report->groups[i];
    }
    heard->presence.heard_us = clock_monotonic_us();
    heard->report = *report;
    heard->report.groups = groups;
    heard->report.group_count = groups == NULL ? 0 : report->group_count;
}

/* A member that says itself that it goes is not taken for up because of what it reported a moment ago. */
static void note_farewell(struct cluster *cluster, const struct step *step)
{
    struct heard *heard = step->kind == STEP_DOWN ? heard_of(cluster, step->member) : NULL;
    if (heard != NULL) {
        heard->presence.heard_us = 0;
    }
}

/* ---- steps into group 0 ------------------------------------------------------------------------------------------- */

struct proposed {
    struct cluster *cluster;
    struct control *control; /* who asked, and waits; NULL: placement did */
    uint64_t joins;          /* the member that asks to be let in; 0: none does */
};

static void answer(struct control *control, const struct answer *with)
{
    struct arena arena = ARENA_EMPTY;
    struct text bytes = answer_encode(with, &arena);
    control_answer(control, text_given(bytes) ? bytes : TEXT(""));
    arena_free(&arena);
}

/* With the table as it is now. */
static void answer_done(struct cluster *cluster, struct control *control, struct answer with)
{
    struct arena arena = ARENA_EMPTY;
    struct table *table = arena_alloc(&arena, sizeof *table);
    with.kind = ANSWER_DONE;
    if (table != NULL && board_copy(cluster->board, table)) {
        with.table = table_encode(table, &arena);
    }
    answer(control, &with);
    arena_free(&arena);
}

static void answer_stepped(struct cluster *cluster, struct control *control)
{
    struct text seed = {(const char *)cluster->seed, sizeof cluster->seed};
    answer_done(cluster, control, (struct answer){.seed = seed});
}

/* Whoever leads group 0 takes it; the asker turns there. */
static void answer_elsewhere(struct cluster *cluster, struct control *control)
{
    uint64_t leader = council_status(cluster).leader;
    int place = leader == cluster->node ? -1 : table_find(&cluster->table, leader);
    answer(control, &(struct answer){
                        .kind = ANSWER_ELSEWHERE,
                        .words = place < 0 ? TEXT_ABSENT
                                           : text_of(cluster->table.members[place].facts.peer)});
}

static bool is_member(struct cluster *cluster, uint64_t member)
{
    struct arena arena = ARENA_EMPTY;
    struct table *table = arena_alloc(&arena, sizeof *table);
    bool found =
        table != NULL && board_copy(cluster->board, table) && table_find(table, member) >= 0;
    arena_free(&arena);
    return found;
}

static void on_proposed(void *context, enum replica_outcome outcome)
{
    struct proposed *proposed = context;
    struct cluster *cluster = proposed->cluster;
    const char *refusal = outcome == REPLICA_COMMITTED ? board_refusal(cluster->board) : NULL;
    /* A member that asks to join again after its answer was lost has joined. */
    if (refusal != NULL && proposed->joins != 0 && is_member(cluster, proposed->joins)) {
        refusal = NULL;
    }
    if (proposed->control == NULL) {
        cluster->proposing = false;
    } else if (outcome != REPLICA_COMMITTED) {
        answer_elsewhere(cluster, proposed->control);
    } else if (refusal != NULL) {
        answer(proposed->control,
               &(struct answer){.kind = ANSWER_REFUSED, .words = text_of(refusal)});
    } else {
        answer_stepped(cluster, proposed->control);
    }
    free(proposed);
}

/* False: it could not be proposed, and the control is still to be answered. */
static bool propose(struct cluster *cluster, struct control *control, struct text entry,
                    uint64_t joins)
{
    struct proposed *proposed = malloc(sizeof *proposed);
    if (proposed == NULL || !text_given(entry) || cluster->council == NULL) {
        free(proposed);
        return false;
    }
    *proposed = (struct proposed){cluster, control, joins};
    bool pending =
        replica_propose(cluster->council, entry, proposed, on_proposed) == REPLICA_PENDING;
    if (!pending) {
        free(proposed);
    }
    return pending;
}

static bool propose_step(struct cluster *cluster, struct control *control, const struct step *step)
{
    struct arena arena = ARENA_EMPTY;
    bool pending = propose(cluster, control, board_step(step, &arena),
                           step->kind == STEP_JOIN ? step->member : 0);
    arena_free(&arena);
    return pending;
}

static void take_step(struct cluster *cluster, struct control *control, struct step step)
{
    step.epoch = cluster->table.epoch;
    note_farewell(cluster, &step);
    if (!council_status(cluster).ready || cluster->table.epoch == 0) {
        answer_elsewhere(cluster, control);
    } else if (!propose_step(cluster, control, &step)) {
        answer_elsewhere(cluster, control);
    }
}

void council_take(struct cluster *cluster, const struct ask *ask)
{
    if (ask->kind == ASK_REPORT) {
        hear(cluster, cluster->node, &ask->report);
        return;
    }
    struct step step = ask->step;
    step.epoch = cluster->table.epoch;
    note_farewell(cluster, &step);
    if (!cluster->proposing) {
        cluster->proposing = propose_step(cluster, NULL, &step);
    }
}

/* Who asks for the standing of a member, until this node is sure that it leads. */
struct standing_asked {
    struct cluster *cluster;
    struct control *control;
    uint64_t member;
};

static void on_confirmed(void *context, enum replica_outcome outcome)
{
    struct standing_asked *asked = context;
    if (outcome == REPLICA_COMMITTED) {
        struct standing standing = overview_standing(asked->cluster, asked->member);
        answer_done(asked->cluster, asked->control, (struct answer){.standing = standing});
    } else {
        answer_elsewhere(asked->cluster, asked->control);
    }
    free(asked);
}

static void take_standing(struct cluster *cluster, struct control *control, uint64_t member)
{
    struct standing_asked *asked = malloc(sizeof *asked);
    if (asked != NULL) {
        *asked = (struct standing_asked){cluster, control, member};
    }
    if (asked == NULL || cluster->table.epoch == 0 || cluster->council == NULL ||
        replica_confirm(cluster->council, asked, on_confirmed) != REPLICA_PENDING) {
        free(asked);
        answer_elsewhere(cluster, control);
    }
}

static void take_report(struct cluster *cluster, struct control *control, uint64_t member,
                        const struct report *report)
{
    bool stranger = council_status(cluster).ready && cluster->table.epoch != 0 &&
                    table_find(&cluster->table, member) < 0;
    hear(cluster, member, report);
    answer(control, stranger ? &(struct answer){.kind = ANSWER_REFUSED,
                                                .words = TEXT("This cluster has no such member.")}
                             : &(struct answer){.kind = ANSWER_DONE});
}

void council_serve(void *context, struct control *control, const struct control_request *request)
{
    struct cluster *cluster = context;
    struct arena arena = ARENA_EMPTY;
    struct ask ask;
    if (!cluster->turns) { /* it has not come so far yet */
        answer_elsewhere(cluster, control);
    } else if (!ask_decode(request->body, &arena, &ask)) {
        answer(control,
               &(struct answer){.kind = ANSWER_REFUSED,
                                .words = TEXT("This is nothing that this version knows.")});
    } else if (ask.kind == ASK_STEP) {
        take_step(cluster, control, ask.step);
    } else if (ask.kind == ASK_STANDING) {
        take_standing(cluster, control, ask.member);
    } else if (ask.kind == ASK_PULSE) {
        pulse_answer(cluster, control);
    } else if (ask.kind == ASK_WATCH) {
        watch_hold(cluster, control);
    } else {
        take_report(cluster, control, request->source, &ask.report);
    }
    arena_free(&arena);
}

/* ---- placing ------------------------------------------------------------------------------------------------------ */

static void view_group(const struct cluster *cluster, uint64_t member, uint64_t epoch,
                       const struct report_group *group, struct placement_view *view)
{
    const struct table *table = &cluster->table;
    if (group->partition >= table->partition_count) {
        return;
    }
    view->partitions[group->partition].leader = member;
    view->partitions[group->partition].settled =
        group->settled && epoch >= table->partitions[group->partition].changed;
    for (unsigned i = 0; i < group->replica_count; i++) {
        const struct report_replica *replica = &group->replicas[i];
        int place = table_find(table, replica->node);
        if (place >= 0 && replica->match > 0 &&
            replica->match + REPLICA_CATCH_UP_MAX >= group->last) {
            view->partitions[group->partition].caught_up |= members_one((unsigned)place);
        }
    }
}

static void view_member(struct cluster *cluster, unsigned place, int64_t now_us,
                        struct placement_view *view)
{
    const struct member *member = &cluster->table.members[place];
    struct heard *heard = heard_of(cluster, member->id);
    if (heard == NULL) {
        return;
    }
    switch (presence_judge(&heard->presence, now_us, CLUSTER_SILENT_MS, member->state,
                           cluster->config.replace_after_ms)) {
    case PRESENCE_UP:
        view->reachable |= members_one(place);
        for (size_t i = 0; i < heard->report.group_count; i++) {
            view_group(cluster, member->id, heard->report.epoch, &heard->report.groups[i], view);
        }
        return;
    case PRESENCE_OVERDUE:
        view->overdue |= members_one(place);
        return;
    case PRESENCE_DOWN:
        return;
    }
}

static bool votes_in_council(const struct cluster *cluster, uint64_t member)
{
    struct replica_member members[REPLICA_MEMBERS_MAX];
    int count = replica_members(cluster->council, members);
    for (int i = 0; i < count; i++) {
        if (members[i].node == member) {
            return members[i].role == REPLICA_VOTER;
        }
    }
    return false;
}

static void place(struct cluster *cluster)
{
    static struct placement_view view; /* of the loop's thread; too large for its stack */
    static const struct placement_limits LIMITS = {MOVES_MAX, MOVES_PER_MEMBER_MAX};
    struct step steps[PLACEMENT_STEPS_MAX];
    int64_t now_us = clock_monotonic_us();
    view = (struct placement_view){.epoch = cluster->table.epoch};
    for (unsigned i = 0; i < cluster->table.member_count; i++) {
        view_member(cluster, i, now_us, &view);
    }
    unsigned count = placement_next(&cluster->table, &view, &LIMITS, steps);
    for (unsigned i = 0; i < count; i++) {
        if (steps[i].kind == STEP_DROP && votes_in_council(cluster, steps[i].member)) {
            continue; /* its vote may be needed until group 0 has done with it */
        }
        LOG(LOG_INFO, "step", LOG_STRING("kind", step_kind_name(steps[i].kind)),
            LOG_INT("partition", steps[i].partition), LOG_INT("epoch", (int64_t)steps[i].epoch));
        cluster->proposing |= propose_step(cluster, NULL, &steps[i]);
    }
}

/* The founder makes the first table. */
static void found(struct cluster *cluster)
{
    struct arena arena = ARENA_EMPTY;
    struct table *table = arena_alloc(&arena, sizeof *table);
    if (table != NULL) {
        table_found(cluster->uuid, (unsigned)cluster->config.partitions,
                    (unsigned)cluster->config.replicas, cluster->node, &cluster->facts, table);
        cluster->proposing = propose(cluster, NULL, board_founding(table, &arena), 0);
    }
    arena_free(&arena);
}

void council_turn(struct cluster *cluster)
{
    bool leads = council_status(cluster).ready;
    int64_t now_us = clock_monotonic_us();
    cluster->leads_since_us = !leads                         ? 0
                              : cluster->leads_since_us == 0 ? now_us
                                                             : cluster->leads_since_us;
    overview_publish(cluster, leads);
    if (!leads || cluster->proposing) {
        return;
    }
    if (cluster->table.epoch == 0) {
        if (cluster->founds) {
            found(cluster);
        }
        return;
    }
    /* Who has only begun to lead hears of everybody before it calls anybody down. */
    if (now_us - cluster->leads_since_us > (int64_t)CLUSTER_SILENT_MS * 1000 / 2 ||
        cluster->table.member_count == 1) {
        place(cluster);
    }
}
