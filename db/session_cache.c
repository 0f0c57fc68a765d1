#include "db/session_cache.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <xxhash.h>

enum { SHARDS = 16, BUCKETS = 4096 }; /* powers of two; buckets of each shard */

struct entry {
    struct entry *next;          /* of the bucket */
    struct entry *newer, *older; /* of the shard's ring, in order of being put */
    uint64_t hash;
    int closed; /* how many closes are not opened yet; such an entry has no session */
    bool used;  /* got since the hand was last here */
    struct session_view session; /* its texts point into bytes */
    size_t bytes;                /* of the whole entry */
    char texts[];
};

struct shard {
    pthread_mutex_t mu;
    struct entry *buckets[BUCKETS]; /* guarded by mu */
    struct entry *oldest, *newest;  /* guarded by mu: those with a session */
    size_t bytes;                   /* guarded by mu: of those with a session */
    uint64_t opened;                /* guarded by mu: the ticket */
};

struct session_cache {
    size_t shard_bytes_max;
    struct shard shards[SHARDS];
};

struct session_cache *session_cache_make(size_t bytes_max)
{
    struct session_cache *cache = calloc(1, sizeof *cache);
    if (cache != NULL) {
        cache->shard_bytes_max = bytes_max / SHARDS;
        for (size_t i = 0; i < SHARDS; i++) {
            pthread_mutex_init(&cache->shards[i].mu, NULL);
        }
    }
    return cache;
}

void session_cache_free(struct session_cache *cache)
{
    for (size_t i = 0; cache != NULL && i < SHARDS; i++) {
        for (size_t j = 0; j < BUCKETS; j++) {
            for (struct entry *e = cache->shards[i].buckets[j], *next; e != NULL; e = next) {
                next = e->next;
                free(e);
            }
        }
        pthread_mutex_destroy(&cache->shards[i].mu);
    }
    free(cache);
}

/* ---- entries ------------------------------------------------------------------------------------------------------ */

static struct shard *shard_of(struct session_cache *cache, uint64_t hash)
{
    return &cache->shards[hash % SHARDS];
}

/* Where the entry of that id hangs, or would hang. */
static struct entry **slot_locked(struct shard *shard, uint64_t hash, struct text id)
{
    struct entry **slot = &shard->buckets[hash / SHARDS % BUCKETS];
    while (*slot != NULL && ((*slot)->hash != hash || !text_equal((*slot)->session.id, id))) {
        slot = &(*slot)->next;
    }
    return slot;
}

static void link_newest_locked(struct shard *shard, struct entry *entry)
{
    entry->older = shard->newest;
    entry->newer = NULL;
    *(shard->newest != NULL ? &shard->newest->newer : &shard->oldest) = entry;
    shard->newest = entry;
}

static void unlink_locked(struct shard *shard, struct entry *entry)
{
    *(entry->older != NULL ? &entry->older->newer : &shard->oldest) = entry->newer;
    *(entry->newer != NULL ? &entry->newer->older : &shard->newest) = entry->older;
}

/* Removes an entry that has a session. */
static void drop_locked(struct shard *shard, struct entry **slot)
{
    struct entry *entry = *slot;
    *slot = entry->next;
    unlink_locked(shard, entry);
    shard->bytes -= entry->bytes;
    free(entry);
}

/* Makes room: the oldest goes, unless it was used since; then it gets a second chance as the newest. */
static void evict_locked(struct shard *shard, size_t bytes_max)
{
    while (shard->bytes > bytes_max && shard->oldest != NULL) {
        struct entry *oldest = shard->oldest;
        if (oldest->used) {
            oldest->used = false;
            unlink_locked(shard, oldest);
            link_newest_locked(shard, oldest);
        } else {
            drop_locked(shard, slot_locked(shard, oldest->hash, oldest->session.id));
        }
    }
}

/* An entry with a copy of the session. NULL when memory ran out. */
static struct entry *make_entry(const struct session_view *session, uint64_t hash)
{
    size_t bytes =
        sizeof(struct entry) + session->id.len + session->subject.len + session->data.len;
    struct entry *entry = malloc(bytes);
    if (entry == NULL) {
        return NULL;
    }
    char *at = entry->texts;
    *entry = (struct entry){.hash = hash, .session = *session, .bytes = bytes};
    entry->session.id = text_pack(session->id, &at);
    entry->session.subject = text_pack(session->subject, &at);
    entry->session.data = text_pack(session->data, &at);
    return entry;
}

/* ---- readers ------------------------------------------------------------------------------------------------------ */

bool session_cache_get(struct session_cache *cache, struct text id, struct arena *arena,
                       struct session_view *ret, uint64_t *ret_ticket)
{
    uint64_t hash = XXH3_64bits(id.at, id.len);
    struct shard *shard = shard_of(cache, hash);
    pthread_mutex_lock(&shard->mu);
    struct entry *entry = *slot_locked(shard, hash, id);
    bool hit = entry != NULL && entry->closed == 0;
    if (hit) {
        *ret = entry->session;
        ret->id = id;
        ret->subject = arena_copy(arena, ret->subject);
        ret->data = arena_copy(arena, ret->data);
        entry->used = true;
    }
    *ret_ticket = shard->opened;
    pthread_mutex_unlock(&shard->mu);
    return hit;
}

void session_cache_put(struct session_cache *cache, const struct session_view *session,
                       uint64_t ticket)
{
    uint64_t hash = XXH3_64bits(session->id.at, session->id.len);
    struct shard *shard = shard_of(cache, hash);
    struct entry *entry = make_entry(session, hash);
    if (entry == NULL || entry->bytes > cache->shard_bytes_max) {
        free(entry);
        return;
    }
    pthread_mutex_lock(&shard->mu);
    struct entry **slot = slot_locked(shard, hash, session->id);
    bool wanted = *slot == NULL && shard->opened == ticket; /* somebody else's is as good */
    if (wanted) {
        *slot = entry;
        link_newest_locked(shard, entry);
        shard->bytes += entry->bytes;
        evict_locked(shard, cache->shard_bytes_max);
    }
    pthread_mutex_unlock(&shard->mu);
    if (!wanted) {
        free(entry);
    }
}

void session_cache_clear(struct session_cache *cache)
{
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->mu);
        while (shard->oldest != NULL) {
            drop_locked(shard, slot_locked(shard, shard->oldest->hash, shard->oldest->session.id));
        }
        shard->opened++;
        pthread_mutex_unlock(&shard->mu);
    }
}

/* ---- the machine -------------------------------------------------------------------------------------------------- */

void session_cache_close(struct session_cache *cache, struct text id)
{
    uint64_t hash = XXH3_64bits(id.at, id.len);
    struct shard *shard = shard_of(cache, hash);
    struct session_view nothing = {.id = id};
    pthread_mutex_lock(&shard->mu);
    struct entry **slot = slot_locked(shard, hash, id);
    if (*slot != NULL && (*slot)->closed == 0) {
        drop_locked(shard, slot);
        slot = slot_locked(shard, hash, id);
    }
    if (*slot == NULL) {
        /* Without memory for the mark, the ticket alone still keeps old puts out; and there is nothing to get. */
        *slot = make_entry(&nothing, hash);
    }
    if (*slot != NULL) {
        (*slot)->closed++;
    }
    shard->opened++; /* what was read before the commit must not be put during it */
    pthread_mutex_unlock(&shard->mu);
}

void session_cache_open(struct session_cache *cache, struct text id)
{
    uint64_t hash = XXH3_64bits(id.at, id.len);
    struct shard *shard = shard_of(cache, hash);
    pthread_mutex_lock(&shard->mu);
    struct entry **slot = slot_locked(shard, hash, id);
    struct entry *entry = *slot;
    if (entry != NULL && entry->closed > 0 && --entry->closed == 0) {
        *slot = entry->next;
        free(entry);
    }
    shard->opened++;
    pthread_mutex_unlock(&shard->mu);
}
