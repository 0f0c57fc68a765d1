#include "service/cluster/proxy_answer.h"

#include "db/limits.h"

#include <stdlib.h>

enum { BODY_BYTES_FIRST = 4096 };

static bool broken(struct proxy_gathering *g, const char *why)
{
    g->broken = why;
    return false;
}

static struct text without_line_end(struct text line)
{
    while (line.len > 0 && (line.at[line.len - 1] == '\n' || line.at[line.len - 1] == '\r')) {
        line.len--;
    }
    return line;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ---- the head ----------------------------------------------------------------------------------------------------- */

/* HTTP/1.x SP 3DIGIT, and a reason that nobody needs. */
static bool begin_answer(struct proxy_gathering *g, struct text line)
{
    const char *at = line.at;
    bool sound = line.len >= 12 && memcmp(at, "HTTP/1.", 7) == 0 && at[8] == ' ' && at[9] >= '1' &&
                 at[9] <= '5' && is_digit(at[10]) && is_digit(at[11]) &&
                 (line.len == 12 || at[12] == ' ');
    if (!sound) {
        return broken(g, "the answer has no HTTP/1 status line");
    }
    g->answer.status = (at[9] - '0') * 100 + (at[10] - '0') * 10 + (at[11] - '0');
    g->answer.header_count = 0;
    g->head_over = false;
    g->delimited = false;
    g->body_told = 0;
    return true;
}

static bool add_header(struct proxy_gathering *g, struct proxy_header header)
{
    struct proxy_answer *answer = &g->answer;
    if (answer->headers == NULL) {
        answer->headers = arena_zalloc(g->arena, HEADERS_MAX, sizeof *answer->headers);
    }
    if (answer->header_count == HEADERS_MAX) {
        return broken(g, "the answer has too many headers");
    }
    header.name = arena_copy(g->arena, header.name);
    header.value = arena_copy(g->arena, header.value);
    if (g->arena->exhausted) {
        return broken(g, "out of memory");
    }
    answer->headers[answer->header_count++] = header;
    return true;
}

static void note_length(struct proxy_gathering *g, struct proxy_header header)
{
    if (proxy_header_is(header.name, "Content-Length")) {
        g->delimited = true;
        /* A hint for how much to allocate; the library holds the body against it. */
        g->body_told = strtoul(header.value.at, NULL, 10);
    } else if (proxy_header_is(header.name, "Transfer-Encoding")) {
        g->delimited = true;
    }
}

static bool take_field(struct proxy_gathering *g, struct text line)
{
    struct proxy_header header;
    if (!proxy_header_parse(line, &header)) {
        return broken(g, "the answer has a malformed header");
    }
    if (!add_header(g, header)) {
        return false;
    }
    note_length(g, g->answer.headers[g->answer.header_count - 1]);
    return true;
}

bool proxy_gathering_line(struct proxy_gathering *g, struct text line)
{
    if (g->broken != NULL) {
        return false;
    }
    g->head_bytes += line.len;
    if (g->head_bytes > PROXY_ANSWER_HEAD_BYTES_MAX) {
        return broken(g, "the answer's head is too large");
    }
    line = without_line_end(line);
    bool interim = g->head_over && g->answer.status < 200;
    if (g->answer.status == 0 || interim) {
        return begin_answer(g, line);
    }
    if (g->head_over) {
        return true; /* a trailer: nobody asked for one */
    }
    if (line.len == 0) {
        g->head_over = true;
        return true;
    }
    return take_field(g, line);
}

/* ---- the body ----------------------------------------------------------------------------------------------------- */

/* The arena cannot grow a block in place, so rooms double; mostly the first one, of the length told, will do. */
static bool make_room(struct proxy_gathering *g, size_t needed)
{
    size_t room = g->body_room * 2;
    if (g->body_room == 0) {
        room = g->body_told > 0 && g->body_told < PROXY_ANSWER_BODY_BYTES_MAX ? g->body_told
                                                                              : BODY_BYTES_FIRST;
    }
    room = room > needed ? room : needed;
    char *body = arena_alloc(g->arena, room + 1);
    if (body == NULL) {
        return broken(g, "out of memory");
    }
    if (g->body_len > 0) {
        memcpy(body, g->body, g->body_len);
    }
    g->body = body;
    g->body_room = room;
    return true;
}

bool proxy_gathering_body(struct proxy_gathering *g, struct text piece)
{
    if (g->broken != NULL) {
        return false;
    }
    if (piece.len > PROXY_ANSWER_BODY_BYTES_MAX - g->body_len) {
        return broken(g, "the answer's body is too large");
    }
    size_t needed = g->body_len + piece.len;
    if (needed > g->body_room && !make_room(g, needed)) {
        return false;
    }
    if (piece.len > 0) {
        memcpy(g->body + g->body_len, piece.at, piece.len);
    }
    g->body_len = needed;
    return true;
}

/* ---- the end ------------------------------------------------------------------------------------------------------ */

static void keep_what_travels(struct proxy_answer *answer)
{
    bool travels[HEADERS_MAX];
    size_t kept = 0;
    for (size_t i = 0; i < answer->header_count; i++) {
        travels[i] = proxy_headers_travels(answer->headers, answer->header_count, i);
    }
    for (size_t i = 0; i < answer->header_count; i++) {
        if (travels[i]) {
            answer->headers[kept++] = answer->headers[i];
        }
    }
    answer->header_count = kept;
}

bool proxy_gathering_end(struct proxy_gathering *g, bool bodiless)
{
    int status = g->answer.status;
    if (g->broken != NULL) {
        return false;
    }
    if (!g->head_over || status < 200) {
        return broken(g, "the answer ended before its head did");
    }
    /* A body that ends with the connection looks whole when it was cut off; an instance never sends one. */
    if (!g->delimited && !bodiless && status != 204 && status != 304) {
        return broken(g, "the answer does not say where it ends");
    }
    keep_what_travels(&g->answer);
    if (g->body != NULL) {
        g->body[g->body_len] = '\0';
    }
    g->answer.body = g->body == NULL ? TEXT("") : (struct text){g->body, g->body_len};
    return true;
}

struct text proxy_answer_field(const struct proxy_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->header_count; i++) {
        if (proxy_header_is(answer->headers[i].name, name)) {
            return answer->headers[i].value;
        }
    }
    return TEXT_ABSENT;
}
