#include "tests/history/history.h"

#include "db/codec.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- random numbers ------------------------------------------------------------------------------------------- */

uint64_t chance_draw(struct chance *chance)
{
    /* SplitMix64 */
    uint64_t z = (chance->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

int64_t chance_below(struct chance *chance, int64_t n)
{
    return (int64_t)(chance_draw(chance) % (uint64_t)n);
}

bool chance_of(struct chance *chance, int percent)
{
    return chance_below(chance, 100) < percent;
}

/* ---- the history ---------------------------------------------------------------------------------------------- */

void history_add(struct history *history, struct model *model, enum happening what,
                 const struct command *command, bool commit)
{
    if (history->count == history->room) {
        history->room = history->room == 0 ? 256 : 2 * history->room;
        history->at = realloc(history->at, history->room * sizeof *history->at);
        assert(history->at != NULL);
    }
    struct entry *entry = &history->at[history->count++];
    *entry = (struct entry){
        .what = what, .bytes = command_encode(command, model->arena), .commit = commit};
    refs_note(model, command, entry->refs);
}

/* ---- names ---------------------------------------------------------------------------------------------------- */

typedef struct generator *gen; /* said in every line below */

static int64_t below(gen g, int64_t n)
{
    return chance_below(&g->chance, n);
}
static bool often(gen g, int percent)
{
    return chance_of(&g->chance, percent);
}
#define PICK(...) CHANCE_PICK(&g->chance, __VA_ARGS__)
#define NAME(...) arena_format(g->model->arena, __VA_ARGS__)

static long long serial(gen g)
{
    return ++g->serial;
}

/* Mostly of the routing key a, so that things meet; b is there to be refused. */
static char key(gen g)
{
    return often(g, 93) ? 'a' : 'b';
}

static struct text lock_name(gen g)
{
    return NAME("%c~l%lld", key(g), (long long)below(g, g->lock_names));
}

static struct text queue_name(gen g)
{
    return often(g, 5) ? NAME("b~q0") : NAME("a~q%lld", (long long)below(g, 3));
}

static struct text owner_name(gen g)
{
    return NAME("o%lld", (long long)below(g, g->owner_names));
}

static struct text hash_of(gen g)
{
    return NAME("a hash of 32 bytes, the %08lldth", serial(g) % 100000000);
}

static struct text json(gen g)
{
    return below(g, 2) ? NAME("{}")
                       : NAME("{\"a\":%lld,\"b\":{\"c\":\"%lld\",\"d\":[1]}}",
                              (long long)below(g, 10), serial(g));
}

static struct text json_patch(gen g)
{
    switch (below(g, 4)) {
    case 0:
        return NAME("{\"a\":null}");
    case 1:
        return NAME("{\"b\":{\"c\":null,\"e\":%lld}}", serial(g));
    case 2:
        return NAME("{\"b\":7,\"f\":[{\"g\":null}]}");
    default:
        return NAME("{}");
    }
}

/* Conditions that mostly hold. */
static struct condition condition(gen g, const struct grown *version, bool may_create)
{
    int64_t n = below(g, 100);
    return n < 70   ? UNCONDITIONAL
           : n < 85 ? (struct condition){version->known, false}
           : n < 92
               ? (struct condition){below(g, 2) ? version->before : version->known + 100000, false}
           : n < 96     ? (struct condition){IF_MATCH_ANY, false}
           : may_create ? (struct condition){ABSENT, true}
                        : UNCONDITIONAL;
}

/* ---- sessions ------------------------------------------------------------------------------------------------- */

/* One that lives, more often than not. */
static struct m_session *any_session(gen g)
{
    int64_t count = (int64_t)g->model->session_count;
    struct m_session *s = count == 0 ? NULL : &g->model->sessions[below(g, count)];
    for (int tries = 0; s != NULL && tries < 6 && !session_lives(g->model, s->id); tries++) {
        s = &g->model->sessions[below(g, count)];
    }
    return s;
}

static struct text session_id(gen g)
{
    const struct m_session *s = any_session(g);
    return s == NULL || often(g, 15) ? NAME("%c~s%lld", key(g), (long long)below(g, 4)) : s->id;
}

static struct condition session_condition(gen g, struct text id, bool may_create)
{
    struct grown version = {.known = 1};
    for (size_t i = 0; i < g->model->session_count; i++) {
        if (text_equal(g->model->sessions[i].id, id)) {
            version.known = g->model->sessions[i].version;
        }
    }
    version.before = version.known - 1;
    return condition(g, &version, may_create);
}

static int64_t idle_ttl(gen g)
{
    return PICK(50, 1000, 5000, 30000, 30000, 1800000);
}
static int64_t max_ttl(gen g)
{
    return PICK(100, 10000, 60000, 86400000, 86400000);
}

static struct session_create session_create_of(gen g)
{
    long long subject = (long long)below(g, 3);
    struct session_create c = {.id = NAME("%s~r%lld", subject == 1 ? "b" : "a", serial(g)),
                               .token_hash = hash_of(g),
                               .data = json(g),
                               .idle_ttl_ms = idle_ttl(g),
                               .max_ttl_ms = max_ttl(g),
                               .subject_limit = ABSENT};
    if (often(g, 65)) {
        c.subject = NAME("u%lld", subject);
        c.subject_limit = often(g, 60) ? 1 + below(g, 3) : ABSENT;
        c.evict_oldest = below(g, 2);
    }
    return c;
}

static struct session_resolve session_resolve_of(gen g)
{
    const struct m_session *s = any_session(g);
    bool right = s != NULL && text_given(s->token_hash) && often(g, 80);
    return (struct session_resolve){right ? s->id : session_id(g),
                                    right ? s->token_hash : hash_of(g)};
}

static struct session_rotate session_rotate_of(gen g)
{
    struct session_rotate c = {.id = session_id(g),
                               .new_random = NAME("r%lld", serial(g)),
                               .new_token_hash = hash_of(g),
                               .grace_ms = PICK(0, 0, 100, 5000),
                               .departs_at = ABSENT};
    if (often(g, 20)) {
        long long subject = (long long)below(g, 3);
        c.subject = NAME("u%lld", subject);
        c.subject_tag = subject == 1 ? TEXT("b") : TEXT("a");
    }
    return c;
}

static void session_change(gen g, struct command *c)
{
    struct text id = session_id(g);
    switch (below(g, 3)) {
    case 0:
        c->kind = COMMAND_SESSION_PUT;
        id = often(g, 60) ? NAME("%c~s%lld", key(g), (long long)below(g, 4)) : id;
        c->session_put = (struct session_put){.id = id,
                                              .data = json(g),
                                              .idle_ttl_ms = idle_ttl(g),
                                              .max_ttl_ms = max_ttl(g),
                                              .condition = session_condition(g, id, true)};
        break;
    case 1:
        c->kind = COMMAND_SESSION_PATCH;
        c->session_patch =
            (struct session_patch){.id = id,
                                   .data_patch = often(g, 80) ? json_patch(g) : TEXT_ABSENT,
                                   .clear_data = often(g, 10),
                                   .idle_ttl_ms = often(g, 30) ? idle_ttl(g) : ABSENT,
                                   .max_ttl_ms = often(g, 20) ? max_ttl(g) : ABSENT,
                                   .condition = session_condition(g, id, false)};
        break;
    default:
        c->kind = COMMAND_SESSION_TOUCH;
        c->session_touch = (struct session_key){id, session_condition(g, id, false)};
        break;
    }
}

static void session_command(gen g, struct command *c)
{
    int64_t n = below(g, 100);
    struct text id = session_id(g);
    if (n < 22) {
        c->kind = COMMAND_SESSION_CREATE;
        c->session_create = session_create_of(g);
    } else if (n < 65) {
        session_change(g, c);
    } else if (n < 77) {
        c->kind = COMMAND_SESSION_RESOLVE;
        c->session_resolve = session_resolve_of(g);
    } else if (n < 88) {
        c->kind = COMMAND_SESSION_ROTATE;
        c->session_rotate = session_rotate_of(g);
    } else if (n < 96) {
        c->kind = COMMAND_SESSION_DELETE;
        c->session_delete = (struct session_key){id, session_condition(g, id, false)};
    } else {
        c->kind = COMMAND_SUBJECT_REVOKE;
        c->subject_revoke = (struct subject_revoke){NAME("u%lld", (long long)below(g, 3)),
                                                    below(g, 2) ? id : TEXT_ABSENT};
    }
}

static void session_read(gen g, struct command *c)
{
    switch (below(g, 3)) {
    case 0:
        c->kind = COMMAND_SESSION_GET;
        c->session_get = (struct session_key){session_id(g), UNCONDITIONAL};
        break;
    case 1:
        c->kind = COMMAND_SESSION_LOOKUP;
        c->session_lookup = session_resolve_of(g);
        break;
    default:
        c->kind = COMMAND_SUBJECT_LIST;
        c->subject_list = (struct subject_list){NAME("u%lld", (long long)below(g, 3)),
                                                {TEXT_ABSENT, PAGE_ITEMS_MAX}};
        break;
    }
}

/* ---- locks ---------------------------------------------------------------------------------------------------- */

static struct m_lease *any_lease(gen g)
{
    return g->model->lease_count == 0 ? NULL
                                      : &g->model->leases[below(g, (int64_t)g->model->lease_count)];
}

/* A lease and the lock it is on: mostly one that lives. */
static struct lease_key lease_of(gen g)
{
    const struct m_lease *lease = any_lease(g);
    if (lease != NULL && often(g, 80)) {
        return (struct lease_key){g->model->locks[lease->lock].name, lease->id};
    }
    if (g->model->ended_count > 0 && often(g, 70)) {
        const struct m_ended *ended = &g->model->ended[below(g, (int64_t)g->model->ended_count)];
        return (struct lease_key){g->model->locks[ended->lock].name, ended->lease};
    }
    return (struct lease_key){lock_name(g), TEXT("nobody")};
}

static int64_t ttl(gen g)
{
    return PICK(20, 100, 1000, 6000, 6000, 30000, 30000);
}
static int64_t wait(gen g)
{
    return PICK(0, 0, 50, 500, 5000, 20000);
}
static int64_t lock_delay(gen g)
{
    return PICK(ABSENT, ABSENT, 0, 50, 1000);
}
/* What the lock can grant, mostly. */
static int64_t permits(gen g, struct text lock)
{
    return often(g, 4) ? PICK(2, 3) : 1 + below(g, model_lock_named(g->model, lock)->limit);
}
static struct text bound(gen g)
{
    return often(g, 25) ? session_id(g) : TEXT_ABSENT;
}
static struct text lease_id(gen g)
{
    return often(g, 88) ? NAME("n%lld", serial(g)) : lease_of(g).lease;
}

/* The version of a lease, or of the set's member that stands for the set. */
static const struct grown *lease_version(gen g, struct text name, struct text id)
{
    static const struct grown NEVER = {.known = 1};
    for (size_t i = 0; i < g->model->lease_count; i++) {
        const struct m_lease *lease = &g->model->leases[i];
        if (text_equal(lease->id, id) && text_equal(g->model->locks[lease->lock].name, name)) {
            return &lease->version;
        }
    }
    return &NEVER;
}

static struct lease_acquire lease_acquire_of(gen g, bool may_wait)
{
    struct text name = lock_name(g);
    struct text id = lease_id(g);
    return (struct lease_acquire){.name = name,
                                  .lease = id,
                                  .owner = owner_name(g),
                                  .session = bound(g),
                                  .metadata = json(g),
                                  .ttl_ms = ttl(g),
                                  .mode = often(g, 35) ? LEASE_SHARED : LEASE_EXCLUSIVE,
                                  .permits = permits(g, name),
                                  .wait_ms = may_wait ? wait(g) : 0,
                                  .lock_delay_ms = lock_delay(g),
                                  .async = may_wait && often(g, 30),
                                  .condition = condition(g, lease_version(g, name, id), true)};
}

static struct lock_set_acquire lock_set_acquire_of(gen g, bool may_wait)
{
    size_t count = (size_t)(1 + below(g, g->lock_names < 3 ? g->lock_names : 3));
    struct lock_set_member *members = arena_zalloc(g->model->arena, count, sizeof *members);
    int64_t first = below(g, g->lock_names);
    for (size_t i = 0; i < count; i++) {
        bool odd = often(g, 4); /* the same twice, or of another routing key */
        members[i].name =
            odd ? lock_name(g) : NAME("a~l%lld", (long long)((first + (int64_t)i) % g->lock_names));
        members[i].mode = often(g, 35) ? LEASE_SHARED : LEASE_EXCLUSIVE;
        members[i].permits = permits(g, members[i].name);
    }
    struct text id = lease_id(g);
    return (struct lock_set_acquire){.lease = id,
                                     .owner = owner_name(g),
                                     .session = bound(g),
                                     .metadata = json(g),
                                     .ttl_ms = ttl(g),
                                     .wait_ms = may_wait ? wait(g) : 0,
                                     .lock_delay_ms = lock_delay(g),
                                     .locks = {members, count},
                                     .async = may_wait && often(g, 30),
                                     .condition =
                                         condition(g, lease_version(g, members[0].name, id), true)};
}

/* The locks of the set that the lease belongs to, in the order they were asked for. */
static struct names set_names(gen g, const struct m_lease *lease)
{
    struct text *names = arena_zalloc(g->model->arena, LOCK_SET_MAX, sizeof *names);
    size_t count = 0;
    for (size_t i = 0; i < g->model->lease_count; i++) {
        if (g->model->leases[i].set == lease->set) {
            names[count++] = g->model->locks[g->model->leases[i].lock].name;
        }
    }
    return (struct names){names, count};
}

static int64_t ticket_of(gen g, const struct m_lease *lease)
{
    return often(g, 80) ? lease->ticket.known : lease->ticket.known - 1;
}

/* What whoever waits does: looks whether it is its turn, or hangs up. */
static void waiter_command(gen g, struct command *c)
{
    const struct m_lease *lease = any_lease(g);
    for (int i = 0; i < 8 && lease != NULL && lease->collected; i++) {
        lease = any_lease(g);
    }
    bool collects = often(g, 60);
    if (lease != NULL && lease->set != 0 && often(g, 80)) {
        const struct m_lease *first = lease;
        while (first > g->model->leases && first[-1].set == lease->set) {
            first--;
        }
        struct names names = set_names(g, lease);
        c->kind = collects ? COMMAND_LOCK_SET_COLLECT : COMMAND_LOCK_SET_ABANDON;
        if (collects) {
            c->lock_set_collect = (struct lock_set_key){lease->id, names};
        } else {
            c->lock_set_abandon = (struct lock_set_abandon){lease->id, names, ticket_of(g, first)};
        }
        return;
    }
    struct lease_key named = lease_of(g);
    if (lease != NULL && often(g, 85)) {
        named = (struct lease_key){g->model->locks[lease->lock].name, lease->id};
    }
    c->kind = collects ? COMMAND_LEASE_COLLECT : COMMAND_LEASE_ABANDON;
    if (collects) {
        c->lease_collect = named;
    } else {
        c->lease_abandon = (struct lease_abandon){named.name, named.lease,
                                                  lease == NULL ? 1 : ticket_of(g, lease)};
    }
}

static void lock_change(gen g, struct command *c)
{
    struct text name = lock_name(g);
    const struct grown *version = &model_lock_named(g->model, name)->version;
    if (often(g, 60)) {
        c->kind = COMMAND_LOCK_PUT;
        c->lock_put = (struct lock_put){.name = name,
                                        .limit = PICK(1, 1, 2, 3, 4),
                                        .lock_delay_ms = PICK(0, 0, 50, 1000),
                                        .condition = condition(g, version, true)};
    } else {
        c->kind = COMMAND_LOCK_BREAK;
        c->lock_break = (struct lock_break){.name = name,
                                            .reason = below(g, 2) ? TEXT("stuck") : TEXT_ABSENT,
                                            .lock_delay_ms = lock_delay(g),
                                            .condition = condition(g, version, false)};
    }
}

static void lease_change(gen g, struct command *c)
{
    struct lease_key named = lease_of(g);
    const struct m_lease *lease = any_lease(g);
    int64_t n = below(g, 100);
    if (n < 50) {
        c->kind = COMMAND_LEASE_RELEASE;
        c->lease_release =
            (struct lease_release){named.name, named.lease,
                                   condition(g, lease_version(g, named.name, named.lease), false)};
    } else if (n < 75) {
        c->kind = COMMAND_LEASE_RENEW;
        c->lease_renew =
            (struct lease_renew){named.name, named.lease, below(g, 2) ? ttl(g) : ABSENT,
                                 condition(g, lease_version(g, named.name, named.lease), false)};
    } else {
        c->kind = COMMAND_LEASE_PATCH;
        if (lease != NULL && often(g, 90)) {
            named = (struct lease_key){g->model->locks[lease->lock].name, lease->id};
        }
        c->lease_patch = (struct lease_patch){
            .name = named.name,
            .lease = named.lease,
            .metadata_patch = often(g, 70) ? json_patch(g) : TEXT_ABSENT,
            .clear_metadata = often(g, 10),
            .mode = PICK(ABSENT, LEASE_SHARED, LEASE_EXCLUSIVE),
            .condition = condition(g, lease_version(g, named.name, named.lease), false)};
    }
}

/* What was asked for with the lease. */
static struct lease_acquire request_of(gen g, const struct m_lease *lease, bool may_wait)
{
    return (struct lease_acquire){.name = g->model->locks[lease->lock].name,
                                  .lease = lease->id,
                                  .owner = lease->owner,
                                  .session = lease->session,
                                  .metadata = lease->metadata,
                                  .ttl_ms = lease->ttl_ms,
                                  .mode = lease->mode,
                                  .permits = lease->permits,
                                  .wait_ms = may_wait ? wait(g) : 0,
                                  .lock_delay_ms = lease->lock_delay_ms,
                                  .async = may_wait && often(g, 30),
                                  .condition = UNCONDITIONAL};
}

/* The same for the set that left its places with that member. */
static struct lock_set_acquire set_request_of(gen g, const struct m_lease *left, bool may_wait)
{
    struct lock_set_member *members = arena_zalloc(g->model->arena, LOCK_SET_MAX, sizeof *members);
    size_t count = 0;
    for (size_t i = 0; i < g->model->ended_count; i++) {
        const struct m_ended *ended = &g->model->ended[i];
        if (ended->reason == REASON_LEFT && ended->left.set == left->set) {
            members[count++] = (struct lock_set_member){g->model->locks[ended->lock].name,
                                                        ended->left.mode, ended->left.permits};
        }
    }
    struct lease_acquire one = request_of(g, left, may_wait);
    return (struct lock_set_acquire){.lease = one.lease,
                                     .owner = one.owner,
                                     .session = one.session,
                                     .metadata = one.metadata,
                                     .ttl_ms = one.ttl_ms,
                                     .wait_ms = one.wait_ms,
                                     .lock_delay_ms = one.lock_delay_ms,
                                     .locks = {members, count},
                                     .async = one.async,
                                     .condition = UNCONDITIONAL};
}

/* The request of who hung up last, again. False: nobody has of late. */
static bool come_back(gen g, struct command *c, bool may_wait)
{
    size_t at = g->model->ended_count;
    while (at > 0 && g->model->ended[at - 1].reason != REASON_LEFT) {
        at--;
    }
    if (at == 0) {
        return false;
    }
    const struct m_lease *left = &g->model->ended[at - 1].left;
    if (left->set != 0) {
        c->kind = COMMAND_LOCK_SET_ACQUIRE;
        c->lock_set_acquire = set_request_of(g, left, may_wait);
    } else {
        c->kind = COMMAND_LEASE_ACQUIRE;
        c->lease_acquire = request_of(g, left, may_wait);
    }
    return true;
}

static void lock_command(gen g, struct command *c, bool in_transaction)
{
    int64_t n = below(g, 100);
    if (often(g, 8) && come_back(g, c, !in_transaction)) {
        return;
    }
    if (n < 36) {
        c->kind = COMMAND_LEASE_ACQUIRE;
        c->lease_acquire = lease_acquire_of(g, !in_transaction);
    } else if (n < 48) {
        c->kind = COMMAND_LOCK_SET_ACQUIRE;
        c->lock_set_acquire = lock_set_acquire_of(g, !in_transaction);
    } else if (n < 66 && !in_transaction) {
        waiter_command(g, c);
    } else if (n < 90) {
        lease_change(g, c);
    } else {
        lock_change(g, c);
    }
}

static void lock_read(gen g, struct command *c)
{
    struct text name = lock_name(g);
    int64_t fence = model_lock_named(g->model, name)->fence.known;
    switch (below(g, 4)) {
    case 0:
        c->kind = COMMAND_LEASE_GET;
        c->lease_get = lease_of(g);
        break;
    case 1:
        c->kind = COMMAND_LOCK_GET;
        c->lock_get = (struct lock_key){name};
        break;
    case 2:
        c->kind = COMMAND_FENCE_CHECK;
        c->fence_check = (struct fence_check){name, often(g, 80) ? fence : fence - 1};
        break;
    default:
        c->kind = COMMAND_LOCK_LIST;
        c->lock_list = (struct lock_list){below(g, 2) ? TEXT("a~") : TEXT_ABSENT,
                                          below(g, 2) ? owner_name(g) : TEXT_ABSENT,
                                          {TEXT_ABSENT, PAGE_ITEMS_MAX}};
        break;
    }
}

/* ---- queues --------------------------------------------------------------------------------------------------- */

/* Each queue sends its dead letters to the next, or tries what must be refused. So no queue has dead letters of two,
   whose order within one TICK nobody promises. */
static struct text dead_letter(gen g, struct text queue)
{
    if (often(g, 45)) {
        return TEXT("");
    }
    if (often(g, 10)) {
        return often(g, 50) ? TEXT("b~q9") : queue;
    }
    return NAME("a~q%d", (queue.at[queue.len - 1] - '0' + 1) % 3);
}

static struct queue_config queue_config_of(gen g, struct text queue)
{
    return (struct queue_config){.lease_ms = PICK(50, 1000, 30000),
                                 .max_attempts = PICK(0, 1, 2, 3, 16),
                                 .retention_ms = PICK(2000, 60000, 1209600000),
                                 .delay_ms = PICK(0, 0, 0, 200),
                                 .dedup_window_ms = PICK(0, 1000, 300000),
                                 .max_depth = PICK(0, 0, 4, 10),
                                 .backoff_base_ms = PICK(0, 10, 300),
                                 .backoff_factor_milli = PICK(1000, 1500, 2000, 3000),
                                 .backoff_max_ms = PICK(100, 1000, 3600000),
                                 .rate_per_s = PICK(0, 0, 1, 20),
                                 .rate_burst = PICK(0, 1, 5, 20),
                                 .group_concurrency = PICK(1, 1, 2, 3),
                                 .paused = often(g, 12),
                                 .dead_letter = dead_letter(g, queue)};
}

/* Some of the fields are left out: they stay, or have their defaults. */
static struct queue_config queue_config_with(gen g, struct text queue, int percent)
{
    struct queue_config c = queue_config_of(g, queue);
    int64_t *const fields[] = {&c.lease_ms,        &c.max_attempts,         &c.retention_ms,
                               &c.delay_ms,        &c.dedup_window_ms,      &c.max_depth,
                               &c.backoff_base_ms, &c.backoff_factor_milli, &c.backoff_max_ms,
                               &c.rate_per_s,      &c.rate_burst,           &c.group_concurrency,
                               &c.paused};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        *fields[i] = often(g, percent) ? *fields[i] : ABSENT;
    }
    c.dead_letter = often(g, percent + 10) ? c.dead_letter : TEXT_ABSENT;
    return c;
}

static struct message_new message_new_of(gen g)
{
    static char large[700];
    memset(large, 'x', sizeof large - 1); /* lies apart from what changes with each delivery */
    struct message_new m = {
        .body = often(g, 8) ? NAME("\"%lld%s\"", serial(g), large) : NAME("%lld", serial(g)),
        .attributes = often(g, 30) ? NAME("{\"k\":\"%lld\"}", serial(g)) : TEXT_ABSENT,
        .group = below(g, 2) ? NAME("g%lld", (long long)below(g, 3)) : TEXT_ABSENT,
        .dedup_id = often(g, 25) ? NAME("d%lld", (long long)below(g, 6)) : TEXT_ABSENT,
        .priority = often(g, 60) ? 0 : below(g, 10),
        .delay_ms = ABSENT,
        .deliver_at_ms = ABSENT,
        .ttl_ms = PICK(ABSENT, ABSENT, ABSENT, 100, 5000)};
    if (often(g, 30)) {
        *(often(g, 80) ? &m.delay_ms : &m.deliver_at_ms) = PICK(0, 50, 1000);
        m.deliver_at_ms += m.deliver_at_ms == ABSENT ? 0 : g->clock.now_ms - 20;
    }
    return m;
}

static struct message_send message_send_of(gen g)
{
    size_t count = (size_t)(1 + (often(g, 60) ? 0 : below(g, 5)));
    struct message_new *messages = arena_zalloc(g->model->arena, count, sizeof *messages);
    for (size_t i = 0; i < count; i++) {
        messages[i] = message_new_of(g);
    }
    return (struct message_send){queue_name(g), {messages, count}, often(g, 70)};
}

static struct message_receive message_receive_of(gen g)
{
    return (struct message_receive){queue_name(g), below(g, 2) ? owner_name(g) : TEXT_ABSENT,
                                    PICK(1, 1, 2, 4, 20), PICK(ABSENT, ABSENT, 20, 2000)};
}

/* A receipt: of the queue, mostly, and mostly one that still holds its message. */
static void receipt(gen g, struct text queue, int64_t *ret_message, int64_t *ret_fence)
{
    struct model *model = g->model;
    size_t held = 0, known = model->receipt_count < M_RECEIPTS ? model->receipt_count : M_RECEIPTS;
    *ret_message = 1 + below(g, 5);
    *ret_fence = 1 + below(g, 100);
    if (known > 0 && often(g, 15)) {
        const struct m_receipt *r = &model->receipts[below(g, (int64_t)known)];
        *ret_message = r->sequence;
        *ret_fence = r->fence;
        return;
    }
    for (size_t i = 0; i < model->message_count; i++) {
        const struct m_message *m = &model->messages[i];
        if (m->state == M_LEASED && text_equal(model->queues[m->queue].name, queue) &&
            below(g, (int64_t)++held) == 0) {
            *ret_message = m->sequence;
            *ret_fence = m->fence;
        }
    }
}

/* A queue with messages that are held, if there is one. */
static struct text worked_queue(gen g)
{
    const struct model *model = g->model;
    struct text name = queue_name(g);
    int64_t held = 0;
    for (size_t i = 0; i < model->message_count && often(g, 95); i++) {
        const struct m_message *m = &model->messages[i];
        if (m->state == M_LEASED && below(g, ++held) == 0) {
            name = model->queues[m->queue].name;
        }
    }
    return name;
}

static struct message_settle message_settle_of(gen g)
{
    size_t count = (size_t)(1 + (below(g, 2) ? 0 : below(g, 4)));
    struct settlement *items = arena_zalloc(g->model->arena, count, sizeof *items);
    struct text queue = worked_queue(g);
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct settlement){.action = PICK(SETTLE_ACK, SETTLE_ACK, SETTLE_NACK,
                                                      SETTLE_NACK, SETTLE_EXTEND, SETTLE_REJECT),
                                       .delay_ms = PICK(ABSENT, ABSENT, 0, 100),
                                       .lease_ms = PICK(20, 1000),
                                       .reason = often(g, 40) ? NAME("failed %lld", serial(g))
                                                              : TEXT_ABSENT};
        receipt(g, queue, &items[i].message, &items[i].fence);
    }
    return (struct message_settle){queue, {items, count}, often(g, 30)};
}

static struct message_delete message_delete_of(gen g)
{
    struct message_delete c = {.queue = worked_queue(g)};
    receipt(g, c.queue, &c.message, &c.fence);
    if (below(g, 2)) {
        size_t count = g->model->message_count;
        c.fence = ABSENT;
        c.message = count == 0 ? 1 : g->model->messages[below(g, (int64_t)count)].sequence;
    }
    return c;
}

static struct queue_redrive queue_redrive_of(gen g)
{
    struct queue_redrive c = {
        .queue = queue_name(g), .max = PICK(ABSENT, ABSENT, 1, 2), .by_id = often(g, 30)};
    if (c.by_id) {
        int64_t *ids = arena_zalloc(g->model->arena, 3, sizeof *ids);
        for (size_t i = 0; i < 3; i++) {
            ids[i] = i > 0 ? ids[i - 1] + 1 + below(g, 3) : 1 + below(g, 6);
        }
        c.max = ABSENT;
        c.ids = (struct message_ids){ids, 3};
    }
    return c;
}

static void queue_change(gen g, struct command *c)
{
    struct text name = queue_name(g);
    const struct grown *version = &model_queue_named(g->model, name)->version;
    int64_t n = below(g, 100);
    if (n < 88) {
        bool patch = n < 50;
        c->kind = patch ? COMMAND_QUEUE_PATCH : COMMAND_QUEUE_PUT;
        c->queue_put = (struct queue_put){name, queue_config_with(g, name, patch ? 20 : 85),
                                          condition(g, version, true)};
    } else {
        c->kind = COMMAND_QUEUE_DELETE;
        c->queue_delete = (struct queue_delete){name, often(g, 60), condition(g, version, false)};
    }
}

static void queue_command(gen g, struct command *c)
{
    int64_t n = below(g, 100);
    if (n < 13) {
        queue_change(g, c);
    } else if (n < 43) {
        c->kind = COMMAND_MESSAGE_SEND;
        c->message_send = message_send_of(g);
    } else if (n < 66) {
        c->kind = COMMAND_MESSAGE_RECEIVE;
        c->message_receive = message_receive_of(g);
    } else if (n < 86) {
        c->kind = COMMAND_MESSAGE_SETTLE;
        c->message_settle = message_settle_of(g);
    } else if (n < 92) {
        c->kind = COMMAND_MESSAGE_DELETE;
        c->message_delete = message_delete_of(g);
    } else if (n < 98) {
        c->kind = COMMAND_QUEUE_REDRIVE;
        c->queue_redrive = queue_redrive_of(g);
    } else {
        c->kind = COMMAND_QUEUE_PURGE;
        c->queue_purge =
            (struct queue_purge){.queue = queue_name(g),
                                 .state = PICK(MESSAGE_ANY, MESSAGE_READY, MESSAGE_DELAYED,
                                               MESSAGE_LEASED, MESSAGE_DEAD),
                                 .max = PICK(ABSENT, ABSENT, 1, 2)};
    }
}

static void queue_read(gen g, struct command *c)
{
    struct text name = queue_name(g);
    int64_t count = (int64_t)g->model->message_count;
    switch (below(g, 4)) {
    case 0:
        c->kind = COMMAND_QUEUE_GET;
        c->queue_get = (struct queue_key){name};
        break;
    case 1:
        c->kind = COMMAND_QUEUE_LIST;
        c->queue_list = (struct queue_list){below(g, 2) ? TEXT("a~") : TEXT_ABSENT,
                                            {TEXT_ABSENT, PAGE_ITEMS_MAX}};
        break;
    case 2:
        c->kind = COMMAND_MESSAGE_GET;
        c->message_get = (struct message_key){
            name, count == 0 ? 1 : g->model->messages[below(g, count)].sequence};
        break;
    default:
        c->kind = COMMAND_MESSAGE_LIST;
        c->message_list = (struct message_list){
            name,
            often(g, 30) ? TEXT("g0") : TEXT_ABSENT,
            PICK(MESSAGE_ANY, MESSAGE_READY, MESSAGE_DELAYED, MESSAGE_LEASED, MESSAGE_DEAD),
            {TEXT_ABSENT, PAGE_ITEMS_MAX}};
        break;
    }
}

/* ---- all ------------------------------------------------------------------------------------------------------ */

static void any_read(gen g, struct command *c)
{
    int64_t n = below(g, g->sessions + g->locks + g->queues);
    if (n < g->sessions) {
        session_read(g, c);
    } else if (n < g->sessions + g->locks) {
        lock_read(g, c);
    } else {
        queue_read(g, c);
    }
}

static void any_write(gen g, struct command *c, bool in_transaction)
{
    int64_t n = below(g, g->sessions + g->locks + g->queues);
    if (n < g->sessions) {
        session_command(g, c);
    } else if (n < g->sessions + g->locks) {
        lock_command(g, c, in_transaction);
    } else {
        queue_command(g, c);
    }
}

/* Several commands, all or none; reads among them guard the others. */
static void transaction_command(gen g, struct command *c)
{
    size_t count = (size_t)(2 + below(g, 3));
    struct command *operations = arena_zalloc(g->model->arena, count, sizeof *operations);
    for (size_t i = 0; i < count; i++) {
        if (often(g, 15)) {
            any_read(g, &operations[i]);
        } else {
            any_write(g, &operations[i], true);
        }
    }
    c->kind = COMMAND_TRANSACTION;
    c->transaction.operations = (struct commands){operations, count};
}

/* An Idempotency-Key: mostly a new one, or an earlier command again, with its key or under it. */
static void with_key(gen g, struct command *c)
{
    struct command earlier;
    bool again = g->history->count > 0 && often(g, 50);
    const struct entry *entry =
        again
            ? &g->history
                   ->at[g->history->count - 1 -
                        (size_t)below(g, g->history->count < 40 ? (int64_t)g->history->count : 40)]
            : NULL;
    c->idempotency =
        (struct idempotency){hash_of(g), hash_of(g), often(g, 30) ? TEXT("sealed") : TEXT_ABSENT};
    if (again && command_decode(entry->bytes, g->model->arena, &earlier) &&
        text_given(earlier.idempotency.key_hash)) {
        if (often(g, 80)) {
            *c = earlier;
        } else {
            c->idempotency.key_hash = earlier.idempotency.key_hash;
        }
    }
}

/* An earlier acquire, or anything, once more: a client that did not hear the answer. */
static bool repeat_command(gen g, struct command *c)
{
    size_t back = (size_t)(1 + below(g, 30));
    return back <= g->history->count &&
           g->history->at[g->history->count - back].what == HAPPENS_COMMAND &&
           command_decode(g->history->at[g->history->count - back].bytes, g->model->arena, c);
}

static void any_command(gen g, struct command *c)
{
    if (often(g, 10) && repeat_command(g, c)) {
        return;
    }
    if (often(g, 9)) {
        any_read(g, c);
        return;
    }
    if (often(g, 8)) {
        transaction_command(g, c);
    } else {
        any_write(g, c, false);
    }
    if (often(g, 15)) {
        with_key(g, c);
    }
    if (below(g, 400) == 0) {
        *c = (struct command){.kind = COMMAND_FENCE_STEP, .fence_step = {1 + below(g, 1000)}};
    }
}

/* ---- time ----------------------------------------------------------------------------------------------------- */

/* To an instant at which something happens by itself, to right before it, or to right after. */
static void pass_to_boundary(gen g)
{
    static struct instants instants;
    model_instants(g->model, &instants);
    int64_t off = PICK(-1, 0, 0, 0, 1);
    bool by_wall = instants.lease_count == 0 || (instants.wall_count > 0 && below(g, 2));
    int64_t *clock = by_wall ? &g->clock.now_ms : &g->clock.lease_now_ms;
    int64_t *other = by_wall ? &g->clock.lease_now_ms : &g->clock.now_ms;
    int64_t count = (int64_t)(by_wall ? instants.wall_count : instants.lease_count);
    if (count == 0) {
        return;
    }
    int64_t to = (by_wall ? instants.wall_ms : instants.lease_ms)[below(g, count)] + off;
    for (int tries = 0; tries < 8; tries++) { /* the nearest of some, and not what is past */
        int64_t at = (by_wall ? instants.wall_ms : instants.lease_ms)[below(g, count)] + off;
        to = at >= *clock && (to < *clock || at < to) ? at : to;
    }
    int64_t passed_ms = to - *clock;
    if (passed_ms > 0 && (passed_ms <= 20 * g->pace_ms || often(g, 5))) {
        *clock = to;
        *other += often(g, 80) ? passed_ms : 0;
    }
}

static void pass(gen g)
{
    int64_t n = below(g, 1000);
    int64_t ms = n < 550   ? 0
                 : n < 850 ? 1 + below(g, g->pace_ms)
                 : n < 862 ? 1 + below(g, 40 * g->pace_ms)
                 : n < 863 ? 1 + below(g, 4 * HOUR_MS)
                 : n < 864 ? 1 + below(g, 2 * DAY_MS)
                           : 0;
    if (n >= 864) {
        pass_to_boundary(g);
    }
    int64_t how = below(g, 100);
    g->clock.now_ms += how < 4 ? -ms : how < 8 ? 0 : ms; /* the wall clock is set back, or stands */
    g->clock.lease_now_ms += how >= 8 && how < 12 ? 0 : ms; /* nobody was there to count */
}

void generator_begin(struct generator *generator, uint64_t seed, struct model *model,
                     struct history *history)
{
    gen g = generator;
    *g = (struct generator){.chance = {seed * UINT64_C(0x2545f4914f6cdd1d) + 1},
                            .model = model,
                            .history = history,
                            .clock = {1000000, 0}};
    /* Each history has its own weights: many of one kind meet more often than a few of all. */
    g->sessions = (int)PICK(1, 1, 3, 0);
    g->locks = (int)PICK(1, 1, 4, 0);
    g->queues = (int)PICK(1, 1, 4, 0);
    g->locks += g->sessions + g->locks + g->queues == 0;
    g->lock_names = (int)PICK(1, 2, 3, 4);
    g->owner_names = (int)PICK(2, 3, 5);
    g->pace_ms = PICK(5, 50, 500, 5000);
}

/* Few, so that a TICK leaves something to the next: two at the least (a lock-delay's end, and a grant), and with
   messages that are held all that there are, as a TICK steps over them each time. */
static int64_t tick_steps(gen g)
{
    for (size_t i = 0; i < g->model->message_count; i++) {
        if (g->model->messages[i].state == M_LEASED) {
            return TICK_STEPS_MAX;
        }
    }
    return PICK(2, 3, 50, TICK_STEPS_MAX);
}

void generator_step(struct generator *generator)
{
    gen g = generator;
    struct command c = {.kind = COMMAND_TICK, .tick = {tick_steps(g)}};
    enum happening what = HAPPENS_COMMAND;
    pass(g);
    int64_t n = below(g, 1000);
    if (n < 130) {
        what = HAPPENS_TICKS;
    } else if (n < 135) {
        what = HAPPENS_REOPEN;
    } else {
        c = (struct command){.kind = COMMAND_TICK};
        any_command(g, &c);
    }
    c.stamp = g->clock;
    history_add(g->history, g->model, what, &c, often(g, 60));
}
