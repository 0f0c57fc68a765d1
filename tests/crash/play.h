/*
 * A play: a fixed run of batches that touches everything the state machine keeps, for tests that break the storage
 * under it. Each batch is made anew from what earlier ones led to, so that it can be tried again until it is stored;
 * the state after it is always the same, whatever failed on the way.
 */
#ifndef RINGHOLD_TESTS_PLAY_H
#define RINGHOLD_TESTS_PLAY_H

#include "db/machine.h"

enum { PLAY_BATCHES = 16, PLAY_COMMANDS_MAX = 256 };

/* What later batches need of the results of earlier ones: the deliveries. */
struct play {
    struct stamp now;
    int64_t messages[8], fences[8];
    size_t received;
};

struct play play_begin(void);
/* The commands of a batch, their texts of the arena or static. Returns how many. */
size_t play_batch(const struct play *play, size_t batch, struct arena *arena,
                  struct command commands[PLAY_COMMANDS_MAX]);
/* The batch is stored: notes what came of it. */
void play_stored(struct play *play, size_t batch, const struct result *results, size_t count);

#endif
