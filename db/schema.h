/*
 * The tables of a partition, and how an older file becomes a newer one: each step runs once, in order, and all that
 * are missing run in one transaction, so that a file is never between two versions.
 */
#ifndef RINGHOLD_DB_SCHEMA_H
#define RINGHOLD_DB_SCHEMA_H

#include "db/sql.h"

enum { SCHEMA_VERSION = 3 };

/* Brings the open file to SCHEMA_VERSION. STORAGE_UNAVAILABLE when it cannot, or when the file is newer than this
   program; `ret_why` says which. */
MUST_CHECK enum status schema_migrate(struct sql *sql, char ret_why[256]);

/* The names of all tables that are state, in a fixed order; NULL ends the list. */
extern const char *const schema_tables[];

#endif
