#include "db/page_cache.h"

#include <sqlite3.h>
#include <stdlib.h>

/* One cache: of one connection, or of one temporary table. Its connection's thread is the only one to use it. */
struct cache {
    sqlite3_pcache *real;
    unsigned key_max; /* no page that was put in by fetching is past it */
    int strays;       /* pages that a rekey has put past it, and none has taken back */
};

static sqlite3_pcache_methods2 defaults;

static int init(void *arg)
{
    (void)arg;
    return defaults.xInit(defaults.pArg);
}

static void shut_down(void *arg)
{
    (void)arg;
    defaults.xShutdown(defaults.pArg);
}

static sqlite3_pcache *create(int page_bytes, int extra_bytes, int purgeable)
{
    struct cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL) {
        return NULL;
    }
    cache->real = defaults.xCreate(page_bytes, extra_bytes, purgeable);
    if (cache->real == NULL) {
        free(cache);
        return NULL;
    }
    return (sqlite3_pcache *)cache;
}

static struct cache *own(sqlite3_pcache *cache)
{
    return (struct cache *)cache;
}

static void set_size(sqlite3_pcache *cache, int pages)
{
    defaults.xCachesize(own(cache)->real, pages);
}

static int count(sqlite3_pcache *cache)
{
    return defaults.xPagecount(own(cache)->real);
}

static sqlite3_pcache_page *fetch(sqlite3_pcache *cache, unsigned key, int make)
{
    sqlite3_pcache_page *page = defaults.xFetch(own(cache)->real, key, make);
    if (page != NULL && key > own(cache)->key_max) {
        own(cache)->key_max = key;
    }
    return page;
}

static void unpin(sqlite3_pcache *cache, sqlite3_pcache_page *page, int discard)
{
    defaults.xUnpin(own(cache)->real, page, discard);
}

static void rekey(sqlite3_pcache *cache, sqlite3_pcache_page *page, unsigned from, unsigned to)
{
    struct cache *c = own(cache);
    c->strays += (to > c->key_max) - (from > c->key_max);
    defaults.xRekey(c->real, page, from, to);
}

static void truncate_at(sqlite3_pcache *cache, unsigned limit)
{
    struct cache *c = own(cache);
    if (limit <= c->key_max || c->strays > 0) {
        defaults.xTruncate(c->real, limit);
        c->key_max = limit > 0 ? limit - 1 : 0;
        c->strays = 0;
    }
}

static void destroy(sqlite3_pcache *cache)
{
    defaults.xDestroy(own(cache)->real);
    free(own(cache));
}

static void shrink(sqlite3_pcache *cache)
{
    defaults.xShrink(own(cache)->real);
}

void page_cache_install(void)
{
    static const sqlite3_pcache_methods2 METHODS = {
        .iVersion = 1,
        .xInit = init,
        .xShutdown = shut_down,
        .xCreate = create,
        .xCachesize = set_size,
        .xPagecount = count,
        .xFetch = fetch,
        .xUnpin = unpin,
        .xRekey = rekey,
        .xTruncate = truncate_at,
        .xDestroy = destroy,
        .xShrink = shrink,
    };
    if (sqlite3_config(SQLITE_CONFIG_GETPCACHE2, &defaults) == SQLITE_OK &&
        defaults.iVersion == 1) {
        sqlite3_config(SQLITE_CONFIG_PCACHE2, &METHODS);
    }
}
