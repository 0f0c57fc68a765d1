#include "service/guard.h"

#include "db/limits.h"
#include "handlers/text_parse.h"

#include <strings.h>

static struct guard_verdict refuse(enum status status, const char *why)
{
    return (struct guard_verdict){.status = status, .why = why, .content_length = -1};
}

/* RFC 9110 §5.6.2: the characters of a field name. */
static bool is_token(struct text t)
{
    static const char OTHERS[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < t.len; i++) {
        char c = t.at[i];
        bool alphanumeric =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alphanumeric && (c == '\0' || strchr(OTHERS, c) == NULL)) {
            return false;
        }
    }
    return t.len > 0;
}

static bool has_control(struct text t, bool tab_is_fine)
{
    for (size_t i = 0; i < t.len; i++) {
        unsigned char c = (unsigned char)t.at[i];
        if ((c < 0x20 && !(tab_is_fine && c == '\t')) || c == 0x7f) {
            return true;
        }
    }
    return false;
}

/* RFC 9112 §3.2.1 and §3.2.2: the forms of a target that name something here. */
static bool is_path_or_url(struct text target)
{
    bool url = target.len > 8 && strncasecmp(target.at, "http://", 7) == 0 && target.at[7] != '/';
    return url ? memchr(target.at + 7, '/', target.len - 7) != NULL
               : target.len > 0 && target.at[0] == '/';
}

static struct guard_verdict judge_target(struct text target, const char *version)
{
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0) {
        return refuse(STATUS_HTTP_VERSION, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    }
    if (target.len > TARGET_BYTES_MAX) {
        return refuse(STATUS_URI_TOO_LONG, "The request target is longer than 4096 bytes.");
    }
    if (!is_path_or_url(target) || has_control(target, false) ||
        memchr(target.at, ' ', target.len) != NULL) {
        return refuse(STATUS_BAD_REQUEST, "The request target must be a path that begins with a "
                                          "slash, or an http URL with one, and have no white "
                                          "space.");
    }
    return (struct guard_verdict){.status = STATUS_OK, .content_length = -1};
}

struct counts {
    int hosts, lengths, encodings;
    size_t bytes;
};

static struct guard_verdict judge_field(const struct guard_field *field, struct counts *counts,
                                        struct guard_verdict verdict)
{
    counts->bytes += field->name.len + field->value.len + 4;
    if (!is_token(field->name)) {
        return refuse(STATUS_BAD_REQUEST, "A header field's name has white space or other "
                                          "characters that no field name has.");
    }
    if (has_control(field->value, true)) {
        return refuse(STATUS_BAD_REQUEST, "A header field's value has control characters.");
    }
    if (text_equal_nocase(field->name, "Host")) {
        counts->hosts++;
    } else if (text_equal_nocase(field->name, "Content-Length")) {
        counts->lengths++;
        if (!parse_decimal(text_trim(field->value), &verdict.content_length)) {
            return refuse(STATUS_BAD_REQUEST, "Content-Length must be one decimal number.");
        }
    } else if (text_equal_nocase(field->name, "Transfer-Encoding")) {
        counts->encodings++;
        verdict.chunked = true;
        /* Without trimming: libmicrohttpd 0.9.75 does not take "chunked " for chunked. */
        if (!text_equal_nocase(field->value, "chunked")) {
            return refuse(STATUS_BAD_REQUEST, "The only Transfer-Encoding taken is chunked.");
        }
    } else if (text_equal_nocase(field->name, "Expect") &&
               !text_equal_nocase(text_trim(field->value), "100-continue")) {
        return refuse(STATUS_EXPECTATION_FAILED, "The only expectation met is 100-continue.");
    }
    return verdict;
}

struct guard_verdict guard_judge(struct text target, const char *version,
                                 const struct guard_field *fields, size_t count)
{
    struct counts counts = {0, 0, 0, 0};
    struct guard_verdict verdict = judge_target(target, version);
    for (size_t i = 0; i < count && verdict.status == STATUS_OK; i++) {
        verdict = judge_field(&fields[i], &counts, verdict);
    }
    if (verdict.status != STATUS_OK) {
        return verdict;
    }
    if (count > HEADERS_MAX || counts.bytes > HEAD_BYTES_MAX) {
        return refuse(STATUS_HEADERS_TOO_LARGE,
                      "The head has more than 64 fields or more than 8192 bytes.");
    }
    if (counts.hosts > 1 || (counts.hosts == 0 && strcmp(version, "HTTP/1.1") == 0)) {
        return refuse(STATUS_BAD_REQUEST, "There must be exactly one Host field.");
    }
    if (counts.lengths > 1 || counts.encodings > 1 || (counts.lengths == 1 && verdict.chunked)) {
        return refuse(STATUS_BAD_REQUEST, "The body's length must be told once: by one "
                                          "Content-Length or by Transfer-Encoding: chunked.");
    }
    if (verdict.chunked && strcmp(version, "HTTP/1.0") == 0) {
        return refuse(STATUS_BAD_REQUEST, "HTTP/1.0 has no Transfer-Encoding.");
    }
    if (verdict.content_length > BODY_BYTES_MAX) {
        struct guard_verdict large =
            refuse(STATUS_BODY_TOO_LARGE, "The body is larger than 1048576 bytes.");
        large.content_length = verdict.content_length;
        return large;
    }
    return verdict;
}

/* From `from` to `to` there are between min and max bytes, and all of them are NUL. */
static bool only_nuls(const char *from, const char *to, ptrdiff_t min, ptrdiff_t max)
{
    if (to - from < min || to - from > max) {
        return false;
    }
    for (; from < to; from++) {
        if (*from != '\0') {
            return false;
        }
    }
    return true;
}

bool guard_accounts(const char *method, size_t target_len, const char *version,
                    const struct guard_field *fields, size_t count, const char *end)
{
    enum { LINE_END_MIN = 1, LINE_END_MAX = 2 }; /* LF, CR LF */
    if (version != method + strlen(method) + 1 + target_len + 1) {
        return false;
    }
    const char *at = version + strlen(version);
    for (size_t i = 0; i < count; i++) {
        struct text name = fields[i].name, value = fields[i].value;
        if (!only_nuls(at, name.at, LINE_END_MIN, LINE_END_MAX)) {
            return false;
        }
        const char *colon = name.at + name.len;
        size_t space = value.at > colon ? (size_t)(value.at - colon - 1) : 0;
        if (value.at <= colon || *colon != '\0' ||
            text_trim((struct text){colon + 1, space}).len != 0) {
            return false;
        }
        at = value.at + value.len;
    }
    return only_nuls(at, end, 2 * LINE_END_MIN, 2 * LINE_END_MAX);
}
