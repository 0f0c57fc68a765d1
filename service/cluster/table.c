#include "service/cluster/table.h"

#include "handlers/text_parse.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

void table_found(const unsigned char uuid[CLUSTER_UUID_BYTES], unsigned partition_count,
                 unsigned replica_count, uint64_t id, const struct member_facts *facts,
                 struct table *ret)
{
    memset(ret, 0, sizeof *ret);
    memcpy(ret->uuid, uuid, sizeof ret->uuid);
    ret->epoch = 1;
    ret->partition_count = partition_count;
    ret->replica_count = replica_count;
    ret->member_count = 1;
    ret->members[0] =
        (struct member){.id = id, .changed = 1, .state = MEMBER_ACTIVE, .facts = *facts};
    for (unsigned p = 0; p < partition_count; p++) {
        ret->partitions[p] = (struct table_partition){
            .changed = 1, .leader = id, .slot_count = 1, .slots = {{id, SLOT_VOTER}}};
    }
    assert(table_check(ret) == NULL);
}

void table_recover(const struct table *before, const unsigned char uuid[CLUSTER_UUID_BYTES],
                   uint64_t id, struct table *ret)
{
    const struct member *member = &before->members[table_find(before, id)];
    table_found(uuid, before->partition_count, before->replica_count, id, &member->facts, ret);
    ret->epoch = before->epoch + 1;
    ret->members[0].changed = ret->epoch;
    for (unsigned p = 0; p < ret->partition_count; p++) {
        ret->partitions[p].changed = ret->epoch;
    }
    assert(table_check(ret) == NULL);
}

int table_find(const struct table *table, uint64_t id)
{
    unsigned from = 0, to = table->member_count;
    while (from < to) {
        unsigned middle = (from + to) / 2;
        if (table->members[middle].id < id) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from < table->member_count && table->members[from].id == id ? (int)from : -1;
}

member_set table_members(const struct table *table, enum member_state state)
{
    member_set set = 0;
    for (unsigned i = 0; i < table->member_count; i++) {
        set |= table->members[i].state == state ? members_one(i) : 0;
    }
    return set;
}

struct slot *table_slot(struct table_partition *partition, uint64_t member)
{
    for (unsigned i = 0; i < partition->slot_count; i++) {
        if (partition->slots[i].member == member) {
            return &partition->slots[i];
        }
    }
    return NULL;
}

unsigned table_voters(const struct table_partition *partition)
{
    unsigned voters = 0;
    for (unsigned i = 0; i < partition->slot_count; i++) {
        voters += partition->slots[i].role == SLOT_VOTER;
    }
    return voters;
}

const char *member_state_name(enum member_state state)
{
    static const char *const NAMES[MEMBER_STATES] = {"joining", "active", "down", "leaving"};
    assert(state < MEMBER_STATES);
    return NAMES[state];
}

const char *slot_role_name(enum slot_role role)
{
    static const char *const NAMES[SLOT_ROLES] = {"learner", "voter", "retiring"};
    assert(role < SLOT_ROLES);
    return NAMES[role];
}

/* ---- checking ----------------------------------------------------------------------------------------------------- */

/* A run of printable ASCII without spaces, terminated within its array. What the address means is for whoever dials. */
static bool address_valid(const char address[MEMBER_ADDRESS_BYTES_MAX + 1])
{
    size_t len = strnlen(address, MEMBER_ADDRESS_BYTES_MAX + 1);
    for (size_t i = 0; i < len; i++) {
        if (address[i] <= ' ' || address[i] >= 0x7f) {
            return false;
        }
    }
    return len > 0 && len <= MEMBER_ADDRESS_BYTES_MAX;
}

bool member_split_peer(const char *peer, char ret_host[MEMBER_ADDRESS_BYTES_MAX + 1],
                       uint16_t *ret_port)
{
    const char *colon = strrchr(peer, ':');
    char *end = NULL;
    unsigned long port = colon == NULL ? 0 : strtoul(colon + 1, &end, 10);
    if (colon == NULL || *end != '\0' || port == 0 || port > 65535) {
        return false;
    }
    bool brackets = peer[0] == '[' && colon > peer && colon[-1] == ']';
    snprintf(ret_host, MEMBER_ADDRESS_BYTES_MAX + 1, "%.*s",
             (int)(colon - peer) - (brackets ? 2 : 0), peer + brackets);
    *ret_port = (uint16_t)port;
    return true;
}

const char *member_facts_check(const struct member_facts *facts)
{
    size_t name_bytes = strnlen(facts->name, sizeof facts->name);
    if (name_bytes == sizeof facts->name || !name_valid((struct text){facts->name, name_bytes})) {
        return "A member's name is no valid name.";
    }
    if (!address_valid(facts->url) || !address_valid(facts->peer)) {
        return "A member's address is empty, too long, or not printable ASCII without spaces.";
    }
    if (facts->weight < 1 || facts->weight > MEMBER_WEIGHT_MAX) {
        return "A member's weight is not from 1 to 1000.";
    }
    return NULL;
}

bool table_taken(const struct table *table, uint64_t id, const struct member_facts *facts)
{
    for (unsigned i = 0; i < table->member_count; i++) {
        const struct member *other = &table->members[i];
        if (other->id != id && other->state != MEMBER_LEAVING &&
            (strcmp(other->facts.name, facts->name) == 0 ||
             strcmp(other->facts.peer, facts->peer) == 0)) {
            return true;
        }
    }
    return false;
}

static const char *check_counts(const struct table *table)
{
    unsigned p = table->partition_count;
    if (table->epoch < 1 || table->epoch > VERSION_MAX) {
        return "The epoch is out of range.";
    }
    if (p < 1 || p > PARTITIONS_MAX || (p & (p - 1)) != 0) {
        return "The number of partitions is not a power of two from 1 to 1024.";
    }
    if (table->replica_count < 1 || table->replica_count > REPLICAS_MAX) {
        return "The number of replicas is not from 1 to 5.";
    }
    if (table->member_count < 1 || table->member_count > MEMBERS_MAX) {
        return "The number of members is not from 1 to 64.";
    }
    return NULL;
}

static const char *check_member(const struct table *table, unsigned i)
{
    const struct member *member = &table->members[i];
    if (member->id == 0 || (i > 0 && table->members[i - 1].id >= member->id)) {
        return "The members' ids are not growing numbers from 1.";
    }
    if ((unsigned)member->state >= MEMBER_STATES) {
        return "A member is in no known state.";
    }
    if (member->changed < 1 || member->changed > table->epoch) {
        return "A member changed after the table's epoch.";
    }
    if (member->successor != 0 &&
        (member->state != MEMBER_LEAVING || member->successor == member->id)) {
        return "A member has a successor although it does not leave, or it is its own.";
    }
    return member_facts_check(&member->facts);
}

static const char *check_members(const struct table *table)
{
    unsigned settled = 0;
    for (unsigned i = 0; i < table->member_count; i++) {
        const char *wrong = check_member(table, i);
        if (wrong != NULL) {
            return wrong;
        }
        enum member_state state = table->members[i].state;
        settled += state == MEMBER_ACTIVE || state == MEMBER_DOWN;
    }
    for (unsigned i = 0; i < table->member_count; i++) {
        const struct member *member = &table->members[i];
        if (member->state != MEMBER_LEAVING && table_taken(table, member->id, &member->facts)) {
            return "Two members have one name or one peer address.";
        }
    }
    return settled > 0 ? NULL : "No member is active or down: all are joining or leaving.";
}

static const char *check_slot(const struct table *table, const struct table_partition *partition,
                              unsigned i)
{
    const struct slot *slot = &partition->slots[i];
    int at = table_find(table, slot->member);
    if ((unsigned)slot->role >= SLOT_ROLES) {
        return "A replica has no known role.";
    }
    if (i > 0 && partition->slots[i - 1].member >= slot->member) {
        return "A partition's replicas are not in the order of their members' ids, each once.";
    }
    if (at < 0 || table->members[at].state == MEMBER_JOINING) {
        return "A replica's member is unknown, or still joining.";
    }
    return NULL;
}

static const char *check_partition(const struct table *table,
                                   const struct table_partition *partition)
{
    bool led = false;
    if (partition->slot_count < 1 || partition->slot_count > table->replica_count + 1) {
        return "A partition has no replica, or more than one too many.";
    }
    for (unsigned i = 0; i < partition->slot_count; i++) {
        const char *wrong = check_slot(table, partition, i);
        if (wrong != NULL) {
            return wrong;
        }
        led |= partition->slots[i].member == partition->leader &&
               partition->slots[i].role == SLOT_VOTER;
    }
    if (table_voters(partition) + 1 < partition->slot_count) {
        return "A partition has more than one replica that is no voter.";
    }
    if (!led) {
        return "A partition's leader is none of its voters.";
    }
    if (partition->changed < 1 || partition->changed > table->epoch) {
        return "A partition changed after the table's epoch.";
    }
    return NULL;
}

const char *table_check(const struct table *table)
{
    const char *wrong = check_counts(table);
    if (wrong == NULL) {
        wrong = check_members(table);
    }
    for (unsigned p = 0; wrong == NULL && p < table->partition_count; p++) {
        wrong = check_partition(table, &table->partitions[p]);
    }
    return wrong;
}
