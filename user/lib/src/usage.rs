//! Who uses the machine: what `ps` and `top` print.
//!
//! ```text
//!   sample, sample ──▶ what each process has used between the two ──▶ the busiest first ──▶ lines
//! ```

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use graft_abi::{ExitStatus, MemorySizes, PAGE_SIZE, ProcessInfo, ProcessState, SystemInfo};
use graft_rt::columns::{Align, Columns};
use graft_rt::size::Size;

/// A process at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    /// What the kernel says of it.
    pub info: ProcessInfo,
    /// And of its memory.
    pub sizes: MemorySizes,
}

/// All of them, and the machine.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// The machine, at about the same moment.
    pub system: SystemInfo,
    /// In the order of identifiers.
    pub processes: Vec<Process>,
}

/// Whether lines may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// As many lines as there are.
    Any,
    /// So many at most.
    Lines(usize),
}

/// The name that the kernel has of a process.
fn name(info: &ProcessInfo) -> String {
    graft_rt::system::name(&info.name).to_string()
}

/// What a process is doing.
pub fn state(info: &ProcessInfo) -> String {
    match ProcessState::from_number(info.state) {
        Some(ProcessState::Ready) => "ready".into(),
        Some(ProcessState::Blocked) => "blocked".into(),
        Some(ProcessState::Suspended) => "stopped".into(),
        Some(ProcessState::Ended) => match ExitStatus::from_register(info.exit_status) {
            Some(status) => format!("ended {}", status.shell_code()),
            None => "ended".into(),
        },
        None => format!("state {}", info.state),
    }
}

/// Seconds, with as many digits as a person wants: `0.012`, `3.4`, `1:02:03`.
pub fn time(nanoseconds: u64) -> String {
    let milliseconds = nanoseconds / 1_000_000;
    let seconds = milliseconds / 1_000;
    match seconds {
        0..60 => format!("{seconds}.{:03}", milliseconds % 1_000),
        60..3_600 => format!("{}:{:02}.{}", seconds / 60, seconds % 60, milliseconds % 1_000 / 100),
        _ => format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60),
    }
}

/// A part of a whole in per cent, with one decimal, rounded down.
pub fn per_cent(part: u64, whole: u64) -> String {
    let tenths = (u128::from(part) * 1_000).checked_div(u128::from(whole)).unwrap_or(0);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// The lines of `ps`: every process, by identifier.
pub fn list(sample: &Sample) -> Vec<String> {
    let mut columns = Columns::new(&[
        ("PID", Align::Right),
        ("PARENT", Align::Right),
        ("STATE", Align::Left),
        ("PRI", Align::Right),
        ("CPU TIME", Align::Right),
        ("FOR CALLERS", Align::Right),
        ("RESIDENT", Align::Right),
        ("PRIVATE", Align::Right),
        ("PROPORT'L", Align::Right),
        ("TABLES", Align::Right),
        ("NAME", Align::Left),
    ]);
    for process @ Process { info, .. } in &sample.processes {
        let [resident, private, proportional] = memory(process);
        columns.push([
            info.identifier.to_string(),
            info.parent.to_string(),
            state(info),
            priority(info),
            time(info.processor_time),
            time(info.caller_time),
            resident,
            private,
            proportional,
            Size(info.tables * PAGE_SIZE as u64).to_string(),
            name(info),
        ]);
    }
    columns.lines()
}

fn memory(Process { info, sizes }: &Process) -> [String; 3] {
    let pages = |pages: u64| Size(pages.saturating_mul(PAGE_SIZE as u64)).to_string();
    [
        pages(info.resident_pages),
        pages(sizes.private_pages.saturating_add(sizes.private_tables)),
        Size(sizes.proportional_bytes()).to_string(),
    ]
}

fn priority(info: &ProcessInfo) -> String {
    if info.threads == 0 { "-".into() } else { info.priority.to_string() }
}

/// The lines of `top`: what has been used between two samples. Of the processes, the busiest first; those that do not
/// fit are left out.
pub fn compare(before: &Sample, after: &Sample, room: Room) -> Vec<String> {
    let gone_by = after.system.clock.saturating_sub(before.system.clock);
    let mut lines = summary(before, after);
    let mut used: Vec<_> = after.processes.iter().map(|process| (Used::between(before, process), process)).collect();
    // Stable: of those that have used the same, by identifier.
    used.sort_by_key(|(used, _)| core::cmp::Reverse(used.time));
    if let Room::Lines(most) = room {
        used.truncate(most.saturating_sub(lines.len() + 1));
    }
    let mut columns = Columns::new(&[
        ("PID", Align::Right),
        ("CPU %", Align::Right),
        ("FOR CALLERS %", Align::Right),
        ("PRI", Align::Right),
        ("STATE", Align::Left),
        ("CPU TIME", Align::Right),
        ("RESIDENT", Align::Right),
        ("PRIVATE", Align::Right),
        ("PROPORT'L", Align::Right),
        ("NAME", Align::Left),
    ]);
    for (used, process @ Process { info, .. }) in used {
        let [resident, private, proportional] = memory(process);
        columns.push([
            info.identifier.to_string(),
            per_cent(used.time, gone_by),
            per_cent(used.for_callers, gone_by),
            priority(info),
            state(info),
            time(info.processor_time),
            resident,
            private,
            proportional,
            name(info),
        ]);
    }
    lines.extend(columns.lines());
    lines
}

/// What a process has used between two samples.
struct Used {
    time: u64,
    for_callers: u64,
}

impl Used {
    fn between(before: &Sample, after: &Process) -> Used {
        // One that was not there has used all of it since.
        let same = |process: &&Process| process.info.identifier == after.info.identifier;
        let earlier = before.processes.iter().find(same).map_or_else(ProcessInfo::default, |process| process.info);
        Used {
            time: after.info.processor_time.saturating_sub(earlier.processor_time),
            for_callers: after.info.caller_time.saturating_sub(earlier.caller_time),
        }
    }
}

/// What the machine as a whole has done.
fn summary(before: &Sample, after: &Sample) -> Vec<String> {
    let system = &after.system;
    let frames = |frames: u64| Size(frames.saturating_mul(PAGE_SIZE as u64));
    let busy = |core: usize| {
        let time = system.core_times[core].saturating_sub(before.system.core_times[core]);
        let idle = system.idle_times[core].saturating_sub(before.system.idle_times[core]);
        per_cent(time.saturating_sub(idle), time)
    };
    let cores = usize::try_from(system.cores).unwrap_or(usize::MAX).min(system.core_times.len());
    let busy: Vec<_> = (0..cores).map(|core| format!("{} %", busy(core))).collect();
    let [core, process] = [(cores as u64, "core", "cores"), (system.processes, "process", "processes")]
        .map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many }));
    alloc::vec![
        format!(
            "up {}, {process}, {} of {} free",
            time(system.clock),
            frames(system.free_frames),
            frames(system.total_frames)
        ),
        format!("{core} busy: {}", busy.join("  ")),
        String::new(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(identifier: u64, name: &str, time: u64, for_callers: u64) -> Process {
        let mut info = ProcessInfo {
            identifier,
            parent: 1,
            threads: 1,
            priority: 16,
            processor_time: time,
            caller_time: for_callers,
            resident_pages: 256,
            tables: 4,
            state: ProcessState::Blocked as u32,
            ..ProcessInfo::default()
        };
        info.name[..name.len()].copy_from_slice(name.as_bytes());
        let sizes = MemorySizes {
            private_pages: 3,
            private_tables: 1,
            parts: 5 << MemorySizes::PART_BITS,
            ..MemorySizes::default()
        };
        Process { info, sizes }
    }

    fn sample(clock: u64, idle: u64, processes: &[Process]) -> Sample {
        let mut system =
            SystemInfo { clock, cores: 2, processes: 2, free_frames: 512, total_frames: 1024, ..SystemInfo::default() };
        system.core_times[..2].copy_from_slice(&[clock, clock]);
        system.idle_times[..2].copy_from_slice(&[idle, clock]);
        Sample { system, processes: processes.to_vec() }
    }

    #[test]
    fn times_are_as_exact_as_they_are_long() {
        const SECOND: u64 = 1_000_000_000;
        for (nanoseconds, text) in [
            (0, "0.000"),
            (999_999, "0.000"),
            (59 * SECOND + 999_000_000, "59.999"),
            (60 * SECOND, "1:00.0"),
            (3_599 * SECOND + 990_000_000, "59:59.9"),
            (3_600 * SECOND, "1:00:00"),
            (u64::MAX, "5124095:34:33"),
        ] {
            assert_eq!(time(nanoseconds), text);
        }
    }

    #[test]
    fn parts_are_in_per_cent_even_of_nothing() {
        for (part, whole, text) in
            [(0, 0, "0.0"), (1, 0, "0.0"), (1, 3, "33.3"), (2, 1, "200.0"), (u64::MAX, u64::MAX, "100.0")]
        {
            assert_eq!(per_cent(part, whole), text, "{part} of {whole}");
        }
    }

    #[test]
    fn every_process_is_listed_with_its_time_and_memory() {
        let mut ended = process(12, "gone", 70_000_000_000, 0);
        (ended.info.state, ended.info.threads) = (ProcessState::Ended as u32, 0);
        ended.info.exit_status = ExitStatus::Killed(1).to_register();
        let lines = list(&sample(0, 0, &[process(2, "files", 1_234_000_000, 1_000_000_000), ended]));
        assert_eq!(
            lines,
            [
                "PID  PARENT  STATE      PRI  CPU TIME  FOR CALLERS  RESIDENT  PRIVATE  PROPORT'L  TABLES  NAME",
                "  2       1  blocked     16     1.234        1.000     1 MiB   16 KiB     20 KiB  16 KiB  files",
                " 12       1  ended 137    -    1:10.0        0.000     1 MiB   16 KiB     20 KiB  16 KiB  gone",
            ]
        );
    }

    #[test]
    fn the_busiest_process_comes_first_and_what_has_just_begun_counts_whole() {
        let before = sample(1_000, 100, &[process(1, "init", 500, 0), process(2, "files", 300, 200)]);
        let now = [process(1, "init", 500, 0), process(2, "files", 700, 500), process(3, "new", 500, 0)];
        let lines = compare(&before, &sample(2_000, 350, &now), Room::Any);
        assert_eq!(
            lines,
            [
                "up 0.000, 2 processes, 2 MiB of 4 MiB free",
                "2 cores busy: 75.0 %  0.0 %",
                "",
                "PID  CPU %  FOR CALLERS %  PRI  STATE    CPU TIME  RESIDENT  PRIVATE  PROPORT'L  NAME",
                "  3   50.0            0.0   16  blocked     0.000     1 MiB   16 KiB     20 KiB  new",
                "  2   40.0           30.0   16  blocked     0.000     1 MiB   16 KiB     20 KiB  files",
                "  1    0.0            0.0   16  blocked     0.000     1 MiB   16 KiB     20 KiB  init",
            ]
        );
        for (room, count) in [(0, 4), (4, 4), (5, 5), (6, 6), (100, 7)] {
            assert_eq!(compare(&before, &sample(2_000, 350, &now), Room::Lines(room)).len(), count, "{room}");
        }
    }

    #[test]
    fn wild_figures_are_shown_and_nothing_breaks() {
        let mut wild = process(u64::MAX, "wild", u64::MAX, u64::MAX);
        (wild.info.state, wild.info.resident_pages) = (9, u64::MAX);
        wild.info.name = [0xff; 32];
        wild.sizes =
            MemorySizes { private_pages: u64::MAX, private_tables: 7, parts: u64::MAX, ..MemorySizes::default() };
        let mut after = sample(0, u64::MAX, &[wild]);
        after.system.cores = u64::MAX;
        let before = sample(u64::MAX, 0, &[]);
        assert!(list(&after)[1].contains("state 9"));
        assert_eq!(compare(&before, &after, Room::Any).len(), 5);
    }
}
