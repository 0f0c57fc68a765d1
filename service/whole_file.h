/*
 * Small files, read and written whole, and the syncing of files and directories. On failure errno says why. No state; any
 * thread.
 */
#ifndef RINGHOLD_SERVICE_WHOLE_FILE_H
#define RINGHOLD_SERVICE_WHOLE_FILE_H

#include "db/status.h"
#include "db/text.h"

/* All of the file, in memory of malloc that is the caller's, and not NULL where the file is empty. */
MUST_CHECK bool whole_file_read(const char *path, void **ret_bytes, size_t *ret_len);
/* Makes the file hold just these bytes, for its owner alone. Not synced. */
MUST_CHECK bool whole_file_write(const char *path, struct text bytes);
/* The same by way of PATH.tmp, so that the file is there whole or as it was. `durable`: also when the power goes. */
MUST_CHECK bool whole_file_replace(const char *path, struct text bytes, bool durable);
/* Makes what was written to a file, or has happened in a directory, durable. */
MUST_CHECK bool whole_file_sync(const char *path);
/* The same for the directory that the file is in. */
MUST_CHECK bool whole_file_sync_place(const char *path);
/* All the bytes, to a descriptor. */
MUST_CHECK bool whole_file_write_to(int fd, struct text bytes);

#endif
