/*
 * An answer as it comes in: lines of its head, then pieces of its body, gathered in an arena within the bounds of
 * db/limits.h (PROXY_ANSWER_…). One thread; knows no library and no socket.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_PROXY_ANSWER_H
#define RINGHOLD_SERVICE_CLUSTER_PROXY_ANSWER_H

#include "db/arena.h"
#include "service/cluster/proxy_headers.h"

/* The answer that a forward gets. All of it lives in the forward's arena; its texts are NUL-terminated behind their
   lengths. */
struct proxy_answer {
    int status;
    struct proxy_header *headers; /* those that travel, as they came */
    size_t header_count;
    struct text body; /* empty where there was none */
};

struct proxy_gathering {
    struct arena *arena;
    struct proxy_answer answer;
    size_t head_bytes;
    bool head_over;
    bool delimited;     /* the head says where the body ends */
    const char *broken; /* why the answer cannot be used, static; NULL: it can */
    char *body;
    size_t body_len, body_room;
    size_t body_told; /* by Content-Length; 0 where it was not */
};

/* Takes the next line of the head, with its line end. A new status line begins a new answer: the one before was an
   interim one (1xx). False when the answer has become unusable; `broken` says why. */
bool proxy_gathering_line(struct proxy_gathering *g, struct text line);
/* Takes the next piece of the body. False likewise. */
bool proxy_gathering_body(struct proxy_gathering *g, struct text piece);
/* At its end: true when the answer is complete as far as can be told, with g->answer ready; false as above.
   `bodiless`: the request was one whose answer has no body (HEAD). */
bool proxy_gathering_end(struct proxy_gathering *g, bool bodiless);

/* The answer's header of that name, absent where it has none. */
struct text proxy_answer_field(const struct proxy_answer *answer, const char *name);

#endif
