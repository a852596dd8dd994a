#!/bin/sh
# Measures how a cluster scales on this machine: the same sweep on one executor and on two, each executor on a processor core of its own.
#
# pinned.sh [COMBINATIONS [BARS [RUNS]]]   default: 400000 combinations x 4 symbols x 120000 bars, three runs of each in turns
#
# POLYBOLOS names the program; build it with --release. The scheduler may use any core, as it does beside executors of its machine.
set -eu
combinations=${1:-400000}
bars=${2:-120000}
runs=${3:-3}
binary=${POLYBOLOS:-$(cd "$(dirname "$0")/../.." && pwd)/target/release/polybolos}
place=$(mktemp -d)
pids=
stop_all() {
    for pid in $pids; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in $pids; do wait "$pid" 2>/dev/null || true; done
    pids=
}
trap 'stop_all; rm -rf "$place"' EXIT
cd "$place"
"$binary" --quiet data synth --symbols 4 --bars "$bars" --interval 1h
cat >w1.yaml <<YAML
name: w1
params:
  fast: {from: 5, to: 204}
  slow: {from: 210, to: $((210 + combinations / 200 - 1))}
long:
  enter: crosses_above(sma(close, fast), sma(close, slow))
  exit: crosses_below(sma(close, fast), sma(close, slow))
YAML
# one EXECUTORS RUN: seconds of the sweep, from submission to the last result file
one() {
    executors=$1
    port=$((22050 + 10 * $2 + 100 * executors))
    rm -rf results state work-*
    "$binary" scheduler --port "$port" --http-port $((port + 1)) --state state >scheduler.log 2>&1 &
    pids="$!"
    number=0
    while [ "$number" -lt "$executors" ]; do
        taskset -c "$number" "$binary" executor --scheduler "127.0.0.1:$port" --port 0 --http-port 0 --gpu off --slots 1 \
            --work-dir "work-$number" >"executor-$number.log" 2>&1 &
        pids="$pids $!"
        number=$((number + 1))
    done
    until [ "$(curl -s "http://127.0.0.1:$((port + 1))/api/executors" | grep -o '"executor_id"' | wc -l)" = "$executors" ]; do sleep 0.1; done
    "$binary" sweep w1.yaml --symbols all --interval 1h --returns bar --keep top:1000 --cluster "http://127.0.0.1:$port" --json --quiet |
        sed -n 's/^ *"seconds": *\([0-9.]*\).*/\1/p' | head -1
    stop_all
}
ones=
twos=
run=0
while [ "$run" -lt "$runs" ]; do
    a=$(one 1 "$run")
    b=$(one 2 "$run")
    ones="$ones $a"
    twos="$twos $b"
    echo "one executor: $a s, two: $b s, $(echo "$a $b" | awk '{ printf "%.2f", $1 / $2 }') times as fast"
    run=$((run + 1))
done
middle() { echo "$*" | tr ' ' '\n' | sed '/^$/d' | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
# shellcheck disable=SC2086
echo "medians: $(middle $ones) s and $(middle $twos) s"
