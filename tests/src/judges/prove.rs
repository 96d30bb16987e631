//! `make prove`: laws of the descriptor formats and of the commit charge, for all 64-bit values, proved by z3.
//!
//! ```text
//!  kernel/paging/src/proof.rs ──rustc, the kernel's target──▶ LLVM IR ──translate──▶ (define-fun aarch64.write_protect …)
//!                                                                                                   │
//!      hardware.smt2 (the manuals' bits) ──────────── laws.smt2, once for each format ──────────────┴─▶ z3: unsat
//! ```
//!
//! The subject is what the compiler made of the code, so that no copy can drift from it. What remains to be trusted is
//! the translation of about twenty instructions: `samples` lets z3 compute what the running code computes, on many
//! words, and `run` changes each constant of the translated functions in turn and wants a law to fail.

mod translate;

use graft_paging::{AArch64, Entry, Format, KernelEntry, Level, X86_64};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use translate::Translated;

const HARDWARE: &str = include_str!("prove/hardware.smt2");
const LAWS: &str = include_str!("prove/laws.smt2");
const FORMATS: [&str; 2] = ["aarch64", "x86_64"];

/// Proves every law about the functions in `program`, LLVM IR; scratch files go into `folder`. A report.
///
/// # Errors
/// Laws that do not hold, with a counterexample; or why there is no answer.
pub fn run(program: &Path, folder: &Path) -> Result<String, String> {
    let text = fs::read_to_string(program).map_err(|error| format!("cannot read {}: {error}", program.display()))?;
    let functions = translate::functions(&text, "proof")?;
    let solver = Solver { folder };

    let mut report = String::new();
    let laws: Vec<Law> = FORMATS.iter().flat_map(|format| laws(format)).collect();
    let mut failures = String::new();
    for (law, answer) in laws.iter().zip(solver.judge(&functions, &laws)?) {
        match answer {
            Answer::Holds => {
                let _ = writeln!(report, "  proved: {}: {}", law.format, law.name);
            }
            answer => {
                let _ = writeln!(
                    failures,
                    "  {}: {}: {answer:?}\n{}",
                    law.format,
                    law.name,
                    solver.example(&functions, law)?
                );
            }
        }
    }
    if !failures.is_empty() {
        return Err(format!("laws that do not hold:\n{failures}"));
    }
    let compared = samples(&functions, &solver)?;
    let (mutants, missed) = planted(&functions, &laws, &solver)?;
    if !missed.is_empty() {
        return Err(format!("no law notices that a constant changes:\n{}", missed.join("\n")));
    }
    let _ = writeln!(report, "  agree: z3 and the running code on {compared} values of the functions");
    let _ = writeln!(report, "  caught: {mutants} of {mutants} changed constants, one at a time");
    let _ = write!(report, "prove: {} laws hold for all 64-bit values", laws.len());
    Ok(report)
}

/// A law about one format.
struct Law {
    format: &'static str,
    name: String,
    text: String,
}

fn laws(format: &'static str) -> Vec<Law> {
    let text = LAWS.replace("F.", &format!("{format}."));
    let one = |text: &str| {
        let name = text.split('"').nth(1).expect("a law has a name").to_owned();
        // Comments between two laws belong to neither.
        let end = text.rfind("(pop)").expect("a law ends");
        Law { format, name, text: format!("(push){}", &text[..end]) }
    };
    text.split("(push)").skip(1).map(one).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Holds,
    /// There are values for which it does not hold.
    Fails,
    /// Nothing fulfils its premise: it says nothing.
    Empty,
    /// z3 does not know.
    Unknown,
}

struct Solver<'a> {
    folder: &'a Path,
}

impl Solver<'_> {
    fn solve(&self, text: &str) -> Result<String, String> {
        let file = self.folder.join("prove.smt2");
        fs::create_dir_all(self.folder).map_err(|error| error.to_string())?;
        fs::write(&file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        let output = Command::new("z3").arg("-smt2").arg("-t:20000").arg(&file).output();
        let output = output.map_err(|error| format!("cannot run z3: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match text.lines().find(|line| line.starts_with("(error") && !line.contains("model is not available")) {
            Some(error) => Err(format!("z3: {error} ({})", file.display())),
            None => Ok(text),
        }
    }

    fn judge(&self, functions: &[Translated], laws: &[Law]) -> Result<Vec<Answer>, String> {
        let mut text = prelude(functions);
        // What the compiler has excluded must not happen: for every function one more question.
        for function in functions {
            let Arguments { declarations, names } = Arguments::of(function);
            let _ =
                writeln!(text, "(push){declarations}(assert ({}.unreachable {names}))(check-sat)(pop)", function.name);
        }
        for law in laws {
            text.push_str(&law.text);
            text.push_str("(pop)\n");
        }
        let output = self.solve(&text)?;
        let mut answers = output.lines().filter(|line| ["sat", "unsat", "unknown"].contains(line));
        for function in functions {
            if answers.next() != Some("unsat") {
                return Err(format!("{} can do what the compiler has excluded", function.name));
            }
        }
        let answer = |_: &Law| match (answers.next(), answers.next()) {
            (Some("sat"), Some("unsat")) => Answer::Holds,
            (Some("sat"), Some("sat")) => Answer::Fails,
            (Some("unsat"), _) => Answer::Empty,
            _ => Answer::Unknown,
        };
        Ok(laws.iter().map(answer).collect())
    }

    fn example(&self, functions: &[Translated], law: &Law) -> Result<String, String> {
        let output = self.solve(&format!("{}{}(get-model)(pop)", prelude(functions), law.text))?;
        let values = output.lines().filter(|line| line.contains("define-fun") || line.trim_start().starts_with('#'));
        Ok(values.take(40).collect::<Vec<_>>().join("\n"))
    }
}

fn prelude(functions: &[Translated]) -> String {
    let mut text = String::from(HARDWARE);
    functions.iter().for_each(|function| text.push_str(&function.definition));
    text
}

/// Constants of any value, as arguments for a function.
struct Arguments {
    declarations: String,
    names: String,
}

impl Arguments {
    fn of(function: &Translated) -> Arguments {
        let mut all = Arguments { declarations: String::new(), names: String::new() };
        for (index, bits) in function.parameters.iter().enumerate() {
            let _ = write!(all.declarations, "(declare-const a{index} {})", translate::sort(*bits));
            let _ = write!(all.names, "a{index} ");
        }
        all
    }
}

/// Changes every constant of every function, one at a time: it loses its lowest bit, or gets one. How many of these
/// changes change what the function computes, and those among them that no law notices.
fn planted(functions: &[Translated], laws: &[Law], solver: &Solver<'_>) -> Result<(usize, Vec<String>), String> {
    let mut text = String::from(HARDWARE);
    let mut mutants = Vec::new();
    for (number, function) in functions.iter().enumerate() {
        // Any value would do for which the law holds that there is.
        if function.name.ends_with(".protected") {
            continue;
        }
        let format = function.name.split('.').next().unwrap_or_default();
        // The predicate of what is unreachable comes second.
        let end = function.definition[1..].find("(define-fun").map_or(function.definition.len(), |at| at + 1);
        for (at, _) in function.definition[..end].match_indices("(_ bv") {
            let digits = &function.definition[at + 5..];
            let digits = &digits[..digits.find(' ').unwrap_or(0)];
            let value: u64 = digits.parse().map_err(|_| format!("the constant {digits}"))?;
            let is_word = function.definition[at..].starts_with(&format!("(_ bv{value} 64)"));
            // Bit 0 is set in most words anyhow; bit 20 is one of an address.
            let changed = value ^ if value == 0 && is_word { 1 << 20 } else { 1 << (value.trailing_zeros() % 64) };
            let mut mutant = function.definition[..end].to_owned();
            mutant.replace_range(at + 5..at + 5 + digits.len(), &changed.to_string());

            let arguments = Arguments::of(function);
            let original = function.definition[..end].replacen(&function.name, "original", 1);
            let _ = writeln!(text, "(push)\n{original}");
            for (other, same) in functions.iter().enumerate() {
                text.push_str(if other == number { &mutant } else { &same.definition });
            }
            let _ = writeln!(
                text,
                "(push){}(assert (distinct (original {2}) ({1} {2})))(check-sat)(pop)",
                arguments.declarations, function.name, arguments.names,
            );
            for law in laws.iter().filter(|law| law.format == format && law.text.contains(&function.name)) {
                text.push_str(&law.text);
                text.push_str("(pop)\n");
            }
            text.push_str("(pop)(echo \"mutant\")\n");
            mutants.push(format!("  {}: {value:#x} for {changed:#x}", function.name));
        }
    }
    let output = solver.solve(&text)?;
    let (mut different, mut missed) = (0, Vec::new());
    for (mutant, answers) in mutants.iter().zip(output.split("mutant\n")) {
        let answers: Vec<&str> = answers.lines().filter(|line| ["sat", "unsat", "unknown"].contains(line)).collect();
        let Some((&differs, laws)) = answers.split_first() else { return Err(format!("no answer about{mutant}")) };
        if differs == "unsat" {
            continue;
        }
        different += 1;
        if laws.chunks(2).all(|answer| answer == ["sat", "unsat"]) {
            missed.push(mutant.clone());
        }
    }
    Ok((different, missed))
}

/// Lets z3 compute functions where the running code has computed them. How many values were compared.
fn samples(functions: &[Translated], solver: &Solver<'_>) -> Result<usize, String> {
    let mut equations = Vec::new();
    for raw in words() {
        format_samples::<AArch64>("aarch64", raw, &mut equations);
        format_samples::<X86_64>("x86_64", raw, &mut equations);
    }
    let mut text = prelude(functions);
    for some in equations.chunks(500) {
        let _ = writeln!(text, "(push)(assert (not (and {})))(check-sat)(pop)", some.join("\n"));
    }
    let output = solver.solve(&text)?;
    match output.lines().find(|line| *line != "unsat") {
        None => Ok(equations.len()),
        Some(line) => Err(format!("z3 and the running code do not agree: {line}")),
    }
}

/// Every bit alone, every bit missing, and words at random, present and not.
fn words() -> Vec<u64> {
    let mut all: Vec<u64> = (0..64).flat_map(|bit| [1 << bit, !(1 << bit), 1 << bit | 3, 1 << bit | 1]).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..200 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        all.extend([state, state | 3, state & !1]);
    }
    all
}

fn format_samples<F: Format>(name: &str, raw: u64, equations: &mut Vec<String>) {
    let word = |value: u64| format!("#x{value:016x}");
    let byte = |value: u8| format!("#x{value:02x}");
    for at in 0..4 {
        let level = Level::new(at).expect("a level of the tree");
        let entry = F::decode(raw, level);
        let (variant, writable) = match entry {
            Entry::Empty => (0, false),
            Entry::Reserved(_) => (1, false),
            Entry::Table(table) => (2, !table.read_only),
            Entry::Page(page) => (3, page.writable),
        };
        let arguments = format!("{} {}", word(raw), byte(at));
        let mut equal = |function: &str, value: String| {
            equations.push(format!("(= ({name}.{function} {arguments}) {value})"));
        };
        equal("decode_variant", byte(variant));
        equal("decode_writable", writable.to_string());
        let (variant, frame, mapping) = match F::decode_kernel(raw, level) {
            KernelEntry::Empty => (0, 0, 255),
            KernelEntry::Table(frame) => (1, frame.0, 255),
            KernelEntry::Leaf(leaf) => (2, leaf.frame.0, leaf.mapping as u8),
        };
        equal("decode_kernel_variant", byte(variant));
        equal("decode_kernel_frame", word(frame));
        equal("decode_kernel_mapping", byte(mapping));
        equal("write_protect", word(F::write_protect(raw, level)));
        equal("write_enable", word(F::write_enable(raw, level)));
        match entry {
            Entry::Empty => {}
            Entry::Reserved(reservation) => equal("decode_permissions", byte(reservation.permissions as u8)),
            Entry::Table(table) => equal("decode_frame", word(table.frame.0)),
            Entry::Page(page) => {
                equal("decode_frame", word(page.frame.0));
                equal("decode_permissions", byte(page.permissions as u8));
                equal("decode_kind", byte(page.kind as u8));
            }
        }
    }
    let arguments = word(raw);
    let mut equal = |function: &str, value: String| {
        equations.push(format!("(= ({name}.{function} {arguments}) {value})"));
    };
    equal("retire", word(F::retire(raw)));
    equal("restore", word(F::restore(raw)));
    equal("output", word(F::output(raw).0));
    equal("is_present", F::is_present(raw).to_string());
    equal("is_retired", F::is_retired(raw).to_string());
    equal("is_counted", F::is_counted(raw).to_string());
    equal("is_read_only_table", F::is_read_only_table(raw).to_string());
}
