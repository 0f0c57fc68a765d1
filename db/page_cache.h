/*
 * SQLite's own page cache, without a walk over all of it at every commit. When a commit ends, SQLite (seen in 3.40.1)
 * asks its cache to forget pages past the end of the file, which there are none of, and the cache knows that from
 * the largest page number it has seen. But a b-tree that rebalances gives a page the number of the "pending byte" page
 * for a moment, which in a file below 1 GiB is past its end: from then on each commit looks at every cached page. With
 * the 64 MiB of pages that we cache that takes up to 1 ms, as long as all else in a batch of 64 commands.
 *
 * So this cache stands in front of the default one, keeps its own account of the largest number, and lets only those
 * truncations through that have something to do.
 */
#ifndef RINGHOLD_DB_PAGE_CACHE_H
#define RINGHOLD_DB_PAGE_CACHE_H

/* Puts it in place. To be called once, before anything else of SQLite; where it was not, SQLite goes on with its own
   cache, which is slower and as right. */
void page_cache_install(void);

#endif
