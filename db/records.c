/*
 * The tables of fields of every struct that is encoded (codec.h says how they are used). One row a field, in the order
 * of the encoding: add at the end of a record together with a new CODEC_VERSION, never reorder.
 */
#include "db/codec.h"

#define INT(type, field) {FIELD_INT, offsetof(struct type, field), NULL, 0}
/* What a version of the codec brought: ABSENT in what was written before. */
#define INT_SINCE(version, type, field) {FIELD_INT, offsetof(struct type, field), NULL, version}
#define TEXT_SINCE(version, type, field) {FIELD_TEXT, offsetof(struct type, field), NULL, version}
#define FLAG(type, field) {FIELD_FLAG, offsetof(struct type, field), NULL, 0}
#define TEXT_OF(type, field) {FIELD_TEXT, offsetof(struct type, field), NULL, 0}
#define NEST(type, field, of) {FIELD_RECORD, offsetof(struct type, field), &of##_record, 0}
#define LIST(type, field, of) {FIELD_LIST, offsetof(struct type, field), &of##_record, 0}
#define COMMANDS(type, field) {FIELD_COMMANDS, offsetof(struct type, field), NULL, 0}
#define RESULTS(type, field) {FIELD_RESULTS, offsetof(struct type, field), NULL, 0}
/* A struct that is nothing but a list. */
#define WHOLE_LIST(of) {FIELD_LIST, 0, &of##_record, 0}
#define WHOLE_RESULTS {FIELD_RESULTS, 0, NULL, 0}
#define RECORD_OF(name, type, ...)                                                                 \
    static const struct field name##_fields[] = {__VA_ARGS__};                                     \
    static const struct record name##_record = {#name, sizeof(type), name##_fields,                \
                                                sizeof name##_fields / sizeof name##_fields[0]}
#define RECORD(name, ...) RECORD_OF(name, struct name, __VA_ARGS__)

static const struct field int64_fields[] = {{FIELD_INT, 0, NULL, 0}};
static const struct record int64_record = {"int64", sizeof(int64_t), int64_fields, 1};
static const struct field text_fields[] = {{FIELD_TEXT, 0, NULL, 0}};
static const struct record text_record = {"text", sizeof(struct text), text_fields, 1};

RECORD(condition, INT(condition, if_match), FLAG(condition, create_only));
RECORD(page, TEXT_OF(page, after), INT(page, limit));
RECORD(session_create, TEXT_OF(session_create, id), TEXT_OF(session_create, token_hash),
       TEXT_OF(session_create, subject), TEXT_OF(session_create, data),
       INT(session_create, idle_ttl_ms), INT(session_create, max_ttl_ms),
       INT(session_create, subject_limit), FLAG(session_create, evict_oldest));
RECORD(session_resolve, TEXT_OF(session_resolve, id), TEXT_OF(session_resolve, token_hash));
RECORD(session_key, TEXT_OF(session_key, id), NEST(session_key, condition, condition));
RECORD(session_put, TEXT_OF(session_put, id), TEXT_OF(session_put, data),
       INT(session_put, idle_ttl_ms), INT(session_put, max_ttl_ms),
       NEST(session_put, condition, condition));
RECORD(session_patch, TEXT_OF(session_patch, id), TEXT_OF(session_patch, data_patch),
       FLAG(session_patch, clear_data), INT(session_patch, idle_ttl_ms),
       INT(session_patch, max_ttl_ms), NEST(session_patch, condition, condition));
RECORD(session_rotate, TEXT_OF(session_rotate, id), TEXT_OF(session_rotate, new_random),
       TEXT_OF(session_rotate, new_token_hash), TEXT_OF(session_rotate, subject),
       TEXT_OF(session_rotate, subject_tag), INT(session_rotate, grace_ms),
       INT_SINCE(2, session_rotate, departs_at));
RECORD(session_arrive, TEXT_OF(session_arrive, id), TEXT_OF(session_arrive, token_hash),
       TEXT_OF(session_arrive, subject), TEXT_OF(session_arrive, data),
       INT(session_arrive, version), INT(session_arrive, created_ms),
       INT(session_arrive, last_seen_ms), INT(session_arrive, idle_ttl_ms),
       INT(session_arrive, max_ttl_ms), TEXT_OF(session_arrive, from),
       TEXT_OF(session_arrive, from_token_hash), INT(session_arrive, grace_ms));
RECORD(subject_list, TEXT_OF(subject_list, subject), NEST(subject_list, page, page));
RECORD(subject_revoke, TEXT_OF(subject_revoke, subject), TEXT_OF(subject_revoke, except));
RECORD(lease_acquire, TEXT_OF(lease_acquire, name), TEXT_OF(lease_acquire, lease),
       TEXT_OF(lease_acquire, owner), TEXT_OF(lease_acquire, session),
       TEXT_OF(lease_acquire, metadata), INT(lease_acquire, ttl_ms), INT(lease_acquire, mode),
       INT(lease_acquire, permits), INT(lease_acquire, wait_ms), INT(lease_acquire, lock_delay_ms),
       FLAG(lease_acquire, async), NEST(lease_acquire, condition, condition));
RECORD(lease_key, TEXT_OF(lease_key, name), TEXT_OF(lease_key, lease));
RECORD(lease_abandon, TEXT_OF(lease_abandon, name), TEXT_OF(lease_abandon, lease),
       INT(lease_abandon, ticket));
RECORD(lease_patch, TEXT_OF(lease_patch, name), TEXT_OF(lease_patch, lease),
       TEXT_OF(lease_patch, metadata_patch), FLAG(lease_patch, clear_metadata),
       INT(lease_patch, mode), NEST(lease_patch, condition, condition));
RECORD(lease_renew, TEXT_OF(lease_renew, name), TEXT_OF(lease_renew, lease),
       INT(lease_renew, ttl_ms), NEST(lease_renew, condition, condition));
RECORD(lease_release, TEXT_OF(lease_release, name), TEXT_OF(lease_release, lease),
       NEST(lease_release, condition, condition));
RECORD(lock_key, TEXT_OF(lock_key, name));
RECORD(lock_put, TEXT_OF(lock_put, name), INT(lock_put, limit), INT(lock_put, lock_delay_ms),
       NEST(lock_put, condition, condition));
RECORD(fence_check, TEXT_OF(fence_check, name), INT(fence_check, fence));
RECORD(lock_break, TEXT_OF(lock_break, name), TEXT_OF(lock_break, reason),
       INT(lock_break, lock_delay_ms), NEST(lock_break, condition, condition));
RECORD(lock_list, TEXT_OF(lock_list, prefix), TEXT_OF(lock_list, owner),
       NEST(lock_list, page, page));
RECORD(lock_set_member, TEXT_OF(lock_set_member, name), INT(lock_set_member, mode),
       INT(lock_set_member, permits));
RECORD(lock_set_acquire, TEXT_OF(lock_set_acquire, lease), TEXT_OF(lock_set_acquire, owner),
       TEXT_OF(lock_set_acquire, session), TEXT_OF(lock_set_acquire, metadata),
       INT(lock_set_acquire, ttl_ms), INT(lock_set_acquire, wait_ms),
       INT(lock_set_acquire, lock_delay_ms), LIST(lock_set_acquire, locks, lock_set_member),
       FLAG(lock_set_acquire, async), NEST(lock_set_acquire, condition, condition));
RECORD(lock_set_key, TEXT_OF(lock_set_key, lease), LIST(lock_set_key, names, text));
RECORD(lock_set_abandon, TEXT_OF(lock_set_abandon, lease), LIST(lock_set_abandon, names, text),
       INT(lock_set_abandon, ticket));
RECORD(queue_config, INT(queue_config, lease_ms), INT(queue_config, max_attempts),
       INT(queue_config, retention_ms), INT(queue_config, delay_ms),
       INT(queue_config, dedup_window_ms), INT(queue_config, max_depth),
       INT(queue_config, backoff_base_ms), INT(queue_config, backoff_factor_milli),
       INT(queue_config, backoff_max_ms), INT(queue_config, rate_per_s),
       INT(queue_config, rate_burst), INT(queue_config, group_concurrency),
       INT(queue_config, paused), TEXT_OF(queue_config, dead_letter),
       INT_SINCE(2, queue_config, shards), INT_SINCE(2, queue_config, routing));
RECORD(queue_put, TEXT_OF(queue_put, name), NEST(queue_put, config, queue_config),
       NEST(queue_put, condition, condition), INT_SINCE(2, queue_put, partitions),
       INT_SINCE(2, queue_put, sealed));
RECORD(queue_key, TEXT_OF(queue_key, name));
RECORD(queue_list, TEXT_OF(queue_list, prefix), NEST(queue_list, page, page));
RECORD(queue_delete, TEXT_OF(queue_delete, name), FLAG(queue_delete, if_empty),
       NEST(queue_delete, condition, condition), INT_SINCE(2, queue_delete, sealed));
RECORD(message_new, TEXT_OF(message_new, body), TEXT_OF(message_new, attributes),
       TEXT_OF(message_new, group), TEXT_OF(message_new, dedup_id), INT(message_new, priority),
       INT(message_new, delay_ms), INT(message_new, deliver_at_ms), INT(message_new, ttl_ms),
       INT(message_new, body_bytes));
RECORD(message_send, TEXT_OF(message_send, queue), LIST(message_send, messages, message_new),
       FLAG(message_send, atomic));
RECORD(message_receive, TEXT_OF(message_receive, queue), TEXT_OF(message_receive, consumer),
       INT(message_receive, max), INT(message_receive, lease_ms));
RECORD(settlement, INT(settlement, action), INT(settlement, message), INT(settlement, fence),
       INT(settlement, delay_ms), INT(settlement, lease_ms), TEXT_OF(settlement, reason));
RECORD(message_settle, TEXT_OF(message_settle, queue), LIST(message_settle, items, settlement),
       FLAG(message_settle, atomic));
RECORD(message_delete, TEXT_OF(message_delete, queue), INT(message_delete, message),
       INT(message_delete, fence));
RECORD(message_key, TEXT_OF(message_key, queue), INT(message_key, message));
RECORD(message_list, TEXT_OF(message_list, queue), TEXT_OF(message_list, group),
       INT(message_list, state), NEST(message_list, page, page));
RECORD(queue_purge, TEXT_OF(queue_purge, queue), INT(queue_purge, state), INT(queue_purge, max));
RECORD(queue_redrive, TEXT_OF(queue_redrive, queue), INT(queue_redrive, max),
       FLAG(queue_redrive, by_id), LIST(queue_redrive, ids, int64));
RECORD(shard_request, TEXT_OF(shard_request, queue), INT(shard_request, shard),
       INT(shard_request, count), INT(shard_request, version), INT(shard_request, born),
       NEST(shard_request, config, queue_config), INT(shard_request, act),
       COMMANDS(shard_request, operations));
RECORD(queue_renew, TEXT_OF(queue_renew, name), INT(queue_renew, version));
RECORD(transaction, COMMANDS(transaction, operations));
RECORD(tick, INT(tick, steps_max));
RECORD(fence_step, INT(fence_step, by));
RECORD(nothing, INT(nothing, unused));

RECORD(stamp, INT(stamp, now_ms), INT(stamp, lease_now_ms));
RECORD_OF(idempotency_key, struct idempotency, TEXT_OF(idempotency, key_hash),
          TEXT_OF(idempotency, request_hash), TEXT_OF(idempotency, sealed));

RECORD(session_view, TEXT_OF(session_view, id), TEXT_OF(session_view, subject),
       TEXT_OF(session_view, data), INT(session_view, version), INT(session_view, created_at_ms),
       INT(session_view, last_seen_at_ms), INT(session_view, idle_ttl_ms),
       INT(session_view, max_ttl_ms), INT(session_view, expires_at_ms),
       INT(session_view, max_expires_at_ms));
RECORD(session_page, LIST(session_page, items, session_view), TEXT_OF(session_page, next));
RECORD(lease_view, TEXT_OF(lease_view, lease), TEXT_OF(lease_view, name),
       TEXT_OF(lease_view, owner), TEXT_OF(lease_view, session), TEXT_OF(lease_view, metadata),
       INT(lease_view, mode), INT(lease_view, permits), INT(lease_view, state),
       INT(lease_view, fence), INT(lease_view, ttl_ms), INT(lease_view, lease_expires_ms),
       INT(lease_view, position), INT(lease_view, ticket), INT(lease_view, version),
       FLAG(lease_view, uncollected));
RECORD(lock_set_view, LIST(lock_set_view, members, lease_view));
RECORD(lock_view, TEXT_OF(lock_view, name), INT(lock_view, limit), INT(lock_view, lock_delay_ms),
       INT(lock_view, version), INT(lock_view, fence), INT(lock_view, delayed_for_ms),
       LIST(lock_view, holders, lease_view), LIST(lock_view, waiters, lease_view),
       INT(lock_view, holder_count), INT(lock_view, waiter_count));
RECORD(lock_page, LIST(lock_page, items, lock_view), TEXT_OF(lock_page, next));
RECORD(refusal, NEST(refusal, lock, lock_view), INT(refusal, position));
RECORD(cycle_edge, TEXT_OF(cycle_edge, owner), TEXT_OF(cycle_edge, lock));
RECORD(queue_view, TEXT_OF(queue_view, name), NEST(queue_view, config, queue_config),
       INT(queue_view, version), INT(queue_view, created_at_ms), INT(queue_view, ready),
       INT(queue_view, delayed), INT(queue_view, leased), INT(queue_view, dead),
       INT(queue_view, oldest_age_ms), INT_SINCE(2, queue_view, spread),
       INT_SINCE(2, queue_view, shard), INT_SINCE(2, queue_view, born));
RECORD(queue_page, LIST(queue_page, items, queue_view), TEXT_OF(queue_page, next));
RECORD(sent_message, INT(sent_message, status), INT(sent_message, message),
       INT(sent_message, retry_after_ms), FLAG(sent_message, deduplicated));
RECORD(message_view, INT(message_view, message), INT(message_view, fence),
       INT(message_view, attempt), INT(message_view, failures), INT(message_view, state),
       INT(message_view, priority), INT(message_view, body_bytes), TEXT_OF(message_view, body),
       TEXT_OF(message_view, attributes), TEXT_OF(message_view, group),
       TEXT_OF(message_view, reason), TEXT_OF(message_view, consumer),
       INT(message_view, enqueued_at_ms), INT(message_view, expires_at_ms),
       INT(message_view, due_at_ms), INT(message_view, lease_expires_ms));
RECORD(message_page, LIST(message_page, items, message_view), TEXT_OF(message_page, next));
RECORD(transaction_failure, INT(transaction_failure, index), RESULTS(transaction_failure, failed));
RECORD(totals_view, INT(totals_view, sessions), INT(totals_view, held), INT(totals_view, waiting),
       INT(totals_view, locks), INT(totals_view, queues), INT(totals_view, ready),
       INT(totals_view, delayed), INT(totals_view, leased), INT(totals_view, dead),
       INT(totals_view, idempotency_records), INT(totals_view, fence), INT(totals_view, revision));
RECORD(sent_messages, WHOLE_LIST(sent_message));
RECORD(message_views, WHOLE_LIST(message_view));
RECORD(cycle, WHOLE_LIST(cycle_edge));
RECORD(outcomes, WHOLE_LIST(int64));
RECORD(results, WHOLE_RESULTS);
RECORD_OF(result_head, struct result, NEST(result, stamp, stamp), INT(result, version),
          INT(result, count), INT(result, retry_after_ms), INT(result, reason),
          TEXT_OF(result, reason_text), TEXT_OF(result, field), TEXT_SINCE(2, result, moved),
          INT_SINCE(2, result, depth), INT_SINCE(2, result, due_in_ms));

const struct record *const codec_idempotency = &idempotency_key_record;
const struct record *const codec_stamp = &stamp_record;
const struct record *const codec_result_head = &result_head_record;

const struct record *command_record(enum command_kind kind)
{
#define COMMAND_AS_RECORD(name, type, member, reads) [COMMAND_##name] = &type##_record,
    static const struct record *const TABLE[COMMAND_KIND_COUNT] = {
        COMMAND_TABLE(COMMAND_AS_RECORD)};
#undef COMMAND_AS_RECORD
    return TABLE[kind];
}

const struct record *result_record(enum result_shape shape)
{
    static const struct record *const TABLE[SHAPE_COUNT] = {
        [SHAPE_SESSION] = &session_view_record,
        [SHAPE_SESSION_PAGE] = &session_page_record,
        [SHAPE_LEASE] = &lease_view_record,
        [SHAPE_LOCK] = &lock_view_record,
        [SHAPE_LOCK_PAGE] = &lock_page_record,
        [SHAPE_LOCK_SET] = &lock_set_view_record,
        [SHAPE_REFUSAL] = &refusal_record,
        [SHAPE_CYCLE] = &cycle_record,
        [SHAPE_QUEUE] = &queue_view_record,
        [SHAPE_QUEUE_PAGE] = &queue_page_record,
        [SHAPE_SENT] = &sent_messages_record,
        [SHAPE_MESSAGES] = &message_views_record,
        [SHAPE_MESSAGE] = &message_view_record,
        [SHAPE_MESSAGE_PAGE] = &message_page_record,
        [SHAPE_OUTCOMES] = &outcomes_record,
        [SHAPE_RESULTS] = &results_record,
        [SHAPE_TRANSACTION_FAILURE] = &transaction_failure_record,
        [SHAPE_TOTALS] = &totals_view_record,
        [SHAPE_PARCEL] = &session_arrive_record,
    };
    return TABLE[shape];
}

bool command_reads(enum command_kind kind)
{
#define COMMAND_AS_READS(name, type, member, reads) [COMMAND_##name] = reads,
    static const bool TABLE[COMMAND_KIND_COUNT] = {COMMAND_TABLE(COMMAND_AS_READS)};
#undef COMMAND_AS_READS
    return TABLE[kind];
}

const char *command_name(enum command_kind kind)
{
#define COMMAND_AS_NAME(name, type, member, reads) [COMMAND_##name] = #member,
    static const char *const TABLE[COMMAND_KIND_COUNT] = {COMMAND_TABLE(COMMAND_AS_NAME)};
#undef COMMAND_AS_NAME
    return TABLE[kind];
}
