#include "service/jobs.h"

void jobs_make(struct jobs *jobs)
{
    *jobs = (struct jobs){.first = NULL, .last = &jobs->first};
}

void jobs_add(struct jobs *jobs, struct job *job)
{
    job->next = NULL;
    *jobs->last = job;
    jobs->last = &job->next;
    jobs->count++;
}

struct job *jobs_take(struct jobs *jobs, size_t count_max, size_t *ret_count)
{
    struct job *first = jobs->first;
    struct job **end = &jobs->first;
    size_t count = 0;
    while (*end != NULL && count < count_max) {
        end = &(*end)->next;
        count++;
    }
    struct job *rest = *end;
    *end = NULL;
    jobs->first = rest;
    if (rest == NULL) {
        jobs->last = &jobs->first;
    }
    jobs->count -= count;
    *ret_count = count;
    return count == 0 ? NULL : first;
}

void jobs_put_back(struct jobs *jobs, struct job *taken, size_t count)
{
    struct job **end = &taken;
    if (taken == NULL) {
        return;
    }
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = jobs->first;
    if (jobs->first == NULL) {
        jobs->last = end;
    }
    jobs->first = taken;
    jobs->count += count;
}

void jobs_finish(struct job *taken)
{
    while (taken != NULL) {
        struct job *next = taken->next; /* the job is its maker's again as soon as it is done */
        taken->done(taken);
        taken = next;
    }
}

void jobs_refuse(struct job *taken, enum status status)
{
    for (struct job *job = taken; job != NULL; job = job->next) {
        *job->result = (struct result){.status = status, .stamp = job->command->stamp};
    }
    jobs_finish(taken);
}
