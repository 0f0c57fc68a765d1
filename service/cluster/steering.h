/*
 * What a member decides when it looks at the table: which change a group needs next, whom it should be led by, what
 * becomes of a place for a partition, who lives. Pure functions of the table and of what was seen; cluster_seats,
 * cluster_steer and cluster_council act on what they say.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_STEERING_H
#define RINGHOLD_SERVICE_CLUSTER_STEERING_H

#include "service/cluster/replica.h"
#include "service/cluster/table.h"

/* ---- groups ------------------------------------------------------------------------------------------------------- */

struct wanted {
    uint64_t node;
    enum replica_change change;
};

/* The first change that the table asks of a partition's group. False: the group is as the table says. */
bool steering_group(const struct table_partition *table, const struct replica_member *members,
                    int count, struct wanted *ret);
/* To whom `self`, which leads the partition's group, should hand the lead: who the table prefers, if it is there. 0: to
   nobody. */
uint64_t steering_leader(const struct table *table, const struct table_partition *partition,
                         uint64_t self);

/* Who is to be asked about a partition of whose leader nothing was heard: who the table prefers, or another voter that is
   up when that one is not. */
uint64_t steering_guess(const struct table *table, const struct table_partition *partition);
/* To which voter `self`, which leads the group and is about to stop, should hand it: one that is up and has about as much
   of the log as any; `turn` says which of those, so that what is led by one is shared out. 0: none is there. */
uint64_t steering_heir(const struct table *table, const struct replica_member *members, int count,
                       uint64_t self, unsigned turn);

/*
 * The same as steering_group for group 0, of which every member has a replica, and 1, 3 or 5 vote. Who votes goes on as
 * long as it is up; who is down ceases to only once another member, which is up, votes in its place: as long as there is
 * none its vote is still wanted, for when it comes back.
 */
bool steering_council(const struct table *table, const struct replica_member *members, int count,
                      struct wanted *ret);

/* ---- seats -------------------------------------------------------------------------------------------------------- */

/* A partition's place here, as it stands. */
struct seat_state {
    bool ours;     /* the table gives it to this member */
    bool held;     /* it is open */
    bool closing;  /* no longer for long */
    bool stopped;  /* what is open cannot go on, or it could not be opened */
    bool rested;   /* and by now the cause may have passed */
    bool founding; /* nobody has ever held it but its founder: the group begins here */
};
enum seat_move {
    SEAT_STAYS,
    SEAT_OPENS,
    SEAT_FOUNDS, /* opens, and makes the group */
    SEAT_CLOSES, /* its data stays, and it is opened again */
    SEAT_GOES    /* closes, and its data goes with it */
};
enum seat_move steering_seat(struct seat_state seat);
/* seat_state.ours and .founding, by the table. */
struct seat_state steering_seat_of(const struct table_partition *table, uint64_t self);

/* ---- members, as group 0's leader hears of them ------------------------------------------------------------------- */

/* Monotonic. */
struct presence {
    int64_t heard_us; /* its last report; 0: none yet */
    int64_t down_us;  /* since when it has been silent; 0: it is not */
};
enum presence_verdict { PRESENCE_UP, PRESENCE_DOWN, PRESENCE_OVERDUE };
/* `state` as the table has it: nobody is overdue who was not called down first. */
enum presence_verdict presence_judge(struct presence *presence, int64_t now_us, int64_t silent_ms,
                                     enum member_state state, int64_t replace_after_ms);

/* ---- leaders that are none any more ------------------------------------------------------------------------------- */

/* Who led a partition before its leader now, and may still answer what it was asked as such. Monotonic. */
struct former {
    uint64_t member; /* 0: none */
    int64_t deposed_us;
    int64_t heard_us; /* its last sign of life; at first deposed_us */
};
/* Whether no answer is to be waited for: it has been silent for silent_ms, or was there for ms_max, and so has answered
   whatever it will. */
bool former_is_gone(const struct former *former, int64_t now_us, int64_t silent_ms, int64_t ms_max);

#endif
