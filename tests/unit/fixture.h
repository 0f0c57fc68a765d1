/*
 * What the tests of the state machine share: a machine over a file of its own, and clocks that the test moves.
 * Every test makes a fixture with fixture_open and ends with fixture_close.
 */
#ifndef RINGHOLD_TESTS_FIXTURE_H
#define RINGHOLD_TESTS_FIXTURE_H

#include "db/machine.h"

struct fixture {
    struct machine *machine;
    struct arena arena;   /* results live here until the fixture is closed */
    struct stamp now;     /* what the next command is stamped with */
    struct events events; /* of the last command */
    char dir[64];
    char path[96];
};

/* A new, empty machine; wall time 1,000,000 ms, lease time 0. */
void fixture_open(struct fixture *f);
/* Closes the machine and opens the same file again. */
void fixture_reopen(struct fixture *f);
void fixture_close(struct fixture *f);

/* Both clocks go on. No TICK runs. */
void fixture_pass(struct fixture *f, int64_t ms);
/* Carries the command out in a batch of its own, stamped with now. */
struct result fixture_do(struct fixture *f, struct command command);
/* A PUT of a session of an hour, with the data {}. */
struct command fixture_putting(const char *id);
/* The same as a TICK of as many steps as it takes. */
void fixture_tick(struct fixture *f);
/* Whether the last command said so. detail may be NULL for any. */
bool fixture_event(const struct fixture *f, enum event_kind kind, const char *name,
                   const char *detail);
/* A reading command on a connection of its own. */
struct result fixture_read(struct fixture *f, struct command command);

#endif
