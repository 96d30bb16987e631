//! The shell's language: scripts that are run, and a command that is typed over several lines.

use super::play::{LIMIT, play, raspi4b, virt};
use crate::builder::folder::Build;
use crate::harness::machine::{Console, Machine};
use crate::harness::runner::{Case, Outcome, Report};
use crate::harness::session::{End, Session};
use crate::harness::verdict::{Expected, Status};
use std::path::Path;

/// Printed before what is compared.
const BEGIN: &str = "= begin";

/// What is shown, a script, and everything that it prints, in order. A `…` stands for any characters.
const SCRIPTS: [(&str, &str, &[&str]); 10] = [
    (
        "quotes and variables",
        r#"a='x  y'; echo $a "$a" '$a' \$a a"b"'c'; b=$a; a=; echo "<$a>" ${b}z "$b"; echo $# $? $0
           echo 'two
lines' | wc; echo a\
b # not this"#,
        &["x y x  y $a $a abc", "<> x yz x  y", "0 0 sh", "       2        2       10", "ab"],
    ),
    (
        "if, for, while and until",
        r#"for i in 1 '2 3' $(seq 4 5); do
             if [ "$i" = 4 ]; then echo four; elif [ -z "$i" ]; then echo never; else echo "<$i>"; fi
           done
           n=0; while true; do
             n=$((n + 1)); if [ $n -eq 2 ]; then continue; fi
             if test $n -gt 4; then break; fi; echo $n
           done
           until [ $n = 0 ]; do n=$((n - 1)); done; echo $n
           for i in a b; do for j in c d; do if [ $j = d ]; then continue 2; fi; echo $i$j; done; done
           if false; then echo never; fi; echo $?; ! true; echo $?"#,
        &["<1>", "<2 3>", "four", "<5>", "1", "3", "4", "0", "ac", "bc", "0", "1"],
    ),
    (
        "one && false; echo two, and so on",
        "echo one && false; echo two; false || echo three; true && echo four || echo never; nosuch; echo $?",
        &["one", "two", "three", "four", "sh: nosuch: no such program; …", "127"],
    ),
    (
        "what commands print, and numbers",
        r#"echo "$(echo a; echo b)" $(echo c; echo d) $(echo "$(echo "e  f")"); x=$(exit 3); echo $?
           echo $((1 + 2 * 3)) $(((1 + 2) * 3)) $(( 7 % 4 )) $((2 > 1 && 1 == 1)); echo $((1 / 0)); echo $?
           echo /tmp/*; touch /tmp/b /tmp/a; echo /tmp/* '/tmp/*' /tmp/?; x=*; echo $x"#,
        &[
            "a",
            "b c d e f",
            "3",
            "7 9 3 1",
            "sh: $((…)): division by 0",
            "1",
            "/tmp/*",
            "/tmp/a /tmp/b /tmp/* /tmp/a /tmp/b",
            "*",
        ],
    ),
    (
        "input and output of compound commands",
        r#"for i in 3 1 2; do echo $i; done | sort | { read a; echo first $a; cat; }
           { echo one two three; echo four; } > /tmp/f; while read a b; do echo "$b/$a"; done < /tmp/f
           (a=inner; echo $a); echo $a.; if true; then echo x; fi >> /tmp/f; wc < /tmp/f
           while true; do echo y; done | head -n 1; read a < /tmp/f; echo $a"#,
        &[
            "first 1",
            "2",
            "3",
            "two three/one",
            "/four",
            "inner",
            ".",
            "       3        5       21",
            "y",
            "one two three",
        ],
    ),
    (
        "scripts in files",
        r#"echo 'echo $0 $# "$2" "$@"
for a in "$@"; do echo "<$a>"; done
shift; echo $1; nosuch; exit 9' > /tmp/s; sh /tmp/s 1 '2  3'; echo $?; cat /tmp/s | sh > /tmp/out; echo $?
           echo 'if true' > /tmp/s; sh /tmp/s; echo $?; sh nosuch; echo $?; sh sh; echo $?; sh -c 'echo $1' a b"#,
        &[
            "/tmp/s 2 2  3 1 2  3",
            "<1>",
            "<2  3>",
            "2 3",
            "/tmp/s: line 3: nosuch: no such program; …",
            "9",
            "sh: shift: 1 of 0 arguments",
            "sh: nosuch: no such program; …",
            "9",
            "/tmp/s: line 2, column 1: if needs then, and the text ends",
            "2",
            "sh: nosuch: no such file or directory",
            "127",
            "sh: sh: it is no script",
            "126",
            "a",
        ],
    ),
    (
        "jobs",
        r#"sleep 100 & sleep 200 | cat & jobs; kill %1; wait %1; echo $?; kill -9 %2; fg; echo $?; jobs; wait
           (sleep 0.1; echo late; exit 4) & echo early; wait $!; echo $?; jobs; kill %1; kill 1; fg; time true"#,
        &[
            "[1] running …sleep 100",
            "[2] running …sleep 200 | cat",
            "sh: sleep: killed with 15",
            "137",
            "sleep 200 | cat",
            "sh: sleep: killed with 9",
            "sh: cat: killed with 9",
            "137",
            "early",
            "late",
            "4",
            "sh: kill: there is no job %1; `jobs` lists them",
            "sh: kill: process 1 is of no job of this shell, which has no right to others",
            "sh: fg: there is no job",
            "… s elapsed, … s of processors",
        ],
    ),
    (
        "an interruption ends the whole line",
        "sh -c 'for i in 1 2; do sleep 100 & kill -130 $!; wait; echo never; done; echo never'; echo $?",
        &["130"],
    ),
    (
        "mistakes",
        r#"sh -c 'echo a; fi'; echo $?; sh -c 'echo "a'; sh -c 'a=1 >/tmp/x'; sh -c 'a=1 echo'; [ 1 -eq x ]; echo $?
           break; read; read 1; exit 1 2; exit x; shift x; fg %x; cat < /nosuch; echo $?; echo a > /README.md; echo $?
           nosuch | cat; echo $?; echo a | nosuch; echo $?; kill -x 1; kill; jobs a"#,
        &[
            "sh: column 9: fi is not expected here",
            "2",
            "sh: column 6: \" is not closed",
            "sh: column 12: programs do not get variables: NAME=VALUE stands alone",
            "sh: column 5: programs do not get variables: NAME=VALUE stands alone",
            "sh: [: \"x\" is not a whole number",
            "2",
            "sh: break: there is no loop to be in",
            "sh: read: usage: read NAME...",
            "sh: read: \"1\" is no name of a variable",
            "sh: exit: usage: exit [CODE]",
            "sh: exit: x: the code is a whole number",
            "sh: shift: x: not a whole number",
            "sh: fg: %x: neither %NUMBER nor the number of a process",
            "sh: cat: /nosuch: no such file or directory",
            "1",
            "sh: echo: /README.md: it cannot be written to",
            "1",
            "sh: nosuch: no such program; …",
            "0",
            "sh: nosuch: no such program; …",
            "127",
            "sh: kill: -x: not a number",
            "sh: kill: usage: kill [-STATUS] %JOB | PID...",
            "sh: jobs: usage: jobs",
        ],
    ),
    (
        "hostile scripts",
        r#"p='('; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do p=$p$p; done; sh -c "$p"; echo $?
           b='{ '; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do b=$b$b; done; sh -c "$b"; echo $?
           d='$('; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do d=$d$d; done; echo "echo $d" > /tmp/d; sh /tmp/d; echo $?
           echo $p$p$p$p$p$p$p$p$p; echo $?; y=$p$p$p$p$p$p$p$p$p; echo $? $y; echo "$p$p$p"; echo $?
           x=$(while true; do echo $p; done); echo $?; echo $(($p 1)); echo "$(head -n 1 kernel; echo)" | wc
           for i in $(seq 60); do c="$c true |"; done; sh -c "$c echo end""#,
        &[
            "sh: column 51: this is nested more than 50 deep",
            "2",
            "sh: column 101: this is nested more than 50 deep",
            "2",
            "/tmp/d: column 108: this is nested more than 50 deep",
            "2",
            "sh: the words of the command become longer than 64 KiB",
            "1",
            "sh: the words of the command become longer than 64 KiB",
            "1",
            "sh: echo: the arguments are longer than 16 KiB",
            "126",
            "sh: $(…): more than 64 KiB are printed",
            "1",
            "sh: $((…)): nested more than 50 deep",
            "head: kernel: no such file or directory",
            "       1        0        1",
            "end",
        ],
    ),
];

pub(super) fn cases(build: &Build) -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, script, lines) in SCRIPTS {
        let machine = virt(build).with_line(&format!("echo '{BEGIN}'; {script}"));
        cases.push(Case::new(format!("sh: {what}"), move |log| prints(&machine, lines, log)));
    }
    for machine in [virt(build), raspi4b(build)] {
        cases.push(Case::new(format!("sh: lines that go on · {machine}"), move |log| typed(&machine, log)));
    }
    cases
}

/// The run ends and has printed these lines.
fn prints(machine: &Machine, expected: &[&str], log: &Path) -> Outcome {
    let ended = play(machine, log, LIMIT)?;
    if !matches!(ended.end, End::Status(_)) {
        return Err(ended.end.to_string().into());
    }
    let mut lines = ended.output.lines().map(str::trim_end).skip_while(|line| *line != BEGIN).skip(1);
    for expected in expected {
        match lines.next() {
            Some(line) if is_like(line, expected) => {}
            Some(line) => return Err(format!("{line:?}, expected {expected:?}").into()),
            None => return Err(format!("{expected:?} is missing").into()),
        }
    }
    match lines.next() {
        Some(line) => Err(format!("{line:?} is too much").into()),
        None => Ok(Report::pass()),
    }
}

/// Whether a line is what is expected, where `…` stands for any characters.
fn is_like(line: &str, expected: &str) -> bool {
    let mut parts = expected.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    expected.ends_with('…') || rest.is_empty()
}

/// A loop over several lines, one that is given up, and a job, as a person types them.
fn typed(machine: &Machine, log: &Path) -> Outcome {
    let mut session = Session::start(machine.command(Console::Pipe), log, LIMIT)?;
    let mut say = |text: &str, answer: &str| -> Outcome<()> {
        session.send(text)?;
        session.expect(answer)?;
        Ok(())
    };
    say("", "graft$")?;
    say("for i in 1 2\r", "\n> ")?;
    say("do echo 'a\r", "\n> ")?;
    say("'$i\r", "\n> ")?;
    say("done | cat\r", "\na\r\n1\r\na\r\n2\r\n")?;
    say("", "graft$")?;
    say("if true\r", "\n> ")?;
    say("\x03", "graft$")?;
    say("sleep 0 &\r", "graft$")?;
    say("wait; echo waited\r", "\nwaited")?;
    say("", "graft$")?;
    // At the end of input, what is missing is said.
    say("echo 'b\r", "\n> ")?;
    say("\x04", "' is not closed")?;
    say("", "graft$")?;
    say("poweroff 7\r", "")?;
    Expected::status(Status::Is(7)).judge(&session.finish()?)?;
    Ok(Report::pass())
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn an_ellipsis_stands_for_any_characters() {
        for (line, expected, result) in [
            ("abc", "abc", true),
            ("abc", "ab", false),
            ("abc", "a…", true),
            ("abc", "…c", true),
            ("abc", "a…b…c", true),
            ("abc", "…", true),
            ("abc", "a…x", false),
            ("abc", "b…", false),
        ] {
            assert_eq!(is_like(line, expected), result, "{line} {expected}");
        }
    }
}
