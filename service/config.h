/*
 * The configuration: what the command line, the environment and a file say, in one struct that is read once, at the
 * start, and never changes. Each setting has one name, in three forms, the later ones before the earlier:
 *
 *     default  <  log-level = debug in --config FILE  <  RINGHOLD_LOG_LEVEL=debug  <  --log-level debug
 *
 * service/settings.c has the table of them all, service/arguments.c that of the commands; `ringhold --help` prints both.
 */
#ifndef RINGHOLD_SERVICE_CONFIG_H
#define RINGHOLD_SERVICE_CONFIG_H

#include "service/log.h"

#include <stdint.h>
#include <stdio.h>

enum {
    CONFIG_ADDRESS_BYTES = 48, /* an IPv6 address in text, and its NUL */
    CONFIG_HOST_BYTES = 272,   /* HOST:PORT, and its NUL */
    CONFIG_PATH_BYTES = 1024,
    CONFIG_NODE_BYTES = 256,
    CONFIG_WHY_BYTES = 640,
    CONFIG_URL_BYTES = CONFIG_HOST_BYTES + 16,
    CONFIG_OPERANDS_MAX = 2
};

/* What the process was asked to do. */
enum config_command {
    CONFIG_SERVE,
    CONFIG_BACKUP,  /* of the data directory, into `file` */
    CONFIG_RESTORE, /* of `file`, into the data directory */
    CONFIG_RING,    /* shown, of the cluster at `url` */
    CONFIG_LEAVE,   /* `member` leaves it */
    CONFIG_REPLACE, /* and `successor` takes its places */
    CONFIG_RECOVER, /* of the data directory, when the others are lost */
    CONFIG_ROUTES,
    CONFIG_VERSION,
    CONFIG_HELP
};

struct config_address {
    char ip[CONFIG_ADDRESS_BYTES]; /* IPv4 or IPv6, without brackets; empty: none was given */
    uint16_t port;                 /* 0: the system picks one */
};

/* What makes an instance a member of a cluster; all empty where it stands alone. */
struct config_cluster {
    struct config_address peer;            /* where it listens for the other members */
    char peer_name[CONFIG_HOST_BYTES];     /* HOST:PORT, where they reach it, if that is a name */
    char secret_file[CONFIG_PATH_BYTES];   /* what members know each other by */
    bool init;                             /* makes a new cluster, with this as its first member */
    int64_t partitions;                    /* with init: how many arcs the ring has */
    int64_t replicas;                      /* with init: how many members hold each */
    bool partitions_given, replicas_given; /* they are not the defaults */
    char join[CONFIG_HOST_BYTES];          /* HOST:PORT of a member's HTTP address */
    char advertise
        [CONFIG_HOST_BYTES];  /* HOST:PORT under which others reach its HTTP; empty: --listen */
    int64_t weight;           /* its share of the partitions, beside the others' */
    int64_t replace_after_ms; /* how long a member may be gone before others take its place */
};

struct config {
    struct config_address listen;
    struct config_cluster cluster;
    char data_dir[CONFIG_PATH_BYTES];
    bool durable; /* --durability full */
    enum log_level log_level;
    char node[CONFIG_NODE_BYTES]; /* a valid name (API.md §1) */
    int64_t max_connections;
    int64_t max_parked;
    int64_t http_threads; /* 0: one a core, in a cluster one less */
    int64_t drain_ms; /* how long a stopping process goes on serving after /readyz began to fail */
    int64_t warm_bytes; /* how much of the database is read before /readyz says ready */
    char config_file[CONFIG_PATH_BYTES]; /* empty: none */
    char file[CONFIG_PATH_BYTES];        /* the FILE of backup and restore */
    char url[CONFIG_HOST_BYTES];         /* http://HOST:PORT: whom a command asks */
    char member[CONFIG_NODE_BYTES];      /* whom it is about; empty: the one that is asked */
    char successor[CONFIG_NODE_BYTES];   /* of replace; empty: whoever has room */
    bool force, no_wait, json;           /* how it is done */
};

/*
 * Reads it all. False when something is wrong: ret_why then holds one sentence that says what and where. `environment`
 * ends with NULL, as environ does; of its variables only those that name a setting are looked at (an orchestrator adds
 * RINGHOLD_PORT and the like of its own).
 */
bool config_read(int argc, char *const argv[], char *const environment[], struct config *ret,
                 enum config_command *ret_command, char ret_why[CONFIG_WHY_BYTES]);

/* For config_read: whether the settings of a member go together. False, with a sentence. */
bool config_check_cluster(const struct config *config, char *why);
/* Looks the host of --peer up where it is a name, so that there is an address to listen on. False, with a sentence, when
   there is none. */
bool config_resolve(struct config *config, char ret_why[CONFIG_WHY_BYTES]);
/* The URL at which the others reach a member that listens at `listening`: what --advertise says, else where it listens;
   and where that is everywhere, the host of --peer with the port it listens on. */
void config_url(const struct config *config, const char *listening, char ret[CONFIG_URL_BYTES]);

/* Prints what --help says. */
void config_help(FILE *out);

#endif
