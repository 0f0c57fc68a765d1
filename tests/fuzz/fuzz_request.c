/*
 * Any method, path, query and headers, up to the command: "METHOD target\nName: value\n…\n\nbody".
 */
#include "handlers/route.h"
#include "tests/fuzz/front.h"

static void prepare(struct exchange *x, struct arena *arena)
{
    enum status status = exchange_prepare(x);
    if (status != STATUS_OK) {
        exchange_problem(x, status);
        front_check(x);
    } else if (x->route->local) {
        x->route->render(x);
        front_check(x);
    } else {
        front_check_command(&x->command, arena);
    }
}

/* What routes take from a request apart from its body, asked of every route. */
static void read_parts(struct exchange *x)
{
    struct condition condition;
    struct page page;
    int64_t n;
    if (exchange_condition(x, &condition) == STATUS_OK) {
        PROMISE(condition.if_match >= IF_MATCH_ANY || condition.if_match == ABSENT, "If-Match");
    }
    if (exchange_page(x, &page) == STATUS_OK) {
        PROMISE(page.limit >= 1 && page.limit <= PAGE_ITEMS_MAX, "limit");
        PROMISE(!text_given(page.after) || page.after.len > 0, "cursor");
    }
    if (exchange_parameter_int(x, "n", 3, 7, 5, &n) == STATUS_OK) {
        PROMISE(n >= 3 && n <= 7, "n");
    }
    x->wait_ms = 0;
    x->response.header_count = 0;
    if (exchange_watch(x) == STATUS_OK) {
        PROMISE(x->wait_ms >= 0 && x->wait_ms <= WAIT_MS_MAX, "wait_ms");
    }
    exchange_problem(x, STATUS_INVALID_PARAMETER);
    front_check(x);
}

/* The request's parts on their own lines; the body behind an empty one. */
static struct exchange cut(struct arena *arena, struct text rest)
{
    struct text line = front_line(&rest), headers = {rest.at, 0}, one;
    while (text_given(one = front_line(&rest)) && one.len > 0) {
        headers.len = (size_t)(one.at + one.len - headers.at);
    }
    return front_request(arena, text_given(line) ? line : TEXT(""), headers, rest);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct arena arena = ARENA_EMPTY;
    struct text input = {(const char *)data, size};
    struct exchange x = cut(&arena, input), again = cut(&arena, input);
    if (exchange_route(&x) != STATUS_OK) {
        front_check(&x);
    } else {
        for (size_t i = 0; i < PARAMS_MAX && text_given(x.params[i]); i++) {
            PROMISE(x.params[i].len > 0 && x.params[i].len <= NAME_BYTES_MAX, "a name's length");
        }
        prepare(&x, &arena);
        if (exchange_route(&again) == STATUS_OK) {
            read_parts(&again);
        }
    }
    arena_free(&arena);
    return 0;
}
