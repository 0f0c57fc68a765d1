#include "bench/keyed.h"

#include <string.h>

void keyed_ready(struct keyed *keyed, struct workload *workload)
{
    keyed->workload = workload;
    keyed->digits = memmem(keyed->request.at, keyed->request.bytes, KEY_MARK, KEY_DIGITS);
}

struct request keyed_prepare(void *client)
{
    struct keyed *keyed = client;
    if (keyed->digits != NULL) {
        patch_decimal(keyed->digits, KEY_DIGITS, workload_key(keyed->workload));
    }
    return request_of(&keyed->request);
}

void keyed_close(void *client)
{
    struct keyed *keyed = client;
    buffer_free(&keyed->request);
}
