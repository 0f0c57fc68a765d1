/*
 * JSON Merge Patch (RFC 7396) on texts. SQLite's json_patch does the same, but compares each member of the one object
 * with each of the other: two objects that fit in a request kept the committer for a quarter of a minute.
 *
 * Both texts are compact JSON whose strings are spelled in one way (handlers/spelling.h), so keys are compared as bytes.
 */
#ifndef RINGHOLD_DB_MERGE_PATCH_H
#define RINGHOLD_DB_MERGE_PATCH_H

#include "db/arena.h"
#include "db/text.h"

/*
 * *ret is the target with the patch merged into it, in the arena. Members keep the target's order, new ones follow in the
 * patch's. False, and *ret untouched, when one of the texts is no such object, or when memory ran out (arena->exhausted).
 */
bool merge_patch(struct arena *arena, struct text target, struct text patch, struct text *ret);

#endif
