#!/bin/sh
# Runs the tests of the CUDA back end on a GPU under compute-sanitizer: accesses outside of memory, uninitialised reads and
# races. Slow: fewer random cases.
. "$(dirname "$0")/common.sh"
if ! command -v compute-sanitizer >/dev/null 2>&1; then
    echo "skipped: compute-sanitizer is not installed (it comes with the CUDA toolkit)"
    exit 0
fi
binary=${POLYBOLOS_TEST_BINARY:-$(binary_of test it)}
export POLYBOLOS_CASES="${POLYBOLOS_CASES:-20}"
for tool in memcheck initcheck racecheck; do
    echo "== $tool"
    compute-sanitizer --tool "$tool" --error-exitcode 1 "$binary" cuda::sweep cuda::conditions --test-threads 1
done
