/*
 * The simulation: groups of the program's replicas and state machines in one process, in virtual time, with disks, clocks
 * and a network that fail as the seed has it, clients on top, and the checks of oracle.h and promises.h.
 *
 *     build/sim [--seeds N] [--seed FIRST] [--jobs N] [--trace] [--twice] [--tally] [--first-only]
 *               [--lie unsynced|vote|term]
 *
 * Ends with `N passed, N failed`, and exit code 1 if one failed. A failing seed is printed with the end of its trace and
 * with the command that runs it again; --first-only stops at the first. --twice runs each seed two times and fails when the traces differ. --lie lets the
 * disk be dishonest: then the simulation must fail.
 */
#include "tests/sim/clients.h"
#include "tests/sim/files.h"
#include "tests/sim/ground.h"
#include "tests/sim/net.h"
#include "tests/sim/nodes.h"
#include "tests/sim/oracle.h"
#include "tests/sim/weather.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    JOBS_MAX = 64,
    SEED_SECONDS_MAX = 60, /* of real time */
    GROWTH_US = 3 * SECOND,
    ANSWER_WITHIN_US = 10 * SECOND,
    SETTLED_WITHIN_US = 200 * SECOND
};

struct options {
    uint64_t seed, seeds;
    int jobs;
    bool trace, twice, tally, first_only;
};

/* ---- one seed ----------------------------------------------------------------------------------------------------- */

static void recover(void)
{
    weather_mend();
    uint64_t mended = world_now();
    while (clients_last_answer_us() <= mended) {
        if (world_now() - mended > ANSWER_WITHIN_US) {
            weather_show();
            wrong("all is mended, and nothing was acknowledged for %d s",
                  ANSWER_WITHIN_US / SECOND);
        }
        world_run(world_now() + 20 * MS);
    }
    world_run(world_now() + 2 * SECOND);
    clients_stop();
    while (!weather_settled()) {
        if (world_now() - mended > SETTLED_WITHIN_US) {
            weather_show();
            wrong("all is mended, and the members do not agree after %d s",
                  SETTLED_WITHIN_US / SECOND);
        }
        world_run(world_now() + 20 * MS);
    }
    for (int i = 0; i < node_count; i++) {
        if (nodes[i].hosted != NULL) {
            oracle_imaged(i);
        }
    }
    oracle_end();
}

static void run_seed(uint64_t seed, bool shown)
{
    world_begin(seed, shown);
    files_install();
    nodes_make((int)chance_between(3, SIM_NODES_MAX));
    net_make(chance_of(60) ? 2 * MS : chance_between(2, 120) * MS);
    ground_log_entries = (unsigned)(chance_of(40) ? chance_between(6, 12) : chance_between(8, 80));
    oracle_begin();
    weather_begin();
    clients_begin((int)chance_between(2, 5));
    world_run(chance(GROWTH_US));
    weather_storm();
    world_run(world_now() + chance_between(3 * SECOND, 14 * SECOND));
    recover();
    trace("the end");
}

/* ---- all seeds ---------------------------------------------------------------------------------------------------- */

struct slot {
    pid_t pid; /* 0: free */
    uint64_t seed;
    bool second;
    struct tally tally; /* of the child, which shares it */
    uint64_t first_trace;
};

static struct tally sum;
static uint64_t passed, failed;

static void begin_slot(struct slot *slot, uint64_t seed, bool second, bool shown)
{
    slot->seed = seed;
    slot->second = second;
    memset(&slot->tally, 0, sizeof slot->tally);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(SEED_SECONDS_MAX);
        tally = &slot->tally;
        run_seed(seed, shown);
        fflush(NULL);
        _exit(0);
    }
    slot->pid = pid; /* the slot is the child's too */
}

static void add_tally(const struct tally *one)
{
#define TALLY_ADD(name) sum.name += one->name;
    TALLY_TABLE(TALLY_ADD)
#undef TALLY_ADD
}

static void tell_failure(const struct slot *slot, int status, const char *why)
{
    failed++;
    printf("FAIL  seed %llu: %s%s\n      again: build/sim --seed %llu --seeds 1 --trace\n",
           (unsigned long long)slot->seed, WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : why,
           WIFSIGNALED(status) ? " (an assertion, or it went on for ever)" : "",
           (unsigned long long)slot->seed);
}

/* The seed of a slot has ended. True when it is to run again. */
static bool end_slot(struct slot *slot, int status, const struct options *options)
{
    slot->pid = 0;
    if (status != 0) {
        tell_failure(slot, status, slot->tally.wrong);
        return false;
    }
    if (options->twice && !slot->second) {
        slot->first_trace = slot->tally.trace;
        return true;
    }
    if (slot->second && slot->tally.trace != slot->first_trace) {
        tell_failure(slot, 0, "the same seed was another history the second time");
        return false;
    }
    passed++;
    add_tally(&slot->tally);
    return false;
}

static void run_all(struct slot *slots, const struct options *options)
{
    uint64_t next = options->seed, end = options->seed + options->seeds;
    int running = 0;
    for (int i = 0; i < options->jobs && next < end; i++, running++) {
        begin_slot(&slots[i], next++, false, options->trace);
    }
    while (running > 0) {
        int status, i = 0;
        pid_t pid = wait(&status);
        while (i < options->jobs && slots[i].pid != pid) {
            i++;
        }
        if (i == options->jobs) {
            continue;
        }
        if (end_slot(&slots[i], status, options)) {
            begin_slot(&slots[i], slots[i].seed, true, options->trace);
        } else if (next < end && !(options->first_only && failed > 0)) {
            begin_slot(&slots[i], next++, false, options->trace);
        } else {
            running--;
        }
    }
}

/* ---- the command line --------------------------------------------------------------------------------------------- */

static void usage(void)
{
    fprintf(stderr, "usage: sim [--seeds N] [--seed FIRST] [--jobs N] [--trace] [--twice] "
                    "[--tally] [--first-only]"
                    " [--lie unsynced|vote|term]\n");
    exit(2);
}

static enum disk_lie lie_named(const char *name)
{
    if (strcmp(name, "unsynced") == 0) {
        return DISK_UNSYNCED;
    }
    if (strcmp(name, "vote") == 0) {
        return DISK_FORGETS_VOTE;
    }
    if (strcmp(name, "term") != 0) {
        usage();
    }
    return DISK_FORGETS_TERM;
}

static struct options options_of(int argc, char **argv)
{
    struct options options = {.seed = 1, .seeds = 200, .jobs = (int)sysconf(_SC_NPROCESSORS_ONLN)};
    for (int i = 1; i < argc; i++) {
        bool value = i + 1 < argc;
        if (strcmp(argv[i], "--trace") == 0) {
            options.trace = true;
        } else if (strcmp(argv[i], "--twice") == 0) {
            options.twice = true;
        } else if (strcmp(argv[i], "--tally") == 0) {
            options.tally = true;
        } else if (strcmp(argv[i], "--first-only") == 0) {
            options.first_only = true;
        } else if (value && strcmp(argv[i], "--seed") == 0) {
            options.seed = strtoull(argv[++i], NULL, 10);
        } else if (value && strcmp(argv[i], "--seeds") == 0) {
            options.seeds = strtoull(argv[++i], NULL, 10);
        } else if (value && strcmp(argv[i], "--jobs") == 0) {
            options.jobs = atoi(argv[++i]);
        } else if (value && strcmp(argv[i], "--lie") == 0) {
            disk_lie = lie_named(argv[++i]);
        } else {
            usage();
        }
    }
    options.jobs = options.jobs < 1 ? 1 : options.jobs > JOBS_MAX ? JOBS_MAX : options.jobs;
    return options;
}

int main(int argc, char **argv)
{
    struct options options = options_of(argc, argv);
    struct slot *slots = mmap(NULL, JOBS_MAX * sizeof *slots, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (slots == MAP_FAILED) {
        return 2;
    }
    run_all(slots, &options);
    if (options.tally) {
#define TALLY_PRINT(name) printf("%-16s %llu\n", #name, (unsigned long long)sum.name);
        TALLY_TABLE(TALLY_PRINT)
#undef TALLY_PRINT
    }
    printf("simulation: %llu passed, %llu failed\n", (unsigned long long)passed,
           (unsigned long long)failed);
    return failed > 0;
}
