/* The guard: what two readers could understand differently is refused, and nothing else is. */
#include "db/limits.h"
#include "service/guard.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { FIELDS_MAX = HEADERS_MAX + 8 };

struct head {
    struct guard_field fields[FIELDS_MAX];
    size_t count;
};

static void add(struct head *head, struct text name, struct text value)
{
    cr_assert_lt(head->count, FIELDS_MAX);
    head->fields[head->count++] = (struct guard_field){name, value};
}

/* A head of names and values, ended by NULL. */
static struct head head_of(const char *const *words)
{
    struct head head = {.count = 0};
    for (size_t i = 0; words[i] != NULL; i += 2) {
        add(&head, text_of(words[i]), text_of(words[i + 1]));
    }
    return head;
}
#define HEAD(...) head_of((const char *const[]){__VA_ARGS__, NULL})

static struct guard_verdict judge(const char *target, const char *version, struct head head)
{
    return guard_judge(text_of(target), version, head.fields, head.count);
}

static void expect(enum status status, struct guard_verdict verdict)
{
    cr_expect_eq(verdict.status, status, "expected %s, got %s: %s", status_info(status)->code,
                 status_info(verdict.status)->code, verdict.why == NULL ? "" : verdict.why);
    cr_expect_eq(verdict.why == NULL, status == STATUS_OK, "a refusal says why, and nothing else");
}

Test(guard, takes_a_plain_get)
{
    struct guard_verdict verdict =
        judge("/v1/locks/a?wait_ms=5", "HTTP/1.1", HEAD("Host", "h", "Accept", "*/*"));
    expect(STATUS_OK, verdict);
    cr_expect_eq(verdict.content_length, -1);
    cr_expect_not(verdict.chunked);
}

Test(guard, reports_the_length_of_the_body)
{
    struct guard_verdict verdict =
        judge("/", "HTTP/1.1", HEAD("host", "h", "content-length", " 1048576\t"));
    expect(STATUS_OK, verdict);
    cr_expect_eq(verdict.content_length, 1048576);
}

Test(guard, reports_a_chunked_body)
{
    struct guard_verdict verdict =
        judge("/", "HTTP/1.1", HEAD("Host", "h", "Transfer-Encoding", "Chunked"));
    expect(STATUS_OK, verdict);
    cr_expect(verdict.chunked);
    cr_expect_eq(verdict.content_length, -1);
}

Test(guard, takes_http_1_0_without_a_host)
{
    expect(STATUS_OK, judge("/", "HTTP/1.0", HEAD("Accept", "*/*")));
}

Test(guard, refuses_other_versions)
{
    static const char *const VERSIONS[] = {"HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "http/1.1", ""};
    for (size_t i = 0; i < sizeof VERSIONS / sizeof VERSIONS[0]; i++) {
        expect(STATUS_HTTP_VERSION, judge("/", VERSIONS[i], HEAD("Host", "h")));
    }
}

Test(guard, wants_exactly_one_host)
{
    expect(STATUS_BAD_REQUEST, judge("/", "HTTP/1.1", HEAD("Accept", "*/*")));
    expect(STATUS_BAD_REQUEST, judge("/", "HTTP/1.1", HEAD("Host", "a", "Host", "a")));
    expect(STATUS_BAD_REQUEST, judge("/", "HTTP/1.1", HEAD("Host", "a", "hOST", "b")));
    expect(STATUS_BAD_REQUEST, judge("/", "HTTP/1.0", HEAD("Host", "a", "Host", "b")));
}

Test(guard, refuses_a_body_whose_length_is_told_twice)
{
    expect(STATUS_BAD_REQUEST,
           judge("/", "HTTP/1.1",
                 HEAD("Host", "h", "Content-Length", "4", "Transfer-Encoding", "chunked")));
    expect(STATUS_BAD_REQUEST,
           judge("/", "HTTP/1.1",
                 HEAD("Host", "h", "Transfer-Encoding", "chunked", "Content-Length", "4")));
    expect(STATUS_BAD_REQUEST,
           judge("/", "HTTP/1.1", HEAD("Host", "h", "Content-Length", "4", "Content-Length", "4")));
    expect(STATUS_BAD_REQUEST, judge("/", "HTTP/1.1",
                                     HEAD("Host", "h", "Transfer-Encoding", "chunked",
                                          "Transfer-Encoding", "chunked")));
}

Test(guard, refuses_lengths_that_are_not_one_decimal_number)
{
    static const char *const LENGTHS[] = {"",
                                          "+4",
                                          "-1",
                                          "4,4",
                                          "4, 4",
                                          "0x4",
                                          "4 4",
                                          "1e3",
                                          "4;",
                                          "04",
                                          "18446744073709551620",
                                          "9223372036854775808",
                                          "99999999999999999999"};
    for (size_t i = 0; i < sizeof LENGTHS / sizeof LENGTHS[0]; i++) {
        expect(STATUS_BAD_REQUEST,
               judge("/", "HTTP/1.1", HEAD("Host", "h", "Content-Length", LENGTHS[i])));
    }
}

Test(guard, refuses_transfer_encodings_other_than_chunked)
{
    static const char *const ENCODINGS[] = {
        "gzip",        "gzip, chunked", "chunked, chunked", "chunked, gzip", "identity", "xchunked",
        "chunked;q=1", "chunked ",      "chunked\t",        "\vchunked",     ""};
    for (size_t i = 0; i < sizeof ENCODINGS / sizeof ENCODINGS[0]; i++) {
        expect(STATUS_BAD_REQUEST,
               judge("/", "HTTP/1.1", HEAD("Host", "h", "Transfer-Encoding", ENCODINGS[i])));
    }
    expect(STATUS_BAD_REQUEST, judge("/", "HTTP/1.0", HEAD("Transfer-Encoding", "chunked")));
}

Test(guard, refuses_names_that_no_field_has)
{
    static const char *const NAMES[] = {"Content-Length ", " Host", "Ho st", "Host\t", "",
                                        "Content\nLength", "a:b",   "a(b)",  "a\"b",   "a/b",
                                        "Transf\xc3\xa9r", "a\x7f"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        expect(STATUS_BAD_REQUEST, judge("/", "HTTP/1.1", HEAD("Host", "h", NAMES[i], "1")));
    }
    struct head head = HEAD("Host", "h");
    add(&head, (struct text){"a\0b", 3}, TEXT("1"));
    expect(STATUS_BAD_REQUEST, judge("/", "HTTP/1.1", head));
}

Test(guard, refuses_control_characters_in_values)
{
    for (int c = 0; c < 0x20; c++) {
        char value[] = {'a', (char)c, 'b'};
        struct head head = HEAD("Host", "h");
        add(&head, TEXT("X"), (struct text){value, 3});
        expect(c == '\t' ? STATUS_OK : STATUS_BAD_REQUEST, judge("/", "HTTP/1.1", head));
    }
    expect(STATUS_BAD_REQUEST, judge("/", "HTTP/1.1", HEAD("Host", "h", "X", "a\x7f")));
    expect(STATUS_OK, judge("/", "HTTP/1.1", HEAD("Host", "h", "X", "gr\xc3\xbc\xc3\x9f")));
}

Test(guard, refuses_targets_that_are_not_paths)
{
    static const char *const TARGETS[] = {"",        "*",     "http://h", "http:///v1/status",
                                          "https:/", "h:80",  "v1",       "/a b",
                                          "/a\tb",   "/a\rb", "/a\x7f",   "?a=1"};
    for (size_t i = 0; i < sizeof TARGETS / sizeof TARGETS[0]; i++) {
        expect(STATUS_BAD_REQUEST, judge(TARGETS[i], "HTTP/1.1", HEAD("Host", "h")));
    }
    expect(STATUS_OK, judge("HTTP://h:80/v1/status", "HTTP/1.1", HEAD("Host", "h")));
}

Test(guard, meets_the_expectation_of_a_continue_only)
{
    expect(STATUS_OK, judge("/", "HTTP/1.1", HEAD("Host", "h", "Expect", "100-Continue")));
    expect(STATUS_EXPECTATION_FAILED, judge("/", "HTTP/1.1", HEAD("Host", "h", "Expect", "cake")));
    expect(STATUS_EXPECTATION_FAILED, judge("/", "HTTP/1.1", HEAD("Host", "h", "Expect", "")));
}

Test(guard, bounds_the_target)
{
    char *target = malloc(TARGET_BYTES_MAX + 2);
    memset(target, 'a', TARGET_BYTES_MAX + 2);
    target[0] = '/';
    struct head head = HEAD("Host", "h");
    expect(STATUS_OK, guard_judge((struct text){target, TARGET_BYTES_MAX}, "HTTP/1.1", head.fields,
                                  head.count));
    expect(STATUS_URI_TOO_LONG, guard_judge((struct text){target, TARGET_BYTES_MAX + 1}, "HTTP/1.1",
                                            head.fields, head.count));
    free(target);
}

Test(guard, bounds_the_number_of_fields)
{
    struct head head = HEAD("Host", "h");
    while (head.count < HEADERS_MAX) {
        add(&head, TEXT("X"), TEXT("1"));
    }
    expect(STATUS_OK, judge("/", "HTTP/1.1", head));
    add(&head, TEXT("X"), TEXT("1"));
    expect(STATUS_HEADERS_TOO_LARGE, judge("/", "HTTP/1.1", head));
}

Test(guard, bounds_the_bytes_of_the_head)
{
    /* Each field counts its name, its value, and the colon, space and end of line: 4 bytes. */
    size_t host = 4 + 1 + 4, room = HEAD_BYTES_MAX - host - 1 - 4;
    char *value = malloc(room + 1);
    memset(value, 'v', room + 1);
    struct head head = HEAD("Host", "h"), larger = head;
    add(&head, TEXT("X"), (struct text){value, room});
    add(&larger, TEXT("X"), (struct text){value, room + 1});
    expect(STATUS_OK, judge("/", "HTTP/1.1", head));
    expect(STATUS_HEADERS_TOO_LARGE, judge("/", "HTTP/1.1", larger));
    free(value);
}

Test(guard, refuses_a_large_body_before_it_is_read)
{
    struct guard_verdict verdict =
        judge("/", "HTTP/1.1", HEAD("Host", "h", "Content-Length", "1048577"));
    expect(STATUS_BODY_TOO_LARGE, verdict);
    cr_expect_eq(verdict.content_length, 1048577);
}

/* ---- what the parser has lost ------------------------------------------------------------------------------------- */

enum { READ_BYTES = 512 };

/* A head as the parser leaves it in its buffer: NULs for line ends, colons and the spaces of the request line. A line
   that begins with white space is joined to the name before it, as libmicrohttpd 0.9.75 does. */
struct read_head {
    char bytes[READ_BYTES], *version, *end;
    size_t target_len;
    struct guard_field fields[8];
    size_t count;
};

static char *end_line(char *at)
{
    char *end = at;
    while (*end != '\n') {
        end++;
    }
    *end = '\0';
    if (end > at && end[-1] == '\r') {
        end[-1] = '\0';
    }
    return end + 1;
}

static void read_field(struct read_head *head, char *line)
{
    char *colon = strchr(line, ':');
    cr_assert_not_null(colon);
    *colon = '\0';
    char *value = colon + 1 + strspn(colon + 1, " \t");
    head->fields[head->count++] = (struct guard_field){text_of(line), text_of(value)};
}

static struct read_head *read_head(const char *raw, size_t len)
{
    static struct read_head head;
    memset(&head, 0, sizeof head);
    memcpy(head.bytes, raw, len);
    head.end = head.bytes + len;
    char *at = end_line(head.bytes);
    char *space = strchr(head.bytes, ' ');
    head.version = strrchr(head.bytes, ' ') + 1;
    *space = head.version[-1] = '\0';
    head.target_len = strlen(space + 1);
    while (*at != '\r' && *at != '\n') {
        char *line = at;
        at = end_line(line);
        if (*line != ' ') {
            read_field(&head, line);
            continue;
        }
        struct guard_field *last = &head.fields[head.count - 1];
        memmove((char *)(uintptr_t)last->name.at + last->name.len, line + 1, strlen(line));
        *last = (struct guard_field){text_of(last->name.at), text_of(last->value.at)};
    }
    end_line(at);
    return &head;
}

static bool accounts(const char *raw, size_t len)
{
    const struct read_head *head = read_head(raw, len);
    return guard_accounts(head->bytes, head->target_len, head->version, head->fields, head->count,
                          head->end);
}
#define ACCOUNTS(raw) accounts(raw, sizeof raw - 1)

Test(guard, accounts_for_every_byte_of_a_plain_head)
{
    cr_expect(ACCOUNTS("GET / HTTP/1.1\r\n\r\n"));
    cr_expect(ACCOUNTS("GET /a?b=%20 HTTP/1.1\r\nHost: h\r\n\r\n"));
    cr_expect(ACCOUNTS("GET / HTTP/1.1\nHost:h\nAccept: \t */*\nX:\n\n"));
    cr_expect(ACCOUNTS("POST / HTTP/1.1\r\nHost: h\nContent-Length:5\r\n\n"));
    cr_expect(ACCOUNTS("POST / HTTP/1.1\r\nHost: h\r\nX:   \r\n\r\n"));
}

Test(guard, misses_folded_lines)
{
    cr_expect_not(ACCOUNTS("GET / HTTP/1.1\r\nX-A: one\r\n two\r\nHost: h\r\n\r\n"));
    cr_expect_not(ACCOUNTS("GET / HTTP/1.1\r\nHost: h\r\nX-A: one\r\n two\r\n\r\n"));
    cr_expect_not(ACCOUNTS("GET / HTTP/1.1\nHost: h\nContent-Lengt: 5\n h\n\n"));
    cr_expect_not(ACCOUNTS("GET / HTTP/1.1\r\nHost: h\r\nContent-:      5\r\n Length\r\n\r\n"));
}

Test(guard, misses_what_stood_behind_a_nul)
{
    cr_expect_not(ACCOUNTS("GET /a\0b HTTP/1.1\r\nHost: h\r\n\r\n"));
    cr_expect_not(ACCOUNTS("GET / HTTP/1.1\0x\r\nHost: h\r\n\r\n"));
    cr_expect_not(ACCOUNTS("GET / HTTP/1.1\r\nHost: h\0x\r\nX: 1\r\n\r\n"));
    cr_expect_not(ACCOUNTS("GET / HTTP/1.1\r\nX: 1\r\nHost: h\0x\r\n\r\n"));
    cr_expect_not(ACCOUNTS("GET / HTTP/1.1\r\nX: 1\r\nHost: h\0\0\0\r\n\r\n"));
}

Test(guard, misses_spaces_that_were_skipped)
{
    struct read_head *head = read_head("GET / HTTP/1.1\r\nHost: h\r\n\r\n",
                                       sizeof "GET / HTTP/1.1\r\nHost: h\r\n\r\n" - 1);
    cr_expect(guard_accounts(head->bytes, 1, head->version, head->fields, 1, head->end));
    cr_expect_not(guard_accounts(head->bytes, 2, head->version, head->fields, 1, head->end));
    cr_expect_not(guard_accounts(head->bytes, 0, head->version, head->fields, 1, head->end));
}
