#include "service/parked.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <xxhash.h>

enum { BUCKETS = 16384, EPOLL_EVENTS = 64 }; /* BUCKETS is a power of two */

struct bucket {
    struct parked_entry *first, *last;
    uint64_t ticket; /* counts the events of the topics that fall into this bucket */
};

struct parked {
    pthread_mutex_t mu;
    struct bucket buckets[BUCKETS]; /* guarded by mu */
    struct parked_entry **heap;     /* guarded by mu: by deadline, soonest first */
    size_t count, room;             /* guarded by mu: of the heap */
    bool draining;                  /* guarded by mu */
    bool stopping;                  /* guarded by mu */

    struct clock *clock;
    void (*woken)(struct parked_entry *entry);
    int epoll; /* the sockets of all entries, for hang-ups */
    int nudge; /* eventfd: the soonest deadline moved, or it is time to stop */
    pthread_t thread;
};

/* ---- topics ------------------------------------------------------------------------------------------------------- */

static uint64_t hash_of(enum event_kind kind, struct text name, struct text detail)
{
    uint64_t seed = XXH3_64bits_withSeed(name.at, name.len, (uint64_t)kind);
    return detail.len == 0 ? seed : XXH3_64bits_withSeed(detail.at, detail.len, seed);
}

static uint64_t topic_hash(const struct topic *topic)
{
    return hash_of(topic->kind, topic->name, topic->detail);
}

static struct bucket *bucket_of(struct parked *parked, uint64_t topic)
{
    return &parked->buckets[topic % BUCKETS];
}

/* ---- deadlines: a binary heap ------------------------------------------------------------------------------------- */

static void heap_set(struct parked *parked, size_t i, struct parked_entry *entry)
{
    parked->heap[i] = entry;
    entry->heap_index = i;
}

static void heap_up(struct parked *parked, size_t i, struct parked_entry *entry)
{
    while (i > 0 && entry->deadline_ms < parked->heap[(i - 1) / 2]->deadline_ms) {
        heap_set(parked, i, parked->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_set(parked, i, entry);
}

static void heap_down(struct parked *parked, size_t i, struct parked_entry *entry)
{
    for (size_t child = 2 * i + 1; child < parked->count; child = 2 * i + 1) {
        if (child + 1 < parked->count &&
            parked->heap[child + 1]->deadline_ms < parked->heap[child]->deadline_ms) {
            child++;
        }
        if (entry->deadline_ms <= parked->heap[child]->deadline_ms) {
            break;
        }
        heap_set(parked, i, parked->heap[child]);
        i = child;
    }
    heap_set(parked, i, entry);
}

static void heap_remove(struct parked *parked, struct parked_entry *entry)
{
    size_t i = entry->heap_index;
    struct parked_entry *moved = parked->heap[--parked->count];
    if (moved != entry) {
        heap_down(parked, i, moved);
        heap_up(parked, moved->heap_index, moved);
    }
}

/* ---- entries ------------------------------------------------------------------------------------------------------ */

/* Takes the entry out of everything and puts it on the list of those to be woken. */
static void unpark_locked(struct parked *parked, struct parked_entry *entry, enum wake why,
                          struct parked_entry ***woken)
{
    struct bucket *bucket = bucket_of(parked, entry->topic);
    *(entry->before != NULL ? &entry->before->after : &bucket->first) = entry->after;
    *(entry->after != NULL ? &entry->after->before : &bucket->last) = entry->before;
    heap_remove(parked, entry);
    epoll_ctl(parked->epoll, EPOLL_CTL_DEL, entry->socket, NULL);
    entry->why = why;
    entry->next_woken = NULL;
    **woken = entry;
    *woken = &entry->next_woken;
}

static void give_back(struct parked *parked, struct parked_entry *woken)
{
    while (woken != NULL) {
        struct parked_entry *next = woken->next_woken;
        parked->woken(woken);
        woken = next;
    }
}

static void insert_locked(struct parked *parked, struct parked_entry *entry)
{
    struct bucket *bucket = bucket_of(parked, entry->topic);
    entry->before = bucket->last;
    entry->after = NULL;
    *(bucket->last != NULL ? &bucket->last->after : &bucket->first) = entry;
    bucket->last = entry;
    parked->count++;
    heap_up(parked, parked->count - 1, entry);
}

uint64_t parked_ticket(struct parked *parked, const struct topic *topic)
{
    pthread_mutex_lock(&parked->mu);
    uint64_t ticket = bucket_of(parked, topic_hash(topic))->ticket;
    pthread_mutex_unlock(&parked->mu);
    return ticket;
}

static enum parking try_park_locked(struct parked *parked, struct parked_entry *entry,
                                    uint64_t ticket)
{
    struct epoll_event watch = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = entry};
    if (parked->draining || parked->count == parked->room) {
        return PARK_NO_ROOM;
    }
    if (bucket_of(parked, entry->topic)->ticket != ticket) {
        return PARK_LOOK_AGAIN;
    }
    if (epoll_ctl(parked->epoll, EPOLL_CTL_ADD, entry->socket, &watch) != 0) {
        return PARK_NO_ROOM;
    }
    insert_locked(parked, entry);
    return PARKED;
}

enum parking parked_add(struct parked *parked, struct parked_entry *entry,
                        const struct topic *topic, uint64_t ticket, int64_t deadline_ms, int socket)
{
    entry->topic = topic_hash(topic);
    entry->queued_up = topic->kind == EVENT_READY;
    entry->deadline_ms = deadline_ms;
    entry->socket = socket;
    pthread_mutex_lock(&parked->mu);
    enum parking parking = try_park_locked(parked, entry, ticket);
    bool sooner = parking == PARKED && parked->heap[0] == entry;
    pthread_mutex_unlock(&parked->mu);
    if (sooner) {
        eventfd_write(parked->nudge, 1);
    }
    return parking;
}

/* ---- waking ------------------------------------------------------------------------------------------------------- */

static void notify_locked(struct parked *parked, const struct event *event,
                          struct parked_entry ***woken)
{
    uint64_t topic = hash_of(event->kind, event->name, event->detail);
    struct bucket *bucket = bucket_of(parked, topic);
    int64_t left = event->kind == EVENT_READY ? event->count : INT64_MAX;
    bucket->ticket++;
    for (struct parked_entry *entry = bucket->first, *after; entry != NULL && left > 0;
         entry = after) {
        after = entry->after;
        if (entry->topic == topic) {
            unpark_locked(parked, entry, WAKE_EVENT, woken);
            left--;
        }
    }
}

void parked_notify(struct parked *parked, const struct event *events, size_t count)
{
    struct parked_entry *first = NULL, **last = &first;
    pthread_mutex_lock(&parked->mu);
    for (size_t i = 0; i < count; i++) {
        notify_locked(parked, &events[i], &last);
    }
    pthread_mutex_unlock(&parked->mu);
    give_back(parked, first);
}

static void wake_all(struct parked *parked, enum wake why)
{
    struct parked_entry *first = NULL, **last = &first;
    pthread_mutex_lock(&parked->mu);
    parked->draining |= why == WAKE_DRAINING;
    for (size_t i = 0; i < BUCKETS; i++) {
        parked->buckets[i].ticket++; /* who is about to park looks again */
    }
    while (parked->count > 0) {
        unpark_locked(parked, parked->heap[0], why, &last);
    }
    pthread_mutex_unlock(&parked->mu);
    give_back(parked, first);
}

void parked_rouse(struct parked *parked)
{
    wake_all(parked, WAKE_EVENT);
}

void parked_drain(struct parked *parked)
{
    wake_all(parked, WAKE_DRAINING);
}

size_t parked_count(struct parked *parked)
{
    pthread_mutex_lock(&parked->mu);
    size_t count = parked->count;
    pthread_mutex_unlock(&parked->mu);
    return count;
}

/* ---- the thread: deadlines and hang-ups --------------------------------------------------------------------------- */

static int until_deadline_ms(struct parked *parked)
{
    int64_t now_ms = clock_now(parked->clock).lease_now_ms;
    pthread_mutex_lock(&parked->mu);
    int64_t soonest = parked->count == 0 ? INT64_MAX : parked->heap[0]->deadline_ms;
    pthread_mutex_unlock(&parked->mu);
    if (soonest == INT64_MAX) {
        return -1;
    }
    int64_t left = soonest - now_ms;
    return left < 0 ? 0 : left > MINUTE_MS ? (int)MINUTE_MS : (int)left;
}

static void wake_overdue(struct parked *parked)
{
    struct parked_entry *first = NULL, **last = &first;
    int64_t now_ms = clock_now(parked->clock).lease_now_ms;
    pthread_mutex_lock(&parked->mu);
    while (parked->count > 0 && parked->heap[0]->deadline_ms <= now_ms) {
        unpark_locked(parked, parked->heap[0], WAKE_TIME_OVER, &last);
    }
    pthread_mutex_unlock(&parked->mu);
    give_back(parked, first);
}

/*
 * An entry that epoll reports may have been woken by something else in the meantime, and its memory be gone: so the
 * pointer is only compared, until it is found in the heap. Hang-ups are rare enough for that.
 */
static bool still_parked_locked(const struct parked *parked, const struct parked_entry *entry)
{
    for (size_t i = 0; i < parked->count; i++) {
        if (parked->heap[i] == entry) {
            return true;
        }
    }
    return false;
}

static void wake_hung_up(struct parked *parked, const struct epoll_event *events, int count)
{
    struct parked_entry *first = NULL, **last = &first;
    pthread_mutex_lock(&parked->mu);
    for (int i = 0; i < count; i++) {
        struct parked_entry *entry = events[i].data.ptr;
        if (entry != NULL && still_parked_locked(parked, entry)) {
            unpark_locked(parked, entry, WAKE_HUNG_UP, &last);
        }
    }
    pthread_mutex_unlock(&parked->mu);
    give_back(parked, first);
}

static bool stopping(struct parked *parked)
{
    pthread_mutex_lock(&parked->mu);
    bool stop = parked->stopping;
    pthread_mutex_unlock(&parked->mu);
    return stop;
}

static void *run(void *argument)
{
    struct parked *parked = argument;
    struct epoll_event events[EPOLL_EVENTS];
    while (!stopping(parked)) {
        int count = epoll_wait(parked->epoll, events, EPOLL_EVENTS, until_deadline_ms(parked));
        eventfd_t nudges;
        eventfd_read(parked->nudge, &nudges); /* non-blocking: resets it */
        wake_hung_up(parked, events, count);
        wake_overdue(parked);
    }
    return NULL;
}

static void free_parked(struct parked *parked)
{
    if (parked->epoll >= 0) {
        close(parked->epoll);
    }
    if (parked->nudge >= 0) {
        close(parked->nudge);
    }
    pthread_mutex_destroy(&parked->mu);
    free(parked->heap);
    free(parked);
}

enum status parked_start(struct clock *clock, size_t entries_max,
                         void (*woken)(struct parked_entry *entry), struct parked **ret)
{
    struct parked *parked = calloc(1, sizeof *parked);
    if (parked == NULL) {
        return STATUS_OUT_OF_MEMORY;
    }
    pthread_mutex_init(&parked->mu, NULL);
    parked->clock = clock;
    parked->woken = woken;
    parked->room = entries_max;
    parked->heap = calloc(entries_max + 1, sizeof *parked->heap);
    parked->epoll = epoll_create1(EPOLL_CLOEXEC);
    parked->nudge = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct epoll_event watch = {.events = EPOLLIN, .data.ptr = NULL};
    if (parked->heap == NULL || parked->epoll < 0 || parked->nudge < 0 ||
        epoll_ctl(parked->epoll, EPOLL_CTL_ADD, parked->nudge, &watch) != 0 ||
        pthread_create(&parked->thread, NULL, run, parked) != 0) {
        free_parked(parked);
        return STATUS_OUT_OF_MEMORY;
    }
    *ret = parked;
    return STATUS_OK;
}

void parked_stop(struct parked *parked)
{
    if (parked == NULL) {
        return;
    }
    pthread_mutex_lock(&parked->mu);
    assert(parked->count == 0);
    parked->stopping = true;
    pthread_mutex_unlock(&parked->mu);
    eventfd_write(parked->nudge, 1);
    pthread_join(parked->thread, NULL);
    free_parked(parked);
}
