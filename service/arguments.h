/*
 * The command line, split into what it is made of: a command, its operands and options, and values of settings. Nothing
 * is taken yet: the file and the environment come before the settings.
 *
 *     ringhold [COMMAND] [OPERAND…] [--option…] [--setting VALUE…]        in any order behind the command
 *
 * Options say how one run of a command goes; they are no settings, so that none of them can be left in a file or an
 * environment by mistake.
 */
#ifndef RINGHOLD_SERVICE_ARGUMENTS_H
#define RINGHOLD_SERVICE_ARGUMENTS_H

#include "service/settings.h"

enum argument_option { OPTION_URL, OPTION_FORCE, OPTION_NO_WAIT, OPTION_JSON, OPTIONS };

struct arguments {
    enum config_command command;
    const char *operands[CONFIG_OPERANDS_MAX]; /* NULL: not given */
    const char *options[OPTIONS];              /* the same; "" where it takes no value */
    const char *values[SETTINGS];              /* the same */
};

/* False, with a sentence, when the words do not fit. */
bool arguments_read(int argc, char *const argv[], struct arguments *ret,
                    char ret_why[CONFIG_WHY_BYTES]);
/* Prints the commands with their operands and options, for --help. */
void arguments_help(FILE *out);

#endif
