# Backup and restore, through HTTP.
# shellcheck shell=bash disable=SC2154 # run.sh and lib.sh set what the cases use

test_a_restore_into_another_directory_serves_the_same() {
    start
    expect 201 PUT /v1/sessions/a '{"data":{"n":7}}'
    run backup copy.db --data "$dir/data"
    equal "$code" 0 "exit code of backup ($err)"
    stop
    run restore copy.db --data "$dir/other"
    equal "$code" 0 "exit code of restore ($err)"
    start --data "$dir/other"
    expect 200 GET /v1/sessions/a
    equal "$(jq .data.n <<<"$body")" 7 "its data"
    stop
}

test_a_restore_is_refused_while_the_server_runs() {
    start
    run backup copy.db --data "$dir/data"
    run restore copy.db --data "$dir/data"
    equal "$code" 1 "exit code"
    contains "$err" "is in use by another Ringhold process (pid $pid)" "stderr"
    expect 200 GET /readyz
    stop
}

test_a_backup_under_load_is_whole() {
    start
    (for i in $(seq 300); do echo "url=$url/v1/sessions/s$i"; echo 'data={"data":{}}'; echo 'request=PUT'; echo 'output=/dev/null'; echo next; done) >urls
    curl -sS -K urls &
    writer=$!
    for i in 1 2 3 4 5; do
        run backup "copy$i.db" --data "$dir/data"
        equal "$code" 0 "exit code of backup $i ($err)"
    done
    wait "$writer"
    stop
    run restore copy5.db --data "$dir/other"
    equal "$code" 0 "exit code of restore ($err)"
}

test_a_backup_of_nothing_is_refused() {
    run backup copy.db --data "$dir/nothing"
    equal "$code" 1 "exit code"
    contains "$err" "There is no database in the data directory" "stderr"
    [ ! -e copy.db ] || fail "a file was made"
}

test_a_text_is_not_restored() {
    echo "a text" >copy.db
    run restore copy.db --data "$dir/data"
    equal "$code" 1 "exit code"
    contains "$err" "cannot be restored" "stderr"
}
