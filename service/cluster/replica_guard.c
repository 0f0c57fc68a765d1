#include "service/cluster/replica_guard.h"

#include "db/limits.h"

unsigned guard_batch(const struct raft_append_entries *message, size_t bytes_max)
{
    size_t bytes = 0;
    unsigned n = 0;
    while (n < message->n_entries) {
        const struct raft_entry *entry = &message->entries[n];
        bytes += entry->buf.len;
        if (n > 0 && (entry->type == RAFT_CHANGE || bytes > bytes_max)) {
            break;
        }
        n++;
    }
    return n;
}

bool guard_store_first(const struct raft *leader, const struct raft_append_entries *message)
{
    return message->n_entries > 0 && message->entries[0].type == RAFT_CHANGE &&
           message->prev_log_index + 1 > leader->last_stored;
}

static bool has_change(const struct raft_append_entries *message)
{
    for (unsigned i = 0; i < message->n_entries; i++) {
        if (message->entries[i].type == RAFT_CHANGE) {
            return true;
        }
    }
    return false;
}

bool guard_commit_first(const struct raft *follower, const struct raft_append_entries *message)
{
    raft_index uncommitted = follower->configuration_uncommitted_index;
    return uncommitted != 0 && uncommitted <= message->prev_log_index &&
           uncommitted <= message->leader_commit && has_change(message);
}

bool guard_may_vote(const struct raft *follower, raft_time now)
{
    return follower->state == RAFT_FOLLOWER &&
           now >= follower->election_timer_start + follower->election_timeout;
}

/* Its place among the voters without its leader: 0 is the first. */
static unsigned rank_of(const struct raft *follower, uint64_t group)
{
    const struct raft_configuration *members = &follower->configuration;
    unsigned voters = 0, place = 0;
    for (unsigned i = 0; i < members->n; i++) {
        const struct raft_server *server = &members->servers[i];
        if (server->role == RAFT_VOTER &&
            server->id != follower->follower_state.current_leader.id) {
            place = server->id == follower->id ? voters : place;
            voters++;
        }
    }
    return voters == 0 ? 0 : (place + voters - (unsigned)(group % voters)) % voters;
}

static bool votes(const struct raft *replica)
{
    const struct raft_configuration *members = &replica->configuration;
    bool found = false;
    for (unsigned i = 0; i < members->n; i++) {
        found |= members->servers[i].id == replica->id && members->servers[i].role == RAFT_VOTER;
    }
    return found;
}

unsigned guard_patience(const struct raft *follower, uint64_t group)
{
    if (!votes(follower)) {
        return 2 * follower->election_timeout; /* it never asks */
    }
    unsigned least = follower->election_timeout;
    unsigned longer = rank_of(follower, group) * least / 3;
    return least + (longer < least ? longer : least);
}

enum guard_lost guard_lost(const struct raft *follower, raft_id leader, raft_time at, raft_time now)
{
    if (follower->state != RAFT_FOLLOWER || follower->follower_state.current_leader.id != leader ||
        follower->election_timer_start > at + REPLICA_LAST_WORDS_MS) {
        return GUARD_LOST_THERE;
    }
    return now < at + REPLICA_LOST_MS ? GUARD_LOST_WAITS : GUARD_LOST_GONE;
}

static raft_term last_term(const struct raft_trail *trail)
{
    return trail->front == trail->back
               ? trail->snapshot.term
               : trail->records[(trail->back + trail->size - 1) % trail->size].term;
}

/* Whether it has entries that who asks has not. */
static bool has_more(const struct raft *voter, const struct raft_request_vote *request)
{
    raft_index last =
        raft_last_index((struct raft *)voter); /* the engine's question is not const */
    raft_term term = last_term(&voter->trail);
    return term > request->last_log_term ||
           (term == request->last_log_term && last > request->last_log_index);
}

bool guard_asks_itself(const struct raft *voter, const struct raft_request_vote *request, bool lost,
                       raft_time now)
{
    if (voter->state != RAFT_FOLLOWER) {
        return false;
    }
    if (request->pre_vote) {
        return (lost || guard_may_vote(voter, now)) && has_more(voter, request);
    }
    return voter->follower_state.current_leader.id == 0 && voter->current_term == request->term &&
           voter->voted_for == 0;
}

raft_term guard_vote_term(const struct raft *voter, const struct raft_request_vote_result *answer)
{
    bool refused = answer->pre_vote && !answer->vote_granted;
    return refused && voter->current_term > answer->term ? voter->current_term : answer->term;
}

bool guard_is_late(const struct raft *replica, const struct raft_request_vote_result *answer)
{
    return answer->version > 1 && answer->pre_vote &&
           (replica->state != RAFT_CANDIDATE || !replica->candidate_state.in_pre_vote);
}

bool guard_begins_anew(const struct raft *candidate, raft_time now)
{
    return candidate->state == RAFT_CANDIDATE && !candidate->candidate_state.in_pre_vote &&
           now >= candidate->election_timer_start +
                      candidate->candidate_state.randomized_election_timeout;
}

unsigned guard_cut(const struct raft *follower, const struct raft_append_entries *message)
{
    raft_index cut = follower->trail.snapshot.index;
    if (message->prev_log_index >= follower->trail.offset || message->prev_log_index >= cut) {
        return 0;
    }
    raft_index before = cut - message->prev_log_index;
    return before < message->n_entries ? (unsigned)before : message->n_entries;
}

bool guard_members_known(const struct raft *raft)
{
    raft_index uncommitted = raft->configuration_uncommitted_index;
    return uncommitted == 0 || uncommitted > raft->commit_index;
}

struct raft_server *guard_standing_by(const struct raft *follower)
{
    for (unsigned i = 0; i < follower->configuration.n; i++) {
        struct raft_server *server = &follower->configuration.servers[i];
        if (server->id == follower->id && server->role != RAFT_VOTER) {
            return server;
        }
    }
    return NULL;
}

static bool is_only_voter(raft_id self, const struct raft_configuration *members)
{
    unsigned voters = 0;
    bool votes = false;
    for (unsigned i = 0; i < members->n; i++) {
        voters += members->servers[i].role == RAFT_VOTER;
        votes |= members->servers[i].role == RAFT_VOTER && members->servers[i].id == self;
    }
    return votes && voters == 1;
}

bool guard_votes_alone(raft_id self, const struct raft_snapshot *snapshot,
                       const struct raft_entry entries[], size_t count)
{
    struct raft_configuration members;
    while (count > 0 && entries[count - 1].type != RAFT_CHANGE) {
        count--;
    }
    if (count == 0) {
        return snapshot != NULL && is_only_voter(self, &snapshot->configuration);
    }
    if (raft_configuration_decode(&entries[count - 1].buf, &members) != 0) {
        return false; /* the engine will not open that log */
    }
    bool alone = is_only_voter(self, &members);
    raft_configuration_close(&members);
    return alone;
}
