//! Says what there is and how to use it: `help`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;

use graft_rt::archive::{Archive, FileError};
use graft_rt::{Arguments, print, println};

graft_rt::program!(main);

/// Columns of the terminal that lists are laid out for.
const WIDTH: usize = 96;

/// Programs that come with Graft; shown if the archive has them.
const PROGRAMS: [(&str, &str, &str); 38] = [
    ("forkdemo", "[--share copy|l3|l2|l1] [--plain]", "watch fork share tables and a write split them"),
    ("forkbench", "--mem SIZE --share copy|l3|l2|l1", "measure fork and the writes after it"),
    ("ipcbench", "", "measure messages between processes"),
    ("scale", "[--rounds N] [--csv]", "fork and write on 1, 2 and 4 cores at once"),
    ("healdemo", "[--faults N] [--size SIZE]", "break the file server in the middle of a copy"),
    ("kvd", "[--mem SIZE] [--share DEPTH]...", "a store that saves snapshots while it serves"),
    ("forkserver", "[--by spawn|fork|restore]...", "run a target per input until it crashes"),
    ("vmmap", "[--dump] [PID]", "the translation tables of a process"),
    ("ps", "", "the processes, their memory and their time"),
    ("top", "[-n TIMES] [SECONDS]", "the busiest processes, again and again; q ends it"),
    ("trace", "[--json NAME] [SECONDS [LINE]]", "what the cores do, as a picture and for viewers"),
    ("free", "", "how the machine's memory is used"),
    ("ls", "[NAME]...", "files, and what is in directories"),
    ("cat", "[NAME]...", "print files, or the input"),
    ("cp", "FROM TO", "copy a file, maybe into a directory; files can be made in /tmp"),
    ("mv", "FROM TO", "give a file another name, or move it into a directory"),
    ("rm", "NAME...", "take files and empty directories away"),
    ("mkdir", "NAME...", "make directories"),
    ("touch", "NAME...", "make files that are not there"),
    ("wc", "[NAME]...", "count lines, words and bytes"),
    ("grep", "TEXT [NAME]...", "print the lines that contain a text"),
    ("head", "[-n LINES] [NAME]", "print the first lines"),
    ("tail", "[-n LINES] [NAME]", "print the last lines"),
    ("sort", "[NAME]...", "print lines in the order of their bytes"),
    ("hexdump", "[NAME]", "show bytes as numbers and characters"),
    ("tee", "NAME", "copy the input to the output and into a file"),
    ("spawn", "[--warm] [--count N] PROGRAM...", "start a program N times, loaded each time or once"),
    ("seq", "[FIRST] LAST", "print numbers"),
    ("sleep", "SECONDS", "wait"),
    ("date", "", "the date and the time"),
    ("uptime", "", "how long the machine has been running"),
    ("poweroff", "[STATUS]", "end the machine"),
    ("reboot", "", "start the machine anew"),
    ("echo", "[-n] [TEXT]...", "print text"),
    ("true", "", "succeed"),
    ("false", "", "fail"),
    ("sh", "[-c LINE | FILE] [ARGUMENT]...", "another shell, a line or a script in it"),
    ("help", "", "this"),
];

/// What the shell does itself.
const BUILTINS: [(&str, &str, &str); 14] = [
    (
        "test",
        "CONDITION, or [ CONDITION ]",
        "compare texts (= !=) and numbers (-eq -lt ...), look at files (-e -f -d -s)",
    ),
    ("read", "NAME...", "a line of the input, into variables"),
    ("shift", "[COUNT]", "drop the first arguments of a script"),
    ("unset", "NAME...", "drop variables"),
    ("break", "[LOOPS]", "leave a loop"),
    ("continue", "[LOOPS]", "go on with a loop's next turn"),
    ("jobs", "", "what runs in the background or has been stopped"),
    ("bg", "[%JOB | PID]", "let a job go on that control-Z has stopped"),
    ("fg", "[%JOB | PID]", "let a job go on, and wait for it; without a name, the last"),
    ("wait", "[%JOB | PID]", "wait for a job; without a name, for all"),
    ("kill", "[-STATUS] %JOB | PID...", "end jobs"),
    ("history", "", "the lines typed so far"),
    (":", "", "succeed"),
    ("exit", "[CODE]", "leave the shell; the first one powers off"),
];

/// What the shell understands; docs/shell.md says it in full.
const LANGUAGE: [&str; 6] = [
    "if LIST; then LIST; else LIST; fi    for NAME in WORD...; do LIST; done    while LIST; do LIST; done",
    "{ LIST; }   ( LIST )   LIST & in the background   time COMMAND   ! COMMAND   A && B   A || B   A | B",
    "< FILE  > FILE  >> FILE take the place of input and output; * and ? stand for names of files.",
    "NAME=VALUE sets a variable; $NAME ${NAME} $1 $@ $# $? $! are put in, and $(LIST) and $((NUMBER + NUMBER)).",
    "Quote with ' \" \\. A line that is no whole command goes on in the next.",
    "Tab completes, arrows edit and recall.",
];

fn main(_arguments: Arguments) -> Result<(), FileError> {
    let archive = Archive::open()?;
    let mut others: Vec<String> = archive.files().filter(|file| file.is_program()).map(|file| file.name).collect();
    for (name, arguments, purpose) in PROGRAMS {
        if let Some(index) = others.iter().position(|other| other == name) {
            others.swap_remove(index);
            line(name, arguments, purpose);
        }
    }
    for (name, arguments, purpose) in BUILTINS {
        line(name, arguments, purpose);
    }
    println!();
    for text in LANGUAGE {
        println!("{text}");
    }
    others.retain(|name| name != "init");
    others.sort();
    let (tests, others): (Vec<String>, Vec<String>) = others.into_iter().partition(|name| name.starts_with("t-"));
    for (what, names) in [("Tests, each 0 or saying what failed:", tests), ("Also here:", others)] {
        if !names.is_empty() {
            println!("{what}");
            wrapped(&names);
        }
    }
    Ok(())
}

/// Prints names beside each other, as many as a line holds.
fn wrapped(names: &[String]) {
    let mut column = 0;
    for name in names {
        if column + 1 + name.len() > WIDTH {
            println!();
            column = 0;
        }
        print!("{}{name}", if column == 0 { "  " } else { " " });
        column += 2 + name.len();
    }
    println!();
}

fn line(name: &str, arguments: &str, purpose: &str) {
    println!("  {name:11}{arguments:35}{purpose}");
}
