/*
 * The one table of outcomes. Every fallible function of Ringhold returns one of these, every problem document a
 * client can meet is one of these, and GET /problems/{code} explains each from the same row.
 *
 * Columns: NAME, code (stable, clients branch on it), HTTP status, retryable (the same request may succeed later
 * without being changed), title, and one sentence that says what the caller can do.
 */
#ifndef RINGHOLD_DB_STATUS_H
#define RINGHOLD_DB_STATUS_H

#include <stdbool.h>

/* clang-format off */
#define STATUS_TABLE(X) \
  X(OK,                     "ok",                      200, false, "OK", "The request was carried out.") \
  X(CREATED,                "created",                 201, false, "Created", "The resource was created.") \
  X(WAITING,                "waiting",                 202, false, "Waiting", "The lease stands in the lock's waiting line.") \
  X(BAD_REQUEST,            "bad-request",             400, false, "The request is malformed or ambiguous", "Send one well-formed HTTP/1.1 request: one Host, one of Content-Length or Transfer-Encoding, no white space in field names.") \
  X(BAD_JSON,               "bad-json",                400, false, "The body is not valid JSON", "Send one UTF-8 JSON object; the detail names the line and column where parsing stopped.") \
  X(DUPLICATE_KEY,          "duplicate-key",           400, false, "A JSON object repeats a key", "Send each member of an object once.") \
  X(NESTING_TOO_DEEP,       "nesting-too-deep",        400, false, "The JSON is nested too deeply", "Flatten the document; the detail names the limit.") \
  X(UNKNOWN_FIELD,          "unknown-field",           400, false, "The body has a field this operation does not know", "Remove or correct the field that the detail names.") \
  X(MISSING_FIELD,          "missing-field",           400, false, "A required field is missing", "Add the field that the detail names.") \
  X(INVALID_FIELD,          "invalid-field",           400, false, "A field has the wrong type or is out of range", "Correct the field that the detail names; the detail says which values it takes.") \
  X(INVALID_NAME,           "invalid-name",            400, false, "A name is not valid", "Use 1 to 255 bytes of A-Z a-z 0-9 . _ - ~ : @ + = , after percent-decoding.") \
  X(INVALID_PARAMETER,      "invalid-parameter",       400, false, "A query parameter is not valid", "Correct or remove the query parameter that the detail names.") \
  X(INVALID_HEADER,         "invalid-header",          400, false, "A request header is not valid", "Correct or remove the header that the detail names.") \
  X(INVALID_CURSOR,         "invalid-cursor",          400, false, "The cursor is not one of this list", "Start the list again without a cursor, or pass next_cursor unchanged.") \
  X(NOT_FOUND,              "not-found",               404, false, "No such route", "Check the path against GET /openapi.yaml.") \
  X(SESSION_NOT_FOUND,      "session-not-found",       404, false, "No such session", "Create the session first, or check its id or token.") \
  X(LEASE_NOT_FOUND,        "lease-not-found",         404, false, "No such lease", "Acquire the lease first; ended leases are remembered for a limited time only.") \
  X(QUEUE_NOT_FOUND,        "queue-not-found",         404, false, "No such queue", "Create the queue with PUT, or send a first message to it.") \
  X(MESSAGE_NOT_FOUND,      "message-not-found",       404, false, "No such message", "Check the message id; a settled or expired message is gone.") \
  X(METHOD_NOT_ALLOWED,     "method-not-allowed",      405, false, "The path does not take this method", "Use one of the methods in the Allow header.") \
  X(REQUEST_TIMEOUT,        "request-timeout",         408, true,  "The request did not arrive in time", "Send the whole request without pausing.") \
  X(SUBJECT_LIMIT,          "subject-limit",           409, false, "The subject has as many sessions as it may", "End one of the subject's sessions, raise subject_limit, or use on_limit evict_oldest.") \
  X(LOCK_HELD,              "lock-held",               409, true,  "The lock is held", "Try again later, or wait in line with wait_ms; holders says who has it.") \
  X(DEADLOCK,               "deadlock",                409, false, "Waiting would close a cycle of owners", "Release what you hold, then acquire again; cycle lists who waits for whom.") \
  X(STALE_FENCE,            "stale-fence",             409, false, "The fence is not the newest grant", "Stop: another holder has been granted the lock since; current is its fence.") \
  X(LEASE_NOT_HELD,         "lease-not-held",          409, true,  "The lease is still waiting", "Wait until the lease is granted, then repeat the request.") \
  X(MODE_CONFLICT,          "mode-conflict",           409, false, "A shared lease cannot become exclusive", "Release the lease and acquire it again in exclusive mode.") \
  X(QUEUE_NOT_EMPTY,        "queue-not-empty",         409, false, "The queue still has messages", "Drain or purge the queue first, or delete it without if_empty.") \
  X(LEASE_LOST,             "lease-lost",              409, false, "The receipt's lease was lost", "Drop the work: the message was or will be delivered to another consumer.") \
  X(MESSAGE_LEASED,         "message-leased",          409, true,  "A consumer holds the message", "Send its Receipt to acknowledge it, or wait until the lease ends.") \
  X(SETTLE_FAILED,          "settle-failed",           409, false, "One of the settlements failed, so none was done", "Remove the receipts whose outcome is lease_lost or gone, or settle without atomic.") \
  X(TRANSACTION_FAILED,     "transaction-failed",      409, false, "An operation of the transaction failed, so none was done", "Read index and problem: they say which operation failed and why.") \
  X(IDEMPOTENCY_IN_FLIGHT,  "idempotency-in-flight",   409, true,  "A request with this Idempotency-Key is still running", "Wait for the first request to end, then repeat this one with the same key.") \
  X(SESSION_ENDED,          "session-ended",           410, false, "The session has ended", "Create a new session; reason says how this one ended.") \
  X(LEASE_ENDED,            "lease-ended",             410, false, "The lease has ended", "Stop what the lease protected; acquire under a new lease id. reason says how it ended.") \
  X(MESSAGE_GONE,           "message-gone",            410, false, "The message is gone", "Nothing is left to do: the message was settled, cancelled, purged or expired before.") \
  X(VERSION_MISMATCH,       "version-mismatch",        412, false, "The resource is at another version", "Read the resource again and repeat the change on what is there; current_version is its version.") \
  X(BODY_TOO_LARGE,         "body-too-large",          413, false, "The body is too large", "Send less than the limit that the detail names, in several requests if need be.") \
  X(URI_TOO_LONG,           "uri-too-long",            414, false, "The request target is too long", "Shorten the path or query; the detail names the limit.") \
  X(UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type",  415, false, "The body is not declared as JSON", "Send Content-Type: application/json.") \
  X(EXPECTATION_FAILED,     "expectation-failed",      417, false, "The Expect header cannot be met", "Send no Expect header, or Expect: 100-continue.") \
  X(NOT_OWNER,              "not-owner",               421, true,  "This instance does not own the partition", "Ask the instance that owner names.") \
  X(CROSS_PARTITION,        "cross-partition",         422, false, "The names have different routing keys", "Give all names the same part before their first ~.") \
  X(LEASE_MISMATCH,         "lease-mismatch",          422, false, "The lease id is in use with other parameters", "Repeat the request with the first one's parameters, or choose a new lease id.") \
  X(IDEMPOTENCY_KEY_REUSED, "idempotency-key-reused",  422, false, "The Idempotency-Key was used for another request", "Use a new key for a new request.") \
  X(PERMITS_EXCEED_LIMIT,   "permits-exceed-limit",    422, false, "The lock can never grant that many permits", "Ask for at most limit permits, or raise the lock's limit.") \
  X(INVALID_SUBJECT,        "invalid-subject",         422, false, "This session cannot have that subject", "Only sessions with a server-made id may have a subject: create them with POST.") \
  X(INVALID_DEAD_LETTER,    "invalid-dead-letter",     422, false, "The dead-letter queue cannot be used", "Name another queue, one that does not lead back to this one.") \
  X(NOT_TRANSACTIONAL,      "not-transactional",       422, false, "The operation cannot run in a transaction", "Use operations that wait for nothing and touch one routing key; the detail names the operation.") \
  X(TOO_MANY_WAITERS,       "too-many-waiters",        429, true,  "The waiting line is full", "Try again later.") \
  X(QUEUE_FULL,             "queue-full",              429, true,  "The queue is at its max_depth", "Try again when consumers have caught up, or raise max_depth.") \
  X(RATE_LIMITED,           "rate-limited",            429, true,  "The queue's send rate is used up", "Wait for Retry-After seconds, or raise rate.") \
  X(HEADERS_TOO_LARGE,      "headers-too-large",       431, false, "The request head is too large", "Send fewer or shorter headers; the detail names the limit.") \
  X(INTERNAL,               "internal",                500, true,  "Ringhold met an error of its own", "Try again; if it stays, report it with the Request-Id.") \
  X(STORAGE_UNAVAILABLE,    "storage-unavailable",     503, true,  "The storage did not take the write", "Nothing was changed. Try again; the operator must make room or mend the disk.") \
  X(OVERLOADED,             "overloaded",              503, true,  "Too much work is waiting", "Try again after Retry-After seconds.") \
  X(TOO_MANY_PARKED,        "too-many-parked",         503, true,  "Too many requests are parked", "Poll without waiting, or try again after Retry-After seconds.") \
  X(TOO_MANY_CONNECTIONS,   "too-many-connections",    503, true,  "Too many connections are open", "Reuse connections, or try again after Retry-After seconds.") \
  X(DRAINING,               "draining",                503, true,  "This instance is shutting down", "Repeat the request: another instance, or this one once it is back, takes it.") \
  X(NO_LEADER,              "no-leader",               503, true,  "The partition has no leader now", "Try again after Retry-After seconds: its members are electing one, or too few of them can reach each other.") \
  X(STARTING,               "starting",                503, true,  "This instance is still starting", "Try again after Retry-After seconds.") \
  X(OUTCOME_UNKNOWN,        "outcome-unknown",         503, true,  "Whether the write was done is not known", "Read the resource, or repeat the request with its Idempotency-Key.") \
  X(OUT_OF_MEMORY,          "out-of-memory",           503, true,  "Memory ran out", "Try again after Retry-After seconds.") \
  X(HTTP_VERSION,           "http-version",            505, false, "The HTTP version is not supported", "Use HTTP/1.1.")
/* clang-format on */

#define STATUS_AS_ENUM(name, code, http, retryable, title, advice) STATUS_##name,
enum status { STATUS_TABLE(STATUS_AS_ENUM) STATUS_COUNT };
#undef STATUS_AS_ENUM

/* The constant row of a status. Never NULL. */
struct status_info {
    const char *name; /* as in the enum, without STATUS_ */
    const char *code;
    int http;
    bool retryable;
    const char *title;
    const char *advice;
};
const struct status_info *status_info(enum status status);

/* The status whose code this is, STATUS_COUNT if there is none. */
enum status status_from_code(const char *code);

/* Whether the status is a success (2xx). */
static inline bool status_is_ok(enum status status)
{
    return status <= STATUS_WAITING;
}

#define MUST_CHECK __attribute__((warn_unused_result))

#endif
