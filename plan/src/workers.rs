//! The threads that compute: as many as may compute at a time, each going from one piece of work to the next.
//!
//! A thread that computed and then handed its turn to another one would often leave the other on the core of a third, until the
//! system's scheduler notices that a core is free (10 to 20 ms), and its freed memory to nobody. So these wait for nothing but work: whoever
//! has work for them waits for them, and waits for disks elsewhere.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;

use crate::error::PlanError;

/// See the module.
#[derive(Debug)]
pub(crate) struct Workers {
    threads: usize,
    /// Started by whoever computes first, so that they have the priority of those who compute: an executor's threads for tasks have a lower one
    /// than those that say it is alive. Or why they could not be started.
    pool: OnceLock<Result<ThreadPool, String>>,
}

impl Workers {
    pub(crate) fn new(threads: usize) -> Workers {
        Workers { threads, pool: OnceLock::new() }
    }

    /// Queues work: what came first is begun first. It is done even if nobody waits for its result any more.
    ///
    /// # Errors
    /// It panicked, or there are no threads.
    pub(crate) fn run<T, W>(&self, work: W) -> impl Future<Output = Result<T, PlanError>> + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let queued = self.pool().map(|pool| {
            pool.spawn_fifo(move || {
                // Nobody waits if this fails.
                let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
            });
        });
        async move {
            queued?;
            let done = receiver.await.map_err(|error| failed(&error.to_string()))?;
            done.map_err(|panic| failed(&panic_message(panic.as_ref())))
        }
    }

    fn pool(&self) -> Result<&ThreadPool, PlanError> {
        let start = || {
            let pool = ThreadPoolBuilder::new().num_threads(self.threads);
            pool.thread_name(|index| format!("compute-{index}")).build().map_err(|error| error.to_string())
        };
        self.pool.get_or_init(start).as_ref().map_err(|reason| failed(reason))
    }
}

fn failed(reason: &str) -> PlanError {
    PlanError::Query(format!("a thread that computes failed: {reason}"))
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn as_much_is_done_at_a_time_as_there_are_threads_and_what_panics_leaves_them_alone() {
        let workers = Workers::new(2);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = |index: usize| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            workers.run(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
                running.fetch_sub(1, Ordering::SeqCst);
                assert!(index % 4 != 3, "the fourth");
                index
            })
        };
        // Half of them are waited for by nobody.
        let waited: Vec<_> = (0..20).map(work).collect();
        for (index, done) in waited.into_iter().enumerate().filter(|(index, _)| index % 2 == 1) {
            match done.await {
                Ok(done) => assert_eq!((done, index % 4), (index, 1)),
                Err(error) => assert!(index % 4 == 3 && error.to_string().contains("the fourth"), "{error}"),
            }
        }
        assert!(workers.run(|| 7).await.is_ok_and(|seven| seven == 7));
        assert_eq!((most.load(Ordering::SeqCst), running.load(Ordering::SeqCst)), (2, 0));
    }
}
