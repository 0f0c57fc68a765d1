/*
 * A proposal's way:
 *
 *     held ─► submitted (index, term) ─┬─ applied here, at that index and of that term ─► COMMITTED
 *       │                              ├─ something else stands at that index           ─► NOT_LEADER, surely
 *       └─► refused                    └─ neither, for a while after the leader lost it ─► UNKNOWN
 *
 * An entry is known by its index and its term, so that what the engine calls a lost leadership need not be an unknown
 * outcome: mostly the next leader commits the entry, or overwrites it, and this replica sees which.
 *
 * On the wire and in the log an entry is
 *
 *     version (1 byte) · 3 zero · length (4) · index (8) · term (8) · what was proposed · zeros up to a multiple of 8
 */
#include "service/cluster/replica_state.h"
#include "service/cluster/wire.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRY_VERSION = 1, ENTRY_HEAD_BYTES = 24 };

/* ---- entries ------------------------------------------------------------------------------------------------------ */

/* Room for the entry, its body in place, its head without place and term. False when memory ran out. */
static bool make_entry(struct text body, struct raft_buffer *ret)
{
    size_t bytes = (ENTRY_HEAD_BYTES + body.len + 7) / 8 * 8;
    unsigned char *entry = raft_calloc(1, bytes);
    if (entry == NULL) {
        return false;
    }
    entry[0] = ENTRY_VERSION;
    wire_put32(entry + 4, (uint32_t)body.len);
    if (body.len > 0) {
        memcpy(entry + ENTRY_HEAD_BYTES, body.at, body.len);
    }
    *ret = (struct raft_buffer){entry, bytes};
    return true;
}

static void place_entry(struct raft_buffer *entry, uint64_t index, uint64_t term)
{
    unsigned char *at = entry->base;
    wire_put64(at + 8, index);
    wire_put64(at + 16, term);
}

/* False when it is no entry of ours, or not the one of that index. */
static bool read_entry(const struct raft_buffer *entry, uint64_t index, uint64_t *ret_term,
                       struct text *ret_body)
{
    const unsigned char *at = entry->base;
    if (entry->len < ENTRY_HEAD_BYTES || at[0] != ENTRY_VERSION || wire_get64(at + 8) != index ||
        wire_get32(at + 4) > entry->len - ENTRY_HEAD_BYTES) {
        return false;
    }
    *ret_term = wire_get64(at + 16);
    *ret_body = (struct text){(const char *)at + ENTRY_HEAD_BYTES, wire_get32(at + 4)};
    return true;
}

/* ---- applying ----------------------------------------------------------------------------------------------------- */

static struct proposal *proposed_at(const struct replica *replica, uint64_t index, uint64_t term)
{
    for (struct proposal *p = replica->first; p != NULL; p = p->next) {
        if (p->submitted && !p->barrier && p->index == index && p->term == term &&
            p->outcome == REPLICA_PENDING) {
            return p;
        }
    }
    return NULL;
}

void replica_settle(struct replica *replica)
{
    if (replica->unsettled == 0) {
        return;
    }
    replica->unsettled = 0;
    replica->unsettled_bytes = 0;
    replica->settled_at = replica_now(replica);
    if (!replica->machine.settle(replica->machine.context)) {
        replica_fail(replica, "what was applied up to entry %" PRIu64 " could not be stored",
                     (uint64_t)raft_last_applied(&replica->raft));
    }
}

static bool follows(const struct replica *replica)
{
    return raft_state((struct raft *)&replica->raft) == RAFT_FOLLOWER;
}

/* After a quiet time the first entry is stored at once, and with each that follows soon there are more. */
static bool is_to_settle(const struct replica *replica)
{
    return !follows(replica) || replica_now(replica) - replica->settled_at >= REPLICA_SETTLE_MS ||
           replica->unsettled >= REPLICA_SETTLE_ENTRIES ||
           replica->unsettled_bytes >= REPLICA_ENTRY_BYTES_MAX;
}

void replica_settle_turn(struct replica *replica)
{
    if (is_to_settle(replica)) {
        replica_settle(replica);
    }
}

/* Hands it to the machine. What somebody waits for, and what a leader applies, is stored at once. */
static bool carry_out(struct replica *replica, struct text body, uint64_t index, uint64_t term,
                      void *proposal)
{
    const struct replica_machine *machine = &replica->machine;
    if (machine->settle == NULL || !follows(replica) || proposal != NULL) {
        replica_settle(replica); /* apart: what it changes is told by itself */
        return !replica->failed &&
               machine->apply(machine->context, body, index, term, proposal, false);
    }
    if (!machine->apply(machine->context, body, index, term, proposal, true)) {
        return false;
    }
    replica->unsettled++;
    replica->unsettled_bytes += body.len;
    replica_settle_turn(replica);
    return !replica->failed;
}

static bool apply_entry(struct replica *replica, struct text body, uint64_t index, uint64_t term)
{
    const struct replica_machine *machine = &replica->machine;
    uint64_t applied_index = 0, applied_term = 0;
    machine->applied(machine->context, &applied_index, &applied_term);
    if (index == applied_index && term != applied_term) {
        replica_fail(replica,
                     "the stored state has applied entry %" PRIu64 " of term %" PRIu64
                     ", the log has it of term %" PRIu64 ": they do not belong together",
                     index, applied_term, term);
        return false;
    }
    struct proposal *own = proposed_at(replica, index, term);
    if (index <= applied_index) { /* before a crash, or with an image */
        if (own != NULL) {
            own->outcome = REPLICA_UNKNOWN;
        }
        return true;
    }
    if (!carry_out(replica, body, index, term, own != NULL ? own->context : NULL)) {
        replica->unsettled = 0; /* nothing of it is left */
        replica->unsettled_bytes = 0;
        replica_fail(replica, "entry %" PRIu64 " could not be applied", index);
        return false;
    }
    if (own != NULL) {
        own->outcome = REPLICA_COMMITTED;
    }
    return true;
}

/*
 * The engine's hook. It knows no failure: the engine would go on, forget what it had meant to do after, and come back to
 * the entry at some later time, or never. A failed replica lets entries pass, and is closed before that shows.
 */
static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buffer, void **result)
{
    struct replica *replica = fsm->data;
    uint64_t index = raft_last_applied(&replica->raft) + 1; /* it is set after this */
    uint64_t term;
    struct text body;
    *result = NULL;
    if (replica->failed) {
        return 0;
    }
    if (!read_entry(buffer, index, &term, &body)) {
        replica_fail(replica, "entry %" PRIu64 " of the log is none of ours", index);
        return 0;
    }
    (void)apply_entry(replica, body, index, term);
    return 0;
}

void replica_log_init(struct replica *replica)
{
    replica->last = &replica->first;
    replica->fsm = (struct raft_fsm){.version = 1,
                                     .data = replica,
                                     .apply = fsm_apply,
                                     .snapshot = replica_snapshot,
                                     .restore = replica_restore};
}

/* ---- submitting --------------------------------------------------------------------------------------------------- */

static void lose(struct proposal *p)
{
    if (p->outcome == REPLICA_PENDING && !p->lost) {
        p->lost = true;
        p->lost_until = replica_now(p->replica) + REPLICA_UNKNOWN_MS;
    }
}

static void engine_applied(struct raft_apply *request, int status, void *result)
{
    struct proposal *p = request->data;
    (void)result;
    p->with_engine = false;
    if (status != 0) {
        lose(p);
    }
}

static void engine_confirmed(struct raft_barrier *request, int status)
{
    struct proposal *p = request->data;
    p->with_engine = false;
    p->outcome = status == 0 ? REPLICA_COMMITTED : REPLICA_NOT_LEADER;
}

static int hand_over(struct replica *replica, struct proposal *p)
{
    if (p->barrier) {
        p->confirm.data = p;
        return raft_barrier(&replica->raft, &p->confirm, engine_confirmed);
    }
    p->index = raft_last_index(&replica->raft) + 1;
    p->term = raft_current_term(&replica->raft);
    place_entry(&p->entry, p->index, p->term);
    p->apply.data = p;
    return raft_apply(&replica->raft, &p->apply, &p->entry, 1, engine_applied);
}

/* Hands it to the engine. Its outcome is known afterwards, or it is submitted, or it waits for room on the disk. */
static void submit(struct replica *replica, struct proposal *p)
{
    int rc = hand_over(replica, p);
    if (rc == 0) {
        p->submitted = p->with_engine = true;
        p->entry.base = NULL; /* the engine's */
    } else if (replica->failed) {
        p->outcome = REPLICA_UNKNOWN;
        p->entry.base = NULL; /* whose, is not known either */
    } else if (rc == RAFT_NOTLEADER) {
        p->outcome = REPLICA_NOT_LEADER;
    } else if (rc != RAFT_NOSPACE) {
        p->outcome = REPLICA_BUSY;
    }
}

static bool has_room(const struct replica *replica)
{
    struct raft *raft = (struct raft *)&replica->raft; /* the engine's questions are not const */
    return raft_last_index(raft) - raft_commit_index(raft) < REPLICA_UNCOMMITTED_MAX;
}

static void try_submit(struct replica *replica, struct proposal *p)
{
    bool leads = raft_state(&replica->raft) == RAFT_LEADER;
    if (!leads && !replica_transferring(replica)) {
        p->outcome = REPLICA_NOT_LEADER;
    } else if (leads && !replica_members_hold(replica) && has_room(replica)) {
        submit(replica, p);
    }
    if (!p->submitted && p->outcome == REPLICA_PENDING && replica_now(replica) >= p->held_until) {
        p->outcome = replica_members_hold(replica) ? REPLICA_BUSY : REPLICA_NO_SPACE;
    }
}

/* ---- proposing ---------------------------------------------------------------------------------------------------- */

/* Why there is no use in trying; PENDING: there is. */
static enum replica_outcome refuse(const struct replica *replica)
{
    if (replica->failed || replica->closing) {
        return REPLICA_STOPPED;
    }
    if (raft_state((struct raft *)&replica->raft) != RAFT_LEADER &&
        !replica_transferring(replica)) {
        return REPLICA_NOT_LEADER;
    }
    return replica->open >= REPLICA_UNCOMMITTED_MAX ? REPLICA_BUSY : REPLICA_PENDING;
}

static void drop(struct proposal *p)
{
    raft_free(p->entry.base);
    free(p);
}

/* Takes it in, and tries at once unless others wait. */
static enum replica_outcome take(struct replica *replica, struct proposal *p)
{
    p->replica = replica;
    p->held_until = replica_now(replica) + REPLICA_HOLD_MS;
    bool others_wait = false;
    for (const struct proposal *q = replica->first; q != NULL; q = q->next) {
        others_wait |= !q->submitted && q->outcome == REPLICA_PENDING;
    }
    if (!others_wait) {
        try_submit(replica, p);
    }
    if (p->outcome != REPLICA_PENDING) {
        enum replica_outcome outcome = p->outcome;
        drop(p);
        return outcome;
    }
    *replica->last = p;
    replica->last = &p->next;
    replica->open++;
    return REPLICA_PENDING;
}

enum replica_outcome replica_propose(struct replica *replica, struct text entry, void *proposal,
                                     replica_done *done)
{
    enum replica_outcome outcome = refuse(replica);
    if (outcome != REPLICA_PENDING) {
        return outcome;
    }
    struct proposal *p = calloc(1, sizeof *p);
    if (p == NULL || entry.len > REPLICA_ENTRY_BYTES_MAX || !make_entry(entry, &p->entry)) {
        free(p);
        return REPLICA_BUSY;
    }
    p->context = proposal;
    p->done = done;
    return take(replica, p);
}

enum replica_outcome replica_confirm(struct replica *replica, void *context, replica_done *done)
{
    enum replica_outcome outcome = refuse(replica);
    struct proposal *p = outcome == REPLICA_PENDING ? calloc(1, sizeof *p) : NULL;
    if (p == NULL) {
        return outcome == REPLICA_PENDING ? REPLICA_BUSY : outcome;
    }
    p->barrier = true;
    p->context = context;
    p->done = done;
    return take(replica, p);
}

/* ---- outcomes ----------------------------------------------------------------------------------------------------- */

/* What can be said of a submitted one that has not been applied under its own name. */
static void judge(struct replica *replica, struct proposal *p)
{
    uint64_t applied = raft_last_applied(&replica->raft);
    if (p->barrier || p->outcome != REPLICA_PENDING) {
        return;
    }
    if (replica->failed) {
        p->outcome = REPLICA_UNKNOWN;
    } else if (applied >= p->index) {
        /* Every entry was seen here, and it was not among them; unless it came within an image. */
        p->outcome = p->index > replica->installed ? REPLICA_NOT_LEADER : REPLICA_UNKNOWN;
    } else if (p->lost && replica_now(replica) >= p->lost_until) {
        p->outcome = REPLICA_UNKNOWN;
    }
}

/* Takes those out whose outcome is known and that the engine is done with, in their order. */
static struct proposal *take_over(struct replica *replica)
{
    struct proposal *over = NULL, **end = &over, **at = &replica->first;
    while (*at != NULL) {
        struct proposal *p = *at;
        if (p->outcome == REPLICA_PENDING || p->with_engine) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        p->next = NULL;
        *end = p;
        end = &p->next;
        replica->open--;
    }
    replica->last = at;
    return over;
}

static void tell(struct proposal *over)
{
    while (over != NULL) {
        struct proposal *p = over;
        over = p->next;
        p->done(p->context, p->outcome);
        drop(p);
    }
}

void replica_log_turn(struct replica *replica)
{
    for (struct proposal *p = replica->first; p != NULL; p = p->next) {
        if (p->submitted) {
            judge(replica, p);
        } else if (replica->failed || replica->closing) {
            p->outcome = REPLICA_STOPPED;
        } else if (p->outcome == REPLICA_PENDING) {
            try_submit(replica, p);
            if (!p->submitted && p->outcome == REPLICA_PENDING) {
                break; /* in their order */
            }
        }
    }
    tell(take_over(replica));
}

bool replica_quiet(const struct replica *replica)
{
    struct raft *raft = (struct raft *)&replica->raft;
    uint64_t last = raft_last_index(raft);
    return raft_commit_index(raft) == last && raft_last_applied(raft) == last &&
           raft->last_stored == last && raft->configuration_uncommitted_index == 0;
}

void replica_log_end(struct replica *replica)
{
    for (struct proposal *p = replica->first; p != NULL; p = p->next) {
        p->with_engine = false;
        if (p->outcome == REPLICA_PENDING) {
            p->outcome = p->submitted ? REPLICA_UNKNOWN : REPLICA_STOPPED;
        }
    }
    tell(take_over(replica));
}
