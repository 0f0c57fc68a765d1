/*
 * Receipts: what proves one delivery of one message.
 *
 *     r1 . base64url(partition: 2 bytes, message: 6 bytes, fence: 8 bytes; big-endian) . base64url(MAC: 12 bytes)
 *
 * The MAC is of these 16 bytes and the queue's name, under the store's secret, so that nobody can make a receipt, or
 * use one on another queue. It does not say whether the delivery still holds: the state machine does.
 */
#ifndef RINGHOLD_HANDLERS_RECEIPT_H
#define RINGHOLD_HANDLERS_RECEIPT_H

#include "db/arena.h"

#include <stdint.h>

enum { RECEIPT_BYTES_MAX = 255 };

struct receipt {
    int64_t partition;
    int64_t message;
    int64_t fence;
};

/* The receipt as text, in the arena; absent when memory ran out. */
struct text receipt_make(struct arena *arena, struct text secret, struct text queue,
                         const struct receipt *receipt);
/* False: this is no receipt that receipt_make gave for this queue under this secret. Takes the same time whichever
   byte of the MAC is wrong. */
bool receipt_read(struct arena *arena, struct text secret, struct text queue, struct text given,
                  struct receipt *ret);

#endif
