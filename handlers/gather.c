#include "handlers/gather.h"

#include "handlers/json.h"
#include "handlers/json_out.h"

#include <stdlib.h>

enum { COUNTS = 5 };
static const char *const COUNT_NAMES[COUNTS] = {"ready", "delayed", "leased", "dead",
                                                "oldest_age_ms"};

/* Of a queue that is spread each partition lists its shard, which says so. */
struct item {
    struct text name;
    const struct json *value;
    int64_t shard; /* 0: home, or not spread */
    int64_t born;  /* of the queue; ABSENT: not spread */
    int64_t counts[COUNTS];
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

static int64_t int_of(const struct json *object, const char *key, int64_t standard)
{
    const struct json *value = json_member(object, text_of(key));
    int64_t n;
    return value != NULL && json_int(value, &n) ? n : standard;
}

static struct item read_item(struct text name, const struct json *value)
{
    struct item item = {.name = name,
                        .value = value,
                        .shard = int_of(value, "shard", 0),
                        .born = int_of(value, "born", ABSENT)};
    for (size_t i = 0; i < COUNTS; i++) {
        item.counts[i] = int_of(value, COUNT_NAMES[i], 0);
    }
    return item;
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
    gather->items[gather->count++] = read_item(name, value);
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
    const struct item *x = a, *y = b;
    int order = text_compare(x->name, y->name);
    return order != 0 ? order : (x->shard > y->shard) - (x->shard < y->shard);
}

/* Shards become one with their home. Those whose home is not there are what a deleted queue has left. */
static void merge_shards(struct gather *gather)
{
    size_t kept = 0;
    for (size_t i = 0; i < gather->count; i++) {
        const struct item *one = &gather->items[i];
        struct item *home = kept > 0 ? &gather->items[kept - 1] : NULL;
        if (one->shard == 0) {
            gather->items[kept++] = *one;
        } else if (home != NULL && text_equal(home->name, one->name) &&
                   (one->born == 0 || one->born == home->born)) {
            for (size_t k = 0; k < COUNTS - 1; k++) {
                home->counts[k] += one->counts[k];
            }
            home->counts[COUNTS - 1] = one->counts[COUNTS - 1] > home->counts[COUNTS - 1]
                                           ? one->counts[COUNTS - 1]
                                           : home->counts[COUNTS - 1];
        }
    }
    gather->count = kept;
}

static void write_item(struct gather *gather, struct json_out *out, const struct item *item)
{
    if (item->born == ABSENT) {
        out_raw(out, json_compact(gather->x->arena, item->value));
        return;
    }
    out_open(out, '{');
    for (const struct json *m = json_first(item->value); m != NULL; m = json_next(m)) {
        struct text key = json_key(m);
        bool written = text_equal(key, TEXT("shard")) || text_equal(key, TEXT("born"));
        for (size_t k = 0; k < COUNTS && !written; k++) {
            written = text_equal(key, text_of(COUNT_NAMES[k]));
            if (written) {
                out_member_int(out, COUNT_NAMES[k], item->counts[k]);
            }
        }
        if (!written) {
            out_member_raw(out, arena_copy(gather->x->arena, key).at,
                           json_compact(gather->x->arena, m));
        }
    }
    out_close(out, '}');
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
        merge_shards(gather);
    }
    size_t count = page_size(gather);
    out_open(&out, '{');
    out_key(&out, "items");
    out_open(&out, '[');
    for (size_t i = 0; i < count; i++) {
        write_item(gather, &out, &gather->items[i]);
    }
    out_close(&out, ']');
    bool full = count == (size_t)limit_of(x);
    if (count < gather->count || gather->more) {
        /* Up to the bound all has been seen, also what was no item. */
        struct text last = full ? gather->items[count - 1].name : gather->bound;
        out_member_text_if(&out, "next_cursor", exchange_cursor(x, last));
    }
    out_close(&out, '}');
    exchange_respond(x, 200, out_end(&out));
}
