#include "db/varint.h"

size_t varint_write(uint64_t n, unsigned char ret[VARINT_BYTES_MAX])
{
    size_t len = 0;
    while (n >= 0x80) {
        ret[len++] = (unsigned char)(n | 0x80);
        n >>= 7;
    }
    ret[len++] = (unsigned char)n;
    return len;
}

bool varint_read(const unsigned char **at, const unsigned char *end, uint64_t *ret)
{
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 64 && *at < end; shift += 7) {
        uint64_t byte = *(*at)++;
        if (shift == 63 && byte > 1) {
            return false;
        }
        n |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = n;
            return shift == 0 || byte != 0;
        }
    }
    return false;
}
