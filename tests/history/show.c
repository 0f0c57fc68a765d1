#include "tests/history/history.h"

#include "db/codec.h"

#include <stdio.h>

/* A line that grows. */
struct line {
    struct arena *arena;
    struct text text;
};

static void add(struct line *line, struct text word)
{
    line->text = arena_format(line->arena, "%.*s%.*s", (int)line->text.len, line->text.at,
                              (int)word.len, word.at);
}

static void add_text(struct line *line, const char *name, struct text value)
{
    if (text_given(value)) {
        bool long_one = value.len > 60;
        add(line, arena_format(line->arena, " %s=%.*s%s", name, long_one ? 60 : (int)value.len,
                               value.at, long_one ? "…" : ""));
    }
}

static void add_int(struct line *line, const char *name, int64_t value)
{
    if (value != ABSENT) {
        add(line, arena_format(line->arena, " %s=%lld", name, (long long)value));
    }
}

static void add_condition(struct line *line, const struct condition *condition)
{
    add_int(line, "if_match", condition->if_match);
    add(line, condition->create_only ? TEXT(" create_only") : TEXT(""));
}

/* add_*(line, name of the field, the field) of the command in hand */
#define T(field) add_text(&line, #field, c->field)
#define I(field) add_int(&line, #field, c->field)
#define F(field) add(&line, c->field ? TEXT(" " #field) : TEXT(""))
#define C() add_condition(&line, &c->condition)

static struct text show_session(const struct command *command, struct line line)
{
    switch ((int)command->kind) {
    case COMMAND_SESSION_CREATE: {
        const struct session_create *c = &command->session_create;
        T(id), T(subject), T(data), I(idle_ttl_ms), I(max_ttl_ms), I(subject_limit);
        F(evict_oldest);
        break;
    }
    case COMMAND_SESSION_RESOLVE:
    case COMMAND_SESSION_LOOKUP: {
        const struct session_resolve *c = &command->session_resolve;
        T(id), T(token_hash);
        break;
    }
    case COMMAND_SESSION_GET:
    case COMMAND_SESSION_TOUCH:
    case COMMAND_SESSION_DELETE: {
        const struct session_key *c = &command->session_get;
        T(id), C();
        break;
    }
    case COMMAND_SESSION_PUT: {
        const struct session_put *c = &command->session_put;
        T(id), T(data), I(idle_ttl_ms), I(max_ttl_ms), C();
        break;
    }
    case COMMAND_SESSION_PATCH: {
        const struct session_patch *c = &command->session_patch;
        T(id), T(data_patch), F(clear_data), I(idle_ttl_ms), I(max_ttl_ms), C();
        break;
    }
    case COMMAND_SESSION_ROTATE: {
        const struct session_rotate *c = &command->session_rotate;
        T(id), T(new_random), T(subject), T(subject_tag), I(grace_ms);
        break;
    }
    case COMMAND_SUBJECT_LIST: {
        const struct subject_list *c = &command->subject_list;
        T(subject);
        break;
    }
    case COMMAND_SUBJECT_REVOKE: {
        const struct subject_revoke *c = &command->subject_revoke;
        T(subject), T(except);
        break;
    }
    }
    return line.text;
}

static void show_mode(struct line *line, int64_t mode)
{
    add(line, mode == LEASE_SHARED      ? TEXT(" shared")
              : mode == LEASE_EXCLUSIVE ? TEXT(" exclusive")
                                        : TEXT(""));
}

static void show_names(struct line *line, const struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        add_text(line, "name", names->at[i]);
    }
}

static struct text show_set(const struct lock_set_acquire *c, struct line line)
{
    T(lease);
    for (size_t i = 0; i < c->locks.count; i++) {
        add_text(&line, "name", c->locks.at[i].name);
        show_mode(&line, c->locks.at[i].mode);
        add_int(&line, "permits", c->locks.at[i].permits);
    }
    T(owner), T(session), T(metadata), I(ttl_ms), I(wait_ms), I(lock_delay_ms), F(async), C();
    return line.text;
}

static struct text show_lease(const struct command *command, struct line line)
{
    switch ((int)command->kind) {
    case COMMAND_LEASE_ACQUIRE: {
        const struct lease_acquire *c = &command->lease_acquire;
        T(name), T(lease), T(owner), T(session), I(ttl_ms), show_mode(&line, c->mode);
        T(metadata), I(permits), I(wait_ms), I(lock_delay_ms), F(async), C();
        break;
    }
    case COMMAND_LEASE_ABANDON: {
        const struct lease_abandon *c = &command->lease_abandon;
        T(name), T(lease), I(ticket);
        break;
    }
    case COMMAND_LEASE_COLLECT:
    case COMMAND_LEASE_GET: {
        const struct lease_key *c = &command->lease_get;
        T(name), T(lease);
        break;
    }
    case COMMAND_LEASE_RELEASE: {
        const struct lease_release *c = &command->lease_release;
        T(name), T(lease), C();
        break;
    }
    case COMMAND_LEASE_PATCH: {
        const struct lease_patch *c = &command->lease_patch;
        T(name), T(lease), T(metadata_patch), F(clear_metadata), show_mode(&line, c->mode), C();
        break;
    }
    case COMMAND_LEASE_RENEW: {
        const struct lease_renew *c = &command->lease_renew;
        T(name), T(lease), I(ttl_ms), C();
        break;
    }
    case COMMAND_LOCK_SET_ACQUIRE:
        return show_set(&command->lock_set_acquire, line);
    case COMMAND_LOCK_SET_COLLECT: {
        const struct lock_set_key *c = &command->lock_set_collect;
        T(lease), show_names(&line, &c->names);
        break;
    }
    case COMMAND_LOCK_SET_ABANDON: {
        const struct lock_set_abandon *c = &command->lock_set_abandon;
        T(lease), show_names(&line, &c->names), I(ticket);
        break;
    }
    }
    return line.text;
}

static struct text show_lock(const struct command *command, struct line line)
{
    switch ((int)command->kind) {
    case COMMAND_LOCK_GET: {
        const struct lock_key *c = &command->lock_get;
        T(name);
        break;
    }
    case COMMAND_LOCK_PUT: {
        const struct lock_put *c = &command->lock_put;
        T(name), I(limit), I(lock_delay_ms), C();
        break;
    }
    case COMMAND_FENCE_CHECK: {
        const struct fence_check *c = &command->fence_check;
        T(name), I(fence);
        break;
    }
    case COMMAND_LOCK_BREAK: {
        const struct lock_break *c = &command->lock_break;
        T(name), T(reason), I(lock_delay_ms), C();
        break;
    }
    case COMMAND_LOCK_LIST: {
        const struct lock_list *c = &command->lock_list;
        T(prefix), T(owner);
        break;
    }
    }
    return line.text;
}

static void show_config(struct line *ret_line, const struct queue_config *c)
{
    struct line line = *ret_line;
    I(lease_ms), I(max_attempts), I(retention_ms), I(delay_ms), I(dedup_window_ms), I(max_depth);
    I(backoff_base_ms), I(backoff_factor_milli), I(backoff_max_ms), I(rate_per_s), I(rate_burst);
    I(group_concurrency), I(paused), T(dead_letter);
    *ret_line = line;
}

static void show_new(struct line *ret_line, const struct message_new *c)
{
    struct line line = *ret_line;
    add(&line, TEXT(" {"));
    T(body), T(attributes), T(group), T(dedup_id), I(priority), I(delay_ms), I(deliver_at_ms);
    I(ttl_ms), add(&line, TEXT(" }"));
    *ret_line = line;
}

static void show_settlement(struct line *ret_line, const struct settlement *c)
{
    static const char *const ACTION[] = {"ack", "nack", "extend", "reject"};
    struct line line = *ret_line;
    add(&line, arena_format(line.arena, " {%s", ACTION[c->action]));
    I(message), I(fence), I(delay_ms), I(lease_ms), T(reason), add(&line, TEXT("}"));
    *ret_line = line;
}

static struct text show_queue(const struct command *command, struct line line)
{
    switch ((int)command->kind) {
    case COMMAND_QUEUE_PUT:
    case COMMAND_QUEUE_PATCH: {
        const struct queue_put *c = &command->queue_put;
        T(name), show_config(&line, &c->config), C();
        break;
    }
    case COMMAND_QUEUE_GET: {
        const struct queue_key *c = &command->queue_get;
        T(name);
        break;
    }
    case COMMAND_QUEUE_LIST: {
        const struct queue_list *c = &command->queue_list;
        T(prefix);
        break;
    }
    case COMMAND_QUEUE_DELETE: {
        const struct queue_delete *c = &command->queue_delete;
        T(name), F(if_empty), C();
        break;
    }
    case COMMAND_QUEUE_PURGE: {
        const struct queue_purge *c = &command->queue_purge;
        T(queue), I(state), I(max);
        break;
    }
    case COMMAND_QUEUE_REDRIVE: {
        const struct queue_redrive *c = &command->queue_redrive;
        T(queue), I(max), F(by_id);
        for (size_t i = 0; i < c->ids.count; i++) {
            add_int(&line, "id", c->ids.at[i]);
        }
        break;
    }
    }
    return line.text;
}

static struct text show_message(const struct command *command, struct line line)
{
    switch ((int)command->kind) {
    case COMMAND_MESSAGE_SEND: {
        const struct message_send *c = &command->message_send;
        T(queue), F(atomic);
        for (size_t i = 0; i < c->messages.count; i++) {
            show_new(&line, &c->messages.at[i]);
        }
        break;
    }
    case COMMAND_MESSAGE_RECEIVE: {
        const struct message_receive *c = &command->message_receive;
        T(queue), T(consumer), I(max), I(lease_ms);
        break;
    }
    case COMMAND_MESSAGE_SETTLE: {
        const struct message_settle *c = &command->message_settle;
        T(queue), F(atomic);
        for (size_t i = 0; i < c->items.count; i++) {
            show_settlement(&line, &c->items.at[i]);
        }
        break;
    }
    case COMMAND_MESSAGE_DELETE: {
        const struct message_delete *c = &command->message_delete;
        T(queue), I(message), I(fence);
        break;
    }
    case COMMAND_MESSAGE_GET: {
        const struct message_key *c = &command->message_get;
        T(queue), I(message);
        break;
    }
    case COMMAND_MESSAGE_LIST: {
        const struct message_list *c = &command->message_list;
        T(queue), T(group), I(state);
        break;
    }
    }
    return line.text;
}

struct text show_command(const struct command *command, struct arena *arena)
{
    struct line line = {arena, arena_copy(arena, text_of(command_name(command->kind)))};
    if (command->kind == COMMAND_TRANSACTION) {
        for (size_t i = 0; i < command->transaction.operations.count; i++) {
            struct text one = show_command(&command->transaction.operations.at[i], arena);
            line.text = arena_format(arena, "%.*s\n        %.*s", (int)line.text.len, line.text.at,
                                     (int)one.len, one.at);
        }
    }
    add_text(&line, "key", command->idempotency.key_hash);
    line.text = show_session(command, line);
    line.text = show_lease(command, line);
    line.text = show_lock(command, line);
    line.text = show_queue(command, line);
    line.text = show_message(command, line);
    return line.text;
}

void show_history(const struct history *history)
{
    static const char *const WHAT[] = {"", "ticks: ", "reopen, "};
    struct arena arena = ARENA_EMPTY;
    struct stamp before = {0, 0};
    for (size_t i = 0; i < history->count; i++) {
        const struct entry *entry = &history->at[i];
        struct command command;
        if (!command_decode(entry->bytes, &arena, &command)) {
            continue;
        }
        struct text shown = show_command(&command, &arena);
        printf("  %3zu  wall %+lld, lease time %+lld\n      %s%.*s%s\n", i + 1,
               (long long)(command.stamp.now_ms - before.now_ms),
               (long long)(command.stamp.lease_now_ms - before.lease_now_ms), WHAT[entry->what],
               (int)shown.len, shown.at, entry->commit ? "" : "   (the batch goes on)");
        before = command.stamp;
    }
    arena_free(&arena);
}
