#!/bin/sh
# Measures what the cluster itself costs: a sweep of many units that sleep instead of computing much, on executors with many
# slots. Prints the time beside the ideal one and the memory of every process over time.
#
# scale.sh [UNITS [SECONDS [SLOTS]]]   default: 10000 units of 5 s on two executors with 100 slots each: 250 s at best
#
# POLYBOLOS names the program; build it with --release.
set -eu
units=${1:-10000}
seconds=${2:-5}
slots=${3:-200}
binary=${POLYBOLOS:-$(cd "$(dirname "$0")/../.." && pwd)/target/release/polybolos}
place=$(mktemp -d)
grpc=${POLYBOLOS_SCALE_PORT:-21050}
http=$((grpc + 1))
pids=
ended() {
    for pid in $pids; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$place"
}
trap ended EXIT
cd "$place"
mkdir faults
: >"faults/sleep-$((seconds * 1000))@*@*.always"
"$binary" data synth --symbols 4 --bars 1000 --interval 1h >/dev/null
cat >tiny.yaml <<'YAML'
name: tiny
params:
  fast: {from: 2, to: 51}
  slow: {from: 60, to: 10059}
long:
  enter: crosses_above(close, sma(close, fast))
  exit: rsi(close, fast) > slow
YAML
rows=$((units / 4))
"$binary" scheduler --port "$grpc" --http-port "$http" --state state >scheduler.log 2>&1 &
scheduler=$!
pids="$scheduler"
for number in 1 2; do
    POLYBOLOS_FAULTS=faults "$binary" executor --scheduler "127.0.0.1:$grpc" --port 0 --http-port 0 --gpu off \
        --slots $((slots / 2)) --work-dir "work-$number" >"executor-$number.log" 2>&1 &
    pids="$pids $!"
done
until [ "$(curl -s "http://127.0.0.1:$http/api/executors" | grep -o '"executor_id"' | wc -l)" = 2 ]; do sleep 0.2; done
began=$(date +%s%N)
# One grid row for each unit.
sweep=$("$binary" sweep tiny.yaml --symbols all --interval 1h --set "fast=2..51" --set "slow=60..$((60 + rows / 50 - 1))" \
    --unit-rows 1 --cluster "http://127.0.0.1:$grpc" --detach --json | sed -n 's/.*"sweep_id": *"\([^"]*\)".*/\1/p' | head -1)
echo "$sweep: $units units of $seconds s on $slots slots"
printf '%8s %8s %8s  %s\n' seconds done running 'resident MiB: scheduler, executors'
turns=0
all_done=
while :; do
    status=$(curl -s "http://127.0.0.1:$http/api/sweeps/$sweep")
    now=$(echo "$(date +%s%N) $began" | awk '{ print ($1 - $2) / 1e9 }')
    done=$(echo "$status" | grep -o '"done":[0-9]*' | cut -d: -f2)
    if [ "$done" = "$units" ] && [ -z "$all_done" ]; then all_done=$now; fi
    if [ $((turns % 10)) -eq 0 ]; then
        memory=
        for pid in $pids; do
            memory="$memory $(awk '/VmRSS/ { printf "%.0f", $2 / 1024 }' "/proc/$pid/status")"
        done
        printf '%8.1f %8s %8s  %s\n' "$now" "$done" "$(echo "$status" | grep -o '"running":[0-9]*' | cut -d: -f2)" "$memory"
    fi
    turns=$((turns + 1))
    case $status in
    *'"state":"complete"'*) break ;;
    *'"state":"failed"'* | *'"state":"cancelled"'*)
        echo "$status"
        exit 1
        ;;
    esac
    sleep 0.5
done
echo "$status" | sed -n 's/.*"finished_ms":\([0-9]*\).*/\1/p' >finished
echo "$status" | sed -n 's/.*"submitted_ms":\([0-9]*\).*/\1/p' >submitted
awk -v all_done="$all_done" -v finished="$(cat finished)" -v submitted="$(cat submitted)" -v units="$units" -v seconds="$seconds" -v slots="$slots" 'BEGIN {
    took = (finished - submitted) / 1000
    ideal = int((units + slots - 1) / slots) * seconds
    printf "units: %.1f s instead of %.1f s, overhead %.1f %%\n", all_done, ideal, (all_done / ideal - 1) * 100
    printf "with the result files: %.1f s, overhead %.1f %%\n", took, (took / ideal - 1) * 100
}'
