/*
 * Routes: what a method and a path template mean. Each resource has a table of them; the lists below make up all of
 * HTTP that Ringhold answers, and `make lint` holds them against openapi.yaml.
 *
 * A route is three or four small functions:
 *   parse    request ─► x->command. Returns a refusal if the request is wrong. May not touch the response.
 *   render   x->result, a success ─► x->response.
 *   explain  writes the extension members of a refusal that needs more than the common ones. May be NULL.
 *   after    looks at a result before it is rendered, and may ask for more: another command, or to be parked. NULL:
 *            the result is final.
 *   wake     goes on after PARK. NULL where `after` never parks.
 */
#ifndef RINGHOLD_HANDLERS_ROUTE_H
#define RINGHOLD_HANDLERS_ROUTE_H

#include "handlers/exchange.h"
#include "handlers/json_out.h"

struct route {
    enum method method;
    const char *template;  /* "/v1/sessions/{id}" */
    const char *operation; /* the operationId of openapi.yaml */
    enum status (*parse)(struct exchange *x);
    void (*render)(struct exchange *x);
    void (*explain)(struct exchange *x, struct json_out *out);
    enum next (*after)(struct exchange *x);
    enum next (*wake)(struct exchange *x, enum wake why);
    bool local;    /* answered by the process itself: render runs at once, there is no command */
    bool of_table; /* local, and best answered by the member that leads the table's group */
    bool transactional; /* may be an operation of POST /v1/transactions */
    bool takes_body;
};

struct route_list {
    const struct route *at;
    size_t count;
};

/* Each resource's table. */
extern const struct route_list session_routes, lock_routes, lease_routes, lock_set_routes,
    queue_routes, message_routes, settle_routes, transaction_routes, system_routes,
    ring_status_routes;

/* All tables. */
enum { ROUTE_LISTS = 10 };
extern const struct route_list *const all_routes[ROUTE_LISTS];

/*
 * The route of a method and a raw path, and the raw segments its {names} matched. NULL: no such path, or no such
 * method there; then *ret_allowed has the methods that would do, as an Allow header lists them, or is empty.
 */
const struct route *route_find(enum method method, struct text path, struct text params[PARAMS_MAX],
                               char ret_allowed[64]);

/* For `after` and `wake` of a GET that can be watched: parks while the version is the one the client knows. The
   topic must have been set by parse. */
enum next watch_after(struct exchange *x, int64_t version);
enum next watch_wake(struct exchange *x, enum wake why);

#endif
