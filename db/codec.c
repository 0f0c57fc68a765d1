#include "db/codec.h"

#include "db/varint.h"

#include <stdlib.h>

/* No command or result of ours nests deeper or lists more; bytes that say otherwise are not ours. */
enum { NESTING_MAX = 4, LIST_ELEMENTS_MAX = 16384 };

/* What LIST, COMMANDS and RESULTS fields look like, whatever they are lists of. */
struct list {
    void *at;
    size_t count;
};

/* ---- writing: once to count the bytes (at == NULL), once to write them -------------------------------------------- */

struct writer {
    unsigned char *at;
    size_t len;
};

static void put_bytes(struct writer *w, const void *bytes, size_t len)
{
    if (w->at != NULL && len > 0) {
        memcpy(w->at + w->len, bytes, len);
    }
    w->len += len;
}

static void put_varint(struct writer *w, uint64_t n)
{
    unsigned char bytes[VARINT_BYTES_MAX];
    size_t len = varint_write(n, bytes);
    put_bytes(w, bytes, len);
}

static void put_int(struct writer *w, int64_t n)
{
    /* Zigzag: 0, -1, 1, -2 … become 0, 1, 2, 3 …; only ABSENT would not fit after the plus one. */
    uint64_t zigzag = ((uint64_t)n << 1) ^ (uint64_t)(n >> 63);
    put_varint(w, n == ABSENT ? 0 : zigzag + 1);
}

static void put_text(struct writer *w, struct text t)
{
    put_varint(w, text_given(t) ? (uint64_t)t.len + 1 : 0);
    put_bytes(w, t.at, t.len);
}

static void put_command(struct writer *w, const struct command *command);
static void put_result(struct writer *w, const struct result *result);

static void put_record(struct writer *w, const struct record *record, const void *value);

static void put_list(struct writer *w, const struct field *field, const void *at)
{
    struct list list;
    memcpy(&list, at, sizeof list);
    put_varint(w, list.count);
    for (size_t i = 0; i < list.count; i++) {
        if (field->type == FIELD_COMMANDS) {
            put_command(w, (const struct command *)list.at + i);
        } else if (field->type == FIELD_RESULTS) {
            put_result(w, (const struct result *)list.at + i);
        } else {
            put_record(w, field->record, (const char *)list.at + i * field->record->bytes);
        }
    }
}

static void put_record(struct writer *w, const struct record *record, const void *value)
{
    for (size_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        const void *at = (const char *)value + field->offset;
        switch (field->type) {
        case FIELD_INT:
            put_int(w, *(const int64_t *)at);
            break;
        case FIELD_FLAG:
            put_varint(w, *(const bool *)at ? 1 : 0);
            break;
        case FIELD_TEXT:
            put_text(w, *(const struct text *)at);
            break;
        case FIELD_RECORD:
            put_record(w, field->record, at);
            break;
        case FIELD_LIST:
        case FIELD_COMMANDS:
        case FIELD_RESULTS:
            put_list(w, field, at);
            break;
        }
    }
}

/* Every member of the union begins where the union does. */
static const void *command_body(const struct command *command)
{
    return &command->session_create;
}

static const void *result_body(const struct result *result)
{
    return &result->session;
}

static void put_command(struct writer *w, const struct command *command)
{
    put_varint(w, command->kind);
    put_record(w, codec_stamp, &command->stamp);
    put_record(w, codec_idempotency, &command->idempotency);
    put_record(w, command_record(command->kind), command_body(command));
}

static void put_result(struct writer *w, const struct result *result)
{
    put_varint(w, result->status);
    put_varint(w, result->shape);
    put_record(w, codec_result_head, result);
    const struct record *record = result_record(result->shape);
    if (record != NULL) {
        put_record(w, record, result_body(result));
    }
}

struct text command_encode(const struct command *command, struct arena *arena)
{
    struct writer w = {NULL, 1};
    put_command(&w, command);
    w.at = arena_alloc(arena, w.len);
    if (w.at == NULL) {
        return TEXT_ABSENT;
    }
    w.at[0] = CODEC_VERSION;
    w.len = 1;
    put_command(&w, command);
    return (struct text){(const char *)w.at, w.len};
}

static void put_batch(struct writer *w, const struct command *const commands[], size_t count)
{
    put_varint(w, count);
    for (size_t i = 0; i < count; i++) {
        put_command(w, commands[i]);
    }
}

struct text batch_encode(const struct command *const commands[], size_t count, struct arena *arena)
{
    struct writer w = {NULL, 1};
    put_batch(&w, commands, count);
    w.at = arena_alloc(arena, w.len);
    if (w.at == NULL) {
        return TEXT_ABSENT;
    }
    w.at[0] = CODEC_VERSION;
    w.len = 1;
    put_batch(&w, commands, count);
    return (struct text){(const char *)w.at, w.len};
}

struct text result_encode(const struct result *result, struct arena *arena)
{
    struct writer w = {NULL, 1};
    put_result(&w, result);
    w.at = arena_alloc(arena, w.len);
    if (w.at == NULL) {
        return TEXT_ABSENT;
    }
    w.at[0] = CODEC_VERSION;
    w.len = 1;
    put_result(&w, result);
    return (struct text){(const char *)w.at, w.len};
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

struct input {
    const unsigned char *at, *end;
    struct arena *arena;
    int nesting;
    int version; /* that these bytes were written by */
};

static bool get_varint(struct input *in, uint64_t *ret)
{
    return varint_read(&in->at, in->end, ret);
}

static bool get_int(struct input *in, int64_t *ret)
{
    uint64_t n;
    if (!get_varint(in, &n)) {
        return false;
    }
    uint64_t zigzag = n - 1;
    *ret = n == 0 ? ABSENT : (int64_t)((zigzag >> 1) ^ (0 - (zigzag & 1)));
    return true;
}

static bool get_flag(struct input *in, bool *ret)
{
    uint64_t n;
    if (!get_varint(in, &n) || n > 1) {
        return false;
    }
    *ret = n == 1;
    return true;
}

static bool get_text(struct input *in, struct text *ret)
{
    uint64_t n;
    if (!get_varint(in, &n) || (n > 0 && n - 1 > (uint64_t)(in->end - in->at))) {
        return false;
    }
    *ret = n == 0 ? TEXT_ABSENT : (struct text){(const char *)in->at, (size_t)n - 1};
    in->at += ret->len;
    return true;
}

static bool get_command(struct input *in, struct command *ret);
static bool get_result(struct input *in, struct result *ret);
static bool get_record(struct input *in, const struct record *record, void *value);

static bool get_element(struct input *in, const struct field *field, struct list *list, size_t i)
{
    if (field->type == FIELD_COMMANDS) {
        return get_command(in, (struct command *)list->at + i);
    }
    if (field->type == FIELD_RESULTS) {
        return get_result(in, (struct result *)list->at + i);
    }
    return get_record(in, field->record, (char *)list->at + i * field->record->bytes);
}

static size_t element_bytes(const struct field *field)
{
    return field->type == FIELD_COMMANDS  ? sizeof(struct command)
           : field->type == FIELD_RESULTS ? sizeof(struct result)
                                          : field->record->bytes;
}

static bool get_list(struct input *in, const struct field *field, void *at)
{
    uint64_t count;
    /* An element takes a byte or more, so a count past the bytes that are left is a lie. */
    if (!get_varint(in, &count) || count > (uint64_t)(in->end - in->at) ||
        count > LIST_ELEMENTS_MAX || in->nesting == NESTING_MAX) {
        return false;
    }
    struct list list = {arena_zalloc(in->arena, (size_t)count, element_bytes(field)),
                        (size_t)count};
    bool good = list.at != NULL;
    in->nesting++;
    for (size_t i = 0; good && i < list.count; i++) {
        good = get_element(in, field, &list, i);
    }
    in->nesting--;
    memcpy(at, &list, sizeof list);
    return good;
}

/* What these bytes are too old to have; texts are absent anyway. */
static void leave_absent(enum field_type type, void *at)
{
    if (type == FIELD_INT) {
        *(int64_t *)at = ABSENT;
    }
}

static bool get_record(struct input *in, const struct record *record, void *value)
{
    bool good = true;
    for (size_t i = 0; good && i < record->count; i++) {
        const struct field *field = &record->fields[i];
        void *at = (char *)value + field->offset;
        if (in->version < field->since) {
            leave_absent(field->type, at);
            continue;
        }
        switch (field->type) {
        case FIELD_INT:
            good = get_int(in, at);
            break;
        case FIELD_FLAG:
            good = get_flag(in, at);
            break;
        case FIELD_TEXT:
            good = get_text(in, at);
            break;
        case FIELD_RECORD:
            good = get_record(in, field->record, at);
            break;
        case FIELD_LIST:
        case FIELD_COMMANDS:
        case FIELD_RESULTS:
            good = get_list(in, field, at);
            break;
        }
    }
    return good;
}

static bool get_command(struct input *in, struct command *ret)
{
    uint64_t kind;
    memset(ret, 0, sizeof *ret);
    if (!get_varint(in, &kind) || kind >= COMMAND_KIND_COUNT) {
        return false;
    }
    ret->kind = (enum command_kind)kind;
    return get_record(in, codec_stamp, &ret->stamp) &&
           get_record(in, codec_idempotency, &ret->idempotency) &&
           get_record(in, command_record(ret->kind), (void *)&ret->session_create);
}

static bool get_result(struct input *in, struct result *ret)
{
    uint64_t status, shape;
    memset(ret, 0, sizeof *ret);
    if (!get_varint(in, &status) || status >= STATUS_COUNT || !get_varint(in, &shape) ||
        shape >= SHAPE_COUNT) {
        return false;
    }
    ret->status = (enum status)status;
    ret->shape = (enum result_shape)shape;
    const struct record *record = result_record(ret->shape);
    return get_record(in, codec_result_head, ret) &&
           (record == NULL || get_record(in, record, (void *)&ret->session));
}

static bool input_open(struct text bytes, struct arena *arena, struct input *ret)
{
    *ret = (struct input){.at = (const unsigned char *)bytes.at,
                          .end = (const unsigned char *)bytes.at + bytes.len,
                          .arena = arena,
                          .nesting = 0};
    ret->version = bytes.len > 0 ? *ret->at++ : 0;
    return ret->version >= 1 && ret->version <= CODEC_VERSION;
}

bool command_decode(struct text bytes, struct arena *arena, struct command *ret)
{
    struct input in;
    return input_open(bytes, arena, &in) && get_command(&in, ret) && in.at == in.end;
}

bool batch_decode(struct text bytes, struct arena *arena, struct commands *ret)
{
    static const struct field COMMANDS = {.type = FIELD_COMMANDS};
    struct input in;
    struct commands commands = {NULL, 0};
    bool good =
        input_open(bytes, arena, &in) && get_list(&in, &COMMANDS, &commands) && in.at == in.end;
    if (good) {
        *ret = commands;
    }
    return good;
}

bool result_decode(struct text bytes, struct arena *arena, struct result *ret)
{
    struct input in;
    return input_open(bytes, arena, &in) && get_result(&in, ret) && in.at == in.end;
}
