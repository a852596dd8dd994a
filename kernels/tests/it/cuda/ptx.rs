//! The shipped PTX is what its sources compile to.
//!
//! That it was made of these sources is always checked, by their digest. Where NVRTC is found it is made again and compared;
//! with `POLYBOLOS_WRITE_PTX=1` it is written instead (see `kernels/cuda/build-ptx.sh`).
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::print_stderr, reason = "what is skipped is said")]
#![allow(unsafe_code, reason = "NVRTC's interface is C")]

use std::ffi::{CStr, CString};
use std::path::PathBuf;

use cudarc::nvrtc::{result, sys};
use sha2::{Digest, Sha256};

/// The oldest compiler that will do: what a newer one writes is refused by older drivers.
const NVRTC_VERSION: (i32, i32) = (12, 2);

/// No fused multiply-add, whatever the default: the bits must be the processor's.
const OPTIONS: [&str; 5] =
    ["--gpu-architecture=compute_80", "--std=c++17", "--fmad=false", "--prec-div=true", "--prec-sqrt=true"];

fn folder() -> PathBuf {
    PathBuf::from("cuda")
}

/// Digest of the sources' names and contents and of the options, in the order of the names.
fn digest() -> String {
    let mut sources: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "cu" || extension == "cuh"));
    sources.sort();
    let mut hash = Sha256::new();
    for path in &sources {
        let text = std::fs::read(path).unwrap();
        hash.update(path.file_name().unwrap().as_encoded_bytes());
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.update(OPTIONS.join(" "));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn header() -> String {
    let (major, minor) = NVRTC_VERSION;
    format!("// NVRTC {major}.{minor} {}\n// sources sha256 {}\n", OPTIONS.join(" "), digest())
}

/// Loads NVRTC of the wanted version, if it is installed.
fn nvrtc() -> Option<()> {
    let named = std::env::var_os("POLYBOLOS_NVRTC").map(PathBuf::from);
    let found = named.or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
        let python = std::fs::read_dir(cache.join("polybolos/nvrtc/lib")).ok()?;
        let library = "site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12";
        python.flatten().map(|entry| entry.path().join(library)).find(|path| path.exists())
    });
    if let Some(path) = found {
        // SAFETY: loading NVRTC runs no code that has preconditions; it is never unloaded.
        std::mem::forget(unsafe { libloading::Library::new(path) }.unwrap());
    }
    // SAFETY: tries to load the library, nothing else. Once one is loaded its name finds it.
    if !unsafe { sys::is_culib_present() } {
        return None;
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: writes two integers.
    unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) }.result().unwrap();
    if (major, minor) != NVRTC_VERSION {
        eprintln!("NVRTC {major}.{minor} is not {NVRTC_VERSION:?}");
        return None;
    }
    Some(())
}

fn compile() -> String {
    let source = std::fs::read_to_string(folder().join("kernels.cu")).unwrap();
    let source = CString::new(source).unwrap();
    let program = result::create_program(&source, Some(c"kernels.cu")).unwrap();
    let mut options: Vec<String> = OPTIONS.map(str::to_owned).to_vec();
    options.push(format!("--include-path={}", folder().display()));
    // SAFETY: the program was created above and is not destroyed before the end of the test.
    unsafe {
        let compiled = result::compile_program(program, &options);
        let log = result::get_program_log(program).unwrap();
        let log = CStr::from_ptr(log.as_ptr()).to_string_lossy().into_owned();
        assert!(compiled.is_ok() && !log.contains("warning"), "{log}");
        let ptx = result::get_ptx(program).unwrap();
        CStr::from_ptr(ptx.as_ptr()).to_str().unwrap().to_owned()
    }
}

#[test]
fn ptx_is_of_its_sources() {
    let path = folder().join("kernels.ptx");
    let wanted = header();
    let write = std::env::var_os("POLYBOLOS_WRITE_PTX").is_some();
    if nvrtc().is_none() {
        assert!(!write, "NVRTC is not found: run kernels/cuda/build-ptx.sh");
        eprintln!(
            "skipped: NVRTC is not installed, the PTX is not compiled again (kernels/cuda/build-ptx.sh installs it)"
        );
    } else {
        let compiled = format!("{wanted}{}", compile());
        if write {
            std::fs::write(&path, &compiled).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap() == compiled, "run kernels/cuda/build-ptx.sh");
    }
    let shipped = std::fs::read_to_string(&path).unwrap();
    assert!(shipped.starts_with(&wanted), "the kernels have changed: run kernels/cuda/build-ptx.sh");
    let is_fused = shipped.contains("fma.rn.f64") || shipped.contains("fma.rn.f32");
    assert!(!is_fused, "a multiplication is fused with an addition");
}
