/*
 * The world of one seed: virtual time, what happens next in it, chance, and a trace. All that happens is an event, and
 * nothing else decides what comes next; so a seed is a history, the same each time.
 *
 * One seed is one process. What a node leaves behind in memory when it crashes goes with the process.
 */
#ifndef RINGHOLD_TESTS_SIM_WORLD_H
#define RINGHOLD_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIM_NODES_MAX = 5, NOWHERE = -1, MS = 1000, SECOND = 1000 * MS };

/* How often what happened, over all seeds: that the weather is as bad as it is meant to be can be seen. */
#define TALLY_TABLE(X)                                                                             \
    X(events)                                                                                      \
    X(entries)                                                                                     \
    X(acknowledged)                                                                                \
    X(refused)                                                                                     \
    X(unknown)                                                                                     \
    X(strong_reads)                                                                                \
    X(grants)                                                                                      \
    X(lock_sets)                                                                                   \
    X(sessions_ended)                                                                              \
    X(transactions)                                                                                \
    X(deliveries)                                                                                  \
    X(leaders)                                                                                     \
    X(crashes)                                                                                     \
    X(stops)                                                                                       \
    X(lost_entries)                                                                                \
    X(partitions)                                                                                  \
    X(resets)                                                                                      \
    X(late_messages)                                                                               \
    X(cuts)                                                                                        \
    X(images)                                                                                      \
    X(members_changed)                                                                             \
    X(transfers)                                                                                   \
    X(hashes)
struct tally {
#define TALLY_AS_MEMBER(name) uint64_t name;
    TALLY_TABLE(TALLY_AS_MEMBER)
#undef TALLY_AS_MEMBER
    uint64_t trace; /* a hash of every line */
    char wrong[400];
};
extern struct tally *tally; /* of this seed */

/* Begins the world of a seed; `shown`: the trace is printed as it grows. */
void world_begin(uint64_t seed, bool shown);
/* Microseconds since the world began. */
uint64_t world_now(void);
/* Runs what happens until then. */
void world_run(uint64_t until_us);

/*
 * Has something happen later. With a node it is the node's: code of the program runs in it, and a crash of the node
 * before then undoes it.
 */
void later(uint64_t us, int node, void (*what)(void *context), void *context);
/* The node whose code is running, or NOWHERE. */
int world_here(void);
/* Runs something now as if it were an event of that node's. */
void as_node(int node, void (*what)(void *context), void *context);

/* Less than n. */
uint64_t chance(uint64_t n);
uint64_t chance_between(uint64_t least, uint64_t most);
bool chance_of(unsigned percent);

/* A line of the trace. */
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* What must never be, is. The end of the seed: prints what was seen last. */
_Noreturn void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
