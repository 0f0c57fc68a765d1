/*
 * The table: who is in the cluster, and which members hold which partition. Group 0 replicates it, so every member has
 * the same one of each epoch; everyone else uses it as a hint of where to send a request. A stale table costs a hop,
 * never correctness: that is Raft's, inside each partition's group.
 *
 * A plain value of about 200 KiB: copy it, share a copy that nobody changes, no lock in here. It changes by steps only
 * (service/cluster/placement.h), each of which makes the epoch one greater.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_TABLE_H
#define RINGHOLD_SERVICE_CLUSTER_TABLE_H

#include "db/limits.h"
#include "db/text.h"
#include "service/cluster/members.h"

enum { CLUSTER_UUID_BYTES = 16 };

/* The life of a member is drawn in placement.h. A member that was removed is not in the table any more. */
enum member_state { MEMBER_JOINING, MEMBER_ACTIVE, MEMBER_DOWN, MEMBER_LEAVING, MEMBER_STATES };

/* What a member says of itself. All texts are NUL-terminated. */
struct member_facts {
    char name[NAME_BYTES_MAX + 1];
    char url[MEMBER_ADDRESS_BYTES_MAX + 1];  /* http://HOST:PORT, for clients and for proxying */
    char peer[MEMBER_ADDRESS_BYTES_MAX + 1]; /* HOST:PORT, for the groups' messages */
    uint32_t weight;                         /* 1 to MEMBER_WEIGHT_MAX */
};

struct member {
    uint64_t id;      /* made with its data directory; never 0 */
    uint64_t changed; /* the epoch of its last change */
    enum member_state state;
    uint64_t successor; /* of one that leaves: who should take its places; 0: whoever. Else 0 */
    struct member_facts facts;
};

/* The life of a replica is drawn in placement.h. */
enum slot_role { SLOT_LEARNER, SLOT_VOTER, SLOT_RETIRING, SLOT_ROLES };

struct slot {
    uint64_t member;
    enum slot_role role;
};

struct table_partition {
    uint64_t changed; /* the epoch of its last change */
    uint64_t leader;  /* the member that should lead the group; one of its voters */
    unsigned slot_count;
    struct slot slots[SLOTS_MAX]; /* by member id, growing */
};

struct table {
    uint64_t epoch; /* of this table; 1 is the first. At most VERSION_MAX */
    unsigned char uuid[CLUSTER_UUID_BYTES];
    unsigned partition_count; /* a power of two; never changes */
    unsigned replica_count;   /* how many voters a partition should have; never changes */
    unsigned member_count;
    struct member members[MEMBERS_MAX]; /* by id, growing; sets of members are bits by this order */
    struct table_partition partitions[PARTITIONS_MAX];
};

/* The first table of a cluster: one active member, which holds every partition. The arguments must pass table_check. */
void table_found(const unsigned char uuid[CLUSTER_UUID_BYTES], unsigned partition_count,
                 unsigned replica_count, uint64_t id, const struct member_facts *facts,
                 struct table *ret);

/*
 * The first table of the cluster that one member makes of what it has, the others being lost: it alone, active, with
 * every partition, one epoch after `before`, in which it must be.
 */
void table_recover(const struct table *before, const unsigned char uuid[CLUSTER_UUID_BYTES],
                   uint64_t id, struct table *ret);

/*
 * NULL when the table is one that steps can lead to, else a sentence that says what is wrong with it:
 * counts within their bounds; members in order, known by one name and one peer address each (those that leave may
 * share theirs with who replaces them), one at least neither joining nor leaving; each partition's slots in order, of
 * members that are in the table and not joining, a voter at least, one at the most that is no voter, one more than
 * replica_count at the most; the leader a voter; nothing changed after the epoch.
 */
const char *table_check(const struct table *table);
/* NULL when a member can say that of itself, else a sentence. */
const char *member_facts_check(const struct member_facts *facts);
/* A peer address, split. False when it is none. */
bool member_split_peer(const char *peer, char ret_host[MEMBER_ADDRESS_BYTES_MAX + 1],
                       uint16_t *ret_port);
/* Whether a member other than `id`, one that does not leave, has that name or peer address. */
bool table_taken(const struct table *table, uint64_t id, const struct member_facts *facts);

/* The member's place in the table, or -1. */
int table_find(const struct table *table, uint64_t id);
/* The members in that state. */
member_set table_members(const struct table *table, enum member_state state);
/* The member's slot in the partition, or NULL. */
struct slot *table_slot(struct table_partition *partition, uint64_t member);
unsigned table_voters(const struct table_partition *partition);

const char *member_state_name(enum member_state state);
const char *slot_role_name(enum slot_role role);

#endif
