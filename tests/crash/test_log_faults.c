/*
 * The members' log on storage that fails: at each single write, sync and read of a play a transaction is refused as a
 * whole, a crash or a power cut at that moment leaves all or nothing of it, nothing that was reported as stored is lost, and
 * when the storage works again the same transaction is stored.
 */
#include "tests/crash/copies.h"
#include "tests/crash/faulty_vfs.h"
#include "tests/crash/log_play.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TRANSACTIONS = 40, ATTEMPTS_MAX = 200, CUTS = 2 };

static struct {
    char dir[COPIES_DIR_BYTES], path[COPIES_PATH_BYTES], copy[COPIES_PATH_BYTES];
    struct log_play play;
    struct log_store *store;
    bool writes_back; /* the WAL, now and then */
    long refused;     /* transactions that were refused in all */
    long kept;        /* of those, that a crash would have made true all the same */
} stage;

static char before[LOG_PLAY_WORDS_BYTES], after[LOG_PLAY_WORDS_BYTES], found[LOG_PLAY_WORDS_BYTES];

static void set_up(void)
{
    copies_set_up("log.db", stage.dir, stage.path, stage.copy);
}

static void tear_down(void)
{
    copies_tear_down(stage.dir, stage.path, stage.copy);
}

TestSuite(log_faults, .init = set_up, .fini = tear_down, .timeout = 900);

/* ---- looking ------------------------------------------------------------------------------------------------------ */

static struct log_store *open_sound(const char *path)
{
    struct log_store *store;
    char why[256];
    cr_assert_eq(log_store_open(path, &store, why), LOG_FILE_SOUND, "%s", why);
    return store;
}

static void expect_words(struct log_store *store, const char *words)
{
    const char *now = log_play_read(store, found);
    cr_assert_not_null(now, "it cannot be read: %s", log_store_failure(store));
    cr_assert_str_eq(now, words);
}

/* Whether what lies in the copy is what the transaction would have made; otherwise it must be what was there before it. */
static bool copy_has_it(void)
{
    struct log_store *left = open_sound(stage.copy);
    const char *now = log_play_read(left, found);
    cr_assert_not_null(now);
    bool has = strcmp(now, after) == 0;
    cr_assert(has || strcmp(now, before) == 0, "a part of a transaction is left: %s", now);
    log_store_close(left);
    return has;
}

static void look_after_kill(void)
{
    copies_after_kill(stage.path, stage.copy);
    stage.kept += copy_has_it();
}

static void look_after_power_cuts(void)
{
    for (unsigned cut = 1; cut <= CUTS; cut++) {
        copies_after_power_cut(stage.path, stage.copy, stage.play.seed % 1000 * CUTS + cut);
        stage.kept += copy_has_it();
    }
}

/* ---- playing ------------------------------------------------------------------------------------------------------ */

static void open_stage(void)
{
    copies_remove(stage.path);
    stage.store = open_sound(stage.path);
    log_play_begin(&stage.play, 7);
}

static void draw_next(void)
{
    log_play_next(&stage.play);
    log_play_words(&stage.play.before, before);
    log_play_words(&stage.play.after, after);
}

static bool attempt(unsigned number)
{
    bool stored = log_play_try(&stage.play, stage.store, stage.writes_back && number % 5 == 3);
    if (stage.writes_back && number % 5 == 4) {
        log_store_write_back(stage.store); /* it may fail; the next one makes up for it */
    }
    return stored;
}

/* Tries until it is stored, and looks what a crash would leave each time that it was not. */
static void play_until_stored(unsigned number, void (*look)(void))
{
    for (int tries = 0; !attempt(number); tries++) {
        cr_assert_neq(log_store_failure(stage.store)[0], '\0', "it says why");
        cr_assert_lt(tries, ATTEMPTS_MAX, "never stored: %s", log_store_failure(stage.store));
        stage.refused++;
        faulty_pause();
        expect_words(stage.store, before);
        look();
        faulty_go_on();
    }
    faulty_pause();
    expect_words(stage.store, after);
    faulty_go_on();
}

/* Plays once without faults, and returns how many of these calls that takes. */
static long rehearse(unsigned calls)
{
    open_stage();
    faulty_follow((struct faulty_plan){.calls = calls});
    for (unsigned i = 0; i < TRANSACTIONS; i++) {
        draw_next();
        cr_assert(attempt(i), "%s", log_store_failure(stage.store));
        faulty_pause();
        expect_words(stage.store, after);
        faulty_go_on();
    }
    long sum = faulty_calls();
    log_store_close(stage.store);
    cr_assert_gt(sum, 0, "nothing of that kind is called");
    return sum;
}

/* One play for each n: the n-th call fails, and so do the count - 1 calls after it. */
static void play_each(struct faulty_plan plan, long plays_max, void (*look)(void))
{
    long sum = rehearse(plan.calls), plays = 0;
    for (plan.first = 1; plan.first <= sum; plan.first += copies_stride(sum, plays_max)) {
        faulty_heal();
        open_stage();
        faulty_follow(plan);
        for (unsigned i = 0; i < TRANSACTIONS; i++) {
            draw_next();
            play_until_stored(i, look);
        }
        cr_assert_gt(faulty_failures(), 0, "call %ld of %ld did not fail", plan.first, sum);
        faulty_heal();
        log_store_close(stage.store);
        stage.store = open_sound(stage.path);
        expect_words(stage.store, after);
        log_store_close(stage.store);
        plays++;
    }
    fprintf(stderr,
            "log faults: %ld of %ld calls failed in turn, %ld transactions refused, %ld of them "
            "true after a crash\n",
            plays, sum, stage.refused, stage.kept);
    cr_expect_gt(stage.refused, 0);
}

/* ---- the faults --------------------------------------------------------------------------------------------------- */

Test(log_faults, each_write_may_meet_a_full_disk)
{
    play_each((struct faulty_plan){FAULTY_WRITE, 0, 1, SQLITE_FULL, false}, 60, look_after_kill);
    cr_expect_eq(stage.kept, 0, "what was not written cannot come true");
}

Test(log_faults, each_write_may_fail_half_way)
{
    play_each((struct faulty_plan){FAULTY_WRITE, 0, 1, SQLITE_IOERR_WRITE, true}, 60,
              look_after_kill);
    cr_expect_eq(stage.kept, 0);
}

Test(log_faults, each_sync_may_fail)
{
    play_each((struct faulty_plan){FAULTY_SYNC, 0, 1, SQLITE_IOERR_FSYNC, false}, 60,
              look_after_kill);
    cr_expect_eq(stage.kept, 0, "what was refused must not come true");
}

Test(log_faults, a_disk_may_stay_full_for_a_while)
{
    stage.writes_back = true;
    play_each((struct faulty_plan){FAULTY_WRITE, 0, 7, SQLITE_FULL, true}, 20, look_after_kill);
    cr_expect_eq(stage.kept, 0);
}

Test(log_faults, the_disk_may_fail_while_the_wal_is_written_back)
{
    stage.writes_back = true;
    play_each((struct faulty_plan){FAULTY_WRITE | FAULTY_SYNC | FAULTY_TRUNCATE | FAULTY_READ, 0, 9,
                                   SQLITE_IOERR, true},
              20, look_after_kill);
}

Test(log_faults, each_read_may_fail)
{
    stage.writes_back = true;
    play_each((struct faulty_plan){FAULTY_READ, 0, 1, SQLITE_IOERR_READ, false}, 20,
              look_after_kill);
    cr_expect_eq(stage.kept, 0);
}

/* ---- power cuts --------------------------------------------------------------------------------------------------- */

Test(log_faults, a_power_cut_takes_nothing_that_was_stored)
{
    stage.writes_back = true;
    faulty_remember();
    open_stage();
    for (unsigned i = 0; i < TRANSACTIONS; i++) {
        draw_next();
        cr_assert(attempt(i));
        strcpy(before, after);
        faulty_pause();
        look_after_power_cuts();
        faulty_go_on();
    }
    log_store_close(stage.store);
}

Test(log_faults, a_power_cut_at_any_sync_leaves_all_or_nothing_of_what_was_being_stored)
{
    stage.writes_back = true;
    faulty_remember();
    play_each((struct faulty_plan){FAULTY_SYNC, 0, 1, SQLITE_IOERR_FSYNC, false}, 20,
              look_after_power_cuts);
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

/* As the format before had it. */
static void take_sums_away(void)
{
    sqlite3 *handle;
    cr_assert_eq(sqlite3_open(stage.path, &handle), SQLITE_OK);
    int rc = sqlite3_exec(handle,
                          "ALTER TABLE entries DROP COLUMN sum;"
                          "ALTER TABLE groups DROP COLUMN vote_sum;"
                          "ALTER TABLE groups DROP COLUMN mark_sum;"
                          "PRAGMA user_version = 1",
                          NULL, NULL, NULL);
    cr_assert_eq(rc, SQLITE_OK, "%s", sqlite3_errmsg(handle));
    sqlite3_close(handle);
}

static void open_at_each_fault(unsigned calls, int code, void (*prepare)(void), long plays_max)
{
    struct log_store *store;
    char why[256];
    long failures, sum;
    prepare();
    faulty_follow((struct faulty_plan){.calls = calls});
    log_store_close(open_sound(stage.path));
    sum = faulty_calls();
    for (long n = 1; n <= sum; n += n < plays_max ? 1 : copies_stride(sum, plays_max)) {
        prepare();
        faulty_follow((struct faulty_plan){calls, n, 1000000, code, true});
        why[0] = '\0';
        enum log_file file = log_store_open(stage.path, &store, why);
        failures = faulty_failures();
        faulty_heal();
        cr_assert_gt(failures, 0);
        if (file == LOG_FILE_SOUND) { /* only the room to spare could not be had */
            log_store_close(store);
        } else {
            cr_assert_eq(file, LOG_FILE_UNUSABLE, "%s", why);
            cr_assert_neq(why[0], '\0', "it says why it does not open");
        }
        store = open_sound(stage.path);
        expect_words(store, after);
        log_store_close(store);
    }
}

static void prepare_none(void)
{
    copies_remove(stage.path);
    after[0] = '\0';
}

static char model[COPIES_PATH_BYTES];

static void prepare_copy(void)
{
    copies_after_kill(model, stage.path);
}

static void keep_model(void)
{
    faulty_heal();
    snprintf(model, sizeof model, "%s/model.db", stage.dir);
    copies_after_kill(stage.path, model);
}

Test(log_faults, opening_says_why_it_cannot_and_can_be_tried_again)
{
    open_at_each_fault(FAULTY_WRITE, SQLITE_FULL, prepare_none, 20);
    open_at_each_fault(FAULTY_SYNC, SQLITE_IOERR_FSYNC, prepare_none, 20);
    open_at_each_fault(FAULTY_SHARED, SQLITE_IOERR_SHMSIZE, prepare_none, 20);
}

Test(log_faults, a_read_that_fails_at_opening_is_not_taken_for_damage)
{
    rehearse(FAULTY_READ);
    keep_model();
    open_at_each_fault(FAULTY_READ, SQLITE_IOERR_READ, prepare_copy, 20);
    copies_remove(model);
}

Test(log_faults, sums_are_added_to_a_file_of_the_format_before_as_a_whole_or_not_at_all)
{
    rehearse(FAULTY_WRITE);
    take_sums_away();
    keep_model();
    open_at_each_fault(FAULTY_WRITE, SQLITE_FULL, prepare_copy, 20);
    open_at_each_fault(FAULTY_SYNC, SQLITE_IOERR_FSYNC, prepare_copy, 20);
    copies_remove(model);
}
