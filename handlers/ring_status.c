/*
 * GET /v1/ring/status: how the ring is doing, for who runs it, as JSON or as a table to be read.
 */
#include "handlers/json_out.h"
#include "handlers/process.h"
#include "handlers/ring.h"
#include "handlers/route.h"

#include <string.h>

static struct text name_of(const struct ring_status *status, size_t member)
{
    return member == RING_NOBODY ? TEXT_ABSENT : status->ring.members[member].name;
}

/* ---- as JSON ------------------------------------------------------------------------------------------------------ */

static void member_int_if(struct json_out *out, const char *key, int64_t n)
{
    if (n != ABSENT) {
        out_member_int(out, key, n);
    }
}

static void write_group(struct json_out *out, const struct ring_status *status,
                        const struct ring_group_status *group)
{
    out_member_text_if(out, "leader", name_of(status, group->leader));
    out_key(out, "replicas");
    out_open(out, '[');
    for (size_t i = 0; i < group->replica_count; i++) {
        const struct ring_replica_status *replica = &group->replicas[i];
        out_open(out, '{');
        out_member_text(out, "member", name_of(status, replica->member));
        out_member_text(out, "role", replica->role);
        member_int_if(out, "behind", replica->behind);
        out_close(out, '}');
    }
    out_close(out, ']');
}

static void write_member(struct json_out *out, const struct ring_status *status, size_t i)
{
    out_open(out, '{');
    ring_write_member(out, &status->ring.members[i]);
    out_member_text_if(out, "successor", name_of(status, status->members[i].successor));
    member_int_if(out, "unseen_ms", status->members[i].unseen_ms);
    out_close(out, '}');
}

static bool moves(const struct ring_replica_status *replica)
{
    return text_equal(replica->role, TEXT("learner")) ||
           text_equal(replica->role, TEXT("retiring"));
}

static void write_move(struct json_out *out, const struct ring_status *status, size_t partition,
                       const struct ring_replica_status *replica)
{
    bool comes = text_equal(replica->role, TEXT("learner"));
    out_open(out, '{');
    out_member_int(out, "partition", (int64_t)partition);
    out_member_text(out, "member", name_of(status, replica->member));
    out_member_text(out, "direction", comes ? TEXT("in") : TEXT("out"));
    if (replica->permille != ABSENT) {
        out_member_int(out, "percent", replica->permille / 10);
    }
    member_int_if(out, "image_bytes", replica->image_bytes);
    member_int_if(out, "image_sent_bytes", replica->image_sent);
    out_close(out, '}');
}

static struct text to_json(struct arena *arena, const struct ring_status *status)
{
    struct json_out out = out_begin(arena);
    out_open(&out, '{');
    out_member_int(&out, "epoch", status->ring.epoch);
    out_member_int(&out, "replica_count", status->ring.replica_count);
    out_key(&out, "members");
    out_open(&out, '[');
    for (size_t i = 0; i < status->ring.member_count; i++) {
        write_member(&out, status, i);
    }
    out_close(&out, ']');
    out_key(&out, "table");
    out_open(&out, '{');
    write_group(&out, status, &status->table);
    out_close(&out, '}');
    out_key(&out, "partitions");
    out_open(&out, '[');
    for (size_t i = 0; i < status->ring.partition_count; i++) {
        out_open(&out, '{');
        out_member_int(&out, "id", (int64_t)i);
        write_group(&out, status, &status->partitions[i]);
        out_close(&out, '}');
    }
    out_close(&out, ']');
    out_key(&out, "moves");
    out_open(&out, '[');
    for (size_t i = 0; i < status->ring.partition_count; i++) {
        const struct ring_group_status *group = &status->partitions[i];
        for (size_t j = 0; j < group->replica_count; j++) {
            if (moves(&group->replicas[j])) {
                write_move(&out, status, i, &group->replicas[j]);
            }
        }
    }
    out_close(&out, ']');
    out_close(&out, '}');
    return out_end(&out);
}

/* ---- as a table --------------------------------------------------------------------------------------------------- */

/* Lines that grow within the arena; cells are padded to their column's width. */
enum { COLUMNS_MAX = 8 };
struct sheet {
    struct arena *arena;
    struct text (*cells)[COLUMNS_MAX];
    size_t rows, columns;
};

static struct sheet sheet_make(struct arena *arena, size_t rows, size_t columns)
{
    struct sheet sheet = {arena, arena_zalloc(arena, rows, COLUMNS_MAX * sizeof(struct text)), 0,
                          columns};
    return sheet;
}

/* The next row's cells, to be filled; NULL when memory ran out. */
static struct text *sheet_row(struct sheet *sheet)
{
    return sheet->cells == NULL ? NULL : sheet->cells[sheet->rows++];
}

static size_t width_of(const struct sheet *sheet, size_t column)
{
    size_t width = 0;
    for (size_t i = 0; i < sheet->rows; i++) {
        width = sheet->cells[i][column].len > width ? sheet->cells[i][column].len : width;
    }
    return width;
}

static size_t put(char *to, size_t at, struct text t)
{
    if (to != NULL && t.len > 0) {
        memcpy(to + at, t.at, t.len);
    }
    return at + t.len;
}

/* Writes the sheet to `to`, or, where that is NULL, only counts. */
static size_t sheet_write(const struct sheet *sheet, char *to)
{
    size_t at = 0;
    for (size_t i = 0; sheet->cells != NULL && i < sheet->rows; i++) {
        for (size_t c = 0; c < sheet->columns; c++) {
            struct text cell = sheet->cells[i][c];
            at = put(to, at, cell);
            size_t pad = c + 1 == sheet->columns ? 0 : width_of(sheet, c) - cell.len + 2;
            for (size_t s = 0; s < pad; s++) {
                at = put(to, at, TEXT(" "));
            }
        }
        at = put(to, at, TEXT("\n"));
    }
    return at;
}

static struct text joined(struct arena *arena, struct text before, struct text after)
{
    return arena_format(arena, "%.*s%s%.*s", (int)before.len, before.len == 0 ? "" : before.at,
                        before.len == 0 ? "" : ", ", (int)after.len, after.at);
}

static struct text describe_replica(struct arena *arena, const struct ring_status *status,
                                    const struct ring_replica_status *replica)
{
    struct text name = name_of(status, replica->member);
    bool votes = text_equal(replica->role, TEXT("voter"));
    struct text words = votes ? TEXT("") : replica->role;
    if (replica->permille != ABSENT) {
        words =
            joined(arena, words, arena_format(arena, "%lld%%", (long long)replica->permille / 10));
    }
    if (replica->behind != ABSENT && replica->behind > 0) {
        words =
            joined(arena, words, arena_format(arena, "%lld behind", (long long)replica->behind));
    }
    return words.len == 0 ? name
                          : arena_format(arena, "%.*s (%.*s)", (int)name.len, name.at,
                                         (int)words.len, words.at);
}

static struct text describe_replicas(struct arena *arena, const struct ring_status *status,
                                     const struct ring_group_status *group)
{
    struct text words = TEXT("");
    for (size_t i = 0; i < group->replica_count; i++) {
        words = joined(arena, words, describe_replica(arena, status, &group->replicas[i]));
    }
    return words;
}

static void group_row(struct sheet *sheet, const struct ring_status *status, struct text name,
                      const struct ring_group_status *group)
{
    struct text *row = sheet_row(sheet);
    if (row != NULL) {
        row[0] = name;
        row[1] = group->leader == RING_NOBODY ? TEXT("-") : name_of(status, group->leader);
        row[2] = describe_replicas(sheet->arena, status, group);
    }
}

static struct text count_text(struct arena *arena, size_t n)
{
    return arena_format(arena, "%zu", n);
}

/* By name; of two that share one, while one of them leaves, by place. */
static bool comes_before(const struct ring_status *status, size_t a, size_t b)
{
    struct text x = name_of(status, a), y = name_of(status, b);
    int order = memcmp(x.at, y.at, x.len < y.len ? x.len : y.len);
    return order != 0 ? order < 0 : x.len != y.len ? x.len < y.len : a < b;
}

static void member_row(struct sheet *sheet, const struct ring_status *status, size_t i)
{
    const struct ring_member *member = &status->ring.members[i];
    const struct ring_member_status *more = &status->members[i];
    struct text *row = sheet_row(sheet);
    size_t leads = 0, holds = 0;
    for (size_t p = 0; p < status->ring.partition_count; p++) {
        leads += status->partitions[p].leader == i;
        for (size_t j = 0; j < status->partitions[p].replica_count; j++) {
            holds += status->partitions[p].replicas[j].member == i;
        }
    }
    if (row == NULL) {
        return;
    }
    row[0] = member->name;
    row[1] = member->id;
    row[2] = member->url;
    row[3] = arena_format(sheet->arena, "%lld", (long long)member->weight);
    row[4] = more->successor == RING_NOBODY
                 ? member->state
                 : arena_format(sheet->arena, "%.*s, to %.*s", (int)member->state.len,
                                member->state.at, (int)name_of(status, more->successor).len,
                                name_of(status, more->successor).at);
    row[5] = more->unseen_ms == ABSENT
                 ? TEXT("?")
                 : arena_format(sheet->arena, "%.1f s", (double)more->unseen_ms / 1000);
    row[6] = count_text(sheet->arena, leads);
    row[7] = count_text(sheet->arena, holds);
}

/* The member that comes next by name behind `after`, RING_NOBODY: the first. */
static size_t next_by_name(const struct ring_status *status, size_t after)
{
    size_t best = RING_NOBODY;
    for (size_t i = 0; i < status->ring.member_count; i++) {
        bool behind = after == RING_NOBODY || comes_before(status, after, i);
        if (behind && (best == RING_NOBODY || comes_before(status, i, best))) {
            best = i;
        }
    }
    return best;
}

static struct sheet members_sheet(struct arena *arena, const struct ring_status *status)
{
    static const struct text HEAD[] = {TEXT("MEMBER"), TEXT("ID"),      TEXT("URL"),
                                       TEXT("WEIGHT"), TEXT("STATE"),   TEXT("UNSEEN"),
                                       TEXT("LEADS"),  TEXT("REPLICAS")};
    struct sheet sheet = sheet_make(arena, status->ring.member_count + 1, COLUMNS_MAX);
    struct text *row = sheet_row(&sheet);
    if (row != NULL) {
        memcpy(row, HEAD, sizeof HEAD);
    }
    size_t member = RING_NOBODY;
    for (size_t i = 0; i < status->ring.member_count; i++) {
        member = next_by_name(status, member);
        member_row(&sheet, status, member);
    }
    return sheet;
}

static struct sheet partitions_sheet(struct arena *arena, const struct ring_status *status)
{
    struct sheet sheet = sheet_make(arena, status->ring.partition_count + 2, 3);
    struct text *row = sheet_row(&sheet);
    if (row != NULL) {
        row[0] = TEXT("PARTITION");
        row[1] = TEXT("LEADER");
        row[2] = TEXT("REPLICAS");
    }
    for (size_t i = 0; i < status->ring.partition_count; i++) {
        group_row(&sheet, status, count_text(arena, i), &status->partitions[i]);
    }
    group_row(&sheet, status, TEXT("the table"), &status->table);
    return sheet;
}

static void move_row(struct sheet *sheet, const struct ring_status *status, size_t partition,
                     const struct ring_replica_status *replica)
{
    struct text *row = sheet_row(sheet);
    bool comes = text_equal(replica->role, TEXT("learner"));
    if (row == NULL) {
        return;
    }
    row[0] = count_text(sheet->arena, partition);
    row[1] = comes ? TEXT("to") : TEXT("from");
    row[2] = name_of(status, replica->member);
    row[3] = replica->permille == ABSENT
                 ? TEXT("-")
                 : arena_format(sheet->arena, "%lld%%", (long long)replica->permille / 10);
    row[4] = replica->image_bytes == ABSENT
                 ? TEXT("")
                 : arena_format(sheet->arena, "%lld of %lld bytes of an image sent",
                                (long long)replica->image_sent, (long long)replica->image_bytes);
}

static struct sheet moves_sheet(struct arena *arena, const struct ring_status *status)
{
    size_t rows = 1;
    for (size_t i = 0; i < status->ring.partition_count; i++) {
        rows += status->partitions[i].replica_count;
    }
    struct sheet sheet = sheet_make(arena, rows, 5);
    struct text *row = sheet_row(&sheet);
    if (row != NULL) {
        row[0] = TEXT("MOVING");
        row[1] = row[2] = row[4] = TEXT("");
        row[3] = TEXT("DONE");
    }
    for (size_t i = 0; i < status->ring.partition_count; i++) {
        const struct ring_group_status *group = &status->partitions[i];
        for (size_t j = 0; j < group->replica_count; j++) {
            if (moves(&group->replicas[j])) {
                move_row(&sheet, status, i, &group->replicas[j]);
            }
        }
    }
    return sheet;
}

static struct text to_table(struct arena *arena, const struct ring_status *status)
{
    struct text leader = name_of(status, status->table.leader);
    struct text head =
        text_given(leader)
            ? arena_format(arena, "The ring's epoch is %lld.\n\n", (long long)status->ring.epoch)
            : arena_format(arena,
                           "The ring's epoch is %lld, as far as is known here: nobody leads the "
                           "group that keeps its table now,\nso what is seen of members and "
                           "replicas is not known, and nothing moves.\n\n",
                           (long long)status->ring.epoch);
    const struct sheet sheets[] = {members_sheet(arena, status), partitions_sheet(arena, status),
                                   moves_sheet(arena, status)};
    size_t count = sheets[2].rows > 1 ? 3 : 2, room = head.len;
    for (size_t i = 0; i < count; i++) {
        room += sheet_write(&sheets[i], NULL) + 1;
    }
    char *bytes = arena_alloc(arena, room);
    if (bytes == NULL || arena->exhausted) {
        return TEXT_ABSENT;
    }
    size_t at = put(bytes, 0, head);
    for (size_t i = 0; i < count; i++) {
        at = i == 0 ? at : put(bytes, at, TEXT("\n"));
        at += sheet_write(&sheets[i], bytes + at);
    }
    return (struct text){bytes, at};
}

/* ---- the route ---------------------------------------------------------------------------------------------------- */

static enum status parse_status(struct exchange *x)
{
    struct text format = exchange_parameter(x, "format");
    return !text_given(format) || text_equal(format, TEXT("json")) ||
                   text_equal(format, TEXT("text"))
               ? STATUS_OK
               : exchange_refuse(x, STATUS_INVALID_PARAMETER, "format",
                                 "format must be json or text.");
}

static void render_status(struct exchange *x)
{
    struct ring_status status;
    if (!x->process->ring_status(x->process, x->arena, &status)) {
        exchange_problem(x, STATUS_OUT_OF_MEMORY);
        return;
    }
    bool table = text_equal(exchange_parameter(x, "format"), TEXT("text"));
    exchange_respond(x, 200, table ? to_table(x->arena, &status) : to_json(x->arena, &status));
    if (table) {
        x->response.content_type = "text/plain; charset=utf-8";
    }
}

static const struct route ROUTES[] = {
    {.method = METHOD_GET,
     .template = "/v1/ring/status",
     .operation = "getRingStatus",
     .parse = parse_status,
     .render = render_status,
     .local = true,
     .of_table = true},
};
const struct route_list ring_status_routes = {ROUTES, sizeof ROUTES / sizeof ROUTES[0]};
