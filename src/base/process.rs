//! What this process uses, as the kernel tells it, and how many files it may open.

/// The kernel's clock tick in `/proc`, seconds: Linux has 100 a second on every platform that is built for.
const TICK: f64 = 0.01;

/// Resident memory in bytes; `None` where there is no `/proc`.
pub fn resident_bytes() -> Option<u64> {
    resident(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// User and system time so far, in seconds; `None` where there is no `/proc`.
pub fn processor_seconds() -> Option<f64> {
    processor(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// Lets the process open as many files, connections among them, as it may at most: the limit that it starts with is often 1024,
/// for programs that know no other. The number, or `None` for no limit.
#[cfg(feature = "engine")]
pub fn lift_open_files() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024)
}

fn processor(stat: &str) -> Option<f64> {
    // The second field is the program's name in brackets, which may hold anything; user and system time are the 14th and 15th.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok();
    Some(f64::from(ticks(11)? + ticks(12)?) * TICK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_kernel_are_read() {
        assert_eq!(resident("Name:\tlessor\nVmRSS:\t   2048 kB\n"), Some(2_097_152));
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 5 0 100 1 1";
        assert_eq!(processor(stat), Some(2.0));
    }
}
