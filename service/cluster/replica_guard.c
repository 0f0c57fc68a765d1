#include "service/cluster/replica_guard.h"

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
