#include "service/clock.h"
#include "service/cluster/codec.h"
#include "service/commands/commands.h"
#include "service/commands/visitor.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { LOOK_MS = 500, PATIENCE_MS = 20000, TRIES_MAX = 5, NOTHING_SHOWN = 101 };

struct leaving {
    const struct config *config;
    struct inquiry *inquiry;
    struct arena arena;        /* of the table */
    const struct table *table; /* as it was last told */
    struct standing standing;  /* the same */
    uint64_t member, successor;
    const char *name;
    unsigned others; /* asked one after the other when one does not answer */
    char why[INQUIRY_WHY_BYTES];
};

static void pause_ms(int64_t ms)
{
    struct timespec span = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&span, NULL);
}

/* ---- asking ------------------------------------------------------------------------------------------------------- */

/* Asks group 0's leader, whoever that is, for as long as one may be found. */
static enum inquired ask(struct leaving *l, const struct ask *ask, struct arena *arena,
                         struct answer *ret)
{
    int64_t until_us = clock_monotonic_us() + (int64_t)PATIENCE_MS * 1000;
    enum inquired inquired = inquiry_ask(l->inquiry, ask, arena, ret, l->why);
    while ((inquired == INQUIRED_NO_LEADER || inquired == INQUIRED_UNREACHABLE) &&
           clock_monotonic_us() < until_us) {
        pause_ms(LOOK_MS);
        if (l->table != NULL) { /* whom we asked may be the one that leaves */
            const struct member *next = &l->table->members[l->others++ % l->table->member_count];
            snprintf(l->inquiry->peer, sizeof l->inquiry->peer, "%s", next->facts.peer);
        }
        inquired = inquiry_ask(l->inquiry, ask, arena, ret, l->why);
    }
    return inquired;
}

static bool look(struct leaving *l)
{
    struct ask question = {.kind = ASK_STANDING, .member = l->member};
    struct arena arena = ARENA_EMPTY;
    struct answer answer;
    const struct table *table = NULL;
    if (ask(l, &question, &arena, &answer) == INQUIRED_DONE) {
        table = table_decode(answer.table, &arena);
        snprintf(l->why, sizeof l->why, "what the cluster answers is not understood");
    }
    if (table == NULL) {
        arena_free(&arena);
        return false;
    }
    arena_free(&l->arena);
    l->arena = arena;
    l->table = table;
    l->standing = answer.standing;
    return true;
}

/* ---- before it goes ----------------------------------------------------------------------------------------------- */

/* The member of that name; one that leaves only where no other has it. */
static const struct member *find(const struct table *table, const char *name)
{
    const struct member *found = NULL;
    for (unsigned i = 0; i < table->member_count; i++) {
        const struct member *member = &table->members[i];
        if (strcmp(member->facts.name, name) == 0 &&
            (found == NULL || member->state != MEMBER_LEAVING)) {
            found = member;
        }
    }
    return found;
}

static const struct member *find_named(struct leaving *l, const char *name)
{
    const struct member *member = find(l->table, name);
    if (member == NULL) {
        int len = snprintf(l->why, sizeof l->why, "The cluster has no member %.100s; it has", name);
        for (unsigned i = 0; i < l->table->member_count && len < (int)sizeof l->why; i++) {
            len += snprintf(l->why + len, sizeof l->why - (size_t)len, "%s %.60s",
                            i == 0 ? "" : ",", l->table->members[i].facts.name);
        }
    }
    return member;
}

/* Whether others could hold every replica; group 0 looks at it once more. */
static bool check_enough(struct leaving *l, const struct member *leaver)
{
    unsigned active =
        members_count(table_members(l->table, MEMBER_ACTIVE)) - (leaver->state == MEMBER_ACTIVE);
    bool enough = active >= l->table->replica_count || leaver->state == MEMBER_JOINING;
    if (!enough) {
        snprintf(l->why, sizeof l->why,
                 "Without %.100s %u active member%s would be left, and each partition has %u "
                 "replicas: join another member first. With --force it goes all the same, and "
                 "partitions have fewer replicas until another joins.",
                 leaver->facts.name, active, active == 1 ? "" : "s", l->table->replica_count);
    }
    return enough || l->config->force;
}

static bool find_successor(struct leaving *l)
{
    if (l->config->successor[0] == '\0') {
        return true;
    }
    const struct member *successor = find_named(l, l->config->successor);
    l->successor = successor == NULL ? 0 : successor->id;
    return successor != NULL;
}

static bool tell_to_leave(struct leaving *l)
{
    struct ask step = {.kind = ASK_STEP,
                       .step = {.kind = STEP_LEAVE,
                                .member = l->member,
                                .successor = l->successor,
                                .enough = !l->config->force}};
    struct arena arena = ARENA_EMPTY;
    struct answer answer;
    bool told = ask(l, &step, &arena, &answer) == INQUIRED_DONE;
    arena_free(&arena);
    return told;
}

/* When it was last changed; 0: it is not there. A step is refused that comes beside another about the same member, as when
   that is just being found to be down. */
static uint64_t changed(const struct leaving *l)
{
    int place = table_find(l->table, l->member);
    return place < 0 ? 0 : l->table->members[place].changed;
}

static bool tell_until_told(struct leaving *l)
{
    for (int tries = 0; tries < TRIES_MAX; tries++) {
        char why[INQUIRY_WHY_BYTES];
        uint64_t before = changed(l);
        if (tell_to_leave(l)) {
            return true;
        }
        memcpy(why, l->why, sizeof why);
        if (!look(l) || changed(l) == before) {
            memcpy(l->why, why, sizeof why);
            return false;
        }
    }
    return false;
}

/* Whoever has just joined is active within seconds. */
static bool wait_for_joiners(struct leaving *l)
{
    int64_t until_us = clock_monotonic_us() + (int64_t)PATIENCE_MS * 1000;
    bool known = look(l);
    while (known && table_members(l->table, MEMBER_JOINING) != 0 &&
           clock_monotonic_us() < until_us) {
        pause_ms(LOOK_MS);
        known = look(l);
    }
    return known;
}

static bool begin(struct leaving *l)
{
    if (!inquiry_find(l->inquiry, l->config->url, l->why) || !wait_for_joiners(l)) {
        return false;
    }
    l->name = l->config->member[0] != '\0' ? l->config->member : l->inquiry->name;
    const struct member *leaver = find_named(l, l->name);
    if (leaver == NULL || !find_successor(l)) {
        return false;
    }
    l->member = leaver->id;
    if (leaver->state == MEMBER_LEAVING) {
        printf("%s is leaving already.\n", l->name);
        return true;
    }
    return check_enough(l, leaver) && tell_until_told(l);
}

/* ---- while it goes ------------------------------------------------------------------------------------------------ */

/* What has been told is not taken back when a copy begins anew. */
static void show(const struct leaving *l, unsigned total, unsigned *shown)
{
    const struct standing *standing = &l->standing;
    unsigned done = (total - standing->held) * 1000 + standing->copied;
    unsigned percent = total == 0 ? 100 : done / (total * 10);
    if (*shown != NOTHING_SHOWN && percent <= *shown) {
        return;
    }
    *shown = percent;
    printf("%s leaves: %u%%, %u of %u replicas still there", l->name, percent, standing->held,
           total);
    if (standing->stuck > 0) {
        printf("; %u partition%s no leader now, and wait%s", standing->stuck,
               standing->stuck == 1 ? " has" : "s have", standing->stuck == 1 ? "s" : "");
    }
    printf("\n");
    fflush(stdout);
}

static bool wait_until_gone(struct leaving *l)
{
    unsigned total = 0, shown = NOTHING_SHOWN;
    while (look(l)) {
        if (table_find(l->table, l->member) < 0) {
            printf("%s has left.\n", l->name);
            return true;
        }
        total = l->standing.held > total ? l->standing.held : total;
        show(l, total, &shown);
        pause_ms(LOOK_MS);
    }
    return false;
}

int command_leave(const struct config *config)
{
    struct visitor *visitor = NULL;
    struct leaving leaving = {.config = config, .arena = ARENA_EMPTY};
    if (!visitor_open(config->cluster.secret_file, &visitor, leaving.why)) {
        return command_failed(leaving.why);
    }
    leaving.inquiry = visitor_inquiry(visitor);
    bool done = begin(&leaving);
    if (done && config->no_wait) {
        printf("%s leaves; ringhold ring shows how far it is.\n", leaving.name);
    }
    done = done && (config->no_wait || wait_until_gone(&leaving));
    arena_free(&leaving.arena);
    visitor_close(visitor);
    return done ? EXIT_DONE : command_failed(leaving.why);
}
