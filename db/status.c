#include "db/status.h"

#include <assert.h>
#include <string.h>

#define STATUS_AS_ROW(name, code, http, retryable, title, advice)                                  \
    {#name, code, http, retryable, title, advice},
static const struct status_info TABLE[STATUS_COUNT] = {STATUS_TABLE(STATUS_AS_ROW)};
#undef STATUS_AS_ROW

const struct status_info *status_info(enum status status)
{
    assert((unsigned)status < STATUS_COUNT);
    return &TABLE[status];
}

enum status status_from_code(const char *code)
{
    unsigned i = 0;
    while (i < STATUS_COUNT && strcmp(TABLE[i].code, code) != 0) {
        i++;
    }
    return (enum status)i;
}
