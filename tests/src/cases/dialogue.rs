//! A person at the console, and the checks of the test harness on a real machine.

use super::play::{LIMIT, play, raspi4b, virt};
use crate::builder::folder::Build;
use crate::harness::machine::{Console, Machine};
use crate::harness::runner::{Case, Outcome, Report};
use crate::harness::session::Session;
use crate::harness::verdict::{Expected, Status};
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
        cases.push(Case::new(format!("typing at the shell · {machine}"), {
            let machine = machine.clone();
            move |log| typing(&machine, log)
        }));
        cases.push(Case::new(format!("control-C and lines for programs · {machine}"), move |log| keys(&machine, log)));
    }
    for what in ["objects", "processes"] {
        let machine = virt(build);
        cases.push(Case::new(format!("a shell beside one that takes all memory for {what} · {machine}"), move |log| {
            hoarded(&machine, what, log)
        }));
    }
    cases.push(harness("a wrong exit status", virt(build).with_line("false"), Expected::success(), LIMIT));
    let silence = Expected::success().saying("a word that is never printed");
    cases.push(harness("a missing word", virt(build).with_line("true"), silence, LIMIT));
    // A shell that waits for a line, with no user to type one, looks like a kernel that hangs.
    cases.push(harness("a hang", virt(build), Expected::success(), Duration::from_secs(5)));
    cases
}

/// A case that passes if the run does not.
fn harness(what: &str, machine: Machine, expected: Expected, limit: Duration) -> Case {
    Case::new(format!("the harness notices {what}"), move |log| match expected.judge(&play(&machine, log, limit)?) {
        Ok(()) => Err("it was not noticed".into()),
        Err(reason) => Ok(Report::noted(reason)),
    })
}

fn prompt(machine: &Machine, log: &Path) -> Outcome {
    let mut session = Session::start(machine.command(Console::Pipe), log, PROMPT_LIMIT)?;
    let time = session.expect(PROMPT)?.as_secs_f32();
    Ok(Report::noted(format!("{time:.2} s, goal {} s", PROMPT_GOAL.as_secs())))
}

/// The shell, and the servers that it needs, do without memory; when it is back, so is everything.
fn hoarded(machine: &Machine, what: &str, log: &Path) -> Outcome {
    let mut session = Session::start(machine.command(Console::Pipe), log, LIMIT)?;
    let mut say = |text: &str, answers: &[&str]| -> Outcome<()> {
        session.send(text)?;
        for answer in answers {
            session.expect(answer)?;
        }
        Ok(())
    };
    say("", &[PROMPT])?;
    say(&format!("t-oom --hoard {what} &\r"), &[PROMPT, "nothing is left"])?;
    // Builtin commands go on, everything else is told so; and this is not over because the bomb's first process is.
    for _ in 0..10 {
        say("[ 1 = 2 ] || x=$((6 * 7)); jobs\r", &["t-oom --hoard", PROMPT])?;
        say("date\r", &["sh: date: the machine is out of memory", PROMPT])?;
    }
    say("kill %1; wait\r", &[PROMPT])?;
    say("echo fi''le >/tmp/file; cat /tmp/file\r", &["\nfile", PROMPT])?;
    say("exit 7\r", &[])?;
    Expected::status(Status::Is(7)).judge(&session.finish()?)?;
    Ok(Report::pass())
}

fn typing(machine: &Machine, log: &Path) -> Outcome {
    let mut session = Session::start(machine.command(Console::Pipe), log, LIMIT)?;
    let mut say = |text: &str, answer: &str| -> Outcome<()> {
        session.send(text)?;
        session.expect(answer)?;
        Ok(())
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
    Expected::status(Status::Is(7)).judge(&session.finish()?)?;
    Ok(Report::pass())
}

/// What is typed reaches the program in the foreground: control-C, lines, and the end of input.
fn keys(machine: &Machine, log: &Path) -> Outcome {
    let machine = Machine { may_reset: true, ..machine.clone() };
    let mut session = Session::start(machine.command(Console::Pipe), log, LIMIT)?;
    let mut say = |text: &str, answers: &[&str]| -> Outcome<()> {
        session.send(text)?;
        for answer in answers {
            session.expect(answer)?;
        }
        Ok(())
    };
    say("", &[PROMPT])?;
    // At once, behind the line, and while the program runs.
    say("sleep 1000\r\x03", &["^C", "[130]", PROMPT])?;
    say("sleep 1000 | sleep 1000\r", &["| sleep 1000"])?;
    say("\x03", &["^C", "[130]", PROMPT])?;
    // The program's line is shown as it is typed, and then written by the program.
    say("cat\r", &["cat\r"])?;
    say("grüx\x7fn\r", &["n\r\ngrün\r\n"])?;
    say("away\x15new\r", &["new\r\nnew\r\n"])?;
    say("half", &["half"])?;
    say("\x03", &["^C", "[130]", PROMPT])?;
    say("cat | cat\r", &["| cat\r"])?;
    say("through\r\x04", &["through\r\nthrough\r\n", PROMPT])?;
    // What is typed ahead is the next program's, or the shell's again.
    say("cat\rahead\r\x04echo and on\r", &["ahead\r\nahead\r\n", PROMPT, "echo and on\r", "\nand on\r\n", PROMPT])?;
    // Stopped, and let go on.
    say("sleep 1000 | cat\r", &["| cat\r"])?;
    say("\x1a", &["^Z", "\r\n[1] stopped  sleep 1000 | cat\r\n", "[148]", PROMPT])?;
    say("cat | cat\r", &["| cat\r"])?;
    say("before\r", &["before\r\nbefore\r\n"])?;
    say("\x1a", &["^Z", "[2] stopped  cat | cat\r\n", PROMPT])?;
    say("jobs\r", &["[1] stopped", "[2] stopped", PROMPT])?;
    say("wait %1\r", &["job 1 is stopped", PROMPT])?;
    // What is typed is not for those that are stopped, whose reads are older.
    say("cat\rthis\r\x04", &["this\r\nthis\r\n", PROMPT])?;
    say("fg\r", &["cat | cat\r\n"])?;
    say("after\r\x04", &["after\r\nafter\r\n", PROMPT])?;
    say("bg %1\r", &["[1] running  sleep 1000 | cat", PROMPT])?;
    say("jobs\r", &["[1] running", PROMPT])?;
    say("fg %1\r", &["sleep 1000 | cat\r\n"])?;
    say("\x1a", &["^Z", "[1] stopped", PROMPT])?;
    say("kill %1; wait %1\r", &["killed with 15", PROMPT])?;
    // What a command's programs start is its own.
    say("sh -c 'sleep 1000; echo never'\r", &["never'\r"])?;
    say("\x1a", &["^Z", "[1] stopped", PROMPT])?;
    say("fg\r", &["never'\r\n"])?;
    say("\x03", &["^C", "[130]", PROMPT])?;
    say("(sleep 1000; echo never) | cat\r", &["| cat\r"])?;
    say("\x03", &["^C", "[130]", PROMPT])?;
    say("ps | grep sleep | wc\r", &["       0        0        0\r\n", PROMPT])?;
    // A shell in the shell.
    say("sh\r", &[PROMPT])?;
    say("\x03sleep 1000\r\x03", &["^C", PROMPT, "^C", "[130]", PROMPT])?;
    say("exit 3\r", &["[3]", PROMPT])?;
    // The machine, anew.
    say("reboot now\r", &["usage: reboot", PROMPT])?;
    say("reboot\r", &["`forkdemo` shows fork at work", PROMPT])?;
    say("exit 7\r", &[])?;
    Expected::status(Status::Is(7)).judge(&session.finish()?)?;
    Ok(Report::pass())
}
