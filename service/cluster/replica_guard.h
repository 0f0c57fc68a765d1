/*
 * Where libraft 0.22.1 must not be left alone. Each of these is a question with a plain answer; replica_io.c asks them
 * and acts. What is guarded against, and how, stands with each; the tests show the engine going wrong without.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_REPLICA_GUARD_H
#define RINGHOLD_SERVICE_CLUSTER_REPLICA_GUARD_H

#include <raft.h>

/*
 * How many of the entries go into this message. A follower notes a change of members at the index of the message's first
 * new entry, whichever place it has: so a change must be the first, and a message ends before one. A message is
 * in memory whole, on both sides: so it has at most `bytes_max` of them, and at least one.
 */
unsigned guard_batch(const struct raft_append_entries *message, size_t bytes_max);

/*
 * Whether the message has to wait until what it begins with, a change of members, is on the leader's own disk. Of two voters
 * one of which is demoted by it, the other would lead alone; had it crashed without the entry, which came to the demoted
 * one, neither could be elected: the one lacks the entry, the other does not vote by it.
 */
bool guard_store_first(const struct raft *leader, const struct raft_append_entries *message);

/*
 * Whether the follower has to be told first what is committed before it gets this message. It keeps one change of
 * members that is not committed, and forgets that one, committed or not, for a newer: rolled back, it would then return
 * to a membership from before both.
 */
bool guard_commit_first(const struct raft *follower, const struct raft_append_entries *message);

/*
 * Whether a follower may vote although it has a leader: it has not heard from it for the least election timeout. (The
 * engine waits for the random one, so that of two followers the first that asks is always refused, and half of all
 * elections after a leader's death are lost to it.)
 */
bool guard_may_vote(const struct raft *follower, raft_time now);

/*
 * How long a follower hears nothing of its leader before it asks for votes. The engine draws lots, and of two that draw
 * about the same neither is elected: with many groups some are without a leader for seconds. So the voters that are left
 * have an order, another one in each group, and each waits a third of the least election timeout longer than the one before
 * it, which has been elected by then, if it is there and has what the others have.
 * A stand-by has the longest: when it is over the engine begins its timer anew, and it would seem to have heard just now.
 */
unsigned guard_patience(const struct raft *follower, uint64_t group);

/*
 * What becomes of a leader whose process seemed to have ended at `at`: it is THERE when it was heard of since, but for last
 * words that had been on their way, or is none any more; GONE when it was not for REPLICA_LOST_MS; else it WAITS to be one
 * or the other.
 */
enum guard_lost { GUARD_LOST_WAITS, GUARD_LOST_THERE, GUARD_LOST_GONE };
enum guard_lost guard_lost(const struct raft *follower, raft_id leader, raft_time at,
                           raft_time now);

/*
 * Whether a voter that is asked for its vote, in this request, should ask for itself soon. Either it has refused because it
 * has more of the log: it follows nobody and has voted for nobody in that term. Or it is asked beforehand (pre-vote), has
 * itself heard nothing for the least election timeout or, `lost`, knows that its leader's process ended, and has more of
 * the log. (The engine has both wait anew, for as long as for a silent leader; and under load one follower always is a
 * little behind.) After the engine has taken the request in.
 */
bool guard_asks_itself(const struct raft *voter, const struct raft_request_vote *request, bool lost,
                       raft_time now);

/*
 * The term for the answer to a request for a vote. A pre-vote that is refused is answered by the engine with the term that
 * was asked for, so that a candidate with more of the log but an older term never learns of the newer one, in which it would
 * be elected, and the one with the newer is refused for its log: the group is without a leader for good. So it is told.
 */
raft_term guard_vote_term(const struct raft *voter, const struct raft_request_vote_result *answer);

/*
 * Whether an answer to a request for a vote is to be left out: it is one of a pre-vote that is over. (The engine reads
 * whether it is in a pre-vote even where it is no candidate any more, from what is something else then; and would go on to
 * the answer's term, which nobody may be in yet. The leader that it follows would be unseated by that.)
 */
bool guard_is_late(const struct raft *replica, const struct raft_request_vote_result *answer);

/*
 * Whether a candidate whose time is over has to begin with a pre-vote. (The engine does so the first time only: one that
 * was cut off after its pre-vote, or that was to take over, would go on from term to term.)
 */
bool guard_begins_anew(const struct raft *candidate, raft_time now);

/*
 * The follower itself in its membership, when it does not vote in that; else NULL. It must vote all the same for who asks
 * it: in a newer membership than its own, which has not come to it yet, its vote may be the one that is missing. (The
 * engine refuses it. A leader that dies while it promotes a second voter would never be elected again.)
 */
struct raft_server *guard_standing_by(const struct raft *follower);

/*
 * How many of the message's first entries the follower has cut from its log. A message that is sent again, because its
 * answer is late, may begin before the log; the engine would take what it does not find there for new, and append it
 * behind the end. So a message begins behind the cut.
 */
unsigned guard_cut(const struct raft *follower, const struct raft_append_entries *message);

/*
 * Whether it is noted which members are committed. Where two changes are committed at once the engine takes a snapshot
 * between them, if it is due, with the members of the first; a replica that starts from that one never changes its members
 * again. So the log is not cut then.
 */
bool guard_members_known(const struct raft *raft);

/*
 * Whether a replica that loads this will vote alone. The engine then makes it the leader at once, in the term that it has
 * stored, which it may have led before: entries that it lost with a crash, and that a stand-by has, would be replaced by
 * others of the same index and term. So it must begin a new term first.
 */
bool guard_votes_alone(raft_id self, const struct raft_snapshot *snapshot,
                       const struct raft_entry entries[], size_t count);

#endif
