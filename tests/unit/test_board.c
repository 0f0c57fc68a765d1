/* The board: what members agree on is the same on each, survives, and is taken over whole. */
#include "service/cluster/board.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OURS = 11, OTHERS = 22 };

struct stage {
    struct board *board;
    struct replica_machine machine;
    struct arena arena;
    char path[64];
};

static void open_board(struct stage *s)
{
    char why[256];
    s->board = board_open(s->path, why);
    cr_assert_not_null(s->board, "%s", why);
    s->machine = board_machine(s->board);
}

static void stage_open(struct stage *s)
{
    *s = (struct stage){.arena = ARENA_EMPTY};
    strcpy(s->path, "/tmp/ringhold-board-XXXXXX");
    int fd = mkstemp(s->path);
    cr_assert_geq(fd, 0);
    close(fd);
    unlink(s->path);
    open_board(s);
}

static void stage_close(struct stage *s)
{
    board_close(s->board);
    unlink(s->path);
    arena_free(&s->arena);
}

static struct member_facts facts_of(const char *name, const char *peer)
{
    struct member_facts facts = {.weight = 1};
    strcpy(facts.name, name);
    strcpy(facts.url, "http://127.0.0.1:1");
    strcpy(facts.peer, peer);
    return facts;
}

static void apply(struct stage *s, struct text entry, uint64_t index)
{
    cr_assert(s->machine.apply(s->machine.context, entry, index, 1, NULL, false));
}

static void found(struct stage *s)
{
    static const unsigned char UUID[CLUSTER_UUID_BYTES] = {1};
    struct table *table = arena_alloc(&s->arena, sizeof *table);
    struct member_facts facts = facts_of("n1", "127.0.0.1:2");
    table_found(UUID, 4, 3, OURS, &facts, table);
    apply(s, board_founding(table, &s->arena), 2);
}

static void join(struct stage *s, uint64_t epoch, uint64_t index)
{
    struct step step = {.kind = STEP_JOIN,
                        .epoch = epoch,
                        .member = OTHERS,
                        .facts = facts_of("n2", "127.0.0.1:3")};
    apply(s, board_step(&step, &s->arena), index);
}

Test(board, is_empty_until_the_cluster_is_founded)
{
    struct stage s;
    stage_open(&s);
    cr_expect_eq(board_epoch(s.board), 0);
    join(&s, 1, 1);
    cr_expect_not_null(board_refusal(s.board));
    found(&s);
    cr_expect_null(board_refusal(s.board));
    cr_expect_eq(board_epoch(s.board), 1);
    stage_close(&s);
}

Test(board, a_step_makes_the_next_table_and_a_second_founding_none)
{
    struct stage s;
    struct table *table = malloc(sizeof *table);
    stage_open(&s);
    found(&s);
    join(&s, 1, 3);
    cr_expect_eq(board_epoch(s.board), 2);
    found(&s);
    cr_expect_not_null(board_refusal(s.board));
    cr_expect_eq(board_epoch(s.board), 2);
    cr_assert(board_copy(s.board, table));
    cr_expect_eq(table->member_count, 2);
    free(table);
    stage_close(&s);
}

Test(board, survives_with_the_index_of_its_last_entry)
{
    struct stage s;
    uint64_t index, term;
    stage_open(&s);
    found(&s);
    join(&s, 1, 9);
    cr_expect(s.machine.sync(s.machine.context));
    board_close(s.board);
    open_board(&s);
    cr_expect_eq(board_epoch(s.board), 2);
    s.machine.applied(s.machine.context, &index, &term);
    cr_expect_eq(index, 9);
    cr_expect_eq(term, 1);
    stage_close(&s);
}

Test(board, an_entry_that_cannot_be_stored_is_not_kept_and_may_come_again)
{
    struct stage s;
    char in_the_way[80];
    uint64_t index, term;
    stage_open(&s);
    found(&s);
    snprintf(in_the_way, sizeof in_the_way, "%s.tmp", s.path);
    cr_assert_eq(mkdir(in_the_way, 0700), 0);
    struct step step = {
        .kind = STEP_JOIN, .epoch = 1, .member = OTHERS, .facts = facts_of("n2", "127.0.0.1:3")};
    struct text entry = board_step(&step, &s.arena);
    cr_expect_not(s.machine.apply(s.machine.context, entry, 3, 1, NULL, false));
    cr_expect_eq(board_epoch(s.board), 1);
    s.machine.applied(s.machine.context, &index, &term);
    cr_expect_eq(index, 2);
    rmdir(in_the_way);
    apply(&s, entry, 3);
    cr_expect_eq(board_epoch(s.board), 2);
    stage_close(&s);
}

Test(board, an_image_is_taken_over_when_it_is_newer_and_only_then)
{
    struct stage ahead, behind;
    void *bytes;
    size_t count;
    stage_open(&ahead);
    stage_open(&behind);
    found(&ahead);
    found(&behind);
    cr_assert(behind.machine.image(behind.machine.context, &bytes, &count));
    struct text old = {bytes, count};
    join(&ahead, 1, 5);
    cr_expect(ahead.machine.install(ahead.machine.context, old));
    cr_expect_eq(board_epoch(ahead.board), 2);
    free(bytes);
    cr_assert(ahead.machine.image(ahead.machine.context, &bytes, &count));
    cr_expect(behind.machine.install(behind.machine.context, (struct text){bytes, count}));
    cr_expect_eq(board_epoch(behind.board), 2);
    free(bytes);
    stage_close(&ahead);
    stage_close(&behind);
}

Test(board, an_image_that_cannot_be_stored_is_not_kept_either)
{
    struct stage ahead, behind;
    void *bytes;
    size_t count;
    uint64_t index, term;
    char in_the_way[80];
    stage_open(&ahead);
    stage_open(&behind);
    found(&ahead);
    found(&behind);
    join(&ahead, 1, 5);
    cr_assert(ahead.machine.image(ahead.machine.context, &bytes, &count));
    snprintf(in_the_way, sizeof in_the_way, "%s.tmp", behind.path);
    cr_assert_eq(mkdir(in_the_way, 0700), 0);
    cr_expect_not(behind.machine.install(behind.machine.context, (struct text){bytes, count}));
    cr_expect_eq(board_epoch(behind.board), 1);
    behind.machine.applied(behind.machine.context, &index, &term);
    cr_expect_eq(index, 2, "the file has not got further");
    cr_assert_eq(rmdir(in_the_way), 0);
    cr_expect(behind.machine.install(behind.machine.context, (struct text){bytes, count}));
    cr_expect_eq(board_epoch(behind.board), 2);
    free(bytes);
    stage_close(&ahead);
    stage_close(&behind);
}

Test(board, a_file_that_is_no_board_is_refused_in_a_sentence)
{
    struct stage s;
    char why[256] = "";
    stage_open(&s);
    board_close(s.board);
    FILE *file = fopen(s.path, "w");
    fputs("this is no table, and never was one", file);
    fclose(file);
    s.board = board_open(s.path, why);
    cr_expect_null(s.board);
    cr_expect_not_null(strstr(why, "cannot be read"));
    stage_close(&s);
}

Test(board, goes_on_with_another_table_once_the_others_are_lost)
{
    static const unsigned char UUID[CLUSTER_UUID_BYTES] = {2};
    struct stage s;
    stage_open(&s);
    found(&s);
    join(&s, 1, 3);
    struct table *before = arena_alloc(&s.arena, sizeof *before);
    struct table *after = arena_alloc(&s.arena, sizeof *after);
    cr_assert(board_copy(s.board, before));
    table_recover(before, UUID, OURS, after);
    apply(&s, board_recovered(after, &s.arena), 4);
    cr_expect_null(board_refusal(s.board));
    cr_assert(board_copy(s.board, before));
    cr_expect_eq(before->epoch, 3);
    cr_expect_eq(before->member_count, 1);
    cr_expect_arr_eq(before->uuid, UUID, sizeof UUID);
    apply(&s, board_recovered(after, &s.arena), 5);
    cr_expect_not_null(board_refusal(s.board), "the epoch does not go back");
    stage_close(&s);
}
