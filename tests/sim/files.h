/*
 * The nodes' files, in memory: what SQLite and the program keep in them, and of that what would still be there after a
 * crash. A path begins with the digit of its node. Also SQLite's default VFS, and whole_file.h on the same files.
 */
#ifndef RINGHOLD_TESTS_SIM_FILES_H
#define RINGHOLD_TESTS_SIM_FILES_H

#include <stdbool.h>

/* Makes them SQLite's only files. Once a process, before a database is opened. */
void files_install(void);
/* The node crashes: what was synced stays, and of each write since, as chance will have it, all, half or nothing. */
void files_crash(int node);
/* Nothing of the node's is left. */
void files_drop(int node);

/* What its files do from now on. */
enum files_state { FILES_WORK, FILES_FULL, FILES_BROKEN };
void files_become(int node, enum files_state state);

#endif
