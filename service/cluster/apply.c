#include "service/cluster/placement.h"

#include <assert.h>

const char *step_kind_name(enum step_kind kind)
{
    static const char *const NAMES[STEP_KINDS] = {"join",  "change", "up",    "down",
                                                  "leave", "drop",   "add",   "promote",
                                                  "lead",  "demote", "remove"};
    assert(kind < STEP_KINDS);
    return NAMES[kind];
}

/* ---- members ------------------------------------------------------------------------------------------------------ */

/* Who leaves may keep the name and the address that whoever replaces it has taken. */
static const char *check_facts(const struct table *table, const struct step *step, bool leaving)
{
    const char *wrong = member_facts_check(&step->facts);
    if (wrong == NULL && !leaving && table_taken(table, step->member, &step->facts)) {
        wrong = "Another member has this name or peer address: pass another --node or --peer, or "
                "have that member leave or be replaced first.";
    }
    return wrong;
}

static const char *join(struct table *table, const struct step *step)
{
    const char *wrong = check_facts(table, step, false);
    if (wrong != NULL) {
        return wrong;
    }
    if (step->member == 0) {
        return "A member's id is not 0.";
    }
    if (table->member_count == MEMBERS_MAX) {
        return "The cluster has as many members as it may.";
    }
    unsigned at = table->member_count++;
    while (at > 0 && table->members[at - 1].id > step->member) {
        table->members[at] = table->members[at - 1];
        at--;
    }
    table->members[at] = (struct member){.id = step->member,
                                         .changed = table->epoch + 1,
                                         .state = MEMBER_JOINING,
                                         .facts = step->facts};
    return NULL;
}

static const char *change(const struct table *table, struct member *member, const struct step *step)
{
    const char *wrong = check_facts(table, step, member->state == MEMBER_LEAVING);
    if (wrong == NULL) {
        member->facts = step->facts;
    }
    return wrong;
}

static const char *go_up(struct member *member)
{
    if (member->state != MEMBER_JOINING && member->state != MEMBER_DOWN) {
        return "Only a member that is joining or down comes up.";
    }
    member->state = MEMBER_ACTIVE;
    return NULL;
}

static const char *go_down(struct member *member)
{
    if (member->state != MEMBER_ACTIVE) {
        return "Only an active member goes down.";
    }
    member->state = MEMBER_DOWN;
    return NULL;
}

static bool is_active(const struct table *table, uint64_t id)
{
    int at = table_find(table, id);
    return at >= 0 && table->members[at].state == MEMBER_ACTIVE;
}

static const char *check_leaving(const struct table *table, const struct member *member,
                                 const struct step *step)
{
    unsigned active = 0, others = 0;
    for (unsigned i = 0; i < table->member_count; i++) {
        const struct member *other = &table->members[i];
        active += other != member && other->state == MEMBER_ACTIVE;
        others += other != member && other->state == MEMBER_DOWN;
    }
    if (member->state == MEMBER_LEAVING) {
        return "The member is leaving already.";
    }
    if (active + others == 0) {
        return "The last member cannot leave.";
    }
    if (step->successor != 0 &&
        (step->successor == member->id || !is_active(table, step->successor))) {
        return "Only another member, one that is active, takes its place.";
    }
    if (step->enough && active < table->replica_count && member->state != MEMBER_JOINING) {
        return "Too few active members would be left to hold every replica.";
    }
    return NULL;
}

static const char *leave(const struct table *table, struct member *member, const struct step *step)
{
    const char *wrong = check_leaving(table, member, step);
    if (wrong == NULL) {
        member->state = MEMBER_LEAVING;
        member->successor = step->successor;
    }
    return wrong;
}

static const char *drop(struct table *table, struct member *member)
{
    if (member->state != MEMBER_LEAVING) {
        return "Only a member that is leaving is dropped.";
    }
    for (unsigned p = 0; p < table->partition_count; p++) {
        if (table_slot(&table->partitions[p], member->id) != NULL) {
            return "The member still holds a replica.";
        }
    }
    size_t after = (size_t)(table->members + table->member_count - (member + 1));
    memmove(member, member + 1, after * sizeof *member);
    table->member_count--;
    memset(&table->members[table->member_count], 0, sizeof *member);
    return NULL;
}

static const char *apply_to_member(struct table *table, const struct step *step)
{
    int at = table_find(table, step->member);
    if (step->kind == STEP_JOIN) {
        return at < 0 ? join(table, step) : "The member is in the cluster already.";
    }
    if (at < 0) {
        return "The cluster has no such member.";
    }
    struct member *member = &table->members[at];
    /* Somebody wants it to leave, whatever it is by now; the others are conclusions from what it was. */
    if (step->kind != STEP_LEAVE && member->changed > step->epoch) {
        return "The member has changed since the step was made.";
    }
    if (step->kind == STEP_DROP) {
        return drop(table, member);
    }
    const char *wrong = step->kind == STEP_CHANGE ? change(table, member, step)
                        : step->kind == STEP_UP   ? go_up(member)
                        : step->kind == STEP_DOWN ? go_down(member)
                                                  : leave(table, member, step);
    if (wrong == NULL) {
        member->changed = table->epoch + 1;
    }
    return wrong;
}

/* ---- replicas ----------------------------------------------------------------------------------------------------- */

static bool votes_only(const struct table_partition *partition)
{
    return table_voters(partition) == partition->slot_count;
}

static const char *add(const struct table *table, struct table_partition *partition,
                       uint64_t member)
{
    if (table_slot(partition, member) != NULL) {
        return "The member has a replica of this partition already.";
    }
    if (!is_active(table, member)) {
        return "Only an active member takes a replica.";
    }
    if (!votes_only(partition) || partition->slot_count > table->replica_count) {
        return "Another replica of this partition is on its way in or out.";
    }
    unsigned at = partition->slot_count++;
    while (at > 0 && partition->slots[at - 1].member > member) {
        partition->slots[at] = partition->slots[at - 1];
        at--;
    }
    partition->slots[at] = (struct slot){member, SLOT_LEARNER};
    return NULL;
}

static const char *promote(struct slot *slot)
{
    if (slot->role != SLOT_LEARNER) {
        return "Only a learner is promoted.";
    }
    slot->role = SLOT_VOTER;
    return NULL;
}

static const char *lead(const struct table *table, struct table_partition *partition,
                        uint64_t member)
{
    if (table_slot(partition, member)->role != SLOT_VOTER || !is_active(table, member)) {
        return "Only a voter on an active member leads.";
    }
    if (partition->leader == member) {
        return "The member leads this partition already.";
    }
    partition->leader = member;
    return NULL;
}

static const char *demote(struct table_partition *partition, struct slot *slot)
{
    if (slot->role != SLOT_VOTER) {
        return "Only a voter is demoted.";
    }
    if (partition->leader == slot->member) {
        return "The leader is not demoted: another must lead first.";
    }
    if (!votes_only(partition)) {
        return "Another replica of this partition is on its way in or out.";
    }
    slot->role = SLOT_RETIRING;
    return NULL;
}

static const char *remove_slot(struct table_partition *partition, struct slot *slot)
{
    if (slot->role == SLOT_VOTER) {
        return "A voter is demoted before it is removed.";
    }
    size_t after = (size_t)(partition->slots + partition->slot_count - (slot + 1));
    memmove(slot, slot + 1, after * sizeof *slot);
    partition->slot_count--;
    partition->slots[partition->slot_count] = (struct slot){0, SLOT_LEARNER};
    return NULL;
}

static const char *apply_to_partition(struct table *table, const struct step *step)
{
    if (step->partition >= table->partition_count) {
        return "The cluster has no such partition.";
    }
    struct table_partition *partition = &table->partitions[step->partition];
    if (partition->changed > step->epoch) {
        return "The partition has changed since the step was made.";
    }
    struct slot *slot = table_slot(partition, step->member);
    if (step->kind != STEP_ADD && slot == NULL) {
        return "The member has no replica of this partition.";
    }
    const char *wrong = step->kind == STEP_ADD       ? add(table, partition, step->member)
                        : step->kind == STEP_PROMOTE ? promote(slot)
                        : step->kind == STEP_LEAD    ? lead(table, partition, step->member)
                        : step->kind == STEP_DEMOTE  ? demote(partition, slot)
                                                     : remove_slot(partition, slot);
    if (wrong == NULL) {
        partition->changed = table->epoch + 1;
    }
    return wrong;
}

const char *placement_apply(struct table *table, const struct step *step)
{
    if ((unsigned)step->kind >= STEP_KINDS) {
        return "There is no such step.";
    }
    if (step->epoch > table->epoch) {
        return "The step was made for a table that is not there yet.";
    }
    if (table->epoch == VERSION_MAX) {
        return "The epoch cannot grow any more.";
    }
    const char *wrong = step_has_partition(step->kind) ? apply_to_partition(table, step)
                                                       : apply_to_member(table, step);
    if (wrong == NULL) {
        table->epoch++;
    }
    return wrong;
}
