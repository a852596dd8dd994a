//! Blocking work for many items at a time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Does `work` for every item on at most `threads` threads, in the order of the items; so are the results.
///
/// # Errors
/// That of the first item that has one.
pub fn in_parallel<T: Sync, R: Send, E: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let (next, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let help = || {
        // Items are taken in order: whatever comes before one that failed is with somebody, who finishes it.
        while !has_failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = work(item);
            has_failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(items.len()) {
            scope.spawn(help);
        }
        help();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_work_keeps_its_order_and_fails_with_the_first_failure() {
        let items: Vec<u64> = (0..100).collect();
        for threads in [0, 1, 3, 200] {
            let squares = in_parallel(threads, &items, |item| Ok::<_, u64>(item * item)).unwrap_or_default();
            assert_eq!(squares, items.iter().map(|item| item * item).collect::<Vec<_>>());
            let failed = in_parallel(threads, &items, |item| match item {
                20.. => Err(*item),
                _ => Ok(()),
            });
            assert_eq!(failed, Err(20));
        }
        assert!(in_parallel(2, &[], |_: &u64| Ok::<_, u64>(())).is_ok_and(|none| none.is_empty()));
    }
}
