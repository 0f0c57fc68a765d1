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

unsigned guard_patience(const struct raft *follower, uint64_t group)
{
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

bool guard_asks_itself(const struct raft *voter, raft_term asked)
{
    return voter->state == RAFT_FOLLOWER && voter->follower_state.current_leader.id == 0 &&
           voter->current_term == asked && voter->voted_for == 0;
}
