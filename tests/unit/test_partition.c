/* A partition's files: when its write-ahead log is moved into the database. */
#include "service/partition.h"
#include "service/whole_file.h"
#include "tests/unit/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

static const unsigned char SEED[32] = "a test's seed, always the same.";

static struct {
    char dir[64], path[96];
    struct partition partition;
    struct arena arena;
} f;

static void open_partition(void)
{
    char why[256];
    partition_make(&f.partition, 0, false);
    cr_assert(partition_open(&f.partition, f.path,
                             (struct partition_options){.storage = STORAGE_OWN, .seed = SEED}, why),
              "%s", why);
}

static void close_partition(void)
{
    partition_close(&f.partition);
    partition_unmake(&f.partition);
}

static void set_up(void)
{
    snprintf(f.dir, sizeof f.dir, "/tmp/ringhold-unit-XXXXXX");
    cr_assert_not_null(mkdtemp(f.dir));
    snprintf(f.path, sizeof f.path, "%s/partition.db", f.dir);
    open_partition();
}

static void tear_down(void)
{
    static const char *const SUFFIX[] = {"", "-wal", "-shm"};
    close_partition();
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", f.path, SUFFIX[i]);
        unlink(path);
    }
    rmdir(f.dir);
    arena_free(&f.arena);
}

TestSuite(partition, .init = set_up, .fini = tear_down);

static void put(const char *id)
{
    struct events events;
    struct result result;
    struct command command = fixture_putting(id);
    command.stamp = (struct stamp){1000000, 0};
    machine_begin(f.partition.machine, &f.arena);
    machine_apply(f.partition.machine, &command, &f.arena, &result);
    cr_assert_eq(machine_commit(f.partition.machine, &events), STATUS_OK);
}

static uint64_t hash_of_database(void)
{
    void *bytes;
    size_t count;
    cr_assert(whole_file_read(f.path, &bytes, &count));
    uint64_t hash = XXH3_64bits(bytes, count);
    free(bytes);
    return hash;
}

/* Whether the database changes when the log is to be moved if it is longer than so many pages. */
static bool moves(int64_t pages)
{
    uint64_t before = hash_of_database();
    partition_checkpoint(&f.partition, pages * PAGE_BYTES);
    return hash_of_database() != before;
}

Test(partition, the_log_is_moved_when_it_is_long_and_not_again_for_the_length_its_file_had)
{
    enum { LONG = 100 };
    do {
        cr_assert_not(moves(LONG));
        put("s");
    } while (machine_wal_pages(f.partition.machine) <= LONG);
    cr_expect(moves(LONG));
    cr_expect_not(moves(LONG));
    put("t");
    cr_expect_gt(partition_files(&f.partition).wal_bytes, LONG * PAGE_BYTES);
    cr_expect_not(moves(LONG), "the log has begun anew");
    cr_expect(moves(0));
}
