//! The plan: what the first process starts, what it hands to each program, and what it does when one dies.
//!
//! ```text
//! # a comment
//! start pl011                     a program of the archive, and its arguments
//!   drives arm,pl011              it gets the first device of the tree with this name, and an end of rings of bytes
//!   serves uart                   by this name others get the other end
//!   handles console               what it gets: console, archive, system, devices, or a server above
//!   priority 31                   its priority; 16 without this line
//!   keeps 13                      so many pages outlive it, and handles
//!   death restart                 heal, restart, ignore or power-off
//! start files --pages 8192
//!   serves files                  it gets an endpoint; others get a connection to it by this name
//!   absent wait                   who asks for the name while it is not there waits (so without this line), or: fail
//!   handles archive
//!   death heal
//! start sh
//!   arguments boot                the command line that the machine was started with, if there is one
//!   handles console archive system
//!   uses files power              what it may ask the server of names for: servers, wherever they stand, and power
//!   provides store                names for which it may give names a connection of its own
//!   death power-off
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use graft_abi::{PRIORITIES, PRIORITY_DEFAULT};

/// What is done when a program dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// It goes back to its last checkpoint when it faults; when it ends all the same, it is started anew.
    Heal,
    /// It is started anew.
    Restart,
    /// Nothing. Its clients are told that it is gone.
    Ignore,
    /// The machine ends with the program's status.
    PowerOff,
}

/// What a program is handed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// The console: its server if one is above, the kernel's writer otherwise.
    Console,
    /// The archive.
    Archive,
    /// The whole system, to look at.
    System,
    /// The whole system, with the right to hand out its devices.
    Devices,
    /// A connection to the server of this name, or the other end of the driver of this name.
    Server(String),
}

/// A program to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its name in the archive, and its arguments.
    pub words: Vec<String>,
    /// The device that it drives, by a name that the device tree has for such.
    pub drives: Option<String>,
    /// The name under which others may be given a connection to it.
    pub serves: Option<String>,
    /// Whether an ask for these names waits while it is not there.
    pub absent_waits: bool,
    /// What it is handed.
    pub handles: Vec<Given>,
    /// The names that it may ask for.
    pub uses: Vec<String>,
    /// The names that it may provide by itself.
    pub provides: Vec<String>,
    /// Whether it gets the machine's command line.
    pub boot: bool,
    /// Its priority.
    pub priority: u8,
    /// How many pages outlive it, with handles; 0 if nothing does.
    pub keeps: usize,
    /// What is done when it dies.
    pub death: Death,
}

/// Why a plan cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// The line, from 1; 0 for the plan as a whole.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is not text.
    NotText,
    /// The line begins with another word than those that there are.
    UnknownKey(String),
    /// There is no `start` above the line.
    NothingStarted,
    /// Something is missing behind the key.
    NoValue(&'static str),
    /// Too much stands behind the key.
    TooMuch(&'static str),
    /// No death is called so.
    UnknownDeath(String),
    /// Neither a handle nor a server above is called so.
    UnknownHandle(String),
    /// Two servers have one name, or a server has the name of a handle.
    NameTaken(String),
    /// No server is called so, and no program provides it.
    UnknownName(String),
    /// A program is to use names, and no server of names is above it.
    NoNames,
    /// No such priority.
    UnknownPriority(String),
    /// No such number of pages.
    UnknownPages(String),
    /// Only what says that it is ready can heal: a server.
    HealsNothing,
    /// Only what is started anew has something kept for it: a server.
    KeepsNothing,
    /// No program ends the machine.
    NoEnd,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line != 0 {
            write!(f, "line {}: ", self.line)?;
        }
        match &self.problem {
            Problem::NotText => f.write_str("it is not text"),
            Problem::UnknownKey(word) => {
                write!(f, "{word}: a line begins with start or {}", KEYS.join(", "))
            }
            Problem::NothingStarted => f.write_str("it belongs to no program: there is no start above it"),
            Problem::NoValue(key) => write!(f, "{key}: something is missing behind it"),
            Problem::TooMuch(key) => write!(f, "{key}: there is too much behind it"),
            Problem::UnknownDeath(word) => write!(f, "{word}: death is heal, restart, ignore or power-off"),
            Problem::UnknownHandle(word) => {
                write!(f, "{word}: a handle is console, archive, system, devices or a server further up")
            }
            Problem::UnknownName(word) => write!(f, "{word}: nothing serves or provides this name"),
            Problem::NoNames => f.write_str("no server of names is above it"),
            Problem::NameTaken(word) => write!(f, "{word}: this name is taken"),
            Problem::UnknownPriority(word) => {
                write!(f, "{word}: a priority is a number below {PRIORITIES}")
            }
            Problem::UnknownPages(word) => write!(f, "{word}: {PAGES_MIN} to {PAGES_MAX} pages can be kept"),
            Problem::KeepsNothing => {
                f.write_str("only for a program that serves, and drives nothing, something is kept")
            }
            Problem::HealsNothing => f.write_str("only a program that serves can heal"),
            Problem::NoEnd => f.write_str("no program has death power-off: the machine would never end"),
        }
    }
}

impl core::error::Error for PlanError {}

/// What belongs to a program.
const KEYS: [&str; 10] =
    ["drives", "serves", "absent", "handles", "uses", "provides", "arguments", "priority", "keeps", "death"];

/// Pages that can be kept for a server, and how many a state needs at least.
const PAGES_MIN: usize = 3;
const PAGES_MAX: usize = 256;

/// The name of the server of names.
pub const NAMES: &str = "names";
/// The name by which the machine can be ended: the first process provides it.
pub const POWER: &str = "power";

/// What the server of names is started with: all names that a plan has, and whether an ask for them waits.
pub fn names(plan: &[Start]) -> Vec<String> {
    let word = |name: &String, waits| alloc::format!("{name}:{}", if waits { "wait" } else { "fail" });
    let all = plan.iter().flat_map(|start| {
        let served = start.serves.iter().filter(|name| start.drives.is_none() && *name != NAMES);
        served.chain(&start.provides).map(move |name| word(name, start.absent_waits))
    });
    all.chain([word(&POWER.into(), false)]).collect()
}

/// Reads a plan.
///
/// # Errors
/// The first line that means nothing.
pub fn parse(text: &[u8]) -> Result<Vec<Start>, PlanError> {
    let at = |line, problem| PlanError { line, problem };
    let text = core::str::from_utf8(text).map_err(|_| at(0, Problem::NotText))?;
    let mut plan: Vec<Start> = Vec::new();
    let mut last = 0;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.split_once('#').map_or(line, |(before, _)| before);
        let mut words = line.split_whitespace();
        let Some(key) = words.next() else { continue };
        last = number;
        let values: Vec<&str> = words.collect();
        if key == "start" {
            if values.is_empty() {
                return Err(at(number, Problem::NoValue("start")));
            }
            check_last(&plan).map_err(|problem| at(number - 1, problem))?;
            plan.push(Start {
                words: values.into_iter().map(String::from).collect(),
                drives: None,
                serves: None,
                absent_waits: true,
                handles: Vec::new(),
                uses: Vec::new(),
                provides: Vec::new(),
                boot: false,
                priority: PRIORITY_DEFAULT,
                keeps: 0,
                death: Death::Ignore,
            });
            continue;
        }
        let (start, above) = match plan.split_last_mut() {
            Some(split) => split,
            None if KEYS.contains(&key) => return Err(at(number, Problem::NothingStarted)),
            None => return Err(at(number, Problem::UnknownKey(key.into()))),
        };
        set(start, above, key, &values).map_err(|problem| at(number, problem))?;
    }
    check_last(&plan).map_err(|problem| at(last, problem))?;
    check_names(&plan).map_err(|problem| at(0, problem))?;
    if plan.iter().any(|start| start.death == Death::PowerOff) { Ok(plan) } else { Err(at(0, Problem::NoEnd)) }
}

fn check_last(plan: &[Start]) -> Result<(), Problem> {
    match plan.last() {
        Some(Start { death: Death::Heal, serves: None, .. } | Start { death: Death::Heal, drives: Some(_), .. }) => {
            Err(Problem::HealsNothing)
        }
        Some(start) if start.keeps > 0 && (start.serves.is_none() || start.drives.is_some()) => {
            Err(Problem::KeepsNothing)
        }
        _ => Ok(()),
    }
}

/// Every name that is used is some program's, and those that use names have the server of them above.
fn check_names(plan: &[Start]) -> Result<(), Problem> {
    let served = |name: &str| plan.iter().any(|start| start.drives.is_none() && start.serves.as_deref() == Some(name));
    let provided = |name: &str| plan.iter().any(|start| start.provides.iter().any(|provided| provided == name));
    for (index, start) in plan.iter().enumerate() {
        let is_client = !start.uses.is_empty() || !start.provides.is_empty();
        if is_client && !plan[..index].iter().any(|above| above.serves.as_deref() == Some(NAMES)) {
            return Err(Problem::NoNames);
        }
        if let Some(name) = start.uses.iter().find(|name| !served(name) && !provided(name) && *name != POWER) {
            return Err(Problem::UnknownName(name.clone()));
        }
        if let Some(name) = start.provides.iter().find(|name| served(name) || *name == POWER) {
            return Err(Problem::NameTaken(name.clone()));
        }
    }
    Ok(())
}

fn set(start: &mut Start, above: &[Start], key: &str, values: &[&str]) -> Result<(), Problem> {
    let one = |key| match values {
        [] => Err(Problem::NoValue(key)),
        [one] => Ok(*one),
        _ => Err(Problem::TooMuch(key)),
    };
    let serves = |name: &str| above.iter().any(|start| start.serves.as_deref() == Some(name));
    match key {
        "drives" => start.drives = Some(one("drives")?.into()),
        "priority" => {
            let word = one("priority")?;
            let number = word.parse().ok().filter(|&number: &u8| usize::from(number) < PRIORITIES);
            start.priority = number.ok_or_else(|| Problem::UnknownPriority(word.into()))?;
        }
        "keeps" => {
            let word = one("keeps")?;
            let pages = word.parse().ok().filter(|pages| (PAGES_MIN..=PAGES_MAX).contains(pages));
            start.keeps = pages.ok_or_else(|| Problem::UnknownPages(word.into()))?;
        }
        "serves" => {
            let name = one("serves")?;
            // The server of the console takes the place of the kernel's.
            let taken = ["archive", "system", "devices", "power", "serve", "heal", "store", "in", "out"];
            if serves(name) || taken.contains(&name) || name.starts_with("kept") {
                return Err(Problem::NameTaken(name.into()));
            }
            start.serves = Some(name.into());
        }
        "handles" => {
            if values.is_empty() {
                return Err(Problem::NoValue("handles"));
            }
            for &value in values {
                start.handles.push(match value {
                    "console" => Given::Console,
                    "archive" => Given::Archive,
                    "system" => Given::System,
                    "devices" => Given::Devices,
                    name if serves(name) => Given::Server(name.into()),
                    name => return Err(Problem::UnknownHandle(name.into())),
                });
            }
        }
        "uses" | "provides" => {
            if values.is_empty() {
                return Err(Problem::NoValue(if key == "uses" { "uses" } else { "provides" }));
            }
            let names = if key == "uses" { &mut start.uses } else { &mut start.provides };
            names.extend(values.iter().map(|&name| String::from(name)));
        }
        "absent" => match one("absent")? {
            "wait" => start.absent_waits = true,
            "fail" => start.absent_waits = false,
            _ => return Err(Problem::NoValue("absent wait|fail")),
        },
        "arguments" => match one("arguments")? {
            "boot" => start.boot = true,
            _ => return Err(Problem::NoValue("arguments boot")),
        },
        "death" => {
            start.death = match one("death")? {
                "heal" => Death::Heal,
                "restart" => Death::Restart,
                "ignore" => Death::Ignore,
                "power-off" => Death::PowerOff,
                other => return Err(Problem::UnknownDeath(other.into())),
            }
        }
        other => return Err(Problem::UnknownKey(other.into())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_of_the_project_is_one() {
        let plan = parse(include_bytes!("../../servers/plan")).unwrap();
        let [uart, console, names, files, clock, shell] = &plan[..] else { panic!("{plan:?}") };
        let words = [uart, console, names, files, clock, shell].map(|start| start.words[0].as_str());
        assert_eq!(words, ["pl011", "console", "names", "files", "clock", "sh"]);
        assert_eq!((uart.drives.as_deref(), uart.serves.as_deref()), (Some("arm,pl011"), Some("uart")));
        let server = |name: &str| Given::Server(name.into());
        assert_eq!(console.handles.last(), Some(&server("uart")));
        assert!(uart.priority > console.priority && console.priority > files.priority);
        assert_eq!((files.death, clock.death, shell.death), (Death::Heal, Death::Restart, Death::PowerOff));
        assert_eq!(shell.handles, [Given::Console, Given::Archive, Given::System]);
        assert_eq!(shell.uses, ["files", "clock", "power"]);
        assert_eq!(super::names(&plan), ["console:wait", "files:wait", "clock:wait", "power:fail"]);
        assert!(shell.boot && !files.boot && !clock.boot);
    }

    #[test]
    fn a_line_that_means_nothing_is_named() {
        for (text, line, problem) in [
            ("", 0, Problem::NoEnd),
            ("start a\n death ignore", 0, Problem::NoEnd),
            ("\n\nstrat a", 3, Problem::UnknownKey("strat".into())),
            ("start a\n deth heal", 2, Problem::UnknownKey("deth".into())),
            ("handles console", 1, Problem::NothingStarted),
            ("start", 1, Problem::NoValue("start")),
            ("start a\nhandles", 2, Problem::NoValue("handles")),
            ("start a\nhandles b", 2, Problem::UnknownHandle("b".into())),
            ("start a\nserves a\nhandles a", 3, Problem::UnknownHandle("a".into())),
            ("start a\nserves b c", 2, Problem::TooMuch("serves")),
            ("start a\nserves archive", 2, Problem::NameTaken("archive".into())),
            ("start a\nserves console\nstart b\nserves console", 4, Problem::NameTaken("console".into())),
            ("start a\ndrives", 2, Problem::NoValue("drives")),
            ("start a\npriority 32", 2, Problem::UnknownPriority("32".into())),
            ("start a\npriority high", 2, Problem::UnknownPriority("high".into())),
            ("start a\nserves a\ndrives d\ndeath heal", 4, Problem::HealsNothing),
            ("start a\nuses x\ndeath power-off", 0, Problem::NoNames),
            ("start n\nserves names\nstart a\nuses x\ndeath power-off", 0, Problem::UnknownName("x".into())),
            ("start n\nserves names\nstart a\nserves x\nprovides x", 0, Problem::NameTaken("x".into())),
            ("start n\nserves names\nstart a\nprovides power", 0, Problem::NameTaken("power".into())),
            ("start a\nuses", 2, Problem::NoValue("uses")),
            ("start a\nabsent never", 2, Problem::NoValue("absent wait|fail")),
            ("start a\nserves x\nstart b\nserves x", 4, Problem::NameTaken("x".into())),
            ("start a\ndeath never", 2, Problem::UnknownDeath("never".into())),
            ("start a\ndeath heal # what\nstart b", 2, Problem::HealsNothing),
            ("start a\ndeath heal", 2, Problem::HealsNothing),
            ("start a\narguments some", 2, Problem::NoValue("arguments boot")),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(PlanError { line, problem }), "{text}");
        }
        assert_eq!(parse(b"\xff").unwrap_err().problem, Problem::NotText);
        assert_eq!(
            parse(b"start a\ndeath x").unwrap_err().to_string(),
            "line 2: x: death is heal, restart, ignore or power-off"
        );
    }
}
