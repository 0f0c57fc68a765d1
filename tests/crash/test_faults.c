/*
 * Storage that fails: at each single write, sync, truncation, read and growth of shared memory of a play, the batch is
 * refused as a whole, the state stays what it was, a crash at that moment leaves all or nothing of it, and when the
 * storage works again the same batch is stored and everything ends as if nothing had failed.
 */
#include "db/codec.h"
#include "service/committer.h"
#include "tests/crash/copies.h"
#include "tests/crash/faulty_vfs.h"
#include "tests/crash/play.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const unsigned char SEED[32] = "a test's seed, always the same.";

enum { ATTEMPTS_MAX = 200 };

static struct {
    char dir[COPIES_DIR_BYTES], path[COPIES_PATH_BYTES], copy[COPIES_PATH_BYTES];
    enum storage storage;
    bool
        cold; /* the machine is opened anew before each batch, so that it must read what it needs */
    uint64_t first;               /* the state's hash before the first batch */
    uint64_t after[PLAY_BATCHES]; /* the state's hash after each batch when nothing fails */
    long refused;                 /* batches that were refused in all */
    long kept;                    /* of those, that a crash would have made true all the same */
} stage;

static void set_up(void)
{
    copies_set_up("partition.db", stage.dir, stage.path, stage.copy);
    stage.storage = STORAGE_SYNCED;
}

static void tear_down(void)
{
    copies_tear_down(stage.dir, stage.path, stage.copy);
}

TestSuite(faults, .init = set_up, .fini = tear_down, .timeout = 600);

/* ---- looking ------------------------------------------------------------------------------------------------------ */

static struct machine *open_sane(const char *path)
{
    struct machine *machine;
    struct arena arena = ARENA_EMPTY;
    char why[256];
    cr_assert_eq(machine_open(path, stage.storage, true, SEED, &machine, why), STATUS_OK, "%s",
                 why);
    const char *wrong = machine_sanity(machine, &arena);
    cr_assert_null(wrong, "the state is not sane: %s", wrong);
    arena_free(&arena);
    return machine;
}

/* The hash of what a process that starts now would find, had this one been killed. */
static uint64_t hash_after_crash(void)
{
    copies_after_kill(stage.path, stage.copy);
    struct machine *machine = open_sane(stage.copy);
    uint64_t hash = machine_hash(machine);
    machine_close(machine);
    return hash;
}

/* ---- playing ------------------------------------------------------------------------------------------------------ */

struct scene {
    struct machine *machine;
    struct reader *cached, *plain; /* one shares the machine's memory, one has only the file */
    struct play play;
    struct arena arena;
    struct command commands[PLAY_COMMANDS_MAX];
    struct result results[PLAY_COMMANDS_MAX];
};

static void open_machine(struct scene *scene)
{
    char why[256];
    scene->machine = open_sane(stage.path);
    cr_assert_eq(reader_open(stage.path, scene->machine, &scene->cached, why), STATUS_OK);
    cr_assert_eq(reader_open(stage.path, NULL, &scene->plain, why), STATUS_OK);
}

static void close_machine(struct scene *scene)
{
    reader_close(scene->cached);
    reader_close(scene->plain);
    machine_close(scene->machine);
}

static void open_scene(struct scene *scene)
{
    copies_remove(stage.path);
    open_machine(scene);
    scene->play = play_begin();
    scene->arena = ARENA_EMPTY;
}

static void close_scene(struct scene *scene)
{
    close_machine(scene);
    arena_free(&scene->arena);
}

/* Without what it has in memory; never while anything fails. */
static void cool(struct scene *scene)
{
    if (stage.cold) {
        char why[256];
        faulty_pause();
        reader_close(scene->cached);
        machine_close(scene->machine);
        cr_assert_eq(machine_open(stage.path, stage.storage, false, SEED, &scene->machine, why),
                     STATUS_OK, "%s", why);
        cr_assert_eq(reader_open(stage.path, scene->machine, &scene->cached, why), STATUS_OK);
        faulty_go_on();
    }
}

static struct text read_session(struct scene *scene, struct reader *reader, const char *id)
{
    struct result result;
    struct command get = {.kind = COMMAND_SESSION_GET,
                          .stamp = scene->play.now,
                          .session_get = {text_of(id), UNCONDITIONAL}};
    reader_read(reader, &get, &scene->arena, &result);
    cr_assert_neq(result.status, STATUS_STORAGE_UNAVAILABLE);
    return result_encode(&result, &scene->arena);
}

/* What is kept in memory says what the file says. */
static void expect_same_reads(struct scene *scene)
{
    static const char *const IDS[] = {"a", "b", "t~1", "long", "after", "many-7", "last"};
    for (size_t i = 0; i < sizeof IDS / sizeof IDS[0]; i++) {
        cr_assert(text_equal(read_session(scene, scene->cached, IDS[i]),
                             read_session(scene, scene->plain, IDS[i])),
                  "session %s is not the same in memory and in the file", IDS[i]);
    }
}

static enum status attempt(struct scene *scene, size_t batch, size_t *ret_count)
{
    struct events events;
    size_t count = play_batch(&scene->play, batch, &scene->arena, scene->commands);
    machine_begin(scene->machine, &scene->arena);
    for (size_t i = 0; i < count; i++) {
        machine_apply(scene->machine, &scene->commands[i], &scene->arena, &scene->results[i]);
    }
    *ret_count = count;
    return machine_commit(scene->machine, &events);
}

static void expect_unchanged(struct scene *scene, uint64_t before, const struct counters *counters,
                             uint64_t after)
{
    struct counters now = machine_counters(scene->machine);
    const char *wrong = machine_sanity(scene->machine, &scene->arena);
    cr_assert_null(wrong, "after a refused batch the state is not sane: %s", wrong);
    cr_assert_eq(machine_hash(scene->machine), before, "a refused batch left something behind");
    cr_assert_eq(memcmp(&now, counters, sizeof now), 0, "the counters are not those of before");
    expect_same_reads(scene);
    uint64_t crashed = hash_after_crash();
    cr_assert(crashed == before || crashed == after, "a crash leaves a part of a batch");
    stage.kept += crashed != before;
}

/* Tries until the batch is stored. */
static void play_until_stored(struct scene *scene, size_t batch, uint64_t after)
{
    size_t count;
    cool(scene);
    for (int tries = 0;; tries++) {
        uint64_t before = batch == 0 ? stage.first : stage.after[batch - 1];
        struct counters counters = machine_counters(scene->machine);
        enum status status = attempt(scene, batch, &count);
        if (status == STATUS_OK) {
            break;
        }
        cr_assert_eq(status, STATUS_STORAGE_UNAVAILABLE);
        cr_assert_neq(machine_failure(scene->machine)[0], '\0', "it says why");
        cr_assert_lt(tries, ATTEMPTS_MAX, "batch %zu is never stored: %s", batch,
                     machine_failure(scene->machine));
        stage.refused++;
        faulty_pause();
        expect_unchanged(scene, before, &counters, after);
        faulty_go_on();
    }
    play_stored(&scene->play, batch, scene->results, count);
    arena_clear(&scene->arena);
}

static void play_all(struct scene *scene)
{
    for (size_t batch = 0; batch < PLAY_BATCHES; batch++) {
        play_until_stored(scene, batch, stage.after[batch]);
        faulty_pause();
        cr_assert_eq(machine_hash(scene->machine), stage.after[batch],
                     "after batch %zu the state is another one", batch);
        expect_same_reads(scene);
        faulty_go_on();
        if (batch % 4 == 3) {
            machine_checkpoint(scene->machine); /* it may fail; the next one makes up for it */
        }
    }
}

/* Plays once without faults, and returns how many of these calls that takes. */
static long rehearse(unsigned calls)
{
    struct scene *scene = calloc(1, sizeof *scene);
    size_t count;
    open_scene(scene);
    stage.first = machine_hash(scene->machine);
    faulty_follow((struct faulty_plan){.calls = calls});
    for (size_t batch = 0; batch < PLAY_BATCHES; batch++) {
        cool(scene);
        cr_assert_eq(attempt(scene, batch, &count), STATUS_OK, "batch %zu: %s", batch,
                     machine_failure(scene->machine));
        for (size_t i = 0; i < count; i++) {
            cr_assert_neq(scene->results[i].status, STATUS_INTERNAL, "%s in batch %zu",
                          command_name(scene->commands[i].kind), batch);
        }
        play_stored(&scene->play, batch, scene->results, count);
        faulty_pause();
        stage.after[batch] = machine_hash(scene->machine);
        faulty_go_on();
        if (batch % 4 == 3) {
            cr_assert_geq(machine_checkpoint(scene->machine), 0);
        }
        arena_clear(&scene->arena);
    }
    long sum = faulty_calls();
    faulty_pause();
    cr_assert_eq(hash_after_crash(), stage.after[PLAY_BATCHES - 1]);
    faulty_go_on();
    cr_assert_eq(scene->play.received, 3, "the play receives what it settles");
    close_scene(scene);
    free(scene);
    return sum;
}

/* One play for each n: the n-th call fails, and so do the count - 1 calls after it. */
static void play_each(struct faulty_plan plan, long plays_max)
{
    struct scene *scene = calloc(1, sizeof *scene);
    long sum = rehearse(plan.calls), plays = 0;
    cr_assert_gt(sum, 0, "nothing of that kind is called");
    for (plan.first = 1; plan.first <= sum; plan.first += copies_stride(sum, plays_max)) {
        faulty_heal();
        open_scene(scene);
        faulty_follow(plan);
        play_all(scene);
        cr_assert_gt(faulty_failures(), 0, "call %ld of %ld did not fail", plan.first, sum);
        faulty_heal();
        close_scene(scene);
        struct machine *again = open_sane(stage.path);
        cr_assert_eq(machine_hash(again), stage.after[PLAY_BATCHES - 1],
                     "closed and opened, the state is another one");
        machine_close(again);
        plays++;
    }
    fprintf(stderr,
            "faults: %ld of %ld calls failed in turn, %ld batches refused, %ld of them true after "
            "a crash\n",
            plays, sum, stage.refused, stage.kept);
    free(scene);
}

/* ---- the faults --------------------------------------------------------------------------------------------------- */

Test(faults, each_write_may_meet_a_full_disk)
{
    play_each((struct faulty_plan){FAULTY_WRITE, 0, 1, SQLITE_FULL, false}, 1000);
    cr_expect_gt(stage.refused, 0);
    cr_expect_eq(stage.kept, 0, "what was not written cannot come true");
}

Test(faults, each_write_may_fail_half_way)
{
    play_each((struct faulty_plan){FAULTY_WRITE, 0, 1, SQLITE_IOERR_WRITE, true}, 1000);
    cr_expect_gt(stage.refused, 0);
    cr_expect_eq(stage.kept, 0);
}

Test(faults, a_disk_may_stay_full_for_a_while)
{
    play_each((struct faulty_plan){FAULTY_WRITE, 0, 7, SQLITE_FULL, true}, 60);
    cr_expect_gt(stage.refused, 0);
    cr_expect_eq(stage.kept, 0);
}

Test(faults, each_sync_may_fail)
{
    play_each((struct faulty_plan){FAULTY_SYNC, 0, 1, SQLITE_IOERR_FSYNC, false}, 1000);
    cr_expect_gt(stage.refused, 0);
    cr_expect_eq(stage.kept, 0, "what was refused must not come true");
}

Test(faults, syncs_may_fail_for_a_while)
{
    play_each((struct faulty_plan){FAULTY_SYNC, 0, 5, SQLITE_IOERR_FSYNC, false}, 60);
    cr_expect_gt(stage.refused, 0);
    cr_expect_eq(stage.kept, 0);
}

Test(faults, writes_and_syncs_may_fail_together)
{
    play_each((struct faulty_plan){FAULTY_WRITE | FAULTY_SYNC | FAULTY_TRUNCATE, 0, 9, SQLITE_IOERR,
                                   true},
              60);
    cr_expect_gt(stage.refused, 0);
}

Test(faults, each_read_may_fail)
{
    stage.cold = true;
    play_each((struct faulty_plan){FAULTY_READ, 0, 1, SQLITE_IOERR_READ, false}, 100);
    cr_expect_gt(stage.refused, 0);
    cr_expect_eq(stage.kept, 0);
}

static void meet_a_full_disk_unsynced(enum storage storage)
{
    stage.storage = storage;
    play_each((struct faulty_plan){FAULTY_WRITE, 0, 1, SQLITE_FULL, true}, 100);
    cr_expect_gt(stage.refused, 0);
    cr_expect_eq(stage.kept, 0);
}

Test(faults, relaxed_durability_survives_a_full_disk_too)
{
    meet_a_full_disk_unsynced(STORAGE_WRITTEN);
}

Test(faults, a_file_of_ones_own_survives_a_full_disk_too)
{
    meet_a_full_disk_unsynced(STORAGE_OWN);
}

/* ---- power cuts --------------------------------------------------------------------------------------------------- */

/* The hash of what is found after the power was cut. */
static uint64_t hash_after_power_cut(unsigned seed)
{
    faulty_pause();
    copies_after_power_cut(stage.path, stage.copy, seed);
    char why[256];
    struct machine *machine;
    cr_assert_eq(machine_open(stage.copy, stage.storage, true, SEED, &machine, why), STATUS_OK,
                 "seed %u: %s", seed, why);
    struct arena arena = ARENA_EMPTY;
    const char *wrong = machine_sanity(machine, &arena);
    cr_assert_null(wrong, "seed %u: the state is not sane: %s", seed, wrong);
    uint64_t hash = machine_hash(machine);
    arena_free(&arena);
    machine_close(machine);
    faulty_go_on();
    return hash;
}

/* Plays, and after each batch cuts the power a few times, each time looking at what is left. */
static void play_with_power_cuts(void (*look)(uint64_t left, size_t batch, unsigned seed))
{
    enum { CUTS = 6 };
    struct scene *scene = calloc(1, sizeof *scene);
    size_t count;
    rehearse(FAULTY_SYNC);
    faulty_remember();
    open_scene(scene);
    for (size_t batch = 0; batch < PLAY_BATCHES; batch++) {
        cr_assert_eq(attempt(scene, batch, &count), STATUS_OK);
        play_stored(&scene->play, batch, scene->results, count);
        for (unsigned cut = 0; cut < CUTS; cut++) {
            unsigned seed = (unsigned)batch * CUTS + cut + 1;
            look(hash_after_power_cut(seed), batch, seed);
        }
        if (batch % 3 == 2) {
            machine_checkpoint(scene->machine);
            look(hash_after_power_cut(1), batch, 1);
        }
    }
    close_scene(scene);
    free(scene);
}

static void expect_all(uint64_t left, size_t batch, unsigned seed)
{
    cr_assert_eq(left, stage.after[batch], "a power cut after batch %zu loses of it, seed %u",
                 batch, seed);
}

Test(faults, a_power_cut_takes_nothing_that_was_stored)
{
    play_with_power_cuts(expect_all);
}

static long lost; /* batches, over all cuts */

static void expect_an_earlier_state(uint64_t left, size_t batch, unsigned seed)
{
    size_t back = 0;
    while (back <= batch && stage.after[batch - back] != left) {
        back++;
    }
    cr_assert(back <= batch || left == stage.first, "a power cut mixes states, seed %u", seed);
    lost += (long)back;
}

Test(faults, with_relaxed_durability_a_power_cut_takes_only_the_last_batches)
{
    stage.storage = STORAGE_WRITTEN;
    play_with_power_cuts(expect_an_earlier_state);
    cr_expect_gt(lost, 0, "what is not synced can be lost; else this test looks at nothing");
}

/* The calls of that kind that a whole play makes. */
static long calls_of_a_play(enum faulty_call kind, enum storage storage)
{
    stage.storage = storage;
    return rehearse(kind);
}

Test(faults, relaxed_durability_writes_a_commit_in_one_piece_as_well_and_does_not_sync_it)
{
    long writes = calls_of_a_play(FAULTY_WRITE, STORAGE_SYNCED);
    cr_expect_eq(calls_of_a_play(FAULTY_WRITE, STORAGE_WRITTEN), writes);
    cr_expect_leq(calls_of_a_play(FAULTY_SYNC, STORAGE_WRITTEN),
                  calls_of_a_play(FAULTY_SYNC, STORAGE_SYNCED) - PLAY_BATCHES);
}

static void cut_power_in_each_commit(struct scene *scene, size_t batch)
{
    enum { CUTS = 6 };
    size_t count;
    uint64_t before = batch == 0 ? stage.first : stage.after[batch - 1];
    faulty_follow((struct faulty_plan){FAULTY_SYNC, 1, 1, SQLITE_IOERR_FSYNC, false});
    cr_assert_eq(attempt(scene, batch, &count), STATUS_STORAGE_UNAVAILABLE);
    faulty_heal();
    for (unsigned seed = 1; seed <= CUTS; seed++) {
        uint64_t left = hash_after_power_cut(seed);
        cr_assert(left == before || left == stage.after[batch],
                  "a power cut in the commit of batch %zu leaves a part of it, seed %u", batch,
                  seed);
    }
    cr_assert_eq(attempt(scene, batch, &count), STATUS_OK);
    play_stored(&scene->play, batch, scene->results, count);
}

Test(faults, a_power_cut_while_a_batch_is_stored_leaves_all_or_nothing_of_it)
{
    struct scene *scene = calloc(1, sizeof *scene);
    rehearse(FAULTY_SYNC);
    faulty_remember();
    open_scene(scene);
    for (size_t batch = 0; batch < PLAY_BATCHES; batch++) {
        cut_power_in_each_commit(scene, batch);
        if (batch % 3 == 2) {
            machine_checkpoint(scene->machine);
        }
    }
    close_scene(scene);
    free(scene);
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static void open_at_each_fault(enum storage storage, unsigned calls, int code)
{
    struct machine *machine;
    char why[256];
    for (long n = 1;; n++) {
        copies_remove(stage.path);
        faulty_follow((struct faulty_plan){calls, n, 1000000, code, true});
        why[0] = '\0';
        enum status status = machine_open(stage.path, storage, true, SEED, &machine, why);
        long failures = faulty_failures();
        faulty_heal();
        if (status == STATUS_OK) {
            machine_close(machine);
            cr_assert_eq(failures, 0, "it opened although call %ld failed", n);
            cr_assert_gt(n, 1);
            return;
        }
        cr_assert_eq(status, STATUS_STORAGE_UNAVAILABLE);
        cr_assert_neq(why[0], '\0', "it says why it does not open");
        machine_close(open_sane(stage.path));
    }
}

Test(faults, opening_says_why_it_cannot_and_can_be_tried_again)
{
    open_at_each_fault(STORAGE_SYNCED, FAULTY_WRITE, SQLITE_FULL);
    open_at_each_fault(STORAGE_SYNCED, FAULTY_SYNC, SQLITE_IOERR_FSYNC);
    open_at_each_fault(STORAGE_SYNCED, FAULTY_SHARED, SQLITE_IOERR_SHMSIZE);
    open_at_each_fault(STORAGE_OWN, FAULTY_WRITE, SQLITE_FULL);
    open_at_each_fault(STORAGE_OWN, FAULTY_SHARED, SQLITE_IOERR_SHMSIZE);
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

Test(faults, a_read_that_fails_says_so_and_the_next_one_works)
{
    rehearse(FAULTY_WRITE);
    struct reader *reader;
    struct arena arena = ARENA_EMPTY;
    char why[256];
    struct command get = {.kind = COMMAND_SESSION_GET,
                          .stamp = {1000000, 0},
                          .session_get = {TEXT("long"), UNCONDITIONAL}};
    struct result result;
    long n = 1, failed = 0;
    do {
        cr_assert_eq(reader_open(stage.path, NULL, &reader, why), STATUS_OK, "%s", why);
        faulty_follow((struct faulty_plan){FAULTY_READ, n++, 1, SQLITE_IOERR_READ, false});
        reader_read(reader, &get, &arena, &result);
        failed = faulty_failures();
        cr_assert_eq(result.status == STATUS_STORAGE_UNAVAILABLE, failed > 0);
        reader_read(reader, &get, &arena, &result);
        cr_assert_neq(result.status, STATUS_STORAGE_UNAVAILABLE);
        reader_close(reader);
    } while (failed > 0);
    cr_assert_gt(n, 2);
    arena_free(&arena);
}

/* ---- the committer ------------------------------------------------------------------------------------------------ */

enum { JOBS = 40 };

static struct {
    struct committer *committer;
    struct clock clock;
    struct job jobs[JOBS];
    struct command commands[JOBS];
    struct result results[JOBS];
    struct arena arenas[JOBS];
    char ids[JOBS][16];
    pthread_mutex_t mu;
    pthread_cond_t changed;
    size_t done;    /* guarded by mu */
    size_t batches; /* guarded by mu */
    size_t events;  /* guarded by mu: of all batches */
} desk = {.mu = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void count_done(struct job *job)
{
    (void)job;
    pthread_mutex_lock(&desk.mu);
    desk.done++;
    pthread_mutex_unlock(&desk.mu);
}

static void count_batch(void *context, const struct events *events)
{
    (void)context;
    pthread_mutex_lock(&desk.mu);
    desk.batches++;
    desk.events += events->count;
    pthread_cond_broadcast(&desk.changed);
    pthread_mutex_unlock(&desk.mu);
}

/* Until so many jobs are done and their batch has ended. */
static void await_done(size_t done)
{
    pthread_mutex_lock(&desk.mu);
    while (desk.done < done) {
        pthread_cond_wait(&desk.changed, &desk.mu);
    }
    pthread_mutex_unlock(&desk.mu);
}

static void submit_put(size_t i)
{
    snprintf(desk.ids[i], sizeof desk.ids[i], "job-%zu", i);
    desk.commands[i] = (struct command){.kind = COMMAND_SESSION_PUT,
                                        .stamp = clock_now(&desk.clock),
                                        .session_put = {.id = text_of(desk.ids[i]),
                                                        .data = TEXT("{}"),
                                                        .idle_ttl_ms = HOUR_MS,
                                                        .max_ttl_ms = DAY_MS,
                                                        .condition = UNCONDITIONAL}};
    desk.jobs[i] =
        (struct job){&desk.commands[i], &desk.arenas[i], &desk.results[i], count_done, NULL};
    cr_assert_eq(committer_submit(desk.committer, &desk.jobs[i]), STATUS_OK);
}

/* Nothing is submitted meanwhile: the committer finds out by itself. */
static void await_storage(bool ok)
{
    pthread_mutex_lock(&desk.mu);
    while (committer_storage_ok(desk.committer) != ok) {
        pthread_cond_wait(&desk.changed, &desk.mu);
    }
    pthread_mutex_unlock(&desk.mu);
}

static void expect_results(size_t from, size_t to, enum status status)
{
    for (size_t i = from; i < to; i++) {
        cr_expect_eq(desk.results[i].status, status, "job %zu: %s", i,
                     status_info(desk.results[i].status)->code);
    }
}

Test(faults, the_committer_refuses_what_was_not_stored_and_finds_out_itself_when_it_can_again)
{
    struct machine *machine = open_sane(stage.path);
    clock_start(&desk.clock, 0, 0);
    cr_assert_eq(committer_start(machine, &desk.clock, (struct committer_hooks){count_batch, NULL},
                                 &desk.committer),
                 STATUS_OK);
    submit_put(0);
    await_done(1);
    expect_results(0, 1, STATUS_CREATED);

    faulty_follow((struct faulty_plan){FAULTY_WRITE, 1, 1000000, SQLITE_FULL, true});
    size_t events = desk.events;
    for (size_t i = 1; i < 30; i++) {
        submit_put(i);
    }
    await_done(30);
    expect_results(1, 30, STATUS_STORAGE_UNAVAILABLE);
    cr_expect_not(committer_storage_ok(desk.committer));
    cr_expect_eq(committer_counters(desk.committer).sessions, 1);
    cr_expect_eq(desk.events, events, "what did not happen is told to nobody");

    faulty_heal();
    await_storage(true);
    for (size_t i = 30; i < JOBS; i++) {
        submit_put(i);
    }
    await_done(JOBS);
    expect_results(30, JOBS, STATUS_CREATED);
    cr_expect_eq(committer_counters(desk.committer).sessions, 1 + JOBS - 30);
    committer_stop(desk.committer);
    committer_free(desk.committer);
    machine_close(machine);
    machine_close(open_sane(stage.path));
    for (size_t i = 0; i < JOBS; i++) {
        arena_free(&desk.arenas[i]);
    }
}
