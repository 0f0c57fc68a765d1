/*
 * The parts of a request that many routes share: query parameters, conditions, pages, long polls. Declared in
 * exchange.h.
 */
#include "handlers/exchange.h"
#include "handlers/ring.h"
#include "handlers/route.h"
#include "handlers/text_parse.h"

static bool next_pair(struct text *query, struct text *ret_name, struct text *ret_value)
{
    if (query->len == 0) {
        return false;
    }
    const char *ampersand = memchr(query->at, '&', query->len);
    size_t len = ampersand == NULL ? query->len : (size_t)(ampersand - query->at);
    const char *equals = len == 0 ? NULL : memchr(query->at, '=', len);
    size_t name_len = equals == NULL ? len : (size_t)(equals - query->at);
    *ret_name = (struct text){query->at, name_len};
    *ret_value = equals == NULL ? TEXT("") : (struct text){equals + 1, len - name_len - 1};
    query->at += ampersand == NULL ? len : len + 1;
    query->len -= ampersand == NULL ? len : len + 1;
    return true;
}

struct text exchange_parameter(struct exchange *x, const char *name)
{
    struct text query = x->request.query, key, value, decoded;
    if (query.len > 0 && x->asked_count < QUERY_NAMES_MAX) {
        x->asked[x->asked_count++] = name;
    }
    while (next_pair(&query, &key, &value)) {
        if (parse_percent(key, true, x->arena, &key) && text_equal(key, text_of(name))) {
            return parse_percent(value, true, x->arena, &decoded) ? decoded : TEXT("%");
        }
    }
    return TEXT_ABSENT;
}

/* Whether a parameter of this name was asked for and has not been seen yet; from then on it has. */
static bool first_time(struct exchange *x, struct text key)
{
    for (size_t i = 0; i < x->asked_count; i++) {
        if (x->asked[i] != NULL && text_equal(key, text_of(x->asked[i]))) {
            x->asked[i] = NULL;
            return true;
        }
    }
    return false;
}

enum status exchange_parameters_end(struct exchange *x)
{
    struct text query = x->request.query, key, value;
    while (query.len > 0 && next_pair(&query, &key, &value)) {
        if (parse_percent(key, true, x->arena, &key) && first_time(x, key)) {
            continue;
        }
        if (key.len == 0 && value.len == 0) {
            continue; /* "?", "&&" */
        }
        struct text name = arena_copy(x->arena, (struct text){key.at, key.len < 80 ? key.len : 80});
        return exchange_refuse(x, STATUS_INVALID_PARAMETER, name.at,
                               "The query parameter %s comes twice, or this operation has none.",
                               name.at);
    }
    return STATUS_OK;
}

enum status exchange_parameter_int(struct exchange *x, const char *name, int64_t min, int64_t max,
                                   int64_t absent, int64_t *ret)
{
    struct text given = exchange_parameter(x, name);
    int64_t n = absent;
    if (text_given(given) && (!parse_decimal(given, &n) || n < min || n > max)) {
        return exchange_refuse(x, STATUS_INVALID_PARAMETER, name,
                               "%s must be an integer between %lld and %lld.", name, (long long)min,
                               (long long)max);
    }
    *ret = n;
    return STATUS_OK;
}

static void add_version(struct versions *versions, int64_t version)
{
    size_t i = versions->count++;
    for (; i > 0 && versions->at[i - 1] > version; i--) {
        versions->at[i] = versions->at[i - 1];
    }
    versions->at[i] = version;
}

static bool is_one_of(const struct versions *versions, int64_t version)
{
    bool found = versions->any;
    for (size_t i = 0; i < versions->count && !found; i++) {
        found = versions->at[i] == version;
    }
    return found;
}

/* A weak tag is good enough to see that nothing changed, never to write by (RFC 9110 §13.1). */
static enum status read_versions(struct exchange *x, const char *name, struct text list,
                                 bool weak_too, struct versions *ret)
{
    struct versions versions = {.any = text_equal(text_trim(list), TEXT("*"))};
    struct text opaque;
    bool weak, some = versions.any;
    int64_t version;
    list = versions.any ? TEXT("") : list;
    while (versions.count < VERSIONS_MAX && parse_next_etag(&list, &weak, &opaque)) {
        some = true;
        if ((weak_too || !weak) && parse_decimal(opaque, &version) && version <= VERSION_MAX) {
            add_version(&versions, version);
        }
    }
    if (!some || list.len > 0) {
        return exchange_refuse(x, STATUS_INVALID_HEADER, name,
                               "%s must be entity tags such as \"7\", at most %d, or *.", name,
                               VERSIONS_MAX);
    }
    *ret = versions;
    return STATUS_OK;
}

/* The version whose turn it is. */
static enum status read_if_match(struct exchange *x, struct text list, int64_t *ret)
{
    struct versions versions;
    enum status status = read_versions(x, "If-Match", list, false, &versions);
    if (status == STATUS_OK && versions.any) {
        *ret = IF_MATCH_ANY;
    } else if (status == STATUS_OK) {
        bool left = x->match_at < versions.count;
        *ret = left ? versions.at[x->match_at] : IF_MATCH_NONE;
        x->match_left = left ? versions.count - x->match_at - 1 : 0;
    }
    return status;
}

enum status exchange_condition(struct exchange *x, struct condition *ret)
{
    struct text match = x->request.header(x->request.source, "If-Match");
    struct text none = x->request.header(x->request.source, "If-None-Match");
    struct condition condition = UNCONDITIONAL;
    if (text_given(match)) {
        enum status status = read_if_match(x, match, &condition.if_match);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (text_given(none)) {
        if (!text_equal(text_trim(none), TEXT("*"))) {
            return exchange_refuse(x, STATUS_INVALID_HEADER, "If-None-Match",
                                   "If-None-Match takes * on a write: create, never replace.");
        }
        condition.create_only = true;
    }
    *ret = condition;
    return STATUS_OK;
}

/* A cursor is this and the key of the last item, base64url. The digit leaves room for another form; the rest tells the
   list it is of, so that a cursor of another list is refused and does not begin somewhere. */
static struct text cursor_mark(struct exchange *x)
{
    struct text of = arena_format(x->arena, "%s %.*s", x->route->operation, (int)x->params[0].len,
                                  text_given(x->params[0]) ? x->params[0].at : "");
    return arena_format(x->arena, "2%08x", (unsigned)ring_hash(of));
}

/* The key in a cursor; absent when it is none of this list. */
static struct text cursor_key(struct exchange *x, struct text cursor)
{
    struct text mark = cursor_mark(x), whole;
    if (!base64url_decode(cursor, x->arena, &whole) || whole.len <= mark.len ||
        !text_equal((struct text){whole.at, mark.len}, mark)) {
        return TEXT_ABSENT;
    }
    return (struct text){whole.at + mark.len, whole.len - mark.len};
}

enum status exchange_page(struct exchange *x, struct page *ret)
{
    struct text cursor = exchange_parameter(x, "cursor"), after = TEXT_ABSENT;
    int64_t limit;
    enum status status =
        exchange_parameter_int(x, "limit", 1, PAGE_ITEMS_MAX, PAGE_ITEMS_DEFAULT, &limit);
    if (status != STATUS_OK) {
        return status;
    }
    if (text_given(cursor)) {
        after = cursor_key(x, cursor);
        if (!text_given(after)) {
            return exchange_refuse(x, STATUS_INVALID_CURSOR, "cursor",
                                   "cursor must be the next_cursor of an earlier page.");
        }
    }
    *ret = (struct page){.after = after, .limit = limit};
    return STATUS_OK;
}

struct text exchange_cursor(struct exchange *x, struct text after)
{
    if (!text_given(after)) {
        return TEXT_ABSENT;
    }
    struct text mark = cursor_mark(x);
    return base64url_encode(
        arena_format(x->arena, "%.*s%.*s", (int)mark.len, mark.at, (int)after.len, after.at),
        x->arena);
}

enum status exchange_consistency(struct exchange *x)
{
    static const char *const NAMES[] = {"leader", "strong", "stale"};
    struct text given = exchange_parameter(x, "consistency");
    x->consistency = CONSISTENCY_LEADER;
    for (int i = 0; i <= CONSISTENCY_STALE; i++) {
        if (!text_given(given) || text_equal(given, text_of(NAMES[i]))) {
            x->consistency = (enum consistency)i;
            return STATUS_OK;
        }
    }
    return exchange_refuse(x, STATUS_INVALID_PARAMETER, "consistency",
                           "consistency must be leader, strong or stale.");
}

/* ---- long polls --------------------------------------------------------------------------------------------------- */

void exchange_prefer_wait(struct exchange *x)
{
    struct text prefer = x->request.header(x->request.source, "Prefer");
    struct text wait = text_given(prefer) ? parse_preference(prefer, "wait") : TEXT_ABSENT;
    int64_t seconds;
    /* RFC 7240: a preference that is not understood is ignored. */
    if (text_given(wait) && parse_decimal(wait, &seconds)) {
        x->wait_ms = seconds < WAIT_MS_MAX / 1000 ? seconds * 1000 : WAIT_MS_MAX;
        exchange_header(x, "Preference-Applied",
                        arena_format(x->arena, "wait=%lld", (long long)(x->wait_ms / 1000)));
    }
}

enum status exchange_watch(struct exchange *x)
{
    struct text prefer = x->request.header(x->request.source, "Prefer");
    struct text none = x->request.header(x->request.source, "If-None-Match");
    enum status status =
        exchange_parameter_int(x, "wait_ms", 0, INT64_MAX, x->wait_ms, &x->wait_ms);
    /* A cap, as for Prefer: who would wait longer is told 304 by then, and asks again. */
    x->wait_ms = x->wait_ms < WAIT_MS_MAX ? x->wait_ms : WAIT_MS_MAX;
    if (status == STATUS_OK && text_given(none)) {
        status = read_versions(x, "If-None-Match", none, true, &x->known);
    }
    if (status != STATUS_OK) {
        return status;
    }
    exchange_prefer_wait(x);
    x->async = text_given(prefer) && text_given(parse_preference(prefer, "respond-async"));
    return STATUS_OK;
}

static enum next not_modified(struct exchange *x, int64_t version)
{
    exchange_etag(x, version);
    exchange_respond(x, 304, TEXT_ABSENT);
    return NEXT_ANSWER;
}

enum next watch_after(struct exchange *x, int64_t version)
{
    if (!status_is_ok(x->result.status) || !is_one_of(&x->known, version)) {
        return NEXT_ANSWER;
    }
    x->command.stamp = x->now;
    return x->now.lease_now_ms < x->waits_until ? NEXT_PARK : not_modified(x, version);
}

enum next watch_wake(struct exchange *x, enum wake why)
{
    if (why != WAKE_EVENT) {
        x->waits_until = 0; /* one more look, then 304 */
    }
    return NEXT_READ;
}
