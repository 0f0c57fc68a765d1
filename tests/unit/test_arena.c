/* The arena: what callers take for granted of it. */
#include "db/arena.h"
#include "db/codec.h"

#include <criterion/criterion.h>
#include <stdint.h>

Test(arena, gives_an_address_even_for_no_bytes)
{
    struct arena arena = ARENA_EMPTY;
    cr_expect_not_null(arena_alloc(&arena, 0));
    arena_free(&arena);
    cr_expect_not_null(arena_zalloc(&arena, 0, 8));
    cr_expect_not(arena.exhausted);
    arena_free(&arena);
}

Test(arena, an_empty_list_is_decoded_into_an_empty_arena)
{
    struct arena made = ARENA_EMPTY, fresh = ARENA_EMPTY;
    struct command command = {.kind = COMMAND_TRANSACTION}, back;
    cr_expect(command_decode(command_encode(&command, &made), &fresh, &back));
    arena_free(&made);
    arena_free(&fresh);
}

Test(arena, says_when_it_cannot_give)
{
    struct arena arena = ARENA_EMPTY;
    cr_expect_null(arena_alloc(&arena, SIZE_MAX));
    cr_expect(arena.exhausted);
    arena_clear(&arena);
    cr_expect_not(arena.exhausted);
    cr_expect_null(arena_zalloc(&arena, SIZE_MAX / 4, 8));
    cr_expect(arena.exhausted);
    arena_free(&arena);
}

Test(arena, memory_is_aligned_and_apart)
{
    struct arena arena = ARENA_EMPTY;
    char *last = NULL;
    for (size_t bytes = 1; bytes < 3000; bytes += 7) {
        char *at = arena_alloc(&arena, bytes);
        cr_assert_not_null(at);
        cr_expect_eq((uintptr_t)at % 8, 0);
        memset(at, 1, bytes);
        cr_expect_neq(at, last);
        last = at;
    }
    arena_free(&arena);
}

Test(arena, copies_are_terminated_and_the_absent_stays_absent)
{
    struct arena arena = ARENA_EMPTY;
    struct text copy = arena_copy(&arena, (struct text){"abc", 2});
    cr_expect_str_eq(copy.at, "ab");
    cr_expect_not(text_given(arena_copy(&arena, TEXT_ABSENT)));
    cr_expect(text_given(arena_copy(&arena, TEXT(""))));
    struct text formatted = arena_format(&arena, "%d-%s", 7, "x");
    cr_expect(text_equal(formatted, TEXT("7-x")));
    arena_free(&arena);
}
