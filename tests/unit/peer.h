/*
 * Another instance as a test needs it: listens on loopback, answers the first requests of each connection well, then
 * does what it was told. Threads of its own; ends the process when the machine will not play along.
 */
#ifndef RINGHOLD_TESTS_UNIT_PEER_H
#define RINGHOLD_TESTS_UNIT_PEER_H

#include "db/text.h"

enum peer_after { PEER_STALLS, PEER_CLOSES, PEER_RESETS, PEER_GOES_ON };

struct peer_script {
    size_t well;           /* so many requests of a connection are answered with 200 "ok" first */
    struct text answer;    /* then this is written */
    size_t zeroes;         /* and so many bytes more */
    enum peer_after after; /* GOES_ON: reads the next request and answers likewise */
    struct text late;      /* written some time after `answer`, unasked */
};

struct peer;

struct peer *peer_start(struct peer_script script);
/* Hangs up on everybody. */
void peer_stop(struct peer *peer);
/* "http://127.0.0.1:PORT" */
const char *peer_base(const struct peer *peer);

size_t peer_connections(struct peer *peer); /* so far */
size_t peer_requests(struct peer *peer);    /* read completely, so far */
/* Waits until so many clients have hung up on it. False when they have not within some seconds. */
bool peer_await_hang_ups(struct peer *peer, size_t count);
/* Waits likewise until so many requests have been read. */
bool peer_await_requests(struct peer *peer, size_t count);
/* The latest request, as it was read. Until the next one. */
struct text peer_request(struct peer *peer);

/* A base that refuses connections, and one where they are never made; the socket is to be closed. */
int peer_refuses(char base[64]);
int peer_ignores(char base[64]);

#endif
