#include "service/commands/commands.h"

int command_failed(const char *why)
{
    fprintf(stderr, "ringhold: %s\n", why);
    return EXIT_FAILED;
}
