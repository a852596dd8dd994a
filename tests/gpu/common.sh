# Sourced by the scripts beside it: finds a GPU and the binaries, or ends the script with a message.
#
# The test binary and the bench are built by cargo, or named by POLYBOLOS_TEST_BINARY and POLYBOLOS_BENCH_BINARY where there is
# a GPU and no cargo. POLYBOLOS_GPU chooses the GPU, counted from 0.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
export POLYBOLOS_GPU="${POLYBOLOS_GPU:-0}"

if ! command -v nvidia-smi >/dev/null 2>&1 || ! nvidia-smi -L >/dev/null 2>&1; then
    echo "skipped: no NVIDIA GPU on this machine"
    exit 0
fi

# The file that cargo builds for a target: binary_of test it [profile flags]
binary_of() {
    kind=$1
    name=$2
    shift 2
    cargo "$kind" --manifest-path "$root/Cargo.toml" -p polybolos-kernels "--$kind" "$name" --no-run --message-format=json "$@" |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1
}
