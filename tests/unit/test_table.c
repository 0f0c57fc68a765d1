/* The table: what may stand in it, and its encoding. */
#include "service/cluster/codec.h"
#include "tests/unit/cluster_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* Members 1 to 5 of weight 100, 16 partitions with 3 replicas each, settled. */
static struct world *settled(void)
{
    struct world *w = world_make(16, 3, 1);
    for (uint64_t id = 2; id <= 5; id++) {
        world_join(w, id, 100);
    }
    world_settle(w);
    return w;
}

/* ---- checking ----------------------------------------------------------------------------------------------------- */

Test(table, a_new_cluster_is_one_active_member_that_votes_and_leads_everywhere)
{
    struct world *w = world_make(64, 5, 1);
    cr_assert_null(table_check(&w->table));
    cr_expect_eq(w->table.epoch, 1);
    cr_expect_eq(w->table.members[0].state, MEMBER_ACTIVE);
    cr_expect_eq(world_load(w, 1), 64);
    cr_expect_eq(world_leads(w, 1), 64);
    world_free(w);
}

Test(table, members_are_found_by_their_ids_and_others_are_not)
{
    struct world *w = settled();
    for (unsigned id = 1; id <= 5; id++) {
        cr_expect_eq(table_find(&w->table, id), (int)id - 1);
    }
    cr_expect_eq(table_find(&w->table, 0), -1);
    cr_expect_eq(table_find(&w->table, 6), -1);
    cr_expect_eq(table_find(&w->table, UINT64_MAX), -1);
    world_free(w);
}

static void epoch_none(struct table *t)
{
    t->epoch = 0;
}
static void epoch_past_53_bits(struct table *t)
{
    t->epoch = (uint64_t)VERSION_MAX + 1;
}
static void partitions_none(struct table *t)
{
    t->partition_count = 0;
}
static void partitions_not_a_power_of_two(struct table *t)
{
    t->partition_count = 12;
}
static void partitions_too_many(struct table *t)
{
    t->partition_count = 2 * PARTITIONS_MAX;
}
static void replicas_none(struct table *t)
{
    t->replica_count = 0;
}
static void replicas_too_many(struct table *t)
{
    t->replica_count = REPLICAS_MAX + 1;
}
static void members_none(struct table *t)
{
    t->member_count = 0;
}
static void members_too_many(struct table *t)
{
    t->member_count = MEMBERS_MAX + 1;
}
static void member_zero(struct table *t)
{
    t->members[0].id = 0;
}
static void members_out_of_order(struct table *t)
{
    t->members[1].id = 9;
}
static void member_twice(struct table *t)
{
    t->members[1].id = 1;
}
static void member_in_no_state(struct table *t)
{
    t->members[1].state = MEMBER_STATES;
}
static void member_from_the_future(struct table *t)
{
    t->members[1].changed = t->epoch + 1;
}
static void member_never_changed(struct table *t)
{
    t->members[1].changed = 0;
}
static void name_empty(struct table *t)
{
    t->members[1].facts.name[0] = '\0';
}
static void name_with_a_slash(struct table *t)
{
    strcpy(t->members[1].facts.name, "a/b");
}
static void name_without_end(struct table *t)
{
    memset(t->members[1].facts.name, 'a', sizeof t->members[1].facts.name);
}
static void name_twice(struct table *t)
{
    strcpy(t->members[1].facts.name, t->members[0].facts.name);
}
static void peer_twice(struct table *t)
{
    strcpy(t->members[1].facts.peer, t->members[0].facts.peer);
}
static void url_empty(struct table *t)
{
    t->members[1].facts.url[0] = '\0';
}
static void url_with_a_line_feed(struct table *t)
{
    strcpy(t->members[1].facts.url, "http://a\nb");
}
static void peer_without_end(struct table *t)
{
    memset(t->members[1].facts.peer, 'a', sizeof t->members[1].facts.peer);
}
static void weight_none(struct table *t)
{
    t->members[1].facts.weight = 0;
}
static void weight_too_much(struct table *t)
{
    t->members[1].facts.weight = MEMBER_WEIGHT_MAX + 1;
}
static void everybody_leaves(struct table *t)
{
    for (unsigned i = 0; i < t->member_count; i++) {
        t->members[i].state = MEMBER_LEAVING;
    }
}
static void no_replica(struct table *t)
{
    t->partitions[7].slot_count = 0;
}
static void two_replicas_too_many(struct table *t)
{
    struct table_partition *p = &t->partitions[7];
    p->slot_count = 5;
    for (unsigned i = 0; i < 5; i++) {
        p->slots[i] = (struct slot){i + 1, SLOT_VOTER};
    }
    p->leader = 1;
}
static void replica_of_a_stranger(struct table *t)
{
    t->partitions[7].slots[2].member = 77;
}
static void replica_of_a_joining_member(struct table *t)
{
    t->members[table_find(t, t->partitions[7].slots[0].member)].state = MEMBER_JOINING;
}
static void replicas_out_of_order(struct table *t)
{
    struct slot first = t->partitions[7].slots[0];
    t->partitions[7].slots[0] = t->partitions[7].slots[1];
    t->partitions[7].slots[1] = first;
}
static void member_twice_in_a_partition(struct table *t)
{
    t->partitions[7].slots[1] = t->partitions[7].slots[0];
}
static void replica_in_no_role(struct table *t)
{
    t->partitions[7].slots[1].role = SLOT_ROLES;
}
static void two_that_are_no_voters(struct table *t)
{
    struct table_partition *p = &t->partitions[7];
    p->leader = p->slots[0].member;
    p->slots[1].role = SLOT_LEARNER;
    p->slots[2].role = SLOT_RETIRING;
}
static void leader_that_is_a_learner(struct table *t)
{
    struct table_partition *p = &t->partitions[7];
    p->leader = p->slots[0].member;
    p->slots[0].role = SLOT_LEARNER;
}
static void leader_elsewhere(struct table *t)
{
    t->partitions[7].leader = 77;
}
static void partition_from_the_future(struct table *t)
{
    t->partitions[7].changed = t->epoch + 1;
}

#define WRONG(change, words) {#change, change, words}
static const struct wrong {
    const char *name;
    void (*change)(struct table *t);
    const char *words;
} WRONGS[] = {
    WRONG(epoch_none, "epoch"),
    WRONG(epoch_past_53_bits, "epoch"),
    WRONG(partitions_none, "power of two"),
    WRONG(partitions_not_a_power_of_two, "power of two"),
    WRONG(partitions_too_many, "power of two"),
    WRONG(replicas_none, "replicas"),
    WRONG(replicas_too_many, "replicas"),
    WRONG(members_none, "members"),
    WRONG(members_too_many, "members"),
    WRONG(member_zero, "ids"),
    WRONG(members_out_of_order, "ids"),
    WRONG(member_twice, "ids"),
    WRONG(member_in_no_state, "state"),
    WRONG(member_from_the_future, "after the table's epoch"),
    WRONG(member_never_changed, "after the table's epoch"),
    WRONG(name_empty, "name"),
    WRONG(name_with_a_slash, "name"),
    WRONG(name_without_end, "name"),
    WRONG(name_twice, "one name"),
    WRONG(peer_twice, "one peer address"),
    WRONG(url_empty, "address"),
    WRONG(url_with_a_line_feed, "address"),
    WRONG(peer_without_end, "address"),
    WRONG(weight_none, "weight"),
    WRONG(weight_too_much, "weight"),
    WRONG(everybody_leaves, "active or down"),
    WRONG(no_replica, "no replica"),
    WRONG(two_replicas_too_many, "too many"),
    WRONG(replica_of_a_stranger, "unknown"),
    WRONG(replica_of_a_joining_member, "joining"),
    WRONG(replicas_out_of_order, "order"),
    WRONG(member_twice_in_a_partition, "order"),
    WRONG(replica_in_no_role, "role"),
    WRONG(two_that_are_no_voters, "no voter"),
    WRONG(leader_that_is_a_learner, "leader"),
    WRONG(leader_elsewhere, "leader"),
    WRONG(partition_from_the_future, "after the table's epoch"),
};

Test(table, each_way_to_be_wrong_is_told_in_a_sentence)
{
    struct world *w = settled();
    struct table *copy = malloc(sizeof *copy);
    for (size_t i = 0; i < sizeof WRONGS / sizeof WRONGS[0]; i++) {
        *copy = w->table;
        cr_assert_null(table_check(copy));
        WRONGS[i].change(copy);
        const char *wrong = table_check(copy);
        cr_assert_not_null(wrong, "%s passes", WRONGS[i].name);
        cr_expect(strstr(wrong, WRONGS[i].words) != NULL, "%s: %s", WRONGS[i].name, wrong);
        cr_expect_eq(wrong[strlen(wrong) - 1], '.', "%s", wrong);
    }
    free(copy);
    world_free(w);
}

Test(table, who_leaves_may_share_name_and_address_with_who_comes_instead)
{
    struct world *w = settled();
    w->table.members[1].facts = w->table.members[0].facts;
    cr_expect_not_null(table_check(&w->table));
    w->table.members[1].state = MEMBER_LEAVING;
    cr_expect_null(table_check(&w->table));
    world_free(w);
}

/* ---- encoding ----------------------------------------------------------------------------------------------------- */

/* Through the encoding and back; the bytes stand at the very end of their memory. */
static void expect_to_survive(const struct table *table, struct arena *arena)
{
    struct text bytes = table_encode(table, arena);
    cr_assert(text_given(bytes));
    char *exact = malloc(bytes.len);
    memcpy(exact, bytes.at, bytes.len);
    struct table *back = table_decode((struct text){exact, bytes.len}, arena);
    cr_assert_not_null(back);
    cr_expect(text_equal(table_encode(back, arena), bytes));
    cr_expect_eq(back->epoch, table->epoch);
    cr_expect_arr_eq(back->uuid, table->uuid, sizeof table->uuid);
    cr_expect_eq(back->member_count, table->member_count);
    cr_expect_arr_eq(back->members, table->members, sizeof table->members);
    cr_expect_arr_eq(back->partitions, table->partitions, sizeof table->partitions);
    free(exact);
}

Test(table, a_table_comes_back_from_its_encoding_at_every_step_of_its_life)
{
    struct arena arena = ARENA_EMPTY;
    struct world *w = world_make(16, 3, 1);
    w->limits.moves = 3;
    for (uint64_t id = 2; id <= 5; id++) {
        world_join(w, id * UINT64_C(0x9e3779b97f4a7c15), (unsigned)id * 50);
        expect_to_survive(&w->table, &arena);
    }
    while (world_step(w) > 0) {
        expect_to_survive(&w->table, &arena);
        arena_clear(&arena);
    }
    world_apply(w, STEP_LEAVE, 0, 1);
    while (world_step(w) > 0) {
        expect_to_survive(&w->table, &arena);
        arena_clear(&arena);
    }
    arena_free(&arena);
    world_free(w);
}

/* Everything where it should be, without the steps in between. */
static void jump_to_target(struct table *table)
{
    static struct placement_target target;
    placement_target(table, 0, &target);
    for (unsigned p = 0; p < table->partition_count; p++) {
        struct table_partition *partition = &table->partitions[p];
        partition->slot_count = 0;
        for (member_set left = target.replicas[p]; left != 0; left = members_rest(left)) {
            partition->slots[partition->slot_count++] =
                (struct slot){table->members[members_first(left)].id, SLOT_VOTER};
        }
        partition->leader = table->members[target.leader[p]].id;
        partition->changed = table->epoch;
    }
}

Test(table, the_largest_table_fits_a_message)
{
    struct arena arena = ARENA_EMPTY;
    struct world *w = world_make(PARTITIONS_MAX, REPLICAS_MAX, 1);
    for (uint64_t id = 2; id <= MEMBERS_MAX; id++) {
        world_join(w, id << 50, 1);
        world_apply(w, STEP_UP, 0, id << 50);
    }
    jump_to_target(&w->table);
    cr_assert_null(table_check(&w->table));
    expect_to_survive(&w->table, &arena);
    cr_expect_leq(table_encode(&w->table, &arena).len, 32768);
    cr_expect_eq(world_step(w), 0, "where everything is in its place nothing is proposed");
    arena_free(&arena);
    world_free(w);
}

Test(table, cut_or_lengthened_bytes_are_no_table)
{
    struct arena arena = ARENA_EMPTY, kept = ARENA_EMPTY;
    struct world *w = settled();
    struct text bytes = table_encode(&w->table, &kept);
    char *more = calloc(1, bytes.len + 1);
    memcpy(more, bytes.at, bytes.len);
    cr_expect_null(table_decode((struct text){more, bytes.len + 1}, &arena));
    for (size_t len = 0; len < bytes.len; len++) {
        char *exact = malloc(len + (len == 0));
        memcpy(exact, bytes.at, len);
        cr_expect_null(table_decode((struct text){exact, len}, &arena), "of %zu bytes", len);
        free(exact);
        arena_clear(&arena);
    }
    cr_expect_null(table_decode(TEXT_ABSENT, &arena));
    free(more);
    arena_free(&arena);
    arena_free(&kept);
    world_free(w);
}

Test(table, changed_bytes_are_no_table_or_another_with_that_very_encoding)
{
    struct arena arena = ARENA_EMPTY, kept = ARENA_EMPTY;
    struct world *w = settled();
    struct text bytes = table_encode(&w->table, &kept);
    char *changed = malloc(bytes.len);
    unsigned good = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            memcpy(changed, bytes.at, bytes.len);
            changed[i] = (char)(changed[i] ^ 1 << bit);
            struct text input = {changed, bytes.len};
            struct table *table = table_decode(input, &arena);
            if (table != NULL) {
                good++;
                cr_expect_null(table_check(table));
                cr_expect(text_equal(table_encode(table, &arena), input), "byte %zu", i);
            }
            arena_clear(&arena);
        }
    }
    cr_expect_gt(good, 0, "the UUID may be any");
    free(changed);
    arena_free(&arena);
    arena_free(&kept);
    world_free(w);
}

Test(table, a_number_in_more_bytes_than_it_needs_is_refused)
{
    struct arena arena = ARENA_EMPTY;
    struct world *w = world_make(1, 1, 1);
    struct text bytes = table_encode(&w->table, &arena);
    char *longer = malloc(bytes.len + 1);
    size_t epoch_at = 1 + CLUSTER_UUID_BYTES;
    memcpy(longer, bytes.at, epoch_at);
    longer[epoch_at] = (char)0x81; /* 1, and that more follows: nothing */
    longer[epoch_at + 1] = 0;
    memcpy(longer + epoch_at + 2, bytes.at + epoch_at + 1, bytes.len - epoch_at - 1);
    cr_assert_eq(bytes.at[epoch_at], 1);
    cr_expect_null(table_decode((struct text){longer, bytes.len + 1}, &arena));
    free(longer);
    arena_free(&arena);
    world_free(w);
}

/* ---- steps -------------------------------------------------------------------------------------------------------- */

static struct step step_of(enum step_kind kind)
{
    struct step step = {.kind = kind, .epoch = 300 + kind, .member = UINT64_MAX - kind};
    if (step_has_facts(kind)) {
        step.facts = facts_of(7, 1000);
    }
    if (step_has_partition(kind)) {
        step.partition = PARTITIONS_MAX - 1;
    }
    return step;
}

Test(table, a_step_of_each_kind_comes_back_from_its_encoding)
{
    struct arena arena = ARENA_EMPTY;
    for (int kind = 0; kind < STEP_KINDS; kind++) {
        struct step step = step_of((enum step_kind)kind), back;
        struct text bytes = step_encode(&step, &arena);
        memset(&back, 0, sizeof back);
        cr_assert(step_decode(bytes, &back), "%s", step_kind_name(step.kind));
        cr_expect_eq(back.kind, step.kind);
        cr_expect_eq(back.epoch, step.epoch);
        cr_expect_eq(back.member, step.member);
        cr_expect_eq(back.partition, step.partition);
        cr_expect_arr_eq(&back.facts, &step.facts, sizeof step.facts);
    }
    arena_free(&arena);
}

Test(table, cut_lengthened_or_false_bytes_are_no_step)
{
    struct arena arena = ARENA_EMPTY;
    for (int kind = 0; kind < STEP_KINDS; kind++) {
        struct step step = step_of((enum step_kind)kind), back = {.epoch = 42};
        struct text bytes = step_encode(&step, &arena);
        char *more = calloc(1, bytes.len + 1);
        memcpy(more, bytes.at, bytes.len);
        cr_expect_not(step_decode((struct text){more, bytes.len + 1}, &back));
        for (size_t len = 0; len < bytes.len; len++) {
            cr_expect_not(step_decode((struct text){more, len}, &back));
        }
        more[0]++;
        cr_expect_not(step_decode((struct text){more, bytes.len}, &back), "of another version");
        more[0]--;
        more[1] = STEP_KINDS;
        cr_expect_not(step_decode((struct text){more, bytes.len}, &back), "of another kind");
        cr_expect_eq(back.epoch, 42, "a failure leaves the output alone");
        free(more);
    }
    struct step step = step_of(STEP_JOIN);
    step.facts.weight = 0;
    cr_expect_not(step_decode(step_encode(&step, &arena), &step), "facts that nobody may say");
    arena_free(&arena);
}
