/* What a member keeps of its cluster, and the secret that it is started with. */
#include "service/cluster/identity.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[] = "/tmp/ringhold-identity-XXXXXX";
static char path[64];
static char why[CLUSTER_WHY_BYTES];

static void make_dir(void)
{
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/cluster", dir);
}

static void remove_dir(void)
{
    unlink(path);
    rmdir(dir);
}

TestSuite(identity, .init = make_dir, .fini = remove_dir);

static void write_text(const char *text)
{
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

Test(identity, comes_back_as_it_was_kept)
{
    struct identity identity = {.partitions = 16, .replicas = 3, .founder = true}, back;
    cr_expect_eq(identity_read(dir, &back, why), IDENTITY_NONE);
    cr_assert(identity_make(identity.uuid, identity.seed, why));
    cr_assert(identity_write(dir, &identity, why), "%s", why);
    cr_assert_eq(identity_read(dir, &back, why), IDENTITY_THERE, "%s", why);
    cr_expect_arr_eq(back.uuid, identity.uuid, sizeof back.uuid);
    cr_expect_arr_eq(back.seed, identity.seed, sizeof back.seed);
    cr_expect_eq(back.partitions, 16);
    cr_expect_eq(back.replicas, 3);
    cr_expect(back.founder);
}

Test(identity, what_cannot_be_read_is_said_so)
{
    static const char *const WRONG[] = {"", "cluster 00", "cluster xx\nseed yy\n",
                                        "another file altogether"};
    struct identity back;
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        write_text(WRONG[i]);
        cr_expect_eq(identity_read(dir, &back, why), IDENTITY_BROKEN, "%s", WRONG[i]);
        cr_expect_not_null(strstr(why, "cannot be read"));
    }
}

Test(identity, marks_are_set_and_taken_away)
{
    static const enum identity_mark MARKS[] = {MARK_LEFT, MARK_RECOVERING};
    for (size_t i = 0; i < 2; i++) {
        cr_expect_not(identity_marked(dir, MARKS[i]));
        cr_assert(identity_mark(dir, MARKS[i], true, why), "%s", why);
        cr_expect(identity_marked(dir, MARKS[i]));
        cr_expect_not(identity_marked(dir, MARKS[1 - i]));
        cr_assert(identity_mark(dir, MARKS[i], false, why), "%s", why);
        cr_assert(identity_mark(dir, MARKS[i], false, why), "once more, and %s", why);
        cr_expect_not(identity_marked(dir, MARKS[i]));
    }
    cr_expect_not(identity_mark("/nowhere/at/all", MARK_LEFT, true, why));
}

Test(identity, a_secret_ends_before_its_last_line_end)
{
    char secret[PEER_SECRET_BYTES_MAX + 1];
    size_t len;
    write_text("sixteen bytes it is, or more\n");
    cr_assert(identity_secret(path, secret, &len, why), "%s", why);
    cr_expect(text_equal((struct text){secret, len}, TEXT("sixteen bytes it is, or more")));
}

Test(identity, a_secret_that_is_missing_or_short_is_refused)
{
    char secret[PEER_SECRET_BYTES_MAX + 1];
    size_t len;
    cr_expect_not(identity_secret("", secret, &len, why));
    cr_expect_not_null(strstr(why, "--cluster-secret-file"));
    cr_expect_not(identity_secret(path, secret, &len, why));
    cr_expect_not_null(strstr(why, "cannot read"));
    write_text("short\n");
    cr_expect_not(identity_secret(path, secret, &len, why));
    cr_expect_not_null(strstr(why, "must hold"));
}
