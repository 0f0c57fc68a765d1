/* The ring's arithmetic, beside the published vectors, whose hashes another program computed (docs/ring.md). */
#include "handlers/ring.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

/* The tests run where the Makefile is. */
static json_t *read_vectors(json_t **ret_document)
{
    json_error_t error;
    *ret_document = json_load_file("docs/ring-vectors.json", JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(*ret_document, "docs/ring-vectors.json: %s", error.text);
    json_t *vectors = json_object_get(*ret_document, "vectors");
    cr_assert_geq(json_array_size(vectors), 24);
    return vectors;
}

static struct text string_of(const json_t *vector, const char *member)
{
    const json_t *value = json_object_get(vector, member);
    cr_assert(json_is_string(value), "%s", member);
    return (struct text){json_string_value(value), json_string_length(value)};
}

static void check_vector(const json_t *vector)
{
    struct text name = string_of(vector, "name"), key = text_routing_key(name);
    char hash[17];
    const char *partitions;
    json_t *partition;
    snprintf(hash, sizeof hash, "%016" PRIx64, ring_hash(key));
    cr_expect(text_equal(key, string_of(vector, "routing_key")), "%s", name.at);
    cr_expect_str_eq(hash, string_of(vector, "hash").at, "%s", name.at);
    json_object_foreach(json_object_get(vector, "partition"), partitions, partition)
    {
        unsigned count = (unsigned)strtoul(partitions, NULL, 10);
        cr_expect_eq(ring_partition(ring_hash(key), count), json_integer_value(partition),
                     "%s of %u", name.at, count);
    }
}

Test(ring, every_published_vector_holds)
{
    json_t *document, *vectors = read_vectors(&document), *vector;
    size_t i;
    json_array_foreach(vectors, i, vector)
    {
        cr_expect_eq(json_object_size(json_object_get(vector, "partition")), 4);
        check_vector(vector);
    }
    json_decref(document);
}

Test(ring, the_vectors_have_the_shortest_and_longest_names_and_every_byte_a_name_may_have)
{
    json_t *document, *vectors = read_vectors(&document), *vector;
    bool seen[256] = {false}, shortest = false, longest = false, cut = false;
    size_t i;
    json_array_foreach(vectors, i, vector)
    {
        struct text name = string_of(vector, "name");
        shortest |= name.len == 1;
        longest |= name.len == 255;
        cut |= text_routing_key(name).len < name.len;
        for (size_t at = 0; at < name.len; at++) {
            seen[(unsigned char)name.at[at]] = true;
        }
    }
    cr_expect(shortest && longest && cut);
    for (const char *c = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-~:@+=,";
         *c; c++) {
        cr_expect(seen[(unsigned char)*c], "%c", *c);
    }
    json_decref(document);
}

Test(ring, the_arcs_are_equal_and_the_last_hash_lies_in_the_last)
{
    for (unsigned partitions = 1; partitions <= 1024; partitions *= 2) {
        uint64_t arc = UINT64_MAX / partitions + 1; /* 0 where it is the whole circle */
        cr_expect_eq(ring_partition(0, partitions), 0);
        cr_expect_eq(ring_partition(UINT64_MAX, partitions), partitions - 1);
        for (unsigned p = 1; p < partitions; p++) {
            cr_expect_eq(ring_partition(p * arc, partitions), p);
            cr_expect_eq(ring_partition(p * arc - 1, partitions), p - 1);
        }
    }
}

Test(ring, a_queues_shards_are_on_partitions_of_their_own_however_many_there_are)
{
    for (unsigned partitions = 1; partitions <= 64; partitions *= 2) {
        bool taken[64] = {false};
        for (int64_t shard = 0; shard < (int64_t)partitions; shard++) {
            int64_t at = ring_shard(5 % partitions, shard, partitions);
            cr_assert(at >= 0 && at < (int64_t)partitions && !taken[at]);
            taken[at] = true;
        }
    }
    cr_expect_eq(ring_shard(5, 0, 8), 5);
    cr_expect_eq(ring_shard(5, 1, 8), 1);
    cr_expect_eq(ring_shard(5, 2, 8), 7);
    cr_expect_eq(ring_shard(5, 3, 8), 3);
}
