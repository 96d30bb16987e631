//! The house of the kernel, checked: rooms import downward only, files not in circles, and what an architecture decides
//! stays in `arch/`.
//!
//! `make check` runs this. It reads the sources as text: a `use` of another crate of the workspace is cargo's to
//! refuse.

mod circles;

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms from the ground up: each may import from those before it, and from itself.
const ROOMS: [&str; 16] = [
    "sync", "arch", "lock", "trace", "platform", "memory", "object", "program", "sched", "ipc", "call", "trap",
    "start", "panic", "lib", "main",
];

/// What imports upward nevertheless, and why.
const UPWARD: [(&str, &str, &str); 6] = [
    ("object/endpoint.rs", "sched", "the end of an endpoint or a reply wakes the threads that wait for it"),
    ("object/end.rs", "sched", "an end wakes the threads that wait for it"),
    ("object/notification.rs", "sched", "bits that are set wake a thread that waits for them"),
    ("object/process.rs", "sched", "a process begins and ends by its threads, which are scheduled"),
    ("object/process/mark.rs", "sched", "what a process is told reaches its threads where they run and wait"),
    ("object/thread.rs", "sched", "a thread keeps what it has to do in the kernel, and the scheduler does it"),
];

/// What no file outside `arch/` may contain, and what that is. `*` at the end of a word stands for the rest of it.
const ARCHITECTURE: [(&str, &str); 22] = [
    ("asm!", "assembly"),
    ("global_asm!", "assembly"),
    ("naked_asm!", "assembly"),
    ("core::arch", "assembly"),
    ("aarch64_cpu", "registers"),
    ("tock_registers", "registers"),
    ("smccc", "firmware calls"),
    ("qemu_exit", "firmware calls"),
    ("arm_gic", "an interrupt controller"),
    ("AArch64", "a descriptor format"),
    ("X86_64", "a descriptor format"),
    ("ESR", "an exception class"),
    ("syndrome", "an exception class"),
    ("cr2", "an exception class"),
    ("TTBR*", "a register"),
    ("SCTLR*", "a register"),
    ("TCR*", "a register"),
    ("cr3", "a register"),
    (".x[", "a register"),
    ("registers.pc", "a register"),
    ("pstate", "a register"),
    ("svc", "an instruction"),
];

/// Bits of descriptors are named by their number. These lines shift by so much for another reason.
const HIGH_BITS: [(&str, &str, &str); 3] = [
    ("object/lineage.rs", "const BIRTHS: u64 = 1 << 63;", "a mark beside a number"),
    ("object/process/mark.rs", "const ENDING: u64 = 1 << 63;", "a mark beside a packed status"),
    ("object/process/mark.rs", "const WITH_JOB: u64 = 1 << 62;", "the same"),
];

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The room that a file belongs to.
fn room(path: &str) -> &str {
    let first = path.split('/').next().unwrap_or(path);
    first.strip_suffix(".rs").unwrap_or(first)
}

fn floor(room: &str) -> Option<usize> {
    ROOMS.iter().position(|&name| name == room)
}

/// The text without its comments, to which the rules do not apply.
fn code(text: &str) -> String {
    let strip = |line: &str| line.find("//").map_or(line, |comment| &line[..comment]).to_string();
    text.lines().map(strip).collect::<Vec<_>>().join("\n")
}

/// The text without the unit tests at its end, which may look anywhere.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests").map_or(text, |tests| &text[..tests])
}

/// The first names behind `crate::`, of a path or of a group of paths.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|character: char| is_word(character)) {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let mut depth = 0;
        let mut name = String::new();
        for character in rest.chars() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if is_word(character) {
                name.push(character);
                continue;
            }
            // The first name of each path: behind it comes the path's next step, the next path, or the end.
            if depth <= 1 && !name.is_empty() {
                found.push(std::mem::take(&mut name));
                if depth == 0 {
                    break;
                }
            }
            name.clear();
            if depth == 1 && character == ':' {
                // The rest of this path is not looked at.
                name.push(' ');
            }
            if depth == 0 && character != '{' {
                break;
            }
        }
    }
    found.into_iter().filter(|name| floor(name.trim()).is_some()).collect()
}

/// Whether the code contains this text as whole words.
fn contains(code: &str, text: &str) -> bool {
    let (text, open_end) = text.strip_suffix('*').map_or((text, false), |text| (text, true));
    code.match_indices(text).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + text.len()..].chars().next();
        let starts = !text.starts_with(is_word) || !before.is_some_and(is_word);
        let ends = open_end || !text.ends_with(is_word) || !after.is_some_and(is_word);
        starts && ends
    })
}

/// A name that ends as those of AArch64's system registers do: `_EL0` to `_EL3`.
fn system_register(code: &str) -> bool {
    (0..4).any(|level| contains(code, &format!("_EL{level}")) || code.contains(&format!("_EL{level}")))
}

/// The number that something is shifted by, if that is one of a descriptor's high bits.
fn high_bit(line: &str) -> bool {
    line.split("<<").skip(1).any(|rest| {
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().is_ok_and(|bit| bit >= 52)
    })
}

/// What is wrong with a file of `kernel/src`.
fn violations(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let code = code(without_tests(text));
    let own = room(path);
    let Some(own_floor) = floor(own) else {
        return vec![format!("{path}: the room `{own}` has no floor: add it to ROOMS")];
    };
    for name in imports(&code) {
        let upward = floor(&name).is_some_and(|floor| floor > own_floor);
        if upward && !UPWARD.iter().any(|&(file, room, _)| file == path && room == name) {
            found.push(format!("{path}: imports `{name}`, a room above"));
        }
    }
    if own == "arch" {
        return found;
    }
    for (text, what) in ARCHITECTURE {
        if contains(&code, text) {
            found.push(format!("{path}: `{text}`: {what} outside arch/"));
        }
    }
    if system_register(&code) {
        found.push(format!("{path}: a system register outside arch/"));
    }
    for line in code.lines().filter(|line| high_bit(line)) {
        if !HIGH_BITS.iter().any(|&(file, known, _)| file == path && line.trim() == known) {
            found.push(format!("{path}: `{}`: a descriptor bit outside arch/", line.trim()));
        }
    }
    found
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the kernel's sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn rooms_import_downward_and_architectures_stay_in_theirs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 40, "the sources were not found");
    let mut found = Vec::new();
    for file in files {
        let path = file.strip_prefix(&root).expect("below the root").to_str().expect("a plain name").replace('\\', "/");
        found.extend(violations(&path, &fs::read_to_string(&file).expect("a source file")));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_exception_is_needed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |file: &str| code(&fs::read_to_string(root.join(file)).expect("the file of an exception"));
    for (file, room, why) in UPWARD {
        assert!(imports(&read(file)).iter().any(|name| name == room), "{file} does not import {room} any more: {why}");
    }
    for (file, line, why) in HIGH_BITS {
        assert!(read(file).lines().any(|text| text.trim() == line), "{file} has no `{line}` any more: {why}");
    }
}

#[test]
fn a_violation_of_each_kind_is_refused() {
    let refused = [
        ("memory/frames.rs", "use crate::sched;"),
        ("memory/frames.rs", "fn f() { crate::sched::online() }"),
        ("lock.rs", "use crate::{arch, object::Ref};"),
        ("lock.rs", "use crate::{\n    arch::{self, Context},\n    call,\n};"),
        ("arch/aarch64/fault.rs", "use crate::panic;"),
        ("arch/host/mod.rs", "use crate::platform::console;"),
        ("object/snapshot.rs", "use crate::sched;"),
        ("newroom/mod.rs", ""),
        ("panic.rs", "asm!(\"mov {}, x29\");"),
        ("trap.rs", "match syndrome >> 26 {}"),
        ("call/mod.rs", "let number = registers.x[8];"),
        ("call/wait.rs", "registers.pc -= 4;"),
        ("memory/space.rs", "use graft_paging::{AArch64, Access};"),
        ("sched/mod.rs", "TTBR0_EL1.set(0);"),
        ("platform/bring_up.rs", "CNTFRQ_EL0.get();"),
        ("memory/space.rs", "const NEVER_EXECUTE: u64 = 1 << 54;"),
    ];
    for (path, text) in refused {
        assert!(!violations(path, text).is_empty(), "{path}: {text}");
    }
    let permitted = [
        ("arch/aarch64/tlb.rs", "use crate::arch::Trap; asm!(\"isb\"); const BIT: u64 = 1 << 55;"),
        ("sched/mod.rs", "use crate::{arch::{self, Context}, object::Ref};"),
        ("sched/mod.rs", "// out of TTBR0_EL1\n"),
        ("object/process/mark.rs", "const ENDING: u64 = 1 << 63;"),
        ("memory/asid.rs", "#[cfg(test)]\nmod tests { use crate::sched; }"),
        ("memory/asid.rs", "const LIMIT: u64 = 1 << 16;"),
    ];
    for (path, text) in permitted {
        assert_eq!(violations(path, text), Vec::<String>::new());
    }
}
