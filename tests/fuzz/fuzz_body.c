/*
 * The body of every route: the first byte chooses the route, the rest is the body. What parse makes of it must be a
 * command that survives its encoding, or a refusal.
 */
#include "handlers/route.h"
#include "tests/fuzz/front.h"

/* The routes that take a body, numbered in the order of their tables. */
static const struct route *route_number(size_t wanted, size_t *ret_count)
{
    const struct route *found = NULL;
    size_t count = 0;
    for (size_t i = 0; i < ROUTE_LISTS; i++) {
        for (size_t j = 0; all_routes[i] != NULL && j < all_routes[i]->count; j++) {
            if (all_routes[i]->at[j].takes_body && count++ == wanted) {
                found = &all_routes[i]->at[j];
            }
        }
    }
    *ret_count = count;
    return found;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    size_t count;
    if (size == 0) {
        return 0;
    }
    route_number(0, &count);
    const struct route *route = route_number(data[0] % count, &count);
    struct arena arena = ARENA_EMPTY;
    /* A copy of its own, so that reading past its end is seen. */
    char *body = malloc(size);
    PROMISE(body != NULL, "there is memory");
    memcpy(body, data + 1, size - 1);
    struct exchange x = front_request(&arena, TEXT("POST /"), TEXT("Idempotency-Key: k"),
                                      (struct text){body, size - 1});
    x.request.method = route->method;
    x.request.path = x.request.target;
    x.route = route;
    for (size_t i = 0; i < PARAMS_MAX; i++) {
        x.params[i] = TEXT("key~name");
    }
    x.now = (struct stamp){1000000, 1000};
    enum status status = exchange_prepare(&x);
    if (status == STATUS_OK) {
        front_check_command(&x.command, &arena);
    } else {
        exchange_problem(&x, status);
        front_check(&x);
    }
    free(body);
    arena_free(&arena);
    return 0;
}
