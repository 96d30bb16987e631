//! Runs cases side by side, one row each, and counts.

use crate::harness::session::as_read;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What a case found out. Most cases are one test; one that runs another test program counts that program's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tests passed.
    pub passed: u32,
    /// Tests failed.
    pub failed: u32,
    /// A word for the row, such as a figure that was measured.
    pub note: String,
}

impl Report {
    /// One test passed, with nothing more to say.
    pub fn pass() -> Report {
        Report::noted("")
    }

    /// One test passed, with a word for the row.
    pub fn noted(note: impl Into<String>) -> Report {
        Report { passed: 1, failed: 0, note: note.into() }
    }
}

/// The result of a case; the error is the reason why it failed.
pub type Outcome<T = Report> = Result<T, Box<dyn Error>>;

/// What a case does; it gets the path of its log.
pub type Body = Box<dyn Fn(&Path) -> Outcome + Send + Sync>;

/// One row of a test run.
pub struct Case {
    /// What is tested, in words.
    pub name: String,
    /// Whether nothing else may run beside it, because it measures wall time or uses all cores.
    pub alone: bool,
    /// What it does.
    pub body: Body,
}

impl Case {
    /// A case that runs beside others.
    pub fn new(name: impl Into<String>, body: impl Fn(&Path) -> Outcome + Send + Sync + 'static) -> Case {
        Case { name: name.into(), alone: false, body: Box::new(body) }
    }

    /// The same case with nothing beside it.
    #[must_use]
    pub fn alone(self) -> Case {
        Case { alone: true, ..self }
    }

    /// Its log's file name: its own, in characters that need no quoting.
    pub fn log_name(&self) -> String {
        let mut name = String::new();
        for c in self.name.chars() {
            match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '.' => name.push(c),
                _ if !name.ends_with('-') => name.push('-'),
                _ => {}
            }
        }
        format!("{}.log", name.trim_matches('-'))
    }
}

/// The sum of a run. Displays as its last line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests passed.
    pub passed: u32,
    /// Tests failed.
    pub failed: u32,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// How to run cases.
#[derive(Clone, Debug)]
pub struct Options {
    /// Cases at a time.
    pub jobs: usize,
    /// Folder of the logs.
    pub logs: PathBuf,
    /// Run only cases whose names contain this.
    pub only: Option<String>,
}

/// Lines of a failed case's log that are shown.
const TAIL: usize = 25;
/// The rows that took longest, which a run of more rows than that ends with.
const SLOWEST: usize = 10;

struct Board<'a, W> {
    options: &'a Options,
    out: W,
    tally: Tally,
    failures: Vec<String>,
    times: Vec<(Duration, String)>,
    running: BTreeSet<String>,
    bar: ProgressBar,
}

/// Runs the cases, first those that run alone, in their order; a row each goes to `out` and, on a terminal, a progress
/// bar to the standard error stream.
pub fn run(cases: &[Case], options: &Options, out: impl Write + Send) -> Tally {
    let chosen = |case: &&Case| options.only.as_ref().is_none_or(|only| case.name.contains(only.as_str()));
    let (alone, together): (Vec<_>, Vec<_>) = cases.iter().filter(chosen).partition(|case| case.alone);

    // A case whose log cannot be written will say so.
    let _ = fs::create_dir_all(&options.logs);
    let total = (alone.len() + together.len()) as u64;
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template("{bar:24} {pos}/{len}  {elapsed}  {wide_msg}").expect("a template"));
    bar.enable_steady_tick(Duration::from_secs(1));
    let tally = Tally::default();
    let board = Mutex::new(Board {
        options,
        out,
        tally,
        failures: Vec::new(),
        times: Vec::new(),
        running: BTreeSet::new(),
        bar,
    });

    for case in alone {
        attempt(case, &board);
    }
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some(case) = together.get(next.fetch_add(1, Ordering::Relaxed)) {
                    attempt(case, &board);
                }
            });
        }
    });
    board.into_inner().unwrap_or_else(PoisonError::into_inner).close()
}

fn lock<'a, 'b, W>(board: &'a Mutex<Board<'b, W>>) -> MutexGuard<'a, Board<'b, W>> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

fn attempt<W: Write>(case: &Case, board: &Mutex<Board<'_, W>>) {
    let log = lock(board).open(case);
    let started = Instant::now();
    let result = (case.body)(&log);
    lock(board).row(case, &log, started.elapsed(), result);
}

impl<W: Write> Board<'_, W> {
    fn open(&mut self, case: &Case) -> PathBuf {
        self.running.insert(case.name.clone());
        self.show_running();
        self.options.logs.join(case.log_name())
    }

    fn show_running(&self) {
        self.bar.set_message(self.running.iter().map(String::as_str).collect::<Vec<_>>().join("  |  "));
    }

    fn row(&mut self, case: &Case, log: &Path, elapsed: Duration, result: Outcome) {
        self.running.remove(&case.name);
        let (report, reason) = match result {
            Ok(report) if report.failed == 0 => (report, None),
            Ok(report) => (report.clone(), Some(format!("{} of its tests failed", report.failed))),
            Err(reason) => (Report { failed: 1, ..Report::default() }, Some(reason.to_string())),
        };
        self.tally.passed += report.passed;
        self.tally.failed += report.failed;
        self.times.push((elapsed, case.name.clone()));

        let verdict = if reason.is_some() { "FAIL" } else { "ok" };
        let note = if report.note.is_empty() { String::new() } else { format!("  ({})", report.note) };
        let mut text = format!("{verdict:<4} {:>6.1} s  {}{note}\n", elapsed.as_secs_f32(), case.name);
        if let Some(reason) = reason {
            text += &format!("     {reason}\n     log: {}\n", log.display());
            let kept = fs::read(log).unwrap_or_default();
            let kept = as_read(&kept);
            let lines: Vec<_> = kept.lines().collect();
            for line in &lines[lines.len().saturating_sub(TAIL)..] {
                text += &format!("     | {line}\n");
            }
            let first_line = reason.lines().next().unwrap_or_default();
            self.failures.push(format!("{}: {first_line}", case.name));
        }
        let out = &mut self.out;
        // Nothing can be reported where reports cannot be written.
        self.bar.suspend(|| {
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        });
        self.bar.inc(1);
        self.show_running();
    }

    fn close(mut self) -> Tally {
        self.bar.finish_and_clear();
        if self.times.len() > SLOWEST {
            self.times.sort_by_key(|(time, _)| Reverse(*time));
            let _ = writeln!(self.out, "\nslowest:");
            for (time, name) in &self.times[..SLOWEST] {
                let _ = writeln!(self.out, "  {:>6.1} s  {name}", time.as_secs_f32());
            }
        }
        if !self.failures.is_empty() {
            let _ = writeln!(self.out, "\nfailed:");
            for failure in &self.failures {
                let _ = writeln!(self.out, "  {failure}");
            }
        }
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::scratch::Scratch;
    use crate::harness::session;
    use crate::harness::verdict::Expected;
    use std::process::Command;

    fn run_all(cases: Vec<Case>, only: Option<&str>) -> (Tally, String) {
        let scratch = Scratch::new();
        let options = Options { jobs: 2, logs: scratch.path().into(), only: only.map(Into::into) };
        let mut out = Vec::new();
        let tally = run(&cases, &options, &mut out);
        (tally, String::from_utf8(out).unwrap())
    }

    /// A case with a shell script in the place of the emulator.
    fn scripted(name: &str, script: &'static str, expected: Expected) -> Case {
        Case::new(name, move |log| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            expected.judge(&session::run(command, log, Duration::from_secs(1))?)?;
            Ok(Report::pass())
        })
    }

    #[test]
    fn a_run_that_must_fail_does_fail() {
        let (tally, out) = run_all(
            vec![
                scripted("right", "echo hello", Expected::success().saying("hello")),
                scripted("wrong status", "exit 3", Expected::success()),
                scripted("hang", "exec sleep 60", Expected::success()),
                scripted("silence", "true", Expected::success().saying("hello")),
            ],
            None,
        );
        assert_eq!(tally, Tally { passed: 1, failed: 3 });
        assert_eq!(tally.to_string(), "1 passed, 3 failed");
        for reason in ["exit status 3, expected status 0", "no exit within 1 s", "the output lacks \"hello\""] {
            assert!(out.contains(reason), "{reason:?} is not in:\n{out}");
        }
    }

    #[test]
    fn a_failure_shows_the_end_of_its_log() {
        let script = "i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i + 1)); done; exit 1";
        let (_, out) = run_all(vec![scripted("long", script, Expected::success())], None);
        assert!(out.contains("     | line 99\n") && out.contains("     | line 75\n") && !out.contains("line 74\n"));
        assert!(out.contains("failed:\n  long: exit status 1"));
    }

    #[test]
    fn the_tests_of_another_program_are_counted() {
        let report = Report { passed: 20, failed: 2, note: "cargo".into() };
        let (tally, out) = run_all(vec![Case::new("host", move |_| Ok(report.clone()))], None);
        assert_eq!(tally, Tally { passed: 20, failed: 2 });
        assert!(out.starts_with("FAIL") && out.contains("2 of its tests failed"));
    }

    #[test]
    fn only_what_was_asked_for_runs() {
        let cases = || vec![Case::new("a · virt", |_| Ok(Report::pass())), Case::new("b", |_| Err("never".into()))];
        assert_eq!(run_all(cases(), Some("virt")).0, Tally { passed: 1, failed: 0 });
        assert_eq!(run_all(cases(), Some("nothing has this name")).0, Tally::default());
    }

    #[test]
    fn a_case_that_runs_alone_has_nothing_beside_it() {
        static BUSY: AtomicUsize = AtomicUsize::new(0);
        let case = |name: &str| {
            Case::new(name, |_| {
                let others = BUSY.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(20));
                BUSY.fetch_sub(1, Ordering::SeqCst);
                if others == 0 { Ok(Report::pass()) } else { Err("not alone".into()) }
            })
            .alone()
        };
        assert_eq!(run_all(vec![case("first"), case("second"), case("third")], None).0.failed, 0);
    }

    #[test]
    fn a_long_run_ends_with_its_slowest_rows() {
        let case = |number: usize| {
            Case::new(format!("row {number}"), move |_| {
                thread::sleep(Duration::from_millis(if number == 7 { 50 } else { 0 }));
                Ok(Report::pass())
            })
        };
        let (_, out) = run_all((0..=SLOWEST).map(case).collect(), None);
        let (_, slowest) = out.split_once("\nslowest:\n").unwrap();
        assert!(slowest.contains("row 7") && slowest.lines().count() == SLOWEST, "{slowest}");
        assert!(!run_all((0..SLOWEST).map(case).collect(), None).1.contains("slowest"));
    }

    #[test]
    fn log_names_need_no_quoting() {
        let case = Case::new("forkdemo · virt cortex-a72 x4 GICv2", |_| Ok(Report::pass()));
        assert_eq!(case.log_name(), "forkdemo-virt-cortex-a72-x4-GICv2.log");
    }
}
