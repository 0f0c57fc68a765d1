#include "db/schema.h"

#include <stdio.h>

/*
 * Version 1. Integers are milliseconds, counts or enums of result.h; `ended` is 0 while a row is alive.
 *
 * sessions.sweep_ms is when the sweeper next looks at the row: no later than its end, but not moved by each touch,
 * so that a touch writes one page. sessions.data stands last, so that no other column is on an overflow page.
 * locks.sweep_ms is the same for a lock that nobody configured; a lock's id is the revision at which it was first used.
 * The leases of a lock lie together, those in line before those that hold; ended ones are remembered in the order they
 * ended, which is the order they are forgotten in.
 *
 * messages.id is queues.id << 41 | shelf << 40 | sequence: the rows of a queue lie together in the order they were
 * sent, the dead ones on a shelf of their own behind the living. messages.lane is queues.id << 5 | where a living
 * message stands (messages.h), so that one index serves the claim (lane, in order of sending), what is due in a lane,
 * and nothing has to be skipped; the numbers 41, 31 and 17 below are messages.h's too. Bodies past a size lie in
 * `bodies`, so that leasing and acknowledging a message rewrites a short row.
 *
 * queues.wall_due_ms and lease_due_ms are no later than the first instant at which a message of the queue is due, and
 * are only moved by who finds them too early: a busy queue does not touch their indexes. queues.name is NULL where the
 * queue is gone and its messages are yet to be deleted. dedups.queue is queues.born, which no two queues share and a
 * purge keeps. acks holds one bit for each fence.
 */
static const char VERSION_1[] =
    "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), wall_ms INTEGER NOT NULL,"
    "  lease_ms INTEGER NOT NULL, fence INTEGER NOT NULL, revision INTEGER NOT NULL,"
    "  sessions INTEGER NOT NULL, locks INTEGER NOT NULL, held INTEGER NOT NULL,"
    "  waiting INTEGER NOT NULL, ended_leases INTEGER NOT NULL, queues INTEGER NOT NULL, ready "
    "INTEGER NOT NULL,"
    "  delayed INTEGER NOT NULL, leased INTEGER NOT NULL, dead INTEGER NOT NULL,"
    "  idempotency_records INTEGER NOT NULL, expired INTEGER NOT NULL, secret BLOB NOT NULL);"

    "CREATE TABLE sessions (row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, subject TEXT,"
    "  token_hash BLOB, successor TEXT, version INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
    "  last_seen_ms INTEGER NOT NULL, idle_ttl_ms INTEGER NOT NULL, max_ttl_ms INTEGER NOT NULL,"
    "  ended INTEGER NOT NULL, grace_until_ms INTEGER, sweep_ms INTEGER NOT NULL, data TEXT);"
    "CREATE INDEX sessions_by_sweep ON sessions (sweep_ms);"
    "CREATE INDEX sessions_by_subject ON sessions (subject, created_ms)"
    "  WHERE subject IS NOT NULL AND ended = 0;"

    "CREATE TABLE locks (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    "  permit_limit INTEGER NOT NULL, lock_delay_ms INTEGER NOT NULL, configured INTEGER NOT NULL,"
    "  version INTEGER NOT NULL, fence INTEGER NOT NULL, delayed_until_ms INTEGER NOT NULL,"
    "  permits_held INTEGER NOT NULL, holders INTEGER NOT NULL, waiters INTEGER NOT NULL,"
    "  idle_since_ms INTEGER NOT NULL, sweep_ms INTEGER);"
    "CREATE INDEX locks_by_sweep ON locks (sweep_ms) WHERE sweep_ms IS NOT NULL;"
    "CREATE INDEX locks_by_delay ON locks (delayed_until_ms) WHERE delayed_until_ms > 0;"

    "CREATE TABLE leases (lock INTEGER NOT NULL, state INTEGER NOT NULL, lease TEXT NOT NULL,"
    "  seq INTEGER NOT NULL, owner TEXT NOT NULL, session TEXT, metadata TEXT NOT NULL,"
    "  mode INTEGER NOT NULL, permits INTEGER NOT NULL, ttl_ms INTEGER NOT NULL,"
    "  lock_delay_ms INTEGER, request_hash INTEGER NOT NULL, fence INTEGER NOT NULL,"
    "  due_ms INTEGER NOT NULL, collected INTEGER NOT NULL, async INTEGER NOT NULL,"
    "  in_set INTEGER NOT NULL, ticket INTEGER NOT NULL, version INTEGER NOT NULL,"
    "  PRIMARY KEY (lock, state, lease)) WITHOUT ROWID;"
    "CREATE INDEX leases_by_due ON leases (due_ms);"
    "CREATE INDEX leases_by_line ON leases (lock, seq) WHERE state = 0;"
    "CREATE INDEX leases_by_session ON leases (session) WHERE session IS NOT NULL;"
    "CREATE INDEX leases_by_waiting_owner ON leases (owner, lock, seq) WHERE state = 0;"
    "CREATE INDEX leases_by_set ON leases (seq) WHERE in_set = 1;"

    "CREATE TABLE ended_leases (n INTEGER PRIMARY KEY, lock INTEGER NOT NULL, lease TEXT NOT NULL,"
    "  reason INTEGER NOT NULL, reason_text TEXT, drop_ms INTEGER NOT NULL);"
    "CREATE UNIQUE INDEX ended_leases_by_lease ON ended_leases (lock, lease);"

    "CREATE TABLE queues (id INTEGER PRIMARY KEY, name TEXT UNIQUE, born INTEGER NOT NULL,"
    "  version INTEGER NOT NULL, sequence INTEGER NOT NULL, ready INTEGER NOT NULL,"
    "  delayed INTEGER NOT NULL, leased INTEGER NOT NULL, dead INTEGER NOT NULL,"
    "  rate_tokens_milli INTEGER NOT NULL, rate_filled_ms INTEGER NOT NULL,"
    "  wall_due_ms INTEGER, lease_due_ms INTEGER, regroup_id INTEGER,"
    "  config_version INTEGER NOT NULL, created_ms INTEGER NOT NULL, lease_ms INTEGER NOT NULL,"
    "  max_attempts INTEGER NOT NULL, retention_ms INTEGER NOT NULL, delay_ms INTEGER NOT NULL,"
    "  dedup_window_ms INTEGER NOT NULL, max_depth INTEGER NOT NULL,"
    "  backoff_base_ms INTEGER NOT NULL, backoff_factor_milli INTEGER NOT NULL,"
    "  backoff_max_ms INTEGER NOT NULL, rate_per_s INTEGER NOT NULL, rate_burst INTEGER NOT NULL,"
    "  group_concurrency INTEGER NOT NULL, paused INTEGER NOT NULL, dead_letter TEXT NOT NULL);"
    "CREATE INDEX queues_by_wall_due ON queues (wall_due_ms) WHERE wall_due_ms IS NOT NULL;"
    "CREATE INDEX queues_by_lease_due ON queues (lease_due_ms) WHERE lease_due_ms IS NOT NULL;"

    "CREATE TABLE messages (id INTEGER PRIMARY KEY, lane INTEGER, due_ms INTEGER, turn INTEGER,"
    "  fence INTEGER NOT NULL, attempt INTEGER NOT NULL, failures INTEGER NOT NULL,"
    "  priority INTEGER NOT NULL, enqueued_ms INTEGER NOT NULL, expires_ms INTEGER, grp TEXT,"
    "  reason TEXT, consumer TEXT, attributes TEXT, body_bytes INTEGER NOT NULL, body BLOB);"
    "CREATE INDEX messages_by_lane ON messages (lane, due_ms) WHERE lane IS NOT NULL;"
    "CREATE INDEX messages_by_group ON messages (grp, turn) WHERE turn IS NOT NULL;"
    "CREATE INDEX messages_by_expiry ON messages (id >> 41, expires_ms)"
    "  WHERE expires_ms IS NOT NULL AND (lane & 31) <> 17;"
    "CREATE TABLE bodies (id INTEGER PRIMARY KEY, body BLOB NOT NULL);"

    "CREATE TABLE acks (block INTEGER PRIMARY KEY, bits INTEGER NOT NULL, at_ms INTEGER NOT NULL);"
    "CREATE TABLE dedups (queue INTEGER NOT NULL, dedup_id TEXT NOT NULL,"
    "  sequence INTEGER NOT NULL, drop_ms INTEGER NOT NULL, PRIMARY KEY (queue, dedup_id))"
    "  WITHOUT ROWID;"
    "CREATE INDEX dedups_by_drop ON dedups (drop_ms);"

    "CREATE TABLE idempotency (key_hash BLOB PRIMARY KEY, request_hash BLOB NOT NULL,"
    "  result BLOB NOT NULL, sealed BLOB, drop_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX idempotency_by_drop ON idempotency (drop_ms);";

/* Version 2: how far the replicated log is in the state, where there is one. */
static const char VERSION_2[] =
    "ALTER TABLE state ADD COLUMN applied_index INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE state ADD COLUMN applied_term INTEGER NOT NULL DEFAULT 0;";

/*
 * Version 3: queues over several partitions (shards.h). `shard` is which shard of its queue the row is, `spread` how many
 * there are; home_version and home_born, of a shard that is not home, are from what version of the configuration, and of
 * which queue of that name, it takes requests. `keyed`: messages whose shard follows from their group or dedup_id were
 * sent since it was last seen empty; of what an older version wrote that is not known.
 */
static const char VERSION_3[] =
    "ALTER TABLE queues ADD COLUMN shards INTEGER NOT NULL DEFAULT 1;"
    "ALTER TABLE queues ADD COLUMN routing INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE queues ADD COLUMN shard INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE queues ADD COLUMN spread INTEGER NOT NULL DEFAULT 1;"
    "ALTER TABLE queues ADD COLUMN home_version INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE queues ADD COLUMN home_born INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE queues ADD COLUMN keyed INTEGER NOT NULL DEFAULT 1;";

static const char *const STEPS[SCHEMA_VERSION] = {VERSION_1, VERSION_2, VERSION_3};

const char *const schema_tables[] = {"state",        "sessions", "locks",       "leases",
                                     "ended_leases", "queues",   "messages",    "bodies",
                                     "acks",         "dedups",   "idempotency", NULL};

static int64_t stored_version(struct sql *sql)
{
    static const char GET[] = "PRAGMA user_version";
    QUERY(q, sql, GET);
    return query_row(&q) ? col_int(&q, 0) : -1;
}

enum status schema_migrate(struct sql *sql, char ret_why[256])
{
    int64_t version = stored_version(sql);
    if (version > SCHEMA_VERSION) {
        snprintf(ret_why, 256,
                 "the data directory was written by a newer Ringhold (schema %lld, this one knows "
                 "%d); run that version or restore a backup",
                 (long long)version, SCHEMA_VERSION);
        return STATUS_STORAGE_UNAVAILABLE;
    }
    if (version == SCHEMA_VERSION) {
        return STATUS_OK;
    }
    sql_exec(sql, "BEGIN IMMEDIATE");
    for (int64_t step = version < 0 ? 0 : version; step < SCHEMA_VERSION; step++) {
        sql_exec(sql, STEPS[step]);
    }
    char set[64];
    snprintf(set, sizeof set, "PRAGMA user_version = %d", SCHEMA_VERSION);
    sql_exec(sql, set);
    sql_exec(sql, "COMMIT");
    if (sql_failed(sql)) {
        snprintf(ret_why, 256, "cannot bring the database to schema %d: %s", SCHEMA_VERSION,
                 sql_failure(sql));
        return STATUS_STORAGE_UNAVAILABLE;
    }
    return STATUS_OK;
}
