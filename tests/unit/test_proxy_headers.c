/* Which headers go through a proxy, and how a line of a head is read. */
#include "service/cluster/proxy_headers.h"

#include <criterion/criterion.h>

static bool travels(const char *name, const char *connection)
{
    return proxy_header_travels(text_of(name), text_of(connection));
}

Test(proxy_headers, lets_through_what_is_for_both_ends)
{
    static const char *const NAMES[] = {
        "Accept",        "Authorization", "Content-Type", "ETag",
        "If-None-Match", "Prefer",        "Retry-After",  "X",
        "Prox",          "Proxy",         "Hosts",        "Content-Length-Hint"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        cr_expect(travels(NAMES[i], NULL), "%s", NAMES[i]);
        cr_expect(travels(NAMES[i], ""), "%s", NAMES[i]);
        cr_expect(travels(NAMES[i], "close"), "%s", NAMES[i]);
    }
}

Test(proxy_headers, keeps_what_is_of_one_connection)
{
    static const char *const NAMES[] = {
        "Connection", "connection",          "Keep-Alive",     "KEEP-ALIVE", "Proxy-Connection",
        "TE",         "Proxy-Authorization", "proxy-anything", "Proxy-",     "Trailer",
        "Upgrade",    "Transfer-Encoding",   "Expect",         "Host",       "content-length"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        cr_expect_not(travels(NAMES[i], NULL), "%s", NAMES[i]);
        cr_expect_not(travels(NAMES[i], "close"), "%s", NAMES[i]);
    }
}

Test(proxy_headers, keeps_what_connection_names)
{
    cr_expect_not(travels("X-Hop", "X-Hop"));
    cr_expect_not(travels("X-Hop", "x-hop"));
    cr_expect_not(travels("X-Hop", "close, X-Hop"));
    cr_expect_not(travels("X-Hop", "X-Hop,close"));
    cr_expect_not(travels("X-Hop", " ,\tX-Hop\t, "));
    cr_expect(travels("X-Hop", "X-Hop-2"));
    cr_expect(travels("X-Hop", "X-Ho"));
    cr_expect(travels("X-Hop", "X Hop"));
    cr_expect(travels("X-Hop", ",,"));
}

Test(proxy_headers, heeds_every_connection_field_wherever_it_stands)
{
    const struct proxy_header headers[] = {
        {TEXT("X-A"), TEXT("1")}, {TEXT("Connection"), TEXT("x-b")}, {TEXT("X-B"), TEXT("2")},
        {TEXT("X-C"), TEXT("3")}, {TEXT("connection"), TEXT("x-a")},
    };
    static const bool WANT[] = {false, false, false, true, false};
    for (size_t i = 0; i < 5; i++) {
        cr_expect_eq(proxy_headers_travels(headers, 5, i), WANT[i], "%zu", i);
    }
}

Test(proxy_headers, are_read_from_a_line)
{
    struct proxy_header header;
    cr_assert(proxy_header_parse(TEXT("ETag: \t\"7\" "), &header));
    cr_expect(text_equal(header.name, TEXT("ETag")));
    cr_expect(text_equal(header.value, TEXT("\"7\"")));
    cr_assert(proxy_header_parse(TEXT("X:"), &header));
    cr_expect_eq(header.value.len, 0);
    cr_assert(proxy_header_parse(TEXT("X:a:b"), &header));
    cr_expect(text_equal(header.value, TEXT("a:b")));
    static const struct text BAD[] = {TEXT(""),      TEXT("X"),       TEXT(": a"),
                                      TEXT("X : a"), TEXT(" X: a"),   TEXT("X\0: a"),
                                      TEXT("X: \1"), TEXT("X: a\rb"), TEXT("X: a\nY: b")};
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        cr_expect_not(proxy_header_parse(BAD[i], &header), "%zu", i);
    }
}
