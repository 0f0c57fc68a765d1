/*
 * Errands (handlers/errand.h), as they are sent: over HTTP, on the proxy's kept connections.
 */
#ifndef RINGHOLD_SERVICE_ERRAND_H
#define RINGHOLD_SERVICE_ERRAND_H

#include "service/call.h"

enum { ERRAND_MS_MAX = 10000 };

/* How an errand is carried out. */
struct errand_terms {
    int64_t ms_max;
    struct text
        watched; /* the queue whose messages are waited for, or absent (service/shard_watches.h) */
};

/*
 * Has a command carried out on a partition by the member that leads it, as far as is known. OK, and the job's done will be
 * called, on the proxy's thread: with the result; with NOT_OWNER and no version where it was surely not carried out for
 * want of a leader; or with OUTCOME_UNKNOWN. Else it will not be.
 */
MUST_CHECK enum status errand_submit(struct engine *engine, int64_t partition, struct job *job,
                                     struct errand_terms terms);

#endif
