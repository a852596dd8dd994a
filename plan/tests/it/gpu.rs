//! Sweeps on a device: the kernels compiled for the processor behind the seam that GPUs are behind.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use polybolos_kernels::cuda::Launcher;
use polybolos_plan::catalogue::{Manifest, State, result_file};
use polybolos_plan::gpu::{GpuPolicy, Gpus};
use polybolos_plan::runtime::SweepRuntime;

use crate::host::Host;
use crate::sweeps::{Bench, SYMBOLS};

/// Enough combinations for the first block that a device is tried with, and a second.
const STRATEGY: &str = "
name: many
params:
  fast: {from: 3, to: 32}
  slow: {from: 21, to: 100}
where: fast < slow
long:
  enter: crosses_above(sma(close, fast), sma(close, slow))
  exit: crosses_below(sma(close, fast), sma(close, slow))
";

/// Combinations of the grid for which fast < slow: 30 x 80 less those of 21..32 that are not.
const COMBOS: u64 = 30 * 80 - 78;

fn bench() -> Bench {
    Bench { strategy: STRATEGY.to_owned(), unit_rows: Some(300), threads: 2, ..Bench::new() }
}

/// A runtime with one device that fails after so many launches, and the device; `None` without a C++ compiler.
fn on_device(fails_after: Option<u64>) -> Option<(Arc<SweepRuntime>, Arc<Host>)> {
    let mut host = Host::new(256 << 20)?;
    host.fails_after = fails_after;
    let host = Arc::new(host);
    let launcher = Arc::clone(&host) as Arc<dyn Launcher>;
    let gpus = Gpus::new(vec![launcher], GpuPolicy::Always).unwrap();
    Some((SweepRuntime::with_gpus(2, Some(gpus)), host))
}

/// Bytes of the unit files by name.
fn units(bench: &Bench) -> BTreeMap<String, Vec<u8>> {
    let named = |path: std::path::PathBuf| {
        (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())
    };
    bench.units().into_iter().map(named).collect()
}

fn counted(runtime: &SweepRuntime) -> (u64, u64) {
    let progress = &runtime.progress;
    (progress.gpu_combos.load(Ordering::Relaxed), progress.gpu_fallbacks.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_go_to_a_device_many_at_once_and_keep_their_bytes() {
    let Some((runtime, host)) = on_device(None) else { return };
    let reference = bench();
    let expected = reference.run().await;
    let on_gpu = bench();
    let report = on_gpu.run_on(&runtime).await.unwrap();
    assert_eq!((report.manifest.backend.as_str(), report.units_computed), ("cuda", 3 * 8));
    assert_eq!(counted(&runtime), (3 * COMBOS, 0));
    assert_eq!(on_gpu.files(&report), reference.files(&expected));
    assert_eq!(units(&on_gpu), units(&reference));

    // Smaller units, no more launches: units are not what launches are made of.
    let launches = host.launches.load(Ordering::SeqCst);
    let Some((runtime, host)) = on_device(None) else { return };
    let small = Bench { unit_rows: Some(40), ..bench() };
    let report = small.run_on(&runtime).await.unwrap();
    assert_eq!(report.units_computed, 3 * 60);
    assert_eq!(small.files(&report), reference.files(&expected));
    assert_eq!(host.launches.load(Ordering::SeqCst), launches);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_device_leaves_is_done_by_threads_and_counted() {
    let Some((runtime, host)) = on_device(None) else { return };
    let reference = bench();
    let expected = reference.run_on(&runtime).await.unwrap();
    let launches = host.launches.load(Ordering::SeqCst);
    // At once; in the middle; with the last launch of all.
    for fails_after in [0, launches / 2, launches - 1] {
        let Some((runtime, _)) = on_device(Some(fails_after)) else { return };
        let failing = bench();
        let report = failing.run_on(&runtime).await.unwrap();
        assert_eq!(failing.files(&report), reference.files(&expected), "after {fails_after} launches");
        assert_eq!(units(&failing), units(&reference));
        let (on_gpu, fallbacks) = counted(&runtime);
        assert_eq!(on_gpu + fallbacks, 3 * COMBOS);
        assert!(fallbacks > 0);
        assert_eq!(on_gpu == 0, fails_after == 0, "{on_gpu} combinations on the device");
        let reason = runtime.gpus.as_ref().and_then(Gpus::last_failure).unwrap().to_string();
        assert!(reason.contains("a failure for a test"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_begun_on_a_device_is_resumed_without_one() {
    let Some((runtime, _)) = on_device(None) else { return };
    let bench = bench();
    let first = bench.run_on(&runtime).await.unwrap();
    let expected = bench.files(&first);
    let sweep_id = first.manifest.sweep_id.clone();
    Manifest { state: State::Unfinished, ..first.manifest }.write(&bench.results()).unwrap();
    fs::remove_file(result_file(&bench.results(), &sweep_id, SYMBOLS[1]).path().unwrap()).unwrap();
    fs::remove_file(&bench.units()[3]).unwrap();
    let resumed = bench.run().await;
    assert_eq!((resumed.units_computed, resumed.was_complete), (1, false));
    assert_eq!(bench.files(&resumed), expected);
}
