#include "service/clock.h"
#include "service/cluster/cluster_state.h"
#include "service/cluster/codec.h"

#include <signal.h>
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

struct joining {
    struct cluster *cluster;
    struct inquiry inquiry;
    struct arena arena; /* of the answer */
    struct answer answer;
    bool final; /* asking again would be of no use */
    char *why;
};

/* False, with a sentence. */
static bool ask(struct joining *j, const struct ask *ask)
{
    char words[INQUIRY_WHY_BYTES];
    enum inquired inquired = inquiry_ask(&j->inquiry, ask, &j->arena, &j->answer, words);
    bool refused = inquired == INQUIRED_REFUSED;
    snprintf(j->why, CLUSTER_WHY_BYTES, "%s%.400s", refused ? "the cluster does not take it: " : "",
             words);
    if (inquired == INQUIRED_UNREACHABLE || inquired == INQUIRED_NO_LEADER) {
        j->inquiry.peer[0] = '\0';
    }
    j->final = refused || inquired == INQUIRED_WRONG_SECRET;
    return inquired == INQUIRED_DONE;
}

/* Before anything is changed by who would be refused afterwards. */
static bool check(struct joining *j)
{
    struct ask question = {.kind = ASK_STANDING, .member = j->cluster->node};
    if (!ask(j, &question)) {
        return false;
    }
    const struct table *table = table_decode(j->answer.table, &j->arena);
    j->final = table != NULL && !cluster_check_sizes(&j->cluster->config, table->partition_count,
                                                     table->replica_count, j->why);
    return !j->final;
}

static bool join(struct joining *j)
{
    struct ask step = {
        .kind = ASK_STEP,
        .step = {.kind = STEP_JOIN, .member = j->cluster->node, .facts = j->cluster->facts}};
    return ask(j, &step) && take_answer(j->cluster, &j->answer, &j->arena, j->why);
}

/* Signals are blocked, for who waits for them once the instance serves. */
static bool told_to_stop(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

bool cluster_join(struct cluster *cluster, char *why)
{
    struct joining joining = {
        .cluster = cluster, .inquiry = cluster_inquiry(cluster), .arena = ARENA_EMPTY, .why = why};
    struct inquiry *inquiry = &joining.inquiry;
    char base[CONFIG_HOST_BYTES + 16];
    bool joined = false;
    snprintf(base, sizeof base, "http://%s", cluster->config.join);
    int64_t until_us = clock_monotonic_us() + (int64_t)JOIN_MS_MAX * 1000;
    while (!joined && !joining.final && clock_monotonic_us() < until_us) {
        joined = (inquiry->peer[0] != '\0' || inquiry_find(inquiry, base, why)) &&
                 check(&joining) && join(&joining);
        if (!joined && told_to_stop()) {
            snprintf(why, CLUSTER_WHY_BYTES, "it was told to stop before it had joined");
            joining.final = true;
        } else if (!joined && !joining.final) {
            cluster_wait_ms(JOIN_PAUSE_MS);
        }
        arena_clear(&joining.arena);
    }
    arena_free(&joining.arena);
    return joined;
}
