/* The codec: what is written comes back, and the tables cover every byte of every struct. */
#include "db/codec.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static size_t bytes_of(const struct field *field)
{
    switch (field->type) {
    case FIELD_INT:
        return sizeof(int64_t);
    case FIELD_FLAG:
        return sizeof(bool);
    case FIELD_RECORD:
        return field->record->bytes;
    case FIELD_TEXT:
    case FIELD_LIST:
    case FIELD_COMMANDS:
    case FIELD_RESULTS:
        return sizeof(struct text);
    }
    abort();
}

static void expect_covered(const struct record *record)
{
    size_t sum = 0;
    for (size_t i = 0; i < record->count; i++) {
        sum += bytes_of(&record->fields[i]);
    }
    /* Flags leave padding of less than a word each; a forgotten field is a word or more. */
    cr_expect_leq(record->bytes - sum, 7, "%s: the table covers %zu of %zu bytes", record->name,
                  sum, record->bytes);
}

Test(codec, the_tables_cover_every_field_of_every_struct)
{
    for (int kind = 0; kind < COMMAND_KIND_COUNT; kind++) {
        expect_covered(command_record((enum command_kind)kind));
    }
    for (int shape = 1; shape < SHAPE_COUNT; shape++) {
        expect_covered(result_record((enum result_shape)shape));
    }
}

/* Random values, made by the tables themselves. */
static void fill(const struct record *record, void *value, struct arena *arena, int depth);

static struct text random_text(struct arena *arena)
{
    size_t len = (size_t)(rand() % 5);
    char bytes[8];
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)rand();
    }
    return rand() % 4 == 0 ? TEXT_ABSENT : arena_copy(arena, (struct text){bytes, len});
}

static int64_t random_int(void)
{
    switch (rand() % 4) {
    case 0:
        return ABSENT;
    case 1:
        return rand() % 100 - 50;
    case 2:
        return rand() % 2 == 0 ? INT64_MAX : INT64_MIN + 1;
    default:
        return ((int64_t)rand() << 32) ^ rand();
    }
}

static void fill_list(const struct field *field, void *at, struct arena *arena, int depth)
{
    struct {
        void *at;
        size_t count;
    } list = {NULL, depth > 2 ? 0 : (size_t)(rand() % 3)};
    if (field->type == FIELD_COMMANDS) {
        struct command *commands = arena_zalloc(arena, list.count, sizeof *commands);
        for (size_t i = 0; i < list.count; i++) {
            commands[i].kind = (enum command_kind)(rand() % COMMAND_SESSION_PUT);
            fill(command_record(commands[i].kind), &commands[i].session_create, arena, depth + 1);
        }
        list.at = commands;
    } else if (field->type == FIELD_RESULTS) {
        struct result *results = arena_zalloc(arena, list.count, sizeof *results);
        for (size_t i = 0; i < list.count; i++) {
            results[i].shape = SHAPE_SESSION;
            fill(result_record(SHAPE_SESSION), &results[i].session, arena, depth + 1);
        }
        list.at = results;
    } else {
        char *elements = arena_zalloc(arena, list.count, field->record->bytes);
        for (size_t i = 0; i < list.count; i++) {
            fill(field->record, elements + i * field->record->bytes, arena, depth + 1);
        }
        list.at = elements;
    }
    memcpy(at, &list, sizeof list);
}

static void fill(const struct record *record, void *value, struct arena *arena, int depth)
{
    for (size_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        void *at = (char *)value + field->offset;
        switch (field->type) {
        case FIELD_INT:
            *(int64_t *)at = random_int();
            break;
        case FIELD_FLAG:
            *(bool *)at = rand() % 2;
            break;
        case FIELD_TEXT:
            *(struct text *)at = random_text(arena);
            break;
        case FIELD_RECORD:
            fill(field->record, at, arena, depth + 1);
            break;
        case FIELD_LIST:
        case FIELD_COMMANDS:
        case FIELD_RESULTS:
            fill_list(field, at, arena, depth);
            break;
        }
    }
}

Test(codec, a_command_of_any_kind_comes_back_as_it_was_written)
{
    struct arena arena = ARENA_EMPTY;
    srand(7);
    for (int round = 0; round < 200; round++) {
        for (int kind = 0; kind < COMMAND_KIND_COUNT; kind++) {
            struct command command = {.kind = (enum command_kind)kind, .stamp = {rand(), rand()}};
            fill(codec_idempotency, &command.idempotency, &arena, 0);
            fill(command_record(command.kind), &command.session_create, &arena, 0);
            struct text bytes = command_encode(&command, &arena);
            struct command back;
            cr_assert(command_decode(bytes, &arena, &back), "%s", command_name(command.kind));
            cr_assert(text_equal(command_encode(&back, &arena), bytes), "%s",
                      command_name(command.kind));
        }
        arena_clear(&arena);
    }
    arena_free(&arena);
}

Test(codec, a_batch_comes_back_as_it_was_written)
{
    enum { COUNT = 40 };
    struct arena arena = ARENA_EMPTY;
    struct command commands[COUNT];
    const struct command *batch[COUNT];
    srand(9);
    for (size_t i = 0; i < COUNT; i++) {
        commands[i] = (struct command){.kind = (enum command_kind)(rand() % COMMAND_KIND_COUNT)};
        fill(command_record(commands[i].kind), &commands[i].session_create, &arena, 0);
        batch[i] = &commands[i];
    }
    struct text bytes = batch_encode(batch, COUNT, &arena);
    struct commands back;
    cr_assert(batch_decode(bytes, &arena, &back));
    cr_assert_eq(back.count, (size_t)COUNT);
    const struct command *again[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        again[i] = &back.at[i];
    }
    cr_expect(text_equal(batch_encode(again, COUNT, &arena), bytes));
    for (size_t len = 0; len < bytes.len; len++) {
        cr_expect_not(batch_decode((struct text){bytes.at, len}, &arena, &back));
    }
    arena_free(&arena);
}

Test(codec, a_result_of_any_shape_comes_back_as_it_was_written)
{
    struct arena arena = ARENA_EMPTY;
    srand(8);
    for (int round = 0; round < 200; round++) {
        for (int shape = 1; shape < SHAPE_COUNT; shape++) {
            struct result result = {.status = STATUS_CREATED, .shape = (enum result_shape)shape};
            fill(codec_result_head, &result, &arena, 0);
            fill(result_record(result.shape), &result.session, &arena, 0);
            struct text bytes = result_encode(&result, &arena);
            struct result back;
            cr_assert(result_decode(bytes, &arena, &back), "shape %d", shape);
            cr_assert(text_equal(result_encode(&back, &arena), bytes), "shape %d", shape);
        }
        arena_clear(&arena);
    }
    arena_free(&arena);
}

Test(codec, bytes_cut_short_or_followed_by_more_are_refused)
{
    struct arena arena = ARENA_EMPTY;
    struct command command = {.kind = COMMAND_LOCK_GET, .lock_get = {.name = TEXT("order-17")}};
    struct text bytes = command_encode(&command, &arena);
    struct command back;
    for (size_t len = 0; len < bytes.len; len++) {
        cr_expect_not(command_decode((struct text){bytes.at, len}, &arena, &back));
    }
    struct text longer = {arena_alloc(&arena, bytes.len + 1), bytes.len + 1};
    memcpy((char *)longer.at, bytes.at, bytes.len);
    ((char *)longer.at)[bytes.len] = 0;
    cr_expect_not(command_decode(longer, &arena, &back));
    arena_free(&arena);
}

Test(codec, what_the_first_version_wrote_is_read_and_lacks_what_came_later)
{
    static const char FIRST[] = {1, 0, 0, 3, 3, 5, 1, 1, 1, 0, 0};
    struct arena arena = ARENA_EMPTY;
    struct result result;
    cr_assert(result_decode((struct text){FIRST, sizeof FIRST}, &arena, &result));
    cr_expect_eq(result.status, STATUS_OK);
    cr_expect_eq(result.stamp.now_ms, 1);
    cr_expect_eq(result.version, 2);
    cr_expect_eq(result.depth, ABSENT);
    cr_expect(!text_given(result.moved));
    cr_expect(!result_decode((struct text){"\3", 1}, &arena, &result), "a later version");
    arena_free(&arena);
}
