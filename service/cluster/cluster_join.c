#include "service/cluster/cluster_state.h"
#include "service/cluster/codec.h"

#include <stdio.h>

enum { JOIN_MS_MAX = 30000, JOIN_PAUSE_MS = 300 };

/* What the cluster that took us in says of itself. */
static bool take_answer(struct cluster *cluster, const struct answer *answer, struct arena *arena,
                        char *why)
{
    const struct table *table =
        answer->seed.len == CLUSTER_SEED_BYTES ? table_decode(answer->table, arena) : NULL;
    if (table == NULL) {
        snprintf(why, CLUSTER_WHY_BYTES,
                 "the member that was asked answers what is not understood");
        return false;
    }
    memcpy(cluster->uuid, table->uuid, sizeof cluster->uuid);
    memcpy(cluster->seed, answer->seed.at, sizeof cluster->seed);
    cluster->config.partitions = table->partition_count;
    cluster->config.replicas = table->replica_count;
    cluster->table = *table;
    cluster->table.epoch = 0; /* only the board's counts; this one says where the others are */
    return true;
}

/* *ret_final: asking again would be of no use. */
static bool ask_to_join(struct cluster *cluster, struct inquiry *inquiry, char *why,
                        bool *ret_final)
{
    struct arena arena = ARENA_EMPTY;
    struct answer answer;
    char words[INQUIRY_WHY_BYTES];
    struct ask ask = {
        .kind = ASK_STEP,
        .step = {.kind = STEP_JOIN, .member = cluster->node, .facts = cluster->facts}};
    enum inquired inquired = inquiry_ask(inquiry, &ask, &arena, &answer, words);
    bool refused = inquired == INQUIRED_REFUSED;
    snprintf(why, CLUSTER_WHY_BYTES, "%s%.400s", refused ? "the cluster does not take it: " : "",
             words);
    bool joined = inquired == INQUIRED_DONE && take_answer(cluster, &answer, &arena, why);
    if (inquired ==
        INQUIRED_UNREACHABLE) { /* who was named is gone: perhaps another is known by now */
        inquiry->peer[0] = '\0';
    }
    *ret_final = refused || inquired == INQUIRED_WRONG_SECRET;
    arena_free(&arena);
    return joined;
}

bool cluster_join(struct cluster *cluster, char *why)
{
    struct inquiry inquiry = cluster_inquiry(cluster);
    char base[CONFIG_HOST_BYTES + 16];
    bool joined = false, final = false;
    snprintf(base, sizeof base, "http://%s", cluster->config.join);
    for (int64_t waited = 0; !joined && !final && waited < JOIN_MS_MAX; waited += JOIN_PAUSE_MS) {
        joined = (inquiry.peer[0] != '\0' || inquiry_find(&inquiry, base, why)) &&
                 ask_to_join(cluster, &inquiry, why, &final);
        if (!joined && !final) {
            cluster_wait_ms(JOIN_PAUSE_MS);
        }
    }
    return joined;
}
