//! `make bench-linux`: the same figures on Debian's Linux, in the same machine, beside ours.

use super::boots::{self, Boot};
use super::plan::{MEBIBYTE, SHOWN, boot, counting, machine, plan, size, sizes};
use super::{lines, systems, table};
use crate::bench::figures::{self, Figure};
use crate::builder::archive::Entry;
use crate::builder::folder::Build;
use crate::harness::machine::{Console, Leave, LineCounter, Machine};
use crate::harness::session::{End, Ended, Session};
use indicatif::ProgressBar;
use std::fs;
use std::io::{self, Cursor};
use std::path::Path;
use std::time::Duration;

/// Long enough for all sizes on a busy computer.
const LIMIT: Duration = Duration::from_secs(60 * 60);
/// The sizes at which ours are measured beside Linux's: all would take as long as Linux does.
const BESIDE: [u64; 5] = [0, 16 * MEBIBYTE, 256 * MEBIBYTE, SHOWN, 2 * SHOWN];

/// What Linux is started with: nothing may depend on chance, and little may happen that has to do with neither fork nor
/// the program. A panic is to end QEMU.
const ARGUMENTS: &str = "nokaslr mitigations=off panic=-1 quiet console=ttyAMA0";
/// What the program writes when all figures are there; its other messages begin alike.
const LAST_LINE: &str = "linux-bench: end";
const MESSAGE: &str = "linux-bench: ";

/// One of the two ways in which Linux is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Series {
    /// With pages of 4 KiB, as ours are.
    Pages,
    /// With transparent huge pages of 2 MiB wherever there is room for one, which is Debian's default.
    HugePages,
}

impl Series {
    /// What its rows begin with.
    fn program(self) -> &'static str {
        match self {
            Series::Pages => "linux",
            Series::HugePages => "linux-thp",
        }
    }

    /// All boot arguments, `more` among them. Linux hands those behind the dashes to its first process.
    fn arguments(self, more: &str) -> String {
        let huge = if self == Series::HugePages { "always" } else { "never" };
        format!("{ARGUMENTS} {more} transparent_hugepage={huge} -- {}", self.program())
    }

    /// A size's part of its boot's weight.
    fn weight(self, bytes: u64) -> u64 {
        4 + bytes / (16 * MEBIBYTE) * if self == Series::Pages { 20 } else { 1 }
    }
}

/// Measures Linux in both ways and us, and returns what to tell the user. Writes `bench-linux.csv`, unless Linux was
/// given `more` boot arguments: the file's rows could not tell.
pub fn run(build: &Build, program: &Path, more: &str, jobs: usize) -> Result<String, String> {
    let kernel = build.linux();
    let bytes = fs::read(&kernel).map_err(|error| format!("cannot read {}: {error}", kernel.display()))?;
    if !is_kernel(&bytes) {
        return Err(format!(
            "{} is no Linux kernel for arm64; remove it or give one with LINUX=FILE",
            kernel.display()
        ));
    }
    let files = "linux-bench.cpio";
    build.write(files, initial_files(program)?)?;

    let plugin = lines::plugin(build, &machine(build).emulator);
    let counter = plugin.as_deref().ok();
    let mut all: Vec<_> = plan(BESIDE.into_iter()).into_iter().map(|point| boot(build, counter, point)).collect();
    for series in [Series::Pages, Series::HugePages] {
        let linux = Machine { leave: Leave::PowerOff, ..counting(Machine::new(&kernel)) };
        let mut linux = linux.with_archive(&build.path(files)).with_arguments(&series.arguments(more));
        let log = build.logs().join(format!("bench-{}.log", series.program()));
        linux.lines = counter.map(|plugin| LineCounter::beside(plugin, &log));
        all.push(Boot {
            name: series.program().into(),
            weight: sizes().map(|bytes| series.weight(bytes)).sum(),
            measure: Box::new(move |bar| {
                measure(&linux, series, &log, bar).map_err(|error| format!("{error}; see {}", log.display()))
            }),
        });
    }
    let figures = boots::all(&all, jobs)?;
    let (ours, linux): (Vec<_>, Vec<_>) = figures.into_iter().partition(|figure| figure.program == "forkbench");
    let file = "bench-linux.csv";
    let written = if more.is_empty() {
        build.write(file, figures::file(&linux))?;
        format!("{}: all of Linux's figures\n", build.path(file).display())
    } else {
        format!("{file} stays as it is: its rows could not tell that Linux was started with {more}\n")
    };
    let emulator = format!("QEMU {}", lines::version(&machine(build).emulator)?);
    let left_out = plugin.as_ref().err().map(|why| format!("cache lines: left out; {why}\n")).unwrap_or_default();
    Ok(report(&[linux, ours].concat(), &emulator) + &written + &left_out)
}

/// The table, and what it shows.
fn report(figures: &[Figure], emulator: &str) -> String {
    let mut systems = systems::compared(figures);
    systems.sort_by_key(|system| system.share.is_some());
    let release = figures.iter().find(|figure| figure.program == Series::Pages.program());
    format!(
        "{table}\n\
         Instructions of one Cortex-A72 with 3 GiB in {emulator} (-icount shift=0), each from the program into the\n\
         kernel and back. They hide cycles: a barrier, a TLB invalidation and a cache miss count as one each.\n\
         Linux: {release}, {ARGUMENTS}, the program under\n\
         SCHED_FIFO; THP: with transparent huge pages of 2 MiB. copy, l3, l2, l1: Graft {graft}, by what its fork\n\
         shares. docs/linux.md says what is measured how.\n",
        table = table::show(figures, &systems),
        release = release.map_or("none", |figure| &figure.share),
        graft = env!("CARGO_PKG_VERSION"),
    )
}

/// Boots Linux and takes its figures, size by size.
fn measure(machine: &Machine, series: Series, log: &Path, bar: &ProgressBar) -> Result<Vec<Figure>, String> {
    let command = machine.command(Console::Pipe);
    let mut session = Session::start(command, log, LIMIT).map_err(|error| error.to_string())?;
    for bytes in sizes() {
        bar.set_message(format!("{}, {}", series.program(), size(bytes)));
        // Why a row does not come is seen at the end.
        if session.expect(&format!(",{bytes},")).is_err() {
            break;
        }
        bar.inc(series.weight(bytes));
    }
    let ended = session.finish().map_err(|error| error.to_string())?;
    judge(&ended)?;
    let mut figures = figures::parse(&ended.output);
    figures::count_nanoseconds(&mut figures);
    if let Some(LineCounter { out, .. }) = &machine.lines {
        figures.extend(lines::figures(&ended.output, out)?);
    }
    Ok(figures)
}

/// Whether the program got to its end. QEMU's status tells nothing: to it, a reset after a panic is a success, too.
fn judge(ended: &Ended) -> Result<(), String> {
    let is_reason = |line: &&str| line.contains("Kernel panic") || line.starts_with(MESSAGE);
    match ended.output.lines().find(is_reason) {
        Some(LAST_LINE) if ended.end == End::Status(0) => Ok(()),
        Some(LAST_LINE) => Err(format!("Linux: {}, after all figures", ended.end)),
        Some(reason) => Err(format!("Linux: {reason}")),
        None => Err(format!("Linux: {}, without all figures", ended.end)),
    }
}

/// Whether QEMU boots this: a flat `Image` (Linux, Documentation/arch/arm64/booting.rst), as it is or compressed.
fn is_kernel(file: &[u8]) -> bool {
    file.get(0x38..0x3c) == Some(b"ARM\x64") || file.starts_with(&[0x1f, 0x8b]) || file.get(4..8) == Some(b"zimg")
}

/// The files that Linux finds when it starts: the program, as its first process.
fn initial_files(program: &Path) -> Result<Vec<u8>, String> {
    let Entry { name, bytes } = Entry::program("init", program)?;
    archive(&name, bytes).map_err(|error| format!("cannot pack {}: {error}", program.display()))
}

/// An archive of one executable file, in the format that Linux unpacks (Documentation/driver-api/early-userspace).
fn archive(name: &str, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let header = cpio::NewcBuilder::new(name).mode(0o100_755);
    cpio::write_cpio([(header, Cursor::new(bytes))].into_iter(), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    const ROWS: &str = "linux,6.12.117+deb13-arm64,1073741824,fork,ns,53909872,53909872,53909872,1\n\
                        linux-thp,6.12.117+deb13-arm64,1073741824,fork,ns,711775,711775,711775,1\n\
                        forkbench,copy,1073741824,fork,ns,3679030,3679030,3679030,3\n\
                        forkbench,l3,1073741824,fork,ns,9685,9685,9685,3\n";

    fn judged(end: End, output: &str) -> Result<(), String> {
        judge(&Ended { end, output: output.into(), elapsed: Duration::ZERO })
    }

    #[test]
    fn only_a_run_to_the_last_line_counts() {
        let complete = format!("{ROWS}{LAST_LINE}\n[   55.6] reboot: Power down\n");
        assert_eq!(judged(End::Status(0), &complete), Ok(()));
        let error = |end, output: &str| judged(end, output).unwrap_err();
        // QEMU ends with success after a panic, too.
        let panic = "linux,…\n[    0.9] Kernel panic - not syncing: Attempted to kill init!\n[    0.9] CPU: 0\n";
        assert!(error(End::Status(0), panic).contains("Kernel panic - not syncing: Attempted to kill init!"));
        assert!(error(End::Status(0), "linux-bench: Mmap was refused with error 12\n").contains("Mmap was refused"));
        assert!(error(End::Status(0), ROWS).contains("without all figures"));
        assert!(error(End::TimedOut(LIMIT), ROWS).contains(&format!("no exit within {} s", LIMIT.as_secs())));
        assert!(error(End::TimedOut(LIMIT), &complete).contains("after all figures"));
    }

    #[test]
    fn linux_and_ours_are_side_by_side_with_what_was_measured() {
        let report = report(&figures::parse(ROWS), "QEMU 10.0.2");
        let row = report.lines().find(|line| line.starts_with("1 GiB  ")).unwrap();
        let cells: Vec<_> = row.split_whitespace().collect();
        assert_eq!(cells, ["1", "GiB", "53,909,872", "711,775", "3,679,030", "9,685", "5,566"], "{report}");
        assert!(
            report.starts_with(
                "fork, instructions  Linux 6.12.117    Linux THP         copy           l3   Linux / l3\n"
            )
        );
        for text in ["QEMU 10.0.2", "6.12.117+deb13-arm64", "nokaslr mitigations=off", "hide cycles"] {
            assert!(report.contains(text), "{text:?} is not in:\n{report}");
        }
    }

    #[test]
    fn the_program_is_the_only_file_and_executable() {
        let program = std::env::current_exe().unwrap();
        assert!(initial_files(&program).unwrap_err().contains("AArch64"), "a program of this computer");

        let archive = archive("init", vec![7; 4099]).unwrap();
        assert_eq!(archive.len() % 4, 0);
        assert_eq!(archive, super::archive("init", vec![7; 4099]).unwrap());
        let mut file = cpio::NewcReader::new(&*archive).unwrap();
        assert_eq!((file.entry().name(), file.entry().mode(), file.entry().mtime()), ("init", 0o100_755, 0));
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [7; 4099]);
        let rest = file.finish().unwrap();
        assert!(cpio::NewcReader::new(rest).unwrap().entry().is_trailer());
    }

    #[test]
    fn only_a_kernel_for_arm64_is_booted() {
        let image = [&[0; 0x38][..], b"ARM\x64", &[0; 4]].concat();
        assert!(is_kernel(&image) && is_kernel(b"\x1f\x8b\x08") && is_kernel(b"MZ\0\0zimg"));
        assert!(!is_kernel(b"") && !is_kernel(&image[1..]) && !is_kernel(b"\x7fELF\x02\x01\x01"));
    }

    #[test]
    fn the_two_series_differ_in_pages_and_name_alone() {
        let small = Series::Pages.arguments("audit=0");
        let huge = Series::HugePages.arguments("audit=0");
        assert!(small.ends_with(" audit=0 transparent_hugepage=never -- linux"));
        assert_eq!(small.replace("=never -- linux", "=always -- linux-thp"), huge);
    }
}
