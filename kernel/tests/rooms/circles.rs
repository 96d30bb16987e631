//! Files that import one another: none, but where one line says why.
//!
//! A name counts for the file that defines it, not for the one that passes it on by `pub use`: what a room shows is no
//! reason to read all of it.

use super::{code, sources, without_tests};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What closes a circle, and why.
const CLOSES: [(&str, &str, &str); 19] = [
    ("object/thread.rs", "object/wait.rs", "a thread's record holds what it waits for, and that gives threads back"),
    (
        "object/wait.rs",
        "object/endpoint.rs",
        "a wait for a message keeps the reply, and that takes a waiting thread out",
    ),
    ("object/thread.rs", "object/end.rs", "a thread's record holds its end, for which threads wait"),
    ("object/thread.rs", "object/process.rs", "a thread's record holds its process, and that the list of its threads"),
    (
        "object/thread.rs",
        "object/thread/stopped.rs",
        "the record has room for what a fault puts aside; how is written there",
    ),
    (
        "object/thread.rs",
        "object/thread/waiting.rs",
        "the record has the state of a wait; how it changes is written there",
    ),
    ("object/thread.rs", "sched/crowd.rs", "threads wait for a thread's end in any number"),
    ("object/thread.rs", "sched/work.rs", "a thread's record holds its work, which begins and ends threads"),
    ("object/process.rs", "sched/work.rs", "the last thread of a process ends that as its work"),
    ("sched/crowd.rs", "sched/work.rs", "a crowd that is too large is the work of the thread that is woken last"),
    ("sched/mod.rs", "sched/local.rs", "the scheduler is made of cores, each of which looks for work at the others"),
    ("sched/local.rs", "sched/wait.rs", "a core that is to run a thread of a suspended process has it wait"),
    (
        "sched/mod.rs",
        "object/interrupt.rs",
        "the interrupt of a device's line becomes a notification, which wakes its driver",
    ),
    (
        "memory/frames/depot.rs",
        "memory/frames/blocks.rs",
        "the depot keeps the blocks that have come back, and they are made of it",
    ),
    (
        "platform/memory_map.rs",
        "platform/device_tree.rs",
        "the map is read from the tree, for whose copy the map finds room",
    ),
    (
        "memory/frames/depot.rs",
        "memory/frames/mod.rs",
        "what frames are used for is said once, where they are given out",
    ),
    ("memory/frames/magazines.rs", "memory/frames/mod.rs", "the same"),
    (
        "arch/aarch64/core_local.rs",
        "arch/aarch64/fault.rs",
        "a core keeps room for a fault's frame, which looks at its stack",
    ),
    (
        "arch/aarch64/cores.rs",
        "arch/aarch64/interrupts.rs",
        "cores are stopped by an interrupt, and told apart by its controller",
    ),
];

/// The path of a module: `["object", "list"]`.
type Module = Vec<String>;

/// The files of the kernel, and what they import.
struct Files {
    modules: BTreeMap<Module, String>,
    /// Paths behind `use`, with whether they are passed on, and those that are written out.
    imports: BTreeMap<Module, Vec<(Module, Passed)>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Passed {
    On,
    Not,
}

fn module(file: &str) -> Module {
    let mut path: Module = file.trim_end_matches(".rs").split('/').map(str::to_string).collect();
    if path.last().is_some_and(|last| last == "mod" || last == "lib") {
        path.pop();
    }
    path
}

/// The paths of a tree behind `use`: `a::{b, c::d as e}` is `a::b` and `a::c::d`.
fn expand(tree: &str) -> Vec<String> {
    let Some((before, inside)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap_or(tree).split_whitespace().collect()];
    };
    let inside = inside.trim_end().strip_suffix('}').unwrap_or(inside);
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for character in inside.chars() {
        depth += i32::from(character == '{') - i32::from(character == '}');
        match character {
            ',' if depth == 0 => parts.push(String::new()),
            _ => parts.last_mut().expect("there is one").push(character),
        }
    }
    let filled = parts.iter().filter(|part| !part.trim().is_empty());
    filled.flat_map(|part| expand(&format!("{}{}", before.trim(), part.trim()))).collect()
}

/// The paths in a file's code.
fn paths(code: &str) -> Vec<(String, Passed)> {
    let mut found = Vec::new();
    let mut rest = String::new();
    for statement in code.split_inclusive(';') {
        let at = statement.rfind("use ").filter(|&at| {
            let before = statement[..at].trim_end();
            before.is_empty() || before.ends_with([')', '}', ';', ']']) || before.ends_with("pub")
        });
        let Some(at) = at.filter(|_| statement.ends_with(';')) else {
            rest.push_str(statement);
            continue;
        };
        let line = statement[..at].rsplit('\n').next().unwrap_or_default();
        let passed = if line.trim_start().starts_with("pub") { Passed::On } else { Passed::Not };
        found.extend(expand(&statement[at + 4..statement.len() - 1]).into_iter().map(|path| (path, passed)));
        rest.push_str(&statement[..at]);
    }
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in rest.match_indices(start) {
            let inside = rest[..at].chars().next_back().is_some_and(|before| super::is_word(before) || before == ':');
            if !inside {
                let path = rest[at..].chars().take_while(|&next| super::is_word(next) || next == ':').collect();
                found.push((path, Passed::Not));
            }
        }
    }
    found
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Files {
        let modules: BTreeMap<Module, String> =
            files.iter().map(|(file, _)| (module(file), (*file).to_string())).collect();
        let imports = files.iter().map(|(file, text)| {
            let own = module(file);
            let paths = paths(&code(without_tests(text)));
            let absolute = paths.iter().filter_map(|(path, passed)| Some((absolute(&modules, &own, path)?, *passed)));
            (own.clone(), absolute.collect())
        });
        Files { imports: imports.collect(), modules }
    }

    /// The module that defines what this path leads to.
    fn definition(&self, path: &[String]) -> Option<&Module> {
        let length = (0..=path.len()).rev().find(|&length| self.modules.contains_key(&path[..length]))?;
        let (module, _) = self.modules.get_key_value(&path[..length])?;
        let Some(name) = path.get(length) else { return Some(module) };
        let passed_on = self.imports[module]
            .iter()
            .find(|(import, passed)| *passed == Passed::On && import.last() == Some(name) && import[..] != *path);
        match passed_on {
            Some((import, _)) => self.definition(import),
            None => Some(module),
        }
    }

    /// Which files import which.
    fn edges(&self) -> BTreeSet<(&str, &str)> {
        let mut found = BTreeSet::new();
        for (own, imports) in &self.imports {
            for (path, passed) in imports {
                let Some(from) = self.definition(path).filter(|&module| module != own && *passed == Passed::Not) else {
                    continue;
                };
                // The library's own file declares the rooms.
                if !from.is_empty() {
                    found.insert((&*self.modules[own], &*self.modules[from]));
                }
            }
        }
        found
    }
}

/// A path from the crate's root, if it stays in the crate.
fn absolute(modules: &BTreeMap<Module, String>, own: &Module, path: &str) -> Option<Module> {
    let mut steps: Vec<String> = path.split("::").filter(|step| !step.is_empty()).map(str::to_string).collect();
    let mut base = own.clone();
    match steps.first()?.as_str() {
        "crate" => base.clear(),
        "self" => {}
        "super" => {
            while steps.first().is_some_and(|step| step == "super") {
                base.pop();
                steps.remove(0);
            }
            steps.insert(0, String::new());
        }
        first => {
            let mut child = own.clone();
            child.push(first.to_string());
            modules.get(&child)?;
            steps.insert(0, String::new());
        }
    }
    base.extend(steps.drain(1..));
    Some(base)
}

/// A way from one file to another, along imports.
fn way<'a>(edges: &BTreeSet<(&'a str, &'a str)>, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let mut ways = vec![vec![from]];
    let mut seen = BTreeSet::from([from]);
    while let Some(way) = ways.pop() {
        let last = *way.last().expect("it begins somewhere");
        if last == to {
            return Some(way);
        }
        for &(_, next) in edges.iter().filter(|&&(file, _)| file == last) {
            if seen.insert(next) {
                ways.push([&way[..], &[next]].concat());
            }
        }
    }
    None
}

/// Circles that are left without the imports that may close one.
fn circles(files: &Files, closes: &[(&str, &str)]) -> Vec<String> {
    let edges: BTreeSet<(&str, &str)> =
        files.edges().into_iter().filter(|&(file, from)| !closes.contains(&(file, from))).collect();
    let closed = edges.iter().filter_map(|&(file, from)| Some((file, way(&edges, from, file)?)));
    closed.map(|(file, way)| format!("{file} imports {}", way.join(", which imports "))).collect()
}

fn kernel() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let read = |file: &Path| {
        let name = file.strip_prefix(&root).expect("below the root").to_str().expect("a plain name").replace('\\', "/");
        (name, fs::read_to_string(file).expect("a source file"))
    };
    files.iter().map(|file| read(file)).collect()
}

#[test]
fn no_files_import_one_another_but_where_a_line_says_why() {
    let kernel = kernel();
    let files = Files::new(&kernel.iter().map(|(file, text)| (&**file, &**text)).collect::<Vec<_>>());
    assert!(files.edges().len() > 300, "the imports were not found");
    let found = circles(&files, &CLOSES.map(|(file, from, _)| (file, from)));
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn what_may_close_a_circle_does() {
    let kernel = kernel();
    let files = Files::new(&kernel.iter().map(|(file, text)| (&**file, &**text)).collect::<Vec<_>>());
    let edges = files.edges();
    for (file, from, why) in CLOSES {
        assert!(edges.contains(&(file, from)), "{file} does not import {from} any more: {why}");
        assert!(way(&edges, from, file).is_some(), "{file} and {from} are in no circle any more: {why}");
    }
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let refused: [&[(&str, &str)]; 6] = [
        &[("a.rs", "use crate::b::B;"), ("b.rs", "use crate::a::A;")],
        &[("a.rs", "use crate::{b::B, c};"), ("b.rs", "use crate::c;"), ("c.rs", "fn f() { crate::a::g() }")],
        &[("a/mod.rs", "mod b;\nuse b::B;"), ("a/b.rs", "use super::{A, C as D};")],
        &[("a/mod.rs", "mod b;\nfn f() { self::b::g() }"), ("a/b.rs", "fn g() { super::f() }")],
        // Passed on by a third file.
        &[("a.rs", "use crate::c::B;"), ("b.rs", "use crate::a::A;"), ("c.rs", "pub use crate::b::B;")],
        &[("a.rs", "pub use crate::c::C;\nuse crate::b::{self, B};"), ("b.rs", "use crate::a;"), ("c.rs", "")],
    ];
    for files in refused {
        assert!(!circles(&Files::new(files), &[]).is_empty(), "{files:?}");
    }
    let permitted: [&[(&str, &str)]; 4] = [
        &[("a.rs", "use crate::b::B;"), ("b.rs", "// use crate::a::A;\nuse core::fmt;")],
        // The room shows what its file defines, and that file needs another of the room.
        &[("a/mod.rs", "mod b;\nmod c;\npub use b::B;"), ("a/b.rs", "use super::c::C;"), ("a/c.rs", "use core::a;")],
        &[("a/mod.rs", "mod b;\nmod c;\npub use b::B;"), ("a/b.rs", ""), ("a/c.rs", "use crate::a::B;")],
        &[("a.rs", "use crate::b::B;"), ("b.rs", "#[cfg(test)]\nmod tests { use crate::a::A; }")],
    ];
    for files in permitted {
        assert_eq!(circles(&Files::new(files), &[]), Vec::<String>::new(), "{files:?}");
    }
    assert!(circles(&Files::new(refused[0]), &[("b.rs", "a.rs")]).is_empty());
}
