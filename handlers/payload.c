#include "handlers/payload.h"

#include "db/limits.h"

#include <pthread.h>
#include <zstd.h>

enum {
    COMPRESSED_FROM_BYTES = 256, /* below, a frame's own bytes eat up what it saves */
    LEVEL = 1
};

/* A context takes longer to make than a small body to compress, so each thread keeps its own. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t compressor_key, decompressor_key;

static void free_compressor(void *at)
{
    ZSTD_freeCCtx(at);
}

static void free_decompressor(void *at)
{
    ZSTD_freeDCtx(at);
}

static void make_keys(void)
{
    pthread_key_create(&compressor_key, free_compressor);
    pthread_key_create(&decompressor_key, free_decompressor);
}

static ZSTD_CCtx *compressor(void)
{
    pthread_once(&once, make_keys);
    ZSTD_CCtx *context = pthread_getspecific(compressor_key);
    if (context == NULL) {
        context = ZSTD_createCCtx();
        pthread_setspecific(compressor_key, context);
    }
    return context;
}

static ZSTD_DCtx *decompressor(void)
{
    pthread_once(&once, make_keys);
    ZSTD_DCtx *context = pthread_getspecific(decompressor_key);
    if (context == NULL) {
        context = ZSTD_createDCtx();
        pthread_setspecific(decompressor_key, context);
    }
    return context;
}

struct text payload_pack(struct arena *arena, struct text json, int64_t *ret_raw_bytes)
{
    *ret_raw_bytes = 0;
    if (json.len < COMPRESSED_FROM_BYTES) {
        return json;
    }
    /* What does not fit into nine tenths is not worth it: zstd gives up by itself then. */
    size_t room = json.len / 10 * 9;
    char *at = arena_alloc(arena, room);
    ZSTD_CCtx *context = compressor();
    if (at == NULL || context == NULL) {
        return json;
    }
    size_t len = ZSTD_compressCCtx(context, at, room, json.at, json.len, LEVEL);
    if (ZSTD_isError(len)) {
        return json;
    }
    *ret_raw_bytes = (int64_t)json.len;
    return (struct text){at, len};
}

struct text payload_unpack(struct arena *arena, struct text stored, int64_t raw_bytes)
{
    if (raw_bytes == 0) {
        return stored;
    }
    if (raw_bytes < 0 || raw_bytes > BODY_BYTES_MAX) {
        return TEXT_ABSENT;
    }
    size_t room = (size_t)raw_bytes;
    char *at = arena_alloc(arena, room);
    ZSTD_DCtx *context = decompressor();
    if (at == NULL || context == NULL) {
        return TEXT_ABSENT;
    }
    size_t len = ZSTD_decompressDCtx(context, at, room, stored.at, stored.len);
    return len == room ? (struct text){at, len} : TEXT_ABSENT;
}
