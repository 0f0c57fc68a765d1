#include "bench/http.h"

#include <string.h>
#include <strings.h>

enum { STATUS_LINE_BYTES_MIN = 12 /* "HTTP/1.1 200" */, STATUS_AT = 9, BODY_BYTES_LIMIT = 1 << 28 };

void http_request(struct buffer *out, const char *method, const char *target,
                  const struct buffer *body)
{
    buffer_clear(out);
    buffer_format(out, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, target);
    if (body == NULL) {
        buffer_append(out, "\r\n", 2);
        return;
    }
    buffer_format(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                  body->bytes);
    buffer_append(out, body->at, body->bytes);
}

bool answer_holds(const struct answer *answer, const char *text, size_t bytes)
{
    return memmem(answer->body, answer->body_bytes, text, bytes) != NULL;
}

/* The digits at `at`, which end before `end`; -1 when there are none or too many. */
static long digits(const char *at, const char *end)
{
    long value = -1;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        value = (value < 0 ? 0 : value) * 10 + (*at - '0');
        if (value > BODY_BYTES_LIMIT) {
            return -1;
        }
    }
    return value;
}

/* The head's Content-Length, -1 when it has none. `end` is behind the last header's line end. */
static long content_length(const char *head, const char *end)
{
    static const char name[] = "\r\nContent-Length:";
    const size_t bytes = sizeof name - 1;
    const char *at = head;
    while ((at = memchr(at, '\r', (size_t)(end - at))) != NULL && (size_t)(end - at) > bytes) {
        if (strncasecmp(at, name, bytes) == 0) {
            at += bytes;
            return digits(at + strspn(at, " "), end);
        }
        at++;
    }
    return -1;
}

static enum framing http_frame(const char *at, size_t bytes, struct answer *ret_answer)
{
    const char *blank = memmem(at, bytes, "\r\n\r\n", 4);
    if (blank == NULL) {
        return FRAMING_PARTIAL;
    }
    const char *body = blank + 4;
    long status =
        blank - at < STATUS_LINE_BYTES_MIN ? -1 : digits(at + STATUS_AT, at + STATUS_AT + 3);
    long length = status == 204 || status == 304 ? 0 : content_length(at, blank + 2);
    if (status < 200 || length < 0) {
        return FRAMING_BROKEN;
    }
    size_t whole = (size_t)(body - at) + (size_t)length;
    if (bytes < whole) {
        return FRAMING_PARTIAL;
    }
    *ret_answer = (struct answer){(int)status, body, (size_t)length, whole};
    return FRAMING_WHOLE;
}

const struct wire http_wire = {"http", http_frame};
