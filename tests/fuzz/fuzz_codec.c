/*
 * Any bytes as a command and as a result: what is decoded must encode to the same bytes again.
 */
#include "db/codec.h"
#include "tests/fuzz/front.h"

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
        PROMISE(text_equal(command_encode(&command, &arena), input), "%s",
                command_name(command.kind));
    }
    if (result_decode(input, &arena, &result)) {
        PROMISE(text_equal(result_encode(&result, &arena), input), "shape %d", (int)result.shape);
    }
    free(bytes);
    arena_free(&arena);
    return 0;
}
