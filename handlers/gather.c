#include "handlers/gather.h"

#include "handlers/json.h"
#include "handlers/json_out.h"

#include <stdlib.h>

struct item {
    struct text name;
    struct text json;
};

struct gather {
    struct exchange *x;
    struct item *items;
    size_t count, room;
    bool more;         /* some partition has more than its page */
    struct text bound; /* the least last name of such a page */
};

bool gather_wanted(const struct exchange *x)
{
    return x->command.kind == COMMAND_LOCK_LIST || x->command.kind == COMMAND_QUEUE_LIST;
}

static int64_t limit_of(const struct exchange *x)
{
    return x->command.kind == COMMAND_LOCK_LIST ? x->command.lock_list.page.limit
                                                : x->command.queue_list.page.limit;
}

struct gather *gather_begin(struct exchange *x)
{
    struct gather *gather = arena_zalloc(x->arena, 1, sizeof *gather);
    if (gather != NULL) {
        gather->x = x;
    }
    return gather;
}

static bool add_item(struct gather *gather, const struct json *value)
{
    struct arena *arena = gather->x->arena;
    struct text name = json_text(json_member(value, TEXT("name")));
    if (gather->count == gather->room) {
        size_t room = gather->room * 2 + 64;
        struct item *larger = arena_zalloc(arena, room, sizeof *larger);
        if (larger == NULL) {
            return false;
        }
        if (gather->count > 0) {
            memcpy(larger, gather->items, gather->count * sizeof *larger);
        }
        gather->items = larger;
        gather->room = room;
    }
    gather->items[gather->count++] = (struct item){name, json_compact(arena, value)};
    return text_given(name);
}

bool gather_add(struct gather *gather, struct text page)
{
    const struct json *root = NULL;
    struct json_error error;
    if (json_read(gather->x->arena, page, &root, &error) != STATUS_OK) {
        return false;
    }
    const struct json *items = json_member(root, TEXT("items"));
    bool good = json_is(items, JSON_KIND_LIST);
    for (const struct json *one = json_first(items); good && one != NULL; one = json_next(one)) {
        good = add_item(gather, one);
    }
    bool cut = json_member(root, TEXT("next_cursor")) != NULL;
    if (good && cut && json_count(items) > 0) {
        struct text last = gather->items[gather->count - 1].name;
        bool least = !gather->more || text_compare(last, gather->bound) < 0;
        gather->bound = least ? last : gather->bound;
        gather->more = true;
    }
    return good;
}

static int by_name(const void *a, const void *b)
{
    return text_compare(((const struct item *)a)->name, ((const struct item *)b)->name);
}

/* How many of the sorted items make the page. */
static size_t page_size(const struct gather *gather)
{
    size_t limit = (size_t)limit_of(gather->x), count = 0;
    while (count < gather->count && count < limit &&
           (!gather->more || text_compare(gather->items[count].name, gather->bound) <= 0)) {
        count++;
    }
    return count;
}

void gather_end(struct gather *gather)
{
    struct exchange *x = gather->x;
    struct json_out out = out_begin(x->arena);
    if (gather->count > 0) {
        qsort(gather->items, gather->count, sizeof *gather->items, by_name);
    }
    size_t count = page_size(gather);
    out_open(&out, '{');
    out_key(&out, "items");
    out_open(&out, '[');
    for (size_t i = 0; i < count; i++) {
        out_raw(&out, gather->items[i].json);
    }
    out_close(&out, ']');
    if (count > 0 && (gather->more || count < gather->count)) {
        out_member_text_if(&out, "next_cursor", exchange_cursor(x, gather->items[count - 1].name));
    }
    out_close(&out, '}');
    exchange_respond(x, 200, out_end(&out));
}
