#include "tests/sim/world.h"

#include "tests/sim/nodes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TAIL_LINES = 60, LINE_BYTES = 240, EVENTS_MAX = 4000000 };

struct happening {
    uint64_t at, order;
    int node;
    unsigned life; /* of the node, when it was meant to happen */
    void (*what)(void *context);
    void *context;
};

static struct {
    uint64_t seed, now, order, random;
    struct happening *heap;
    size_t count, room;
    int here;
    bool shown;
    char tail[TAIL_LINES][LINE_BYTES];
    uint64_t lines;
} world;
struct tally *tally;

/* ---- chance ------------------------------------------------------------------------------------------------------- */

uint64_t chance(uint64_t n)
{
    world.random += 0x9E3779B97F4A7C15u;
    uint64_t z = world.random;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (z ^ (z >> 31)) % n;
}

uint64_t chance_between(uint64_t least, uint64_t most)
{
    return least + chance(most - least + 1);
}

bool chance_of(unsigned percent)
{
    return chance(100) < percent;
}

/* ---- the trace ---------------------------------------------------------------------------------------------------- */

void trace(const char *format, ...)
{
    char *line = world.tail[world.lines % TAIL_LINES];
    va_list arguments;
    int head = snprintf(line, LINE_BYTES, "%9.3f ", (double)world.now / MS);
    va_start(arguments, format);
    vsnprintf(line + head, LINE_BYTES - (size_t)head, format, arguments);
    va_end(arguments);
    world.lines++;
    for (const char *c = line; *c != '\0'; c++) {
        tally->trace = (tally->trace ^ (unsigned char)*c) * 1099511628211u;
    }
    if (world.shown) {
        puts(line);
    }
}

void wrong(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(tally->wrong, sizeof tally->wrong, format, arguments);
    va_end(arguments);
    trace("WRONG: %s", tally->wrong);
    uint64_t first = world.lines > TAIL_LINES ? world.lines - TAIL_LINES : 0;
    for (uint64_t i = first; i < world.lines && !world.shown; i++) {
        fprintf(stderr, "%s\n", world.tail[i % TAIL_LINES]);
    }
    fflush(NULL);
    _exit(1);
}

/* ---- events ------------------------------------------------------------------------------------------------------- */

static bool sooner(const struct happening *a, const struct happening *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void swap(size_t i, size_t j)
{
    struct happening kept = world.heap[i];
    world.heap[i] = world.heap[j];
    world.heap[j] = kept;
}

void later(uint64_t us, int node, void (*what)(void *context), void *context)
{
    if (world.count == world.room) {
        world.room = world.room * 2 + 256;
        world.heap = realloc(world.heap, world.room * sizeof *world.heap);
    }
    size_t i = world.count++;
    world.heap[i] = (struct happening){
        world.now + us, world.order++, node, node == NOWHERE ? 0 : nodes[node].life, what, context};
    for (; i > 0 && sooner(&world.heap[i], &world.heap[(i - 1) / 2]); i = (i - 1) / 2) {
        swap(i, (i - 1) / 2);
    }
}

static struct happening take_first(void)
{
    struct happening first = world.heap[0];
    world.heap[0] = world.heap[--world.count];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < world.count; child++) {
            least = sooner(&world.heap[child], &world.heap[least]) ? child : least;
        }
        if (least == i) {
            return first;
        }
        swap(i, least);
        i = least;
    }
}

int world_here(void)
{
    return world.here;
}

void as_node(int node, void (*what)(void *context), void *context)
{
    int outer = world.here;
    world.here = node;
    what(context);
    if (node != NOWHERE) {
        node_turn(&nodes[node]);
    }
    world.here = outer;
}

void world_run(uint64_t until_us)
{
    while (world.count > 0 && world.heap[0].at <= until_us) {
        struct happening event = take_first();
        world.now = event.at;
        if (event.node != NOWHERE && nodes[event.node].life != event.life) {
            continue;
        }
        if (++tally->events > EVENTS_MAX) {
            wrong("too much happens");
        }
        as_node(event.node, event.what, event.context);
    }
    world.now = until_us;
}

void world_begin(uint64_t seed, bool shown)
{
    world.seed = world.random = seed;
    world.here = NOWHERE;
    world.shown = shown;
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* to be seen also of a seed that dies */
    tally->trace = 1469598103934665603u;
}

uint64_t world_now(void)
{
    return world.now;
}
