/*
 * A history of a member's log: transactions of entries, cuts, votes, marks and forgotten groups, the same for the same seed,
 * and beside them a model that says in words what must be stored before and after each.
 */
#ifndef RINGHOLD_TESTS_LOG_PLAY_H
#define RINGHOLD_TESTS_LOG_PLAY_H

#include "db/log_store.h"

enum {
    LOG_PLAY_GROUPS = 3,
    LOG_PLAY_ENTRIES_MAX = 400,
    LOG_PLAY_STEPS_MAX = 6,
    LOG_PLAY_WORDS_BYTES = LOG_PLAY_GROUPS * LOG_PLAY_ENTRIES_MAX * 64
};

struct log_play_group {
    bool there;
    uint64_t term, vote, first, last; /* last: first - 1 where there are no entries */
    uint64_t mark_index, mark_term;
    struct log_play_entry {
        uint64_t term;
        unsigned len, fill;
    } entries[LOG_PLAY_ENTRIES_MAX]; /* by index */
};
struct log_play_state {
    struct log_play_group groups[LOG_PLAY_GROUPS];
};

enum log_play_kind { ADDS, DROPS, VOTES, MARKS, BEGINS_ANEW, FORGETS };
struct log_play_step {
    enum log_play_kind kind;
    unsigned group;
    uint64_t index, count, first; /* ADDS: of the first, how many; MARKS: of the mark, of the log */
    uint64_t term;
    unsigned len, fill;
};
struct log_play {
    unsigned seed;
    struct log_play_state before, after; /* the transaction that was drawn last */
    struct log_play_step steps[LOG_PLAY_STEPS_MAX];
    unsigned count;
};

void log_play_begin(struct log_play *play, unsigned seed);
/* Draws the next transaction. */
void log_play_next(struct log_play *play);
/* Tries it; `beside`: while the WAL is written back beside it. Whether it was stored. */
bool log_play_try(const struct log_play *play, struct log_store *store, bool beside);

/* What the model says, and what the store says; the same words for the same. The store's are NULL where it is altered or
   cannot be read. */
const char *log_play_words(const struct log_play_state *state, char words[LOG_PLAY_WORDS_BYTES]);
const char *log_play_read(struct log_store *store, char words[LOG_PLAY_WORDS_BYTES]);

#endif
