/*
 * Who waits on another member for messages of a queue's shards that are led here. A receive that finds nothing says so with
 * each errand it sends out (service/errand.h), and where it may be told; for some seconds from then on that member is told
 * of every message that becomes ready here, however it did. A hint: what is lost of it is made up for by looking again.
 *
 *     receive parked on A ◄─ woken ─ A ◄── POST, Ringhold-Ready: queue ── B: the shard's leader ◄─ a batch has made some ready
 *
 * One such request is under way for each queue and member; what becomes ready meanwhile goes with the next.
 */
#ifndef RINGHOLD_SERVICE_SHARD_WATCHES_H
#define RINGHOLD_SERVICE_SHARD_WATCHES_H

#include "db/result.h"

struct cluster;
struct shard_watches;

/* NULL: out of memory. */
struct shard_watches *shard_watches_make(void);
/* When nothing is forwarded any more (cluster_stop). NULL-safe. */
void shard_watches_free(struct shard_watches *watches);

/* The member at that URL waits for messages of the queue. Any thread. */
void shard_watches_add(struct shard_watches *watches, struct text queue, struct text url);
/* Tells those who wait for one of these. Any thread. */
void shard_watches_notify(struct shard_watches *watches, struct cluster *cluster,
                          const struct event *events, size_t count);

#endif
