/* Sessions: every state against every command, the two clocks, tokens and rotation, a subject's sessions. */
#include "tests/unit/fixture.h"

#include "db/sessions.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define IDLE_MS (30 * MINUTE_MS)
#define MAX_MS DAY_MS
#define GRACE_MS (10 * SECOND_MS)

static const char HASH[] = "0123456789abcdef0123456789abcdeF";
static const char NEW_HASH[] = "fedcba9876543210fedcba987654321F";
static const char WRONG_HASH[] = "0123456789abcdef0123456789abcdeE";

/* ---- saying things briefly ---------------------------------------------------------------------------------------- */

static struct command create_command(const char *id, const char *subject)
{
    return (struct command){
        .kind = COMMAND_SESSION_CREATE,
        .session_create = {.id = text_of(id),
                           .token_hash = TEXT("0123456789abcdef0123456789abcdeF"),
                           .subject = text_of(subject),
                           .data = TEXT("{\"cart\":3}"),
                           .idle_ttl_ms = IDLE_MS,
                           .max_ttl_ms = MAX_MS,
                           .subject_limit = ABSENT}};
}

static struct result create(struct fixture *f, const char *id, const char *subject)
{
    return fixture_do(f, create_command(id, subject));
}

static struct result create_limited(struct fixture *f, const char *id, int64_t limit, bool evict)
{
    struct command command = create_command(id, "ada");
    command.session_create.subject_limit = limit;
    command.session_create.evict_oldest = evict;
    return fixture_do(f, command);
}

static struct result put_if(struct fixture *f, const char *id, const char *data,
                            struct condition condition)
{
    return fixture_do(f, (struct command){.kind = COMMAND_SESSION_PUT,
                                          .session_put = {.id = text_of(id),
                                                          .data = text_of(data),
                                                          .idle_ttl_ms = IDLE_MS,
                                                          .max_ttl_ms = MAX_MS,
                                                          .condition = condition}});
}

static struct result put(struct fixture *f, const char *id, const char *data)
{
    return put_if(f, id, data, UNCONDITIONAL);
}

static struct result put_ttls(struct fixture *f, const char *id, int64_t idle_ttl_ms,
                              int64_t max_ttl_ms)
{
    return fixture_do(f, (struct command){.kind = COMMAND_SESSION_PUT,
                                          .session_put = {.id = text_of(id),
                                                          .data = TEXT("{}"),
                                                          .idle_ttl_ms = idle_ttl_ms,
                                                          .max_ttl_ms = max_ttl_ms,
                                                          .condition = UNCONDITIONAL}});
}

static struct command patch_command(const char *id, const char *patch)
{
    return (struct command){.kind = COMMAND_SESSION_PATCH,
                            .session_patch = {.id = text_of(id),
                                              .data_patch = text_of(patch),
                                              .idle_ttl_ms = ABSENT,
                                              .max_ttl_ms = ABSENT,
                                              .condition = UNCONDITIONAL}};
}

static struct result patch(struct fixture *f, const char *id, const char *text)
{
    return fixture_do(f, patch_command(id, text));
}

static struct command key_command(enum command_kind kind, const char *id)
{
    struct session_key key = {.id = text_of(id), .condition = UNCONDITIONAL};
    struct command command = {.kind = kind};
    command.session_get = key; /* get, touch and delete are of one struct */
    return command;
}

static struct result get(struct fixture *f, const char *id)
{
    return fixture_read(f, key_command(COMMAND_SESSION_GET, id));
}

static struct result touch(struct fixture *f, const char *id)
{
    return fixture_do(f, key_command(COMMAND_SESSION_TOUCH, id));
}

static struct result end(struct fixture *f, const char *id)
{
    return fixture_do(f, key_command(COMMAND_SESSION_DELETE, id));
}

static struct command resolve_command(enum command_kind kind, const char *id, const char *hash)
{
    struct command command = {.kind = kind};
    command.session_resolve = (struct session_resolve){.id = text_of(id), .token_hash = {hash, 32}};
    return command;
}

static struct result resolve(struct fixture *f, const char *id, const char *hash)
{
    return fixture_do(f, resolve_command(COMMAND_SESSION_RESOLVE, id, hash));
}

static struct result lookup(struct fixture *f, const char *id, const char *hash)
{
    return fixture_read(f, resolve_command(COMMAND_SESSION_LOOKUP, id, hash));
}

static struct result rotate(struct fixture *f, const char *id, const char *random, int64_t grace_ms)
{
    return fixture_do(f, (struct command){.kind = COMMAND_SESSION_ROTATE,
                                          .session_rotate = {.id = text_of(id),
                                                             .new_random = text_of(random),
                                                             .new_token_hash = {NEW_HASH, 32},
                                                             .grace_ms = grace_ms,
                                                             .departs_at = ABSENT}});
}

static struct result list(struct fixture *f, const char *subject, struct text after, int64_t limit)
{
    return fixture_read(
        f, (struct command){.kind = COMMAND_SUBJECT_LIST,
                            .subject_list = {text_of(subject), {.after = after, .limit = limit}}});
}

static struct result revoke(struct fixture *f, const char *subject, const char *except)
{
    return fixture_do(f, (struct command){.kind = COMMAND_SUBJECT_REVOKE,
                                          .subject_revoke = {text_of(subject), text_of(except)}});
}

static int64_t sessions(const struct fixture *f)
{
    return machine_counters(f->machine).sessions;
}

static int64_t expired(const struct fixture *f)
{
    return machine_counters(f->machine).expired;
}

static void expect_text(struct text got, const char *wanted)
{
    cr_expect(text_equal(got, text_of(wanted)), "\"%.*s\" instead of \"%s\"", (int)got.len,
              got.at == NULL ? "" : got.at, wanted);
}

static void expect_refused(struct result result, enum status status, enum end_reason reason,
                           const char *what)
{
    cr_expect_eq(result.status, status, "%s: %s instead of %s", what,
                 status_info(result.status)->name, status_info(status)->name);
    cr_expect_eq(result.reason, reason, "%s: reason %d instead of %d", what, (int)result.reason,
                 (int)reason);
}

static void expect_ended(struct result result, enum end_reason reason)
{
    expect_refused(result, STATUS_SESSION_ENDED, reason, "ended");
}

/* ---- every state against every command ---------------------------------------------------------------------------- */

/* Each makes the session "t~x" stand as its name says. */
static void stand_nowhere(struct fixture *f)
{
    (void)f;
}

static void stand_live(struct fixture *f)
{
    create(f, "t~x", NULL);
    fixture_pass(f, 1);
}

static void stand_idle(struct fixture *f)
{
    create(f, "t~x", NULL);
    fixture_pass(f, IDLE_MS);
}

static void stand_idle_swept(struct fixture *f)
{
    stand_idle(f);
    fixture_tick(f);
}

static void stand_absolute(struct fixture *f)
{
    create(f, "t~x", NULL);
    for (int64_t passed = 0; passed < MAX_MS; passed += IDLE_MS / 2) {
        touch(f, "t~x");
        fixture_pass(f, IDLE_MS / 2);
    }
}

static void stand_absolute_swept(struct fixture *f)
{
    stand_absolute(f);
    fixture_tick(f);
}

static void stand_revoked(struct fixture *f)
{
    stand_live(f);
    end(f, "t~x");
}

static void stand_rotated_in_grace(struct fixture *f)
{
    stand_live(f);
    rotate(f, "t~x", "y", GRACE_MS);
    fixture_pass(f, GRACE_MS - 1);
}

static void stand_rotated_in_grace_to_an_ended_one(struct fixture *f)
{
    stand_rotated_in_grace(f);
    end(f, "t~y");
}

static void stand_rotated(struct fixture *f)
{
    stand_rotated_in_grace(f);
    fixture_pass(f, 1);
}

static void stand_rotated_swept(struct fixture *f)
{
    stand_rotated(f);
    fixture_tick(f);
}

static void stand_rotated_without_grace(struct fixture *f)
{
    stand_live(f);
    rotate(f, "t~x", "y", 0);
}

static void stand_forgotten(struct fixture *f)
{
    stand_idle(f);
    fixture_pass(f, SESSION_TOMBSTONE_MS);
}

static void stand_forgotten_swept(struct fixture *f)
{
    stand_idle_swept(f);
    fixture_pass(f, SESSION_TOMBSTONE_MS);
    fixture_tick(f);
}

static void stand_forgotten_after_rotation(struct fixture *f)
{
    stand_rotated(f);
    fixture_pass(f, SESSION_TOMBSTONE_MS);
}

static const struct standing {
    const char *name;
    void (*make)(struct fixture *f);
    enum status
        met; /* what commands that need it alive say: OK, SESSION_NOT_FOUND or SESSION_ENDED */
    enum status put; /* what PUT says */
    enum end_reason reason;
    const char *leads_to; /* the id that answers */
} STANDINGS[] = {
    {"none", stand_nowhere, STATUS_SESSION_NOT_FOUND, STATUS_CREATED, REASON_NONE, "t~x"},
    {"live", stand_live, STATUS_OK, STATUS_OK, REASON_NONE, "t~x"},
    {"idle", stand_idle, STATUS_SESSION_ENDED, STATUS_SESSION_ENDED, REASON_IDLE, NULL},
    {"idle, swept", stand_idle_swept, STATUS_SESSION_ENDED, STATUS_SESSION_ENDED, REASON_IDLE,
     NULL},
    {"absolute", stand_absolute, STATUS_SESSION_ENDED, STATUS_SESSION_ENDED, REASON_ABSOLUTE, NULL},
    {"absolute, swept", stand_absolute_swept, STATUS_SESSION_ENDED, STATUS_SESSION_ENDED,
     REASON_ABSOLUTE, NULL},
    {"revoked", stand_revoked, STATUS_SESSION_ENDED, STATUS_SESSION_ENDED, REASON_REVOKED, NULL},
    {"rotated, in grace", stand_rotated_in_grace, STATUS_OK, STATUS_OK, REASON_NONE, "t~y"},
    {"rotated, in grace, to an ended one", stand_rotated_in_grace_to_an_ended_one,
     STATUS_SESSION_ENDED, STATUS_SESSION_ENDED, REASON_REVOKED, NULL},
    {"rotated", stand_rotated, STATUS_SESSION_ENDED, STATUS_SESSION_ENDED, REASON_ROTATED, NULL},
    {"rotated, swept", stand_rotated_swept, STATUS_SESSION_ENDED, STATUS_SESSION_ENDED,
     REASON_ROTATED, NULL},
    {"rotated without grace", stand_rotated_without_grace, STATUS_SESSION_ENDED,
     STATUS_SESSION_ENDED, REASON_ROTATED, NULL},
    {"forgotten", stand_forgotten, STATUS_SESSION_NOT_FOUND, STATUS_CREATED, REASON_NONE, "t~x"},
    {"forgotten, swept", stand_forgotten_swept, STATUS_SESSION_NOT_FOUND, STATUS_CREATED,
     REASON_NONE, "t~x"},
    {"forgotten after rotation", stand_forgotten_after_rotation, STATUS_SESSION_NOT_FOUND,
     STATUS_CREATED, REASON_NONE, "t~x"},
};

static struct result do_get(struct fixture *f)
{
    return get(f, "t~x");
}

static struct result do_touch(struct fixture *f)
{
    return touch(f, "t~x");
}

static struct result do_resolve(struct fixture *f)
{
    return resolve(f, "t~x", HASH);
}

static struct result do_lookup(struct fixture *f)
{
    return lookup(f, "t~x", HASH);
}

static struct result do_patch(struct fixture *f)
{
    return patch(f, "t~x", "{\"cart\":4}");
}

static struct result do_rotate(struct fixture *f)
{
    return rotate(f, "t~x", "z", 0);
}

static struct result do_put(struct fixture *f)
{
    return put(f, "t~x", "{}");
}

static struct result do_delete(struct fixture *f)
{
    return end(f, "t~x");
}

static const struct deed {
    const char *name;
    struct result (*act)(struct fixture *f);
    bool needs_it_alive;
    bool makes_new_id;
} DEEDS[] = {
    {"get", do_get, true, false},         {"touch", do_touch, true, false},
    {"resolve", do_resolve, true, false}, {"lookup", do_lookup, true, false},
    {"patch", do_patch, true, false},     {"rotate", do_rotate, true, true},
    {"put", do_put, false, false},        {"delete", do_delete, false, false},
};

static void try_deed(const struct standing *standing, const struct deed *deed)
{
    struct fixture f;
    char what[128];
    snprintf(what, sizeof what, "%s when %s", deed->name, standing->name);
    fixture_open(&f);
    standing->make(&f);
    struct result result = deed->act(&f);
    enum status wanted = deed->act == do_delete ? STATUS_OK
                         : deed->act == do_put  ? standing->put
                                                : standing->met;
    expect_refused(result, wanted, deed->act == do_delete ? REASON_NONE : standing->reason, what);
    if (status_is_ok(wanted) && deed->act != do_delete) {
        const char *id = deed->makes_new_id ? "t~z" : standing->leads_to;
        cr_expect_eq(result.shape, SHAPE_SESSION, "%s", what);
        cr_expect(text_equal(result.session.id, text_of(id)), "%s: answers %.*s", what,
                  (int)result.session.id.len, result.session.id.at);
    }
    /* Whatever it was, nothing that ended lives again, and sweeping changes no answer. */
    struct result before = get(&f, "t~x");
    fixture_tick(&f);
    struct result after = get(&f, "t~x");
    expect_refused(after, before.status, (enum end_reason)before.reason, what);
    if (standing->met == STATUS_SESSION_ENDED) {
        expect_refused(after, STATUS_SESSION_ENDED, standing->reason, what);
    }
    fixture_close(&f);
}

Test(session, each_command_finds_each_standing_as_the_table_says)
{
    for (size_t s = 0; s < sizeof STANDINGS / sizeof STANDINGS[0]; s++) {
        for (size_t d = 0; d < sizeof DEEDS / sizeof DEEDS[0]; d++) {
            try_deed(&STANDINGS[s], &DEEDS[d]);
        }
    }
}

Test(session, deleting_ends_whatever_the_id_leads_to_and_nothing_else)
{
    for (size_t s = 0; s < sizeof STANDINGS / sizeof STANDINGS[0]; s++) {
        struct fixture f;
        fixture_open(&f);
        STANDINGS[s].make(&f);
        fixture_tick(&f);
        int64_t before = sessions(&f);
        end(&f, "t~x");
        int64_t ends = STANDINGS[s].met == STATUS_OK ? 1 : 0;
        cr_expect_eq(sessions(&f), before - ends, "%s", STANDINGS[s].name);
        fixture_close(&f);
    }
}

/* ---- making, reading, writing ------------------------------------------------------------------------------------- */

Test(session, one_that_is_created_can_be_read)
{
    struct fixture f;
    fixture_open(&f);
    struct result made = create(&f, "t~x", "ada");
    cr_expect_eq(made.status, STATUS_CREATED);
    cr_expect(fixture_event(&f, EVENT_SESSION, "t~x", NULL));
    struct result read = get(&f, "t~x");
    cr_assert_eq(read.status, STATUS_OK);
    const struct session_view *session = &read.session;
    expect_text(session->id, "t~x");
    expect_text(session->subject, "ada");
    expect_text(session->data, "{\"cart\":3}");
    cr_expect_eq(session->version, 1);
    cr_expect_eq(session->created_at_ms, 1000000);
    cr_expect_eq(session->last_seen_at_ms, 1000000);
    cr_expect_eq(session->idle_ttl_ms, IDLE_MS);
    cr_expect_eq(session->max_ttl_ms, MAX_MS);
    cr_expect_eq(session->expires_at_ms, 1000000 + IDLE_MS);
    cr_expect_eq(session->max_expires_at_ms, 1000000 + MAX_MS);
    cr_expect_eq(sessions(&f), 1);
    fixture_close(&f);
}

Test(session, a_created_one_answers_what_a_read_answers)
{
    struct fixture f;
    fixture_open(&f);
    struct session_view made = create(&f, "t~x", "ada").session;
    struct session_view read = get(&f, "t~x").session;
    cr_expect(text_equal(made.id, read.id) && text_equal(made.subject, read.subject) &&
              text_equal(made.data, read.data) && made.version == read.version &&
              made.created_at_ms == read.created_at_ms && made.expires_at_ms == read.expires_at_ms);
    fixture_close(&f);
}

Test(session, it_survives_closing_the_file)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "t~x", "ada");
    fixture_reopen(&f);
    cr_expect_eq(get(&f, "t~x").status, STATUS_OK);
    cr_expect_eq(sessions(&f), 1);
    fixture_close(&f);
}

Test(session, an_id_made_twice_is_refused_and_changes_nothing)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "t~x", "ada");
    cr_expect_eq(create(&f, "t~x", "eve").status, STATUS_INTERNAL);
    expect_text(get(&f, "t~x").session.subject, "ada");
    cr_expect_eq(sessions(&f), 1);
    fixture_close(&f);
}

Test(session, putting_a_new_id_makes_it_and_putting_again_replaces_it)
{
    struct fixture f;
    fixture_open(&f);
    cr_expect_eq(put(&f, "mine", "{\"a\":1}").status, STATUS_CREATED);
    fixture_pass(&f, 1000);
    struct result again = put_ttls(&f, "mine", 5000, 9000);
    cr_expect_eq(again.status, STATUS_OK);
    cr_expect(fixture_event(&f, EVENT_SESSION, "mine", NULL));
    struct session_view session = get(&f, "mine").session;
    expect_text(session.data, "{}");
    cr_expect_eq(session.version, 2);
    cr_expect_eq(session.created_at_ms, 1000000);
    cr_expect_eq(session.last_seen_at_ms, 1001000);
    cr_expect_eq(session.expires_at_ms, 1001000 + 5000);
    cr_expect_eq(session.max_expires_at_ms, 1000000 + 9000);
    cr_expect(text_equal(again.session.data, session.data) && again.session.version == 2);
    cr_expect_eq(sessions(&f), 1);
    fixture_close(&f);
}

Test(session, one_put_without_data_is_empty)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "mine", NULL);
    expect_text(get(&f, "mine").session.data, "{}");
    fixture_close(&f);
}

Test(session, replacing_one_with_a_subject_keeps_the_subject_and_the_token)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "t~x", "ada");
    expect_text(put(&f, "t~x", "{}").session.subject, "ada");
    cr_expect_eq(resolve(&f, "t~x", HASH).status, STATUS_OK);
    fixture_close(&f);
}

Test(session, writes_hold_to_their_conditions)
{
    struct fixture f;
    fixture_open(&f);
    const struct condition fresh = {ABSENT, true}, first = {1, false}, any = {IF_MATCH_ANY, false};
    cr_expect_eq(put_if(&f, "mine", "{}", first).status, STATUS_VERSION_MISMATCH);
    cr_expect_eq(put_if(&f, "mine", "{}", any).status, STATUS_VERSION_MISMATCH);
    cr_expect_eq(put_if(&f, "mine", "{}", fresh).status, STATUS_CREATED);
    struct result refused = put_if(&f, "mine", "{\"no\":1}", fresh);
    cr_expect_eq(refused.status, STATUS_VERSION_MISMATCH);
    cr_expect_eq(refused.version, 1);
    cr_expect_eq(put_if(&f, "mine", "{\"b\":2}", first).status, STATUS_OK);
    cr_expect_eq(put_if(&f, "mine", "{}", first).version, 2);

    struct command command = patch_command("mine", "{\"c\":3}");
    command.session_patch.condition = first;
    cr_expect_eq(fixture_do(&f, command).status, STATUS_VERSION_MISMATCH);
    expect_text(get(&f, "mine").session.data, "{\"b\":2}");
    command.session_patch.condition.if_match = 2;
    cr_expect_eq(fixture_do(&f, command).status, STATUS_OK);
    command.session_patch.condition = any;
    cr_expect_eq(fixture_do(&f, command).status, STATUS_OK);

    struct command delete = key_command(COMMAND_SESSION_DELETE, "mine");
    delete.session_delete.condition = first;
    struct result kept = fixture_do(&f, delete);
    cr_expect_eq(kept.status, STATUS_VERSION_MISMATCH);
    cr_expect_eq(kept.version, 4);
    delete.session_delete.condition.if_match = 4;
    cr_expect_eq(fixture_do(&f, delete).status, STATUS_OK);
    expect_ended(get(&f, "mine"), REASON_REVOKED);
    cr_expect_eq(fixture_do(&f, delete).status, STATUS_OK, "repeated, it finds nothing to match");
    fixture_close(&f);
}

Test(session, an_ended_one_refuses_before_a_condition_is_looked_at)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "mine", "{}");
    end(&f, "mine");
    expect_ended(put_if(&f, "mine", "{}", (struct condition){7, false}), REASON_REVOKED);
    expect_ended(put_if(&f, "mine", "{}", (struct condition){ABSENT, true}), REASON_REVOKED);
    fixture_close(&f);
}

Test(session, a_patch_merges_renews_and_counts)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "mine", "{\"a\":1,\"b\":{\"c\":2,\"d\":3}}");
    fixture_pass(&f, 1000);
    struct session_view session = patch(&f, "mine", "{\"a\":null,\"b\":{\"c\":[null]}}").session;
    expect_text(session.data, "{\"b\":{\"c\":[null],\"d\":3}}");
    cr_expect_eq(session.version, 2);
    cr_expect_eq(session.last_seen_at_ms, 1001000);
    cr_expect(fixture_event(&f, EVENT_SESSION, "mine", NULL));
    expect_text(get(&f, "mine").session.data, "{\"b\":{\"c\":[null],\"d\":3}}");
    fixture_close(&f);
}

Test(session, a_patch_changes_ttls_alone_or_starts_data_anew)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "mine", "{\"a\":1}");
    struct command command = patch_command("mine", NULL);
    command.session_patch.idle_ttl_ms = 7000;
    struct session_view session = fixture_do(&f, command).session;
    expect_text(session.data, "{\"a\":1}");
    cr_expect_eq(session.idle_ttl_ms, 7000);
    cr_expect_eq(session.max_ttl_ms, MAX_MS);
    command.session_patch.idle_ttl_ms = ABSENT;
    command.session_patch.max_ttl_ms = 8000;
    session = fixture_do(&f, command).session;
    cr_expect_eq(session.idle_ttl_ms, 7000);
    cr_expect_eq(session.max_ttl_ms, 8000);

    command = patch_command("mine", "{\"b\":2,\"c\":{\"d\":null}}");
    command.session_patch.clear_data = true;
    expect_text(fixture_do(&f, command).session.data, "{\"b\":2,\"c\":{}}");
    command.session_patch.data_patch = TEXT_ABSENT;
    expect_text(fixture_do(&f, command).session.data, "{}");
    fixture_close(&f);
}

Test(session, a_patch_that_would_not_leave_an_object_is_refused)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "mine", "{\"a\":1}");
    cr_expect_eq(patch(&f, "mine", "[1]").status, STATUS_INVALID_FIELD);
    cr_expect_eq(patch(&f, "mine", "null").status, STATUS_INVALID_FIELD);
    struct session_view session = get(&f, "mine").session;
    expect_text(session.data, "{\"a\":1}");
    cr_expect_eq(session.version, 1);
    fixture_close(&f);
}

static struct text object_of_bytes(struct fixture *f, const char *key, size_t bytes)
{
    char *at = arena_alloc(&f->arena, bytes + 1);
    int head = snprintf(at, bytes + 1, "{\"%s\":\"", key);
    memset(at + head, 'x', bytes - (size_t)head);
    memcpy(at + bytes - 2, "\"}", 3);
    return (struct text){at, bytes};
}

Test(session, data_past_its_bound_is_refused_and_nothing_changes)
{
    struct fixture f;
    fixture_open(&f);
    struct text full = object_of_bytes(&f, "a", SESSION_DATA_BYTES_MAX);
    struct text over = object_of_bytes(&f, "a", SESSION_DATA_BYTES_MAX + 1);
    cr_expect_eq(put(&f, "mine", over.at).status, STATUS_BODY_TOO_LARGE);
    cr_expect_eq(get(&f, "mine").status, STATUS_SESSION_NOT_FOUND);
    cr_expect_eq(put(&f, "mine", full.at).status, STATUS_CREATED);
    cr_expect_eq(put(&f, "mine", over.at).status, STATUS_BODY_TOO_LARGE);
    cr_expect_eq(patch(&f, "mine", "{\"b\":1}").status, STATUS_BODY_TOO_LARGE);
    struct session_view session = get(&f, "mine").session;
    cr_expect(text_equal(session.data, full));
    cr_expect_eq(session.version, 1);
    cr_expect_eq(patch(&f, "mine", "{\"a\":1}").status, STATUS_OK);

    struct command command = create_command("t~x", NULL);
    command.session_create.data = over;
    cr_expect_eq(fixture_do(&f, command).status, STATUS_BODY_TOO_LARGE);
    cr_expect_eq(sessions(&f), 1);
    fixture_close(&f);
}

/* ---- merge patches against a model -------------------------------------------------------------------------------- */

static json_t *random_json(int depth)
{
    int kind = rand() % (depth > 2 ? 5 : 8);
    json_t *made = NULL;
    switch (kind) {
    case 0:
        return json_null();
    case 1:
        return json_integer(rand() % 5);
    case 2:
        return json_string("\xc3\xa9\"\\\n");
    case 3:
        return json_boolean(rand() % 2);
    case 4:
        return json_real(0.5);
    case 5:
        made = json_array();
        for (int i = rand() % 3; i > 0; i--) {
            json_array_append_new(made, random_json(depth + 1));
        }
        return made;
    default:
        made = json_object();
        for (int i = rand() % 4; i > 0; i--) {
            static const char *const KEYS[] = {"a", "b", "", "\xc3\xa9", "q\"\\", "ab"};
            json_object_set_new(made, KEYS[rand() % 6], random_json(depth + 1));
        }
        return made;
    }
}

static json_t *random_object(void)
{
    json_t *made;
    while (made = random_json(0), !json_is_object(made)) {
        json_decref(made);
    }
    return made;
}

/* RFC 7396, section 2, word for word. Takes a reference of the target and gives one back. */
static json_t *merged(json_t *target, json_t *by)
{
    if (!json_is_object(by)) {
        json_decref(target);
        return json_incref(by);
    }
    if (!json_is_object(target)) {
        json_decref(target);
        target = json_object();
    }
    const char *key;
    json_t *value;
    json_object_foreach(by, key, value)
    {
        if (json_is_null(value)) {
            json_object_del(target, key);
        } else {
            json_t *old = json_object_get(target, key);
            json_object_set_new(target, key,
                                merged(old ? json_deep_copy(old) : json_null(), value));
        }
    }
    return target;
}

Test(session, patches_merge_as_rfc_7396_says)
{
    struct fixture f;
    fixture_open(&f);
    srand(7396);
    for (int round = 0; round < 2000; round++) {
        json_t *target = random_object(), *by = random_object();
        char *target_text = json_dumps(target, JSON_COMPACT),
             *by_text = json_dumps(by, JSON_COMPACT);
        put(&f, "mine", target_text);
        struct text got = patch(&f, "mine", by_text).session.data;
        json_t *wanted = merged(json_incref(target), by);
        json_t *parsed = json_loadb(got.at, got.len, JSON_REJECT_DUPLICATES, NULL);
        cr_assert(json_equal(parsed, wanted), "%s merged by %s gives %.*s", target_text, by_text,
                  (int)got.len, got.at);
        json_decref(parsed);
        json_decref(wanted);
        json_decref(target);
        json_decref(by);
        free(target_text);
        free(by_text);
    }
    fixture_close(&f);
}

/* ---- the two clocks ----------------------------------------------------------------------------------------------- */

Test(session, touching_renews_the_idle_clock_and_leaves_version_and_data_alone)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "mine", "{\"a\":1}");
    fixture_pass(&f, IDLE_MS - 1);
    struct result touched = touch(&f, "mine");
    cr_expect_eq(touched.session.expires_at_ms, f.now.now_ms + IDLE_MS);
    cr_expect_not(fixture_event(&f, EVENT_SESSION, "mine", NULL));
    fixture_pass(&f, IDLE_MS - 1);
    struct session_view session = get(&f, "mine").session;
    expect_text(session.data, "{\"a\":1}");
    cr_expect_eq(session.version, 1);
    cr_expect_eq(session.last_seen_at_ms, 1000000 + IDLE_MS - 1);
    fixture_pass(&f, 1);
    expect_ended(get(&f, "mine"), REASON_IDLE);
    fixture_close(&f);
}

Test(session, only_touching_and_writing_renew_the_idle_clock)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "t~x", NULL);
    fixture_pass(&f, 1000);
    get(&f, "t~x");
    lookup(&f, "t~x", HASH);
    resolve(&f, "t~x", WRONG_HASH);
    cr_expect_eq(get(&f, "t~x").session.last_seen_at_ms, 1000000);
    resolve(&f, "t~x", HASH);
    cr_expect_eq(get(&f, "t~x").session.last_seen_at_ms, 1001000);
    fixture_close(&f);
}

Test(session, the_absolute_clock_runs_from_creation_whatever_renews_the_idle_one)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "t~x", NULL);
    fixture_pass(&f, 10000);
    struct session_view session = put_ttls(&f, "t~x", 60000, 30000).session;
    cr_expect_eq(session.expires_at_ms, 1000000 + 30000);
    fixture_pass(&f, 19999);
    cr_expect_eq(touch(&f, "t~x").session.expires_at_ms, 1000000 + 30000);
    fixture_pass(&f, 1);
    expect_ended(touch(&f, "t~x"), REASON_ABSOLUTE);
    fixture_close(&f);
}

Test(session, ttls_that_shrink_end_it_at_the_new_instant_and_are_swept_then)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "mine", "{}");
    fixture_tick(&f);
    put_ttls(&f, "mine", 5000, MAX_MS);
    cr_expect_eq(machine_due(f.machine).wall_ms, 1005000);
    struct command command = patch_command("mine", NULL);
    command.session_patch.idle_ttl_ms = 2000;
    fixture_do(&f, command);
    cr_expect_eq(machine_due(f.machine).wall_ms, 1002000);
    fixture_pass(&f, 2000);
    fixture_tick(&f);
    cr_expect(fixture_event(&f, EVENT_SESSION, "mine", NULL));
    expect_ended(get(&f, "mine"), REASON_IDLE);
    cr_expect_eq(expired(&f), 1);
    fixture_close(&f);
}

Test(session, a_sweep_that_finds_it_touched_meanwhile_looks_again_at_its_end)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "mine", "{}");
    cr_expect_eq((fixture_tick(&f), machine_due(f.machine).wall_ms), 1000000 + IDLE_MS);
    fixture_pass(&f, IDLE_MS - 1);
    touch(&f, "mine");
    fixture_pass(&f, 1);
    fixture_tick(&f);
    cr_expect_eq(get(&f, "mine").status, STATUS_OK);
    cr_expect_eq(machine_due(f.machine).wall_ms, f.now.now_ms - 1 + IDLE_MS);
    cr_expect_eq(expired(&f), 0);
    fixture_close(&f);
}

Test(session, a_tombstone_lasts_from_the_end_itself_however_late_the_sweep)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "mine", "{}");
    fixture_pass(&f, IDLE_MS + SESSION_TOMBSTONE_MS / 2);
    fixture_tick(&f);
    cr_expect_eq(machine_due(f.machine).wall_ms, 1000000 + IDLE_MS + SESSION_TOMBSTONE_MS);
    fixture_pass(&f, SESSION_TOMBSTONE_MS / 2 - 1);
    expect_ended(put(&f, "mine", "{}"), REASON_IDLE);
    fixture_pass(&f, 1);
    cr_expect_eq(get(&f, "mine").status, STATUS_SESSION_NOT_FOUND);
    fixture_tick(&f);
    cr_expect_eq(machine_due(f.machine).wall_ms, INT64_MAX, "nothing is left to sweep");
    fixture_close(&f);
}

Test(session, one_forgotten_before_any_sweep_is_counted_once)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "mine", "{}");
    put(&f, "other", "{}");
    fixture_pass(&f, IDLE_MS + SESSION_TOMBSTONE_MS);
    cr_expect_eq(put(&f, "mine", "{\"new\":1}").session.version, 1);
    cr_expect_eq(sessions(&f), 2, "the new one, and the other that is not yet swept");
    cr_expect_eq(expired(&f), 1);
    fixture_tick(&f);
    cr_expect(fixture_event(&f, EVENT_SESSION, "other", NULL) || expired(&f) == 2);
    cr_expect_eq(sessions(&f), 1);
    cr_expect_eq(expired(&f), 2);
    fixture_close(&f);
}

Test(session, a_tick_touches_no_more_rows_than_it_may_and_is_due_at_once_for_the_rest)
{
    struct fixture f;
    fixture_open(&f);
    for (int i = 0; i < 10; i++) {
        char id[16];
        snprintf(id, sizeof id, "s%d", i);
        put(&f, id, "{}");
        fixture_pass(&f, 1);
    }
    fixture_pass(&f, IDLE_MS);
    struct result swept =
        fixture_do(&f, (struct command){.kind = COMMAND_TICK, .tick = {.steps_max = 4}});
    cr_expect_eq(swept.count, 4);
    cr_expect_eq(sessions(&f), 6);
    cr_expect_eq(machine_due(f.machine).wall_ms, 1000000 + 4 + IDLE_MS);
    fixture_tick(&f);
    cr_expect_eq(sessions(&f), 0);
    cr_expect_eq(expired(&f), 10);
    fixture_close(&f);
}

Test(session, an_ended_one_keeps_neither_data_nor_token)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "t~secretly", "ada");
    put(&f, "t~secretly", "{\"card\":\"4111\"}");
    end(&f, "t~secretly");
    /* machine_sanity, which fixture_close runs, looks at the columns; here it is what a client can see. */
    expect_ended(resolve(&f, "t~secretly", HASH), REASON_REVOKED);
    expect_ended(resolve(&f, "t~secretly", WRONG_HASH), REASON_REVOKED);
    cr_expect_eq(get(&f, "t~secretly").session.data.len, 0);
    fixture_close(&f);
}

/* ---- tokens and rotation ------------------------------------------------------------------------------------------ */

Test(session, a_token_opens_only_the_session_it_was_made_for)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "t~x", NULL);
    put(&f, "mine", "{}");
    expect_text(resolve(&f, "t~x", HASH).session.data, "{\"cart\":3}");
    expect_text(lookup(&f, "t~x", HASH).session.data, "{\"cart\":3}");
    cr_expect_eq(resolve(&f, "t~x", WRONG_HASH).status, STATUS_SESSION_NOT_FOUND);
    cr_expect_eq(lookup(&f, "t~x", WRONG_HASH).status, STATUS_SESSION_NOT_FOUND);
    cr_expect_eq(resolve(&f, "mine", HASH).status, STATUS_SESSION_NOT_FOUND);
    cr_expect_eq(resolve(&f, "t~y", HASH).status, STATUS_SESSION_NOT_FOUND);
    struct command command = resolve_command(COMMAND_SESSION_RESOLVE, "t~x", HASH);
    command.session_resolve.token_hash.len = 31;
    cr_expect_eq(fixture_do(&f, command).status, STATUS_SESSION_NOT_FOUND);
    fixture_close(&f);
}

Test(session, rotating_gives_a_new_id_and_keeps_data_subject_and_absolute_clock)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "t~x", "ada");
    fixture_pass(&f, 1000);
    struct result rotated = rotate(&f, "t~x", "y", GRACE_MS);
    cr_expect_eq(rotated.status, STATUS_OK);
    cr_expect(fixture_event(&f, EVENT_SESSION, "t~x", NULL));
    cr_expect(fixture_event(&f, EVENT_SESSION, "t~y", NULL));
    const struct session_view *session = &rotated.session;
    expect_text(session->id, "t~y");
    expect_text(session->subject, "ada");
    expect_text(session->data, "{\"cart\":3}");
    cr_expect_eq(session->version, 2);
    cr_expect_eq(session->created_at_ms, 1000000);
    cr_expect_eq(session->last_seen_at_ms, 1001000);
    cr_expect_eq(session->expires_at_ms, 1001000 + IDLE_MS);
    cr_expect_eq(session->max_expires_at_ms, 1000000 + MAX_MS);
    cr_expect_eq(sessions(&f), 1);
    expect_text(get(&f, "t~y").session.data, "{\"cart\":3}");
    fixture_close(&f);
}

Test(session, old_and_new_token_both_resolve_within_the_grace_and_then_the_new_one_alone)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "t~x", NULL);
    rotate(&f, "t~x", "y", GRACE_MS);
    fixture_pass(&f, GRACE_MS - 1);
    expect_text(resolve(&f, "t~x", HASH).session.id, "t~y");
    expect_text(resolve(&f, "t~y", NEW_HASH).session.id, "t~y");
    cr_expect_eq(resolve(&f, "t~x", NEW_HASH).status, STATUS_SESSION_NOT_FOUND);
    cr_expect_eq(resolve(&f, "t~x", WRONG_HASH).status, STATUS_SESSION_NOT_FOUND);
    cr_expect_eq(resolve(&f, "t~y", HASH).status, STATUS_SESSION_NOT_FOUND);
    fixture_pass(&f, 1);
    expect_ended(resolve(&f, "t~x", HASH), REASON_ROTATED);
    cr_expect_eq(resolve(&f, "t~y", NEW_HASH).status, STATUS_OK);
    fixture_close(&f);
}

Test(session, the_end_of_the_grace_is_told_to_whoever_waits_on_the_old_id)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "t~x", NULL);
    fixture_tick(&f);
    rotate(&f, "t~x", "y", GRACE_MS);
    cr_expect_eq(machine_due(f.machine).wall_ms, 1000000 + GRACE_MS);
    fixture_pass(&f, GRACE_MS);
    fixture_do(&f, (struct command){.kind = COMMAND_TICK, .tick = {.steps_max = 10}});
    cr_expect(fixture_event(&f, EVENT_SESSION, "t~x", NULL));
    cr_expect_eq(expired(&f), 0, "a grace that is over is no expiry");
    fixture_close(&f);
}

Test(session, writes_to_the_old_id_within_the_grace_reach_the_successor)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "t~x", NULL);
    rotate(&f, "t~x", "y", GRACE_MS);
    cr_expect_eq(patch(&f, "t~x", "{\"late\":1}").session.version, 3);
    expect_text(get(&f, "t~y").session.data, "{\"cart\":3,\"late\":1}");
    cr_expect_eq(put(&f, "t~x", "{\"later\":1}").status, STATUS_OK);
    expect_text(get(&f, "t~y").session.data, "{\"later\":1}");
    end(&f, "t~x");
    expect_ended(get(&f, "t~y"), REASON_REVOKED);
    fixture_close(&f);
}

Test(session, rotations_are_followed_through_a_chain_of_bounded_length)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "t~0", NULL);
    for (int i = 0; i < ROTATION_CHAIN_MAX; i++) {
        char from[16], random[16];
        snprintf(from, sizeof from, "t~%d", i);
        snprintf(random, sizeof random, "%d", i + 1);
        cr_assert_eq(rotate(&f, from, random, HOUR_MS).status, STATUS_OK);
    }
    expect_text(get(&f, "t~0").session.id, "t~8");
    rotate(&f, "t~8", "9", HOUR_MS);
    expect_ended(get(&f, "t~0"), REASON_ROTATED);
    expect_text(get(&f, "t~1").session.id, "t~9");
    fixture_close(&f);
}

Test(session, rotating_to_another_subject_moves_it_to_that_subject)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "anon~x", NULL);
    struct command command = {.kind = COMMAND_SESSION_ROTATE,
                              .session_rotate = {.id = TEXT("anon~x"),
                                                 .new_random = TEXT("y"),
                                                 .new_token_hash = {NEW_HASH, 32},
                                                 .subject = TEXT("ada"),
                                                 .subject_tag = TEXT("adatag"),
                                                 .departs_at = ABSENT}};
    struct session_view session = fixture_do(&f, command).session;
    expect_text(session.id, "adatag~y");
    expect_text(session.subject, "ada");
    cr_expect_eq(list(&f, "ada", TEXT_ABSENT, 10).sessions.items.count, 1);
    fixture_close(&f);
}

/* ---- to another partition: what is packed in one state machine arrives in another ----------------------------------- */

static struct session_rotate to_ada(const char *id, int64_t grace_ms, int64_t departs_at)
{
    return (struct session_rotate){.id = text_of(id),
                                   .new_random = TEXT("y"),
                                   .new_token_hash = {NEW_HASH, 32},
                                   .subject = TEXT("ada"),
                                   .subject_tag = TEXT("adatag"),
                                   .grace_ms = grace_ms,
                                   .departs_at = departs_at};
}

static struct result pack(struct fixture *f, const char *id, int64_t grace_ms)
{
    return fixture_read(f, (struct command){.kind = COMMAND_SESSION_PACK,
                                            .session_pack = to_ada(id, grace_ms, ABSENT)});
}

static struct result depart(struct fixture *f, const char *id, int64_t grace_ms, int64_t version)
{
    return fixture_do(f, (struct command){.kind = COMMAND_SESSION_ROTATE,
                                          .session_rotate = to_ada(id, grace_ms, version)});
}

static struct result arrive(struct fixture *f, struct session_arrive parcel)
{
    return fixture_do(f,
                      (struct command){.kind = COMMAND_SESSION_ARRIVE, .session_arrive = parcel});
}

Test(session, one_that_moves_is_whole_there_and_leads_on_from_here)
{
    struct fixture from, to;
    fixture_open(&from);
    fixture_open(&to);
    create(&from, "anon~x", NULL);
    struct result packed = pack(&from, "anon~x", HOUR_MS);
    cr_assert_eq(packed.shape, SHAPE_PARCEL);
    cr_expect_eq(get(&from, "anon~x").status, STATUS_OK, "packing changes nothing");
    struct session_view arrived = arrive(&to, packed.parcel).session;
    struct session_view departed = depart(&from, "anon~x", HOUR_MS, packed.version).session;
    expect_text(arrived.id, "adatag~y");
    cr_expect(text_equal(arrived.id, departed.id));
    cr_expect_eq(arrived.version, departed.version);
    cr_expect_eq(arrived.created_at_ms, departed.created_at_ms);
    cr_expect_eq(arrived.expires_at_ms, departed.expires_at_ms);
    cr_expect_eq(list(&to, "ada", TEXT_ABSENT, 10).sessions.items.count, 1);
    cr_expect_eq(sessions(&from) + sessions(&to), 1);

    struct result here = resolve(&from, "anon~x", HASH);
    expect_ended(here, REASON_ROTATED);
    expect_text(here.moved, "adatag~y");
    expect_text(get(&from, "anon~x").moved, "adatag~y");
    expect_text(end(&from, "anon~x").moved, "adatag~y");
    expect_text(resolve(&to, "anon~x", HASH).session.id, "adatag~y");
    expect_text(get(&to, "anon~x").session.id, "adatag~y");
    expect_text(resolve(&to, "adatag~y", NEW_HASH).session.id, "adatag~y");

    fixture_pass(&from, HOUR_MS);
    fixture_pass(&to, HOUR_MS);
    cr_expect_not(text_given(resolve(&from, "anon~x", HASH).moved));
    expect_ended(resolve(&to, "anon~x", HASH), REASON_ROTATED);
    fixture_close(&from);
    fixture_close(&to);
}

Test(session, one_that_changed_since_it_was_packed_stays)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "anon~x", NULL);
    int64_t version = pack(&f, "anon~x", 0).version;
    put(&f, "anon~x", "{}");
    cr_expect_eq(depart(&f, "anon~x", 0, version).status, STATUS_OVERLOADED);
    cr_expect_eq(get(&f, "anon~x").status, STATUS_OK);
    cr_expect_eq(depart(&f, "anon~x", 0, pack(&f, "anon~x", 0).version).status, STATUS_OK);
    expect_ended(get(&f, "anon~x"), REASON_ROTATED);
    cr_expect_not(text_given(get(&f, "anon~x").moved), "there is no grace");
    fixture_close(&f);
}

Test(session, one_cannot_arrive_where_its_id_is_in_use)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "anon~x", NULL);
    create(&f, "adatag~y", NULL);
    cr_expect_eq(arrive(&f, pack(&f, "anon~x", 0).parcel).status, STATUS_INTERNAL);
    cr_expect_eq(get(&f, "adatag~y").session.version, 1);
    fixture_close(&f);
}

Test(session, one_that_comes_back_is_followed_through_both_moves)
{
    struct fixture here, there;
    fixture_open(&here);
    fixture_open(&there);
    create(&here, "anon~x", NULL);
    struct result packed = pack(&here, "anon~x", HOUR_MS);
    arrive(&there, packed.parcel);
    depart(&here, "anon~x", HOUR_MS, packed.version);
    struct session_rotate back = {.id = TEXT("adatag~y"),
                                  .new_random = TEXT("z"),
                                  .new_token_hash = {NEW_HASH, 32},
                                  .subject = TEXT("bob"),
                                  .subject_tag = TEXT("anon"),
                                  .grace_ms = HOUR_MS,
                                  .departs_at = ABSENT};
    struct result again =
        fixture_read(&there, (struct command){.kind = COMMAND_SESSION_PACK, .session_pack = back});
    arrive(&here, again.parcel);
    back.departs_at = again.version;
    fixture_do(&there, (struct command){.kind = COMMAND_SESSION_ROTATE, .session_rotate = back});
    expect_text(get(&here, "anon~x").session.id, "anon~z");
    struct result asked_there = get(&there, "anon~x");
    expect_ended(asked_there, REASON_ROTATED);
    cr_expect_not(text_given(asked_there.moved), "nothing there leads on from that id itself");
    fixture_close(&here);
    fixture_close(&there);
}

Test(session, one_whose_new_id_would_be_too_long_is_not_rotated)
{
    struct fixture f;
    fixture_open(&f);
    char id[NAME_BYTES_MAX + 1];
    memset(id, 'n', NAME_BYTES_MAX);
    id[NAME_BYTES_MAX] = '\0';
    put(&f, id, "{}");
    cr_expect_eq(rotate(&f, id, "y", 0).status, STATUS_INVALID_NAME);
    cr_expect_eq(get(&f, id).status, STATUS_OK);
    id[NAME_BYTES_MAX - 2] = '\0';
    put(&f, id, "{}");
    cr_expect_eq(rotate(&f, id, "y", 0).status, STATUS_OK);
    fixture_close(&f);
}

Test(session, rotating_onto_an_id_in_use_is_refused_and_changes_nothing)
{
    struct fixture f;
    fixture_open(&f);
    create(&f, "t~x", NULL);
    create(&f, "t~y", NULL);
    cr_expect_eq(rotate(&f, "t~x", "y", 0).status, STATUS_INTERNAL);
    cr_expect_eq(get(&f, "t~x").status, STATUS_OK);
    cr_expect_eq(get(&f, "t~y").session.version, 1);
    cr_expect_eq(sessions(&f), 2);
    fixture_close(&f);
}

/* ---- a subject's sessions ----------------------------------------------------------------------------------------- */

static void create_some(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++) {
        char id[16];
        snprintf(id, sizeof id, "t~%d", i);
        cr_assert_eq(create(f, id, "ada").status, STATUS_CREATED);
        fixture_pass(f, i % 2); /* some are as old as others */
    }
}

Test(subject, its_sessions_are_listed_oldest_first_in_pages)
{
    struct fixture f;
    fixture_open(&f);
    create_some(&f, 7);
    create(&f, "u~1", "eve");
    create(&f, "v~1", NULL);
    struct text after = TEXT_ABSENT;
    int seen = 0;
    do {
        struct result page = list(&f, "ada", after, 3);
        cr_assert_eq(page.status, STATUS_OK);
        for (size_t i = 0; i < page.sessions.items.count; i++) {
            char id[16];
            snprintf(id, sizeof id, "t~%d", seen++);
            expect_text(page.sessions.items.at[i].id, id);
            expect_text(page.sessions.items.at[i].data, "{\"cart\":3}");
        }
        after = page.sessions.next;
    } while (text_given(after));
    cr_expect_eq(seen, 7);
    cr_expect_eq(list(&f, "nobody", TEXT_ABSENT, 3).sessions.items.count, 0);
    fixture_close(&f);
}

Test(subject, a_page_that_ends_the_list_has_no_next)
{
    struct fixture f;
    fixture_open(&f);
    create_some(&f, 3);
    cr_expect_not(text_given(list(&f, "ada", TEXT_ABSENT, 3).sessions.next));
    cr_expect(text_given(list(&f, "ada", TEXT_ABSENT, 2).sessions.next));
    fixture_close(&f);
}

Test(subject, a_page_goes_on_behind_an_item_that_is_gone)
{
    struct fixture f;
    fixture_open(&f);
    create_some(&f, 4);
    struct text next = list(&f, "ada", TEXT_ABSENT, 2).sessions.next;
    end(&f, "t~1");
    struct result page = list(&f, "ada", next, 2);
    cr_assert_eq(page.sessions.items.count, 2);
    expect_text(page.sessions.items.at[0].id, "t~2");
    fixture_close(&f);
}

Test(subject, a_page_ends_early_rather_than_grow_too_large)
{
    struct fixture f;
    fixture_open(&f);
    struct text full = object_of_bytes(&f, "a", SESSION_DATA_BYTES_MAX);
    size_t fit = PAGE_BYTES_MAX / SESSION_DATA_BYTES_MAX;
    for (size_t i = 0; i < fit + 1; i++) {
        char id[16];
        snprintf(id, sizeof id, "t~%zu", i);
        struct command command = create_command(id, "ada");
        command.session_create.data = full;
        fixture_do(&f, command);
    }
    struct result page = list(&f, "ada", TEXT_ABSENT, 1000);
    cr_expect_leq(page.sessions.items.count, fit);
    cr_expect_gt(page.sessions.items.count, 0);
    struct result rest = list(&f, "ada", page.sessions.next, 1000);
    cr_expect_eq(page.sessions.items.count + rest.sessions.items.count, fit + 1);
    fixture_close(&f);
}

Test(subject, what_is_no_key_of_a_page_is_refused)
{
    struct fixture f;
    fixture_open(&f);
    static const char *const KEYS[] = {
        "",
        "1",
        "1.",
        "1.2x",
        "x",
        "1.2.3",
        "123456789012345678901234567890123456789012345678901234567890.1"};
    for (size_t i = 0; i < sizeof KEYS / sizeof KEYS[0]; i++) {
        cr_expect_eq(list(&f, "ada", text_of(KEYS[i]), 10).status, STATUS_INVALID_CURSOR, "%s",
                     KEYS[i]);
    }
    fixture_close(&f);
}

Test(subject, ended_sessions_are_not_listed_swept_or_not)
{
    struct fixture f;
    fixture_open(&f);
    create_some(&f, 3);
    end(&f, "t~0");
    fixture_pass(&f, IDLE_MS - 1);
    touch(&f, "t~2");
    fixture_pass(&f, 1);
    for (int swept = 0; swept < 2; swept++) {
        struct result page = list(&f, "ada", TEXT_ABSENT, 10);
        cr_assert_eq(page.sessions.items.count, 1);
        expect_text(page.sessions.items.at[0].id, "t~2");
        fixture_tick(&f);
    }
    fixture_close(&f);
}

Test(subject, a_session_past_the_limit_is_refused_and_nothing_changes)
{
    struct fixture f;
    fixture_open(&f);
    create_some(&f, 2);
    cr_expect_eq(create_limited(&f, "t~new", 2, false).status, STATUS_SUBJECT_LIMIT);
    cr_expect_eq(get(&f, "t~new").status, STATUS_SESSION_NOT_FOUND);
    cr_expect_eq(create_limited(&f, "t~new", 3, false).status, STATUS_CREATED);
    cr_expect_eq(sessions(&f), 3);
    fixture_close(&f);
}

Test(subject, evicting_ends_the_oldest_sessions_until_the_new_one_fits)
{
    struct fixture f;
    fixture_open(&f);
    create_some(&f, 5);
    rotate(&f, "t~0", "0again", 0); /* as old as before, in a younger row */
    cr_expect_eq(create_limited(&f, "t~new", 3, true).status, STATUS_CREATED);
    cr_expect(fixture_event(&f, EVENT_SESSION, "t~0again", NULL));
    expect_ended(get(&f, "t~0again"), REASON_REVOKED);
    expect_ended(get(&f, "t~1"), REASON_REVOKED);
    expect_ended(get(&f, "t~2"), REASON_REVOKED);
    cr_expect_eq(get(&f, "t~3").status, STATUS_OK);
    cr_expect_eq(get(&f, "t~4").status, STATUS_OK);
    cr_expect_eq(get(&f, "t~new").status, STATUS_OK);
    cr_expect_eq(sessions(&f), 3);
    fixture_close(&f);
}

Test(subject, a_limit_of_one_leaves_the_new_session_alone)
{
    struct fixture f;
    fixture_open(&f);
    cr_expect_eq(create_limited(&f, "t~0", 1, true).status, STATUS_CREATED);
    cr_expect_eq(create_limited(&f, "t~1", 1, true).status, STATUS_CREATED);
    expect_ended(get(&f, "t~0"), REASON_REVOKED);
    cr_expect_eq(get(&f, "t~1").status, STATUS_OK);
    fixture_close(&f);
}

Test(subject, sessions_that_time_ended_do_not_count_and_are_ended_with_their_own_reason)
{
    struct fixture f;
    fixture_open(&f);
    create_some(&f, 2);
    fixture_pass(&f, IDLE_MS - 2);
    touch(&f, "t~1");
    fixture_pass(&f, 1);
    cr_expect_eq(create_limited(&f, "t~new", 2, false).status, STATUS_CREATED);
    cr_expect(fixture_event(&f, EVENT_SESSION, "t~0", NULL));
    expect_ended(get(&f, "t~0"), REASON_IDLE);
    cr_expect_eq(get(&f, "t~1").status, STATUS_OK);
    cr_expect_eq(sessions(&f), 2);
    cr_expect_eq(expired(&f), 1);
    fixture_close(&f);
}

Test(subject, revoking_ends_its_sessions_and_no_others)
{
    struct fixture f;
    fixture_open(&f);
    create_some(&f, 3);
    create(&f, "u~1", "eve");
    struct result revoked = revoke(&f, "ada", NULL);
    cr_expect_eq(revoked.status, STATUS_OK);
    cr_expect_eq(revoked.count, 3);
    cr_expect(fixture_event(&f, EVENT_SESSION, "t~1", NULL));
    expect_ended(get(&f, "t~0"), REASON_REVOKED);
    cr_expect_eq(get(&f, "u~1").status, STATUS_OK);
    cr_expect_eq(revoke(&f, "ada", NULL).count, 0);
    cr_expect_eq(sessions(&f), 1);
    fixture_close(&f);
}

Test(subject, revoking_spares_the_session_it_is_told_to_by_its_old_id_too)
{
    struct fixture f;
    fixture_open(&f);
    create_some(&f, 3);
    cr_expect_eq(revoke(&f, "ada", "t~1").count, 2);
    cr_expect_eq(get(&f, "t~1").status, STATUS_OK);
    create(&f, "t~3", "ada");
    rotate(&f, "t~1", "1again", GRACE_MS);
    cr_expect_eq(revoke(&f, "ada", "t~1").count, 1);
    cr_expect_eq(get(&f, "t~1again").status, STATUS_OK);
    cr_expect_eq(revoke(&f, "ada", "t~unknown").count, 1);
    fixture_close(&f);
}

Test(subject, revoking_counts_only_what_was_alive)
{
    struct fixture f;
    fixture_open(&f);
    create_some(&f, 2);
    fixture_pass(&f, IDLE_MS - 2);
    touch(&f, "t~1");
    fixture_pass(&f, 1);
    cr_expect_eq(revoke(&f, "ada", NULL).count, 1);
    expect_ended(get(&f, "t~0"), REASON_IDLE);
    expect_ended(get(&f, "t~1"), REASON_REVOKED);
    cr_expect_eq(expired(&f), 1);
    fixture_close(&f);
}

/* ---- in a transaction --------------------------------------------------------------------------------------------- */

Test(session, a_transaction_that_fails_leaves_every_session_as_it_was)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "a", "{\"n\":1}");
    struct command operations[] = {
        patch_command("a", "{\"n\":2}"),
        key_command(COMMAND_SESSION_DELETE, "a"),
        key_command(COMMAND_SESSION_TOUCH, "a"),
    };
    struct result result = fixture_do(
        &f, (struct command){.kind = COMMAND_TRANSACTION, .transaction = {{operations, 3}}});
    cr_expect_eq(result.status, STATUS_TRANSACTION_FAILED);
    cr_expect_eq(result.failure.index, 2);
    cr_expect_not(fixture_event(&f, EVENT_SESSION, "a", NULL));
    struct session_view session = get(&f, "a").session;
    expect_text(session.data, "{\"n\":1}");
    cr_expect_eq(session.version, 1);
    cr_expect_eq(sessions(&f), 1);
    fixture_close(&f);
}
