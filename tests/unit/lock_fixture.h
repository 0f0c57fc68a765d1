/*
 * What the tests of locks share: the commands about them, said briefly. Fields that are left out have the defaults of
 * the HTTP API; a lock_delay_ms of 0 counts as left out.
 */
#ifndef RINGHOLD_TESTS_LOCK_FIXTURE_H
#define RINGHOLD_TESTS_LOCK_FIXTURE_H

#include "tests/unit/fixture.h"

enum { TTL_MS = 30000, WAIT_MS = 10000 };

struct ask {
    const char *name, *lease, *owner, *session, *metadata;
    int64_t mode, permits, ttl_ms, wait_ms, lock_delay_ms;
    bool async;
};
/* ACQUIRE(f, "lock", "lease", "owner", .wait_ms = WAIT_MS) */
#define ACQUIRE(f, name_, lease_, owner_, ...)                                                     \
    acquire(f, (struct ask){.name = name_, .lease = lease_, .owner = owner_, ##__VA_ARGS__})
struct result acquire(struct fixture *f, struct ask ask);
struct command acquire_command(struct ask ask);

struct result collect(struct fixture *f, const char *name, const char *lease);
struct result abandon(struct fixture *f, const char *name, const char *lease, int64_t ticket);
struct result get_lease(struct fixture *f, const char *name, const char *lease); /* by a reader */
struct result renew(struct fixture *f, const char *name, const char *lease);
struct result release(struct fixture *f, const char *name, const char *lease);
struct result get_lock(struct fixture *f, const char *name); /* by a reader */
struct result put_lock(struct fixture *f, const char *name, int64_t limit, int64_t lock_delay_ms);
/* lock_delay_ms may be ABSENT. */
struct result break_lock(struct fixture *f, const char *name, int64_t lock_delay_ms);
struct result put_session(struct fixture *f, const char *id);
struct result end_session(struct fixture *f, const char *id);

/* Whether the lease is there, in that state. */
bool is_held(struct fixture *f, const char *name, const char *lease);
bool is_waiting(struct fixture *f, const char *name, const char *lease);

#define expect_status(result_, status_)                                                            \
    do {                                                                                           \
        enum status got = (result_).status;                                                        \
        cr_expect_eq(got, status_, "%s:%d: got %s, not %s", __FILE__, __LINE__,                    \
                     status_info(got)->name, status_info(status_)->name);                          \
    } while (0)

#define expect_text(text_, string_)                                                                \
    cr_expect(text_equal(text_, text_of(string_)), "%s:%d: got \"%.*s\"", __FILE__, __LINE__,      \
              (int)(text_).len, (text_).at == NULL ? "" : (text_).at)

#endif
