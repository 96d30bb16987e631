//! What the Makefile does with names that it does not know: a command line that would be ignored in silence is refused.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Runs make at the project's root as a person does, not as a part of another make.
fn make(arguments: &[&str], surroundings: &[(&str, &str)]) -> (bool, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new("make");
    command.current_dir(root).args(arguments).envs(surroundings.iter().copied());
    for outer in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS"] {
        command.env_remove(outer);
    }
    let output = command.output().expect("make runs");
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Claims that make refuses these arguments in one line, with these words in it.
fn refused(arguments: &[&str], words: &str) {
    let (succeeds, output) = make(arguments, &[]);
    assert!(!succeeds && output.contains(words) && output.lines().count() == 1, "{arguments:?}: {output}");
}

fn makefile() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Makefile")).expect("there is a Makefile")
}

/// The names and targets of the Makefile's list.
fn list(makefile: &str) -> Vec<(&str, Vec<&str>)> {
    let entries = makefile.lines().filter_map(|line| line.strip_prefix("#= "));
    let fields = entries.map(|entry| entry.split(" | ").collect::<Vec<_>>());
    fields.map(|fields| (fields[0].split('=').next().unwrap(), fields[1].split(' ').collect())).collect()
}

#[test]
fn a_misspelt_name_is_refused_with_the_nearest() {
    for (wrong, right) in
        [("BORD", "BOARD"), ("cmd", "CMD"), ("MEMORY", "MEM"), ("ICOUTN", "ICOUNT"), ("NOINSTALL", "NO_INSTALL")]
    {
        refused(&["run", &format!("{wrong}=1")], &format!("no variable {wrong}: {right} is the nearest"));
    }
    // Nothing is near.
    refused(&["run", "XYZZY=1"], "no variable XYZZY; see make help");
}

#[test]
fn a_misspelt_name_is_refused_whatever_the_target() {
    let makefile = makefile();
    let is_target =
        |name: &&str| !name.is_empty() && name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
    let described = makefile.lines().filter(|line| line.contains(": ") && line.contains("## "));
    let targets: Vec<_> = described.filter_map(|line| line.split(':').next()).filter(is_target).collect();
    assert!(targets.len() > 20, "{targets:?}");
    for target in targets {
        refused(&["-n", target, "BORD=raspi4b"], "BOARD is the nearest");
    }
    refused(&["BORD=raspi4b"], "BOARD is the nearest");
}

#[test]
fn a_name_that_means_nothing_to_the_target_is_refused() {
    refused(&["test", "CMD=true"], "CMD means nothing to make test: it is a variable of run and gdb");
    refused(&["-n", "clean", "SECONDS=1"], "it is a variable of fuzz");
}

#[test]
fn another_architecture_is_refused() {
    refused(&["run", "ARCH=x86_64"], "ARCH=x86_64: only aarch64 exists");
    assert!(make(&["-n", "size", "ARCH=aarch64"], &[]).0);
}

#[test]
fn names_of_ours_in_the_environment_are_looked_at_too() {
    let (succeeds, output) = make(&["help"], &[("GRAFT_HISTORY", "3")]);
    assert!(!succeeds && output.contains("GRAFT_HISTORIES is the nearest"), "{output}");
    // What is there for another target, or of another's, does no harm.
    assert!(make(&["help"], &[("GRAFT_HISTORIES", "3"), ("BORD", "1")]).0);
}

#[test]
fn what_is_listed_is_taken() {
    for (name, targets) in list(&makefile()) {
        for target in targets {
            let target = if target == "*" { "check" } else { target };
            let (succeeds, output) = make(&["-n", target, &format!("{name}=1")], &[]);
            assert!(succeeds, "make {target} {name}=1: {output}");
        }
    }
}

#[test]
fn what_the_makefile_asks_for_is_listed() {
    let makefile = makefile();
    let is_name = |name: &str| name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_');
    let asked = |opening: &'static str| {
        let after = makefile.split(opening).skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        after.filter(|name| !name.is_empty() && is_name(name)).map(String::from).collect::<Vec<_>>()
    };
    let names: BTreeSet<String> = ["$(", "$(value "].into_iter().flat_map(asked).collect();
    let is_set = |name: &str| {
        let sets = |line: &str| {
            let line = line.trim_start_matches("export ").trim_start_matches("define ");
            line.strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(" :=") || rest.starts_with(" ="))
        };
        makefile.lines().any(sets)
    };
    let listed: BTreeSet<_> = list(&makefile).into_iter().map(|(name, _)| name).collect();
    let others = ["ARCH", "CARGO_TARGET_DIR", "HOME", "MAKECMDGOALS", "MAKEFILE_LIST", "PATH"];
    for name in names {
        let known = listed.contains(name.as_str()) || is_set(&name) || others.contains(&name.as_str());
        assert!(known, "{name} is not among the lines `#= NAME=VALUE | targets | what it does`");
    }
}
