/*
 * A node of nothing but replicas, for tests that kill it:
 *
 *     cluster-node NODE NODES PORT_OF_NODE_1 GROUPS DIR [idle]
 *
 * Node k listens on PORT_OF_NODE_1 + k - 1; all of the first NODES found every group. A group's state is the file
 * DIR/state-GROUP, a line "index term entry" for each entry. Unless idle, whoever leads proposes all the time, and writes
 * each entry that was committed to DIR/acked, which is flushed before the next is proposed. A line on stdout tells of each
 * leadership that is ready: "leads GROUP TERM MILLISECONDS".
 */
#include "db/limits.h"
#include "service/cluster/member_log.h"
#include "service/cluster/replica.h"
#include "service/cluster/transport.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum { GROUPS_MAX = 257, PATH_BYTES = 256, LINE_BYTES = 128, IN_FLIGHT = 4 };

struct group {
    int id;
    char path[PATH_BYTES];
    int fd;
    uint64_t index, term;
    struct replica *replica;
    bool ready;
    int in_flight;
};

static struct {
    uv_loop_t loop;
    struct transport *transport;
    struct member_log *log;
    uint64_t node, next;
    int groups, acked, left;
    bool idle;
    struct group group[GROUPS_MAX];
} here;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the state of a group ----------------------------------------------------------------------------------------- */

static void open_state(struct group *group)
{
    char line[LINE_BYTES];
    group->index = group->term = 0;
    group->fd = open(group->path, O_CREAT | O_RDWR | O_APPEND, 0600);
    assert(group->fd >= 0);
    FILE *file = fdopen(dup(group->fd), "r");
    off_t whole = 0;
    rewind(file);
    while (fgets(line, sizeof line, file) != NULL && strchr(line, '\n') != NULL) {
        sscanf(line, "%" SCNu64 " %" SCNu64, &group->index, &group->term);
        whole += (off_t)strlen(line);
    }
    fclose(file);
    if (ftruncate(group->fd, whole) != 0) { /* the last line was cut short by a kill */
        abort();
    }
}

static bool apply(void *context, struct text entry, uint64_t index, uint64_t term, void *proposal,
                  bool later)
{
    struct group *group = context;
    char line[LINE_BYTES];
    (void)proposal, (void)later;
    int bytes = snprintf(line, sizeof line, "%" PRIu64 " %" PRIu64 " %.*s\n", index, term,
                         (int)entry.len, entry.at);
    if (write(group->fd, line, (size_t)bytes) != bytes) {
        return false;
    }
    group->index = index;
    group->term = term;
    return true;
}

static void applied(void *context, uint64_t *ret_index, uint64_t *ret_term)
{
    const struct group *group = context;
    *ret_index = group->index;
    *ret_term = group->term;
}

static bool sync_state(void *context)
{
    const struct group *group = context;
    return fdatasync(group->fd) == 0;
}

static bool image(void *context, void **ret_bytes, size_t *ret_count)
{
    const struct group *group = context;
    struct stat stat;
    if (fstat(group->fd, &stat) != 0) {
        return false;
    }
    *ret_bytes = malloc((size_t)stat.st_size + 1);
    ssize_t got = pread(group->fd, *ret_bytes, (size_t)stat.st_size, 0);
    *ret_count = got > 0 ? (size_t)got : 0;
    return got >= 0;
}

/* An image is never older here: nobody goes back. */
static bool install(void *context, struct text bytes)
{
    struct group *group = context;
    char path[PATH_BYTES + 8];
    snprintf(path, sizeof path, "%s.new", group->path);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    bool good = fd >= 0 && write(fd, bytes.at, bytes.len) == (ssize_t)bytes.len && fsync(fd) == 0;
    close(fd);
    if (!good || rename(path, group->path) != 0) {
        return false;
    }
    close(group->fd);
    open_state(group);
    return true;
}

/* ---- load --------------------------------------------------------------------------------------------------------- */

static void propose(struct group *group);

struct shot {
    struct group *group;
    char entry[64];
};

static void over(void *proposal, enum replica_outcome outcome)
{
    struct shot *shot = proposal;
    struct group *group = shot->group;
    if (outcome == REPLICA_COMMITTED) {
        dprintf(here.acked, "%d %s\n", group->id, shot->entry);
    }
    free(shot);
    group->in_flight--;
    propose(group);
}

static void propose(struct group *group)
{
    while (!here.idle && group->ready && group->in_flight < IN_FLIGHT) {
        struct shot *shot = malloc(sizeof *shot);
        shot->group = group;
        snprintf(shot->entry, sizeof shot->entry, "%" PRIu64 "-%" PRIu64, here.node, here.next++);
        if (replica_propose(group->replica, text_of(shot->entry), shot, over) != REPLICA_PENDING) {
            free(shot);
            return;
        }
        group->in_flight++;
    }
}

static void changed(void *context, const struct replica_status *status)
{
    struct group *group = context;
    if (status->ready && !group->ready) {
        dprintf(STDOUT_FILENO, "leads %d %" PRIu64 " %" PRId64 "\n", group->id, status->term,
                now_ms());
    }
    group->ready = status->ready;
    propose(group);
}

static void again(uv_timer_t *timer)
{
    (void)timer;
    for (int g = 0; g < here.groups; g++) {
        propose(&here.group[g]);
    }
}

static void stopped(void *context, const char *why)
{
    const struct group *group = context;
    dprintf(STDOUT_FILENO, "stopped %d %s\n", group->id, why);
    abort();
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

static void transport_gone(void *context)
{
    (void)context;
    _exit(0);
}

static void replica_gone(void *context)
{
    (void)context;
    if (--here.left == 0) {
        transport_close(here.transport, transport_gone, NULL);
    }
}

static void terminate(uv_signal_t *signal, int number)
{
    (void)number;
    uv_signal_stop(signal);
    here.idle = true;
    here.left = here.groups;
    for (int g = 0; g < here.groups; g++) {
        replica_close(here.group[g].replica, replica_gone, NULL);
    }
}

static void open_group(int id, const char *dir, const uint64_t *founders, int founder_count)
{
    struct group *group = &here.group[id];
    char why[256];
    group->id = id;
    snprintf(group->path, sizeof group->path, "%s/state-%d", dir, id);
    open_state(group);
    struct replica_config config = {
        .group = (uint64_t)id,
        .node = here.node,
        .log = here.log,
        .machine = {.context = group,
                    .apply = apply,
                    .applied = applied,
                    .sync = sync_state,
                    .image = image,
                    .install = install},
        .hooks = {changed, stopped, group},
        .founders = founders,
        .founder_count = founder_count,
        .log_entries = 200}; /* so that logs are cut, and images sent, within a short test */
    if (!replica_open(&here.loop, here.transport, &config, &group->replica, why)) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        return 2;
    }
    int nodes = atoi(argv[2]), port = atoi(argv[3]);
    char path[PATH_BYTES], why[256];
    uint64_t founders[NODES_MAX];
    uv_timer_t timer;
    uv_signal_t signal_watch;
    here.node = (uint64_t)atoi(argv[1]);
    here.groups = atoi(argv[4]);
    here.idle = argc > 6;
    here.next = (uint64_t)now_ms() * 1000000; /* unlike before a restart */
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&here.loop);
    snprintf(path, sizeof path, "%s/acked", argv[5]);
    here.acked = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);
    struct transport_config config = {.cluster = "cluster of tests",
                                      .node = here.node,
                                      .secret = TEXT("a secret of the tests, long enough"),
                                      .address = "127.0.0.1",
                                      .port = (uint16_t)(port + (int)here.node - 1)};
    if (!transport_open(&here.loop, &config, &here.transport, why)) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    for (int i = 0; i < nodes; i++) {
        founders[i] = (uint64_t)(i + 1);
        if (founders[i] != here.node) {
            transport_put_peer(here.transport, founders[i], "127.0.0.1", (uint16_t)(port + i));
        }
    }
    if (!member_log_open(&here.loop, argv[5], &here.log, why)) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    for (int g = 0; g < here.groups; g++) {
        open_group(g, argv[5], founders, nodes);
    }
    uv_timer_init(&here.loop, &timer);
    uv_timer_start(&timer, again, 20, 20);
    uv_signal_init(&here.loop, &signal_watch);
    uv_signal_start(&signal_watch, terminate, SIGTERM);
    return uv_run(&here.loop, UV_RUN_DEFAULT);
}
