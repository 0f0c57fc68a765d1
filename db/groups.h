/*
 * Order within a group. Of a group's living messages at most group_concurrency have the turn: the earliest of them,
 * unless one had it before an earlier one came back from the dead. Only who has the turn is ever READY or LEASED; the
 * others are BLOCKED, or DELAYED, and get the turn in order as those leave. So a message that is delayed or has failed
 * keeps its turn and holds back the ones behind it, and no group holds back another.
 *
 * Only messages with a group have a turn, and only they cost anything here: index messages_by_group has an entry for
 * each living one and is written when the turn changes, not with each delivery.
 */
#ifndef RINGHOLD_DB_GROUPS_H
#define RINGHOLD_DB_GROUPS_H

#include "db/messages.h"

/* The turn of a message that comes in behind all others of its group. */
int64_t group_enter(struct txn *txn, const struct queue *queue, struct text group);
/* The turn of a message that comes back at its old place; takes it from a later one, if that is not leased. */
int64_t group_return(struct txn *txn, struct queue *queue, struct text group, int64_t id);
/* If there is room for another turn, the first that waits for one gets it. True: it was so. */
bool group_next(struct txn *txn, struct queue *queue, struct text group);

/* What is wrong with the turns, or NULL. */
const char *groups_sanity(struct txn *txn);

#endif
