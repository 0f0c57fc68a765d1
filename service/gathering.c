#include "service/gathering.h"

#include "handlers/gather.h"
#include "service/forwarding.h"

/* The partition's own page, rendered as if it had been asked alone. False: it is not served here. */
static bool read_page(struct call *call, struct text *ret)
{
    struct exchange *x = &call->x;
    if (!partition_serves(call->partition)) {
        return false;
    }
    x->command.stamp = x->now;
    partition_read(call->partition, &call->readers[x->partition], &x->command, &call->arena,
                   &x->result);
    if (x->result.status != STATUS_OK) {
        return false;
    }
    x->route->render(x);
    *ret = x->response.body;
    x->response = (struct response){.status = 0};
    return true;
}

/* Goes on with the partition that is the turn's, until another member must be asked or all have been. */
static void go_on(struct call *call)
{
    struct exchange *x = &call->x;
    struct text page;
    for (; call->gathered < call->engine->partitions.count; call->gathered++) {
        call->partition = &call->engine->partitions.at[call->gathered];
        x->partition = call->partition->id;
        x->now = partition_now(call->partition);
        if (!read_page(call, &page)) {
            forwarding_begin(call);
            return;
        }
        if (!gather_add(call->gather, page)) {
            call_end_with(call, STATUS_OUT_OF_MEMORY);
            return;
        }
    }
    gather_end(call->gather);
    call->state = CALL_ANSWERED;
}

void gathering_begin(struct call *call)
{
    call->gathered = 0;
    call->gather = gather_begin(&call->x);
    if (call->gather == NULL) {
        call_end_with(call, STATUS_OUT_OF_MEMORY);
        return;
    }
    go_on(call);
}

void gathering_take(struct call *call, int status, struct text body)
{
    call->forwarding = NULL;
    call->state = CALL_STEPPING;
    if (status != 200 || !gather_add(call->gather, body)) {
        call_end_with(call, STATUS_INTERNAL);
        return;
    }
    call->gathered++;
    go_on(call);
}
