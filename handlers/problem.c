#include "handlers/problem.h"

#include "handlers/route.h"

#include <stdlib.h>

struct text end_reason_text(int64_t reason)
{
    static const char *const WORDS[] = {
        [REASON_NONE] = NULL,           [REASON_IDLE] = "idle",
        [REASON_ABSOLUTE] = "absolute", [REASON_REVOKED] = "revoked",
        [REASON_ROTATED] = "rotated",   [REASON_RELEASED] = "released",
        [REASON_EXPIRED] = "expired",   [REASON_SESSION_ENDED] = "session-ended",
    };
    size_t count = sizeof WORDS / sizeof WORDS[0];
    return reason >= 0 && (size_t)reason < count ? text_of(WORDS[reason]) : TEXT_ABSENT;
}

static void write_common(struct json_out *out, enum status status, struct text detail)
{
    const struct status_info *info = status_info(status);
    char type[64] = "/problems/";
    strncat(type, info->code, sizeof type - strlen(type) - 1);
    out_member_text(out, "type", text_of(type));
    out_member_text(out, "title", text_of(info->title));
    out_member_int(out, "status", info->http);
    out_member_text(out, "detail", text_given(detail) ? detail : text_of(info->advice));
    out_member_text(out, "code", text_of(info->code));
    out_member_bool(out, "retryable", info->retryable);
}

/* What the state machine said with this refusal, in the members that mean the same on every route. */
static void write_result(struct exchange *x, struct json_out *out)
{
    const struct result *result = &x->result;
    if (result->status == STATUS_VERSION_MISMATCH) {
        out_member_int(out, "current_version", result->version);
    }
    if (result->status == STATUS_STALE_FENCE) {
        out_member_int(out, "current", result->version);
    }
    if (text_given(end_reason_text(result->reason))) {
        out_member_text(out, "reason", end_reason_text(result->reason));
        out_member_text_if(out, "reason_text", result->reason_text);
    }
    if (x->route->explain != NULL) {
        x->route->explain(x, out);
    }
}

void problem_write(struct exchange *x, enum status status, struct json_out *out)
{
    struct text field = text_given(x->refused.field) ? x->refused.field : x->result.field;
    out_open(out, '{');
    write_common(out, status, x->refused.detail);
    out_member_text_if(out, "field", field);
    if (x->route != NULL && x->result.status == status && status != STATUS_OK) {
        write_result(x, out);
    }
    out_close(out, '}');
}

static void retry_after(struct exchange *x, const struct status_info *info)
{
    bool told = x->result.retry_after_ms > 0;
    if (info->http == 429 || info->http == 503 || told) {
        int64_t seconds = told ? (x->result.retry_after_ms + 999) / 1000 : 1;
        exchange_header(x, "Retry-After", arena_format(x->arena, "%lld", (long long)seconds));
    }
}

void problem_render(struct exchange *x, enum status status)
{
    const struct status_info *info = status_info(status);
    if (status == STATUS_OUT_OF_MEMORY) {
        arena_clear(x->arena); /* there must be room for the answer that says so */
        x->refused = (struct refusal_detail){TEXT_ABSENT, TEXT_ABSENT};
        x->response.header_count = 0;
        x->result = (struct result){.status = status};
    }
    struct json_out out = out_begin(x->arena);
    problem_write(x, status, &out);
    retry_after(x, info);
    if (status == STATUS_VERSION_MISMATCH && x->result.version > 0) {
        exchange_etag(x, x->result.version);
    }
    x->response.status = info->http;
    x->response.content_type = "application/problem+json";
    x->response.body = out_end(&out);
    if (x->result.replayed) {
        exchange_header(x, "Idempotent-Replayed", TEXT("true"));
    }
}

struct text problem_plain(enum status status, struct arena *arena)
{
    struct json_out out = out_begin(arena);
    out_open(&out, '{');
    write_common(&out, status, TEXT_ABSENT);
    out_close(&out, '}');
    return out_end(&out);
}
