//! The tests that need no QEMU: formatting, lints, the crates' own tests, the documentation.

use crate::harness::runner::{Case, Outcome, Report};
use crate::harness::session::{self, End};
use std::env;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Long enough for everything to be compiled on a machine that gives this a twentieth of itself. What cargo starts is
/// other processes than the one that is watched.
const LIMIT: Duration = Duration::from_secs(10 * 60 * 60);

/// A case for each of them.
pub fn cases() -> Vec<Case> {
    let cargo = || env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let make = || env::var("MAKE").unwrap_or_else(|_| "make".into());
    vec![
        step("host: tests of the crates", cargo(), &["test", "--no-fail-fast"], count),
        step("host: protocols between cores, under loom", make(), &["--no-print-directory", "loom"], count),
        step("host: formatting and lints", make(), &["--no-print-directory", "check"], one),
        step("host: documentation", make(), &["--no-print-directory", "doc"], one),
        // They search on one core: others have something to do meanwhile.
        search(
            "host: what must come at last, in a model by SPIN",
            make(),
            &["--no-print-directory", "model"],
            searches,
        ),
        search(
            "host: laws of the descriptors, proved for all values",
            make(),
            &["--no-print-directory", "prove"],
            laws,
        ),
    ]
}

/// One that keeps every core busy by itself.
fn step(name: &str, program: String, arguments: &'static [&str], report: fn(&str, bool) -> Report) -> Case {
    search(name, program, arguments, report).alone()
}

fn search(name: &str, program: String, arguments: &'static [&str], report: fn(&str, bool) -> Report) -> Case {
    Case::new(name, move |log| run(&program, arguments, log, report))
}

fn run(program: &str, arguments: &[&str], log: &Path, report: fn(&str, bool) -> Report) -> Outcome {
    let mut command = Command::new(program);
    // What this make was given means nothing to those that it starts; what they need is in the environment.
    command.args(arguments).env_remove("MAKEFLAGS");
    let ended = session::run(command, log, LIMIT)?;
    match ended.end {
        End::Status(status) => Ok(report(&ended.output, status == 0)),
        end => Err(end.to_string().into()),
    }
}

fn one(_: &str, succeeded: bool) -> Report {
    Report { passed: succeeded.into(), failed: (!succeeded).into(), note: String::new() }
}

/// A test for each law that `make prove` says is proved.
fn laws(output: &str, succeeded: bool) -> Report {
    let passed = output.lines().filter(|line| line.starts_with("  proved: ")).count() as u32;
    Report { passed, failed: (!succeeded).into(), note: format!("{passed} laws") }
}

/// A test for each claim of the model, and for each planted error.
fn searches(output: &str, succeeded: bool) -> Report {
    let is_answer = |line: &&str| line.starts_with("  holds: ") || line.starts_with("  found: ");
    let passed = output.lines().filter(is_answer).count() as u32;
    Report { passed, failed: (!succeeded).into(), note: format!("{passed} searches") }
}

/// Adds up the summary lines of `cargo test`. A failure without one, such as an error of the compiler, counts as one.
fn count(output: &str, succeeded: bool) -> Report {
    let mut report = Report::default();
    for line in output.lines().filter(|line| line.starts_with("test result: ")) {
        let number = |unit: &str| -> u32 {
            let before = line.split(unit).next().unwrap_or_default();
            before.rsplit(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        report.passed += number(" passed");
        report.failed += number(" failed");
    }
    if !succeeded && report.failed == 0 {
        report.failed = 1;
    }
    report.note = format!("{} tests", report.passed + report.failed);
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summaries_of_all_crates_add_up() {
        let output = "\
test a ... ok
test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";
        let report = count(output, false);
        assert_eq!((report.passed, report.failed), (15, 2));
    }

    #[test]
    fn an_error_of_the_compiler_is_a_failure() {
        assert_eq!(count("error[E0425]: cannot find value\n", false).failed, 1);
        assert_eq!(count("test result: ok. 1 passed; 0 failed;\n", true).failed, 0);
    }
}
