#include "service/inflight.h"

#include <pthread.h>
#include <search.h>
#include <stdlib.h>

struct inflight {
    pthread_mutex_t mu;
    void *tree; /* guarded by mu: tsearch's tree of struct text */
};

static int compare(const void *a, const void *b)
{
    return text_compare(*(const struct text *)a, *(const struct text *)b);
}

struct inflight *inflight_make(void)
{
    struct inflight *inflight = calloc(1, sizeof *inflight);
    if (inflight != NULL) {
        pthread_mutex_init(&inflight->mu, NULL);
    }
    return inflight;
}

void inflight_free(struct inflight *inflight)
{
    if (inflight != NULL) {
        tdestroy(inflight->tree, free);
        pthread_mutex_destroy(&inflight->mu);
        free(inflight);
    }
}

bool inflight_add(struct inflight *inflight, struct text key_hash)
{
    struct text *node = malloc(sizeof *node);
    if (node == NULL) {
        return true; /* without a note the second request runs, and finds the record of the first */
    }
    *node = key_hash;
    pthread_mutex_lock(&inflight->mu);
    struct text **found = tsearch(node, &inflight->tree, compare);
    bool added = found == NULL || *found == node;
    pthread_mutex_unlock(&inflight->mu);
    if (found == NULL || !added) {
        free(node);
    }
    return added;
}

void inflight_remove(struct inflight *inflight, struct text key_hash)
{
    pthread_mutex_lock(&inflight->mu);
    struct text **found = tfind(&key_hash, &inflight->tree, compare);
    struct text *node = found == NULL ? NULL : *found;
    if (node != NULL) {
        tdelete(&key_hash, &inflight->tree, compare);
    }
    pthread_mutex_unlock(&inflight->mu);
    free(node);
}
