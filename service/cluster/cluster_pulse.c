#include "service/cluster/cluster_state.h"

#include <stdlib.h>

/* A question for a member's pulse, until it is answered or has failed. */
struct question {
    struct cluster *cluster;
    uint64_t member;
    int64_t asked_us;
};

/* The member's place among those that are being asked; of member 0, a free one. NULL: there is none. */
static uint64_t *asked_place(struct cluster *cluster, uint64_t member)
{
    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        if (cluster->pulsing[i] == member) {
            return &cluster->pulsing[i];
        }
    }
    return NULL;
}

static void hear(const struct question *question, const struct pulse *pulse)
{
    struct cluster *cluster = question->cluster;
    struct seat *seat =
        pulse->partition < cluster->partitions.count ? &cluster->seats[pulse->partition] : NULL;
    if (seat != NULL && seat->hosted != NULL && !seat->closing) {
        hosted_hear(seat->hosted, question->member, pulse, question->asked_us);
    }
}

static void on_answer(void *context, enum peer_verdict verdict, struct text answer)
{
    struct question *question = context;
    struct arena arena = ARENA_EMPTY;
    struct pulses pulses;
    if (verdict == PEER_ACCEPTED) {
        routes_heard(question->cluster, question->member);
    }
    if (verdict == PEER_ACCEPTED && pulses_decode(answer, &arena, &pulses)) {
        for (size_t i = 0; i < pulses.count; i++) {
            hear(question, &pulses.at[i]);
        }
    }
    *asked_place(question->cluster, question->member) = 0;
    free(question);
    arena_free(&arena);
}

static bool ask_member(struct cluster *cluster, const struct member *member)
{
    struct arena arena = ARENA_EMPTY;
    struct text bytes = ask_encode(&(struct ask){.kind = ASK_PULSE}, &arena);
    struct question *question = malloc(sizeof *question);
    char host[MEMBER_ADDRESS_BYTES_MAX + 1];
    uint16_t port;
    bool asked =
        question != NULL && text_given(bytes) && member_split_peer(member->facts.peer, host, &port);
    if (asked) {
        *question = (struct question){cluster, member->id, clock_monotonic_us()};
        asked =
            transport_ask(cluster->transport, member->id, host, port, bytes, on_answer, question);
    }
    if (!asked) {
        free(question);
    }
    arena_free(&arena);
    return asked;
}

/* Once at a time: a member that does not answer is not asked more and more. `asked`: members, as bits of their places. */
static void ask_once(struct cluster *cluster, uint64_t member, uint64_t *asked)
{
    int place = member == cluster->node ? -1 : table_find(&cluster->table, member);
    if (place < 0 || (*asked & members_one((unsigned)place)) != 0) {
        return;
    }
    *asked |= members_one((unsigned)place);
    uint64_t *free_place = asked_place(cluster, 0);
    if (free_place != NULL && asked_place(cluster, member) == NULL &&
        ask_member(cluster, &cluster->table.members[place])) {
        *free_place = member;
    }
}

void pulse_ask(struct cluster *cluster)
{
    uint64_t asked = 0;
    for (unsigned i = 0; i < cluster->table.partition_count; i++) {
        const struct seat *seat = &cluster->seats[i];
        if (seat->hosted != NULL && !seat->closing) {
            ask_once(cluster, hosted_leader(seat->hosted), &asked);
            ask_once(cluster, seat->former.member, &asked);
        }
    }
}

void pulse_answer(struct cluster *cluster, struct control *control)
{
    struct arena arena = ARENA_EMPTY;
    struct pulse *led = arena_zalloc(&arena, cluster->partitions.count + 1, sizeof *led);
    struct pulses pulses = {0, led};
    for (unsigned i = 0; led != NULL && i < cluster->partitions.count; i++) {
        struct seat *seat = &cluster->seats[i];
        if (seat->hosted != NULL && !seat->closing &&
            hosted_pulse(seat->hosted, &led[pulses.count])) {
            pulses.count++;
        }
    }
    struct text bytes = pulses_encode(&pulses, &arena);
    control_answer(control, text_given(bytes) ? bytes : TEXT(""));
    arena_free(&arena);
}
