/* The Idempotency-Keys of requests that are being worked on. */
#include "service/inflight.h"

#include <criterion/criterion.h>

Test(inflight, a_key_is_noted_once_until_it_is_removed)
{
    struct inflight *inflight = inflight_make();
    struct inflight_note *first, *second, *other;
    cr_assert(inflight_add(inflight, TEXT("key"), &first));
    cr_expect_not(inflight_add(inflight, TEXT("key"), &second));
    cr_expect_null(second);
    cr_assert(inflight_add(inflight, TEXT("yek"), &other));
    inflight_remove(inflight, first);
    cr_expect(inflight_add(inflight, TEXT("key"), &second));
    inflight_remove(inflight, second);
    inflight_remove(inflight, other);
    inflight_remove(inflight, NULL);
    inflight_free(inflight);
}

/* A request that memory runs out for clears its arena, the hash in it too, before it is done with the note. */
Test(inflight, a_note_outlives_the_text_it_was_made_of)
{
    struct inflight *inflight = inflight_make();
    struct inflight_note *note, *again;
    char hash[] = "first";
    cr_assert(inflight_add(inflight, (struct text){hash, 5}, &note));
    memcpy(hash, "other", 5);
    cr_expect_not(inflight_add(inflight, TEXT("first"), &again));
    inflight_remove(inflight, note);
    cr_expect(inflight_add(inflight, TEXT("first"), &again));
    inflight_remove(inflight, again);
    inflight_free(inflight);
}
