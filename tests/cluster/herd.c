#include "tests/cluster/herd.h"

#include "db/limits.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the ledger --------------------------------------------------------------------------------------------------- */

static uint32_t sum_of(struct text entry)
{
    uint32_t sum = 2166136261u;
    for (size_t i = 0; i < entry.len; i++) {
        sum = (sum ^ (unsigned char)entry.at[i]) * 16777619u;
    }
    return sum;
}

uint32_t ledger_sum(const char *entry)
{
    return sum_of(text_of(entry));
}

static bool ledger_apply(void *context, struct text entry, uint64_t index, uint64_t term,
                         void *proposal, bool later)
{
    struct ledger *ledger = context;
    cr_assert(proposal == NULL || !later, "somebody waits for it");
    pthread_mutex_lock(&ledger->mu);
    if (ledger->refuse) {
        ledger->live = ledger->stored;
        pthread_mutex_unlock(&ledger->mu);
        return false;
    }
    struct ledger_state *state = &ledger->live;
    cr_assert_gt(index, state->index, "applied twice, or out of order");
    cr_assert_geq(term, state->term);
    cr_assert_lt(state->count, (uint32_t)LEDGER_ENTRIES_MAX);
    state->sums[state->count++] = sum_of(entry);
    state->index = index;
    state->term = term;
    if (!later) {
        ledger->stored = *state;
        ledger->stores++;
    }
    pthread_mutex_unlock(&ledger->mu);
    return true;
}

static bool ledger_settle(void *context)
{
    struct ledger *ledger = context;
    pthread_mutex_lock(&ledger->mu);
    bool stored = !ledger->refuse;
    if (stored) {
        ledger->stored = ledger->live;
        ledger->stores++;
    } else {
        ledger->live = ledger->stored;
    }
    pthread_mutex_unlock(&ledger->mu);
    return stored;
}

static void ledger_applied(void *context, uint64_t *ret_index, uint64_t *ret_term)
{
    struct ledger *ledger = context;
    pthread_mutex_lock(&ledger->mu);
    *ret_index = ledger->stored.index;
    *ret_term = ledger->stored.term;
    pthread_mutex_unlock(&ledger->mu);
}

static bool ledger_sync(void *context)
{
    struct ledger *ledger = context;
    if (ledger->sync_waits != NULL) {
        sem_wait(ledger->sync_waits);
    }
    pthread_mutex_lock(&ledger->mu);
    ledger->durable = ledger->stored;
    ledger->syncs++;
    pthread_mutex_unlock(&ledger->mu);
    return true;
}

static bool ledger_image(void *context, void **ret_bytes, size_t *ret_count)
{
    struct ledger *ledger = context;
    if (ledger->refuse_image) {
        return false;
    }
    *ret_bytes = malloc(sizeof ledger->stored);
    *ret_count = sizeof ledger->stored;
    pthread_mutex_lock(&ledger->mu);
    memcpy(*ret_bytes, &ledger->stored, sizeof ledger->stored);
    ledger->images++;
    pthread_mutex_unlock(&ledger->mu);
    return true;
}

static bool ledger_install(void *context, struct text image)
{
    struct ledger *ledger = context;
    const struct ledger_state *state = (const void *)image.at;
    cr_assert_eq(image.len, sizeof *state);
    pthread_mutex_lock(&ledger->mu);
    cr_assert_eq(ledger->live.index, ledger->stored.index, "an image over what is not stored");
    if (state->index > ledger->stored.index) {
        ledger->live = ledger->stored = *state;
    }
    ledger->durable = ledger->stored;
    ledger->installs++;
    pthread_mutex_unlock(&ledger->mu);
    return true;
}

struct replica_machine ledger_machine(struct ledger *ledger)
{
    return (struct replica_machine){ledger,      ledger_apply, ledger_settle, ledger_applied,
                                    ledger_sync, ledger_image, ledger_install};
}

uint32_t ledger_count(struct ledger *ledger)
{
    pthread_mutex_lock(&ledger->mu);
    uint32_t count = ledger->live.count;
    pthread_mutex_unlock(&ledger->mu);
    return count;
}

bool ledger_has(struct ledger *ledger, const char *entry)
{
    bool has = false;
    uint32_t sum = ledger_sum(entry);
    pthread_mutex_lock(&ledger->mu);
    for (uint32_t i = 0; i < ledger->live.count; i++) {
        has |= ledger->live.sums[i] == sum;
    }
    pthread_mutex_unlock(&ledger->mu);
    return has;
}

/* ---- nodes -------------------------------------------------------------------------------------------------------- */

struct herd_place {
    struct herd_node *node;
    int group;
};

static void note_changed(void *context, const struct replica_status *status)
{
    struct herd_place *place = context;
    (void)status;
    place->node->changes++;
}

static void note_stopped(void *context, const char *why)
{
    struct herd_place *place = context;
    snprintf(place->node->stopped[place->group], 256, "%s", why);
}

void herd_make(struct herd *herd, int nodes, int founders, int groups)
{
    *herd = (struct herd){.nodes = nodes, .founders = founders, .groups = groups};
    snprintf(herd->dir, sizeof herd->dir, "/tmp/ringhold-cluster-XXXXXX");
    cr_assert_not_null(mkdtemp(herd->dir));
    stage_open(&herd->stage);
    for (int i = 0; i < nodes; i++) {
        herd->node[i].id = (uint64_t)(i + 1);
        for (int g = 0; g < groups; g++) {
            herd->node[i].ledger[g] = calloc(1, sizeof(struct ledger));
            pthread_mutex_init(&herd->node[i].ledger[g]->mu, NULL);
        }
    }
}

bool herd_open_replica(struct herd *herd, int node, int group, char ret_why[256])
{
    static struct herd_place places[HERD_NODES_MAX][HERD_GROUPS_MAX];
    struct herd_node *at = &herd->node[node];
    uint64_t founders[HERD_NODES_MAX];
    for (int i = 0; i < herd->founders; i++) {
        founders[i] = herd->node[i].id;
    }
    places[node][group] = (struct herd_place){at, group};
    struct replica_config config = {.group = (uint64_t)group,
                                    .node = at->id,
                                    .log = at->log,
                                    .machine = ledger_machine(at->ledger[group]),
                                    .hooks = {note_changed, note_stopped, &places[node][group]},
                                    .founders = founders,
                                    .founder_count = node < herd->founders ? herd->founders : 0,
                                    .election_ms = 300,
                                    .heartbeat_ms = 50,
                                    .log_bytes = herd->log_bytes,
                                    .log_entries = herd->log_entries};
    at->stopped[group][0] = '\0';
    return replica_open(&herd->stage.loop, at->transport, &config, &at->replica[group], ret_why);
}

static void open_log(struct herd *herd, int node)
{
    char dir[128], why[256] = "";
    snprintf(dir, sizeof dir, "%s/%d", herd->dir, node);
    mkdir(dir, 0700);
    cr_assert(member_log_open(&herd->stage.loop, dir, &herd->node[node].log, why), "%s", why);
}

void herd_start(struct herd *herd, int node)
{
    struct herd_node *at = &herd->node[node];
    char why[256] = "";
    at->transport = stage_transport(&herd->stage, at->id, SECRET, NULL, NULL);
    for (int i = 0; i < herd->nodes; i++) {
        if (i != node && herd->node[i].up) {
            stage_introduce(at->transport, at->id, herd->node[i].transport, herd->node[i].id);
        }
    }
    open_log(herd, node);
    for (int g = 0; g < herd->groups; g++) {
        cr_assert(herd_open_replica(herd, node, g, why), "%s", why);
    }
    at->up = true;
}

static void note(void *context)
{
    *(bool *)context = true;
}

void herd_close_replica(struct herd *herd, int node, int group)
{
    bool closed = false;
    replica_close(herd->node[node].replica[group], note, &closed);
    AWAIT(&herd->stage, closed);
    herd->node[node].replica[group] = NULL;
}

static void close_log(struct herd *herd, int node)
{
    bool closed = false;
    member_log_close(herd->node[node].log, note, &closed);
    AWAIT(&herd->stage, closed);
}

void herd_kill(struct herd *herd, int node)
{
    struct herd_node *at = &herd->node[node];
    at->up = false;
    for (int g = 0; g < herd->groups; g++) {
        if (at->replica[g] != NULL) {
            herd_close_replica(herd, node, g);
        }
        at->ledger[g]->live = at->ledger[g]->stored = at->ledger[g]->durable;
    }
    stage_transport_close(&herd->stage, at->transport);
    close_log(herd, node); /* which what is still closing of a replica may need until here */
}

void herd_open(struct herd *herd, int nodes, int founders, int groups)
{
    herd_make(herd, nodes, founders, groups);
    for (int i = 0; i < nodes; i++) {
        herd_start(herd, i);
    }
}

void herd_close(struct herd *herd)
{
    char command[128];
    for (int i = 0; i < herd->nodes; i++) {
        if (herd->node[i].up) {
            herd_kill(herd, i);
        }
        for (int g = 0; g < herd->groups; g++) {
            free(herd->node[i].ledger[g]);
        }
    }
    stage_close(&herd->stage);
    snprintf(command, sizeof command, "rm -rf %s", herd->dir);
    cr_assert_eq(system(command), 0);
}

/* ---- what is asked of them ---------------------------------------------------------------------------------------- */

int herd_leader(struct herd *herd, int group)
{
    for (int i = 0; i < herd->nodes; i++) {
        if (herd->node[i].up && herd->node[i].replica[group] != NULL &&
            replica_status(herd->node[i].replica[group]).ready) {
            return i;
        }
    }
    return NOBODY;
}

int herd_await_leader(struct herd *herd, int group)
{
    AWAIT(&herd->stage, herd_leader(herd, group) != NOBODY);
    return herd_leader(herd, group);
}

static void note_outcome(void *proposal, enum replica_outcome outcome)
{
    *(enum replica_outcome *)proposal = outcome;
}

enum replica_outcome herd_propose(struct herd *herd, int node, int group, struct text entry)
{
    enum replica_outcome told = REPLICA_PENDING;
    enum replica_outcome now =
        replica_propose(herd->node[node].replica[group], entry, &told, note_outcome);
    if (now != REPLICA_PENDING) {
        return now;
    }
    AWAIT(&herd->stage, told != REPLICA_PENDING);
    return told;
}

void herd_commit_text(struct herd *herd, int group, struct text entry)
{
    enum replica_outcome outcome;
    do {
        int leader = herd_await_leader(herd, group);
        outcome = herd_propose(herd, leader, group, entry);
        cr_assert_neq(outcome, REPLICA_UNKNOWN);
    } while (outcome != REPLICA_COMMITTED);
}

void herd_commit(struct herd *herd, int group, const char *entry)
{
    herd_commit_text(herd, group, text_of(entry));
}

void herd_commit_many(struct herd *herd, int group, const char *prefix, int count)
{
    for (int i = 0; i < count; i++) {
        char entry[64];
        snprintf(entry, sizeof entry, "%s %d", prefix, i);
        herd_commit(herd, group, entry);
    }
}

static void note_change(void *context, enum replica_changed outcome)
{
    *(int *)context = (int)outcome;
}

enum replica_changed herd_change(struct herd *herd, int group, enum replica_change change, int node)
{
    int told = -1;
    int leader = herd_await_leader(herd, group);
    replica_change(herd->node[leader].replica[group], change, herd->node[node].id, note_change,
                   &told);
    AWAIT(&herd->stage, told >= 0);
    return (enum replica_changed)told;
}

static bool agree_in_number(struct herd *herd, int group)
{
    uint32_t least = UINT32_MAX, most = 0;
    for (int i = 0; i < herd->nodes; i++) {
        if (herd->node[i].up && herd->node[i].replica[group] != NULL) {
            uint32_t count = ledger_count(herd->node[i].ledger[group]);
            least = count < least ? count : least;
            most = count > most ? count : most;
        }
    }
    return least == most;
}

void herd_await_agreement(struct herd *herd, int group)
{
    const struct ledger_state *first = NULL;
    AWAIT(&herd->stage, agree_in_number(herd, group));
    for (int i = 0; i < herd->nodes; i++) {
        const struct ledger_state *state = &herd->node[i].ledger[group]->live;
        if (!herd->node[i].up || herd->node[i].replica[group] == NULL) {
            continue;
        }
        first = first == NULL ? state : first;
        cr_assert_eq(memcmp(first->sums, state->sums, sizeof *state->sums * state->count), 0,
                     "two nodes have applied different entries");
    }
}
