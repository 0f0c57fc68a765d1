#include "bench/protocol.h"

#include "bench/modes.h"

#include <string.h>

static const struct protocol *const protocols[] = {
    &session_get_protocol, &session_put_protocol,
    &lock_protocol,        &queue_cycle_protocol,
    &queue_send_protocol,  &queue_drain_protocol,
    &queue_lease_protocol, &hello_protocol,
    &redis_get_protocol,   &redis_set_protocol,
    &etcd_get_protocol,    &etcd_put_protocol,
    &beanstalk_protocol,   &etcd_get_serializable_protocol,
};

const struct protocol *protocol_at(unsigned index)
{
    return index < sizeof protocols / sizeof *protocols ? protocols[index] : NULL;
}

const struct protocol *protocol_find(const char *name)
{
    const struct protocol *found;
    for (unsigned i = 0; (found = protocol_at(i)) != NULL; i++) {
        if (strcmp(found->name, name) == 0) {
            return found;
        }
    }
    return NULL;
}

struct request request_of(const struct buffer *buffer)
{
    return (struct request){buffer->at, buffer->bytes};
}

unsigned workload_port(const struct workload *workload, unsigned index)
{
    return workload->ports[index % workload->port_count];
}

/* xorshift64*: even enough to spread keys, and the same in every run. */
uint64_t workload_random(struct workload *workload)
{
    uint64_t x = workload->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    workload->random = x;
    return x * UINT64_C(2685821657736338717);
}

uint64_t workload_key(struct workload *workload)
{
    uint64_t key = workload->sequential ? workload->next_key++ : workload_random(workload) >> 16;
    return key % workload->keys;
}
