#include "handlers/ring.h"

#include "handlers/json_out.h"

#include <assert.h>
#include <xxhash.h>

uint64_t ring_hash(struct text routing_key)
{
    return XXH3_64bits(routing_key.at, routing_key.len);
}

int64_t ring_partition(uint64_t hash, unsigned partitions)
{
    assert(partitions > 0 && (partitions & (partitions - 1)) == 0);
    /* The circle is cut into equal arcs: floor(hash × P / 2^64). */
    return (int64_t)((unsigned __int128)hash * partitions >> 64);
}

void ring_write_member(struct json_out *out, const struct ring_member *member)
{
    out_member_text(out, "id", member->id);
    out_member_text(out, "name", member->name);
    out_member_text(out, "url", member->url);
    out_member_int(out, "weight", member->weight);
    out_member_text(out, "state", member->state);
}

int64_t ring_shard(int64_t home, int64_t shard, unsigned partitions)
{
    assert(shard >= 0 && shard < (int64_t)partitions);
    /* The number's bits in reverse: half the ring away, a quarter, three quarters, an eighth … */
    int64_t away = 0;
    for (unsigned bit = 1; bit < partitions; bit *= 2) {
        away = away * 2 + ((shard & bit) != 0);
    }
    return (home + away) & (int64_t)(partitions - 1);
}

bool ring_alone(const struct process *process, struct arena *arena, struct ring_view *ret)
{
    static const size_t ALONE[] = {0};
    static const struct ring_place PLACE = {0, ALONE, 1};
    struct ring_member *member = arena_zalloc(arena, 1, sizeof *member);
    if (member == NULL) {
        return false;
    }
    *member = (struct ring_member){.id = process->node_id,
                                   .name = process->node,
                                   .url = process->url,
                                   .weight = 1,
                                   .state = TEXT("active")};
    *ret = (struct ring_view){.epoch = 1,
                              .replica_count = 1,
                              .members = member,
                              .member_count = 1,
                              .partitions = &PLACE,
                              .partition_count = 1};
    return true;
}

bool ring_status_alone(const struct process *process, struct arena *arena, struct ring_status *ret)
{
    static const struct ring_member_status MEMBER = {.unseen_ms = 0, .successor = RING_NOBODY};
    struct ring_replica_status *replica = arena_zalloc(arena, 1, sizeof *replica);
    struct ring_group_status *group = arena_zalloc(arena, 1, sizeof *group);
    if (replica == NULL || group == NULL || !ring_alone(process, arena, &ret->ring)) {
        return false;
    }
    *replica = (struct ring_replica_status){
        .role = TEXT("voter"), .permille = ABSENT, .image_bytes = ABSENT, .image_sent = ABSENT};
    *group = (struct ring_group_status){0, replica, 1};
    ret->members = &MEMBER;
    ret->table = *group;
    ret->partitions = group;
    return true;
}
