/*
 * Any bytes as a receipt, and as a stored body. Of all texts only the one that receipt_make gives for these numbers
 * and this queue is a receipt; and what is unpacked is as long as it was said to be. The first line is the receipt (or,
 * after a '+', the numbers of one that is made, and changed at one byte), the rest a body.
 */
#include "db/limits.h"
#include "handlers/payload.h"
#include "handlers/receipt.h"
#include "tests/fuzz/front.h"

static const struct text SECRET = {"0123456789abcdef0123456789abcdef", 32};

/* Whatever is taken for a receipt must be the very text that is made for what it says. */
static void try(struct arena *arena, struct text given)
{
    struct receipt read;
    if (receipt_read(arena, SECRET, TEXT("jobs"), given, &read)) {
        struct text made = receipt_make(arena, SECRET, TEXT("jobs"), &read);
        PROMISE(text_equal(made, given), "two receipts for one delivery");
        PROMISE(!receipt_read(arena, SECRET, TEXT("jobs2"), given, &read), "of another queue");
    }
}

static int64_t number(struct text bytes, size_t from, size_t count)
{
    int64_t n = 0;
    for (size_t i = from; i < from + count; i++) {
        n = n << 8 | (i < bytes.len ? (unsigned char)bytes.at[i] : 0);
    }
    return n;
}

/* A receipt of these numbers, whole and with one byte changed. */
static void try_made(struct arena *arena, struct text bytes)
{
    struct receipt wanted = {number(bytes, 0, 2), number(bytes, 2, 6), number(bytes, 8, 7)}, read;
    struct text made = receipt_make(arena, SECRET, TEXT("jobs"), &wanted);
    PROMISE(receipt_read(arena, SECRET, TEXT("jobs"), made, &read), "it is none");
    PROMISE(memcmp(&read, &wanted, sizeof read) == 0, "it says something else");
    struct text changed = arena_copy(arena, made);
    size_t at = (size_t)number(bytes, 15, 1) % changed.len;
    ((char *)(uintptr_t)changed.at)[at] ^= (char)(1 + number(bytes, 16, 1) % 255);
    PROMISE(!receipt_read(arena, SECRET, TEXT("jobs"), changed, &read), "changed at %zu", at);
    try(arena, changed);
}

static void try_body(struct arena *arena, struct text body)
{
    int64_t raw;
    struct text stored = payload_pack(arena, body, &raw);
    PROMISE(text_equal(payload_unpack(arena, stored, raw), body), "another body");
    for (int64_t said = 1; said < BODY_BYTES_MAX * 4; said *= 3) {
        struct text out = payload_unpack(arena, body, said);
        PROMISE(!text_given(out) || (out.len == (size_t)said && said <= BODY_BYTES_MAX), "length");
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct arena arena = ARENA_EMPTY;
    struct text rest = {(const char *)data, size};
    struct text line = front_line(&rest);
    if (line.len > 0 && line.at[0] == '+') {
        try_made(&arena, (struct text){line.at + 1, line.len - 1});
    } else {
        try(&arena, line);
    }
    try_body(&arena, rest);
    arena_free(&arena);
    return 0;
}
