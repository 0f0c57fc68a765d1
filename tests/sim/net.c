#include "tests/sim/net.h"

#include "tests/sim/disk.h"
#include "tests/sim/nodes.h"
#include "tests/sim/world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { HELD_MAX = 200, SENDS_MAX = 64 };

struct letter {
    struct letter *next; /* of those held */
    int from, to;
    unsigned to_life, connection;
    uint64_t number; /* on its connection */
    bool late;       /* its connection is gone already */
    struct raft_message message;
};
struct link {
    bool cut;
    uint64_t latency_us, last_at, numbers;
    unsigned connection;
    uint64_t spared;     /* of the last connection's letters, those up to this one still come */
    struct letter *held; /* while it is cut, in order */
    int held_count;
};
static uint64_t healthy_us;
static struct link links[SIM_NODES_MAX][SIM_NODES_MAX];

struct outgoing {
    int from, to;
    unsigned connection;
    void (*done)(void *context, int status);
    void *context;
};

/* ---- letters ------------------------------------------------------------------------------------------------------ */

static void *must(void *memory)
{
    assert(memory != NULL);
    return memory;
}

static void copy_entries(struct raft_append_entries *to)
{
    size_t bytes = 0;
    const struct raft_entry *from = to->entries;
    if (to->n_entries == 0) {
        to->entries = NULL;
        return;
    }
    for (unsigned i = 0; i < to->n_entries; i++) {
        bytes += from[i].buf.len;
    }
    char *batch = must(raft_malloc(bytes + 1));
    to->entries = must(raft_calloc(to->n_entries, sizeof *to->entries));
    for (unsigned i = 0; i < to->n_entries; i++) {
        to->entries[i] = from[i];
        to->entries[i].batch = (char *)batch;
        to->entries[i].buf.base = batch;
        if (from[i].buf.len > 0) {
            memcpy(batch, from[i].buf.base, from[i].buf.len);
        }
        batch += from[i].buf.len;
    }
    for (unsigned i = 1; i < to->n_entries; i++) {
        to->entries[i].batch = to->entries[0].batch;
    }
}

static struct raft_message copy_message(const struct raft_message *from)
{
    struct raft_message to = *from;
    if (to.type == RAFT_APPEND_ENTRIES) {
        copy_entries(&to.append_entries);
    } else if (to.type == RAFT_INSTALL_SNAPSHOT) {
        struct raft_install_snapshot *install = &to.install_snapshot;
        configuration_copy_to(&from->install_snapshot.conf, &install->conf);
        install->data.base = must(raft_malloc(install->data.len + 1));
        memcpy(install->data.base, from->install_snapshot.data.base, install->data.len);
    }
    return to;
}

static void hand_over(void *context)
{
    struct letter *letter = context;
    letter->message.server_id = nodes[letter->from].id;
    letter->message.server_address = nodes[letter->from].name;
    ground_receive(&nodes[letter->to], &letter->message);
}

static void arrive(void *context)
{
    struct letter *letter = context;
    struct link *link = &links[letter->from][letter->to];
    if (nodes[letter->to].life != letter->to_life) {
        return;
    }
    if (letter->connection != link->connection && !letter->late) {
        letter->late = true;
        if (letter->connection + 1 == link->connection && letter->number <= link->spared) {
            tally->late_messages++;
            later(chance(chance_of(20) ? 2 * SECOND : 50 * MS), NOWHERE, arrive, letter);
        }
        return;
    }
    as_node(letter->to, hand_over, letter);
}

static void post(struct link *link, struct letter *letter)
{
    uint64_t at = world_now() + chance_between(link->latency_us / 8 + 1, link->latency_us);
    link->last_at = at > link->last_at ? at : link->last_at;
    later(link->last_at - world_now(), NOWHERE, arrive, letter);
}

/* ---- sending ------------------------------------------------------------------------------------------------------ */

static void leave(void *context)
{
    struct outgoing *out = context;
    const struct link *link = &links[out->from][out->to];
    bool broken = out->connection != link->connection;
    if (link->cut && !broken) {
        later(50 * MS, out->from, leave, out);
        return;
    }
    out->done(out->context, broken ? RAFT_NOCONNECTION : 0);
    free(out);
}

void net_send(int from, int to, const struct raft_message *message,
              void (*done)(void *context, int status), void *context)
{
    struct link *link = &links[from][to];
    struct outgoing *out = must(malloc(sizeof *out));
    *out = (struct outgoing){from, to, link->connection, done, context};
    later(chance_between(20, 300), from, leave, out);
    struct letter *letter = must(calloc(1, sizeof *letter));
    *letter = (struct letter){.from = from,
                              .to = to,
                              .to_life = nodes[to].life,
                              .connection = link->connection,
                              .number = ++link->numbers,
                              .message = copy_message(message)};
    if (!link->cut) {
        post(link, letter);
    } else if (link->held_count < HELD_MAX) {
        struct letter **at = &link->held;
        while (*at != NULL) {
            at = &(*at)->next;
        }
        *at = letter;
        link->held_count++;
    }
}

/* ---- weather ------------------------------------------------------------------------------------------------------ */

void net_reset(int from, int to)
{
    struct link *link = &links[from][to];
    link->connection++;
    link->spared = link->numbers - chance(link->numbers < 8 ? link->numbers + 1 : 8);
    link->held = NULL;
    link->held_count = 0;
}

static void release(struct link *link)
{
    struct letter *held = link->held;
    link->held = NULL;
    link->held_count = 0;
    while (held != NULL) {
        struct letter *letter = held;
        held = held->next;
        letter->next = NULL;
        post(link, letter);
    }
}

void net_cut(int from, int to, bool cut)
{
    struct link *link = &links[from][to];
    if (link->cut && !cut) {
        if (link->held_count == HELD_MAX || chance_of(50)) {
            net_reset(from, to);
        } else {
            release(link);
        }
    }
    link->cut = cut;
}

void net_slow(int from, int to, uint64_t latency_us)
{
    links[from][to].latency_us = latency_us;
}

void net_heal(void)
{
    for (int i = 0; i < SIM_NODES_MAX; i++) {
        for (int j = 0; j < SIM_NODES_MAX; j++) {
            net_cut(i, j, false);
            net_slow(i, j, healthy_us);
        }
    }
}

void net_leave(int node)
{
    for (int i = 0; i < SIM_NODES_MAX; i++) {
        net_reset(node, i);
        net_reset(i, node);
    }
}

void net_make(uint64_t latency_us)
{
    memset(links, 0, sizeof links);
    healthy_us = latency_us;
    net_heal();
}
