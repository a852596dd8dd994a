//! GPUs through NVIDIA's driver, found when the program runs: nothing of CUDA is needed to build or to start it.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};

use super::CudaError;
use super::launcher::{Launcher, Memory};
use super::source::PTX;

/// The oldest driver that compiles the shipped kernels, as CUDA writes versions: 1000 * major + 10 * minor.
pub const MIN_DRIVER_VERSION: i32 = 12_020;

/// Streams per device. Sweeps of several symbols at once each have their own, and their launches fill the device together.
const STREAMS: usize = 32;

/// Streams per user: one computes while the other copies.
const STREAMS_PER_USER: usize = 2;

/// A GPU as the driver describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceInfo {
    /// Number from 0, for [`Driver::open`].
    pub ordinal: usize,
    /// Marketing name.
    pub name: String,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Memory free at the time of asking, in bytes.
    pub memory_free_bytes: u64,
    /// Compute capability, major and minor.
    pub compute_capability: (u32, u32),
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Peak clock in kHz.
    pub clock_khz: u32,
    /// How many times faster `f32` is than `f64`, as the driver says; `None` if it does not.
    pub f32_to_f64_ratio: Option<u32>,
    /// CUDA version of the driver, as 1000 * major + 10 * minor.
    pub driver_version: i32,
}

/// Finds the GPUs of this machine, in the driver's order.
///
/// # Errors
/// [`CudaError::NoLibrary`] without a driver, [`CudaError::NoDevice`] without a GPU, [`CudaError::DriverTooOld`], or what
/// the driver says.
pub fn devices() -> Result<Vec<DeviceInfo>, CudaError> {
    let (count, driver_version) = start()?;
    (0..count).map(|ordinal| info(ordinal, driver_version)).collect()
}

/// Starts the driver: the number of GPUs, at least 1, and its version.
fn start() -> Result<(usize, i32), CudaError> {
    // SAFETY: loads and unloads the library, which has no preconditions. Nothing else of cudarc may run before: it panics
    // where the library is missing.
    if !unsafe { sys::is_culib_present() } {
        return Err(CudaError::NoLibrary);
    }
    let mut version = 0;
    // SAFETY: writes one integer; allowed before the driver is initialised.
    driver("asking for its version", unsafe { sys::cuDriverGetVersion(&raw mut version) }.result())?;
    if version < MIN_DRIVER_VERSION {
        return Err(CudaError::DriverTooOld { found: version, needed: MIN_DRIVER_VERSION });
    }
    match result::init() {
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => return Err(CudaError::NoDevice),
        other => driver("starting", other)?,
    }
    match driver("counting the GPUs", result::device::get_count())? {
        count if count > 0 => Ok((count as usize, version)),
        _ => Err(CudaError::NoDevice),
    }
}

fn info(ordinal: usize, driver_version: i32) -> Result<DeviceInfo, CudaError> {
    let context = open_context(ordinal)?;
    let attribute = |attribute| driver("reading its properties", context.attribute(attribute));
    let unsigned = |value: i32| u32::try_from(value).unwrap_or(0);
    let (free, total) = driver("asking for its memory", context.mem_get_info())?;
    let (major, minor) = driver("reading its properties", context.compute_capability())?;
    use sys::CUdevice_attribute as Attribute;
    Ok(DeviceInfo {
        ordinal,
        name: driver("asking for its name", context.name())?,
        memory_bytes: total as u64,
        memory_free_bytes: free as u64,
        compute_capability: (unsigned(major), unsigned(minor)),
        multiprocessors: unsigned(attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?),
        clock_khz: unsigned(attribute(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?),
        f32_to_f64_ratio: attribute(Attribute::CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO)
            .ok()
            .and_then(|ratio| u32::try_from(ratio).ok())
            .filter(|&ratio| ratio > 0),
        driver_version,
    })
}

fn open_context(ordinal: usize) -> Result<Arc<CudaContext>, CudaError> {
    driver("opening the GPU", CudaContext::new(ordinal))
}

/// The driver's answer in this crate's words.
fn driver<T>(doing: &'static str, result: Result<T, DriverError>) -> Result<T, CudaError> {
    result.map_err(|error| {
        let text = |text: Result<&CStr, DriverError>| {
            text.map_or_else(|_| "no description".to_owned(), |text| text.to_string_lossy().into_owned())
        };
        let meaning = format!("{} ({})", text(error.error_name()), text(error.error_string()));
        CudaError::Driver { doing, code: error.0 as u32, meaning }
    })
}

/// A GPU with this crate's kernels loaded.
pub struct Driver {
    context: Arc<CudaContext>,
    streams: Vec<Arc<CudaStream>>,
    module: sys::CUmodule,
    functions: Mutex<BTreeMap<&'static str, Function>>,
    name: String,
    /// Users so far.
    users: AtomicUsize,
    bars_per_launch: u64,
}

#[derive(Clone, Copy)]
struct Function(sys::CUfunction);

// SAFETY: handles of the driver, which may be used from any thread that has made the context current, and every method
// does so first. The module is unloaded once, when the last user is gone.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Send for Driver {}
// SAFETY: as above; what changes is behind a mutex.
unsafe impl Sync for Driver {}

impl Driver {
    /// Opens a GPU and has the driver compile the kernels for it (it keeps what it compiled for the next time).
    ///
    /// # Errors
    /// As [`devices`]; [`CudaError::UnknownDevice`]; [`CudaError::Compile`] with the compiler's words.
    pub fn open(ordinal: usize) -> Result<Driver, CudaError> {
        let (count, version) = start()?;
        if ordinal >= count {
            return Err(CudaError::UnknownDevice { ordinal, count });
        }
        let context = open_context(ordinal)?;
        let info = info(ordinal, version)?;
        let streams = (0..STREAMS).map(|_| driver("making a queue", context.new_stream()));
        let streams = streams.collect::<Result<Vec<_>, _>>()?;
        let module = load_module()?;
        Ok(Driver {
            context,
            streams,
            module,
            functions: Mutex::default(),
            bars_per_launch: bars_per_launch(&info),
            name: info.name,
            users: AtomicUsize::new(0),
        })
    }

    fn stream(&self, stream: usize) -> sys::CUstream {
        self.streams[stream % self.streams.len()].cu_stream()
    }

    fn bind(&self) -> Result<(), CudaError> {
        driver("selecting the GPU", self.context.bind_to_thread())
    }

    fn function(&self, kernel: &'static str) -> Result<Function, CudaError> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&function) = functions.get(kernel) {
            return Ok(function);
        }
        let name = CString::new(kernel).map_err(|_| CudaError::UnknownKernel { kernel })?;
        // SAFETY: the module is loaded until `self` is dropped.
        let function = match unsafe { result::module::get_function(self.module, name) } {
            Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_FOUND)) => {
                return Err(CudaError::UnknownKernel { kernel });
            }
            other => Function(driver("looking up a kernel", other)?),
        };
        functions.insert(kernel, function);
        Ok(function)
    }
}

/// Bars times combinations simulated in half a second at the least, by what the driver says of the chip.
fn bars_per_launch(info: &DeviceInfo) -> u64 {
    /// `f64` operations per bar and combination when positions are walked bar by bar, and twice that for waiting.
    const OPERATIONS: u64 = 200;
    const LANES: u64 = 128;
    let lanes = u64::from(info.multiprocessors) * LANES / u64::from(info.f32_to_f64_ratio.unwrap_or(2));
    let per_half_second = lanes * u64::from(info.clock_khz) * 500;
    (per_half_second / OPERATIONS).max(1 << 26)
}

/// Has the driver compile the kernels for the current context.
fn load_module() -> Result<sys::CUmodule, CudaError> {
    const LOG_BYTES: usize = 16 << 10;
    let ptx =
        CString::new(PTX).map_err(|_| CudaError::Compile { log: "the kernels contain a NUL".to_owned() })?;
    let mut log = vec![0_u8; LOG_BYTES];
    let mut module = ptr::null_mut();
    use sys::CUjit_option as Jit;
    let mut options = [Jit::CU_JIT_ERROR_LOG_BUFFER, Jit::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    let mut values = [log.as_mut_ptr().cast::<c_void>(), ptr::without_provenance_mut(LOG_BYTES)];
    // SAFETY: the text ends with a NUL; two options with a value each; the log outlives the call and its size is as stated
    // (an integer option travels in the pointer itself).
    let loaded = unsafe {
        sys::cuModuleLoadDataEx(
            &raw mut module,
            ptx.as_ptr().cast::<c_char>().cast(),
            options.len() as u32,
            options.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    match loaded.result() {
        Ok(()) => Ok(module),
        Err(error) => {
            let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
            let said = String::from_utf8_lossy(&log[..end]).into_owned();
            let code = format!("{:?}", error.0);
            Err(CudaError::Compile {
                log: if said.trim().is_empty() { code } else { format!("{code}: {said}") },
            })
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.bind().is_ok() {
            // SAFETY: loaded by `open`, and nobody else has it. A failure leaves the module to the end of the process.
            let _ = unsafe { result::module::unload(self.module) };
        }
    }
}

/// Gives memory of a context back.
struct Owner {
    context: Arc<CudaContext>,
    address: sys::CUdeviceptr,
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_ok() {
            // Whatever is queued may still use it.
            let _ = self.context.synchronize();
            // SAFETY: taken by `allocate` from this context and given back once. A failure means that the context is lost,
            // and its memory with it.
            let _ = unsafe { result::free_sync(self.address) };
        }
    }
}

impl Launcher for Driver {
    fn describe(&self) -> String {
        format!("GPU {}: {}", self.context.ordinal(), self.name)
    }

    fn free_bytes(&self) -> Result<u64, CudaError> {
        self.bind()?;
        driver("asking for its memory", result::mem_get_info()).map(|(free, _)| free as u64)
    }

    fn take_streams(&self) -> Vec<usize> {
        let first =
            self.users.fetch_add(1, Ordering::Relaxed) % (STREAMS / STREAMS_PER_USER) * STREAMS_PER_USER;
        (first..first + STREAMS_PER_USER).collect()
    }

    fn bars_per_launch(&self) -> u64 {
        self.bars_per_launch
    }

    fn allocate(&self, bytes: u64) -> Result<Memory, CudaError> {
        self.bind()?;
        let size = usize::try_from(bytes).map_err(|_| CudaError::Bounds { doing: "an allocation" })?;
        // SAFETY: the context is current; the owner gives the memory back.
        let address = match unsafe { result::malloc_sync(size) } {
            Err(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => {
                return Err(CudaError::OutOfMemory { wanted: bytes, free: self.free_bytes()? });
            }
            other => driver("taking memory", other)?,
        };
        let owner = Owner { context: Arc::clone(&self.context), address };
        // SAFETY: `bytes` bytes from `address` on are ours until the owner gives them back, which waits for the device.
        Ok(unsafe { Memory::new(address, bytes, Box::new(owner)) })
    }

    fn upload(&self, stream: usize, memory: &Memory, offset: u64, bytes: &[u8]) -> Result<(), CudaError> {
        self.bind()?;
        let to = memory.range(offset, bytes.len() as u64).ok_or(CudaError::Bounds { doing: "an upload" })?;
        // SAFETY: the range is within the memory, which drops only after the device is idle; from pageable memory the
        // driver has taken its copy of `bytes` when the call returns.
        driver("uploading", unsafe { result::memcpy_htod_async(to, bytes, self.stream(stream)) })
    }

    fn download(
        &self,
        stream: usize,
        memory: &Memory,
        offset: u64,
        bytes: &mut [u8],
    ) -> Result<(), CudaError> {
        self.bind()?;
        let from =
            memory.range(offset, bytes.len() as u64).ok_or(CudaError::Bounds { doing: "a download" })?;
        // SAFETY: the range is within the memory, and `bytes` is borrowed until the copy has been waited for.
        driver("downloading", unsafe { result::memcpy_dtoh_async(bytes, from, self.stream(stream)) })?;
        self.synchronize(stream)
    }

    fn synchronize(&self, stream: usize) -> Result<(), CudaError> {
        self.bind()?;
        // SAFETY: the stream lives as long as `self`.
        driver("computing", unsafe { result::stream::synchronize(self.stream(stream)) })
    }

    unsafe fn launch(
        &self,
        stream: usize,
        kernel: &'static str,
        grid: [u32; 3],
        block: u32,
        args: &[u64],
    ) -> Result<(), CudaError> {
        self.bind()?;
        let Function(function) = self.function(kernel)?;
        let mut params = [args.as_ptr().cast_mut().cast::<c_void>()];
        let grid = (grid[0], grid[1], grid[2]);
        // SAFETY: the kernel takes one struct, whose fields and addresses the caller answers for; the driver copies it
        // before it returns and only reads it.
        driver("launching a kernel", unsafe {
            result::launch_kernel(function, grid, (block, 1, 1), 0, self.stream(stream), &mut params)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_is_as_long_as_the_chip_is_fast() {
        let info = |multiprocessors, clock_khz, ratio| DeviceInfo {
            ordinal: 0,
            name: String::new(),
            memory_bytes: 0,
            memory_free_bytes: 0,
            compute_capability: (9, 0),
            multiprocessors,
            clock_khz,
            f32_to_f64_ratio: ratio,
            driver_version: MIN_DRIVER_VERSION,
        };
        // A data-centre chip of 132 x 64 lanes at 1.98 GHz, a gaming one with a 64th of its lanes for f64, and a small one.
        assert_eq!(bars_per_launch(&info(132, 1_980_000, Some(2))), 41_817_600_000);
        assert_eq!(bars_per_launch(&info(128, 2_520_000, Some(64))), 1_612_800_000);
        assert_eq!(bars_per_launch(&info(2, 1_000_000, Some(64))), 1 << 26);
    }
}
