//! Lines typed by a person, until there are no more.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;

use graft_lib::shell::edit::{Editor, Outcome};
use graft_lib::shell::parse;
use graft_rt::console::{self, Mode, Size};
use graft_rt::{eprintln, print};

use crate::shell::{INTERRUPTED, Shell};

/// Bytes taken from the console at once.
const BATCH: usize = 64;

/// The prompt for another line of a command.
const CONTINUED: &str = "> ";

/// Runs what is typed. Returns the code that `exit` was given, 0 if input just ended.
pub(crate) fn session(shell: &mut Shell) -> i32 {
    // Before there is a prompt: control-C is the editor's from here on. Without a server the first read says so.
    let _ = console::read(Mode::Raw, &mut []);
    let mut editor = Editor::default();
    let mut typed = VecDeque::new();
    // Lines that are no whole command yet.
    let mut begun = String::new();
    loop {
        if begun.is_empty() {
            shell.exit = None;
            shell.report_jobs();
            shell.refresh_names();
        }
        let prompt = if begun.is_empty() { prompt(shell.status) } else { CONTINUED.into() };
        match read_line(shell, &mut editor, &mut typed, &prompt) {
            Outcome::Line(line) => {
                shell.remember(&line);
                begun.push_str(&line);
                if parse::parse(&begun).is_err_and(|error| error.is_incomplete()) {
                    begun.push('\n');
                    continue;
                }
                shell.run(&core::mem::take(&mut begun));
            }
            Outcome::EndOfInput if begun.is_empty() => return 0,
            // What was begun can be given up; the parser then says what is missing.
            Outcome::EndOfInput => shell.run(&core::mem::take(&mut begun)),
            Outcome::Interrupted | Outcome::Editing => {
                begun.clear();
                shell.status = INTERRUPTED;
            }
        }
        if let Some(code) = shell.exit {
            return code.unwrap_or(0);
        }
    }
}

fn read_line(shell: &Shell, editor: &mut Editor, typed: &mut VecDeque<u8>, prompt: &str) -> Outcome {
    let mut screen = String::new();
    editor.begin(prompt, &mut screen);
    let mut is_asked = false;
    loop {
        while let Some(byte) = typed.pop_front() {
            // Only now: a terminal that does not answer keeps the line waiting for a moment.
            if editor.is_full() && !is_asked {
                is_asked = true;
                print!("{screen}");
                screen.clear();
                // No fewer than without an answer: tmux 3.3 names rows and columns the wrong way round.
                editor.set_columns(console::size().columns.max(Size::DEFAULT.columns).into());
            }
            let outcome = editor.feed(byte, &shell.names, &mut screen);
            if outcome != Outcome::Editing {
                print!("{screen}");
                return outcome;
            }
        }
        print!("{screen}");
        screen.clear();
        let mut buffer = [0; BATCH];
        match console::read(Mode::Raw, &mut buffer) {
            Ok(count) => typed.extend(&buffer[..count]),
            Err(error) => {
                eprintln!("sh: cannot read from the console: {error}");
                return Outcome::EndOfInput;
            }
        }
    }
}

/// The prompt, with the status of the last command unless that succeeded.
fn prompt(status: i32) -> String {
    match status {
        0 => "\x1b[1;32mgraft$\x1b[0m ".into(),
        _ => format!("\x1b[1;31m[{status}]\x1b[0m \x1b[1;32mgraft$\x1b[0m "),
    }
}
