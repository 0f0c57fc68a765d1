#include "tests/history/history.h"

/* A number that no answer ever gives. */
#define NAMES_NOTHING (INT64_C(1) << 50)

/* One pass over a command's numbers: noting what they name, or giving them the numbers of what they name. */
struct pass {
    struct model *model;
    int *note;       /* or NULL */
    const int *bind; /* or NULL */
    size_t at;
};

/* A number that is the present one of its resource, or is not. */
static void visit_number(struct pass *pass, int64_t *number, int64_t present, bool must_not_match)
{
    size_t at = pass->at++;
    if (at >= REFS_MAX) {
        return;
    }
    if (pass->note != NULL) {
        pass->note[at] = *number == present ? 0 : REF_NONE;
    } else if (pass->bind[at] == 0) {
        *number = present;
    } else if (must_not_match) {
        *number = NAMES_NOTHING;
    }
}

static void visit_condition(struct pass *pass, struct condition *condition, int64_t present)
{
    if (condition->if_match >= 0) {
        visit_number(pass, &condition->if_match, present, true);
    }
}

static struct m_lease *lease_named(struct model *model, struct text name, struct text lease)
{
    for (size_t i = 0; i < model->lease_count; i++) {
        struct m_lease *l = &model->leases[i];
        if (text_equal(model->locks[l->lock].name, name) && text_equal(l->id, lease)) {
            return l;
        }
    }
    return NULL;
}

static void visit_ticket(struct pass *pass, struct text name, struct text lease, int64_t *ticket)
{
    const struct m_lease *l = lease_named(pass->model, name, lease);
    visit_number(pass, ticket, l == NULL ? 0 : l->ticket.known, true);
}

/* The n-th message of the queue, of those that are leased or of all; NULL where there is none. */
static struct m_message *nth_message(struct model *model, struct text queue, bool leased, int n)
{
    for (size_t i = 0; i < model->message_count; i++) {
        struct m_message *m = &model->messages[i];
        if (text_equal(model->queues[m->queue].name, queue) && (!leased || m->state == M_LEASED) &&
            n-- == 0) {
            return m;
        }
    }
    return NULL;
}

/* A message's id, with its fence where there is a receipt. */
static void visit_message(struct pass *pass, struct text queue, int64_t *message, int64_t *fence)
{
    size_t at = pass->at++;
    bool receipt = fence != NULL && *fence != ABSENT;
    struct m_message *m;
    if (at >= REFS_MAX) {
        return;
    }
    if (pass->bind != NULL) {
        m = pass->bind[at] == REF_NONE ? NULL
                                       : nth_message(pass->model, queue, receipt, pass->bind[at]);
        if (m != NULL) {
            *message = m->sequence;
            *(receipt ? fence : message) = receipt ? m->fence : m->sequence;
        }
        return;
    }
    pass->note[at] = REF_NONE;
    for (int n = 0; (m = nth_message(pass->model, queue, receipt, n)) != NULL; n++) {
        if (m->sequence == *message && (!receipt || m->fence == *fence)) {
            pass->note[at] = n;
        }
    }
}

static void visit(struct pass *pass, struct command *c);

static void visit_lock(struct pass *pass, struct command *c)
{
    struct model *model = pass->model;
    const struct m_lease *lease;
    switch ((int)c->kind) {
    case COMMAND_LEASE_ABANDON:
        visit_ticket(pass, c->lease_abandon.name, c->lease_abandon.lease, &c->lease_abandon.ticket);
        break;
    case COMMAND_LOCK_SET_ABANDON:
        visit_ticket(pass, c->lock_set_abandon.names.at[0], c->lock_set_abandon.lease,
                     &c->lock_set_abandon.ticket);
        break;
    case COMMAND_LEASE_PATCH:
        lease = lease_named(model, c->lease_patch.name, c->lease_patch.lease);
        visit_condition(pass, &c->lease_patch.condition, lease == NULL ? 0 : lease->version.known);
        break;
    case COMMAND_LOCK_PUT:
        visit_condition(pass, &c->lock_put.condition,
                        model_lock_named(model, c->lock_put.name)->version.known);
        break;
    case COMMAND_LOCK_BREAK:
        visit_condition(pass, &c->lock_break.condition,
                        model_lock_named(model, c->lock_break.name)->version.known);
        break;
    case COMMAND_FENCE_CHECK:
        visit_number(pass, &c->fence_check.fence,
                     model_lock_named(model, c->fence_check.name)->fence.known, true);
        break;
    }
}

/* Lists in a decoded command lie in its arena: they may be written. */
static void visit_queue(struct pass *pass, struct command *c)
{
    struct model *model = pass->model;
    switch ((int)c->kind) {
    case COMMAND_QUEUE_PUT:
    case COMMAND_QUEUE_PATCH:
        visit_condition(pass, &c->queue_put.condition,
                        model_queue_named(model, c->queue_put.name)->version.known);
        break;
    case COMMAND_QUEUE_DELETE:
        visit_condition(pass, &c->queue_delete.condition,
                        model_queue_named(model, c->queue_delete.name)->version.known);
        break;
    case COMMAND_MESSAGE_SETTLE:
        for (size_t i = 0; i < c->message_settle.items.count; i++) {
            struct settlement *item = (struct settlement *)&c->message_settle.items.at[i];
            visit_message(pass, c->message_settle.queue, &item->message, &item->fence);
        }
        break;
    case COMMAND_MESSAGE_DELETE:
        visit_message(pass, c->message_delete.queue, &c->message_delete.message,
                      &c->message_delete.fence);
        break;
    case COMMAND_MESSAGE_GET:
        visit_message(pass, c->message_get.queue, &c->message_get.message, NULL);
        break;
    case COMMAND_QUEUE_REDRIVE:
        for (size_t i = 0; i < c->queue_redrive.ids.count; i++) {
            visit_message(pass, c->queue_redrive.queue, (int64_t *)&c->queue_redrive.ids.at[i],
                          NULL);
        }
        break;
    }
}

static void visit(struct pass *pass, struct command *c)
{
    if (c->kind == COMMAND_TRANSACTION) {
        for (size_t i = 0; i < c->transaction.operations.count; i++) {
            visit(pass, (struct command *)&c->transaction.operations.at[i]);
        }
    }
    visit_lock(pass, c);
    visit_queue(pass, c);
}

void refs_note(struct model *model, const struct command *command, int refs[REFS_MAX])
{
    struct pass pass = {.model = model, .note = refs};
    struct command copy = *command; /* noting changes nothing of it */
    visit(&pass, &copy);
}

void refs_bind(struct model *model, struct command *command, const int refs[REFS_MAX])
{
    struct pass pass = {.model = model, .bind = refs};
    visit(&pass, command);
}
