/* Groups of replicas, each node with its disk, on the loopback: what is committed stays, whatever happens to a few. */
#include "tests/cluster/herd.h"

#include "db/limits.h"
#include "service/cluster/replica_state.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int other_than(const struct herd *herd, int node)
{
    return (node + 1) % herd->nodes;
}

Test(replica, one_alone_leads_and_commits)
{
    struct herd herd;
    herd_open(&herd, 1, 1, 1);
    herd_commit_many(&herd, 0, "alone", 10);
    cr_assert_eq(ledger_count(herd.node[0].ledger[0]), 10);
    herd_close(&herd);
}

Test(replica, three_apply_the_same_in_every_group)
{
    struct herd herd;
    herd_open(&herd, 3, 3, 4);
    for (int g = 0; g < herd.groups; g++) {
        herd_commit_many(&herd, g, "entry", 10);
    }
    for (int g = 0; g < herd.groups; g++) {
        herd_await_agreement(&herd, g);
        cr_assert_eq(ledger_count(herd.node[2].ledger[g]), 10);
    }
    herd_close(&herd);
}

Test(replica, a_follower_refuses_and_says_who_leads)
{
    struct herd herd;
    herd_open(&herd, 3, 3, 1);
    int leader = herd_await_leader(&herd, 0);
    int follower = other_than(&herd, leader);
    AWAIT(&herd.stage, replica_leader(herd.node[follower].replica[0]) == herd.node[leader].id);
    cr_assert_eq(herd_propose(&herd, follower, 0, TEXT("to the wrong one")), REPLICA_NOT_LEADER);
    cr_assert_gt(herd.node[leader].changes, 0);
    herd_close(&herd);
}

Test(replica, what_was_committed_outlives_its_leader)
{
    struct herd herd;
    herd_open(&herd, 3, 3, 1);
    for (int round = 0; round < 3; round++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "round %d", round);
        herd_commit_many(&herd, 0, prefix, 20);
        int leader = herd_await_leader(&herd, 0);
        herd_kill(&herd, leader);
        snprintf(prefix, sizeof prefix, "without %d", round);
        herd_commit_many(&herd, 0, prefix, 5);
        herd_start(&herd, leader);
    }
    herd_await_agreement(&herd, 0);
    for (int i = 0; i < 3; i++) {
        cr_assert(ledger_has(herd.node[i].ledger[0], "round 0 0"));
        cr_assert(ledger_has(herd.node[i].ledger[0], "without 2 4"));
        cr_assert_eq(ledger_count(herd.node[i].ledger[0]), 75);
    }
    herd_close(&herd);
}

Test(replica, a_dead_leader_is_replaced_in_time)
{
    struct herd herd;
    herd_open(&herd, 3, 3, 1);
    herd_commit(&herd, 0, "before");
    herd_kill(&herd, herd_await_leader(&herd, 0));
    uint64_t began = stage_now();
    herd_commit(&herd, 0, "after");
    uint64_t took = stage_now() - began;
    cr_log_info("without a leader for %llu ms", (unsigned long long)took);
    cr_assert_lt(took, 10000); /* a loaded machine; the election timeout is 300 ms here */
    herd_close(&herd);
}

/* Tells the others that the leader has ended, as often as who notices it would; true when they have another. */
static bool elected_without(struct herd *herd, int group, int leader)
{
    for (int n = 0; n < herd->nodes; n++) {
        if (n != leader) {
            replica_lost(herd->node[n].replica[group], herd->node[leader].id);
        }
    }
    return herd_leader(herd, group) != NOBODY;
}

Test(replica, a_leader_whose_process_has_ended_is_not_waited_for)
{
    enum { GROUPS = 5, FOR_EVER_MS = 20 * PATIENCE_MS };
    struct herd herd;
    herd_open(&herd, 3, 3, GROUPS);
    for (int g = 0; g < GROUPS; g++) {
        herd_commit(&herd, g, "before");
        int leader = herd_await_leader(&herd, g);
        for (int n = 0; n < 3; n++) {
            herd.node[n].replica[g]->raft.election_timeout = FOR_EVER_MS;
        }
        herd_close_replica(&herd, leader, g);
        uint64_t heard = stage_now() + 5 * REPLICA_LAST_WORDS_MS; /* what it had said before */
        AWAIT(&herd.stage, stage_now() >= heard);
        AWAIT(&herd.stage, elected_without(&herd, g, leader));
        herd_commit(&herd, g, "after");
    }
    herd_close(&herd);
}

Test(replica, all_start_again_with_what_they_had)
{
    struct herd herd;
    herd_open(&herd, 3, 3, 2);
    herd_commit_many(&herd, 1, "kept", 30);
    for (int i = 0; i < 3; i++) {
        herd_kill(&herd, i); /* their ledgers never were durable: all of it comes from the logs */
    }
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(ledger_count(herd.node[i].ledger[1]), 0);
        herd_start(&herd, i);
    }
    herd_commit(&herd, 1, "and more");
    herd_await_agreement(&herd, 1);
    cr_assert_eq(ledger_count(herd.node[0].ledger[1]), 31);
    herd_close(&herd);
}

Test(replica, without_a_majority_nothing_is_committed)
{
    struct herd herd;
    herd_open(&herd, 3, 3, 1);
    int leader = herd_await_leader(&herd, 0);
    herd_kill(&herd, other_than(&herd, leader));
    int last = 3 - leader - other_than(&herd, leader);
    herd_kill(&herd, last);
    enum replica_outcome outcome = herd_propose(&herd, leader, 0, TEXT("in vain"));
    cr_assert(outcome == REPLICA_UNKNOWN || outcome == REPLICA_NOT_LEADER, "%d", outcome);
    cr_assert(!ledger_has(herd.node[leader].ledger[0], "in vain"));
    herd_close(&herd);
}

/* ---- outcomes ----------------------------------------------------------------------------------------------------- */

struct outcomes {
    int told[16];
    int most;
};

struct moved {
    bool told, moved;
};

static void note_moved(void *context, bool moved)
{
    *(struct moved *)context = (struct moved){true, moved};
}

static void count_outcome(void *proposal, enum replica_outcome outcome)
{
    struct outcomes *outcomes = proposal;
    outcomes->told[outcome]++;
    outcomes->most = (int)outcome;
}

Test(replica, what_is_uncommitted_is_bounded)
{
    struct herd herd;
    struct outcomes outcomes = {.most = 0};
    herd_open(&herd, 3, 3, 1);
    int leader = herd_await_leader(&herd, 0);
    struct replica *replica = herd.node[leader].replica[0];
    int taken = 0;
    while (replica_propose(replica, TEXT("one more"), &outcomes, count_outcome) ==
           REPLICA_PENDING) {
        taken++;
    }
    cr_assert_eq(taken, REPLICA_UNCOMMITTED_MAX);
    AWAIT(&herd.stage, outcomes.told[REPLICA_COMMITTED] == taken);
    struct replica_status status = replica_status(replica);
    cr_assert_eq(status.uncommitted, 0);
    herd_close(&herd);
}

Test(replica, closing_tells_every_outcome)
{
    struct herd herd;
    struct outcomes outcomes = {.most = 0};
    herd_open(&herd, 3, 3, 1);
    int leader = herd_await_leader(&herd, 0);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(
            replica_propose(herd.node[leader].replica[0], TEXT("late"), &outcomes, count_outcome),
            REPLICA_PENDING);
    }
    herd_close_replica(&herd, leader, 0);
    cr_assert_eq(outcomes.told[REPLICA_UNKNOWN], 5);
    herd_close(&herd);
}

/* Has the leader of three propose what nobody else hears of, and lose its lead; the other two, then started anew, know of
   nobody but each other. Returns who led. */
static int cut_leader_off(struct herd *herd, const char *entry, struct outcomes *outcomes)
{
    int leader = herd_await_leader(herd, 0);
    int a = other_than(herd, leader), b = 3 - leader - a;
    transport_drop_peer(herd->node[leader].transport, herd->node[a].id);
    transport_drop_peer(herd->node[leader].transport, herd->node[b].id);
    herd_kill(herd, a);
    herd_kill(herd, b);
    cr_assert_eq(replica_propose(herd->node[leader].replica[0], (struct text){entry, strlen(entry)},
                                 outcomes, count_outcome),
                 REPLICA_PENDING);
    AWAIT(&herd->stage, !replica_status(herd->node[leader].replica[0]).leads);
    herd->node[leader].up = false; /* so that the others are not told where it is */
    herd_start(herd, a);
    herd_start(herd, b);
    return leader;
}

static void bring_back(struct herd *herd, int cut_off)
{
    struct herd_node *back = &herd->node[cut_off];
    back->up = true;
    for (int i = 0; i < herd->nodes; i++) {
        if (i != cut_off) {
            stage_introduce(back->transport, back->id, herd->node[i].transport, herd->node[i].id);
        }
    }
}

Test(replica, an_overwritten_entry_is_surely_not_carried_out)
{
    struct herd herd;
    struct outcomes outcomes = {.most = 0};
    herd_open(&herd, 3, 3, 1);
    herd_commit(&herd, 0, "before");
    herd_await_agreement(&herd, 0);
    int leader = cut_leader_off(&herd, "overwritten", &outcomes);
    herd_commit(&herd, 0, "instead");
    bring_back(&herd, leader);
    AWAIT(&herd.stage, outcomes.told[REPLICA_NOT_LEADER] + outcomes.told[REPLICA_UNKNOWN] == 1);
    cr_assert_eq(outcomes.told[REPLICA_NOT_LEADER], 1);
    herd_await_agreement(&herd, 0);
    cr_assert(!ledger_has(herd.node[leader].ledger[0], "overwritten"));
    cr_assert(ledger_has(herd.node[leader].ledger[0], "instead"));
    herd_close(&herd);
}

Test(replica, a_confirmed_read_sees_what_was_committed_before)
{
    struct herd herd;
    struct outcomes outcomes = {.most = 0};
    herd_open(&herd, 3, 3, 1);
    herd_commit(&herd, 0, "seen");
    int leader = herd_await_leader(&herd, 0);
    cr_assert_eq(replica_confirm(herd.node[leader].replica[0], &outcomes, count_outcome),
                 REPLICA_PENDING);
    AWAIT(&herd.stage, outcomes.told[REPLICA_COMMITTED] == 1);
    cr_assert_eq(
        replica_confirm(herd.node[other_than(&herd, leader)].replica[0], &outcomes, count_outcome),
        REPLICA_NOT_LEADER);
    herd_close(&herd);
}

Test(replica, the_longest_entry_passes_and_a_longer_one_does_not)
{
    struct herd herd;
    struct outcomes outcomes = {.most = 0};
    char *entry = malloc(REPLICA_ENTRY_BYTES_MAX + 1);
    memset(entry, 'x', REPLICA_ENTRY_BYTES_MAX + 1);
    herd_open(&herd, 3, 3, 1);
    struct replica *replica = herd.node[herd_await_leader(&herd, 0)].replica[0];
    cr_assert_eq(replica_propose(replica, (struct text){entry, REPLICA_ENTRY_BYTES_MAX + 1},
                                 &outcomes, count_outcome),
                 REPLICA_BUSY);
    for (int i = 0; i < 6; i++) {
        herd_commit_text(&herd, 0, (struct text){entry, REPLICA_ENTRY_BYTES_MAX});
    }
    herd_await_agreement(&herd, 0);
    free(entry);
    herd_close(&herd);
}

/* ---- images ------------------------------------------------------------------------------------------------------- */

static void open_short_logs(struct herd *herd, int nodes, int founders)
{
    herd_make(herd, nodes, founders, 1);
    herd->log_entries = 16;
    for (int i = 0; i < founders; i++) {
        herd_start(herd, i);
    }
}

Test(replica, a_log_that_has_grown_is_cut_when_the_machine_is_durable)
{
    struct herd herd;
    open_short_logs(&herd, 3, 3);
    herd_commit_many(&herd, 0, "entry", 100);
    herd_await_agreement(&herd, 0);
    for (int i = 0; i < 3; i++) {
        struct ledger *ledger = herd.node[i].ledger[0];
        AWAIT(&herd.stage, ledger->syncs > 2);
        herd_kill(&herd, i);
        cr_assert_geq(ledger_count(ledger), 50);
        herd_start(&herd, i);
    }
    herd_commit(&herd, 0, "and more"); /* so that all know what is committed */
    herd_await_agreement(&herd, 0);
    cr_assert_eq(ledger_count(herd.node[0].ledger[0]), 101);
    herd_close(&herd);
}

Test(replica, a_log_that_is_cut_behind_entries_of_the_engine_opens_again)
{
    struct herd herd;
    struct outcomes outcomes = {.most = 0};
    open_short_logs(&herd, 1, 1);
    herd_commit(&herd, 0, "entry");
    struct ledger *ledger = herd.node[0].ledger[0];
    for (int i = 0; ledger->syncs < 2; i++) { /* a question is an entry, which no machine sees */
        cr_assert_lt(i, 1000);
        cr_assert_eq(replica_confirm(herd.node[0].replica[0], &outcomes, count_outcome),
                     REPLICA_PENDING);
        AWAIT(&herd.stage, outcomes.told[REPLICA_COMMITTED] == i + 1);
    }
    herd_kill(&herd, 0);
    herd_start(&herd, 0);
    herd_commit(&herd, 0, "and more");
    cr_assert_eq(ledger_count(ledger), 2);
    herd_close(&herd);
}

Test(replica, a_log_is_cut_by_its_bytes_too)
{
    struct herd herd;
    struct outcomes outcomes = {.most = 0};
    static char entry[64 * 1024];
    herd_make(&herd, 1, 1, 1);
    herd.log_bytes = 256 * 1024;
    herd_start(&herd, 0);
    herd_await_leader(&herd, 0);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(replica_propose(herd.node[0].replica[0], (struct text){entry, sizeof entry},
                                     &outcomes, count_outcome),
                     REPLICA_PENDING);
        AWAIT(&herd.stage, outcomes.told[REPLICA_COMMITTED] == i + 1);
    }
    AWAIT(&herd.stage, herd.node[0].ledger[0]->syncs >= 2);
    herd_close(&herd);
}

/* A herd one of which has missed more than the log has; returns who leads. */
static int open_one_behind(struct herd *herd, int *ret_late)
{
    open_short_logs(herd, 3, 3);
    herd_commit_many(herd, 0, "before", 5);
    int leader = herd_await_leader(herd, 0);
    *ret_late = other_than(herd, leader);
    herd_kill(herd, *ret_late);
    herd_commit_many(herd, 0, "missed", 100);
    return leader;
}

Test(replica, a_member_behind_the_log_gets_an_image)
{
    struct herd herd;
    int late;
    open_one_behind(&herd, &late);
    herd_start(&herd, late);
    herd_commit(&herd, 0, "after");
    herd_await_agreement(&herd, 0);
    cr_assert_eq(ledger_count(herd.node[late].ledger[0]), 106);
    cr_assert_gt(herd.node[late].ledger[0]->installs, 0);
    herd_kill(&herd, late); /* and it has it still */
    herd_start(&herd, late);
    herd_commit(&herd, 0, "once more");
    herd_await_agreement(&herd, 0);
    herd_close(&herd);
}

/* The bytes of the image that is on its way to the member, as the leader tells. */
static uint64_t image_on_way(struct herd *herd, int leader, int to)
{
    struct replica_member members[REPLICA_MEMBERS_MAX];
    int count = replica_members(herd->node[leader].replica[0], members);
    for (int i = 0; i < count; i++) {
        if (members[i].node == herd->node[to].id) {
            cr_assert_leq(members[i].image_sent, members[i].image_bytes);
            return members[i].image_bytes;
        }
    }
    return 0;
}

Test(replica, an_image_is_seen_on_its_way_until_it_is_there)
{
    struct herd herd;
    uint64_t seen = 0;
    int late;
    int leader = open_one_behind(&herd, &late);
    cr_expect_eq(image_on_way(&herd, leader, late), 0);
    herd_start(&herd, late);
    AWAIT(&herd.stage, (seen = seen > 0 ? seen : image_on_way(&herd, leader, late)) > 0);
    cr_expect_eq(seen, sizeof(struct ledger_state));
    herd_await_agreement(&herd, 0);
    AWAIT(&herd.stage, image_on_way(&herd, leader, late) == 0);
    herd_close(&herd);
}

Test(replica, what_an_image_may_hold_is_not_said_to_be_refused)
{
    struct herd herd;
    struct outcomes outcomes = {.most = 0};
    open_short_logs(&herd, 3, 3);
    herd_commit(&herd, 0, "before");
    herd_await_agreement(&herd, 0);
    int leader = cut_leader_off(&herd, "in doubt", &outcomes);
    herd_commit_many(&herd, 0, "meanwhile", 100);
    struct ledger *ledger = herd.node[leader].ledger[0];
    bring_back(&herd, leader);
    /* What stands at its index was not seen here: it came as a state, in which it may be. */
    AWAIT(&herd.stage, outcomes.told[REPLICA_NOT_LEADER] + outcomes.told[REPLICA_UNKNOWN] == 1);
    cr_assert_gt(ledger->installs, 0, "it was told before the image was there");
    cr_assert_eq(outcomes.told[REPLICA_UNKNOWN], 1);
    herd_await_agreement(&herd, 0);
    herd_close(&herd);
}

Test(replica, an_image_that_cannot_be_made_is_made_later)
{
    struct herd herd;
    open_short_logs(&herd, 3, 3);
    int leader = herd_await_leader(&herd, 0);
    int late = other_than(&herd, leader);
    herd_kill(&herd, late);
    herd_commit_many(&herd, 0, "missed", 60);
    herd.node[leader].ledger[0]->refuse_image = true;
    herd_start(&herd, late);
    for (int i = 0; i < 200; i++) {
        stage_wait(&herd.stage);
    }
    herd.node[leader].ledger[0]->refuse_image = false;
    herd_kill(&herd, late); /* makes the leader try again sooner than REPLICA_INSTALL_MS */
    herd_start(&herd, late);
    herd_commit(&herd, 0, "after");
    herd_await_agreement(&herd, 0);
    herd_close(&herd);
}

Test(replica, a_state_that_is_older_than_its_log_is_refused)
{
    struct herd herd;
    char why[256] = "";
    open_short_logs(&herd, 1, 1);
    herd_commit_many(&herd, 0, "entry", 60);
    AWAIT(&herd.stage, herd.node[0].ledger[0]->syncs > 0);
    herd_close_replica(&herd, 0, 0);
    herd.node[0].ledger[0]->live = herd.node[0].ledger[0]->stored =
        (struct ledger_state){.count = 0};
    cr_assert(!herd_open_replica(&herd, 0, 0, why));
    cr_assert_not_null(strstr(why, "not the state that belongs to this log"), "%s", why);
    herd.node[0].replica[0] = NULL;
    herd_close(&herd);
}

Test(replica, a_state_of_another_history_is_refused)
{
    struct herd herd;
    herd_open(&herd, 1, 1, 1);
    herd_commit_many(&herd, 0, "entry", 5);
    herd_close_replica(&herd, 0, 0);
    herd.node[0].ledger[0]->live.term += 7;
    herd.node[0].ledger[0]->stored.term += 7;
    char why[256] = "";
    (void)herd_open_replica(&herd, 0, 0, why); /* at once, or once it applies what the log has */
    AWAIT(&herd.stage, why[0] != '\0' || herd.node[0].stopped[0][0] != '\0');
    const char *said = why[0] != '\0' ? why : herd.node[0].stopped[0];
    cr_assert_not_null(strstr(said, "do not belong together"), "%s", said);
    if (why[0] != '\0') {
        herd.node[0].replica[0] = NULL;
    }
    herd_close(&herd);
}

/* ---- storing later ------------------------------------------------------------------------------------------------ */

static bool all_stored(const struct ledger *ledger, uint32_t count)
{
    return ledger->live.count == count && ledger->stored.count == count;
}

Test(replica, who_follows_stores_several_entries_at_once)
{
    struct herd herd;
    herd_open(&herd, 3, 3, 1);
    int leader = herd_await_leader(&herd, 0);
    herd_commit_many(&herd, 0, "entry", 200);
    for (int i = 0; i < 3; i++) {
        struct ledger *ledger = herd.node[i].ledger[0];
        AWAIT(&herd.stage, all_stored(ledger, 200));
        if (i == leader) {
            cr_expect_eq(ledger->stores, 200, "%d", ledger->stores);
        } else {
            cr_expect_lt(ledger->stores, 100, "%d", ledger->stores);
        }
    }
    herd_close(&herd);
}

Test(replica, who_begins_to_lead_has_stored_what_it_applied)
{
    struct herd herd;
    herd_open(&herd, 3, 3, 1);
    for (int i = 0; i < 5; i++) {
        struct moved moved = {false, false};
        int leader = herd_await_leader(&herd, 0), next = (leader + 1) % 3;
        herd_commit_many(&herd, 0, "entry", 40);
        cr_assert(
            replica_transfer(herd.node[leader].replica[0], herd.node[next].id, note_moved, &moved));
        AWAIT(&herd.stage, moved.moved && herd_leader(&herd, 0) == next);
        const struct ledger *ledger = herd.node[next].ledger[0];
        cr_assert_eq(ledger->stored.count, ledger->live.count);
        cr_assert_eq(ledger->stored.count, (uint32_t)(i + 1) * 40);
    }
    herd_close(&herd);
}

Test(replica, what_cannot_be_stored_later_stops_the_replica_and_is_applied_again)
{
    struct herd herd;
    char why[256] = "";
    herd_open(&herd, 3, 3, 1);
    int follower = (herd_await_leader(&herd, 0) + 1) % 3;
    struct ledger *ledger = herd.node[follower].ledger[0];
    herd_commit_many(&herd, 0, "entry", 40);
    AWAIT(&herd.stage, ledger->live.count == 40);
    ledger->refuse = true;
    herd_commit_many(&herd, 0, "more", 10);
    AWAIT(&herd.stage, herd.node[follower].stopped[0][0] != '\0');
    herd_close_replica(&herd, follower, 0);
    ledger->refuse = false;
    cr_assert(herd_open_replica(&herd, follower, 0, why), "%s", why);
    herd_commit(&herd, 0, "after");
    herd_await_agreement(&herd, 0);
    AWAIT(&herd.stage, all_stored(ledger, 51));
    herd_close(&herd);
}

/* ---- failures ----------------------------------------------------------------------------------------------------- */

Test(replica, a_leader_that_cannot_apply_stops_and_comes_back)
{
    struct herd herd;
    char why[256] = "";
    herd_open(&herd, 3, 3, 1);
    herd_commit_many(&herd, 0, "before", 3);
    int leader = herd_await_leader(&herd, 0);
    herd.node[leader].ledger[0]->refuse = true;
    enum replica_outcome outcome = REPLICA_PENDING;
    struct outcomes outcomes = {.most = 0};
    outcome =
        replica_propose(herd.node[leader].replica[0], TEXT("the one"), &outcomes, count_outcome);
    cr_assert_eq(outcome, REPLICA_PENDING);
    AWAIT(&herd.stage, herd.node[leader].stopped[0][0] != '\0');
    herd_close_replica(&herd, leader, 0);
    cr_assert_eq(outcomes.told[REPLICA_UNKNOWN], 1);
    herd_commit(&herd, 0, "meanwhile");
    herd.node[leader].ledger[0]->refuse = false;
    cr_assert(herd_open_replica(&herd, leader, 0, why), "%s", why);
    herd_await_agreement(&herd, 0);
    cr_assert(ledger_has(herd.node[leader].ledger[0], "the one"));
    cr_assert(ledger_has(herd.node[leader].ledger[0], "meanwhile"));
    herd_close(&herd);
}

static int refuse_to_append(struct raft_io *io, struct raft_io_append *request,
                            const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    (void)io, (void)request, (void)entries, (void)n, (void)cb;
    return RAFT_NOSPACE;
}

static raft_io_recv_cb engine_recv;
static raft_index told_at_most;

static void hear_of_less(struct raft_io *io, struct raft_message *message)
{
    struct raft_append_entries_result *result = &message->append_entries_result;
    if (message->type == RAFT_APPEND_ENTRIES_RESULT && result->last_log_index > told_at_most) {
        result->last_log_index = told_at_most;
    }
    engine_recv(io, message);
}

/* Three of which none asks for votes of itself. Returns who leads. */
static int open_patient(struct herd *herd)
{
    herd_open(herd, 3, 3, 1);
    herd_commit_many(herd, 0, "before", 3);
    herd_await_agreement(herd, 0);
    for (int i = 0; i < 3; i++) {
        raft_set_election_timeout(&herd->node[i].replica[0]->raft, 10 * PATIENCE_MS);
    }
    int leader = herd_await_leader(herd, 0);
    AWAIT(&herd->stage, replica_quiet(herd->node[leader].replica[0]));
    return leader;
}

/* It stops over the next entry, and another leads. Behind the entry comes a read. */
static void stops(struct herd *herd, int leader)
{
    struct outcomes outcomes = {.most = 0};
    struct replica *replica = herd->node[leader].replica[0];
    told_at_most = raft_last_index(&replica->raft) + 1;
    cr_assert_eq(replica_propose(replica, TEXT("the one"), &outcomes, count_outcome),
                 REPLICA_PENDING);
    (void)replica_confirm(replica, &outcomes, count_outcome);
    AWAIT(&herd->stage, herd->node[leader].stopped[0][0] != '\0');
    cr_assert_neq(herd_await_leader(herd, 0), leader);
    herd_close_replica(herd, leader, 0);
    herd_commit(herd, 0, "meanwhile");
    herd_close(herd);
}

Test(replica, a_leader_that_cannot_apply_has_another_lead_at_once)
{
    struct herd herd;
    int leader = open_patient(&herd);
    herd.node[leader].ledger[0]->refuse = true;
    stops(&herd, leader);
}

Test(replica, a_leader_that_cannot_append_has_another_lead_at_once)
{
    struct herd herd;
    int leader = open_patient(&herd);
    herd.node[leader].replica[0]->inner.append = refuse_to_append;
    stops(&herd, leader);
}

Test(replica, a_leader_that_stops_need_not_know_all_that_the_next_has)
{
    struct herd herd;
    int leader = open_patient(&herd);
    struct replica *replica = herd.node[leader].replica[0];
    engine_recv = replica->recv;
    replica->recv = hear_of_less;
    herd.node[leader].ledger[0]->refuse = true;
    stops(&herd, leader);
}

/* ---- members ------------------------------------------------------------------------------------------------------ */

static enum replica_role role_seen(struct herd *herd, int by, int of)
{
    struct replica_member members[REPLICA_MEMBERS_MAX];
    int count = replica_members(herd->node[by].replica[0], members);
    for (int i = 0; i < count; i++) {
        if (members[i].node == herd->node[of].id) {
            return members[i].role;
        }
    }
    return REPLICA_OUTSIDE;
}

static void promote(struct herd *herd, int node)
{
    enum replica_changed outcome;
    do {
        outcome = herd_change(herd, 0, REPLICA_PROMOTE, node);
        cr_assert_neq(outcome, REPLICA_CHANGE_INVALID);
    } while (outcome != REPLICA_CHANGED);
}

Test(replica, a_newcomer_catches_up_is_promoted_and_removed)
{
    struct herd herd;
    open_short_logs(&herd, 4, 3);
    herd_commit_many(&herd, 0, "before", 60);
    herd_start(&herd, 3);
    cr_assert_eq(herd_change(&herd, 0, REPLICA_PROMOTE, 3), REPLICA_CHANGE_INVALID);
    cr_assert_eq(herd_change(&herd, 0, REPLICA_ADD, 3), REPLICA_CHANGED);
    cr_assert_eq(herd_change(&herd, 0, REPLICA_ADD, 3), REPLICA_CHANGED);
    promote(&herd, 3);
    herd_commit(&herd, 0, "with four");
    herd_await_agreement(&herd, 0);
    int leader = herd_await_leader(&herd, 0);
    cr_assert_eq(role_seen(&herd, leader, 3), REPLICA_VOTER);
    int leaving = leader == 0 ? 1 : 0;
    cr_assert_eq(herd_change(&herd, 0, REPLICA_DEMOTE, leaving), REPLICA_CHANGED);
    cr_assert_eq(role_seen(&herd, leader, leaving), REPLICA_STANDBY);
    cr_assert_eq(herd_change(&herd, 0, REPLICA_REMOVE, leaving), REPLICA_CHANGED);
    cr_assert_eq(role_seen(&herd, leader, leaving), REPLICA_OUTSIDE);
    herd_kill(&herd, leaving);
    herd_commit(&herd, 0, "with three again");
    herd_kill(&herd, leader);
    herd_commit(&herd, 0, "with two of them");
    herd_await_agreement(&herd, 0);
    cr_assert(ledger_has(herd.node[3].ledger[0], "with two of them"));
    herd_close(&herd);
}

Test(replica, the_leader_neither_demotes_nor_removes_itself)
{
    struct herd herd;
    herd_open(&herd, 3, 3, 1);
    int leader = herd_await_leader(&herd, 0);
    cr_assert_eq(herd_change(&herd, 0, REPLICA_DEMOTE, leader), REPLICA_CHANGE_INVALID);
    cr_assert_eq(herd_change(&herd, 0, REPLICA_REMOVE, leader), REPLICA_CHANGE_INVALID);
    herd_close(&herd);
}

static void note_int(void *context, enum replica_changed outcome)
{
    *(int *)context = (int)outcome;
}

Test(replica, one_step_at_a_time_and_proposals_wait_for_it)
{
    struct herd herd;
    int first = -1, second = -1;
    struct outcomes outcomes = {.most = 0};
    herd_open(&herd, 4, 3, 1);
    int leader = herd_await_leader(&herd, 0);
    struct replica *replica = herd.node[leader].replica[0];
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(replica_propose(replica, TEXT("before"), &outcomes, count_outcome),
                     REPLICA_PENDING);
    }
    replica_change(replica, REPLICA_ADD, herd.node[3].id, note_int, &first);
    replica_change(replica, REPLICA_REMOVE, herd.node[3].id, note_int, &second);
    cr_assert_eq(second, REPLICA_CHANGE_BUSY);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(replica_propose(replica, TEXT("during"), &outcomes, count_outcome),
                     REPLICA_PENDING);
    }
    AWAIT(&herd.stage, first >= 0 && outcomes.told[REPLICA_COMMITTED] == 20);
    cr_assert_eq(first, REPLICA_CHANGED);
    herd_close(&herd);
}

Test(replica, leadership_is_handed_over_and_what_was_on_its_way_arrives)
{
    struct herd herd;
    struct moved moved = {false, false};
    struct outcomes outcomes = {.most = 0};
    herd_open(&herd, 3, 3, 1);
    herd_commit_many(&herd, 0, "before", 5);
    int leader = herd_await_leader(&herd, 0);
    int next = other_than(&herd, leader);
    struct replica *replica = herd.node[leader].replica[0];
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(replica_propose(replica, TEXT("on its way"), &outcomes, count_outcome),
                     REPLICA_PENDING);
    }
    cr_assert(replica_transfer(replica, herd.node[next].id, note_moved, &moved));
    AWAIT(&herd.stage, replica_members_hold(replica));
    cr_assert_eq(replica_propose(replica, TEXT("meanwhile"), &outcomes, count_outcome),
                 REPLICA_PENDING);
    AWAIT(&herd.stage, moved.told);
    cr_assert(moved.moved);
    AWAIT(&herd.stage,
          outcomes.told[REPLICA_COMMITTED] == 10 && outcomes.told[REPLICA_NOT_LEADER] == 1);
    cr_assert_eq(herd_await_leader(&herd, 0), next);
    cr_assert(!replica_transfer(replica, 0, note_moved, &moved));
    herd_close(&herd);
}

Test(replica, leadership_is_not_handed_to_who_has_not_answered_this_leader)
{
    struct herd herd;
    struct moved moved = {false, false};
    struct outcomes outcomes = {.most = 0};
    herd_open(&herd, 3, 3, 1);
    herd_commit_many(&herd, 0, "before", 5);
    int dead = herd_await_leader(&herd, 0);
    herd_kill(&herd, dead);
    int leader = herd_await_leader(&herd, 0);
    struct replica *replica = herd.node[leader].replica[0];
    cr_assert_not(replica_transfer(replica, herd.node[dead].id, note_moved, &moved));
    cr_assert_eq(replica_propose(replica, TEXT("at once"), &outcomes, count_outcome),
                 REPLICA_PENDING);
    AWAIT(&herd.stage, outcomes.told[REPLICA_COMMITTED] == 1);
    cr_assert_not(moved.told);
    cr_assert(replica_transfer(replica, 0, note_moved, &moved));
    AWAIT(&herd.stage, moved.moved);
    herd_close(&herd);
}

/* One that answered this leader, and has stopped since: its disk is full. */
Test(replica, who_is_to_lead_next_has_to_answer_before_proposals_wait_for_it)
{
    struct herd herd;
    struct moved moved = {false, false};
    struct outcomes outcomes = {.most = 0};
    herd_open(&herd, 3, 3, 1);
    herd_commit_many(&herd, 0, "before", 5);
    herd_await_agreement(&herd, 0);
    int leader = herd_await_leader(&herd, 0);
    int next = other_than(&herd, leader);
    struct replica *replica = herd.node[leader].replica[0];
    herd.node[next].ledger[0]->refuse = true;
    herd_commit(&herd, 0, "too much");
    AWAIT(&herd.stage, herd.node[next].stopped[0][0] != '\0');
    herd_commit_many(&herd, 0, "without it", 2);
    cr_assert(replica_transfer(replica, herd.node[next].id, note_moved, &moved));
    cr_assert_not(replica_members_hold(replica));
    cr_assert_eq(replica_propose(replica, TEXT("at once"), &outcomes, count_outcome),
                 REPLICA_PENDING);
    AWAIT(&herd.stage, moved.told);
    cr_assert_not(moved.moved);
    cr_assert_eq(outcomes.told[REPLICA_COMMITTED], 1);
    herd.node[next].ledger[0]->refuse = false;
    herd_close(&herd);
}

Test(replica, the_last_one_left_can_go_on_alone_when_told_to)
{
    struct herd herd;
    char why[256] = "";
    herd_open(&herd, 3, 3, 1);
    herd_commit_many(&herd, 0, "before", 5);
    herd_await_agreement(&herd, 0);
    for (int i = 1; i < 3; i++) {
        herd_kill(&herd, i);
    }
    herd_close_replica(&herd, 0, 0);
    struct replica_config config = {.group = 0, .node = 1, .log = herd.node[0].log, .alone = true};
    struct herd_node *node = &herd.node[0];
    config.machine = ledger_machine(node->ledger[0]);
    cr_assert(replica_open(&herd.stage.loop, node->transport, &config, &node->replica[0], why),
              "%s", why);
    herd_commit(&herd, 0, "alone");
    cr_assert_eq(ledger_count(node->ledger[0]), 6);
    herd_close(&herd);
}
