/*
 * What the fuzz targets share: a request made of bytes, carried through the handlers without a socket between, and the
 * promises every answer keeps whatever the request was.
 */
#ifndef RINGHOLD_TESTS_FRONT_H
#define RINGHOLD_TESTS_FRONT_H

#include "db/machine.h"
#include "handlers/exchange.h"

#include <stdio.h>
#include <stdlib.h>

/* A promise that was broken ends the run, and libFuzzer keeps the input. */
#define PROMISE(holds, ...)                                                                        \
    do {                                                                                           \
        if (!(holds)) {                                                                            \
            fprintf(stderr, "broken promise: " #holds ": " __VA_ARGS__);                           \
            fputc('\n', stderr);                                                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* The process that handlers run in; it is ready, and it counts nothing. */
extern const struct process front_process;

/* The method of that name; METHOD_OTHER for all that are none of ours. */
enum method front_method(struct text word);
/* Cuts the first line off `rest`, without its end. Absent when nothing is left. */
struct text front_line(struct text *rest);

/* A request: method and target of a line as "PUT /v1/locks/a", headers as lines of "Name: value". */
struct exchange front_request(struct arena *arena, struct text line, struct text headers,
                              struct text body);

/*
 * A machine in memory, number 0 or 1, empty, with a batch begun whose events go into the arena. Opening one costs more
 * than a whole input: so there are but two, whatever an input does happens in one batch, and front_forget lets that
 * batch fail. front_forget returns NULL, or SQLite's words if it had failed before.
 */
struct machine *front_machine(int number, struct arena *arena);
const char *front_forget(struct machine *machine);

/* Checks what every answer promises: a known status, JSON that parses, a problem document for every refusal, headers
   that cannot be broken out of. */
void front_check(const struct exchange *x);
/* Checks that a command, or a result, survives its encoding. */
void front_check_command(const struct command *command, struct arena *arena);
void front_check_result(const struct result *result, struct arena *arena);

#endif
