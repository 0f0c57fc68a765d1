/*
 * Every bound of Ringhold stands here: what a client may ask for, what is kept and for how long, how large anything
 * may grow. Durations are milliseconds.
 */
#ifndef RINGHOLD_DB_LIMITS_H
#define RINGHOLD_DB_LIMITS_H

#define SECOND_MS INT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)

enum {
    /* names and texts */
    NAME_BYTES_MAX = 255,
    OWNER_BYTES_MAX = 255,
    REASON_BYTES_MAX = 255,
    CONSUMER_BYTES_MAX = 255,
    IDEMPOTENCY_KEY_BYTES_MAX = 255,

    /* requests */
    BODY_BYTES_MAX = 1024 * 1024,
    HEAD_BYTES_MAX = 8 * 1024,
    TARGET_BYTES_MAX = 4 * 1024,
    HEADERS_MAX = 64,
    QUERY_PARAMETERS_MAX = 16,
    JSON_DEPTH_MAX = 256,
    PAGE_ITEMS_DEFAULT = 100,
    PAGE_ITEMS_MAX = 1000,
    PAGE_BYTES_MAX = 4 * 1024 * 1024, /* a page ends early rather than grow past this */
    TRANSACTION_OPERATIONS_MAX = 64,
    WAIT_MS_MAX = 60000,
    IDLE_CONNECTION_SECONDS = 120,

    /* sessions */
    SESSION_DATA_BYTES_MAX = BODY_BYTES_MAX, /* what merge patches may add up to */
    SUBJECT_LIMIT_MAX = 10000,
    SESSION_CACHE_BYTES = 64 * 1024 * 1024,
    SESSION_MEMO_ROWS_MAX = 16384, /* a power of two; some 250 bytes each */
    ROTATION_CHAIN_MAX = 8,        /* how many rotations an old id is followed through */

    /* locks */
    LEASE_METADATA_BYTES_MAX = 16 * 1024,
    LOCK_LIMIT_MAX = 1000000,
    LOCK_SET_MAX = 64,
    LOCK_WAITERS_MAX = 10000,
    LOCK_HOLDERS_SHOWN = 100, /* holders and waiters listed in one answer */
    LOCKS_SCANNED_MAX =
        10000, /* a filtered page ends, perhaps with few items, after looking at as many */
    LINE_STEPS_MAX = 100, /* grants from a line within one command; a TICK does the rest */
    LEASES_REMEMBERED_MAX = 1000000, /* ended ones */
    DEADLOCK_SEARCH_MAX = 1000,
    CLAIM_MS = 5000,

    /* queues */
    SHARDS_MAX = 64,
    MESSAGES_PER_REQUEST_MAX = 1000,
    RECEIVE_BYTES_MAX =
        4 * 1024 * 1024, /* a receive hands out no more than this, but at least one message */
    MESSAGE_PRIORITY_MAX = 9,
    MESSAGE_ATTRIBUTES_MAX = 64,
    MESSAGE_REASON_BYTES_MAX =
        4096, /* an error's whole text: a nack must not fail for its length */
    MAX_ATTEMPTS_MAX = 1000,
    GROUP_CONCURRENCY_MAX = 1000,
    MAX_DEPTH_MAX = 1000000000,
    RATE_PER_S_MAX = 1000000,
    RATE_BURST_MAX = 1000000,
    ACK_BLOCKS_MAX = 1000000, /* rows of acks; each remembers up to 32 neighbouring fences */
    BODY_INLINE_MAX = 512,    /* larger bodies lie apart from what changes with each delivery */
    QUEUE_STEPS_MAX = 10000,  /* messages that one command of a purge or redrive moves */
    RECEIVE_STEPS_MAX = 256,  /* due messages that a receive puts right before it claims */
    LIST_ROWS_MAX = 10000,    /* rows looked at for one page of a list, whether they match or not */
    DEAD_LETTER_CHAIN_MAX = 16,

    /* work of the state machine */
    TICK_STEPS_MAX = 500, /* rows one TICK of the machine touches at the most */
    BATCH_COMMANDS_MAX = 1024,
    BATCH_BYTES_MAX = 8 * 1024 * 1024,
    COMMITTER_QUEUE_MAX = 65536,

    /* the cluster: connections between nodes */
    NODES_MAX = 64,
    /* For the network's answer. It repeats a question that was lost after 1, 3, 7 s: so who dials again himself is there
       sooner after a cut. */
    PEER_CONNECT_MS = 600,
    PEER_HANDSHAKE_MS = 3000,   /* from then on */
    PEER_HANDSHAKES_MAX = 1024, /* of incoming connections, at once */
    PEER_BACKLOG = 512,
    /* Sent, and not even received there: the connection is dead. TCP itself waits twice as long before each repetition, so
       that after a cut of some seconds a kept connection would lie still for as long again. */
    PEER_SILENCE_MS = 2000,
    PEER_NAME_FRESH_MS = 30000, /* how long a looked-up host name is used */
    PEER_SECRET_BYTES_MIN = 16,
    PEER_SECRET_BYTES_MAX = 1024,
    MESSAGE_HEAD_BYTES_MAX = 1024 * 1024, /* one of the engine's, without entries' data or image */
    MESSAGE_ENTRIES_BYTES_MAX = 4 * 1024 * 1024,
    STREAM_BYTES_MAX = 32 * 1024 * 1024,      /* all that waits for one member, but for images */
    STREAM_SHORT_BYTES = 16 * 1024,           /* messages that pass longer ones, and */
    STREAM_SHORT_RESERVE_BYTES = 1024 * 1024, /* may be so much more */
    STREAM_LOOK_AHEAD = 256,                  /* messages that are looked at for a short one */
    STREAM_PIECE_BYTES = 256 * 1024,          /* what is written at once */
    STREAM_PIECES_MAX = 8,                    /* in one turn of the loop */
    STREAM_READ_BYTES = 256 * 1024,
    ERRAND_BYTES_MAX =
        BODY_BYTES_MAX + 64 * 1024, /* what a request asks of a shard, and the plan */
    CONTROL_FRAME_BYTES_MAX = 1024 * 1024,
    CONTROL_CONNECTIONS_MAX =
        256,                 /* each other member holds one open, and has others for moments */
    CONTROL_WATCH_MS = 5000, /* how long a watch is not answered */
    CONTROL_MS = 10000,      /* for each frame of a control connection */

    /* the cluster: a group's replica */
    REPLICA_UNCOMMITTED_MAX = 32, /* conflicting logs go back an entry each round trip */
    REPLICA_ENTRY_BYTES_MAX = 2 * 1024 * 1024,
    REPLICA_MESSAGE_BYTES_MAX = REPLICA_ENTRY_BYTES_MAX + 192 * 1024,
    REPLICA_PEER_BYTES_MAX =
        8 * 1024 * 1024,                  /* entries on their way to one member, in our memory */
    REPLICA_LOG_BYTES = 16 * 1024 * 1024, /* after as much, and after as many, the log is cut */
    REPLICA_LOG_ENTRIES = 4096,
    REPLICA_MEMBERS_MAX = 64,
    REPLICA_ELECTION_MS = 400,
    REPLICA_HEARTBEAT_MS = 80,
    REPLICA_SETTLE_MS =
        50, /* who follows stores what it has applied no more often, and hardly later */
    REPLICA_SETTLE_ENTRIES = 64,
    REPLICA_LOST_MS = 100, /* a leader whose process seems to have ended was silent for so long, */
    REPLICA_LAST_WORDS_MS = 20, /* but for what it had said before */
    REPLICA_UNKNOWN_MS =
        5000, /* how long after a lost leadership an outcome may still come to light */
    REPLICA_HOLD_MS = 2000,      /* how long a proposal waits for room on the disk */
    REPLICA_SEEK_MS = 250,       /* how long who is to lead next may take to answer, */
    REPLICA_DRAIN_MS = 500,      /* and then to have what is in flight, for which proposals wait */
    REPLICA_CHANGE_MS = 5000,    /* how long a change of members waits for what is in flight */
    REPLICA_CATCH_UP_MAX = 1024, /* entries a member may lag behind and be waited for */
    REPLICA_SNAPSHOT_RETRY_MS = 1000,
    REPLICA_INSTALL_MS = 60000, /* an image that was not acknowledged is sent again */
    REPLICA_DISK_RETRY_MS = 500,
    REPLICA_RECONNECT_MS = 200,

    /* the process */
    CONNECTIONS_MAX_DEFAULT = 16384,
    PARKED_MAX_DEFAULT = 12288,

    /* requests that are forwarded to the instance that owns what they name */
    PROXY_FORWARDS_MAX = 16384, /* at a time */
    PROXY_PEER_FORWARDS_MAX =
        8192, /* at a time to one instance; each has a connection of its own */
    PROXY_ANSWER_HEAD_BYTES_MAX = 16 * 1024,
    PROXY_ANSWER_BODY_BYTES_MAX =
        32 * 1024 * 1024, /* a page or a receive with everything escaped */
    /* A machine that is gone does not refuse. The owner is then looked for again, so that a lost SYN too costs no more. */
    PROXY_CONNECT_MS_MAX = 500,
    PROXY_IDLE_SECONDS =
        60, /* an older connection is not used again: the other side may be closing it */
    PROXY_SILENCE_SECONDS =
        10, /* while nothing is under way: then it is asked whether it is there */
    PROXY_UNRECEIVED_MS = 2000, /* without an acknowledgement by the peer's kernel: it is gone */
    /* the cluster */
    MEMBERS_MAX = 64, /* a set of members is a 64-bit word */
    PARTITIONS_MAX = 1024,
    REPLICAS_MAX = 5,
    SLOTS_MAX = REPLICAS_MAX + 1, /* replicas of a partition while one of them moves */
    MEMBER_WEIGHT_MAX = 1000,
    MEMBER_ADDRESS_BYTES_MAX =
        271, /* a host name of 253 bytes, a scheme before it, a port behind it */
    PLACEMENT_STEPS_MAX = MEMBERS_MAX, /* steps that placement proposes at once */
};

#define TTL_MS_DEFAULT (30 * SECOND_MS)
#define TTL_MS_MAX DAY_MS
#define LOCK_DELAY_MS_MAX HOUR_MS
#define IDLE_TTL_MS_DEFAULT (30 * MINUTE_MS)
#define MAX_TTL_MS_DEFAULT DAY_MS
#define SESSION_TTL_MS_MAX (365 * DAY_MS)
#define ROTATE_GRACE_MS_MAX HOUR_MS
#define MESSAGE_LEASE_MS_DEFAULT (30 * SECOND_MS)
#define MESSAGE_LEASE_MS_MAX (12 * HOUR_MS)
#define MESSAGE_DELAY_MS_MAX (90 * DAY_MS)
#define RETENTION_MS_DEFAULT (14 * DAY_MS)
#define RETENTION_MS_MAX (365 * DAY_MS)
#define DEDUP_WINDOW_MS_DEFAULT (5 * MINUTE_MS)
#define DEDUP_WINDOW_MS_MAX (7 * DAY_MS)
#define BACKOFF_MS_MAX DAY_MS
#define MAX_ATTEMPTS_DEFAULT 16

/* how long the ended is remembered */
#define SESSION_TOMBSTONE_MS DAY_MS
#define LEASE_TOMBSTONE_MS HOUR_MS
#define IDLE_LOCK_MS DAY_MS
#define IDEMPOTENCY_MS DAY_MS
#define ACK_MEMORY_MS (10 * MINUTE_MS)

/* Versions and fences fit what JSON readers that count in doubles can hold. */
#define VERSION_MAX ((INT64_C(1) << 53) - 1)

/* A restore steps the fence by this much, so that no fence handed out after the backup was taken comes again. Fences
   fit 53 bits: this leaves room for eight million restores. */
#define RESTORE_FENCE_STEP (INT64_C(1) << 30)

#endif
