/* What a member decides by the table, row by row. */
#include "service/cluster/steering.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char ROLES[] = "-psv"; /* outside, spare, stand-by, voter: enum replica_role */
static const char *const CHANGES[] = {"add", "promote", "demote", "remove"};

/* A group's members by letters: "vvs" is nodes 1 and 2 as voters, 3 as a stand-by; '-' is none. */
static int group_of(const char *roles, struct replica_member ret[REPLICA_MEMBERS_MAX])
{
    int count = 0;
    for (unsigned i = 0; roles[i] != '\0'; i++) {
        enum replica_role role = (enum replica_role)(strchr(ROLES, roles[i]) - ROLES);
        if (role != REPLICA_OUTSIDE) {
            ret[count++] = (struct replica_member){.node = i + 1, .role = role};
        }
    }
    return count;
}

/* A table's members by letters: a(ctive), d(own), j(oining), l(eaving), '-' not in it. */
static struct table *table_of(const char *states)
{
    static const char STATES[] = "jadl"; /* enum member_state */
    struct table *table = calloc(1, sizeof *table);
    for (unsigned i = 0; states[i] != '\0'; i++) {
        if (states[i] != '-') {
            enum member_state state = (enum member_state)(strchr(STATES, states[i]) - STATES);
            table->members[table->member_count++] = (struct member){.id = i + 1, .state = state};
        }
    }
    return table;
}

/* "promote 3", or "nothing". */
static void say(bool any, struct wanted wanted, char ret[32])
{
    snprintf(ret, 32, "nothing");
    if (any) {
        snprintf(ret, 32, "%s %u", CHANGES[wanted.change], (unsigned)wanted.node);
    }
}

/* ---- group 0 ------------------------------------------------------------------------------------------------------ */

Test(steering, the_next_change_of_group_0)
{
    static const struct {
        const char *table, *group, *next;
    } ROWS[] = {
        /* it grows with the cluster: 1, 3, 5 vote, the others stand by */
        {"a", "v", "nothing"},
        {"aa", "v-", "add 2"},
        {"aa", "vs", "nothing"},
        {"aj", "v-", "add 2"},
        {"aaa", "vs-", "promote 2"},
        {"aaa", "vv-", "add 3"},
        {"aaa", "vvs", "promote 3"},
        {"aaa", "vvv", "nothing"},
        {"aaaa", "vvvs", "nothing"},
        {"aaaaa", "vvvss", "promote 4"},
        {"aaaaaa", "vvvvvs", "nothing"},
        {"aaaaaa", "vvvvvp", "add 6"}, /* to be made a stand-by */
        /* who joins does not vote yet */
        {"aaj", "vvs", "nothing"},
        {"aajj", "vvs-", "add 4"},
        /* who is down votes on where nobody can take its place */
        {"aad", "vvv", "nothing"},
        {"daa", "vvv", "nothing"},
        {"add", "vvv", "nothing"},
        {"aadj", "vvvs", "nothing"},
        {"aaadd", "vvvvv", "nothing"},
        {"dddaa", "vvvvv", "nothing"},
        /* and otherwise until somebody has */
        {"aada", "vvvs", "promote 4"},
        {"aada", "vvvv", "demote 3"},
        {"aada", "vvsv", "nothing"},
        {"aaddaa", "vvvvvs", "promote 6"},
        {"aaddaa", "vvvvvv", "demote 4"},
        /* who comes back only stands by, if its place is taken */
        {"aaaa", "vvsv", "nothing"},
        /* who was down and did not vote is not made to */
        {"aad", "vvs", "nothing"},
        /* who leaves does not vote, and who has left is removed */
        {"aaal", "vvvv", "demote 4"},
        {"aal", "vvv", "demote 3"},
        {"aal", "vvs", "demote 2"},
        {"laa", "vvv", "demote 1"}, /* it may be dead, and then two that live must agree on it */
        {"laa", "svv", "demote 3"},
        {"aa-", "vsv", "demote 3"},
        {"aa-", "vss", "remove 3"},
        {"aa-", "vsp", "nothing"},
        /* the cluster shrinks below what votes: the last of the table go first */
        {"aaaa", "vvvvv", "demote 5"},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct table *table = table_of(ROWS[i].table);
        struct replica_member members[REPLICA_MEMBERS_MAX];
        struct wanted wanted = {0};
        char said[32];
        int count = group_of(ROWS[i].group, members);
        say(steering_council(table, members, count, &wanted), wanted, said);
        cr_expect_str_eq(said, ROWS[i].next, "members %s, group %s: %s, not %s", ROWS[i].table,
                         ROWS[i].group, said, ROWS[i].next);
        free(table);
    }
}

/* ---- a partition's group ------------------------------------------------------------------------------------------ */

/* Slots by letters: L(earner), V(oter), R(etiring), '-' none. */
static struct table_partition partition_of(const char *slots)
{
    static const char SLOTS[] = "LVR"; /* enum slot_role */
    struct table_partition partition = {0};
    for (unsigned i = 0; slots[i] != '\0'; i++) {
        if (slots[i] != '-') {
            enum slot_role role = (enum slot_role)(strchr(SLOTS, slots[i]) - SLOTS);
            partition.slots[partition.slot_count++] = (struct slot){i + 1, role};
        }
    }
    return partition;
}

Test(steering, the_next_change_of_a_partitions_group)
{
    static const struct {
        const char *slots, *group, *next;
    } ROWS[] = {
        {"V", "v", "nothing"},
        {"VL", "v-", "add 2"},
        {"VL", "vp", "add 2"},
        {"VL", "vs", "nothing"},
        {"VV", "vs", "promote 2"},
        {"VV", "v-", "add 2"}, /* nothing of the move was seen; it begins at its beginning */
        {"VV", "vv", "nothing"},
        {"RV", "vv", "demote 1"},
        {"RV", "sv", "nothing"},
        {"-V", "sv", "remove 1"},
        {"-V", "vv", "demote 1"},
        {"-V", "pv", "nothing"},
        {"VVV", "vvvs", "remove 4"},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct table_partition partition = partition_of(ROWS[i].slots);
        struct replica_member members[REPLICA_MEMBERS_MAX];
        struct wanted wanted = {0};
        char said[32];
        int count = group_of(ROWS[i].group, members);
        say(steering_group(&partition, members, count, &wanted), wanted, said);
        cr_expect_str_eq(said, ROWS[i].next, "slots %s, group %s: %s, not %s", ROWS[i].slots,
                         ROWS[i].group, said, ROWS[i].next);
    }
}

Test(steering, the_lead_goes_to_whom_the_table_prefers_when_it_is_there)
{
    static const struct {
        const char *table;
        uint64_t preferred, self, to;
    } ROWS[] = {
        {"aa", 2, 1, 2}, {"aa", 1, 1, 0}, {"ad", 2, 1, 0}, {"al", 2, 1, 0},
        {"aj", 2, 1, 0}, {"a-", 2, 1, 0}, {"da", 1, 1, 0}, {"da", 2, 1, 2},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct table *table = table_of(ROWS[i].table);
        struct table_partition partition = partition_of("VV");
        partition.leader = ROWS[i].preferred;
        cr_expect_eq(steering_leader(table, &partition, ROWS[i].self), ROWS[i].to, "row %zu", i);
        free(table);
    }
}

Test(steering, who_stops_hands_over_to_voters_that_are_there_and_have_the_log)
{
    static const struct {
        const char *table, *group;
        uint64_t match[4];
        uint64_t heirs[4]; /* of turns 0 to 3 */
    } ROWS[] = {
        {"aaa", "vvv", {90, 90, 90}, {2, 3, 2, 3}},
        {"daa", "vvv", {90, 90, 90}, {2, 3, 2, 3}},
        {"ada", "vvv", {90, 90, 90}, {3, 3, 3, 3}},
        {"aaj", "vvv", {90, 90, 90}, {2, 2, 2, 2}},
        {"aal", "vvv", {90, 90, 90}, {2, 2, 2, 2}},
        {"aa-", "vvv", {90, 90, 90}, {2, 2, 2, 2}},
        {"aaa", "vvs", {90, 90, 90}, {2, 2, 2, 2}},
        {"aaa", "vvv", {90, 58, 90}, {2, 3, 2, 3}},
        {"aaa", "vvv", {90, 57, 90}, {3, 3, 3, 3}},
        {"aaa", "vvv", {90, 90, 0}, {2, 2, 2, 2}},
        {"aaaa", "vvvv", {90, 90, 90, 90}, {2, 3, 4, 2}},
        {"add", "vvv", {90, 90, 90}, {0, 0, 0, 0}},
        {"a", "v", {90}, {0, 0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct table *table = table_of(ROWS[i].table);
        struct replica_member members[REPLICA_MEMBERS_MAX];
        int count = group_of(ROWS[i].group, members);
        for (int m = 0; m < count; m++) {
            members[m].match = ROWS[i].match[members[m].node - 1];
        }
        for (unsigned turn = 0; turn < 4; turn++) {
            cr_expect_eq(steering_heir(table, members, count, 1, turn), ROWS[i].heirs[turn],
                         "row %zu, turn %u", i, turn);
        }
        free(table);
    }
}

Test(steering, who_is_asked_is_up_if_anybody_is)
{
    static const struct {
        const char *table, *slots;
        uint64_t preferred, asked;
    } ROWS[] = {
        {"aaa", "VVV", 2, 2}, {"ada", "VVV", 2, 1}, {"dda", "VVV", 2, 3}, {"ddd", "VVV", 2, 2},
        {"daa", "VLV", 1, 3}, {"daa", "VRV", 1, 3}, {"d", "V", 1, 1},     {"aaa", "-VV", 3, 3},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct table *table = table_of(ROWS[i].table);
        struct table_partition partition = partition_of(ROWS[i].slots);
        partition.leader = ROWS[i].preferred;
        cr_expect_eq(steering_guess(table, &partition), ROWS[i].asked, "row %zu", i);
        free(table);
    }
}

/* ---- seats -------------------------------------------------------------------------------------------------------- */

Test(steering, a_seat_follows_the_table)
{
    /* Every state there is: ours, held, closing, stopped, rested, founding. */
    for (unsigned bits = 0; bits < 64; bits++) {
        struct seat_state seat = {.ours = (bits & 1) != 0,
                                  .held = (bits & 2) != 0,
                                  .closing = (bits & 4) != 0,
                                  .stopped = (bits & 8) != 0,
                                  .rested = (bits & 16) != 0,
                                  .founding = (bits & 32) != 0};
        enum seat_move move = steering_seat(seat);
        bool opens = move == SEAT_OPENS || move == SEAT_FOUNDS;
        bool ends = move == SEAT_CLOSES || move == SEAT_GOES;
        cr_expect(!seat.closing || move == SEAT_STAYS, "%u", bits);
        cr_expect_eq(ends, !seat.closing && seat.held && (!seat.ours || seat.stopped), "%u", bits);
        cr_expect_eq(move == SEAT_GOES, ends && !seat.ours, "%u", bits);
        cr_expect_eq(opens,
                     !seat.closing && !seat.held && seat.ours && (!seat.stopped || seat.rested),
                     "%u", bits);
        cr_expect_eq(move == SEAT_FOUNDS, opens && seat.founding, "%u", bits);
    }
}

Test(steering, a_group_is_founded_only_before_the_table_has_moved_anything_of_it)
{
    struct table_partition partition = partition_of("V");
    partition.changed = 1;
    cr_expect(steering_seat_of(&partition, 1).ours);
    cr_expect(steering_seat_of(&partition, 1).founding);
    cr_expect_not(steering_seat_of(&partition, 2).ours);
    partition.changed = 2;
    cr_expect_not(steering_seat_of(&partition, 1).founding);
    partition = partition_of("VV");
    partition.changed = 1;
    cr_expect_not(steering_seat_of(&partition, 1).founding);
    cr_expect(steering_seat_of(&partition, 2).ours);
}

/* ---- members ------------------------------------------------------------------------------------------------------ */

Test(steering, a_member_is_up_while_it_is_heard_of)
{
    enum { SILENT_MS = 3000, REPLACE_MS = 60000, MS = 1000 };
    struct presence presence = {.heard_us = 1000 * MS};
    cr_expect_eq(presence_judge(&presence, 3999 * MS, SILENT_MS, MEMBER_ACTIVE, REPLACE_MS),
                 PRESENCE_UP);
    cr_expect_eq(presence_judge(&presence, 4000 * MS, SILENT_MS, MEMBER_ACTIVE, REPLACE_MS),
                 PRESENCE_DOWN);
    cr_expect_eq(presence.down_us, 4000 * MS);
    /* long silent, but nobody has called it down yet */
    cr_expect_eq(presence_judge(&presence, 70000 * MS, SILENT_MS, MEMBER_ACTIVE, REPLACE_MS),
                 PRESENCE_DOWN);
    cr_expect_eq(presence_judge(&presence, 64000 * MS, SILENT_MS, MEMBER_DOWN, REPLACE_MS),
                 PRESENCE_DOWN);
    cr_expect_eq(presence_judge(&presence, 64001 * MS, SILENT_MS, MEMBER_DOWN, REPLACE_MS),
                 PRESENCE_OVERDUE);
    presence.heard_us = 64002 * MS;
    cr_expect_eq(presence_judge(&presence, 64003 * MS, SILENT_MS, MEMBER_DOWN, REPLACE_MS),
                 PRESENCE_UP);
    cr_expect_eq(presence.down_us, 0);
}

Test(steering, who_was_never_heard_of_is_down_from_when_it_was_looked_for)
{
    struct presence presence = {0};
    cr_expect_eq(presence_judge(&presence, 5000000, 3000, MEMBER_DOWN, 1000), PRESENCE_DOWN);
    cr_expect_eq(presence_judge(&presence, 6000000, 3000, MEMBER_DOWN, 1000), PRESENCE_DOWN);
    cr_expect_eq(presence_judge(&presence, 6000001, 3000, MEMBER_DOWN, 1000), PRESENCE_OVERDUE);
}

/* ---- leaders that are none any more ------------------------------------------------------------------------------- */

Test(steering, a_deposed_leader_is_waited_for_while_it_is_there)
{
    enum { SILENT_MS = 500, MAX_MS = 5500, MS = 1000 };
    struct former former = {1, 1000 * MS, 1000 * MS};
    cr_expect_not(former_is_gone(&former, 1499 * MS, SILENT_MS, MAX_MS));
    cr_expect(former_is_gone(&former, 1500 * MS, SILENT_MS, MAX_MS));
    former.heard_us = 1250 * MS;
    cr_expect_not(former_is_gone(&former, 1749 * MS, SILENT_MS, MAX_MS));
    cr_expect(former_is_gone(&former, 1750 * MS, SILENT_MS, MAX_MS));
    former.heard_us = 6400 * MS;
    cr_expect_not(former_is_gone(&former, 6499 * MS, SILENT_MS, MAX_MS));
    cr_expect(former_is_gone(&former, 6500 * MS, SILENT_MS, MAX_MS));
}
