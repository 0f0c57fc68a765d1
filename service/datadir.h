/*
 * The data directory: what one instance keeps, and the lock that keeps a second process out.
 *
 *     lock              held (flock) by the process that uses the directory; holds its pid
 *     node              16 hexadecimal digits: the instance's identity, made with the directory
 *     clean             is there while the last process to use the directory stopped in order
 *     partition-0.db    the state, with SQLite's -wal and -shm beside it
 *
 * The kernel gives the lock back when the process ends, however it ends. One thread at a time.
 */
#ifndef RINGHOLD_SERVICE_DATADIR_H
#define RINGHOLD_SERVICE_DATADIR_H

#include "db/status.h"

#include <stdbool.h>

enum { DATADIR_WHY_BYTES = 1536, DATADIR_PATH_BYTES = 1280, DATADIR_NODE_DIGITS = 16 };

struct datadir;

/*
 * Makes the directory where it is missing (its parent must be there), locks it, and makes its identity. False when it
 * cannot; ret_why then says why, in one sentence for the operator. From now on, until datadir_close, the directory
 * counts as not stopped in order.
 */
MUST_CHECK bool datadir_open(const char *path, struct datadir **ret,
                             char ret_why[DATADIR_WHY_BYTES]);
/* Gives the directory free; `clean` says that everything in it was closed in order. NULL-safe. */
void datadir_close(struct datadir *datadir, bool clean);

/* The path of the state's file. */
const char *datadir_database(const struct datadir *datadir);
/* The same, of a directory that is not open. */
void datadir_database_of(const char *path, char ret[DATADIR_PATH_BYTES]);
/* The instance's identity, as text. */
const char *datadir_node_id(const struct datadir *datadir);
/* Whether the last process stopped in order, or there was none: the state then needs no integrity check. */
bool datadir_was_clean(const struct datadir *datadir);

#endif
