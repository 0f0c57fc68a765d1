/*
 * What must be true of the nodes together. The oracle is one more state machine, which gets every committed entry from
 * whichever node applies it first, never crashes and has one answer to each command. The nodes are held to it: the same
 * entry at each index, the same state at the same index, the same answers to clients, nothing lost, nothing done twice,
 * nothing done that was said not to be; one leader a term; logs that agree.
 */
#ifndef RINGHOLD_TESTS_SIM_ORACLE_H
#define RINGHOLD_TESTS_SIM_ORACLE_H

#include "db/result.h"

struct replica;

void oracle_begin(void);
/* The last committed index. */
uint64_t oracle_index(void);

/* ---- told by the nodes -------------------------------------------------------------------------------------------- */

/* The node is about to apply it. */
void oracle_entry(int node, struct text entry, uint64_t index, uint64_t term);
/* The node has applied an entry, installed an image, made one, or opened what it had. */
void oracle_applied(int node);
/* It has applied that entry, and not stored yet. */
void oracle_took(int node, uint64_t index);
void oracle_imaged(int node);
void oracle_opened(int node);
void oracle_dropped(int node);
/* After each turn of the node's replica, which may be NULL. */
void oracle_looks(int node, struct replica *replica);
/* The node tells somebody that it votes for that one. */
void oracle_voted(int node, uint64_t term, uint64_t candidate);
/* The logs on the disks. */
void oracle_compare_logs(void);

/* ---- told by the clients ------------------------------------------------------------------------------------------ */

/* A command as it is sent once. The number goes into the command, where the state machine does not look. */
uint64_t oracle_attempt(void);
/* It was told that it surely was not carried out. */
void oracle_refused(uint64_t attempt);
/* It was answered. */
void oracle_answered(uint64_t attempt, const struct result *result);

/* At the end, when all nodes agree. */
void oracle_end(void);

#endif
