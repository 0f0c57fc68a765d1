/*
 * Sessions and a subject's sessions over HTTP (API.md §2).
 *
 * Ids and tokens are made here, for the state machine draws no random number:
 *
 *     id      <tag>~<random>     tag: of the subject, so that its sessions share a routing key; or random
 *     token   <id>.<secret>      the state machine is told only the SHA-256 of the secret
 *
 * Creating and rotating show a secret once, which the answer of a transaction could not do again on a replay; so
 * these two stand alone.
 */
#include "handlers/digest.h"
#include "handlers/json_in.h"
#include "handlers/route.h"
#include "handlers/text_parse.h"

enum {
    TAG_BYTES = 8,     /* 16 hexadecimal digits */
    RANDOM_BYTES = 20, /* 27 characters of base64url */
    SECRET_BYTES = 32, /* 43 characters of base64url */
    TOKEN_TEXT_MAX = 1024
};

/* ---- secrets ------------------------------------------------------------------------------------------------------ */

static struct text random_text(struct exchange *x, size_t bytes)
{
    struct text random = digest_random(x->arena, bytes);
    return text_given(random) ? base64url_encode(random, x->arena) : TEXT_ABSENT;
}

static struct text tag_of(struct exchange *x, struct text subject)
{
    struct text bytes =
        text_given(subject) ? digest_sha256(x->arena, subject) : digest_random(x->arena, TAG_BYTES);
    return text_given(bytes) ? digest_hex(x->arena, (struct text){bytes.at, TAG_BYTES})
                             : TEXT_ABSENT;
}

/*
 * The tag of a session that is being made. Who repeats the request with its Idempotency-Key must come to the partition
 * that remembers it, and who forwards it to the owner of the partition that it was found to be for.
 */
static struct text tag_of_new(struct exchange *x, struct text subject)
{
    struct text key = idempotency_key(x);
    if (!text_given(subject) && name_valid(x->request.routing_key)) {
        return x->request.routing_key;
    }
    return tag_of(x, text_given(subject) ? subject : key);
}

/* Makes the secret of a new token; returns its hash. */
static struct text make_secret(struct exchange *x)
{
    x->secret = random_text(x, SECRET_BYTES);
    return digest_sha256(x->arena, x->secret);
}

/* What belongs behind the id in the token: as just made, or as it was on the first answer. */
static struct text shown_secret(struct exchange *x)
{
    return x->result.replayed ? exchange_unseal(x) : x->secret;
}

/* ---- answers ------------------------------------------------------------------------------------------------------ */

static int64_t left_ms(int64_t until_ms, const struct stamp *now)
{
    return until_ms > now->now_ms ? until_ms - now->now_ms : 0;
}

static void write_expiry(struct json_out *out, const struct session_view *session,
                         const struct stamp *now)
{
    out_member_int(out, "expires_in_ms", left_ms(session->expires_at_ms, now));
    out_member_instant(out, "expires_at", session->expires_at_ms);
}

/* The members of a session; the caller opens and closes the object. */
static void write_session(struct json_out *out, const struct session_view *session,
                          const struct stamp *now)
{
    out_member_text(out, "id", session->id);
    out_member_text_if(out, "subject", session->subject);
    out_member_raw(out, "data", session->data);
    out_member_int(out, "version", session->version);
    out_member_instant(out, "created_at", session->created_at_ms);
    out_member_instant(out, "last_seen_at", session->last_seen_at_ms);
    out_member_int(out, "idle_ttl_ms", session->idle_ttl_ms);
    out_member_int(out, "max_ttl_ms", session->max_ttl_ms);
    write_expiry(out, session, now);
    out_member_instant(out, "max_expires_at", session->max_expires_at_ms);
}

static void respond_session(struct exchange *x, struct text secret)
{
    const struct session_view *session = &x->result.session;
    struct json_out out = out_begin(x->arena);
    out_open(&out, '{');
    write_session(&out, session, &x->result.stamp);
    if (text_given(secret)) {
        out_member_text(&out, "token",
                        arena_format(x->arena, "%.*s.%.*s", (int)session->id.len, session->id.at,
                                     (int)secret.len, secret.at));
    }
    out_close(&out, '}');
    exchange_etag(x, session->version);
    if (x->result.status == STATUS_CREATED) {
        exchange_header(
            x, "Location",
            arena_format(x->arena, "/v1/sessions/%.*s", (int)session->id.len, session->id.at));
    }
    exchange_respond(x, status_info(x->result.status)->http, out_end(&out));
}

static void render_session(struct exchange *x)
{
    respond_session(x, TEXT_ABSENT);
}

static void render_token(struct exchange *x)
{
    exchange_header(x, "Cache-Control", TEXT("no-store"));
    respond_session(x, shown_secret(x));
}

static void render_nothing(struct exchange *x)
{
    exchange_respond(x, 204, TEXT_ABSENT);
}

/* ---- creating and resolving --------------------------------------------------------------------------------------- */

static int64_t read_idle_ttl(struct fields *fields, int64_t otherwise)
{
    return field_int(fields, "idle_ttl_ms", 1, SESSION_TTL_MS_MAX, otherwise);
}

static int64_t read_max_ttl(struct fields *fields, int64_t otherwise)
{
    return field_int(fields, "max_ttl_ms", 1, SESSION_TTL_MS_MAX, otherwise);
}

static enum status parse_create(struct exchange *x)
{
    static const char *const ON_LIMIT[] = {"reject", "evict_oldest", NULL};
    struct fields fields = fields_of_body(x);
    struct session_create create = {
        .data = field_object(&fields, "data", SESSION_DATA_BYTES_MAX, false),
        .subject = field_name(&fields, "subject", false),
        .idle_ttl_ms = read_idle_ttl(&fields, IDLE_TTL_MS_DEFAULT),
        .max_ttl_ms = read_max_ttl(&fields, MAX_TTL_MS_DEFAULT),
        .subject_limit = field_int(&fields, "subject_limit", 1, SUBJECT_LIMIT_MAX, ABSENT),
        .evict_oldest = field_choice(&fields, "on_limit", ON_LIMIT, 0) == 1};
    if (create.subject_limit != ABSENT && !text_given(create.subject)) {
        field_refuse(&fields, STATUS_INVALID_FIELD, "subject_limit", "needs a subject.");
    }
    enum status status = fields_end(&fields);
    if (status != STATUS_OK) {
        return status;
    }
    struct text tag = tag_of_new(x, create.subject);
    struct text random = random_text(x, RANDOM_BYTES);
    create.id =
        arena_format(x->arena, "%.*s~%.*s", (int)tag.len, tag.at, (int)random.len, random.at);
    create.token_hash = make_secret(x);
    x->routing_key = tag;
    x->command.kind = COMMAND_SESSION_CREATE;
    x->command.session_create = create;
    return STATUS_OK;
}

/* An id may have dots, a secret has none. What is no token of ours is the token of no session. */
static bool split_token(struct text token, struct text *ret_id, struct text *ret_secret)
{
    const char *dot = token.len == 0 ? NULL : memrchr(token.at, '.', token.len);
    if (dot == NULL) {
        return false;
    }
    *ret_id = (struct text){token.at, (size_t)(dot - token.at)};
    *ret_secret = (struct text){dot + 1, token.len - ret_id->len - 1};
    return name_valid(*ret_id);
}

static enum status parse_resolve(struct exchange *x)
{
    struct fields fields = fields_of_body(x);
    struct text token = field_text(&fields, "token", 1, TOKEN_TEXT_MAX, true);
    bool touch = field_flag(&fields, "touch", true);
    struct text id, secret;
    enum status status = fields_end(&fields);
    if (status != STATUS_OK) {
        return status;
    }
    if (!split_token(token, &id, &secret)) {
        /* No session has that id. It is looked for all the same, so that an Idempotency-Key is kept with the answer. */
        id = secret = TEXT("");
    }
    x->routing_key = text_routing_key(id);
    x->command.kind = touch ? COMMAND_SESSION_RESOLVE : COMMAND_SESSION_LOOKUP;
    x->command.session_resolve =
        (struct session_resolve){.id = id, .token_hash = digest_sha256(x->arena, secret)};
    return STATUS_OK;
}

/* ---- one session -------------------------------------------------------------------------------------------------- */

static enum status parse_get(struct exchange *x)
{
    x->command.kind = COMMAND_SESSION_GET;
    x->command.session_get = (struct session_key){x->params[0], UNCONDITIONAL};
    x->topic = (struct topic){.kind = EVENT_SESSION, .name = x->params[0]};
    return exchange_watch(x);
}

/* An id that was rotated shows its successor: what changes, then, is told under the successor's id. */
static enum next after_get(struct exchange *x)
{
    const struct session_view *session = &x->result.session;
    if (status_is_ok(x->result.status) && x->wait_ms > 0 &&
        !text_equal(session->id, x->topic.name)) {
        x->topic.name = session->id;
        return NEXT_READ;
    }
    return watch_after(x, status_is_ok(x->result.status) ? session->version : ABSENT);
}

/* Who sends a subject gets a better answer than that the field is unknown. */
static void refuse_subject(struct fields *fields)
{
    if (field_given(fields, "subject")) {
        field_refuse(fields, STATUS_INVALID_SUBJECT, "subject",
                     "is given to a session by POST /v1/sessions or by rotate.");
    }
}

static enum status parse_put(struct exchange *x)
{
    struct fields fields = fields_of_body(x);
    struct session_put put = {.id = x->params[0]};
    refuse_subject(&fields);
    put.data = field_object(&fields, "data", SESSION_DATA_BYTES_MAX, false);
    put.idle_ttl_ms = read_idle_ttl(&fields, IDLE_TTL_MS_DEFAULT);
    put.max_ttl_ms = read_max_ttl(&fields, MAX_TTL_MS_DEFAULT);
    fields_absorb(&fields, exchange_condition(x, &put.condition));
    x->command.kind = COMMAND_SESSION_PUT;
    x->command.session_put = put;
    return fields_end(&fields);
}

/* RFC 7396: null takes the member away. What is left then is the default, or no data. */
static enum status parse_patch(struct exchange *x)
{
    struct fields fields = fields_of_body(x);
    struct session_patch patch = {
        .id = x->params[0], .idle_ttl_ms = IDLE_TTL_MS_DEFAULT, .max_ttl_ms = MAX_TTL_MS_DEFAULT};
    refuse_subject(&fields);
    patch.clear_data = field_null(&fields, "data");
    if (!patch.clear_data) {
        patch.data_patch = field_object(&fields, "data", BODY_BYTES_MAX, false);
    }
    if (!field_null(&fields, "idle_ttl_ms")) {
        patch.idle_ttl_ms = read_idle_ttl(&fields, ABSENT);
    }
    if (!field_null(&fields, "max_ttl_ms")) {
        patch.max_ttl_ms = read_max_ttl(&fields, ABSENT);
    }
    fields_absorb(&fields, exchange_condition(x, &patch.condition));
    x->command.kind = COMMAND_SESSION_PATCH;
    x->command.session_patch = patch;
    return fields_end(&fields);
}

static enum next after_patch(struct exchange *x)
{
    if (x->result.status == STATUS_BODY_TOO_LARGE) {
        exchange_refuse(x, STATUS_BODY_TOO_LARGE, "data",
                        "The merged data would take more than %d bytes as compact JSON.",
                        SESSION_DATA_BYTES_MAX);
    }
    return NEXT_ANSWER;
}

static enum status parse_delete(struct exchange *x)
{
    x->command.kind = COMMAND_SESSION_DELETE;
    x->command.session_delete.id = x->params[0];
    return exchange_condition(x, &x->command.session_delete.condition);
}

static enum status parse_touch(struct exchange *x)
{
    struct fields fields = fields_of_body(x);
    x->command.kind = COMMAND_SESSION_TOUCH;
    x->command.session_touch = (struct session_key){x->params[0], UNCONDITIONAL};
    return fields_end(&fields);
}

static void render_touch(struct exchange *x)
{
    struct json_out out = out_begin(x->arena);
    out_open(&out, '{');
    write_expiry(&out, &x->result.session, &x->result.stamp);
    out_close(&out, '}');
    exchange_respond(x, 200, out_end(&out));
}

static enum status parse_rotate(struct exchange *x)
{
    struct fields fields = fields_of_body(x);
    struct session_rotate rotate = {.id = x->params[0],
                                    .grace_ms =
                                        field_int(&fields, "grace_ms", 0, ROTATE_GRACE_MS_MAX, 0),
                                    .subject = field_name(&fields, "subject", false),
                                    .departs_at = ABSENT};
    enum status status = fields_end(&fields);
    if (status != STATUS_OK) {
        return status;
    }
    rotate.subject_tag = text_given(rotate.subject) ? tag_of(x, rotate.subject) : TEXT_ABSENT;
    rotate.new_random = random_text(x, RANDOM_BYTES);
    rotate.new_token_hash = make_secret(x);
    x->command.kind = COMMAND_SESSION_ROTATE;
    x->command.session_rotate = rotate;
    return STATUS_OK;
}

/* ---- a subject's sessions ----------------------------------------------------------------------------------------- */

static enum status parse_list(struct exchange *x)
{
    x->routing_key = tag_of(x, x->params[0]);
    x->command.kind = COMMAND_SUBJECT_LIST;
    x->command.subject_list.subject = x->params[0];
    return exchange_page(x, &x->command.subject_list.page);
}

static void render_list(struct exchange *x)
{
    const struct session_page *page = &x->result.sessions;
    struct json_out out = out_begin(x->arena);
    out_open(&out, '{');
    out_key(&out, "items");
    out_open(&out, '[');
    for (size_t i = 0; i < page->items.count; i++) {
        out_open(&out, '{');
        write_session(&out, &page->items.at[i], &x->result.stamp);
        out_close(&out, '}');
    }
    out_close(&out, ']');
    out_member_text_if(&out, "next_cursor", exchange_cursor(x, page->next));
    out_close(&out, '}');
    exchange_respond(x, 200, out_end(&out));
}

static enum status parse_revoke(struct exchange *x)
{
    struct text except = exchange_parameter(x, "except");
    if (text_given(except) && !name_valid(except)) {
        return exchange_refuse(x, STATUS_INVALID_PARAMETER, "except",
                               "except must be a session's id.");
    }
    x->routing_key = tag_of(x, x->params[0]);
    x->command.kind = COMMAND_SUBJECT_REVOKE;
    x->command.subject_revoke = (struct subject_revoke){x->params[0], except};
    return STATUS_OK;
}

static void render_revoked(struct exchange *x)
{
    struct json_out out = out_begin(x->arena);
    out_open(&out, '{');
    out_member_int(&out, "revoked", x->result.count);
    out_close(&out, '}');
    exchange_respond(x, 200, out_end(&out));
}

static const struct route ROUTES[] = {
    {.method = METHOD_POST,
     .template = "/v1/sessions",
     .operation = "createSession",
     .parse = parse_create,
     .render = render_token,
     .takes_body = true},
    {.method = METHOD_POST,
     .template = "/v1/sessions/resolve",
     .operation = "resolveSession",
     .parse = parse_resolve,
     .render = render_session,
     .transactional = true,
     .takes_body = true},
    {.method = METHOD_GET,
     .template = "/v1/sessions/{id}",
     .operation = "getSession",
     .parse = parse_get,
     .render = render_session,
     .after = after_get,
     .wake = watch_wake,
     .transactional = true},
    {.method = METHOD_PUT,
     .template = "/v1/sessions/{id}",
     .operation = "putSession",
     .parse = parse_put,
     .render = render_session,
     .transactional = true,
     .takes_body = true},
    {.method = METHOD_PATCH,
     .template = "/v1/sessions/{id}",
     .operation = "patchSession",
     .parse = parse_patch,
     .render = render_session,
     .after = after_patch,
     .transactional = true,
     .takes_body = true},
    {.method = METHOD_DELETE,
     .template = "/v1/sessions/{id}",
     .operation = "deleteSession",
     .parse = parse_delete,
     .render = render_nothing,
     .transactional = true},
    {.method = METHOD_POST,
     .template = "/v1/sessions/{id}/touch",
     .operation = "touchSession",
     .parse = parse_touch,
     .render = render_touch,
     .transactional = true,
     .takes_body = true},
    {.method = METHOD_POST,
     .template = "/v1/sessions/{id}/rotate",
     .operation = "rotateSession",
     .parse = parse_rotate,
     .render = render_token,
     .takes_body = true},
    {.method = METHOD_GET,
     .template = "/v1/subjects/{subject}/sessions",
     .operation = "listSubjectSessions",
     .parse = parse_list,
     .render = render_list,
     .transactional = true},
    {.method = METHOD_DELETE,
     .template = "/v1/subjects/{subject}/sessions",
     .operation = "revokeSubjectSessions",
     .parse = parse_revoke,
     .render = render_revoked,
     .transactional = true},
};
const struct route_list session_routes = {ROUTES, sizeof ROUTES / sizeof ROUTES[0]};
