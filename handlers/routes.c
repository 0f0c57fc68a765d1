#include "handlers/route.h"

#include <stdio.h>

const struct route_list *const all_routes[ROUTE_LISTS] = {
    &session_routes, &lock_routes,   &lease_routes,       &lock_set_routes, &queue_routes,
    &message_routes, &settle_routes, &transaction_routes, &system_routes,   &ring_status_routes};

static const char *const METHOD_NAMES[] = {"GET", "PUT", "POST", "PATCH", "DELETE"};

/* Reads template and path side by side; a {name} takes what the path has up to the next slash. */
static bool matches(const char *template, struct text path, struct text params[PARAMS_MAX])
{
    const char *at = path.at, *end = path.at + path.len;
    size_t count = 0;
    while (*template != '\0') {
        if (*template == '{') {
            const char *slash = at == end ? NULL : memchr(at, '/', (size_t)(end - at));
            const char *stop = slash == NULL ? end : slash;
            params[count++] = (struct text){at, (size_t)(stop - at)};
            at = stop;
            template = strchr(template, '}') + 1;
        } else if (at == end || *at++ != *template ++) {
            return false;
        }
    }
    while (count < PARAMS_MAX) {
        params[count++] = TEXT_ABSENT;
    }
    return at == end;
}

static void note_allowed(enum method method, char allowed[64])
{
    size_t len = strlen(allowed);
    snprintf(allowed + len, 64 - len, "%s%s", len == 0 ? "" : ", ", METHOD_NAMES[method]);
    if (method == METHOD_GET) {
        len = strlen(allowed);
        snprintf(allowed + len, 64 - len, ", HEAD");
    }
}

const struct route *route_find(enum method method, struct text path, struct text params[PARAMS_MAX],
                               char ret_allowed[64])
{
    ret_allowed[0] = '\0';
    for (size_t i = 0; i < ROUTE_LISTS; i++) {
        for (size_t j = 0; j < all_routes[i]->count; j++) {
            const struct route *route = &all_routes[i]->at[j];
            if (!matches(route->template, path, params)) {
                continue;
            }
            if (route->method == method) {
                return route;
            }
            note_allowed(route->method, ret_allowed);
        }
    }
    return NULL;
}
