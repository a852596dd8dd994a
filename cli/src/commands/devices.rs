//! `polybolos devices`: the GPUs of this machine, and a self-test of each.

use std::sync::Arc;

use polybolos_engine::kernels::cuda::{
    CudaError, DeviceInfo, Driver, Launcher, SelfTest, devices, self_test,
};
use polybolos_engine::kernels::simd::Isa;
use serde_json::json;

use crate::args::DevicesArgs;
use crate::commands::Style;
use crate::error::CliError;
use crate::output::{self, number_cell, thousands};

/// Device memory that a self-test takes at most.
const TEST_BYTES: u64 = 1 << 30;

type Tested = Option<Result<SelfTest, CudaError>>;

pub(crate) fn run(args: &DevicesArgs, style: Style) -> Result<(), CliError> {
    let isa = Isa::detect();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (found, reason) = match devices() {
        Ok(found) => (found, None),
        Err(error @ (CudaError::NoLibrary | CudaError::NoDevice)) => (Vec::new(), Some(error.to_string())),
        Err(error) => return Err(CliError::Failed(error.to_string())),
    };
    let tested: Vec<Tested> = found.iter().map(|info| (!args.no_test).then(|| test(info))).collect();
    if style.json {
        let gpus = found.iter().zip(&tested).map(|(info, tested)| device_json(info, tested.as_ref()));
        output::json(&json!({
            "cpu": { "threads": threads, "instructions": isa.name() },
            "gpus": gpus.collect::<Vec<_>>(),
            "no_gpu": reason,
        }))?;
    } else {
        output::text(&format!("cpu: {threads} threads, {isa} instructions"))?;
        match reason {
            Some(reason) => output::text(&format!("no GPU: {reason}"))?,
            None => output::text(&table(&found, &tested))?,
        }
    }
    match tested.iter().flatten().find_map(|tested| tested.as_ref().err()) {
        Some(error) => Err(CliError::Failed(format!("self-test: {error}"))),
        None => Ok(()),
    }
}

fn test(info: &DeviceInfo) -> Result<SelfTest, CudaError> {
    let launcher: Arc<dyn Launcher> = Arc::new(Driver::open(info.ordinal)?);
    self_test(&launcher, TEST_BYTES.min(info.memory_free_bytes / 2))
}

fn table(found: &[DeviceInfo], tested: &[Tested]) -> String {
    let columns = ["gpu", "name", "memory MiB", "free MiB", "compute", "SMs", "MHz", "driver", "self-test"];
    let mut table = output::table(&columns);
    for (info, tested) in found.iter().zip(tested) {
        let mib = |bytes: u64| number_cell(thousands(bytes >> 20));
        table.add_row(vec![
            number_cell(info.ordinal.to_string()),
            info.name.clone().into(),
            mib(info.memory_bytes),
            mib(info.memory_free_bytes),
            format!("{}.{}", info.compute_capability.0, info.compute_capability.1).into(),
            number_cell(info.multiprocessors.to_string()),
            number_cell((info.clock_khz / 1000).to_string()),
            format!("{}.{}", info.driver_version / 1000, info.driver_version % 1000 / 10).into(),
            verdict(tested.as_ref()).into(),
        ]);
    }
    table.to_string()
}

fn verdict(tested: Option<&Result<SelfTest, CudaError>>) -> String {
    match tested {
        None => "not run".to_owned(),
        Some(Err(error)) => format!("FAILED: {error}"),
        Some(Ok(test)) => format!(
            "ok: {} combinations equal to the processor's in every bit, {:.0} GB/s, {:.2} T f64/s",
            thousands(test.combinations_compared as u64),
            test.bandwidth_bytes_per_s / 1e9,
            test.f64_operations_per_s / 1e12,
        ),
    }
}

fn device_json(info: &DeviceInfo, tested: Option<&Result<SelfTest, CudaError>>) -> serde_json::Value {
    let test = tested.map(|tested| match tested {
        Ok(test) => json!({
            "ok": true,
            "bandwidth_bytes_per_s": test.bandwidth_bytes_per_s,
            "f64_operations_per_s": test.f64_operations_per_s,
            "combinations_compared": test.combinations_compared,
            "seconds": test.elapsed.as_secs_f64(),
        }),
        Err(error) => json!({ "ok": false, "error": error.to_string() }),
    });
    json!({
        "ordinal": info.ordinal,
        "name": info.name,
        "memory_bytes": info.memory_bytes,
        "memory_free_bytes": info.memory_free_bytes,
        "compute_capability": [info.compute_capability.0, info.compute_capability.1],
        "multiprocessors": info.multiprocessors,
        "clock_khz": info.clock_khz,
        "f32_to_f64_ratio": info.f32_to_f64_ratio,
        "driver_version": info.driver_version,
        "self_test": test,
    })
}
