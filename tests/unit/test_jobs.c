/* The queue that batches are taken from: in order, whatever was taken and put back. */
#include "service/jobs.h"

#include <criterion/criterion.h>

enum { COUNT = 5 };

static struct jobs queue;
static struct job all[COUNT];
static struct command commands[COUNT];
static struct result results[COUNT];
static size_t order[COUNT], done;

static void note_done(struct job *job)
{
    order[done++] = (size_t)(job - all);
}

static void fill(void)
{
    jobs_make(&queue);
    for (size_t i = 0; i < COUNT; i++) {
        all[i] = (struct job){.command = &commands[i], .result = &results[i], .done = note_done};
        jobs_add(&queue, &all[i]);
    }
}

TestSuite(jobs, .init = fill);

static void in_order(size_t first, size_t count)
{
    cr_assert_eq(done, count);
    for (size_t i = 0; i < count; i++) {
        cr_expect_eq(order[i], first + i);
    }
    done = 0;
}

Test(jobs, are_taken_in_the_order_of_their_arrival)
{
    size_t count;
    jobs_finish(jobs_take(&queue, 3, &count));
    cr_expect_eq(count, 3);
    in_order(0, 3);
    jobs_finish(jobs_take(&queue, 9, &count));
    cr_expect_eq(count, 2);
    in_order(3, 2);
    cr_expect_null(jobs_take(&queue, 9, &count));
    cr_expect_eq(queue.count, 0);
}

Test(jobs, that_were_put_back_come_first_again)
{
    size_t count;
    struct job *taken = jobs_take(&queue, COUNT, &count);
    jobs_put_back(&queue, taken->next, count - 1);
    taken->next = NULL;
    jobs_finish(taken);
    in_order(0, 1);
    jobs_add(&queue, &all[0]);
    cr_expect_eq(queue.count, (size_t)COUNT);
    jobs_finish(jobs_take(&queue, COUNT - 1, &count));
    in_order(1, COUNT - 1);
    jobs_finish(jobs_take(&queue, COUNT, &count));
    in_order(0, 1);
}

Test(jobs, that_are_refused_get_the_outcome_and_their_own_stamp)
{
    size_t count;
    commands[1].stamp = (struct stamp){7, 8};
    jobs_refuse(jobs_take(&queue, 2, &count), STATUS_NOT_OWNER);
    in_order(0, 2);
    cr_expect_eq(results[1].status, STATUS_NOT_OWNER);
    cr_expect_eq(results[1].stamp.now_ms, 7);
    cr_expect_eq(results[2].status, STATUS_OK);
}
