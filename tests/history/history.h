/*
 * A history: the commands of one run, each in its encoded form with what happens around it. It can be generated, run,
 * printed, and made smaller.
 */
#ifndef RINGHOLD_TESTS_HISTORY_HISTORY_H
#define RINGHOLD_TESTS_HISTORY_HISTORY_H

#include "tests/history/model.h"

enum happening {
    HAPPENS_COMMAND,
    HAPPENS_TICKS, /* a TICK, and as many more as it takes */
    HAPPENS_REOPEN /* the machine is closed, and opened again */
};

/* A number in a command that came from an earlier answer, such as a receipt: what it named when the command was made.
   So a shorter history, where the same thing has another number, can still name it. */
enum { REFS_MAX = 24, REF_NONE = -1 };

struct entry {
    enum happening what;
    struct text bytes;  /* the command's encoding, its stamp included */
    bool commit;        /* the batch ends here */
    int refs[REFS_MAX]; /* in the order refs_bind meets them */
};

struct history {
    struct entry *at;
    size_t count, room;
};

/* Adds the command, encoded, its refs noted as of the model's present state. */
void history_add(struct history *history, struct model *model, enum happening what,
                 const struct command *command, bool commit);

/* ---- random numbers ------------------------------------------------------------------------------------------- */

struct chance {
    uint64_t state;
};
uint64_t chance_draw(struct chance *chance);
/* From 0 to n - 1. */
int64_t chance_below(struct chance *chance, int64_t n);
/* True so many times in a hundred. */
bool chance_of(struct chance *chance, int percent);
/* One of the values. */
#define CHANCE_PICK(chance, ...)                                                                   \
    ((const int64_t[]){__VA_ARGS__}[chance_below(                                                  \
        chance, (int64_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))])

/* ---- generating ----------------------------------------------------------------------------------------------- */

/* What a generator keeps from step to step. */
struct generator {
    struct chance chance;
    struct model *model; /* looked at, to ask for what is there more often than not */
    struct stamp clock;
    int sessions, locks, queues; /* how much of each, in this history */
    int lock_names, owner_names; /* how many there are */
    int64_t pace_ms;             /* how much time a step takes at the most, mostly */
    int64_t serial;              /* for names that never come again */
    struct history *history;     /* some commands are repeated from it */
};
void generator_begin(struct generator *generator, uint64_t seed, struct model *model,
                     struct history *history);
/* Adds the next entry to the history. */
void generator_step(struct generator *generator);

/* ---- refs ----------------------------------------------------------------------------------------------------- */

/* Notes in `refs` what the command's numbers name in the model's present state. */
void refs_note(struct model *model, const struct command *command, int refs[REFS_MAX]);
/* The other way: gives the command the numbers that its refs name in the model's present state. What they named and is
   not there becomes a number that names nothing. */
void refs_bind(struct model *model, struct command *command, const int refs[REFS_MAX]);

/* ---- printing ------------------------------------------------------------------------------------------------- */

/* One line for a command, in the arena. */
struct text show_command(const struct command *command, struct arena *arena);
/* All of them, with the time that passes between. */
void show_history(const struct history *history);

#endif
