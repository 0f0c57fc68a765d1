/*
 * Followers whose leader is gone. One that has only fallen silent is waited for as long as guard_patience says. One whose
 * process has ended, as somebody has noticed who was connected to it, is not: unless it says something after all,
 *
 *     lost ─► REPLICA_LOST_MS without a word ─► the first voter asks for votes, the others may vote at once
 *        └─ a word ─► it is there
 */
#include "service/cluster/replica_guard.h"
#include "service/cluster/replica_state.h"

void replica_heard(struct replica *replica)
{
    struct raft *raft = &replica->raft;
    if (raft->state == RAFT_FOLLOWER && raft->follower_state.current_leader.id != 0) {
        raft->follower_state.randomized_election_timeout = guard_patience(raft, replica->group);
    }
}

void replica_lost(struct replica *replica, uint64_t node)
{
    raft_time now = replica->io.time(&replica->io);
    if (guard_lost(&replica->raft, node, now, now) == GUARD_LOST_WAITS) {
        replica->lost = node;
        replica->lost_at = now;
    }
}

/* The leader has been silent for as long as must be, to us: we may vote for another, and the first may ask for votes. */
static void give_up(struct replica *replica, raft_time now)
{
    replica->raft.election_timer_start = now - replica->raft.election_timeout;
    replica->tick(&replica->io);
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
        give_up(replica, now);
    }
}
