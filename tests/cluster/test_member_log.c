/* The one log of a member: what is stored, in which order, and what it does when it cannot. */
#include "db/limits.h"
#include "service/cluster/member_log.h"
#include "tests/cluster/stage.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct bench {
    struct stage stage;
    char dir[64], path[80];
    struct member_log *log;
};

static void bench_open(struct bench *bench)
{
    char why[256] = "";
    snprintf(bench->dir, sizeof bench->dir, "/tmp/ringhold-log-XXXXXX");
    cr_assert_not_null(mkdtemp(bench->dir));
    snprintf(bench->path, sizeof bench->path, "%s/log.db", bench->dir);
    stage_open(&bench->stage);
    cr_assert(member_log_open(&bench->stage.loop, bench->dir, &bench->log, why), "%s", why);
}

static void note(void *context)
{
    *(bool *)context = true;
}

static void bench_stop(struct bench *bench)
{
    bool closed = false;
    member_log_close(bench->log, note, &closed);
    AWAIT(&bench->stage, closed);
}

static void bench_close(struct bench *bench)
{
    char command[80];
    bench_stop(bench);
    stage_close(&bench->stage);
    snprintf(command, sizeof command, "rm -rf %s", bench->dir);
    cr_assert_eq(system(command), 0);
}

/* ---- tasks -------------------------------------------------------------------------------------------------------- */

struct addition {
    struct log_task task;
    struct log_entry entry;
    int *order, at; /* counts those that were told, and which this was */
    bool stored;
};

static void run_addition(struct log_task *task, struct log_store *store)
{
    log_store_add(store, task->group, &((struct addition *)task)->entry);
}

static void added(struct log_task *task, bool stored)
{
    struct addition *addition = (struct addition *)task;
    addition->stored = stored;
    addition->at = ++*addition->order;
}

static struct addition addition_of(uint64_t group, uint64_t index, struct text data, int *order)
{
    return (struct addition){.task = {.run = run_addition, .done = added, .group = group},
                             .entry = {.index = index, .term = 3, .type = 1, .data = data},
                             .order = order};
}

struct listing {
    struct log_task task;
    uint64_t first;
    char words[256];
};

static void list_one(void *context, const struct log_entry *entry)
{
    char *words = ((struct listing *)context)->words;
    size_t used = strlen(words);
    snprintf(words + used, 256 - used, "%d=%.*s ", (int)entry->index, (int)entry->data.len,
             entry->data.at);
}

static void run_listing(struct log_task *task, struct log_store *store)
{
    struct listing *listing = (struct listing *)task;
    listing->words[0] = '\0';
    log_store_each(store, task->group, listing->first, list_one, listing);
}

static void expect(struct bench *bench, uint64_t group, const char *words)
{
    struct listing listing = {.task = {.run = run_listing, .group = group}};
    cr_assert(member_log_do(bench->log, &listing.task));
    cr_assert_str_eq(listing.words, words);
}

/* ---- tests -------------------------------------------------------------------------------------------------------- */

Test(member_log, what_is_asked_is_stored_and_told_in_its_order_for_each_group)
{
    struct bench bench;
    int order = 0;
    bench_open(&bench);
    struct addition some[] = {
        addition_of(1, 1, TEXT("a"), &order), addition_of(2, 1, TEXT("x"), &order),
        addition_of(1, 2, TEXT("b"), &order), addition_of(1, 2, TEXT("c"), &order)};
    for (int i = 0; i < 4; i++) {
        member_log_ask(bench.log, &some[i].task);
    }
    AWAIT(&bench.stage, order == 4);
    for (int i = 0; i < 4; i++) {
        cr_assert(some[i].stored);
        cr_assert_eq(some[i].at, i + 1);
    }
    expect(&bench, 1, "1=a 2=c ");
    expect(&bench, 2, "1=x ");
    bench_close(&bench);
}

Test(member_log, what_was_told_is_there_in_a_copy_of_the_files_taken_at_that_moment)
{
    struct bench bench, other;
    char command[400], why[256] = "";
    int order = 0;
    bench_open(&bench);
    struct addition one = addition_of(1, 1, TEXT("kept"), &order);
    member_log_ask(bench.log, &one.task);
    AWAIT(&bench.stage, order == 1);
    bench_open(&other);
    bench_stop(&other);
    /* As a kill leaves them: the WAL, and nothing written back. */
    snprintf(command, sizeof command, "rm -f %s/* && cp %s/log.db %s/log.db-wal %s/", other.dir,
             bench.dir, bench.dir, other.dir);
    cr_assert_eq(system(command), 0);
    cr_assert(member_log_open(&other.stage.loop, other.dir, &other.log, why), "%s", why);
    expect(&other, 1, "1=kept ");
    bench_close(&other);
    bench_close(&bench);
}

static void run_dropping(struct log_task *task, struct log_store *store)
{
    log_store_drop_from(store, task->group, 2);
}

Test(member_log, a_group_is_cut_behind_and_forgotten_without_the_others)
{
    struct bench bench;
    int order = 0;
    bench_open(&bench);
    struct addition some[] = {
        addition_of(1, 1, TEXT("a"), &order), addition_of(1, 2, TEXT("b"), &order),
        addition_of(2, 1, TEXT("x"), &order), addition_of(2, 2, TEXT("y"), &order)};
    for (int i = 0; i < 4; i++) {
        member_log_ask(bench.log, &some[i].task);
    }
    struct log_task dropping = {.run = run_dropping, .group = 1};
    cr_assert(member_log_do(bench.log, &dropping));
    expect(&bench, 1, "1=a ");
    expect(&bench, 2, "1=x 2=y ");
    struct addition forgetting = addition_of(2, 0, TEXT(""), &order);
    member_log_forget(bench.log, &forgetting.task);
    expect(&bench, 1, "1=a ");
    expect(&bench, 2, "");
    AWAIT(&bench.stage, order == 5);
    bench_close(&bench);
}

static void run_cut(struct log_task *task, struct log_store *store)
{
    struct log_mark mark = {
        .index = 900, .term = 3, .members_index = 1, .members = TEXT("m"), .data = TEXT("d")};
    log_store_set_mark(store, task->group, &mark, 999);
}

Test(member_log, what_lies_before_a_mark_is_deleted_little_by_little)
{
    enum { MANY = 1000 };
    struct bench bench;
    static struct addition some[MANY];
    int order = 0;
    bench_open(&bench);
    for (int i = 0; i < MANY; i++) {
        some[i] = addition_of(1, (uint64_t)i + 1, TEXT("e"), &order);
        member_log_ask(bench.log, &some[i].task);
    }
    struct log_task cut = {.run = run_cut, .group = 1};
    cr_assert(member_log_do(bench.log, &cut));
    struct listing listing = {.task = {.run = run_listing, .group = 1}};
    for (int i = 0; i < 100 && strcmp(listing.words, "999=e 1000=e ") != 0; i++) {
        cr_assert(
            member_log_do(bench.log, &listing.task)); /* each is a transaction, with a piece */
    }
    cr_assert_str_eq(listing.words, "999=e 1000=e ");
    AWAIT(&bench.stage, order == MANY);
    bench_close(&bench);
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(member_log,
     without_space_what_is_awaited_is_stored_if_it_fits_and_the_rest_when_there_is_some_again)
{
    static char large[8 * 1024 * 1024];
    struct bench bench;
    int order = 0;
    bench_open(&bench);
    signal(SIGXFSZ, SIG_IGN);
    memset(large, 'e', sizeof large);
    limit_files(6 * 1024 * 1024);
    struct addition one = addition_of(1, 1, (struct text){large, sizeof large}, &order);
    struct addition given_up = addition_of(2, 1, TEXT("x"), &order);
    member_log_ask(bench.log, &one.task);
    member_log_ask(bench.log, &given_up.task);
    struct addition awaited = addition_of(3, 1, TEXT("w"), &order);
    cr_assert(member_log_do(bench.log, &awaited.task));
    awaited.entry.data = one.entry.data;
    awaited.entry.index = 2;
    cr_assert_not(member_log_do(bench.log, &awaited.task));
    cr_assert_eq(order, 0);
    cr_assert_eq(member_log_room(bench.log), 0);
    member_log_give_up(bench.log, &given_up.task);
    AWAIT(&bench.stage, order == 1);
    cr_assert_not(given_up.stored);
    limit_files(RLIM_INFINITY);
    AWAIT(&bench.stage, order == 2);
    cr_assert(one.stored);
    expect(&bench, 2, "");
    expect(&bench, 3, "1=w ");
    bench_close(&bench);
}

Test(member_log, without_space_a_group_is_forgotten_later_unless_that_is_given_up)
{
    struct bench bench;
    int order = 0;
    bench_open(&bench);
    signal(SIGXFSZ, SIG_IGN);
    struct addition some[] = {addition_of(1, 1, TEXT("a"), &order),
                              addition_of(2, 1, TEXT("x"), &order)};
    for (int i = 0; i < 2; i++) {
        member_log_ask(bench.log, &some[i].task);
    }
    AWAIT(&bench.stage, order == 2);
    struct addition forgetting[] = {addition_of(1, 0, TEXT(""), &order),
                                    addition_of(2, 0, TEXT(""), &order)};
    limit_files(0);
    for (int i = 0; i < 2; i++) {
        member_log_forget(bench.log, &forgetting[i].task);
    }
    member_log_give_up(bench.log, &forgetting[1].task);
    AWAIT(&bench.stage, order == 3);
    cr_assert_not(forgetting[1].stored);
    limit_files(RLIM_INFINITY);
    AWAIT(&bench.stage, order == 4);
    cr_assert(forgetting[0].stored);
    expect(&bench, 1, "");
    expect(&bench, 2, "1=x ");
    bench_close(&bench);
}

Test(member_log, a_disk_that_has_become_full_still_takes_what_is_small)
{
    struct bench bench;
    struct rlimit before;
    struct stat wal;
    char path[96];
    int order = 0;
    bench_open(&bench);
    signal(SIGXFSZ, SIG_IGN);
    snprintf(path, sizeof path, "%s-wal", bench.path);
    cr_assert_eq(stat(path, &wal), 0);
    getrlimit(RLIMIT_FSIZE, &before);
    limit_files((rlim_t)wal.st_size); /* no file grows any more */
    for (int i = 1; i <= 200; i++) {
        struct addition one = addition_of(1, (uint64_t)i, TEXT("a vote"), &order);
        one.task.done = NULL;
        cr_assert(member_log_do(bench.log, &one.task));
    }
    limit_files(before.rlim_cur);
    bench_close(&bench);
}

Test(member_log, the_wal_is_written_back_beside_what_is_being_stored_and_does_not_grow)
{
    enum { MANY = 600 };
    static char data[60 * 1024];
    struct bench bench;
    struct stat before, after;
    char path[96];
    int order = 0;
    bench_open(&bench);
    snprintf(path, sizeof path, "%s-wal", bench.path);
    cr_assert_eq(stat(path, &before), 0);
    memset(data, 'd', sizeof data);
    for (int i = 1; i <= MANY; i++) { /* eight times what a WAL may have */
        struct addition one = addition_of(1 + (unsigned)i % 3, (uint64_t)(i - 1) / 3 + 1,
                                          (struct text){data, sizeof data}, &order);
        one.task.done = NULL;
        cr_assert(member_log_do(bench.log, &one.task));
    }
    cr_assert_eq(stat(path, &after), 0);
    cr_assert_leq(after.st_size, before.st_size);
    bench_close(&bench);
}

/* Turns a byte of what the file has of it. */
static void alter(const char *path, const char *words)
{
    static char bytes[16 * 1024 * 1024];
    FILE *file = fopen(path, "r+b");
    size_t len = fread(bytes, 1, sizeof bytes, file);
    const char *at = memmem(bytes, len, words, strlen(words));
    cr_assert_not_null(at);
    fseek(file, at - bytes, SEEK_SET);
    fputc(words[0] ^ 1, file);
    cr_assert_eq(fclose(file), 0);
}

static void refused(struct bench *bench, const char *words)
{
    char why[256] = "";
    cr_assert_not(member_log_open(&bench->stage.loop, bench->dir, &bench->log, why));
    cr_assert_not_null(strstr(why, words), "%s", why);
}

Test(member_log, what_is_no_log_is_refused_with_a_sentence)
{
    struct bench bench;
    char path[96], why[256];
    bench_open(&bench);
    bench_stop(&bench);
    FILE *file = fopen(bench.path, "w");
    for (int i = 0; i < 1000; i++) {
        fputs("this is no database", file);
    }
    fclose(file);
    refused(&bench, "file is not a database");
    refused(&bench, "have it join again with an empty directory");
    unlink(bench.path);
    snprintf(path, sizeof path, "%s/log-0", bench.dir);
    mkdir(path, 0700);
    refused(&bench, "older version");
    rmdir(path);
    cr_assert(member_log_open(&bench.stage.loop, bench.dir, &bench.log, why), "%s", why);
    bench_close(&bench);
}

Test(member_log, a_log_that_was_altered_is_refused_with_what_to_do)
{
    struct bench bench;
    int order = 0;
    bench_open(&bench);
    struct addition one = addition_of(5, 1, TEXT("what was promised"), &order);
    member_log_ask(bench.log, &one.task);
    AWAIT(&bench.stage, order == 1);
    bench_stop(&bench);
    alter(bench.path, "what was promised");
    refused(&bench,
            "is damaged (entry 1 of group 5 is not what was written): take this member out");
    unlink(bench.path);
    char why[256];
    cr_assert(member_log_open(&bench.stage.loop, bench.dir, &bench.log, why), "%s", why);
    bench_close(&bench);
}
