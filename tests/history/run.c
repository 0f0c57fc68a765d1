#include "tests/history/run.h"

#include "db/codec.h"
#include "db/machine.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const unsigned char SECRET[32] = "a history's seed: always this.";

int64_t tally[COMMAND_KIND_COUNT][STATUS_COUNT];

struct log {
    struct text *at;
    size_t count, room;
};

struct run {
    struct machine *machine;
    struct reader *reader;
    struct model *model;
    struct history *history;
    struct arena lasting; /* what the model keeps, unless the caller keeps the history */
    struct arena *keeps;
    struct arena scratch; /* answers and views, of one batch */
    struct arena decoded; /* commands as they are run, for as long as the model borrows from them */
    struct log log;       /* what the machine carried out, encoded */
    bool open;            /* a batch is */
    bool told;            /* the batch has something to tell */
    char dir[64], path[96];
    struct chance
        chance; /* for what does not belong to the history: how often to look at everything */
    struct outcome outcome;
};

static void fail(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fail(struct run *run, const char *format, ...)
{
    va_list args;
    if (!run->outcome.failed) {
        va_start(args, format);
        vsnprintf(run->outcome.wrong, sizeof run->outcome.wrong, format, args);
        va_end(args);
        run->outcome.failed = true;
    }
}

/* ---- the database --------------------------------------------------------------------------------------------- */

static struct machine *open_machine(const char *path)
{
    struct machine *machine = NULL;
    char why[256];
    if (machine_open(path, STORAGE_OWN, false, SECRET, &machine, why) != STATUS_OK) {
        fprintf(stderr, "cannot open %s: %s\n", path, why);
        exit(2);
    }
    return machine;
}

static void open_both(struct run *run)
{
    char why[256];
    run->machine = open_machine(run->path);
    if (reader_open(run->path, run->machine, &run->reader, why) != STATUS_OK) {
        fprintf(stderr, "cannot open a reader of %s: %s\n", run->path, why);
        exit(2);
    }
}

static void close_both(struct run *run)
{
    reader_close(run->reader);
    machine_close(run->machine);
}

static void remove_database(const char *path)
{
    static const char *const SUFFIX[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", path, SUFFIX[i]);
        unlink(name);
    }
}

/* In memory where there is such a file system: nothing here is about disks. */
static void make_dir(struct run *run)
{
    bool shm = access("/dev/shm", W_OK) == 0;
    snprintf(run->dir, sizeof run->dir, "%s/ringhold-history-XXXXXX", shm ? "/dev/shm" : "/tmp");
    if (mkdtemp(run->dir) == NULL) {
        perror(run->dir);
        exit(2);
    }
    snprintf(run->path, sizeof run->path, "%s/partition.db", run->dir);
}

static void count_answer(const struct command *command, const struct result *got)
{
    const struct commands *operations = &command->transaction.operations;
    tally[command->kind][got->status]++;
    for (size_t i = 0; got->shape == SHAPE_RESULTS && i < got->results.count; i++) {
        tally[operations->at[i].kind][got->results.at[i].status]++;
    }
    if (got->shape == SHAPE_TRANSACTION_FAILURE) {
        tally[operations->at[got->failure.index].kind][got->failure.failed.at[0].status]++;
    }
}

/* ---- looking at the state ------------------------------------------------------------------------------------- */

/* A reading command, on a connection of its own. */
static void read_and_compare(struct run *run, struct command command, const char *why)
{
    struct result got;
    char wrong[800];
    if (run->outcome.failed) {
        return;
    }
    command.stamp = run->model->now;
    reader_read(run->reader, &command, &run->scratch, &got);
    count_answer(&command, &got);
    const char *differs = model_step(run->model, &command, &got);
    run->outcome.commands++;
    if (differs != NULL) {
        struct text shown = show_command(&command, &run->scratch);
        snprintf(wrong, sizeof wrong, "%s", differs);
        fail(run, "%s: %.*s: %s", why, (int)shown.len, shown.at, wrong);
    }
}

static const struct page ALL = {{NULL, 0}, PAGE_ITEMS_MAX};

static void look_at_queue(struct run *run, struct text name, const char *why)
{
    read_and_compare(run, (struct command){.kind = COMMAND_QUEUE_GET, .queue_get = {name}}, why);
    read_and_compare(run,
                     (struct command){.kind = COMMAND_MESSAGE_LIST,
                                      .message_list = {name, TEXT_ABSENT, MESSAGE_ANY, ALL}},
                     why);
}

static void look_at(struct run *run, const struct event *news)
{
    static const char WHY[] = "seen by a reader afterwards";
    switch (news->kind) {
    case EVENT_SESSION:
    case EVENT_RENEWED:
        read_and_compare(run,
                         (struct command){.kind = COMMAND_SESSION_GET,
                                          .session_get = {news->name, UNCONDITIONAL}},
                         WHY);
        break;
    case EVENT_LOCK:
        read_and_compare(run, (struct command){.kind = COMMAND_LOCK_GET, .lock_get = {news->name}},
                         WHY);
        break;
    case EVENT_LEASE:
        read_and_compare(
            run,
            (struct command){.kind = COMMAND_LEASE_GET, .lease_get = {news->name, news->detail}},
            WHY);
        break;
    case EVENT_QUEUE:
        look_at_queue(run, news->name, WHY);
        break;
    case EVENT_READY:
    case EVENT_RING:
        break;
    }
}

static void look_at_all(struct run *run)
{
    static const char WHY[] = "looking at everything";
    const struct model *model = run->model;
    static const struct text SUBJECTS[] = {{"u0", 2}, {"u1", 2}, {"u2", 2}};
    for (size_t i = 0; i < model->session_count; i++) {
        read_and_compare(run,
                         (struct command){.kind = COMMAND_SESSION_GET,
                                          .session_get = {model->sessions[i].id, UNCONDITIONAL}},
                         WHY);
    }
    for (size_t i = 0; i < 3; i++) {
        read_and_compare(
            run, (struct command){.kind = COMMAND_SUBJECT_LIST, .subject_list = {SUBJECTS[i], ALL}},
            WHY);
    }
    read_and_compare(
        run,
        (struct command){.kind = COMMAND_LOCK_LIST, .lock_list = {TEXT_ABSENT, TEXT_ABSENT, ALL}},
        WHY);
    for (size_t i = 0; i < model->ended_count; i++) {
        struct lease_key key = {model->locks[model->ended[i].lock].name, model->ended[i].lease};
        read_and_compare(run, (struct command){.kind = COMMAND_LEASE_GET, .lease_get = key}, WHY);
    }
    for (size_t i = 0; i < model->queue_count; i++) {
        look_at_queue(run, model->queues[i].name, WHY);
    }
}

static void check_sanity(struct run *run)
{
    const char *wrong = machine_sanity(run->machine, &run->scratch);
    if (wrong != NULL) {
        fail(run, "the state is not sane: %s", wrong);
    }
}

/* ---- the end of a batch --------------------------------------------------------------------------------------- */

static bool was_told(const struct events *events, const struct event *news)
{
    for (size_t i = 0; i < events->count; i++) {
        const struct event *event = &events->at[i];
        if (event->kind == news->kind && text_equal(event->name, news->name) &&
            text_equal(event->detail, news->detail)) {
            return true;
        }
    }
    return false;
}

static void check_events(struct run *run, const struct events *events)
{
    static const char *const KIND[] = {
        [EVENT_RENEWED] = "renewed", [EVENT_SESSION] = "session", [EVENT_LOCK] = "lock",
        [EVENT_LEASE] = "lease",     [EVENT_QUEUE] = "queue",     [EVENT_READY] = "ready"};
    for (size_t i = 0; i < run->model->news_count; i++) {
        const struct event *news = &run->model->news[i];
        if (!was_told(events, news)) {
            fail(run, "nobody who waits was told of %s %.*s %.*s", KIND[news->kind],
                 (int)news->name.len, news->name.at, (int)news->detail.len, news->detail.at);
        }
    }
}

#define NOT_FORETOLD(name) (strcmp(#name, "fence") == 0 || strcmp(#name, "revision") == 0)

static void check_counters(struct run *run)
{
    struct counters got = machine_counters(run->machine), want = model_counters(run->model);
#define COMPARE(name)                                                                              \
    if (got.name != want.name && !NOT_FORETOLD(name)) {                                            \
        fail(run, "the counter %s is %lld, not %lld", #name, (long long)got.name,                  \
             (long long)want.name);                                                                \
    }
    COUNTER_TABLE(COMPARE)
#undef COMPARE
    if (got.fence < run->model->fence_floor || got.revision < run->model->revision_floor) {
        fail(run, "the partition's fence or revision went back");
    }
    run->model->fence_floor = got.fence;
    run->model->revision_floor = got.revision;
}

/* What is due by itself must not be forgotten. */
static void check_due(struct run *run)
{
    static struct instants instants;
    struct due due = machine_due(run->machine);
    model_instants(run->model, &instants);
    for (size_t i = 0; i < instants.wall_count; i++) {
        if (due.wall_ms > instants.wall_ms[i] && due.wall_ms > run->model->now.now_ms) {
            fail(run, "at %lld on the wall something is due, and no TICK is before %lld",
                 (long long)instants.wall_ms[i], (long long)due.wall_ms);
        }
    }
    for (size_t i = 0; i < instants.lease_count; i++) {
        if (due.lease_ms > instants.lease_ms[i] && due.lease_ms > run->model->now.lease_now_ms) {
            fail(run, "at %lld of lease time something is due, and no TICK is before %lld",
                 (long long)instants.lease_ms[i], (long long)due.lease_ms);
        }
    }
}

static bool is_news_before(const struct model *model, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (model->news[i].kind == model->news[at].kind &&
            text_equal(model->news[i].name, model->news[at].name) &&
            text_equal(model->news[i].detail, model->news[at].detail)) {
            return true;
        }
    }
    return false;
}

static void commit(struct run *run)
{
    struct events events;
    if (!run->open) {
        return;
    }
    run->open = false;
    if (machine_commit(run->machine, &events) != STATUS_OK) {
        fail(run, "the commit failed: %s", machine_failure(run->machine));
        return;
    }
    check_events(run, &events);
    check_counters(run);
    check_due(run);
    for (size_t i = 0; i < run->model->news_count; i++) {
        if (!is_news_before(run->model, i)) {
            look_at(run, &run->model->news[i]);
        }
    }
    run->model->news_count = 0;
    if (chance_below(&run->chance, 8) == 0) {
        look_at_all(run);
    }
    if (chance_below(&run->chance, 4) == 0) {
        check_sanity(run);
    }
    arena_clear(&run->scratch);
}

/* ---- one entry ------------------------------------------------------------------------------------------------ */

static void log_add(struct run *run, const struct command *command)
{
    struct log *log = &run->log;
    if (log->count == log->room) {
        log->room = log->room == 0 ? 256 : 2 * log->room;
        log->at = realloc(log->at, log->room * sizeof *log->at);
        assert(log->at != NULL);
    }
    log->at[log->count++] = command_encode(command, &run->decoded);
}

/* Carries it out, in the batch that is open or a new one. */
static void apply(struct run *run, const struct command *command, struct result *ret)
{
    if (!run->open) {
        machine_begin(run->machine, &run->scratch);
        run->open = true;
    }
    machine_apply(run->machine, command, &run->scratch, ret);
    run->outcome.commands++;
    log_add(run, command);
}

static void do_command(struct run *run, const struct command *command)
{
    struct result got;
    if (command_reads(command->kind)) {
        commit(run);
        read_and_compare(run, *command, "read");
        return;
    }
    apply(run, command, &got);
    if (!got.replayed && got.status != STATUS_IDEMPOTENCY_KEY_REUSED) {
        count_answer(command, &got);
    }
    const char *wrong = model_step(run->model, command, &got);
    if (wrong != NULL) {
        fail(run, "%s", wrong);
    }
}

static bool is_due(const struct run *run)
{
    struct due due = machine_due(run->machine);
    return due.wall_ms <= run->model->now.now_ms || due.lease_ms <= run->model->now.lease_now_ms;
}

/* TICKs of as many steps as the command says, until nothing is due. */
static void do_ticks(struct run *run, const struct command *command)
{
    enum { ROUNDS_MAX = 5000 };
    struct result got;
    int rounds = 0;
    do {
        apply(run, command, &got);
        model_step(run->model, command, &got); /* the clocks go on */
        if (++rounds == ROUNDS_MAX) {
            fail(run, "the ticks do not come to an end");
            return;
        }
    } while (is_due(run));
    model_tick(run->model);
}

/* What is in memory alone must not matter. */
static void reopen(struct run *run)
{
    commit(run);
    uint64_t before = machine_hash(run->machine);
    close_both(run);
    open_both(run);
    if (machine_hash(run->machine) != before) {
        fail(run, "the state is another after the machine was opened again");
    }
}

static void do_entry(struct run *run, const struct entry *entry, bool bind)
{
    struct command command;
    if (!command_decode(entry->bytes, &run->decoded, &command)) {
        fail(run, "a command that was encoded cannot be decoded");
        return;
    }
    if (bind) {
        refs_bind(run->model, &command, entry->refs);
    }
    switch (entry->what) {
    case HAPPENS_COMMAND:
        do_command(run, &command);
        break;
    case HAPPENS_TICKS:
        do_ticks(run, &command);
        break;
    case HAPPENS_REOPEN:
        reopen(run);
        break;
    }
    if (entry->commit) {
        commit(run);
    }
}

/* ---- replaying ------------------------------------------------------------------------------------------------ */

/* The log again, into another database, in batches of other sizes. */
static void replay(struct run *run)
{
    char path[128];
    struct events events;
    struct result result;
    struct command command;
    snprintf(path, sizeof path, "%s/replayed.db", run->dir);
    struct machine *second = open_machine(path);
    int64_t left = 0;
    for (size_t i = 0; i < run->log.count; i++) {
        if (left == 0) {
            machine_begin(second, &run->scratch);
            left = 1 + chance_below(&run->chance, 40);
        }
        if (!command_decode(run->log.at[i], &run->scratch, &command)) {
            fail(run, "the log's command %zu cannot be decoded", i);
            break;
        }
        machine_apply(second, &command, &run->scratch, &result);
        if (--left == 0 || i + 1 == run->log.count) {
            left = 0;
            if (machine_commit(second, &events) != STATUS_OK) {
                fail(run, "the replay's commit failed: %s", machine_failure(second));
                break;
            }
            arena_clear(&run->scratch);
        }
    }
    if (!run->outcome.failed && machine_hash(second) != machine_hash(run->machine)) {
        fail(run, "the log leads a second database to another state");
    }
    machine_close(second);
    remove_database(path);
}

/* ---- all ------------------------------------------------------------------------------------------------------ */

static void begin(struct run *run, struct arena *keeps, uint64_t seed)
{
    *run = (struct run){
        .lasting = ARENA_EMPTY, .scratch = ARENA_EMPTY, .decoded = ARENA_EMPTY, .chance = {seed}};
    run->keeps = keeps == NULL ? &run->lasting : keeps;
    run->model = malloc(sizeof *run->model);
    assert(run->model != NULL);
    model_begin(run->model, run->keeps, &run->scratch);
    make_dir(run);
    open_both(run);
}

static struct outcome end(struct run *run)
{
    if (!run->outcome.failed) {
        commit(run);
        look_at_all(run);
        check_sanity(run);
    }
    if (!run->outcome.failed) {
        replay(run);
    }
    close_both(run);
    remove_database(run->path);
    rmdir(run->dir);
    free(run->model);
    free(run->log.at);
    arena_free(&run->lasting);
    arena_free(&run->scratch);
    arena_free(&run->decoded);
    return run->outcome;
}

struct outcome run_generated(uint64_t seed, size_t steps, struct history *ret_history,
                             struct arena *arena)
{
    struct run run;
    struct generator generator;
    begin(&run, arena, seed);
    generator_begin(&generator, seed, run.model, ret_history);
    for (size_t i = 0; i < steps && !run.outcome.failed && !run.model->full; i++) {
        run.outcome.step = i;
        generator_step(&generator);
        do_entry(&run, &ret_history->at[i], false);
    }
    run.outcome.step += !run.outcome.failed;
    return end(&run);
}

struct outcome run_given(const struct history *history, uint64_t seed)
{
    struct run run;
    begin(&run, NULL, seed);
    for (size_t i = 0; i < history->count && !run.outcome.failed && !run.model->full; i++) {
        run.outcome.step = i;
        do_entry(&run, &history->at[i], true);
    }
    run.outcome.step += !run.outcome.failed;
    return end(&run);
}

/* ---- shrinking ------------------------------------------------------------------------------------------------ */

static bool still_fails(const struct history *history, uint64_t seed, size_t from, size_t count,
                        struct history *ret)
{
    *ret = (struct history){malloc((history->count + 1) * sizeof *ret->at), 0, history->count};
    assert(ret->at != NULL);
    for (size_t i = 0; i < history->count; i++) {
        if (i < from || i >= from + count) {
            ret->at[ret->count++] = history->at[i];
        }
    }
    struct outcome outcome = run_given(ret, seed);
    if (!outcome.failed) {
        free(ret->at);
        return false;
    }
    ret->count = outcome.step < ret->count ? outcome.step + 1 : ret->count;
    return true;
}

void history_shrink(struct history *history, uint64_t seed, int tries)
{
    struct history smaller;
    for (size_t size = history->count / 2; size > 0; size /= 2) {
        for (size_t from = history->count; from > 0 && tries > 0;) {
            from = from > size ? from - size : 0;
            tries--;
            if (from < history->count && still_fails(history, seed, from, size, &smaller)) {
                free(history->at);
                *history = smaller;
            }
            from = from > history->count ? history->count : from;
        }
    }
}
