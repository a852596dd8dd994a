#!/bin/sh
# Compares the indicators with TA-Lib (the C library inside the PyPI wheel): `run.sh` on long and awkward series, `run.sh speed` by the
# clock. Needs Python 3.11 or newer and PyPI, once; the environment lives under the build folder.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
case ${1:-values} in
    values) script=indicators.py program=indicators_csv ;;
    speed) script=speed.py program=indicator_times ;;
    *) echo "usage: run.sh [values|speed]" >&2; exit 2 ;;
esac
build=${CARGO_TARGET_DIR:-$PWD/target}
venv=$build/conformance-venv
if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed.txt"
fi
cargo build --quiet --release --package polybolos-kernels --example "$program"
exec "$venv/bin/python" "$here/$script" "$build/release/examples/$program"
