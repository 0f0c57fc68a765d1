/*
 * Commands in any order: "length (2 bytes), command" over and over, decoded and carried out. Numbers are brought within
 * what handlers make; texts may be anything, none at all too: what the state machine does not take it refuses, what
 * SQLite does not take undoes the batch, and the state stays sane.
 */
#include "db/codec.h"
#include "tests/fuzz/front.h"

enum { COMMANDS_MAX = 64 };

/* What a number is, where it is not just from 0 up. */
struct domain {
    const char *record;
    size_t offset;
    int64_t max;
    bool optional; /* ABSENT too */
};
#define OPTIONAL(type, field, max) {#type, offsetof(struct type, field), max, true}
#define UP_TO(type, field, max) {#type, offsetof(struct type, field), max, false}
/* Handlers bound every number far below this; past it sums of times would overflow. */
#define ANY (INT64_C(1) << 42)
static const struct domain DOMAINS[] = {
    OPTIONAL(condition, if_match, ANY),
    UP_TO(page, limit, PAGE_ITEMS_MAX),
    OPTIONAL(session_create, subject_limit, SUBJECT_LIMIT_MAX),
    OPTIONAL(session_patch, idle_ttl_ms, ANY),
    OPTIONAL(session_patch, max_ttl_ms, ANY),
    UP_TO(lease_acquire, mode, LEASE_SHARED),
    UP_TO(lease_acquire, permits, LOCK_LIMIT_MAX),
    OPTIONAL(lease_acquire, lock_delay_ms, ANY),
    OPTIONAL(lease_patch, mode, LEASE_SHARED),
    OPTIONAL(lease_renew, ttl_ms, ANY),
    UP_TO(lock_put, limit, LOCK_LIMIT_MAX),
    OPTIONAL(lock_break, lock_delay_ms, ANY),
    UP_TO(lock_set_member, mode, LEASE_SHARED),
    UP_TO(lock_set_member, permits, LOCK_LIMIT_MAX),
    OPTIONAL(lock_set_acquire, lock_delay_ms, ANY),
    OPTIONAL(queue_config, lease_ms, ANY),
    OPTIONAL(queue_config, max_attempts, MAX_ATTEMPTS_MAX),
    OPTIONAL(queue_config, retention_ms, ANY),
    OPTIONAL(queue_config, delay_ms, ANY),
    OPTIONAL(queue_config, dedup_window_ms, ANY),
    OPTIONAL(queue_config, max_depth, MAX_DEPTH_MAX),
    OPTIONAL(queue_config, backoff_base_ms, BACKOFF_MS_MAX),
    OPTIONAL(queue_config, backoff_factor_milli, 1000000),
    OPTIONAL(queue_config, backoff_max_ms, BACKOFF_MS_MAX),
    OPTIONAL(queue_config, rate_per_s, RATE_PER_S_MAX),
    OPTIONAL(queue_config, rate_burst, RATE_BURST_MAX),
    OPTIONAL(queue_config, group_concurrency, GROUP_CONCURRENCY_MAX),
    OPTIONAL(queue_config, paused, 1),
    UP_TO(message_new, priority, MESSAGE_PRIORITY_MAX),
    OPTIONAL(message_new, delay_ms, MESSAGE_DELAY_MS_MAX),
    OPTIONAL(message_new, deliver_at_ms, ANY),
    OPTIONAL(message_new, ttl_ms, ANY),
    UP_TO(message_receive, max, MESSAGES_PER_REQUEST_MAX),
    OPTIONAL(message_receive, lease_ms, ANY),
    UP_TO(settlement, action, SETTLE_REJECT),
    OPTIONAL(settlement, delay_ms, ANY),
    OPTIONAL(message_delete, fence, ANY),
    UP_TO(message_list, state, MESSAGE_DEAD),
    UP_TO(queue_purge, state, MESSAGE_DEAD),
    OPTIONAL(queue_purge, max, ANY),
    OPTIONAL(queue_redrive, max, ANY),
    UP_TO(tick, steps_max, TICK_STEPS_MAX),
};

static int64_t bounded(const struct record *record, size_t offset, int64_t n)
{
    struct domain domain = {NULL, 0, ANY, false};
    for (size_t i = 0; i < sizeof DOMAINS / sizeof DOMAINS[0]; i++) {
        if (strcmp(DOMAINS[i].record, record->name) == 0 && DOMAINS[i].offset == offset) {
            domain = DOMAINS[i];
        }
    }
    return n == ABSENT && domain.optional ? ABSENT : n < 0 ? 0 : n % (domain.max + 1);
}

static void bound_record(const struct record *record, void *value);

static void bound_list(const struct field *field, void *at)
{
    struct {
        void *at;
        size_t count;
    } list;
    memcpy(&list, at, sizeof list);
    for (size_t i = 0; i < list.count; i++) {
        if (field->type == FIELD_COMMANDS) {
            struct command *command = (struct command *)list.at + i;
            bound_record(command_record(command->kind), &command->session_create);
        } else if (field->type == FIELD_LIST) {
            bound_record(field->record, (char *)list.at + i * field->record->bytes);
        }
    }
}

static void bound_record(const struct record *record, void *value)
{
    for (size_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        void *at = (char *)value + field->offset;
        if (field->type == FIELD_INT) {
            *(int64_t *)at = bounded(record, field->offset, *(int64_t *)at);
        } else if (field->type == FIELD_RECORD) {
            bound_record(field->record, at);
        } else if (field->type != FIELD_FLAG && field->type != FIELD_TEXT) {
            bound_list(field, at);
        }
    }
}

static bool next_command(struct text *rest, struct arena *arena, struct command *ret)
{
    while (rest->len >= 2) {
        size_t len = (unsigned char)rest->at[0] | (size_t)(unsigned char)rest->at[1] << 8;
        *rest = (struct text){rest->at + 2, rest->len - 2};
        len = len < rest->len ? len : rest->len;
        bool good = command_decode((struct text){rest->at, len}, arena, ret);
        *rest = (struct text){rest->at + len, rest->len - len};
        if (good) {
            bound_record(codec_stamp, &ret->stamp);
            bound_record(command_record(ret->kind), &ret->session_create);
            return true;
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct text rest = {(const char *)data, size};
    struct arena arena = ARENA_EMPTY;
    struct command command;
    struct result result;
    struct machine *machine = front_machine(0, &arena);
    for (int i = 0; i < COMMANDS_MAX && next_command(&rest, &arena, &command); i++) {
        machine_apply(machine, &command, &arena, &result);
        front_check_result(&result, &arena);
    }
    const char *wrong = machine_sanity(machine, &arena);
    /* Once SQLite has refused something, the batch is void and its rows say nothing. */
    const char *failure = front_forget(machine);
    PROMISE(wrong == NULL || failure != NULL, "%s", wrong);
    wrong = machine_sanity(machine, &arena);
    PROMISE(wrong == NULL, "%s, after %s", wrong, failure);
    arena_free(&arena);
    return 0;
}
