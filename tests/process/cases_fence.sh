# The fence across a restore.
# shellcheck shell=bash disable=SC2154 # run.sh and lib.sh set what the cases use

# acquire LEASE: acquires the lock "l" and prints its fence.
acquire() {
    expect 201 PUT "/v1/locks/l/leases/$1" '{"owner":"test","ttl_ms":60000}' >&2
    jq .fence <<<"$body"
}

test_a_backup_brings_everything_back_and_steps_the_fence() {
    start
    expect 201 PUT /v1/sessions/before '{"data":{"kept":true}}'
    first=$(acquire one)
    run backup copy.db --data "$dir/data"
    equal "$code" 0 "exit code of backup ($err)"
    expect 201 PUT /v1/sessions/after '{"data":{}}'
    expect 204 DELETE /v1/locks/l/leases/one
    second=$(acquire two)
    [ "$second" -gt "$first" ] || fail "the fence went from $first to $second"
    stop
    run restore copy.db --data "$dir/data"
    equal "$code" 0 "exit code of restore ($err)"
    contains "$out" "is kept as $dir/data/partition-0.db.before-restore-" "stdout"
    start
    expect 200 GET /v1/sessions/before
    equal "$(jq -c .data <<<"$body")" '{"kept":true}' "its data"
    expect 404 GET /v1/sessions/after
    expect 200 GET /v1/locks/l/leases/one
    equal "$(jq -r .state <<<"$body")" held "the lease that was held when the backup was taken"
    expect 204 DELETE /v1/locks/l/leases/one
    third=$(acquire three)
    [ "$third" -gt "$second" ] || fail "the fence went from $second to $third across the restore"
    stop
}
