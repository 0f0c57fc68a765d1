/*
 * What the tests of queues share: the commands about them, said briefly. Queue names are C strings; a struct send with
 * a field left out means what a client means by leaving it out.
 */
#ifndef RINGHOLD_TESTS_QUEUE_FIXTURE_H
#define RINGHOLD_TESTS_QUEUE_FIXTURE_H

#include "tests/unit/fixture.h"

#include "db/queues.h"

enum { LEASE_MS = 30000 };

/* The default configuration with some fields set: configure(f, "q", (struct queue_config){.max_attempts = 2}) takes
   every field that is zero from the defaults; ZERO stands for a zero that is meant. */
#define ZERO (-7)
struct queue_config config_of(struct queue_config given);
struct result put_queue(struct fixture *f, const char *name, struct queue_config given);
struct result put_queue_if(struct fixture *f, const char *name, struct queue_config given,
                           struct condition condition);
/* A patch that leaves everything as it is, to be filled in. */
struct queue_config no_change(void);
struct result patch_queue(struct fixture *f, const char *name, struct queue_config given);
struct result get_queue(struct fixture *f, const char *name); /* by a reader */
struct result delete_queue(struct fixture *f, const char *name, bool if_empty);

struct send {
    const char *body, *attributes, *group, *dedup_id;
    int64_t priority;      /* 0: the default, 4 */
    int64_t delay_ms;      /* 0: not given */
    int64_t deliver_at_ms; /* 0: not given */
    int64_t ttl_ms;        /* 0: not given */
};
struct message_new message_of(struct send send);
/* SEND(f, "q", .group = "g"): the message's id; the send must succeed. */
#define SEND(f, queue_, ...) send_one(f, queue_, (struct send){__VA_ARGS__})
int64_t send_one(struct fixture *f, const char *queue, struct send send);
struct result send_many(struct fixture *f, const char *queue, const struct message_new *messages,
                        size_t count, bool atomic);
struct result send_count(struct fixture *f, const char *queue, size_t count, bool atomic);

struct result receive(struct fixture *f, const char *queue, int64_t max);
/* One message; its `message` is 0 when there was none. */
struct message_view receive_one(struct fixture *f, const char *queue);
/* That one message was received, and no other is ready. */
struct message_view receive_only(struct fixture *f, const char *queue);

int64_t settle(struct fixture *f, const char *queue, struct settlement item);
int64_t ack(struct fixture *f, const char *queue, struct message_view message);
int64_t nack(struct fixture *f, const char *queue, struct message_view message);
int64_t nack_with(struct fixture *f, const char *queue, struct message_view message,
                  int64_t delay_ms, const char *reason);
int64_t extend(struct fixture *f, const char *queue, struct message_view message, int64_t lease_ms);
int64_t reject(struct fixture *f, const char *queue, struct message_view message,
               const char *reason);
struct settlement settlement_of(enum settle_action action, struct message_view message);
struct result settle_many(struct fixture *f, const char *queue, const struct settlement *items,
                          size_t count, bool atomic);
struct result delete_message(struct fixture *f, const char *queue, int64_t message, int64_t fence);
struct result get_message(struct fixture *f, const char *queue, int64_t message); /* by a reader */
struct result list_messages(struct fixture *f, const char *queue, enum message_filter state,
                            const char *group, const char *after, int64_t limit);
struct result purge(struct fixture *f, const char *queue, enum message_filter state, int64_t max);
struct result redrive(struct fixture *f, const char *queue, int64_t max);

/* Sends a message, receives and rejects it: it is dead. Returns its id. */
int64_t make_dead(struct fixture *f, const char *queue, struct send send);

/* The counters a reader sees. */
void expect_depths_at(struct fixture *f, const char *queue, struct depths want, int line);
#define expect_depths(f, queue_, ...)                                                              \
    expect_depths_at(f, queue_, (struct depths){__VA_ARGS__}, __LINE__)

#define expect_status(result_, status_)                                                            \
    do {                                                                                           \
        enum status status_of_it = (result_).status;                                               \
        cr_expect_eq(status_of_it, status_, "%s:%d: got %s, not %s", __FILE__, __LINE__,           \
                     status_info(status_of_it)->name, status_info(status_)->name);                 \
    } while (0)

#define expect_text(text_, string_)                                                                \
    cr_expect(text_equal(text_, text_of(string_)), "%s:%d: got \"%.*s\"", __FILE__, __LINE__,      \
              (int)(text_).len, (text_).at == NULL ? "" : (text_).at)

#endif
