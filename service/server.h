/*
 * The serving process: opens the data directory, starts the parts in order, serves until SIGTERM or SIGINT, drains, and
 * stops them in the opposite order.
 *
 *     data directory ─► partition ─► parked ─► HTTP loops ─► committer ─► warm start ─► ready
 */
#ifndef RINGHOLD_SERVICE_SERVER_H
#define RINGHOLD_SERVICE_SERVER_H

#include "service/config.h"

/* Runs until a signal. Returns the process's exit code; what went wrong has been said on stderr. */
int server_run(const struct config *config);

#endif
