#include "service/cluster/ask.h"

#include "service/cluster/codec.h"
#include "service/cluster/wire.h"

enum {
    HEAD_BYTES = 2,
    REPORT_HEAD_BYTES = HEAD_BYTES + 8 + 4,
    GROUP_BYTES = 4 + 1 + 1 + 8 * SLOTS_MAX, /* unused places are zero */
    COMMAND_HEAD_BYTES = HEAD_BYTES + 4,
    ANSWER_HEAD_BYTES = HEAD_BYTES + 3 * 4
};

static unsigned char *begin(struct arena *arena, size_t len, unsigned kind)
{
    unsigned char *bytes = arena_zalloc(arena, len, 1);
    if (bytes != NULL) {
        bytes[0] = ASK_VERSION;
        bytes[1] = (unsigned char)kind;
    }
    return bytes;
}

static bool opens(struct text bytes, size_t len_min)
{
    return bytes.len >= len_min && (unsigned char)bytes.at[0] == ASK_VERSION;
}

/* ---- asks --------------------------------------------------------------------------------------------------------- */

static void put_group(unsigned char *at, const struct report_group *group)
{
    wire_put32(at, group->partition);
    at[4] = group->settled;
    at[5] = (unsigned char)group->caught_up_count;
    for (unsigned i = 0; i < group->caught_up_count; i++) {
        wire_put64(at + 6 + 8 * i, group->caught_up[i]);
    }
}

static struct text encode_report(const struct report *report, struct arena *arena)
{
    size_t len = REPORT_HEAD_BYTES + report->group_count * GROUP_BYTES;
    unsigned char *bytes = begin(arena, len, ASK_REPORT);
    if (bytes == NULL) {
        return TEXT_ABSENT;
    }
    wire_put64(bytes + HEAD_BYTES, report->epoch);
    wire_put32(bytes + HEAD_BYTES + 8, (uint32_t)report->group_count);
    for (size_t i = 0; i < report->group_count; i++) {
        put_group(bytes + REPORT_HEAD_BYTES + i * GROUP_BYTES, &report->groups[i]);
    }
    return (struct text){(const char *)bytes, len};
}

static struct text encode_step(const struct step *step, struct arena *arena)
{
    struct text body = step_encode(step, arena);
    unsigned char *bytes = text_given(body) ? begin(arena, HEAD_BYTES + body.len, ASK_STEP) : NULL;
    if (bytes == NULL) {
        return TEXT_ABSENT;
    }
    memcpy(bytes + HEAD_BYTES, body.at, body.len);
    return (struct text){(const char *)bytes, HEAD_BYTES + body.len};
}

static struct text encode_command(const struct ask_command *command, struct arena *arena)
{
    size_t len = COMMAND_HEAD_BYTES + command->bytes.len;
    unsigned char *bytes = begin(arena, len, ASK_COMMAND);
    if (bytes == NULL) {
        return TEXT_ABSENT;
    }
    wire_put32(bytes + HEAD_BYTES, command->partition);
    memcpy(bytes + COMMAND_HEAD_BYTES, command->bytes.at, command->bytes.len);
    return (struct text){(const char *)bytes, len};
}

struct text ask_encode(const struct ask *ask, struct arena *arena)
{
    return ask->kind == ASK_STEP      ? encode_step(&ask->step, arena)
           : ask->kind == ASK_COMMAND ? encode_command(&ask->command, arena)
                                      : encode_report(&ask->report, arena);
}

static bool decode_command(struct text bytes, struct ask_command *ret)
{
    if (bytes.len <= COMMAND_HEAD_BYTES) {
        return false;
    }
    ret->partition = wire_get32((const unsigned char *)bytes.at + HEAD_BYTES);
    ret->bytes =
        (struct text){bytes.at + COMMAND_HEAD_BYTES, bytes.len - (size_t)COMMAND_HEAD_BYTES};
    return ret->partition < PARTITIONS_MAX;
}

static bool get_group(const unsigned char *at, struct report_group *ret)
{
    ret->partition = wire_get32(at);
    ret->settled = at[4] == 1;
    ret->caught_up_count = at[5];
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        ret->caught_up[i] = wire_get64(at + 6 + 8 * i);
    }
    return ret->partition < PARTITIONS_MAX && at[4] <= 1 && ret->caught_up_count <= SLOTS_MAX;
}

static bool decode_report(struct text bytes, struct arena *arena, struct report *ret)
{
    const unsigned char *at = (const unsigned char *)bytes.at;
    if (bytes.len < REPORT_HEAD_BYTES) {
        return false;
    }
    size_t count = wire_get32(at + HEAD_BYTES + 8);
    if (count > PARTITIONS_MAX || bytes.len != REPORT_HEAD_BYTES + count * GROUP_BYTES) {
        return false;
    }
    struct report_group *groups = arena_zalloc(arena, count, sizeof *groups);
    bool good = groups != NULL;
    for (size_t i = 0; good && i < count; i++) {
        good = get_group(at + REPORT_HEAD_BYTES + i * GROUP_BYTES, &groups[i]);
    }
    *ret = (struct report){wire_get64(at + HEAD_BYTES), count, groups};
    return good;
}

bool ask_decode(struct text bytes, struct arena *arena, struct ask *ret)
{
    if (!opens(bytes, HEAD_BYTES)) {
        return false;
    }
    switch (bytes.at[1]) {
    case ASK_STEP:
        ret->kind = ASK_STEP;
        return step_decode((struct text){bytes.at + HEAD_BYTES, bytes.len - HEAD_BYTES},
                           &ret->step);
    case ASK_COMMAND:
        ret->kind = ASK_COMMAND;
        return decode_command(bytes, &ret->command);
    case ASK_REPORT:
        ret->kind = ASK_REPORT;
        return decode_report(bytes, arena, &ret->report);
    default:
        return false;
    }
}

/* ---- answers ------------------------------------------------------------------------------------------------------ */

struct text answer_encode(const struct answer *answer, struct arena *arena)
{
    const struct text parts[] = {answer->table, answer->seed, answer->words};
    size_t len = ANSWER_HEAD_BYTES + answer->table.len + answer->seed.len + answer->words.len;
    unsigned char *bytes = begin(arena, len, answer->kind);
    if (bytes == NULL) {
        return TEXT_ABSENT;
    }
    unsigned char *at = bytes + ANSWER_HEAD_BYTES;
    for (size_t i = 0; i < 3; i++) {
        wire_put32(bytes + HEAD_BYTES + 4 * i, (uint32_t)parts[i].len);
        if (parts[i].len > 0) {
            memcpy(at, parts[i].at, parts[i].len);
            at += parts[i].len;
        }
    }
    return (struct text){(const char *)bytes, len};
}

bool answer_decode(struct text bytes, struct answer *ret)
{
    struct text parts[3];
    if (!opens(bytes, ANSWER_HEAD_BYTES) || bytes.at[1] < ANSWER_DONE ||
        bytes.at[1] > ANSWER_REFUSED) {
        return false;
    }
    const unsigned char *lengths = (const unsigned char *)bytes.at + HEAD_BYTES;
    size_t at = ANSWER_HEAD_BYTES;
    for (size_t i = 0; i < 3; i++) {
        size_t len = wire_get32(lengths + 4 * i);
        if (len > bytes.len - at) {
            return false;
        }
        parts[i] = len == 0 ? TEXT_ABSENT : (struct text){bytes.at + at, len};
        at += len;
    }
    *ret = (struct answer){(enum answer_kind)bytes.at[1], parts[0], parts[1], parts[2]};
    return at == bytes.len;
}
