/*
 * The random-history test: histories of commands from seeds, run against the machine and against a model of it that
 * is too simple to be wrong in the same way.
 *
 *     build/history [--seeds N] [--steps N] [--seed FIRST] [--first-only] [--tally]
 *
 * Ends with `N passed, N failed`, and exit code 1 if one failed. A failure is printed with its seed, and with the
 * shortest history found that still fails. --first-only stops at the first failure and prints it as it is. --tally says how often each
 * command was answered how.
 */
#include "tests/history/run.h"

#include <stdio.h>
#include <stdlib.h>

struct options {
    uint64_t seed;
    uint64_t seeds;
    size_t steps;
    bool first_only, tally;
};

static void usage(void)
{
    fprintf(stderr,
            "usage: history [--seeds N] [--steps N] [--seed FIRST] [--first-only] [--tally]\n");
    exit(2);
}

static struct options options_of(int argc, char **argv)
{
    struct options options = {.seed = 1, .seeds = 400, .steps = 200};
    for (int i = 1; i < argc; i++) {
        bool number = i + 1 < argc;
        if (strcmp(argv[i], "--first-only") == 0) {
            options.first_only = true;
        } else if (strcmp(argv[i], "--tally") == 0) {
            options.tally = true;
        } else if (number && strcmp(argv[i], "--seed") == 0) {
            options.seed = strtoull(argv[++i], NULL, 10);
        } else if (number && strcmp(argv[i], "--seeds") == 0) {
            options.seeds = strtoull(argv[++i], NULL, 10);
        } else if (number && strcmp(argv[i], "--steps") == 0) {
            options.steps = strtoull(argv[++i], NULL, 10);
        } else {
            usage();
        }
    }
    return options;
}

static void tell(uint64_t seed, const struct outcome *outcome, struct history *history, bool shrink)
{
    enum { TRIES = 2000 };
    printf("FAIL  seed %llu, step %zu: %s\n", (unsigned long long)seed, outcome->step + 1,
           outcome->wrong);
    if (!shrink) {
        return;
    }
    if (!run_given(history, seed).failed) {
        printf("      (it does not fail when run again by itself)\n");
        return;
    }
    history_shrink(history, seed, TRIES);
    struct outcome again = run_given(history, seed);
    printf("      the shortest history found fails with: %s\n", again.wrong);
    show_history(history);
}

static void print_tally(void)
{
    for (size_t kind = 0; kind < COMMAND_KIND_COUNT; kind++) {
        printf("%-16s", command_name((enum command_kind)kind));
        for (size_t status = 0; status < STATUS_COUNT; status++) {
            if (tally[kind][status] > 0) {
                printf("  %s %lld", status_info((enum status)status)->code,
                       (long long)tally[kind][status]);
            }
        }
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    struct options options = options_of(argc, argv);
    uint64_t passed = 0, failed = 0;
    int64_t commands = 0;
    for (uint64_t i = 0; i < options.seeds; i++) {
        struct arena arena = ARENA_EMPTY;
        struct history history = {NULL, 0, 0};
        struct outcome outcome = run_generated(options.seed + i, options.steps, &history, &arena);
        commands += outcome.commands;
        passed += !outcome.failed;
        failed += outcome.failed;
        if (outcome.failed) {
            tell(options.seed + i, &outcome, &history, !options.first_only);
        }
        free(history.at);
        arena_free(&arena);
        if (outcome.failed && options.first_only) {
            break;
        }
    }
    if (options.tally) {
        print_tally();
    }
    printf("histories: %lld commands and looks\n%llu passed, %llu failed\n", (long long)commands,
           (unsigned long long)passed, (unsigned long long)failed);
    return failed > 0;
}
