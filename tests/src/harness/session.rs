//! A running emulator: its output kept and logged, its input fed, its time limited.

use crate::harness::watch::Watch;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How an emulator ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Status(i32),
    /// By a signal from outside.
    Signalled,
    /// It was still running at the end of its own time (see [`Watch`]) and was ended.
    TimedOut(Duration),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Status(status) => write!(f, "exit status {status}"),
            End::Signalled => write!(f, "QEMU was ended by a signal"),
            End::TimedOut(limit) => write!(
                f,
                "no exit within {} s (a hang, or a reset or power-off that reported no status)",
                limit.as_secs_f32()
            ),
        }
    }
}

/// What is left of a session.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How it ended.
    pub end: End,
    /// Everything the emulator and its guest wrote.
    pub output: String,
    /// From the start to the end.
    pub elapsed: Duration,
}

/// What the guest has said so far.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    closed: bool,
}

type Shared = Arc<(Mutex<Output>, Condvar)>;

/// Time between two looks at the watch while output is waited for.
const GLANCE: Duration = Duration::from_millis(100);

/// A running emulator. Dropping it ends the emulator.
pub struct Session {
    child: Child,
    input: Option<ChildStdin>,
    output: Shared,
    /// How much of the output earlier calls of `expect` have used up.
    seen: usize,
    started: Instant,
    watch: Watch,
    limit: Duration,
}

impl Session {
    /// Starts `command`, which must end within `limit` of its own time, and keeps a log of it.
    pub fn start(mut command: Command, log: &Path, limit: Duration) -> io::Result<Session> {
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut log = File::create(log)?;
        writeln!(log, "$ {}", shell_words(&command))?;

        // One pipe for both streams, so that the log has the emulator's own messages where they belong.
        let (reader, writer) = io::pipe()?;
        command.stdin(Stdio::piped()).stdout(writer.try_clone()?).stderr(writer);
        let started = Instant::now();
        let mut child = command.spawn().map_err(|error| {
            let program = command.get_program().to_string_lossy().into_owned();
            io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
        })?;
        // The command still holds the writing ends: without this the reader would never see the end.
        drop(command);

        let output = Shared::default();
        thread::spawn({
            let output = output.clone();
            move || keep(reader, log, &output)
        });
        let input = child.stdin.take();
        let watch = Watch::start(child.id());
        Ok(Session { child, input, output, seen: 0, started, watch, limit })
    }

    /// Types `text` on the guest's serial line.
    pub fn send(&mut self, text: &str) -> io::Result<()> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(text.as_bytes())?;
        input.flush()
    }

    /// Waits until the guest writes `text` (after what earlier calls have matched) and returns the time since the
    /// start. The error says what came instead.
    pub fn expect(&mut self, text: &str) -> Result<Duration, String> {
        let (lock, changed) = &*self.output;
        let mut output = lock.lock().expect("the reader does not panic");
        loop {
            if let Some(position) = find(&output.bytes[self.seen..], text.as_bytes()) {
                self.seen += position + text.len();
                return Ok(self.started.elapsed());
            }
            let rest = self.limit.saturating_sub(self.watch.own());
            if output.closed {
                return Err(format!("QEMU ended without writing {text:?}"));
            }
            if rest.is_zero() {
                return Err(format!("no {text:?} within {} s", self.limit.as_secs_f32()));
            }
            output = changed.wait_timeout(output, rest.min(GLANCE)).expect("the reader does not panic").0;
        }
    }

    /// Closes the guest's serial input and waits for the end, at most until the time limit.
    pub fn finish(mut self) -> io::Result<Ended> {
        self.input = None;
        let end = loop {
            if let Some(status) = self.child.try_wait()? {
                break ended(status);
            }
            if self.watch.own() >= self.limit {
                self.child.kill()?;
                self.child.wait()?;
                break End::TimedOut(self.limit);
            }
            thread::sleep(Duration::from_millis(2));
        };
        let elapsed = self.started.elapsed();
        let output = self.drain();
        // QEMU catches the polite signals and then leaves with status 0.
        let end = if output.contains("terminating on signal") { End::Signalled } else { end };
        Ok(Ended { end, output, elapsed })
    }

    /// What was written up to the end. A process that the emulator left behind could hold the pipe open: ten seconds
    /// are enough for what is still in it.
    fn drain(&self) -> String {
        let (lock, changed) = &*self.output;
        let output = lock.lock().expect("the reader does not panic");
        let (output, _) = changed
            .wait_timeout_while(output, Duration::from_secs(10), |output| !output.closed)
            .expect("the reader does not panic");
        as_read(&output.bytes)
    }
}

/// Terminal output as a person reads it: after a carriage return a line begins anew and covers what was there.
pub fn as_read(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split('\n').map(|line| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

impl Drop for Session {
    fn drop(&mut self) {
        // Both fail only where the emulator has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `command` and waits for its end.
pub fn run(command: Command, log: &Path, limit: Duration) -> io::Result<Ended> {
    Session::start(command, log, limit)?.finish()
}

/// The command as one could type it.
pub fn shell_words(command: &Command) -> String {
    let quote = |word: std::borrow::Cow<'_, str>| {
        if !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_=+.,:/@%".contains(c)) {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| quote(word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn ended(status: ExitStatus) -> End {
    status.code().map_or(End::Signalled, End::Status)
}

fn keep(mut reader: impl Read, mut log: File, output: &Shared) {
    let (lock, changed) = &**output;
    let mut chunk = [0; 4096];
    loop {
        let length = reader.read(&mut chunk).unwrap_or(0);
        // A full disk must not stop the guest: the verdict needs the output more than the log does.
        let _ = log.write_all(&chunk[..length]);
        let mut output = lock.lock().expect("no waiter panics");
        output.bytes.extend_from_slice(&chunk[..length]);
        output.closed = length == 0;
        changed.notify_all();
        if output.closed {
            return;
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::scratch::Scratch;

    /// A shell script in the place of the emulator.
    fn fake(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn run_fake(script: &str, limit: Duration) -> Ended {
        let scratch = Scratch::new();
        run(fake(script), &scratch.path().join("log"), limit).unwrap()
    }

    #[test]
    fn the_status_arrives() {
        assert_eq!(run_fake("exit 0", Duration::from_secs(10)).end, End::Status(0));
        assert_eq!(run_fake("exit 101", Duration::from_secs(10)).end, End::Status(101));
    }

    #[test]
    fn output_is_read_as_on_a_terminal() {
        let ended = run_fake(r"printf 'G\rGraft\r\none\n\ntwo'", Duration::from_secs(10));
        assert_eq!(ended.output, "Graft\none\n\ntwo");
    }

    #[test]
    fn a_hang_is_ended_at_the_limit_and_keeps_its_output() {
        let limit = Duration::from_secs(1);
        let ended = run_fake("echo before; exec sleep 60", limit);
        assert_eq!(ended.end, End::TimedOut(limit));
        assert_eq!(ended.output, "before\n");
    }

    #[test]
    fn an_emulator_that_is_killed_has_no_status() {
        assert_eq!(run_fake("kill -9 $$", Duration::from_secs(10)).end, End::Signalled);
        let polite = "echo 'qemu-system-aarch64: terminating on signal 15 from pid 1' >&2; exit 0";
        assert_eq!(run_fake(polite, Duration::from_secs(10)).end, End::Signalled);
    }

    #[test]
    fn the_log_has_the_command_and_both_streams_in_order() {
        let scratch = Scratch::new();
        let log = scratch.path().join("folder/log");
        run(fake("echo one; echo two >&2; echo three"), &log, Duration::from_secs(10)).unwrap();
        let log = fs::read_to_string(log).unwrap();
        assert_eq!(log, "$ sh -c 'echo one; echo two >&2; echo three'\none\ntwo\nthree\n");
    }

    #[test]
    fn a_dialogue_goes_back_and_forth() {
        let scratch = Scratch::new();
        let script = "echo 'name? '; read name; echo \"hello $name\"; read rest; exit 7";
        let mut session = Session::start(fake(script), &scratch.path().join("log"), Duration::from_secs(10)).unwrap();
        session.expect("name? ").unwrap();
        session.send("Ada\n").unwrap();
        session.expect("hello Ada").unwrap();
        assert_eq!(session.finish().unwrap().end, End::Status(7));
    }

    #[test]
    fn an_expected_text_matches_once() {
        let scratch = Scratch::new();
        let log = scratch.path().join("log");
        let mut session = Session::start(fake("echo prompt; read x"), &log, Duration::from_secs(1)).unwrap();
        session.expect("prompt").unwrap();
        assert!(session.expect("prompt").unwrap_err().contains("no \"prompt\" within"));
    }

    #[test]
    fn a_dead_emulator_is_not_waited_for() {
        let scratch = Scratch::new();
        let log = scratch.path().join("log");
        let mut session = Session::start(fake("exit 3"), &log, Duration::from_secs(60)).unwrap();
        assert!(session.expect("prompt").unwrap_err().contains("ended without"));
    }

    #[test]
    fn a_missing_emulator_is_named() {
        let scratch = Scratch::new();
        let command = Command::new("no-such-emulator");
        let error = run(command, &scratch.path().join("log"), Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("no-such-emulator"));
    }
}
