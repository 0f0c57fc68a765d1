/*
 * What a member keeps of its cluster in its data directory, and the secret that it reads from a file. Before any thread.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_IDENTITY_H
#define RINGHOLD_SERVICE_CLUSTER_IDENTITY_H

#include "service/cluster/cluster.h"
#include "service/cluster/table.h"

struct identity {
    unsigned char uuid[CLUSTER_UUID_BYTES];
    unsigned char seed[CLUSTER_SEED_BYTES];
    unsigned partitions, replicas;
    bool founder;
};

enum identity_found { IDENTITY_NONE, IDENTITY_THERE, IDENTITY_BROKEN };

/* BROKEN: ret_why (CLUSTER_WHY_BYTES) says so in a sentence. */
enum identity_found identity_read(const char *data_dir, struct identity *ret, char *ret_why);
/* Durably; false with a sentence. */
MUST_CHECK bool identity_write(const char *data_dir, const struct identity *identity,
                               char *ret_why);
/* What else is to be known of the directory before it is served. */
enum identity_mark {
    MARK_LEFT,      /* the member was taken out of its cluster */
    MARK_RECOVERING /* a recovery was begun, and has not come to its end (recovery.h) */
};
/* Sets the mark or takes it away, durably; false with a sentence. */
MUST_CHECK bool identity_mark(const char *data_dir, enum identity_mark mark, bool set,
                              char *ret_why);
bool identity_marked(const char *data_dir, enum identity_mark mark);
/*
 * A copy of a member's directory is older than what the member has promised the others, but looks the same. It is told
 * by its files' numbers (inodes): keep_place notes one, check_place refuses where another is found, with a sentence, and
 * notes it where none is noted.
 */
MUST_CHECK bool identity_keep_place(const char *data_dir, char *ret_why);
MUST_CHECK bool identity_check_place(const char *data_dir, char *ret_why);
/* Those of a new cluster. */
MUST_CHECK bool identity_make(unsigned char uuid[CLUSTER_UUID_BYTES],
                              unsigned char seed[CLUSTER_SEED_BYTES], char *ret_why);
/* The secret in the file, without the white space at its end; `ret` of PEER_SECRET_BYTES_MAX + 1. */
MUST_CHECK bool identity_secret(const char *path, char *ret, size_t *ret_len, char *ret_why);

#endif
