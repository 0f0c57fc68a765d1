#include "service/commands/commands.h"
#include "service/commands/visitor.h"

#include <stdio.h>

/* The member renders it: what there is to be seen is its own business. */
static bool show(struct inquiry *inquiry, const struct config *config, char *why)
{
    struct arena arena = ARENA_EMPTY;
    struct proxy_answer answer;
    char words[INQUIRY_WHY_BYTES];
    struct text target =
        config->json ? TEXT("/v1/ring/status?format=json") : TEXT("/v1/ring/status?format=text");
    bool answered = inquiry_get(inquiry, config->url, target, &arena, &answer, words);
    bool good = answered && answer.status == 200;
    if (good) {
        printf("%.*s%s", (int)answer.body.len, answer.body.at, config->json ? "\n" : "");
    } else if (answered) {
        snprintf(why, INQUIRY_WHY_BYTES, "%.200s answers %d: %.*s", config->url, answer.status,
                 answer.body.len < 250 ? (int)answer.body.len : 250, answer.body.at);
    } else {
        snprintf(why, INQUIRY_WHY_BYTES,
                 "%.250s does not answer (%.200s); name another member with --url", config->url,
                 words);
    }
    arena_free(&arena);
    return good;
}

int command_ring(const struct config *config)
{
    struct visitor *visitor = NULL;
    char why[INQUIRY_WHY_BYTES];
    if (!visitor_open(NULL, &visitor, why)) {
        return command_failed(why);
    }
    bool shown = show(visitor_inquiry(visitor), config, why);
    visitor_close(visitor);
    return shown ? EXIT_DONE : command_failed(why);
}
