//! The CUDA back end, tested without a GPU: the kernels are compiled for the processor and launched by the same host code.

mod conditions;
mod host;
mod ptx;
mod self_test;
mod sweep;
