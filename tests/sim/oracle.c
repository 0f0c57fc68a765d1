#include "tests/sim/oracle.h"

#include "db/codec.h"
#include "service/cluster/replica_state.h"
#include "tests/sim/nodes.h"
#include "tests/sim/promises.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

enum { ENTRIES_MAX = 20000, ATTEMPTS_MAX = 20000, TERMS_MAX = 5000, HASH_EVERY = 12 };
static const char DATABASE[] = "oracle.db";

/* What is known of an index. */
struct known {
    uint64_t term, entry; /* of the entry that was applied, and its hash; 0: none was */
    uint64_t state;       /* the hash of the state after it, 0: not known */
    raft_term logged_term[4];
    uint64_t logged[4]; /* hashes of what stands there in logs, by term */
};
struct attempt {
    uint64_t index,
        answer; /* where it was carried out, and the hash of the result; 0: it was not */
    bool refused;
};

static struct {
    struct machine *machine;
    uint64_t index;
    struct arena arena;
    struct known known[ENTRIES_MAX];
    struct attempt attempts[ATTEMPTS_MAX];
    uint64_t attempt_count;
    int leader[TERMS_MAX];    /* by term, plus one */
    unsigned life[TERMS_MAX]; /* of the leader */
    uint64_t votes[SIM_NODES_MAX][TERMS_MAX];
    uint64_t applied[SIM_NODES_MAX]; /* for the order */
    uint64_t terms[SIM_NODES_MAX];   /* seen, never to go back */
} oracle;

void oracle_begin(void)
{
    static const unsigned char SECRET[32] = "the same for all of the cluster";
    char why[256] = "";
    if (machine_open(DATABASE, STORAGE_WRITTEN, false, SECRET, &oracle.machine, why) != STATUS_OK) {
        wrong("the oracle cannot open its state: %s", why);
    }
    promises_begin();
}

uint64_t oracle_index(void)
{
    return oracle.index;
}

static struct known *known(uint64_t index)
{
    if (index >= ENTRIES_MAX) {
        wrong("more entries than a seed has room for");
    }
    return &oracle.known[index];
}

/* ---- the committed log -------------------------------------------------------------------------------------------- */

static uint64_t hash_result(const struct result *result, struct arena *arena)
{
    struct text bytes = result_encode(result, arena);
    return XXH3_64bits(bytes.at, bytes.len) | 1;
}

static void carried_out(const struct command *command, const struct result *result)
{
    struct text sealed = command->idempotency.sealed;
    uint64_t number;
    promises_carried_out(command, result);
    if (sealed.len != sizeof number) {
        return; /* a TICK */
    }
    memcpy(&number, sealed.at, sizeof number);
    struct attempt *attempt = &oracle.attempts[number];
    if (attempt->index != 0) {
        wrong("attempt %llu is carried out twice, at %llu and %llu", (unsigned long long)number,
              (unsigned long long)attempt->index, (unsigned long long)oracle.index);
    }
    if (attempt->refused) {
        wrong("attempt %llu is carried out, at %llu, after it was said that it surely is not",
              (unsigned long long)number, (unsigned long long)oracle.index);
    }
    attempt->index = oracle.index;
    attempt->answer = hash_result(result, &oracle.arena);
}

static void advance(struct text entry, uint64_t index, uint64_t term)
{
    struct commands commands;
    struct events events;
    oracle.index = index;
    arena_clear(&oracle.arena);
    if (!batch_decode(entry, &oracle.arena, &commands)) {
        wrong("entry %llu is no batch", (unsigned long long)index);
    }
    machine_begin(oracle.machine, &oracle.arena);
    machine_note_entry(oracle.machine, (int64_t)index, (int64_t)term);
    for (size_t i = 0; i < commands.count; i++) {
        struct result result;
        machine_apply(oracle.machine, &commands.at[i], &oracle.arena, &result);
        carried_out(&commands.at[i], &result);
    }
    if (machine_commit(oracle.machine, &events) != STATUS_OK) {
        wrong("the oracle cannot commit: %s", machine_failure(oracle.machine));
    }
    if (index % HASH_EVERY == 0) {
        known(index)->state = machine_hash(oracle.machine);
    }
}

struct applying {
    struct text entry;
    uint64_t index, term;
};

static void advance_calmly(void *context)
{
    const struct applying *a = context;
    advance(a->entry, a->index, a->term);
}

void oracle_entry(int node, struct text entry, uint64_t index, uint64_t term)
{
    uint64_t hash = XXH3_64bits(entry.at, entry.len) | 1;
    struct known *at = known(index);
    if (index <= oracle.applied[node]) {
        wrong("%d applies %llu, having applied %llu", node, (unsigned long long)index,
              (unsigned long long)oracle.applied[node]);
    }
    for (uint64_t i = oracle.applied[node] + 1; i < index && i <= oracle.index; i++) {
        if (known(i)->entry != 0) {
            wrong("%d applies %llu and never had %llu", node, (unsigned long long)index,
                  (unsigned long long)i);
        }
    }
    if (index > oracle.index) {
        struct applying applying = {entry, index, term};
        tally->entries++;
        trace("%d first applies %llu of term %llu, %zu bytes", node, (unsigned long long)index,
              (unsigned long long)term, entry.len);
        *at = (struct known){.term = term, .entry = hash, .state = 0};
        as_node(NOWHERE, advance_calmly, &applying);
    } else if (at->entry != hash || at->term != term) {
        wrong("%d applies another entry at %llu than was applied before: of term %llu, not %llu",
              node, (unsigned long long)index, (unsigned long long)term,
              (unsigned long long)at->term);
    }
}

/* ---- states ------------------------------------------------------------------------------------------------------- */

static uint64_t applied_by(int node)
{
    return (uint64_t)machine_counters(nodes[node].machine).applied_index;
}

static void compare_state(void *context)
{
    int node = *(int *)context;
    uint64_t index = applied_by(node);
    struct known *at = known(index);
    if (at->state == 0 && index == oracle.index) {
        at->state = machine_hash(oracle.machine);
    }
    if (at->state == 0) {
        return;
    }
    tally->hashes++;
    if (machine_hash(nodes[node].machine) != at->state) {
        wrong("%d has another state at %llu than it must be", node, (unsigned long long)index);
    }
}

static void look_at_state(int node, bool anyway)
{
    uint64_t index = applied_by(node);
    if (index > oracle.index) {
        wrong("%d has applied %llu, and nobody has before", node, (unsigned long long)index);
    }
    oracle.applied[node] = index;
    if (index > 0 && (anyway || index % HASH_EVERY == 0)) {
        as_node(NOWHERE, compare_state, &node);
    }
}

void oracle_applied(int node)
{
    look_at_state(node, false);
}

void oracle_took(int node, uint64_t index)
{
    oracle.applied[node] = index;
}

/* What is applied and not stored is in no image, but in what can be hashed. */
void oracle_imaged(int node)
{
    if (oracle.applied[node] <= applied_by(node)) {
        look_at_state(node, true);
    }
}

void oracle_opened(int node)
{
    oracle.applied[node] = 0;
    look_at_state(node, true);
}

void oracle_dropped(int node)
{
    oracle.applied[node] = 0;
    oracle.terms[node] = 0;
    memset(oracle.votes[node], 0, sizeof oracle.votes[node]);
}

/* ---- leaders and logs --------------------------------------------------------------------------------------------- */

void oracle_looks(int node, struct replica *replica)
{
    if (replica == NULL || replica->failed) { /* what it could not store is only in its memory */
        return;
    }
    struct replica_status status = replica_status(replica);
    if (status.term >= TERMS_MAX) {
        wrong("more terms than a seed has room for");
    }
    if (status.term < oracle.terms[node]) {
        wrong("%d is in term %llu, and was in %llu", node, (unsigned long long)status.term,
              (unsigned long long)oracle.terms[node]);
    }
    oracle.terms[node] = status.term;
    if (!status.leads) {
        return;
    }
    int *leader = &oracle.leader[status.term];
    if (*leader == 0) {
        tally->leaders++;
        *leader = node + 1;
        oracle.life[status.term] = nodes[node].life;
        trace("%d is elected in term %llu", node, (unsigned long long)status.term);
    } else if (*leader != node + 1) {
        wrong("%d and %d both lead in term %llu", *leader - 1, node,
              (unsigned long long)status.term);
    } else if (oracle.life[status.term] != nodes[node].life) {
        wrong("%d leads in term %llu again after a crash", node, (unsigned long long)status.term);
    }
}

void oracle_voted(int node, uint64_t term, uint64_t candidate)
{
    if (term >= TERMS_MAX) {
        wrong("more terms than a seed has room for");
    }
    uint64_t *vote = &oracle.votes[node][term];
    if (*vote != 0 && *vote != candidate) {
        wrong("%d votes for %llu in term %llu, and has voted for %llu", node,
              (unsigned long long)candidate - 1, (unsigned long long)term,
              (unsigned long long)*vote - 1);
    }
    *vote = candidate;
}

static void compare_logged(int node, uint64_t index, const struct raft_entry *entry)
{
    struct known *at = known(index);
    uint64_t hash =
        XXH3_64bits_withSeed(entry->buf.base, entry->buf.len, (XXH64_hash_t)entry->type) | 1;
    for (int i = 0; i < 4; i++) {
        if (at->logged[i] == 0) {
            at->logged[i] = hash;
            at->logged_term[i] = entry->term;
            return;
        }
        if (at->logged_term[i] == entry->term) {
            if (at->logged[i] != hash) {
                wrong("%d has another entry at %llu of term %llu than there was", node,
                      (unsigned long long)index, (unsigned long long)entry->term);
            }
            return;
        }
    }
}

void oracle_compare_logs(void)
{
    for (int i = 0; i < node_count; i++) {
        const struct disk *disk = &nodes[i].disk;
        for (size_t j = 0; j < disk->count; j++) {
            compare_logged(i, disk->first + j, &disk->entries[j]);
        }
    }
}

/* ---- clients ------------------------------------------------------------------------------------------------------ */

uint64_t oracle_attempt(void)
{
    if (oracle.attempt_count + 1 >= ATTEMPTS_MAX) {
        wrong("more attempts than a seed has room for");
    }
    return ++oracle.attempt_count;
}

void oracle_refused(uint64_t number)
{
    struct attempt *attempt = &oracle.attempts[number];
    if (attempt->index != 0) {
        wrong("attempt %llu was carried out, at %llu, and it is said that it surely was not",
              (unsigned long long)number, (unsigned long long)attempt->index);
    }
    attempt->refused = true;
}

void oracle_answered(uint64_t number, const struct result *result)
{
    const struct attempt *attempt = &oracle.attempts[number];
    struct arena arena = ARENA_EMPTY;
    if (attempt->index == 0) {
        wrong("attempt %llu is answered, and is not committed", (unsigned long long)number);
    }
    if (hash_result(result, &arena) != attempt->answer) {
        wrong("attempt %llu is answered with %s, and that is not what it led to",
              (unsigned long long)number, status_info(result->status)->code);
    }
    arena_free(&arena);
}

static void end(void *context)
{
    struct arena arena = ARENA_EMPTY;
    (void)context;
    const char *insane = machine_sanity(oracle.machine, &arena);
    if (insane != NULL) {
        wrong("the state is not sound: %s", insane);
    }
    promises_end(DATABASE, oracle.machine);
    arena_free(&arena);
}

void oracle_end(void)
{
    oracle_compare_logs();
    as_node(NOWHERE, end, NULL);
}
