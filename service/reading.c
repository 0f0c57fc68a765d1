#include "service/reading.h"

#include "handlers/text_parse.h"
#include "service/call.h"

#include <assert.h>

/* ---- clocks ------------------------------------------------------------------------------------------------------- */

/* A replica's clock jumps when it hears of the leader's: how long the client still waits does not. */
static void keep_wait(struct call *call, struct stamp now)
{
    struct reading *reading = &call->reading;
    struct exchange *x = &call->x;
    int64_t at_ms = clock_monotonic_us() / 1000;
    if (reading->clock_at_ms != 0 && x->waits_until > 0) {
        x->waits_until += now.lease_now_ms - reading->clock_ms - (at_ms - reading->clock_at_ms);
    }
    reading->clock_ms = now.lease_now_ms;
    reading->clock_at_ms = at_ms;
}

void reading_set_clocks(struct call *call)
{
    struct reading *reading = &call->reading;
    if (reading->confirmed) {
        call->x.now = reading->confirmed_at;
    } else if (call->x.consistency == CONSISTENCY_STALE) {
        reading->copy = partition_copy(call->partition);
        call->x.now = reading->copy.now;
        keep_wait(call, call->x.now);
    } else {
        call->x.now = partition_now(call->partition);
    }
}

/* ---- strong ------------------------------------------------------------------------------------------------------- */

bool reading_wants_group(const struct call *call)
{
    return call->x.consistency == CONSISTENCY_STRONG && call->partition->clustered &&
           !call->reading.confirmed;
}

/* Counting costs nothing and changes nothing, but like any entry this one brings its stamp into the state. */
bool reading_ask_group(struct call *call)
{
    struct reading *reading = &call->reading;
    reading->question = (struct command){.kind = COMMAND_TOTALS, .stamp = call->x.now};
    bool goes_on = call_submit(call, &reading->question);
    reading->asking = call->state == CALL_COMMITTING; /* else it went elsewhere */
    return goes_on;
}

enum status reading_take_answer(struct call *call)
{
    const struct result *result = &call->x.result;
    call->reading.asking = false;
    call->reading.confirmed = result->status == STATUS_OK;
    call->reading.confirmed_at = result->stamp;
    return result->status == STATUS_OUTCOME_UNKNOWN ? STATUS_NOT_OWNER : result->status;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

bool reading_possible(struct call *call)
{
    const struct reading *reading = &call->reading;
    if (call->x.consistency != CONSISTENCY_STALE) {
        return partition_serves(call->partition);
    }
    return reading->copy.here && (reading->copy.age_us != AGE_UNKNOWN || reading->any_age);
}

bool reading_last_resort(struct call *call)
{
    struct partition_copy copy = partition_copy(call->partition);
    call->reading.any_age = call->x.consistency == CONSISTENCY_STALE && copy.here && copy.votes;
    return call->reading.any_age;
}

void reading_note_age(struct call *call, int64_t age_us)
{
    struct reading *reading = &call->reading;
    bool older = call->gather == NULL || age_us > reading->age_us;
    reading->age_us = older ? age_us : reading->age_us;
    reading->aged = true;
}

bool reading_run(struct call *call)
{
    struct exchange *x = &call->x;
    if (!exchange_asks_partition(x)) {
        x->result = (struct result){.status = STATUS_OK, .stamp = x->now};
        return true;
    }
    assert(!reading_wants_group(call));
    if (!call->reading.confirmed && !reading_possible(call)) {
        return false;
    }
    call->reading.confirmed = false; /* each look is confirmed for itself */
    x->command.stamp = x->now;
    partition_read(call->partition, &call->readers[call->partition->id], &x->command, &call->arena,
                   &x->result);
    if (x->consistency == CONSISTENCY_STALE) {
        reading_note_age(call, call->reading.copy.age_us);
        call->reading.any_age &= call->gather == NULL; /* for one part of a list at a time */
    }
    return x->result.status != STATUS_NOT_OWNER;
}

/* ---- ages --------------------------------------------------------------------------------------------------------- */

void reading_add_age(struct call *call)
{
    const struct reading *reading = &call->reading;
    if (!reading->aged || reading->age_us == AGE_UNKNOWN) {
        return;
    }
    int64_t age_ms = (reading->age_us + 999) / 1000;
    exchange_header(&call->x, "Age",
                    arena_format(&call->arena, "%lld", (long long)((age_ms + 999) / 1000)));
    exchange_header(&call->x, AGE_HEADER, arena_format(&call->arena, "%lld", (long long)age_ms));
}

int64_t reading_age_of(struct text header)
{
    int64_t age_ms;
    bool told = text_given(header) && parse_decimal(header, &age_ms) && age_ms < INT64_MAX / 1000;
    return told ? age_ms * 1000 : AGE_UNKNOWN;
}
