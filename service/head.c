#include "service/head.h"

#include "handlers/text_parse.h"
#include "service/call.h"

#include <microhttpd.h>

/* The list to which the lines of one field add up. */
struct list {
    const char *name;
    struct arena *arena;
    struct text lines;
};

/* The fields that handlers read as lists. Of any other the first line counts. */
static bool is_list(const char *name)
{
    return strcmp(name, "Prefer") == 0 || strncmp(name, "If-", 3) == 0;
}

static enum MHD_Result add_line(void *cls, enum MHD_ValueKind kind, const char *name,
                                size_t name_len, const char *value, size_t value_len)
{
    struct list *list = cls;
    struct text line = value == NULL ? TEXT("") : (struct text){value, value_len};
    (void)kind;
    if (text_equal_nocase((struct text){name, name_len}, list->name)) {
        list->lines = !text_given(list->lines)
                          ? line
                          : arena_format(list->arena, "%.*s, %.*s", (int)list->lines.len,
                                         list->lines.at, (int)line.len, line.at);
    }
    return MHD_YES;
}

struct text head_field(const void *source, const char *name)
{
    struct call *call = (struct call *)(uintptr_t)source;
    if (!is_list(name)) {
        return text_of(MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, name));
    }
    struct list list = {.name = name, .arena = &call->arena, .lines = TEXT_ABSENT};
    MHD_get_connection_values_n(call->connection, MHD_HEADER_KIND, add_line, &list);
    return list.lines;
}

struct text head_field_of_nobody(const void *source, const char *name)
{
    (void)source;
    (void)name;
    return TEXT_ABSENT;
}
