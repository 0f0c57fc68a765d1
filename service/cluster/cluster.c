/*
 *     cluster_start ─► secret, identity ─► loop, proxy, transport ─┬─ known before ──────────────► board, group 0 ─► turns
 *                                                                  ├─ --cluster-init: made up ───►
 *                                                                  └─ --join: asked for ─────────►
 *
 *     a turn: the board's table, if it is new ─► peers, routes ─► seats ─► steering ─► now and then a report, and placing
 */
#include "service/cluster/cluster.h"

#include "handlers/digest.h"
#include "service/cluster/cluster_state.h"
#include "service/cluster/identity.h"
#include "service/cluster/member_log.h"
#include "service/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COUNCIL_GROUP = 0 };

void cluster_wait_ms(int64_t ms)
{
    struct timespec span = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&span, NULL);
}

/* ---- running something on the loop's thread, and waiting for it --------------------------------------------------- */

void errand_over(struct errand *errand, bool good)
{
    pthread_mutex_lock(&errand->mu);
    errand->good = good;
    errand->done = true;
    pthread_cond_signal(&errand->over);
    pthread_mutex_unlock(&errand->mu);
}

static void run_errand(struct uvloop_task *task)
{
    struct errand *errand = (struct errand *)((char *)task - offsetof(struct errand, task));
    errand->run(errand);
}

bool go_on_errand(struct cluster *cluster, void (*run)(struct errand *errand), char *why)
{
    struct errand errand = {.task = {.run = run_errand},
                            .run = run,
                            .cluster = cluster,
                            .why = why,
                            .mu = PTHREAD_MUTEX_INITIALIZER,
                            .over = PTHREAD_COND_INITIALIZER};
    if (!uvloop_post(cluster->loop, &errand.task)) {
        return false;
    }
    pthread_mutex_lock(&errand.mu);
    while (!errand.done) {
        pthread_cond_wait(&errand.over, &errand.mu);
    }
    pthread_mutex_unlock(&errand.mu);
    return errand.good;
}

struct inquiry cluster_inquiry(const struct cluster *cluster)
{
    return (struct inquiry){
        .loop = cluster->loop, .proxy = cluster->proxy, .transport = cluster->transport};
}

/* ---- group 0 ------------------------------------------------------------------------------------------------------ */

static void on_council_news(void *context, const struct replica_status *status)
{
    (void)context; /* each turn looks by itself */
    (void)status;
}

static void on_council_stopped(void *context, const char *why)
{
    struct cluster *cluster = context;
    LOG(LOG_ERROR, "council-stopped", LOG_STRING("why", why));
    cluster->council_reopen_us = clock_monotonic_us() + CLUSTER_REOPEN_MS * 1000;
}

static bool open_council(struct cluster *cluster, char why[256])
{
    struct replica_config config = {.group = COUNCIL_GROUP,
                                    .node = cluster->node,
                                    .log = cluster->log,
                                    .machine = board_machine(cluster->board),
                                    .hooks = {on_council_news, on_council_stopped, cluster},
                                    .founders = cluster->founds ? &cluster->node : NULL,
                                    .founder_count = cluster->founds};
    return replica_open(uvloop_uv(cluster->loop), cluster->transport, &config, &cluster->council,
                        why);
}

static void close_transport(struct errand *errand);

static void on_council_closed(void *context)
{
    struct cluster *cluster = context;
    cluster->council = NULL;
    cluster->council_closing = false;
    if (cluster->seats_gone) {
        close_transport(cluster->stop);
    }
}

static void close_council(struct cluster *cluster)
{
    cluster->council_closing = true;
    replica_close(cluster->council, on_council_closed, cluster);
}

static void reopen_council(struct cluster *cluster)
{
    char why[256] = "";
    if (open_council(cluster, why)) {
        cluster->council_reopen_us = 0;
        LOG(LOG_INFO, "council-opened");
    } else {
        on_council_stopped(cluster, why);
    }
}

/* Its replica is everybody's, and otherwise treated as those of partitions are. */
static void settle_council(struct cluster *cluster)
{
    struct seat_state state = {.ours = true,
                               .held = cluster->council != NULL,
                               .closing = cluster->council_closing,
                               .stopped = cluster->council_reopen_us != 0,
                               .rested = clock_monotonic_us() >= cluster->council_reopen_us};
    enum seat_move move = steering_seat(state);
    if (move == SEAT_CLOSES) {
        close_council(cluster);
    } else if (move == SEAT_OPENS) {
        reopen_council(cluster);
    }
}

/* ---- turns -------------------------------------------------------------------------------------------------------- */

/* Who was in the table before, and is not any more, is let in no longer. */
static void part_from_peers(struct cluster *cluster, const uint64_t before[], unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (table_find(&cluster->table, before[i]) < 0) {
            transport_drop_peer(cluster->transport, before[i]);
        }
    }
}

static void meet_peers(struct cluster *cluster)
{
    char host[MEMBER_ADDRESS_BYTES_MAX + 1];
    uint16_t port;
    for (unsigned i = 0; i < cluster->table.member_count; i++) {
        const struct member *member = &cluster->table.members[i];
        if (member->id != cluster->node && member_split_peer(member->facts.peer, host, &port)) {
            transport_put_peer(cluster->transport, member->id, host, port);
        }
    }
}

/* Takes over the board's table, when it is another one. */
static void take_table(struct cluster *cluster)
{
    if (board_epoch(cluster->board) == cluster->table.epoch) {
        return;
    }
    uint64_t before[MEMBERS_MAX];
    unsigned count = cluster->table.member_count;
    for (unsigned i = 0; i < count; i++) {
        before[i] = cluster->table.members[i].id;
    }
    board_copy(cluster->board, &cluster->table);
    part_from_peers(cluster, before, count);
    meet_peers(cluster);
    routes_publish(cluster);
    overview_publish(cluster, cluster->overview != NULL);
    cluster->hooks.changed(cluster->hooks.context);
}

static void turn(struct cluster *cluster)
{
    int64_t now_us = clock_monotonic_us();
    take_table(cluster);
    settle_council(cluster);
    seats_settle(cluster);
    routes_follow(cluster);
    if (now_us - cluster->pulsed_us >= (int64_t)CLUSTER_PULSE_MS * 1000) {
        cluster->pulsed_us = now_us;
        pulse_ask(cluster);
    }
    watch_turn(cluster);
    if (!cluster->draining) {
        steer_groups(cluster);
    }
    if (now_us - cluster->reported_us >= (int64_t)CLUSTER_REPORT_MS * 1000) {
        cluster->reported_us = now_us;
        if (cluster->table.epoch != 0 && !cluster->draining) {
            steer_report(cluster);
        }
        council_turn(cluster);
        standing_turn(cluster);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct cluster *cluster = timer->data;
    if (!cluster->stopping && !cluster->left) {
        turn(cluster);
    }
}

/* ---- starting ----------------------------------------------------------------------------------------------------- */

static void open_transport(struct errand *errand)
{
    struct cluster *cluster = errand->cluster;
    char why[256] = "";
    struct transport_config config = {.node = cluster->node,
                                      .secret = {cluster->secret, cluster->secret_len},
                                      .address = cluster->config.peer.ip,
                                      .port = cluster->config.peer.port,
                                      .serve = council_serve,
                                      .context = cluster};
    memcpy(config.cluster, cluster->uuid, sizeof config.cluster);
    bool opened = transport_open(uvloop_uv(cluster->loop), &config, &cluster->transport, why);
    if (!opened) {
        snprintf(errand->why, CLUSTER_WHY_BYTES, "cannot listen on --peer: %.200s", why);
    }
    errand_over(errand, opened);
}

static void open_council_and_turn(struct errand *errand)
{
    struct cluster *cluster = errand->cluster;
    char why[256] = "";
    transport_set_cluster(cluster->transport, cluster->uuid);
    meet_peers(cluster); /* as the one who let us in knows them; none when we founded it */
    cluster->table = (struct table){.epoch = 0};
    take_table(cluster);
    bool logs = member_log_open(uvloop_uv(cluster->loop), cluster->data_dir, &cluster->log, why);
    bool opened = logs && open_council(cluster, why);
    if (opened) {
        uv_timer_init(uvloop_uv(cluster->loop), &cluster->timer);
        cluster->timer.data = cluster;
        uv_timer_start(&cluster->timer, on_timer, 0, CLUSTER_TURN_MS);
    } else {
        snprintf(errand->why, CLUSTER_WHY_BYTES, "%s%.255s", logs ? "group 0: " : "", why);
    }
    cluster->turns = opened;
    errand_over(errand, opened);
}

/* The ring's places, all empty at first. */
static bool make_seats(struct cluster *cluster)
{
    unsigned count = (unsigned)cluster->config.partitions;
    cluster->partitions.at = calloc(count, sizeof *cluster->partitions.at);
    cluster->seats = calloc(count, sizeof *cluster->seats);
    if (cluster->partitions.at == NULL || cluster->seats == NULL) {
        return false;
    }
    cluster->partitions.count = count;
    for (unsigned i = 0; i < count; i++) {
        partition_make(&cluster->partitions.at[i], i, true);
        cluster->seats[i] =
            (struct seat){.cluster = cluster, .partition = &cluster->partitions.at[i]};
    }
    return true;
}

/* What a forwarded request proves itself with: nobody without the secret can make it. */
static void make_token(struct cluster *cluster)
{
    unsigned char mac[DIGEST_BYTES];
    struct arena arena = ARENA_EMPTY;
    digest_mac((struct text){cluster->secret, cluster->secret_len}, TEXT("ringhold forwards"), mac);
    struct text digits = digest_hex(&arena, (struct text){(const char *)mac, sizeof mac});
    snprintf(cluster->token, sizeof cluster->token, "%.*s", (int)digits.len, digits.at);
    arena_free(&arena);
}

static bool start_loop(struct cluster *cluster, char *why)
{
    snprintf(why, CLUSTER_WHY_BYTES, "out of memory");
    return uvloop_start(&cluster->loop) == STATUS_OK &&
           proxy_start(cluster->loop, PROXY_LIMITS_DEFAULT, &cluster->proxy) == STATUS_OK &&
           go_on_errand(cluster, open_transport, why);
}

bool cluster_check_sizes(const struct config_cluster *config, unsigned partitions,
                         unsigned replicas, char *why)
{
    bool other = config->partitions_given && config->partitions != partitions;
    if (other || (config->replicas_given && config->replicas != replicas)) {
        snprintf(why, CLUSTER_WHY_BYTES,
                 "the cluster has %u %s, for good, and --%s says %d: leave it out",
                 other ? partitions : replicas, other ? "partitions" : "replicas of each partition",
                 other ? "partitions" : "replicas",
                 (int)(other ? config->partitions : config->replicas));
        return false;
    }
    return true;
}

/* Who this node is in the cluster: known from before, made up, or asked for. */
static bool find_identity(struct cluster *cluster, char *why)
{
    struct identity identity;
    enum identity_found found = identity_read(cluster->data_dir, &identity, why);
    if (found == IDENTITY_BROKEN) {
        return false;
    }
    if (identity_marked(cluster->data_dir, MARK_RECOVERING)) {
        snprintf(why, CLUSTER_WHY_BYTES,
                 "ringhold recover has not come to its end in %.200s: run it again, with --force",
                 cluster->data_dir);
        return false;
    }
    if (found == IDENTITY_THERE) {
        memcpy(cluster->uuid, identity.uuid, sizeof cluster->uuid);
        memcpy(cluster->seed, identity.seed, sizeof cluster->seed);
        if (!cluster_check_sizes(&cluster->config, identity.partitions, identity.replicas, why)) {
            return false;
        }
        cluster->config.partitions = identity.partitions;
        cluster->config.replicas = identity.replicas;
        cluster->founds = identity.founder;
        cluster->known = true;
        return identity_check_place(cluster->data_dir, why);
    }
    if (!cluster->config.init && cluster->config.join[0] == '\0') {
        snprintf(why, CLUSTER_WHY_BYTES,
                 "this data directory belongs to no cluster yet: pass --cluster-init to make a new "
                 "one, or --join HOST:PORT to join one");
        return false;
    }
    cluster->founds = cluster->config.init;
    return !cluster->founds || identity_make(cluster->uuid, cluster->seed, why);
}

static bool keep_identity(struct cluster *cluster, char *why)
{
    struct identity identity = {.partitions = (unsigned)cluster->config.partitions,
                                .replicas = (unsigned)cluster->config.replicas,
                                .founder = cluster->founds};
    memcpy(identity.uuid, cluster->uuid, sizeof identity.uuid);
    memcpy(identity.seed, cluster->seed, sizeof identity.seed);
    return cluster->known || (identity_write(cluster->data_dir, &identity, why) &&
                              identity_keep_place(cluster->data_dir, why));
}

static bool open_board(struct cluster *cluster, char *why)
{
    char path[CLUSTER_FILE_BYTES];
    cluster_table_path(cluster->data_dir, path);
    cluster->board = board_open(path, why);
    return cluster->board != NULL;
}

static void look_for_strangers(struct errand *errand)
{
    errand_over(errand, transport_strangers(errand->cluster->transport) == 0);
}

/*
 * --cluster-init that was left in place must not make a second cluster when the disk is lost: the others of the first go
 * on dialling, several times a second, whom they take to be here.
 */
static bool check_nobody_calls(struct cluster *cluster, char *why)
{
    cluster_wait_ms(CLUSTER_LISTEN_MS);
    bool nobody = go_on_errand(cluster, look_for_strangers, why);
    if (!nobody) {
        snprintf(why, CLUSTER_WHY_BYTES,
                 "members of a cluster look for one of theirs at %.60s, and --cluster-init would "
                 "make a second one: if this member's disk was lost, have it taken out at one of "
                 "the others (ringhold leave %.60s --force), and pass --join HOST:PORT in the "
                 "place of --cluster-init",
                 cluster->facts.peer, cluster->facts.name);
    }
    return nobody;
}

/* One that was stopped while it joined is in the table of the others, and has none itself, by which it would find them. */
static bool join_to_the_end(struct cluster *cluster, char *why)
{
    if (cluster->founds || board_epoch(cluster->board) != 0) {
        return true;
    }
    if (cluster->config.join[0] == '\0') {
        snprintf(why, CLUSTER_WHY_BYTES,
                 "%.200s is of a member that was stopped while it joined its cluster: pass --join "
                 "HOST:PORT once more",
                 cluster->data_dir);
        return false;
    }
    return cluster_join(cluster, why);
}

static bool start(struct cluster *cluster, char *why)
{
    if (!identity_secret(cluster->config.secret_file, cluster->secret, &cluster->secret_len, why) ||
        !find_identity(cluster, why)) {
        return false;
    }
    make_token(cluster);
    if (!start_loop(cluster, why)) {
        return false;
    }
    bool joins = !cluster->known && !cluster->founds;
    bool founds = !cluster->known && cluster->founds;
    return (!founds || check_nobody_calls(cluster, why)) &&
           (!joins || cluster_join(cluster, why)) && keep_identity(cluster, why) &&
           make_seats(cluster) && open_board(cluster, why) &&
           (!cluster->known || (standing_check(cluster, why) && join_to_the_end(cluster, why))) &&
           go_on_errand(cluster, open_council_and_turn, why);
}

static void set_facts(struct cluster *cluster, const struct config *config, const char *url)
{
    const struct config_cluster *ours = &config->cluster;
    bool ipv6 = strchr(ours->peer.ip, ':') != NULL;
    snprintf(cluster->facts.name, sizeof cluster->facts.name, "%.*s", NAME_BYTES_MAX, config->node);
    snprintf(cluster->facts.url, sizeof cluster->facts.url, "%s", url);
    if (ours->peer_name[0] != '\0') {
        snprintf(cluster->facts.peer, sizeof cluster->facts.peer, "%s", ours->peer_name);
    } else {
        snprintf(cluster->facts.peer, sizeof cluster->facts.peer, ipv6 ? "[%s]:%u" : "%s:%u",
                 ours->peer.ip, (unsigned)ours->peer.port);
    }
    cluster->facts.weight = (uint32_t)ours->weight;
}

bool cluster_start(const struct config *config, const char *url, uint64_t node,
                   struct cluster_hooks hooks, struct cluster **ret,
                   char ret_why[CLUSTER_WHY_BYTES])
{
    struct cluster *cluster = calloc(1, sizeof *cluster);
    snprintf(ret_why, CLUSTER_WHY_BYTES, "out of memory");
    if (cluster == NULL) {
        return false;
    }
    pthread_mutex_init(&cluster->mu, NULL);
    cluster->config = config->cluster;
    cluster->hooks = hooks;
    cluster->node = node;
    snprintf(cluster->data_dir, sizeof cluster->data_dir, "%s", config->data_dir);
    set_facts(cluster, config, url);
    if (!start(cluster, ret_why)) {
        cluster_stop(cluster);
        cluster_free(cluster);
        return false;
    }
    *ret = cluster;
    return true;
}

/* ---- stopping ----------------------------------------------------------------------------------------------------- */

static void on_log_closed(void *context)
{
    errand_over(context, true);
}

static void close_log(void *context)
{
    struct errand *errand = context;
    if (errand->cluster->log == NULL) {
        errand_over(errand, true);
    } else {
        member_log_close(errand->cluster->log, on_log_closed, errand);
    }
}

static void close_transport(struct errand *errand)
{
    if (errand->cluster->transport == NULL) {
        close_log(errand);
        return;
    }
    transport_close(errand->cluster->transport, close_log, errand);
}

static void on_seats_closed(struct cluster *cluster)
{
    cluster->seats_gone = true;
    if (cluster->council == NULL) {
        close_transport(cluster->stop);
    } else if (!cluster->council_closing) {
        close_council(cluster);
    }
}

static void close_all(struct errand *errand)
{
    struct cluster *cluster = errand->cluster;
    cluster->stopping = true;
    cluster->stop = errand;
    watch_end(cluster);
    if (cluster->turns) {
        uv_timer_stop(&cluster->timer);
        uv_close((uv_handle_t *)&cluster->timer, NULL);
    }
    seats_close(cluster, on_seats_closed);
}

void cluster_stop(struct cluster *cluster)
{
    char why[CLUSTER_WHY_BYTES];
    if (cluster == NULL) {
        return;
    }
    routes_forget(cluster);
    if (cluster->loop != NULL) {
        go_on_errand(cluster, close_all, why);
        uvloop_stop(cluster->loop);
    }
}

void cluster_free(struct cluster *cluster)
{
    if (cluster == NULL) {
        return;
    }
    if (cluster->loop != NULL) {
        proxy_free(cluster->proxy);
        uvloop_free(cluster->loop);
    }
    board_close(cluster->board);
    for (unsigned i = 0; i < cluster->partitions.count; i++) {
        partition_unmake(&cluster->partitions.at[i]);
    }
    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        arena_free(&cluster->heard[i].arena);
    }
    free(cluster->partitions.at);
    free(cluster->seats);
    free(cluster->routes);
    free(cluster->overview);
    pthread_mutex_destroy(&cluster->mu);
    free(cluster);
}

/* ---- asking ------------------------------------------------------------------------------------------------------- */

const char *cluster_url(const struct cluster *cluster)
{
    return cluster->facts.url;
}

struct partitions cluster_partitions(struct cluster *cluster)
{
    return cluster->partitions;
}

struct proxy *cluster_proxy(struct cluster *cluster)
{
    return cluster->proxy;
}

const unsigned char *cluster_seed(const struct cluster *cluster)
{
    return cluster->seed;
}

const char *cluster_peer(const struct cluster *cluster)
{
    return cluster->facts.peer;
}

struct text cluster_forward_token(const struct cluster *cluster)
{
    return text_of(cluster->token);
}
