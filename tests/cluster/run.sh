#!/bin/sh
# Proves with real processes on this machine that a cluster loses nothing: runs every scenario of cli/tests/it/cluster, those
# that take long included, one after the other, and says what each has proven and how long it took.
#
# run.sh [WORD]   only the scenarios whose name holds WORD
#
# After every one: the rows are those of the same sweep in one process, to the byte; no unit was begun after its result was
# there; nothing is left half-written; no process is left. Namespaces and small disks need root and are skipped without it.
# POLYBOLOS_TEST_BINARY names the built test program where there is no cargo.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root/cli"
word=${1:-}
if [ -z "${POLYBOLOS_TEST_BINARY:-}" ]; then
    POLYBOLOS_TEST_BINARY=$(cargo test --manifest-path "$root/Cargo.toml" --workspace --test it --no-run --message-format=json |
        grep '/cli/tests/it/main.rs' | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
proven=0
failed=0

# scenario NAME WHAT: runs one test, tells of it
scenario() {
    case $1 in
    *"$word"*) ;;
    *) return 0 ;;
    esac
    began=$(date +%s%N)
    if "$POLYBOLOS_TEST_BINARY" "cluster::$1" --exact --include-ignored --nocapture >"$log" 2>&1; then
        verdict=proven
        if ! grep -q '1 passed' "$log"; then
            verdict="NOT FOUND"
            failed=$((failed + 1))
        elif grep -q '^skipped: ' "$log"; then
            verdict=skipped
        else
            proven=$((proven + 1))
        fi
    else
        verdict=FAILED
        failed=$((failed + 1))
    fi
    ended=$(date +%s%N)
    printf '%-9s %6.1f s  %s\n' "$verdict" "$(echo "$ended $began" | awk '{ print ($1 - $2) / 1e9 }')" "$2"
    if [ "$verdict" = FAILED ]; then
        sed 's/^/    /' "$log"
    else
        grep -v '^running \|^test \|^test result\|^$' "$log" | sed 's/^/            /' || true
    fi
}

scenario rows::a_sweep_watched_to_the_end_prints_and_writes_what_one_process_does \
    "two executors: output and rows of one process; the same sweep again computes nothing"
scenario rows::a_sweep_that_was_handed_over_goes_on_alone_and_can_be_watched_later \
    "--detach, watched later; leftovers of killed writers are cleared"
scenario sql::queries_over_bars_and_results_run_on_the_executors_and_can_only_read \
    "sql over bars and results equals one process; writes and files are refused"
scenario sql::rankings_and_maps_of_a_cluster_are_those_of_its_result_files \
    "results top and heatmap equal those of the result files"
scenario jobs::sweeps_are_listed_watched_and_cancelled_by_their_ids \
    "jobs list, watch, cancel; wrong ids"
scenario jobs::a_scheduler_that_is_not_there_is_one_clear_message \
    "no scheduler: one message, exit code 1"
scenario access::a_cluster_with_a_token_serves_those_who_know_it_and_tells_others_what_is_missing \
    "token: clients, executors, pages and metrics need it, probes do not; it is in no log"
scenario access::nobody_listens_beyond_this_machine_without_a_token_or_a_word \
    "no port beyond the loopback without a token"
scenario access::clients_speak_tls_where_there_is_a_certificate_and_executors_beside_them_do_not \
    "TLS for clients, plain for executors beside the scheduler"
scenario deaths::an_executor_killed_in_the_middle_of_its_units_loses_nothing_but_these \
    "executor SIGKILL mid-unit"
scenario deaths::an_executor_whose_port_is_closed_is_missed_long_before_its_heartbeats_run_out \
    "executor SIGKILL: missed within seconds though heartbeats may be silent for 120 s"
scenario deaths::the_units_that_a_killed_executor_had_finished_are_not_computed_again \
    "executor SIGKILL after units were finished: these are not computed again"
scenario deaths::a_sweep_whose_executors_were_all_killed_waits_for_others_and_says_so \
    "all executors killed, others started"
scenario deaths::a_scheduler_killed_in_the_middle_of_a_sweep_takes_it_up_again_and_its_client_waits \
    "scheduler SIGKILL mid-sweep and restart; the watching client comes back"
scenario deaths::a_scheduler_that_was_away_together_with_its_executors_goes_on \
    "scheduler and executors killed, scheduler started before them"
scenario deaths::a_sweep_goes_on_without_the_client_that_asked_for_it \
    "client killed: the sweep goes on"
scenario network::an_executor_cut_off_from_its_scheduler_is_replaced_and_comes_back \
    "network cut between executor and scheduler, and healed"
scenario load::a_slow_executor_holds_a_sweep_up_by_its_last_unit_only \
    "slow executor: the fast one does most of the work"
scenario load::a_small_sweep_does_not_wait_for_another_users_big_one_and_is_its_owners_to_cancel \
    "two users share the slots"
scenario failures::units_that_can_never_be_done_are_named_the_others_kept_and_only_the_missing_computed_later \
    "poison and panic: units named, the rest kept, only the missing computed later"
scenario failures::storage_errors_that_pass_are_got_over \
    "transient storage errors"
scenario failures::a_unit_that_kills_every_executor_is_found_and_named_and_the_others_are_done \
    "a unit that kills its executor: found and named, the others done"
scenario disk::a_full_disk_under_an_executor_costs_no_unit \
    "full disk on an executor"
scenario disk::a_full_disk_under_the_results_is_named_and_the_sweep_goes_on_when_there_is_room_again \
    "full disk under the results"
scenario stopping::a_cancelled_sweep_stops_computing_at_once_and_keeps_what_is_finished \
    "cancel: processors idle, finished units kept"
scenario stopping::an_executor_that_is_asked_to_go_ends_its_units_first_and_nothing_is_lost \
    "SIGTERM drains"
scenario s3::a_cluster_over_a_bucket_does_what_one_process_does_on_a_disk_and_tells_nobody_its_keys \
    "bars and results on S3: rows of one process on a disk, each unit written once; no key in logs, catalogue or pages"
scenario s3::a_bucket_that_is_away_for_some_seconds_costs_a_cluster_no_unit \
    "S3 server away for seconds: no unit lost or computed twice"
scenario s3::executors_that_may_not_write_to_the_bucket_end_the_sweep_with_the_reason \
    "wrong S3 keys on an executor: the sweep ends with the reason, and is done with the right ones"

echo "$proven proven, $failed failed"
[ "$failed" -eq 0 ]
