#!/bin/sh
# Proves with real processes that a bot loses nothing to software: `polybolos trade` against `polybolos exchange-sim` over real
# sockets, undisturbed and with SIGKILL at random moments. Runs every scenario of cli/tests/it/live.rs, the long ones included.
#
# run.sh [WORD]   only the scenarios whose name holds WORD
#
# PROFILE=release tests the optimised program; POLYBOLOS_TEST_BINARY names the built test program where there is no cargo.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root/cli"
if [ -z "${POLYBOLOS_TEST_BINARY:-}" ]; then
    release=
    if [ "${PROFILE:-}" = release ]; then release=--release; fi
    # shellcheck disable=SC2086
    POLYBOLOS_TEST_BINARY=$(cargo test --manifest-path "$root/Cargo.toml" --workspace $release --test it --no-run --message-format=json |
        grep '/cli/tests/it/main.rs' | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)
fi
exec "$POLYBOLOS_TEST_BINARY" "live::${1:-}" --include-ignored --nocapture --test-threads 1
