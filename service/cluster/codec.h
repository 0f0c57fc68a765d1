/*
 * The binary form of a table, which group 0 keeps and sends, and of a step, which is an entry of its log. Layout,
 * after one version byte: numbers as varints, ids and the UUID as their bytes (ids from the highest), texts as a varint
 * of their length and the bytes, lists as a varint count and their elements. A slot is one byte: the member's place in
 * the table, and the role above it in bits 6 and 7. A partition's leader is the place of its slot. Only a member that
 * leaves has a successor, an id behind its state; only a step LEAVE has one, and whether it says `enough`, at its end.
 *
 * Decoding trusts nothing: any bytes give either a value that passes its check and whose encoding they are, or NULL
 * or false.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_CODEC_H
#define RINGHOLD_SERVICE_CLUSTER_CODEC_H

#include "db/arena.h"
#include "service/cluster/placement.h"

enum { TABLE_VERSION = 1, STEP_VERSION = 1 };

/* The encoding of a table that passes table_check, in the arena; absent when memory ran out. */
struct text table_encode(const struct table *table, struct arena *arena);
/* A table in the arena. NULL where the bytes are none, or memory ran out (then the arena is exhausted). */
struct table *table_decode(struct text bytes, struct arena *arena);

struct text step_encode(const struct step *step, struct arena *arena);
/* False, and *ret unchanged, where the bytes are no step. */
bool step_decode(struct text bytes, struct step *ret);

#endif
