#include "service/cluster/steering.h"

/* ---- groups ------------------------------------------------------------------------------------------------------- */

static enum replica_role role_of(const struct replica_member *members, int count, uint64_t node)
{
    for (int i = 0; i < count; i++) {
        if (members[i].node == node) {
            return members[i].role;
        }
    }
    return REPLICA_OUTSIDE;
}

static const struct slot *slot_of(const struct table_partition *partition, uint64_t member)
{
    for (unsigned i = 0; i < partition->slot_count; i++) {
        if (partition->slots[i].member == member) {
            return &partition->slots[i];
        }
    }
    return NULL;
}

/* The next change that brings a member to its role; false: it is there. */
static bool next_change(uint64_t node, enum replica_role is, enum replica_role should,
                        struct wanted *ret)
{
    if (is == should || (is == REPLICA_SPARE && should == REPLICA_OUTSIDE)) {
        return false;
    }
    enum replica_change change = is <= REPLICA_SPARE       ? REPLICA_ADD
                                 : should == REPLICA_VOTER ? REPLICA_PROMOTE
                                 : is == REPLICA_VOTER     ? REPLICA_DEMOTE
                                                           : REPLICA_REMOVE;
    *ret = (struct wanted){node, change};
    return true;
}

bool steering_group(const struct table_partition *table, const struct replica_member *members,
                    int count, struct wanted *ret)
{
    for (unsigned i = 0; i < table->slot_count; i++) {
        const struct slot *slot = &table->slots[i];
        enum replica_role should = slot->role == SLOT_VOTER ? REPLICA_VOTER : REPLICA_STANDBY;
        if (next_change(slot->member, role_of(members, count, slot->member), should, ret)) {
            return true;
        }
    }
    for (int i = 0; i < count; i++) {
        if (slot_of(table, members[i].node) == NULL &&
            next_change(members[i].node, members[i].role, REPLICA_OUTSIDE, ret)) {
            return true;
        }
    }
    return false;
}

static bool is_up(const struct table *table, uint64_t member)
{
    int place = table_find(table, member);
    return place >= 0 && table->members[place].state == MEMBER_ACTIVE;
}

uint64_t steering_leader(const struct table *table, const struct table_partition *partition,
                         uint64_t self)
{
    bool another = partition->leader != self && is_up(table, partition->leader);
    return another ? partition->leader : 0;
}

uint64_t steering_guess(const struct table *table, const struct table_partition *partition)
{
    for (unsigned i = 0; i < partition->slot_count && !is_up(table, partition->leader); i++) {
        const struct slot *slot = &partition->slots[i];
        if (slot->role == SLOT_VOTER && is_up(table, slot->member)) {
            return slot->member;
        }
    }
    return partition->leader;
}

/* Whether the member could lead, and is there. */
static bool may_lead(const struct table *table, const struct replica_member *member, uint64_t self)
{
    return member->role == REPLICA_VOTER && member->node != self && is_up(table, member->node);
}

uint64_t steering_heir(const struct table *table, const struct replica_member *members, int count,
                       uint64_t self, unsigned turn)
{
    uint64_t best = 0, heirs[REPLICA_MEMBERS_MAX] = {0};
    unsigned able = 0;
    for (int i = 0; i < count; i++) {
        if (may_lead(table, &members[i], self) && members[i].match > best) {
            best = members[i].match;
        }
    }
    for (int i = 0; i < count; i++) {
        if (may_lead(table, &members[i], self) &&
            members[i].match + REPLICA_UNCOMMITTED_MAX >= best) {
            heirs[able++] = members[i].node;
        }
    }
    return able == 0 ? 0 : heirs[turn % able];
}

/* ---- group 0 ------------------------------------------------------------------------------------------------------ */

/* How many of the members vote in group 0: 1, 3 or 5. */
static unsigned council_size(const struct table *table)
{
    unsigned able = 0;
    for (unsigned i = 0; i < table->member_count; i++) {
        able += table->members[i].state != MEMBER_LEAVING;
    }
    return able >= 5 ? 5 : able >= 3 ? 3 : 1;
}

/* In which order members are taken: those that vote and are up, those that are up, those that vote and are down. */
enum { RANKS = 3, NO_RANK = RANKS };
static int rank_of(enum member_state state, bool is_voter)
{
    switch (state) {
    case MEMBER_ACTIVE:
        return is_voter ? 0 : 1;
    case MEMBER_DOWN:
        return is_voter ? 2 : NO_RANK;
    case MEMBER_JOINING:
    case MEMBER_LEAVING:
    case MEMBER_STATES:
        break;
    }
    return NO_RANK;
}

/* The members that should vote; within a rank in the order of the table. */
static member_set voters_of(const struct table *table, const struct replica_member *members,
                            int count)
{
    unsigned room = council_size(table);
    member_set voters = 0;
    for (int rank = 0; rank < RANKS; rank++) {
        for (unsigned i = 0; i < table->member_count && room > 0; i++) {
            const struct member *member = &table->members[i];
            bool is_voter = role_of(members, count, member->id) == REPLICA_VOTER;
            if (rank_of(member->state, is_voter) == rank) {
                voters |= members_one(i);
                room--;
            }
        }
    }
    return voters;
}

bool steering_council(const struct table *table, const struct replica_member *members, int count,
                      struct wanted *ret)
{
    member_set voters = voters_of(table, members, count);
    struct wanted demotion = {0, REPLICA_DEMOTE};
    bool needed = true; /* its vote, for the demotion of those that may be down: they go first */
    for (unsigned i = 0; i < table->member_count; i++) {
        uint64_t node = table->members[i].id;
        enum replica_role is = role_of(members, count, node);
        enum replica_role should = members_has(voters, i) ? REPLICA_VOTER : REPLICA_STANDBY;
        if (is == REPLICA_VOTER && should == REPLICA_STANDBY) {
            bool active = table->members[i].state == MEMBER_ACTIVE;
            if (!active || needed) {
                demotion.node = node; /* once somebody else votes in its place */
                needed = active;
            }
        } else if (next_change(node, is, should, ret)) {
            return true;
        }
    }
    for (int i = 0; i < count; i++) {
        if (table_find(table, members[i].node) < 0 &&
            next_change(members[i].node, members[i].role, REPLICA_OUTSIDE, ret)) {
            return true;
        }
    }
    if (demotion.node != 0) {
        *ret = demotion;
    }
    return demotion.node != 0;
}

/* ---- seats -------------------------------------------------------------------------------------------------------- */

enum seat_move steering_seat(struct seat_state seat)
{
    if (seat.closing) {
        return SEAT_STAYS;
    }
    if (seat.held) {
        return !seat.ours ? SEAT_GOES : seat.stopped ? SEAT_CLOSES : SEAT_STAYS;
    }
    if (!seat.ours || (seat.stopped && !seat.rested)) {
        return SEAT_STAYS;
    }
    return seat.founding ? SEAT_FOUNDS : SEAT_OPENS;
}

struct seat_state steering_seat_of(const struct table_partition *table, uint64_t self)
{
    /* A group begins with its founder alone, before the table has ever moved anything of it. */
    return (struct seat_state){.ours = slot_of(table, self) != NULL,
                               .founding = table->slot_count == 1 && table->changed <= 1};
}

/* ---- members ------------------------------------------------------------------------------------------------------ */

enum presence_verdict presence_judge(struct presence *presence, int64_t now_us, int64_t silent_ms,
                                     enum member_state state, int64_t replace_after_ms)
{
    if (presence->heard_us != 0 && now_us - presence->heard_us < silent_ms * 1000) {
        presence->down_us = 0;
        return PRESENCE_UP;
    }
    presence->down_us = presence->down_us == 0 ? now_us : presence->down_us;
    bool long_ago = now_us - presence->down_us > replace_after_ms * 1000;
    return state == MEMBER_DOWN && long_ago ? PRESENCE_OVERDUE : PRESENCE_DOWN;
}

/* ---- leaders that are none any more ------------------------------------------------------------------------------- */

bool former_is_gone(const struct former *former, int64_t now_us, int64_t silent_ms, int64_t ms_max)
{
    return now_us - former->heard_us >= silent_ms * 1000 ||
           now_us - former->deposed_us >= ms_max * 1000;
}
