/*
 * A client of the handlers without a socket between: a request is carried through the steps of its exchange over the
 * fixture's machine, at the fixture's time.
 */
#ifndef RINGHOLD_TESTS_CLIENT_H
#define RINGHOLD_TESTS_CLIENT_H

#include "handlers/exchange.h"
#include "tests/unit/fixture.h"

struct reply {
    struct exchange *x; /* of the fixture's arena */
    int status;         /* HTTP; 0 while the request is parked */
};

/* `line` is method and target, as in "PUT /v1/sessions/mine". `body` may be NULL. Headers follow as "Name: value",
   ended by NULL. */
struct reply client_ask(struct fixture *f, const char *line, const char *body, ...)
    __attribute__((sentinel));
/* Goes on with a parked request. */
struct reply client_wake(struct fixture *f, struct reply parked, enum wake why);

/* The cursor that the list at this path would give behind this key. */
struct text client_cursor(struct fixture *f, const char *path, struct text key);

/* A member of the answer's body as compact JSON, such as "\"idle\"" or "3"; NULL where it is missing. Inner members
   are reached with dots, elements by number: "items.0.id". */
const char *reply_member(struct fixture *f, struct reply reply, const char *path);
/* The same of a string, without its quotes. */
const char *reply_string(struct fixture *f, struct reply reply, const char *path);
/* A header of the answer; NULL where it is missing. */
const char *reply_header(struct fixture *f, struct reply reply, const char *name);

/* Fails the test unless the reply is a problem document of this status. */
void expect_problem(struct fixture *f, struct reply reply, enum status status);
/* Fails the test unless the member is this compact JSON; NULL: it must be missing. */
void expect_member(struct fixture *f, struct reply reply, const char *path, const char *json);

#endif
