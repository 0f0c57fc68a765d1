#include "service/metrics.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

static struct arena arena = ARENA_EMPTY;

/* The page as a C string, valid until the next call. */
static const char *page(const struct metrics_gauges *gauges)
{
    arena_clear(&arena);
    struct text text = metrics_text(&arena, gauges);
    cr_assert(text_given(text));
    return arena_copy(&arena, text).at;
}

static void has_line(const char *page, const char *line)
{
    char want[512];
    snprintf(want, sizeof want, "\n%s\n", line);
    cr_expect_not_null(strstr(page, want), "no line: %s", line);
}

Test(metrics, a_request_is_counted_by_route_and_status)
{
    const struct route *livez = NULL;
    for (size_t i = 0; i < system_routes.count; i++) {
        livez = strcmp(system_routes.at[i].template, "/livez") == 0 ? &system_routes.at[i] : livez;
    }
    metrics_request(livez, 200, 90);
    metrics_request(livez, 200, 101);
    metrics_request(livez, 503, 70000000);
    metrics_request(NULL, 404, 5);
    metrics_request(NULL, 299, 5);
    const char *text = page(&(struct metrics_gauges){0});
    has_line(text, "ringhold_requests_total{method=\"GET\",route=\"/livez\","
                   "operation=\"getLiveness\",code=\"200\"} 2");
    has_line(text, "ringhold_requests_total{method=\"GET\",route=\"/livez\","
                   "operation=\"getLiveness\",code=\"503\"} 1");
    has_line(text, "ringhold_requests_total{method=\"other\",route=\"none\","
                   "operation=\"none\",code=\"404\"} 1");
    has_line(text, "ringhold_requests_total{method=\"other\",route=\"none\","
                   "operation=\"none\",code=\"0\"} 1");
#define LIVEZ "{method=\"GET\",route=\"/livez\",operation=\"getLiveness\""
    has_line(text, "ringhold_request_duration_seconds_bucket" LIVEZ ",le=\"0.0001\"} 1");
    has_line(text, "ringhold_request_duration_seconds_bucket" LIVEZ ",le=\"0.00025\"} 2");
    has_line(text, "ringhold_request_duration_seconds_bucket" LIVEZ ",le=\"60\"} 2");
    has_line(text, "ringhold_request_duration_seconds_bucket" LIVEZ ",le=\"+Inf\"} 3");
    has_line(text, "ringhold_request_duration_seconds_sum" LIVEZ "} 70.000191");
    has_line(text, "ringhold_request_duration_seconds_count" LIVEZ "} 3");
}

Test(metrics, batches_fill_three_histograms)
{
    metrics_batch(1, 10, 60, false);
    metrics_batch(3, 20, 700, true);
    metrics_batch(5000, 30, 9000000, false);
    const char *text = page(&(struct metrics_gauges){0});
    has_line(text, "ringhold_batch_commands_bucket{le=\"1\"} 1");
    has_line(text, "ringhold_batch_commands_bucket{le=\"4\"} 2");
    has_line(text, "ringhold_batch_commands_bucket{le=\"1024\"} 2");
    has_line(text, "ringhold_batch_commands_bucket{le=\"+Inf\"} 3");
    has_line(text, "ringhold_batch_commands_sum 5004");
    has_line(text, "ringhold_batch_commands_count 3");
    has_line(text, "ringhold_commit_seconds_bucket{le=\"0.0001\"} 1");
    has_line(text, "ringhold_commit_seconds_bucket{le=\"5\"} 2");
    has_line(text, "ringhold_commit_seconds_count 3");
    has_line(text, "ringhold_apply_seconds_sum 6e-05");
    has_line(text, "ringhold_commit_failures_total 1");
}

Test(metrics, gauges_show_what_the_process_said)
{
    const struct metrics_gauges gauges = {.started_at_ms = 1700000000500,
                                          .connections = 3,
                                          .parked = 2,
                                          .wal_bytes = 4096,
                                          .ready = true,
                                          .counters = {.held = 7, .dead = 9, .expired = 11}};
    const char *text = page(&gauges);
    has_line(text, "ringhold_connections 3");
    has_line(text, "ringhold_parked_requests 2");
    has_line(text, "ringhold_wal_bytes 4096");
    has_line(text, "ringhold_ready 1");
    has_line(text, "ringhold_storage_ok 0");
    has_line(text, "ringhold_leases_held 7");
    has_line(text, "ringhold_messages{state=\"dead\"} 9");
    has_line(text, "ringhold_expired_total 11");
    has_line(text, "process_start_time_seconds 1700000000.500");
}

enum { COUNTERS = 12, EACH = 20000 };
static void *count_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < EACH; i++) {
        metrics_request(NULL, 400, 1);
    }
    return NULL;
}

Test(metrics, nothing_is_lost_when_many_threads_count)
{
    pthread_t threads[COUNTERS];
    for (int i = 0; i < COUNTERS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, count_many, NULL), 0);
    }
    for (int i = 0; i < COUNTERS; i++) {
        pthread_join(threads[i], NULL);
    }
    has_line(page(&(struct metrics_gauges){0}),
             "ringhold_requests_total{method=\"other\",route=\"none\",operation=\"none\","
             "code=\"400\"} 240000");
}

/* Every sample is of a family that was described before it, and promtool's other demands that need no promtool. */
Test(metrics, every_sample_is_described)
{
    metrics_request(NULL, 404, 5);
    const char *text = page(&(struct metrics_gauges){0});
    char family[128] = "";
    while (*text != '\0') {
        const char *end = strchr(text, '\n');
        cr_assert_not_null(end, "the last line does not end");
        if (sscanf(text, "# TYPE %127s", family) != 1 && *text != '#') {
            cr_expect_eq(strncmp(text, family, strlen(family)), 0, "%.60s after %s", text, family);
        }
        text = end + 1;
    }
}
