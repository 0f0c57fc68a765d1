/*
 * How leases are written, and why one is refused: the JSON that locks.c, leases.c and lock_sets.c have in common.
 */
#ifndef RINGHOLD_HANDLERS_LEASE_JSON_H
#define RINGHOLD_HANDLERS_LEASE_JSON_H

#include "handlers/exchange.h"
#include "handlers/json_in.h"
#include "handlers/json_out.h"

/* The words for enum lease_mode; NULL ends the list. */
extern const char *const lease_modes[];

/* The members that a lease and the answer to a set share: state, ttl_ms, when it ends and when to renew it, session,
   metadata. `expires_ms` is lease time. */
void lease_write_common(struct json_out *out, const struct lease_view *lease, int64_t expires_ms,
                        const struct stamp *now);
/* A lease as an object. */
void lease_write(struct json_out *out, const struct lease_view *lease, const struct stamp *now);
/* A list of objects, as a lock shows those who hold it or wait for it. */
void lease_write_list(struct json_out *out, const char *key, const struct lease_views *leases,
                      const struct stamp *now);

/* For a route's `explain`: the members of lock-held and deadlock. */
void lease_explain(struct exchange *x, struct json_out *out);
/* For a route's `after`: says a refusal in a sentence that knows the case. */
void lease_describe(struct exchange *x);

/* The fields that a lease and a set are asked for with. */
struct lease_ask {
    struct text owner;
    struct text session;
    struct text metadata;
    int64_t ttl_ms;
    int64_t lock_delay_ms;
};
/* Reads them, and wait_ms and Prefer: respond-async into the exchange. */
struct lease_ask lease_read_ask(struct fields *fields);
int64_t lease_read_mode(struct fields *fields, int64_t otherwise);
int64_t lease_read_permits(struct fields *fields);
int64_t lease_read_ttl(struct fields *fields, int64_t otherwise);

#endif
