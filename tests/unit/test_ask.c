/* What members ask of each other comes back as it was written, and no other bytes do. */
#include "service/cluster/ask.h"

#include <criterion/criterion.h>

static struct report_group groups[] = {
    {.partition = 0,
     .settled = true,
     .last = 90,
     .replica_count = 2,
     .replicas = {{7, 90, 0, 0}, {UINT64_MAX, 0, UINT64_MAX, 1}}},
    {.partition = PARTITIONS_MAX - 1, .settled = false},
};

static void comes_back(const struct ask *ask)
{
    struct arena arena = ARENA_EMPTY;
    struct ask back;
    struct text bytes = ask_encode(ask, &arena);
    cr_assert(ask_decode(bytes, &arena, &back));
    cr_expect_eq(back.kind, ask->kind);
    cr_expect(text_equal(ask_encode(&back, &arena), bytes));
    for (size_t len = 0; len < bytes.len; len++) {
        cr_expect_not(ask_decode((struct text){bytes.at, len}, &arena, &back), "%zu bytes", len);
    }
    arena_free(&arena);
}

Test(ask, a_step_comes_back_as_it_was_written)
{
    struct ask ask = {.kind = ASK_STEP, .step = {.kind = STEP_JOIN, .member = 42}};
    strcpy(ask.step.facts.name, "n1");
    strcpy(ask.step.facts.url, "http://10.0.0.1:7480");
    strcpy(ask.step.facts.peer, "10.0.0.1:7481");
    ask.step.facts.weight = 3;
    comes_back(&ask);
}

Test(ask, a_report_comes_back_as_it_was_written)
{
    struct ask ask = {.kind = ASK_REPORT,
                      .report = {.epoch = 9, .group_count = 2, .groups = groups}};
    comes_back(&ask);
    ask.report.group_count = 0;
    comes_back(&ask);
}

Test(ask, a_question_for_a_members_standing_comes_back_as_it_was_written)
{
    comes_back(&(struct ask){.kind = ASK_STANDING, .member = UINT64_MAX - 1});
}

Test(ask, a_question_for_the_pulse_is_nothing_but_that)
{
    struct arena arena = ARENA_EMPTY;
    struct ask ask = {.kind = ASK_PULSE};
    comes_back(&ask);
    struct text bytes = ask_encode(&ask, &arena);
    struct text longer = arena_format(&arena, "%.*s+", (int)bytes.len, bytes.at);
    cr_expect_eq(longer.len, bytes.len + 1);
    cr_expect_not(ask_decode(longer, &arena, &ask));
    arena_free(&arena);
}

Test(ask, a_watch_comes_back_as_it_was_written_and_has_no_more_to_say)
{
    struct arena arena = ARENA_EMPTY;
    struct ask ask = {.kind = ASK_WATCH};
    comes_back(&ask);
    struct text bytes = ask_encode(&ask, &arena);
    struct text longer = arena_format(&arena, "%.*s!", (int)bytes.len, bytes.at);
    cr_expect_not(ask_decode(longer, &arena, &ask));
    arena_free(&arena);
}

Test(ask, a_report_of_what_cannot_be_is_refused)
{
    struct arena arena = ARENA_EMPTY;
    struct ask ask = {.kind = ASK_REPORT,
                      .report = {.epoch = 9, .group_count = 1, .groups = groups}};
    struct text bytes = ask_encode(&ask, &arena);
    static const struct {
        size_t at;
        char value;
    } WRONG[] = {{0, 2}, {1, 9}, {10, 1}, {13, 2}, {14, 1}, {18, 2}, {19, SLOTS_MAX + 1}};
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        struct text copy = arena_copy(&arena, bytes);
        ((char *)(uintptr_t)copy.at)[WRONG[i].at] = WRONG[i].value;
        cr_expect_not(ask_decode(copy, &arena, &ask), "byte %zu", WRONG[i].at);
    }
    arena_free(&arena);
}

Test(ask, an_answer_comes_back_as_it_was_written)
{
    struct arena arena = ARENA_EMPTY;
    struct answer answer = {.kind = ANSWER_DONE,
                            .table = TEXT("a table"),
                            .seed = TEXT("a seed"),
                            .standing = {3, 1500, 1}},
                  back;
    struct text bytes = answer_encode(&answer, &arena);
    cr_assert(answer_decode(bytes, &back));
    cr_expect_eq(back.kind, ANSWER_DONE);
    cr_expect(text_equal(back.table, answer.table));
    cr_expect(text_equal(back.seed, answer.seed));
    cr_expect_not(text_given(back.words));
    cr_expect_eq(back.standing.held, 3);
    cr_expect_eq(back.standing.copied, 1500);
    cr_expect_eq(back.standing.stuck, 1);
    for (size_t len = 0; len < bytes.len; len++) {
        cr_expect_not(answer_decode((struct text){bytes.at, len}, &back));
    }
    arena_free(&arena);
}
