//! `make run`: the machine in the user's terminal.

use crate::harness::machine::{Console, Machine};
use crate::harness::session::shell_words;
use std::io::{self, BufRead, IsTerminal};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a run without a user at the terminal may take, unless another limit is set.
const LIMIT: Duration = Duration::from_secs(300);

/// How the run ended.
pub enum Outcome {
    /// The emulator's own exit status: the guest's, or 1 where the emulator could not start it.
    Status(u8),
    /// It was still running after this time.
    TimedOut(Duration),
}

/// Plays the machine with the terminal as its console. With `has_line` the boot arguments hold a shell line to run;
/// otherwise a person types.
pub fn run(machine: &Machine, has_line: bool, limit: Option<Duration>) -> io::Result<Outcome> {
    let is_watched = !has_line && io::stdin().is_terminal();
    let console = if is_watched { Console::Terminal } else { Console::Interruptible };
    if is_watched {
        eprintln!("{machine}. 'exit' powers off; Ctrl-A X leaves QEMU at any time.");
    }
    let limit = limit.or((!is_watched).then_some(LIMIT));
    let machine = &Machine { may_reset: is_watched, ..machine.clone() };
    let mut command = machine.command(console);
    let mut child = command.stderr(Stdio::piped()).spawn().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot start QEMU: {error} ({})", shell_words(&command)))
    })?;
    let messages = child.stderr.take().map(|stream| thread::spawn(|| pass_on(stream)));
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            // The last message is often the reason for the end.
            messages.map(thread::JoinHandle::join);
            return Ok(Outcome::Status(code(status)));
        }
        if let Some(limit) = limit.filter(|&limit| started.elapsed() >= limit) {
            end(&mut child)?;
            return Ok(Outcome::TimedOut(limit));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Shows the emulator's messages, but for what it says about each part of the Pi's device tree that it does not play.
fn pass_on(messages: impl io::Read) {
    for line in io::BufReader::new(messages).lines().map_while(Result::ok) {
        if !line.contains(": warning: bcm2711 dtc: ") {
            eprintln!("{line}");
        }
    }
}

/// Asks the emulator to leave, so that it puts the terminal back in order; insists after two seconds.
fn end(child: &mut Child) -> io::Result<()> {
    // The standard library knows no other signal than the one that cannot be caught.
    let asked = Command::new("kill").arg(child.id().to_string()).status()?;
    let deadline = Instant::now() + Duration::from_secs(2);
    while asked.success() && Instant::now() < deadline {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.kill()?;
    child.wait().map(|_| ())
}

fn code(status: ExitStatus) -> u8 {
    // A shell's status for a program that a signal has ended starts at 128.
    status.code().map_or(128, |code| code as u8)
}
