//! What can go wrong on the way to a GPU and on it.

use std::fmt;

/// Why a GPU cannot be used, or stopped being usable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CudaError {
    /// The driver's library is not on this machine.
    NoLibrary,
    /// The driver is there and has no GPU.
    NoDevice,
    /// No GPU has this number.
    UnknownDevice {
        /// The number asked for, from 0.
        ordinal: usize,
        /// GPUs there are.
        count: usize,
    },
    /// The driver is older than what the kernels are compiled for.
    DriverTooOld {
        /// CUDA version of the driver, as 1000 * major + 10 * minor.
        found: i32,
        /// The oldest that will do, in the same form.
        needed: i32,
    },
    /// A call of the driver failed.
    Driver {
        /// What was being done.
        doing: &'static str,
        /// The driver's code.
        code: u32,
        /// The code's name and meaning.
        meaning: String,
    },
    /// The driver could not compile the kernels for this GPU.
    Compile {
        /// What it said.
        log: String,
    },
    /// The shipped kernels lack one that is needed.
    UnknownKernel {
        /// Its name.
        kernel: &'static str,
    },
    /// There is not enough memory on the GPU.
    OutOfMemory {
        /// Bytes asked for.
        wanted: u64,
        /// Bytes free.
        free: u64,
    },
    /// Not even one combination fits into the memory budget.
    Budget {
        /// Bytes that one combination needs.
        needed: u64,
        /// Bytes allowed.
        budget: u64,
    },
    /// A copy or a launch that would leave its memory. A fault of this program.
    Bounds {
        /// What was being done.
        doing: &'static str,
    },
    /// The GPU computed something else than the processor.
    SelfTest {
        /// What differs.
        what: String,
    },
}

impl fmt::Display for CudaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |v: i32| (v / 1000, v % 1000 / 10);
        match self {
            CudaError::NoLibrary => {
                write!(f, "no NVIDIA driver on this machine (libcuda is missing); use the CPU back end")
            }
            CudaError::NoDevice => write!(f, "the NVIDIA driver finds no GPU; use the CPU back end"),
            CudaError::UnknownDevice { ordinal, count } => {
                write!(f, "there is no GPU {ordinal}: this machine has {count}, counted from 0")
            }
            CudaError::DriverTooOld { found, needed } => {
                let ((major, minor), (need_major, need_minor)) = (version(*found), version(*needed));
                write!(
                    f,
                    "the NVIDIA driver supports CUDA {major}.{minor}, the kernels need {need_major}.{need_minor}; update \
                     the driver or use the CPU back end"
                )
            }
            CudaError::Driver { doing, code, meaning } => {
                write!(f, "the GPU driver failed while {doing}: error {code}, {meaning}")
            }
            CudaError::Compile { log } => {
                write!(f, "the driver cannot compile the kernels for this GPU: {}", log.trim())
            }
            CudaError::UnknownKernel { kernel } => {
                write!(f, "the kernels compiled into this binary lack `{kernel}`; build it again")
            }
            CudaError::OutOfMemory { wanted, free } => write!(
                f,
                "{wanted} bytes of GPU memory are needed and {free} are free; end what else uses the GPU or lower the \
                 memory budget"
            ),
            CudaError::Budget { needed, budget } => write!(
                f,
                "one combination needs {needed} bytes of GPU memory and {budget} are allowed; raise the memory budget or \
                 use fewer bars"
            ),
            CudaError::Bounds { doing } => {
                write!(f, "{doing} would leave its memory on the GPU; please report this as a fault")
            }
            CudaError::SelfTest { what } => {
                write!(f, "the GPU does not compute what the processor computes ({what}); do not use it")
            }
        }
    }
}

impl std::error::Error for CudaError {}
