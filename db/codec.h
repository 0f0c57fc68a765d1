/*
 * The binary form of commands and results. Commands in this form are the replicated log; results in this form are kept
 * by idempotency records. Layout, after one version byte: each field in the order of its table in records.c, an int
 * as a varint (zigzag plus one, 0 for ABSENT), a text as a varint of its length plus one (0 for absent) and its bytes,
 * a flag as one byte, a list as a varint count and its elements.
 * What an older version wrote is read too: a field that it did not have yet is ABSENT.
 *
 * Decoding trusts nothing: any bytes give either a value whose encoding is as long as the input, or false.
 */
#ifndef RINGHOLD_DB_CODEC_H
#define RINGHOLD_DB_CODEC_H

#include "db/result.h"

#include "db/arena.h"

enum { CODEC_VERSION = 2 };

/* The encoding, in the arena; absent when memory ran out. */
struct text command_encode(const struct command *command, struct arena *arena);
/* The command's texts point into `bytes`, its lists into the arena. */
bool command_decode(struct text bytes, struct arena *arena, struct command *ret);

/* A batch, what an entry of the replicated log holds: a list of commands, one transaction of the state machine. */
struct text batch_encode(const struct command *const commands[], size_t count, struct arena *arena);
/* The commands are in the arena; their texts point into `bytes`. */
bool batch_decode(struct text bytes, struct arena *arena, struct commands *ret);

struct text result_encode(const struct result *result, struct arena *arena);
bool result_decode(struct text bytes, struct arena *arena, struct result *ret);

/*
 * The tables, for the codec, and for tests that make random values or count bytes.
 */
enum field_type {
    FIELD_INT,
    FIELD_FLAG,
    FIELD_TEXT,
    FIELD_RECORD,   /* a struct inside the struct */
    FIELD_LIST,     /* {element *at; size_t count} of records */
    FIELD_COMMANDS, /* struct commands */
    FIELD_RESULTS   /* struct results */
};
struct record;
struct field {
    enum field_type type;
    size_t offset;
    const struct record *record; /* of RECORD and LIST */
    int since; /* the version that brought it, of an INT or a TEXT; 0: the first */
};
struct record {
    const char *name;
    size_t bytes; /* sizeof the struct */
    const struct field *fields;
    size_t count;
};
/* The record of a command kind's member, and of a result shape's; NULL for SHAPE_NONE. */
const struct record *command_record(enum command_kind kind);
const struct record *result_record(enum result_shape shape);
extern const struct record *const codec_idempotency;
extern const struct record *const codec_stamp;
extern const struct record *const codec_result_head; /* what every result has, whatever its shape */

#endif
