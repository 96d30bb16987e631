//! Where the instructions of forkbench's and ipcbench's figures go: QEMU tells the address of each, and this adds them up by function.
//!
//! A figure is the distance between two readings of the counter in the program (`mrs Xt, CNTVCT_EL0`), and with
//! instructions counted a nanosecond is an instruction. So of all stretches of the trace between two readings, the one
//! that is as long as the figure is the figure's, and the addresses in it say what it was spent on.

use crate::bench::figures::{self, Figure, MESSAGES};
use crate::binary::symbols;
use crate::builder::archive;
use crate::builder::folder::Build;
use crate::harness::machine::{Console, Machine};
use object::SymbolKind;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

/// `MRS X0, CNTVCT_EL0` (Arm ARM, "MRS (register)"); the lowest five bits name the register.
const READ_COUNTER: u32 = 0xd53b_e040;
/// Readings that lie within one figure, at most.
const NESTED: usize = 4;
/// Faults taken within one figure, at most: a program that starts touches its stack and its data.
const FAULTS: u64 = 12;
/// Functions that each figure is shown with.
const SHOWN: usize = 10;
/// The figures that are half of what was measured: from one process to another and back.
const HALF: [&str; 2] = ["context_switch", "yield_switch"];
/// The figure that is left out: more faults are taken within it, and readings, than a stretch is found by.
const LEFT_OUT: &str = "heal";
/// What the program itself executes.
const PROGRAM: &str = "(the program)";
/// Where programs are; everything above is the kernel.
const KERNEL: u64 = 1 << 63;

/// Instructions by function.
type Functions = BTreeMap<String, u64>;

/// Runs forkbench with this much memory at this depth of sharing, or ipcbench for [`MESSAGES`]; a paragraph for each
/// of its figures.
///
/// # Errors
/// If QEMU cannot be run, forkbench fails, or a figure has no stretch of its length.
pub fn run(build: &Build, machine: &Machine, memory: &str, share: &str) -> Result<String, String> {
    let (program, line) = match share {
        MESSAGES => ("ipcbench", "ipcbench --csv".into()),
        _ => ("forkbench", format!("forkbench --mem {memory} --share {share} --reps 1 --csv")),
    };
    let archive = fs::read(build.archive()).map_err(|error| error.to_string())?;
    let found = archive::unpack(&archive)?.into_iter().find(|entry| entry.name == program);
    let readings = readings(&found.ok_or_else(|| format!("the archive has no {program}"))?.bytes);
    let kernel = fs::read(build.kernel_elf()).map_err(|error| error.to_string())?;
    // Assembly has labels, and these no type.
    let kinds = [SymbolKind::Text, SymbolKind::Label, SymbolKind::Unknown];
    let names = symbols::functions(&kernel, &kinds).map_err(|error| format!("the kernel {error}"))?;

    fs::create_dir_all(build.logs()).map_err(|error| error.to_string())?;
    let pipe = build.logs().join("trace");
    let (output, stretches) = trace(&machine.clone().with_line(&line), &pipe, &readings, &names)?;
    let figures = figures::parse(&output);
    if figures.is_empty() {
        return Err(format!("`{line}` printed no figures:\n{output}"));
    }
    let times = figures.iter().filter(|figure| figure.unit == "ns" && figure.metric != LEFT_OUT);
    let paragraphs: Result<Vec<_>, _> = times.map(|figure| paragraph(figure, &stretches)).collect();
    Ok(paragraphs?.join("\n"))
}

/// Plays a machine whose every instruction goes through a named pipe. Returns what it printed, and its stretches.
fn trace(
    machine: &Machine,
    pipe: &Path,
    readings: &BTreeSet<u64>,
    names: &[(u64, String)],
) -> Result<(String, Vec<Functions>), String> {
    let failed = |error: std::io::Error| format!("cannot trace: {error}");
    let _ = fs::remove_file(pipe);
    if !Command::new("mkfifo").arg(pipe).status().map_err(failed)?.success() {
        return Err(format!("cannot make the pipe {}", pipe.display()));
    }
    let mut command = machine.command(Console::Pipe);
    // One instruction a block, and each block told: that is a trace.
    command.args(["-accel", "tcg,one-insn-per-tb=on", "-d", "exec,nochain", "-D"]).arg(pipe);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut output = child.stdout.take().expect("it is piped");
    thread::scope(|scope| {
        let stretches = scope.spawn(|| File::open(pipe).map(|file| add_up(BufReader::new(file), readings, names)));
        let text = scope.spawn(move || {
            let mut text = String::new();
            output.read_to_string(&mut text).map(|_| text)
        });
        let ended = child.wait().map_err(failed)?;
        // If the emulator never opened the pipe, the reader still waits for a writer.
        drop(File::options().read(true).write(true).open(pipe).map_err(failed)?);
        let _ = fs::remove_file(pipe);
        let text = text.join().expect("it only reads").map_err(failed)?;
        let stretches = stretches.join().expect("it only reads").map_err(failed)?;
        if ended.success() { Ok((text, stretches)) } else { Err(format!("the run failed:\n{text}")) }
    })
}

/// The addresses at which a program reads the counter.
fn readings(program: &[u8]) -> BTreeSet<u64> {
    use object::{Object, ObjectSegment};
    let mut found = BTreeSet::new();
    let Ok(file) = object::File::parse(program) else { return found };
    for segment in file.segments() {
        let words = segment.data().unwrap_or_default().chunks_exact(4);
        let words = words.map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")));
        let counts = words.enumerate().filter(|(_, word)| word & !0x1f == READ_COUNTER);
        found.extend(counts.map(|(index, _)| segment.address() + 4 * index as u64));
    }
    found
}

/// Adds up a trace between readings of the counter.
fn add_up(trace: impl BufRead, readings: &BTreeSet<u64>, names: &[(u64, String)]) -> Vec<Functions> {
    let mut stretches = Vec::new();
    // By place in `names`; the last one is the program.
    let mut counts = vec![0; names.len() + 1];
    for line in trace.lines().map_while(Result::ok) {
        let Some(address) = address(&line) else { continue };
        if readings.contains(&address) {
            stretches.push(named(&counts, names));
            counts.fill(0);
        }
        let place = match address {
            KERNEL.. => names.partition_point(|(start, _)| *start <= address).saturating_sub(1),
            _ => names.len(),
        };
        counts[place] += 1;
    }
    stretches.push(named(&counts, names));
    stretches
}

/// The address in a line such as `Trace 0: 0x7fe9f800bc40 [00004000/ffffffff8000154c/00000121/ff022201]`.
fn address(line: &str) -> Option<u64> {
    let (_, state) = line.strip_prefix("Trace ")?.split_once('[')?;
    u64::from_str_radix(state.split('/').nth(1)?, 16).ok()
}

fn named(counts: &[u64], names: &[(u64, String)]) -> Functions {
    let mut functions = Functions::new();
    for (place, &count) in counts.iter().enumerate().filter(|(_, count)| **count != 0) {
        let name = names.get(place).map_or(PROGRAM, |(_, name)| name);
        *functions.entry(name.to_string()).or_default() += count;
    }
    functions
}

/// The stretch, or run of stretches, that is as long as a figure: of several the one of which the program has executed
/// least, as what is measured is the kernel, of these the shortest, and of these the last one, when everything was warm.
///
/// An instruction that faults is told twice and counted once, so that a trace may be a little longer.
fn matching(stretches: &[Functions], length: u64) -> Option<Functions> {
    let own = |sum: &Functions| sum.get(PROGRAM).copied().unwrap_or(0);
    (length..=length + FAULTS).filter_map(|length| exactly(stretches, length)).min_by_key(own)
}

fn exactly(stretches: &[Functions], length: u64) -> Option<Functions> {
    let mut best: Option<(u64, Functions)> = None;
    for start in (1..stretches.len()).rev() {
        let mut sum = Functions::new();
        for stretch in &stretches[start..(start + NESTED).min(stretches.len())] {
            for (name, count) in stretch {
                *sum.entry(name.clone()).or_default() += count;
            }
            let own = sum.get(PROGRAM).copied().unwrap_or(0);
            if sum.values().sum::<u64>() == length && best.as_ref().is_none_or(|(least, _)| own < *least) {
                best = Some((own, sum.clone()));
            }
        }
    }
    best.map(|(_, sum)| sum)
}

fn paragraph(figure: &Figure, stretches: &[Functions]) -> Result<String, String> {
    let Figure { metric, share, bytes, median: total, .. } = figure;
    let (length, both) = if HALF.contains(&&**metric) { (2 * total, "; there and back") } else { (*total, "") };
    let functions =
        matching(stretches, length).ok_or_else(|| format!("no stretch of the trace is {metric}'s {length} long"))?;
    let mut sorted: Vec<_> = functions.into_iter().collect();
    sorted.sort_by(|(a, more), (b, less)| less.cmp(more).then(a.cmp(b)));
    let of = if share == MESSAGES { String::new() } else { format!(", --share {share}, {} MiB", bytes >> 20) };
    let mut text = format!("{metric}{of}: {total} instructions{both}\n");
    let rest: u64 = sorted.iter().skip(SHOWN).map(|(_, count)| count).sum();
    let rest = (rest > 0).then(|| ("(others)".to_string(), rest));
    for (name, count) in sorted.into_iter().take(SHOWN).chain(rest) {
        let _ = writeln!(text, "{count:>9}  {:>3} %  {name}", (count * 100 + length / 2) / length);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(address: u64) -> String {
        format!("Trace 0: 0x7f [00004000/{address:016x}/00000121/ff022201] \n")
    }

    #[test]
    fn a_trace_is_added_up_between_readings() {
        let names = [(KERNEL, "low".to_string()), (KERNEL + 0x100, "high".to_string())];
        let readings = BTreeSet::from([0x400]);
        let trace: Vec<_> =
            [0x3fc, 0x400, KERNEL + 4, KERNEL + 8, KERNEL + 0x100, 0x404, 0x400, 0x404].map(line).into();
        let noise = "Stopped execution of TB chain before 0x7f [ffffffff80000000] \n";
        let stretches = add_up(format!("{}{noise}", trace.concat()).as_bytes(), &readings, &names);
        let between = Functions::from([("low".into(), 2), ("high".into(), 1), (PROGRAM.into(), 2)]);
        assert_eq!(stretches.len(), 3);
        assert_eq!(stretches[1], between);
        assert_eq!(matching(&stretches, 5), Some(between));
        assert_eq!(matching(&stretches, 7).map(|sum| sum[PROGRAM]), Some(4));
        assert_eq!(matching(&stretches, 4).map(|sum| sum.values().sum()), Some(5), "one fault");
        assert_eq!(matching(&stretches, 8), None);
    }

    #[test]
    fn what_the_program_does_by_itself_is_no_figure() {
        let stretch = |own, kernel| Functions::from([(PROGRAM.to_string(), own), ("kernel".to_string(), kernel)]);
        let stretches = [Functions::new(), stretch(4, 304), stretch(307, 0), stretch(4, 305)];
        assert_eq!(matching(&stretches, 307), Some(stretch(4, 304)), "with the fault; not what the program does later");
    }

    #[test]
    fn a_switch_is_half_of_its_stretch() {
        let row = |metric: &str| figures::parse(&format!("forkbench,l3,0,{metric},ns,5,5,5,1")).remove(0);
        let stretches = vec![Functions::new(), Functions::from([("yield".to_string(), 10)])];
        assert!(
            paragraph(&row(HALF[0]), &stretches)
                .unwrap()
                .contains("5 instructions; there and back\n       10  100 %  yield")
        );
        let too_long = vec![Functions::new(), Functions::from([("fork".to_string(), 6 + FAULTS)])];
        assert!(paragraph(&row("fork"), &too_long).unwrap_err().contains("fork's 5 long"));
    }

    #[test]
    fn a_line_that_is_no_instruction_has_no_address() {
        assert_eq!(address(&line(0xffff_0000)), Some(0xffff_0000));
        assert_eq!(address("Trace 0: none"), None);
        assert_eq!(address("forkbench"), None);
    }
}
