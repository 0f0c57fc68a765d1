#include "service/cluster/inquiry.h"

#include "service/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { HOPS_MAX = 4, HTTP_MS = 3000 };

/* ---- waiting for the loop ----------------------------------------------------------------------------------------- */

/* What the loop's thread does for ours, which waits. */
struct wait {
    struct uvloop_task task;
    struct inquiry *inquiry;
    struct text request;
    struct arena *arena; /* for the answer; ours, but for as long as we wait */
    struct forward forward;
    enum peer_verdict verdict;
    struct text answer;
    pthread_mutex_t mu;
    pthread_cond_t over;
    bool done; /* guarded by mu */
};

static void wait_over(struct wait *wait)
{
    pthread_mutex_lock(&wait->mu);
    wait->done = true;
    pthread_cond_signal(&wait->over);
    pthread_mutex_unlock(&wait->mu);
}

static void wait_for(struct wait *wait)
{
    pthread_mutex_lock(&wait->mu);
    while (!wait->done) {
        pthread_cond_wait(&wait->over, &wait->mu);
    }
    pthread_mutex_unlock(&wait->mu);
}

static void say_why(char why[INQUIRY_WHY_BYTES], const char *of, const char *words)
{
    snprintf(why, INQUIRY_WHY_BYTES, "%.280s %.200s", of, words);
}

/* ---- HTTP --------------------------------------------------------------------------------------------------------- */

static void on_http_answer(struct forward *forward)
{
    wait_over((struct wait *)((char *)forward - offsetof(struct wait, forward)));
}

bool inquiry_get(struct inquiry *inquiry, const char *base, struct text target, struct arena *arena,
                 struct proxy_answer *ret, char ret_why[INQUIRY_WHY_BYTES])
{
    struct wait wait = {.mu = PTHREAD_MUTEX_INITIALIZER,
                        .over = PTHREAD_COND_INITIALIZER,
                        .forward = {.base = base,
                                    .method = "GET",
                                    .target = target,
                                    .deadline_us = clock_monotonic_us() + HTTP_MS * 1000,
                                    .arena = arena,
                                    .done = on_http_answer}};
    proxy_submit(inquiry->proxy, &wait.forward);
    wait_for(&wait);
    if (wait.forward.outcome != FORWARD_ANSWERED) {
        snprintf(ret_why, INQUIRY_WHY_BYTES, "%s", wait.forward.failure);
        return false;
    }
    *ret = wait.forward.answer;
    return true;
}

static void take_header(const struct proxy_answer *answer, const char *name, char *ret, size_t room)
{
    ret[0] = '\0';
    for (size_t i = 0; i < answer->header_count; i++) {
        if (proxy_header_is(answer->headers[i].name, name)) {
            snprintf(ret, room, "%.*s", (int)answer->headers[i].value.len,
                     answer->headers[i].value.at);
        }
    }
}

bool inquiry_find(struct inquiry *inquiry, const char *base, char ret_why[INQUIRY_WHY_BYTES])
{
    struct arena arena = ARENA_EMPTY;
    struct proxy_answer answer;
    char why[INQUIRY_WHY_BYTES] = "it is no member";
    inquiry->peer[0] = '\0';
    if (inquiry_get(inquiry, base, TEXT("/v1/ring"), &arena, &answer, why)) {
        take_header(&answer, "Ringhold-Peer", inquiry->peer, sizeof inquiry->peer);
        take_header(&answer, "Ringhold-Node", inquiry->name, sizeof inquiry->name);
    }
    arena_free(&arena);
    if (inquiry->peer[0] == '\0') {
        snprintf(ret_why, INQUIRY_WHY_BYTES,
                 "%.270s is not the HTTP address of a cluster's member (%.180s)",
                 strncmp(base, "http://", 7) == 0 ? base + 7 : base, why);
    }
    return inquiry->peer[0] != '\0';
}

/* ---- the peer port ------------------------------------------------------------------------------------------------ */

static void on_peer_answer(void *context, enum peer_verdict verdict, struct text answer)
{
    struct wait *wait = context;
    wait->verdict = verdict;
    wait->answer = verdict == PEER_ACCEPTED ? arena_copy(wait->arena, answer) : TEXT_ABSENT;
    wait_over(wait);
}

static void ask_peer(struct uvloop_task *task)
{
    struct wait *wait = (struct wait *)((char *)task - offsetof(struct wait, task));
    struct inquiry *inquiry = wait->inquiry;
    char host[MEMBER_ADDRESS_BYTES_MAX + 1];
    uint16_t port;
    if (!member_split_peer(inquiry->peer, host, &port) ||
        !transport_ask(inquiry->transport, 0, host, port, wait->request, on_peer_answer, wait)) {
        on_peer_answer(wait, PEER_UNREACHABLE, TEXT_ABSENT);
    }
}

/* One question to one peer. */
static enum peer_verdict ask_once(struct inquiry *inquiry, struct text request, struct arena *arena,
                                  struct text *ret)
{
    struct wait wait = {.task = {.run = ask_peer},
                        .inquiry = inquiry,
                        .request = request,
                        .arena = arena,
                        .mu = PTHREAD_MUTEX_INITIALIZER,
                        .over = PTHREAD_COND_INITIALIZER};
    if (!text_given(request)) {
        return PEER_OUT_OF_MEMORY;
    }
    if (!uvloop_post(inquiry->loop, &wait.task)) {
        return PEER_CANCELLED;
    }
    wait_for(&wait);
    *ret = wait.answer;
    return wait.verdict;
}

static enum inquired turned_away(const struct inquiry *inquiry, enum peer_verdict verdict,
                                 char why[INQUIRY_WHY_BYTES])
{
    snprintf(why, INQUIRY_WHY_BYTES, "%.270s does not let this node in: %s", inquiry->peer,
             peer_verdict_word(verdict));
    return verdict == PEER_WRONG_SECRET    ? INQUIRED_WRONG_SECRET
           : verdict == PEER_WRONG_CLUSTER ? INQUIRED_WRONG_CLUSTER
           : verdict == PEER_WRONG_NODE    ? INQUIRED_OURSELVES
                                           : INQUIRED_UNREACHABLE;
}

enum inquired inquiry_ask(struct inquiry *inquiry, const struct ask *ask, struct arena *arena,
                          struct answer *ret, char ret_why[INQUIRY_WHY_BYTES])
{
    struct text request = ask_encode(ask, arena), bytes = TEXT_ABSENT;
    char first[sizeof inquiry->peer];
    memcpy(first, inquiry->peer, sizeof first);
    for (int hop = 0; hop < HOPS_MAX; hop++) {
        enum peer_verdict verdict = ask_once(inquiry, request, arena, &bytes);
        if (verdict != PEER_ACCEPTED) {
            enum inquired inquired = turned_away(inquiry, verdict, ret_why);
            memcpy(inquiry->peer, first, sizeof first); /* it knew no better; by and by it will */
            return inquired;
        }
        if (!answer_decode(bytes, ret)) {
            say_why(ret_why, inquiry->peer, "answers what is not understood");
            return INQUIRED_UNREACHABLE;
        }
        if (ret->kind == ANSWER_REFUSED) {
            snprintf(ret_why, INQUIRY_WHY_BYTES, "%.*s", (int)ret->words.len, ret->words.at);
            return INQUIRED_REFUSED;
        }
        if (ret->kind == ANSWER_DONE) {
            return INQUIRED_DONE;
        }
        if (ret->words.len == 0 || ret->words.len >= sizeof inquiry->peer) {
            break;
        }
        snprintf(inquiry->peer, sizeof inquiry->peer, "%.*s", (int)ret->words.len, ret->words.at);
    }
    snprintf(ret_why, INQUIRY_WHY_BYTES, "the cluster has no leader now");
    return INQUIRED_NO_LEADER;
}
