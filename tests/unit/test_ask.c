/* What members ask of each other comes back as it was written, and no other bytes do. */
#include "service/cluster/ask.h"

#include <criterion/criterion.h>

static struct report_group groups[] = {
    {.partition = 0, .settled = true, .caught_up_count = 2, .caught_up = {7, UINT64_MAX}},
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

Test(ask, a_command_comes_back_as_it_was_written)
{
    struct arena arena = ARENA_EMPTY;
    struct ask back;
    struct ask ask = {.kind = ASK_COMMAND, .command = {PARTITIONS_MAX - 1, TEXT("\1bytes")}};
    struct text bytes = ask_encode(&ask, &arena);
    cr_assert(ask_decode(bytes, &arena, &back));
    cr_expect_eq(back.kind, ASK_COMMAND);
    cr_expect_eq(back.command.partition, PARTITIONS_MAX - 1);
    cr_expect(text_equal(back.command.bytes, ask.command.bytes));
    ask.command.bytes = TEXT("");
    cr_expect_not(ask_decode(ask_encode(&ask, &arena), &arena, &back), "there is no command");
    ask.command = (struct ask_command){PARTITIONS_MAX, TEXT("x")};
    cr_expect_not(ask_decode(ask_encode(&ask, &arena), &arena, &back),
                  "there is no such partition");
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
    struct answer answer = {ANSWER_DONE, TEXT("a table"), TEXT("a seed"), TEXT_ABSENT}, back;
    struct text bytes = answer_encode(&answer, &arena);
    cr_assert(answer_decode(bytes, &back));
    cr_expect_eq(back.kind, ANSWER_DONE);
    cr_expect(text_equal(back.table, answer.table));
    cr_expect(text_equal(back.seed, answer.seed));
    cr_expect_not(text_given(back.words));
    for (size_t len = 0; len < bytes.len; len++) {
        cr_expect_not(answer_decode((struct text){bytes.at, len}, &back));
    }
    arena_free(&arena);
}
