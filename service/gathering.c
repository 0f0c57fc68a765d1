#include "service/gathering.h"

#include "handlers/gather.h"
#include "service/forwarding.h"

/* The partition's own page, rendered as if it had been asked alone. NOT_OWNER: it is not served here. Anything else but OK
   is the list's answer: the owner that is this member has said so, and to ask for it again would not end. */
static enum status read_page(struct call *call, struct text *ret)
{
    struct exchange *x = &call->x;
    if (!reading_run(call)) {
        return STATUS_NOT_OWNER;
    }
    if (x->result.status != STATUS_OK) {
        return x->result.status;
    }
    x->route->render(x);
    *ret = x->response.body;
    x->response = (struct response){.status = 0};
    return STATUS_OK;
}

/* Goes on with the partition that is the turn's, until another member must be asked or all have been. */
void gathering_go_on(struct call *call)
{
    struct exchange *x = &call->x;
    struct text page;
    for (; call->gathered < call->engine->partitions.count; call->gathered++) {
        call->partition = &call->engine->partitions.at[call->gathered];
        x->partition = call->partition->id;
        reading_set_clocks(call);
        if (reading_wants_group(call)) {
            if (!reading_ask_group(call)) {
                call_end_with(call, call->overrides);
            }
            return;
        }
        enum status status = read_page(call, &page);
        if (status == STATUS_NOT_OWNER) {
            forwarding_begin(call);
            return;
        }
        if (status == STATUS_OK && !gather_add(call->gather, page)) {
            status = STATUS_OUT_OF_MEMORY;
        }
        if (status != STATUS_OK) {
            call_end_with(call, status);
            return;
        }
    }
    x->partition = 0; /* the answer is about no one partition */
    gather_end(call->gather);
    reading_add_age(call);
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
    gathering_go_on(call);
}

void gathering_take(struct call *call, struct text body, int64_t age_us)
{
    call->forwarding = NULL;
    call->state = CALL_STEPPING;
    if (!gather_add(call->gather, body)) {
        call_end_with(call, STATUS_INTERNAL);
        return;
    }
    if (call->x.consistency == CONSISTENCY_STALE) {
        reading_note_age(call, age_us);
    }
    call->gathered++;
    gathering_go_on(call);
}
