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
