/* The proxy beside peers that answer, stall, hang up and lie: it says what became of each request, and sends none
   twice. */
#include "service/cluster/proxy.h"

#include "db/limits.h"
#include "service/clock.h"
#include "tests/unit/peer.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PATIENCE_MS = 30000, PATIENCE_TO_CONNECT_MS = 1200, BODY_BYTES = 200 * 1024 };

/* ---- the stage ---------------------------------------------------------------------------------------------------- */

static struct {
    struct uvloop *loop;
    struct proxy *proxy;
    struct peer *peer;
    pthread_mutex_t mu;
    pthread_cond_t changed;
} stage = {.mu = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

struct call {
    struct forward forward;
    struct arena arena;
    size_t done; /* guarded by the stage's mu: how often */
};

static void start_with(struct proxy_limits limits)
{
    cr_assert_eq(uvloop_start(&stage.loop), STATUS_OK);
    cr_assert_eq(proxy_start(stage.loop, limits, &stage.proxy), STATUS_OK);
}

static void set_up(void)
{
    start_with(PROXY_LIMITS_DEFAULT);
}

static void stop_proxy(void)
{
    uvloop_stop(stage.loop);
    proxy_free(stage.proxy);
    uvloop_free(stage.loop);
    stage.loop = NULL;
    stage.proxy = NULL;
}

static void tear_down(void)
{
    stop_proxy();
    if (stage.peer != NULL) {
        peer_stop(stage.peer);
        stage.peer = NULL;
    }
}

TestSuite(proxy, .init = set_up, .fini = tear_down, .timeout = 120);

static void meet(struct peer_script script)
{
    stage.peer = peer_start(script);
}
#define MEET(...) meet((struct peer_script){__VA_ARGS__})
#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define SHORT_ANSWER TEXT(OK_HEAD "Content-Length: 2\r\n\r\nhi")

static void on_done(struct forward *forward)
{
    struct call *call = (struct call *)forward;
    pthread_mutex_lock(&stage.mu);
    cr_expect(uvloop_is_here(stage.loop));
    call->done++;
    pthread_cond_broadcast(&stage.changed);
    pthread_mutex_unlock(&stage.mu);
}

static struct call *make_call(const char *method, const char *target)
{
    struct call *call = calloc(1, sizeof *call);
    call->forward = (struct forward){
        .base = stage.peer == NULL ? "http://127.0.0.1:1" : peer_base(stage.peer),
        .method = method,
        .target = text_of(target),
        .deadline_us = clock_monotonic_us() + PATIENCE_MS * 1000,
        .arena = &call->arena,
        .done = on_done,
    };
    return call;
}

static void drop(struct call *call)
{
    arena_free(&call->arena);
    free(call);
}

static void submit(struct call *call)
{
    proxy_submit(stage.proxy, &call->forward);
}

static enum forward_outcome await(struct call *call)
{
    pthread_mutex_lock(&stage.mu);
    while (call->done == 0) {
        pthread_cond_wait(&stage.changed, &stage.mu);
    }
    pthread_mutex_unlock(&stage.mu);
    return call->forward.outcome;
}

static const char *outcome_name(enum forward_outcome outcome)
{
    static const char *const NAMES[] = {"ANSWERED", "NOT_SENT", "UNKNOWN", "CANCELLED"};
    return NAMES[outcome];
}

static void expect(struct call *call, enum forward_outcome outcome)
{
    enum forward_outcome got = await(call);
    const char *why = call->forward.failure;
    cr_expect_eq(got, outcome, "%s, not %s: %s", outcome_name(got), outcome_name(outcome),
                 why == NULL ? "" : why);
    cr_expect_eq(why == NULL, got == FORWARD_ANSWERED, "a failure says why, and nothing else");
}

/* One request from beginning to end. */
static void expect_once(const char *method, const char *target, struct text body,
                        enum forward_outcome outcome)
{
    struct call *call = make_call(method, target);
    call->forward.body = body;
    submit(call);
    expect(call, outcome);
    drop(call);
}

static void expect_get(enum forward_outcome outcome)
{
    expect_once("GET", "/", TEXT(""), outcome);
}

static struct text long_body(void)
{
    char *body = malloc(BODY_BYTES);
    memset(body, 'b', BODY_BYTES);
    return (struct text){body, BODY_BYTES};
}

static bool contains(struct text t, const char *part)
{
    return memmem(t.at, t.len, part, strlen(part)) != NULL;
}

/* ---- what is sent ------------------------------------------------------------------------------------------------- */

static void expect_request(struct call *call, const char *head, const char *rest)
{
    char want[2048];
    submit(call);
    expect(call, FORWARD_ANSWERED);
    snprintf(want, sizeof want, "%s HTTP/1.1\r\nHost: %s\r\n%s", head,
             peer_base(stage.peer) + strlen("http://"), rest);
    cr_expect_str_eq(peer_request(stage.peer).at, want);
    drop(call);
}

Test(proxy, sends_the_request_as_it_came)
{
    static const struct proxy_header HEADERS[] = {
        {TEXT("X-A"), TEXT("1; 2")},
        {TEXT("Host"), TEXT("elsewhere")},
        {TEXT("X-Empty"), TEXT("")},
        {TEXT("Connection"), TEXT("x-hop")},
        {TEXT("X-Hop"), TEXT("1")},
        {TEXT("Content-Length"), TEXT("999")},
        {TEXT("Accept-Encoding"), TEXT("gzip")},
        {TEXT("Expect"), TEXT("100-continue")},
        {TEXT("Content-Type"), TEXT("application/json")},
    };
    MEET(.answer = SHORT_ANSWER, .after = PEER_GOES_ON);
    struct call *call = make_call("POST", "/v1/a%2Fb/../%c3%BC//.?x=%41&y=%20+");
    call->forward.headers = HEADERS;
    call->forward.header_count = sizeof HEADERS / sizeof HEADERS[0];
    call->forward.body = TEXT("a\0c");
    /* As a C string it ends within the body. */
    expect_request(call, "POST /v1/a%2Fb/../%c3%BC//.?x=%41&y=%20+",
                   "X-A: 1; 2\r\nX-Empty:\r\nAccept-Encoding: gzip\r\n"
                   "Content-Type: application/json\r\nContent-Length: 3\r\n\r\na");
}

Test(proxy, says_nothing_of_its_own)
{
    MEET(.answer = SHORT_ANSWER, .after = PEER_GOES_ON);
    expect_request(make_call("GET", "/a"), "GET /a", "\r\n");
    expect_request(make_call("DELETE", "/a"), "DELETE /a", "\r\n");
    expect_request(make_call("POST", "/a"), "POST /a", "Content-Length: 0\r\n\r\n");
    expect_request(make_call("PUT", "/a"), "PUT /a", "Content-Length: 0\r\n\r\n");
    struct call *call = make_call("DELETE", "/a");
    call->forward.body = TEXT("{}");
    expect_request(call, "DELETE /a", "Content-Length: 2\r\n\r\n{}");
    cr_expect_eq(peer_connections(stage.peer), 1, "the connection is kept");
}

Test(proxy, waits_for_no_continue)
{
    MEET(.answer = SHORT_ANSWER, .after = PEER_GOES_ON);
    size_t bytes = BODY_BYTES_MAX + 1;
    char *body = calloc(1, bytes);
    expect_once("PUT", "/", (struct text){body, bytes}, FORWARD_ANSWERED);
    cr_expect_not(contains(peer_request(stage.peer), "Expect"));
    free(body);
}

Test(proxy, sends_nothing_that_is_malformed)
{
    static const struct proxy_header BAD[] = {{TEXT("X"), TEXT("1\r\nY: 2")},
                                              {TEXT("X Y"), TEXT("1")}};
    MEET(.answer = SHORT_ANSWER, .after = PEER_GOES_ON);
    for (size_t i = 0; i < 2; i++) {
        struct call *call = make_call("GET", "/");
        call->forward.headers = &BAD[i];
        call->forward.header_count = 1;
        submit(call);
        expect(call, FORWARD_NOT_SENT);
        drop(call);
    }
    expect_once("GET", "", TEXT(""), FORWARD_NOT_SENT);
    expect_once("GET", "/a b", TEXT(""), FORWARD_NOT_SENT);
    expect_once("GET", "/ HTTP/1.1\r\nX:", TEXT(""), FORWARD_NOT_SENT);
    expect_once("GET /", "/", TEXT(""), FORWARD_NOT_SENT);
    expect_once("", "/", TEXT(""), FORWARD_NOT_SENT);
    cr_expect_eq(peer_requests(stage.peer), 0);
}

Test(proxy, asks_no_proxy_of_the_environment)
{
    struct peer *other = peer_start((struct peer_script){.after = PEER_CLOSES});
    setenv("http_proxy", peer_base(other), 1);
    setenv("all_proxy", peer_base(other), 1);
    MEET(.answer = SHORT_ANSWER, .after = PEER_GOES_ON);
    expect_get(FORWARD_ANSWERED);
    cr_expect_eq(peer_connections(other), 0);
    peer_stop(other);
}

/* ---- what comes back ---------------------------------------------------------------------------------------------- */

static void expect_answer(const char *method, struct peer_script script, int status,
                          struct text body)
{
    meet(script);
    struct call *call = make_call(method, "/");
    submit(call);
    expect(call, FORWARD_ANSWERED);
    cr_expect_eq(call->forward.answer.status, status);
    cr_expect(text_equal(call->forward.answer.body, body));
    drop(call);
    peer_stop(stage.peer);
    stage.peer = NULL;
}
#define ANSWER(text) ((struct peer_script){.answer = TEXT(text), .after = PEER_STALLS})

Test(proxy, hands_back_every_form_of_answer)
{
    expect_answer("GET", ANSWER(OK_HEAD "Content-Length: 3\r\n\r\na\0c"), 200, TEXT("a\0c"));
    expect_answer("GET", ANSWER(OK_HEAD "Content-Length: 0\r\n\r\n"), 200, TEXT(""));
    expect_answer("GET",
                  ANSWER(OK_HEAD "Transfer-Encoding: chunked\r\n\r\n"
                                 "3\r\nabc\r\n2;x=1\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n"),
                  200, TEXT("abcde"));
    expect_answer("DELETE", ANSWER("HTTP/1.1 204 No Content\r\n\r\n"), 204, TEXT(""));
    expect_answer("GET", ANSWER("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n"), 304, TEXT(""));
    expect_answer("HEAD", ANSWER(OK_HEAD "Content-Length: 1000\r\n\r\n"), 200, TEXT(""));
    expect_answer(
        "GET",
        ANSWER("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" OK_HEAD "Content-Length: 1\r\n\r\na"),
        200, TEXT("a"));
}

Test(proxy, follows_and_unpacks_nothing)
{
    expect_answer("GET",
                  ANSWER("HTTP/1.1 307 Temporary Redirect\r\nLocation: /b\r\n"
                         "Content-Length: 0\r\n\r\n"),
                  307, TEXT(""));
    expect_answer(
        "GET", ANSWER(OK_HEAD "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08z"),
        200, TEXT("\x1f\x8b\x08z"));
    expect_answer("GET",
                  ANSWER("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n"
                         "Content-Length: 0\r\n\r\n"),
                  401, TEXT(""));
}

Test(proxy, hands_back_the_headers_that_travel)
{
    MEET(.answer = TEXT(OK_HEAD "ETag: \"1\"\r\nX-Hop: 1\r\nConnection: close, X-Hop\r\n"
                                "Keep-Alive: 5\r\nContent-Length: 0\r\nX-B:  b \r\n\r\n"),
         .after = PEER_CLOSES);
    struct call *call = make_call("GET", "/");
    submit(call);
    expect(call, FORWARD_ANSWERED);
    const struct proxy_answer *answer = &call->forward.answer;
    cr_assert_eq(answer->header_count, 2);
    cr_expect(text_equal(answer->headers[0].name, TEXT("ETag")));
    cr_expect(text_equal(answer->headers[0].value, TEXT("\"1\"")));
    cr_expect(text_equal(answer->headers[1].name, TEXT("X-B")));
    cr_expect(text_equal(answer->headers[1].value, TEXT("b")));
    drop(call);
}

/* ---- not sent ----------------------------------------------------------------------------------------------------- */

static void expect_from(const char *base, int64_t deadline_ms, enum forward_outcome outcome)
{
    struct call *call = make_call("POST", "/");
    call->forward.base = base;
    call->forward.deadline_us = clock_monotonic_us() + deadline_ms * 1000;
    submit(call);
    expect(call, outcome);
    drop(call);
}

Test(proxy, knows_that_a_refused_connection_sent_nothing)
{
    char base[64];
    int port = peer_refuses(base);
    expect_from(base, PATIENCE_MS, FORWARD_NOT_SENT);
    close(port);
}

Test(proxy, knows_that_a_connection_never_made_sent_nothing)
{
    char base[64];
    int port = peer_ignores(base);
    expect_from(base, 200, FORWARD_NOT_SENT);
    int64_t begun_us = clock_monotonic_us();
    expect_from(base, PATIENCE_MS, FORWARD_NOT_SENT);
    cr_expect_lt(clock_monotonic_us() - begun_us, INT64_C(1000) * PATIENCE_TO_CONNECT_MS,
                 "others may have been elected meanwhile");
    close(port);
}

Test(proxy, sends_nothing_past_the_deadline)
{
    MEET(.answer = SHORT_ANSWER, .after = PEER_GOES_ON);
    expect_from(peer_base(stage.peer), -1, FORWARD_NOT_SENT);
    cr_expect_eq(peer_connections(stage.peer), 0);
}

Test(proxy, sends_nothing_to_what_is_no_instance)
{
    static const char *const BASES[] = {"", "http://", "ftp://127.0.0.1:1", "file:///etc/hostname",
                                        "http://256.0.0.1.invalid:1"};
    for (size_t i = 0; i < sizeof BASES / sizeof BASES[0]; i++) {
        expect_from(BASES[i], PATIENCE_MS, FORWARD_NOT_SENT);
    }
}

/* Where the name has an address of IPv6 too, nobody listens there, and the next socket has the number of the first. */
Test(proxy, goes_on_to_the_address_that_answers)
{
    char base[64];
    MEET(.answer = SHORT_ANSWER, .after = PEER_GOES_ON);
    snprintf(base, sizeof base, "http://localhost:%s", strrchr(peer_base(stage.peer), ':') + 1);
    int64_t begun_us = clock_monotonic_us();
    expect_from(base, PATIENCE_MS, FORWARD_ANSWERED);
    cr_expect_lt(clock_monotonic_us() - begun_us, INT64_C(1000) * PATIENCE_MS / 2);
}

/* ---- unknown ------------------------------------------------------------------------------------------------------ */

static void expect_unknown(struct peer_script script)
{
    meet(script);
    expect_once("POST", "/", TEXT("{}"), FORWARD_UNKNOWN);
    cr_expect_eq(peer_requests(stage.peer), 1);
    peer_stop(stage.peer);
    stage.peer = NULL;
}
#define CUT_OFF(text, how) ((struct peer_script){.answer = TEXT(text), .after = (how)})

Test(proxy, does_not_know_what_became_of_a_request_without_an_answer)
{
    expect_unknown(CUT_OFF("", PEER_CLOSES));
    expect_unknown(CUT_OFF("", PEER_RESETS));
}

Test(proxy, does_not_know_when_the_answer_is_cut_off)
{
    static const enum peer_after HOW[] = {PEER_CLOSES, PEER_RESETS};
    for (size_t i = 0; i < 2; i++) {
        expect_unknown(CUT_OFF("HTTP/1.1 2", HOW[i]));
        expect_unknown(CUT_OFF(OK_HEAD, HOW[i]));
        expect_unknown(CUT_OFF(OK_HEAD "Content-Length: 0\r\n", HOW[i]));
        expect_unknown(CUT_OFF("HTTP/1.1 100 Continue\r\n\r\n", HOW[i]));
        expect_unknown(CUT_OFF(OK_HEAD "Content-Length: 3\r\n\r\nab", HOW[i]));
        expect_unknown(CUT_OFF(OK_HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", HOW[i]));
        expect_unknown(CUT_OFF(OK_HEAD "\r\nno length", HOW[i]));
    }
}

Test(proxy, does_not_know_when_the_answer_is_junk)
{
    expect_unknown(CUT_OFF("\0\1\2\3 what is this\r\n\r\n", PEER_CLOSES));
    expect_unknown(CUT_OFF("HTTP/2 200\r\nContent-Length: 0\r\n\r\n", PEER_CLOSES));
    expect_unknown(CUT_OFF("HTTP/1.1 2x0\r\nContent-Length: 0\r\n\r\n", PEER_CLOSES));
    expect_unknown(CUT_OFF(OK_HEAD "no colon\r\nContent-Length: 0\r\n\r\n", PEER_CLOSES));
    expect_unknown(CUT_OFF(OK_HEAD "Transfer-Encoding: chunked\r\n\r\nzz\r\n", PEER_CLOSES));
    expect_unknown(CUT_OFF(OK_HEAD "Content-Length: -1\r\n\r\n", PEER_CLOSES));
}

Test(proxy, takes_no_more_than_its_bounds)
{
    expect_unknown(
        (struct peer_script){.answer = TEXT(OK_HEAD "Content-Length: 99999999999\r\n\r\n"),
                             .zeroes = PROXY_ANSWER_BODY_BYTES_MAX + 1,
                             .after = PEER_STALLS});
    expect_unknown((struct peer_script){.answer = TEXT(OK_HEAD "X: "),
                                        .zeroes = 64 * PROXY_ANSWER_HEAD_BYTES_MAX,
                                        .after = PEER_STALLS});
}

Test(proxy, gives_up_at_the_deadline_and_hangs_up)
{
    MEET(.after = PEER_STALLS);
    expect_from(peer_base(stage.peer), 200, FORWARD_UNKNOWN);
    cr_expect(peer_await_hang_ups(stage.peer, 1));
    cr_expect_eq(peer_requests(stage.peer), 1);
}

/* ---- kept connections --------------------------------------------------------------------------------------------- */

/* A connection on which a first request went well dies under the second. */
static void expect_sent_once(const char *method, struct text body, enum peer_after how)
{
    MEET(.well = 1, .after = how);
    expect_get(FORWARD_ANSWERED);
    expect_once(method, "/", body, FORWARD_UNKNOWN);
    cr_expect_eq(peer_requests(stage.peer), 2, "%s of %zu bytes was sent %zu times", method,
                 body.len, peer_requests(stage.peer) - 1);
    cr_expect_eq(peer_connections(stage.peer), 1);
    peer_stop(stage.peer);
    stage.peer = NULL;
}

Test(proxy, never_sends_a_request_twice)
{
    static const char *const METHODS[] = {"POST", "PUT", "DELETE", "PATCH", "GET", "HEAD"};
    static const enum peer_after HOW[] = {PEER_CLOSES, PEER_RESETS};
    struct text body = long_body();
    for (size_t i = 0; i < sizeof METHODS / sizeof METHODS[0]; i++) {
        for (size_t j = 0; j < 2; j++) {
            expect_sent_once(METHODS[i], TEXT(""), HOW[j]);
            if (strcmp(METHODS[i], "HEAD") != 0) {
                expect_sent_once(METHODS[i], TEXT("{}"), HOW[j]);
                expect_sent_once(METHODS[i], body, HOW[j]);
            }
        }
    }
    free((void *)(uintptr_t)body.at);
}

/* Nor on another kept connection, where no socket need be made. */
Test(proxy, never_sends_a_request_twice_on_another_kept_connection)
{
    MEET(.well = 1, .after = PEER_CLOSES);
    enum { KEPT = 6 };
    struct call *calls[KEPT];
    for (size_t i = 0; i < KEPT; i++) {
        submit(calls[i] = make_call("GET", "/"));
    }
    for (size_t i = 0; i < KEPT; i++) {
        expect(calls[i], FORWARD_ANSWERED);
        drop(calls[i]);
    }
    size_t kept = peer_connections(stage.peer);
    cr_assert_gt(kept, 1);
    expect_once("POST", "/", TEXT("{}"), FORWARD_UNKNOWN);
    cr_expect_eq(peer_requests(stage.peer), KEPT + 1);
    cr_expect_eq(peer_connections(stage.peer), kept);
}

Test(proxy, leaves_connections_that_were_closed_while_idle)
{
    MEET(.answer = SHORT_ANSWER, .after = PEER_CLOSES);
    for (size_t i = 1; i <= 5; i++) {
        expect_once("POST", "/", TEXT("{}"), FORWARD_ANSWERED);
        cr_assert(peer_await_hang_ups(stage.peer, i));
    }
    cr_expect_eq(peer_requests(stage.peer), 5);
    cr_expect_eq(peer_connections(stage.peer), 5);
}

Test(proxy, takes_no_answer_that_came_unasked)
{
    MEET(.well = 0, .answer = SHORT_ANSWER, .after = PEER_STALLS,
         .late = TEXT("HTTP/1.1 500 Late\r\nContent-Length: 4\r\n\r\nlate"));
    struct call *call = make_call("GET", "/");
    submit(call);
    expect(call, FORWARD_ANSWERED);
    drop(call);
    usleep(
        300000); /* the peer writes 50 ms after its answer; nothing tells when that has arrived */
    call = make_call("GET", "/");
    submit(call);
    expect(call, FORWARD_ANSWERED);
    cr_expect_eq(call->forward.answer.status, 200);
    drop(call);
    cr_expect_eq(peer_requests(stage.peer), 2);
    cr_expect_eq(peer_connections(stage.peer), 2);
}

/* ---- cancelling --------------------------------------------------------------------------------------------------- */

Test(proxy, hangs_up_when_cancelled)
{
    MEET(.after = PEER_STALLS);
    struct call *call = make_call("GET", "/");
    submit(call);
    cr_assert(peer_await_requests(stage.peer, 1));
    proxy_cancel(stage.proxy, &call->forward);
    proxy_cancel(stage.proxy, &call->forward);
    expect(call, FORWARD_CANCELLED);
    cr_expect(peer_await_hang_ups(stage.peer, 1));
    proxy_cancel(stage.proxy, &call->forward);
    stop_proxy();
    cr_expect_eq(call->done, 1);
    drop(call);
    set_up();
}

Test(proxy, cancels_what_has_not_begun)
{
    char base[64];
    int port = peer_ignores(base);
    for (size_t i = 0; i < 100; i++) {
        struct call *call = make_call("GET", "/");
        call->forward.base = base;
        submit(call);
        proxy_cancel(stage.proxy, &call->forward);
        expect(call, FORWARD_CANCELLED);
        drop(call);
    }
    close(port);
}

Test(proxy, calls_done_once_when_cancelling_meets_the_answer)
{
    enum { CALLS = 3000 };
    static struct call *calls[CALLS];
    size_t answered = 0;
    MEET(.answer = SHORT_ANSWER, .after = PEER_GOES_ON);
    for (size_t i = 0; i < CALLS; i++) {
        submit(calls[i] = make_call("GET", "/"));
        if (i >= 10) {
            proxy_cancel(stage.proxy, &calls[i - 10]->forward);
        }
    }
    for (size_t i = 0; i < CALLS; i++) {
        enum forward_outcome outcome = await(calls[i]);
        cr_expect(outcome == FORWARD_ANSWERED || outcome == FORWARD_CANCELLED, "%s: %s",
                  outcome_name(outcome), calls[i]->forward.failure);
        answered += outcome == FORWARD_ANSWERED;
    }
    cr_expect_geq(answered, 10);
    cr_expect_eq(proxy_in_flight(stage.proxy), 0);
    stop_proxy();
    for (size_t i = 0; i < CALLS; i++) {
        cr_expect_eq(calls[i]->done, 1);
        drop(calls[i]);
    }
    set_up();
}

Test(proxy, cancels_what_is_under_way_when_it_stops)
{
    MEET(.after = PEER_STALLS);
    struct call *begun = make_call("GET", "/"), *just_submitted = make_call("GET", "/");
    submit(begun);
    cr_assert(peer_await_requests(stage.peer, 1));
    submit(just_submitted);
    stop_proxy();
    expect(begun, FORWARD_CANCELLED);
    expect(just_submitted, FORWARD_CANCELLED);
    cr_expect(peer_await_hang_ups(stage.peer, 1));
    drop(begun);
    drop(just_submitted);
    set_up();
}

/* ---- forsaking ---------------------------------------------------------------------------------------------------- */

struct forsaking {
    struct uvloop_task task;
    const char *base;
    int64_t partition, before_us;
    atomic_bool over;
};

static void run_forsaking(struct uvloop_task *task)
{
    struct forsaking *forsaking = (struct forsaking *)task;
    proxy_forsake(stage.proxy, forsaking->base, forsaking->partition, forsaking->before_us);
    atomic_store(&forsaking->over, true);
}

static void forsake(const char *base, int64_t partition, int64_t before_us)
{
    struct forsaking forsaking = {{.run = run_forsaking}, base, partition, before_us, false};
    cr_assert(uvloop_post(stage.loop, &forsaking.task));
    while (!atomic_load(&forsaking.over)) {
        usleep(100);
    }
}

Test(proxy, gives_up_on_who_was_asked_as_leader_before_another_led)
{
    MEET(.after = PEER_STALLS);
    const char *base = peer_base(stage.peer);
    struct call *first = make_call("POST", "/"), *other = make_call("POST", "/");
    first->forward.partition = 3;
    other->forward.partition = 4;
    submit(first);
    submit(other);
    cr_assert(peer_await_requests(stage.peer, 2));
    int64_t now_us = clock_monotonic_us() + 1;
    forsake(base, 3, first->forward.submitted_us); /* it was asked since then */
    forsake("http://127.0.0.1:1", 3, now_us);
    forsake(base, 5, now_us);
    cr_expect_eq(proxy_in_flight(stage.proxy), 2);
    forsake(base, 3, now_us);
    expect(first, FORWARD_UNKNOWN);
    cr_expect_eq(proxy_in_flight(stage.proxy), 1);
    cr_expect(peer_await_hang_ups(stage.peer, 1));
    proxy_cancel(stage.proxy, &other->forward);
    expect(other, FORWARD_CANCELLED);
    drop(first);
    drop(other);
}

/* ---- bounds ------------------------------------------------------------------------------------------------------- */

/* Of `calls` that all stay unanswered, how many are not sent. */
static size_t refused(const char *const *bases, size_t count)
{
    struct call *calls[16];
    size_t refusals = 0;
    for (size_t i = 0; i < count; i++) {
        calls[i] = make_call("GET", "/");
        calls[i]->forward.base = bases[i];
        submit(calls[i]);
    }
    struct call *last =
        make_call("", "/"); /* refused in any case, after all of these were looked at */
    submit(last);
    expect(last, FORWARD_NOT_SENT);
    drop(last);
    for (size_t i = 0; i < count; i++) {
        proxy_cancel(stage.proxy, &calls[i]->forward);
        refusals += await(calls[i]) == FORWARD_NOT_SENT;
        drop(calls[i]);
    }
    return refusals;
}

Test(proxy, bounds_what_is_under_way, .init = NULL)
{
    start_with((struct proxy_limits){.forwards = 4, .peer_forwards = 3});
    MEET(.after = PEER_STALLS);
    struct peer *other = peer_start((struct peer_script){.after = PEER_STALLS});
    const char *a = peer_base(stage.peer), *b = peer_base(other);
    for (size_t again = 0; again < 2; again++) {
        cr_expect_eq(refused((const char *const[]){a, a, a, a, a}, 5), 2);
        cr_expect_eq(refused((const char *const[]){a, b, a, b}, 4), 0);
        cr_expect_eq(refused((const char *const[]){a, b, a, b, b, a}, 6), 2);
        cr_expect_eq(refused((const char *const[]){a, a, a, a, b}, 5), 1);
    }
    stop_proxy();
    peer_stop(other);
    set_up();
}
