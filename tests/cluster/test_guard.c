/* What libraft 0.22.1 gets wrong, and that it does not happen here. Where the engine can be shown by itself, it is: a test
   that begins with "alone" is there to fail when a newer engine needs its guard no longer. */
#include "service/cluster/replica_guard.h"
#include "service/cluster/replica_state.h"
#include "tests/cluster/herd.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* ---- the engine by itself ----------------------------------------------------------------------------------------- */

/* Node 2 of three, a follower of node 1 in term 1, with the founding entry in its log. */
struct follower {
    struct raft raft;
    raft_time now;
};

static struct raft_buffer members(int count)
{
    struct raft_configuration configuration;
    struct raft_buffer encoded;
    raft_configuration_init(&configuration);
    for (int i = 1; i <= count; i++) {
        char name[TRANSPORT_NAME_BYTES];
        transport_name((uint64_t)i, name);
        raft_configuration_add(&configuration, (raft_id)i, name, i <= 3 ? RAFT_VOTER : RAFT_SPARE);
    }
    raft_configuration_encode(&configuration, &encoded);
    raft_configuration_close(&configuration);
    return encoded;
}

static struct raft_update step(struct follower *follower, struct raft_event event)
{
    struct raft_update update;
    event.time = follower->now;
    cr_assert_eq(raft_step(&follower->raft, &event, &update), 0);
    return update;
}

static void open_follower(struct follower *follower)
{
    struct raft_buffer founders = members(3);
    struct raft_entry first = {1, RAFT_CHANGE, founders, founders.base};
    memset(follower, 0, sizeof *follower);
    cr_assert_eq(raft_init(&follower->raft, NULL, NULL, 2, "2"), 0);
    follower->raft.tracer = NULL;
    follower->now = 1000;
    struct raft_event event = {.type = RAFT_START};
    event.start.term = 1;
    event.start.start_index = 1;
    event.start.n_entries = 1;
    event.start.entries = &first;
    step(follower, event);
    raft_free(founders.base);
}

static void close_follower(struct follower *follower)
{
    raft_close(&follower->raft, NULL);
}

/* Entries of one batch, as they come off the network: 'c' a command, '4' a change to four members, '5' to five. */
static struct raft_entry *make_entries(const char *kinds, raft_term term)
{
    size_t count = strlen(kinds);
    struct raft_entry *entries = raft_calloc(count, sizeof *entries);
    char *batch = raft_calloc(count, 512);
    for (size_t i = 0; i < count; i++) {
        struct raft_buffer body = {batch + 512 * i, 8};
        if (kinds[i] != 'c') {
            struct raft_buffer encoded = members(kinds[i] - '0');
            cr_assert_leq(encoded.len, (size_t)512);
            memcpy(body.base, encoded.base, encoded.len);
            body.len = encoded.len;
            raft_free(encoded.base);
        }
        entries[i] =
            (struct raft_entry){term, kinds[i] == 'c' ? RAFT_COMMAND : RAFT_CHANGE, body, batch};
    }
    return entries;
}

struct append {
    raft_term term, prev_term;
    raft_index prev, commit;
    const char *kinds;
};

static struct raft_message append_message(struct append what)
{
    unsigned count = (unsigned)strlen(what.kinds);
    struct raft_message message = {
        .type = RAFT_APPEND_ENTRIES, .server_id = 1, .server_address = "0000000000000001"};
    message.append_entries = (struct raft_append_entries){
        .term = what.term,
        .prev_log_index = what.prev,
        .prev_log_term = what.prev_term,
        .leader_commit = what.commit,
        .entries = count > 0 ? make_entries(what.kinds, what.term) : NULL,
        .n_entries = count};
    return message;
}

/* The engine takes the message; what it persists is persisted, and forgotten. */
static void append(struct follower *follower, struct append what)
{
    struct raft_message message = append_message(what);
    unsigned count = message.append_entries.n_entries;
    struct raft_event event = {.type = RAFT_RECEIVE};
    event.receive.message = &message;
    struct raft_update update = step(follower, event);
    if (count > 0) {
        if (update.flags & RAFT_UPDATE_ENTRIES) {
            struct raft_event stored = {.type = RAFT_PERSISTED_ENTRIES};
            stored.persisted_entries.index = update.entries.index + update.entries.n - 1;
            step(follower, stored);
        }
        raft_free(message.append_entries.entries[0].batch);
        raft_free(message.append_entries.entries);
    }
}

/* What the layer above tells the engine once a change was committed. */
static void apply_change(struct follower *follower, raft_index index, int count)
{
    struct raft_buffer encoded = members(count);
    struct raft_event event = {.type = RAFT_CONFIGURATION};
    event.configuration.index = index;
    cr_assert_eq(raft_configuration_decode(&encoded, &event.configuration.conf), 0);
    raft_free(encoded.base);
    step(follower, event);
}

Test(guard, alone_the_engine_notes_a_change_at_the_wrong_place)
{
    struct follower follower;
    open_follower(&follower);
    append(&follower, (struct append){1, 1, 1, 1, "cc4"});
    cr_assert_eq(follower.raft.configuration_uncommitted_index, 2); /* it is entry 4 */
    close_follower(&follower);
}

static unsigned batch_of(const char *kinds, size_t bytes_max)
{
    struct raft_append_entries message = {.n_entries = (unsigned)strlen(kinds),
                                          .entries = make_entries(kinds, 1)};
    unsigned n = guard_batch(&message, bytes_max);
    raft_free(message.entries[0].batch);
    raft_free(message.entries);
    return n;
}

Test(guard, a_message_ends_before_a_change_and_at_its_size)
{
    cr_assert_eq(batch_of("cc4", 1000), 2);
    cr_assert_eq(batch_of("4cc", 1000), 3);
    cr_assert_eq(batch_of("4c5c", 1000), 2);
    cr_assert_eq(batch_of("ccccc", 24), 3);
    cr_assert_eq(batch_of("c", 1), 1);
}

Test(guard, in_parts_a_change_is_noted_where_it_is)
{
    struct follower follower;
    open_follower(&follower);
    append(&follower, (struct append){1, 1, 1, 1, "cc"});
    append(&follower, (struct append){1, 1, 3, 1, "4"});
    cr_assert_eq(follower.raft.configuration_uncommitted_index, 4);
    close_follower(&follower);
}

static bool waits_for_disk(const char *kinds, raft_index prev, raft_index stored)
{
    struct raft leader = {.last_stored = stored};
    struct raft_append_entries message = {.prev_log_index = prev,
                                          .n_entries = (unsigned)strlen(kinds),
                                          .entries = make_entries(kinds, 1)};
    bool waits = guard_store_first(&leader, &message);
    raft_free(message.entries[0].batch);
    raft_free(message.entries);
    return waits;
}

Test(guard, a_change_waits_for_the_leaders_own_disk)
{
    struct raft leader = {.last_stored = 3};
    struct raft_append_entries sign = {.prev_log_index = 4};
    cr_assert(waits_for_disk("4", 4, 4));
    cr_assert(waits_for_disk("4c", 4, 3));
    cr_assert(!waits_for_disk("4", 4, 5));
    cr_assert(!waits_for_disk("c", 4, 4));
    cr_assert(!guard_store_first(&leader, &sign));
}

Test(guard, alone_the_engine_forgets_a_committed_change_for_a_newer)
{
    struct follower follower;
    open_follower(&follower);
    append(&follower, (struct append){1, 1, 1, 1, "4"});
    append(&follower,
           (struct append){1, 1, 2, 2, "5"}); /* says as well that the first is committed */
    apply_change(&follower, 2, 4);
    append(&follower, (struct append){2, 1, 2, 2, "c"}); /* another leader overwrites the second */
    cr_assert_eq(follower.raft.configuration.n, 3);      /* and not the first, which is committed */
    close_follower(&follower);
}

Test(guard, told_first_what_is_committed_a_follower_keeps_it)
{
    struct follower follower;
    struct raft_append_entries second = {
        .prev_log_index = 2, .leader_commit = 2, .n_entries = 1, .entries = make_entries("5", 1)};
    open_follower(&follower);
    cr_assert(!guard_commit_first(&follower.raft, &second));
    append(&follower, (struct append){1, 1, 1, 1, "4"});
    cr_assert(guard_commit_first(&follower.raft, &second));
    append(&follower, (struct append){1, 1, 2, 2, ""});
    apply_change(&follower, 2, 4);
    cr_assert(!guard_commit_first(&follower.raft, &second));
    append(&follower, (struct append){1, 1, 2, 2, "5"});
    append(&follower, (struct append){2, 1, 2, 2, "c"});
    cr_assert_eq(follower.raft.configuration.n, 4);
    close_follower(&follower);
    raft_free(second.entries[0].batch);
    raft_free(second.entries);
}

/* The follower cuts its log up to there. */
static void cut(struct follower *follower, raft_index index)
{
    struct raft_buffer encoded = members(3);
    struct raft_event event = {.type = RAFT_SNAPSHOT};
    event.snapshot.metadata.index = index;
    event.snapshot.metadata.term = 1;
    event.snapshot.metadata.configuration_index = 1;
    cr_assert_eq(raft_configuration_decode(&encoded, &event.snapshot.metadata.configuration), 0);
    raft_free(encoded.base);
    step(follower, event);
}

Test(guard, alone_the_engine_takes_again_what_it_has_cut)
{
    struct follower follower;
    open_follower(&follower);
    append(&follower, (struct append){1, 1, 1, 1, "cc"});
    append(&follower, (struct append){1, 1, 3, 3, ""});
    cut(&follower, 3);
    append(&follower, (struct append){1, 0, 0, 3, "3cc"}); /* what it has, sent again */
    cr_assert_gt(follower.raft.last_stored, 3);
    close_follower(&follower);
}

Test(guard, a_message_begins_behind_the_cut)
{
    struct follower follower;
    struct raft_append_entries message = {.prev_log_index = 0, .n_entries = 2};
    open_follower(&follower);
    append(&follower, (struct append){1, 1, 1, 1, "cc"});
    append(&follower, (struct append){1, 1, 3, 3, ""});
    cr_assert_eq(guard_cut(&follower.raft, &message), 0); /* nothing is cut */
    cut(&follower, 3);
    cr_assert_eq(guard_cut(&follower.raft, &message), 2);
    message.n_entries = 5;
    cr_assert_eq(guard_cut(&follower.raft, &message), 3);
    message.prev_log_index = 3;
    cr_assert_eq(guard_cut(&follower.raft, &message), 0);
    close_follower(&follower);
}

/* Whether node 3 gets the follower's vote. */
static bool gets_vote(struct follower *follower, bool disrupt)
{
    struct raft_message message = {
        .type = RAFT_REQUEST_VOTE, .server_id = 3, .server_address = "3"};
    message.request_vote = (struct raft_request_vote){.version = 2,
                                                      .term = 2,
                                                      .candidate_id = 3,
                                                      .last_log_index = 1,
                                                      .last_log_term = 1,
                                                      .disrupt_leader = disrupt};
    struct raft_event event = {.type = RAFT_RECEIVE};
    event.receive.message = &message;
    struct raft_update update = step(follower, event);
    cr_assert_eq(update.messages.n, 1);
    return update.messages.batch[0].request_vote_result.vote_granted;
}

Test(guard, who_has_heard_nothing_for_an_election_timeout_may_vote)
{
    struct follower follower;
    open_follower(&follower);
    append(&follower, (struct append){1, 1, 1, 1, ""}); /* a sign of life of node 1 */
    follower.now += follower.raft.election_timeout - 1;
    cr_assert(!guard_may_vote(&follower.raft, follower.now));
    follower.now += 1;
    cr_assert(!gets_vote(&follower, false)); /* alone, the engine refuses still */
    cr_assert(guard_may_vote(&follower.raft, follower.now));
    cr_assert(gets_vote(&follower, true));
    close_follower(&follower);
}

/* ---- the replica -------------------------------------------------------------------------------------------------- */

/* A follower of leader 1 by letters: v(oter), s(tand-by), of nodes 1, 2 and so on. */
static struct raft *follower_of(const char *roles, raft_id id)
{
    struct raft *raft = calloc(1, sizeof *raft);
    raft->state = RAFT_FOLLOWER;
    raft->id = id;
    raft->election_timeout = 300;
    raft->election_timer_start = 1000;
    raft->follower_state.current_leader.id = 1;
    raft_configuration_init(&raft->configuration);
    for (unsigned i = 0; roles[i] != '\0'; i++) {
        int role = roles[i] == 'v' ? RAFT_VOTER : RAFT_STANDBY;
        char name[TRANSPORT_NAME_BYTES];
        transport_name(i + 1, name);
        cr_assert_eq(raft_configuration_add(&raft->configuration, i + 1, name, role), 0);
    }
    return raft;
}

static void follower_free(struct raft *raft)
{
    raft_configuration_close(&raft->configuration);
    free(raft);
}

Test(guard, those_who_may_follow_a_silent_leader_ask_one_after_the_other)
{
    static const struct {
        const char *roles;
        raft_id id;
        uint64_t group;
        unsigned patience;
    } ROWS[] = {
        {"vvv", 2, 0, 300},     {"vvv", 3, 0, 400},   {"vvv", 2, 1, 400},   {"vvv", 3, 1, 300},
        {"vvv", 2, 2, 300},     {"vvvvv", 2, 0, 300}, {"vvvvv", 5, 0, 600}, {"vvvvv", 5, 3, 300},
        {"vsvv", 3, 0, 300},    {"vsvv", 4, 0, 400},  {"vv", 2, 0, 300},    {"vv", 2, 7, 300},
        {"vvvvvvv", 7, 0, 600},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct raft *raft = follower_of(ROWS[i].roles, ROWS[i].id);
        cr_expect_eq(guard_patience(raft, ROWS[i].group), ROWS[i].patience, "row %zu: %u", i,
                     guard_patience(raft, ROWS[i].group));
        follower_free(raft);
    }
}

Test(guard, a_leader_that_seemed_to_have_ended_is_gone_only_when_nothing_more_is_heard)
{
    struct raft *raft = follower_of("vvv", 2);
    cr_expect_eq(guard_lost(raft, 1, 1050, 1050), GUARD_LOST_WAITS);
    cr_expect_eq(guard_lost(raft, 1, 1050, 1050 + REPLICA_LOST_MS - 1), GUARD_LOST_WAITS);
    cr_expect_eq(guard_lost(raft, 1, 1050, 1050 + REPLICA_LOST_MS), GUARD_LOST_GONE);
    cr_expect_eq(guard_lost(raft, 3, 1050, 1050), GUARD_LOST_THERE, "another leads");
    raft->election_timer_start = 1050 + REPLICA_LAST_WORDS_MS;
    cr_expect_eq(guard_lost(raft, 1, 1050, 1050 + REPLICA_LOST_MS), GUARD_LOST_GONE);
    raft->election_timer_start++;
    cr_expect_eq(guard_lost(raft, 1, 1050, 9999), GUARD_LOST_THERE, "it was heard of since");
    raft->election_timer_start = 1000;
    raft->state = RAFT_CANDIDATE;
    cr_expect_eq(guard_lost(raft, 1, 1050, 9999), GUARD_LOST_THERE);
    raft->state = RAFT_LEADER;
    cr_expect_eq(guard_lost(raft, 1, 1050, 9999), GUARD_LOST_THERE);
    follower_free(raft);
}

Test(guard, who_refuses_a_candidate_for_its_log_asks_itself)
{
    struct raft *raft = follower_of("vvv", 2);
    struct raft_request_vote now = {.term = 7}, old = {.term = 6};
    raft->current_term = 7;
    raft->follower_state.current_leader.id = 0;
    cr_expect(guard_asks_itself(raft, &now, false, 1000));
    cr_expect_not(guard_asks_itself(raft, &old, false, 1000), "an old request");
    raft->voted_for = 3;
    cr_expect_not(guard_asks_itself(raft, &now, false, 1000), "it has voted");
    raft->voted_for = 0;
    raft->follower_state.current_leader.id = 1;
    cr_expect_not(guard_asks_itself(raft, &now, false, 1000), "it has a leader");
    raft->follower_state.current_leader.id = 0;
    raft->state = RAFT_CANDIDATE;
    cr_expect_not(guard_asks_itself(raft, &now, false, 1000), "it has asked");
    follower_free(raft);
}

Test(guard, who_refuses_a_pre_vote_for_its_log_asks_itself_once_its_leader_is_silent)
{
    struct raft *raft = follower_of("vvv", 2);
    struct raft_request_vote less = {.term = 8, .last_log_index = 9, .last_log_term = 6};
    struct raft_request_vote same = {.term = 8, .last_log_index = 9, .last_log_term = 7};
    less.pre_vote = same.pre_vote = true;
    raft->current_term = 7;
    raft->trail.snapshot.index = 9;
    raft->trail.snapshot.term = 7;
    cr_expect(guard_asks_itself(raft, &less, false, 1300));
    cr_expect(guard_asks_itself(raft, &less, true, 1000), "its leader has ended");
    cr_expect_not(guard_asks_itself(raft, &less, false, 1299), "its leader is there");
    cr_expect_not(guard_asks_itself(raft, &same, false, 1300), "the other has as much");
    same.last_log_index = 8;
    cr_expect(guard_asks_itself(raft, &same, false, 1300));
    follower_free(raft);
}

/* ---- pre-vote ----------------------------------------------------------------------------------------------------- */

/* A candidate in term 1 that has asked beforehand, for term 2: its answer from node 3, which is in that term. */
static void answer_pre_vote(struct follower *follower, bool granted, raft_term own)
{
    struct raft voter = {.current_term = own};
    struct raft_message message = {
        .type = RAFT_REQUEST_VOTE_RESULT, .server_id = 3, .server_address = "3"};
    struct raft_request_vote_result *answer = &message.request_vote_result;
    *answer = (struct raft_request_vote_result){
        .version = 2, .term = 2, .vote_granted = granted, .pre_vote = true};
    answer->term = guard_vote_term(&voter, answer);
    struct raft_event event = {.type = RAFT_RECEIVE};
    event.receive.message = &message;
    if (!guard_is_late(&follower->raft, answer)) {
        step(follower, event);
    }
}

/* Its leader is silent; it asks. */
static void open_candidate(struct follower *follower)
{
    open_follower(follower);
    raft_set_pre_vote(&follower->raft, true);
    follower->now += 2 * follower->raft.election_timeout;
    step(follower, (struct raft_event){.type = RAFT_TIMEOUT});
    cr_assert_eq(follower->raft.state, RAFT_CANDIDATE);
    cr_assert(follower->raft.candidate_state.in_pre_vote);
    cr_assert_eq(follower->raft.current_term, 1);
}

/* Whom node 3 answers, of an older term and more of the log, as the engine would. */
static raft_term engines_answer_of(raft_term own, raft_term asked)
{
    struct follower follower;
    open_follower(&follower);
    follower.raft.current_term = own;
    struct raft_message message = {
        .type = RAFT_REQUEST_VOTE, .server_id = 3, .server_address = "3"};
    message.request_vote = (struct raft_request_vote){.version = 2,
                                                      .term = asked,
                                                      .candidate_id = 3,
                                                      .last_log_index = 5,
                                                      .last_log_term = 1,
                                                      .pre_vote = true};
    struct raft_event event = {.type = RAFT_RECEIVE};
    event.receive.message = &message;
    struct raft_update update = step(&follower, event);
    cr_assert_eq(update.messages.n, 1);
    struct raft_request_vote_result answer = update.messages.batch[0].request_vote_result;
    cr_assert(!answer.vote_granted);
    close_follower(&follower);
    return answer.term;
}

Test(guard, alone_the_engine_hides_its_term_from_whom_it_refuses_beforehand)
{
    cr_assert_eq(engines_answer_of(9, 2), 2);
}

Test(guard, who_is_refused_beforehand_for_its_old_term_learns_the_newer)
{
    struct follower follower;
    open_candidate(&follower);
    answer_pre_vote(&follower, false, 9);
    cr_assert_eq(follower.raft.current_term, 9);
    cr_assert_eq(follower.raft.state, RAFT_FOLLOWER); /* from where it asks for term 10 */
    close_follower(&follower);
}

Test(guard, only_a_refusal_beforehand_tells_another_term)
{
    struct raft voter = {.current_term = 9};
    struct raft_request_vote_result answer = {.term = 2, .pre_vote = true};
    cr_expect_eq(guard_vote_term(&voter, &answer), 9);
    answer.term = 10;
    cr_expect_eq(guard_vote_term(&voter, &answer), 10);
    answer = (struct raft_request_vote_result){.term = 2, .pre_vote = true, .vote_granted = true};
    cr_expect_eq(guard_vote_term(&voter, &answer), 2);
    answer = (struct raft_request_vote_result){.term = 2};
    cr_expect_eq(guard_vote_term(&voter, &answer), 2);
}

/* Where the engine takes it for being in no pre-vote: the two are of a union, and a byte of that address is 0. */
static void place_leaders_name(struct raft *raft)
{
    char **name = &raft->follower_state.current_leader.address;
    char *placed = aligned_alloc(65536, 65536);
    strcpy(placed, *name);
    raft_free(*name);
    *name = placed;
    cr_assert(!raft->candidate_state.in_pre_vote);
}

Test(guard, a_late_answer_to_a_pre_vote_moves_no_follower)
{
    struct follower follower;
    open_candidate(&follower);
    append(&follower, (struct append){1, 1, 1, 1, ""}); /* its leader is there after all */
    place_leaders_name(&follower.raft);
    answer_pre_vote(&follower, true, 1);
    cr_assert_eq(follower.raft.current_term, 1);
    close_follower(&follower);
}

Test(guard, who_was_not_elected_asks_beforehand_again)
{
    struct raft candidate = {.state = RAFT_CANDIDATE, .election_timer_start = 1000};
    candidate.candidate_state.randomized_election_timeout = 500;
    cr_expect(guard_begins_anew(&candidate, 1500));
    cr_expect_not(guard_begins_anew(&candidate, 1499), "its time is not over");
    candidate.candidate_state.in_pre_vote = true;
    cr_expect_not(guard_begins_anew(&candidate, 1500), "it does");
    candidate = (struct raft){.state = RAFT_LEADER};
    cr_expect_not(guard_begins_anew(&candidate, 1500));
}

/* ---- the replica, led --------------------------------------------------------------------------------------------- */

Test(guard, a_new_leader_commits_an_entry_of_its_own_term)
{
    struct herd herd;
    herd_open(&herd, 3, 3, 1);
    int leader = herd_await_leader(&herd, 0);
    struct replica_status status = replica_status(herd.node[leader].replica[0]);
    cr_assert_geq(status.committed, 2); /* the first is the founding */
    herd_close(&herd);
}

/* The messages of a replica to the others, which do not get them. */
static struct {
    struct raft_message last;
    int count, with_entries;
    struct raft_io_send *held[64];
} caught;

static int hold_message(struct raft_io *io, struct raft_io_send *request,
                        const struct raft_message *message, raft_io_send_cb cb)
{
    (void)io;
    request->cb = cb;
    caught.last = *message;
    caught.held[caught.count++ % 64] = request;
    caught.with_entries +=
        message->type == RAFT_APPEND_ENTRIES && message->append_entries.n_entries > 0;
    return 0;
}

static int catch_message(struct raft_io *io, struct raft_io_send *request,
                         const struct raft_message *message, raft_io_send_cb cb)
{
    int rc = hold_message(io, request, message, cb);
    cb(request, 0);
    return rc;
}

static void dismiss(struct raft_io_send *request, int status)
{
    *(int *)request->data = status;
}

Test(guard, what_is_on_its_way_to_a_silent_member_is_bounded)
{
    struct herd herd;
    static struct raft_io_send requests[64];
    static int status;
    struct raft_entry entry = {1, RAFT_COMMAND, {NULL, 1024 * 1024}, NULL};
    struct raft_message message = {
        .type = RAFT_APPEND_ENTRIES, .server_id = 77, .server_address = "x"};
    message.append_entries = (struct raft_append_entries){.entries = &entry, .n_entries = 1};
    herd_open(&herd, 1, 1, 1);
    struct replica *replica = herd.node[0].replica[0];
    replica->inner.send = hold_message;
    for (int i = 0; i < 64; i++) {
        requests[i].data = &status;
        cr_assert_eq(replica->io.send(&replica->io, &requests[i], &message, dismiss), 0);
    }
    cr_assert_eq(caught.count, 64);
    cr_assert_eq(caught.with_entries, REPLICA_PEER_BYTES_MAX / (1024 * 1024));
    for (int i = 0; i < 64; i++) {
        caught.held[i]->cb(caught.held[i], RAFT_CANCELED);
    }
    replica->inner.send = catch_message;
    cr_assert_eq(replica->io.send(&replica->io, &requests[0], &message, dismiss), 0);
    cr_assert_eq(caught.last.append_entries.n_entries, 1); /* there is room again */
    herd_close(&herd);
}

Test(guard, an_image_goes_with_its_own_term)
{
    struct herd herd;
    int status = 0;
    struct raft_io_send request = {.data = &status};
    struct raft_message message = {
        .type = RAFT_INSTALL_SNAPSHOT, .server_id = 77, .server_address = "x"};
    message.install_snapshot.last_term = 3;
    herd_open(&herd, 1, 1, 1);
    struct replica *replica = herd.node[0].replica[0];
    replica->inner.send = catch_message;
    replica->image_term = 7;
    cr_assert_eq(replica->io.send(&replica->io, &request, &message, dismiss), 0);
    cr_assert_eq(caught.last.install_snapshot.last_term, 7);
    herd_close(&herd);
}

static int fail_to_store(struct raft_io *io, raft_term term)
{
    (void)io;
    (void)term;
    return RAFT_NOSPACE;
}

/* Another's answer, in the name of this test. */
static void elect_beforehand(struct replica *replica, raft_id voter)
{
    struct raft_message message = {
        .type = RAFT_REQUEST_VOTE_RESULT, .server_id = voter, .server_address = "x"};
    message.request_vote_result =
        (struct raft_request_vote_result){.version = 2,
                                          .term = replica->raft.current_term + 1,
                                          .vote_granted = true,
                                          .pre_vote = true};
    replica_receive(&replica->io, &message);
}

Test(guard, who_cannot_store_its_term_takes_part_no_longer)
{
    struct herd herd;
    int status = 0;
    struct raft_io_send request = {.data = &status};
    struct raft_message message = {
        .type = RAFT_REQUEST_VOTE, .server_id = 1, .server_address = "x"};
    herd_open(&herd, 3, 3, 1);
    int leader = herd_await_leader(&herd, 0);
    int a = (leader + 1) % 3, b = (leader + 2) % 3;
    struct replica *replica = herd.node[a].replica[0];
    replica->inner.set_term = fail_to_store;
    herd_kill(&herd, leader);
    herd_kill(&herd, b);
    AWAIT(&herd.stage, replica->raft.state == RAFT_CANDIDATE);
    elect_beforehand(replica, herd.node[b].id);
    AWAIT(&herd.stage, herd.node[a].stopped[0][0] != '\0');
    replica->inner.send = catch_message;
    cr_assert_eq(replica->io.send(&replica->io, &request, &message, dismiss), 0);
    cr_assert_eq(caught.count, 0);
    cr_assert_eq(status, RAFT_CANCELED);
    cr_assert_eq(herd_propose(&herd, a, 0, TEXT("x")), REPLICA_STOPPED);
    herd_close(&herd);
}

/* Node 2 of three, the others of which are this test. */
static struct replica *open_lone_follower(struct herd *herd)
{
    herd_make(herd, 3, 3, 1);
    herd_start(herd, 1);
    struct replica *replica = herd->node[1].replica[0];
    replica->inner.send = catch_message;
    return replica;
}

static void inject(struct replica *replica, struct append what)
{
    struct raft_message message = append_message(what);
    replica_receive(&replica->io, &message);
    /* so that it does not stand itself, however slow this machine is */
    replica->raft.follower_state.randomized_election_timeout = PATIENCE_MS;
}

Test(guard, a_replica_is_told_first_what_is_committed)
{
    struct herd herd;
    struct replica *replica = open_lone_follower(&herd);
    struct raft *raft = &replica->raft;
    inject(replica, (struct append){100, 1, 1, 1, "4"});
    AWAIT(&herd.stage, raft->last_stored == 2);
    inject(replica, (struct append){100, 100, 2, 2, "5"});
    AWAIT(&herd.stage, raft->last_stored == 3);
    inject(replica, (struct append){101, 100, 2, 2, "c"});
    cr_assert_eq(raft->configuration.n, 4);
    AWAIT(&herd.stage, raft->last_stored == 3);
    herd_close(&herd);
}

Test(guard, a_replica_votes_once_its_leader_is_silent)
{
    struct herd herd;
    struct replica *replica = open_lone_follower(&herd);
    struct raft_message message = {
        .type = RAFT_REQUEST_VOTE, .server_id = 3, .server_address = "0000000000000003"};
    message.request_vote = (struct raft_request_vote){
        .version = 2, .term = 101, .candidate_id = 3, .last_log_index = 1, .last_log_term = 1};
    inject(replica, (struct append){100, 1, 1, 1, ""});
    uint64_t silent = replica->raft.election_timer_start + replica->raft.election_timeout;
    AWAIT(&herd.stage, uv_now(&herd.stage.loop) >= silent);
    replica_receive(&replica->io, &message);
    cr_assert_eq(caught.last.type, RAFT_REQUEST_VOTE_RESULT);
    cr_assert(caught.last.request_vote_result.vote_granted);
    herd_close(&herd);
}

/* Alone, the engine frees them twice on its way out. */
Test(guard, entries_that_do_not_fit_come_with_a_term_that_cannot_be_stored)
{
    struct herd herd;
    struct replica *replica = open_lone_follower(&herd);
    replica->inner.set_term = fail_to_store;
    inject(replica, (struct append){100, 1, 7, 1, "cc"});
    AWAIT(&herd.stage, herd.node[1].stopped[0][0] != '\0');
    herd_close(&herd);
}

/* The first of two would wait for the second for ever, had it died while it promoted that one. */
Test(guard, a_stand_by_votes_for_whom_it_may_vote_already)
{
    struct herd herd;
    herd_open(&herd, 2, 1, 1);
    cr_assert_eq(herd_change(&herd, 0, REPLICA_ADD, 1), REPLICA_CHANGED);
    herd_await_agreement(&herd, 0);
    struct replica *replica = herd.node[1].replica[0];
    AWAIT(&herd.stage, replica_status(replica).role == REPLICA_STANDBY);
    herd_kill(&herd, 0);
    uint64_t silent = replica->raft.election_timer_start + replica->raft.election_timeout;
    AWAIT(&herd.stage, uv_now(&herd.stage.loop) >= silent);
    replica->inner.send = catch_message;
    struct raft_message message = {
        .type = RAFT_REQUEST_VOTE, .server_id = 1, .server_address = "0000000000000001"};
    message.request_vote = (struct raft_request_vote){
        .version = 2, .term = 101, .candidate_id = 1, .last_log_index = 100, .last_log_term = 100};
    replica_receive(&replica->io, &message);
    cr_assert_eq(caught.last.type, RAFT_REQUEST_VOTE_RESULT);
    cr_assert(caught.last.request_vote_result.vote_granted);
    cr_assert_eq(replica_status(replica).role, REPLICA_STANDBY);
    herd_close(&herd);
}

Test(guard, who_votes_alone_begins_a_new_term_when_it_starts)
{
    struct herd herd;
    herd_open(&herd, 2, 1, 1);
    cr_assert_eq(herd_change(&herd, 0, REPLICA_ADD, 1), REPLICA_CHANGED);
    uint64_t term = replica_status(herd.node[0].replica[0]).term;
    herd_kill(&herd, 0);
    herd_start(&herd, 0);
    herd_await_leader(&herd, 0);
    cr_assert_gt(replica_status(herd.node[0].replica[0]).term, term);
    herd_close(&herd);
}

Test(guard, a_log_is_not_cut_between_two_changes_of_members)
{
    struct herd herd;
    herd_open(&herd, 2, 1, 1);
    cr_assert_eq(herd_change(&herd, 0, REPLICA_ADD, 1), REPLICA_CHANGED); /* two changes */
    herd_commit_many(&herd, 0, "entry", 10);
    herd_kill(&herd, 0); /* then it finds all committed at once, and its log too long */
    herd.log_entries = 8;
    herd_start(&herd, 0);
    AWAIT(&herd.stage, herd.node[0].ledger[0]->syncs > 0);
    herd_commit(&herd, 0, "entry");
    herd_kill(&herd, 0);
    herd_start(&herd, 0);
    cr_assert_eq(herd_change(&herd, 0, REPLICA_REMOVE, 1), REPLICA_CHANGED);
    herd_close(&herd);
}

/* An image as the leader would send it, of a ledger that is far ahead. */
static struct raft_message make_image(struct replica *replica, const struct ledger_state *state)
{
    struct raft_message message = {
        .type = RAFT_INSTALL_SNAPSHOT, .server_id = 1, .server_address = "0000000000000001"};
    struct raft_buffer encoded;
    struct ledger_state *copy = raft_malloc(sizeof *copy);
    *copy = *state;
    message.install_snapshot.term = raft_current_term(&replica->raft) + 1;
    message.install_snapshot.last_index = state->index;
    message.install_snapshot.last_term = state->term;
    message.install_snapshot.conf_index = 1;
    raft_configuration_encode(&replica->raft.configuration, &encoded);
    raft_configuration_decode(&encoded, &message.install_snapshot.conf);
    raft_free(encoded.base);
    message.install_snapshot.data = (struct raft_buffer){copy, sizeof *copy};
    return message;
}

Test(guard, an_image_that_comes_while_the_log_is_cut_is_put_off)
{
    struct herd herd;
    sem_t sem;
    sem_init(&sem, 0, 0);
    herd_make(&herd, 2, 2, 1);
    herd.log_entries = 8;
    for (int i = 0; i < 2; i++) {
        herd.node[i].ledger[0]->sync_waits = &sem;
        herd_start(&herd, i);
    }
    herd_commit_many(&herd, 0, "entry", 40);
    int follower = 1 - herd_await_leader(&herd, 0);
    struct replica *replica = herd.node[follower].replica[0];
    struct ledger *ledger = herd.node[follower].ledger[0];
    AWAIT(&herd.stage, replica->cutting);
    struct ledger_state far = ledger->live;
    far.index = raft_last_index(&replica->raft) + 100;
    far.term = raft_current_term(&replica->raft);
    for (int i = 0; i < 2; i++) {
        struct raft_message message = make_image(replica, &far);
        replica_receive(&replica->io, &message);
    }
    cr_assert_eq(ledger->installs, 0);
    for (int i = 0; i < 100; i++) {
        sem_post(&sem);
    }
    AWAIT(&herd.stage, ledger->installs == 1);
    AWAIT(&herd.stage, raft_last_applied(&replica->raft) >= far.index);
    herd_close(&herd);
    sem_destroy(&sem);
}

/* ---- who stands for election ------------------------------------------------------------------------------------- */

Test(guard, who_hears_nobody_goes_on_to_no_later_term)
{
    struct herd herd;
    struct replica *replica = open_lone_follower(&herd);
    struct raft *raft = &replica->raft;
    AWAIT(&herd.stage, raft->state == RAFT_CANDIDATE);
    raft_term term = raft->current_term;
    uint64_t later = uv_now(&herd.stage.loop) + 3 * (uint64_t)raft->election_timeout;
    AWAIT(&herd.stage, uv_now(&herd.stage.loop) >= later);
    cr_assert_eq(raft->current_term, term);
    elect_beforehand(replica, 3); /* and is cut off again */
    cr_assert_eq(raft->current_term, term + 1);
    later = uv_now(&herd.stage.loop) + 3 * (uint64_t)raft->election_timeout;
    AWAIT(&herd.stage, uv_now(&herd.stage.loop) >= later);
    cr_assert_eq(raft->current_term, term + 1);
    herd_close(&herd);
}

Test(guard, whom_a_replica_refuses_beforehand_it_tells_its_term)
{
    struct herd herd;
    struct replica *replica = open_lone_follower(&herd);
    struct raft_message message = {
        .type = RAFT_REQUEST_VOTE, .server_id = 3, .server_address = "0000000000000003"};
    message.request_vote = (struct raft_request_vote){.version = 2,
                                                      .term = 3,
                                                      .candidate_id = 3,
                                                      .last_log_index = 1,
                                                      .last_log_term = 1,
                                                      .pre_vote = true};
    inject(replica, (struct append){100, 1, 1, 1, ""});
    replica_receive(&replica->io, &message);
    cr_assert_eq(caught.last.type, RAFT_REQUEST_VOTE_RESULT);
    cr_assert_not(caught.last.request_vote_result.vote_granted);
    cr_assert_eq(caught.last.request_vote_result.term, 100);
    cr_assert_eq(raft_current_term(&replica->raft), 100);
    herd_close(&herd);
}

static void hear_nothing(struct raft_io *io, struct raft_message *message)
{
    (void)io;
    if (message->type == RAFT_APPEND_ENTRIES && message->append_entries.n_entries > 0) {
        raft_free(message->append_entries.entries[0].batch);
        raft_free(message->append_entries.entries);
    }
}

/* One that comes back from where it heard nobody, and one that leads meanwhile. */
Test(guard, who_comes_back_unseats_nobody)
{
    struct herd herd;
    herd_open(&herd, 3, 3, 1);
    int leader = herd_await_leader(&herd, 0), other = (leader + 1) % 3;
    struct replica *cut = herd.node[other].replica[0];
    uint64_t term = replica_status(herd.node[leader].replica[0]).term;
    raft_io_recv_cb deaf = cut->recv;
    cut->recv = hear_nothing;
    AWAIT(&herd.stage, cut->raft.state == RAFT_CANDIDATE);
    uint64_t later = uv_now(&herd.stage.loop) + 4 * (uint64_t)cut->raft.election_timeout;
    AWAIT(&herd.stage, uv_now(&herd.stage.loop) >= later);
    cut->recv = deaf;
    AWAIT(&herd.stage, replica_leader(cut) == herd.node[leader].id);
    cr_assert_eq(replica_status(herd.node[leader].replica[0]).term, term);
    cr_assert_eq(herd_leader(&herd, 0), leader);
    herd_close(&herd);
}
