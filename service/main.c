/*
 * The program: reads the configuration and does what it was asked to. Exit codes: 0 done, 1 it could not be done,
 * 2 it was asked wrongly; a sentence on stderr says why.
 */
#include "handlers/openapi.h"
#include "handlers/route.h"
#include "service/backup.h"
#include "service/commands/commands.h"
#include "service/config.h"
#include "service/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int print_routes(void)
{
    static const char *const METHODS[] = {"GET", "PUT", "POST", "PATCH", "DELETE"};
    for (size_t i = 0; i < ROUTE_LISTS; i++) {
        for (size_t j = 0; j < all_routes[i]->count; j++) {
            const struct route *route = &all_routes[i]->at[j];
            printf("%s %s %s\n", METHODS[route->method], route->template, route->operation);
        }
    }
    return EXIT_DONE;
}

static int back_up(const struct config *config)
{
    char why[BACKUP_WHY_BYTES];
    if (!backup_make(config->data_dir, config->file, why)) {
        return command_failed(why);
    }
    printf("%s holds the state of %s.\n", config->file, config->data_dir);
    return EXIT_DONE;
}

static int restore(const struct config *config)
{
    char why[BACKUP_WHY_BYTES];
    struct backup_restored restored;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    if (!backup_restore(config->data_dir, config->file, now_ms, &restored, why)) {
        return command_failed(why);
    }
    printf("%s holds the state of %s; its fences go on after %" PRId64 ".\n", config->data_dir,
           config->file, restored.fence);
    if (restored.kept[0] != '\0') {
        printf("What it held before is kept as %s.\n", restored.kept);
    }
    return EXIT_DONE;
}

static int serve(struct config *config)
{
    char why[CONFIG_WHY_BYTES];
    return config_resolve(config, why) ? server_run(config) : command_failed(why);
}

static int run(enum config_command command, struct config *config)
{
    switch (command) {
    case CONFIG_SERVE:
        return serve(config);
    case CONFIG_BACKUP:
        return back_up(config);
    case CONFIG_RESTORE:
        return restore(config);
    case CONFIG_RING:
        return command_ring(config);
    case CONFIG_LEAVE:
    case CONFIG_REPLACE:
        return command_leave(config);
    case CONFIG_RECOVER:
        return command_recover(config);
    case CONFIG_ROUTES:
        return print_routes();
    case CONFIG_VERSION:
        printf("ringhold %s\n", RINGHOLD_VERSION);
        return EXIT_DONE;
    case CONFIG_HELP:
        config_help(stdout);
        return EXIT_DONE;
    }
    return EXIT_USAGE;
}

int main(int argc, char *argv[])
{
    static struct config config;
    enum config_command command = CONFIG_SERVE;
    char why[CONFIG_WHY_BYTES];
    if (!config_read(argc, argv, environ, &config, &command, why)) {
        fprintf(stderr, "ringhold: %s\n", why);
        return EXIT_USAGE;
    }
    /* The database has the key of all receipts in it, and SQLite would let everybody read it. */
    umask(0077);
    log_set_level(config.log_level);
    int code = run(command, &config);
    /* What was printed must have come out: a full disk behind stdout is a failure too. */
    return fflush(stdout) == 0 ? code : EXIT_FAILED;
}
