//! Where the cache lines of forkbench's figures are missed: the plugin tells which instructions missed how many, and
//! this adds them up by function.

use super::lines;
use crate::binary::symbols;
use crate::builder::folder::Build;
use crate::harness::machine::{Console, LineCounter, Machine};
use crate::harness::session;
use crate::harness::verdict::Expected;
use graft_cache_model::Span;
use object::SymbolKind;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(600);
/// Functions that each figure is shown with.
const SHOWN: usize = 8;
/// What the program itself misses.
const PROGRAM: &str = "(the program)";
/// Where programs are; everything above is the kernel.
const KERNEL: u64 = 1 << 63;

/// Lines that something missed in L1D and in L2, and the pages of memory in which they are; of a function, the pages of
/// that one of its instructions that goes to most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lines {
    l1d: u64,
    l2d: u64,
    pages: u64,
}

/// What every instruction of a span missed; a span is where it begins and ends.
type Missed = BTreeMap<(u64, u64), Vec<(u64, Lines)>>;

/// Runs forkbench with this much memory at this depth of sharing; a paragraph for each of its figures.
///
/// # Errors
/// If QEMU cannot be run or cannot load the plugin, forkbench fails, or the plugin has not seen what it says.
pub fn run(build: &Build, machine: &Machine, memory: &str, share: &str) -> Result<String, String> {
    let kernel = fs::read(build.kernel_elf()).map_err(|error| error.to_string())?;
    // Assembly has labels, and these no type.
    let kinds = [SymbolKind::Text, SymbolKind::Label, SymbolKind::Unknown];
    let names = symbols::functions(&kernel, &kinds).map_err(|error| format!("the kernel {error}"))?;

    let log = build.logs().join("profile.log");
    let file = log.with_extension("missed.csv");
    let line = format!("forkbench --mem {memory} --share {share} --reps 1 --spans");
    let mut machine = machine.clone().with_line(&line);
    let counter = LineCounter::beside(&lines::plugin(build, &machine.emulator)?, &log);
    machine.lines = Some(LineCounter { missed: Some(file.clone()), ..counter.clone() });
    let ended = session::run(machine.command(Console::Pipe), &log, LIMIT).map_err(|error| error.to_string())?;
    Expected::success().judge(&ended).map_err(|error| format!("{error}; see {}", log.display()))?;

    let read = |path: &std::path::Path| {
        fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let spans = lines::parse(&read(&counter.out)?)?;
    let missed = parse(&read(&file)?)?;
    let times = lines::times(&ended.output);
    let spans = lines::matched(&times, &spans)?;
    let paragraph = |(time, span): (&lines::Time, &&Span)| {
        let none = Vec::new();
        let head = format!("{}, --share {share}, {memory}: {} instructions", time.metric, time.counts);
        paragraph(&head, span, missed.get(&(span.begin, span.end)).unwrap_or(&none), &names)
    };
    Ok(times.iter().zip(&spans).map(paragraph).collect::<Vec<_>>().join("\n"))
}

/// The plugin's rows: `BEGIN,END,INSTRUCTION,L1D,L2D,PAGES`.
fn parse(text: &str) -> Result<Missed, String> {
    let mut missed = Missed::new();
    for line in text.lines().skip(1) {
        let row = || {
            let [begin, end, instruction, l1d, l2d, pages] = line.split(',').collect::<Vec<_>>()[..] else {
                return None;
            };
            let number = |text: &str| text.parse().ok();
            let instruction = u64::from_str_radix(instruction.strip_prefix("0x")?, 16).ok()?;
            let lines = Lines { l1d: number(l1d)?, l2d: number(l2d)?, pages: number(pages)? };
            Some(((number(begin)?, number(end)?), (instruction, lines)))
        };
        let (span, of_one) = row().ok_or_else(|| format!("{line:?} is no row of instructions that missed"))?;
        missed.entry(span).or_default().push(of_one);
    }
    Ok(missed)
}

fn paragraph(head: &str, span: &Span, missed: &[(u64, Lines)], names: &[(u64, String)]) -> String {
    let mut functions: BTreeMap<&str, Lines> = BTreeMap::new();
    for (instruction, lines) in missed {
        let name = match *instruction {
            KERNEL.. => match names.partition_point(|(start, _)| start <= instruction) {
                0 => PROGRAM,
                after => &names[after - 1].1,
            },
            _ => PROGRAM,
        };
        let sum = functions.entry(name).or_default();
        sum.l1d += lines.l1d;
        sum.l2d += lines.l2d;
        sum.pages = sum.pages.max(lines.pages);
    }
    let (l1d, l2d) = (span.cold.l1d, span.cold.l2d);
    let mut text = format!("{head}; cold, {l1d} lines missed in L1D, {l2d} in L2\n");
    let mut sorted: Vec<_> = functions.into_iter().collect();
    sorted.sort_by(|(a, more), (b, less)| less.l1d.cmp(&more.l1d).then(a.cmp(b)));
    let _ = writeln!(text, "{:>9}  {:>9}  {:>9}", "L1D", "L2", "pages");
    for (name, Lines { l1d, l2d, pages }) in sorted.iter().take(SHOWN) {
        let _ = writeln!(text, "{l1d:>9}  {l2d:>9}  {pages:>9}  {name}");
    }
    let rest = sorted.iter().skip(SHOWN).fold((0, 0), |(l1d, l2d), (_, lines)| (l1d + lines.l1d, l2d + lines.l2d));
    if rest.0 > 0 {
        let _ = writeln!(text, "{:>9}  {:>9}  {:>9}  (others)", rest.0, rest.1, "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use graft_cache_model::Counts;

    #[test]
    fn misses_are_added_up_by_function() {
        let rows = "begin,…\n1,9,0x400,1,1,1\n1,9,0xffffffff80000008,20,3,2\n1,9,0xffffffff8000000c,5,0,1\n\
                    1,9,0xffffffff80000104,7,7,7\n5,9,0x400,2,2,2\n";
        let missed = parse(rows).unwrap();
        assert_eq!(missed.len(), 2);
        let names = [(0xffff_ffff_8000_0000, "copy".to_string()), (0xffff_ffff_8000_0100, "zero".to_string())];
        let cold = Counts { l1d: 33, l2d: 11, ..Counts::default() };
        let span = Span { begin: 1, end: 9, cold, warm: cold, missed: Vec::new() };
        let text = paragraph("fork", &span, &missed[&(1, 9)], &names);
        let expected = "fork; cold, 33 lines missed in L1D, 11 in L2\n      L1D         L2      pages\n\
                       \x20      25          3          2  copy\n        7          7          7  zero\n\
                       \x20       1          1          1  (the program)\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_row_that_is_none_is_named() {
        assert!(parse("begin\n1,2,400,1,1,1\n").unwrap_err().contains("\"1,2,400,1,1,1\""));
    }
}
