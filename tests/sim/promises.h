/*
 * What clients were promised. First of the committed commands in their order: no fence goes back, no message is
 * delivered after it was settled, none is lost and none comes from nowhere. Then of what clients know: who was granted a
 * lease holds it for as long as it was told, counted from when it asked, and nobody else does meanwhile, whoever leads.
 */
#ifndef RINGHOLD_TESTS_SIM_PROMISES_H
#define RINGHOLD_TESTS_SIM_PROMISES_H

#include "db/machine.h"

void promises_begin(void);
void promises_carried_out(const struct command *command, const struct result *result);
/* The messages that must be there are there; `database` is the oracle's. */
void promises_end(const char *database, struct machine *machine);

/* A client holds what `key` names until then. `fence` tells its hold from others. */
void promises_hold(uint64_t key, int64_t fence, uint64_t until_us);
/* It holds it no longer, or may not. */
void promises_let_go(uint64_t key, int64_t fence);
/* Keys. */
uint64_t promises_lock(struct text name);
uint64_t promises_message(struct text queue, int64_t message);

#endif
