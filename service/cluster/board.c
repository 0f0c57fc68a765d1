#include "service/cluster/board.h"

#include "service/cluster/wire.h"
#include "service/whole_file.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEAD_BYTES = 16,
    ENTRY_TABLE = 'T',
    ENTRY_RECOVERED = 'R',
    ENTRY_STEP = 'S',
    PATH_BYTES = 1400
};

/* What a file or an image says. */
struct state {
    struct table *table; /* NULL: none yet */
    uint64_t index, term;
};

struct board {
    char path[PATH_BYTES];
    const char *refusal;

    pthread_mutex_t mu;   /* images and installing run on a thread of their own */
    struct table *table;  /* guarded by mu for who is not the loop's thread; NULL: none yet */
    uint64_t index, term; /* the same */
};

/* ---- its file, which is an image too: index, term, table ------------------------------------------------------------ */

/* In the arena; absent when memory ran out. */
static struct text encode_locked(const struct board *board, struct arena *arena)
{
    struct text table = board->table == NULL ? TEXT("") : table_encode(board->table, arena);
    unsigned char *bytes = text_given(table) ? arena_alloc(arena, HEAD_BYTES + table.len) : NULL;
    if (bytes == NULL) {
        return TEXT_ABSENT;
    }
    wire_put64(bytes, board->index);
    wire_put64(bytes + 8, board->term);
    if (table.len > 0) {
        memcpy(bytes + HEAD_BYTES, table.at, table.len);
    }
    return (struct text){(const char *)bytes, HEAD_BYTES + table.len};
}

/* What the bytes say, its table the caller's to free. False when they are no board, or memory ran out. */
static bool decode(struct text bytes, struct state *ret)
{
    struct arena arena = ARENA_EMPTY;
    if (bytes.len < HEAD_BYTES) {
        return false;
    }
    struct text rest = {bytes.at + HEAD_BYTES, bytes.len - HEAD_BYTES};
    const struct table *table = rest.len == 0 ? NULL : table_decode(rest, &arena);
    struct table *kept = table == NULL ? NULL : malloc(sizeof *kept);
    bool good = rest.len == 0 || kept != NULL;
    if (kept != NULL) {
        *kept = *table;
    }
    if (good) {
        *ret = (struct state){kept, wire_get64((const unsigned char *)bytes.at),
                              wire_get64((const unsigned char *)bytes.at + 8)};
    }
    arena_free(&arena);
    return good;
}

static void take_over_locked(struct board *board, struct state taken)
{
    free(board->table);
    board->table = taken.table;
    board->index = taken.index;
    board->term = taken.term;
}

static bool store_locked(struct board *board)
{
    struct arena arena = ARENA_EMPTY;
    struct text bytes = encode_locked(board, &arena);
    bool stored = text_given(bytes) && whole_file_replace(board->path, bytes, false);
    arena_free(&arena);
    return stored;
}

static bool load(struct board *board)
{
    void *bytes;
    size_t len;
    if (!whole_file_read(board->path, &bytes, &len)) {
        return errno == ENOENT;
    }
    struct state taken;
    bool good = decode((struct text){bytes, len}, &taken);
    free(bytes);
    if (good) {
        take_over_locked(board, taken);
    }
    return good;
}

/* ---- as the replica sees it --------------------------------------------------------------------------------------- */

/* The table after an entry, NULL when there is none yet; it is the next one when the step fits, else as it was: the same
   on every member. False when memory ran out. */
static bool take_entry(struct board *board, struct text entry, struct table **ret)
{
    struct arena arena = ARENA_EMPTY;
    struct text body = {entry.at + 1, entry.len - 1};
    const struct table *before = board->table;
    struct step step;
    board->refusal = "The entry is none of a table.";
    bool founds = entry.at[0] == ENTRY_TABLE && before == NULL;
    if (founds || (entry.at[0] == ENTRY_RECOVERED && before != NULL)) {
        const struct table *given = table_decode(body, &arena);
        bool newer = given != NULL && (founds || given->epoch > before->epoch);
        before = newer ? given : before;
        board->refusal = newer ? NULL : board->refusal;
    }
    struct table *after = before == NULL ? NULL : malloc(sizeof *after);
    if (after != NULL) {
        *after = *before;
    }
    if (after != NULL && entry.at[0] == ENTRY_STEP && step_decode(body, &step)) {
        board->refusal = placement_apply(after, &step);
    }
    bool good = after != NULL || before == NULL;
    arena_free(&arena);
    *ret = after;
    return good;
}

/* What cannot be stored is not kept either: opened again, the replica gives the entry again. */
static bool apply_locked(struct board *board, struct text entry, uint64_t index, uint64_t term)
{
    struct table *before = board->table, *after = before;
    uint64_t index_before = board->index, term_before = board->term;
    if (entry.len > 0 && !take_entry(board, entry, &after)) {
        return false;
    }
    board->table = after;
    board->index = index;
    board->term = term;
    bool stored = store_locked(board);
    if (!stored) {
        board->table = before;
        board->index = index_before;
        board->term = term_before;
    }
    if (before != after) {
        free(stored ? before : after);
    }
    return stored;
}

static bool on_apply(void *context, struct text entry, uint64_t index, uint64_t term,
                     void *proposal, bool later)
{
    struct board *board = context;
    (void)later;
    (void)proposal;
    pthread_mutex_lock(&board->mu);
    bool stored = apply_locked(board, entry, index, term);
    pthread_mutex_unlock(&board->mu);
    return stored;
}

static void on_applied(void *context, uint64_t *ret_index, uint64_t *ret_term)
{
    const struct board *board = context;
    *ret_index = board->index;
    *ret_term = board->term;
}

static bool on_sync(void *context)
{
    const struct board *board = context;
    return whole_file_sync(board->path) || errno == ENOENT;
}

static bool on_image(void *context, void **ret_bytes, size_t *ret_count)
{
    struct board *board = context;
    struct arena arena = ARENA_EMPTY;
    pthread_mutex_lock(&board->mu);
    struct text bytes = encode_locked(board, &arena);
    pthread_mutex_unlock(&board->mu);
    void *copy = text_given(bytes) ? malloc(bytes.len) : NULL;
    if (copy != NULL) {
        memcpy(copy, bytes.at, bytes.len);
        *ret_bytes = copy;
        *ret_count = bytes.len;
    }
    arena_free(&arena);
    return copy != NULL;
}

/* An image is the file that it becomes. As with an entry, what cannot be stored is not kept either. */
static bool install_locked(struct board *board, struct text image)
{
    struct state taken;
    if (!decode(image, &taken)) {
        return false;
    }
    if (!whole_file_replace(board->path, image, false)) {
        free(taken.table);
        return false;
    }
    take_over_locked(board, taken);
    return true;
}

static bool on_install(void *context, struct text image)
{
    struct board *board = context;
    bool good = image.len >= HEAD_BYTES;
    pthread_mutex_lock(&board->mu);
    if (good && wire_get64((const unsigned char *)image.at) > board->index) {
        good = install_locked(board, image);
    }
    pthread_mutex_unlock(&board->mu);
    return good && on_sync(board);
}

struct replica_machine board_machine(struct board *board)
{
    return (struct replica_machine){.context = board,
                                    .apply = on_apply,
                                    .applied = on_applied,
                                    .sync = on_sync,
                                    .image = on_image,
                                    .install = on_install};
}

/* ---- the rest ----------------------------------------------------------------------------------------------------- */

struct board *board_open(const char *path, char ret_why[256])
{
    struct board *board = calloc(1, sizeof *board);
    if (board == NULL) {
        snprintf(ret_why, 256, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&board->mu, NULL);
    snprintf(board->path, sizeof board->path, "%s", path);
    if (!load(board)) {
        snprintf(ret_why, 256, "the cluster's table %.180s cannot be read", path);
        board_close(board);
        return NULL;
    }
    return board;
}

void board_close(struct board *board)
{
    if (board != NULL) {
        pthread_mutex_destroy(&board->mu);
        free(board->table);
        free(board);
    }
}

uint64_t board_epoch(struct board *board)
{
    pthread_mutex_lock(&board->mu);
    uint64_t epoch = board->table == NULL ? 0 : board->table->epoch;
    pthread_mutex_unlock(&board->mu);
    return epoch;
}

bool board_copy(struct board *board, struct table *ret)
{
    pthread_mutex_lock(&board->mu);
    bool has = board->table != NULL;
    if (has) {
        *ret = *board->table;
    }
    pthread_mutex_unlock(&board->mu);
    return has;
}

const char *board_refusal(const struct board *board)
{
    return board->refusal;
}

static struct text marked(char mark, struct text body, struct arena *arena)
{
    char *bytes = text_given(body) ? arena_alloc(arena, body.len + 1) : NULL;
    if (bytes == NULL) {
        return TEXT_ABSENT;
    }
    bytes[0] = mark;
    memcpy(bytes + 1, body.at, body.len);
    return (struct text){bytes, body.len + 1};
}

struct text board_founding(const struct table *table, struct arena *arena)
{
    return marked(ENTRY_TABLE, table_encode(table, arena), arena);
}

struct text board_recovered(const struct table *table, struct arena *arena)
{
    return marked(ENTRY_RECOVERED, table_encode(table, arena), arena);
}

struct text board_step(const struct step *step, struct arena *arena)
{
    return marked(ENTRY_STEP, step_encode(step, arena), arena);
}
