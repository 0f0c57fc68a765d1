#include "service/cluster/codec.h"

#include "db/varint.h"

#include <assert.h>
#include <endian.h>

enum {
    ROLE_SHIFT = 6,
    PLACE_MASK = (1 << ROLE_SHIFT) - 1,
    ID_BYTES = sizeof(uint64_t),
    FACTS_BYTES_MAX = NAME_BYTES_MAX + 2 * MEMBER_ADDRESS_BYTES_MAX + 4 * VARINT_BYTES_MAX,
    MEMBER_BYTES_MAX = 2 * ID_BYTES + FACTS_BYTES_MAX + 2 * VARINT_BYTES_MAX,
    PARTITION_BYTES_MAX = 3 * VARINT_BYTES_MAX + SLOTS_MAX,
    TABLE_HEAD_BYTES_MAX = 1 + CLUSTER_UUID_BYTES + 4 * VARINT_BYTES_MAX,
    STEP_BYTES_MAX = 1 + 2 * ID_BYTES + 4 * VARINT_BYTES_MAX + FACTS_BYTES_MAX
};
_Static_assert(MEMBERS_MAX <= 1 << ROLE_SHIFT && SLOT_ROLES <= 4, "a slot is one byte");

/* ---- writing: into as many bytes as the value can take, then cut ---------------------------------------------------- */

static void put_bytes(unsigned char **at, const void *bytes, size_t len)
{
    memcpy(*at, bytes, len);
    *at += len;
}

static void put_number(unsigned char **at, uint64_t n)
{
    *at += varint_write(n, *at);
}

static void put_id(unsigned char **at, uint64_t id)
{
    uint64_t bytes = htobe64(id);
    put_bytes(at, &bytes, sizeof bytes);
}

static void put_string(unsigned char **at, const char *s)
{
    put_number(at, strlen(s));
    put_bytes(at, s, strlen(s));
}

static void put_facts(unsigned char **at, const struct member_facts *facts)
{
    put_string(at, facts->name);
    put_string(at, facts->url);
    put_string(at, facts->peer);
    put_number(at, facts->weight);
}

static void put_member(unsigned char **at, const struct member *member)
{
    put_id(at, member->id);
    put_number(at, member->changed);
    put_number(at, member->state);
    if (member->state == MEMBER_LEAVING) {
        put_id(at, member->successor);
    }
    put_facts(at, &member->facts);
}

static void put_partition(unsigned char **at, const struct table *table,
                          const struct table_partition *partition)
{
    unsigned leader = 0;
    put_number(at, partition->changed);
    put_number(at, partition->slot_count);
    for (unsigned i = 0; i < partition->slot_count; i++) {
        const struct slot *slot = &partition->slots[i];
        *(*at)++ = (unsigned char)((unsigned)table_find(table, slot->member) | (unsigned)slot->role
                                                                                   << ROLE_SHIFT);
        leader = slot->member == partition->leader ? i : leader;
    }
    put_number(at, leader);
}

struct text table_encode(const struct table *table, struct arena *arena)
{
    size_t room = TABLE_HEAD_BYTES_MAX + (size_t)table->member_count * MEMBER_BYTES_MAX +
                  (size_t)table->partition_count * PARTITION_BYTES_MAX;
    unsigned char *bytes = arena_alloc(arena, room), *at = bytes;
    assert(table_check(table) == NULL);
    if (bytes == NULL) {
        return TEXT_ABSENT;
    }
    *at++ = TABLE_VERSION;
    put_bytes(&at, table->uuid, sizeof table->uuid);
    put_number(&at, table->epoch);
    put_number(&at, table->partition_count);
    put_number(&at, table->replica_count);
    put_number(&at, table->member_count);
    for (unsigned i = 0; i < table->member_count; i++) {
        put_member(&at, &table->members[i]);
    }
    for (unsigned p = 0; p < table->partition_count; p++) {
        put_partition(&at, table, &table->partitions[p]);
    }
    return (struct text){(const char *)bytes, (size_t)(at - bytes)};
}

struct text step_encode(const struct step *step, struct arena *arena)
{
    unsigned char *bytes = arena_alloc(arena, STEP_BYTES_MAX), *at = bytes;
    if (bytes == NULL) {
        return TEXT_ABSENT;
    }
    *at++ = STEP_VERSION;
    put_number(&at, step->kind);
    put_number(&at, step->epoch);
    put_id(&at, step->member);
    if (step_has_partition(step->kind)) {
        put_number(&at, step->partition);
    }
    if (step_has_facts(step->kind)) {
        put_facts(&at, &step->facts);
    }
    if (step->kind == STEP_LEAVE) {
        put_id(&at, step->successor);
        put_number(&at, step->enough);
    }
    return (struct text){(const char *)bytes, (size_t)(at - bytes)};
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

struct input {
    const unsigned char *at, *end;
};

static bool get_bytes(struct input *in, void *ret, size_t len)
{
    if ((size_t)(in->end - in->at) < len) {
        return false;
    }
    memcpy(ret, in->at, len);
    in->at += len;
    return true;
}

static bool get_number(struct input *in, uint64_t max, uint64_t *ret)
{
    return varint_read(&in->at, in->end, ret) && *ret <= max;
}

/* A number that fits an unsigned int. */
static bool get_count(struct input *in, unsigned max, unsigned *ret)
{
    uint64_t n;
    if (!get_number(in, max, &n)) {
        return false;
    }
    *ret = (unsigned)n;
    return true;
}

static bool get_id(struct input *in, uint64_t *ret)
{
    uint64_t bytes;
    if (!get_bytes(in, &bytes, sizeof bytes)) {
        return false;
    }
    *ret = be64toh(bytes);
    return true;
}

/* Into an array of max + 1. */
static bool get_string(struct input *in, unsigned max, char *ret)
{
    unsigned len;
    if (!get_count(in, max, &len) || !get_bytes(in, ret, len)) {
        return false;
    }
    ret[len] = '\0';
    return strlen(ret) == len;
}

static bool get_facts(struct input *in, struct member_facts *ret)
{
    return get_string(in, NAME_BYTES_MAX, ret->name) &&
           get_string(in, MEMBER_ADDRESS_BYTES_MAX, ret->url) &&
           get_string(in, MEMBER_ADDRESS_BYTES_MAX, ret->peer) &&
           get_count(in, MEMBER_WEIGHT_MAX, &ret->weight);
}

static bool get_member(struct input *in, struct member *ret)
{
    unsigned state;
    if (!get_id(in, &ret->id) || !get_number(in, VERSION_MAX, &ret->changed) ||
        !get_count(in, MEMBER_STATES - 1, &state)) {
        return false;
    }
    ret->state = (enum member_state)state;
    return (state != MEMBER_LEAVING || get_id(in, &ret->successor)) && get_facts(in, &ret->facts);
}

static bool get_slot(struct input *in, const struct table *table, struct slot *ret)
{
    unsigned char byte;
    if (!get_bytes(in, &byte, 1) || (byte & PLACE_MASK) >= table->member_count ||
        byte >> ROLE_SHIFT >= SLOT_ROLES) {
        return false;
    }
    *ret =
        (struct slot){table->members[byte & PLACE_MASK].id, (enum slot_role)(byte >> ROLE_SHIFT)};
    return true;
}

static bool get_partition(struct input *in, const struct table *table, struct table_partition *ret)
{
    unsigned leader;
    if (!get_number(in, VERSION_MAX, &ret->changed) ||
        !get_count(in, SLOTS_MAX, &ret->slot_count)) {
        return false;
    }
    for (unsigned i = 0; i < ret->slot_count; i++) {
        if (!get_slot(in, table, &ret->slots[i])) {
            return false;
        }
    }
    if (!get_count(in, SLOTS_MAX - 1, &leader) || leader >= ret->slot_count) {
        return false;
    }
    ret->leader = ret->slots[leader].member;
    return true;
}

static bool get_table(struct input *in, struct table *ret)
{
    if (!get_bytes(in, ret->uuid, sizeof ret->uuid) || !get_number(in, VERSION_MAX, &ret->epoch) ||
        !get_count(in, PARTITIONS_MAX, &ret->partition_count) ||
        !get_count(in, REPLICAS_MAX, &ret->replica_count) ||
        !get_count(in, MEMBERS_MAX, &ret->member_count)) {
        return false;
    }
    for (unsigned i = 0; i < ret->member_count; i++) {
        if (!get_member(in, &ret->members[i])) {
            return false;
        }
    }
    for (unsigned p = 0; p < ret->partition_count; p++) {
        if (!get_partition(in, ret, &ret->partitions[p])) {
            return false;
        }
    }
    return in->at == in->end;
}

static bool input_open(struct text bytes, unsigned char version, struct input *ret)
{
    unsigned char first;
    *ret = (struct input){(const unsigned char *)bytes.at,
                          (const unsigned char *)bytes.at + bytes.len};
    return bytes.len > 0 && get_bytes(ret, &first, 1) && first == version;
}

struct table *table_decode(struct text bytes, struct arena *arena)
{
    struct input in;
    if (!input_open(bytes, TABLE_VERSION, &in)) {
        return NULL;
    }
    struct table *table = arena_zalloc(arena, 1, sizeof *table);
    return table != NULL && get_table(&in, table) && table_check(table) == NULL ? table : NULL;
}

static bool get_leaving(struct input *in, struct step *ret)
{
    unsigned enough;
    if (!get_id(in, &ret->successor) || !get_count(in, 1, &enough)) {
        return false;
    }
    ret->enough = enough == 1;
    return true;
}

static const char *check_step(const struct step *step)
{
    return step_has_facts(step->kind) ? member_facts_check(&step->facts) : NULL;
}

bool step_decode(struct text bytes, struct step *ret)
{
    struct input in;
    struct step step = {0};
    unsigned kind;
    if (!input_open(bytes, STEP_VERSION, &in) || !get_count(&in, STEP_KINDS - 1, &kind)) {
        return false;
    }
    step.kind = (enum step_kind)kind;
    if (!get_number(&in, VERSION_MAX, &step.epoch) || !get_id(&in, &step.member) ||
        (step_has_partition(step.kind) && !get_count(&in, PARTITIONS_MAX - 1, &step.partition)) ||
        (step_has_facts(step.kind) && !get_facts(&in, &step.facts)) ||
        (step.kind == STEP_LEAVE && !get_leaving(&in, &step)) || in.at != in.end ||
        check_step(&step) != NULL) {
        return false;
    }
    *ret = step;
    return true;
}
