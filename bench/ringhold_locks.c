/*
 * Ringhold's locks: acquire and release, each connection its own lock, each cycle a fresh lease id. Both requests are
 * durable writes, so a cycle counts for two.
 */
#include "bench/http.h"
#include "bench/modes.h"

#include <string.h>

#define LEASE_MARK "################"
enum { LEASE_DIGITS = sizeof LEASE_MARK - 1 };

struct locker {
    struct workload *workload;
    struct buffer acquire, release;
    char *acquire_lease, *release_lease; /* where the lease id stands in each */
};

static char *lease_in(const struct buffer *request)
{
    return memmem(request->at, request->bytes, LEASE_MARK, LEASE_DIGITS);
}

static void lock_open(void *client, struct workload *workload, unsigned index)
{
    struct locker *locker = client;
    struct buffer target = {0}, body = {0};
    buffer_format(&target, "/v1/locks/%s-%u/leases/" LEASE_MARK "%c", workload->name, index, '\0');
    buffer_format(&body, "{\"owner\":\"client-%u\",\"ttl_ms\":30000}", index);
    http_request(&locker->acquire, "PUT", target.at, &body);
    http_request(&locker->release, "DELETE", target.at, NULL);
    buffer_free(&target);
    buffer_free(&body);
    locker->workload = workload;
    locker->acquire_lease = lease_in(&locker->acquire);
    locker->release_lease = lease_in(&locker->release);
}

static void lock_close(void *client)
{
    struct locker *locker = client;
    buffer_free(&locker->acquire);
    buffer_free(&locker->release);
}

static struct request acquire_prepare(void *client)
{
    struct locker *locker = client;
    uint64_t lease = workload_random(locker->workload);
    patch_hex(locker->acquire_lease, LEASE_DIGITS, lease);
    patch_hex(locker->release_lease, LEASE_DIGITS, lease);
    return request_of(&locker->acquire);
}

static enum verdict acquire_judge(void *client, const struct answer *answer)
{
    (void)client;
    return answer->status == 201 ? VERDICT_GOOD : VERDICT_UNEXPECTED;
}

static struct request release_prepare(void *client)
{
    const struct locker *locker = client;
    return request_of(&locker->release);
}

static enum verdict release_judge(void *client, const struct answer *answer)
{
    (void)client;
    return answer->status == 204 ? VERDICT_GOOD : VERDICT_UNEXPECTED;
}

const struct protocol lock_protocol = {
    .name = "lock",
    .summary = "acquire and release a lock of one's own; counts two writes a cycle",
    .wire = &http_wire,
    .client_bytes = sizeof(struct locker),
    .open = lock_open,
    .close = lock_close,
    .operations = 2,
    .step_count = 2,
    .steps = {{"acquire", acquire_prepare, acquire_judge},
              {"release", release_prepare, release_judge}},
};
