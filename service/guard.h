/*
 * The guard looks at a request's head before anything else does, and refuses what two readers could understand
 * differently (RFC 9112 §11.2, request smuggling) and what is too large. libmicrohttpd 0.9.75 and 1.0.1 let all of
 * this pass: both Content-Length and Transfer-Encoding, several Content-Lengths, several or no Hosts, white space in
 * field names.
 */
#ifndef RINGHOLD_SERVICE_GUARD_H
#define RINGHOLD_SERVICE_GUARD_H

#include "db/status.h"
#include "db/text.h"

#include <stdint.h>

struct guard_field {
    struct text name;
    struct text value;
};

/* What the guard has found out. `why` is a sentence of static storage, NULL when the status is OK. */
struct guard_verdict {
    enum status status;
    const char *why;
    int64_t content_length; /* -1: not given */
    bool chunked;
};

/* Pure: judges a head. `target` is the raw request target. */
struct guard_verdict guard_judge(struct text target, const char *version,
                                 const struct guard_field *fields, size_t count);

/*
 * Pure: whether request line and fields account for every byte of the head, which the parser has left where it was
 * read, from `method` to `end`, with line ends, colons and the spaces of the request line overwritten by NULs.
 * libmicrohttpd 0.9.75 joins a folded line to the *name* of the field before it ("Content-Lengt: 5" and " h" become
 * Content-Length: 5) and ends a text at the first NUL; what it has lost that way is missed here.
 */
bool guard_accounts(const char *method, size_t target_len, const char *version,
                    const struct guard_field *fields, size_t count, const char *end);

#endif
