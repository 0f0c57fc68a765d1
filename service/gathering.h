/*
 * A call for a list over all partitions: asked one after the other, those that are served here at once, the others through
 * their owners, and made one page (handlers/gather.h). On the call's loop.
 */
#ifndef RINGHOLD_SERVICE_GATHERING_H
#define RINGHOLD_SERVICE_GATHERING_H

#include "service/call.h"

/* Begins with the first partition. The call's state says what it does next. */
void gathering_begin(struct call *call);
/* Goes on after the group has been asked, for a strong read of the partition that is the turn's. */
void gathering_go_on(struct call *call);
/* Another member has answered for the partition that was asked: its page, as old as that. */
void gathering_take(struct call *call, struct text body, int64_t age_us);

#endif
