/* Payloads: bodies come back as they were, whether or not they were compressed. */
#include "handlers/payload.h"

#include "db/limits.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct text repeated(struct arena *arena, size_t len)
{
    char *at = arena_alloc(arena, len);
    for (size_t i = 0; i < len; i++) {
        at[i] = "{\"a\":1},"[i % 8];
    }
    return (struct text){at, len};
}

Test(payload, comes_back_as_it_was_at_any_length)
{
    static const size_t LENGTHS[] = {0, 1, 255, 256, 257, 1000, 100000, BODY_BYTES_MAX};
    struct arena arena = ARENA_EMPTY;
    for (size_t i = 0; i < sizeof LENGTHS / sizeof LENGTHS[0]; i++) {
        int64_t raw;
        struct text text = repeated(&arena, LENGTHS[i]);
        struct text stored = payload_pack(&arena, text, &raw);
        struct text back = payload_unpack(&arena, stored, raw);
        cr_assert(text_given(back), "%zu bytes", LENGTHS[i]);
        cr_expect(text_equal(back, text), "%zu bytes", LENGTHS[i]);
        cr_expect(raw == (LENGTHS[i] < 256 ? 0 : (int64_t)LENGTHS[i]), "%zu bytes", LENGTHS[i]);
        cr_expect(raw == 0 || stored.len < LENGTHS[i] / 2, "%zu bytes", LENGTHS[i]);
    }
    arena_free(&arena);
}

Test(payload, is_left_as_it_is_where_compression_saves_less_than_a_tenth)
{
    struct arena arena = ARENA_EMPTY;
    char *noise = arena_alloc(&arena, 4096);
    srand(3);
    for (size_t i = 0; i < 4096; i++) {
        noise[i] = (char)rand();
    }
    int64_t raw;
    struct text stored = payload_pack(&arena, (struct text){noise, 4096}, &raw);
    cr_expect_eq(raw, 0);
    cr_expect_eq(stored.at, noise);
    arena_free(&arena);
}

Test(payload, never_gives_more_than_was_said_nor_makes_sense_of_other_bytes)
{
    struct arena arena = ARENA_EMPTY;
    int64_t raw;
    struct text stored = payload_pack(&arena, repeated(&arena, 5000), &raw);
    cr_assert_eq(raw, 5000);
    cr_expect_not(text_given(payload_unpack(&arena, stored, 4999)));
    cr_expect_not(text_given(payload_unpack(&arena, stored, 5001)));
    cr_expect_not(text_given(payload_unpack(&arena, stored, BODY_BYTES_MAX + 1)));
    cr_expect_not(text_given(payload_unpack(&arena, stored, -1)));
    cr_expect_not(text_given(payload_unpack(&arena, (struct text){stored.at, 20}, 5000)));
    cr_expect_not(text_given(payload_unpack(&arena, TEXT("no frame at all"), 15)));
    arena_free(&arena);
}
