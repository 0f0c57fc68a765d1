/*
 * Any bytes as a table and as a step: what is decoded passes its check and encodes to the same bytes again; and what
 * placement proposes for such a table, whatever was seen, fits and leads to another good table.
 */
#include "service/cluster/codec.h"
#include "tests/fuzz/front.h"

/* The rest of the input says what is seen. */
static void look(struct text bytes, const struct table *table, struct placement_view *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->epoch = table->epoch;
    ret->reachable = UINT64_MAX;
    for (unsigned p = 0; p < table->partition_count; p++) {
        unsigned char seen = (unsigned char)bytes.at[p % bytes.len];
        ret->partitions[p].settled = (seen & 1) == 0;
        ret->partitions[p].caught_up = (seen & 2) == 0 ? UINT64_MAX : seen;
        ret->partitions[p].leader = (seen & 4) == 0 ? table->partitions[p].leader : 0;
        ret->reachable &= (seen & 0xf0) == 0x50 ? ~(UINT64_C(1) << (seen & 15)) : UINT64_MAX;
        ret->overdue |= (seen & 8) == 0 ? 0 : UINT64_C(1) << (seen >> 4);
    }
}

static void check_steps(struct table *table, struct text bytes)
{
    static struct placement_view view;
    static struct step steps[PLACEMENT_STEPS_MAX];
    struct placement_limits limits = {16, 4};
    for (int round = 0; round < 4; round++) {
        look(bytes, table, &view);
        unsigned count = placement_next(table, &view, &limits, steps);
        for (unsigned i = 0; i < count; i++) {
            if (table->epoch == VERSION_MAX) {
                return;
            }
            const char *wrong = placement_apply(table, &steps[i]);
            PROMISE(wrong == NULL, "%s: %s", step_kind_name(steps[i].kind), wrong);
            wrong = table_check(table);
            PROMISE(wrong == NULL, "after %s: %s", step_kind_name(steps[i].kind), wrong);
        }
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct arena arena = ARENA_EMPTY;
    struct step step;
    char *bytes = malloc(size + 1);
    PROMISE(bytes != NULL, "there is memory");
    memcpy(bytes, data, size);
    struct text input = {bytes, size};
    struct table *table = table_decode(input, &arena);
    if (table != NULL) {
        PROMISE(text_equal(table_encode(table, &arena), input), "epoch %llu",
                (unsigned long long)table->epoch);
        check_steps(table, input);
    }
    if (step_decode(input, &step)) {
        PROMISE(text_equal(step_encode(&step, &arena), input), "%s", step_kind_name(step.kind));
    }
    free(bytes);
    arena_free(&arena);
    return 0;
}
