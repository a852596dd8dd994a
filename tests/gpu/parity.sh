#!/bin/sh
# Runs every test of the CUDA back end on a GPU instead of the processor: series, conditions, trades and statistics must
# have the processor's bits.
. "$(dirname "$0")/common.sh"
binary=${POLYBOLOS_TEST_BINARY:-$(binary_of test it)}
"$binary" cuda::conditions cuda::sweep cuda::self_test --nocapture
