/*
 * Followers whose leader is gone. One that has only fallen silent is waited for as long as guard_patience says. One whose
 * process has ended, as somebody has noticed who was connected to it, is not: unless it says something after all,
 *
 *     lost ─► REPLICA_LOST_MS without a word ─► the first voter asks for votes, the others may vote at once
 *        └─ a word ─► it is there
 */
#include "service/cluster/replica_guard.h"
#include "service/cluster/replica_state.h"

/* As after the least election timeout without a word: it may vote for another now, and ask for votes when its turn is. */
static void has_waited(struct replica *replica)
{
    struct raft *raft = &replica->raft;
    raft->follower_state.randomized_election_timeout = guard_patience(raft, replica->group);
    raft->election_timer_start = replica->io.time(&replica->io) - raft->election_timeout;
}

void replica_heard(struct replica *replica)
{
    struct raft *raft = &replica->raft;
    if (raft->state == RAFT_FOLLOWER && raft->follower_state.current_leader.id != 0) {
        raft->follower_state.randomized_election_timeout = guard_patience(raft, replica->group);
    }
}

void replica_asked(struct replica *replica, const struct raft_request_vote *request)
{
    raft_time now = replica->io.time(&replica->io);
    if (guard_asks_itself(&replica->raft, request, replica->lost != 0, now)) {
        has_waited(replica);
    }
}

void replica_lost(struct replica *replica, uint64_t node)
{
    raft_time now = replica->io.time(&replica->io);
    if (replica->lost != node && guard_lost(&replica->raft, node, now, now) == GUARD_LOST_WAITS) {
        replica->lost = node;
        replica->lost_at = now;
    }
}

void replica_lost_turn(struct replica *replica)
{
    struct raft *raft = &replica->raft;
    raft_time now = replica->io.time(&replica->io);
    if (replica->lost == 0) {
        return;
    }
    enum guard_lost lost = guard_lost(raft, replica->lost, replica->lost_at, now);
    replica->lost = lost == GUARD_LOST_WAITS ? replica->lost : 0;
    if (lost == GUARD_LOST_GONE) {
        has_waited(replica);
        replica_tick(&replica->io);
    }
}
