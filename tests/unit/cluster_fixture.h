/*
 * A cluster of tables: what the members would see is made up, steps are applied as they are proposed, and what must
 * hold after each of them is checked.
 */
#ifndef RINGHOLD_TESTS_CLUSTER_FIXTURE_H
#define RINGHOLD_TESTS_CLUSTER_FIXTURE_H

#include "service/cluster/placement.h"

struct world {
    struct table table;
    struct placement_view view;
    struct placement_limits limits;
    uint64_t dead[MEMBERS_MAX]; /* ids that nobody reaches */
    unsigned dead_count;
    bool overdue; /* whether those are past --replace-after */
    uint64_t chance;
    unsigned steps[STEP_KINDS];       /* that were applied */
    unsigned started[PARTITIONS_MAX]; /* voters when the move began that is on its way */
};

/* A member's facts from its id. */
struct member_facts facts_of(uint64_t id, unsigned weight);

/* A world of one member, number 1, in a table of P partitions with R replicas; `seed` for world_random. */
struct world *world_make(unsigned partitions, unsigned replicas, uint64_t seed);
void world_free(struct world *w);

/* Below n, deterministic. */
unsigned world_random(struct world *w, unsigned n);

/* Applies a step that must fit, and checks what must hold after it. */
void world_commit(struct world *w, const struct step *step);
void world_apply(struct world *w, enum step_kind kind, unsigned partition, uint64_t member);
void world_join(struct world *w, uint64_t id, unsigned weight);
void world_weigh(struct world *w, uint64_t id, unsigned weight);
void world_kill(struct world *w, uint64_t id);
void world_revive(struct world *w, uint64_t id);
bool world_is_dead(const struct world *w, uint64_t id);

/* What a world without haste sees: everything is settled and caught up where a majority lives. */
void world_look(struct world *w);
/* Looks, and carries out what is proposed; returns how many steps that was. */
unsigned world_step(struct world *w);
/* Carries out what w->view leads to. */
unsigned world_act(struct world *w);
/* Until nothing is proposed any more. Returns how many replicas were copied. */
unsigned world_settle(struct world *w);

/* How many replicas (voters) the member has, and how many partitions it should lead. */
unsigned world_load(const struct world *w, uint64_t id);
unsigned world_leads(const struct world *w, uint64_t id);

#endif
