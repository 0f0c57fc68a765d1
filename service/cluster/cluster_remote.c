#include "db/codec.h"
#include "service/cluster/cluster_state.h"

#include <stdlib.h>

/* ---- asking ------------------------------------------------------------------------------------------------------- */

struct remote {
    struct uvloop_task task;
    struct cluster *cluster;
    int64_t partition;
    struct job *job;
};

static void end(struct remote *remote, enum status status)
{
    struct job *job = remote->job;
    free(remote);
    if (status != STATUS_OK) {
        *job->result = (struct result){.status = status, .stamp = job->command->stamp};
    }
    job->done(job);
}

static void on_answer(void *context, enum peer_verdict verdict, struct text bytes)
{
    struct remote *remote = context;
    struct job *job = remote->job;
    struct answer answer;
    enum status status = STATUS_OUTCOME_UNKNOWN;
    if (verdict == PEER_ACCEPTED && answer_decode(arena_copy(job->arena, bytes), &answer)) {
        if (answer.kind == ANSWER_ELSEWHERE) {
            status = STATUS_NOT_OWNER;
        } else if (answer.kind == ANSWER_DONE &&
                   result_decode(answer.table, job->arena, job->result)) {
            status = STATUS_OK;
        }
    }
    end(remote, status);
}

/* False when nobody could be asked. */
static bool ask(struct remote *remote)
{
    struct cluster *cluster = remote->cluster;
    struct arena arena = ARENA_EMPTY;
    char host[MEMBER_ADDRESS_BYTES_MAX + 1];
    uint16_t port;
    uint64_t leader = routes_leader(cluster, remote->partition);
    int place = leader == 0 ? -1 : table_find(&cluster->table, leader);
    struct ask ask = {
        .kind = ASK_COMMAND,
        .command = {(unsigned)remote->partition, command_encode(remote->job->command, &arena)}};
    struct text bytes =
        text_given(ask.command.bytes) ? ask_encode(&ask, &arena) : ask.command.bytes;
    bool asked = text_given(bytes) && place >= 0 && leader != cluster->node && !cluster->stopping &&
                 cluster_split_peer(cluster->table.members[place].facts.peer, host, &port) &&
                 transport_ask(cluster->transport, leader, host, port, bytes, on_answer, remote);
    arena_free(&arena);
    return asked;
}

static void run(struct uvloop_task *task)
{
    struct remote *remote = (struct remote *)((char *)task - offsetof(struct remote, task));
    if (!ask(remote)) {
        end(remote, STATUS_NOT_OWNER);
    }
}

enum status cluster_submit(struct cluster *cluster, int64_t partition, struct job *job)
{
    struct remote *remote = malloc(sizeof *remote);
    if (remote == NULL) {
        return STATUS_OUT_OF_MEMORY;
    }
    *remote = (struct remote){
        .task = {.run = run}, .cluster = cluster, .partition = partition, .job = job};
    if (!uvloop_post(cluster->loop, &remote->task)) {
        free(remote);
        return STATUS_NOT_OWNER;
    }
    return STATUS_OK;
}

/* ---- answering ---------------------------------------------------------------------------------------------------- */

struct served {
    struct job job;
    struct control *control;
    struct arena arena;
    struct command command; /* its texts are the request's */
    struct result result;
};

static void answer_and_free(struct served *served, const struct answer *answer)
{
    council_answer(served->control, answer);
    arena_free(&served->arena);
    free(served);
}

static void on_done(struct job *job)
{
    struct served *served = (struct served *)((char *)job - offsetof(struct served, job));
    struct answer answer = {.kind = ANSWER_DONE};
    if (served->result.status == STATUS_NOT_OWNER) {
        answer.kind = ANSWER_ELSEWHERE;
    } else {
        answer.table = result_encode(&served->result, &served->arena);
    }
    answer_and_free(served, &answer);
}

static bool submit(struct cluster *cluster, struct served *served, const struct ask_command *ask)
{
    if (ask->partition >= cluster->partitions.count ||
        !command_decode(ask->bytes, &served->arena, &served->command)) {
        return false;
    }
    struct partition *partition = &cluster->partitions.at[ask->partition];
    served->command.stamp = partition_now(partition);
    served->job = (struct job){.command = &served->command,
                               .arena = &served->arena,
                               .result = &served->result,
                               .done = on_done};
    return partition_submit(partition, &served->job) == STATUS_OK;
}

void remote_serve(struct cluster *cluster, struct control *control, const struct ask_command *ask)
{
    struct served *served = calloc(1, sizeof *served);
    if (served == NULL) {
        council_answer(control, &(struct answer){.kind = ANSWER_ELSEWHERE});
        return;
    }
    served->control = control;
    if (!submit(cluster, served, ask)) {
        answer_and_free(served, &(struct answer){.kind = ANSWER_ELSEWHERE});
    }
}
