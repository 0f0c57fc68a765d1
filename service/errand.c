#include "service/errand.h"

#include "db/codec.h"
#include "handlers/errand.h"
#include "service/cluster/cluster.h"
#include "service/cluster/proxy.h"

#include <stddef.h>
#include <stdlib.h>

enum { FIELDS = 5 };

struct errand {
    struct forward forward;
    struct engine *engine;
    struct job *job;
    int64_t partition;
    struct cluster_owner owner;
    struct proxy_header fields[FIELDS];
    struct arena arena;
};

static struct result failed(const struct errand *errand, enum status status)
{
    return (struct result){.status = status, .stamp = errand->job->command->stamp};
}

static struct result outcome_of(struct errand *errand)
{
    const struct proxy_answer *answer = &errand->forward.answer;
    struct arena *arena = errand->job->arena;
    bool elsewhere = errand->forward.outcome == FORWARD_ANSWERED &&
                     answer->status == status_info(STATUS_NOT_OWNER)->http;
    if (elsewhere || errand->forward.outcome == FORWARD_NOT_SENT) {
        cluster_hint(errand->engine->cluster, errand->partition,
                     elsewhere ? proxy_answer_field(answer, "Ringhold-Owner") : TEXT_ABSENT);
        return failed(errand, STATUS_NOT_OWNER);
    }
    if (errand->forward.outcome == FORWARD_ANSWERED) {
        struct result result =
            errand_result(arena, answer->status, arena_copy(arena, answer->body));
        result.replayed = text_given(proxy_answer_field(answer, "Idempotent-Replayed"));
        return result;
    }
    return failed(errand, STATUS_OUTCOME_UNKNOWN);
}

static void on_answer(struct forward *forward)
{
    struct errand *errand = (struct errand *)((char *)forward - offsetof(struct errand, forward));
    struct job *job = errand->job;
    *job->result = outcome_of(errand);
    arena_free(&errand->arena);
    free(errand);
    job->done(job);
}

static bool fill(struct errand *errand, struct errand_terms terms)
{
    struct arena *arena = &errand->arena;
    struct text body = command_encode(errand->job->command, arena);
    errand->fields[0] = (struct proxy_header){TEXT("Ringhold-Forwarded"),
                                              cluster_forward_token(errand->engine->cluster)};
    errand->fields[1] = (struct proxy_header){
        TEXT("Ringhold-Partition"), arena_format(arena, "%lld", (long long)errand->partition)};
    errand->fields[2] = (struct proxy_header){TEXT("Ringhold-Errand"), TEXT("1")};
    size_t count = 3;
    if (text_given(terms.watched)) {
        errand->fields[count++] = (struct proxy_header){TEXT("Ringhold-Watch"), terms.watched};
        errand->fields[count++] = (struct proxy_header){
            TEXT("Ringhold-Watcher"), text_of(cluster_url(errand->engine->cluster))};
    }
    errand->forward = (struct forward){.base = errand->owner.url,
                                       .method = "POST",
                                       .target = TEXT("/errand"),
                                       .headers = errand->fields,
                                       .header_count = count,
                                       .body = body,
                                       .deadline_us = clock_monotonic_us() + terms.ms_max * 1000,
                                       .partition = errand->partition,
                                       .arena = arena,
                                       .done = on_answer};
    return text_given(body) && !arena->exhausted;
}

enum status errand_submit(struct engine *engine, int64_t partition, struct job *job,
                          struct errand_terms terms)
{
    struct errand *errand = malloc(sizeof *errand);
    if (errand == NULL) {
        return STATUS_OUT_OF_MEMORY;
    }
    *errand =
        (struct errand){.engine = engine, .job = job, .partition = partition, .arena = ARENA_EMPTY};
    enum status status = STATUS_OK;
    if (!cluster_owner_of(engine->cluster, partition, &errand->owner) || errand->owner.self) {
        status = STATUS_NOT_OWNER;
    } else if (!fill(errand, terms)) {
        status = STATUS_OUT_OF_MEMORY;
    }
    if (status != STATUS_OK) {
        arena_free(&errand->arena);
        free(errand);
        return status;
    }
    proxy_submit(cluster_proxy(engine->cluster), &errand->forward);
    return STATUS_OK;
}
