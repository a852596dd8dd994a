#!/bin/sh
# Trades on `polybolos exchange-sim` with clients that others wrote for the real exchange: python-binance, ccxt, and Binance's own SDK.
#
#   sh tests/exchange/run.sh [POLYBOLOS]      the program; default: built in the dev profile
#
# Needs Python 3.11 or newer and PyPI, once; the environment lives under the build folder.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
build=${CARGO_TARGET_DIR:-$PWD/target}
program=${1:-}
if [ -z "$program" ]; then
    cargo build --quiet --package polybolos-cli
    program=$build/debug/polybolos
fi
venv=$build/exchange-venv
if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed.txt"
fi
work=$(mktemp -d)
simulator=
trap 'if [ -n "$simulator" ]; then kill "$simulator" 2>/dev/null || true; wait "$simulator" 2>/dev/null || true; fi; rm -rf "$work"' EXIT
"$program" --quiet data synth --symbols 2 --bars 2000 --interval 1m --data "$work/data"
: >"$work/log"
# A bar a second: orders meet the market, and bars close, while the clients look.
"$program" exchange-sim --data "$work/data" --symbols all --interval 1m --listen 127.0.0.1:0 --speed 60 \
    2>"$work/log" &
simulator=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    base=$(sed -n 's/^exchange simulator on \(http[^ ]*\) .*/\1/p' "$work/log")
    if [ -n "$base" ]; then
        break
    fi
    sleep 0.25
done
if [ -z "$base" ]; then
    cat "$work/log" >&2
    exit 1
fi
"$venv/bin/python" "$here/clients.py" "$base" || { cat "$work/log" >&2; exit 1; }
