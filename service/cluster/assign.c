#include "service/cluster/assign.h"

#include <assert.h>
#include <endian.h>
#include <stdbool.h>
#include <string.h>
#include <xxhash.h>

/* Handing a partition over costs -1 (from one that is new to it to one that held it), 0, or 1 (the other way). */
enum { COSTS = 3, COST_ZERO = 1, FAR = 1 << 20, NOBODY = -1 };

/* Paths of least cost along which partitions can be handed on, each member giving one and taking one. */
struct search {
    member_set reach[COSTS][MEMBERS_MAX]; /* to whom a member can hand a partition, by the cost */
    int cost[MEMBERS_MAX]; /* of the best path to a member, FAR where there is none */
    int from[MEMBERS_MAX]; /* the member before it, NOBODY where the path begins */
    member_set begun;      /* members whose own ways on are to be looked at */
};

static uint64_t rendezvous(const struct assign *a, unsigned member, unsigned partition)
{
    uint64_t words[2] = {htole64(a->ids[member]), htole64(partition)};
    return XXH3_64bits(words, sizeof words);
}

/* ---- shares ------------------------------------------------------------------------------------------------------- */

void assign_share(struct assign *assign, member_set members, const uint32_t weights[MEMBERS_MAX],
                  unsigned total, unsigned cap)
{
    member_set sharing = members;
    unsigned weight = 0, capped;
    for (member_set left = members; left != 0; left = members_rest(left)) {
        weight += weights[members_first(left)];
    }
    /* Who would get more than the cap gets the cap; that leaves more to the rest, so look again. */
    do {
        unsigned weight_before = weight, total_before = total;
        capped = 0;
        for (member_set left = sharing; left != 0; left = members_rest(left)) {
            unsigned i = members_first(left);
            if ((uint64_t)total_before * weights[i] >= (uint64_t)cap * weight_before) {
                assign->low[i] = assign->high[i] = (int)cap;
                sharing &= ~members_one(i);
                weight -= weights[i];
                total = total > cap ? total - cap : 0;
                capped++;
            }
        }
    } while (capped > 0);
    for (member_set left = sharing; left != 0; left = members_rest(left)) {
        unsigned i = members_first(left);
        uint64_t share = (uint64_t)total * weights[i];
        assign->low[i] = (int)(share / weight);
        assign->high[i] = (int)((share + weight - 1) / weight);
    }
}

/* ---- paths -------------------------------------------------------------------------------------------------------- */

static void search_begin(const struct assign *a, struct search *s)
{
    memset(s->reach, 0, sizeof s->reach);
    for (unsigned p = 0; p < a->partition_count; p++) {
        member_set others = a->allowed[p] & ~a->chosen[p];
        for (member_set left = others == 0 ? 0 : a->chosen[p]; left != 0;
             left = members_rest(left)) {
            unsigned i = members_first(left);
            unsigned gains =
                (a->held[p] & members_one(i)) == 0; /* by giving up what is new to it */
            s->reach[COST_ZERO - gains][i] |= others & a->held[p];
            s->reach[COST_ZERO - gains + 1][i] |= others & ~a->held[p];
        }
    }
    for (unsigned i = 0; i < MEMBERS_MAX; i++) {
        s->cost[i] = FAR;
        s->from[i] = NOBODY;
    }
    s->begun = 0;
}

static void search_from(struct search *s, unsigned member, int cost)
{
    s->cost[member] = cost;
    s->begun |= members_one(member);
}

static void search_onward(struct search *s, unsigned i)
{
    for (int c = 0; c < COSTS; c++) {
        for (member_set left = s->reach[c][i]; left != 0; left = members_rest(left)) {
            unsigned j = members_first(left);
            int cost = s->cost[i] + c - COST_ZERO;
            if (cost < s->cost[j]) {
                s->cost[j] = cost;
                s->from[j] = (int)i;
                s->begun |= members_one(j);
            }
        }
    }
}

/* Bellman and Ford. What is chosen always costs the least for what it is, so no way around a circle gains; the bound
   is for what would be a mistake. */
static void search_run(struct search *s)
{
    for (unsigned i = 0; s->begun != 0 && i < MEMBERS_MAX * MEMBERS_MAX; i++) {
        unsigned member = members_first(s->begun);
        s->begun &= ~members_one(member);
        search_onward(s, member);
    }
}

/* Gives one partition of member i to member j, at that cost: the one whose rendezvous with j is greatest. */
static void hand_over(struct assign *a, unsigned i, unsigned j, int cost)
{
    unsigned best = PARTITIONS_MAX;
    uint64_t best_rank = 0;
    for (unsigned p = 0; p < a->partition_count; p++) {
        int fresh = (a->held[p] & members_one(j)) == 0, stale = (a->held[p] & members_one(i)) == 0;
        if ((a->chosen[p] & members_one(i)) != 0 &&
            (a->allowed[p] & ~a->chosen[p] & members_one(j)) != 0 && fresh - stale == cost) {
            uint64_t rank = rendezvous(a, j, p);
            if (best == PARTITIONS_MAX || rank > best_rank) {
                best = p;
                best_rank = rank;
            }
        }
    }
    assert(best < PARTITIONS_MAX);
    a->chosen[best] ^= members_one(i) | members_one(j);
    a->load[i]--;
    a->load[j]++;
}

/* Hands partitions on along the path that ends at `last`; returns the member that it begins with. */
static unsigned walk(struct assign *a, const struct search *s, unsigned last)
{
    unsigned at = last;
    for (unsigned steps = 0; s->from[at] != NOBODY; steps++) {
        assert(steps < MEMBERS_MAX);
        unsigned before = (unsigned)s->from[at];
        hand_over(a, before, at, s->cost[at] - s->cost[before]);
        at = before;
    }
    return at;
}

/* ---- solving ------------------------------------------------------------------------------------------------------ */

static member_set below(const struct assign *a, const int bounds[MEMBERS_MAX])
{
    member_set set = 0;
    for (unsigned i = 0; i < MEMBERS_MAX; i++) {
        set |= a->load[i] < bounds[i] ? members_one(i) : 0;
    }
    return set;
}

static member_set above(const struct assign *a, const int bounds[MEMBERS_MAX])
{
    member_set set = 0;
    for (unsigned i = 0; i < MEMBERS_MAX; i++) {
        set |= a->load[i] > bounds[i] ? members_one(i) : 0;
    }
    return set;
}

/* Whether a path to i is better than one to j: it costs less, or i lacks more, or is the one by rendezvous. */
static bool is_better(const struct assign *a, const struct search *s, unsigned i, unsigned j,
                      unsigned p)
{
    bool i_lacks = a->load[i] < a->low[i], j_lacks = a->load[j] < a->low[j];
    if (s->cost[i] != s->cost[j]) {
        return s->cost[i] < s->cost[j];
    }
    return i_lacks != j_lacks ? i_lacks : rendezvous(a, i, p) > rendezvous(a, j, p);
}

/* The best end of a path among `ends`, NOBODY if no path leads to any. */
static int best_end(const struct assign *a, const struct search *s, member_set ends, unsigned p)
{
    int best = NOBODY;
    for (member_set left = ends; left != 0; left = members_rest(left)) {
        unsigned i = members_first(left);
        if (s->cost[i] != FAR && (best == NOBODY || is_better(a, s, i, (unsigned)best, p))) {
            best = (int)i;
        }
    }
    return best;
}

static void give_one_more(struct assign *a, unsigned p)
{
    struct search s;
    member_set others = a->allowed[p] & ~a->chosen[p];
    assert(others != 0);
    search_begin(a, &s);
    for (member_set left = others; left != 0; left = members_rest(left)) {
        unsigned j = members_first(left);
        search_from(&s, j, (a->held[p] & members_one(j)) == 0);
    }
    search_run(&s);
    int end = best_end(a, &s, below(a, a->high), p);
    while (end == NOBODY) {
        for (member_set left = others; left != 0; left = members_rest(left)) {
            a->high[members_first(left)]++;
        }
        end = best_end(a, &s, below(a, a->high), p);
    }
    unsigned first = walk(a, &s, (unsigned)end);
    a->chosen[p] |= members_one(first);
    a->load[first]++;
}

/* Moves one unit of load from one of `sources` to one of `ends`. False when there is no path. */
static bool shift(struct assign *a, member_set sources, member_set ends)
{
    struct search s;
    if (sources == 0 || ends == 0) {
        return false;
    }
    search_begin(a, &s);
    for (member_set left = sources; left != 0; left = members_rest(left)) {
        search_from(&s, members_first(left), 0);
    }
    search_run(&s);
    int end = best_end(a, &s, ends, 0);
    if (end != NOBODY) {
        walk(a, &s, (unsigned)end);
    }
    return end != NOBODY;
}

static void choose_held(struct assign *a)
{
    memset(a->load, 0, sizeof a->load);
    for (unsigned p = 0; p < a->partition_count; p++) {
        member_set chosen = a->held[p] & a->allowed[p];
        while (members_count(chosen) > a->need[p]) {
            chosen = members_rest(chosen);
        }
        a->chosen[p] = chosen;
        for (member_set left = chosen; left != 0; left = members_rest(left)) {
            a->load[members_first(left)]++;
        }
    }
}

/*
 * First what is needed, within the upper bounds, then the upper bounds of who held too much, then the lower bounds:
 * each unit on a path that is the cheapest as things stand, so that the whole is the cheapest at each stage.
 */
void assign_solve(struct assign *a)
{
    choose_held(a);
    for (unsigned p = 0; p < a->partition_count; p++) {
        while (members_count(a->chosen[p]) < a->need[p]) {
            give_one_more(a, p);
        }
    }
    while (shift(a, above(a, a->high), below(a, a->high))) {
    }
    while (shift(a, above(a, a->low), below(a, a->low))) {
    }
}
