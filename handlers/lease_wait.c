#include "handlers/lease_wait.h"

#include "handlers/lease_json.h"

/* What x->scratch keeps of the wait. */
struct wait {
    struct text lease;
    struct names names;
    bool set;
    bool nameless;
    int64_t ticket;
};

void lease_wait_prepare(struct exchange *x, struct text lease, struct names names, bool set,
                        bool nameless)
{
    struct wait *wait = arena_zalloc(x->arena, 1, sizeof *wait);
    if (wait == NULL) {
        return; /* exchange_prepare sees that memory ran out */
    }
    *wait = (struct wait){.lease = lease, .names = names, .set = set, .nameless = nameless};
    x->scratch = wait;
    /* The members of a set are granted together, so the first one's event stands for all. */
    x->topic = (struct topic){.kind = EVENT_LEASE, .name = names.at[0], .detail = lease};
}

static enum next collect(struct exchange *x)
{
    const struct wait *wait = x->scratch;
    if (wait->set) {
        x->command.kind = COMMAND_LOCK_SET_COLLECT;
        x->command.lock_set_collect = (struct lock_set_key){wait->lease, wait->names};
    } else {
        x->command.kind = COMMAND_LEASE_COLLECT;
        x->command.lease_collect = (struct lease_key){wait->names.at[0], wait->lease};
    }
    return NEXT_COMMIT;
}

static enum next abandon(struct exchange *x)
{
    const struct wait *wait = x->scratch;
    if (wait->set) {
        x->command.kind = COMMAND_LOCK_SET_ABANDON;
        x->command.lock_set_abandon =
            (struct lock_set_abandon){wait->lease, wait->names, wait->ticket};
    } else {
        x->command.kind = COMMAND_LEASE_ABANDON;
        x->command.lease_abandon =
            (struct lease_abandon){wait->names.at[0], wait->lease, wait->ticket};
    }
    return NEXT_COMMIT;
}

static bool has_abandoned(const struct exchange *x)
{
    return x->command.kind == COMMAND_LEASE_ABANDON || x->command.kind == COMMAND_LOCK_SET_ABANDON;
}

static enum next park(struct exchange *x)
{
    struct wait *wait = x->scratch;
    const struct lease_view *lease =
        wait->set ? &x->result.lock_set.members.at[0] : &x->result.lease;
    wait->ticket = lease->ticket;
    x->waits_until = lease->lease_expires_ms; /* as the state machine has it */
    return NEXT_PARK;
}

enum next lease_wait_after(struct exchange *x)
{
    if (has_abandoned(x)) {
        return exchange_problem(x, STATUS_DRAINING); /* else nobody is there to read it */
    }
    if (x->result.status != STATUS_WAITING) {
        lease_describe(x);
        return NEXT_ANSWER;
    }
    if (x->async) {
        exchange_header(x, "Preference-Applied", TEXT("respond-async"));
        return NEXT_ANSWER;
    }
    return park(x);
}

enum next lease_wait_wake(struct exchange *x, enum wake why)
{
    const struct wait *wait = x->scratch;
    switch (why) {
    case WAKE_EVENT:
    case WAKE_TIME_OVER:
        return collect(x);
    case WAKE_HUNG_UP:
        return abandon(x);
    case WAKE_DRAINING:
        break;
    }
    return wait->nameless ? abandon(x) : exchange_problem(x, STATUS_DRAINING);
}
