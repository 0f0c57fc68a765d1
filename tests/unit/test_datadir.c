#include "service/datadir.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[64]; /* of the test; emptied by clean_up */
static char dir[128];
static char why[DATADIR_WHY_BYTES];

static void set_up(void)
{
    strcpy(root, "/tmp/ringhold-datadir-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    snprintf(dir, sizeof dir, "%s/data", root);
}

static void clean_up(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    cr_assert_eq(system(command), 0);
}
TestSuite(datadir, .init = set_up, .fini = clean_up);

static struct datadir *opened(void)
{
    struct datadir *datadir = NULL;
    cr_assert(datadir_open(dir, &datadir, why), "%s", why);
    return datadir;
}

static void touch(const char *path)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fclose(file);
}

Test(datadir, is_made_for_its_owner_alone)
{
    datadir_close(opened(), true);
    struct stat status;
    cr_assert_eq(stat(dir, &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0700);
}

Test(datadir, keeps_its_identity)
{
    struct datadir *datadir = opened();
    char first[DATADIR_NODE_DIGITS + 1];
    strcpy(first, datadir_node_id(datadir));
    cr_expect_eq(strlen(first), DATADIR_NODE_DIGITS);
    datadir_close(datadir, false);
    datadir = opened();
    cr_expect_str_eq(datadir_node_id(datadir), first);
    datadir_close(datadir, true);
}

Test(datadir, two_directories_have_two_identities)
{
    struct datadir *one = opened();
    snprintf(dir, sizeof dir, "%s/other", root);
    struct datadir *other = opened();
    cr_expect_str_neq(datadir_node_id(one), datadir_node_id(other));
    datadir_close(one, true);
    datadir_close(other, true);
}

Test(datadir, refuses_an_identity_that_was_changed)
{
    datadir_close(opened(), true);
    char path[160];
    snprintf(path, sizeof path, "%s/node", dir);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs("not hexadecimal!\n", file);
    fclose(file);
    struct datadir *datadir = NULL;
    cr_assert_not(datadir_open(dir, &datadir, why));
    cr_expect_not_null(strstr(why, "does not hold the 16 hexadecimal digits"), "%s", why);
}

Test(datadir, refuses_a_second_user_and_names_the_first)
{
    struct datadir *first = opened(), *second = NULL;
    char pid[32];
    snprintf(pid, sizeof pid, "(pid %ld)", (long)getpid());
    cr_assert_not(datadir_open(dir, &second, why));
    cr_expect_not_null(strstr(why, dir), "%s", why);
    cr_expect_not_null(strstr(why, pid), "%s", why);
    datadir_close(first, true);
    datadir_close(opened(), true);
}

Test(datadir, is_free_again_when_its_user_was_killed)
{
    int ready[2];
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct datadir *datadir = NULL;
        char byte = datadir_open(dir, &datadir, why) ? 'y' : 'n';
        _exit(write(ready[1], &byte, 1) == 1 ? pause() : 1);
    }
    char byte = 0;
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(byte, 'y');
    struct datadir *datadir = NULL;
    cr_expect_not(datadir_open(dir, &datadir, why));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    datadir_close(opened(), true);
}

Test(datadir, knows_whether_the_last_stop_was_in_order)
{
    struct datadir *datadir = opened();
    cr_expect(datadir_was_clean(datadir), "a new one has nothing to check");
    touch(datadir_database(datadir));
    datadir_close(datadir, true);
    datadir = opened();
    cr_expect(datadir_was_clean(datadir));
    datadir_close(datadir, false);
    datadir = opened();
    cr_expect_not(datadir_was_clean(datadir));
    datadir_close(datadir, true);
    datadir = opened();
    cr_expect(datadir_was_clean(datadir));
    datadir_close(datadir, true);
}

Test(datadir, refuses_what_is_no_directory)
{
    struct datadir *datadir = NULL;
    touch(dir);
    cr_assert_not(datadir_open(dir, &datadir, why));
    cr_expect_not_null(strstr(why, "is not a directory"), "%s", why);
}

Test(datadir, refuses_a_directory_whose_parent_is_missing)
{
    struct datadir *datadir = NULL;
    snprintf(dir, sizeof dir, "%s/no/such", root);
    cr_assert_not(datadir_open(dir, &datadir, why));
    cr_expect_not_null(strstr(why, "Cannot make the data directory"), "%s", why);
    cr_expect_not_null(strstr(why, "No such file or directory"), "%s", why);
}

Test(datadir, refuses_where_it_cannot_write)
{
    struct datadir *datadir = NULL;
    cr_assert_not(datadir_open("/proc/self", &datadir, why));
    cr_expect_not_null(strstr(why, "Cannot write in the data directory /proc/self"), "%s", why);
}
