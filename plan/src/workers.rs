//! The threads that compute: as many as may compute at a time, each going from one piece of work to the next.
//!
//! A thread that computed and then handed its turn to another one would often leave the other on the core of a third, until the
//! system's scheduler notices that a core is free (10 to 20 ms), and its freed memory to nobody. So these wait for nothing but work: whoever
//! has work for them waits for them, and waits for disks elsewhere.

use std::any::Any;
use std::iter::Enumerate;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::{thread, vec};

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;

use crate::error::PlanError;

/// See the module.
#[derive(Debug)]
pub(crate) struct Workers {
    threads: usize,
    /// Pieces of work that were queued by [`Workers::run`] and have not ended.
    at_work: Arc<AtomicUsize>,
    /// Started by whoever computes first, so that they have the priority of those who compute: an executor's threads for tasks have a lower one
    /// than those that say it is alive. Or why they could not be started.
    pool: OnceLock<Result<ThreadPool, String>>,
}

impl Workers {
    pub(crate) fn new(threads: usize) -> Workers {
        Workers { threads, at_work: Arc::default(), pool: OnceLock::new() }
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
        let at_work = AtWork::new(&self.at_work);
        let queued = self.pool().map(|pool| {
            pool.spawn_fifo(move || {
                let done = catch_unwind(AssertUnwindSafe(work));
                drop(at_work);
                // Nobody waits if this fails.
                let _ = sender.send(done);
            });
        });
        async move {
            queued?;
            let done = receiver.await.map_err(|error| failed(&error.to_string()))?;
            done.map_err(|panic| failed(&panic_message(panic.as_ref())))
        }
    }

    /// Threads for each piece of work that is queued or done: more than one where there are fewer pieces than threads.
    pub(crate) fn per_work(&self) -> usize {
        (self.threads / self.at_work.load(Ordering::Relaxed).max(1)).max(1)
    }

    /// Does `work` for each item on this thread, with the help of those that have nothing to do, at most `at_once` threads in all; items
    /// are begun, and the results are, in their order. Whoever computes may call it: it waits for no more than what others have begun of it.
    ///
    /// # Errors
    /// One panicked, or there are no threads.
    pub(crate) fn share<T, R, W>(&self, at_once: usize, items: Vec<T>, work: W) -> Result<Vec<R>, PlanError>
    where
        T: Send + 'static,
        R: Send + 'static,
        W: Fn(T) -> R + Send + Sync + 'static,
    {
        let count = items.len();
        let shared = Arc::new(Shared {
            left: Mutex::new(items.into_iter().enumerate()),
            done: Mutex::new(Vec::with_capacity(count)),
            is_done: Condvar::new(),
            work,
        });
        let pool = self.pool()?;
        for _ in 1..self.threads.min(count).min(at_once) {
            let shared = Arc::clone(&shared);
            // Late, it finds nothing left.
            pool.spawn_fifo(move || shared.help());
        }
        shared.help();
        shared.wait(count)
    }

    fn pool(&self) -> Result<&ThreadPool, PlanError> {
        let start = || {
            let pool = ThreadPoolBuilder::new().num_threads(self.threads);
            pool.thread_name(|index| format!("compute-{index}")).build().map_err(|error| error.to_string())
        };
        self.pool.get_or_init(start).as_ref().map_err(|reason| failed(reason))
    }
}

/// Counts a piece of work until it is dropped.
struct AtWork(Arc<AtomicUsize>);

impl AtWork {
    fn new(count: &Arc<AtomicUsize>) -> AtWork {
        count.fetch_add(1, Ordering::Relaxed);
        AtWork(Arc::clone(count))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Items that several threads work off.
struct Shared<T, R, W> {
    left: Mutex<Enumerate<vec::IntoIter<T>>>,
    /// With the places of the items.
    done: Mutex<Vec<(usize, thread::Result<R>)>>,
    is_done: Condvar,
    work: W,
}

impl<T, R, W: Fn(T) -> R> Shared<T, R, W> {
    fn help(&self) {
        loop {
            let next = self.left.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((index, item)) = next else { return };
            let result = catch_unwind(AssertUnwindSafe(|| (self.work)(item)));
            self.done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
            self.is_done.notify_one();
        }
    }

    /// Waits until `count` items are done.
    fn wait(&self, count: usize) -> Result<Vec<R>, PlanError> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.is_done.wait_while(done, |done| done.len() < count);
        let mut done = std::mem::take(&mut *waited.unwrap_or_else(PoisonError::into_inner));
        done.sort_unstable_by_key(|(index, _)| *index);
        let results = done.into_iter().map(|(_, result)| result);
        results.collect::<Result<_, _>>().map_err(|panic| failed(&panic_message(panic.as_ref())))
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

    #[tokio::test]
    async fn what_is_shared_out_keeps_its_order_and_is_done_whoever_is_busy() {
        for threads in [1, 2, 5] {
            let workers = Arc::new(Workers::new(threads));
            let shared = |count: u64| {
                let workers = Arc::clone(&workers);
                move || workers.share(usize::MAX, (0..count).collect(), |item| (item, item * item))
            };
            // From outside, and from as many of the threads as there are: nobody is left to help.
            let squares = |count: u64| (0..count).map(|item| (item, item * item)).collect::<Vec<_>>();
            assert_eq!(shared(100)().ok(), Some(squares(100)));
            let all: Vec<_> =
                (0..2 * threads as u64).map(|count| (count, workers.run(shared(count)))).collect();
            for (count, done) in all {
                assert_eq!(done.await.ok().and_then(Result::ok), Some(squares(count)));
            }
            let failed = workers.share(usize::MAX, (0..10).collect(), |item: u64| {
                assert!(item != 3, "the third");
                item
            });
            assert!(failed.is_err_and(|error| error.to_string().contains("the third")));
        }
    }

    #[tokio::test]
    async fn threads_are_counted_for_the_work_there_is() {
        let workers = Arc::new(Workers::new(4));
        assert_eq!(workers.per_work(), 4);
        let seen = Arc::clone(&workers);
        assert_eq!(workers.run(move || seen.per_work()).await.ok(), Some(4));
        for (count, each) in [(2, 2), (3, 1), (4, 1), (9, 1)] {
            let (hold, held) = (Arc::new(std::sync::RwLock::new(())), Arc::clone(&workers));
            let guard = hold.write();
            let work = |_| {
                let (hold, workers) = (Arc::clone(&hold), Arc::clone(&held));
                workers.run(move || drop(hold.read()))
            };
            let queued: Vec<_> = (0..count).map(work).collect();
            assert_eq!(workers.per_work(), each, "{count}");
            drop(guard);
            for done in queued {
                assert!(done.await.is_ok());
            }
            assert_eq!(workers.per_work(), 4);
        }
        assert!(workers.run(|| assert!(std::hint::black_box(false), "on purpose")).await.is_err());
        assert_eq!(workers.per_work(), 4, "work that panicked has ended too");
    }

    #[test]
    fn idle_threads_help() {
        let workers = Workers::new(3);
        let together = Arc::new(std::sync::Barrier::new(3));
        // Ends only if three threads work at a time.
        let met = workers.share(3, vec![(); 3], move |()| together.wait().is_leader());
        assert_eq!(met.map(|met| met.into_iter().filter(|is_leader| *is_leader).count()).ok(), Some(1));
        // No more of them than are wanted.
        let (running, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&most);
        let shared = workers.share(2, vec![(); 20], move |()| {
            seen.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(2));
            running.fetch_sub(1, Ordering::SeqCst);
        });
        assert_eq!((shared.map(|shared| shared.len()).ok(), most.load(Ordering::SeqCst)), (Some(20), 2));
    }
}
