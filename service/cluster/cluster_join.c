#include "service/cluster/cluster_state.h"

#include <stdio.h>
#include <stdlib.h>

enum { JOIN_MS_MAX = 30000, JOIN_PAUSE_MS = 300 };

/* Asks the member whose HTTP address it was told where its peer port is: a header of its answers says so. */
struct asked_ring {
    struct forward forward;
    struct errand *errand;
    struct arena arena;
    char base[CONFIG_HOST_BYTES + 16];
};

static void on_ring_answer(struct forward *forward)
{
    struct asked_ring *asked =
        (struct asked_ring *)((char *)forward - offsetof(struct asked_ring, forward));
    struct errand *errand = asked->errand;
    struct cluster *cluster = errand->cluster;
    bool found = false;
    for (size_t i = 0; forward->outcome == FORWARD_ANSWERED && i < forward->answer.header_count;
         i++) {
        const struct proxy_header *header = &forward->answer.headers[i];
        if (proxy_header_is(header->name, "Ringhold-Peer")) {
            snprintf(cluster->join_peer, sizeof cluster->join_peer, "%.*s", (int)header->value.len,
                     header->value.at);
            found = true;
        }
    }
    if (!found) {
        snprintf(errand->why, CLUSTER_WHY_BYTES,
                 "%.280s is not the HTTP address of a cluster's member (%s); pass one with --join",
                 cluster->config.join,
                 forward->outcome == FORWARD_ANSWERED ? "it is no member" : forward->failure);
    }
    arena_free(&asked->arena);
    free(asked);
    errand_over(errand, found);
}

static void ask_ring(struct errand *errand)
{
    struct asked_ring *asked = calloc(1, sizeof *asked);
    if (asked == NULL) {
        snprintf(errand->why, CLUSTER_WHY_BYTES, "out of memory");
        errand_over(errand, false);
        return;
    }
    asked->errand = errand;
    snprintf(asked->base, sizeof asked->base, "http://%s", errand->cluster->config.join);
    asked->forward = (struct forward){.base = asked->base,
                                      .method = "GET",
                                      .target = TEXT("/v1/ring"),
                                      .deadline_us = clock_monotonic_us() + 3000000,
                                      .arena = &asked->arena,
                                      .done = on_ring_answer};
    proxy_submit(errand->cluster->proxy, &asked->forward);
}

static bool take_answer(struct cluster *cluster, struct text bytes, char *why)
{
    struct arena arena = ARENA_EMPTY;
    struct answer answer;
    const struct table *table = NULL;
    if (!answer_decode(bytes, &answer)) {
        snprintf(why, CLUSTER_WHY_BYTES,
                 "the member that was asked answers what is not understood");
    } else if (answer.kind == ANSWER_ELSEWHERE) {
        snprintf(why, CLUSTER_WHY_BYTES, "the cluster has no leader now");
        /* Who knows of none is not asked for ever: without words, the member of --join is asked again. */
        size_t len = answer.words.len < sizeof cluster->join_peer ? answer.words.len : 0;
        snprintf(cluster->join_peer, sizeof cluster->join_peer, "%.*s", (int)len,
                 len > 0 ? answer.words.at : "");
    } else if (answer.kind == ANSWER_REFUSED) {
        snprintf(why, CLUSTER_WHY_BYTES, "the cluster does not take it: %.*s",
                 (int)answer.words.len, answer.words.at);
        cluster->refused = true;
    } else if (answer.seed.len == CLUSTER_SEED_BYTES) {
        table = table_decode(answer.table, &arena);
    }
    if (table != NULL) {
        memcpy(cluster->uuid, table->uuid, sizeof cluster->uuid);
        memcpy(cluster->seed, answer.seed.at, sizeof cluster->seed);
        cluster->config.partitions = table->partition_count;
        cluster->config.replicas = table->replica_count;
        cluster->table = *table;
        cluster->table.epoch = 0; /* only the board's counts; this one says where the others are */
    }
    arena_free(&arena);
    return table != NULL;
}

static void on_join_answer(void *context, enum peer_verdict verdict, struct text answer)
{
    struct errand *errand = context;
    if (verdict != PEER_ACCEPTED) {
        snprintf(errand->why, CLUSTER_WHY_BYTES, "%.270s does not let this node in: %s",
                 errand->cluster->join_peer, peer_verdict_word(verdict));
        errand->cluster->refused = verdict == PEER_WRONG_SECRET;
        errand->cluster->join_peer[0] = '\0';
        errand_over(errand, false);
        return;
    }
    errand_over(errand, take_answer(errand->cluster, answer, errand->why));
}

static void ask_to_join(struct errand *errand)
{
    struct cluster *cluster = errand->cluster;
    struct arena arena = ARENA_EMPTY;
    struct ask ask = {
        .kind = ASK_STEP,
        .step = {.kind = STEP_JOIN, .member = cluster->node, .facts = cluster->facts}};
    struct text bytes = ask_encode(&ask, &arena);
    char host[MEMBER_ADDRESS_BYTES_MAX + 1];
    uint16_t port;
    bool asked = text_given(bytes) && cluster_split_peer(cluster->join_peer, host, &port) &&
                 transport_ask(cluster->transport, 0, host, port, bytes, on_join_answer, errand);
    arena_free(&arena);
    if (!asked) {
        snprintf(errand->why, CLUSTER_WHY_BYTES, "%.270s cannot be asked", cluster->join_peer);
        errand_over(errand, false);
    }
}

bool cluster_join(struct cluster *cluster, char *why)
{
    bool joined = false;
    for (int64_t waited = 0; !joined && !cluster->refused && waited < JOIN_MS_MAX;
         waited += JOIN_PAUSE_MS) {
        joined = (cluster->join_peer[0] != '\0' || go_on_errand(cluster, ask_ring, why)) &&
                 go_on_errand(cluster, ask_to_join, why);
        if (!joined) {
            cluster_wait_ms(JOIN_PAUSE_MS);
        }
    }
    return joined;
}
