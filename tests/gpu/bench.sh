#!/bin/sh
# Measures the reference workloads on a GPU, from 10^5 to 10^6 combinations of 43,800 bars.
. "$(dirname "$0")/common.sh"
binary=${POLYBOLOS_BENCH_BINARY:-$(binary_of bench cuda)}
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader
"$binary" "$@"
