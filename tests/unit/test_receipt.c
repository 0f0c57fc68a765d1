/* Receipts: what is made can be read again, and nothing else. */
#include "handlers/receipt.h"

#include <criterion/criterion.h>
#include <stdint.h>

static const struct text SECRET = {"0123456789abcdef0123456789abcdef", 32};

static struct text make(struct arena *arena, struct receipt receipt)
{
    return receipt_make(arena, SECRET, TEXT("jobs"), &receipt);
}

Test(receipt, what_was_made_can_be_read_again)
{
    struct arena arena = ARENA_EMPTY;
    static const struct receipt CASES[] = {
        {0, 1, 1}, {0, 1042, 41}, {65535, (INT64_C(1) << 40) - 1, (INT64_C(1) << 53) - 1}};
    for (size_t i = 0; i < 3; i++) {
        struct receipt back;
        struct text text = make(&arena, CASES[i]);
        cr_assert(receipt_read(&arena, SECRET, TEXT("jobs"), text, &back));
        cr_expect_eq(back.partition, CASES[i].partition);
        cr_expect_eq(back.message, CASES[i].message);
        cr_expect_eq(back.fence, CASES[i].fence);
    }
    arena_free(&arena);
}

Test(receipt, begins_as_the_contract_shows_it)
{
    struct arena arena = ARENA_EMPTY;
    struct text text = make(&arena, (struct receipt){0, 1042, 41});
    cr_assert_eq(text.len, 42);
    cr_expect_arr_eq(text.at, "r1.AAAAAAAABBIAAAAAAAAAKQ.", 26);
    arena_free(&arena);
}

Test(receipt, a_change_of_any_byte_makes_it_none)
{
    struct arena arena = ARENA_EMPTY;
    struct receipt back;
    struct text text = make(&arena, (struct receipt){0, 1042, 41});
    char *bytes = arena_alloc(&arena, text.len);
    for (size_t i = 0; i < text.len; i++) {
        for (int other = 0; other < 256; other++) {
            memcpy(bytes, text.at, text.len);
            if ((char)other != bytes[i]) {
                bytes[i] = (char)other;
                cr_expect_not(receipt_read(&arena, SECRET, TEXT("jobs"),
                                           (struct text){bytes, text.len}, &back),
                              "byte %zu as %d", i, other);
            }
        }
    }
    arena_free(&arena);
}

Test(receipt, of_another_length_queue_or_store_is_none)
{
    struct arena arena = ARENA_EMPTY;
    struct receipt back;
    struct text text = make(&arena, (struct receipt){0, 1042, 41});
    for (size_t len = 0; len < text.len; len++) {
        cr_expect_not(
            receipt_read(&arena, SECRET, TEXT("jobs"), (struct text){text.at, len}, &back));
    }
    struct text longer = arena_format(&arena, "%.*sA", (int)text.len, text.at);
    cr_expect_not(receipt_read(&arena, SECRET, TEXT("jobs"), longer, &back));
    cr_expect_not(receipt_read(&arena, SECRET, TEXT("job"), text, &back));
    cr_expect_not(receipt_read(&arena, TEXT("another"), TEXT("jobs"), text, &back));
    cr_expect_not(receipt_read(&arena, SECRET, TEXT("jobs"), TEXT_ABSENT, &back));
    arena_free(&arena);
}
