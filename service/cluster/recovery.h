/*
 * Going on with what one member has when a majority of the others is lost for good. It makes the member the only one of
 * every group that it has a replica of, begins the others' anew, and makes a new cluster of that: with a UUID of its own,
 * so that nobody of the old one can take part in it, whatever comes back.
 *
 *     each partition:  its log without the others (raft_recover) ─► what is in it is applied ─► the fence steps up
 *     then group 0:    the same ─► a table of this member alone
 *     then the identity, which is what counts: until it is written, all of it can be done again
 *
 * In a process of its own, whose directory it has locked, on one thread and a loop that ends with it.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_RECOVERY_H
#define RINGHOLD_SERVICE_CLUSTER_RECOVERY_H

#include "service/cluster/cluster.h"
#include "service/cluster/table.h"

struct recovery;

/* Looks at the directory of that node. False, with a sentence, where there is nothing to go on with. */
MUST_CHECK bool recovery_open(const char *data_dir, uint64_t node, struct recovery **ret,
                              char ret_why[CLUSTER_WHY_BYTES]);
/* NULL-safe. */
void recovery_close(struct recovery *recovery);

/* The table as this member knew it last. */
const struct table *recovery_table(const struct recovery *recovery);

/* What it has of a partition. */
struct recovered {
    bool here;       /* false: nothing, so that it begins empty */
    uint64_t index;  /* of the last entry that has become state: what came behind it may be lost */
    int64_t wall_ms; /* about when that was; 0: not known */
};
/* As it is on disk; the log may have some entries more. False, with a sentence, when it cannot be read. */
MUST_CHECK bool recovery_look(struct recovery *recovery, unsigned partition, struct recovered *ret,
                              char ret_why[CLUSTER_WHY_BYTES]);

/* Does it for a partition, and says how far it came; every one, then recovery_finish. False, with a sentence. */
MUST_CHECK bool recovery_do(struct recovery *recovery, unsigned partition, int64_t now_ms,
                            struct recovered *ret, char ret_why[CLUSTER_WHY_BYTES]);
/* Group 0, and the new identity. False, with a sentence. */
MUST_CHECK bool recovery_finish(struct recovery *recovery, char ret_why[CLUSTER_WHY_BYTES]);

#endif
