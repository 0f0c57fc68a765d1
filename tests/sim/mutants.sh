#!/bin/sh
# Breaks the program in one place after the other, in copies, and lets the simulation run on each: it must find every one.
# Says how many seeds that took.
#
#     tests/sim/mutants.sh BUILD SEEDS_MAX [NAME…]
#
# A mutant is a sed script for one source; a disk that lies is one too, and needs none. The copies and what is made of
# them lie in BUILD/mutants. CC, CFLAGS, SIM_LIBS and SIM_OBJECTS come from sim.mk.
set -eu
build=$1
seeds_max=$2
shift 2
wanted=$*
survived=0

is_wanted() {
    [ -z "$wanted" ] || case " $wanted " in *" $1 "*) ;; *) return 1 ;; esac
}

# try NAME PROGRAM [OPTION…]
try() {
    name=$1
    shift
    if "$@" --seeds "$seeds_max" --first-only >"$build/mutants/$name.txt" 2>/dev/null; then
        echo "$name: SURVIVED $seeds_max seeds"
        survived=1
    else
        seeds=$(sed -n 's/^simulation: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$build/mutants/$name.txt")
        echo "$name: found within $((${seeds% *} + ${seeds#* })) seeds: $(sed -n 's/^FAIL  //p' "$build/mutants/$name.txt" | head -n 1)"
    fi
}

# mutant NAME SOURCE SED
mutant() {
    is_wanted "$1" || return 0
    copy=$build/mutants/$1.c
    object=$build/mutants/$1.o
    sed "$3" "$2" >"$copy"
    if cmp -s "$2" "$copy"; then
        echo "$1: nothing of $2 is changed" >&2
        exit 2
    fi
    # shellcheck disable=SC2086 # lists of words
    $CC $CFLAGS -w -MF /dev/null -c "$copy" -o "$object"
    # shellcheck disable=SC2086
    others=$(printf '%s\n' $SIM_OBJECTS | grep -v "/${2%.c}\.o\$")
    # shellcheck disable=SC2086
    $CC -pthread "$object" $others $SIM_LIBS -o "$build/mutants/$1"
    try "$1" "$build/mutants/$1"
}

# Only when it is named: it takes hundreds of seeds, or more than were ever run, to be found.
rare() {
    [ -z "$wanted" ] || "$@"
}

lie() {
    is_wanted "disk-$1" || return 0
    try "disk-$1" "$build/sim" --lie "$1"
}

mkdir -p "$build/mutants"
at=service/cluster

lie unsynced # what was said to be on the disk is not yet
lie vote     # a vote is forgotten with a crash
lie term     # and a term

mutant state-not-synced $at/hosted_machine.c 's/return sync_if_there(wal) && .*/return true;/'
mutant index-not-stored $at/hosted_machine.c '/machine_note_entry(/d'
mutant image-not-taken $at/hosted_machine.c 's/bool newer = .*/bool newer = false; (void)info;/'
mutant lease-time-jumps $at/hosted.c 's/clock_start(.*counters\.lease_ms)/clock_start(hosted->place.clock, counters.wall_ms, counters.lease_ms + 60000)/'
mutant lost-is-not-done $at/replica_log.c '/static void engine_applied/,/^}/s/lose(p);/p->outcome = REPLICA_NOT_LEADER;/'
mutant done-when-taken $at/replica_log.c 's/p->submitted = p->with_engine = true;/&p->outcome = REPLICA_COMMITTED;/'
mutant applied-again $at/replica_log.c 's/if (index <= applied_index) {/if (index == 0) {/'
mutant cut-unsettled $at/replica_images.c '/the engine cuts by what it has applied/d'
mutant change-anywhere $at/replica_guard.c 's/entry->type == RAFT_CHANGE || //'
mutant mark-of-the-engine $at/replica_images.c 's/replica->machine.applied(replica->machine.context, &index, &term);/index = raft_last_applied((struct raft *)\&replica->raft); (void)term;/'
mutant old-term-alone $at/replica_guard.c '/^bool guard_votes_alone/,/^}/s/return .*is_only_voter.*/return false;/; s/bool alone = .*/bool alone = false;/'
mutant engine-told $at/replica_io.c '/^static int checked/,/^}/s/return 0;/return rc;/'
mutant goes-on-unstored $at/replica_io.c '/^static int checked/,/^}/s/if (rc != 0)/if (rc > 1000)/'
mutant image-not-put-off $at/replica_io.c 's/if (install && (replica->cutting || replica->works > 0))/if (install \&\& replica->works > 1000)/'
mutant transaction-in-parts db/dispatch.c 's/txn_undo(txn, &start);/txn_keep(txn);/'
mutant lease-outlives-session db/session_row.c '/^static void/,/^}/s/^    leases_end_for_session(txn, row->id);/    (void)txn;/'

# These take some hundred seeds.
mutant seen-in-image $at/replica_log.c 's/p->index > replica->installed ? REPLICA_NOT_LEADER : REPLICA_UNKNOWN/REPLICA_NOT_LEADER/'
mutant no-entry-of-its-own $at/replica.c 's/replica->confirmed_term == raft_current_term(&replica->raft)/true/'
mutant stand-by-refuses $at/replica_guard.c '/^struct raft_server \*guard_standing_by/,/^}/s/return server;/return NULL;/'

# tests/cluster/test_guard.c finds these each time.
rare mutant commit-not-first $at/replica_guard.c 's/return uncommitted != 0 \&\&/return uncommitted == UINT64_MAX \&\&/'
rare mutant change-not-stored $at/replica_guard.c '/^bool guard_store_first/,/^}/s/> leader->last_stored/> UINT64_MAX - 1/'
rare mutant term-not-told $at/replica_guard.c 's/return refused \&\& .*/(void)refused; (void)voter; return answer->term;/'
rare mutant late-pre-vote-heard $at/replica_guard.c '/^bool guard_is_late/,/^}/s/return answer->version > 1/return answer->version > 100/'
rare mutant no-second-pre-vote $at/replica_guard.c '/^bool guard_begins_anew/,/^}/s/return candidate->state == RAFT_CANDIDATE/return candidate->state == UINT16_MAX/'
rare mutant image-of-another-term $at/replica_io.c '/copy.install_snapshot.last_term = /d'

exit $survived
