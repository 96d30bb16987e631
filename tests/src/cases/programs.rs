//! The two programs that need a fast fork: the store that saves snapshots, and the harness that looks for a crash.

use super::play::{LIMIT, boot, play, raspi4b, virt};
use crate::builder::folder::Build;
use crate::harness::machine::Machine;
use crate::harness::runner::{Case, Outcome, Report};
use crate::harness::verdict::{Expected, Status};
use std::path::Path;
use std::time::Duration;

/// Thousands of forks, and a store that is filled four times.
const PROGRAM_LIMIT: Duration = Duration::from_secs(240);
const BOTH: &str = "kvd --mem 16M --requests 20000 --csv && forkserver --bits 7 --csv";

pub(super) fn cases(build: &Build) -> Vec<Case> {
    let mut cases = Vec::new();
    for machine in [virt(build), raspi4b(build)] {
        for (line, says) in [
            ("kvd --mem 16M --requests 5000", "compared byte for byte"),
            ("forkserver --bits 5", "came again 3 times by fork and in a fresh process"),
            ("scale --rounds 20", "relatives        4"),
        ] {
            let expected = Expected::success().saying(says);
            cases.push(boot(format!("{line} · {machine}"), machine.clone().with_line(line), expected, PROGRAM_LIMIT));
        }
    }
    for (line, status, says) in [
        ("kvd --mem 16G", 1, "are free"),
        ("kvd --share l4", 2, "usage: kvd"),
        ("forkserver --bits 4 --runs 100", 1, "no crash in 100 executions"),
        ("forkserver --by chance", 2, "usage: forkserver"),
        ("scale --rounds 0", 2, "usage: scale"),
    ] {
        let expected = Expected::status(Status::Is(status)).saying(says);
        cases.push(boot(format!("{line} fails"), virt(build).with_line(line), expected, LIMIT));
    }
    let counted = Machine { cores: 1, icount: true, ..virt(build) };
    cases.push(Case::new(format!("a request waits less for an l3 fork than for a copy · {counted}"), move |log| {
        compare(&counted, log)
    }));
    cases
}

/// Two runs print the same, and in these figures sharing is what it promises to be.
fn compare(machine: &Machine, log: &Path) -> Outcome {
    let run = || {
        let ended = play(&machine.clone().with_line(BOTH), log, PROGRAM_LIMIT)?;
        Expected::success().judge(&ended)?;
        Outcome::Ok(ended.output)
    };
    let (first, second) = (run()?, run()?);
    if let Some((first, second)) = first.lines().zip(second.lines()).find(|(first, second)| first != second) {
        return Err(format!("first {first:?}, then {second:?}").into());
    }
    let mut notes = Vec::new();
    // At this size the fork itself is not the most of what an execution takes.
    for (start, metric, factor) in [("kvd", "fork", 5), ("kvd", "during_max", 3), ("forkserver,fork", "execution", 2)] {
        let [copy, shared] = ["copy", "l3"].map(|share| value(&first, start, share, metric));
        let (copy, shared) = (copy?, shared?);
        if shared * factor > copy {
            return Err(format!("{start} {metric}: {shared} with l3, {copy} with copy").into());
        }
        notes.push(format!("{metric} {shared} against {copy}"));
    }
    Ok(Report::noted(notes.join(", ")))
}

/// The value in the row `START,SHARE,BYTES,METRIC,UNIT,VALUE`.
fn value(output: &str, start: &str, share: &str, metric: &str) -> Result<u64, String> {
    let of_row = |line: &str| {
        let rest = line.trim().strip_prefix(start)?.strip_prefix(',')?.strip_prefix(share)?.strip_prefix(',')?;
        let [_, name, _, value] = rest.split(',').collect::<Vec<_>>()[..] else { return None };
        if name == metric { value.parse().ok() } else { None }
    };
    output.lines().find_map(of_row).ok_or_else(|| format!("no row {start},{share},…,{metric}"))
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn values_are_found_by_their_row() {
        let output = "kvd,copy,16777216,fork,ns,65862\r\nkvd,l3,16777216,fork,ns,5885\nkvd,l3,16777216,save,ns,7\n";
        assert_eq!(value(output, "kvd", "l3", "fork"), Ok(5885));
        assert_eq!(value(output, "kvd", "copy", "fork"), Ok(65862));
        assert!(value(output, "kvd", "l2", "fork").is_err() && value(output, "kvd", "l3", "for").is_err());
    }
}
