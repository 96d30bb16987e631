//! A person at the console, and the checks of the test harness on a real machine.

use super::{LIMIT, play, raspi4b, virt};
use crate::build::Build;
use crate::machine::{Console, Machine};
use crate::runner::{Case, Report};
use crate::session::{Ended, Session};
use crate::verdict::Expected;
use std::path::Path;
use std::time::Duration;

/// What the shell writes when it waits for a line.
const PROMPT: &str = "graft$";
/// The time from QEMU's start to the prompt that a user may expect.
const PROMPT_GOAL: Duration = Duration::from_secs(3);
/// Where the test gives up: computers that run tests are busy.
const PROMPT_LIMIT: Duration = Duration::from_secs(12);

pub(super) fn cases(build: &Build) -> Vec<Case> {
    let mut cases = Vec::new();
    for machine in [virt(build), raspi4b(build)] {
        cases.push(
            Case::new(format!("boot to prompt · {machine}"), {
                let machine = machine.clone();
                move |log| prompt(&machine, log)
            })
            .alone(),
        );
        cases.push(Case::new(format!("typing at the shell · {machine}"), move |log| typing(&machine, log)));
    }
    for (name, line, expected) in [
        ("a wrong exit status", "false", Expected::success()),
        ("a missing word", "true", Expected::success().saying("a word that nobody says")),
    ] {
        let machine = virt(build).with_line(line);
        cases.push(harness(name, move |log| expected.judge(&play(&machine, log, LIMIT)?)));
    }
    // A shell that waits for a line that nobody types looks like a kernel that hangs.
    let machine = virt(build);
    let limit = Duration::from_secs(5);
    cases.push(harness("a hang", move |log| Expected::success().judge(&play(&machine, log, limit)?)));
    cases
}

/// A case that passes if `body` fails.
fn harness(what: &str, body: impl Fn(&Path) -> Result<(), String> + Send + Sync + 'static) -> Case {
    Case::new(format!("the harness notices {what}"), move |log| match body(log) {
        Ok(()) => Err("it was not noticed".into()),
        Err(reason) => Ok(Report::noted(reason)),
    })
}

fn prompt(machine: &Machine, log: &Path) -> Result<Report, String> {
    let mut session =
        Session::start(machine.command(Console::Pipe), log, PROMPT_LIMIT).map_err(|error| error.to_string())?;
    let time = session.expect(PROMPT)?.as_secs_f32();
    Ok(Report::noted(format!("{time:.2} s, goal {} s", PROMPT_GOAL.as_secs())))
}

fn typing(machine: &Machine, log: &Path) -> Result<Report, String> {
    let mut session = Session::start(machine.command(Console::Pipe), log, LIMIT).map_err(|error| error.to_string())?;
    let mut say = |text: &str, answer: &str| -> Result<(), String> {
        session.send(text).map_err(|error| error.to_string())?;
        session.expect(answer).map(|_| ())
    };
    say("", PROMPT)?;
    // The echo of the line has a blank before the word; only the answer starts a line with it.
    say("echo hello there\r", "\nhello there")?;
    say("", PROMPT)?;
    // Rubbing out a wrong character, the way every terminal sends it.
    say("echo righx\x7ft\r", "\nright")?;
    say("", PROMPT)?;
    // Upwards in the history.
    say("\x1b[A\r", "\nright")?;
    say("", PROMPT)?;
    say("nosuch\r", "nosuch")?;
    say("", PROMPT)?;
    say("exit 7\r", "")?;
    let ended: Ended = session.finish().map_err(|error| error.to_string())?;
    Expected::status(crate::verdict::Status::Is(7)).judge(&ended).map(|()| Report::pass())
}
