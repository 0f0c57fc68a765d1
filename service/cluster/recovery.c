#include "service/cluster/recovery.h"

#include "db/snapshot.h"
#include "service/backup.h"
#include "service/cluster/board.h"
#include "service/cluster/cluster_files.h"
#include "service/cluster/hosted.h"
#include "service/cluster/identity.h"
#include "service/cluster/member_log.h"
#include "service/cluster/transport.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct recovery {
    struct identity identity;
    char data_dir[CLUSTER_PATH_BYTES];
    uint64_t node;
    struct board *board;
    struct table table;

    struct uvloop *loop;
    struct transport *transport; /* which nobody reaches */
    struct member_log *log;
    struct uvloop_closer closer;
    sem_t over;   /* what is waited for is done */
    bool waiting; /* of two that come between our thread and the loop's, the first counts */
    bool good;    /* how it went */
    char why[256];

    struct partition partition; /* the one that is being done */
    struct hosted_place place;
    struct hosted *hosted;
    struct replica *council;
    struct text entry;
};

static bool fail(char *why, const char *what, const char *words)
{
    snprintf(why, CLUSTER_WHY_BYTES, "%.200s: %.250s", what, words);
    return false;
}

/* ---- on the loop's thread, for ours, which waits ------------------------------------------------------------------ */

struct post {
    struct uvloop_task task;
    struct recovery *recovery;
    void (*run)(struct recovery *recovery);
};

static void run_post(struct uvloop_task *task)
{
    struct post *post = (struct post *)((char *)task - offsetof(struct post, task));
    post->run(post->recovery);
}

static void over(struct recovery *recovery, bool good)
{
    if (recovery->waiting) {
        recovery->waiting = false;
        recovery->good = good;
        sem_post(&recovery->over);
    }
}

static bool wait_over(struct recovery *recovery)
{
    while (sem_wait(&recovery->over) != 0) {
    }
    return recovery->good;
}

/* `run` calls over, perhaps later. */
static bool on_loop(struct recovery *recovery, void (*run)(struct recovery *recovery))
{
    struct post post = {{.run = run_post}, recovery, run};
    recovery->waiting = true;
    return uvloop_post(recovery->loop, &post.task) && wait_over(recovery);
}

static void nothing(void *context)
{
    (void)context;
}

static void close_log(void *context)
{
    struct recovery *recovery = context;
    if (recovery->log != NULL) {
        member_log_close(recovery->log, nothing, NULL);
    }
}

static void close_transport(struct uvloop_closer *closer)
{
    struct recovery *recovery =
        (struct recovery *)((char *)closer - offsetof(struct recovery, closer));
    transport_close(recovery->transport, close_log, recovery);
}

static void open_transport(struct recovery *recovery)
{
    struct transport_config config = {
        .node = recovery->node,
        .secret = {(const char *)recovery->identity.seed, sizeof recovery->identity.seed}};
    bool opened =
        transport_open(uvloop_uv(recovery->loop), &config, &recovery->transport, recovery->why);
    if (opened) {
        recovery->closer.close = close_transport;
        uvloop_on_stop(recovery->loop, &recovery->closer);
        opened = member_log_open(uvloop_uv(recovery->loop), recovery->data_dir, &recovery->log,
                                 recovery->why);
    }
    over(recovery, opened);
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static bool find(struct recovery *recovery, char *why)
{
    char path[CLUSTER_FILE_BYTES];
    enum identity_found found = identity_read(recovery->data_dir, &recovery->identity, why);
    if (found == IDENTITY_NONE) {
        return fail(why, recovery->data_dir, "this is no cluster member's data directory");
    }
    if (identity_marked(recovery->data_dir, MARK_LEFT)) {
        return fail(why, recovery->data_dir, "this member was taken out of its cluster");
    }
    cluster_table_path(recovery->data_dir, path);
    recovery->board = found == IDENTITY_THERE ? board_open(path, recovery->why) : NULL;
    if (found == IDENTITY_BROKEN || recovery->board == NULL) {
        return found != IDENTITY_BROKEN && fail(why, path, recovery->why);
    }
    if (!board_copy(recovery->board, &recovery->table) ||
        table_find(&recovery->table, recovery->node) < 0) {
        return fail(why, path, "this member never came so far as to know its cluster");
    }
    return true;
}

bool recovery_open(const char *data_dir, uint64_t node, struct recovery **ret,
                   char ret_why[CLUSTER_WHY_BYTES])
{
    struct recovery *recovery = calloc(1, sizeof *recovery);
    snprintf(ret_why, CLUSTER_WHY_BYTES, "out of memory");
    if (recovery == NULL) {
        return false;
    }
    recovery->node = node;
    snprintf(recovery->data_dir, sizeof recovery->data_dir, "%s", data_dir);
    sem_init(&recovery->over, 0, 0);
    if (!find(recovery, ret_why) || uvloop_start(&recovery->loop) != STATUS_OK ||
        (!on_loop(recovery, open_transport) && !fail(ret_why, data_dir, recovery->why))) {
        recovery_close(recovery);
        return false;
    }
    *ret = recovery;
    return true;
}

void recovery_close(struct recovery *recovery)
{
    if (recovery == NULL) {
        return;
    }
    if (recovery->loop != NULL) {
        uvloop_stop(recovery->loop);
        uvloop_free(recovery->loop);
    }
    board_close(recovery->board);
    sem_destroy(&recovery->over);
    free(recovery);
}

const struct table *recovery_table(const struct recovery *recovery)
{
    return &recovery->table;
}

/* ---- looking ------------------------------------------------------------------------------------------------------ */

bool recovery_look(struct recovery *recovery, unsigned partition, struct recovered *ret,
                   char ret_why[CLUSTER_WHY_BYTES])
{
    char database[CLUSTER_FILE_BYTES], words[SNAPSHOT_WHY_BYTES];
    struct snapshot_info info = {0};
    cluster_database_path(recovery->data_dir, partition, "", database);
    bool there = access(database, F_OK) == 0;
    if (there && snapshot_look(database, false, &info, words) != STATUS_OK) {
        return fail(ret_why, database, words);
    }
    bool begun = member_log_begun(recovery->log, partition + 1);
    if (!begun && info.applied_index > 0) {
        return fail(ret_why, database,
                    "the log of this state is gone, and without it nothing is sure");
    }
    *ret = (struct recovered){begun, (uint64_t)info.applied_index, info.wall_ms};
    return true;
}

/* ---- a partition -------------------------------------------------------------------------------------------------- */

static void on_batch_done(void *context, const struct events *events)
{
    (void)context;
    (void)events;
}

static void on_leader(void *context, int64_t partition, uint64_t leader)
{
    (void)context;
    (void)partition;
    (void)leader;
}

static void on_led(void *context, int64_t partition, bool leads)
{
    (void)partition;
    if (leads) {
        over(context, true);
    }
}

static void on_stopped(void *context, int64_t partition, const char *words)
{
    struct recovery *recovery = context;
    (void)partition;
    snprintf(recovery->why, sizeof recovery->why, "%s", words);
    over(recovery, false);
}

/* Over when it leads, and so has applied all that its log has. */
static void open_hosted(struct recovery *recovery)
{
    struct hosted_hooks hooks = {on_batch_done, on_leader, on_led, on_stopped, recovery};
    if (!hosted_open(recovery->loop, recovery->transport, &recovery->place, hooks,
                     &recovery->hosted, recovery->why)) {
        recovery->hosted = NULL;
        over(recovery, false);
    }
}

static void on_closed(void *context)
{
    over(context, true);
}

static void close_hosted(struct recovery *recovery)
{
    hosted_close(recovery->hosted, on_closed, recovery);
}

struct stepping {
    struct job job;
    struct recovery *recovery;
};

static void on_stepped(struct job *job)
{
    struct stepping *stepping = (struct stepping *)((char *)job - offsetof(struct stepping, job));
    over(stepping->recovery, status_is_ok(job->result->status));
}

/* None that was handed out by the others comes again; of a partition that is gone altogether, none that ever was. */
static bool step_fence(struct recovery *recovery, int64_t now_ms, int64_t wall_ms)
{
    struct arena arena = ARENA_EMPTY;
    struct result result;
    struct command command = {.kind = COMMAND_FENCE_STEP,
                              .fence_step = {.by = backup_fence_step(now_ms, wall_ms)}};
    struct stepping stepping = {
        .job = {.command = &command, .arena = &arena, .result = &result, .done = on_stepped},
        .recovery = recovery};
    recovery->waiting = true;
    bool stepped =
        hosted_submit(recovery->hosted, &stepping.job) == STATUS_OK && wait_over(recovery);
    snprintf(recovery->why, sizeof recovery->why, "its fence cannot be stepped up");
    arena_free(&arena);
    return stepped;
}

static bool host(struct recovery *recovery, int64_t now_ms, struct recovered *ret)
{
    if (!on_loop(recovery, open_hosted)) {
        return false;
    }
    struct counters counters = hosted_counters(recovery->hosted);
    *ret = (struct recovered){recovery->place.alone, (uint64_t)counters.applied_index,
                              counters.wall_ms};
    return step_fence(recovery, now_ms, counters.wall_ms);
}

/* On a partition that is open. */
static bool do_partition(struct recovery *recovery, int64_t now_ms, struct recovered *ret)
{
    struct partition *partition = &recovery->partition;
    recovery->place = (struct hosted_place){.partition = partition->id,
                                            .node = recovery->node,
                                            .database = partition->database,
                                            .log = recovery->log,
                                            .machine = partition->machine,
                                            .clock = &partition->clock,
                                            .founds = !ret->here,
                                            .alone = ret->here};
    recovery->hosted = NULL;
    bool done = host(recovery, now_ms, ret);
    if (recovery->hosted != NULL) {
        (void)on_loop(recovery, close_hosted);
    }
    return done;
}

bool recovery_do(struct recovery *recovery, unsigned partition, int64_t now_ms,
                 struct recovered *ret, char ret_why[CLUSTER_WHY_BYTES])
{
    char database[CLUSTER_FILE_BYTES];
    /* Half done it must not serve: what is done could meet those whom it has cut off. */
    if (!identity_mark(recovery->data_dir, MARK_RECOVERING, true, ret_why)) {
        return false;
    }
    struct partition_options options = {.check_integrity = true, .seed = recovery->identity.seed};
    if (!recovery_look(recovery, partition, ret, ret_why)) {
        return false;
    }
    cluster_database_path(recovery->data_dir, partition, "", database);
    partition_make(&recovery->partition, partition, true);
    bool opened = partition_open(&recovery->partition, database, options, recovery->why);
    bool done = opened && do_partition(recovery, now_ms, ret);
    if (opened) {
        partition_close(&recovery->partition);
    }
    partition_unmake(&recovery->partition);
    return done || fail(ret_why, database, recovery->why);
}

/* ---- group 0, and the identity ------------------------------------------------------------------------------------ */

static void on_council_changed(void *context, const struct replica_status *status)
{
    struct recovery *recovery = context;
    if (status->ready) {
        over(recovery, true);
    }
}

static void on_council_stopped(void *context, const char *words)
{
    on_stopped(context, 0, words);
}

static void open_council(struct recovery *recovery)
{
    struct replica_config config = {.node = recovery->node,
                                    .log = recovery->log,
                                    .machine = board_machine(recovery->board),
                                    .hooks = {on_council_changed, on_council_stopped, recovery},
                                    .alone = true};
    if (!replica_open(uvloop_uv(recovery->loop), recovery->transport, &config, &recovery->council,
                      recovery->why)) {
        over(recovery, false);
    }
}

static void close_council(struct recovery *recovery)
{
    replica_close(recovery->council, on_closed, recovery);
}

static void on_proposed(void *context, enum replica_outcome outcome)
{
    struct recovery *recovery = context;
    over(recovery, outcome == REPLICA_COMMITTED && board_refusal(recovery->board) == NULL);
}

static void propose(struct recovery *recovery)
{
    if (replica_propose(recovery->council, recovery->entry, recovery, on_proposed) !=
        REPLICA_PENDING) {
        over(recovery, false);
    }
}

static bool write_table(struct recovery *recovery, const unsigned char *uuid)
{
    struct arena arena = ARENA_EMPTY;
    struct table *table = arena_alloc(&arena, sizeof *table);
    snprintf(recovery->why, sizeof recovery->why, "the new table cannot be written");
    /* What stood in the log behind the table is in it now. */
    bool good = table != NULL && board_copy(recovery->board, &recovery->table) &&
                table_find(&recovery->table, recovery->node) >= 0;
    if (good) {
        table_recover(&recovery->table, uuid, recovery->node, table);
        recovery->entry = board_recovered(table, &arena);
        good = text_given(recovery->entry) && on_loop(recovery, propose);
    }
    arena_free(&arena);
    return good;
}

bool recovery_finish(struct recovery *recovery, char ret_why[CLUSTER_WHY_BYTES])
{
    struct identity identity = recovery->identity;
    unsigned char seed[CLUSTER_SEED_BYTES]; /* theirs is kept: receipts go on to be good */
    if (!identity_make(identity.uuid, seed, ret_why)) {
        return false;
    }
    bool opened = on_loop(recovery, open_council);
    bool written = opened && write_table(recovery, identity.uuid);
    if (recovery->council != NULL) {
        (void)on_loop(recovery, close_council);
    }
    if (!written) {
        return fail(ret_why, recovery->data_dir, recovery->why);
    }
    return identity_write(recovery->data_dir, &identity, ret_why) &&
           identity_keep_place(recovery->data_dir, ret_why) &&
           identity_mark(recovery->data_dir, MARK_RECOVERING, false, ret_why);
}
