/*
 * Numbers as they go between nodes and into the log: big-endian, so that what is sent is the same everywhere.
 */
#ifndef RINGHOLD_SERVICE_CLUSTER_WIRE_H
#define RINGHOLD_SERVICE_CLUSTER_WIRE_H

#include <stdint.h>

static inline void wire_put32(unsigned char *at, uint32_t n)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (unsigned char)(n >> (24 - 8 * i));
    }
}

static inline uint32_t wire_get32(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline void wire_put64(unsigned char *at, uint64_t n)
{
    wire_put32(at, (uint32_t)(n >> 32));
    wire_put32(at + 4, (uint32_t)n);
}

static inline uint64_t wire_get64(const unsigned char *at)
{
    return (uint64_t)wire_get32(at) << 32 | wire_get32(at + 4);
}

#endif
