#include "tests/crash/copies.h"

#include "tests/crash/faulty_vfs.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_BYTES = COPIES_PATH_BYTES + 16 };

/* In memory where there is such a place: the faults are ours, the disk need not be real. */
static void make_dir(char ret_dir[COPIES_DIR_BYTES])
{
    const char *home = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(ret_dir, COPIES_DIR_BYTES, "%s/ringhold-faults-XXXXXX", home);
    cr_assert_not_null(mkdtemp(ret_dir));
}

void copies_set_up(const char *name, char ret_dir[COPIES_DIR_BYTES],
                   char ret_path[COPIES_PATH_BYTES], char ret_copy[COPIES_PATH_BYTES])
{
    make_dir(ret_dir);
    snprintf(ret_path, COPIES_PATH_BYTES, "%s/%s", ret_dir, name);
    snprintf(ret_copy, COPIES_PATH_BYTES, "%s/copy.db", ret_dir);
    faulty_install();
}

void copies_tear_down(const char *dir, const char *path, const char *copy)
{
    faulty_heal();
    copies_remove(path);
    copies_remove(copy);
    rmdir(dir);
}

void copies_remove(const char *path)
{
    static const char *const SUFFIX[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < sizeof SUFFIX / sizeof SUFFIX[0]; i++) {
        char name[NAME_BYTES];
        snprintf(name, sizeof name, "%s%s", path, SUFFIX[i]);
        unlink(name);
    }
}

static void copy_file(const char *from, const char *to)
{
    char block[65536];
    size_t len;
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    cr_assert(in != NULL && out != NULL, "cannot copy %s", from);
    while ((len = fread(block, 1, sizeof block, in)) > 0) {
        cr_assert_eq(fwrite(block, 1, len, out), len);
    }
    fclose(in);
    cr_assert_eq(fclose(out), 0);
}

static void wal_names(const char *path, const char *to, char ret_from[NAME_BYTES],
                      char ret_to[NAME_BYTES])
{
    snprintf(ret_from, NAME_BYTES, "%s-wal", path);
    snprintf(ret_to, NAME_BYTES, "%s-wal", to);
}

void copies_after_kill(const char *path, const char *to)
{
    char wal[NAME_BYTES], wal_to[NAME_BYTES];
    wal_names(path, to, wal, wal_to);
    copies_remove(to);
    copy_file(path, to);
    if (access(wal, R_OK) == 0) {
        copy_file(wal, wal_to);
    }
}

void copies_after_power_cut(const char *path, const char *to, unsigned seed)
{
    char wal[NAME_BYTES], wal_to[NAME_BYTES];
    wal_names(path, to, wal, wal_to);
    copies_remove(to);
    cr_assert(faulty_power_cut(path, to, seed));
    faulty_power_cut(wal, wal_to, seed * 31 + 7);
}

long copies_stride(long sum, long plays_max)
{
    const char *all = getenv("RINGHOLD_FAULTS");
    bool every = (all != NULL && strcmp(all, "all") == 0) || sum <= plays_max;
    return every ? 1 : (sum + plays_max - 1) / plays_max;
}
