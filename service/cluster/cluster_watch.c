/*
 * Which members' processes live. Each asks every other to WATCH, which is answered only after a while, and asks again:
 *
 *     asked ─┬─ answered ──────────────► asked again
 *            └─ the connection breaks ─► its groups are told (replica_lost), and it is asked again a little later
 *
 * When a process ends, the system closes its connections at once, and nobody need wait until it has been silent for long.
 * A machine that ends, or a network, breaks no connection: then it is the silence that tells.
 */
#include "service/cluster/cluster_state.h"

enum { WATCH_AGAIN_MS = 200 };

/* ---- watching ----------------------------------------------------------------------------------------------------- */

static void tell_groups(struct cluster *cluster, uint64_t member)
{
    if (cluster->council != NULL) {
        replica_lost(cluster->council, member);
    }
    for (unsigned i = 0; i < cluster->partitions.count; i++) {
        struct seat *seat = &cluster->seats[i];
        if (seat->hosted != NULL && !seat->closing) {
            replica_lost(hosted_replica(seat->hosted), member);
        }
    }
}

static void on_watched(void *context, enum peer_verdict verdict, struct text answer)
{
    struct watch *watch = context;
    (void)answer;
    watch->asked = false;
    watch->again_us = clock_monotonic_us() + (int64_t)WATCH_AGAIN_MS * 1000;
    if (!watch->cluster->stopping && (verdict == PEER_HUNG_UP || verdict == PEER_UNREACHABLE)) {
        tell_groups(watch->cluster, watch->member);
    }
}

static void watch_member(struct cluster *cluster, struct watch *watch, const struct member *member)
{
    struct arena arena = ARENA_EMPTY;
    struct ask ask = {.kind = ASK_WATCH};
    char host[MEMBER_ADDRESS_BYTES_MAX + 1];
    uint16_t port;
    struct text bytes = ask_encode(&ask, &arena);
    watch->cluster = cluster;
    watch->member = member->id;
    watch->asked =
        text_given(bytes) && member_split_peer(member->facts.peer, host, &port) &&
        transport_ask(cluster->transport, member->id, host, port, bytes, on_watched, watch);
    arena_free(&arena);
}

/* The member's watch, or one that is free for it. NULL: none is, for now. */
static struct watch *watch_of(struct cluster *cluster, uint64_t member)
{
    struct watch *free_one = NULL;
    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        struct watch *watch = &cluster->watches[i];
        if (watch->member == member) {
            return watch;
        }
        bool free_now = !watch->asked && table_find(&cluster->table, watch->member) < 0;
        free_one = free_one == NULL && free_now ? watch : free_one;
    }
    return free_one;
}

/* ---- being watched ------------------------------------------------------------------------------------------------ */

static void release(struct held *held)
{
    struct arena arena = ARENA_EMPTY;
    struct text bytes = answer_encode(&(struct answer){.kind = ANSWER_DONE}, &arena);
    struct control *control = held->control;
    held->control = NULL;
    control_answer(control, text_given(bytes) ? bytes : TEXT(""));
    arena_free(&arena);
}

void watch_hold(struct cluster *cluster, struct control *control)
{
    struct held now = {control, clock_monotonic_us() + (int64_t)CONTROL_WATCH_MS * 1000};
    for (size_t i = 0; i < WATCHES_HELD_MAX && !cluster->stopping; i++) {
        if (cluster->held[i].control == NULL) {
            cluster->held[i] = now;
            return;
        }
    }
    release(&now);
}

void watch_turn(struct cluster *cluster)
{
    int64_t now_us = clock_monotonic_us();
    for (size_t i = 0; i < WATCHES_HELD_MAX; i++) {
        struct held *held = &cluster->held[i];
        if (held->control != NULL && now_us >= held->until_us) {
            release(held);
        }
    }
    for (unsigned i = 0; i < cluster->table.member_count; i++) {
        const struct member *member = &cluster->table.members[i];
        struct watch *watch = member->id == cluster->node ? NULL : watch_of(cluster, member->id);
        if (watch != NULL && !watch->asked && now_us >= watch->again_us) {
            watch_member(cluster, watch, member);
        }
    }
}

void watch_end(struct cluster *cluster)
{
    for (size_t i = 0; i < WATCHES_HELD_MAX; i++) {
        if (cluster->held[i].control != NULL) {
            release(&cluster->held[i]);
        }
    }
}
