/* The loop of Raft and the proxy: tasks run in order, on its thread, and none is lost when it stops. */
#include "service/clock.h"
#include "service/cluster/uvloop.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>
#include <stdlib.h>

enum { THREADS = 4, TASKS_EACH = 5000 };

struct numbered {
    struct uvloop_task task;
    struct uvloop *loop;
    size_t poster, number;
};

/* Touched on the loop's thread alone, and by the test after the stop. */
static size_t ran, last_of[THREADS], out_of_order, elsewhere;
static const char *story[8];
static size_t story_len;

static void count(struct uvloop_task *task)
{
    struct numbered *numbered = (struct numbered *)task;
    out_of_order += numbered->number != last_of[numbered->poster] + 1;
    last_of[numbered->poster] = numbered->number;
    elsewhere += !uvloop_is_here(numbered->loop);
    ran++;
    free(numbered);
}

static struct uvloop *loop;

static void *post_many(void *argument)
{
    for (size_t i = 1; i <= TASKS_EACH; i++) {
        struct numbered *numbered = malloc(sizeof *numbered);
        *numbered = (struct numbered){{count, NULL}, loop, (size_t)(uintptr_t)argument, i};
        cr_assert(uvloop_post(loop, &numbered->task));
    }
    return NULL;
}

Test(uvloop, runs_what_many_threads_post_in_each_ones_order)
{
    pthread_t threads[THREADS];
    cr_assert_eq(uvloop_start(&loop), STATUS_OK);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, post_many, (void *)i);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    cr_expect_not(uvloop_is_here(loop));
    uvloop_stop(loop);
    uvloop_free(loop);
    cr_expect_eq(ran, THREADS * TASKS_EACH, "what was posted before the stop runs");
    cr_expect_eq(out_of_order, 0);
    cr_expect_eq(elsewhere, 0);
}

/* ---- the stop ----------------------------------------------------------------------------------------------------- */

static void tell(const char *what)
{
    story[story_len++] = what;
}

static void late_task(struct uvloop_task *task)
{
    (void)task;
    tell("posted by a closer");
}

static struct uvloop_task late = {.run = late_task};
static uv_timer_t timer;

static void on_time(uv_timer_t *handle)
{
    (void)handle;
}

static void open_timer(struct uvloop_task *task)
{
    (void)task;
    uv_timer_init(uvloop_uv(loop), &timer);
    uv_timer_start(&timer, on_time, 3600000, 0);
    tell("posted");
}

static void on_timer_closed(uv_handle_t *handle)
{
    (void)handle;
    tell("closed");
}

static void close_first(struct uvloop_closer *closer)
{
    (void)closer;
    tell("first closer");
    uv_close((uv_handle_t *)&timer, on_timer_closed);
}

static void close_second(struct uvloop_closer *closer)
{
    (void)closer;
    tell("second closer");
    cr_assert(uvloop_post(loop, &late));
}

Test(uvloop, stops_in_order)
{
    struct uvloop_task open = {.run = open_timer};
    struct uvloop_closer first = {.close = close_first}, second = {.close = close_second};
    static const char *const ORDER[] = {"posted", "second closer", "posted by a closer",
                                        "first closer", "closed"};
    cr_assert_eq(uvloop_start(&loop), STATUS_OK);
    uvloop_on_stop(loop, &first);
    uvloop_on_stop(loop, &second);
    cr_assert(uvloop_post(loop, &open));
    uvloop_stop(loop);
    cr_assert_eq(story_len, sizeof ORDER / sizeof ORDER[0]);
    for (size_t i = 0; i < story_len; i++) {
        cr_expect_str_eq(story[i], ORDER[i]);
    }
    cr_expect_not(uvloop_post(loop, &late), "nothing runs afterwards");
    uvloop_free(loop);
}

Test(uvloop, stops_when_it_has_never_done_anything)
{
    cr_assert_eq(uvloop_start(&loop), STATUS_OK);
    uvloop_stop(loop);
    uvloop_free(loop);
    uvloop_stop(NULL);
    uvloop_free(NULL);
}

/* ---- how far it is ------------------------------------------------------------------------------------------------ */

static sem_t held, let_go, looked;
static uv_check_t check;
static int64_t begun_us, handled_in_task_us, handled_in_check_us;

static void on_check_closed(uv_handle_t *handle)
{
    (void)handle;
    sem_post(&looked);
}

static void on_check(uv_check_t *handle)
{
    handled_in_check_us = uvloop_handled_us(loop);
    uv_close((uv_handle_t *)handle, on_check_closed);
}

static void hold(struct uvloop_task *task)
{
    (void)task;
    begun_us = clock_monotonic_us();
    handled_in_task_us = uvloop_handled_us(loop);
    uv_check_init(uvloop_uv(loop), &check);
    uv_check_start(&check, on_check);
    sem_post(&held);
    sem_wait(&let_go);
}

static void look(struct uvloop_task *task)
{
    (void)task;
    sem_post(&looked);
}

Test(uvloop, says_until_when_it_has_handled_what_came)
{
    struct uvloop_task holds = {.run = hold}, looks = {.run = look};
    sem_init(&held, 0, 0);
    sem_init(&let_go, 0, 0);
    sem_init(&looked, 0, 0);
    cr_assert_eq(uvloop_start(&loop), STATUS_OK);
    cr_assert(uvloop_post(loop, &holds));
    sem_wait(&held);
    cr_expect_leq(uvloop_handled_us(loop), begun_us, "it is held up");
    cr_expect_eq(uvloop_handled_us(loop), handled_in_task_us);
    int64_t let_go_us = clock_monotonic_us();
    sem_post(&let_go);
    sem_wait(&looked);
    cr_expect_eq(handled_in_check_us, handled_in_task_us, "others' checks come first");
    for (int i = 0; i < 2; i++) { /* the second runs in a turn that began after the first */
        cr_assert(uvloop_post(loop, &looks));
        sem_wait(&looked);
    }
    cr_expect_gt(uvloop_handled_us(loop), let_go_us);
    uvloop_stop(loop);
    uvloop_free(loop);
}
