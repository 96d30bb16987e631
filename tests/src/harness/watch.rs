//! How long a process has run, without the time that it spent waiting for a processor.
//!
//! A limit on wall-clock time would judge the host: a run of one second takes twenty on a busy host. The time that a
//! process computes or sleeps is its own; the time that it waits for a processor is not.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// Shortest time between two looks at the process.
const PERIOD: Duration = Duration::from_millis(100);

/// For each thread, how long it has waited for a processor since its start.
type Waits = BTreeMap<String, Duration>;

/// A stop-watch for a process.
pub struct Watch {
    process: u32,
    looked: Instant,
    waits: Waits,
    own: Duration,
}

impl Watch {
    /// A watch that starts now.
    pub fn start(process: u32) -> Watch {
        Watch { process, looked: Instant::now(), waits: waits(process), own: Duration::ZERO }
    }

    /// The process's own time so far. Where the system does not report waiting times, all time counts as its own.
    pub fn own(&mut self) -> Duration {
        let passed = self.looked.elapsed();
        if passed >= PERIOD {
            let waits = waits(self.process);
            self.own += own(passed, &self.waits, &waits);
            self.looked += passed;
            self.waits = waits;
        }
        self.own
    }
}

/// The part of the time that has passed in which no thread waited, as far as one can tell: all but the longest wait.
fn own(passed: Duration, before: &Waits, now: &Waits) -> Duration {
    let since =
        |(thread, &wait): (&String, &Duration)| wait.saturating_sub(before.get(thread).copied().unwrap_or_default());
    passed.saturating_sub(now.iter().map(since).max().unwrap_or_default())
}

/// What Linux knows of a process's threads.
fn waits(process: u32) -> Waits {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let wait = |thread: fs::DirEntry| {
        let line = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        Some((thread.file_name().to_string_lossy().into_owned(), parse(&line)?))
    };
    threads.filter_map(wait).collect()
}

/// The second field of `schedstat`: nanoseconds spent ready to run, on no processor
/// (Linux, Documentation/scheduler/sched-stats.rst).
fn parse(line: &str) -> Option<Duration> {
    line.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(of: &[(&str, u64)]) -> Waits {
        of.iter().map(|&(thread, seconds)| (thread.to_string(), Duration::from_secs(seconds))).collect()
    }

    #[test]
    fn time_without_a_processor_is_not_ones_own() {
        let passed = Duration::from_secs(10);
        let own = |before, now| own(passed, &waits(before), &waits(now)).as_secs();
        assert_eq!(own(&[], &[]), 10);
        assert_eq!(own(&[("1", 5), ("2", 7)], &[("1", 11), ("2", 8)]), 4);
        // A thread that is new, and one that is gone.
        assert_eq!(own(&[("1", 5)], &[("2", 3)]), 7);
        assert_eq!(own(&[], &[("1", 12)]), 0);
    }

    #[test]
    fn the_wait_is_the_second_field() {
        assert_eq!(parse("81219 3172621 17\n"), Some(Duration::from_nanos(3_172_621)));
        assert_eq!(parse(""), None);
    }
}
