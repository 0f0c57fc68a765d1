/* What the machine remembers of sessions' rows: nothing that the table does not say. */
#include "db/session_memo.h"
#include "db/snapshot.h"
#include "tests/unit/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

/* ---- the memo alone ----------------------------------------------------------------------------------------------- */

static struct session_row row_of(const char *id, int64_t version)
{
    return (struct session_row){.row = 7,
                                .id = text_of(id),
                                .subject = TEXT("ada"),
                                .data = TEXT("{}"),
                                .version = version,
                                .sweep_ms = 9};
}

Test(session_memo, it_gives_what_was_put_last_without_data)
{
    struct session_memo *memo = session_memo_make();
    struct arena arena = ARENA_EMPTY;
    struct session_row row = row_of("s", 1), got;
    session_memo_put(memo, &row);
    row = row_of("s", 2);
    row.subject = TEXT("somebody with a longer name");
    session_memo_put(memo, &row);
    cr_assert(session_memo_get(memo, TEXT("s"), &arena, &got));
    cr_expect_eq(got.version, 2);
    cr_expect_eq(got.row, 7);
    cr_expect(text_equal(got.subject, row.subject));
    cr_expect_not(text_given(got.token_hash));
    cr_expect_not(text_given(got.data));
    cr_expect_not(session_memo_get(memo, TEXT("t"), &arena, &got));
    arena_free(&arena);
    session_memo_free(memo);
}

Test(session_memo, what_is_forgotten_or_cleared_is_not_there_until_it_is_put_again)
{
    struct session_memo *memo = session_memo_make();
    struct arena arena = ARENA_EMPTY;
    struct session_row s = row_of("s", 1), t = row_of("t", 1), got;
    session_memo_put(memo, &s);
    session_memo_put(memo, &t);
    session_memo_forget(memo, TEXT("s"));
    cr_expect_not(session_memo_get(memo, TEXT("s"), &arena, &got));
    cr_expect(session_memo_get(memo, TEXT("t"), &arena, &got));
    session_memo_clear(memo);
    cr_expect_not(session_memo_get(memo, TEXT("t"), &arena, &got));
    session_memo_put(memo, &s);
    cr_expect(session_memo_get(memo, TEXT("s"), &arena, &got));
    arena_free(&arena);
    session_memo_free(memo);
}

Test(session_memo, of_more_sessions_than_it_has_places_it_still_gives_only_the_right_ones)
{
    enum { SESSIONS = 3 * SESSION_MEMO_ROWS_MAX };
    struct session_memo *memo = session_memo_make();
    struct arena arena = ARENA_EMPTY;
    struct session_row got;
    char id[16];
    size_t there = 0;
    for (int i = 0; i < SESSIONS; i++) {
        snprintf(id, sizeof id, "%d", i);
        struct session_row row = row_of(id, i);
        session_memo_put(memo, &row);
    }
    for (int i = 0; i < SESSIONS; i++) {
        snprintf(id, sizeof id, "%d", i);
        if (session_memo_get(memo, text_of(id), &arena, &got)) {
            there++;
            cr_assert_eq(got.version, i);
        }
    }
    cr_expect_gt(there, 0);
    cr_expect_lt(there, SESSIONS);
    arena_free(&arena);
    session_memo_free(memo);
}

/* ---- in the machine ----------------------------------------------------------------------------------------------- */

static int64_t put_version(struct fixture *f, const char *id)
{
    return fixture_do(f, fixture_putting(id)).session.version;
}

Test(session_memo, a_batch_that_is_given_up_leaves_nothing_behind)
{
    struct fixture f;
    struct result result;
    struct command put = fixture_putting("s");
    fixture_open(&f);
    cr_expect_eq(put_version(&f, "s"), 1);
    cr_expect_eq(put_version(&f, "s"), 2);
    machine_begin(f.machine, &f.arena);
    put.stamp = f.now;
    machine_apply(f.machine, &put, &f.arena, &result);
    cr_expect_eq(result.session.version, 3);
    machine_abandon(f.machine);
    cr_expect_eq(put_version(&f, "s"), 3);
    fixture_close(&f);
}

Test(session_memo, a_transaction_that_is_undone_leaves_nothing_behind)
{
    struct fixture f;
    struct command operations[] = {fixture_putting("s"), fixture_putting("s")};
    operations[1].session_put.condition.if_match = 99;
    fixture_open(&f);
    cr_expect_eq(put_version(&f, "s"), 1);
    struct result result = fixture_do(
        &f, (struct command){.kind = COMMAND_TRANSACTION, .transaction = {{operations, 2}}});
    cr_expect_eq(result.status, STATUS_TRANSACTION_FAILED);
    cr_expect_eq(put_version(&f, "s"), 2);
    fixture_close(&f);
}

Test(session_memo, an_installed_state_leaves_nothing_of_the_one_before)
{
    struct fixture f;
    char copy[128], why[256];
    fixture_open(&f);
    cr_expect_eq(put_version(&f, "s"), 1);
    snprintf(copy, sizeof copy, "%s/copy.db", f.dir);
    cr_assert_eq(snapshot_copy(f.path, copy, why), STATUS_OK, "%s", why);
    cr_expect_eq(put_version(&f, "s"), 2);
    cr_expect_eq(put_version(&f, "s"), 3);
    cr_assert_eq(machine_install(f.machine, copy, why), STATUS_OK, "%s", why);
    cr_expect_eq(put_version(&f, "s"), 2);
    unlink(copy);
    fixture_close(&f);
}

Test(session_memo, what_was_deleted_is_ended_and_then_forgotten)
{
    struct fixture f;
    fixture_open(&f);
    put_version(&f, "s");
    put_version(&f, "s");
    fixture_do(&f, (struct command){.kind = COMMAND_SESSION_DELETE,
                                    .session_delete = {TEXT("s"), UNCONDITIONAL}});
    cr_expect_eq(fixture_do(&f, fixture_putting("s")).status, STATUS_SESSION_ENDED);
    fixture_pass(&f, SESSION_TOMBSTONE_MS + 1);
    fixture_tick(&f);
    struct result result = fixture_do(&f, fixture_putting("s"));
    cr_expect_eq(result.status, STATUS_CREATED);
    cr_expect_eq(result.session.version, 1);
    cr_expect_eq(put_version(&f, "s"), 2);
    fixture_close(&f);
}

Test(session_memo, an_old_id_leads_on_until_its_grace_is_over)
{
    enum { GRACE_MS = 1000 };
    static const char HASH[32] = "as good as a token's hash";
    struct fixture f;
    struct command rotate = {.kind = COMMAND_SESSION_ROTATE,
                             .session_rotate = {.id = TEXT("tag~s"),
                                                .new_random = TEXT("t"),
                                                .new_token_hash = {HASH, sizeof HASH},
                                                .grace_ms = GRACE_MS,
                                                .departs_at = ABSENT}};
    fixture_open(&f);
    put_version(&f, "tag~s");
    put_version(&f, "tag~s");
    cr_expect_eq(fixture_do(&f, rotate).status, STATUS_OK);
    struct result result = fixture_do(&f, fixture_putting("tag~s"));
    cr_expect(text_equal(result.session.id, TEXT("tag~t")));
    cr_expect_eq(put_version(&f, "tag~t"), result.session.version + 1);
    fixture_pass(&f, GRACE_MS);
    fixture_tick(&f);
    cr_expect_eq(fixture_do(&f, fixture_putting("tag~s")).status, STATUS_SESSION_ENDED);
    fixture_close(&f);
}

Test(session_memo, what_was_renewed_lives_on)
{
    struct fixture f;
    fixture_open(&f);
    put_version(&f, "s");
    fixture_pass(&f, HOUR_MS - 1);
    cr_expect_eq(fixture_do(&f, (struct command){.kind = COMMAND_SESSION_TOUCH,
                                                 .session_touch = {TEXT("s"), UNCONDITIONAL}})
                     .status,
                 STATUS_OK);
    fixture_pass(&f, HOUR_MS - 1);
    cr_expect_eq(fixture_do(&f, fixture_putting("s")).status, STATUS_OK);
    fixture_close(&f);
}

Test(session_memo, a_session_that_was_swept_in_vain_is_swept_again_no_later_than_its_end)
{
    struct fixture f;
    struct command sooner = fixture_putting("s");
    sooner.session_put.idle_ttl_ms = HOUR_MS / 4;
    fixture_open(&f);
    put_version(&f, "s");
    fixture_pass(&f, HOUR_MS / 2);
    put_version(&f, "s");
    fixture_pass(&f, HOUR_MS / 2);
    fixture_tick(&f); /* it lives for half an hour more, and is looked at then */
    cr_expect_eq(fixture_do(&f, sooner).status, STATUS_OK);
    fixture_pass(&f, HOUR_MS / 4);
    fixture_tick(&f);
    cr_expect_eq(machine_counters(f.machine).sessions, 0);
    fixture_close(&f);
}
