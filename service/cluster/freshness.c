#include "service/cluster/freshness.h"

#include "db/limits.h"
#include "service/cluster/wire.h"

enum { PULSES_VERSION = 1, HEAD_BYTES = 1 + 4, PULSE_BYTES = 4 + 3 * 8 };

/* ---- bytes: a version, how many, and each one's numbers, big-endian ------------------------------------------------ */

struct text pulses_encode(const struct pulses *pulses, struct arena *arena)
{
    size_t len = HEAD_BYTES + pulses->count * PULSE_BYTES;
    unsigned char *bytes = arena_zalloc(arena, len, 1);
    if (bytes == NULL) {
        return TEXT_ABSENT;
    }
    bytes[0] = PULSES_VERSION;
    wire_put32(bytes + 1, (uint32_t)pulses->count);
    for (size_t i = 0; i < pulses->count; i++) {
        const struct pulse *pulse = &pulses->at[i];
        unsigned char *at = bytes + HEAD_BYTES + i * PULSE_BYTES;
        wire_put32(at, pulse->partition);
        wire_put64(at + 4, (uint64_t)pulse->applied);
        wire_put64(at + 12, (uint64_t)pulse->now.now_ms);
        wire_put64(at + 20, (uint64_t)pulse->now.lease_now_ms);
    }
    return (struct text){(const char *)bytes, len};
}

static bool get_pulse(const unsigned char *at, struct pulse *ret)
{
    *ret = (struct pulse){
        .partition = wire_get32(at),
        .applied = (int64_t)wire_get64(at + 4),
        .now = {(int64_t)wire_get64(at + 12), (int64_t)wire_get64(at + 20)},
    };
    return ret->partition < PARTITIONS_MAX && ret->applied >= 0 && ret->now.now_ms >= 0 &&
           ret->now.lease_now_ms >= 0;
}

bool pulses_decode(struct text bytes, struct arena *arena, struct pulses *ret)
{
    const unsigned char *at = (const unsigned char *)bytes.at;
    if (bytes.len < HEAD_BYTES || at[0] != PULSES_VERSION) {
        return false;
    }
    size_t count = wire_get32(at + 1);
    if (count > PARTITIONS_MAX || bytes.len != HEAD_BYTES + count * PULSE_BYTES) {
        return false;
    }
    struct pulse *pulses = arena_zalloc(arena, count + 1, sizeof *pulses);
    bool good = pulses != NULL;
    for (size_t i = 0; good && i < count; i++) {
        good = get_pulse(at + HEAD_BYTES + i * PULSE_BYTES, &pulses[i]);
    }
    *ret = (struct pulses){count, pulses};
    return good;
}

/* ---- what a replica makes of it ----------------------------------------------------------------------------------- */

void freshness_apply(struct freshness *freshness, int64_t applied)
{
    if (!freshness->waits || applied < freshness->pulse.applied) {
        return;
    }
    freshness->waits = false;
    if (!freshness->known || freshness->asked_us > freshness->as_of_us) {
        freshness->known = true;
        freshness->as_of_us = freshness->asked_us;
        freshness->clock = freshness->pulse.now;
    }
}

/* One at a time is waited for: were each taken in place of the last, a replica that is always a little behind would
   never come to any. */
void freshness_hear(struct freshness *freshness, const struct pulse *pulse, int64_t asked_us,
                    int64_t applied)
{
    freshness_apply(freshness, applied);
    if (!freshness->waits) {
        freshness->waits = true;
        freshness->pulse = *pulse;
        freshness->asked_us = asked_us;
        freshness_apply(freshness, applied);
    }
}

void freshness_lead(struct freshness *freshness, int64_t at_us)
{
    freshness->waits = false;
    freshness->clock = (struct stamp){0, 0};
    if (!freshness->known || at_us > freshness->as_of_us) {
        freshness->known = true;
        freshness->as_of_us = at_us;
    }
}

static int64_t clamp(int64_t seen, int64_t told, int64_t due)
{
    int64_t latest = told < due ? told : due - 1;
    return latest > seen ? latest : seen;
}

struct stamp freshness_clock(const struct freshness *freshness, struct stamp seen, struct due due)
{
    return (struct stamp){
        .now_ms = clamp(seen.now_ms, freshness->clock.now_ms, due.wall_ms),
        .lease_now_ms = clamp(seen.lease_now_ms, freshness->clock.lease_now_ms, due.lease_ms)};
}
