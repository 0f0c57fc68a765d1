/*
 * Parked requests: each waits for one topic, a deadline, and the hang-up of its client, whichever comes first. A
 * parked request costs a struct, two list links and a place in an epoll set; nothing runs until something happens.
 *
 * No wake-up is lost: who wants to park takes a ticket for the topic, then looks at the state, then parks with the
 * ticket; if the topic had an event in between, parking says so and the request looks again.
 *
 *     READ or COMMIT ──ticket──► look ──► parked_add ──┬─ refused: the topic moved on, look again
 *                                                      └─ parked ──► woken(why), once, on some thread
 *
 * Any thread. The lock is never held while `woken` runs.
 */
#ifndef RINGHOLD_SERVICE_PARKED_H
#define RINGHOLD_SERVICE_PARKED_H

#include "handlers/exchange.h"
#include "service/clock.h"

struct parked;

/* One parked request, inside what its owner keeps of the request. The members are parked.c's. */
struct parked_entry {
    uint64_t topic;
    struct parked_entry *before, *after; /* of the same bucket, oldest first */
    int64_t deadline_ms;                 /* lease time */
    size_t heap_index;
    int socket;
    bool queued_up; /* waits for EVENT_READY: woken one for one */
    enum wake why;  /* set before woken runs */
    struct parked_entry *next_woken;
};

enum parking { PARKED, PARK_LOOK_AGAIN, PARK_NO_ROOM };

/* `woken` gives an entry back to its owner. At most entries_max entries. Starts a thread. */
MUST_CHECK enum status parked_start(struct clock *clock, size_t entries_max,
                                    void (*woken)(struct parked_entry *entry), struct parked **ret);
/* Ends the thread; nothing may be parked any more. NULL-safe. */
void parked_stop(struct parked *parked);

uint64_t parked_ticket(struct parked *parked, const struct topic *topic);
/* Parks until the deadline (lease time). The socket is watched for a hang-up. */
MUST_CHECK enum parking parked_add(struct parked *parked, struct parked_entry *entry,
                                   const struct topic *topic, uint64_t ticket, int64_t deadline_ms,
                                   int socket);
/* Wakes those that wait for what happened: all of a topic, of EVENT_READY as many as messages became ready. */
void parked_notify(struct parked *parked, const struct event *events, size_t count);
/* Wakes everything, as by an event: what it waits for may be elsewhere now. */
void parked_rouse(struct parked *parked);
/* Wakes everything, and refuses to park from now on (parked_add says NO_ROOM). */
void parked_drain(struct parked *parked);

size_t parked_count(struct parked *parked);

#endif
