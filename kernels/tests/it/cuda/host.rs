//! The unmodified kernels compiled as C++ and run on the processor, behind the seam that GPUs are behind.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::print_stderr, reason = "what is skipped is said")]
#![allow(unsafe_code, reason = "the kernels are C++ in a shared library")]

use std::collections::BTreeSet;
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use polybolos_kernels::cuda::{CudaError, Driver, Launcher, Memory};
use sha2::{Digest, Sha256};

/// What fresh memory is filled with, and what stands behind the end of every allocation.
const FILL: u8 = 0xA5;
const GUARD_BYTES: usize = 64;

type LaunchFn = unsafe extern "C" fn(*const c_char, *const u32, u32, *const c_void, usize) -> c_int;

/// The compiled kernels; `None` without a C++ compiler, or where the tests were built elsewhere.
static KERNELS: LazyLock<Option<LaunchFn>> = LazyLock::new(load);

/// The device that tests run on, with at least this much memory: the processor, or, with `POLYBOLOS_GPU=N`, GPU `N`. `None`
/// (and a line that says so) where there is neither a GPU asked for nor a C++ compiler.
pub(crate) fn device(capacity: u64) -> Option<Arc<dyn Launcher>> {
    static GPU: LazyLock<Option<Arc<Driver>>> = LazyLock::new(|| {
        let ordinal = std::env::var("POLYBOLOS_GPU").ok()?;
        Some(Arc::new(Driver::open(ordinal.parse().unwrap()).unwrap()))
    });
    match GPU.as_ref() {
        Some(driver) => Some(Arc::clone(driver) as Arc<dyn Launcher>),
        None => Some(Arc::new(Host::new(capacity)?)),
    }
}

/// Random cases of a test; `POLYBOLOS_CASES` has the last word, for sanitizers.
pub(crate) fn cases(usual: u32) -> u32 {
    std::env::var("POLYBOLOS_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

/// A device that is the processor.
pub(crate) struct Host {
    launch: LaunchFn,
    /// Bytes of its memory.
    capacity: u64,
    used: Arc<AtomicU64>,
    /// The greatest `used` so far.
    pub(crate) most_used: AtomicU64,
    pub(crate) launches: AtomicU64,
    /// Names of the kernels that were launched.
    pub(crate) kernels: Mutex<BTreeSet<&'static str>>,
    /// Launches that succeed before one fails.
    pub(crate) fails_after: Option<u64>,
    /// Whether everything read back has one bit wrong.
    pub(crate) flips_a_bit: bool,
}

impl Host {
    /// A device with this much memory, or `None` (and a line that says so) where there is no C++ compiler.
    pub(crate) fn new(capacity: u64) -> Option<Host> {
        let Some(launch) = *KERNELS else {
            eprintln!(
                "skipped: the kernels cannot be compiled for the processor (no C++ compiler, or no sources)"
            );
            return None;
        };
        Some(Host {
            launch,
            capacity,
            used: Arc::default(),
            most_used: AtomicU64::new(0),
            launches: AtomicU64::new(0),
            kernels: Mutex::default(),
            fails_after: None,
            flips_a_bit: false,
        })
    }
}

fn compiler() -> Option<String> {
    let named = std::env::var("CXX").ok();
    let candidates = named.iter().map(String::as_str).chain(["c++", "g++", "clang++"]);
    let works =
        |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success());
    candidates.map(str::trim).find(works).map(str::to_owned)
}

/// Compiles the kernels and the shim, or finds what an earlier run compiled from the same sources.
fn load() -> Option<LaunchFn> {
    let compiler = compiler()?;
    // Also where the crate under test is a neighbour of this one.
    let root = Path::new("../kernels");
    if !root.join("cuda").is_dir() {
        eprintln!("the sources are not on this machine");
        return None;
    }
    let shim = root.join("tests/cuda-host/shim.cpp");
    let mut sources: Vec<PathBuf> =
        std::fs::read_dir(root.join("cuda")).unwrap().map(|entry| entry.unwrap().path()).collect();
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "cu" || extension == "cuh"));
    sources.push(shim.clone());
    sources.sort();
    let mut hash = Sha256::new();
    hash.update(&compiler);
    for source in &sources {
        hash.update(source.as_os_str().as_encoded_bytes());
        hash.update(std::fs::read(source).unwrap());
    }
    let digest: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cuda-host-{digest}.so"));
    if !library.exists() {
        // Two test processes may compile at once: each writes its own file and moves it into place.
        let fresh = library.with_extension(format!("{}.tmp", std::process::id()));
        let out = Command::new(&compiler)
            .args([
                "-std=c++17",
                "-O2",
                "-ffp-contract=off",
                "-fPIC",
                "-shared",
                "-Wall",
                "-Wextra",
                "-Werror",
            ])
            .args(["-Wno-unknown-pragmas", "-Wno-unused-function", "-I"])
            .arg(root.join("cuda"))
            .arg(&shim)
            .arg("-o")
            .arg(&fresh)
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        std::fs::rename(&fresh, &library).unwrap();
    }
    // SAFETY: the shim's code, which does nothing when loaded, and never unloaded; the symbol has the type it is declared with
    // there.
    unsafe {
        let library = Box::leak(Box::new(libloading::Library::new(library).unwrap()));
        Some(*library.get::<LaunchFn>(b"polybolos_launch\0").unwrap())
    }
}

/// An allocation: its bytes and a guard behind them.
struct Block {
    words: Box<[u64]>,
    bytes: usize,
    used: Arc<AtomicU64>,
}

impl Drop for Block {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes as u64, Ordering::SeqCst);
        let all: Vec<u8> = self.words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let is_whole = all[self.bytes..].iter().all(|&byte| byte == FILL);
        assert!(
            is_whole || std::thread::panicking(),
            "a kernel has written past the end of {} bytes",
            self.bytes
        );
    }
}

impl Launcher for Host {
    fn describe(&self) -> String {
        "the processor".to_owned()
    }

    fn free_bytes(&self) -> Result<u64, CudaError> {
        Ok(self.capacity - self.used.load(Ordering::SeqCst))
    }

    fn take_streams(&self) -> Vec<usize> {
        vec![0, 1]
    }

    fn bars_per_launch(&self) -> u64 {
        1 << 30
    }

    fn allocate(&self, bytes: u64) -> Result<Memory, CudaError> {
        let used = self.used.fetch_add(bytes, Ordering::SeqCst) + bytes;
        if used > self.capacity {
            self.used.fetch_sub(bytes, Ordering::SeqCst);
            return Err(CudaError::OutOfMemory { wanted: bytes, free: self.capacity + bytes - used });
        }
        self.most_used.fetch_max(used, Ordering::SeqCst);
        let words = (bytes as usize + GUARD_BYTES).div_ceil(8);
        let mut words = vec![u64::from_ne_bytes([FILL; 8]); words].into_boxed_slice();
        let address = words.as_mut_ptr().expose_provenance() as u64;
        let block = Block { words, bytes: bytes as usize, used: Arc::clone(&self.used) };
        // SAFETY: the block owns the memory, and nothing is queued here: launches end before they return.
        Ok(unsafe { Memory::new(address, bytes, Box::new(block)) })
    }

    fn upload(&self, _: usize, memory: &Memory, offset: u64, bytes: &[u8]) -> Result<(), CudaError> {
        let to = memory.range(offset, bytes.len() as u64).ok_or(CudaError::Bounds { doing: "an upload" })?;
        // SAFETY: the range is within a block that lives as long as `memory`.
        unsafe {
            let to = std::ptr::with_exposed_provenance_mut::<u8>(to as usize);
            to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        Ok(())
    }

    fn download(&self, _: usize, memory: &Memory, offset: u64, bytes: &mut [u8]) -> Result<(), CudaError> {
        let from =
            memory.range(offset, bytes.len() as u64).ok_or(CudaError::Bounds { doing: "a download" })?;
        // SAFETY: the range is within a block that lives as long as `memory`.
        unsafe {
            let from = std::ptr::with_exposed_provenance::<u8>(from as usize);
            from.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len());
        }
        if let (true, Some(last)) = (self.flips_a_bit, bytes.last_mut()) {
            *last ^= 1;
        }
        Ok(())
    }

    fn synchronize(&self, _: usize) -> Result<(), CudaError> {
        Ok(())
    }

    unsafe fn launch(
        &self,
        _: usize,
        kernel: &'static str,
        grid: [u32; 3],
        block: u32,
        args: &[u64],
    ) -> Result<(), CudaError> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let before = self.launches.fetch_add(1, Ordering::SeqCst);
        if self.fails_after.is_some_and(|launches| before >= launches) {
            let meaning = "a failure for a test".to_owned();
            return Err(CudaError::Driver { doing: "launching a kernel", code: 719, meaning });
        }
        self.kernels.lock().unwrap_or_else(PoisonError::into_inner).insert(kernel);
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let name = CString::new(kernel).unwrap();
        // SAFETY: the caller's promise for the arguments; the shim compares their size with the kernel's struct.
        let code = unsafe {
            (self.launch)(name.as_ptr(), grid.as_ptr(), block, args.as_ptr().cast(), size_of_val(args))
        };
        match code {
            0 => Ok(()),
            1 => Err(CudaError::UnknownKernel { kernel }),
            _ => panic!("{kernel} takes another struct than {} words", args.len()),
        }
    }
}
