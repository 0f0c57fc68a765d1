#include "service/cluster/proxy_headers.h"

#include <strings.h>

static const char *const ONE_HOP[] = {
    "Connection", "Keep-Alive", "TE",   "Trailer",        "Transfer-Encoding",
    "Upgrade",    "Expect",     "Host", "Content-Length",
};

static bool same(struct text a, struct text b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.at, b.at, a.len) == 0);
}

bool proxy_header_is(struct text name, const char *other)
{
    return same(name, text_of(other));
}

static struct text trimmed(struct text t)
{
    while (t.len > 0 && (*t.at == ' ' || *t.at == '\t')) {
        t = (struct text){t.at + 1, t.len - 1};
    }
    while (t.len > 0 && (t.at[t.len - 1] == ' ' || t.at[t.len - 1] == '\t')) {
        t.len--;
    }
    return t;
}

/* Whether a list of names parted by commas has this one. */
static bool names(struct text list, struct text name)
{
    while (list.len > 0) {
        const char *comma = memchr(list.at, ',', list.len);
        size_t len = comma == NULL ? list.len : (size_t)(comma - list.at);
        if (same(trimmed((struct text){list.at, len}), name)) {
            return true;
        }
        size_t past = comma == NULL ? len : len + 1;
        list = (struct text){list.at + past, list.len - past};
    }
    return false;
}

bool proxy_header_travels(struct text name, struct text connection)
{
    static const struct text PROXY = TEXT("Proxy-");
    if (name.len >= PROXY.len && same((struct text){name.at, PROXY.len}, PROXY)) {
        return false;
    }
    for (size_t i = 0; i < sizeof ONE_HOP / sizeof ONE_HOP[0]; i++) {
        if (proxy_header_is(name, ONE_HOP[i])) {
            return false;
        }
    }
    return !names(connection, name);
}

bool proxy_headers_travels(const struct proxy_header *headers, size_t count, size_t i)
{
    if (!proxy_header_travels(headers[i].name, TEXT_ABSENT)) {
        return false;
    }
    for (size_t j = 0; j < count; j++) {
        if (proxy_header_is(headers[j].name, "Connection") &&
            names(headers[j].value, headers[i].name)) {
            return false;
        }
    }
    return true;
}

static bool is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

bool proxy_header_is_sound(struct proxy_header header)
{
    bool sound = header.name.len > 0;
    for (size_t i = 0; i < header.name.len; i++) {
        sound = sound && is_token(header.name.at[i]);
    }
    for (size_t i = 0; i < header.value.len; i++) {
        unsigned char c = (unsigned char)header.value.at[i];
        sound = sound && (c == '\t' || (c >= ' ' && c != 0x7f));
    }
    return sound;
}

bool proxy_header_parse(struct text line, struct proxy_header *ret)
{
    const char *colon = line.len == 0 ? NULL : memchr(line.at, ':', line.len);
    if (colon == NULL) {
        return false;
    }
    size_t name_len = (size_t)(colon - line.at);
    struct proxy_header header = {
        {line.at, name_len},
        trimmed((struct text){colon + 1, line.len - name_len - 1}),
    };
    if (!proxy_header_is_sound(header)) {
        return false;
    }
    *ret = header;
    return true;
}
