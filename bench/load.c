/*
 * bench-load: one run of one mode against a server on the loopback address. Prints one JSON object about it on stdout;
 * prints nothing there and exits 1 when any answer was not the expected one, since numbers of such a run mean nothing.
 */
#include "bench/engine.h"
#include "bench/gaps.h"
#include "bench/park.h"
#include "bench/payload.h"

#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *mode;
    struct workload workload;
    struct plan plan;
    bool gaps;
};

static const struct option long_options[] = {
    {"port", required_argument, NULL, 'p'},
    {"connections", required_argument, NULL, 'c'},
    {"warmup-ms", required_argument, NULL, 'w'},
    {"measure-ms", required_argument, NULL, 'm'},
    {"cycles", required_argument, NULL, 'n'},
    {"name", required_argument, NULL, 'q'},
    {"keys", required_argument, NULL, 'k'},
    {"data-bytes", required_argument, NULL, 'd'},
    {"batch", required_argument, NULL, 'b'},
    {"seed", required_argument, NULL, 'r'},
    {"sequential", no_argument, NULL, 's'},
    {"gaps", no_argument, NULL, 'g'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void print_help(void)
{
    printf(
        "usage: bench-load MODE --port PORT [--port PORT …] [options]\n\n"
        "  --connections N  in a closed loop, one request under way on each (64)\n"
        "  --warmup-ms N    not counted (1000)\n"
        "  --measure-ms N   counted (5000)\n"
        "  --cycles N       run for that many cycles instead of for a time\n"
        "  --name NAME      of the queue, or prefix of keys and locks (bench)\n"
        "  --keys N         how many keys there are (10000)\n"
        "  --sequential     take the keys in turn, not at random\n"
        "  --data-bytes N   of a session's data, a value, a message's body (200)\n"
        "  --batch N        messages in a request (1)\n"
        "  --seed N         of the random choices (1)\n"
        "  --gaps           try again whatever is not answered well, and tell the longest waits\n\n"
        "modes:\n");
    const struct protocol *protocol;
    for (unsigned i = 0; (protocol = protocol_at(i)) != NULL; i++) {
        printf("  %-12s %s\n", protocol->name, protocol->summary);
    }
    printf("  %-12s %s\n", "park",
           "park a long poll on each connection, print \"parked\", wait for a line on stdin, wake "
           "all");
}

static unsigned number(const char *option, const char *text, unsigned min, unsigned max)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value < min || value > max) {
        errx(2, "--%s takes a number from %u to %u", option, min, max);
    }
    return (unsigned)value;
}

static void set_option(struct options *options, int letter, const char *name)
{
    struct workload *workload = &options->workload;
    struct plan *plan = &options->plan;
    switch (letter) {
    case 'p':
        if (workload->port_count == PORTS_MAX) {
            errx(2, "--port can be given %d times", PORTS_MAX);
        }
        workload->ports[workload->port_count++] = number(name, optarg, 1, 65535);
        break;
    case 'c':
        plan->connections = number(name, optarg, 1, 60000);
        break;
    case 'w':
        plan->warmup_ms = number(name, optarg, 0, 600000);
        break;
    case 'm':
        plan->measure_ms = number(name, optarg, 1, 600000);
        break;
    case 'n':
        plan->cycles = number(name, optarg, 1, 100000000);
        break;
    case 'q':
        workload->name = optarg;
        break;
    case 'k':
        workload->keys = number(name, optarg, 1, 99999999);
        break;
    case 'd':
        workload->data_bytes = number(name, optarg, PAYLOAD_BYTES_MIN, 200000);
        break;
    case 'b':
        workload->batch = number(name, optarg, 1, 1000);
        break;
    case 'r':
        workload->random = number(name, optarg, 1, 1000000000);
        break;
    case 's':
        workload->sequential = true;
        break;
    case 'g':
        options->gaps = true;
        break;
    case 'h':
        print_help();
        exit(0);
    default:
        errx(2, "see bench-load --help");
    }
}

static void read_options(int argc, char **argv, struct options *options)
{
    int letter, at = -1;
    while ((letter = getopt_long(argc, argv, "", long_options, &at)) != -1) {
        set_option(options, letter, at < 0 ? "" : long_options[at].name);
    }
    if (optind + 1 != argc || options->workload.port_count == 0) {
        errx(2, "give one mode and --port; see bench-load --help");
    }
    options->mode = argv[optind];
}

static double microseconds(const struct histogram *histogram, double quantile)
{
    return (double)histogram_quantile(histogram, quantile) / 1000;
}

static void print_quantiles(const struct histogram *histogram)
{
    printf("\"p50_us\":%.1f,\"p99_us\":%.1f", microseconds(histogram, 0.5),
           microseconds(histogram, 0.99));
}

static void print_measurement(const struct plan *plan, const struct measurement *measurement)
{
    const struct protocol *protocol = plan->protocol;
    unsigned each = protocol->operations_a_batch ? plan->workload->batch : protocol->operations;
    double operations = (double)measurement->cycles * each;
    printf("{\"mode\":\"%s\",\"connections\":%u,\"seconds\":%.3f,\"cycles\":%llu,", protocol->name,
           plan->connections, measurement->seconds, (unsigned long long)measurement->cycles);
    printf("\"operations\":%.0f,\"per_second\":%.1f,\"all_operations\":%llu,", operations,
           operations / measurement->seconds, (unsigned long long)measurement->all_cycles * each);
    printf("\"cpu_seconds\":%.3f,\"exhausted\":%s,", measurement->cpu_seconds,
           measurement->exhausted ? "true" : "false");
    print_quantiles(&measurement->cycle);
    printf(",\"steps\":{");
    for (unsigned i = 0; i < protocol->step_count; i++) {
        printf("%s\"%s\":{", i == 0 ? "" : ",", protocol->steps[i].name);
        print_quantiles(&measurement->steps[i]);
        printf("}");
    }
    printf("}}\n");
}

static int run_park(const struct options *options)
{
    double wake_seconds;
    if (!park_run(&options->workload, options->plan.connections, &wake_seconds)) {
        return 1;
    }
    printf("{\"mode\":\"park\",\"connections\":%u,\"wake_seconds\":%.3f}\n",
           options->plan.connections, wake_seconds);
    return 0;
}

static int run_gaps(const struct options *options)
{
    struct gaps gaps;
    if (options->plan.protocol->step_count != 1 || options->plan.cycles != 0) {
        errx(2, "--gaps is for a time, and for modes of one step");
    }
    if (!gaps_run(&options->plan, &gaps)) {
        return 1;
    }
    printf("{\"mode\":\"%s\",\"connections\":%u,\"acknowledged\":%llu,\"refused\":%llu,",
           options->mode, options->plan.connections, (unsigned long long)gaps.acknowledged,
           (unsigned long long)gaps.refused);
    printf("\"longest_gap_ms\":%.1f,\"longest_wait_ms\":%.1f}\n", gaps.longest_gap_ms,
           gaps.longest_wait_ms);
    return 0;
}

static int run_protocol(const struct options *options)
{
    static struct measurement measurement;
    if (options->plan.protocol == NULL) {
        errx(2, "no mode \"%s\"; see bench-load --help", options->mode);
    }
    if (options->gaps) {
        return run_gaps(options);
    }
    if (!engine_run(&options->plan, &measurement)) {
        return 1;
    }
    print_measurement(&options->plan, &measurement);
    return 0;
}

int main(int argc, char **argv)
{
    struct options options = {
        .workload = {.name = "bench", .keys = 10000, .data_bytes = 200, .batch = 1, .random = 1},
        .plan = {.connections = 64, .warmup_ms = 1000, .measure_ms = 5000},
    };
    read_options(argc, argv, &options);
    options.workload.random *= UINT64_C(0x9E3779B97F4A7C15);
    options.plan.workload = &options.workload;
    options.plan.protocol = protocol_find(options.mode);
    return strcmp(options.mode, "park") == 0 ? run_park(&options) : run_protocol(&options);
}
