//! `make model`: the protocol of calls, answers, deadlines and ends, as a model in which SPIN looks for an order of
//! steps after which something never ends.
//!
//! The model is kernel/tests/protocol/messages.pml. Whether it says what the kernel does is for a reader to judge; that
//! it can fail is shown by the errors that are planted in it, each of which has to be found.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

const MODEL: &str = include_str!("../../../kernel/tests/protocol/messages.pml");
/// Depth of the search, in steps.
const DEPTH: u32 = 3_000_000;
/// Mebibytes that a search may take.
const MEMORY: u32 = 3_000;

/// What a search looks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Search {
    /// What must come at last, if no core stands still, and all assertions.
    Liveness,
    /// Assertions, and states that nothing leads out of.
    Safety,
}

const ONE_OF_EACH: &str = "CLIENTS=1 SERVERS=1";

/// What holds: name, what to look for, definitions.
const HOLDS: [(&str, Search, &str); 6] = [
    ("a call ends", Search::Liveness, ""),
    ("a call ends when its server or its own process does", Search::Liveness, "ENDS KILLS"),
    ("a process ends whose server does nothing any more", Search::Liveness, "HOLDS KILLS"),
    ("a call ends, with deadlines on both sides", Search::Liveness, "LATE"),
    ("a deadline comes whose server does nothing any more", Search::Liveness, "LATE HOLDS"),
    ("two callers", Search::Safety, "CLIENTS=2 SERVERS=1"),
];

/// Errors, each with what shows it.
const PLANTED: [(&str, &str); 6] = [
    ("a thread blocks without a look back at the end of its process", "HOLDS KILLS NO_LOOK_BACK"),
    ("the same, for a call that a server keeps", "HOLDS KILLS NO_KEPT_END"),
    ("an answer ends whatever wait its caller is in", "LATE NO_NUMBER"),
    ("the end of an endpoint wakes nothing", "ENDS NO_WAKE"),
    ("a deadline stays when its wait has ended", "LATE NO_FORGET"),
    ("a thread is taken out of its list before its wait is ended", "LATE TAKE_FIRST_THEN_END"),
];

/// Searches; scratch files go into `folder`. A report.
///
/// # Errors
/// What does not hold, a planted error that is not found, or why there is no answer.
pub fn run(folder: &Path) -> Result<String, String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let mut report = String::new();
    for (name, search, definitions) in HOLDS {
        match search_for(folder, search, definitions)? {
            Answer { error: None, states } => _ = writeln!(report, "  holds: {name} ({states} states)"),
            Answer { error: Some(error), .. } => return Err(format!("{name}: {error}; see {}", folder.display())),
        }
    }
    for (name, definitions) in PLANTED {
        match search_for(folder, Search::Liveness, definitions)?.error {
            Some(error) => _ = writeln!(report, "  found: {name} ({error})"),
            None => return Err(format!("not found: {name}")),
        }
    }
    let _ = write!(report, "model: {} claims hold, {} of {0} planted errors are found", HOLDS.len(), PLANTED.len());
    Ok(report)
}

/// What a search has come to.
struct Answer {
    /// The first error, as SPIN says it.
    error: Option<String>,
    states: u64,
}

fn search_for(folder: &Path, search: Search, definitions: &str) -> Result<Answer, String> {
    let sizes = if definitions.contains("CLIENTS") { "" } else { ONE_OF_EACH };
    let words = [sizes, definitions].join(" ");
    let mut model: String =
        words.split_whitespace().map(|word| format!("#define {}\n", word.replace('=', " "))).collect();
    model.push_str(MODEL);
    fs::write(folder.join("model.pml"), model).map_err(|error| format!("cannot write the model: {error}"))?;
    // A description of an earlier error.
    let _ = fs::remove_file(folder.join("model.pml.trail"));
    done(folder, "spin", &["-a", "model.pml"])?;
    let memory = format!("-DMEMLIM={MEMORY}");
    let kind: &[&str] = match search {
        Search::Liveness => &["-DNFAIR=3"],
        Search::Safety => &["-DSAFETY", "-DNOCLAIM"],
    };
    done(folder, "cc", &[&["-O1", "-w", "-DCOLLAPSE", &memory, "-o", "pan", "pan.c"][..], kind].concat())?;
    let depth = format!("-m{DEPTH}");
    let fair: &[&str] = if search == Search::Liveness { &["-a", "-f"] } else { &[] };
    let pan = folder.canonicalize().map_err(|error| error.to_string())?.join("pan");
    let text = done(folder, &pan.to_string_lossy(), &[&[depth.as_str()][..], fair].concat())?;
    judge(&text).ok_or_else(|| format!("no answer for {words}:\n{text}"))
}

/// Out of what the search has printed; `None` if it did not look everywhere.
fn judge(text: &str) -> Option<Answer> {
    let error = text.lines().find_map(|line| line.strip_prefix("pan:1: ")).map(String::from);
    let is_whole = !text.contains("Search not completed") && !text.contains("max search depth too small");
    let states = text.lines().find(|line| line.contains("states, stored"))?.split_whitespace().next()?.parse().ok()?;
    (error.is_some() || is_whole).then_some(Answer { error, states })
}

fn done(folder: &Path, program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.map_err(|error| format!("cannot run {program}: {error}"))?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{program} fails:\n{text}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_that_did_not_look_everywhere_is_no_answer() {
        let whole = "State-vector 96 byte, depth reached 695, errors: 0\n     1084 states, stored (3210 visited)\n";
        assert!(judge(whole).is_some_and(|answer| answer.error.is_none() && answer.states == 1084));
        assert!(judge(&format!("error: max search depth too small\n{whole}")).is_none());
        assert!(judge(&format!("Warning: Search not completed\n{whole}")).is_none());
        let found = format!("pan:1: acceptance cycle (at depth 694)\nWarning: Search not completed\n{whole}");
        assert!(judge(&found).is_some_and(|answer| answer.error.is_some()));
        assert!(judge("pan: out of memory").is_none());
    }
}
