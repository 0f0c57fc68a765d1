#include "db/text.h"

int text_compare(struct text a, struct text b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter == 0 ? 0 : memcmp(a.at, b.at, shorter);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

struct text text_pack(struct text t, char **at)
{
    if (!text_given(t)) {
        return t;
    }
    struct text packed = {*at, t.len};
    memcpy(*at, t.at, t.len);
    *at += t.len;
    return packed;
}

struct text text_routing_key(struct text name)
{
    const char *tilde = name.len == 0 ? NULL : memchr(name.at, '~', name.len);
    return tilde == NULL ? name : (struct text){name.at, (size_t)(tilde - name.at)};
}

struct text text_decimal(int64_t n, char buffer[DECIMAL_BYTES])
{
    char *end = buffer + DECIMAL_BYTES - 1, *first = end;
    uint64_t left = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    *end = '\0';
    do {
        *--first = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (n < 0) {
        *--first = '-';
    }
    return (struct text){first, (size_t)(end - first)};
}
