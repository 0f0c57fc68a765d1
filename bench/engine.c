#include "bench/engine.h"

#include "bench/net.h"

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_AT_ONCE = 256, SHOWN_BYTES = 600 };

struct connection {
    int fd;
    unsigned step;
    bool idle;           /* nothing is under way: the run needs no more cycles */
    bool awaiting_room;  /* epoll tells when the rest of the request can be sent */
    struct request rest; /* of the request, still to be sent */
    struct buffer inbox;
    uint64_t cycle_ns, request_ns; /* when the cycle's first, and this, request was sent */
    void *client;
};

struct engine {
    const struct plan *plan;
    struct measurement *measurement;
    struct connection *connections;
    int epoll;
    uint64_t from_ns, to_ns; /* what ends between them is counted */
    uint64_t last_answer_ns;
    uint64_t begun; /* cycles */
    unsigned busy;  /* connections that are not idle */
    bool over;      /* the run has ended well … */
    bool failed;    /* … or not */
};

static void fail(struct engine *engine, const struct connection *connection, const char *what)
{
    const struct protocol *protocol = engine->plan->protocol;
    size_t shown = connection->inbox.bytes;
    warnx("%s, step %s: %s. What came:\n%.*s", protocol->name,
          protocol->steps[connection->step].name, what,
          (int)(shown < SHOWN_BYTES ? shown : SHOWN_BYTES), shown == 0 ? "" : connection->inbox.at);
    engine->failed = true;
}

/* ---- sending ---- */

static void await_room(struct engine *engine, struct connection *connection, bool wanted)
{
    if (connection->awaiting_room != wanted) {
        struct epoll_event event = {.events = wanted ? EPOLLIN | EPOLLOUT : EPOLLIN,
                                    .data = {.ptr = connection}};
        epoll_ctl(engine->epoll, EPOLL_CTL_MOD, connection->fd, &event);
        connection->awaiting_room = wanted;
    }
}

static void send_rest(struct engine *engine, struct connection *connection)
{
    struct request *rest = &connection->rest;
    long count = send(connection->fd, rest->at, rest->bytes, MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN) {
        fail(engine, connection, strerror(errno));
        return;
    }
    if (count > 0) {
        rest->at += count;
        rest->bytes -= (size_t)count;
    }
    await_room(engine, connection, rest->bytes > 0);
}

static void begin_step(struct engine *engine, struct connection *connection, uint64_t now)
{
    const struct plan *plan = engine->plan;
    if (connection->step == 0) {
        connection->idle = plan->cycles != 0 && engine->begun == plan->cycles;
        if (connection->idle) {
            engine->busy--;
            engine->over = engine->busy == 0;
            return;
        }
        engine->begun++;
        connection->cycle_ns = now;
    }
    connection->request_ns = now;
    connection->rest = plan->protocol->steps[connection->step].prepare(connection->client);
    send_rest(engine, connection);
}

/* ---- judging ---- */

static void count_step(struct engine *engine, const struct connection *connection, bool last,
                       uint64_t now)
{
    struct measurement *measurement = engine->measurement;
    measurement->all_cycles += last;
    if (now < engine->from_ns || now >= engine->to_ns) {
        return;
    }
    histogram_record(&measurement->steps[connection->step], now - connection->request_ns);
    if (last) {
        measurement->cycles++;
        histogram_record(&measurement->cycle, now - connection->cycle_ns);
    }
}

static void take_answer(struct engine *engine, struct connection *connection,
                        const struct answer *answer, uint64_t now)
{
    const struct protocol *protocol = engine->plan->protocol;
    enum verdict verdict = protocol->steps[connection->step].judge(connection->client, answer);
    if (verdict == VERDICT_UNEXPECTED) {
        fail(engine, connection, "an unexpected answer");
        return;
    }
    if (verdict == VERDICT_EXHAUSTED) {
        engine->measurement->exhausted = true;
        engine->over = true;
        return;
    }
    bool last = connection->step + 1 == protocol->step_count;
    count_step(engine, connection, last, now);
    buffer_consume(&connection->inbox, answer->bytes);
    connection->step = last ? 0 : connection->step + 1;
    begin_step(engine, connection, now);
}

static void receive(struct engine *engine, struct connection *connection)
{
    struct answer answer;
    long count = net_read(connection->fd, &connection->inbox);
    if (count <= 0) {
        if (count == 0 || errno != EAGAIN) {
            fail(engine, connection, count == 0 ? "the server closed" : strerror(errno));
        }
        return;
    }
    enum framing framing =
        engine->plan->protocol->wire->frame(connection->inbox.at, connection->inbox.bytes, &answer);
    if (framing == FRAMING_BROKEN || connection->idle) {
        fail(engine, connection, "not an answer to anything");
    } else if (framing == FRAMING_WHOLE) {
        engine->last_answer_ns = clock_ns();
        take_answer(engine, connection, &answer, engine->last_answer_ns);
    }
}

/* ---- the run ---- */

static void open_connection(struct engine *engine, struct connection *connection, unsigned index)
{
    const struct plan *plan = engine->plan;
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = connection}};
    connection->client = calloc(1, plan->protocol->client_bytes);
    if (connection->client == NULL) {
        err(1, "no memory for a client");
    }
    plan->protocol->open(connection->client, plan->workload, index);
    connection->fd = net_connect(workload_port(plan->workload, index));
    net_nonblocking(connection->fd);
    if (epoll_ctl(engine->epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0) {
        err(1, "cannot watch a socket");
    }
}

static void open_all(struct engine *engine)
{
    unsigned count = engine->plan->connections;
    engine->epoll = epoll_create1(EPOLL_CLOEXEC);
    engine->connections = calloc(count, sizeof *engine->connections);
    if (engine->epoll < 0 || engine->connections == NULL) {
        err(1, "cannot set up %u connections", count);
    }
    for (unsigned i = 0; i < count; i++) {
        open_connection(engine, &engine->connections[i], i);
    }
}

static void close_all(struct engine *engine)
{
    for (unsigned i = 0; i < engine->plan->connections; i++) {
        struct connection *connection = &engine->connections[i];
        close(connection->fd);
        engine->plan->protocol->close(connection->client);
        free(connection->client);
        buffer_free(&connection->inbox);
    }
    free(engine->connections);
    close(engine->epoll);
}

/* Ends a timed run whose time is over, and any run that takes too long or hears nothing. */
static void watch_time(struct engine *engine)
{
    uint64_t now = clock_ns();
    if (now - engine->last_answer_ns > SILENCE_MS_MAX * MILLISECOND_NS) {
        warnx("%s: no answer for %d ms", engine->plan->protocol->name, SILENCE_MS_MAX);
        engine->failed = true;
    } else if (now >= engine->to_ns && engine->plan->cycles == 0) {
        engine->over = true;
    } else if (now >= engine->to_ns) {
        warnx("%s: not done within %d ms", engine->plan->protocol->name, CYCLES_RUN_MS_MAX);
        engine->failed = true;
    }
}

static void loop(struct engine *engine)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    while (!engine->over && !engine->failed) {
        int count = epoll_wait(engine->epoll, events, EVENTS_AT_ONCE, 100);
        for (int i = 0; i < count && !engine->over && !engine->failed; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection->rest.bytes > 0) {
                send_rest(engine, connection);
            }
            if ((events[i].events & ~(uint32_t)EPOLLOUT) != 0) {
                receive(engine, connection);
            }
        }
        watch_time(engine);
    }
}

static void begin(struct engine *engine)
{
    const struct plan *plan = engine->plan;
    uint64_t now = clock_ns();
    unsigned limit_ms = plan->cycles != 0 ? CYCLES_RUN_MS_MAX : plan->measure_ms;
    engine->from_ns = now + (plan->cycles != 0 ? 0 : plan->warmup_ms * MILLISECOND_NS);
    engine->to_ns = engine->from_ns + limit_ms * MILLISECOND_NS;
    engine->last_answer_ns = now;
    engine->busy = plan->connections;
    for (unsigned i = 0; i < plan->connections && !engine->over && !engine->failed; i++) {
        begin_step(engine, &engine->connections[i], now);
    }
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

bool engine_run(const struct plan *plan, struct measurement *ret_measurement)
{
    struct engine engine = {.plan = plan, .measurement = ret_measurement};
    memset(ret_measurement, 0, sizeof *ret_measurement);
    open_all(&engine);
    double cpu_before = cpu_seconds();
    begin(&engine);
    loop(&engine);
    uint64_t now = clock_ns();
    uint64_t end = now < engine.to_ns ? now : engine.to_ns;
    ret_measurement->seconds =
        end > engine.from_ns ? (double)(end - engine.from_ns) / (double)SECOND_NS : 0;
    ret_measurement->cpu_seconds = cpu_seconds() - cpu_before;
    close_all(&engine);
    if (!engine.failed && ret_measurement->cycles == 0) {
        warnx("%s: not one cycle ended while it was measured", plan->protocol->name);
        return false;
    }
    return !engine.failed;
}
