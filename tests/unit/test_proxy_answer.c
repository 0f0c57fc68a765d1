/* An answer as it comes in, line by line: what is whole is kept, what could be cut off or grows past its bounds is not. */
#include "db/limits.h"
#include "service/cluster/proxy_answer.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct arena arena = ARENA_EMPTY;
static struct proxy_gathering g;

static void set_up(void)
{
    g = (struct proxy_gathering){.arena = &arena};
}

static void tear_down(void)
{
    arena_free(&arena);
}

TestSuite(proxy_answer, .init = set_up, .fini = tear_down);

/* The lines of a head, ended by NULL; true when all were taken. */
static bool head_of(const char *const *lines)
{
    bool taken = true;
    for (size_t i = 0; lines[i] != NULL; i++) {
        taken = proxy_gathering_line(&g, text_of(lines[i])) && taken;
    }
    return taken;
}
#define HEAD(...) head_of((const char *const[]){__VA_ARGS__, "\r\n", NULL})

Test(proxy_answer, keeps_status_headers_and_body)
{
    cr_assert(HEAD("HTTP/1.1 201 Created\r\n", "ETag: \"3\"\r\n", "Content-Length: 5\r\n",
                   "Connection: x-hop\r\n", "X-Hop: 1\r\n", "X-Empty:\r\n"));
    cr_assert(proxy_gathering_body(&g, TEXT("he")));
    cr_assert(proxy_gathering_body(&g, TEXT("llo")));
    cr_assert(proxy_gathering_end(&g, false));
    cr_expect_eq(g.answer.status, 201);
    cr_assert_eq(g.answer.header_count, 2);
    cr_expect(text_equal(g.answer.headers[0].name, TEXT("ETag")));
    cr_expect(text_equal(g.answer.headers[0].value, TEXT("\"3\"")));
    cr_expect(text_equal(g.answer.headers[1].name, TEXT("X-Empty")));
    cr_expect_eq(g.answer.headers[1].value.len, 0);
    cr_expect(text_equal(g.answer.body, TEXT("hello")));
    cr_expect_eq(g.answer.body.at[5], '\0');
}

Test(proxy_answer, passes_over_interim_answers_and_trailers)
{
    cr_assert(HEAD("HTTP/1.1 103 Early Hints\r\n", "Link: a\r\n"));
    cr_assert(HEAD("HTTP/1.1 200 OK\r\n", "Transfer-Encoding: chunked\r\n", "X: 1\r\n"));
    cr_assert(proxy_gathering_body(&g, TEXT("b")));
    cr_assert(proxy_gathering_line(&g, TEXT("X-Trailer: 1\r\n")));
    cr_assert(proxy_gathering_end(&g, false));
    cr_expect_eq(g.answer.status, 200);
    cr_assert_eq(g.answer.header_count, 1);
    cr_expect(text_equal(g.answer.headers[0].name, TEXT("X")));
}

Test(proxy_answer, needs_no_length_where_there_is_no_body)
{
    static const char *const LINES[] = {"HTTP/1.1 204 No Content\r\n", "HTTP/1.1 304\r\n"};
    for (size_t i = 0; i < 2; i++) {
        set_up();
        cr_assert(HEAD(LINES[i]));
        cr_expect(proxy_gathering_end(&g, false));
        cr_expect_eq(g.answer.body.len, 0);
    }
    set_up();
    cr_assert(HEAD("HTTP/1.1 200 OK\r\n"));
    cr_expect(proxy_gathering_end(&g, true), "the answer to a HEAD");
}

Test(proxy_answer, is_not_whole_when_nothing_says_where_it_ends)
{
    cr_assert(HEAD("HTTP/1.1 200 OK\r\n", "X: 1\r\n"));
    cr_assert(proxy_gathering_body(&g, TEXT("cut off?")));
    cr_expect_not(proxy_gathering_end(&g, false));
    cr_expect_not_null(g.broken);
}

Test(proxy_answer, is_not_whole_before_its_head_is)
{
    cr_expect_not(proxy_gathering_end(&g, false), "nothing has come");
    set_up();
    cr_assert(proxy_gathering_line(&g, TEXT("HTTP/1.1 200 OK\r\n")));
    cr_assert(proxy_gathering_line(&g, TEXT("Content-Length: 0\r\n")));
    cr_expect_not(proxy_gathering_end(&g, false));
    set_up();
    cr_assert(HEAD("HTTP/1.1 100 Continue\r\n", "Content-Length: 0\r\n"));
    cr_expect_not(proxy_gathering_end(&g, false), "an interim answer is none");
}

Test(proxy_answer, takes_no_other_status_lines)
{
    static const char *const LINES[] = {"",
                                        "\r\n",
                                        "HTTP/2 200\r\n",
                                        "HTTP/1.1 20\r\n",
                                        "HTTP/1.1 2000\r\n",
                                        "ICY 200\r\n",
                                        "HTTP/1.1  200\r\n",
                                        "HTTP/1.1 099\r\n",
                                        "HTTP/1.1 600\r\n",
                                        "HTTP/1.1 2x0\r\n"};
    for (size_t i = 0; i < sizeof LINES / sizeof LINES[0]; i++) {
        set_up();
        cr_expect_not(proxy_gathering_line(&g, text_of(LINES[i])), "%s", LINES[i]);
        cr_expect_not(proxy_gathering_line(&g, TEXT("HTTP/1.1 200 OK\r\n")), "once broken, always");
        cr_expect_not(proxy_gathering_body(&g, TEXT("a")));
        cr_expect_not(proxy_gathering_end(&g, false));
    }
}

Test(proxy_answer, takes_no_malformed_headers)
{
    cr_assert(proxy_gathering_line(&g, TEXT("HTTP/1.1 200 OK\r\n")));
    cr_expect_not(proxy_gathering_line(&g, TEXT(" folded\r\n")));
}

Test(proxy_answer, bounds_its_head)
{
    size_t room = PROXY_ANSWER_HEAD_BYTES_MAX - strlen("HTTP/1.1 200 OK\r\n");
    char *line = malloc(room + 1);
    memset(line, 'a', room + 1);
    memcpy(line, "X: ", 3);
    cr_assert(proxy_gathering_line(&g, TEXT("HTTP/1.1 200 OK\r\n")));
    cr_expect(proxy_gathering_line(&g, (struct text){line, room}));
    set_up();
    cr_assert(proxy_gathering_line(&g, TEXT("HTTP/1.1 200 OK\r\n")));
    cr_expect_not(proxy_gathering_line(&g, (struct text){line, room + 1}));
    free(line);
}

Test(proxy_answer, bounds_its_headers)
{
    cr_assert(proxy_gathering_line(&g, TEXT("HTTP/1.1 200 OK\r\n")));
    for (int i = 0; i < HEADERS_MAX; i++) {
        cr_assert(proxy_gathering_line(&g, TEXT("X: 1\r\n")));
    }
    cr_expect_not(proxy_gathering_line(&g, TEXT("X: 1\r\n")));
}

Test(proxy_answer, bounds_its_body_to_the_byte)
{
    enum { PIECE = 1024 * 1024 };
    char *piece = calloc(1, PIECE);
    cr_assert(HEAD("HTTP/1.1 200 OK\r\n", "Content-Length: 99999999999999999999999\r\n"));
    for (size_t i = 0; i < PROXY_ANSWER_BODY_BYTES_MAX / PIECE; i++) {
        cr_assert(proxy_gathering_body(&g, (struct text){piece, PIECE}));
    }
    cr_expect(proxy_gathering_body(&g, TEXT("")));
    cr_expect_not(proxy_gathering_body(&g, TEXT("1")));
    cr_expect_not(proxy_gathering_end(&g, false));
    free(piece);
}
