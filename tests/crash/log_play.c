#include "tests/crash/log_play.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { DATA_BYTES_MAX = 70000, TERMS = 5 };

/* ---- drawing ------------------------------------------------------------------------------------------------------ */

static unsigned draw(struct log_play *play, unsigned below)
{
    play->seed = play->seed * 1664525u + 1013904223u;
    return (play->seed >> 16) % below;
}

void log_play_begin(struct log_play *play, unsigned seed)
{
    memset(play, 0, sizeof *play);
    play->seed = seed;
    for (unsigned i = 0; i < LOG_PLAY_GROUPS; i++) {
        play->after.groups[i].first = 1;
    }
}

static void draw_adds(struct log_play *play, const struct log_play_group *group,
                      struct log_play_step *step)
{
    static const unsigned LENGTHS[] = {0, 20, 20, 300, 300, 300, 3000, DATA_BYTES_MAX};
    step->kind = ADDS;
    step->index = group->last + 1;
    step->count = 1 + draw(play, 6);
    step->len = LENGTHS[draw(play, 8)];
    step->fill = draw(play, 256);
}

/* A group whose indexes come to an end is forgotten. */
static struct log_play_step draw_step(struct log_play *play)
{
    unsigned number = draw(play, LOG_PLAY_GROUPS), lot = draw(play, 24);
    const struct log_play_group *group = &play->after.groups[number];
    uint64_t entries = group->last - group->first + 1;
    struct log_play_step step = {
        .kind = VOTES, .group = number, .term = group->term + draw(play, 2), .fill = draw(play, 4)};
    if (group->last > LOG_PLAY_ENTRIES_MAX - 20 || lot == 0) {
        step.kind = FORGETS;
    } else if (lot <= 3 || !group->there) {
        return step;
    } else if (lot <= 5 && entries > 0) {
        step.kind = DROPS;
        step.index = group->last - draw(play, (unsigned)(entries < 4 ? entries : 4));
    } else if (lot <= 9 && entries > 0) {
        step.kind = MARKS;
        step.index = group->first + draw(play, (unsigned)entries);
        step.first = group->first + draw(play, (unsigned)(step.index - group->first + 2));
    } else if (lot == 10) {
        step.kind = BEGINS_ANEW;
        step.index = group->last + 1 + draw(play, 4);
        step.first = step.index + 1;
    } else {
        draw_adds(play, group, &step);
    }
    return step;
}

static void apply(struct log_play_group *group, const struct log_play_step *step)
{
    switch (step->kind) {
    case ADDS:
        for (uint64_t i = 0; i < step->count; i++) {
            group->entries[++group->last] =
                (struct log_play_entry){step->term, step->len, step->fill + (unsigned)i};
        }
        return;
    case DROPS:
        group->last = step->index - 1;
        return;
    case VOTES:
        group->there = true;
        group->term = step->term;
        group->vote = step->fill;
        return;
    case MARKS:
    case BEGINS_ANEW:
        group->first = step->first;
        group->last = step->kind == MARKS ? group->last : step->index;
        group->mark_index = step->index;
        group->mark_term = step->term;
        return;
    case FORGETS:
        memset(group, 0, sizeof *group);
        group->first = 1;
        return;
    }
}

void log_play_next(struct log_play *play)
{
    play->before = play->after;
    play->count = 1 + draw(play, LOG_PLAY_STEPS_MAX);
    for (unsigned i = 0; i < play->count; i++) {
        play->steps[i] = draw_step(play);
        apply(&play->after.groups[play->steps[i].group], &play->steps[i]);
    }
}

/* ---- playing ------------------------------------------------------------------------------------------------------ */

static struct text data_of(struct log_play_entry entry)
{
    static char bytes[DATA_BYTES_MAX];
    memset(bytes, (int)(entry.fill % 256), entry.len);
    return (struct text){bytes, entry.len};
}

static int type_of(struct log_play_entry entry)
{
    return 1 + (int)(entry.fill % 2);
}

static struct log_mark mark_of(uint64_t index, uint64_t term, char words[32])
{
    snprintf(words, 32, "state %" PRIu64, index);
    return (struct log_mark){.index = index,
                             .term = term,
                             .members_index = index / 2,
                             .members = TEXT("some members"),
                             .data = text_of(words)};
}

static void run(struct log_store *store, const struct log_play_step *step)
{
    char words[32];
    struct log_mark mark = mark_of(step->index, step->term, words);
    switch (step->kind) {
    case ADDS:
        for (uint64_t i = 0; i < step->count; i++) {
            struct log_play_entry entry = {step->term, step->len, step->fill + (unsigned)i};
            struct log_entry added = {step->index + i, step->term, type_of(entry), data_of(entry)};
            log_store_add(store, step->group, &added);
        }
        return;
    case DROPS:
        log_store_drop_from(store, step->group, step->index);
        return;
    case VOTES:
        log_store_set_vote(store, step->group, step->term, step->fill);
        return;
    case BEGINS_ANEW:
        log_store_drop_from(store, step->group, 0);
        log_store_set_mark(store, step->group, &mark, step->first);
        return;
    case MARKS:
        log_store_set_mark(store, step->group, &mark, step->first);
        return;
    case FORGETS:
        log_store_forget(store, step->group);
        return;
    }
}

bool log_play_try(const struct log_play *play, struct log_store *store, bool beside)
{
    log_store_begin(store);
    for (unsigned i = 0; i < play->count; i++) {
        run(store, &play->steps[i]);
    }
    (void)log_store_trim(store);
    if (beside) {
        log_store_write_back_beside(store); /* as its thread may at any time */
    }
    return log_store_commit(store);
}

/* ---- words -------------------------------------------------------------------------------------------------------- */

struct listing {
    char *words;
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void say(struct listing *listing, const char *format,
                                                      ...)
{
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(listing->words + listing->used, LOG_PLAY_WORDS_BYTES - listing->used,
                        format, arguments);
    va_end(arguments);
    if (len < 0 || listing->used + (size_t)len >= LOG_PLAY_WORDS_BYTES) {
        abort();
    }
    listing->used += (size_t)len;
}

static void say_head(struct listing *listing, unsigned group, const struct log_head *head)
{
    say(listing, "\ngroup %u: %" PRIu64 "/%" PRIu64 ", from %" PRIu64 ", mark %" PRIu64 "/%" PRIu64,
        group, head->term, head->vote, head->first, head->mark.index, head->mark.term);
    say(listing, "/%" PRIu64 " %.*s %.*s:", head->mark.members_index, (int)head->mark.members.len,
        head->mark.members.at, (int)head->mark.data.len, head->mark.data.at);
}

static void say_entry(void *context, const struct log_entry *entry)
{
    say(context, " %" PRIu64 "=%" PRIu64 "/%d/%" PRIx64, entry->index, entry->term, entry->type,
        (uint64_t)XXH3_64bits(entry->data.at, entry->data.len));
}

const char *log_play_words(const struct log_play_state *state, char words[LOG_PLAY_WORDS_BYTES])
{
    struct listing listing = {words, 0};
    words[0] = '\0';
    for (unsigned i = 0; i < LOG_PLAY_GROUPS; i++) {
        const struct log_play_group *group = &state->groups[i];
        char data[32];
        struct log_head head = {.term = group->term, .vote = group->vote, .first = group->first};
        if (group->mark_index != 0) {
            head.mark = mark_of(group->mark_index, group->mark_term, data);
        }
        if (group->there) {
            say_head(&listing, i, &head);
        }
        for (uint64_t at = group->first; at <= group->last; at++) {
            struct log_play_entry entry = group->entries[at];
            say_entry(&listing,
                      &(struct log_entry){at, entry.term, type_of(entry), data_of(entry)});
        }
    }
    return words;
}

static bool read_group(struct log_store *store, unsigned group, struct listing *listing)
{
    struct arena arena = ARENA_EMPTY;
    struct log_head head = {.first = 1};
    if (log_store_head(store, group, &arena, &head) && !head.altered) {
        say_head(listing, group, &head);
    }
    arena_free(&arena);
    return !head.altered && log_store_each(store, group, head.first, say_entry, listing);
}

const char *log_play_read(struct log_store *store, char words[LOG_PLAY_WORDS_BYTES])
{
    struct listing listing = {words, 0};
    bool good = true;
    words[0] = '\0';
    log_store_begin(store);
    for (unsigned i = 0; i < LOG_PLAY_GROUPS && good; i++) {
        good = read_group(store, i, &listing);
    }
    return log_store_commit(store) && good ? words : NULL;
}
