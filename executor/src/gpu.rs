//! Opening the GPUs that were asked for.

use std::sync::Arc;

use polybolos_kernels::cuda::{CudaError, Driver, Launcher};
use polybolos_plan::gpu::{GpuPolicy, Gpus};

use crate::config::GpuChoice;
use crate::error::ExecutorError;

/// The GPUs to compute on. Those that were named must be there; of `auto` what cannot be used is left out, with a warning
/// unless there is none at all. Units go to a GPU as long as it is the faster one.
pub(crate) fn open(choice: &GpuChoice) -> Result<Option<Gpus>, ExecutorError> {
    match choice {
        GpuChoice::Off => Ok(None),
        GpuChoice::Auto => match Gpus::open(GpuPolicy::Auto) {
            Ok(gpus) => Ok(Some(gpus)),
            Err(CudaError::NoLibrary | CudaError::NoDevice) => Ok(None),
            Err(error) => {
                tracing::warn!(%error, "the GPU is not used");
                Ok(None)
            }
        },
        GpuChoice::Listed(ordinals) => {
            let mut launchers: Vec<Arc<dyn Launcher>> = Vec::new();
            for &ordinal in ordinals {
                let failed = |error| ExecutorError::Gpu { ordinal, error };
                launchers.push(Arc::new(Driver::open(ordinal).map_err(failed)?));
            }
            let ordinal = ordinals.first().copied().unwrap_or_default();
            let gpus = Gpus::new(launchers, GpuPolicy::Auto);
            gpus.map(Some).map_err(|error| ExecutorError::Gpu { ordinal, error })
        }
    }
}
