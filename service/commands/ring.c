#include "service/commands/commands.h"
int command_ring(const struct config *config){(void)config;return command_failed("x");}
int command_recover(const struct config *config){(void)config;return command_failed("x");}
