#include "service/cluster/hosted_state.h"

#include "db/codec.h"
#include "db/snapshot.h"
#include "service/log.h"
#include "service/whole_file.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static void apply_own(struct machine *machine, struct batch *batch)
{
    struct result result;
    for (struct job *job = batch->jobs; job != NULL; job = job->next) {
        machine_apply(machine, job->command, job->arena, job->result);
    }
    if (batch->ticks) {
        machine_apply(machine, &batch->tick, &batch->arena, &result);
    }
}

static bool apply_others(struct machine *machine, struct text entry, struct arena *arena)
{
    struct commands commands;
    struct result result;
    if (!batch_decode(entry, arena, &commands)) {
        return false;
    }
    for (size_t i = 0; i < commands.count; i++) {
        machine_apply(machine, &commands.at[i], arena, &result);
    }
    return true;
}

/*
 * Others lead, and carried this out first. Who waits for messages is told of them by who leads: told here too, and later,
 * it would look in vain.
 */
static void tell_as_follower(struct hosted *hosted, struct events *events)
{
    size_t kept = 0;
    for (size_t i = 0; i < events->count; i++) {
        if (events->at[i].kind != EVENT_READY) {
            events->at[kept++] = events->at[i];
        }
    }
    events->count = kept;
    hosted->hooks.batch_done(hosted->hooks.context, events);
}

static bool store(struct hosted *hosted, struct batch *proposal)
{
    struct machine *machine = hosted->place.machine;
    struct events events = {NULL, 0, 0};
    bool stored = machine_commit(machine, &events) == STATUS_OK;
    atomic_store(&hosted->storage_ok, stored);
    hosted->open = false;
    if (!stored) {
        LOG(LOG_ERROR, "entries-not-stored", LOG_INT("partition", hosted->place.partition),
            LOG_STRING("error", machine_failure(machine)));
    } else {
        hosted_note_state(hosted);
        if (proposal != NULL) {
            proposal->events = events;
        } else {
            tell_as_follower(hosted, &events);
        }
    }
    arena_clear(&hosted->applying);
    machine_tidy(machine);
    return stored;
}

void hosted_give_up(struct hosted *hosted)
{
    if (hosted->open) {
        machine_abandon(hosted->place.machine);
        hosted->open = false;
    }
    arena_clear(&hosted->applying);
}

static bool on_apply(void *context, struct text entry, uint64_t index, uint64_t term,
                     void *proposal, bool later)
{
    struct hosted *hosted = context;
    struct machine *machine = hosted->place.machine;
    struct arena *arena = proposal != NULL ? &((struct batch *)proposal)->arena : &hosted->applying;
    if (!hosted->open) {
        machine_begin(machine, arena);
        hosted->open = true;
    }
    machine_note_entry(machine, (int64_t)index, (int64_t)term);
    if (proposal != NULL) {
        apply_own(machine, proposal);
    } else if (!apply_others(machine, entry, arena)) {
        LOG(LOG_ERROR, "entry-not-understood", LOG_INT("partition", hosted->place.partition),
            LOG_INT("index", (int64_t)index));
        hosted_give_up(hosted);
        return false;
    }
    return later || store(hosted, proposal);
}

static bool on_settle(void *context)
{
    return store(context, NULL);
}

static void on_applied(void *context, uint64_t *ret_index, uint64_t *ret_term)
{
    struct hosted *hosted = context;
    struct counters counters = machine_counters(hosted->place.machine);
    *ret_index = (uint64_t)counters.applied_index;
    *ret_term = (uint64_t)counters.applied_term;
}

/* A file that is not there has nothing to lose. */
static bool sync_if_there(const char *path)
{
    return whole_file_sync(path) || errno == ENOENT;
}

/* The machine writes without syncing: what it has committed is in the log beside the file, or in the file. */
static bool on_sync(void *context)
{
    struct hosted *hosted = context;
    char wal[HOSTED_PATH_BYTES + 8];
    snprintf(wal, sizeof wal, "%s-wal", hosted->database);
    return sync_if_there(wal) && sync_if_there(hosted->database);
}

/* An image is a copy of the file. */
static bool on_image(void *context, void **ret_bytes, size_t *ret_count)
{
    struct hosted *hosted = context;
    char copy[HOSTED_PATH_BYTES + 16], why[SNAPSHOT_WHY_BYTES] = "it cannot be read";
    snprintf(copy, sizeof copy, "%s.image", hosted->database);
    unlink(copy);
    bool made = snapshot_copy(hosted->database, copy, why) == STATUS_OK &&
                whole_file_read(copy, ret_bytes, ret_count);
    unlink(copy);
    if (!made) {
        LOG(LOG_ERROR, "image-not-made", LOG_INT("partition", hosted->place.partition),
            LOG_STRING("error", why));
    }
    return made;
}

static bool on_install(void *context, struct text image)
{
    struct hosted *hosted = context;
    struct snapshot_info info;
    char copy[HOSTED_PATH_BYTES + 16], why[SNAPSHOT_WHY_BYTES] = "it cannot be written";
    snprintf(copy, sizeof copy, "%s.install", hosted->database);
    bool good = whole_file_write(copy, image) && snapshot_look(copy, true, &info, why) == STATUS_OK;
    bool newer = good && info.applied_index > machine_counters(hosted->place.machine).applied_index;
    if (newer) {
        good = machine_install(hosted->place.machine, copy, why) == STATUS_OK && on_sync(hosted);
        hosted_note_state(hosted);
    }
    unlink(copy);
    LOG(good ? LOG_INFO : LOG_ERROR, good ? "image-installed" : "image-not-installed",
        LOG_INT("partition", hosted->place.partition), LOG_INT("bytes", (int64_t)image.len),
        LOG_STRING("error", good ? NULL : why));
    return good;
}

struct replica_machine hosted_machine(struct hosted *hosted)
{
    return (struct replica_machine){hosted,  on_apply, on_settle, on_applied,
                                    on_sync, on_image, on_install};
}
