/*
 * What a node's part in a cluster is made of, for the files that make it up:
 *
 *     cluster.c         its life: founding, coming back, stopping; what others ask
 *     cluster_join.c    joining
 *     cluster_standing.c whether it is still a member, and the only one of its identity
 *     cluster_seats.c   the partitions that are held here: opened and closed as the table says
 *     cluster_steer.c   as leader of a group: its membership is made what the table says; reports
 *     cluster_council.c as leader of group 0: steps are taken in, and placed
 *     cluster_overview.c as leader of group 0: what was heard of all, put together
 *     cluster_watch.c   whose process has ended
 *     cluster_drain.c   handing over what is led here, before the end
 *     cluster_pulse.c   how fresh the replicas are that are led elsewhere
 *     cluster_routes.c  who owns what, for the other threads
 *     steering.c        what these decide, pure
 *
 * Everything belongs to the loop's thread but what cluster_routes.c guards.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_CLUSTER_STATE_H
#define RINGHOLD_SERVICE_CLUSTER_CLUSTER_STATE_H

#include "service/cluster/ask.h"
#include "service/cluster/board.h"
#include "service/cluster/cluster.h"
#include "service/cluster/cluster_files.h"
#include "service/cluster/hosted.h"
#include "service/cluster/inquiry.h"
#include "service/cluster/member_log.h"
#include "service/cluster/proxy.h"
#include "service/cluster/steering.h"
#include "service/cluster/transport.h"

enum {
    CLUSTER_TURN_MS = 100,   /* how often the table is looked at */
    CLUSTER_REPORT_MS = 500, /* how often a member reports */
    CLUSTER_PULSE_MS =
        250, /* how often the leaders of what is held here are asked how far they are */
    CLUSTER_LISTEN_MS = 1000,    /* how long a founder listens for who knows better */
    CLUSTER_SILENT_MS = 3000,    /* a member that was not heard of for so long is down */
    CLUSTER_REOPEN_MS = 1000,    /* after a replica had to stop */
    CLUSTER_HAND_OVER_MS = 5000, /* after who should lead did not come to: it may be gone */
    CLUSTER_LED_MS = 1000, /* who has begun to lead does so at least so long: it was given the lead
                              for a reason that the table may not know yet */
    CLUSTER_ELECTING_MS =
        3000, /* for so long an election is waited for; then it may be that we alone hear of none */
    CLUSTER_FORSAKE_MS = 500, /* who leads no more and was silent for so long will not answer */
    CLUSTER_FORSAKE_MS_MAX =
        REPLICA_UNKNOWN_MS +
        CLUSTER_FORSAKE_MS, /* by then who is there has answered what it was asked */
    CLUSTER_TOKEN_DIGITS = 64,
    WATCHES_HELD_MAX =
        2 * MEMBERS_MAX /* a member that has come back asks before its old ask is gone */
};

/* A partition's place on this node. */
struct seat {
    struct cluster *cluster;
    struct partition *partition;
    struct hosted *hosted; /* NULL: it is not held */
    bool closing;          /* until its data is gone, where it drops it */
    bool drops; /* its data goes when it is closed: the table says that it is elsewhere */
    struct log_task forgetting; /* of its group */
    int64_t reopen_us;          /* it had to stop, and is opened again then */
    bool changing;              /* a change of its membership is under way */
    int64_t hand_over_us;       /* not before then */
    uint64_t leader;            /* the last that was known here; 0: none ever was */
    struct former former;       /* the one before it, for whose answers clients still wait */
};

/* What group 0's leader last heard of a member. */
struct heard {
    uint64_t member;
    struct presence presence;
    struct report report;
    struct arena arena; /* of the report's groups */
};

/* What we ask of another member, to learn when its process ends. */
struct watch {
    struct cluster *cluster;
    uint64_t member; /* 0: free */
    bool asked;
    int64_t again_us; /* not before */
};

/* The same, asked of us. */
struct held {
    struct control *control; /* NULL: free */
    int64_t until_us;
};

struct cluster {
    struct config_cluster config;
    struct cluster_hooks hooks;
    char data_dir[CLUSTER_PATH_BYTES];
    uint64_t node;
    struct member_facts facts;
    unsigned char uuid[CLUSTER_UUID_BYTES];
    unsigned char seed[CLUSTER_SEED_BYTES];
    char secret[PEER_SECRET_BYTES_MAX + 1];
    size_t secret_len;
    char token[CLUSTER_TOKEN_DIGITS + 1];
    bool founds;
    bool known; /* from an earlier life */
    bool turns; /* the timer is there */

    struct uvloop *loop;
    struct proxy *proxy;
    struct transport *transport;
    struct member_log *log;
    struct board *board;
    struct replica *council; /* group 0; NULL: it is not open */
    bool council_changing;
    bool council_closing;
    int64_t council_reopen_us; /* it had to stop, and is opened again then */
    int64_t leads_since_us;    /* group 0; 0: it does not */
    uv_timer_t timer;
    int64_t reported_us;
    bool left;              /* the others have taken this node out */
    bool doubted;           /* whether it is still in, by a refused report */
    bool asks_standing;     /* somebody is being asked */
    int64_t standing_us;    /* group 0 had a leader then */
    unsigned standing_next; /* whom to ask, a place in the table */
    int64_t pulsed_us;
    uint64_t pulsing[MEMBERS_MAX]; /* members that are asked for their pulse now; 0: a free place */
    bool stopping;
    struct errand *stop; /* who waits for all to be closed */
    int open_parts;      /* seats that are being closed */
    bool draining;       /* it steers nothing and reports no more */
    int64_t drain_us;    /* since then */
    int64_t led_us;      /* while it drains: when it last led anything */
    int64_t farewell_us; /* when the others were last told that it goes */
    bool seats_gone;     /* all are; stopping */
    void (*seats_closed)(struct cluster *cluster);

    struct table table; /* a copy; epoch 0: none yet */
    struct partitions partitions;
    struct seat *seats;
    struct heard heard[MEMBERS_MAX];
    struct watch watches[MEMBERS_MAX];
    struct held held[WATCHES_HELD_MAX];
    bool proposing; /* a step of ours is under way in group 0 */

    pthread_mutex_t mu;
    struct routes *routes; /* guarded by mu */
    bool forgotten;        /* guarded by mu: and they stay so */
    struct overview
        *overview; /* guarded by mu: what this node heard as leader of group 0; NULL: it is not */
};

/* Something that another thread has done on the loop's, and waits for. */
struct errand {
    struct uvloop_task task;
    void (*run)(struct errand *errand);
    struct cluster *cluster;
    char *why; /* CLUSTER_WHY_BYTES */
    bool good;
    bool done; /* guarded by mu */
    pthread_mutex_t mu;
    pthread_cond_t over;
};

/* cluster.c: `run` calls errand_over, perhaps later; true when it went well. Not from the loop's thread. */
bool go_on_errand(struct cluster *cluster, void (*run)(struct errand *errand), char *why);
void errand_over(struct errand *errand, bool good);
void cluster_wait_ms(int64_t ms);
/* Whether the sizes that were given, if they were, are the cluster's; false with a sentence. */
bool cluster_check_sizes(const struct config_cluster *config, unsigned partitions,
                         unsigned replicas, char *why);
/* For questions to the others. */
struct inquiry cluster_inquiry(const struct cluster *cluster);

/* cluster_join.c: asks the member that --join names to be taken in; false with a sentence. Not from the loop's thread. */
bool cluster_join(struct cluster *cluster, char *why);

/* cluster_seats.c: opens and closes what the table says. */
void seats_settle(struct cluster *cluster);
/* Closes all; cluster->open_parts counts those that are left. */
void seats_close(struct cluster *cluster, void (*closed)(struct cluster *cluster));
bool seats_lead(const struct cluster *cluster);

/* cluster_steer.c */
void steer_groups(struct cluster *cluster);
void steer_report(struct cluster *cluster);

/* Tells the others that this member goes, so that they call it down and hand it nothing any more. */
void steer_farewell(struct cluster *cluster);

/* cluster_council.c */
/* Of this member's replica of group 0; all zero while it is not open. */
struct replica_status council_status(const struct cluster *cluster);
void council_serve(void *context, struct control *control, const struct control_request *request);
void council_turn(struct cluster *cluster);
/* What this member itself has to say. */
void council_take(struct cluster *cluster, const struct ask *ask);

/* cluster_standing.c: at the start, not from the loop's thread; false with a sentence. */
bool standing_check(struct cluster *cluster, char *why);
/* Once for each report. */
void standing_turn(struct cluster *cluster);
/* Group 0's leader does not take this node for a member. */
void standing_doubt(struct cluster *cluster);

/* cluster_overview.c: how far the member is with leaving. */
struct standing overview_standing(const struct cluster *cluster, uint64_t member);
/* For the other threads, as leader of group 0; else, that this node does not know. */
void overview_publish(struct cluster *cluster, bool leads);
/* cluster_pulse.c: asks those who lead what is held here, or did until just now, and answers who asks. */
void pulse_ask(struct cluster *cluster);
void pulse_answer(struct cluster *cluster, struct control *control);

/* cluster_watch.c */
void watch_turn(struct cluster *cluster);
/* Keeps the answer back. */
void watch_hold(struct cluster *cluster, struct control *control);
/* Gives all answers. */
void watch_end(struct cluster *cluster);

/* cluster_routes.c */
void routes_publish(struct cluster *cluster);
/* From now on nobody is known to own anything. */
void routes_forget(struct cluster *cluster);
/* What our own replicas know of their leaders; once in each turn. */
void routes_follow(struct cluster *cluster);
/* The member gave a sign of life. */
void routes_heard(struct cluster *cluster, uint64_t member);
/* A leader has changed. */
void routes_led(struct cluster *cluster, int64_t partition, uint64_t leader);
/* Called with mu held: the table as the other threads know it, NULL: not at all; and what handlers see of it. */
const struct table *routes_table_locked(const struct cluster *cluster);
bool routes_view_locked(const struct cluster *cluster, struct arena *arena, struct ring_view *ret);

#endif
