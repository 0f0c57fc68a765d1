/* What replication needs of the state machine: how far the log is in it, and a state that is put in another's place. */
#include "tests/unit/fixture.h"

#include "db/codec.h"
#include "db/snapshot.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct command put_session(const char *id, const char *data)
{
    return (struct command){.kind = COMMAND_SESSION_PUT,
                            .session_put = {.id = text_of(id),
                                            .data = text_of(data),
                                            .idle_ttl_ms = 60000,
                                            .max_ttl_ms = 600000,
                                            .condition = UNCONDITIONAL}};
}

static struct result get_session(struct fixture *f, const char *id)
{
    return fixture_read(
        f, (struct command){.kind = COMMAND_SESSION_GET,
                            .session_get = {.id = text_of(id), .condition = UNCONDITIONAL}});
}

/* Applies the commands of an entry as a replica does, in one batch. */
static void apply_entry(struct fixture *f, int64_t index, int64_t term, struct text entry)
{
    struct commands commands;
    struct result result;
    cr_assert(batch_decode(entry, &f->arena, &commands));
    machine_begin(f->machine, &f->arena);
    machine_note_entry(f->machine, index, term);
    for (size_t i = 0; i < commands.count; i++) {
        machine_apply(f->machine, &commands.at[i], &f->arena, &result);
    }
    cr_assert_eq(machine_commit(f->machine, &f->events), STATUS_OK);
}

static struct text entry_of(struct fixture *f, const char *id, const char *data)
{
    struct command command = put_session(id, data);
    command.stamp = f->now;
    const struct command *batch[] = {&command};
    return batch_encode(batch, 1, &f->arena);
}

Test(replica_state, the_file_says_how_far_the_log_is_in_it)
{
    struct fixture f;
    fixture_open(&f);
    cr_expect_eq(machine_counters(f.machine).applied_index, 0);
    apply_entry(&f, 3, 1, entry_of(&f, "a", "{}"));
    apply_entry(&f, 7, 2, entry_of(&f, "b", "{}"));
    fixture_reopen(&f);
    cr_expect_eq(machine_counters(f.machine).applied_index, 7);
    cr_expect_eq(machine_counters(f.machine).applied_term, 2);
    fixture_close(&f);
}

Test(replica_state, a_batch_that_is_given_up_leaves_the_index_where_it_was)
{
    struct fixture f;
    struct arena none = {.exhausted = true};
    struct command command = put_session("a", "{}");
    struct result result;
    fixture_open(&f);
    apply_entry(&f, 3, 1, entry_of(&f, "a", "{}"));
    machine_begin(f.machine, &f.arena);
    machine_note_entry(f.machine, 4, 1);
    machine_apply(f.machine, &command, &none, &result);
    cr_expect_eq(machine_commit(f.machine, &f.events), STATUS_STORAGE_UNAVAILABLE);
    cr_expect_eq(machine_counters(f.machine).applied_index, 3);
    arena_free(&none);
    fixture_close(&f);
}

Test(replica_state, replicas_that_applied_the_same_entries_are_equal_however_they_were_cut_off)
{
    struct fixture a, b;
    fixture_open(&a);
    fixture_open(&b);
    struct text first = entry_of(&a, "s", "{\"n\":1}"), second = entry_of(&a, "s", "{\"n\":2}");
    apply_entry(&a, 1, 1, first);
    apply_entry(&a, 2, 1, second);
    apply_entry(&b, 1, 1, first);
    fixture_reopen(&b);
    apply_entry(&b, 2, 1, second);
    cr_expect_eq(machine_hash(a.machine), machine_hash(b.machine));
    fixture_close(&a);
    fixture_close(&b);
}

static void install(struct fixture *into, const struct fixture *from)
{
    char copy[128], why[SNAPSHOT_WHY_BYTES];
    snprintf(copy, sizeof copy, "%s.copy", from->path);
    cr_assert_eq(snapshot_copy(from->path, copy, why), STATUS_OK, "%s", why);
    cr_assert_eq(machine_install(into->machine, copy, why), STATUS_OK, "%s", why);
    unlink(copy);
}

Test(replica_state, an_installed_state_is_the_others_in_every_row)
{
    struct fixture behind, ahead;
    fixture_open(&behind);
    fixture_open(&ahead);
    apply_entry(&behind, 1, 1, entry_of(&behind, "old", "{}"));
    for (int64_t i = 1; i <= 200; i++) {
        char id[16];
        snprintf(id, sizeof id, "s-%d", (int)i);
        apply_entry(&ahead, i, 4, entry_of(&ahead, id, "{\"a\":\"b\"}"));
    }
    install(&behind, &ahead);
    cr_expect_eq(machine_hash(behind.machine), machine_hash(ahead.machine));
    cr_expect_eq(machine_counters(behind.machine).applied_index, 200);
    cr_expect_eq(get_session(&behind, "old").status, STATUS_SESSION_NOT_FOUND);
    cr_expect_eq(get_session(&behind, "s-200").status, STATUS_OK);
    /* And it goes on from there, also after a restart. */
    apply_entry(&behind, 201, 4, entry_of(&behind, "new", "{}"));
    fixture_reopen(&behind);
    cr_expect_eq(machine_counters(behind.machine).applied_index, 201);
    cr_expect_eq(get_session(&behind, "new").status, STATUS_OK);
    fixture_close(&behind);
    fixture_close(&ahead);
}

Test(replica_state, readers_beside_see_the_installed_state_and_nothing_from_before)
{
    struct fixture behind, ahead;
    struct reader *reader;
    struct result result;
    char why[256];
    fixture_open(&behind);
    fixture_open(&ahead);
    apply_entry(&behind, 1, 1, entry_of(&behind, "s", "{\"n\":\"old\"}"));
    apply_entry(&ahead, 1, 1, entry_of(&ahead, "s", "{\"n\":\"new\"}"));
    cr_assert_eq(reader_open(behind.path, behind.machine, &reader, why), STATUS_OK, "%s", why);
    struct command get = {.kind = COMMAND_SESSION_GET,
                          .stamp = behind.now,
                          .session_get = {.id = TEXT("s"), .condition = UNCONDITIONAL}};
    reader_read(reader, &get, &behind.arena, &result); /* now it is in the cache */
    cr_expect(text_equal(result.session.data, TEXT("{\"n\":\"old\"}")));
    install(&behind, &ahead);
    reader_read(reader, &get, &behind.arena, &result);
    cr_expect(text_equal(result.session.data, TEXT("{\"n\":\"new\"}")));
    reader_close(reader);
    fixture_close(&behind);
    fixture_close(&ahead);
}

Test(replica_state, what_is_no_state_is_not_installed)
{
    struct fixture f;
    char path[128], why[256] = "";
    fixture_open(&f);
    apply_entry(&f, 1, 1, entry_of(&f, "s", "{}"));
    uint64_t before = machine_hash(f.machine);
    snprintf(path, sizeof path, "%s.junk", f.path);
    FILE *junk = fopen(path, "w");
    cr_assert_not_null(junk);
    for (int i = 0; i < 1000; i++) {
        fputs("this is no database\n", junk);
    }
    fclose(junk);
    cr_expect_eq(machine_install(f.machine, path, why), STATUS_STORAGE_UNAVAILABLE);
    cr_expect_neq(why[0], '\0');
    cr_expect_eq(machine_hash(f.machine), before);
    unlink(path);
    fixture_close(&f);
}

Test(replica_state, a_file_of_the_first_schema_is_brought_forward_with_all_that_is_in_it)
{
    struct fixture f;
    sqlite3 *db;
    fixture_open(&f);
    fixture_do(&f, put_session("s", "{}"));
    fixture_do(&f,
               (struct command){
                   .kind = COMMAND_MESSAGE_SEND,
                   .message_send = {
                       .queue = TEXT("q"),
                       .messages = {&(struct message_new){.body = TEXT("1"), .ttl_ms = ABSENT}, 1},
                       .atomic = true}});
    machine_close(f.machine);
    cr_assert_eq(sqlite3_open(f.path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db,
                              "ALTER TABLE state DROP COLUMN applied_index;"
                              "ALTER TABLE state DROP COLUMN applied_term;"
                              "ALTER TABLE queues DROP COLUMN shards;"
                              "ALTER TABLE queues DROP COLUMN routing;"
                              "ALTER TABLE queues DROP COLUMN shard;"
                              "ALTER TABLE queues DROP COLUMN spread;"
                              "ALTER TABLE queues DROP COLUMN home_version;"
                              "ALTER TABLE queues DROP COLUMN home_born;"
                              "ALTER TABLE queues DROP COLUMN keyed;"
                              "PRAGMA user_version = 1",
                              NULL, NULL, NULL),
                 SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
    char why[256];
    static const unsigned char NO_SEED[32];
    cr_assert_eq(machine_open(f.path, STORAGE_WRITTEN, true, NO_SEED, &f.machine, why), STATUS_OK,
                 "%s", why);
    cr_expect_eq(machine_counters(f.machine).applied_index, 0);
    cr_expect_eq(get_session(&f, "s").status, STATUS_OK);
    struct result queue = fixture_read(
        &f, (struct command){.kind = COMMAND_QUEUE_GET, .queue_get = {.name = TEXT("q")}});
    cr_expect_eq(queue.status, STATUS_OK);
    cr_expect_eq(queue.queue.config.shards, 1);
    cr_expect_eq(queue.queue.spread, 1);
    cr_expect_eq(queue.queue.ready, 1);
    fixture_close(&f);
}

/* Batches that follow each other so closely that whoever writes the log of writes back never finds the file at rest. */
Test(replica_state, the_wal_begins_anew_beside_batches_without_a_pause)
{
    enum { DATA_BYTES = 60000, BATCHES = 1500, BOUND = 40 * 1024 * 1024 };
    static char data[DATA_BYTES + 16];
    struct fixture f;
    struct reader *reader = NULL;
    struct stat wal;
    char why[256], path[112];
    fixture_open(&f);
    snprintf(path, sizeof path, "%s-wal", f.path);
    snprintf(data, sizeof data, "{\"a\":\"%0*d\"}", DATA_BYTES, 0);
    cr_assert_eq(reader_open(f.path, f.machine, &reader, why), STATUS_OK, "%s", why);
    for (int i = 0; i < BATCHES; i++) {
        struct command command = put_session("s", data);
        struct result result;
        memset(data + 6, '0' + i % 10,
               DATA_BYTES); /* a page that stays as it was would not be written */
        command.stamp = f.now;
        machine_begin(f.machine, &f.arena);
        if (i % 10 == 0) {
            cr_assert_eq(reader_checkpoint(reader), 0);
        }
        machine_apply(f.machine, &command, &f.arena, &result);
        cr_assert_eq(machine_commit(f.machine, &f.events), STATUS_OK);
        machine_tidy(f.machine);
        arena_clear(&f.arena);
    }
    cr_assert_eq(stat(path, &wal), 0);
    cr_expect_lt(wal.st_size, BOUND);
    reader_close(reader);
    fixture_close(&f);
}
