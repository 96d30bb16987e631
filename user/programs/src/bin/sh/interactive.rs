//! Lines typed by a person, until there are no more.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;

use graft_lib::shell::edit::{Editor, Outcome};
use graft_rt::console::{self, Mode};
use graft_rt::{eprintln, print};

use crate::run::Shell;

/// Bytes taken from the console at once.
const BATCH: usize = 64;

/// Runs what is typed. Returns the code that `exit` was given, 0 if input just ended.
pub(crate) fn session(shell: &mut Shell) -> i32 {
    // Before there is a prompt: control-C is the editor's from here on. Without a server the first read says so.
    let _ = console::read(Mode::Raw, &mut []);
    let mut editor = Editor::default();
    let mut typed = VecDeque::new();
    loop {
        shell.exit = None;
        match read_line(shell, &mut editor, &mut typed) {
            Outcome::Line(line) => shell.run(&line, editor.history()),
            Outcome::EndOfInput => return 0,
            Outcome::Interrupted | Outcome::Editing => shell.status = 130,
        }
        if let Some(code) = shell.exit {
            return code.unwrap_or(0);
        }
    }
}

fn read_line(shell: &Shell, editor: &mut Editor, typed: &mut VecDeque<u8>) -> Outcome {
    let mut screen = String::new();
    editor.begin(&prompt(shell.status), &mut screen);
    loop {
        while let Some(byte) = typed.pop_front() {
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
