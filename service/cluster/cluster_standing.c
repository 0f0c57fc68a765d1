/*
 * Whether this node is still a member. One that was taken out may not have heard of it: it was down, or the others ended
 * the group with it before the last entry came through. It asks group 0's leader, who makes sure that it still leads:
 *
 *     at the start                                      ─► refused, with what to do
 *     a report was refused, or nobody leads for a while ─► the mark is left in the data directory, and the process ends
 *
 * And whether another process has this node's identity: the table says where the node is, and who answers there is asked.
 */
#include "service/cluster/cluster_state.h"
#include "service/cluster/codec.h"
#include "service/cluster/identity.h"
#include "service/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { DOUBT_MS = 2000, START_MS_MAX = 3000 };

/* Whether the table, which the leader has made sure of, has this node no more. */
static bool says_gone(const struct cluster *cluster, const struct table *table)
{
    return table != NULL && memcmp(table->uuid, cluster->uuid, sizeof table->uuid) == 0 &&
           table_find(table, cluster->node) < 0;
}

/* ---- while it runs ------------------------------------------------------------------------------------------------ */

static void go(struct cluster *cluster)
{
    char why[CLUSTER_WHY_BYTES];
    if (!identity_mark(cluster->data_dir, MARK_LEFT, true, why)) {
        LOG(LOG_ERROR, "left-not-noted", LOG_STRING("why", why));
    }
    LOG(LOG_WARN, "left", LOG_STRING("why", "this member was taken out of its cluster"));
    cluster->left = true;
    cluster->hooks.left(cluster->hooks.context);
}

static void on_standing(void *context, enum peer_verdict verdict, struct text bytes)
{
    struct cluster *cluster = context;
    struct arena arena = ARENA_EMPTY;
    struct answer answer;
    cluster->asks_standing = false;
    if (verdict == PEER_ACCEPTED && answer_decode(bytes, &answer) && answer.kind == ANSWER_DONE) {
        cluster->doubted = false;
        if (!cluster->stopping && says_gone(cluster, table_decode(answer.table, &arena))) {
            go(cluster);
        }
    }
    arena_free(&arena);
}

/* One after the other, until one leads. */
static void ask_next(struct cluster *cluster)
{
    struct arena arena = ARENA_EMPTY;
    struct ask ask = {.kind = ASK_STANDING, .member = cluster->node};
    char host[MEMBER_ADDRESS_BYTES_MAX + 1];
    uint16_t port;
    if (cluster->table.member_count == 0) {
        return; /* whoever else is in, it is not known yet */
    }
    const struct member *next =
        &cluster->table.members[cluster->standing_next++ % cluster->table.member_count];
    struct text bytes = ask_encode(&ask, &arena);
    cluster->asks_standing =
        next->id != cluster->node && text_given(bytes) &&
        member_split_peer(next->facts.peer, host, &port) &&
        transport_ask(cluster->transport, next->id, host, port, bytes, on_standing, cluster);
    arena_free(&arena);
}

void standing_turn(struct cluster *cluster)
{
    int64_t now_us = clock_monotonic_us();
    if (council_status(cluster).leader != 0 || cluster->standing_us == 0) {
        cluster->standing_us = now_us;
    }
    bool alone = now_us - cluster->standing_us > (int64_t)DOUBT_MS * 1000;
    if ((cluster->doubted || alone) && !cluster->asks_standing && !cluster->left) {
        ask_next(cluster);
    }
}

void standing_doubt(struct cluster *cluster)
{
    cluster->doubted = true;
}

/* ---- at the start ------------------------------------------------------------------------------------------------- */

static bool refuse_left(const struct cluster *cluster, char *why)
{
    snprintf(why, CLUSTER_WHY_BYTES,
             "%.200s is of a member that was taken out of its cluster, and nothing in it is needed "
             "any more; to join again, pass an empty directory with --data, and --join HOST:PORT",
             cluster->data_dir);
    return false;
}

/* Whoever is where the table has us, if that is not where we are. */
static bool check_twin(const struct cluster *cluster, struct inquiry *inquiry,
                       const struct table *table, char *why)
{
    struct arena arena = ARENA_EMPTY;
    struct ask ask = {.kind = ASK_STANDING, .member = cluster->node};
    struct answer answer;
    char words[INQUIRY_WHY_BYTES];
    int place = table_find(table, cluster->node);
    const char *peer = place < 0 ? cluster->facts.peer : table->members[place].facts.peer;
    bool twin = false;
    if (strcmp(peer, cluster->facts.peer) != 0) {
        snprintf(inquiry->peer, sizeof inquiry->peer, "%s", peer);
        twin = inquiry_ask(inquiry, &ask, &arena, &answer, words) == INQUIRED_OURSELVES;
    }
    if (twin) {
        snprintf(why, CLUSTER_WHY_BYTES,
                 "a member with the identity of %.150s runs at %.150s: this is a copy of its data "
                 "directory; pass an empty one with --data to be a member of its own",
                 cluster->data_dir, peer);
    }
    arena_free(&arena);
    return !twin;
}

static bool take_standing(struct cluster *cluster, struct inquiry *inquiry,
                          const struct answer *answer, struct arena *arena, char *why)
{
    const struct table *table = table_decode(answer->table, arena);
    if (says_gone(cluster, table)) {
        char ignored[CLUSTER_WHY_BYTES];
        (void)!identity_mark(cluster->data_dir, MARK_LEFT, true, ignored);
        return refuse_left(cluster, why);
    }
    return table == NULL || check_twin(cluster, inquiry, table, why);
}

/* Asks one member. *ret_over: there is no need to ask another. */
static bool check_with(struct cluster *cluster, struct inquiry *inquiry, char *why, bool *ret_over)
{
    struct arena arena = ARENA_EMPTY;
    struct ask ask = {.kind = ASK_STANDING, .member = cluster->node};
    struct answer answer;
    char words[INQUIRY_WHY_BYTES];
    bool good = true;
    enum inquired inquired = inquiry_ask(inquiry, &ask, &arena, &answer, words);
    *ret_over = inquired == INQUIRED_DONE || inquired == INQUIRED_NO_LEADER;
    if (inquired == INQUIRED_DONE) {
        good = take_standing(cluster, inquiry, &answer, &arena, why);
    } else if (inquired == INQUIRED_WRONG_SECRET) {
        snprintf(why, CLUSTER_WHY_BYTES, "%.400s", words);
        good = false;
    }
    arena_free(&arena);
    return good;
}

/* --join, of a member that was in before, says nothing new; but it may say that the directory is another cluster's. */
static bool check_join(const struct cluster *cluster, struct inquiry *inquiry, char *why)
{
    struct arena arena = ARENA_EMPTY;
    struct ask ask = {.kind = ASK_STANDING, .member = cluster->node};
    struct answer answer;
    char base[CONFIG_HOST_BYTES + 16], words[INQUIRY_WHY_BYTES];
    snprintf(base, sizeof base, "http://%s", cluster->config.join);
    bool other = cluster->config.join[0] != '\0' && inquiry_find(inquiry, base, words) &&
                 inquiry_ask(inquiry, &ask, &arena, &answer, words) == INQUIRED_WRONG_CLUSTER;
    if (other) {
        snprintf(why, CLUSTER_WHY_BYTES,
                 "%.150s is the data directory of another cluster's member than %.150s: pass an "
                 "empty one with --data to join that, or leave --join out",
                 cluster->data_dir, cluster->config.join);
    }
    arena_free(&arena);
    return !other;
}

bool standing_check(struct cluster *cluster, char *why)
{
    struct inquiry inquiry = cluster_inquiry(cluster);
    if (identity_marked(cluster->data_dir, MARK_LEFT)) {
        return refuse_left(cluster, why);
    }
    struct table *table = calloc(1, sizeof *table);
    bool good = table != NULL && check_join(cluster, &inquiry, why), over = false;
    int64_t until_us = clock_monotonic_us() + (int64_t)START_MS_MAX * 1000;
    if (good && board_copy(cluster->board, table)) {
        good = check_twin(cluster, &inquiry, table, why);
        for (unsigned i = 0; good && !over && i < table->member_count; i++) {
            if (table->members[i].id != cluster->node && clock_monotonic_us() < until_us) {
                snprintf(inquiry.peer, sizeof inquiry.peer, "%s", table->members[i].facts.peer);
                good = check_with(cluster, &inquiry, why, &over);
            }
        }
    }
    free(table);
    return good;
}
