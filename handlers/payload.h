/*
 * Bodies of messages as they are stored: compact JSON text, compressed with zstd where that saves something worth
 * having. Any thread.
 */
#ifndef RINGHOLD_HANDLERS_PAYLOAD_H
#define RINGHOLD_HANDLERS_PAYLOAD_H

#include "db/arena.h"

#include <stdint.h>

/* What to store for this text, which is itself or of the arena. *ret_raw_bytes is its length when it was compressed, 0
   when it was not. */
struct text payload_pack(struct arena *arena, struct text json, int64_t *ret_raw_bytes);
/* The text again. Absent when memory ran out, or when these are not the bytes that payload_pack gave: what comes out
   is never longer than raw_bytes, nor than BODY_BYTES_MAX. */
struct text payload_unpack(struct arena *arena, struct text stored, int64_t raw_bytes);

#endif
