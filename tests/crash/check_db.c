/*
 * check-db PATH: opens a partition's database as the service would after a crash, checks its integrity and that its
 * rows agree with each other and with the counters, and prints the counters as one JSON object. Exit code 1, with the
 * reason on stderr, when anything is wrong.
 */
#include "db/machine.h"

#include <stdio.h>

static void print_counters(struct machine *machine)
{
    struct counters counters = machine_counters(machine);
    const char *comma = "";
    printf("{");
#define COUNTER_PRINT(name)                                                                        \
    printf("%s\"" #name "\":%lld", comma, (long long)counters.name);                               \
    comma = ",";
    COUNTER_TABLE(COUNTER_PRINT)
#undef COUNTER_PRINT
    printf("}\n");
}

int main(int argc, char **argv)
{
    static const unsigned char SEED[32] = "never used: the file is there.";
    struct arena arena = ARENA_EMPTY;
    struct machine *machine;
    char why[256];
    if (argc != 2) {
        fprintf(stderr, "usage: check-db PATH\n");
        return 2;
    }
    if (machine_open(argv[1], STORAGE_SYNCED, true, SEED, &machine, why) != STATUS_OK) {
        fprintf(stderr, "check-db: %s\n", why);
        return 1;
    }
    const char *wrong = machine_sanity(machine, &arena);
    if (wrong != NULL) {
        fprintf(stderr, "check-db: %s\n", wrong);
    } else {
        print_counters(machine);
    }
    machine_close(machine);
    arena_free(&arena);
    return wrong == NULL ? 0 : 1;
}
