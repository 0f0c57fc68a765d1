/*
 * Any bytes as a command and as a result: what is decoded must encode to the same bytes again; what an older version wrote,
 * to bytes of this version that do.
 */
#include "db/codec.h"
#include "tests/fuzz/front.h"

static bool is_older(struct text input)
{
    return input.len > 0 && input.at[0] < CODEC_VERSION;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct arena arena = ARENA_EMPTY;
    struct command command;
    struct result result;
    char *bytes = malloc(size + 1);
    PROMISE(bytes != NULL, "there is memory");
    memcpy(bytes, data, size);
    struct text input = {bytes, size};
    if (command_decode(input, &arena, &command)) {
        struct text again = command_encode(&command, &arena);
        PROMISE(is_older(input) ? command_decode(again, &arena, &command)
                                : text_equal(again, input),
                "%s", command_name(command.kind));
        PROMISE(text_equal(command_encode(&command, &arena), again), "%s, twice",
                command_name(command.kind));
    }
    if (result_decode(input, &arena, &result)) {
        struct text again = result_encode(&result, &arena);
        PROMISE(is_older(input) ? result_decode(again, &arena, &result) : text_equal(again, input),
                "shape %d", (int)result.shape);
        PROMISE(text_equal(result_encode(&result, &arena), again), "shape %d, twice",
                (int)result.shape);
    }
    free(bytes);
    arena_free(&arena);
    return 0;
}
