//! Memory for the tasks of queries: how much there is, and an equal share of it for every task.

use std::path::Path;
use std::sync::Arc;

use ballista_executor::runtime_cache::MemoryPoolPolicy;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;

/// Percent of the machine's or the container's memory that queries take unless told otherwise.
const SHARE_PERCENT: u64 = 70;

/// Bytes of memory for queries: as set, or a share of what the container or the machine has.
pub(crate) fn pool_bytes(set: Option<u64>) -> Option<u64> {
    set.or_else(|| {
        let limit = limit_bytes(Path::new("/sys/fs/cgroup"), Path::new("/proc/meminfo"))?;
        Some(limit / 100 * SHARE_PERCENT)
    })
}

/// The smaller of the container's limit and the machine's memory; `None` where neither says.
fn limit_bytes(cgroup: &Path, meminfo: &Path) -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let number = |text: String| text.trim().parse::<u64>().ok();
    let container = read(&cgroup.join("memory.max"))
        .and_then(number)
        .or_else(|| read(&cgroup.join("memory/memory.limit_in_bytes")).and_then(number));
    let machine = read(meminfo).and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    match (container, machine) {
        (Some(container), Some(machine)) => Some(container.min(machine)),
        (container, machine) => container.or(machine),
    }
}

/// Gives every task a pool of its own, of the slots it takes; a task that needs more spills to disk. Without a limit tasks
/// are not bounded.
pub(crate) fn policy(pool_bytes: Option<u64>, slots: usize) -> MemoryPoolPolicy {
    let per_slot = pool_bytes.map(|bytes| usize::try_from(bytes / slots.max(1) as u64).unwrap_or(usize::MAX));
    Arc::new(move |base, _, slots_taken| {
        let Some(per_slot) = per_slot else { return Ok(base) };
        let bytes = per_slot.saturating_mul(slots_taken.max(1) as usize);
        RuntimeEnvBuilder::from_runtime_env(&base)
            .with_memory_pool(Arc::new(FairSpillPool::new(bytes)))
            .build_arc()
    })
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::MemoryLimit;
    use datafusion::execution::runtime_env::RuntimeEnv;
    use datafusion::prelude::SessionConfig;

    use super::*;

    #[test]
    fn the_smaller_of_container_and_machine_counts() {
        let folder = tempfile::tempdir().unwrap();
        let meminfo = folder.path().join("meminfo");
        std::fs::write(&meminfo, "MemTotal:       1024 kB\nMemFree:  1 kB\n").unwrap();
        let limit = |max: &str| {
            std::fs::write(folder.path().join("memory.max"), max).unwrap();
            limit_bytes(folder.path(), &meminfo)
        };
        assert_eq!(limit("4096\n"), Some(4096));
        assert_eq!(limit("max\n"), Some(1 << 20));
        assert_eq!(limit("9223372036854771712\n"), Some(1 << 20));
        std::fs::remove_file(folder.path().join("memory.max")).unwrap();
        std::fs::create_dir(folder.path().join("memory")).unwrap();
        std::fs::write(folder.path().join("memory/memory.limit_in_bytes"), "512").unwrap();
        assert_eq!(limit_bytes(folder.path(), &meminfo), Some(512));
        assert_eq!(limit_bytes(Path::new("/nowhere"), Path::new("/nowhere")), None);
        assert_eq!(pool_bytes(Some(7)), Some(7));
    }

    #[test]
    fn a_task_gets_the_share_of_its_slots() {
        let base = Arc::new(RuntimeEnv::default());
        let limit = |pool_bytes, slots_taken| {
            let env = policy(pool_bytes, 4)(Arc::clone(&base), &SessionConfig::new(), slots_taken).unwrap();
            match env.memory_pool.memory_limit() {
                MemoryLimit::Finite(bytes) => Some(bytes),
                _ => None,
            }
        };
        assert_eq!(limit(Some(4000), 1), Some(1000));
        assert_eq!(limit(Some(4000), 3), Some(3000));
        assert_eq!(limit(None, 1), None);
    }
}
