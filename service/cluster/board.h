/*
 * The board: group 0's state machine, the cluster's table. Every member has it. Its log's first entry is the founding
 * table, every other a step (placement.h), or, after the loss of a majority, the table to go on with; so whoever has
 * applied the same entries has the same table.
 *
 * What is applied is written to a small file at once, whole or not at all, and synced when the replica asks; a member
 * that starts again finds there where the others are. Loop's thread, but where replica.h says otherwise.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_BOARD_H
#define RINGHOLD_SERVICE_CLUSTER_BOARD_H

#include "service/cluster/codec.h"
#include "service/cluster/replica.h"

struct board;

/* Reads the file at `path`, if there is one. NULL, with a sentence in ret_why, when it is there and cannot be read, or
   memory ran out. */
struct board *board_open(const char *path, char ret_why[256]);
/* NULL-safe. */
void board_close(struct board *board);

/* The epoch of the table as it is now; 0: this member has none yet. */
uint64_t board_epoch(struct board *board);
/* A copy of it. False when there is none. */
bool board_copy(struct board *board, struct table *ret);

/* For replica_open. */
struct replica_machine board_machine(struct board *board);

/* Entries, in the arena. */
struct text board_founding(const struct table *table, struct arena *arena);
struct text board_recovered(const struct table *table, struct arena *arena);
struct text board_step(const struct step *step, struct arena *arena);
/* Why the step of the last applied entry was refused; NULL: it was not. */
const char *board_refusal(const struct board *board);

#endif
