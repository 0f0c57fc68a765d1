/* Parked requests: each is given back once, for the first of what it waits for. Nobody sleeps here: deadlines lie in
   the past or so far ahead that they do not come, and what another thread does is waited for on a condition. */
#include "service/parked.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ENTRIES_MAX = 8, FAR_MS = 3600000, PATIENCE_S = 20 };

/* ---- who is woken, in order --------------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t mu;
    pthread_cond_t changed;
    struct parked_entry *order[64]; /* guarded by mu */
    size_t count;                   /* guarded by mu */
} woken = {.mu = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void note_woken(struct parked_entry *entry)
{
    pthread_mutex_lock(&woken.mu);
    woken.order[woken.count++] = entry;
    pthread_cond_broadcast(&woken.changed);
    pthread_mutex_unlock(&woken.mu);
}

static size_t woken_count(void)
{
    pthread_mutex_lock(&woken.mu);
    size_t count = woken.count;
    pthread_mutex_unlock(&woken.mu);
    return count;
}

/* Until so many have been woken. */
static void await_woken(size_t count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&woken.mu);
    int rc = 0;
    while (woken.count < count && rc == 0) {
        rc = pthread_cond_timedwait(&woken.changed, &woken.mu, &until);
    }
    size_t got = woken.count;
    pthread_mutex_unlock(&woken.mu);
    cr_assert_eq(got, count, "%zu of %zu were woken", got, count);
}

/* ---- the stage ---------------------------------------------------------------------------------------------------- */

struct stage {
    struct clock clock;
    struct parked *parked;
    struct parked_entry entries[ENTRIES_MAX + 2];
    int sockets[ENTRIES_MAX + 2][2]; /* [0] is ours, [1] the client's */
};

static struct stage stage;

static void set_up(void)
{
    clock_start(&stage.clock, 1000000, 500000);
    cr_assert_eq(parked_start(&stage.clock, ENTRIES_MAX, note_woken, &stage.parked), STATUS_OK);
    for (size_t i = 0; i < ENTRIES_MAX + 2; i++) {
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, stage.sockets[i]), 0);
    }
}

static void tear_down(void)
{
    parked_drain(stage.parked);
    parked_stop(stage.parked);
    for (size_t i = 0; i < ENTRIES_MAX + 2; i++) {
        close(stage.sockets[i][0]);
        close(stage.sockets[i][1]);
    }
}

TestSuite(parked, .init = set_up, .fini = tear_down, .timeout = 60);

static struct topic lock_named(const char *name)
{
    return (struct topic){EVENT_LOCK, text_of(name), TEXT_ABSENT};
}

static struct topic queue_ready(const char *name)
{
    return (struct topic){EVENT_READY, text_of(name), TEXT_ABSENT};
}

static int64_t in_ms(int64_t ms)
{
    return clock_now(&stage.clock).lease_now_ms + ms;
}

static enum parking park_until(size_t i, struct topic topic, int64_t deadline_ms)
{
    uint64_t ticket = parked_ticket(stage.parked, &topic);
    return parked_add(stage.parked, &stage.entries[i], &topic, ticket, deadline_ms,
                      stage.sockets[i][0]);
}

static void park(size_t i, struct topic topic)
{
    cr_assert_eq(park_until(i, topic, in_ms(FAR_MS)), PARKED);
}

static void notify(enum event_kind kind, const char *name, const char *detail, int64_t count)
{
    struct event event = {kind, text_of(name), text_of(detail), count};
    parked_notify(stage.parked, &event, 1);
}

/* Entry `i` was woken as the n-th, for that reason. */
static void expect_woken(size_t n, size_t i, enum wake why)
{
    cr_assert_lt(n, woken_count());
    cr_expect_eq(woken.order[n], &stage.entries[i], "the %zu. woken is entry %td, not %zu", n,
                 woken.order[n] - stage.entries, i);
    cr_expect_eq(woken.order[n]->why, why, "woken for %d", (int)woken.order[n]->why);
}

/* ---- events ------------------------------------------------------------------------------------------------------- */

Test(parked, an_event_wakes_all_that_wait_for_its_topic_and_nobody_else)
{
    park(0, lock_named("a"));
    park(1, lock_named("b"));
    park(2, lock_named("a"));
    park(3, (struct topic){EVENT_QUEUE, TEXT("a"), TEXT_ABSENT});
    notify(EVENT_LOCK, "a", NULL, 0);
    cr_assert_eq(woken_count(), 2);
    expect_woken(0, 0, WAKE_EVENT);
    expect_woken(1, 2, WAKE_EVENT);
    cr_expect_eq(parked_count(stage.parked), 2);
    notify(EVENT_LOCK, "a", NULL, 0);
    cr_expect_eq(woken_count(), 2, "each is given back once");
}

Test(parked, the_detail_of_a_lease_tells_topics_apart)
{
    park(0, (struct topic){EVENT_LEASE, TEXT("lock"), TEXT("one")});
    park(1, (struct topic){EVENT_LEASE, TEXT("lock"), TEXT("two")});
    notify(EVENT_LEASE, "lock", "two", 0);
    cr_assert_eq(woken_count(), 1);
    expect_woken(0, 1, WAKE_EVENT);
}

Test(parked, ready_messages_wake_as_many_as_they_are_oldest_first)
{
    for (size_t i = 0; i < 4; i++) {
        park(i, queue_ready("q"));
    }
    notify(EVENT_READY, "q", NULL, 2);
    cr_assert_eq(woken_count(), 2);
    expect_woken(0, 0, WAKE_EVENT);
    expect_woken(1, 1, WAKE_EVENT);
    notify(EVENT_READY, "q", NULL, 100);
    cr_assert_eq(woken_count(), 4);
    expect_woken(2, 2, WAKE_EVENT);
    expect_woken(3, 3, WAKE_EVENT);
}

Test(parked, several_events_of_one_batch_wake_in_their_order)
{
    park(0, lock_named("a"));
    park(1, lock_named("b"));
    park(2, queue_ready("q"));
    struct event events[] = {{EVENT_READY, TEXT("q"), TEXT_ABSENT, 1},
                             {EVENT_LOCK, TEXT("b"), TEXT_ABSENT, 0},
                             {EVENT_LOCK, TEXT("b"), TEXT_ABSENT, 0}};
    parked_notify(stage.parked, events, 3);
    cr_assert_eq(woken_count(), 2);
    expect_woken(0, 2, WAKE_EVENT);
    expect_woken(1, 1, WAKE_EVENT);
}

Test(parked, an_event_between_ticket_and_parking_is_not_missed)
{
    struct topic topic = lock_named("a");
    uint64_t ticket = parked_ticket(stage.parked, &topic);
    notify(EVENT_LOCK, "a", NULL, 0);
    cr_assert_eq(parked_add(stage.parked, &stage.entries[0], &topic, ticket, in_ms(FAR_MS),
                            stage.sockets[0][0]),
                 PARK_LOOK_AGAIN);
    cr_expect_eq(parked_count(stage.parked), 0);
    park(0, topic);
}

/* ---- deadlines ---------------------------------------------------------------------------------------------------- */

Test(parked, a_deadline_that_has_passed_wakes_at_once)
{
    park(0, lock_named("a"));
    cr_assert_eq(park_until(1, lock_named("a"), in_ms(0)), PARKED);
    await_woken(1);
    expect_woken(0, 1, WAKE_TIME_OVER);
    cr_expect_eq(parked_count(stage.parked), 1, "who has time left stays");
}

Test(parked, deadlines_are_met_one_by_one_whatever_order_they_came_in)
{
    static const int64_t AHEAD_MS[] = {30, 10, 40, 20, 0, 35};
    enum { COUNT = sizeof AHEAD_MS / sizeof AHEAD_MS[0] };
    int64_t now_ms = in_ms(0);
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert_eq(park_until(i, lock_named("a"), now_ms + AHEAD_MS[i]), PARKED);
    }
    await_woken(COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        cr_expect_eq(woken.order[i]->why, WAKE_TIME_OVER);
        cr_expect(i == 0 || woken.order[i - 1]->deadline_ms <= woken.order[i]->deadline_ms);
        cr_expect_leq(woken.order[i]->deadline_ms, in_ms(0), "nobody is woken too early");
    }
}

Test(parked, the_heap_stays_in_order_when_entries_leave_from_its_middle)
{
    /* Deadlines far apart; some are taken out by events, then the rest is drained soonest first. */
    static const int64_t ORDER[] = {5, 1, 7, 3, 8, 2, 6, 4};
    char name[8];
    int64_t now_ms = in_ms(FAR_MS);
    for (size_t i = 0; i < ENTRIES_MAX; i++) {
        snprintf(name, sizeof name, "%d", (int)ORDER[i]);
        cr_assert_eq(park_until(i, lock_named(name), now_ms + ORDER[i] * 1000), PARKED);
    }
    notify(EVENT_LOCK, "3", NULL, 0);
    notify(EVENT_LOCK, "8", NULL, 0);
    notify(EVENT_LOCK, "1", NULL, 0);
    parked_drain(stage.parked);
    cr_assert_eq(woken_count(), ENTRIES_MAX);
    for (size_t i = 4; i < ENTRIES_MAX; i++) {
        cr_expect_lt(woken.order[i - 1]->deadline_ms, woken.order[i]->deadline_ms);
    }
}

/* ---- hang-ups ----------------------------------------------------------------------------------------------------- */

Test(parked, a_client_that_hangs_up_is_noticed)
{
    park(0, lock_named("a"));
    park(1, lock_named("a"));
    close(stage.sockets[1][1]);
    stage.sockets[1][1] = -1;
    await_woken(1);
    expect_woken(0, 1, WAKE_HUNG_UP);
}

Test(parked, a_client_that_was_gone_before_parking_is_noticed)
{
    close(stage.sockets[0][1]);
    stage.sockets[0][1] = -1;
    park(0, lock_named("a"));
    await_woken(1);
    expect_woken(0, 0, WAKE_HUNG_UP);
}

Test(parked, bytes_that_arrive_early_wake_nobody)
{
    park(0, lock_named("a"));
    cr_assert_eq(write(stage.sockets[0][1], "GET", 3), 3);
    /* The watching thread has gone round when it has met a deadline. */
    cr_assert_eq(park_until(1, lock_named("a"), in_ms(0)), PARKED);
    await_woken(1);
    expect_woken(0, 1, WAKE_TIME_OVER);
    cr_expect_eq(parked_count(stage.parked), 1);
}

Test(parked, a_socket_can_be_parked_again_after_it_was_woken)
{
    for (int round = 0; round < 20; round++) {
        park(0, lock_named("a"));
        notify(EVENT_LOCK, "a", NULL, 0);
    }
    cr_expect_eq(woken_count(), 20);
}

/* ---- bounds and the end ------------------------------------------------------------------------------------------- */

Test(parked, there_is_room_for_so_many)
{
    for (size_t i = 0; i < ENTRIES_MAX; i++) {
        park(i, lock_named("a"));
    }
    cr_expect_eq(park_until(ENTRIES_MAX, lock_named("b"), in_ms(FAR_MS)), PARK_NO_ROOM);
    cr_expect_eq(parked_count(stage.parked), ENTRIES_MAX);
    notify(EVENT_LOCK, "a", NULL, 0);
    park(ENTRIES_MAX, lock_named("b"));
}

Test(parked, a_socket_that_cannot_be_watched_is_not_parked)
{
    struct topic topic = lock_named("a");
    cr_expect_eq(parked_add(stage.parked, &stage.entries[0], &topic,
                            parked_ticket(stage.parked, &topic), in_ms(FAR_MS), -1),
                 PARK_NO_ROOM);
    cr_expect_eq(parked_count(stage.parked), 0);
}

Test(parked, draining_wakes_everything_and_parks_nothing_more)
{
    park(0, lock_named("a"));
    park(1, queue_ready("q"));
    parked_drain(stage.parked);
    cr_assert_eq(woken_count(), 2);
    cr_expect_eq(stage.entries[0].why, WAKE_DRAINING);
    cr_expect_eq(stage.entries[1].why, WAKE_DRAINING);
    cr_expect_eq(park_until(2, lock_named("a"), in_ms(FAR_MS)), PARK_NO_ROOM);
}

/* ---- everything at once ------------------------------------------------------------------------------------------- */

enum { ROUNDS = 2000 };

static void *notify_often(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        notify(EVENT_LOCK, "race", NULL, 0);
    }
    return NULL;
}

static struct parked_entry *racing;
static bool racing_back; /* guarded by woken.mu */

static void note_racing(struct parked_entry *entry)
{
    cr_assert_eq(entry, racing);
    pthread_mutex_lock(&woken.mu);
    cr_assert_not(racing_back, "an entry was given back twice");
    racing_back = true;
    pthread_cond_broadcast(&woken.changed);
    pthread_mutex_unlock(&woken.mu);
}

static void await_racing(void)
{
    pthread_mutex_lock(&woken.mu);
    while (!racing_back) {
        pthread_cond_wait(&woken.changed, &woken.mu);
    }
    racing_back = false;
    pthread_mutex_unlock(&woken.mu);
}

/* Events, deadlines and hang-ups run for the same entry: one of them gets it, each time exactly one. */
Test(parked, an_entry_is_given_back_once_when_all_reasons_race)
{
    struct parked *parked;
    struct topic topic = lock_named("race");
    pthread_t thread;
    racing = &stage.entries[0];
    cr_assert_eq(parked_start(&stage.clock, 1, note_racing, &parked), STATUS_OK);
    struct parked *kept = stage.parked;
    stage.parked = parked;
    cr_assert_eq(pthread_create(&thread, NULL, notify_often, NULL), 0);
    for (int i = 0; i < ROUNDS; i++) {
        int pair[2];
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        uint64_t ticket = parked_ticket(parked, &topic);
        enum parking parking =
            parked_add(parked, racing, &topic, ticket, in_ms(i % 3 == 0 ? 0 : 1), pair[0]);
        cr_assert_neq(parking, PARK_NO_ROOM);
        close(pair[1]);
        if (parking == PARKED) {
            await_racing();
        }
        close(pair[0]);
    }
    pthread_join(thread, NULL);
    cr_expect_eq(parked_count(parked), 0);
    parked_stop(parked);
    stage.parked = kept;
}
