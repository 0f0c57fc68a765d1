/*
 * Whole stories: request after request over one machine, time passing between them, everything through the handlers.
 * The lines of the input:
 *
 *     +5000                                  time passes, and what is due is done
 *     If-Match: "3"                          a header of the next request
 *     PUT /v1/locks/a/leases/x {"owner":"o"}  a request, and its body behind the target
 *     ~ POST …                               the same; its client hangs up while the request is parked
 *
 * In requests $t and $r stand for the last token and the last receipt that were answered, $T and $R for those before.
 * Each answer keeps its promises, and the machine is sane in the end; the commands are what a log would hold, so
 * they are also carried out, decoded, on a second machine, which must come to the same state.
 */
#include "db/codec.h"
#include "handlers/text_parse.h"
#include "tests/fuzz/front.h"

enum { REQUESTS_MAX = 64, STEPS_MAX = 64, HEADERS_ROOM = 1024 };

struct story {
    struct arena arena;
    struct machine *machine, *second;
    struct stamp now;
    struct text tokens[2], receipts[2];
    int requests;
};

/* ---- the machine -------------------------------------------------------------------------------------------------- */

static void carry_out(struct story *story, const struct command *command, struct result *result)
{
    struct command copy;
    struct result again;
    struct text log = command_encode(command, &story->arena);
    machine_apply(story->machine, command, &story->arena, result);
    front_check_result(result, &story->arena);
    PROMISE(command_decode(log, &story->arena, &copy), "%s", command_name(command->kind));
    machine_apply(story->second, &copy, &story->arena, &again);
    PROMISE(text_equal(result_encode(result, &story->arena), result_encode(&again, &story->arena)),
            "%s has another result on the second machine", command_name(command->kind));
}

static void pass(struct story *story, int64_t ms)
{
    struct command tick = {.kind = COMMAND_TICK, .tick = {TICK_STEPS_MAX}};
    struct result result;
    struct due due;
    int rounds = 0;
    story->now.now_ms += ms;
    story->now.lease_now_ms += ms;
    tick.stamp = story->now;
    do {
        carry_out(story, &tick, &result);
        due = machine_due(story->machine);
        PROMISE(++rounds < 1000, "the ticks come to no end");
    } while (due.wall_ms <= story->now.now_ms || due.lease_ms <= story->now.lease_now_ms);
}

static void check_state(struct story *story)
{
    const char *wrong = machine_sanity(story->machine, &story->arena);
    PROMISE(wrong == NULL, "%s", wrong);
    PROMISE(machine_hash(story->machine) == machine_hash(story->second), "the machines differ");
}

/* ---- requests ----------------------------------------------------------------------------------------------------- */

/* Remembers the string behind the last "name":" of the answer. */
static void remember(struct story *story, struct text body, const char *name, struct text last[2])
{
    char key[32];
    int len = snprintf(key, sizeof key, "\"%s\":\"", name);
    for (;;) {
        const char *at = body.len == 0 ? NULL : memmem(body.at, body.len, key, (size_t)len);
        if (at == NULL) {
            return;
        }
        body = (struct text){at + len, body.len - (size_t)(at + len - body.at)};
        const char *end = memchr(body.at, '"', body.len);
        PROMISE(end != NULL, "a string without an end");
        last[1] = last[0];
        last[0] = arena_copy(&story->arena, (struct text){body.at, (size_t)(end - body.at)});
    }
}

static struct text meant_by(const struct story *story, char c)
{
    return c == 't'   ? story->tokens[0]
           : c == 'T' ? story->tokens[1]
           : c == 'r' ? story->receipts[0]
           : c == 'R' ? story->receipts[1]
                      : TEXT_ABSENT;
}

/* With $t and its like replaced. */
static struct text spelt_out(struct story *story, struct text line)
{
    size_t room = line.len + 1, len = 0;
    for (size_t i = 0; i < line.len; i++) {
        room += line.at[i] == '$' ? 512 : 0;
    }
    char *out = arena_alloc(&story->arena, room);
    for (size_t i = 0; i < line.len; i++) {
        struct text known =
            line.at[i] == '$' && i + 1 < line.len ? meant_by(story, line.at[i + 1]) : TEXT_ABSENT;
        if (text_given(known) && known.len <= 512) {
            memcpy(out + len, known.at, known.len);
            len += known.len;
            i++;
        } else {
            out[len++] = line.at[i];
        }
    }
    return (struct text){out, len};
}

static enum next park(struct story *story, struct exchange *x, bool hangs_up)
{
    if (hangs_up) {
        return exchange_wake(x, WAKE_HUNG_UP);
    }
    /* Nobody else acts meanwhile: only time can end the wait, or make the wait's object move. */
    int64_t left = x->waits_until - story->now.lease_now_ms;
    pass(story, left > 0 ? (left + 1) / 2 : 0);
    x->now = story->now;
    return exchange_wake(x, left > 1 ? WAKE_EVENT : WAKE_TIME_OVER);
}

static enum next begin(struct exchange *x)
{
    enum status status = exchange_prepare(x);
    return status == STATUS_OK ? exchange_begin(x) : exchange_problem(x, status);
}

static void ask(struct story *story, struct exchange *x, bool hangs_up)
{
    enum next next = exchange_route(x) == STATUS_OK ? begin(x) : NEXT_ANSWER;
    for (int steps = 0; next != NEXT_ANSWER; steps++) {
        PROMISE(steps < STEPS_MAX, "the request comes to no end");
        x->now = story->now;
        if (next == NEXT_PARK) {
            next = park(story, x, hangs_up);
            continue;
        }
        x->command.stamp = story->now;
        carry_out(story, &x->command, &x->result);
        next = exchange_continue(x);
    }
    front_check(x);
    remember(story, x->response.body, "token", story->tokens);
    remember(story, x->response.body, "receipt", story->receipts);
}

static void request(struct story *story, struct text line, struct text headers)
{
    bool hangs_up = line.len > 2 && line.at[0] == '~' && line.at[1] == ' ';
    if (hangs_up) {
        line = (struct text){line.at + 2, line.len - 2};
    }
    line = spelt_out(story, line);
    const char *space = line.len == 0 ? NULL : memchr(line.at, ' ', line.len);
    size_t from = space == NULL ? line.len : (size_t)(space + 1 - line.at);
    const char *end = from == line.len ? NULL : memchr(line.at + from, ' ', line.len - from);
    size_t len = end == NULL ? line.len : (size_t)(end - line.at);
    struct text body = end == NULL ? TEXT("") : (struct text){end + 1, line.len - len - 1};
    struct exchange x = front_request(&story->arena, (struct text){line.at, len}, headers, body);
    x.now = story->now;
    ask(story, &x, hangs_up);
    story->requests++;
}

/* ---- the story ---------------------------------------------------------------------------------------------------- */

/* Whether the line is a header: a name and a colon before any space. */
static bool is_header(struct text line)
{
    for (size_t i = 0; i < line.len && line.at[i] != ' ' && line.at[i] != '/'; i++) {
        if (line.at[i] == ':') {
            return true;
        }
    }
    return false;
}

static void tell(struct story *story, struct text rest)
{
    char headers[HEADERS_ROOM];
    size_t headers_len = 0;
    struct text line;
    int64_t ms;
    while (text_given(line = front_line(&rest)) && story->requests < REQUESTS_MAX) {
        if (line.len > 0 && line.at[0] == '+' &&
            parse_decimal((struct text){line.at + 1, line.len - 1}, &ms)) {
            pass(story, ms < 400 * DAY_MS ? ms : 400 * DAY_MS);
        } else if (is_header(line)) {
            bool fits = headers_len + line.len + 1 <= sizeof headers;
            memcpy(headers + headers_len, line.at, fits ? line.len : 0);
            headers_len += fits ? line.len : 0;
            if (fits) {
                headers[headers_len++] = '\n';
            }
        } else if (line.len > 0) {
            struct text copy = arena_copy(&story->arena, (struct text){headers, headers_len});
            request(story, line, spelt_out(story, copy));
            headers_len = 0;
        }
    }
}

static void forget(struct machine *machine)
{
    const char *failure = front_forget(machine);
    PROMISE(failure == NULL, "SQLite: %s", failure);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct story story = {.arena = ARENA_EMPTY, .now = {1000000, 0}};
    story.machine = front_machine(0, &story.arena);
    story.second = front_machine(1, &story.arena);
    tell(&story, (struct text){(const char *)data, size});
    check_state(&story);
    forget(story.machine);
    forget(story.second);
    arena_free(&story.arena);
    return 0;
}
