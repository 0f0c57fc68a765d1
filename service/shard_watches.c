#include "service/shard_watches.h"

#include "handlers/ring.h"
#include "service/clock.h"
#include "service/cluster/cluster.h"
#include "service/cluster/proxy.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

enum {
    WATCHES = 256,
    PLACES = 4,         /* of the table, where one may be */
    WATCH_US = 5000000, /* longer than a parked receive sleeps (sharding.c) */
    TELL_US_MAX = 2000000,
    COUNT_MAX = 1000, /* of an event that wakes all */
    FIELDS = 4
};

struct shard_watch {
    /* Not written while it is telling, when the request on its way reads them without mu. */
    char queue[NAME_BYTES_MAX + 1];
    char url[MEMBER_ADDRESS_BYTES_MAX + 1];
    int64_t until_us;
    int64_t count; /* of messages to be told of */
    bool telling;
};

struct shard_watches {
    pthread_mutex_t mu;
    struct shard_watch at[WATCHES]; /* guarded by mu */
    _Atomic int64_t until_us;       /* nobody watches anything after that */
};

/* One request to a watcher. */
struct telling {
    struct forward forward;
    struct shard_watches *watches;
    struct shard_watch *watch; /* its place, which is kept while it is telling */
    struct cluster *cluster;
    struct proxy_header fields[FIELDS];
    struct arena arena;
};

struct shard_watches *shard_watches_make(void)
{
    struct shard_watches *watches = calloc(1, sizeof *watches);
    if (watches != NULL) {
        pthread_mutex_init(&watches->mu, NULL);
    }
    return watches;
}

void shard_watches_free(struct shard_watches *watches)
{
    if (watches != NULL) {
        pthread_mutex_destroy(&watches->mu);
        free(watches);
    }
}

static struct shard_watch *place(struct shard_watches *watches, struct text queue, size_t nth)
{
    return &watches->at[(ring_hash(queue) + nth) % WATCHES];
}

static struct shard_watch *find_locked(struct shard_watches *watches, struct text queue,
                                       struct text url)
{
    for (size_t i = 0; i < PLACES; i++) {
        struct shard_watch *watch = place(watches, queue, i);
        if (text_equal(text_of(watch->queue), queue) && text_equal(text_of(watch->url), url)) {
            return watch;
        }
    }
    return NULL;
}

/* NULL: there is none. */
static struct shard_watch *take_spare_locked(struct shard_watches *watches, struct text queue,
                                             struct text url, int64_t now_us)
{
    for (size_t i = 0; i < PLACES; i++) {
        struct shard_watch *watch = place(watches, queue, i);
        if (watch->until_us < now_us && !watch->telling) {
            memcpy(watch->queue, queue.at, queue.len);
            memcpy(watch->url, url.at, url.len);
            watch->queue[queue.len] = watch->url[url.len] = '\0';
            watch->count = 0;
            return watch;
        }
    }
    return NULL;
}

void shard_watches_add(struct shard_watches *watches, struct text queue, struct text url)
{
    int64_t now_us = clock_monotonic_us();
    if (queue.len > NAME_BYTES_MAX || url.len > MEMBER_ADDRESS_BYTES_MAX) {
        return;
    }
    pthread_mutex_lock(&watches->mu);
    struct shard_watch *watch = find_locked(watches, queue, url);
    watch = watch != NULL ? watch : take_spare_locked(watches, queue, url, now_us);
    if (watch != NULL) { /* else there are too many: they look again by themselves */
        watch->until_us = now_us + WATCH_US;
        atomic_store(&watches->until_us, watch->until_us);
    }
    pthread_mutex_unlock(&watches->mu);
}

/* ---- telling ------------------------------------------------------------------------------------------------------ */

static void on_told(struct forward *forward);

static void submit(struct telling *telling, int64_t count)
{
    struct shard_watch *watch = telling->watch;
    struct arena *arena = &telling->arena;
    telling->fields[0] =
        (struct proxy_header){TEXT("Ringhold-Forwarded"), cluster_forward_token(telling->cluster)};
    telling->fields[1] = (struct proxy_header){TEXT("Ringhold-Errand"), TEXT("1")};
    telling->fields[2] = (struct proxy_header){TEXT("Ringhold-Ready"), text_of(watch->queue)};
    telling->fields[3] = (struct proxy_header){TEXT("Ringhold-Ready-Count"),
                                               arena_format(arena, "%lld", (long long)count)};
    telling->forward = (struct forward){.base = watch->url,
                                        .method = "POST",
                                        .target = TEXT("/errand"),
                                        .headers = telling->fields,
                                        .header_count = FIELDS,
                                        .body = TEXT(""),
                                        .deadline_us = clock_monotonic_us() + TELL_US_MAX,
                                        .arena = arena,
                                        .done = on_told};
    proxy_submit(cluster_proxy(telling->cluster), &telling->forward);
}

/* What has become ready meanwhile. 0: nothing, and the watch is told of nothing any more. */
static int64_t take_count(struct telling *telling)
{
    struct shard_watch *watch = telling->watch;
    pthread_mutex_lock(&telling->watches->mu);
    bool goes_on = telling->forward.outcome == FORWARD_ANSWERED;
    int64_t count = goes_on ? watch->count : 0;
    watch->count = 0;
    watch->telling = count > 0;
    pthread_mutex_unlock(&telling->watches->mu);
    return count;
}

static void on_told(struct forward *forward)
{
    struct telling *telling =
        (struct telling *)((char *)forward - offsetof(struct telling, forward));
    int64_t count = take_count(telling);
    arena_clear(&telling->arena);
    if (count > 0) {
        submit(telling, count);
        return;
    }
    arena_free(&telling->arena);
    free(telling);
}

/* Whether the watch is to be told, which nobody does at this moment. */
static bool count_for(struct shard_watch *watch, const struct event *event, int64_t now_us)
{
    bool watched = watch->until_us >= now_us && text_equal(text_of(watch->queue), event->name);
    if (!watched) {
        return false;
    }
    bool begins = !watch->telling;
    watch->count += event->count < COUNT_MAX ? event->count : COUNT_MAX;
    watch->telling = true;
    return begins;
}

static void tell(struct shard_watches *watches, struct cluster *cluster, struct shard_watch *watch)
{
    struct telling *telling = calloc(1, sizeof *telling);
    if (telling == NULL) {
        pthread_mutex_lock(&watches->mu);
        watch->telling = false;
        pthread_mutex_unlock(&watches->mu);
        return;
    }
    *telling = (struct telling){.watches = watches,
                                .watch = watch,
                                .cluster = cluster,
                                .forward = {.outcome = FORWARD_ANSWERED},
                                .arena = ARENA_EMPTY};
    submit(telling, take_count(telling));
}

static void notify(struct shard_watches *watches, struct cluster *cluster,
                   const struct event *event)
{
    int64_t now_us = clock_monotonic_us();
    for (size_t i = 0; i < PLACES; i++) {
        struct shard_watch *watch = place(watches, event->name, i);
        pthread_mutex_lock(&watches->mu);
        bool begins = count_for(watch, event, now_us);
        pthread_mutex_unlock(&watches->mu);
        if (begins) {
            tell(watches, cluster, watch);
        }
    }
}

void shard_watches_notify(struct shard_watches *watches, struct cluster *cluster,
                          const struct event *events, size_t count)
{
    if (atomic_load(&watches->until_us) < clock_monotonic_us()) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (events[i].kind == EVENT_READY) {
            notify(watches, cluster, &events[i]);
        }
    }
}
