#!/bin/sh
# Compares the indicators with TA-Lib (the C library inside the PyPI wheel) on long and awkward series.
# Needs Python 3.11 or newer and PyPI, once; the environment lives under the build folder.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
build=${CARGO_TARGET_DIR:-$PWD/target}
venv=$build/conformance-venv
if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed.txt"
fi
cargo build --quiet --release --package polybolos-kernels --example indicators_csv
exec "$venv/bin/python" "$here/indicators.py" "$build/release/examples/indicators_csv"
