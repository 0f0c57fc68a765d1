/*
 * Runs a history against the machine and the model, side by side. After each command their answers must agree; after
 * each batch the counters, what whoever waits is told, and the state as readers see it; at the end the log of encoded
 * commands must lead a second database to the same state.
 */
#ifndef RINGHOLD_TESTS_HISTORY_RUN_H
#define RINGHOLD_TESTS_HISTORY_RUN_H

#include "tests/history/history.h"

/* How often each answer was given to each command, operations of transactions among them. */
extern int64_t tally[COMMAND_KIND_COUNT][STATUS_COUNT];

struct outcome {
    bool failed;
    size_t step; /* the entry it failed at, from 0; the history's count: after the last */
    char wrong[1000];
    int64_t commands; /* that the machine carried out, TICKs and readings among them */
};

/* A history of so many steps from the seed. It is left in `ret_history`, to be shown and made smaller. */
struct outcome run_generated(uint64_t seed, size_t steps, struct history *ret_history,
                             struct arena *arena);
/* A history that is given, refs and all. The seed says when all is looked at. */
struct outcome run_given(const struct history *history, uint64_t seed);

/* Drops what is not needed for the history to fail; gives up after `tries` runs. */
void history_shrink(struct history *history, uint64_t seed, int tries);

#endif
