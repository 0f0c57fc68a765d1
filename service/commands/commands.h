/*
 * The commands of whoever runs a cluster. Each does what it was asked to, prints what it does, and returns the exit code;
 * a sentence on stderr says why it could not.
 *
 *     ring      asks a member for what is to be seen, over HTTP
 *     leave     has group 0 take the member out: its replicas are made again elsewhere, then it goes from the table
 *     replace   the same, and says who should take the places
 *     recover   with no member running: makes a directory's replicas the only ones (recover.h)
 *
 * leave and replace prove the cluster's secret, on the peer port: HTTP is for anybody.
 */
#ifndef RINGHOLD_SERVICE_COMMANDS_COMMANDS_H
#define RINGHOLD_SERVICE_COMMANDS_COMMANDS_H

#include "service/config.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

int command_ring(const struct config *config);
int command_leave(const struct config *config);
int command_recover(const struct config *config);

/* Says why on stderr; EXIT_FAILED. */
int command_failed(const char *why);

#endif
