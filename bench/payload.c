#include "bench/payload.h"

#include <string.h>

void payload_append(struct buffer *out, struct workload *workload)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    static const char tail[] = "\"}";
    size_t end = out->bytes + workload->data_bytes - strlen(tail);
    buffer_format(out, "{\"user\":\"user-%06u\",\"roles\":[\"reader\"],\"state\":\"",
                  (unsigned)(workload_random(workload) >> 32) % 1000000U);
    while (out->bytes < end) {
        buffer_append(out, &letters[workload_random(workload) >> 58], 1);
    }
    buffer_append(out, tail, strlen(tail));
}
