#include "service/inflight.h"

#include <pthread.h>
#include <search.h>
#include <stdlib.h>

struct inflight {
    pthread_mutex_t mu;
    void *tree; /* guarded by mu: tsearch's tree of notes */
};

struct inflight_note {
    struct text key; /* its bytes follow */
    char bytes[];
};

static int compare(const void *a, const void *b)
{
    const struct inflight_note *one = a, *other = b;
    return text_compare(one->key, other->key);
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

static struct inflight_note *make_note(struct text key)
{
    struct inflight_note *note = malloc(sizeof *note + key.len);
    if (note != NULL) {
        memcpy(note->bytes, key.at, key.len);
        note->key = (struct text){note->bytes, key.len};
    }
    return note;
}

bool inflight_add(struct inflight *inflight, struct text key, struct inflight_note **ret)
{
    struct inflight_note *note = make_note(key);
    if (note == NULL) {
        *ret = NULL; /* without a note the second request runs, and finds the record of the first */
        return true;
    }
    pthread_mutex_lock(&inflight->mu);
    struct inflight_note **found = tsearch(note, &inflight->tree, compare);
    bool noted = found != NULL && *found == note, there = found != NULL && *found != note;
    pthread_mutex_unlock(&inflight->mu);
    if (!noted) {
        free(note);
    }
    *ret = noted ? note : NULL;
    return !there;
}

bool inflight_has(struct inflight *inflight, struct text key)
{
    const struct inflight_note wanted = {.key = key};
    pthread_mutex_lock(&inflight->mu);
    bool there = tfind(&wanted, &inflight->tree, compare) != NULL;
    pthread_mutex_unlock(&inflight->mu);
    return there;
}

void inflight_remove(struct inflight *inflight, struct inflight_note *note)
{
    if (note != NULL) {
        pthread_mutex_lock(&inflight->mu);
        tdelete(note, &inflight->tree, compare);
        pthread_mutex_unlock(&inflight->mu);
        free(note);
    }
}
