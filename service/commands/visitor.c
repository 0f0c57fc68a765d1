#include "service/commands/visitor.h"

#include "service/cluster/identity.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

struct visitor {
    struct inquiry inquiry;
    struct uvloop_task task;
    struct uvloop_closer closer;
    sem_t opened;
    char secret[PEER_SECRET_BYTES_MAX + 1];
    size_t secret_len;
    uint64_t node; /* a number of no member's: visitors have none of their own */
    char why[256];
};

static void nothing(void *context)
{
    (void)context;
}

static void close_transport(struct uvloop_closer *closer)
{
    struct visitor *visitor = (struct visitor *)((char *)closer - offsetof(struct visitor, closer));
    transport_close(visitor->inquiry.transport, nothing, NULL);
}

/* On the loop's thread, which a transport belongs to. */
static void open_transport(struct uvloop_task *task)
{
    struct visitor *visitor = (struct visitor *)((char *)task - offsetof(struct visitor, task));
    struct inquiry *inquiry = &visitor->inquiry;
    struct transport_config config = {.node = visitor->node,
                                      .secret = {visitor->secret, visitor->secret_len}};
    if (transport_open(uvloop_uv(inquiry->loop), &config, &inquiry->transport, visitor->why)) {
        visitor->closer.close = close_transport;
        uvloop_on_stop(inquiry->loop, &visitor->closer);
    }
    sem_post(&visitor->opened);
}

static bool begin(struct visitor *visitor, const char *secret_file, char *why)
{
    struct inquiry *inquiry = &visitor->inquiry;
    char words[CLUSTER_WHY_BYTES];
    if (secret_file != NULL &&
        !identity_secret(secret_file, visitor->secret, &visitor->secret_len, words)) {
        snprintf(why, INQUIRY_WHY_BYTES, "%s", words);
        return false;
    }
    if (getrandom(&visitor->node, sizeof visitor->node, 0) != sizeof visitor->node ||
        uvloop_start(&inquiry->loop) != STATUS_OK ||
        proxy_start(inquiry->loop, PROXY_LIMITS_DEFAULT, &inquiry->proxy) != STATUS_OK) {
        return false;
    }
    visitor->node |= 1;
    visitor->task.run = open_transport;
    if (secret_file != NULL && uvloop_post(inquiry->loop, &visitor->task)) {
        while (sem_wait(&visitor->opened) != 0) {
        }
        snprintf(why, INQUIRY_WHY_BYTES, "%s", visitor->why);
    }
    return secret_file == NULL || inquiry->transport != NULL;
}

bool visitor_open(const char *secret_file, struct visitor **ret, char ret_why[INQUIRY_WHY_BYTES])
{
    struct visitor *visitor = calloc(1, sizeof *visitor);
    snprintf(ret_why, INQUIRY_WHY_BYTES, "out of memory");
    if (visitor == NULL) {
        return false;
    }
    sem_init(&visitor->opened, 0, 0);
    if (!begin(visitor, secret_file, ret_why)) {
        visitor_close(visitor);
        return false;
    }
    *ret = visitor;
    return true;
}

struct inquiry *visitor_inquiry(struct visitor *visitor)
{
    return &visitor->inquiry;
}

void visitor_close(struct visitor *visitor)
{
    if (visitor == NULL) {
        return;
    }
    uvloop_stop(visitor->inquiry.loop);
    proxy_free(visitor->inquiry.proxy);
    uvloop_free(visitor->inquiry.loop);
    sem_destroy(&visitor->opened);
    explicit_bzero(visitor->secret, sizeof visitor->secret);
    free(visitor);
}
