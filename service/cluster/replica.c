/*
 *     open ─► running ─┬─► failed (told, takes part no longer) ─► close
 *                      └─► close: works end ─► the engine closes ─► the ground closes ─► gone
 */
#include "service/cluster/replica_state.h"
#include "service/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- failure ------------------------------------------------------------------------------------------------------ */

void replica_fail(struct replica *replica, const char *format, ...)
{
    if (replica->failed) {
        return; /* the first is the cause */
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(replica->why, sizeof replica->why, format, arguments);
    va_end(arguments);
    replica->failed = true;
    LOG(LOG_ERROR, "replica-stopped", LOG_INT("group", (int64_t)replica->group),
        LOG_STRING("why", replica->why));
}

/* ---- what can be seen of it --------------------------------------------------------------------------------------- */

uint64_t replica_leader(const struct replica *replica)
{
    raft_id id = 0;
    const char *name;
    if (!replica->failed && !replica->closing) {
        raft_leader((struct raft *)&replica->raft, &id, &name);
    }
    return id;
}

static enum replica_role own_role(const struct replica *replica)
{
    switch (raft_role((struct raft *)&replica->raft)) {
    case RAFT_VOTER:
        return REPLICA_VOTER;
    case RAFT_STANDBY:
        return REPLICA_STANDBY;
    case RAFT_SPARE:
        return REPLICA_SPARE;
    default:
        return REPLICA_OUTSIDE;
    }
}

struct replica_status replica_status(const struct replica *replica)
{
    struct raft *raft = (struct raft *)&replica->raft; /* the engine's questions are not const */
    bool leads = raft_state(raft) == RAFT_LEADER && !replica->failed && !replica->closing;
    struct replica_status status = {.term = raft_current_term(raft),
                                    .leader = replica_leader(replica),
                                    .leads = leads,
                                    .ready = leads && replica_confirmed(replica),
                                    .role = own_role(replica),
                                    .last = raft_last_index(raft),
                                    .committed = raft_commit_index(raft),
                                    .applied = raft_last_applied(raft),
                                    .uncommitted = replica->open,
                                    .changing = replica->step != CHANGE_NONE,
                                    .transferring = replica_transferring(replica)};
    return status;
}

static void tell_changes(struct replica *replica)
{
    struct replica_status now = replica_status(replica);
    const struct replica_status *told = &replica->told;
    if (now.term != told->term || now.leader != told->leader || now.leads != told->leads ||
        now.ready != told->ready || now.role != told->role) {
        replica->told = now;
        if (replica->hooks.changed != NULL) {
            replica->hooks.changed(replica->hooks.context, &now);
        }
    }
}

/* ---- the turn ----------------------------------------------------------------------------------------------------- */

static void own_barrier_over(struct raft_barrier *request, int status)
{
    struct replica *replica = request->data;
    replica->own_barrier_out = false;
    if (status == 0) {
        replica->confirmed_term = replica->own_barrier_term;
    }
}

bool replica_confirmed(const struct replica *replica)
{
    return raft_state((struct raft *)&replica->raft) == RAFT_LEADER &&
           replica->confirmed_term == raft_current_term(&replica->raft);
}

/*
 * A new leader commits an entry of its own term, always: only then does it know what is committed, and may change the
 * members. (The engine does so only when there is something uncommitted in its log.)
 */
static void confirm_leadership(struct replica *replica)
{
    if (raft_state(&replica->raft) == RAFT_LEADER && !replica_confirmed(replica) &&
        !replica->own_barrier_out) {
        replica->own_barrier.data = replica;
        replica->own_barrier_term = raft_current_term(&replica->raft);
        replica->own_barrier_out =
            raft_barrier(&replica->raft, &replica->own_barrier, own_barrier_over) == 0;
    }
}

void replica_turn(struct replica *replica)
{
    if (replica->engine_closing) {
        return;
    }
    if (!replica->failed && !replica->closing) {
        replica_settle_turn(replica); /* before anybody is told that it is ready to lead */
        confirm_leadership(replica);
        replica_io_turn(replica);
        replica_lost_turn(replica);
    }
    replica_members_turn(replica);
    replica_log_turn(replica);
    tell_changes(replica);
    if (replica->failed && !replica->failure_told && !replica->closing) {
        replica->failure_told = true;
        replica_abdicate(replica);
        if (replica->hooks.stopped != NULL) {
            replica->hooks.stopped(replica->hooks.context, replica->why);
        }
    }
}

/* ---- the end ------------------------------------------------------------------------------------------------------ */

static void ground_gone(struct replica *replica)
{
    void (*closed)(void *) = replica->closed;
    void *context = replica->closed_context;
    replica_members_end(replica);
    replica_log_end(replica);
    replica_io_end(replica);
    free(replica);
    closed(context);
}

static void engine_closed(struct raft *raft)
{
    struct replica *replica = raft->data;
    replica->ground->calls->close(replica->ground, ground_gone, replica);
}

/* The engine knows nothing of works that are under way for it; it would be gone when they come back. */
void replica_work_ended(struct replica *replica)
{
    if (replica->closing && replica->works == 0 && !replica->engine_closing) {
        replica->engine_closing = true;
        raft_close(&replica->raft, engine_closed);
    }
}

void replica_close(struct replica *replica, void (*closed)(void *context), void *context)
{
    replica->closing = true;
    replica->closed = closed;
    replica->closed_context = context;
    if (!replica->failed) {
        replica_settle(replica);
    }
    replica_work_ended(replica);
}

/* ---- the beginning ------------------------------------------------------------------------------------------------ */

static void tune(struct replica *replica, const struct replica_config *config)
{
    struct raft *raft = &replica->raft;
    raft->tracer = NULL;
    raft->data = replica;
    raft_set_election_timeout(raft,
                              config->election_ms != 0 ? config->election_ms : REPLICA_ELECTION_MS);
    raft_set_heartbeat_timeout(raft, config->heartbeat_ms != 0 ? config->heartbeat_ms
                                                               : REPLICA_HEARTBEAT_MS);
    raft_set_pre_vote(raft, true); /* guarded: guard_vote_term, guard_is_late, guard_begins_anew */
    raft_set_install_snapshot_timeout(raft, REPLICA_INSTALL_MS);
    raft_set_max_inflight_entries(raft, REPLICA_UNCOMMITTED_MAX);
    raft_set_capacity_threshold(raft, REPLICA_ENTRY_BYTES_MAX / 1024);
    replica_log_grew(replica, NULL, 0); /* sets when the log is cut */
}

/* What the members of a group are at its founding; or, alone, afterwards. */
static int found(struct replica *replica, const uint64_t *nodes, int count, bool alone)
{
    struct raft_configuration members;
    int rc = 0;
    raft_configuration_init(&members);
    for (int i = 0; i < count && rc == 0; i++) {
        char name[TRANSPORT_NAME_BYTES];
        transport_name(nodes[i], name);
        rc = raft_configuration_add(&members, nodes[i], name, RAFT_VOTER);
    }
    if (rc == 0) {
        rc = alone ? raft_recover(&replica->raft, &members)
                   : raft_bootstrap(&replica->raft, &members);
    }
    raft_configuration_close(&members);
    return !alone && rc == RAFT_CANTBOOTSTRAP ? 0 : rc; /* it was founded before */
}

static int start(struct replica *replica, const struct replica_config *config)
{
    int rc = 0;
    if (config->founder_count > 0) {
        rc = found(replica, config->founders, config->founder_count, false);
    }
    if (rc == 0 && config->alone) {
        rc = found(replica, &replica->node, 1, true);
    }
    return rc == 0 ? raft_start(&replica->raft) : rc;
}

static void nothing(void *context)
{
    (void)context;
}

/* The engine and what it stands on. False: nothing will be left of it, nor of the replica. */
static bool init_engine(struct replica *replica, const struct replica_config *config,
                        char ret_why[256])
{
    char name[TRANSPORT_NAME_BYTES];
    struct replica_ground *ground = replica->ground;
    transport_name(config->node, name);
    if (!ground->calls->open(ground, &replica->io, ret_why)) {
        ground->calls->discard(ground);
        free(replica);
        return false;
    }
    int rc = raft_init(&replica->raft, &replica->io, &replica->fsm, config->node, name);
    if (rc != 0) {
        snprintf(ret_why, 256, "cannot use the log of group %" PRIu64 ": %s", config->group,
                 raft_strerror(rc));
        replica->closed = nothing;
        ground->calls->close(ground, ground_gone, replica);
    }
    return rc == 0;
}

static struct replica *make(struct replica_ground *ground, const struct replica_config *config)
{
    struct replica *replica = calloc(1, sizeof *replica);
    if (replica == NULL) {
        return NULL;
    }
    replica->ground = ground;
    replica->group = config->group;
    replica->node = config->node;
    replica->machine = config->machine;
    replica->log_bytes_max = config->log_bytes != 0 ? config->log_bytes : REPLICA_LOG_BYTES;
    replica->log_entries_max = config->log_entries != 0 ? config->log_entries : REPLICA_LOG_ENTRIES;
    replica_log_init(replica);
    return replica;
}

bool replica_open_on(struct replica_ground *ground, const struct replica_config *config,
                     struct replica **ret, char ret_why[256])
{
    struct replica *replica = make(ground, config);
    if (replica == NULL) {
        snprintf(ret_why, 256, "out of memory");
        ground->calls->discard(ground);
        return false;
    }
    if (!init_engine(replica, config, ret_why)) {
        return false;
    }
    replica_io_wrap(replica);
    tune(replica, config);
    ground->calls->begin(ground, replica);
    int rc = start(replica, config);
    if (rc != 0 || replica->failed) {
        snprintf(ret_why, 256, "cannot open the log of group %" PRIu64 ": %s", config->group,
                 replica->failed ? replica->why : raft_errmsg(&replica->raft));
        replica_close(replica, nothing, NULL);
        return false;
    }
    replica->hooks = config->hooks;
    *ret = replica;
    return true;
}
