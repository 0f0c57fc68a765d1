/*
 * Every mode of the load generator, by the file that defines it. bench-load --help prints their summaries.
 */
#ifndef RINGHOLD_BENCH_MODES_H
#define RINGHOLD_BENCH_MODES_H

#include "bench/protocol.h"

/* ringhold_sessions.c */
extern const struct protocol session_get_protocol;
extern const struct protocol session_put_protocol;
/* ringhold_locks.c */
extern const struct protocol lock_protocol;
/* ringhold_queues.c */
extern const struct protocol queue_cycle_protocol;
extern const struct protocol queue_send_protocol;
extern const struct protocol queue_drain_protocol;
extern const struct protocol queue_lease_protocol;
/* http_peers.c */
extern const struct protocol hello_protocol;
extern const struct protocol etcd_get_protocol;
extern const struct protocol etcd_get_serializable_protocol;
extern const struct protocol etcd_put_protocol;
/* redis.c */
extern const struct protocol redis_get_protocol;
extern const struct protocol redis_set_protocol;
/* beanstalk.c */
extern const struct protocol beanstalk_protocol;

#endif
