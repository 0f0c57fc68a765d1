/*
 * From a command's kind to the function that carries it out, and the few commands that concern no single resource.
 */
#ifndef RINGHOLD_DB_DISPATCH_H
#define RINGHOLD_DB_DISPATCH_H

#include "db/txn.h"

/* Carries the command out within the transaction; `result` must have been made OK, with its stamp. */
void dispatch(struct txn *txn, const struct command *command, struct result *result);

#endif
