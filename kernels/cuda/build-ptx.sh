#!/bin/sh
# Compiles the kernels to kernels.ptx, which is committed and shipped in the binary. Needs python3, cargo and PyPI; no GPU.
# The compiler's version is pinned: PTX of a newer one is refused by drivers older than it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/polybolos/nvrtc
if ! ls "$venv"/lib/python*/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12 >/dev/null 2>&1; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet nvidia-cuda-nvrtc-cu12==12.2.140
fi
# The test compiles, writes the file and compares it with its sources; without it there is nothing to compare.
: >"$here/kernels.ptx"
POLYBOLOS_WRITE_PTX=1 cargo test --manifest-path "$here/../Cargo.toml" --test it -- --exact cuda::ptx::ptx_is_of_its_sources
