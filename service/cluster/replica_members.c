/*
 * A step of membership:
 *
 *     NONE ─► DRAINING ─quiet─► SUBMITTED ─► ANSWERED ─┬─► OVER ─► NONE, done
 *                 └─ not in time ─► OVER               └─ a new member: DRAINING again, to make it a stand-by
 *
 * It is submitted only when nothing is in flight and the leader has committed an entry of its own term; proposals wait
 * until it is in the log. (The engine appends no such entry of itself when its log was committed already; two leaders
 * could then each commit a membership that the other's majority knows nothing of. And a change that follows other entries
 * is noted at the wrong place: guard_batch.)
 */
#include "service/cluster/replica_state.h"

#include <stdlib.h>
#include <string.h>

static const struct raft_server *member(const struct replica *replica, uint64_t node)
{
    const struct raft_configuration *members = &replica->raft.configuration;
    for (unsigned i = 0; i < members->n; i++) {
        if (members->servers[i].id == node) {
            return &members->servers[i];
        }
    }
    return NULL;
}

static enum replica_role role_of(const struct raft_server *server)
{
    if (server == NULL) {
        return REPLICA_OUTSIDE;
    }
    return server->role == RAFT_VOTER     ? REPLICA_VOTER
           : server->role == RAFT_STANDBY ? REPLICA_STANDBY
                                          : REPLICA_SPARE;
}

static uint64_t match_of(const struct replica *replica, uint64_t node)
{
    raft_index match = 0;
    return raft_match_index(&replica->raft, node, &match) == 0 ? match : 0;
}

int replica_members(const struct replica *replica, struct replica_member ret[])
{
    const struct raft_configuration *members = &replica->raft.configuration;
    int count = members->n < REPLICA_MEMBERS_MAX ? (int)members->n : REPLICA_MEMBERS_MAX;
    for (int i = 0; i < count; i++) {
        const struct raft_server *server = &members->servers[i];
        uint64_t match = match_of(replica, server->id);
        ret[i] =
            (struct replica_member){.node = server->id, .role = role_of(server), .match = match};
        replica_image_on_way(replica, server->id, match, &ret[i].image_bytes, &ret[i].image_sent);
    }
    return count;
}

bool replica_members_hold(const struct replica *replica)
{
    return replica->step == CHANGE_DRAINING ||
           (replica_transferring(replica) && replica->transfer != TRANSFER_SOUGHT);
}

/* ---- changes ------------------------------------------------------------------------------------------------------ */

static void over(struct replica *replica, enum replica_changed outcome)
{
    replica->step = CHANGE_OVER;
    replica->changed = outcome;
}

static uint64_t behind(const struct replica *replica)
{
    return raft_last_index((struct raft *)&replica->raft) - match_of(replica, replica->change_node);
}

/* Whether the step makes sense for the member as it is: CHANGED, there is nothing left to do; UNKNOWN, it has to be done;
   anything else, why it is not. */
static enum replica_changed judge(const struct replica *replica)
{
    enum replica_role role = role_of(member(replica, replica->change_node));
    bool self = replica->change_node == replica->node;
    switch (replica->change) {
    case REPLICA_ADD:
        if (role == REPLICA_OUTSIDE && replica->raft.configuration.n >= REPLICA_MEMBERS_MAX) {
            return REPLICA_CHANGE_INVALID;
        }
        return role >= REPLICA_STANDBY ? REPLICA_CHANGED : REPLICA_CHANGE_UNKNOWN;
    case REPLICA_PROMOTE:
        if (role == REPLICA_STANDBY && behind(replica) > REPLICA_CATCH_UP_MAX) {
            return REPLICA_CHANGE_BEHIND;
        }
        return role == REPLICA_VOTER     ? REPLICA_CHANGED
               : role == REPLICA_STANDBY ? REPLICA_CHANGE_UNKNOWN
                                         : REPLICA_CHANGE_INVALID;
    case REPLICA_DEMOTE:
        return role == REPLICA_STANDBY          ? REPLICA_CHANGED
               : role == REPLICA_VOTER && !self ? REPLICA_CHANGE_UNKNOWN
                                                : REPLICA_CHANGE_INVALID;
    case REPLICA_REMOVE:
        return role == REPLICA_OUTSIDE ? REPLICA_CHANGED
               : self                  ? REPLICA_CHANGE_INVALID
                                       : REPLICA_CHANGE_UNKNOWN;
    }
    return REPLICA_CHANGE_INVALID;
}

static void changed(struct raft_change *request, int status)
{
    struct replica *replica = request->data;
    if (replica->step == CHANGE_SUBMITTED) { /* the engine may answer what it had refused before */
        replica->step = CHANGE_ANSWERED;
        replica->change_status = status;
    }
}

static int hand_over(struct replica *replica)
{
    struct raft *raft = &replica->raft;
    struct raft_change *request = &replica->change_request;
    uint64_t node = replica->change_node;
    char name[TRANSPORT_NAME_BYTES];
    transport_name(node, name);
    request->data = replica;
    switch (replica->change) {
    case REPLICA_ADD:
        return member(replica, node) == NULL
                   ? raft_add(raft, request, node, name, changed)
                   : raft_assign(raft, request, node, RAFT_STANDBY, changed);
    case REPLICA_PROMOTE:
        return raft_assign(raft, request, node, RAFT_VOTER, changed);
    case REPLICA_DEMOTE:
        return raft_assign(raft, request, node, RAFT_STANDBY, changed);
    case REPLICA_REMOVE:
        return raft_remove(raft, request, node, changed);
    }
    return RAFT_INVALID;
}

/* Submits when it is quiet; a promoted one must have everything then, so that the engine changes it at once. */
static void drain(struct replica *replica)
{
    bool late = replica_now(replica) >= replica->change_until;
    bool promoting = replica->change == REPLICA_PROMOTE;
    if (raft_state(&replica->raft) != RAFT_LEADER || replica->failed || replica->closing) {
        over(replica, REPLICA_CHANGE_NOT_LEADER);
    } else if (replica_confirmed(replica) && replica_quiet(replica) &&
               !(promoting && behind(replica) > 0)) {
        int rc = hand_over(replica);
        if (rc == 0) {
            replica->step = CHANGE_SUBMITTED;
        } else {
            over(replica, replica->failed ? REPLICA_CHANGE_UNKNOWN : REPLICA_CHANGE_BUSY);
        }
    } else if (late) {
        over(replica,
             promoting && behind(replica) > 0 ? REPLICA_CHANGE_BEHIND : REPLICA_CHANGE_BUSY);
    }
}

static void answer(struct replica *replica)
{
    if (replica->change_status != 0) {
        over(replica, REPLICA_CHANGE_UNKNOWN);
        return;
    }
    enum replica_changed rest = judge(replica);
    if (replica->change == REPLICA_ADD && rest == REPLICA_CHANGE_UNKNOWN) {
        replica->step = CHANGE_DRAINING;
        replica->change_until = replica_now(replica) + REPLICA_CHANGE_MS;
    } else {
        over(replica, REPLICA_CHANGED);
    }
}

void replica_change(struct replica *replica, enum replica_change change, uint64_t node,
                    replica_change_done *done, void *context)
{
    if (replica->step != CHANGE_NONE) {
        done(context, REPLICA_CHANGE_BUSY);
        return;
    }
    replica->change = change;
    replica->change_node = node;
    replica->change_done = done;
    replica->change_context = context;
    replica->change_until = replica_now(replica) + REPLICA_CHANGE_MS;
    enum replica_changed now = REPLICA_CHANGE_NOT_LEADER;
    if (!replica->failed && !replica->closing && raft_state(&replica->raft) == RAFT_LEADER) {
        now = replica_transferring(replica) ? REPLICA_CHANGE_BUSY : judge(replica);
    }
    if (now == REPLICA_CHANGE_UNKNOWN) {
        replica->step = CHANGE_DRAINING;
    } else {
        over(replica, now); /* told by the next turn */
    }
}

/* ---- leadership --------------------------------------------------------------------------------------------------- */

/*
 *     NONE ─► SOUGHT ─it answers─► DRAINING ─it has everything─► STARTED ─► OVER ─► NONE, done
 *                └─ not in time ─► OVER ◄─ not in time ─┘
 *
 * Proposals wait from DRAINING on: so the next leader must first store what was in the log when it was sought. One that was
 * there a moment ago may have gone since, as one does whose disk is full, and the group would do nothing until the time is up.
 * The engine would wait for everything too, but takes any answer of the next leader's for the last one; that one then
 * refuses to be elected, with the same end.
 */

/* The voter that has most of the log; 0 when there is no other. */
static uint64_t best_voter(const struct replica *replica)
{
    const struct raft_configuration *members = &replica->raft.configuration;
    uint64_t best = 0, best_match = 0;
    for (unsigned i = 0; i < members->n; i++) {
        const struct raft_server *server = &members->servers[i];
        uint64_t match = match_of(replica, server->id);
        if (server->id != replica->node && server->role == RAFT_VOTER &&
            (best == 0 || match > best_match)) {
            best = server->id;
            best_match = match;
        }
    }
    return best;
}

static void transferred(struct raft_transfer *request)
{
    struct replica *replica = request->data;
    raft_id leader = 0;
    const char *name;
    raft_leader(&replica->raft, &leader, &name);
    replica->transfer = TRANSFER_OVER;
    replica->transfer_moved = leader == replica->transfer_to;
}

static void transfer_in(struct replica *replica, enum transfer_step step, unsigned ms_max)
{
    replica->transfer = step;
    replica->transfer_until = replica_now(replica) + ms_max;
}

/* Whether it can be given up, or must be: this replica leads no more, or it takes too long. */
static bool transfer_is_late(const struct replica *replica)
{
    bool leads = raft_state((struct raft *)&replica->raft) == RAFT_LEADER && !replica->failed &&
                 !replica->closing;
    return !leads || replica_now(replica) >= replica->transfer_until;
}

static void seek(struct replica *replica)
{
    if (transfer_is_late(replica)) {
        replica->transfer = TRANSFER_OVER;
    } else if (match_of(replica, replica->transfer_to) >= replica->transfer_from) {
        transfer_in(replica, TRANSFER_DRAINING, REPLICA_DRAIN_MS);
    }
}

static void drain_transfer(struct replica *replica)
{
    struct raft *raft = &replica->raft;
    bool has_all = match_of(replica, replica->transfer_to) == raft_last_index(raft);
    if (transfer_is_late(replica)) {
        replica->transfer = TRANSFER_OVER;
    } else if (has_all && replica_quiet(replica)) {
        replica->transfer_request.data = replica;
        replica->transfer = TRANSFER_STARTED;
        if (raft_transfer(raft, &replica->transfer_request, replica->transfer_to, transferred) !=
            0) {
            replica->transfer = TRANSFER_OVER;
        }
    }
}

/* Whether a voter has answered this leader, and is not far behind. One that has not may be dead, as the leader before is
   whom the table still prefers: to wait for it would hold every proposal back, for nothing. */
static bool is_in_touch(const struct replica *replica, uint64_t node)
{
    uint64_t match = match_of(replica, node);
    return match > 0 &&
           match + REPLICA_CATCH_UP_MAX >= raft_last_index((struct raft *)&replica->raft);
}

bool replica_transfer(struct replica *replica, uint64_t to, void (*done)(void *context, bool moved),
                      void *context)
{
    if (replica->failed || replica->closing || replica_transferring(replica) ||
        replica->step != CHANGE_NONE || raft_state(&replica->raft) != RAFT_LEADER) {
        return false;
    }
    to = to != 0 ? to : best_voter(replica);
    if (to == replica->node || role_of(member(replica, to)) != REPLICA_VOTER ||
        !is_in_touch(replica, to)) {
        return false;
    }
    replica->transfer_moved = false;
    replica->transfer_to = to;
    replica->transfer_from = raft_last_index(&replica->raft);
    replica->transfer_done = done;
    replica->transfer_context = context;
    transfer_in(replica, TRANSFER_SOUGHT, REPLICA_SEEK_MS);
    seek(replica);
    return true;
}

/* Of the entry in the log; 0 when that is not known any more. */
static raft_term term_at(const struct raft_trail *trail, raft_index index)
{
    for (unsigned i = trail->front; index > trail->offset && i != trail->back;
         i = (i + 1) % trail->size) {
        if (trail->records[i].index >= index) {
            return trail->records[i].term;
        }
    }
    return index == trail->snapshot.index ? trail->snapshot.term : 0;
}

static void word_sent(struct raft_io_send *request, int status)
{
    (void)status;
    free(request);
}

/* Whose log ends there asks for votes. */
static void send_word(struct replica *replica, uint64_t heir, raft_index end)
{
    struct raft *raft = &replica->raft;
    char name[TRANSPORT_NAME_BYTES];
    transport_name(heir, name);
    struct raft_message word = {.type = RAFT_TIMEOUT_NOW,
                                .server_id = heir,
                                .server_address = name,
                                .timeout_now = {.term = raft_current_term(raft),
                                                .last_log_index = end,
                                                .last_log_term = term_at(&raft->trail, end)}};
    struct raft_io_send *request = calloc(1, sizeof *request);
    if (request != NULL && replica->inner.send(&replica->io, request, &word, word_sent) != 0) {
        free(request);
    }
}

/* The heir may have more than it has told of, by what is on its way: a word for each place where its log may end. */
void replica_abdicate(struct replica *replica)
{
    struct raft *raft = &replica->raft;
    uint64_t heir = best_voter(replica);
    raft_index match = match_of(replica, heir), last = raft_last_index(raft);
    if (raft_state(raft) != RAFT_LEADER || heir == 0 || match == 0 ||
        last - match > REPLICA_UNCOMMITTED_MAX) {
        return;
    }
    for (raft_index end = match; end <= last; end++) {
        send_word(replica, heir, end);
    }
}

/* ---- the turn ----------------------------------------------------------------------------------------------------- */

static void tell_transfer(struct replica *replica)
{
    replica->transfer = TRANSFER_NONE;
    replica->transfer_done(replica->transfer_context, replica->transfer_moved);
}

static void tell_change(struct replica *replica)
{
    replica->step = CHANGE_NONE;
    replica->change_done(replica->change_context, replica->changed);
}

void replica_members_turn(struct replica *replica)
{
    if (replica->transfer == TRANSFER_SOUGHT) {
        seek(replica);
    }
    if (replica->transfer == TRANSFER_DRAINING) {
        drain_transfer(replica);
    }
    if (replica->transfer == TRANSFER_OVER) {
        tell_transfer(replica);
    }
    if (replica->step == CHANGE_DRAINING) {
        drain(replica);
    }
    if (replica->step == CHANGE_ANSWERED) {
        answer(replica);
    }
    if (replica->step == CHANGE_OVER) {
        tell_change(replica);
    }
}

void replica_members_end(struct replica *replica)
{
    if (replica_transferring(replica)) {
        tell_transfer(replica);
    }
    if (replica->step != CHANGE_NONE) {
        if (replica->step != CHANGE_OVER) {
            over(replica, replica->step == CHANGE_DRAINING ? REPLICA_CHANGE_NOT_LEADER
                                                           : REPLICA_CHANGE_UNKNOWN);
        }
        tell_change(replica);
    }
}
