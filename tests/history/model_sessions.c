/*
 * Sessions, as API.md §2 and db/sessions.h promise them.
 */
#include "tests/history/model.h"

static int64_t over_ms(const struct m_session *s)
{
    int64_t idle_ms = s->last_seen_ms + s->idle_ttl_ms, max_ms = s->created_ms + s->max_ttl_ms;
    return idle_ms < max_ms ? idle_ms : max_ms;
}

/* How it ended, whether or not that is written down; NONE while it is alive. */
static enum end_reason ended(const struct model *model, const struct m_session *s)
{
    if (s->ended != REASON_NONE || model->now.now_ms < over_ms(s)) {
        return s->ended;
    }
    return s->last_seen_ms + s->idle_ttl_ms < s->created_ms + s->max_ttl_ms ? REASON_IDLE
                                                                            : REASON_ABSOLUTE;
}

static int64_t tombstone_over_ms(const struct m_session *s)
{
    return (s->ended == REASON_NONE ? over_ms(s) : s->ended_ms) + SESSION_TOMBSTONE_MS;
}

static bool leads_on(const struct model *model, const struct m_session *s)
{
    return s->ended == REASON_ROTATED && model->now.now_ms < s->grace_until_ms;
}

/* The session or tombstone of that id, NULL where there is none or its time is over. */
static struct m_session *find(struct model *model, struct text id)
{
    for (size_t i = 0; i < model->session_count; i++) {
        struct m_session *s = &model->sessions[i];
        if (text_equal(s->id, id)) {
            return tombstone_over_ms(s) > model->now.now_ms ? s : NULL;
        }
    }
    return NULL;
}

static struct m_session *follow(struct model *model, struct m_session *s)
{
    for (int hops = 0; hops < ROTATION_CHAIN_MAX && leads_on(model, s); hops++) {
        struct m_session *next = find(model, s->successor);
        if (next == NULL) {
            break;
        }
        s = next;
    }
    return s;
}

static bool refuse_ended(const struct model *model, const struct m_session *s, struct result *want)
{
    enum end_reason reason = ended(model, s);
    if (reason != REASON_NONE) {
        want->status = STATUS_SESSION_ENDED;
        want->reason = reason;
    }
    return reason != REASON_NONE;
}

/* The live session that the id leads to; NULL, with the refusal in `want`, where there is none. */
static struct m_session *find_live(struct model *model, struct text id, struct result *want)
{
    struct m_session *s = find(model, id);
    if (s == NULL) {
        want->status = STATUS_SESSION_NOT_FOUND;
        return NULL;
    }
    s = follow(model, s);
    return refuse_ended(model, s, want) ? NULL : s;
}

bool session_lives(const struct model *model, struct text id)
{
    for (size_t i = 0; i < model->session_count; i++) {
        if (text_equal(model->sessions[i].id, id)) {
            return ended(model, &model->sessions[i]) == REASON_NONE;
        }
    }
    return false;
}

static struct session_view view(const struct m_session *s)
{
    return (struct session_view){.id = s->id,
                                 .subject = s->subject,
                                 .data = s->data,
                                 .version = s->version,
                                 .created_at_ms = s->created_ms,
                                 .last_seen_at_ms = s->last_seen_ms,
                                 .idle_ttl_ms = s->idle_ttl_ms,
                                 .max_ttl_ms = s->max_ttl_ms,
                                 .expires_at_ms = over_ms(s),
                                 .max_expires_at_ms = s->created_ms + s->max_ttl_ms};
}

static void answer(struct result *want, const struct m_session *s)
{
    want->shape = SHAPE_SESSION;
    want->session = view(s);
}

static bool holds(const struct condition *condition, const struct m_session *s, struct result *want)
{
    struct grown version = {.known = s == NULL ? 0 : s->version};
    return model_condition(condition, s != NULL, &version, want);
}

/* ---- changing ------------------------------------------------------------------------------------------------- */

static void tell(struct model *model, const struct m_session *s)
{
    model_tell(model, EVENT_SESSION, s->id, TEXT_ABSENT);
}

/* The idle clock begins anew; version and data stay. */
static void renew(struct model *model, struct m_session *s)
{
    if (s->last_seen_ms != model->now.now_ms) {
        s->last_seen_ms = model->now.now_ms;
        model_tell(model, EVENT_RENEWED, s->id, TEXT_ABSENT);
    }
}

static struct m_session *add(struct model *model, struct m_session fresh)
{
    size_t at = model_append(model, &model->session_count, M_SESSIONS);
    model->sessions[at] = fresh;
    tell(model, &fresh);
    return &model->sessions[at];
}

static void drop(struct model *model, struct m_session *s)
{
    size_t at = (size_t)(s - model->sessions);
    memmove(s, s + 1, (--model->session_count - at) * sizeof *s);
}

/* Writes down that it has ended. */
static void end(struct model *model, struct m_session *s, enum end_reason reason)
{
    bool by_time = reason == REASON_IDLE || reason == REASON_ABSOLUTE;
    s->ended_ms = by_time ? over_ms(s) : model->now.now_ms;
    s->ended = reason;
    s->token_hash = TEXT_ABSENT;
    model->expired += by_time;
    tell(model, s);
    locks_end_session(model, s->id);
}

static void write(struct model *model, struct m_session *s)
{
    s->version++;
    s->last_seen_ms = model->now.now_ms;
    tell(model, s);
}

/* ---- a subject's ---------------------------------------------------------------------------------------------- */

static bool is_of(const struct m_session *s, struct text subject)
{
    return s->ended == REASON_NONE && text_given(s->subject) && text_equal(s->subject, subject);
}

/* Those of the subject stand in the array as they came; a successor has its predecessor's age. */
static struct m_session *oldest_of(struct model *model, struct text subject)
{
    struct m_session *oldest = NULL;
    for (size_t i = 0; i < model->session_count; i++) {
        struct m_session *s = &model->sessions[i];
        if (is_of(s, subject) && ended(model, s) == REASON_NONE &&
            (oldest == NULL || s->created_ms < oldest->created_ms)) {
            oldest = s;
        }
    }
    return oldest;
}

/* Whether anything is left under that id: the same random bits twice are an error of the server's own. */
static bool is_taken(const struct model *model, struct text id, struct result *want)
{
    for (size_t i = 0; i < model->session_count; i++) {
        if (text_equal(model->sessions[i].id, id)) {
            want->status = STATUS_INTERNAL;
            return true;
        }
    }
    return false;
}

static void create(struct model *model, const struct session_create *c, struct result *want)
{
    int64_t alive = 0;
    bool limited = text_given(c->subject) && c->subject_limit != ABSENT;
    for (size_t i = 0; i < model->session_count; i++) {
        struct m_session *s = &model->sessions[i];
        alive += is_of(s, c->subject) && ended(model, s) == REASON_NONE;
    }
    if (limited && alive >= c->subject_limit && !c->evict_oldest) {
        want->status = STATUS_SUBJECT_LIMIT;
        return;
    }
    if (is_taken(model, c->id, want)) {
        return;
    }
    /* Whoever counts them writes down those whose time is over. */
    for (size_t i = 0; limited && i < model->session_count; i++) {
        struct m_session *s = &model->sessions[i];
        if (is_of(s, c->subject) && ended(model, s) != REASON_NONE) {
            end(model, s, ended(model, s));
        }
    }
    for (; limited && alive >= c->subject_limit; alive--) {
        end(model, oldest_of(model, c->subject), REASON_REVOKED);
    }
    want->status = STATUS_CREATED;
    answer(want, add(model, (struct m_session){.id = c->id,
                                               .subject = c->subject,
                                               .token_hash = c->token_hash,
                                               .data = c->data,
                                               .version = 1,
                                               .created_ms = model->now.now_ms,
                                               .last_seen_ms = model->now.now_ms,
                                               .idle_ttl_ms = c->idle_ttl_ms,
                                               .max_ttl_ms = c->max_ttl_ms}));
}

static void revoke(struct model *model, const struct subject_revoke *c, struct result *want)
{
    struct text except = TEXT_ABSENT;
    struct m_session *spared = text_given(c->except) ? find(model, c->except) : NULL;
    if (spared != NULL) {
        except = follow(model, spared)->id;
    }
    for (size_t i = 0; i < model->session_count; i++) {
        struct m_session *s = &model->sessions[i];
        if (!is_of(s, c->subject)) {
            continue;
        }
        if (ended(model, s) != REASON_NONE) {
            end(model, s, ended(model, s));
        } else if (!text_given(except) || !text_equal(s->id, except)) {
            end(model, s, REASON_REVOKED);
            want->count++;
        }
    }
}

/* By age, and as they came. Histories ask for pages that hold all. */
static void list(struct model *model, const struct subject_list *c, struct result *want)
{
    struct session_view *views = arena_zalloc(model->scratch, M_SESSIONS, sizeof *views);
    size_t count = 0;
    for (size_t i = 0; i < model->session_count; i++) {
        const struct m_session *s = &model->sessions[i];
        if (!is_of(s, c->subject) || ended(model, s) != REASON_NONE) {
            continue;
        }
        size_t at = count++;
        for (; at > 0 && views[at - 1].created_at_ms > s->created_ms; at--) {
            views[at] = views[at - 1];
        }
        views[at] = view(s);
    }
    want->shape = SHAPE_SESSION_PAGE;
    want->sessions.items.at = views;
    want->sessions.items.count = count;
}

/* ---- one session's -------------------------------------------------------------------------------------------- */

static void resolve(struct model *model, const struct session_resolve *c, bool touch,
                    struct result *want)
{
    struct m_session *s = find(model, c->id);
    if (s != NULL && !leads_on(model, s) && refuse_ended(model, s, want)) {
        return;
    }
    if (s == NULL || !text_given(s->token_hash) || !text_equal(s->token_hash, c->token_hash)) {
        want->status = STATUS_SESSION_NOT_FOUND;
        return;
    }
    s = follow(model, s);
    if (refuse_ended(model, s, want)) {
        return;
    }
    if (touch) {
        renew(model, s);
    }
    answer(want, s);
}

static void put(struct model *model, const struct session_put *c, struct result *want)
{
    struct m_session *s = find_live(model, c->id, want);
    if (want->status == STATUS_SESSION_ENDED) {
        return;
    }
    want->status = STATUS_OK;
    if (!holds(&c->condition, s, want)) {
        return;
    }
    if (s == NULL) {
        /* What is left under that id has been forgotten. */
        for (size_t i = 0; i < model->session_count; i++) {
            struct m_session *left = &model->sessions[i];
            if (text_equal(left->id, c->id)) {
                if (left->ended == REASON_NONE) {
                    end(model, left, ended(model, left));
                }
                drop(model, left);
                break;
            }
        }
        s = add(model, (struct m_session){.id = c->id, .created_ms = model->now.now_ms});
        want->status = STATUS_CREATED;
    }
    s->data = c->data;
    s->idle_ttl_ms = c->idle_ttl_ms;
    s->max_ttl_ms = c->max_ttl_ms;
    write(model, s);
    answer(want, s);
}

static void patch(struct model *model, const struct session_patch *c, struct result *want)
{
    struct m_session *s = find_live(model, c->id, want);
    if (s == NULL || !holds(&c->condition, s, want)) {
        return;
    }
    s->data = c->clear_data ? TEXT("{}") : s->data;
    s->data = text_given(c->data_patch) ? model_merge(model, s->data, c->data_patch) : s->data;
    s->idle_ttl_ms = c->idle_ttl_ms != ABSENT ? c->idle_ttl_ms : s->idle_ttl_ms;
    s->max_ttl_ms = c->max_ttl_ms != ABSENT ? c->max_ttl_ms : s->max_ttl_ms;
    write(model, s);
    answer(want, s);
}

static void touch(struct model *model, const struct session_key *c, struct result *want)
{
    struct m_session *s = find_live(model, c->id, want);
    if (s != NULL && holds(&c->condition, s, want)) {
        renew(model, s);
        answer(want, s);
        want->session.data = TEXT_ABSENT;
    }
}

static void rotate(struct model *model, const struct session_rotate *c, struct result *want)
{
    struct m_session *s = find_live(model, c->id, want);
    if (s == NULL) {
        return;
    }
    struct text tag = text_given(c->subject) ? c->subject_tag : text_routing_key(s->id);
    struct m_session successor = *s;
    successor.id = arena_format(model->arena, "%.*s~%.*s", (int)tag.len, tag.at,
                                (int)c->new_random.len, c->new_random.at);
    if (is_taken(model, successor.id, want)) {
        return;
    }
    successor.token_hash = c->new_token_hash;
    successor.subject = text_given(c->subject) ? c->subject : s->subject;
    write(model, &successor);
    s->ended = REASON_ROTATED;
    s->successor = successor.id;
    s->grace_until_ms = model->now.now_ms + c->grace_ms;
    s->ended_ms = s->grace_until_ms;
    tell(model, s);
    struct text old_id = s->id;
    answer(want, add(model, successor));
    if (text_equal(text_routing_key(old_id), tag)) {
        locks_move_session(model, old_id, successor.id);
    } else {
        locks_end_session(model, old_id);
    }
}

static void get(struct model *model, struct text id, struct result *want)
{
    struct m_session *s = find_live(model, id, want);
    if (s != NULL) {
        answer(want, s);
    }
}

static void delete_one(struct model *model, const struct session_key *c, struct result *want)
{
    struct m_session *s = find_live(model, c->id, want);
    if (s == NULL) {
        *want = (struct result){.status = STATUS_OK, .stamp = model->now}; /* gone is gone */
    } else if (holds(&c->condition, s, want)) {
        end(model, s, REASON_REVOKED);
    }
}

void model_session(struct model *model, const struct command *command, struct result *want)
{
    switch ((int)command->kind) {
    case COMMAND_SESSION_CREATE:
        create(model, &command->session_create, want);
        break;
    case COMMAND_SESSION_RESOLVE:
        resolve(model, &command->session_resolve, true, want);
        break;
    case COMMAND_SESSION_LOOKUP:
        resolve(model, &command->session_lookup, false, want);
        break;
    case COMMAND_SESSION_GET:
        get(model, command->session_get.id, want);
        break;
    case COMMAND_SESSION_PUT:
        put(model, &command->session_put, want);
        break;
    case COMMAND_SESSION_PATCH:
        patch(model, &command->session_patch, want);
        break;
    case COMMAND_SESSION_TOUCH:
        touch(model, &command->session_touch, want);
        break;
    case COMMAND_SESSION_ROTATE:
        rotate(model, &command->session_rotate, want);
        break;
    case COMMAND_SESSION_DELETE:
        delete_one(model, &command->session_delete, want);
        break;
    case COMMAND_SUBJECT_LIST:
        list(model, &command->subject_list, want);
        break;
    case COMMAND_SUBJECT_REVOKE:
        revoke(model, &command->subject_revoke, want);
        break;
    }
}

/* ---- time ----------------------------------------------------------------------------------------------------- */

void sessions_pass(struct model *model)
{
    for (size_t i = 0; i < model->session_count; i++) {
        struct m_session *s = &model->sessions[i];
        if (s->ended == REASON_NONE && ended(model, s) != REASON_NONE) {
            end(model, s, ended(model, s));
        }
        if (tombstone_over_ms(s) <= model->now.now_ms) {
            drop(model, s);
            i--;
        }
    }
}
