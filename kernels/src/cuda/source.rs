//! The kernels as they are shipped: PTX, which a GPU's driver compiles for the GPU it has.

/// Made of `kernels/cuda/*.cu` by `kernels/cuda/build-ptx.sh`; a test holds it to its sources.
pub(super) const PTX: &str = include_str!("../../cuda/kernels.ptx");
