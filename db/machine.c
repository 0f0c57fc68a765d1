#include "db/machine.h"

#include "db/aggregates.h"
#include "db/codec.h"
#include "db/dispatch.h"
#include "db/idempotency.h"
#include "db/locks.h"
#include "db/queues.h"
#include "db/schema.h"
#include "db/session_cache.h"
#include "db/session_memo.h"
#include "db/sessions.h"
#include "db/snapshot.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

/* A longer WAL begins anew when it can, twice as long a one at once. */
enum { WAL_PAGES_MAX = 16 * 1024 };

struct machine {
    struct sql *sql;
    struct counters counters;  /* as of the command being carried out */
    struct counters committed; /* as of the last commit: what a rollback returns to */
    struct due due;
    struct events events; /* of the batch that is open */
    struct arena *batch;
    char failure[256];
    _Atomic int64_t wal_pages;
    _Atomic bool moved; /* a reader has, but for what was committed meanwhile */
    struct session_cache *cache;
    struct session_memo *memo;
    char secret[32];
};
struct reader {
    struct sql *sql;
    struct machine *machine;     /* or NULL */
    struct session_cache *cache; /* the machine's, or NULL */
};

/* ---- opening ------------------------------------------------------------------------------------------------------ */

#define COUNTER_AS_COLUMN(name) #name ","

static bool load_state(struct machine *machine)
{
    static const char GET[] = "SELECT " COUNTER_TABLE(COUNTER_AS_COLUMN) " secret FROM state";
    QUERY(q, machine->sql, GET);
    if (!query_row(&q)) {
        return false;
    }
    int column = 0;
#define COUNTER_LOAD(name) machine->counters.name = col_int(&q, column++);
    COUNTER_TABLE(COUNTER_LOAD)
#undef COUNTER_LOAD
    struct text secret = col_borrow(&q, column);
    if (secret.len == sizeof machine->secret) {
        memcpy(machine->secret, secret.at, sizeof machine->secret);
    }
    return secret.len == sizeof machine->secret;
}

static void make_state(struct machine *machine, const unsigned char seed[32])
{
#define COUNTER_AS_ZERO(name) "0,"
    static const char MAKE[] = "INSERT INTO state (" COUNTER_TABLE(
        COUNTER_AS_COLUMN) " secret, id)"
                           " VALUES (" COUNTER_TABLE(COUNTER_AS_ZERO) " ?1, 1)";
#undef COUNTER_AS_ZERO
    QUERY(q, machine->sql, MAKE);
    bind_blob(&q, (struct text){(const char *)seed, 32});
    query_run(&q);
}

static enum status check_integrity_of(struct sql *sql, char ret_why[256])
{
    static const char CHECK[] = "PRAGMA quick_check(1)";
    QUERY(q, sql, CHECK);
    if (query_row(&q) && text_equal(col_borrow(&q, 0), TEXT("ok"))) {
        return STATUS_OK;
    }
    struct text found = sql_failed(sql) ? text_of(sql_failure(sql)) : col_borrow(&q, 0);
    snprintf(ret_why, 256, "the database is damaged (%.*s); restore a backup",
             (int)(found.len < 150 ? found.len : 150), found.at);
    return STATUS_STORAGE_UNAVAILABLE;
}

/* SQLite tells the length of the WAL after each commit. */
static int note_wal(void *machine, struct sqlite3 *handle, const char *name, int pages)
{
    (void)handle;
    (void)name;
    ((struct machine *)machine)->wal_pages = pages;
    return SQLITE_OK;
}

static enum status load(struct machine *machine, bool check_integrity, const unsigned char seed[32],
                        char ret_why[256])
{
    enum status status = schema_migrate(machine->sql, ret_why);
    if (status == STATUS_OK && check_integrity) {
        status = check_integrity_of(machine->sql, ret_why);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (!load_state(machine)) {
        if (seed != NULL) {
            make_state(machine, seed);
        }
        if (!load_state(machine)) {
            snprintf(ret_why, 256, "cannot read the state: %s", sql_failure(machine->sql));
            return STATUS_STORAGE_UNAVAILABLE;
        }
    }
    sqlite3_wal_hook(sql_handle(machine->sql), note_wal, machine);
    machine->committed = machine->counters;
    machine->due = (struct due){0, 0}; /* the first TICK finds out */
    return STATUS_OK;
}

enum status machine_open(const char *path, enum storage storage, bool check_integrity,
                         const unsigned char seed[32], struct machine **ret, char ret_why[256])
{
    struct machine *machine = calloc(1, sizeof *machine);
    if (machine == NULL) {
        snprintf(ret_why, 256, "out of memory");
        return STATUS_OUT_OF_MEMORY;
    }
    machine->cache = session_cache_make(SESSION_CACHE_BYTES);
    machine->memo = session_memo_make();
    enum status status = sql_open(path, storage, &machine->sql, ret_why);
    if (machine->cache == NULL || machine->memo == NULL) {
        snprintf(ret_why, 256, "out of memory");
        status = STATUS_OUT_OF_MEMORY;
    }
    if (status == STATUS_OK) {
        status = load(machine, check_integrity, seed, ret_why);
    }
    if (status != STATUS_OK) {
        machine_close(machine);
        return status;
    }
    *ret = machine;
    return STATUS_OK;
}

void machine_close(struct machine *machine)
{
    if (machine == NULL) {
        return;
    }
    sql_close(machine->sql);
    session_cache_free(machine->cache);
    session_memo_free(machine->memo);
    free(machine);
}

/* ---- a batch ------------------------------------------------------------------------------------------------------ */

static const char BEGIN_WRITE[] = "BEGIN IMMEDIATE";
static const char BEGIN_READ[] = "BEGIN";
static const char COMMIT[] = "COMMIT";

void machine_begin(struct machine *machine, struct arena *arena)
{
    machine->batch = arena;
    machine->events = (struct events){NULL, 0, 0};
    sql_run(machine->sql, BEGIN_WRITE);
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Neither clock goes back: what the state has seen stays seen. */
static struct stamp advance(struct counters *counters, struct stamp given)
{
    counters->wall_ms = later(counters->wall_ms, given.now_ms);
    counters->lease_ms = later(counters->lease_ms, given.lease_now_ms);
    return (struct stamp){counters->wall_ms, counters->lease_ms};
}

static void carry_out(struct txn *txn, const struct command *command, struct result *result)
{
    const struct idempotency *key = &command->idempotency;
    *result = (struct result){.status = STATUS_OK, .stamp = txn->now};
    if (text_given(key->key_hash) && idempotency_replay(txn, key, result)) {
        return;
    }
    dispatch(txn, command, result);
    if (text_given(key->key_hash)) {
        idempotency_keep(txn, command, result);
    }
}

void machine_apply(struct machine *machine, const struct command *command, struct arena *arena,
                   struct result *result)
{
    struct txn txn = {.sql = machine->sql,
                      .memo = machine->memo,
                      .arena = arena,
                      .now = advance(&machine->counters, command->stamp),
                      .counters = &machine->counters,
                      .due = &machine->due,
                      .events = &machine->events,
                      .events_arena = machine->batch};
    carry_out(&txn, command, result);
    if (arena->exhausted) {
        /* What was written may be half of a command: the whole batch is given up. */
        result->status = STATUS_OUT_OF_MEMORY;
        sql_fail(machine->sql, "out of memory");
    }
}

void machine_note_entry(struct machine *machine, int64_t index, int64_t term)
{
    assert(index > machine->counters.applied_index && term >= machine->counters.applied_term);
    machine->counters.applied_index = index;
    machine->counters.applied_term = term;
}

static void store_state(struct machine *machine)
{
    if (memcmp(&machine->counters, &machine->committed, sizeof machine->counters) == 0) {
        return;
    }
/* The row is named: an update of all rows would make SQLite list them in a table of its own first, at each commit. */
#define COUNTER_AS_SET(name) #name " = ?,"
    static const char SET[] =
        "UPDATE state SET " COUNTER_TABLE(COUNTER_AS_SET) " secret = secret WHERE id = 1";
#undef COUNTER_AS_SET
    QUERY(q, machine->sql, SET);
#define COUNTER_BIND(name) bind_int(&q, machine->counters.name);
    COUNTER_TABLE(COUNTER_BIND)
#undef COUNTER_BIND
    query_run(&q);
}

static void roll_back(struct machine *machine)
{
    snprintf(machine->failure, sizeof machine->failure, "%s", sql_failure(machine->sql));
    sql_undo(machine->sql);
    session_memo_clear(machine->memo);
    machine->counters = machine->committed;
    machine->due =
        (struct due){0, 0}; /* what the lost batch said is void: the next TICK finds out */
    machine->events = (struct events){NULL, 0, 0};
}

/* Calls the cache for each session that the batch has written. */
static void for_sessions(const struct machine *machine,
                         void (*call)(struct session_cache *cache, struct text id))
{
    for (size_t i = 0; i < machine->events.count; i++) {
        const struct event *event = &machine->events.at[i];
        if (event->kind == EVENT_SESSION || event->kind == EVENT_RENEWED) {
            call(machine->cache, event->name);
        }
    }
}

enum status machine_commit(struct machine *machine, struct events *ret_events)
{
    store_state(machine);
    for_sessions(machine, session_cache_close);
    sql_run(machine->sql, COMMIT);
    for_sessions(machine, session_cache_open);
    if (sql_failed(machine->sql)) {
        roll_back(machine);
        return STATUS_STORAGE_UNAVAILABLE;
    }
    machine->committed = machine->counters;
    *ret_events = machine->events;
    return STATUS_OK;
}

void machine_abandon(struct machine *machine)
{
    roll_back(machine);
}

const char *machine_failure(const struct machine *machine)
{
    return machine->failure;
}

struct due machine_due(const struct machine *machine)
{
    return machine->due;
}

struct counters machine_counters(const struct machine *machine)
{
    return machine->committed;
}

struct text machine_secret(const struct machine *machine)
{
    return (struct text){machine->secret, sizeof machine->secret};
}

enum status machine_install(struct machine *machine, const char *path, char ret_why[256])
{
    struct snapshot_info info;
    enum status status = snapshot_look(path, true, &info, ret_why);
    if (status == STATUS_OK) {
        status = snapshot_copy_into(path, sql_handle(machine->sql), ret_why);
    }
    if (status != STATUS_OK) {
        return status;
    }
    session_cache_clear(machine->cache);
    session_memo_clear(machine->memo);
    return load(machine, false, NULL, ret_why);
}

/* ---- looking at the whole ----------------------------------------------------------------------------------------- */

static void hash_column(XXH3_state_t *hash, sqlite3_stmt *row, int column)
{
    int type = sqlite3_column_type(row, column);
    int bytes = 0;
    XXH3_64bits_update(hash, &type, sizeof type);
    if (type == SQLITE_INTEGER) {
        int64_t n = sqlite3_column_int64(row, column);
        XXH3_64bits_update(hash, &n, sizeof n);
    } else if (type != SQLITE_NULL) {
        const void *at = sqlite3_column_blob(row, column);
        bytes = sqlite3_column_bytes(row, column);
        XXH3_64bits_update(hash, &bytes, sizeof bytes);
        XXH3_64bits_update(hash, at, (size_t)bytes);
    }
}

static void hash_table(struct machine *machine, const char *table, XXH3_state_t *hash)
{
    char select[128];
    snprintf(select, sizeof select, "SELECT * FROM %s ORDER BY 1, 2", table);
    sqlite3_stmt *rows = NULL;
    if (sqlite3_prepare_v2(sql_handle(machine->sql), select, -1, &rows, NULL) != SQLITE_OK) {
        return;
    }
    while (sqlite3_step(rows) == SQLITE_ROW) {
        for (int column = 0; column < sqlite3_column_count(rows); column++) {
            hash_column(hash, rows, column);
        }
    }
    sqlite3_finalize(rows);
}

uint64_t machine_hash(struct machine *machine)
{
    XXH3_state_t *hash = XXH3_createState();
    if (hash == NULL) {
        return 0;
    }
    XXH3_64bits_reset(hash);
    for (size_t i = 0; schema_tables[i] != NULL; i++) {
        hash_table(machine, schema_tables[i], hash);
    }
    uint64_t sum = XXH3_64bits_digest(hash);
    XXH3_freeState(hash);
    return sum;
}

const char *machine_sanity(struct machine *machine, struct arena *arena)
{
    struct events events = {NULL, 0, 0};
    struct due due = DUE_NEVER;
    struct txn txn = {.sql = machine->sql,
                      .arena = arena,
                      .now = {machine->counters.wall_ms, machine->counters.lease_ms},
                      .counters = &machine->counters,
                      .due = &due,
                      .events = &events,
                      .events_arena = arena};
    const char *wrong = sessions_sanity(&txn);
    wrong = wrong != NULL ? wrong : locks_sanity(&txn);
    return wrong != NULL ? wrong : queues_sanity(&txn);
}

int64_t machine_checkpoint(struct machine *machine)
{
    int64_t left = sql_checkpoint(machine->sql);
    machine->wal_pages = left > 0 ? left : 0;
    return left;
}

int64_t machine_wal_pages(const struct machine *machine)
{
    return machine->wal_pages;
}

void machine_tidy(struct machine *machine)
{
    bool moved = machine->moved; /* one that is overlooked comes again */
    machine->moved = false;
    if (machine->wal_pages > (moved ? WAL_PAGES_MAX : 2 * WAL_PAGES_MAX)) {
        machine_checkpoint(machine);
    }
}

/* ---- reading beside it -------------------------------------------------------------------------------------------- */

enum status reader_open(const char *path, struct machine *machine, struct reader **ret,
                        char ret_why[256])
{
    struct reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        snprintf(ret_why, 256, "out of memory");
        return STATUS_OUT_OF_MEMORY;
    }
    enum status status = sql_open_reader(path, &reader->sql, ret_why);
    if (status != STATUS_OK) {
        free(reader);
        return status;
    }
    reader->machine = machine;
    reader->cache = machine == NULL ? NULL : machine->cache;
    *ret = reader;
    return STATUS_OK;
}

void reader_close(struct reader *reader)
{
    if (reader != NULL) {
        sql_close(reader->sql);
        free(reader);
    }
}

int64_t reader_checkpoint(struct reader *reader)
{
    int64_t left = sql_checkpoint(reader->sql);
    if (left == 0 && reader->machine != NULL) {
        reader->machine->moved = true;
    }
    return left;
}

/* Pages that a read had to fetch, in bytes: what warming has cost so far. */
static int64_t fetched_bytes(struct sql *sql)
{
    int misses = 0, high = 0;
    sqlite3_db_status(sql_handle(sql), SQLITE_DBSTATUS_CACHE_MISS, &misses, &high, 0);
    return (int64_t)misses * PAGE_BYTES;
}

int64_t reader_warm(struct reader *reader, int64_t bytes_max, bool (*enough)(void *context),
                    void *context)
{
    enum { ROWS_BETWEEN_LOOKS = 64 };
    static const char *const HOT[] = {
        "SELECT id FROM locks ORDER BY name",
        "SELECT due_ms FROM leases ORDER BY due_ms",
        "SELECT name FROM queues ORDER BY name",
        "SELECT row FROM sessions ORDER BY id",
        "SELECT length(data) FROM sessions ORDER BY row DESC",
        "SELECT length(body) FROM messages ORDER BY id",
    };
    for (size_t i = 0; i < sizeof HOT / sizeof HOT[0]; i++) {
        QUERY(q, reader->sql, HOT[i]);
        for (int64_t rows = 1; query_row(&q); rows++) {
            if (rows % ROWS_BETWEEN_LOOKS == 0 &&
                (fetched_bytes(reader->sql) >= bytes_max || enough(context))) {
                return fetched_bytes(reader->sql);
            }
        }
    }
    sql_clear_failure(
        reader->sql); /* a page that cannot be read now is met again by who needs it */
    return fetched_bytes(reader->sql);
}

static void run_read(struct reader *reader, const struct command *command, struct arena *arena,
                     struct result *result)
{
    struct counters counters = {0};
    struct due due = {0, 0}; /* what is due is not known here: anything may be */
    struct events events = {NULL, 0, 0};
    struct txn txn = {.sql = reader->sql,
                      .arena = arena,
                      .now = command->stamp,
                      .counters = &counters,
                      .due = &due,
                      .events = &events,
                      .events_arena = arena};
    *result = (struct result){.status = STATUS_OK, .stamp = command->stamp};
    sql_run(reader->sql, BEGIN_READ);
    dispatch(&txn, command, result);
    sql_run(reader->sql, COMMIT);
    if (sql_failed(reader->sql)) {
        sql_undo(reader->sql);
        *result = (struct result){.status = STATUS_STORAGE_UNAVAILABLE, .stamp = command->stamp};
    } else if (arena->exhausted) {
        *result = (struct result){.status = STATUS_OUT_OF_MEMORY, .stamp = command->stamp};
    }
}

/* A session that is in the cache, and alive at that instant. */
static bool read_from_cache(struct reader *reader, const struct command *command,
                            struct arena *arena, struct result *result, uint64_t *ret_ticket)
{
    struct session_view *session = &result->session;
    *result = (struct result){.status = STATUS_OK, .shape = SHAPE_SESSION, .stamp = command->stamp};
    return session_cache_get(reader->cache, command->session_get.id, arena, session, ret_ticket) &&
           session->expires_at_ms > command->stamp.now_ms && !arena->exhausted;
}

void reader_read(struct reader *reader, const struct command *command, struct arena *arena,
                 struct result *result)
{
    uint64_t ticket;
    bool cached = reader->cache != NULL && command->kind == COMMAND_SESSION_GET;
    if (cached && read_from_cache(reader, command, arena, result, &ticket)) {
        return;
    }
    run_read(reader, command, arena, result);
    /* An old id that still leads to its successor is answered with the successor's: that is kept under no name. */
    if (cached && result->status == STATUS_OK && result->shape == SHAPE_SESSION &&
        text_equal(result->session.id, command->session_get.id)) {
        session_cache_put(reader->cache, &result->session, ticket);
    }
}
