#include "service/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 1536 };

static bool read_all(int fd, char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t got = read(fd, bytes, len);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        bytes += got;
        len -= (size_t)got;
    }
    return true;
}

bool whole_file_read(const char *path, void **ret_bytes, size_t *ret_len)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    size_t len = fstat(fd, &status) == 0 ? (size_t)status.st_size : 0;
    char *bytes = malloc(len + 1);
    bool whole = bytes != NULL && read_all(fd, bytes, len);
    close(fd);
    if (!whole) {
        free(bytes);
        return false;
    }
    *ret_bytes = bytes;
    *ret_len = len;
    return true;
}

bool whole_file_write_to(int fd, struct text bytes)
{
    while (bytes.len > 0) {
        ssize_t written = write(fd, bytes.at, bytes.len);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        bytes.at += written;
        bytes.len -= (size_t)written;
    }
    return true;
}

static bool write_file(const char *path, struct text bytes, bool durable)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return false;
    }
    bool written = whole_file_write_to(fd, bytes) && (!durable || fsync(fd) == 0);
    return close(fd) == 0 && written;
}

bool whole_file_write(const char *path, struct text bytes)
{
    return write_file(path, bytes, false);
}

bool whole_file_replace(const char *path, struct text bytes, bool durable)
{
    char made[PATH_BYTES + 8];
    snprintf(made, sizeof made, "%s.tmp", path);
    return write_file(made, bytes, durable) && rename(made, path) == 0 &&
           (!durable || whole_file_sync_place(path));
}

bool whole_file_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return synced;
}

bool whole_file_sync_place(const char *path)
{
    char copy[PATH_BYTES];
    snprintf(copy, sizeof copy, "%s", path);
    return whole_file_sync(dirname(copy));
}
